"""Sound and subtitles encoded anew for a container that cannot hold them as they are."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import av
from av.subtitles.subtitle import SubtitleSet

SOUND = {".webm": "libopus", ".mp4": "aac", ".mov": "aac", ".mkv": "flac"}
TEXT = {".webm": "webvtt", ".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip"}
TEXTS = {"subrip", "ass", "ssa", "mov_text", "webvtt", "text", "srt", "subviewer", "subviewer1"}
TEXTS |= {"microdvd", "mpl2", "jacosub", "sami", "realtext", "stl", "vplayer", "pjs", "eia_608"}
OPUS_RATES = (48000, 24000, 16000, 12000, 8000)
LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # by channels
GAP = 20  # the part of a second from which a hole in the sound is kept
MILLI = Fraction(1, 1000)


def target_codec(stream, suffix: str) -> str:
    """The encoder for a stream in a container, "" where it cannot be converted.

    Bitmap subtitles, data, attachments and further videos cannot.
    """
    if stream.codec_context is None:
        return ""
    if stream.type == "audio" and 0 < stream.codec_context.layout.nb_channels <= len(LAYOUTS):
        return SOUND.get(suffix, "")
    if stream.type == "subtitle" and stream.codec_context.name in TEXTS:
        return TEXT.get(suffix, "")
    return ""


def result(stream, suffix: str) -> str:
    """The name of the codec that a stream is converted to."""
    return target_codec(stream, suffix).removeprefix("lib")


def converter(target, stream, suffix: str):
    """A `Sound` or `Text` that encodes `stream` into a new stream of `target`."""
    kind = Sound if stream.type == "audio" else Text
    return kind(target, stream, target_codec(stream, suffix))


class Sound:
    """Decodes, resamples and encodes one sound track; `copy` is the stream of the target."""

    def __init__(self, target, stream, codec: str):
        context = stream.codec_context
        rate = context.sample_rate
        if codec == "libopus" and rate not in OPUS_RATES:
            rate = 48000
        self.copy = target.add_stream(codec, rate=rate)
        encoder = self.copy.codec_context
        encoder.layout = _layout(context.layout, codec)
        encoder.format = _sample_format(context.format, codec)
        if codec != "flac":
            encoder.bit_rate = 64000 * max(2, encoder.layout.nb_channels)
        self._source, self._resampler, self._next = stream, None, 0

    def feed(self, packet) -> Iterator[av.Packet]:
        """New packets out of one of the source's, whose times are the target's already."""
        try:
            frames = self._source.decode(packet)
        except av.FFmpegError:  # damage; what comes after it goes on
            return
        for frame in frames:
            yield from self._frame(frame)

    def finish(self) -> Iterator[av.Packet]:
        """What decoder and encoder still hold."""
        with suppress(av.FFmpegError):
            for frame in self._source.decode(None):
                yield from self._frame(frame)
        if self._resampler is not None:
            for piece in [*self._resampler.resample(None), None]:
                yield from self.copy.encode(piece)

    def _frame(self, frame) -> Iterator[av.Packet]:
        """Samples follow each other without a gap unless the source has one."""
        encoder, rate = self.copy.codec_context, frame.sample_rate
        if self._resampler is None:
            self._resampler = av.AudioResampler(
                encoder.format, encoder.layout, encoder.sample_rate, encoder.frame_size or None
            )
        if frame.pts is not None:
            begin = round(frame.pts * frame.time_base * rate)
            self._next = begin if begin > self._next + rate // GAP else self._next
        frame.pts, frame.time_base = self._next, Fraction(1, rate)
        self._next += frame.samples
        for piece in self._resampler.resample(frame):
            yield from self.copy.encode(piece)


class Text:
    """Encodes one track of subtitles as another kind of text."""

    def __init__(self, target, stream, codec: str):
        stream.codec_context.open(strict=False)  # only then does it know its header of styles
        self.copy = target.add_stream(codec)
        self.copy.codec_context.subtitle_header = stream.codec_context.subtitle_header
        self.copy.time_base = MILLI
        self._source = stream

    def feed(self, packet) -> Iterator[av.Packet]:
        """New packets out of one of the source's, whose times are the target's already."""
        base, found = packet.time_base, self._source.codec_context.decode2(packet)
        length = round((packet.duration or 0) * base / MILLI)
        for text in [rect.ass for rect in found.rects] if found else []:
            new = self.copy.codec_context.encode_subtitle(SubtitleSet.create(text, 0, length))
            if not new.size:
                continue
            new.stream, new.time_base = self.copy, MILLI
            new.pts = new.dts = round(packet.pts * base / MILLI)
            new.duration = length
            yield new

    def finish(self) -> Iterator[av.Packet]:
        """Nothing is held back."""
        yield from ()


def _layout(layout, codec: str) -> str:
    """The source's own, or the usual one of as many channels, which is all that Opus knows."""
    usual = LAYOUTS[layout.nb_channels - 1]
    return layout.name if codec != "libopus" and "channels" not in layout.name else usual


def _sample_format(source, codec: str) -> str:
    """What the encoder takes; FLAC keeps the source's depth, to 24 bits."""
    return {"aac": "fltp", "libopus": "flt"}.get(codec) or ("s16" if source.bytes <= 2 else "s32")
