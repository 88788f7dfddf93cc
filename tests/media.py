"""Small real media files for tests, written with PyAV; every function returns the path it wrote.

The picture is a gradient with a square that moves, so that frames can be told apart; the default is
one second of 64x48 at 25 frames a second. `film` is the general one, the others name a difficulty.
"""

import io
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

TICK = Fraction(1, 1000)
CHAPTERS = [
    {"id": 1, "start": 0, "end": 400, "time_base": TICK, "metadata": {"title": "One"}},
    {"id": 2, "start": 400, "end": 1000, "time_base": TICK, "metadata": {"title": "Two"}},
]
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
LIGHT = (1000, 400)
SWSCALE = {1: 1, 5: 5, 6: 5, 9: 9}  # its codes of the matrices by FFmpeg's codes


@dataclass(frozen=True)
class Picture:
    """How the video of a `film` is made; `tags` are attributes of the encoder."""

    width: int = 64
    height: int = 48
    frames: int = 25
    rate: Fraction = Fraction(25)
    pix_fmt: str = "yuv420p"
    codec: str = "libx264"
    times: tuple[int, ...] | None = None  # presentation times in ms instead of a constant rate
    sar: Fraction = Fraction(1)
    rotation: int = 0  # degrees clockwise that a player must turn the picture
    start: float = 0.0  # seconds before the first frame
    tags: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)


