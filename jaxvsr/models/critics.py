"""Critics: networks that learn to tell real pictures from made ones.

A score is a logit, larger for what looks more real, in float32; there is one for each picture
or for each place in it. Frames are [N, H, W, 3] in [0, 1], clips [N, T, H, W, 3].

No critic keeps running statistics. A critic is only asked while it trains, and there batch norm
uses the statistics of the batch itself. So its parameters are a plain tree like a generator's,
and a step has nothing to carry along beside them. In one program over the global batch the
statistics are global, on any number of devices. What this costs: a score depends on the other
pictures of the same call, so real and made ones are judged in two calls, as in SRGAN.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxvsr import ops
from jaxvsr.layers import leaky_relu

NORMS = ("batch", "instance", "spectral", "none")
SQUARINGS = 12  # 4096 power iterations: sigma to 1e-3 for any kernel of up to 512 channels
GAUSSIAN = nn.initializers.normal(0.02)


class Conv(nn.Module):
    """A convolution of PyTorch's padding (size - 1) // 2: "SAME" would be lopsided at stride 2.

    `spectral` divides the kernel by its `spectral_norm`.
    """

    features: int
    size: int = 3
    stride: int = 1
    bias: bool = True
    spectral: bool = False
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        if self.spectral:
            kernel = kernel / jnp.maximum(spectral_norm(kernel), 1e-12)
        side = ((self.size - 1) // 2,) * 2
        strides, layout = (self.stride,) * 2, ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, kernel.astype(x.dtype), strides, (side, side), dimension_numbers=layout
        )
        if not self.bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)


def spectral_norm(kernel: Float[Array, "*inputs features"]) -> Float[Array, ""]:
    """The largest singular value of a kernel seen as a matrix [inputs, features].

    Its gradient takes the singular vectors as constants (Miyato et al. 2018). Those authors
    carry one power iteration from step to step; here it is run to the end at each call, on the
    matrix of products, squared again and again. So there is no state, a score is a function of
    the parameters alone, and sigma is right to 1e-3 (to 1e-6 for random kernels) from the first
    step on. It costs 2 * 12 n^3 + 2 m n^2 operations for [m, n], m > n, whatever the batch: about
    1 % of what the U-Net critic does for 12 crops of 256x256.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)
    left, right = _first_pair(lax.stop_gradient(matrix))
    return jnp.einsum("m,mn,n", left, matrix, right, precision="highest")


def _first_pair(matrix):
    """Left and right singular vectors of the largest singular value; zeros for a zero matrix."""
    if matrix.shape[0] < matrix.shape[1]:
        return _first_pair(matrix.T)[::-1]
    tiny = jnp.finfo(matrix.dtype).tiny
    scaled = matrix / jnp.maximum(jnp.abs(matrix).max(), tiny)

    def square(_, power):
        power = jnp.matmul(power, power, precision="highest")
        return power / jnp.maximum(jnp.trace(power), tiny)

    power = jnp.matmul(scaled.T, scaled, precision="highest")
    power /= jnp.maximum(jnp.trace(power), tiny)
    power = lax.fori_loop(0, SQUARINGS, square, power)
    # The largest column never starts at a right angle to the vector, as a fixed start could.
    right = power[:, jnp.argmax(jnp.diagonal(power))]
    right /= jnp.maximum(jnp.linalg.norm(right), tiny)
    left = jnp.matmul(scaled, right, precision="highest")
    return left / jnp.maximum(jnp.linalg.norm(left), tiny), right


class Norm(nn.Module):
    """Features of mean 0 and variance 1, in float32, by the statistics of this very call.

    `kind` is "batch" (all pictures and places together), "instance" (each picture by itself) or
    anything else for none. Batch norm then multiplies by a learned `scale` (unless told not to)
    and adds a learned `bias`; instance norm has no parameters, as PyTorch's.
    """

    kind: str = "batch"
    scale: bool = True
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        if self.kind not in ("batch", "instance"):
            return x
        over = (0, 1, 2) if self.kind == "batch" else (1, 2)
        exact = x.astype(jnp.promote_types(x.dtype, "float32"))
        mean = exact.mean(over, keepdims=True)
        variance = jnp.square(exact - mean).mean(over, keepdims=True)
        y, width = (exact - mean) * lax.rsqrt(variance + self.epsilon), x.shape[-1:]
        if self.kind == "batch" and self.scale:
            y *= self.param("scale", nn.initializers.ones, width)
        if self.kind == "batch":
            y += self.param("bias", nn.initializers.zeros, width)
        return y.astype(x.dtype)


