"""Streams copied without decoding, with their metadata, chapters and times."""

from collections.abc import Iterator
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
    gone = OWN | ({"rotate", "vendor_id"} if encoded else set())
    kept = {key: value for key, value in tags.items() if key not in gone and key != "ENCODER"}
    return {k: v for k, v in kept.items() if not (encoded and k.startswith(STATISTICS))}


def chapters(source, origin: Fraction) -> list[dict]:
    """The source's chapters on a clock that begins at `origin` seconds of the old one."""
    moved = []
    for chapter in source.chapters():
        shift = round(origin / Fraction(chapter["time_base"]))
        begin, end = max(0, chapter["start"] - shift), chapter["end"] - shift
        if end > 0:
            moved.append({**chapter, "start": begin, "end": end})
    return moved


def add(target, stream):
    """A stream in `target` like `stream`: codec, header, language, title, dispositions.

    Raises ValueError or an FFmpegError where the container cannot hold it.
    """
    if stream.codec_context is None and stream.type not in ("data", "attachment"):
        raise ValueError(f"no codec is known for stream {stream.index}")
    if stream.disposition & Disposition.attached_pic and target.format.name == "matroska":
        return _cover(target, stream)
    opaque = {} if stream.codec_context is None else {"opaque": True}
    copy = target.add_stream_from_template(stream, **opaque)
    copy.metadata.update(metadata(stream.metadata))
    if target.format.name == "mov" and stream.language in QUICKTIME:
        copy.metadata["language"] = QUICKTIME[stream.language]
    copy.disposition = int(stream.disposition)
    if stream.type == "video" and stream.average_rate:
        copy.codec_context.framerate = stream.average_rate
    copy.time_base = stream.time_base
    return copy


def is_timecode(stream) -> bool:
    """Whether a stream only repeats a `timecode` tag, from which muxers write it themselves."""
    return stream.type == "data" and "timecode" in stream.metadata


def _cover(target, stream):
    """A cover picture as an attachment, which is what Matroska has for it."""
    with av.open(stream.container.name) as source:
        data = next(bytes(p) for p in source.demux(source.streams[stream.index]) if p.size)
    kind = "png" if stream.codec_context.name == "png" else "jpeg"
    name = stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
    return target.add_attachment(name, f"image/{kind}", data)


def packets(source, copies: dict, origin: Fraction, last: float | None) -> Iterator[av.Packet]:
    """Packets of the copied streams, ready for the muxer.

    Times move by `origin` seconds. When that is not 0 or `last` is given, packets outside of
    [origin, last) are left out; subtitles that reach into the span are shortened to it.
    """
    held = {index for index, copy in copies.items() if copy.type == "attachment"}
    wanted = [s for s in source.streams if s.index in copies.keys() - held]
    if not wanted:
        return
    lasts, started = {}, set()
    for packet in _demuxed(source, wanted):
        stream = packet.stream
        if not packet.size and stream.type != "subtitle":
            continue
        if packet.size == 2 and stream.type == "subtitle" and bytes(packet) == NO_TEXT:
            continue
        if stream.disposition & Disposition.attached_pic:
            packet.pts = packet.dts = 0
        elif not _cut(packet, origin, last, started):
            continue
        before = lasts.get(stream.index)
        if before is not None and packet.dts <= before:  # a muxer takes no step back
            packet.dts = before + 1
            packet.pts = max(packet.pts, packet.dts)
        lasts[stream.index] = packet.dts
        packet.stream = copies[stream.index]
        yield packet


def _demuxed(source, wanted) -> Iterator[av.Packet]:
    """Packets until the file ends; the reader has told of bytes that cannot be read."""
    for _ in range(100):
        try:
            yield from source.demux(wanted)
            return
        except av.FFmpegError:
            continue


def _cut(packet, origin: Fraction, last: float | None, started: set) -> bool:
    """Moves a packet to the new clock; False where it lies outside of the span."""
    stream, tick = packet.stream, packet.time_base
    if packet.pts is None and packet.dts is None:
        return False
    packet.pts = packet.dts if packet.pts is None else packet.pts
    packet.dts = packet.pts if packet.dts is None else packet.dts
    if last is not None and packet.pts * tick >= last:
        return False
    shift = round(origin / tick)
    begin, end = packet.pts - shift, packet.pts - shift + (packet.duration or 0)
    packet.pts, packet.dts = begin, packet.dts - shift
    if not origin:
        return True
    if stream.type == "subtitle" and begin < 0 < end:
        packet.pts, packet.dts, packet.duration = 0, 0, end
        return True
    if stream.type == "video" and stream.index not in started:
        if begin < 0 or not packet.is_keyframe:
            return False
        started.add(stream.index)
    return begin >= 0
