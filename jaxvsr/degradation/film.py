"""One video file to a worse one: decode | spoil | encode, frame by frame, the rest copied.

The picture is coded in one piece, because key frames and rates mean nothing in pieces; the
output and its record appear when they are whole.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from jaxvsr.degradation import record
from jaxvsr.degradation.coding import options, refusal
from jaxvsr.degradation.downscale import quantise, reduced
from jaxvsr.degradation.recipe import Recipe
from jaxvsr.errors import DISK_FULL, InputError, OutputError, SpaceError, StoppedError, UsageError
from jaxvsr.host.files import whole
from jaxvsr.host.pipeline import ahead
from jaxvsr.host.places import check_place
from jaxvsr.host.progress import Progress
from jaxvsr.inference import moving
from jaxvsr.inference.film import announce_streams
from jaxvsr.inference.plan import Plan, check_output
from jaxvsr.inference.settings import Result, Settings
from jaxvsr.video import encode, mux, names
from jaxvsr.video.animation import AnimationInfo
from jaxvsr.video.colour import Colour, from_rgb, to_rgb
from jaxvsr.video.opening import Reader, open_film
from jaxvsr.video.sequence import PictureWriter, frame_suffix, is_pattern, publish
from jaxvsr.video.streams import VideoInfo

DEPTH = 4  # frames that wait for the encoder
READ_BACK = ("libx264", "libvpx-vp9")  # whose QPs only their decoders tell


@dataclass
class Written:
    """What was written: segments, the times of their frames, facts about these."""

    segments: list[Path]
    times: list[tuple[int, int]] = field(default_factory=list)
    facts: record.Facts = field(default_factory=record.Facts)


def degrade_film(
    source: Path, output: Path, recipe: Recipe, settings: Settings, show="none", name: str = ""
):
    """Spoils the video `source`, called `name`, into `output` by `recipe`; returns a `Result`.

    OUTPUT.json beside it tells what came out. Raises InputError, OutputError or UsageError before
    work starts, SpaceError or StoppedError later; then nothing is left behind.
    """
    span = {"start": settings.start, "duration": settings.duration}
    how = {"interlaced": settings.interlaced, "stream": settings.stream}
    with open_film(source, **span, **how) as reader:
        plan = make_plan(reader.info, output, recipe)
        lost = check_output(source, output, plan, settings)
        said = moving.said(reader.info, output, settings, flat=True)
        reader.flat = True
        check_place(source, record_path(output), overwrite=settings.overwrite)
        progress = Progress(
            name or str(source), expected(reader.info, span), float(reader.info.fps), show=show
        )
        announce(progress, plan, recipe, said)
        announce_streams(progress, plan.info, output, lost, settings)
        with _workplace(output) as folder:
            written = _write(reader, plan, recipe, folder, progress, frame_suffix(output))
            lame = _deliver(written, plan, output, folder, {**span, "convert": settings.convert})
            told = _told(written, plan, recipe, reader, progress)
            write_record(told, output)
    for what in reader.surprises():
        progress.notice(what)
    if lame:
        progress.notice(f"{lame} packets of sound or subtitles are damaged and were left out")
    if reader.damaged:
        progress.notice(f"{reader.damaged} frames of the input are damaged or missing")
    progress.finish(output=str(output), damaged=reader.damaged, kbps=told.get("kbps"))
    seconds = progress.facts()["seconds"]
    return Result(output, len(written.times), reader.damaged, seconds, tuple(progress.notices))


def record_path(output: Path) -> Path:
    """Where the record of an output lies: film.mp4.json beside film.mp4."""
    return names.beside(output, "", output.name, ".json")


def make_plan(info: VideoInfo, output: Path, recipe: Recipe) -> Plan:
    """Size, encoder and colours of the result. Raises UsageError for what cannot be."""
    size = recipe.size(info.height, info.width)
    if recipe.codec is None:
        encoding = _lossless(info, output)
    else:
        encode.check_width(recipe.codec, size[1])
        if is_pattern(output):
            raise UsageError(f"{output}: pictures hold no {recipe.codec}; add --codec none")
        chosen = encode.choose(info, output.suffix, codec=recipe.codec, pix_fmt="yuv420p")
        coded = options(recipe) | {"threads": "1"}
        encoding = replace(chosen, crf=recipe.crf, preset=recipe.preset, options=coded, alpha=False)
    if encoding is None:
        plain = {"matrix": "rgb", "full_range": True, "bits": 8, "subsampling": (1, 1)}
        colour = Colour(**asdict(info.colour) | plain)
    else:
        colour = encode.colour_of(encoding, info.colour)
    sar = info.sar if encoding else Fraction(1)
    return Plan(info, size, encoding, colour, sar, 1, 0)


def _lossless(info: VideoInfo, output: Path) -> encode.Encoding | None:
    """FFV1 that holds 8-bit RGB exactly; None for numbered pictures."""
    if is_pattern(output):
        return None
    if output.suffix.lower() != ".mkv":
        raise UsageError(
            f"{output}: without a codec the result is lossless RGB; "
            "write .mkv or pictures such as %05d.png, or choose a --codec"
        )
    return replace(encode.choose(info, ".mkv", codec="ffv1", pix_fmt="gbrp10le"), alpha=False)


def expected(info: VideoInfo, span: dict) -> int | None:
    """About how many frames there will be."""
    if span == {"start": None, "duration": None} or info.duration is None:
        return info.frames
    left = max(info.duration - (span["start"] or 0), 0)
    return round(min(left, span["duration"] or left) * info.fps)


def announce(progress: Progress, plan: Plan, recipe: Recipe, said) -> None:
    """Says what a person might not expect of the result."""
    info = plan.info
    for text in said:
        progress.notice(text)
    height, width = recipe.used(info.height, info.width)
    if (height, width) != (info.height, info.width):
        progress.notice(
            f"cut from {info.width}x{info.height} to {width}x{height}, to divide evenly"
        )
    if info.colour.bits > 8:
        progress.notice(f"{info.colour.bits} bits become 8")
    if plan.sar != info.sar:
        progress.notice(f"pixels of shape {info.sar} are written as they are; pictures cannot tell")
    if info.interlaced:
        progress.notice("interlaced: deinterlacing")


def spoiled(reader: Reader, plan: Plan, recipe: Recipe) -> Iterator[tuple]:
    """(planes, (pts, duration)) of every spoiled frame, in the plan's colours.

    Without a codec the papers begin and end with 8-bit pictures, and so does this; with one,
    nothing is rounded or clipped between the source's codes and the result's.
    """
    source = reader.info.colour
    swscale = replace(source, bits=8, subsampling=(2, 2))
    if source.matrix in ("rgb", "gray"):
        swscale = Colour()
    for index, frame in enumerate(reader):
        rgb = to_rgb(frame.planes, source)
        if recipe.codec is None:
            rgb = _whole_levels(rgb)
        small = reduced(rgb, recipe, index, swscale)
        if recipe.codec is None:
            small = _whole_levels(small)
        yield from_rgb(small, plan.colour), (frame.pts, frame.duration)


def _whole_levels(rgb: np.ndarray) -> np.ndarray:
    return np.float32(quantise(rgb)) / 255


def _write(reader, plan: Plan, recipe: Recipe, folder: Path, progress, suffix: str) -> Written:
    """Codes the picture into one segment."""
    path = folder / (f"pictures{suffix}" if plan.encoding is None else "picture.mkv")
    written = Written([path])
    with ExitStack() as stack:
        stack.enter_context(_named(plan, recipe))
        writer = _open(path, plan, recipe, written.facts)
        stack.enter_context(closing(writer))
        frames = ahead(spoiled(reader, plan, recipe), DEPTH)
        for planes, when in stack.enter_context(closing(frames)):
            writer.write(planes)
            written.times.append(when)
            progress.add(1)
    if not written.times:
        raise InputError(f"{plan.info.path}: no frames in the chosen span; check --start")
    if recipe.codec is not None:
        record.hear_file(path, written.facts, decodes=recipe.codec in READ_BACK)
    return written


@contextmanager
def _named(plan: Plan, recipe: Recipe) -> Iterator[None]:
    """An encoder's refusal as a UsageError that tells what it was asked for."""
    try:
        yield
    except OutputError as error:
        if not isinstance(error.__cause__, (av.ArgumentError, av.ExternalError)):
            raise
        what = f"{plan.size[1]}x{plan.size[0]} by {recipe.codec}"
        raise UsageError(f"{what}: {refusal(error.__cause__)}; try other settings") from error


