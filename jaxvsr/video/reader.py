"""Frames of a video in presentation order, upright, as planes, each with its time."""

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice

import av
import numpy as np

from jaxvsr.errors import InputError
from jaxvsr.video import hdr, marks, pixels, streams
from jaxvsr.video.streams import LARGEST, StreamInfo, VideoInfo

__all__ = ["Frame", "StreamInfo", "VideoInfo", "VideoReader"]

PEEK = 8  # frames looked at before anything is decided
RETRIES = 100  # reads that may fail in a row before the file counts as ended
HARMLESS = ("mmco", "co located POC", "number of reference frames", "Unsupported")


@dataclass
class Frame:
    """Planes as `colour.to_rgb` takes them; `pts` and `duration` count `VideoInfo.time_base`.

    `alpha` is transparency as `pixels.alpha_of` has it, None where there is none.
    """

    planes: tuple[np.ndarray, ...]
    pts: int
    duration: int
    corrupt: bool = False
    alpha: np.ndarray | None = None


class VideoReader:
    """Iterates over the frames of a file's main video; a context manager.

    `start` and `duration` choose a span in seconds from the beginning of the file. `interlaced`
    "auto" deinterlaces what is flagged interlaced, "on" everything, "keep" nothing. `stream` is the
    index of a video stream, by default the largest's. `info` holds
    the facts, `damaged` counts damage met so far: frames that could not be decoded, were patched
    up by the decoder, or are missing at the end. Raises InputError where there is nothing to read.
    """

    def __init__(self, path, *, start=None, duration=None, interlaced="auto", stream=None):
        self.damaged, self._number, self._met, self._scaled = 0, stream, set(), {}
        self._path, self._span = str(path), (start, duration)
        self._open()
        try:
            self._decide(interlaced)
        except BaseException:
            self.close()
            raise

    def _open(self):
        self._container = streams.open_media(self._path)
        self._stream = streams.main_video(self._container, self._path, self._number)
        # Threads by frame would be faster, but how they meet damage differs from run to run.
        self._stream.thread_type = "SLICE"
        self._decoder = streams.decoder(self._stream)
        self._others = streams.others(self._container, self._stream.index)
        for stream in self._container.streams:
            if stream.index != self._stream.index:
                stream.discard = av.stream.Discard.all

    def _decide(self, interlaced: str):
        """Looks at the first frames, so that every run over the file decides the same."""
        container, stream = self._container, self._stream
        siting = streams.chroma_siting(container, stream.index)
        self._decoded = self._decode()
        head = list(islice(self._decoded, PEEK))
        if not head:
            raise InputError(f"{self._path}: not one frame can be decoded; the file is damaged")
        first = head[0][0]
        if max(first.width, first.height) > LARGEST or min(first.width, first.height) < 1:
            size = f"{first.width}x{first.height}"
            raise InputError(f"{self._path}: {size} is too large; at most {LARGEST} pixels a side")
        orientation = _orientation(first)
        self._format = pixels.planar(first.format.name)
        if orientation[0] and pixels.facts(self._format)[2] == (1, 2):
            self._format = pixels.named("yuv", pixels.facts(self._format)[1])
        flagged = sum(frame.interlaced_frame for frame, _ in head) * 2 > len(head)
        self._deint = {"keep": None, "on": "all"}.get(interlaced, "interlaced" if flagged else None)
        self._siting, self._orientation = siting or "left", orientation
        self._size, self._head = (first.width, first.height), head
        self.info = self._facts(first, flagged)

    def _facts(self, first, flagged: bool) -> VideoInfo:
        container, stream, path = self._container, self._stream, self._path
        colour = pixels.colour_of_frame(first, self._siting)
        colour = replace(colour, subsampling=pixels.facts(self._format)[2])
        fps = streams.average_rate(stream, [frame for frame, _ in self._head])
        seconds = streams.length(container, stream)
        width, height = self._size
        sar = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        if self._orientation[0]:
            width, height, sar = height, width, 1 / sar
        constant = stream.average_rate == stream.base_rate or stream.start_time is None
        return VideoInfo(
            path=path,
            width=width,
            height=height,
            frames=stream.frames or (round(seconds * fps) if seconds else None),
            fps=fps,
            time_base=Fraction(stream.time_base),
            duration=seconds,
            sar=sar,
            colour=pixels.turned(colour, self._orientation),
            rotation=_degrees(self._orientation),
            interlaced=flagged,
            codec=stream.codec_context.codec.canonical_name,
            pix_fmt=first.format.name,
            container=container.format.name,
            hdr=hdr.read(first),
            streams=self._others,
            stream_index=stream.index,
            start=streams.beginning(container, stream),
            vfr=not constant,
            choice=streams.choice(container, stream),
            marks=marks.of_all([frame for frame, _ in self._head]),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Frees the decoder; its threads are let finish first."""
        if self._stream.codec_context is not None and self._stream.codec_context.is_open:
            self._stream.codec_context.flush_buffers()
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the span. A reader is read once."""
        start, duration = self._span
        first = self.info.start + (start or 0.0)
        last = float("inf") if duration is None else first + duration
        decoded = self._from(first) if start else chain(self._head, self._decoded)
        self._head = []
        tick, pts, length, intact = float(self.info.time_base), 0, 0, 0
        for frame, pts, length, bad in self._timed(self._deinterlaced(decoded)):
            if start and pts * tick < first - tick / 2:
                continue
            if pts * tick >= last - tick / 2:
                return
            self.damaged, intact = self.damaged + bad, intact + (not bad)
            planes = pixels.planes_of(frame, self._format, self._orientation, self._siting)
            alpha = pixels.alpha_of(frame, self._orientation)
            yield Frame(planes, pts, length, bool(bad), alpha)
        whole = self._span == (None, None)
        missing = self._missing(pts + length) if whole else 0
        self.damaged += max(self._late, missing)  # what cannot be decoded at a cut is missing, too
        if whole and self._stream.frames >= intact:
            self.damaged = min(self.damaged, self._stream.frames - intact)

    def surprises(self) -> list[str]:
        """What was met beyond what `info` told, each as a short text: to be said at the end."""
        size = f"{self._size[0]}x{self._size[1]}"
        found = [
            f"{n} frames of {other} were scaled to {size}" for other, n in self._scaled.items()
        ]
        return [*found, *(f"left out: {name}" for name in sorted(self._met - {*self.info.marks}))]

    def _decode(self):
        """(frame, damage since the frame before) in presentation order, whatever the damage."""
        self._late = 0
        for packet in self._packets():
            frames, errors = self._decode_packet(packet)
            marked = sum(frame.is_corrupt for frame in frames)
            self._late += max(errors, marked, bool(packet.size and packet.is_corrupt))
            for frame in frames:
                bad, self._late = self._late, 0
                self._met |= marks.of(frame)
                yield self._sized(frame), bad

    def _decode_packet(self, packet):
        """(frames, 0 or 1): 1 where the decoder complained, even if it patched the picture up."""
        if packet.has_sidedata("encryption_info"):
            raise InputError(f"{self._path}: its video is encrypted; decrypt it first")
        before, _ = av.logging.get_last_error()
        try:
            frames = self._decoder.decode(packet if packet.size else None)
        except EOFError:
            return [], 0
        except (av.FFmpegError, ValueError):
            return [], 1
        return frames, int(_complaints(before))

    def _packets(self):
        """Packets of the main video, going on after bytes that the demuxer cannot read."""
        failures, self._torn = 0, False
        while failures < RETRIES:
            packets = self._container.demux(self._stream)
            try:
                while True:
                    before, _ = av.logging.get_last_error()
                    packet = next(packets, None)
                    if _complaints(before):
                        self._torn, self._late = True, self._late + 1
                    if packet is None:
                        return
                    failures = 0 if packet.size else failures
                    yield packet
            except av.FFmpegError:
                self._torn, failures = True, failures + 1
                self._late += failures == 1
        yield av.Packet()

    def _sized(self, frame):
        """A stream may change its size or format on the way; the film keeps the first one."""
        width, height = getattr(self, "_size", (frame.width, frame.height))
        if (frame.width, frame.height) == (width, height):
            return frame
        other = f"{frame.width}x{frame.height}"
        self._scaled[other] = self._scaled.get(other, 0) + 1
        return frame.reformat(width, height, interpolation="BICUBIC", threads=1)

    def _from(self, first: float):
        """Decoding from the key frame at or before `first` seconds."""
        stream = self._stream
        if stream.start_time is not None:
            target = int(first / stream.time_base) - 1
            try:
                self._container.seek(target, stream=stream)
                self._decoder = streams.decoder(stream)
                decoded = self._decode()
                head = next(decoded, None)
                if head and head[0].pts is not None and head[0].pts <= target + 1:
                    return chain([head], decoded)
            except av.FFmpegError:
                pass
        self.close()
        self._open()
        return self._decode()

    def _timed(self, frames):
        """Times that strictly increase, made up from the frame rate where the file has none."""
        tick = self.info.time_base
        step = max(1, round(1 / (self.info.fps * tick)))
        last, previous, offset = None, step, 0
        for frame, pts, length, bad in frames:
            length = length or step
            if last is None:
                pts = round(self.info.start / tick) if pts is None else pts
            elif pts is None:
                pts = last + previous
            elif pts + offset <= last - round(1 / tick):  # the clock was set back
                offset = last + previous - pts
                pts += offset
            else:
                pts = max(pts + offset, last + 1)
            if bad and last is not None:  # what was lost left a hole in time
                bad = max(bad, round((pts - last) / step) - 1)
            last, previous = pts, length
            yield frame, pts, length, bad

    def _deinterlaced(self, decoded):
        """(frame, pts, duration, damage), through bwdif where it was decided, one for one."""
        if self._deint is None:
            yield from ((f, f.pts, f.duration, bad) for f, bad in decoded)
            return
        graph, times = None, deque()
        for frame, bad in chain(decoded, [(None, 0)]):
            if graph is None and frame is not None:
                graph = _bwdif(frame, self._stream.time_base, self._deint)
            if frame is not None:
                times.append((frame.pts, frame.duration, bad))
                frame.pts = len(times) if frame.pts is None else frame.pts
            graph.vpush(frame)
            while True:
                try:
                    yield graph.vpull(), *times.popleft()
                except (av.BlockingIOError, av.EOFError, IndexError):
                    break

    def _missing(self, end: int) -> int:
        """Frames that the file promised and that a cut at its end took away."""
        promised = streams.promised(self._container, self._stream, torn=self._torn)
        if promised is None:
            return 0
        lost = (promised - float(end * self.info.time_base)) * float(self.info.fps)
        return round(lost) if lost > 1.5 else 0


def _complaints(before: int) -> bool:
    """Whether FFmpeg has logged an error that matters since it had logged `before`."""
    count, last = av.logging.get_last_error()
    return count > before and not any(text in last[2] for text in HARMLESS)


def _bwdif(frame, time_base, which: str):
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=time_base
    )
    nodes = [source, graph.add("bwdif", f"mode=send_frame:parity=auto:deint={which}")]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def _orientation(frame) -> pixels.Orientation:
    """The display matrix as transpose and flips; FFmpeg's rows are where x and y go."""
    data = next((d for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
    if data is None:
        return pixels.UPRIGHT
    a, b, _, c, d = struct.unpack("9i", bytes(data)[:36])[:5]
    if abs(b) > abs(a):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def _degrees(orientation: pixels.Orientation) -> int:
    """Clockwise; a mirrored picture counts as what turns it to its mirror image."""
    transpose, across, upside = orientation
    if transpose:
        return 90 if across else 270
    return 180 if upside else 0
