"""Whatever a tool wraps around a network comes off; what is left must be the network as a whole."""

import contextlib
import io
import json
import pickle
import warnings

import numpy as np
import pytest

from jaxvsr import weights
from jaxvsr.errors import WeightsError

torch = pytest.importorskip("torch")

import torch_nets  # noqa: E402  (needs torch)


def compact(seed=0):
    return dict(torch_nets.randomise(torch_nets.Compact(), seed).state_dict())


STATE, OTHER = compact(), compact(1)
ZERO = torch.zeros(1)


def under(prefix, state=STATE):
    return {prefix + name: value for name, value in state.items()}


def same(loaded, state=STATE):
    first = state["body.0.weight"].float().numpy().transpose(2, 3, 1, 0)
    return loaded.name == "srvgg" and np.array_equal(loaded.params["body_0"]["kernel"], first)


def disc(prefix):
    return {f"{prefix}{i}.weight": torch.ones(4, 3, 3, 3) for i in range(20)}


def trained():
    """An optimiser's state, as a checkpoint keeps it."""
    net = torch_nets.Compact()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


WRAPPINGS = {
    "nests": {"model": {"net": {"state_dict": STATE}}, "epoch": 3},
    "training": {"params": STATE, "optimizers": [trained()], "optimizer": trained(), "iter": 9},
    "lightning": {"state_dict": {**under("net."), **disc("discriminator."), **disc("loss.vgg.")}},
    "ddp, compiled": under("module._orig_mod."),
    "compiled, ddp": under("_orig_mod.module."),
    "a compiled part": {k.replace("body.", "body._orig_mod."): v for k, v in STATE.items()},
    "an unknown prefix of all": under("my_upscaler.inner."),
    "accelerate": {"module": under("model.")},
    "nets by name": {"G": STATE, "D": disc(""), "optim_G": trained()},
    "thop": {**STATE, "total_ops": ZERO.double(), "body.total_params": ZERO.double()},
    "counters": {**STATE, "n_averaged": torch.tensor(3), "body.1.num_batches_tracked": ZERO.long()},
    "netG": under("netG."),
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_common_wrapping_is_opened(tmp_path, name):
    torch.save(WRAPPINGS[name], tmp_path / "net.ckpt")
    loaded = weights.load(tmp_path / "net.ckpt")
    assert same(loaded) and not loaded.notes


AVERAGES = {
    "params_ema": {"params": OTHER, "params_ema": STATE},
    "generator_ema": {
        **under("generator.", OTHER),
        **under("generator_ema."),
        "step_counter": ZERO,
    },
    "g_ema": {"g": OTHER, "d": disc(""), "g_ema": STATE},
    "netG.ema_model": {
        "netG": {**under("online_model.", OTHER), **under("ema_model."), "step": ZERO}
    },
    "callbacks.EMA.weights": {
        "state_dict": under("net.", OTHER),
        "callbacks": {"EMA": {"weights": STATE}},
    },
    "state_dict_ema": {"state_dict": OTHER, "state_dict_ema": STATE},
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_are_preferred_and_told(tmp_path, name):
    torch.save(AVERAGES[name], tmp_path / "net.pth")
    loaded = weights.load(tmp_path / "net.pth")
    assert same(loaded)
    assert loaded.notes[0].startswith("net.pth: holds ") and f"{name} is used" in loaded.notes[0]


def test_equal_copies_need_no_word(tmp_path):
    torch.save({"params": STATE, "params_ema": STATE}, tmp_path / "net.pth")
    assert weights.load(tmp_path / "net.pth").notes == ()


def test_no_change_of_tensors_is_a_crash():
    from jaxvsr.weights import archs, recognition, wrapping

    rng = np.random.default_rng(0)
    nets = (torch_nets.RRDBNet(blocks=1), torch_nets.Compact(), torch_nets.SRResNet(blocks=1))
    states = [{k: v.numpy() for k, v in net.state_dict().items()} for net in nets]
    shapes = ((), (1,), (0,), (8,), (8, 8), (8, 3, 3, 3), (8, 0, 3, 3), (2,) * 5, (3, 8, 3, 2))
    said = [archs.parse(text) for text in ("", "", "srvgg", "espcn", "srresnet", "esrgan")]
    for _ in range(150):
        state = dict(states[rng.integers(3)])
        for _ in range(2):
            name = list(state)[rng.integers(len(state))]
            kind = rng.integers(4)
            value = state.pop(name)
            if kind == 1:
                state[name] = np.zeros(shapes[rng.integers(len(shapes))], rng.choice(["f4", "i8"]))
            elif kind == 2:
                state[name.replace("0", "7")] = value
            elif kind == 3:
                state |= {name: value, name + rng.choice([".x", "_g", "_orig", ".weight"]): value}
        with contextlib.suppress(WeightsError):
            recognition.recognise(wrapping.variants(state), said[rng.integers(len(said))], "net")


def test_two_networks_of_equal_right_are_refused(tmp_path):
    torch.save({"first": STATE, "second": OTHER}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"several networks \(first, second\); save the wanted"):
        weights.load(tmp_path / "net.pth")


@pytest.mark.parametrize(
    "more, told",
    [
        ({"body.3.scale": ZERO}, r"looks like srvgg, but body_3/scale is \(1,\) where nothing"),
        ({"gain": torch.tensor(2.0)}, "looks like srvgg, but gain is"),
        ({"before.weight": torch.ones(3, 3, 1, 1)}, r"looks like srvgg, but before/kernel"),
    ],
)
def test_nothing_may_be_left_over(tmp_path, more, told):
    torch.save({**STATE, **more}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=told):
        weights.load(tmp_path / "net.pth")


@pytest.mark.parametrize("mean, std, fine", [(0, 255, True), (127.5, 127.5, False), (0, 1, False)])
def test_frames_of_another_range_are_refused(tmp_path, mean, std, fine):
    layer = {"data_preprocessor.mean": mean + torch.zeros(3, 1, 1)}
    layer["data_preprocessor.std"] = std + torch.zeros(3, 1, 1)
    torch.save({"state_dict": {**under("generator."), **layer}}, tmp_path / "net.pth")
    if fine:
        assert same(weights.load(tmp_path / "net.pth"))
    else:
        with pytest.raises(WeightsError, match="frames are normalised by a mean"):
            weights.load(tmp_path / "net.pth")


def test_a_network_inside_another_is_not_taken(tmp_path):
    inside = {**under("net."), "before.weight": torch.ones(3, 3, 1, 1)}
    torch.save(inside, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="not a network known here"):
        weights.load(tmp_path / "net.pth")


@pytest.mark.parametrize("gone", ["body.0.weight", "body.2.bias", "body.3.weight", "body.8.weight"])
def test_what_is_missing_is_named(tmp_path, gone):
    torch.save({k: v for k, v in STATE.items() if k != gone}, tmp_path / "net.pth")
    leaf = gone.replace(".", "_", 1).replace(".", "/")
    leaf = leaf if "bias" in leaf or "3" in leaf else leaf.replace("weight", "kernel")
    with pytest.raises(WeightsError, match=rf"looks like srvgg, but {leaf} is missing where"):
        weights.load(tmp_path / "net.pth")


@pytest.mark.sampled
@pytest.mark.parametrize(
    "gone", ["conv_first.weight", "body.0.rdb1.conv1.weight", "conv_up1.weight", "conv_last.bias"]
)
@pytest.mark.parametrize("layout", ["newest", "middle", "oldest"])
def test_an_rrdb_with_a_tensor_less_is_still_seen_as_one(tmp_path, gone, layout):
    net = torch_nets.RRDBNet(blocks=1)
    state = {k: v for k, v in net.state_dict().items() if k != gone}
    renamed = {"newest": lambda s, _: s, "middle": torch_nets.middle_layout}
    state = renamed.get(layout, torch_nets.oldest_layout)(state, net)
    torch.save(state, tmp_path / "net.pth")
    leaf = gone.replace("body.0", "body_0").replace(".", "/").replace("weight", "kernel")
    with pytest.raises(WeightsError, match=f"looks like esrgan, but {leaf} is missing"):
        weights.load(tmp_path / "net.pth")


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.sampled
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ["norm", "parametrizations", "spectral", "spectral old"])
def test_norms_are_multiplied_out(tmp_path, kind, legacy):
    net, utils = torch_nets.randomise(torch_nets.Compact()), torch.nn.utils
    norms = {"norm": utils.weight_norm, "spectral old": utils.spectral_norm}
    norms |= {"parametrizations": utils.parametrizations.weight_norm}
    for layer in list(net.body)[::2]:
        norms.get(kind, utils.parametrizations.spectral_norm)(layer)
    net.train()(torch.zeros(1, 3, 5, 6))
    torch.save(net.state_dict(), tmp_path / "n.pth", _use_new_zipfile_serialization=not legacy)
    loaded, x = weights.load(tmp_path / "n.pth"), np.random.default_rng(0).random((1, 5, 6, 3))
    with torch.no_grad():
        want = net.eval()(torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2))
    ours = loaded.module.apply({"params": loaded.params}, x.astype(np.float32))
    np.testing.assert_allclose(ours, want.permute(0, 2, 3, 1), atol=1e-4)


