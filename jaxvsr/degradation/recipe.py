"""A recipe: every choice that turns a good video into what a viewer gets."""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Annotated

from jaxvsr.errors import UsageError, choices
from jaxvsr.host.options import Range, check
from jaxvsr.video import quality

CODECS = {  # encoder: (worst CRF, names of its presets)
    codec: (worst, " ".join(quality.PRESETS[codec])) for codec, worst in quality.WORST.items()
}
USUAL_PRESET = {"libvpx-vp9": "4", "libsvtav1": "8"}  # of the others: veryfast
USUAL_CRF = 28
NAMES = {"h264": "libx264", "x264": "libx264", "h265": "libx265", "x265": "libx265"}
NAMES |= {"hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1", "svtav1": "libsvtav1"}
DOWNSCALES = {
    "bicubic": "Pillow's, antialiased, in 8 bits",
    "lanczos": "Pillow's with 3 lobes, in 8 bits",
    "area": "the mean of the area a pixel covers, in float",
    "imresize": "MATLAB's bicubic (the papers' BI), in float",
    "gaussian": "a Gaussian, then one pixel in `factor` (the papers' BD), in float",
    "swscale": "FFmpeg's bicubic on Y, U and V, as `ffmpeg -vf scale` does",
}
PHASES = ("aligned", "first")
MATRICES = ("bt601", "bt709")


