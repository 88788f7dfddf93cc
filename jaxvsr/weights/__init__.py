"""A name, a path or a URL to a network with its parameters: packaged, cached, every layout.

Files hold tensors and nothing that runs: `.safetensors`, PyTorch's checkpoints, `.npz`, and ncnn's
`.param/.bin`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from safetensors import numpy as safetensors

from jaxvsr.errors import WeightsError
from jaxvsr.host.files import whole
from jaxvsr.layers import fold
from jaxvsr.models import MODELS, Spec, spec_of
from jaxvsr.weights import archs, graphs, layouts, reading
from jaxvsr.weights.layouts import Found
from jaxvsr.weights.ncnn import read_ncnn
from jaxvsr.weights.recognition import EXPECTED, compared, recognise, shapes_of, told
from jaxvsr.weights.store import PACKAGED, locate
from jaxvsr.weights.wrapping import Variant, normalised, variants

__all__ = ["PACKAGED", "Loaded", "load", "metadata_of", "save", "shapes_of"]

CLASSICAL = ("bicubic", "lanczos")  # networks without parameters, loaded by their own name
LARGEST_FIELD = 4096  # a width or depth above this is not a network
TWINS = "taken for x2; the x1.5 network has the same tensors: --arch sr_unet-x1.5 says so"


@dataclass(frozen=True)
class Loaded:
    """A network ready to run: its name in MODELS, module, facts and parameters.

    `notes` tell what was assumed or chosen, a line each; `arch` is what was said by `--arch`.
    """

    name: str
    module: nn.Module
    spec: Spec
    params: Mapping
    notes: tuple[str, ...] = ()
    arch: str = ""


def load(name_or_path: str | Path, *, arch: str = "", folded: bool = True) -> Loaded:
    """Reads weights by packaged name, path or URL (see `store.fetch`); parameters are float32.

    Architecture, scale, width and depth are read off the tensors, which must be the network's as
    a whole; `arch` says what they do not tell (see `archs`). `folded` turns blocks that have an
    inference form into it; False keeps what can be trained on. Raises WeightsError with the cause
    and the remedy, UsageError for an `arch` that cannot be; nothing in the file is run.
    """
    source, said = str(name_or_path), archs.parse(arch)
    if source in CLASSICAL:
        _agree(source, {}, said, source)
        module = MODELS[source].module()
        return Loaded(source, module, spec_of(source, module), {})
    path = locate(source)
    name, module, tensors, note = _read(path, said)
    params = layouts.to_tree(tensors)
    _finite(layouts.by_path(params), path)
    if folded and getattr(module, "folded", True) is False:
        module, params = module.clone(folded=True), jax.tree.map(np.asarray, fold(params))
    notes = (f"{path.name}: {note}",) if note else ()
    return Loaded(name, module, spec_of(name, module), params, notes, arch)


def save(path: str | Path, params: Mapping, metadata: Mapping[str, str]) -> None:
    """Writes parameters as safetensors under PyTorch's names, in the type that they have.

    `metadata` are texts, and must hold "architecture" (a key of MODELS) and "fields" (JSON), as
    `metadata_of` gives them. The file appears whole or not at all: SpaceError or OutputError where
    it cannot be written, and what was there before stays.
    """
    if metadata.get("architecture") not in MODELS or "fields" not in metadata:
        raise ValueError(f"metadata needs architecture (one of {', '.join(MODELS)}) and fields")
    texts = {key: str(value) for key, value in metadata.items()}
    data = safetensors.save(layouts.from_tree(params), texts)
    with whole(Path(path)) as draft:
        draft.write_bytes(data)


def metadata_of(module: nn.Module) -> dict[str, str]:
    """What `save` must be told so that `load` builds this module again."""
    name = next(name for name, spec in MODELS.items() if spec.module is type(module))
    options = {key: getattr(module, key) for key in _fields(type(module))}
    return {"architecture": name, "fields": json.dumps(options)}


def _fields(module: type[nn.Module]) -> list[str]:
    """What makes a network; not how it is run."""
    return [f.name for f in fields(module) if f.name not in ("parent", "name", "impl")]


def _read(path: Path, said: archs.Arch | None) -> tuple[str, nn.Module, layouts.Tensors, str]:
    """A file's network: its name, module, tensors under our names, and what to tell of it."""
    if reading.is_ncnn(path):
        found = graphs.recognise(read_ncnn(path), path)
        _agree(found.name, found.fields, said, path)
        return _checked(found, path)
    contents = reading.read(path)
    if _is_ours(contents.metadata):
        name, options = _described(contents.metadata, path)
        _agree(name, options, said, path)
        _finite(contents.found, path)
        return _checked(Found(name, options, dict(contents.found)), path)
    fit, note = recognise(variants(contents.found), said, path)
    _finite(fit.variant.tensors, path)
    if normalised(contents.found):
        raise WeightsError(
            f"{path}: its frames are normalised by a mean and a deviation (data_preprocessor), "
            f"which is not done here; {EXPECTED} in [0, 1]"
        )
    found, module = fit.found, fit.module
    if found.name == "sr_unet" and found.fields["scale"] == 2 and not (said and said.fields):
        if "1.5x" in path.name:
            module = module.clone(scale=1.5, corners=True)
        else:
            note = "; ".join(filter(None, (note, TWINS)))
    return found.name, module, found.tensors, note