def _open(path: Path, plan: Plan, recipe: Recipe, facts: record.Facts):
    if plan.encoding is None:
        return PictureWriter(path, plan.colour, path.suffix)
    (height, width), info = plan.size, plan.info
    more = {"fps": info.fps, "sar": plan.sar, "colour": plan.colour, "hdr": info.hdr}
    if recipe.codec is not None:
        more["heard"] = lambda packet: facts.hear_packet(packet, recipe.codec)
    return encode.SegmentWriter(path, plan.encoding, width=width, height=height, **more)


def _deliver(written: Written, plan: Plan, output: Path, folder: Path, how: dict) -> int:
    """Joins picture and the rest of the source and renames the whole into place."""
    if plan.encoding is None:
        publish(written.segments, output)
        return 0
    draft = folder / f"joined{output.suffix}"
    info = replace(plan.info, sar=plan.sar)
    if isinstance(info, AnimationInfo):  # which has no streams beside the picture
        info = replace(info, path=str(written.segments[0]))
    lame = mux.assemble(written.segments, written.times, info, draft, **how)
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    draft.replace(output)
    return lame


def _told(written: Written, plan: Plan, recipe: Recipe, reader, progress: Progress) -> dict:
    info, times = plan.info, written.times
    seconds = float((times[-1][0] + times[-1][1] - times[0][0]) * info.time_base)
    size = len(times), *plan.size
    facts = {"name": Path(info.path).name, "width": info.width, "height": info.height}
    facts |= {"fps": float(info.fps), "codec": info.codec, "damaged": reader.damaged}
    told = record.tell(recipe, written.facts, size, round(seconds, 6))
    told["recipe"] |= {"fps": None, "matrix": None}  # a file keeps its own
    return told | {"source": facts, "notices": list(progress.notices)}


def write_record(told: dict, output: Path) -> None:
    """Writes the record beside the output, whole or not at all."""
    with whole(record_path(output)) as draft:
        draft.write_text(json.dumps(told, indent=None, allow_nan=False) + "\n")


@contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """A folder beside the output for unfinished files, gone afterwards whatever happens."""
    try:
        prefix = names.beside(output, ".", output.name[:32], ".").name
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=output.parent))
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror}; choose another output") from error
    try:
        yield folder
    except KeyboardInterrupt:
        raise StoppedError("stopped; nothing was written") from None
    except OSError as error:
        if error.errno in DISK_FULL:
            raise SpaceError(f"{output}: the disk is full; free some space") from error
        raise OutputError(f"{output}: {error.strerror or error}; choose another output") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
