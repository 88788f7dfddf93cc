"""A 3x3 convolution with all that follows it: bias, activation, scale, residuals, in one pass.

XLA calls cuDNN for the convolution; leaky ReLU and PReLU in 16 bit, and most residuals, are
further kernels that read and write the whole image again (with 64 channels each costs as much
memory traffic as the convolution itself). Here they happen before the only store. The convolution
is an implicit matrix product (Chetlur et al., arXiv 1410.0759), whose nine taps of a 2-D tile of
pixels overlap: loaded through the L1 cache (one pipeline stage), most of them come from there and
not from L2, which is expected to hold back a library's kernel at 64 channels. Where that pays is
left to the tuner (`configs`); untuned it was 1.17 times as fast as XLA on an H100 (540p, bfloat16).

`into` does the same on some channels of a wide buffer and writes other channels of it, so that
concatenations cost nothing.
"""

from dataclasses import dataclass
from functools import partial

import jax

from kernels.launch import INTERPRETED, TARGET, RefusedError, cdiv, launch  # isort: skip
from kernels.conv3x3_tiles import conv3x3_kernel  # isort: skip  (kernels.launch comes first)
from kernels.conv3x3_configs import configs
from kernels.epilogue import after, split
from kernels.op import Config, Op, Shape
from kernels.tuning import pick

FLOATS = ("float32", "float16", "bfloat16")
LIMIT = 2**31  # values in the rows that a tile covers, where 32-bit offsets end


@dataclass(frozen=True)
class Then:
    """What is done with the sums, and where things lie; `skips` are (source, factor, start)."""

    activation: str = "none"
    slope: float = 0.0
    scale: float = 1.0
    skips: tuple[tuple[str, float, int], ...] = ()
    reads: int = 0
    writes: int = 0
    config: Config | None = None


def definition(x, w, b=None, *, activation="none", slope=None, scale=1.0, skips=()):
    """`conv3x3` in plain JAX, in the dtype of its inputs."""
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout)
    return finished(y if b is None else y + b, activation, slope, scale, skips)


def finished(y, activation, slope, scale, skips):
    """activation(y) * scale + the sum of factor * array over `skips`."""
    then, steep, arrays = split(activation, slope, scale, skips, y.shape)
    return after(then, y, steep, arrays)


def into_definition(buffer, w, b, *, reads, writes, target=None, skips=(), **then):
    """`into` in plain JAX; XLA may copy the target."""
    at, count = reads
    out = w.shape[-1]
    cut = [(array[..., start : start + out], factor) for array, factor, start in skips]
    y = definition(buffer[..., at : at + count], w, b, skips=cut, **then)
    target = buffer if target is None else target
    return target.at[..., writes : writes + out].set(y)


def conv3x3(
    x,
    w,
    b=None,
    *,
    activation: str = "none",
    slope=None,
    scale: float = 1.0,
    skips=(),
    config: Config | None = None,
):
    """activation(conv(x, w) + b) * scale + the sum of factor * array over `skips`.

    `x` is [N, H, W, C], `w` [3, 3, C, K], `b` [K] or None, the result [N, H, W, K], zeros around
    the image. `activation` is "none", "relu", "leaky" (`slope` a number) or "prelu" (`slope` [K]).
    `skips` are at most two pairs (array [N, H, W, K], factor). All arrays have one dtype: float32,
    float16 or bfloat16; sums are float32. Gradients: the input's is this kernel with the weights
    turned round, those of w and b are XLA's. Raises RefusedError for anything else.
    """
    arrays = tuple(array for array, _ in skips)
    then, steep, _ = split(activation, slope, scale, (), w.shape[-1:])
    _check(x, w, b, steep)
    _check_count(skips)
    for array in arrays:
        _check_skip(x, w, array, 0)
    given = tuple(("given", float(factor), 0) for _, factor in skips)
    then = Then(activation, then.slope, float(scale), given, config=config)
    return _conv3x3(x, w, b, steep, arrays, then)


