"""ncnn files are what they compute, however it is written, and nothing else."""

import struct

import numpy as np
import pytest

from jaxvsr import weights
from jaxvsr.errors import WeightsError

torch = pytest.importorskip("torch")
F = torch.nn.functional
nn = torch.nn

import torch_nets  # noqa: E402  (needs torch)


class Writer:
    """Writes a `.param` and its `.bin`, layer by layer; a layer's name tells nothing."""

    def __init__(self, kind="<f4"):
        self.lines, self.data, self.kind = [], b"", kind
        self.input = self.layer("Input", [])

    def layer(self, kind, inputs, options="", outputs=1):
        names = [f"b{len(self.lines)}_{i}" for i in range(outputs)]
        words = [kind, f"n{len(self.lines)}", len(inputs), outputs, *inputs, *names, options]
        self.lines.append(" ".join(map(str, words)))
        return names[0] if outputs == 1 else names

    def conv(self, x, conv, more=""):
        weight, bias = (v.detach().numpy() for v in (conv.weight, conv.bias))
        raw = weight.astype(self.kind).tobytes()
        tag = 0x01306B47 if self.kind == "<f2" else 0
        self.data += struct.pack("<I", tag) + raw + b"\0" * (-len(raw) % 4)
        self.data += bias.astype("<f4").tobytes()
        size, pad = weight.shape[-1], weight.shape[-1] // 2
        line = f"0={len(weight)} 1={size} 4={pad} 5=1 6={weight.size} {more}"
        return self.layer("Convolution", [x], line)

    def save(self, path):
        head = ["7767517", f"{len(self.lines)} {len(self.lines)}"]
        path.with_suffix(".param").write_text("\n".join([*head, *self.lines, ""]))
        path.with_suffix(".bin").write_bytes(self.data)
        return path.with_suffix(".param")


def fused(w, x, conv):
    """As onnx2ncnn and ncnnoptimize write a LeakyReLU and a factor."""
    return w.conv(x, conv, "9=2 -23310=1,2.000000e-01")


def apart(w, x, conv):
    return w.layer("ReLU", [w.conv(x, conv)], "0=2.000000e-01")


def by_eltwise(w, x, y):
    return w.layer("Eltwise", [x, y], "0=1 -23301=2,1.000000e+00,2.000000e-01")


def by_product(w, x, y):
    scaled = w.layer("BinaryOp", [y], "0=2 1=1 2=2.000000e-01")
    return w.layer("BinaryOp", [scaled, x], "0=0")


def rrdb(net, w, act, add, nested):
    """RRDBNet, in one of the ways to write it."""
    x = w.input
    if net.unshuffle > 1:
        x = w.layer("Reorg", [x], f"0={net.unshuffle}")
    first, skip = w.layer("Split", [w.conv(x, net.conv_first)], outputs=2)
    y = first
    for triple in net.body:
        inner = y
        for dense in (triple.rdb1, triple.rdb2, triple.rdb3):
            maps = [inner]
            for i in range(1, 5):
                joined = w.layer("Concat", maps) if len(maps) > 1 else maps[0]
                new = act(w, joined, getattr(dense, f"conv{i}"))
                maps = [joined, new] if nested else [*maps, new]
            inner = add(w, inner, w.conv(w.layer("Concat", maps, "0=0"), dense.conv5))
        y = add(w, y, inner)
    y = w.layer("BinaryOp", [skip, w.conv(y, net.conv_body)])
    for i in range(net.ups):
        large = w.layer("Interp", [y], "0=1 1=2.000000e+00 2=2.000000e+00")
        y = act(w, large, getattr(net, f"conv_up{i + 1}"))
    w.conv(act(w, y, net.conv_hr), net.conv_last)
    return w


