"""What a paper says of itself: its claim, and a table of its numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Study:
    """A table of a paper, how it was measured, and what stands in it.

    `degradation` is a preset and `crf` its own. `rows` are {network: {metric: number}}, "fps" among
    the metrics; `measured` says on which clips and device. `curves` heads the rate-distortion
    curves, for which clips are reduced by `factor`, doubled, and reduced to their own size;
    `published` is what the paper has of them under `heading`: {name: (SSIM, LPIPS, VMAF, kbit/s)}.
    """

    table: str
    rows: Mapping[str, Mapping[str, float]]
    measured: str
    degradation: str
    crf: int
    scale: int = 2
    way: str = ""
    curves: str = ""
    factor: float = 1.5
    heading: str = ""
    published: Mapping[str, tuple] = field(default_factory=dict)


@dataclass(frozen=True)
class Paper:
    """What `python -m experiments` lists: `name` is the folder's, `state` what can be run."""

    name: str
    title: str
    reference: str
    source: str
    claim: str
    state: str
    study: Study | None = None
