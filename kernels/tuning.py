"""Which config a kernel is built with: the fastest that was measured for such arrays, or the first.

`python -m kernels.bench --tune` measures them. A config holds for inputs of about as many pixels
with the same channels and dtypes.
"""

from collections.abc import Sequence

from kernels import launch, store
from kernels.op import Config


def pick(name: str, arrays: Sequence, choices: Sequence[Config]) -> Config:
    """The best measured of `choices` for kernel `name`; the first where nothing was measured.

    Where no GPU runs it, the interpreter and the compiler ahead of time, it is the first always.
    Raises RefusedError where there is nothing to choose from.
    """
    if not choices:
        raise launch.RefusedError(f"{name}: no config fits {store.shapes(arrays)}; use impl='xla'")
    if launch.INTERPRETED or launch.TARGET:
        return choices[0]
    best = store.load().get(_key(name, arrays), {}).get("config")
    return next((choice for choice in choices if str(choice) == best), choices[0])


def record(name: str, arrays: Sequence, config: Config, ms: float) -> None:
    """Keeps `config` as the fastest for arrays like these; `ms` is what a call took."""
    store.save(_key(name, arrays), {"config": str(config), "ms": ms})


def _key(name: str, arrays: Sequence) -> str:
    return f"{store.device()} | tuned {name} | {store.near(arrays)}"