def into(
    buffer,
    w,
    b,
    *,
    reads: tuple[int, int],
    writes: int,
    target=None,
    activation: str = "none",
    slope=None,
    scale: float = 1.0,
    skips=(),
    config: Config | None = None,
):
    """`target` with channels `writes` onwards replaced by the convolution of some of `buffer`.

    `reads` = (start, count) are the channels of `buffer` [N, H, W, B] that are the input; `w` is
    [3, 3, count, K]. `target` [N, H, W, T] gets K channels; None is `buffer` itself, and then the
    two slices must not overlap. The target is written in place where nothing else needs it. The
    at most two `skips` are (array, factor, start): K channels of an array from `start` on; they
    may come from `buffer` or `target`, from there if they are not written or exactly those that
    are. Otherwise as `conv3x3`; the gradient is XLA's, of `into_definition`.
    """
    then, steep, _ = split(activation, slope, scale, (), w.shape[-1:])
    target = None if target is buffer else target
    _check(jax.ShapeDtypeStruct((*buffer.shape[:-1], reads[1]), buffer.dtype), w, b, steep)
    _check_slices(buffer, w, reads, writes, target)
    _check_count(skips)
    sources, arrays = [], []
    for array, factor, start in skips:
        _check_skip(buffer, w, array, start)
        source = "read" if array is buffer else "write" if array is target else "given"
        own = array is (buffer if target is None else target)
        if own and start != writes and _overlap(start, w.shape[-1], writes, w.shape[-1]):
            raise RefusedError(f"into: a skip from {start} overlaps what is written; copy it first")
        sources.append((source, float(factor), start))
        arrays += [array] if source == "given" else []
    where = (tuple(sources), reads[0], writes, config)
    then = Then(activation, then.slope, float(scale), *where)
    return _into(buffer, w, b, steep, tuple(arrays), target, then)


def _check(x, w, b, slope) -> None:
    if x.ndim != 4 or w.ndim != 4 or w.shape[:3] != (3, 3, x.shape[-1]):
        raise RefusedError(
            f"conv3x3: x {x.shape} and w {w.shape}; give [N, H, W, C] and [3, 3, C, K]"
        )
    if b is not None and b.shape != w.shape[-1:]:
        raise RefusedError(f"conv3x3: b is {b.shape}; give {w.shape[-1:]}")
    dtypes = {str(a.dtype) for a in (x, w, b, slope) if a is not None}
    if len(dtypes) > 1 or not dtypes <= set(FLOATS):
        raise RefusedError(
            f"conv3x3: dtypes {sorted(dtypes)}; give one of {', '.join(FLOATS)} or use impl='xla'"
        )


def _check_count(skips) -> None:
    if len(skips) > 2:
        raise RefusedError(f"conv3x3: {len(skips)} skips; give two, add the others behind it")


def _check_skip(x, w, array, start: int) -> None:
    out = w.shape[-1]
    if array.shape[:-1] != x.shape[:-1] or not 0 <= start <= array.shape[-1] - out:
        raise RefusedError(
            f"conv3x3: a skip is {array.shape} from {start}; give {(*x.shape[:-1], out)}"
        )
    if array.dtype != x.dtype:
        raise RefusedError(f"conv3x3: a skip is {array.dtype}, x {x.dtype}; give one dtype")


def _check_slices(buffer, w, reads, writes: int, target) -> None:
    (at, count), out = reads, w.shape[-1]
    to = buffer if target is None else target
    if to.shape[:-1] != buffer.shape[:-1] or to.dtype != buffer.dtype:
        raise RefusedError(
            f"into: target {to.shape} {to.dtype} for {buffer.shape} {buffer.dtype}; give alike"
        )
    if min(at, writes) < 0 or at + count > buffer.shape[-1] or writes + out > to.shape[-1]:
        raise RefusedError(
            f"into: reads {reads} of {buffer.shape[-1]} channels and writes {out} from {writes} of"
            f" {to.shape[-1]}; choose channels that are there"
        )
    if target is None and _overlap(at, count, writes, out):
        raise RefusedError(
            f"into: reads {reads} and writes {out} channels from {writes} overlap; give a target"
        )


def _overlap(a: int, count: int, b: int, size: int) -> bool:
    return a < b + size and b < a + count


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _conv3x3(x, w, b, slope, arrays, then: Then):
    return _run(x, w, b, slope, arrays, None, then)


