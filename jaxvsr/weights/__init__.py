"""A name, a path or a URL to a network with its parameters: packaged, cached, every layout.

Files hold tensors and nothing that runs: `.safetensors`, `.pth`/`.pt` and ncnn `.param/.bin`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from jaxvsr.errors import WeightsError
from jaxvsr.host.files import whole
from jaxvsr.layers import fold
from jaxvsr.models import MODELS, Spec, spec_of
from jaxvsr.weights import layouts
from jaxvsr.weights.ncnn import read_ncnn
from jaxvsr.weights.store import PACKAGED, locate
from jaxvsr.weights.unpickle import read_checkpoint

__all__ = ["PACKAGED", "Loaded", "load", "metadata_of", "save", "shapes_of"]

CLASSICAL = ("bicubic", "lanczos")  # networks without parameters, loaded by their own name
EXPECTED = "expected SR-UNet, RRDBNet (ESRGAN), SRVGGNetCompact, SRResNet or ESPCN, of RGB"
LARGEST_FIELD = 4096  # a width or depth above this is not a network


@dataclass(frozen=True)
class Loaded:
    """A network ready to run: its name in MODELS, module, facts and parameters."""

    name: str
    module: nn.Module
    spec: Spec
    params: Mapping


def load(name_or_path: str | Path, *, folded: bool = True) -> Loaded:
    """Reads weights by packaged name, path or URL (see `store.fetch`); parameters are float32.

    Architecture, scale, width and depth are read off the tensors. `folded` turns blocks that
    have an inference form into it; False keeps what can be trained on. Raises WeightsError with
    the cause and the remedy; nothing in the file is run.
    """
    source = str(name_or_path)
    if source in CLASSICAL:
        module = MODELS[source].module()
        return Loaded(source, module, spec_of(source, module), {})
    path = locate(source)
    tensors, metadata = _read(path)
    if "architecture" in metadata:
        name, options, found = *_described(metadata, path), tensors
    else:
        recognised = layouts.recognise(tensors)
        if not recognised:
            raise WeightsError(f"{path}: not a network known here ({_seen(tensors)}); {EXPECTED}")
        name, options, found = recognised
        options = options | _named_scale(name, options, path)
    module, params = MODELS[name].module(**options), layouts.to_tree(found)
    _check(name, module, params, path)
    if folded and getattr(module, "folded", True) is False:
        module, params = module.clone(folded=True), jax.tree.map(np.asarray, fold(params))
    return Loaded(name, module, spec_of(name, module), params)


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


def _read(path: Path) -> tuple[layouts.Tensors, dict[str, str]]:
    """Tensors and metadata of a file whose kind is told by how it begins."""
    if path.suffix in (".param", ".bin") or not path.is_file():
        return layouts.from_ncnn(read_ncnn(path)), {}
    with open(path, "rb") as file:
        head = file.read(16)
    if head[8:9] == b"{" and head[6:8] == b"\0\0":
        return _read_safetensors(path)
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return layouts.state_dict(read_checkpoint(path)), {}
    kind = "an empty file" if not head else "not a file of weights"
    raise WeightsError(f"{path}: {kind}; expected .safetensors, .pth/.pt or ncnn .param/.bin")


def _read_safetensors(path: Path) -> tuple[layouts.Tensors, dict[str, str]]:
    try:
        with safe_open(path, "flax") as file:
            metadata = file.metadata() or {}
            tensors = {key: np.asarray(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        detail = " ".join(str(error).split())[:100]
        raise WeightsError(f"{path}: damaged safetensors ({detail}); fetch it again") from None
    return (tensors if metadata else layouts.state_dict(tensors)), metadata


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


def _named_scale(name: str, options: dict, path: Path) -> dict:
    """The published x1.5 SR-UNet has the tensors of x2: only its file's name tells."""
    if name == "sr_unet" and options["scale"] == 2 and "1.5x" in path.name:
        return {"scale": 1.5, "corners": True}
    return {}


def _check(name: str, module: nn.Module, params: dict, path: Path) -> None:
    """Compares names and shapes with what the module would create."""
    side = 16 * getattr(module, "multiple", 1)
    frames = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    try:
        tree = jax.eval_shape(module.init, jax.random.key(0), frames).get("params", {})
    except Exception as error:  # a module refuses absurd fields in many ways
        detail = " ".join(str(error).split())[:80]
        raise WeightsError(f"{path}: cannot be a {name} ({detail}); {EXPECTED}") from None
    wanted, found = shapes_of(tree), shapes_of(params)
    for key in [*wanted, *found]:
        if wanted.get(key) != found.get(key):
            seen = found.get(key, "missing")
            raise WeightsError(
                f"{path}: looks like {name}, but {key} is {seen} where "
                f"{wanted.get(key, 'nothing')} was expected; {EXPECTED}"
            )


def shapes_of(tree: Mapping) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter by its path, a/b/kernel."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(p, simple=True, separator="/"): v.shape for p, v in leaves}


def _seen(tensors: layouts.Tensors) -> str:
    if not tensors:
        return "no tensors by name"
    return f"{len(tensors)} tensors, the first {next(iter(tensors))}"