@dataclass(frozen=True)
class Recipe:
    """One way to spoil a video, in this order: blur, downscale, noise, codec (YUV 4:2:0, 8 bits).

    Sides are divided by `factor`. `downscale` is a key of DOWNSCALES; "gaussian" has a standard
    deviation of `sigma` source pixels over `taps` pixels a side, and `phase` says where it looks:
    "aligned" at the middle of a block, "first" at its first pixel, as TecoGAN and DUF do, which
    shifts the picture by (factor - 1) / 2 source pixels. `blur` is a Gaussian's sigma in source
    pixels, `noise` a Gaussian's in levels of 255, repeatable by `seed`.

    `crf` is the encoder's own quality scale (higher is worse); `kbps` asks for a mean bitrate
    instead, and `vbv` also bounds it over a buffer of so many seconds. `gop` is the longest
    distance of two frames that are coded alone. `fps` and `matrix` are for frames without a file;
    a file keeps its own. Without a `codec` the result is lossless.
    Raises UsageError for what cannot be.
    """

    factor: Annotated[float, Range(1, 64)] = 2
    downscale: str = "bicubic"
    sigma: Annotated[float | None, Range(0, 64, "source pixels", above=True)] = None
    taps: Annotated[int | None, Range(1, 1024, "a whole number of source pixels")] = None
    phase: str = "aligned"
    blur: Annotated[float, Range(0, 64, "source pixels")] = 0
    noise: Annotated[float, Range(0, 255, "levels")] = 0
    seed: Annotated[int, Range(0, 2**63)] = 0
    codec: str | None = "libx264"
    crf: Annotated[float | None, Range(0, 63)] = None
    kbps: Annotated[float | None, Range(1, 1e6, "kilobits a second")] = None
    vbv: Annotated[float | None, Range(0, 3600, "seconds", above=True)] = None
    preset: str | None = None
    gop: Annotated[int, Range(1, 10**6, "a whole number of frames")] = 250
    fps: Annotated[float, Range(0, 1000, "frames a second", above=True)] = 25
    matrix: str = "bt709"

    def __post_init__(self):
        check(self)
        self._check_picture()
        if self.codec is None:
            given = [n for n in ("crf", "kbps", "vbv", "preset") if getattr(self, n) is not None]
            if given:
                raise UsageError(f"{', '.join(given)}: of no use without a codec; give one")
            return
        object.__setattr__(self, "codec", named(self.codec))
        self._check_codec()
        if self.kbps is None and self.crf is None:
            object.__setattr__(self, "crf", USUAL_CRF)
        if self.preset is None:
            object.__setattr__(self, "preset", USUAL_PRESET.get(self.codec, "veryfast"))

    def _check_picture(self):
        _one_of("downscale", self.downscale, DOWNSCALES)
        _one_of("phase", self.phase, PHASES)
        _one_of("matrix", self.matrix, MATRICES)
        if self.downscale == "gaussian":
            self._check_gaussian()
        elif (self.sigma, self.taps, self.phase) != (None, None, "aligned"):
            raise UsageError("sigma, taps and phase belong to the downscale gaussian; choose it")

    def _check_gaussian(self):
        if self.factor != int(self.factor):
            raise UsageError(f"gaussian takes every n-th pixel; factor {self.factor:g} is no n")
        between = self.phase == "aligned" and self.factor % 2 == 0
        if self.taps is not None and self.taps % 2 == between:
            kind = "even" if between else "odd"
            where = f"factor {self.factor:g} and phase {self.phase}"
            raise UsageError(f"taps {self.taps}: {where} take an {kind} number")

    def _check_codec(self):
        _one_of("codec", self.codec, CODECS)
        if self.crf is not None and self.kbps is not None:
            raise UsageError("crf and kbps exclude each other; give one")
        quality.check_crf(self.codec, self.crf)
        if self.vbv is not None and self.kbps is None:
            raise UsageError("vbv is a buffer in seconds and goes with kbps; give both")
        if self.vbv is not None and self.codec not in ("libx264", "libx265"):
            raise UsageError(f"{self.codec} is given no vbv here; leave it away")
        quality.check_preset(self.codec, self.preset)
        if self.codec == "libsvtav1" and 2 < self.gop < 8:
            # At its fast presets it then writes streams that no decoder reads.
            raise UsageError(f"gop {self.gop}: libsvtav1 fails at 3 to 7; give 1, 2, or from 8")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the result: even with a codec, as 4:2:0 is.

        By a whole factor the remainder is cut off at the right and the bottom, so that the scale
        is exact; by another one the nearest size is taken. Raises UsageError if nothing is left.
        """
        unit = 2 if self.codec else 1
        factor = Fraction(self.factor).limit_denominator(1000)
        whole = factor.denominator == 1
        sides = (
            s // (factor * unit) if whole else round(s / factor / unit) for s in (height, width)
        )
        size = tuple(int(side) * unit for side in sides)
        if min(size) < 1:
            raise UsageError(f"{width}x{height} by {self.factor:g}: nothing is left; use less")
        return size

    def used(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the part of the source, from the top left, that becomes the result."""
        if self.factor != int(self.factor):
            return height, width
        return tuple(side * int(self.factor) for side in self.size(height, width))

    def facts(self) -> dict:
        """Every choice by name, as JSON can hold it."""
        return asdict(self)


def named(codec: str) -> str:
    """FFmpeg's name of the encoder for a common name of a codec; others as they are."""
    return NAMES.get(codec.lower(), codec)


def draw(rng) -> Recipe:
    """A recipe as videos on the web have them: CRF 14 to 38, mostly 20 to 30, one in four H.265."""
    codec = rng.choice(["libx264", "libx265"], p=[0.75, 0.25])
    fast = ["veryfast", "fast", "medium"]
    presets = ["ultrafast", "veryfast", "fast"] if codec == "libx265" else fast
    return Recipe(
        downscale=str(rng.choice(["bicubic", "area", "lanczos"], p=[0.6, 0.2, 0.2])),
        codec=str(codec),
        crf=round(rng.triangular(14, 24, 38)),
        preset=str(rng.choice(presets)),
        gop=int(rng.choice([30, 250])),
        matrix=str(rng.choice(["bt601", "bt709"])),
    )


def _one_of(name: str, value, names) -> None:
    if value not in names:
        raise UsageError(f"{name} {value}: is not known; {choices(value, names)}")
