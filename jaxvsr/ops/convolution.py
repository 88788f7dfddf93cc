"""Stride-1 convolutions that keep the size, as XLA runs them best on the device at hand.

On a CPU three things are written otherwise than XLA would do them: grouped and depthwise
convolutions, and the gradient of a kernel. The values are the same.
"""

import jax
import jax.numpy as jnp

THIN = 16  # channels below which a side of a convolution leaves most of XLA's block empty
FITS = 2 << 20  # bytes of slopes up to which XLA's own gradient of a kernel is fast
PIECE = 1 << 20  # bytes of the still side of a piece, for a core's own cache
LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(x, kernel, groups: int = 1):
    """[N, H, W, C] * [kh, kw, C / groups, O] = [N, H, W, O], zeros around."""
    if _platform() != "cpu":
        return dense(x, kernel, groups)
    if groups > 1:
        return _depthwise(x, kernel) if kernel.shape[2] == 1 else _grouped(x, kernel, groups)
    return _in_pieces(x, kernel) if _helped(x.shape, kernel.shape, x.dtype) else dense(x, kernel)


def dense(x, kernel, groups: int = 1):
    """The definition of `conv`, as XLA's own convolution on every device."""
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=groups
    )


def kernel_gradient(x, slopes, size: tuple[int, int]):
    """The gradient [kh, kw, C, O] of a `dense` kernel of `size`; slopes [N, H, W, O].

    A sum over pieces of rows. Each is a convolution in which the slopes are the kernel and `x`
    moves, or the other way round: the wider one stays still.
    """
    swap, margins = x.shape[-1] > slopes.shape[-1], _margins(size)
    still, moving = (x, slopes) if swap else (slopes, x)
    (before, across), (after, behind) = reversed(margins) if swap else margins
    moving = jnp.pad(moving, ((0, 0), (before, after), (0, 0), (0, 0)))
    height, row = still.shape[1], still.size * still.dtype.itemsize // still.shape[1]
    rows, total = max(1, PIECE // row), 0
    for first in range(0, height, rows):
        last = min(first + rows, height)
        total += jax.lax.conv_general_dilated(
            moving[:, first : last + size[0] - 1],
            still[:, first:last],
            (1, 1),
            ((0, 0), (across, behind)),
            dimension_numbers=("CHWN", "IHWO", "HWNC"),
        )
    return total[::-1, ::-1].swapaxes(2, 3) if swap else total


def _margins(size: tuple[int, int]):
    """((above, left), (below, right)) zeros that keep the size."""
    first = tuple((side - 1) // 2 for side in size)
    return first, tuple(side - 1 - one for side, one in zip(size, first, strict=True))


def _helped(shape, kernel, dtype) -> bool:
    """True where pieces were measured to beat XLA's own gradient of the kernel."""
    into, out = kernel[2:]
    if dtype != jnp.float32:  # what is summed in halves would be less exact
        return False
    large = shape[0] * shape[1] * shape[2] * out * 4 > FITS
    return large or out < min(THIN, into)


@jax.custom_vjp
def _in_pieces(x, kernel):
    """`dense`, whose kernel learns by `kernel_gradient`; without forward-mode derivatives."""
    return dense(x, kernel)


def _kept(x, kernel):
    return dense(x, kernel), (x, kernel)


def _backward(kept, slopes):
    x, kernel = kept
    (own,) = jax.linear_transpose(lambda x: dense(x, kernel), x)(slopes)
    return own, kernel_gradient(x, slopes, kernel.shape[:2])


_in_pieces.defvjp(_kept, _backward)


def _grouped(x, kernel, groups: int):
    """Separate convolutions; of thin groups, whose set-up would cost more, one dense one."""
    if kernel.shape[2] < THIN:
        diagonal = jnp.eye(groups, dtype=kernel.dtype)[:, None, :, None]
        height, width, into, _ = kernel.shape
        blocks = kernel.reshape(height, width, 1, into, groups, -1) * diagonal
        return conv(x, blocks.reshape(height, width, groups * into, -1))
    parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
    return jnp.concatenate([conv(part, k) for part, k in parts], -1)


def _depthwise(x, kernel):
    height, width, _, out = kernel.shape
    _, h, w, c = x.shape
    (top, left), (bottom, right) = _margins((height, width))
    x = jnp.repeat(x, out // c, -1)
    padded = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    at = [(i, j) for i in range(height) for j in range(width)]
    return sum(padded[:, i : i + h, j : j + w] * kernel[i, j, 0] for i, j in at)


def _platform() -> str:
    device = jax.config.jax_default_device
    return getattr(device, "platform", device) or jax.default_backend()