class Block(nn.Module):
    """Convolution, norm, LeakyReLU 0.2. A bias that a norm would take away again is left out."""

    features: int
    size: int = 3
    stride: int = 1
    norm: str = "batch"
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        if self.norm not in NORMS:
            raise ValueError(f"norm {self.norm!r}: choose one of {', '.join(NORMS)}")
        bias, spectral = self.norm != "batch", self.norm == "spectral"
        options = {"bias": bias, "spectral": spectral, "kernel_init": self.kernel_init}
        x = Conv(self.features, self.size, self.stride, **options, name="conv")(x)
        return leaky_relu(Norm(self.norm, name="norm")(x))


def _first(norm: str) -> str:
    """The first layer's norm: features fresh from the pixels keep their contrast and colour."""
    return norm if norm == "spectral" else "none"


class SRGANCritic(nn.Module):
    """The critic of SRGAN (Ledig et al., CVPR 2017, Fig. 4): one score [N] for each picture.

    Eight convolutions of `width`, doubling to 8 `width`, every second of stride 2, then dense
    layers of `hidden` and of 1. SR-UNet's has `width` 32. The dense layer ties the parameters to
    one size of frame: 96x96 in both papers. Its sigmoid is in the losses.
    """

    width: int = 64
    norm: str = "batch"
    hidden: int = 1024

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w c"]) -> Float[Array, " n"]:
        x = frames
        for i in range(8):
            width, norm = self.width << i // 2, self.norm if i else _first(self.norm)
            x = Block(width, 3, 1 + i % 2, norm, name=f"body_{i}")(x)
        x = x.reshape(x.shape[0], -1)
        x = leaky_relu(nn.Dense(self.hidden, dtype=x.dtype, name="dense1")(x))
        return nn.Dense(1, dtype=x.dtype, name="dense2")(x)[:, 0].astype(jnp.float32)


class Patch(nn.Module):
    """PatchGAN (Isola et al., CVPR 2017): a score for each patch, [N, H / 8 - 2, W / 8 - 2].

    4x4 convolutions with padding 1, of stride 2 but for the last two, no norm after the first:
    C64-C128-C256-C512-1 sees patches of 70x70. Takes any number of channels. ValueError for
    frames that leave no score: smaller than 24x24 at four `widths`.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    norm: str = "batch"

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2"]:
        least, (height, width) = 3 << len(self.widths) - 1, frames.shape[1:3]
        if min(height, width) < least:
            raise ValueError(f"patch critic: {width}x{height} is smaller than {least}x{least}")
        x, last = frames, len(self.widths) - 1
        for i, features in enumerate(self.widths):
            norm, stride = self.norm if i else _first(self.norm), 2 if i < last else 1
            x = Block(features, 4, stride, norm, GAUSSIAN, name=f"body_{i}")(x)
        spectral = self.norm == "spectral"
        x = Conv(1, 4, spectral=spectral, kernel_init=GAUSSIAN, name="conv_last")(x)
        return x[..., 0].astype(jnp.float32)


class TemporalPatch(nn.Module):
    """`Patch` on neighbouring frames side by side as channels: it sees motion and flicker.

    GAN-EVH's D_t (Sect. III-C) takes clips of 3 frames; MST-GAN's of 3 to 7. The number of
    frames is fixed by the parameters.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    norm: str = "batch"

    @nn.compact
    def __call__(self, clip: Float[Array, "n t h w c"]) -> Float[Array, "n h2 w2"]:
        return Patch(self.widths, self.norm, name="patch")(as_channels(clip))