@pytest.mark.sampled
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_numbers_of_any_width(tmp_path, kind, suffix):
    from safetensors.torch import save_file

    state = {k: v.to(getattr(torch, kind)) for k, v in STATE.items()}
    (save_file if suffix == ".safetensors" else torch.save)(state, tmp_path / f"net{suffix}")
    assert same(weights.load(tmp_path / f"net{suffix}"), state)


def save_as(form, state, path):
    from safetensors.torch import save_file

    if form == "npz":
        np.savez(path, **{k: v.numpy() for k, v in state.items()})
    elif form == "safetensors":
        save_file(state, path, metadata={"format": "pt", "architecture": "esrgan", "author": "x"})
    elif form in ("numpy", "numpy5"):
        found = {"params": {k: v.numpy() for k, v in state.items()}}
        path.write_bytes(pickle.dumps(found, protocol=5 if form == "numpy5" else 2))
    elif form == "script":
        net = torch_nets.Compact()
        net.load_state_dict(state)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            torch.jit.trace(net, torch.zeros(1, 3, 4, 4)).save(str(path))
    elif form == "parameters":
        torch.save({k: torch.nn.Parameter(v) for k, v in state.items()}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "bin")
    return path


FORMS = {"bin": "pytorch_model.bin", "legacy": "old.bin", "npz": "net.npz", "script": "net.pt"}
FORMS |= {
    "safetensors": "model.safetensors",
    "numpy": "net.pkl",
    "parameters": "net.pth",
    "numpy5": "net.pickle",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_file_is_told_by_how_it_begins(tmp_path, form):
    assert same(weights.load(save_as(form, STATE, tmp_path / FORMS[form])))


@pytest.mark.sampled
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("form", FORMS)
def test_values_that_are_not_finite_are_refused_by_name(tmp_path, form, value):
    state = {k: v.clone() for k, v in STATE.items()}
    state["body.2.bias"][3] = value
    path = save_as(form, state, tmp_path / FORMS[form])
    with pytest.raises(WeightsError, match=r"tensor body\.2\.bias has 1 of 8 values") as told:
        weights.load(path)
    assert "\n" not in str(told.value)


def test_so_are_those_of_our_own_files_and_what_overflows(tmp_path):
    loaded = weights.load(save_as("bin", STATE, tmp_path / "net.bin"))
    loaded.params["body_0"]["bias"][0] = np.nan
    path = tmp_path / "ours.safetensors"
    weights.save(path, loaded.params, weights.metadata_of(loaded.module))
    with pytest.raises(WeightsError, match=r"body\.0\.bias has 1 of 8"):
        weights.load(path)
    torch.save({k: v.double() * 1e40 for k, v in STATE.items()}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="not finite in float32"):
        weights.load(tmp_path / "net.pth")


def test_quantised_weights_are_refused_by_name(tmp_path):
    torch.save({k: (v * 9).to(torch.int8) for k, v in STATE.items()}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"tensor body\.0\.weight is of int8.*quantised"):
        weights.load(tmp_path / "net.pth")


def test_what_else_a_training_checkpoint_holds_is_passed_over(tmp_path):
    import argparse
    import collections
    import datetime
    import pathlib

    counts: dict = collections.defaultdict(list)
    counts["loss"].append(np.float64(0.5))
    extras = {"args": argparse.Namespace(lr=1e-4), "out": pathlib.PurePosixPath("a/b")}
    extras |= {"when": datetime.datetime(2026, 12, 1), "counts": counts, "tags": {1, 2}}
    extras |= {"history": np.arange(4.0), "best": np.float32(3), "rng": torch.get_rng_state()}
    torch.save({"params": STATE, **extras}, tmp_path / "net.pth")
    assert same(weights.load(tmp_path / "net.pth"))


def test_shards_are_read_through_their_index(tmp_path):
    from safetensors.torch import save_file

    names = sorted(STATE)
    parts = {"a.safetensors": names[:4], "b.safetensors": names[4:]}
    for part, inside in parts.items():
        save_file({name: STATE[name] for name in inside}, tmp_path / part)
    places = {name: part for part, inside in parts.items() for name in inside}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert same(weights.load(index))
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"b\.safetensors is missing beside it"):
        weights.load(index)
    index.write_text(json.dumps({"weight_map": {"x": "../secret.pth"}}))
    with pytest.raises(WeightsError, match="do not lie beside it"):
        weights.load(index)


