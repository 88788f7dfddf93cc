"""Streams copied without decoding, with their metadata, chapters and times."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.stream import Disposition

# Words of the old container about itself, and statistics that hold no longer.
OWN = {"major_brand", "minor_version", "compatible_brands", "encoder"}
NO_TEXT = b"\0\0"  # how mp4 says that nothing is shown; its muxer writes these by itself
# QuickTime knows languages by other codes than everyone else.
QUICKTIME = {"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "swe": "sve"}
STATISTICS = ("BPS", "NUMBER_OF_", "DURATION", "_STATISTICS_")


def metadata(tags: dict, *, encoded: bool = False) -> dict:
    """The tags to keep; of a video that was `encoded` anew, none that tells of the old bytes."""
    gone = OWN | ({"rotate", "vendor_id", "alpha_mode", "ALPHA_MODE"} if encoded else set())
    kept = {key: value for key, value in tags.items() if key not in gone and key != "ENCODER"}
    return {k: v for k, v in kept.items() if not (encoded and k.startswith(STATISTICS))}


@dataclass(frozen=True)
class Span:
    """Seconds of the source's clock: the one that becomes 0, and the end of what is kept."""

    origin: Fraction = Fraction(0)
    last: float | None = None


def chapters(source, span: Span) -> list[dict]:
    """The source's chapters in the span, on its clock."""
    moved = []
    for chapter in source.chapters():
        tick = Fraction(chapter["time_base"])
        shift = round(span.origin / tick)
        begin, end = max(0, chapter["start"] - shift), chapter["end"] - shift
        if span.last is not None:
            end = min(end, round(Fraction(span.last) / tick) - shift)
        if end > begin:
            moved.append({**chapter, "start": begin, "end": end})
    return moved


def add(target, stream, suffix: str):
    """A stream in `target` like `stream`: codec, header, language, title, dispositions.

    Raises ValueError or an FFmpegError where the container cannot hold it.
    """
    if stream.codec_context is None and stream.type not in ("data", "attachment"):
        raise ValueError(f"no codec is known for stream {stream.index}")
    if stream.disposition & Disposition.attached_pic and suffix == ".mkv":
        return _cover(target, stream)
    opaque = {} if stream.codec_context is None else {"opaque": True}
    copy = target.add_stream_from_template(stream, **opaque)
    describe(copy, stream, suffix)
    if stream.type == "video" and stream.average_rate:
        copy.codec_context.framerate = stream.average_rate
    copy.time_base = stream.time_base
    return copy


def describe(copy, stream, suffix: str) -> None:
    """What `stream` says of itself, said by `copy`."""
    copy.metadata.update(metadata(stream.metadata))
    if suffix == ".mov" and stream.language in QUICKTIME:
        copy.metadata["language"] = QUICKTIME[stream.language]
    copy.disposition = int(stream.disposition)


def is_timecode(stream) -> bool:
    """Whether a stream only repeats a `timecode` tag, from which muxers write it themselves."""
    return stream.type == "data" and "timecode" in stream.metadata


def _cover(target, stream):
    """A cover picture as an attachment, which is what Matroska has for it."""
    with av.open(stream.container.name) as source:
        data = next(bytes(p) for p in source.demux(source.streams[stream.index]) if p.size)
    kind = {"mjpeg": "jpeg"}.get(stream.codec_context.name, stream.codec_context.name)
    name = stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
    return target.add_attachment(name, f"image/{kind}", data)


def packets(source, copies: dict, span: Span, converters: dict) -> Iterator[av.Packet]:
    """Packets of the copied and converted streams, ready for the muxer.

    Times move by the span's origin. Where that is not 0, or the span ends, packets outside of it
    are left out, and subtitles and data that reach over its ends are shortened to it.
    """
    held = {index for index, copy in copies.items() if copy.type == "attachment"}
    kept = (copies.keys() | converters.keys()) - held
    wanted = [s for s in source.streams if s.index in kept]
    if not wanted:
        return
    lasts, started = {}, set()
    for packet in _demuxed(source, wanted):
        stream = packet.stream
        if _is_nothing(packet):
            continue
        if stream.disposition & Disposition.attached_pic:
            packet.pts = packet.dts = 0
        elif not _cut(packet, span, started):
            continue
        before = lasts.get(stream.index)
        if before is not None and packet.dts <= before:  # a muxer takes no step back
            packet.dts = before + 1
            packet.pts = max(packet.pts, packet.dts)
        lasts[stream.index] = packet.dts
        if stream.index in converters:
            yield from converters[stream.index].feed(packet)
            continue
        packet.stream = copies[stream.index]
        yield packet
    for converter in converters.values():
        yield from converter.finish()


def _is_nothing(packet) -> bool:
    """Whether a packet only ends a stream, or ends a subtitle of mp4."""
    if packet.stream.type != "subtitle":
        return not packet.size
    return packet.size == 2 and bytes(packet) == NO_TEXT


def _demuxed(source, wanted) -> Iterator[av.Packet]:
    """Packets until the file ends; the reader has told of bytes that cannot be read."""
    for _ in range(100):
        try:
            yield from source.demux(wanted)
            return
        except av.FFmpegError:
            continue


def _cut(packet, span: Span, started: set) -> bool:
    """Moves a packet to the new clock; False where it lies outside of the span."""
    stream, tick = packet.stream, packet.time_base
    if packet.pts is None and packet.dts is None:
        return False
    packet.pts = packet.dts if packet.pts is None else packet.pts
    packet.dts = packet.pts if packet.dts is None else packet.dts
    if span.last is not None and packet.pts * tick >= span.last:
        return False
    shift = round(span.origin / tick)
    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
    if stream.type in ("subtitle", "data"):
        return _shorten(packet, span, shift)
    if span.origin and stream.type == "video" and stream.index not in started:
        if packet.pts < 0 or not packet.is_keyframe:
            return False
        started.add(stream.index)
    return packet.pts >= 0 or not span.origin


def _shorten(packet, span: Span, shift: int) -> bool:
    """Cuts a text or a datum, its time moved already, to the span; False where nothing is left."""
    begin, end = packet.pts, packet.pts + (packet.duration or 0)
    if span.last is not None:
        end = min(end, round(Fraction(span.last) / packet.time_base) - shift)
    if span.origin and begin < 0:
        if end <= 0:
            return False
        begin = 0
        packet.pts = packet.dts = 0
    if packet.duration:
        packet.duration = max(1, end - begin)
    return True
