"""Triton kernels, each with its definition in plain JAX; never imports jaxvsr."""


def ways(groups: int, dtype: str) -> tuple[str, ...]:
    """The kernels of `convolve` that `auto` may choose from, for so many groups.

    Winograd rounds twice as coarsely as a direct convolution, which float16 can afford.
    """
    if groups > 1:
        return ("triton",)
    return ("triton", "winograd", "ring") if dtype == "float16" else ("triton", "ring")


def convolve(x, w, b=None, *, groups: int = 1, way: str = "triton", **then):
    """The 3x3 kernel for so many groups: dense, grouped, or depthwise; see `kernels.conv3x3`.

    `way` tells the dense ones apart: "triton" is direct, "winograd" has fewer multiplications
    (`kernels.winograd`), and "ring" reads every row once (`kernels.ring`, sm_90 only).
    """
    if groups == 1:
        return _dense(way)(x, w, b, **then)
    if w.shape[2] == 1 and w.shape[3] == groups:
        from kernels.separable import depthwise3x3

        return depthwise3x3(x, w, b, **then)
    from kernels.grouped import grouped3x3

    return grouped3x3(x, w, b, groups=groups, **then)


def _dense(way: str):
    if way == "winograd":
        from kernels.winograd import winograd3x3

        return winograd3x3
    if way == "ring":
        return _by_rows
    from kernels.conv3x3 import conv3x3

    return conv3x3


def _by_rows(x, w, b, *, slope=None, skips=(), **then):
    """`ring3x3` with the arguments of `conv3x3`."""
    from jax.numpy import zeros

    from kernels.ring import ring3x3

    b = zeros(w.shape[-1:], w.dtype) if b is None else b
    if slope is not None:
        then["slope"] = slope
    return ring3x3(x, w, b, skips=[(array, factor, 0) for array, factor in skips], **then)
