"""python -m jaxvsr enhance: a better file out of a bad one."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from jaxvsr.commands.reading import Positional
from jaxvsr.commands.speech import Complaints, complain, finish, tell_passed
from jaxvsr.errors import UsageError
from jaxvsr.inference.settings import DEFAULT_MODEL, Result, Settings


@dataclass(frozen=True)
class Enhance:
    """Make a better video (or picture, or folder of either) out of INPUT.

    INPUT, INPUT OUTPUT, or INPUT INPUT ... FOLDER. Audio, subtitles, chapters, timing and colours
    are kept. A run that was stopped goes on when the same command is given again.
    """

    paths: Annotated[tuple[str, ...], Positional("PATH")]
    """INPUT: a video, a picture, a folder of either, a pattern such as "films/*.mp4", a pipe, or -
    for standard input. OUTPUT: .mp4 .mkv .webm .mov .y4m, a picture, pictures by a pattern such as
    %05d.png, or - for standard output with --format; of many inputs, a folder. By default it lies
    beside the input."""
    output: str | None = None
    """OUTPUT, where all others are inputs; also -o."""
    model: str = DEFAULT_MODEL
    """Name of a packaged network (see `models`), or path or URL of a checkpoint."""
    arch: str = ""
    """What the checkpoint's tensors do not tell: a network, and behind hyphens its activation and
    what its result is added to: espcn-relu, srvgg-leaky0.2-bicubic, srresnet-tanh, sr_unet-x1.5.
    A checkpoint that needs it is refused with the choices."""
    settings: Settings = field(default_factory=Settings)
    recursive: bool = False
    """Go into the folders of a folder, and keep them in the output."""
    format: str | None = None
    """Format of an output whose name does not tell it (-, and the films of a folder): mkv, mp4,
    webm, mov, y4m, png ..."""
    preview: bool = False
    """Write only a picture that compares one frame before and after."""
    json: bool = False
    """One JSON line per second on stdout, and a summary."""

    def run(self) -> int:
        """Does it, and returns the exit status."""
        from jaxvsr import weights
        from jaxvsr.host import folders, pipes
        from jaxvsr.host.programs import keep_programs
        from jaxvsr.inference.enhance import enhance_found
        from jaxvsr.weights import archs

        archs.parse(self.arch)
        inputs, output, is_folder = folders.divided(self.paths, self.output)
        found = folders.gather(inputs, output, recursive=self.recursive)
        many = not found.single or is_folder
        streamed = output is not None and pipes.is_stream(output)
        self._check(many, streamed)
        keep_programs()
        net = weights.load(self.model, arch=self.arch)
        for note in net.notes:
            complain(note)
        show, errors = "json" if self.json else "text", Complaints()
        if many:
            suffix = self.format and f".{self.format.lower().lstrip('.')}"
            results = enhance_found(net, found, output, self.settings, show, errors, suffix)
        else:
            results = [self._one(net, found.files[0][0], output, show)]
        tell_passed(found, show)
        return finish(results, errors, silent=self.json, to_stderr=streamed)

    def _check(self, many: bool, streamed: bool) -> None:
        """Refuses what cannot go together, before any work."""
        if many and (streamed or self.preview):
            what = "one stream" if streamed else "one --preview"
            raise UsageError(f"several files cannot go to {what}; name one, or a folder for all")
        if streamed and self.json:
            raise UsageError("--json writes to stdout, and so does the output; choose one of them")

    def _one(self, net, source: Path, output: Path | None, show: str) -> Result:
        """Enhances one file, to a file or a stream."""
        from jaxvsr.host import pipes
        from jaxvsr.inference.enhance import enhance_path, enhance_preview

        with pipes.to_stream(output, self.format) as target:
            if not self.preview:
                result = enhance_path(net, source, target, self.settings, show)
            else:
                with pipes.as_file(source, target) as path:
                    result = enhance_preview(net, path, target, self.settings)
        return result if target == output else replace(result, output=output)
