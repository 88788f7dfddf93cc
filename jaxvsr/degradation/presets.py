"""Recipes by the names of the papers that use them; "# ours:" where a paper is silent."""

from dataclasses import dataclass, fields, replace

from jaxvsr.degradation.recipe import Recipe, named
from jaxvsr.errors import UsageError, unknown
from jaxvsr.video.quality import PRESETS as SPEEDS


@dataclass(frozen=True)
class Preset:
    """A recipe, where it comes from, and what of it is not said there."""

    recipe: Recipe
    source: str
    ours: str = ""


SR_UNET = "SR-UNet, Vaccaro et al., MM 2021, doi:10.1145/3474085.3475683, 4.1"
GAN_EVH = "Restoring Quality from Bitrate Collapse (GAN-EVH), IV.A"
SRGAN = "SRGAN in the browser by WebGPU, experiments"
FFMPEG = "FFmpeg's bicubic for the downscale"

# ours: swscale wherever a paper only says FFmpeg, since its `scale` filter is what then runs.
_X264 = Recipe(factor=2, downscale="swscale", crf=38, preset="veryfast", gop=100)
# ours: 1.5 (480p of 720p, 720p of 1080p), the middle of the bitrates, key frames every 2 to 5 s.
_WEB = Recipe(factor=1.5, downscale="swscale", kbps=3500, preset="medium", gop=120)
_BI = Recipe(factor=4, downscale="imresize", codec=None)
_BD = replace(_BI, downscale="gaussian", sigma=1.6, taps=12)

PRESETS = {
    "sr-unet": Preset(
        # ours: the downscale and the key frames, which stay x265's own every 250.
        Recipe(factor=2, downscale="swscale", codec="libx265", crf=23, preset="medium", gop=250),
        SR_UNET,
        f"{FFMPEG}, key frames",
    ),
    "gan-evh": Preset(_X264, GAN_EVH, FFMPEG),
    "gan-evh-250k": Preset(replace(_X264, crf=None, kbps=250), GAN_EVH, f"{FFMPEG}, one pass"),
    "gan-evh-500k": Preset(replace(_X264, crf=None, kbps=500), GAN_EVH, f"{FFMPEG}, one pass"),
    "webgpu-srgan-h264": Preset(_WEB, f"{SRGAN}: 2-5 Mb/s", "3.5 Mb/s, factor, preset, GOP"),
    "webgpu-srgan-vp9": Preset(
        replace(_WEB, codec="libvpx-vp9", kbps=2000, preset="4"),  # ours: cpu-used 4
        f"{SRGAN}: 1-3 Mb/s",
        "2 Mb/s, factor, preset, GOP",
    ),
    "webgpu-srgan-av1": Preset(
        replace(_WEB, codec="libsvtav1", kbps=1250, preset="8"),  # ours: preset 8
        f"{SRGAN}: 0.5-2 Mb/s",
        "1.25 Mb/s, factor, preset, GOP",
    ),
    # ours: all of it; the public abstract names no degradation.
    "mst-gan": Preset(
        Recipe(factor=4, downscale="imresize", crf=28, preset="medium", gop=250),
        "MST-GAN, doi:10.15588/1607-3274-2025-3-9, whose abstract names none",
        "everything",
    ),
    "esrgan": Preset(_BI, "ESRGAN, Wang et al. 2018, 4.1: MATLAB bicubic"),
    "tecogan": Preset(
        replace(_BD, sigma=1.5, taps=9, phase="first"),
        "TecoGAN, Chu et al. 2020: Gaussian of sigma 1.5, every fourth pixel, from the first",
    ),
    "bi-x2": Preset(replace(_BI, factor=2), "MATLAB's imresize, the usual BI"),
    "bi-x3": Preset(replace(_BI, factor=3), "MATLAB's imresize, the usual BI"),
    "bi-x4": Preset(_BI, "MATLAB's imresize, the usual BI"),
    "bd-x4": Preset(_BD, "BasicVSR's script: Gaussian of sigma 1.6, 12 taps, phase-aligned"),
    "bd-x4-shifted": Preset(
        replace(_BD, taps=13, phase="first"),
        "DUF, Jo et al. 2018: 13 taps, every fourth pixel from the first; shifted by 1.5 pixels",
    ),
}


def recipe(name: str, **changes) -> Recipe:
    """The recipe of that name with the fields changed that are not None; codec "none" is none.

    What belonged to a codec, rate or downscale that is changed goes back to its usual value.
    Raises UsageError for an unknown name, or for what cannot be.
    """
    if name not in PRESETS:
        speed = "; the encoder's own preset is --speed" * any(name in s for s in SPEEDS.values())
        raise UsageError(unknown("preset", name, PRESETS) + speed)
    base = PRESETS[name].recipe
    given = {key: value for key, value in changes.items() if value is not None}
    if "codec" in given:
        given["codec"] = None if given["codec"] == "none" else named(given["codec"])
    freed: set[str] = set()
    if given.get("codec", base.codec) != base.codec:
        freed |= {"preset", "vbv", "crf"} | ({"kbps"} if given["codec"] is None else set())
    if "kbps" in given:
        freed |= {"crf"}
    if "crf" in given:
        freed |= {"kbps", "vbv"}
    if given.get("downscale", base.downscale) != base.downscale:
        freed |= {"sigma", "taps", "phase"}
    elif given.keys() & {"factor", "phase", "sigma"}:
        freed |= {"taps"}  # their number hangs on these
    usual = {field.name: field.default for field in fields(Recipe) if field.name in freed}
    return replace(base, **usual | given)
