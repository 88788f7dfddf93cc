"""Depthwise 3x3 convolution, and the separable one: depthwise and pointwise in one pass.

Both are bound by memory: by the model of the roofline an H200 needs 41 times as long for a
depthwise convolution's values as for its products. A depthwise and a pointwise convolution in two
kernels write and read the middle once more than is needed, twice the traffic; here each strip's
middle goes from registers straight into the pointwise product. How the input is read is told in
`kernels.strip`. Speed was not measured yet. The block is that of MobileNet (Howard et al. 2017).
"""

from functools import partial

import jax
import jax.numpy as jnp

from kernels.epilogue import Epilogue, after, pointers, split
from kernels.grouped import LIMIT, check
from kernels.launch import INTERPRETED, RefusedError, cdiv, launch, power_of_2
from kernels.op import Config, Op, Shape, config
from kernels.strip import square_kernel, strip_kernel
from kernels.tuning import pick

NARROW = 128  # channels of the middle, the most that a strip of 16 columns holds in registers
LAYOUT = ("NHWC", "HWIO", "NHWC")


def depthwise_definition(x, w, b=None, *, activation="none", slope=None, scale=1.0, skips=()):
    """activation(depthwise conv(x, w) + b) * scale + skips as in `grouped`, in plain JAX."""
    then, steep, arrays = split(activation, slope, scale, skips, x.shape)
    return after(then, _linear(x, w, b), steep, arrays)


def definition(
    x, dw, db, pw, pb, *, middle="none", middle_slope=None, activation="none", slope=None,
    scale=1.0, skips=(),
):  # fmt: skip
    """The pointwise convolution of `depthwise_definition`, in plain JAX; see `separable3x3`."""
    inner = depthwise_definition(x, dw, db, activation=middle, slope=middle_slope)
    pw = pw.reshape(pw.shape[-2:])
    then, steep, arrays = split(activation, slope, scale, skips, (*x.shape[:3], pw.shape[1]))
    return after(then, _pointwise(inner, pw, pb), steep, arrays)


def _linear(x, w, b):
    y = jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=x.shape[-1]
    )
    return y if b is None else y + b.astype(y.dtype)


def _pointwise(x, pw, pb):
    y = jax.lax.dot_general(x, pw, (((3,), (0,)), ((), ())))
    return y if pb is None else y + pb.astype(y.dtype)


def depthwise3x3(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    activation: str = "none",
    slope=None,
    scale: float = 1.0,
    skips=(),
    config: Config | None = None,
) -> jax.Array:
    """activation(conv(x, w) + b) * scale + the sum of factor * array over `skips`, by channel.

    x [N, H, W, C], w [3, 3, 1, C] in x's dtype (float32, float16 or bfloat16), b [C]; `activation`
    is "none", "relu", "leaky" (`slope` a number) or "prelu" (`slope` [C]); at most two skips
    (array like x, factor). Returns [N, H, W, C] in x's dtype, summed in float32. The gradient of x
    is this kernel with flipped weights, those of w and b are XLA's. Raises RefusedError for other
    shapes or dtypes, and for images of 2^31 values.
    """
    _check_depthwise(x, w, b)
    then, steep, arrays = split(activation, slope, scale, skips, x.shape)
    if config is None:
        config = pick("depthwise3x3", (x, w), depthwise_choices(x.shape, x.dtype.name))
    return _depthwise((then, config), x, w, b, steep, arrays)