def _save(x, w, b, slope, arrays, then):
    return _run(x, w, b, slope, arrays, None, then), (x, w, b, slope, arrays)


def _gradient(then: Then, saved, g):
    """What follows the sums needs their sign: the convolution is done again where it matters."""
    x, w, b, slope, arrays = saved
    factors = [factor for _, factor, _ in then.skips]

    def end(y, slope, arrays):
        steep = then.slope if slope is None else slope
        skips = list(zip(arrays, factors, strict=True))
        return finished(y, then.activation, steep, then.scale, skips)

    y = _run(x, w, b, None, (), None, Then())
    g, slope_g, arrays_g = jax.vjp(end, y, slope, arrays)[1](g)
    turned = w[::-1, ::-1].swapaxes(2, 3)
    x_g = _run(g, turned, None, None, (), None, Then())
    w_g = jax.vjp(lambda w: definition(x, w), w)[1](g)[0]
    b_g = None if b is None else g.sum((0, 1, 2), dtype="float32").astype(b.dtype)
    return x_g, w_g, b_g, slope_g, arrays_g


_conv3x3.defvjp(_save, _gradient)


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def _into(buffer, w, b, slope, arrays, target, then: Then):
    return _run(buffer, w, b, slope, arrays, buffer if target is None else target, then)


def _save_into(buffer, w, b, slope, arrays, target, then):
    saved = (buffer, w, b, slope, arrays, target)
    return _into(*saved, then), saved


def _into_gradient(then: Then, saved, g):
    def plain(buffer, w, b, slope, arrays, target):
        given = iter(arrays)
        sources = {"read": buffer, "write": target}
        skips = [
            (next(given) if source == "given" else sources[source], factor, start)
            for source, factor, start in then.skips
        ]
        steep = then.slope if slope is None else slope
        where = dict(reads=(then.reads, w.shape[2]), writes=then.writes, target=target)
        how = dict(activation=then.activation, slope=steep, scale=then.scale, skips=skips)
        return into_definition(buffer, w, b, **where, **how)

    return jax.vjp(plain, *saved)[1](g)


_into.defvjp(_save_into, _into_gradient)


def _run(x, w, b, slope, arrays, target, then: Then):
    """One launch; `target` is what the output starts as: x, another array, or None for nothing."""
    n, h, wide, _ = x.shape
    count, out = w.shape[2:]
    shape = (n, h, wide, count)
    choices = configs(shape, x.dtype.name, out)
    chosen = then.config or pick("conv3x3", (jax.ShapeDtypeStruct(shape, x.dtype), w), choices)
    built = dict(chosen.constants)
    into = target if target is not None else jax.ShapeDtypeStruct((n, h, wide, out), x.dtype)
    skips, extra = _sources(then, arrays, x, into, w)
    if 32 * wide * max(a.shape[-1] for a in (x, into, *extra)) >= LIMIT:
        raise RefusedError(f"conv3x3: rows of {x.shape} are too long; use impl='xla'")
    own = target is x
    pointers = (x, w, w if b is None else b, w if slope is None else slope, *extra)
    pointers += (w if own or target is None else target,)
    sizes = dict(N=n, H=h, W=wide, C=count, K=out, XB=x.shape[-1], XAT=then.reads)
    sizes |= dict(YB=into.shape[-1], YAT=then.writes, BIAS=b is not None, **skips)
    sizes |= dict(ACTIVATION=then.activation, SLOPE=then.slope, SCALE=then.scale)
    sizes |= dict(F32=INTERPRETED, PRECISION="tf32x3" if built.pop("SPLIT", 0) else "ieee")
    tiles = n * cdiv(h, built["TH"]) * cdiv(wide, built["TW"])
    blocks = cdiv(out, built["BK"])
    programs = tiles
    if built["WAY"] == 2:
        programs = min(tiles, cdiv(_cores() * built.pop("AT_ONCE"), blocks))
    return launch(
        conv3x3_kernel,
        (programs * blocks,),
        jax.ShapeDtypeStruct(into.shape, x.dtype),
        *pointers,
        warps=chosen.warps,
        stages=chosen.stages,
        aliases={} if target is None else {0: 0} if own else {6: 0},
        EACH=cdiv(tiles, programs),
        **sizes,
        **built,
    )