def off(loaded, net, side=8):
    x = np.random.default_rng(0).random((1, side, side, 3), np.float32)
    with torch.no_grad():
        want = net(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    return np.abs(loaded.module.apply({"params": loaded.params}, x) - want).max()


@pytest.mark.parametrize(
    "act, add, nested, kind, unshuffle",
    [
        (fused, by_product, False, "<f4", 1),
        (apart, by_eltwise, True, "<f4", 1),
        (fused, by_eltwise, False, "<f2", 2),
    ],
)
def test_rrdb_is_recognised_however_it_is_written(tmp_path, act, add, nested, kind, unshuffle):
    net = torch_nets.randomise(torch_nets.RRDBNet(unshuffle=unshuffle, blocks=1))
    path = rrdb(net, Writer(kind), act, add, nested).save(tmp_path / "realesrgan-x4plus")
    loaded = weights.load(path)
    assert (loaded.name, loaded.spec.scale, loaded.module.blocks) == ("esrgan", 4 // unshuffle, 1)
    assert off(loaded, net) < (1e-2 if kind == "<f2" else 1e-4)
    assert weights.load(path.with_suffix(".bin"), arch="esrgan").module == loaded.module
    with pytest.raises(WeightsError, match="is esrgan by its own word"):
        weights.load(path, arch="srvgg")


@pytest.mark.sweep
def test_as_deep_as_published(tmp_path):
    net = torch_nets.RRDBNet(width=2, growth=1, blocks=23)
    path = rrdb(net, Writer(), fused, by_product, False).save(tmp_path / "net")
    assert weights.load(path).module.blocks == 23


def slope_of_another(w, x, conv):
    return w.conv(x, conv, "9=2 -23310=1,1.000000e-01")


def half(w, x, y):
    return w.layer("Eltwise", [x, y], "0=1 -23301=2,1.000000e+00,5.000000e-01")


@pytest.mark.parametrize("act, add", [(slope_of_another, by_product), (fused, half)])
def test_the_tensors_of_rrdb_that_compute_something_else_are_refused(tmp_path, act, add):
    path = rrdb(torch_nets.RRDBNet(blocks=1), Writer(), act, add, False).save(tmp_path / "net")
    with pytest.raises(WeightsError, match="like esrgan's, but what they compute is not") as told:
        weights.load(path)
    assert "\n" not in str(told.value)


class Compact(nn.Module):
    def __init__(self, act, base, scale=2):
        super().__init__()
        self.act, self.base, self.scale = act, base, scale
        self.convs = nn.ModuleList(torch_nets.conv(i, o) for i, o in ((3, 5), (5, 5), (5, 12)))

    def forward(self, x):
        y = x
        for conv in self.convs[:-1]:
            y = self.act(conv(y))
        y = F.pixel_shuffle(self.convs[-1](y), self.scale)
        return y + F.interpolate(x, scale_factor=2, mode=self.base) if self.base else y


def compact(net, w, act, base):
    x = w.input
    for conv in net.convs[:-1]:
        x = act(w, x, conv)
    y = w.layer("PixelShuffle", [w.conv(x, net.convs[-1])], "0=2")
    if base:
        y = w.layer("BinaryOp", [y, w.layer("Interp", [w.input], f"0={base} 1=2.0 2=2.0")], "0=0")
    return w


def lone(kind):
    return lambda w, x, conv: w.layer(kind, [w.conv(x, conv)])


@pytest.mark.parametrize(
    "act, layer, base, number",
    [
        (F.relu, lone("ReLU"), "nearest", 1),
        (lambda x: F.leaky_relu(x, 0.2), fused, "bilinear", 2),
        (torch.tanh, lone("TanH"), None, 0),
        (F.silu, lone("Swish"), "bicubic", 3),
    ],
)
def test_activation_and_base_are_read_off_the_layers(tmp_path, act, layer, base, number):
    net = torch_nets.randomise(Compact(act, base))
    loaded = weights.load(compact(net, Writer(), layer, number).save(tmp_path / "net"))
    assert loaded.notes == () and off(loaded, net) < 1e-4


def test_a_last_clip_is_harmless_and_a_last_resize_is_not(tmp_path):
    net = torch_nets.randomise(Compact(F.relu, "nearest"))
    w = compact(net, Writer(), lone("ReLU"), 1)
    end = w.lines[-1].split()[6]
    w.layer("Clip", [end], "0=0.0 1=1.0")
    assert weights.load(w.save(tmp_path / "net")).name == "srvgg"
    w = compact(net, Writer(), lone("ReLU"), 1)
    w.layer("Interp", [end], "0=2 1=5.0e-01 2=5.0e-01")
    with pytest.raises(WeightsError, match=r"it ends in Interp\); the tensors are like srvgg's"):
        weights.load(w.save(tmp_path / "net"))


@pytest.mark.parametrize("kind", ["Deconvolution", "ConvolutionDepthWise", "Pooling", "MemoryData"])
def test_an_unknown_layer_is_named(tmp_path, kind):
    w = compact(Compact(F.relu, None), Writer(), lone("ReLU"), 0)
    w.layer(kind, [w.input], "0=3")
    with pytest.raises(WeightsError, match=rf"layer {kind} \(n\d+\) is not known here; of ncnn"):
        weights.load(w.save(tmp_path / "net"))


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("4=1", "4=1 3=2", "changes the size"),
        ("4=1", "4=0", "changes the size"),
        ("4=1", "4=1 8=1", "8-bit integers"),
        ("9=2", "9=4", "activation that is not known"),
        ("b1_0", "nowhere", "takes b1_0, which no layer before it gives"),
    ],
)
def test_layers_of_another_kind_are_told(tmp_path, old, new, why):
    w = compact(Compact(F.relu, None), Writer(), fused, 0)
    w.lines = [line.replace(old, new, 1) if i == 1 else line for i, line in enumerate(w.lines)]
    with pytest.raises(WeightsError, match=why):
        weights.load(w.save(tmp_path / "net"))


def test_weights_in_a_table_are_read(tmp_path):
    net = torch_nets.randomise(Compact(torch.tanh, None))
    table = np.linspace(-0.3, 0.3, 256, dtype=np.float32)
    w = Writer()

    def conv(w, x, conv):
        weight = conv.weight.detach().numpy()
        chosen = np.abs(weight.ravel()[:, None] - table).argmin(-1).astype(np.uint8)
        conv.weight.data = torch.tensor(table[chosen].reshape(weight.shape))
        raw = struct.pack("<I", 1) + table.tobytes() + chosen.tobytes()
        w.data += raw + b"\0" * (-len(raw) % 4) + conv.bias.detach().numpy().tobytes()
        line = f"0={len(weight)} 1=3 4=1 5=1 6={weight.size}"
        return w.layer("Convolution", [x], line)

    x = w.input
    for layer in net.convs[:-1]:
        x = w.layer("TanH", [conv(w, x, layer)])
    w.layer("PixelShuffle", [conv(w, x, net.convs[-1])], "0=2")
    assert off(weights.load(w.save(tmp_path / "net")), net) < 1e-4


def test_values_that_are_not_finite_are_refused(tmp_path):
    net = Compact(F.relu, "nearest")
    net.convs[1].weight.data[0, 0, 0, 0] = float("inf")
    path = compact(net, Writer(), lone("ReLU"), 1).save(tmp_path / "net")
    with pytest.raises(WeightsError, match=r"tensor body_2/kernel has 1 of \d+ values"):
        weights.load(path)
