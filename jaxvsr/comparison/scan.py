"""When each frame of a video is shown, how many there are and their bytes, without decoding."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from jaxvsr.video import streams
from jaxvsr.video.animation import AnimationInfo
from jaxvsr.video.streams import VideoInfo

RETRIES = 100  # reads that may fail in a row before the file counts as ended
RESET = 1.0  # seconds by which a clock must step back to count as set anew
SHOWN = 0x10  # bit of a VP8 frame's first byte


@dataclass(frozen=True)
class Scan:
    """`times` [T] are seconds from the first frame, which is shown at `zero` of the file's clock.

    `timed` is False where the file has no usable times: those given then follow from the frame
    rate. `lost` counts frames that the file promised but a cut at its end took away; `torn`
    tells that bytes could not be read. `kbps` is the bitrate of the video stream.
    """

    times: np.ndarray
    zero: float
    timed: bool
    torn: bool
    lost: int
    kbps: float | None


def scan(path, info: VideoInfo) -> Scan:
    """Reads the packets of the main video of a file that `info` describes."""
    if isinstance(info, AnimationInfo):
        return _of_animation(info)
    with streams.open_media(path) as container:
        stream = container.streams[info.stream_index]
        packets, torn = _packets(container, stream)
        tick, fps = float(stream.time_base), float(info.fps)
        promised = streams.promised(container, stream, torn=torn)
    shown, timed = _shown(packets, tick)
    times = np.array(sorted(shown)) * tick if timed else np.arange(len(shown)) / fps
    times = times if len(times) else np.zeros(1)
    zero, step = float(times[0]), 1 / fps
    end = max((pts + length for pts, _, _, _, length in packets if pts is not None), default=0)
    end = max(end * tick, float(times[-1]) + step)
    lost = 0 if promised is None or not timed else (promised - end) * fps
    length = times[-1] - zero + step
    kbps = 8e-3 * sum(size for _, _, _, size, _ in packets) / length
    return Scan(times - zero, zero, timed, torn, max(0, round(lost)) if lost > 1.5 else 0, kbps)


def _of_animation(info: AnimationInfo) -> Scan:
    times = np.array([pts for pts, _ in info.shown]) * float(info.time_base)
    kbps = 8e-3 * Path(info.path).stat().st_size / info.duration
    return Scan(times, 0.0, True, False, 0, kbps)


def _packets(container, stream) -> tuple[list[tuple], bool]:
    """([(pts, dts, is key, size, duration)] of packets with a frame, whether reading failed)."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all
    invisible = stream.codec_context.name in ("vp8", "libvpx")
    found, failures = [], 0
    while failures < RETRIES:
        try:
            for packet in container.demux(stream):
                hidden = invisible and packet.size and not bytes(packet)[0] & SHOWN
                if packet.size and not packet.is_discard and not hidden:
                    times = packet.pts, packet.dts
                    found.append((*times, packet.is_keyframe, packet.size, packet.duration or 0))
            return found, failures > 0
        except av.FFmpegError:
            failures += 1
    return found, True


def _shown(packets: list[tuple], tick: float) -> tuple[list, bool]:
    """Presentation times in ticks, and True; or a list as long as there are frames, and False."""
    first = next((i for i, (_, _, key, *_) in enumerate(packets) if key), 0)
    packets = packets[first:]  # nothing decodes before a key frame
    times = [pts for pts, *_ in packets if pts is not None]
    clock = [dts for _, dts, *_ in packets if dts is not None]
    reset = any((b - a) * tick < -RESET for a, b in pairwise(clock))
    if not times or reset:
        return packets, False
    # Frames that come after the first key frame but are shown before it lean on lost ones.
    return sorted({pts for pts in times if packets[0][0] is None or pts >= packets[0][0]}), True
