"""python -m jaxvsr enhance: a better file out of a bad one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from jaxvsr import weights
from jaxvsr.commands.speech import Complaints, complain, finish
from jaxvsr.inference.enhance import check_source, enhance_folder, enhance_path, enhance_preview
from jaxvsr.inference.network import DEFAULT
from jaxvsr.inference.settings import Settings
from jaxvsr.weights import archs


@dataclass(frozen=True)
class Enhance:
    """Make a better video (or picture, or folder of either) out of INPUT.

    Audio, subtitles, chapters, timing and colours are kept. A run that was stopped goes on when
    the same command is given again.
    """

    input: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="INPUT")]
    """A video, a picture, or a folder of either."""
    output: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="OUTPUT")] = None
    """Result; .mp4 .mkv .webm .mov .y4m, a picture, or pictures by a pattern such as %05d.png.
    By default it lies beside the input."""
    model: str = DEFAULT
    """Name of a packaged network (see `models`), or path or URL of a checkpoint."""
    arch: str = ""
    """What the checkpoint's tensors do not tell: a network, and behind hyphens its activation and
    what its result is added to: espcn-relu, srvgg-leaky0.2-bicubic, srresnet-tanh, sr_unet-x1.5.
    A checkpoint that needs it is refused with the choices."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    preview: bool = False
    """Write only a picture that compares one frame before and after."""
    json: bool = False
    """One JSON line per second on stdout, and a summary."""

    def run(self) -> int:
        """Does it, and returns the exit status."""
        archs.parse(self.arch)
        check_source(self.input)
        net = weights.load(self.model, arch=self.arch)
        for note in net.notes:
            complain(note)
        show = "json" if self.json else "text"
        what, errors = (net, self.input, self.output, self.settings), Complaints()
        if self.preview:
            results = [enhance_preview(*what)]
        elif self.input.is_dir():
            results = enhance_folder(*what, show, errors)
        else:
            results = [enhance_path(*what, show)]
        return finish(results, errors, silent=self.json)
