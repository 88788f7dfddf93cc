"""Containers as targets: opened for writing, and asked what becomes of a stream in them."""

import io
import os
from typing import Literal

import av
from av.codec.context import Flags

from jaxvsr.video import converting, copying, names
from jaxvsr.video.streams import StreamInfo, VideoInfo, open_media

FORMATS = {".mkv": "matroska", ".webm": "webm", ".mp4": "mp4", ".mov": "mov"}
TRIAL = {".webm": "libvpx-vp9"}  # a video that the container takes, to try its header with

Fate = Literal["copied", "guest", "convertible", "lost"]
"""What becomes of a stream: copied; copied as a codec of Windows, which Matroska holds under
Windows' name for it; lost, unless it is converted; lost."""


def open_target(path, suffix: str, *, guests=False, options=None) -> av.container.OutputContainer:
    """The container for writing; `path` may be a file in memory.

    With `guests` the way goes through FFmpeg's tee, which leaves the muxer itself to say what it
    can hold: PyAV refuses what Matroska has no name of its own for. Chapters get lost there.
    """
    form, options = FORMATS[suffix], dict(options or {})
    if not guests:
        where = path if isinstance(path, io.BytesIO) else names.url(path)
        return av.open(where, "w", format=form, container_options=options)
    parts = ":".join(f"{key}={value}" for key, value in {"f": form, **options}.items())
    name = "".join(f"\\{c}" if c in "\\'| \t\r\n" else c for c in names.url(path))
    clock = {key: value for key, value in options.items() if key == "avoid_negative_ts"}
    return av.open(f"[{parts}]{name}", "w", format="tee", container_options=clock)


def fates(info: VideoInfo, suffix: str) -> dict[int, Fate]:
    """What becomes of each of `info.streams` in a container, as its muxer says."""
    if not info.streams:
        return {}
    if suffix not in FORMATS:
        return {stream.index: "lost" for stream in info.streams}
    with open_media(info.path) as source:
        return {s.index: _fate(source.streams[s.index], suffix) for s in info.streams}


def _fate(stream, suffix: str) -> Fate:
    if copying.is_timecode(stream):
        return "lost" if suffix == ".webm" else "copied"
    if _holds(stream, suffix):
        return "copied"
    may_be_guest = suffix == ".mkv" and stream.type in ("audio", "video")
    if may_be_guest and _holds(stream, suffix, guests=True):
        return "guest"
    return "convertible" if converting.target_codec(stream, suffix) else "lost"


def _holds(stream, suffix: str, *, guests=False) -> bool:
    """Whether a header with this stream can be written, found out by writing one to nowhere."""
    try:
        with open_target(os.devnull if guests else io.BytesIO(), suffix, guests=guests) as target:
            trial = target.add_stream(TRIAL.get(suffix, "libx264"), rate=25)
            trial.width = trial.height = 64
            trial.codec_context.flags |= Flags.global_header  # the tee does not ask for it
            copying.add(target, stream, suffix)
            target.start_encoding()
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True


def describe(stream: StreamInfo) -> str:
    """Such as "audio stream 1 (aac, eng)"."""
    language = f", {stream.language}" if stream.language else ""
    return f"{stream.type} stream {stream.index} ({stream.codec or 'unknown codec'}{language})"


def changes(info: VideoInfo, suffix: str) -> list[str]:
    """What `--convert` makes of the streams that the container cannot hold, each as a text."""
    found = fates(info, suffix)
    if "convertible" not in found.values():
        return []
    with open_media(info.path) as source:
        return [
            f"{describe(s)} becomes {converting.result(source.streams[s.index], suffix)}"
            for s in info.streams
            if found[s.index] == "convertible"
        ]