def _checked(found: Found, path: Path) -> tuple[str, nn.Module, layouts.Tensors, str]:
    """A network that a file describes, compared with its tensors."""
    fit = compared(found, Variant((), found.tensors))
    if fit is None:
        raise WeightsError(f"{path}: cannot be a {found.name} of {found.fields}; {EXPECTED}")
    if not fit.whole:
        raise WeightsError(f"{path}: {told(fit)}")
    return found.name, fit.module, found.tensors, found.note


def _agree(name: str, options: Mapping, said: archs.Arch | None, source) -> None:
    """Refuses an `arch` that is not what the file itself says."""
    if said is None:
        return
    usual = MODELS[name].module
    same = said.name == name and all(
        options.get(key, getattr(usual, key)) == value for key, value in said.fields.items()
    )
    if not same:
        raise WeightsError(f"{source}: is {name} by its own word; leave --arch {said.text} out")


def _finite(tensors: Mapping, path: Path) -> None:
    """Refuses tensors that are no numbers, by name."""
    for name, value in tensors.items():
        if value.dtype.kind in "iubcSUO" or value.dtype.type is np.void:
            raise WeightsError(
                f"{path}: tensor {name} is of {value.dtype}, not of numbers with a point, as of a "
                "quantised network; give the one that it was made of"
            )
        bad = int(np.size(value) - np.isfinite(np.asarray(value, np.float32)).sum())
        if bad:
            raise WeightsError(
                f"{path}: tensor {name} has {bad} of {np.size(value)} values that are not finite "
                "in float32 (NaN or infinite); fetch it again or take an earlier checkpoint"
            )


def _is_ours(metadata: Mapping[str, str]) -> bool:
    """True of a file that `save` wrote, now or later; other tools may say "architecture", too."""
    return {"architecture", "fields"} <= metadata.keys()


def _described(metadata: Mapping[str, str], path: Path) -> tuple[str, dict]:
    """Architecture and fields as our own files state them, checked before anything is built."""
    name = metadata["architecture"]
    if name not in MODELS:
        raise WeightsError(f"{path}: an unknown architecture {name!r}; update jaxvsr")
    try:
        options = json.loads(metadata.get("fields", ""))
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    except (ValueError, AttributeError):
        raise WeightsError(f"{path}: its metadata cannot be read; fetch it again") from None
    for key, value in options.items():
        if key not in _fields(MODELS[name].module):
            raise WeightsError(f"{path}: {name} has no field {key!r}; update jaxvsr")
        default = getattr(MODELS[name].module, key)
        parts = value if isinstance(value, tuple) else (value,)
        whole = all(isinstance(part, int | float | str) for part in parts)
        large = any(isinstance(p, int | float) and not 0 <= p <= LARGEST_FIELD for p in parts)
        if not whole or large or isinstance(value, tuple) != isinstance(default, tuple):
            raise WeightsError(f"{path}: field {key} cannot be {value!r}; fetch it again")
    return name, options
