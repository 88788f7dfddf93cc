"""Weights that are stored as what they are made of: weight norm and spectral norm, multiplied out.

Both the names of `torch.nn.utils.weight_norm` and `spectral_norm` and those of
`torch.nn.utils.parametrizations` are known. What is left over of a pair stays as it is.
"""

import re
from collections.abc import Callable

import numpy as np

Tensors = dict[str, np.ndarray]


def joined(tensors: Tensors) -> Tensors:
    """The same tensors with one weight, in its part's place, for each set of parts."""
    for parts, build in KINDS:
        tensors = _join(tensors, parts, build)
    return tensors


def _join(tensors: Tensors, parts: tuple[str, ...], build: Callable) -> Tensors:
    """`parts` are what follows a module's name, `{leaf}` the parameter's."""
    pattern = re.escape(parts[0]).replace(r"\{leaf\}", r"(?P<leaf>\w+?)")
    found, used = {}, set()
    for name, value in tensors.items():
        match = re.fullmatch(rf"(?P<module>(?:.*\.)?){pattern}", name)
        names = [match["module"] + p.format(leaf=match["leaf"]) for p in parts] if match else []
        if names and all(part in tensors for part in names):
            weight = build(*(tensors[part] for part in names))
            if weight is not None:
                found[match["module"] + match["leaf"]] = weight
                used |= set(names)
                continue
        found[name] = value
    return {name: value for name, value in found.items() if name not in used}


def _weight_norm(gain, direction):
    """gain * direction / |direction|, the norm over every axis along which the gain is 1 long."""
    if gain.ndim not in (0, direction.ndim):
        return None
    axes = tuple(i for i in range(direction.ndim) if gain.ndim == 0 or gain.shape[i] == 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return gain * (direction / np.sqrt(np.square(direction).sum(axis=axes, keepdims=True)))


def _spectral_norm(weight, left, right):
    """The weight over its largest singular value, as its two vectors estimate it."""
    if left.ndim != 1 or right.ndim != 1 or weight.size != left.size * right.size:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return weight / (left @ weight.reshape(left.size, right.size) @ right)


KINDS = (
    (("{leaf}_orig", "{leaf}_u", "{leaf}_v"), _spectral_norm),
    (("{leaf}_g", "{leaf}_v"), _weight_norm),
    (
        (
            "parametrizations.{leaf}.original",
            "parametrizations.{leaf}.0._u",
            "parametrizations.{leaf}.0._v",
        ),
        _spectral_norm,
    ),
    (
        ("parametrizations.{leaf}.original0", "parametrizations.{leaf}.original1"),
        _weight_norm,
    ),
)
