"""python -m jaxvsr degrade: a worse file out of a good one, as the papers do to their data."""

from dataclasses import dataclass
from typing import Annotated, Literal

from jaxvsr.commands.reading import Positional
from jaxvsr.commands.speech import Complaints, aligned, finish, tell_passed
from jaxvsr.errors import UsageError
from jaxvsr.host.options import Range, Time
from jaxvsr.inference.settings import Settings


@dataclass(frozen=True)
class Degrade:
    """Make a worse video (or picture, or folder of either) out of INPUT, as a paper does.

    What is not given is as the --preset has it (--list shows them all). Times, sound and the rest
    are kept. OUTPUT.json beside the output tells what came out: the bitrate, and of each frame its
    type, bytes and QP. The same command gives the same bytes.
    """

    paths: Annotated[tuple[str, ...], Positional("PATH")] = ()
    """INPUT: a video, a picture, a folder of either, a pattern such as "films/*.mp4", a pipe, or -
    for standard input. OUTPUT: .mp4 .mkv .webm .mov, a picture, (without a codec) pictures by a
    pattern such as %05d.png; of many inputs, a folder. By default it lies
    beside the input."""
    output: str | None = None
    """OUTPUT, where all others are inputs; also -o."""
    recursive: bool = False
    """Go into the folders of a folder, and keep them in the output."""
    preset: str = "sr-unet"
    """The recipe to begin with; see --list. The encoder's own preset is --speed."""
    list: bool = False
    """Show the presets and what they do."""
    factor: float | None = None
    """Sides are divided by this: 2, 1.5 ..."""
    downscale: Literal["bicubic", "lanczos", "area", "imresize", "gaussian", "swscale"] | None = (
        None
    )
    """bicubic, lanczos (Pillow's), area (exact mean), imresize (MATLAB's bicubic: BI), gaussian
    (and one pixel in `factor`: BD) or swscale (FFmpeg's bicubic)."""
    sigma: float | None = None
    """Of the gaussian downscale, in source pixels."""
    taps: int | None = None
    """Width of the gaussian downscale, in source pixels."""
    phase: Literal["aligned", "first"] | None = None
    """Where the gaussian downscale looks: at the middle of a block, or at its first pixel, which
    shifts the picture."""
    blur: float | None = None
    """Sigma of a Gaussian blur before all else, in source pixels."""
    noise: float | None = None
    """Strength of Gaussian noise after the downscale, in levels of 255."""
    seed: int | None = None
    """Of the noise."""
    codec: str | None = None
    """libx264, libx265, libvpx-vp9, libsvtav1 (or h264, h265, vp9, av1), or none for a lossless
    result."""
    crf: float | None = None
    """Quality of the encoder: higher is worse."""
    kbps: float | None = None
    """Mean bitrate of the video in kilobits a second, instead of --crf."""
    vbv: float | None = None
    """Bound the bitrate over a buffer of so many seconds (x264, x265)."""
    speed: str | None = None
    """The encoder's own preset: veryfast, medium ..., a number for VP9 and AV1."""
    gop: int | None = None
    """Frames from one key frame to the next, at most."""
    start: Annotated[float | str | None, Time()] = None
    """Second to begin at, or a time such as 00:01:02.5 (default: the beginning)."""
    duration: Annotated[float | str | None, Time(above=True)] = None
    """Seconds to take, or a time (default: to the end)."""
    stream: Annotated[int | None, Range(0, 999, "the number of a stream")] = None
    """Number of the video stream to take, where a file holds several
    (default: the largest)."""
    drop: bool = False
    """Leave out streams that the output's container cannot hold, instead of refusing."""
    convert: bool = False
    """Encode anew sound and text subtitles that the output's container cannot hold, instead of
    refusing."""
    overwrite: bool = False
    """Replace an existing output and its record."""
    json: bool = False
    """One JSON line per second on stdout, and a summary."""

    def run(self) -> int:
        """Does it, and returns the exit status."""
        from jaxvsr.degradation.anything import degrade_found, degrade_path
        from jaxvsr.host import folders
        from jaxvsr.host.pipes import is_stream

        if self.list:
            print(aligned(rows()))
            return 0
        chosen = self.recipe()
        names = ("start", "duration", "stream", "drop", "convert", "overwrite")
        kept = {name: getattr(self, name) for name in names}
        settings, show = Settings(**kept), "json" if self.json else "text"
        inputs, output, is_folder = folders.divided(self.paths, self.output)
        found = folders.gather(inputs, output, recursive=self.recursive)
        if output is not None and is_stream(output):
            raise UsageError(f"{output}: a record lies beside the result; name a file")
        what, errors = (output, chosen, settings, self.preset, show), Complaints()
        if found.single and not is_folder:
            results = [degrade_path(found.files[0][0], *what)]
        else:
            results = degrade_found(found, *what, errors)
        tell_passed(found, show)
        return finish(results, errors, silent=self.json)

    def recipe(self):
        """The preset's recipe with what was given in its place."""
        from jaxvsr.degradation.presets import recipe

        names = ("factor", "downscale", "sigma", "taps", "phase", "blur", "noise", "seed", "codec")
        names += ("crf", "kbps", "vbv", "gop")
        changes = {name: getattr(self, name) for name in names}
        return recipe(self.preset, preset=self.speed, **changes)


def rows() -> list[dict]:
    """The presets as rows of the list."""
    from jaxvsr.degradation.presets import PRESETS

    return [_row(name, preset) for name, preset in PRESETS.items()]


def _row(name: str, preset) -> dict:
    made = preset.recipe
    rate = "lossless" if made.codec is None else f"{made.codec} {made.preset}"
    if made.codec:
        rate += f" CRF {made.crf:g}" if made.kbps is None else f" {made.kbps:g} kb/s"
        rate += f" GOP {made.gop}"
    return {
        "preset": name,
        "downscale": f"{made.downscale} 1/{made.factor:g}",
        "codec": rate,
        "source (ours: what it does not say)": preset.source
        + (f" (ours: {preset.ours})" if preset.ours else ""),
    }
