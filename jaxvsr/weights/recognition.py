"""Tensors to a network: the one whose every tensor is there, in its shape, with none left over.

Readers propose; a proposal counts only when the module would create exactly these parameters. The
nearest one is named where none fits.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvsr.errors import WeightsError
from jaxvsr.models import MODELS
from jaxvsr.weights import chains, layouts
from jaxvsr.weights.archs import Arch
from jaxvsr.weights.layouts import Found, Tensors, tree_shapes
from jaxvsr.weights.wrapping import Variant

EXPECTED = "expected SR-UNet, RRDBNet (ESRGAN), SRVGGNetCompact, SRResNet or ESPCN, of RGB"
CLOSE = 0.5  # share of a network's tensors from which on it is named
NAMED = {"sr_unet": layouts.sr_unet, "unet": layouts.sr_unet, "esrgan": layouts.rrdb}
READERS = (layouts.sr_unet, layouts.rrdb, layouts.srvgg, chains.srresnet, chains.espcn)
STRANGERS = {  # networks that do not run here, by a tensor that only they have
    r"layers\.\d+\.residual_group\.blocks\.\d+\.attn\.qkv\.weight": "SwinIR or HAT",
    r"block_1\.c1_r\.(sk|conv\.0)\.weight": "SPAN",
    r"feats\.\d+\.(lk|pconv|dw)\S*": "RealPLKSR",
    r"layers\.\d+\.blocks\.\d+\.attn\.attns\.\S+": "DAT",
    r"sub_mean\.weight": "EDSR or RCAN",
    r"body\.\d+\.body\.\d+\.body\.\d+\.\S+": "RCAN",
    r"spatial_nets\.\S+|spynet\.\S+": "a recurrent network with optical flow",
    r"(pcd_align|fusion\.temporal_attn1)\.\S+": "EDVR",
    r"unet1\.conv1\.\S+": "CUGAN",
}


@dataclass(frozen=True)
class Fit:
    """A variant of a checkpoint read as a network, and how far it is from being it."""

    variant: Variant
    found: Found
    module: nn.Module
    differences: tuple[tuple[str, object, object], ...]  # parameter, shape seen, shape wanted
    share: float  # of the network's parameters that are there as they should be

    @property
    def whole(self) -> bool:
        """True where every tensor is as the network has it."""
        return not self.differences


def recognise(variants: list[Variant], arch: Arch | None, path) -> tuple[Fit, str]:
    """The variant that is a network as a whole, the likeliest first, and what to tell of it.

    Raises WeightsError with what was found, what was expected and the nearest known network.
    """
    fits = [fit for variant in variants for fit in _fits(variant, arch)]
    whole = _different([fit for fit in fits if fit.whole])
    if not whole:
        raise WeightsError(f"{path}: {_unknown(variants, fits, arch)}")
    first, *others = whole
    equals = [fit for fit in others if fit.variant.rank == first.variant.rank]
    names = ", ".join(fit.variant.name for fit in whole)
    if equals:
        raise WeightsError(f"{path}: holds several networks ({names}); save the wanted one alone")
    note = f"holds {names}; {first.variant.name} is used" if others else ""
    return first, "; ".join(filter(None, (note, first.found.note)))


def compared(found: Found, variant: Variant) -> Fit | None:
    """How these tensors differ from what the module would create; None if it cannot be."""
    try:
        module = MODELS[found.name].module(**found.fields)
        wanted = dict(_wanted(module))
    except Exception:  # a module refuses absurd fields in many ways
        return None
    seen = tree_shapes(found.tensors)
    keys = dict.fromkeys([*wanted, *seen])
    differences = [(k, seen.get(k), wanted.get(k)) for k in keys if seen.get(k) != wanted.get(k)]
    differences.sort(key=lambda difference: difference[1] is not None)  # what is missing first
    good = sum(seen.get(key) == shape for key, shape in wanted.items())
    share = good / max(len(wanted), len(seen), 1)
    return Fit(variant, found, module, tuple(differences), share)


def told(fit: Fit) -> str:
    """The first difference in words."""
    key, seen, wanted = fit.differences[0]
    more = len(fit.differences) - 1
    others = f" (and {more} more)" if more else ""
    return (
        f"looks like {fit.found.name}, but {key} is {'missing' if seen is None else seen} where "
        f"{'nothing' if wanted is None else wanted} was expected{others}; {EXPECTED}"
    )


def shapes_of(tree: Mapping) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter by its path, a/b/kernel."""
    return {path: leaf.shape for path, leaf in layouts.by_path(tree).items()}


@cache
def _wanted(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    side = 16 * getattr(module, "multiple", 1)
    frames = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    tree = jax.eval_shape(module.init, jax.random.key(0), frames).get("params", {})
    return tuple(shapes_of(tree).items())


def _fits(variant: Variant, arch: Arch | None) -> Iterator[Fit]:
    for found in _proposals(variant.tensors, arch):
        fit = compared(found, variant)
        if fit is not None:
            yield fit


def _proposals(tensors: Tensors, arch: Arch | None) -> Iterator[Found]:
    """What the readers take the tensors for; with `arch` only what was said."""
    if arch is None:
        yield from filter(None, (reader(tensors) for reader in READERS))
        return
    found = NAMED[arch.name](tensors) if arch.name in NAMED else chains.said(tensors, arch)
    if found is not None and found.name == arch.name:
        yield Found(found.name, found.fields | dict(arch.fields), found.tensors)


def _different(fits: list[Fit]) -> list[Fit]:
    """Without those that hold the same numbers as one before them."""
    kept: list[Fit] = []
    for fit in fits:
        if not any(_equal(fit.found, other.found) for other in kept):
            kept.append(fit)
    return kept


def _equal(one: Found, two: Found) -> bool:
    if one.name != two.name or one.tensors.keys() != two.tensors.keys():
        return False
    return all(np.array_equal(value, two.tensors[name]) for name, value in one.tensors.items())


def _unknown(variants: list[Variant], fits: list[Fit], arch: Arch | None) -> str:
    """What was found instead of a network, in one line."""
    close = max(fits, key=lambda fit: fit.share, default=None)
    if arch is not None:
        why = f" ({told(close)})" if close else f" ({_seen(variants)})"
        return f"is not what --arch {arch.text} says{why}"
    if close is not None and close.share >= CLOSE:
        return told(close)
    asked = (chains.question(variant.tensors) for variant in variants)
    question = next(filter(None, asked), "")
    if question:
        return question
    return f"not a network known here ({_seen(variants)}); {EXPECTED}"


def _seen(variants: list[Variant]) -> str:
    """How many tensors there are, how the first is called, and what they may be."""
    if not variants:
        return "no tensors by name"
    largest = max(variants, key=lambda variant: len(variant.tensors))
    names = list(largest.tensors)
    patterns = ((p, title) for p, title in STRANGERS.items())
    known = next((t for p, t in patterns if any(re.search(p, name) for name in names)), "")
    shape = "x".join(map(str, largest.tensors[names[0]].shape))
    like = f", as of {known}, which does not run here" if known else ""
    return f"{len(names)} tensors, the first {names[0]}{f' of {shape}' * bool(shape)}{like}"
