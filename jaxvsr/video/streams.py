"""What a media file holds: opened, its streams listed, its main video found."""

import logging
import re
import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from jaxvsr.errors import InputError, UsageError
from jaxvsr.video import names
from jaxvsr.video.colour import Colour

logging.getLogger("libav").addHandler(logging.NullHandler())  # FFmpeg's talk goes nowhere
LARGEST = 16384  # pixels a side; most decoders and all encoders here go no further
SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg"}
SUFFIXES |= {".mpeg", ".vob", ".wmv", ".flv", ".3gp", ".ogv", ".y4m", ".ivf", ".mxf", ".gif"}
SUFFIXES |= {".264", ".h264", ".265", ".h265", ".hevc"}  # by which a folder's videos are known
# Formats whose head tells when the file ends on its own clock, not how long it is.
CLOCKED = ("matroska,webm", "asf", "nut")
_DUMP = threading.Lock()
_LOCATIONS = "left|center|topleft|top|bottomleft|bottom"


@dataclass(frozen=True)
class StreamInfo:
    """A stream of the file beside the main video; `codec` is "" where FFmpeg knows none."""

    index: int
    type: str
    codec: str
    language: str = ""


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video and its file. Sizes and `sar` are of the upright picture.

    `frames` is an estimate or None, `fps` the average rate, `duration` in seconds or None,
    `rotation` the clockwise degrees by which the reader turns the pixels, `start` the second at
    which the file begins, `hdr` as `jaxvsr.video.hdr.read` gives it, `pix_fmt` the file's
    own; `vfr` tells that the file does not claim one constant rate, `choice` which of several
    videos this is, or "" where there is one; `marks` names what the frames carry that is not
    written back.
    """

    path: str
    width: int
    height: int
    frames: int | None
    fps: Fraction
    time_base: Fraction
    duration: float | None
    sar: Fraction
    colour: Colour
    rotation: int
    interlaced: bool
    codec: str
    pix_fmt: str
    container: str
    hdr: dict
    streams: tuple[StreamInfo, ...]
    stream_index: int
    start: float = 0.0
    vfr: bool = False
    choice: str = ""
    marks: tuple[str, ...] = ()


def quiet() -> None:
    """Keeps FFmpeg off stderr; errors are still counted, which is how damage is noticed."""
    if av.logging.get_level() != av.logging.FATAL:
        av.logging.set_level(av.logging.FATAL)


def check_there(path: Path) -> None:
    """Raises InputError where there is no file or folder of that name, or can be none."""
    try:
        there = path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: {reason}; check the name") from None
    if not there:
        raise InputError(f"{path}: no such file or folder; check the name")


def open_media(path) -> av.container.InputContainer:
    """Opens a file for reading. Raises InputError where it is missing or not media."""
    quiet()
    path = Path(path)
    check_there(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; get it again")
    try:
        return av.open(names.url(path), metadata_errors="replace")
    except PermissionError:
        raise InputError(f"{path}: no permission to read it; change its rights") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: not a video, or cut off at its head ({reason}); check the file"
        ) from None


def main_video(container, path, number: int | None = None):
    """The video stream with that index, or the largest; never a cover picture.

    Raises InputError where there is none, UsageError where `number` is none of them.
    """
    pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    videos = [s for s in container.streams.video if not s.disposition & pictures]
    if not videos:
        kinds = sorted({s.type for s in container.streams}) or ["nothing"]
        raise InputError(f"{path}: holds no video ({', '.join(kinds)} only); name a video file")
    readable = [s for s in videos if s.codec_context is not None]
    if not readable:
        raise InputError(f"{path}: no decoder for its video; convert it with another tool first")
    if number is None:
        return max(readable, key=lambda s: (s.width * s.height, -s.index))
    chosen = next((s for s in readable if s.index == number), None)
    if chosen is None:
        known = ", ".join(_sketch(s) for s in readable)
        raise UsageError(f"{path}: stream {number} is no video; choose --stream from {known}")
    return chosen


def choice(container, stream) -> str:
    """Which of several videos `stream` is, in a sentence; "" where there is only one."""
    pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    videos = [s for s in container.streams.video if not s.disposition & pictures]
    if len(videos) < 2:
        return ""
    known = ", ".join(_sketch(s) for s in videos)
    return f"{len(videos)} videos: {known}; taking {stream.index}, --stream chooses another"


def _sketch(stream) -> str:
    context = stream.codec_context
    return f"{stream.index} ({context.name} {context.width}x{context.height})" if context else "?"


def decoder(stream):
    """What decodes a stream's packets: itself, or where VP8 and VP9 have transparency, libvpx.

    They keep it in packets beside the picture's, at which FFmpeg's own decoders do not look.
    """
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    layered = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.codec.canonical_name)
    if layered is None or tags.get("alpha_mode") != "1":
        return stream
    return av.CodecContext.create(layered, "r")


def others(container, index: int) -> tuple[StreamInfo, ...]:
    """Every stream but the main video; mp4's chapter track is no stream, but chapters."""
    return tuple(
        StreamInfo(s.index, s.type, codec_name(s), s.language or "")
        for s in container.streams
        if s.index != index and s.discard != av.stream.Discard.all
    )


def codec_name(stream) -> str:
    """The codec's canonical name, "" where there is none."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return (getattr(stream, "name", None) or "") if stream.type == "data" else ""


def chroma_siting(container, index: int) -> str | None:
    """The tagged place of chroma samples, which PyAV tells only in its listing of a file."""
    with _DUMP:
        try:
            av.logging.set_level(av.logging.VERBOSE)
            av.logging.set_libav_level(av.logging.VERBOSE)  # it is said only to the curious
            listing = container.dumps_format()
        finally:
            av.logging.set_libav_level(av.logging.INFO)
            av.logging.set_level(av.logging.FATAL)
    line = next((x for x in listing.splitlines() if f"Stream #0:{index}" in x), "")
    match = re.search(rf", ({_LOCATIONS})[,)]", line)
    return match[1] if match else None


def average_rate(stream, head) -> Fraction:
    """Frames per second; `head` are the first frames.

    A raw stream without times has only its own header's word, and a rate beyond any camera's is
    the clock's, not the film's.
    """
    if stream.duration is None and stream.start_time is None and head[0].duration:
        return 1 / (head[0].duration * stream.time_base)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    times = [frame.pts for frame in head if frame.pts is not None]
    if rate and rate > 240 and len(times) > 1 and times[-1] > times[0]:
        return (len(times) - 1) / ((times[-1] - times[0]) * Fraction(stream.time_base))
    return Fraction(rate) if rate else Fraction(25)


def beginning(container, stream) -> float:
    """The second at which the file begins, on its own clock."""
    if container.start_time is not None:
        return container.start_time / av.time_base
    return float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0


def length(container, stream) -> float | None:
    """Seconds from the file's beginning to its end, by what its head says."""
    if container.format.name in CLOCKED and container.duration:
        return max(container.duration / av.time_base - max(beginning(container, stream), 0), 0)
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def promised(container, stream, *, torn: bool) -> float | None:
    """The second of the file's own clock at which its video should end; None if it does not say.

    What a head says of the whole file is the video's own where there is nothing else, and counts,
    too, where the file is `torn`.
    """
    clocked = container.format.name in CLOCKED
    if not clocked and stream.duration is not None and stream.start_time is not None:
        return float((stream.start_time + stream.duration) * stream.time_base)
    alone = len(container.streams) == 1 and stream.start_time is not None
    if not (torn or alone) or container.duration is None:
        return None
    return container.duration / av.time_base + (0 if clocked else beginning(container, stream))
