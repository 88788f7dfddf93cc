"""What spoils a video on its way to a viewer: fewer pixels, then a real codec.

Clips are uint8 RGB [T, H, W, 3]. Coding goes through the same definition of YUV as enhancing
does, in memory, on one thread: the same recipe gives the same bytes on every run.
"""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from jaxvsr.errors import UsageError
from jaxvsr.video import pixels
from jaxvsr.video.colour import Colour, from_rgb, to_rgb

FPS = Fraction(25)
DECODERS = {"libx264": "h264", "libx265": "hevc"}
QUIET = {"libx265": {"x265-params": "pools=none:frame-threads=1:log-level=none"}}
FILTERS = {
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
COLOURS = {
    matrix: Colour(matrix, False, "left", 8, (2, 2), code, code)
    for matrix, code in (("bt601", 6), ("bt709", 1))
}


@dataclass(frozen=True)
class Recipe:
    """One way to spoil a clip: shrink by `factor` with `shrink`, then code as YUV 4:2:0.

    `crf` is the encoder's own quality scale (higher is worse), `gop` the frames between two
    frames that are coded alone.
    """

    factor: int = 2
    shrink: str = "bicubic"
    codec: str = "libx264"
    crf: int = 28
    preset: str = "veryfast"
    gop: int = 250
    matrix: str = "bt709"

    def __call__(self, clip: np.ndarray) -> np.ndarray:
        """The spoiled clip [T, H / factor, W / factor, 3]."""
        height, width = clip.shape[1] // self.factor, clip.shape[2] // self.factor
        return code(shrink(clip, (height, width), self.shrink), self)


def draw(rng: np.random.Generator) -> Recipe:
    """A recipe as videos on the web have them: CRF 14 to 38, mostly 20 to 30, one in four H.265."""
    codec = rng.choice(["libx264", "libx265"], p=[0.75, 0.25])
    presets = ["ultrafast", "veryfast", "fast"] if codec == "libx265" else PRESETS
    return Recipe(
        shrink=str(rng.choice(["bicubic", "area", "lanczos"], p=[0.6, 0.2, 0.2])),
        codec=str(codec),
        crf=round(rng.triangular(14, 24, 38)),
        preset=str(rng.choice(presets)),
        gop=int(rng.choice([30, 250])),
        matrix=str(rng.choice(["bt601", "bt709"])),
    )


PRESETS = ["veryfast", "fast", "medium"]


def shrink(clip: np.ndarray, size: tuple[int, int], method: str = "bicubic") -> np.ndarray:
    """The clip at `size` = (height, width), antialiased: "area", "bicubic" or "lanczos"."""
    filtered = FILTERS[method]
    pictures = (Image.fromarray(frame).resize(size[::-1], filtered) for frame in clip)
    return np.stack([np.asarray(picture) for picture in pictures])


def code(clip: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The clip after `recipe`'s encoder and its decoder; height and width must be even."""
    if clip.shape[1] % 2 or clip.shape[2] % 2:
        size = f"{clip.shape[2]}x{clip.shape[1]}"
        raise UsageError(f"{size}: 4:2:0 video has even sides; crop the clip")
    colour = COLOURS[recipe.matrix]
    frames = decode(encode(clip, recipe), DECODERS[recipe.codec])
    planes = [np.stack(same) for same in zip(*frames, strict=True)]
    return quantise(to_rgb(tuple(planes), colour))


def subsampled(clip: np.ndarray, matrix: str = "bt709") -> np.ndarray:
    """What an uncompressed 4:2:0 video of the clip holds: colour at half the size.

    That is the best that an enhanced 4:2:0 video can show, so it is what training calls true.
    """
    colour = COLOURS[matrix]
    return quantise(to_rgb(from_rgb(clip.astype(np.float32) / 255, colour), colour))


def quantise(rgb) -> np.ndarray:
    """RGB in [0, 1], clipped and rounded to uint8."""
    return np.round(np.clip(np.asarray(rgb), 0, 1) * 255).astype(np.uint8)


def encode(clip: np.ndarray, recipe: Recipe) -> list[av.Packet]:
    """The clip as packets of `recipe.codec`, without a container."""
    encoder = av.CodecContext.create(recipe.codec, "w")
    encoder.height, encoder.width, encoder.pix_fmt = *clip.shape[1:3], "yuv420p"
    encoder.time_base, encoder.framerate, encoder.thread_count = 1 / FPS, FPS, 1
    options = {"crf": str(recipe.crf), "preset": recipe.preset, "g": str(recipe.gop)}
    encoder.options = options | QUIET.get(recipe.codec, {})
    planes = from_rgb(clip.astype(np.float32) / 255, COLOURS[recipe.matrix])
    packets = []
    for i, frame in enumerate(zip(*planes, strict=True)):
        picture = pixels.frame_of(frame, "yuv420p")
        picture.pts = i
        packets += encoder.encode(picture)
    return packets + encoder.encode(None)


def decode(packets: list[av.Packet], decoder: str) -> list[tuple[np.ndarray, ...]]:
    """The planes (y, u, v) of every coded frame, in display order."""
    context = av.CodecContext.create(decoder, "r")
    context.thread_count = 1
    frames = [frame for packet in [*packets, None] for frame in context.decode(packet)]
    return [pixels.planes_of(frame, "yuv420p") for frame in frames]
