"""python -m jaxvsr enhance: a better file out of a bad one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from jaxvsr.commands.reading import Positional
from jaxvsr.commands.speech import Complaints, complain, finish
from jaxvsr.inference.settings import DEFAULT_MODEL, Settings


@dataclass(frozen=True)
class Enhance:
    """Make a better video (or picture, or folder of either) out of INPUT.

    Audio, subtitles, chapters, timing and colours are kept. A run that was stopped goes on when
    the same command is given again.
    """

    input: Annotated[Path, Positional("INPUT")]
    """A video, a picture, or a folder of either."""
    output: Annotated[Path | None, Positional("OUTPUT")] = None
    """Result; .mp4 .mkv .webm .mov .y4m, a picture, or pictures by a pattern such as %05d.png.
    By default it lies beside the input."""
    model: str = DEFAULT_MODEL
    """Name of a packaged network (see `models`), or path or URL of a checkpoint."""
    arch: str = ""
    """What the checkpoint's tensors do not tell: a network, and behind hyphens its activation and
    what its result is added to: espcn-relu, srvgg-leaky0.2-bicubic, srresnet-tanh, sr_unet-x1.5.
    A checkpoint that needs it is refused with the choices."""
    settings: Settings = field(default_factory=Settings)
    preview: bool = False
    """Write only a picture that compares one frame before and after."""
    json: bool = False
    """One JSON line per second on stdout, and a summary."""

    def run(self) -> int:
        """Does it, and returns the exit status."""
        from jaxvsr import weights
        from jaxvsr.host.programs import keep_programs
        from jaxvsr.inference import enhance
        from jaxvsr.weights import archs

        archs.parse(self.arch)
        enhance.check_source(self.input)
        keep_programs()
        net = weights.load(self.model, arch=self.arch)
        for note in net.notes:
            complain(note)
        show = "json" if self.json else "text"
        what, errors = (net, self.input, self.output, self.settings), Complaints()
        if self.preview:
            results = [enhance.enhance_preview(*what)]
        elif self.input.is_dir():
            results = enhance.enhance_folder(*what, show, errors)
        else:
            results = [enhance.enhance_path(*what, show)]
        return finish(results, errors, silent=self.json)
