"""What every paper's run can be told; a paper's own options come on top, in a subclass."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import flax.linen as nn
import jax

from experiments.frame.material import LENGTH
from jaxvsr.commands.reading import HIDDEN
from jaxvsr.data.pipeline import Feed
from jaxvsr.errors import UsageError
from jaxvsr.host.options import Range


@dataclass(frozen=True)
class Config:
    """Options of a run. A paper's subclass has the paper's numbers as defaults."""

    accelerator: Literal["cpu", "gpu", "tpu"] = "cpu"
    smoke: bool = False
    """Two steps a phase of a tiny network on made-up scenes; reads and downloads nothing."""
    use: str = "paper"
    """What is done to clips, and so what the weights are for; a wrong name lists the choices."""
    network: str | None = None
    """Which network; by default what the use calls for. A wrong name lists the choices."""
    scale: Annotated[float, Range(0, 1e4, above=True)] = 1.0
    """Of the paper's steps."""
    rate: Annotated[float, Range(0, 1, above=True)] = 1e-4
    """Adam's: constant, or where each phase peaks."""
    decay: Literal["constant", "cosine"] = "constant"
    """Cosine falls to a fiftieth in each phase: ours, for runs far shorter than the paper's."""
    batch: int = 32
    patch: int = 96
    """Side of a training crop in true pixels."""
    start: str | None = None
    """Weights of the same network to begin with, such as those of a fidelity run, or the folder of
    such a run, whose critics then go on too; RUN/best is where its LPIPS was best."""
    data: tuple[Path, ...] = ()
    """Folders of clips, or NAME/SPLIT=FOLDER for a published set (reds/train=data/REDS), or packs
    (FILE.zip); by default the clips of JAXVSR_DATA, or made-up scenes."""
    share: float = 0.2
    """Of the sequences that is held out to validate on."""
    keep: Path | None = None
    """Folder of coded clips, by default runs/PAPER_data; runs of one use share them."""
    run: Path | None = None
    """Folder of the run, by default runs/PAPER/USE-NETWORK-LOSS; a run found there goes on."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in. Ours."""
    threads: int = 2
    """That cut crops."""
    validate: int = 5000
    """Steps from one validation to the next."""
    seed: int = 0
    net: Annotated[nn.Module | None, HIDDEN] = field(default=None, compare=False)

    @property
    def mark(self) -> str:
        """What tells runs of one use and network apart, as a part of a folder's name."""
        return ""

    @property
    def frames(self) -> int:
        """Of a training crop; more than one for networks that look in time."""
        return 1

    @property
    def flips(self) -> str:
        """How crops are mirrored and turned; see `Feed`."""
        return "horizontal"


def check_numbers(config: Config) -> None:
    """Raises UsageError for numbers that no run can have."""
    if config.scale <= 0 or not 0 < config.share < 1:
        raise UsageError("scale must be above 0, and share between 0 and 1")
    for given, least in {"batch": 1, "threads": 1, "validate": 1, "seed": 0}.items():
        if getattr(config, given) < least:
            raise UsageError(f"{given} {getattr(config, given)}: give {least} or more")
    check_patch(config.patch)


def check_patch(side: int) -> None:
    """Raises UsageError for crops that not every network and critic takes."""
    if side < 32 or side % 16:
        raise UsageError(f"patch {side}: give a multiple of 16 from 32")


def feed_of(config: Config) -> Feed:
    """The batches of a run. Ours: shots of LENGTH frames, each coded on its own."""
    return Feed(
        batch=config.batch,
        crop=config.patch,
        frames=config.frames,
        length=LENGTH,
        flips=config.flips,
        seed=config.seed,
        threads=config.threads,
        hosts=jax.process_count(),
        host=jax.process_index(),
    )