def _check_depthwise(x, w, b) -> None:
    if w.shape[-1] != x.shape[-1] or w.shape[2] != 1:
        raise RefusedError(f"x {x.shape}, w {w.shape}: w must be [3, 3, 1, C]; else use grouped3x3")
    check(x, w, b, x.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _depthwise(how, x, w, b, slope, arrays):
    then, chosen = how
    (n, h, width, c), tile = x.shape, dict(chosen.constants)
    grid = (n * cdiv(h, tile["ROWS"]) * cdiv(width, tile["BW"]) * cdiv(c, tile["BC"]),)
    inputs = (x, w, x if b is None else b, x, x, x, *pointers(x, slope, arrays))
    sizes = dict(H=h, W=width, C=c, K=c, BK=tile["BC"], POINTWISE=False, MIDDLE="none", BENT=0.0)
    flags = dict(DB=b is not None, PB=False, F32=INTERPRETED)
    return launch(
        strip_kernel, grid, jax.ShapeDtypeStruct(x.shape, x.dtype), *inputs,
        warps=chosen.warps, stages=chosen.stages, **sizes, **flags, **tile, **then.constants(),
    )  # fmt: skip


def _save(how, x, w, b, slope, arrays):
    then, chosen = how
    z = _depthwise((Epilogue(), chosen), x, w, b, None, ())
    return after(then, z, slope, arrays), (x, w, b, z, slope, arrays)


def _gradient(how, saved, g):
    """Of x by the kernel with weights turned by 180 degrees."""
    then, chosen = how
    x, w, b, z, slope, arrays = saved
    dz, *rest = jax.vjp(partial(after, then), z, slope, arrays)[1](g)
    dx = _depthwise((Epilogue(), chosen), dz, w[::-1, ::-1], None, None, ())
    return dx, *jax.vjp(partial(_linear, x), w, b)[1](dz), *rest


_depthwise.defvjp(_save, _gradient)


def separable3x3(
    x: jax.Array,
    dw: jax.Array,
    db: jax.Array | None,
    pw: jax.Array,
    pb: jax.Array | None,
    *,
    middle: str = "none",
    middle_slope=None,
    activation: str = "none",
    slope=None,
    scale: float = 1.0,
    skips=(),
    config: Config | None = None,
) -> jax.Array:
    """activation(middle(depthwise(x, dw) + db) @ pw + pb) * scale + skips, in one kernel.

    x [N, H, W, C], dw [3, 3, 1, C], db [C], pw [C, K] or [1, 1, C, K], pb [K], weights in x's
    dtype. `middle` with `middle_slope` (a number, or [C] for "prelu") and `activation` with
    `slope`, `scale` and `skips` ([N, H, W, K]) are as in `grouped3x3`. Returns [N, H, W, K] in
    x's dtype; sums are in float32, the middle is rounded to x's dtype for the product. The
    gradient is that of `depthwise3x3` and a matrix product. Raises RefusedError as that does.
    """
    _check_depthwise(x, dw, db)
    pw = pw.reshape(pw.shape[-2:]) if pw.shape[:-2] in ((), (1, 1)) else pw
    _check_pointwise(x, pw, pb)
    out = (*x.shape[:3], pw.shape[1])
    inner, bent, _ = split(middle, middle_slope, 1.0, (), x.shape)
    then, steep, arrays = split(activation, slope, scale, skips, out)
    if config is None:
        config = pick("separable3x3", (x, pw), choices(x.shape, x.dtype.name, pw.shape[1]))
    return _separable((inner, then, config), x, dw, db, pw, pb, bent, steep, arrays)


def _check_pointwise(x, pw, pb) -> None:
    if pw.ndim != 2 or pw.shape[0] != x.shape[-1] or 0 in pw.shape or pw.dtype != x.dtype:
        raise RefusedError(f"x {x.shape} {x.dtype}: pw {pw.shape} {pw.dtype} must be [C, K] alike")
    if pb is not None and pb.shape != pw.shape[1:]:
        raise RefusedError(f"pb {pb.shape}: must be {pw.shape[1:]}")
    if x.shape[1] * x.shape[2] * pw.shape[1] >= LIMIT:
        raise RefusedError(f"x {x.shape}: a result must be below 2^31 values; cut it in windows")


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _separable(how, x, dw, db, pw, pb, bent, slope, arrays):
    inner, then, chosen = how
    (n, h, width, c), k, tile = x.shape, pw.shape[1], dict(chosen.constants)
    strip = "ROWS" in tile
    high, wide = (tile["ROWS"], tile["BW"]) if strip else (tile["TH"], tile["TW"])
    grid = (n * cdiv(h, high) * cdiv(width, wide) * cdiv(k, tile["BK"]),)
    given = [x if a is None else a for a in (db, pw, pb, bent)]
    inputs = (x, dw, *given, *pointers(x, slope, arrays))
    sizes = dict(H=h, W=width, C=c, K=k, MIDDLE=inner.activation, BENT=inner.slope)
    sizes |= {"POINTWISE": True} if strip else {}
    flags = dict(DB=db is not None, PB=pb is not None, F32=INTERPRETED)
    kernel, out = strip_kernel if strip else square_kernel, (n, h, width, k)
    return launch(
        kernel, grid, jax.ShapeDtypeStruct(out, x.dtype), *inputs,
        warps=chosen.warps, stages=chosen.stages, **sizes, **flags, **tile, **then.constants(),
    )  # fmt: skip


def _two_steps(inner, then, x, dw, db, pw, pb, bent, slope, arrays):
    """The same in two steps, for the gradient: the depthwise kernel, then XLA's product."""
    steep = bent if bent is not None else inner.slope
    z = depthwise3x3(x, dw, db, activation=inner.activation, slope=steep)
    return after(then, _pointwise(z, pw, pb), slope, arrays)


def _save_separable(how, *arrays):
    return _separable(how, *arrays), arrays


def _separable_gradient(how, saved, g):
    return jax.vjp(partial(_two_steps, *how[:2]), *saved)[1](g)


_separable.defvjp(_save_separable, _separable_gradient)


def depthwise_choices(shape: Shape, dtype: str) -> tuple[Config, ...]:
    """Configs of `depthwise3x3`; 4 or 8 values a thread, so that loads are 8 or 16 bytes wide."""
    bc = min(64, max(8, power_of_2(shape[3])))
    columns = lambda values, warps: max(1, values * warps * 32 // bc)
    tried = ((4, 8, 8), (4, 16, 8), (4, 8, 4), (8, 8, 4), (8, 16, 4), (8, 32, 4))
    if dtype == "float32":
        tried = ((4, 8, 4), (4, 16, 4), (8, 8, 4))
    return tuple(
        config(BC=bc, BW=columns(values, warps), ROWS=rows, warps=warps)
        for values, rows, warps in tried
    )


def choices(shape: Shape, dtype: str, out: int) -> tuple[Config, ...]:
    """Configs of `separable3x3` for `out` channels: strips where all C fit, squares for any C."""
    c = max(16, power_of_2(shape[3]))
    bk = min(128, max(16, power_of_2(out)))
    strips = tuple(
        config(BC=c, BK=bk, BW=bw, ROWS=rows, warps=max(1, warps * c // 64))
        for bw, rows, warps in ((16, 8, 8), (16, 16, 8), (16, 8, 4), (32, 8, 8))
        if c * bw <= NARROW * 16
    )
    squares = tuple(
        config(BC=min(c, 64), BK=bk, TH=th, TW=16, warps=warps) for th, warps in ((4, 4), (8, 8))
    )
    if dtype == "float32":
        squares = (config(BC=min(c, 32), BK=min(bk, 32), TH=4, TW=8, warps=4),)
        return squares + strips[:1]
    return strips + squares


def _random(key, shape, dtype, fan: int = 1):
    return (jax.random.normal(key, shape) / fan**0.5).astype(dtype)


def _depthwise_example(key: jax.Array, shape: Shape, dtype: str) -> tuple:
    keys, c = jax.random.split(key, 3), shape[3]
    x, w = _random(keys[0], shape, dtype), _random(keys[1], (3, 3, 1, c), dtype, 9)
    return x, w, _random(keys[2], (c,), dtype)


def _example(key: jax.Array, shape: Shape, dtype: str) -> tuple:
    first, second, third = jax.random.split(key, 3)
    c = shape[3]
    pw, pb = _random(second, (c, c), dtype, c), _random(third, (c,), dtype)
    return *_depthwise_example(first, shape, dtype), pw, pb


def _leaky(z):
    return jnp.where(z >= 0, z, z * 0.2)


def _shifted(x, w, b):
    """A depthwise convolution as nine shifted products, that XLA makes one loop of."""
    h, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    near = [padded[:, i : i + h, j : j + width] * w[i, j, 0] for i in range(3) for j in range(3)]
    return _leaky(sum(near) + b)


def _shifted_separable(x, dw, db, pw, pb):
    return _leaky(_pointwise(_shifted(x, dw, db), pw, pb))


HOW = dict(activation="leaky", slope=0.2)
BOTH = HOW | dict(middle="leaky", middle_slope=0.2)
SHAPES = {"540p": (1, 540, 960, 64), "720p": (1, 720, 1280, 64), "1080p": (1, 1080, 1920, 64)}
SMALL = ((1, 9, 5, 36), (2, 3, 17, 5))


def _values(shape: Shape) -> int:
    n, h, w, c = shape
    return n * h * w * c


OPS = (
    Op(
        name="depthwise3x3",
        ours=partial(depthwise3x3, **HOW),
        definition=partial(depthwise_definition, **HOW),
        example=_depthwise_example,
        flops=lambda shape: 18.0 * _values(shape),
        bytes=lambda shape, size: float(size * (2 * _values(shape) + 9 * shape[3])),
        configs=depthwise_choices,
        small=SMALL,
        shapes=SHAPES,
        baselines={"shifted": _shifted},
    ),
    Op(
        name="separable3x3",
        ours=partial(separable3x3, **BOTH),
        definition=partial(definition, **BOTH),
        example=_example,
        flops=lambda shape: _values(shape) * (18.0 + 2 * shape[3]),
        bytes=lambda shape, size: float(size * (2 * _values(shape) + (9 + shape[3]) * shape[3])),
        configs=lambda shape, dtype: choices(shape, dtype, shape[3]),
        small=SMALL,
        shapes=SHAPES,
        baselines={"shifted": _shifted_separable},
    ),
)
