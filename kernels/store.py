"""What was measured on a device, kept between runs: best configs, and XLA against Triton.

One JSON file a user, in JAXVSR_CACHE or the user's cache folder, over the file of measurements
that comes with the kernels. A key names the device, so one file serves several machines.
"""

import json
import math
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jax

SHIPPED = Path(__file__).parent / "results" / "measured.json"


def path() -> Path:
    """The user's file: kernels.json in JAXVSR_CACHE, or in jaxvsr in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get("JAXVSR_CACHE") or f"{home}/jaxvsr").expanduser()
    return folder / "kernels.json"


def load() -> dict:
    """All measurements: the user's over the shipped ones; a damaged file counts as none."""
    known = {}
    for file in (SHIPPED, path()):
        known |= _read(file)
    return known


def save(key: str, value: dict) -> None:
    """Adds a measurement to the user's file; where that cannot be written it is lost silently.

    The file is replaced whole, so a reader never sees half of one.
    """
    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        known = _read(file) | {key: value}
        handle, name = tempfile.mkstemp(prefix=".kernels-", dir=file.parent)
        with os.fdopen(handle, "w") as out:
            json.dump(known, out, indent=1, sort_keys=True)
        os.replace(name, file)
    except OSError:
        return


def _read(file: Path) -> dict:
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


@cache
def device() -> str:
    """The kind of device that JAX runs on, such as "NVIDIA H200"."""
    return jax.devices()[0].device_kind


def shapes(arrays: Sequence) -> str:
    """Shapes and dtypes of arrays, as "1x540x960x64:bfloat16"; anything else by its value."""
    return " ".join(_shape(array) for array in arrays)


def near(arrays: Sequence) -> str:
    """As `shapes`, but N, H and W of the first only by the power of two of their product."""
    first, *rest = arrays
    pixels = round(math.log2(math.prod(first.shape[:-1])))
    return f"2^{pixels}x{first.shape[-1]}:{first.dtype} {shapes(rest)}".strip()


def _shape(array) -> str:
    if not hasattr(array, "shape"):
        return str(array)
    return "x".join(map(str, array.shape)) + f":{array.dtype}"
