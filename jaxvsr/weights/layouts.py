"""Published tensor names and shapes to (network, fields, parameters): known by their names.

Tensors come and go under PyTorch's names and in its layouts (OIHW); a parameter tree's path
`body_0/rdb1/conv1/kernel` is the name `body.0.rdb1.conv1.weight`. Every size is read off the
tensors. A reader returns None for tensors that are not like its network's; what it returns is
still to be compared with the network, tensor by tensor.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import jax
import numpy as np

from jaxvsr.models.sr_unet import LEVELS

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Found:
    """A name in MODELS, the module's fields, tensors under our names, and what was assumed."""

    name: str
    fields: dict
    tensors: Tensors
    note: str = ""


def to_tree(tensors: Tensors) -> dict:
    """Named PyTorch tensors as a parameter tree of float32."""
    tree: dict = {}
    for name, value in tensors.items():
        *modules, leaf = _path(name, value)
        branch = tree
        for module in modules:
            branch = branch.setdefault(module, {})
        value = np.asarray(value).astype(np.float32)
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        branch[leaf] = np.ascontiguousarray(value)
    return tree


def by_path(tree: Mapping) -> dict:
    """Every leaf of a parameter tree by its path, a/b/kernel."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in leaves}


def tree_shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    """The shapes of `to_tree` by path, a/b/kernel; tensors that make no tree keep their names."""
    found: dict[str, tuple[int, ...]] = {}
    for name, value in tensors.items():
        path, shape = "/".join(_path(name, value)), value.shape
        place = name if path in found else path
        found[place] = (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape
    return found


def _path(name: str, value: np.ndarray) -> list[str]:
    *modules, leaf = re.sub(r"\.(\d+)(?=\.)", r"_\1", name).split(".")
    return [*modules, "kernel" if value.ndim == 4 else leaf]


def from_tree(tree: Mapping, prefix: str = "") -> Tensors:
    """The inverse of `to_tree`; the type of number stays."""
    tensors = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            module = re.sub(r"_(\d+)$", r".\1", name)
            tensors |= from_tree(value, f"{prefix}{module}.")
        else:
            value, leaf = np.asarray(value), "weight" if name == "kernel" else name
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            tensors[prefix + leaf] = np.ascontiguousarray(value)
    return tensors


def count(tensors: Tensors, pattern: str) -> int:
    """One more than the largest number that the pattern's group takes; 0 if it never matches.

    Of numbers with large gaps, which no network has, only how many there are.
    """
    matches = (re.match(pattern, name) for name in tensors)
    found = {int(match[1]) for match in matches if match}
    return min(max(found, default=-1) + 1, 2 * len(found) + 2 if found else 0)


def shuffled(tensors: Tensors, name: str) -> int | None:
    """The r for which this weight or bias is one of 3 r^2 channels."""
    channels = len(tensors[name]) if name in tensors and tensors[name].ndim else 0
    r = isqrt(channels // 3)
    return r if r and 3 * r * r == channels else None


def _side(tensors: Tensors, pattern: str, axis: int) -> int | None:
    """The length along `axis` of the first convolution whose name matches."""
    fit = (v for k, v in tensors.items() if re.fullmatch(pattern, k) and v.ndim == 4)
    first = next(fit, None)
    return None if first is None else first.shape[axis]


def sr_unet(tensors: Tensors) -> Found | None:
    """SR-UNet and its UNet; tensors that the published network never uses are dropped."""
    scale = shuffled(tensors, "conv_last.weight") or shuffled(tensors, "conv_last.bias") or 2
    stages = [f"dconv_down{i + 1}" for i in range(LEVELS)]
    stages += [f"dconv_up{i}" for i in range(LEVELS - 1, 0, -1)]
    depths = tuple(count(tensors, rf"{stage}\.(\d+)\.conv1\.weight$") for stage in stages)
    widths = [_side(tensors, rf"{stage}\.\d+\.conv1\.weight", 0) for stage in stages[:LEVELS]]
    if not (all(depths) and all(widths)):
        return None
    name = "sr_unet" if widths[2] == widths[1] else "unet"
    folded = not any("conv_adapter" in key for key in tensors)

    def used(key: str) -> bool:
        if "conv_adapter." not in key:
            return not key.startswith("to_rgb.")
        kernel = tensors.get(key.rpartition(".")[0] + ".weight")
        return kernel is None or kernel.ndim != 4 or kernel.shape[0] == kernel.shape[1]

    fields = {"scale": scale, "width": widths[1], "depths": depths, "folded": folded}
    return Found(name, fields, {key: value for key, value in tensors.items() if used(key)})


def rrdb(tensors: Tensors) -> Found | None:
    """RRDBNet in the newest layout, or in one of the two older ones after renaming."""
    if any(key.startswith("model.1.sub.") for key in tensors):
        tensors = _rrdb_from_sequence(tensors)
    elif any(key.startswith("RRDB_trunk.") for key in tensors):
        renamed = {"RRDB_trunk.": "body.", "trunk_conv.": "conv_body.", "HRconv.": "conv_hr."}
        renamed |= {"upconv": "conv_up", ".RDB": ".rdb"}
        tensors = {_replace(key, renamed): value for key, value in tensors.items()}
    blocks = count(tensors, r"body\.(\d+)\.rdb\d\.")
    growth = _side(tensors, r"body\.\d+\.rdb\d\.conv[1-4]\.weight", 0)
    features = _side(tensors, r"conv_first\.weight|conv_body\.weight|conv_hr\.weight", 0)
    if not (blocks and growth and features):
        return None
    unshuffle = isqrt((_side(tensors, r"conv_first\.weight", 1) or 3) // 3)
    doublings = count(tensors, r"conv_up(\d+)\.") - 1 if _has(tensors, "conv_up") else 0
    if unshuffle not in (1, 2, 4, 8) or 2**doublings < unshuffle:
        return None
    fields = {"scale": 2**doublings // unshuffle, "features": features, "blocks": blocks}
    plus = any(".conv1x1." in key for key in tensors)
    return Found(
        "esrgan", fields | {"growth": growth, "unshuffle": unshuffle, "plus": plus}, tensors
    )


def _has(tensors: Tensors, start: str) -> bool:
    return any(key.startswith(start) for key in tensors)


def _rrdb_from_sequence(tensors: Tensors) -> Tensors:
    """`model.0`, `model.1.sub.N.RDB1.conv1.0`, ..: the oldest layout, whose places are counted."""
    trunk = count(tensors, r"model\.1\.sub\.(\d+)\.(?:weight|bias)$")
    renamed = {"model.0.": "conv_first.", f"model.1.sub.{trunk - 1}.": "conv_body."}
    top = (re.match(r"model\.(\d+)\.(?:weight|bias)$", key) for key in tensors)
    places = sorted({int(match[1]) for match in top if match} - {0})
    *ups, hr, last = [0, 0, *places]
    renamed |= {f"model.{hr}.": "conv_hr.", f"model.{last}.": "conv_last."} if hr else {}
    ups = [place for place in ups if place]
    renamed |= {f"model.{place}.": f"conv_up{i}." for i, place in enumerate(ups, 1)}
    inner = {"model.1.sub.": "body.", ".RDB": ".rdb"}

    def name(key: str) -> str:
        for old, new in renamed.items():
            if key.startswith(old):
                return new + key.removeprefix(old)
        return re.sub(r"(conv\w+)\.0\.(weight|bias)$", r"\1.\2", _replace(key, inner))

    return {name(key): value for key, value in tensors.items()}


def _replace(key: str, renamed: dict[str, str]) -> str:
    for old, new in renamed.items():
        key = key.replace(old, new)
    return key


def srvgg(tensors: Tensors) -> Found | None:
    """SRVGGNetCompact with PReLUs, over the nearest enlargement as its authors have it."""
    last = count(tensors, r"body\.(\d+)\.weight$") // 2 * 2
    bent = any(re.fullmatch(r"body\.\d+\.weight", k) and v.ndim == 1 for k, v in tensors.items())
    if last < 2 or not bent:
        return None
    scale = shuffled(tensors, f"body.{last}.weight") or shuffled(tensors, f"body.{last}.bias") or 4
    features = _side(tensors, r"body\.0\.weight", 0) or _side(tensors, r"body\.\d+\.weight", 1)
    fields = {"scale": scale, "features": features, "convs": last // 2 - 1}
    single = lambda key, v: v.shape == (1,) and re.fullmatch(r"body\.\d+\.weight", key)
    spread = lambda key, v: np.broadcast_to(v, (features,)) if single(key, v) else v
    return Found("srvgg", fields, {key: spread(key, value) for key, value in tensors.items()})