def drawing(index: int, width: int, height: int) -> np.ndarray:
    """Frame `index` as RGB uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([255 * x // width, 255 * y // height, 128 + 0 * x], axis=-1).astype(np.uint8)
    side, left = max(2, height // 4), 3 * index % max(1, width - width // 4)
    rgb[height // 3 : height // 3 + side, left : left + side] = (250, 240, 30)
    return rgb


def film(
    path, picture: Picture = Picture(), sounds=0, subtitles=0, extras=False, faststart=False
) -> Path:
    """A file with a picture, `sounds` tone tracks and `subtitles` text tracks.

    `extras` adds chapters, a title, and (in Matroska) a font attachment; `faststart` puts mp4's
    index first.
    """
    path = Path(path)
    options = {"movflags": "faststart"} if faststart and path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", container_options=options) as file:
        video = _video(file, picture)
        tones = [_tone(file, path.suffix, i) for i in range(sounds)]
        texts = [_text(file, path.suffix, i) for i in range(subtitles)]
        if extras:
            file.metadata.update({"title": "A test", "comment": "kept"})
            file.set_chapters(CHAPTERS)
            if path.suffix == ".mkv":
                file.add_attachment("font.ttf", "application/x-truetype-font", b"not a font" * 9)
        file.start_encoding()
        seconds = picture.frames / picture.rate
        for i, stream in enumerate(tones):
            _sing(file, stream, 220 * (i + 1), float(seconds))
        for stream in texts:
            _speak(file, stream, path.suffix)
        _draw(file, video, picture)
    return path


def _video(file, picture: Picture):
    rate = picture.rate
    if picture.times:
        rate = Fraction(1000 * len(picture.times), picture.times[-1] + picture.times[1])
    stream = file.add_stream(picture.codec, rate=rate, options=dict(picture.options))
    stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, picture.pix_fmt
    context = stream.codec_context
    context.time_base = TICK if picture.times else 1 / Fraction(picture.rate)
    context.thread_count = 1
    context.sample_aspect_ratio = picture.sar
    for name, value in picture.tags.items():
        setattr(context, name, value)
    stream.metadata["language"] = "fra"
    if picture.rotation:
        stream.set_display_rotation(-picture.rotation)
    return stream


def _draw(file, stream, picture: Picture) -> None:
    context = stream.codec_context
    for i in range(picture.frames):
        rgb = drawing(i, picture.width, picture.height)
        frame = av.VideoFrame.from_ndarray(rgb).reformat(
            format=picture.pix_fmt,
            threads=1,
            dst_colorspace=SWSCALE.get(int(context.colorspace), 5),
            dst_color_range=2 if context.color_range == 2 else 1,
        )
        ticks = picture.times[i] if picture.times else i
        frame.pts = ticks + round(Fraction(picture.start) / context.time_base)
        frame.time_base = context.time_base
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(frame, name, getattr(context, name))
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def _tone(file, suffix: str, index: int):
    stream = file.add_stream("libopus" if suffix == ".webm" else "aac", rate=48000)
    stream.metadata.update({"language": ("eng", "deu", "spa")[index], "title": f"Tone {index}"})
    stream.disposition = 1 if index == 0 else 0
    return stream


def _sing(file, stream, pitch: float, seconds: float) -> None:
    total = int(48000 * seconds)
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(total) / 48000)
    samples = np.tile(wave.astype(np.float32), (2, 1))
    layout = "fltp" if stream.codec_context.name == "aac" else "flt"
    for start in range(0, total, 960):
        block = samples[:, start : start + 960]
        if layout == "flt":
            block = np.ascontiguousarray(block.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), layout, "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def _text(file, suffix: str, index: int):
    stream = file.add_mux_stream({".mkv": "subrip", ".webm": "webvtt"}.get(suffix, "mov_text"))
    stream.time_base = TICK
    stream.metadata["language"] = ("eng", "nld")[index]
    return stream


def _speak(file, stream, suffix: str) -> None:
    for start, words in ((100, "hello"), (500, "world")):
        text = words.encode()
        packet = av.Packet(
            struct.pack(">H", len(text)) + text if suffix in (".mp4", ".mov") else text
        )
        packet.stream, packet.time_base = stream, TICK
        packet.pts = packet.dts = start
        packet.duration = 300
        file.mux(packet)


def vfr(path, **more) -> Path:
    """Frame times with gaps between 17 and 120 ms."""
    steps = [17, 40, 33, 120, 21, 34, 33, 50, 80, 17] * 2
    times = tuple(int(t) for t in np.cumsum([0, *steps[:-1]]))
    return film(path, Picture(frames=len(times), times=times), **more)


def hdr10(path, **more) -> Path:
    """10-bit HEVC with BT.2020, PQ, a mastering display and a content light level."""
    tags = {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": 16}
    light = ",".join(map(str, LIGHT))
    params = f"log-level=none:pools=1:frame-threads=1:master-display={MASTERING}:max-cll={light}"
    options = {"x265-params": params, "chroma_sample_location": "topleft"}
    picture = Picture(frames=8, codec="libx265", pix_fmt="yuv420p10le", tags=tags, options=options)
    return film(path, picture, **more)


def tagged(path, matrix: str, *, full=False, **more) -> Path:
    """Eight frames tagged "bt601" or "bt709", limited or full range."""
    code = {"bt601": 6, "bt709": 1}[matrix]
    tags = dict.fromkeys(("colorspace", "color_primaries", "color_trc"), code)
    tags["color_range"] = 2 if full else 1
    pix_fmt = "yuvj420p" if full else "yuv420p"
    return film(path, Picture(frames=8, tags=tags, pix_fmt=pix_fmt, options={"crf": "2"}), **more)


def rotated(path, degrees: int = 90, **more) -> Path:
    """A display matrix asks the player to turn the picture by `degrees` clockwise."""
    return film(path, Picture(frames=8, rotation=degrees), **more)


def rich(path, **more) -> Path:
    """Two sounds, two subtitles, chapters, a title, and in Matroska an attachment."""
    return film(path, sounds=2, subtitles=2, extras=True, **more)


def odd(path) -> Path:
    """Odd width and height in 4:2:0."""
    return film(path, Picture(width=63, height=47, frames=8, codec="libvpx-vp9"))


def interlaced(path) -> Path:
    """Flagged as interlaced, top field first."""
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    return film(path, Picture(frames=12, options=options))


def anamorphic(path, sar=Fraction(16, 11), **more) -> Path:
    """Pixels that are not square."""
    return film(path, Picture(frames=8, sar=sar), **more)


def truncated(path, part: float = 0.6) -> Path:
    """Cut off: the end of the file is missing."""
    path = film(path, Picture(frames=50, options={"g": "10"}), faststart=True)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    return path


def corrupt(path, seed: int = 0, **more) -> Path:
    """A stretch in the middle of the file is overwritten with noise."""
    path = film(path, Picture(frames=50, options={"g": "10"}), **more)
    data = bytearray(path.read_bytes())
    middle, length = len(data) // 2, len(data) // 20
    data[middle : middle + length] = np.random.default_rng(seed).bytes(length)
    path.write_bytes(data)
    return path


def covered(path) -> Path:
    """With a cover picture: an attachment in Matroska, a picture of its own in mp4."""
    path, plain = Path(path), film(Path(path).with_stem("plain"), sounds=1)
    jpeg = io.BytesIO()
    Image.fromarray(drawing(0, 40, 30)).save(jpeg, "JPEG")
    with av.open(str(plain)) as source, av.open(str(path), "w") as file:
        copies = {s.index: file.add_stream_from_template(s, opaque=True) for s in source.streams}
        packets = [packet for packet in source.demux() if packet.size]
        if path.suffix == ".mkv":
            file.add_attachment("cover.jpg", "image/jpeg", jpeg.getvalue())
        else:
            jpeg.seek(0)
            cover = av.open(jpeg)
            stream = file.add_stream_from_template(cover.streams[0], opaque=True)
            stream.disposition = av.stream.Disposition.attached_pic.value
            picture = next(cover.demux())
            picture.stream, picture.pts, picture.dts = stream, 0, 0
            file.mux(picture)
        for packet in packets:
            packet.stream = copies[packet.stream.index]
            file.mux(packet)
    return path


def timecoded(path) -> Path:
    """QuickTime with a timecode track."""
    with av.open(str(path), "w") as file:
        video = _video(file, Picture(frames=8))
        video.metadata["timecode"] = "01:00:00:00"
        _draw(file, video, Picture(frames=8))
    return Path(path)


def sound_only(path) -> Path:
    """One second of a tone, no picture."""
    with av.open(str(path), "w") as file:
        stream = _tone(file, Path(path).suffix, 0)
        file.start_encoding()
        _sing(file, stream, 440, 1.0)
    return Path(path)


def not_a_video(path) -> Path:
    """Text under a video's name."""
    Path(path).write_text("this is not a video\n" * 100)
    return Path(path)