class TecoGANCritic(nn.Module):
    """The critic of TecoGAN (Chu et al. 2020) on 27 channels: scores [N, H / 16, W / 16].

    `inputs` come from `triplets`. `layers` gives the scores together with the four inner maps
    that the critic-layer loss compares: `critic.apply(variables, inputs, method="layers")`.
    Batch norm has a bias but no scale, and epsilon 1e-3, as in the authors' code.
    """

    widths: tuple[int, ...] = (64, 64, 64, 128, 256)

    def __call__(self, inputs: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2"]:
        return self.layers(inputs)[0]

    @nn.compact
    def layers(self, inputs: Float[Array, "n h w c"]) -> tuple[Array, list[Array]]:
        """Scores [N, H / 16, W / 16], and the maps behind each block, the largest first."""
        init, maps = nn.initializers.xavier_uniform(), []
        x = leaky_relu(Conv(self.widths[0], kernel_init=init, name="conv_first")(inputs))
        for i, width in enumerate(self.widths[1:]):
            x = Conv(width, 4, 2, bias=False, kernel_init=init, name=f"conv_{i}")(x)
            x = leaky_relu(Norm(scale=False, epsilon=1e-3, name=f"norm_{i}")(x))
            maps.append(x)
        scores = Conv(1, 1, kernel_init=init, name="dense")(x)[..., 0]
        return scores.astype(jnp.float32), maps


class UNetCritic(nn.Module):
    """Real-ESRGAN's critic (Wang et al. 2021, Fig. 6): a score for each pixel, [N, H, W].

    A U-Net of three levels with skips that are added, all but the first and last convolution
    spectrally normalised. ValueError unless height and width are multiples of 8.
    """

    width: int = 64
    skip: bool = True

    @nn.compact
    def __call__(self, frames: Float[Array, "n h w c"]) -> Float[Array, "n h w"]:
        height, width = frames.shape[1:3]
        if height % 8 or width % 8:
            raise ValueError(f"U-Net critic: {width}x{height} is no multiple of 8")
        conv = lambda features, size, stride, i: Conv(
            features, size, stride, bias=False, spectral=True, name=f"conv{i}"
        )
        x, skips = leaky_relu(Conv(self.width, name="conv0")(frames)), []
        for i in (1, 2, 3):
            skips.append(x)
            x = leaky_relu(conv(self.width << i, 4, 2, i)(x))
        for i in (4, 5, 6):
            skip = skips.pop()
            x = ops.upsample(x, 2, "bilinear")
            x = leaky_relu(conv(skip.shape[-1], 3, 1, i)(x))
            x = x + skip if self.skip else x
        for i in (7, 8):
            x = leaky_relu(conv(self.width, 3, 1, i)(x))
        return Conv(1, name="conv9")(x)[..., 0].astype(jnp.float32)


def as_channels(clip: Float[Array, "n t h w c"]) -> Float[Array, "n h w tc"]:
    """The frames of a clip side by side as channels, all of the first frame's first."""
    n, t, h, w, c = clip.shape
    return jnp.moveaxis(clip, 1, 3).reshape(n, h, w, t * c)


def triplets(
    frames: Float[Array, "n 3 h w c"],
    warped: Float[Array, "n 3 h w c"],
    enlarged: Float[Array, "n 3 h w c"],
    keep: float = 0.75,
) -> Float[Array, "n h w c9"]:
    """What TecoGAN's critic sees: three frames, the same warped to the middle one, and the input.

    `enlarged` is the low-resolution input at the size of the frames. Of the warped frames the
    middle `keep` of each side counts and the rest is 0, for flow brings nothing from outside the
    picture. Gradients through the warp shall not reach the flow: stop them there.
    """
    h, w = warped.shape[2:4]
    top, left = ((side - int(side * keep)) // 2 for side in (h, w))
    inside = warped[:, :, top : h - top, left : w - left]
    edge = ((0, 0), (0, 0), (top, top), (left, left), (0, 0))
    parts = frames, jnp.pad(inside, edge), enlarged
    return jnp.concatenate([as_channels(part) for part in parts], -1)


def instance_noise(
    key: Array, frames: Float[Array, "*shape"], sigma: float | Array
) -> Float[Array, "*shape"]:
    """Frames or clips with Gaussian noise of deviation `sigma`, for critics to look at.

    It makes real and made pictures overlap, so that the critic cannot win outright (Sonderby et
    al. 2017); anneal `sigma` to 0. Give real and made pictures different keys. Not
    clipped: that would bend the noise at black and white.
    """
    return frames + sigma * jax.random.normal(key, frames.shape, frames.dtype)
