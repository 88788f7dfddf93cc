"""How steady a clip is beside its truth: tOF, tLP, tPSNR, tSSIM and the flow-warping error.

Clips are T >= 2 neighbouring frames [T, H, W, 3], RGB in [0, 1]; a metric gives [T - 1] values,
each of which belongs to the second frame of its pair. Motion is Farneback's flow between 8-bit
grey frames, as in TecoGAN's published metrics. Where a metric follows the motion of the scene, that
is the motion of the truth, so that no candidate gains by being hard to follow, and only pixels that
both frames of the pair show count: NaN where there is none. A cut is a pair like any other.

`crop` pixels are left out at each border once the motion is known; "tecogan" keeps the middle part
whose sides are the largest multiples of 32 that leave out 16 rows and columns or more. ValueError
for less than two frames, shapes that differ, and options that do not exist.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.metrics import fidelity
from jaxvsr.metrics.flow import Flow, Pyramid, expand, motion

Clip = Float[Array, "t h w 3"]
Values = Float[Array, " t-1"]
Crop = int | Literal["tecogan"]

MOTION_SCORES = ("tof", "tpsnr", "tssim", "warp_error")
BLOCK, LEAST = 32, 16  # TecoGAN's crop


def tof(fake: Clip, real: Clip, *, crop: Crop = 0) -> Values:
    """Mean distance in pixels between a candidate's motion and the truth's; 0 is best.

    TecoGAN (Chu et al. 2020): flow from each frame to the next, Euclidean norm of the difference
    of the two flows. A still candidate of a still truth has 0. TecoGAN's own numbers are made with
    `crop="tecogan"` and without the first and the last two frames of a clip; those of
    TecoGAN-PyTorch, as many papers since, with whole frames and all of them: the default.
    """
    return motion_scores(fake, real, ("tof",), crop=crop)["tof"]


def tlp(fake: Clip, real: Clip, distance, *, crop: Crop = 0) -> Values:
    """How far a candidate's change from frame to frame differs from the truth's; 0 is best.

    100 |d(fake_t-1, fake_t) - d(real_t-1, real_t)|, TecoGAN's "tLP x 100", whose `distance` is
    LPIPS (AlexNet, v0.1) and whose crop is "tecogan". `distance` maps two batches to [N].
    """
    _check(fake, real)
    changes = [distance(clip[:-1], clip[1:]) for clip in (_cut(fake, crop), _cut(real, crop))]
    return 100 * jnp.abs(changes[0] - changes[1])


def tpsnr(fake: Clip, real: Clip, *, against="truth", channels="rgb", crop: Crop = 0) -> Values:
    """PSNR in dB along the motion of the truth; higher is better.

    GAN-EVH aligns "consecutive frames based on estimated motion fields", gives no formula, and
    calls a method steady whose tPSNR is within 0.1 dB of its PSNR.

    ours: the error of the previous frame, fake - real, is warped onto the current frame, and the
    change of the error is what is measured. This makes the two numbers comparable. An error that
    moves with the scene costs nothing; one that is new in every frame costs 3 dB more than in
    PSNR; one whose correlation in time is 1/2 costs the same. The truth has infinity, however
    hard its motion is to estimate.

    `against="itself"` is the literal reading: the previous frame of the candidate, warped, beside
    its current one; that is `warp_error` in decibels, seen from the other end of the pair. It
    cannot be compared with PSNR, it is limited by the flow (the truth has between 25 and 41 dB in
    four 720p clips), and blurring or freezing a clip can raise it above the truth's: give
    `tpsnr(real, real, against="itself")` beside it.
    """
    options = {"against": against, "channels": channels, "crop": crop}
    return motion_scores(fake, real, ("tpsnr",), **options)["tpsnr"]


def tssim(fake: Clip, real: Clip, *, against="truth", channels="rgb", crop: Crop = 0) -> Values:
    """SSIM between a frame and what its predecessor says of it; 1 is best, for the truth too.

    ours, as `tpsnr`: the previous frame is warped along the motion of the truth, what is new in
    the truth is added (real_t - warp(real_t-1)), and the result is compared with the current
    frame. With `against="itself"` nothing is added; then the truth has less than 1. GAN-EVH's
    "above 0.98 across consecutive frames" names no reference, so it may be either.

    Pixels that only one frame shows are taken from the current frame, and the dissimilarity
    1 - SSIM is divided by the share of the others.
    """
    options = {"against": against, "channels": channels, "crop": crop}
    return motion_scores(fake, real, ("tssim",), **options)["tssim"]


def warp_error(fake: Clip, real: Clip, *, crop: Crop = 0) -> Values:
    """Flow-warping error x 1000 of a candidate; lower is steadier, but blur lowers it too.

    Lai et al. 2018, "Learning Blind Video Temporal Consistency", E_warp of a pair: mean squared
    difference, frames in [0, 1], between a frame and the next one warped back onto it, over the
    pixels that the next one shows (thresholds of Ruder et al. 2016). Motion and mask are those of
    the unprocessed clip there, of the truth here. Papers use FlowNet2 or another learned flow, so
    compare within one table, not with theirs. The truth itself has more than 0:
    `warp_error(real, real)` says what cannot be told from motion here.
    """
    return motion_scores(fake, real, ("warp_error",), crop=crop)["warp_error"]


def motion_scores(
    fake: Clip,
    real: Clip,
    names: tuple[str, ...] = MOTION_SCORES,
    *,
    against: Literal["truth", "itself"] = "truth",
    channels: Literal["rgb", "y"] = "rgb",
    crop: Crop = 0,
) -> dict[str, Values]:
    """Several of tof, tpsnr, tssim and warp_error, [T - 1] each, from the same flows.

    `against` and `channels` are those of `tpsnr` and `tssim`. Memory does not grow with T.
    """
    _check(fake, real)
    for name in names:
        _choose("names", name, MOTION_SCORES)
    _choose("against", against, ("truth", "itself"))
    _choose("channels", channels, ("rgb", "y"))
    return _scores(fake, real, tuple(names), against, channels, crop)


class _View(NamedTuple):
    """What is kept of a time: the frames [1, H, W, 3] and their expansions (`flow.expand`).

    The truth's expansion is the first of its batch, the candidate's, if wanted, the second.
    """

    fake: Array
    real: Array
    fits: Pyramid


class _Flows(NamedTuple):
    """Flows [1, H, W, 2] from the first time of a pair on to the second, and back."""

    real_on: Flow
    real_back: Flow | None = None
    fake_on: Flow | None = None


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _scores(fake, real, names, against, channels, crop):
    def see(frames):
        fake, real = (frame[None] for frame in frames)
        grey = _grey(jnp.concatenate([real, fake] if "tof" in names else [real]))
        return _View(fake, real, expand(grey))

    def step(before, frames):
        now = see(frames)
        flows = _flows(before, now, names)
        values = {}
        if "tof" in names:
            off = _cut(flows.fake_on - flows.real_on, crop)
            values["tof"] = jnp.sqrt(jnp.square(off).sum(-1)).mean()
        if "warp_error" in names:
            off = before.fake - ops.warp(now.fake, flows.real_on)
            seen = _visible(flows.real_on, flows.real_back)
            values["warp_error"] = 1000 * _mean_square(_cut(off, crop), _cut(seen, crop))
        if "tpsnr" in names or "tssim" in names:
            change, frame = _change(before, now, flows.real_back, against, channels)
            seen = _visible(flows.real_back, flows.real_on)
            values |= _steadiness(*(_cut(image, crop) for image in (change, frame, seen)), names)
        return now, {name: values[name] for name in names}

    return lax.scan(step, see((fake[0], real[0])), (fake[1:], real[1:]))[1]


def _flows(before: _View, now: _View, names) -> _Flows:
    """All flows that are needed, found as one batch, so that the program holds one search."""
    ways = {"real_on": (before, now, 0)}
    if set(names) != {"tof"}:
        ways["real_back"] = now, before, 0
    if "tof" in names:
        ways["fake_on"] = before, now, 1

    def gather(end: int):
        fits = [[level[way[2], None] for level in way[end].fits] for way in ways.values()]
        return tuple(map(jnp.concatenate, zip(*fits, strict=True)))

    found = jnp.split(motion(gather(0), gather(1)), len(ways))
    return _Flows(**dict(zip(ways, found, strict=True)))


def _change(before: _View, now: _View, back, against: str, channels: str):
    """What is new in the current frame, [1, H, W, C], and the current frame of the candidate."""
    shown = fidelity.luma if channels == "y" else lambda frame: frame
    frame, previous = shown(now.fake), shown(before.fake)
    if against == "itself":
        return frame - ops.warp(previous, back), frame
    return frame - shown(now.real) - ops.warp(previous - shown(before.real), back), frame


def _steadiness(change, frame, seen, names) -> dict:
    values = {"tpsnr": -10 * jnp.log10(_mean_square(change, seen))}
    if "tssim" in names:
        told = frame - jnp.where(seen, change, 0)
        values["tssim"] = 1 - (1 - fidelity.ssim(told, frame)[0]) / seen.mean()
    return values


def _visible(flow, back):
    """[1, H, W, 1]: pixels at the start of `flow` that its end shows too; `back` starts there.

    Ruder et al. 2016, as Lai et al. use it: the way there and back ends where it began, and `flow`
    is smooth, because it is wrong where it is not. ours: and it ends inside the frame.
    """
    returned, length = ops.warp(back, flow), _square(flow)
    loop = _square(flow + returned) <= 0.01 * (length + _square(returned)) + 0.5
    steps = [
        jnp.diff(flow, axis=a, append=lax.slice_in_dim(flow, -1, None, axis=a)) for a in (1, 2)
    ]
    smooth = sum(map(_square, steps)) <= 0.01 * length + 0.002
    _, h, w, _ = flow.shape
    x, y = jnp.arange(w) + flow[..., 0], jnp.arange(h)[:, None] + flow[..., 1]
    inside = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    return loop & smooth & inside[..., None]


def _square(flow):
    return jnp.square(flow).sum(-1, keepdims=True)


def _mean_square(x, seen):
    """Mean over the channels of the pixels that are seen; NaN where none is."""
    return jnp.where(seen, jnp.square(x), 0).sum() / (seen.sum() * x.shape[-1])


def _grey(frames):
    """[N, H, W] in 0 ... 255, both rounded to 8 bits: OpenCV's `COLOR_RGB2GRAY`, to the bit."""
    red, green, blue = jnp.moveaxis(jnp.round(255 * jnp.clip(frames, 0, 1)), -1, 0)
    return jnp.floor((9798 * red + 19235 * green + 3735 * blue + 16384) / 32768)


def _cut(images, crop: Crop):
    """Images [N, H, W, C] without their border."""
    sides = images.shape[1:3]
    if crop == "tecogan":
        keep = [(side - LEAST) // BLOCK * BLOCK for side in sides]
    else:
        keep = [side - 2 * crop for side in sides]
    if min(keep) < 1:
        raise ValueError(f"crop {crop!r} leaves nothing of {sides[1]}x{sides[0]} pixels")
    y, x = ((side - part) // 2 for side, part in zip(sides, keep, strict=True))
    return images[:, y : y + keep[0], x : x + keep[1]]


def _check(fake, real) -> None:
    if fake.shape != real.shape:
        raise ValueError(f"shapes differ: {fake.shape} and {real.shape}")
    if fake.ndim != 4 or fake.shape[0] < 2 or fake.shape[3] != 3:
        raise ValueError(f"{fake.shape}: metrics of motion need two frames or more, [T, H, W, 3]")


def _choose(what: str, value, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{what} {value!r}: choose from {', '.join(choices)}")
