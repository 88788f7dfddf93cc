"""What checkpoints wrap around a network's tensors, taken off: nests, prefixes, averages, counters.

Every dict inside a checkpoint, and every part of one under a prefix that trainers use, is a
`Variant`. None is chosen here; the networks' readers say which of them is a network as a whole.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jaxvsr.weights.normed import joined

Tensors = dict[str, np.ndarray]

# How trainers call what holds a network, the likelier first.
NETWORKS = ("params", "generator", "netg", "net_g", "g", "gen", "state_dict", "model_state_dict")
NETWORKS += (
    "model_state",
    "net",
    "network",
    "model",
    "module",
    "weights",
    "student",
    "online_model",
)
NETWORKS += ("sr", "upscaler", "backbone", "netsr", "sr_model", "network_g", "model_g", "netg_a2b")
# What stands beside a network in one module while it is trained, and is no part of it.
COMPANIONS = re.compile(
    r"(net_?d|d|disc|discriminator|critic|teacher|criterion|loss|.*_loss|loss_.*|perceptual|vgg.*|"
    r"lpips|cri_.*|.*metrics?|psnr|ssim|data_preprocessor|ema_?model_?decay)(_\w+)?"
)
AVERAGED = ("ema", "averaged", "average", "shadow", "swa")
COUNTERS = ("total_ops", "total_params", "num_batches_tracked", "n_averaged", "step_counter")
COUNTERS += ("initted", "step", "_extra_state", "num_updates", "decay")
INSIDE = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
DEEPEST = 8


@dataclass(frozen=True)
class Variant:
    """Tensors that may be a network, and the words of the way to them: ("params_ema",)."""

    way: tuple[str, ...]
    tensors: Tensors

    @property
    def name(self) -> str:
        """The way in one word."""
        return ".".join(self.way) or "the file itself"

    @property
    def averaged(self) -> bool:
        """True of averages over the steps of training, by their name."""
        return any(_is_average(word) for word in self.way)

    @property
    def rank(self) -> tuple[bool, int]:
        """Averages first, then as `NETWORKS` has them; what has an unknown name last."""
        words = [_plain(word) for word in self.way]
        known = [NETWORKS.index(word) for word in words if word in NETWORKS]
        unknown = [word for word in words if word not in NETWORKS]
        last = len(NETWORKS) * len(unknown) if not self.averaged else 0
        return not self.averaged, min(known, default=0) + last


def variants(found) -> list[Variant]:
    """Everything in a checkpoint that may be a network, the likeliest first."""
    parts = [part for nest in _nests(found, ()) for part in _parts(nest)]
    return sorted(parts, key=lambda variant: variant.rank)


def state_dict(found) -> Tensors:
    """The tensors inside whatever a checkpoint wraps around them; empty if there are none."""
    nests = sorted(_nests(found, ()), key=lambda nest: nest.rank)
    if not nests:
        return {}
    parts = list(_parts(nests[0]))
    whole = [part for part in parts if len(part.tensors) == len(parts[0].tensors)]
    known = [part for part in whole if set(map(_plain, part.way)) <= set(NETWORKS)]
    return (known or whole)[-1].tensors


def normalised(found) -> bool:
    """True where a trainer's own layer (mmagic's) brings frames to another range than [0, 1]."""
    layers = (
        (name, value)
        for nest in _nests(found, ())
        for name, value in nest.tensors.items()
        if re.search(r"(^|\.)data_preprocessor\.(mean|std)$", name)
    )
    return any(not np.allclose(v, 0 if name.endswith("mean") else 255) for name, v in layers)


def _is_average(word: str) -> bool:
    parts = re.split(r"[._\-\s]", word.lower())
    return any(part in AVERAGED or part.endswith("ema") for part in parts)


def _plain(word: str) -> str:
    """A word without what says that it is an average."""
    parts = re.split(r"[._\-\s]", word.lower())
    return "_".join(part for part in parts if part not in AVERAGED) or "params"


def _nests(found, way: tuple[str, ...]) -> Iterator[Variant]:
    """Every dict of tensors, however deep."""
    if not isinstance(found, Mapping) or len(way) > DEEPEST:
        return
    tensors = {str(key): v for key, v in found.items() if isinstance(v, np.ndarray)}
    tensors = _cleaned(tensors)
    if tensors:
        yield Variant(way, tensors)
    for key, value in found.items():
        yield from _nests(value, (*way, str(key)))


def _cleaned(tensors: Tensors) -> Tensors:
    """Without counters and compilers' names, each pair of a norm joined, in float32."""
    kept = {}
    for name, value in tensors.items():
        counts = value.dtype.kind in "iub" and value.size <= 1
        if not counts and name.rpartition(".")[2] not in COUNTERS:
            kept[INSIDE.sub("", name)] = _as_float32(value)
    return joined(kept)


def _as_float32(value: np.ndarray) -> np.ndarray:
    """Numbers with a point in float32; anything else as it is, to be refused by name."""
    small = value.dtype.kind == "V" and value.dtype.type is not np.void  # bfloat16, float8
    if value.dtype.kind != "f" and not small:
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(np.float32, copy=False)


def _parts(whole: Variant) -> Iterator[Variant]:
    """A nest as it is, and what is left of it under its prefixes."""
    yield whole
    if len(whole.way) > DEEPEST:
        return
    groups: dict[str, Tensors] = {}
    for name, value in whole.tensors.items():
        head, _, rest = name.rpartition(".") if "." not in name else name.partition(".")
        groups.setdefault(head, {})[rest] = value
    known = [head for head in groups if _plain(head) in NETWORKS]
    others = [
        head for head in groups if head not in known and not COMPANIONS.fullmatch(head.lower())
    ]
    for head in groups if len(groups) == 1 else known:
        if head and (len(groups) == 1 or not others):
            yield from _parts(Variant((*whole.way, head), groups[head]))
