"""Encoded segments and everything else of the source, put together into one file.

Nothing but the picture is touched: sound, subtitles, data, attachments and further videos are
copied packet by packet, and every frame gets its own presentation time back. What the container
cannot hold is left out, or encoded anew where that is asked for.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

import av

from jaxvsr.errors import OutputError, UsageError
from jaxvsr.video import containers, converting, copying, encode, hdr, marks, matroska, rawvideo
from jaxvsr.video.containers import FORMATS, Fate
from jaxvsr.video.failing import failing
from jaxvsr.video.streams import VideoInfo, open_media

BROADCAST = ("mpegts", "mpeg")  # their clocks begin anywhere
# Metadata that mp4 knows by a name of its own; for any other key it needs Apple's free form.
MP4_KEYS = {"title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"}
MP4_KEYS |= {"copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"}
MP4_KEYS |= {"network", "keywords", "track", "disc", "compilation", "media_type", "creation_time"}


def assemble(
    segments, times, info: VideoInfo, output, *, start=None, duration=None, convert=False
) -> int:
    """Writes `output`, its format told by its suffix; returns how many copied packets were lost.

    Those are sound or subtitles so damaged in the source that the format has no place for them.

    `segments` are files by `SegmentWriter` in order; `times` holds (pts, duration) of each of
    their frames in `info.time_base`. With `start` or `duration`, seconds from the beginning of the
    file as for `VideoReader`, the other streams are cut to the span and everything begins at 0.
    `convert` encodes anew what the container cannot hold. Raises OutputError, or SpaceError when
    the disk is full.
    """
    output = Path(output)
    if output.suffix.lower() == ".y4m":
        with failing(output):
            rawvideo.write_y4m(segments, info, output)
        return 0
    ordinals = [_ordinals(path) for path in segments]
    if sum(map(len, ordinals)) != len(times):
        raise OutputError(
            f"{output}: {len(times)} frames were enhanced but the segments hold "
            f"{sum(map(len, ordinals))}; delete the .part folder and run again"
        )
    with failing(output), open_media(info.path) as source:
        span = _span(info, start, duration)
        job = _outline(source, info, segments[0], output, span, convert=convert)
        with job.target as target:
            target.start_encoding()
            pictures = _pictures(segments, ordinals, times, info, job.video, span.origin)
            rest = copying.packets(source, job.copies, span, job.converters)
            lost = sum(not _mux(target, p, job.video) for p in _interleaved(pictures, rest))
        if job.room:
            matroska.finish(output, info.sar, job.chapters)
    return lost


@dataclass
class _Job:
    """An open file: its main video stream, {index in the source: stream or converter}."""

    target: av.container.OutputContainer
    video: av.VideoStream | None  # None until its place among the streams comes
    copies: dict
    converters: dict
    room: str  # that `matroska.finish` is to fill, "" where it has nothing to do
    chapters: list[dict]  # that it has to write


def _mux(target, packet, video) -> bool:
    """Whether the packet was written; one of the picture has to be."""
    try:
        target.mux(packet)
    except (av.InvalidDataError, av.ArgumentError):
        if packet.stream is video:
            raise
        return False
    return True


def unsupported(info: VideoInfo, suffix: str, encoding=None, *, convert=False) -> list[str]:
    """What the container (and the encoding, if given) cannot hold, each as a short text.

    With `convert` streams that can be encoded anew are not among it.
    """
    if suffix.lower() == ".y4m":
        return beside_the_picture(info)
    suffix, kept = suffix.lower(), {"copied", "guest"} | ({"convertible"} if convert else set())
    found = containers.fates(info, suffix)
    lost = [containers.describe(s) for s in info.streams if found[s.index] not in kept]
    lost += info.hdr.get("dynamic", ())
    static = "mastering" in info.hdr or "light" in info.hdr
    if static and encoding is not None and encoding.codec not in hdr.CARRIERS:
        lost.append(f"HDR mastering metadata ({encoding.codec} cannot write it)")
    if encoding is None and marks.ALPHA in info.marks:
        with suppress(UsageError):
            encoding = encode.choose(info, suffix)
    written = {marks.ALPHA} if encoding is not None and encoding.alpha else set()
    return [*lost, *(mark for mark in info.marks if mark not in written)]


def beside_the_picture(info: VideoInfo) -> list[str]:
    """Everything that raw video and numbered pictures have no place for."""
    lost = [containers.describe(stream) for stream in info.streams]
    with open_media(info.path) as source:
        lost += ["chapters"] * bool(source.chapters())
        lost += ["title and other tags"] * bool(copying.metadata(source.metadata))
    lost += ["frame times (one constant rate is left)"] * info.vfr
    static = {"mastering", "light"} & info.hdr.keys()
    return [*lost, *["HDR metadata"] * bool(static), *info.hdr.get("dynamic", ()), *info.marks]


def default_suffix(info: VideoInfo) -> str:
    """The input's own container where it can hold everything, else the one that loses least."""
    own = Path(info.path).suffix.lower()
    if own not in FORMATS:
        own = ".mp4" if "mp4" in info.container else ".mkv"
    losses = {}
    for suffix in dict.fromkeys((own, ".mkv", ".mov", ".mp4")):
        with suppress(UsageError):
            encoding = encode.choose(info, suffix)
            found = containers.fates(info, suffix).values()
            losses[suffix] = sum(fate in ("convertible", "lost") for fate in found)
            losses[suffix] += marks.ALPHA in info.marks and not encoding.alpha
            if not losses[suffix]:
                break
    return min(losses, key=losses.get, default=".mkv")


