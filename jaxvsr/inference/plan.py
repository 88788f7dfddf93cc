"""What is decided about a video before its first frame is touched, and what is refused."""

import shutil
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from jaxvsr.errors import OutputError, SpaceError, UsageError
from jaxvsr.host.places import check_parent, check_place, make_folder
from jaxvsr.inference import moving
from jaxvsr.inference.settings import Settings
from jaxvsr.video import colour, encode, mux, names
from jaxvsr.video.animation import AnimationInfo
from jaxvsr.video.sequence import first_picture, is_pattern
from jaxvsr.video.streams import LARGEST, VideoInfo

SEGMENT = 96  # frames; what a crash can cost at most, and the longest distance of key frames
SPARE = 64 << 20  # bytes that must be free beyond a copy of the input


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the first frame is touched."""

    info: VideoInfo
    size: tuple[int, int]  # height, width of the result
    encoding: encode.Encoding | None  # None for pictures, numbered or in one file that moves
    colour: colour.Colour  # of the result
    sar: Fraction  # shape of its pixels
    batch: int
    segment: int


def default_output(info: VideoInfo, net, settings: Settings) -> Path:
    """Beside the input, named after what is done: film_x2.mkv, film_1080p.mkv."""
    source, moves = Path(info.path), isinstance(info, AnimationInfo)
    suffix = moving.default_suffix(info) if moves else mux.default_suffix(info)
    return names.beside(source, "", source.stem, f"_{mark(net, settings)}{suffix}")


def mark(net, settings: Settings) -> str:
    """What is done, as a part of a name: "x2" or "1080p"."""
    return f"{settings.height}p" if settings.height else f"x{settings.scale or net.spec.scale:g}"


def make_plan(net, info: VideoInfo, output: Path, settings: Settings) -> Plan:
    """Sizes, codec and colours of the result. Raises UsageError for what cannot be."""
    if is_pattern(output) or moving.writes_animation(info, output):
        encoding, target = None, _picture_colour(info.colour)
    else:
        choice = {k: getattr(settings, k) for k in ("codec", "crf", "preset", "pix_fmt")}
        encoding = encode.choose(info, output.suffix, **choice)
        target = encode.colour_of(encoding, info.colour)
    sar = info.sar if encoding else Fraction(1)  # pictures cannot tell that pixels are not square
    shape = (info.height, round(info.width * info.sar / sar))
    size = result_size(*shape, net.spec.scale, settings, target.subsampling)
    if encoding:
        encode.check_width(encoding.codec, size[1])
    batch = 1 if net.spec.recurrent else settings.batch or 1
    return Plan(info, size, encoding, target, sar, batch, -(-SEGMENT // batch) * batch)


def result_size(height, width, scale, settings: Settings, subsampling=(1, 1)) -> tuple[int, int]:
    """(height, width) asked for, each a multiple of what the chroma format needs."""
    if settings.height is not None:
        scale = settings.height / height
    factor = scale if settings.scale is None else settings.scale
    sides = (height * factor, width * factor)
    size = tuple(max(1, round(s / m)) * m for s, m in zip(sides, subsampling, strict=True))
    if max(size) > LARGEST:
        raise UsageError(
            f"{width}x{height} times {factor:g} is {size[1]}x{size[0]}, beyond the {LARGEST} "
            "pixels that encoders take; use a smaller --scale or --height"
        )
    return size


def check_output(source: Path, output: Path, plan: Plan, settings: Settings) -> list[str]:
    """Refuses, before any work, what could destroy a file, lose a stream, or not be finished.

    Returns what will be lost although nothing better can be done, each as a short text.
    """
    there = first_picture(output) if is_pattern(output) else output
    check_place(source, there, overwrite=settings.overwrite)
    if there.is_dir():
        raise OutputError(f"{output}: is a folder; name a file, such as {output}/film.mkv")
    if is_pattern(output):
        make_folder(output.parent)
    check_parent(output)
    free, wanted = shutil.disk_usage(output.parent).free, source.stat().st_size + SPARE
    if free < wanted:
        raise SpaceError(
            f"{output.parent}: {free >> 20} MiB are free, at least {wanted >> 20} MiB are "
            "needed; free some space or choose another disk"
        )
    return _lost(output, plan, settings)


def _lost(output: Path, plan: Plan, settings: Settings) -> list[str]:
    """What the output cannot hold; an OutputError if another container, or `convert`, could."""
    info, suffix = plan.info, output.suffix.lower()
    if is_pattern(output):
        return [] if isinstance(info, AnimationInfo) else mux.beside_the_picture(info)
    if moving.writes_animation(info, output):  # of which `moving.said` tells
        return []
    lost = mux.unsupported(info, suffix, plan.encoding, convert=settings.convert)
    if not lost or settings.drop or suffix == ".y4m":
        return lost
    better = mux.default_suffix(info)
    elsewhere = mux.unsupported(info, better) if better != suffix else lost
    converted = mux.unsupported(info, suffix, plan.encoding, convert=True)
    needless = [text for text in lost if text not in elsewhere or text not in converted]
    if needless:
        ways = [f"use {better}"] * any(text not in elsewhere for text in needless)
        ways += ["--convert to encode it anew"] * any(text not in converted for text in needless)
        raise OutputError(
            f"{output}: {suffix} cannot hold {'; '.join(needless)}; "
            f"{', '.join(ways)}, or --drop to do without"
        )
    return lost


def _picture_colour(source: colour.Colour) -> colour.Colour:
    """Full-range RGB of 8 bits, or of 16 for deeper sources."""
    bits = 8 if source.bits == 8 else 16
    plain = {"matrix": "rgb", "full_range": True, "bits": bits, "subsampling": (1, 1)}
    return colour.Colour(**{**asdict(source), **plain})