def _cores() -> int:
    """Multiprocessors of the GPU; 132, an H100's, where there is none, and few if interpreted."""
    return 2 if INTERPRETED else 132 if TARGET else jax.devices("gpu")[0].core_count


def _sources(then: Then, arrays, x, into, w):
    """Where the two skips come from as constants, and the arrays of those not in a buffer."""
    given = iter(arrays)
    constants, extra = {}, []
    for i, (source, factor, start) in enumerate([*then.skips, *[("none", 0.0, 0)] * 2][:2]):
        array = {"read": x, "write": into, "none": w}.get(source)
        array = next(given) if array is None else array
        extra.append(array if source == "given" else w)
        constants |= {f"FROM{i}": source, f"F{i}": factor}
        constants |= {f"B{i}": array.shape[-1], f"AT{i}": start}
    return constants, extra


def _example(key, shape: Shape, dtype: str, *, features: int | None = None, skip: bool = False):
    """(x, w, b), and with `skip` a residual; sums are about 1."""
    c, k = shape[-1], features or shape[-1]
    keys = jax.random.split(key, 4)
    w = (jax.random.normal(keys[1], (3, 3, c, k)) / (9 * c) ** 0.5).astype(dtype)
    arrays = (jax.random.normal(keys[0], shape, dtype), w, jax.random.normal(keys[2], (k,), dtype))
    return (*arrays, jax.random.normal(keys[3], (*shape[:-1], k), dtype)) if skip else arrays


def _residual(x, w, b, skip, config=None):
    return conv3x3(x, w, b, scale=0.2, skips=((skip, 1.0),), config=config)


def _residual_definition(x, w, b, skip):
    return definition(x, w, b, scale=0.2, skips=((skip, 1.0),))


def _residual_folded(x, w, b, skip):
    """The scale inside the weights, so that cuDNN's one kernel can do all of it."""
    return definition(x, w * 0.2, b * 0.2, skips=((skip, 1.0),))


def _flops(shape: Shape, features: int | None = None) -> float:
    n, h, w, c = shape
    return 18.0 * n * h * w * c * (features or c)


def _bytes(shape: Shape, size: int, *, arrays: int = 0, features: int | None = None) -> float:
    """Input, output and weights once, and `arrays` more like the output."""
    n, h, w, c = shape
    k = features or c
    return float(size * (n * h * w * (c + k * (1 + arrays)) + 9 * c * k + k))


LEAKY = dict(activation="leaky", slope=0.2)
SMALL = ((1, 5, 9, 16), (2, 3, 17, 20))
SHAPES = {"540p": (1, 540, 960, 64), "720p": (1, 720, 1280, 64), "1080p": (1, 1080, 1920, 64)}
GROWTH = 32

OPS = (
    Op(
        name="conv3x3",
        ours=partial(conv3x3, **LEAKY),
        definition=partial(definition, **LEAKY),
        example=_example,
        flops=_flops,
        bytes=_bytes,
        configs=configs,
        small=SMALL,
        shapes=SHAPES,
    ),
    Op(
        name="conv3x3_residual",
        ours=_residual,
        definition=_residual_definition,
        example=partial(_example, skip=True),
        flops=_flops,
        bytes=partial(_bytes, arrays=1),
        configs=configs,
        small=SMALL,
        shapes=SHAPES,
        baselines={"scale folded": _residual_folded},
    ),
    Op(
        name="conv3x3_narrow",
        ours=partial(conv3x3, **LEAKY),
        definition=partial(definition, **LEAKY),
        example=partial(_example, features=GROWTH),
        flops=partial(_flops, features=GROWTH),
        bytes=partial(_bytes, features=GROWTH),
        configs=partial(configs, features=GROWTH),
        small=((1, 6, 5, 48),),
        shapes={"270p 96": (1, 270, 480, 96), "540p 160": (1, 540, 960, 160)},
    ),
)
