"""Every layout loads and gives what PyTorch gives."""

import json
import struct

import chex
import jax
import numpy as np
import pytest

from jaxvsr import weights
from jaxvsr.errors import WeightsError
from jaxvsr.models.espcn import ESPCN
from jaxvsr.models.sr_unet import LIGHT, SRUNet
from jaxvsr.weights import unpickle

torch = pytest.importorskip("torch")

import torch_nets  # noqa: E402  (needs torch)


def run(loaded, x):
    return np.asarray(jax.jit(loaded.module.apply)({"params": loaded.params}, x))


def theirs(net, x):
    with torch.no_grad():
        return net(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()


def frames(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def golden(shared):
    table = np.load(shared / "weights" / "golden_outputs.npz")
    return table, table["input_u8"][None].astype(np.float32) / 255


@pytest.mark.sampled
@pytest.mark.parametrize(
    "file, key, fields",
    [
        ("2x", "srunet_2x_in_pm1_out_pm1", {}),
        ("1.5x", "srunet_1_5x_in_pm1_out_pm1", LIGHT | {"scale": 1.5, "corners": True}),
    ],
)
@pytest.mark.parametrize("folded", [False, True])
def test_official_sr_unet_gives_the_published_output(shared, file, key, fields, folded):
    table, x = golden(shared)
    path = shared / "weights" / "srunet" / f"srunet_{file}_crf23.pth"
    net = weights.load(path, folded=folded)
    assert net.module == SRUNet(**fields, folded=folded)
    np.testing.assert_allclose(2 * run(net, x)[0] - 1, table[key], atol=1e-4)


@pytest.mark.quick
@pytest.mark.parametrize("suffix", [".param", ".bin", ""])
def test_animevideo_from_ncnn_gives_the_published_output(shared, suffix):
    table, x = golden(shared)
    net = weights.load(shared / "weights" / "realesr" / f"realesr-animevideov3-x4{suffix}")
    assert (net.name, net.spec.scale, net.module.convs) == ("srvgg", 4, 16)
    np.testing.assert_allclose(run(net, x)[0], table["animevideov3_x4"], atol=1e-4)


LAYOUTS = {
    "newest": lambda state, net: state,
    "middle": torch_nets.middle_layout,
    "oldest": torch_nets.oldest_layout,
}


@pytest.mark.sampled
@pytest.mark.parametrize(
    "ups, unshuffle, plus", [(0, 1, True), (1, 1, False), (2, 1, True), (3, 1, False)]
)
@pytest.mark.parametrize("layout", ["middle", "oldest"])
def test_rrdb_in_older_layouts_equals_torch(tmp_path, layout, ups, unshuffle, plus):
    net = torch_nets.randomise(torch_nets.RRDBNet(ups=ups, unshuffle=unshuffle, plus=plus))
    torch.save(LAYOUTS[layout](net.state_dict(), net), tmp_path / "net.pth")
    loaded, x = weights.load(tmp_path / "net.pth"), frames(1, 6, 8, 3)
    assert loaded.name == "esrgan" and loaded.spec.scale == 2**ups
    np.testing.assert_allclose(run(loaded, x), theirs(net, x), atol=1e-4)


@pytest.mark.sampled
@pytest.mark.parametrize("wrapper", ["params_ema", "params", None])
@pytest.mark.parametrize("unshuffle", [1, 2, 4])
def test_rrdb_in_the_newest_layout_equals_torch(tmp_path, unshuffle, wrapper):
    net = torch_nets.randomise(torch_nets.RRDBNet(unshuffle=unshuffle, blocks=3))
    state = {wrapper: net.state_dict()} if wrapper else net.state_dict()
    torch.save(state, tmp_path / "net.pth")
    loaded, x = weights.load(tmp_path / "net.pth"), frames(1, 8, 12, 3)
    assert loaded.spec.scale == 4 // unshuffle and loaded.spec.multiple == unshuffle
    np.testing.assert_allclose(run(loaded, x), theirs(net, x), atol=1e-4)


def test_averaged_parameters_are_preferred(tmp_path):
    plain, averaged = (torch_nets.randomise(torch_nets.Compact(), seed) for seed in (1, 2))
    both = {"params": plain.state_dict(), "params_ema": averaged.state_dict()}
    torch.save(both, tmp_path / "net.pth")
    x = frames(1, 5, 6, 3)
    np.testing.assert_allclose(
        run(weights.load(tmp_path / "net.pth"), x), theirs(averaged, x), atol=1e-4
    )


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", "legacy"])
def test_compact_equals_torch(tmp_path, suffix):
    net, path = torch_nets.randomise(torch_nets.Compact()), tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path, _use_new_zipfile_serialization=suffix == ".pth")
    x, loaded = frames(1, 5, 6, 3), weights.load(path)
    assert (loaded.module.scale, loaded.module.features, loaded.module.convs) == (2, 8, 3)
    np.testing.assert_allclose(run(loaded, x), theirs(net, x), atol=1e-4)


def write_ncnn(net, path, half):
    """The plain stack of `Compact` as ncnn writes it."""
    lines, data = [], b""
    for i, layer in enumerate(net.body):
        weight = layer.weight.detach().numpy()
        if weight.ndim == 4:
            options = f"0={len(weight)} 1=3 4=1 5=1 6={weight.size}"
            lines.append(f"Convolution c{i} 1 1 {i} {i + 1} {options}")
            raw = weight.astype(np.float16 if half else np.float32).tobytes()
            tag = struct.pack("<I", unpickle_tag(half))
            data += tag + raw + b"\0" * (-len(raw) % 4) + layer.bias.detach().numpy().tobytes()
        else:
            lines.append(f"PReLU p{i} 1 1 {i} {i + 1} 0={len(weight)}")
            data += weight.tobytes()
    path.with_suffix(".param").write_text("\n".join(["7767517", f"{len(lines)} 0", *lines, ""]))
    path.with_suffix(".bin").write_bytes(data)


def unpickle_tag(half):
    return 0x01306B47 if half else 0


@pytest.mark.parametrize("half", [False, True])
def test_compact_from_ncnn_equals_torch(tmp_path, half):
    net = torch_nets.randomise(torch_nets.Compact(width=5))
    write_ncnn(net, tmp_path / "net", half)
    x = frames(1, 5, 6, 3)
    atol = 1e-2 if half else 1e-4
    np.testing.assert_allclose(
        run(weights.load(tmp_path / "net.param"), x), theirs(net, x), atol=atol
    )


@pytest.mark.parametrize("damage", [b"", b"1234", None])
def test_ncnn_of_another_length_is_refused(tmp_path, damage):
    write_ncnn(torch_nets.Compact(), tmp_path / "net", half=False)
    data = (tmp_path / "net.bin").read_bytes()
    (tmp_path / "net.bin").write_bytes(data[:-8] if damage is None else data + damage)
    if damage == b"":
        assert weights.load(tmp_path / "net.bin").name == "srvgg"
    else:
        with pytest.raises(WeightsError, match="fetch both files again"):
            weights.load(tmp_path / "net.bin")


@pytest.mark.parametrize("ups, groups", [(1, 1), (2, 2)])
def test_srresnet_with_batch_norm_equals_torch(tmp_path, ups, groups):
    net = torch_nets.randomise(torch_nets.SRResNet(ups=ups, groups=groups))
    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pth")
    loaded, x = weights.load(tmp_path / "net.pth"), frames(1, 6, 8, 3)
    assert loaded.name == "srresnet" and loaded.module.groups == groups
    want = theirs(net, x)
    np.testing.assert_allclose(run(loaded, x), want, atol=1e-4 * np.abs(want).max())


def test_espcn_equals_torch(tmp_path):
    net = torch_nets.randomise(torch_nets.ESPCN())
    torch.save(net.state_dict(), tmp_path / "net.pt")
    loaded, x = weights.load(tmp_path / "net.pt"), frames(1, 6, 8, 3)
    assert loaded.module == ESPCN(scale=3, widths=(8, 6))
    np.testing.assert_allclose(run(loaded, x), theirs(net, x), atol=1e-4)


@pytest.mark.parametrize("legacy", [False, True])
def test_every_kind_of_tensor_is_read_as_torch_reads_it(tmp_path, legacy):
    grid = torch.arange(24).reshape(4, 6)
    table = {
        "transposed": grid.float().t(),
        "window": grid.float()[1:3, ::2],
        "expanded": torch.ones(1).expand(3, 2),
        "half": grid.half() / 7,
        "bfloat16": grid.bfloat16() / 7,
        "double": grid.double() / 7,
        "long": grid,
        "bool": grid > 5,
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(grid.float()),
        "nest": [{"inner": grid.int()}, 3, "text"],
    }
    torch.save(table, tmp_path / "t.pt", _use_new_zipfile_serialization=not legacy)
    found = unpickle.read_checkpoint(tmp_path / "t.pt")
    for key, value in table.items():
        if isinstance(value, torch.Tensor):
            want = value.detach()
            assert found[key].shape == tuple(want.shape)
            np.testing.assert_array_equal(found[key].astype(np.float64), want.double().numpy())
    np.testing.assert_array_equal(found["nest"][0]["inner"], grid.numpy())
    assert found["nest"][1:] == [3, "text"]


@pytest.mark.parametrize(
    "net", [SRUNet(width=4, depths=(1,) * 7), ESPCN(widths=(4,), residual=True)]
)
def test_saved_networks_load_as_they_were(tmp_path, net):
    shapes = jax.eval_shape(net.init, jax.random.key(0), jax.numpy.zeros((1, 16, 16, 3)))["params"]
    params = jax.tree.map(lambda v: frames(*v.shape), shapes)
    path = tmp_path / "net.safetensors"
    weights.save(path, params, weights.metadata_of(net) | {"licence": "CC0"})
    loaded = weights.load(path, folded=False)
    assert loaded.module == net
    chex.assert_trees_all_equal(loaded.params, params)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"architecture": "new_net"}, "unknown architecture"),
        ({"fields": "{"}, "metadata cannot be read"),
        ({"fields": json.dumps({"colour": 1})}, "no field 'colour'"),
        ({"fields": json.dumps({"width": 10**9})}, "width cannot be"),
        ({"fields": json.dumps({"depths": 3})}, "depths cannot be"),
        ({"fields": json.dumps({"depths": [1, 1]})}, "cannot be a sr_unet"),
        ({"fields": json.dumps({"width": 6})}, "is .* where"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path, change, message):
    from safetensors.numpy import save_file

    net = SRUNet(width=4, depths=(1,) * 7)
    facts = weights.metadata_of(net) | change
    save_file({"conv_last.bias": np.zeros(12, np.float32)}, tmp_path / "n.safetensors", facts)
    with pytest.raises(WeightsError, match=message):
        weights.load(tmp_path / "n.safetensors")


@pytest.mark.parametrize("name", ["bicubic", "lanczos"])
def test_classical_filters_load_by_name_and_have_no_parameters(name):
    loaded = weights.load(name)
    assert loaded.params == {} and loaded.spec.any_scale


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_of_number_become_float32(tmp_path, dtype):
    from safetensors.torch import save_file

    state = {k: v.to(dtype) for k, v in torch_nets.Compact().state_dict().items()}
    save_file(state, tmp_path / "net.safetensors")
    torch.save(state, tmp_path / "net.pth")
    for suffix in ("safetensors", "pth"):
        params = weights.load(tmp_path / f"net.{suffix}").params
        assert params["body_0"]["kernel"].dtype == np.float32
        np.testing.assert_array_equal(params["body_1"]["weight"], state["body.1.weight"].float())
