"""What a user says of a network where its tensors do not: the words of `--arch`.

NAME, then what leaves no trace in a checkpoint, joined by hyphens: `srvgg-leaky0.2-bicubic`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jaxvsr.errors import UsageError

SMOOTH = ("tanh", "elu", "gelu", "silu", "mish")
ACTIVATIONS = ("prelu", "relu", "leaky", *SMOOTH)  # leaky: a slope may follow, leaky0.2
BASES = ("nearest", "bilinear", "bicubic", "plain")  # enlarged and added; plain: nothing is
WORDS = {  # name: what may follow it
    "sr_unet": ("x2", "x1.5"),
    "unet": (),
    "esrgan": (),
    "srvgg": (*ACTIVATIONS, *BASES),
    "espcn": (*(a for a in ACTIVATIONS if a != "prelu"), "plain", "bicubic"),
    "srresnet": ("linear", "tanh"),
}
ALSO = {"rrdb": "esrgan", "rrdbnet": "esrgan", "realesrgan": "esrgan", "real_esrgan": "esrgan"}
ALSO |= {"compact": "srvgg", "srvggnetcompact": "srvgg", "srunet": "sr_unet"}
SLOPE = 0.1  # of a LeakyReLU of which nothing is said, as SRVGGNetCompact has it
CHOICES = (
    "sr_unet[-x2|-x1.5], unet, esrgan, srvgg[-prelu|-relu|-leaky0.1|..][-nearest|-bilinear|"
    "-bicubic|-plain], espcn[-tanh|-relu|-leaky0.1|..][-plain|-bicubic], srresnet[-linear|-tanh]"
)


@dataclass(frozen=True)
class Arch:
    """A network's name in MODELS, and the fields that were said of it."""

    name: str
    fields: Mapping
    text: str


def parse(text: str) -> Arch | None:
    """What `--arch` says; None for "". Raises UsageError with the choices."""
    if not text:
        return None
    name, *words = text.lower().strip().split("-")
    name = ALSO.get(name, name)
    fields: dict = {}
    for word in words:
        found = _field(name, word)
        if found is None or fields.keys() & found.keys():
            raise UsageError(f"--arch {text}: {word!r} does not go there; choose {CHOICES}")
        fields |= found
    if name not in WORDS:
        raise UsageError(f"--arch {text}: no such network; choose {CHOICES}")
    return Arch(name, fields, text)


def _field(name: str, word: str) -> dict | None:
    """The fields that a word behind a network's name sets."""
    slope = re.fullmatch(r"leaky(?:relu)?(0?\.\d+)?", word)
    known = WORDS.get(name, ())
    if slope and "leaky" in known:
        return {"activation": "leaky", "slope": float(slope[1] or SLOPE)}
    if word not in known:
        return None
    if name == "sr_unet":
        return {"scale": 1.5, "corners": True} if word == "x1.5" else {"scale": 2}
    if name == "srresnet":
        return {"tanh": word == "tanh"}
    if word in ACTIVATIONS:
        return {"activation": word}
    return {"base": word} if name == "srvgg" else {"residual": word == "bicubic"}
