"""Triton kernels, each with its definition in plain JAX; never imports jaxvsr."""


def convolve(x, w, b=None, *, groups: int = 1, **then):
    """The 3x3 kernel for so many groups: dense, grouped, or depthwise; see `kernels.conv3x3`."""
    if groups == 1:
        from kernels.conv3x3 import conv3x3

        return conv3x3(x, w, b, **then)
    if w.shape[2] == 1 and w.shape[3] == groups:
        from kernels.separable import depthwise3x3

        return depthwise3x3(x, w, b, **then)
    from kernels.grouped import grouped3x3

    return grouped3x3(x, w, b, groups=groups, **then)
