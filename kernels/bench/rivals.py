"""The same operations in PyTorch, as its users run them fastest: the other ones to beat.

Everything is channels_last, cuDNN chooses by measuring, and calls are replayed from a CUDA graph,
so no launch is waited for; once eager, once through torch.compile with max-autotune. float32 is
float32, not TensorFloat-32. `python -m kernels.bench.rivals` serves the bench, in a process of its
own: PyTorch and JAX bring a cuDNN each.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from kernels.bench.workers import serve
from kernels.timing import BEYOND_L2, MOST_COPIES, ROUNDS, summary

SLOPE = 0.2
SAMPLE = 4.0  # milliseconds between two events
Tensors = Sequence[torch.Tensor]


@dataclass(frozen=True)
class Rival:
    """`run` of tensors; `kinds` says what they are, one letter each, the last for all that follow.

    i: image, [N, C, H, W] here; w: weights, OIHW here; v: anything that stays as it is.
    """

    kinds: str
    run: Callable[..., torch.Tensor]


def conv(x, w, b, groups: int = 1):
    """3x3, or what size the weights have, then LeakyReLU."""
    return F.leaky_relu(F.conv2d(x, w, b, padding=w.shape[-1] // 2, groups=groups), SLOPE)


def dense_block(x, *flat):
    """Five convolutions, each of all maps before it, and the scaled residual."""
    maps = [x]
    for i in range(0, 8, 2):
        maps.append(conv(torch.cat(maps, 1), *flat[i : i + 2]))
    return x + 0.2 * F.conv2d(torch.cat(maps, 1), *flat[8:], padding=1)


def rrdb(x, *flat):
    """Three dense blocks, and the residual around them."""
    y = x
    for i in range(0, len(flat), 10):
        y = dense_block(y, *flat[i : i + 10])
    return x + 0.2 * y


def tail(x, w, b, base=None, *, r: int, mode: str | None = None):
    """Convolution, pixel shuffle, enlarged base, bytes."""
    y = F.conv2d(x, w, b, padding=w.shape[-1] // 2)
    y = F.pixel_shuffle(y, r)
    if base is not None:
        corners = {"align_corners": False} if mode in ("bilinear", "bicubic") else {}
        y = y + F.interpolate(base, scale_factor=r, mode=mode, **corners)
    return (y.clamp(0, 1) * 255).round().to(torch.uint8)


def head(frames, w, b, slope):
    """Bytes, convolution, PReLU."""
    return F.prelu(F.conv2d(frames.to(w.dtype) / 255, w, b, padding=w.shape[-1] // 2), slope)


def upsampler(x, w, b, slope):
    """Convolution, pixel shuffle by 2, PReLU."""
    return F.prelu(F.pixel_shuffle(F.conv2d(x, w, b, padding=1), 2), slope)


def depthwise(x, w, b):
    """A 3x3 for each channel, LeakyReLU."""
    return conv(x, w, b, x.shape[1])


def separable(x, dw, db, pw, pb):
    """Depthwise, then pointwise, each with LeakyReLU."""
    return conv(depthwise(x, dw, db), pw.t()[:, :, None, None], pb)


def warp(frames, flow):
    """Bilinear, border repeated; flow[N, H, W, 2] in pixels."""
    _, _, h, w = frames.shape
    rows = torch.arange(h, device=flow.device)[:, None] + flow[..., 1]
    columns = torch.arange(w, device=flow.device) + flow[..., 0]
    grid = torch.stack([2 * columns / max(w - 1, 1) - 1, 2 * rows / max(h - 1, 1) - 1], -1)
    options = {"mode": "bilinear", "padding_mode": "border", "align_corners": True}
    return F.grid_sample(frames, grid.to(frames.dtype), **options)


def deform(x, offsets, mask, w, b):
    """Modulated deformable convolution by torchvision; offsets and mask are [N, H, W, ...]."""
    from torchvision.ops import deform_conv2d

    offsets, mask = (a.permute(0, 3, 1, 2).contiguous() for a in (offsets, mask))
    return deform_conv2d(x.contiguous(), offsets, w.contiguous(), b, padding=1, mask=mask)


def correlation(a, b, radius: int = 4):
    """Shifted products, one after the other; PyTorch has nothing better."""
    h, w = a.shape[2:]
    wide = F.pad(b, (radius,) * 4)
    side = range(2 * radius + 1)
    return torch.stack(
        [(a * wide[:, :, i : i + h, j : j + w]).mean(1) for i in side for j in side], 1
    )


def _grouped(groups: int) -> Rival:
    return Rival("iwv", lambda x, w, b: conv(x, w, b, groups))


def _tail(r: int, mode: str | None = None) -> Rival:
    kinds = "iwv" if mode is None else "iwvi"
    return Rival(kinds, lambda *arrays: tail(*arrays, r=r, mode=mode))


RIVALS = {
    "conv3x3": Rival("iwv", conv),
    "winograd3x3": Rival("iwv", conv),
    "ring3x3": Rival("iwv", conv),
    "dense_block": Rival("iwv", dense_block),
    "rrdb": Rival("iwv", rrdb),
    "tail": _tail(2, "bicubic"),
    "tail_x4": _tail(4, "nearest"),
    "tail_x1": _tail(1),
    "tail_1x1": _tail(2, "bicubic"),
    "tail_9x9": _tail(1),
    "head": Rival("iwv", head),
    "head_9x9": Rival("iwv", head),
    "upsampler": Rival("iwv", upsampler),
    "depthwise3x3": Rival("iwv", depthwise),
    "separable3x3": Rival("iwv", separable),
    "warp": Rival("iv", warp),
    "deform3x3": Rival("ivvwv", deform),
    "correlation": Rival("i", correlation),
    **{f"grouped{groups}": _grouped(groups) for groups in (2, 4, 8, 16)},
}


def tensors(rival: Rival, arrays: Sequence, device: str) -> list[torch.Tensor]:
    """JAX arrays as the rival takes them; weights may be told by their four dimensions."""
    kinds = rival.kinds + rival.kinds[-1] * len(arrays)
    return [_tensor(a, kind).to(device) for a, kind in zip(arrays, kinds, strict=False)]


def _tensor(array, kind: str) -> torch.Tensor:
    array = np.array(array)
    if array.dtype.name == "bfloat16":
        tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array)
    if tensor.ndim != 4 or (kind == "v" and array.shape[:2] != (3, 3)):
        return tensor
    order = (0, 3, 1, 2) if kind == "i" else (3, 2, 0, 1)
    return tensor.permute(order).contiguous(memory_format=torch.channels_last)


def row(job: dict) -> dict:
    """{"times": {name: [p50, p20, p80]}} for `name` "torch" or "torch compile" of an operation."""
    import jax

    from kernels.table import OPS

    if job["op"] not in RIVALS:
        return {"none": True}
    if not torch.cuda.is_available():
        return {"error": "this PyTorch has no CUDA; install one that has"}
    rival, op = RIVALS[job["op"]], OPS[job["op"]]
    arrays = op.example(jax.random.key(0), tuple(job["size"]), job["dtype"])
    given = tensors(rival, arrays, "cuda")
    run = rival.run
    if job["name"] == "torch compile":
        torch._dynamo.reset()
        run = torch.compile(run, mode="max-autotune-no-cudagraphs")  # the graph is ours
    with torch.inference_mode():
        return {"times": {job["name"]: timed(run, given, job["seconds"])}}


def timed(run: Callable, given: Tensors, seconds: float) -> list[float]:
    """Milliseconds of a call, as `timing.milliseconds` has them: rotated, many calls a sample."""
    size = sum(t.nbytes for t in (*given, run(*given)))
    count = min(max(math.ceil(BEYOND_L2 / size), 1), MOST_COPIES)
    sets = [[t.clone() for t in given] for _ in range(count)]
    replay = _graph(run, sets)
    once = max(_elapsed(replay, 3) / 3, 1e-3)
    repeats = max(1, round(SAMPLE / once))
    rounds = min(max(round(1e3 * seconds / (repeats * once)), ROUNDS[0]), ROUNDS[1])
    taken = [_elapsed(replay, repeats) / (repeats * count) for _ in range(rounds)]
    result = summary(taken)
    return [result.median, result.p20, result.p80]


def _graph(run: Callable, sets: list) -> Callable[[], object]:
    """All calls as one CUDA graph; as they are where they cannot be captured."""

    def all_of_them():
        return [run(*given) for given in sets]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            all_of_them()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            kept = all_of_them()
    except RuntimeError:
        torch.cuda.synchronize()
        return all_of_them
    return lambda: (graph.replay(), kept)[0]


def _elapsed(replay: Callable[[], object], times: int) -> float:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(times):
        replay()
    last.record()
    last.synchronize()
    return first.elapsed_time(last)


def setup() -> None:
    """What a careful user sets."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


if __name__ == "__main__":
    setup()
    serve(row, lambda: torch.cuda.synchronize() if torch.cuda.is_available() else None)