@pytest.mark.parametrize(
    "data, told",
    [
        (b"<!DOCTYPE html><html>log in</html>", "a web page instead"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "HDF5"),
        (b"\x1f\x8b\x08" + b"\0" * 40, "gzip"),
    ],
)
def test_other_files_are_told_what_they_are(tmp_path, data, told):
    (tmp_path / "net.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=told):
        weights.load(tmp_path / "net.pth")


def test_an_archive_of_files_is_to_be_unpacked(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("model/4x.pth", b"x")
    with pytest.raises(WeightsError, match=r"data.pkl \(model/4x.pth, ..\); unpack it first"):
        weights.load(tmp_path / "net.pth")


def test_a_whole_module_is_refused_with_the_remedy(tmp_path):
    torch.save(torch.nn.Conv2d(3, 4, 3), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"contains code.*Conv2d\).*net.state_dict"):
        weights.load(tmp_path / "net.pth")


def test_networks_that_do_not_run_here_are_called_by_name(tmp_path):
    name = "layers.0.residual_group.blocks.0.attn.qkv.weight"
    buffer = io.BytesIO()
    torch.save(
        {"params": {name: torch.ones(9, 3), "conv_first.weight": torch.ones(9, 3, 3, 3)}}, buffer
    )
    (tmp_path / "net.pth").write_bytes(buffer.getvalue())
    with pytest.raises(WeightsError, match="as of SwinIR or HAT, which does not run here"):
        weights.load(tmp_path / "net.pth")