def _span(info: VideoInfo, start, duration) -> copying.Span:
    """Seconds of the source's clock: the one that becomes 0, and where the rest is cut."""
    last = None if duration is None else info.start + (start or 0.0) + duration
    if start:
        return copying.Span(Fraction(info.start + start), last)
    origin = Fraction(info.start) if info.container in BROADCAST else Fraction(0)
    return copying.Span(origin, last)


def _outline(source, info: VideoInfo, first, output: Path, span, *, convert) -> _Job:
    """The output with all its streams, before its header is written."""
    suffix = output.suffix.lower()
    metadata, fates = copying.metadata(source.metadata), containers.fates(info, suffix)
    options = {"fflags": "+bitexact"}  # else Matroska draws its UIDs
    if suffix in (".mkv", ".webm"):
        options["avoid_negative_ts"] = "disabled"
    free = {key.lower() for key in metadata} - MP4_KEYS
    if suffix in (".mp4", ".mov") and free and not _has_cover(source):  # it is one or the other
        options["movflags"] = "+use_metadata_tags"
    guests, chapters = "guest" in fates.values(), copying.chapters(source, span)
    target = containers.open_target(output, suffix, guests=guests, options=options)
    target.metadata.update(metadata)
    target.set_chapters(chapters)
    late = chapters if guests else []
    room = matroska.padding(late) if late or _needs_aspect(info, suffix) else ""
    job = _Job(target, None, {}, {}, room, late)
    for stream in source.streams:
        if stream.index == info.stream_index:
            job.video = _video(target, first, stream, info, suffix, room)
        else:
            _add(job, stream, fates.get(stream.index, "lost"), suffix, convert=convert)
    for stream in filter(copying.is_timecode, source.streams):
        if fates.get(stream.index) == "copied":
            job.video.metadata.setdefault("timecode", stream.metadata["timecode"])
    return job


def _add(job: _Job, stream, fate: Fate, suffix: str, *, convert) -> None:
    """One more stream of the source, as it is to be kept."""
    if copying.is_timecode(stream):
        return  # a tag of the video, from which the muxer makes it
    if fate in ("copied", "guest"):
        job.copies[stream.index] = copying.add(job.target, stream, suffix)
    elif fate == "convertible" and convert:
        made = converting.converter(job.target, stream, suffix)
        copying.describe(made.copy, stream, suffix)
        job.converters[stream.index] = made


def _has_cover(source) -> bool:
    return any(s.disposition & av.stream.Disposition.attached_pic for s in source.streams)


def _video(target, first, stream, info: VideoInfo, suffix: str, room: str):
    """The main video's stream, described by the first segment and by the source's tags."""
    with open_media(first) as segment:
        template = segment.streams.video[0]
        video = target.add_stream_from_template(template, opaque=True)
        context = video.codec_context
        context.framerate = info.fps.limit_denominator(1 << 16)
        if info.sar != 1:
            context.sample_aspect_ratio = info.sar
        tags = {key.lower(): value for key, value in template.metadata.items()}
        alpha = {key: value for key, value in tags.items() if key == "alpha_mode"}
        name = template.codec_context.codec.canonical_name
        if suffix in (".mp4", ".mov") and name == "hevc":
            context.codec_tag = "hvc1"
        elif suffix == ".mov" and name == "prores":
            context.codec_tag = template.codec_context.codec_tag
    video.time_base = info.time_base
    video.metadata.update({**copying.metadata(stream.metadata, encoded=True), **alpha})
    if room:
        video.metadata["title"] = video.metadata.get("title", "") + room
    video.disposition = int(stream.disposition)
    return video


def _needs_aspect(info: VideoInfo, suffix: str) -> bool:
    return info.sar != 1 and FORMATS[suffix] in ("matroska", "webm")


def _ordinals(path) -> list[int]:
    """Which frame of the segment each packet holds, in the order of decoding."""
    with open_media(path) as segment:
        return [packet.pts for packet in segment.demux(video=0) if packet.size]


def _pictures(segments, ordinals, times, info: VideoInfo, video, origin) -> Iterator:
    """The video's packets with their real times.

    A decoder that reorders by `delay` frames shows packet k no earlier than the time of frame
    k - delay, so the sorted presentation times, shifted by the delay, are decoding times.
    """
    shift = round(origin / info.time_base)
    bases = [0, *(sum(map(len, ordinals[: i + 1])) for i in range(len(ordinals)))]
    order = [base + o for base, part in zip(bases, ordinals, strict=False) for o in part]
    if sorted(order) != list(range(len(times))):
        raise OutputError("the segments do not hold each frame once; delete them and run again")
    delay = max((k - o for k, o in enumerate(order)), default=0)
    step = max(1, times[1][0] - times[0][0] if len(times) > 1 else times[0][1])
    k, header = count(), None
    for path in segments:
        with open_media(path) as segment:
            stream = segment.streams.video[0]
            header = header or stream.codec_context.extradata
            if stream.codec_context.extradata != header:
                raise OutputError(f"{path}: encoded with other settings; delete it and run again")
            for packet in segment.demux(stream):
                if not packet.size:
                    continue
                i = next(k)
                pts, length = times[order[i]]
                packet.stream, packet.time_base = video, info.time_base
                early = times[i - delay][0] if i >= delay else times[0][0] - (delay - i) * step
                packet.pts, packet.dts, packet.duration = pts - shift, early - shift, length
                yield packet


def _interleaved(pictures, rest) -> Iterator:
    """Both sequences by decoding time, so that the muxer need not hold one back for the other."""
    end = object()
    picture, other = next(pictures, end), next(rest, end)
    while picture is not end or other is not end:
        if other is end or (picture is not end and _seconds(picture) <= _seconds(other)):
            yield picture
            picture = next(pictures, end)
        else:
            yield other
            other = next(rest, end)


def _seconds(packet) -> float:
    return float((packet.dts or 0) * packet.time_base)
