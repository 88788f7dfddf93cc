"""The judges' weights: found where a user puts them, checked, and missed with a remedy."""

import hashlib
import urllib.error
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from jaxvsr.errors import WeightsError
from jaxvsr.metrics.perceptual import NETS, lpips
from jaxvsr.models.features import STACKS, Trunk
from jaxvsr.weights import judges, store
from jaxvsr.weights.layouts import from_tree

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No network, an empty cache, no shared data; a list of the addresses that were asked for."""
    asked = []

    def refuse(request, **_):
        asked.append(request.full_url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("JAXVSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXVSR_DATA", raising=False)
    return asked


def state(net, value=None):
    """Tensors of a trunk under torchvision's names, and one of the classifier behind it."""
    trunk, frames = Trunk(net, (STACKS[net][-1].name,)), np.zeros((1, 64, 64, 3), np.float32)
    tree = jax.eval_shape(trunk.init, KEY, frames)["params"]
    rng = np.random.default_rng(0)

    def fill(leaf):
        same = np.full(leaf.shape, value or 0, np.float32)
        return rng.random(leaf.shape, np.float32) if value is None else same

    named = from_tree(jax.tree.map(fill, tree))
    return named | {"classifier.1.weight": np.ones((10, 4), np.float32)}


def heads(net, value=1.0):
    name, maps = NETS[net]
    frames = np.zeros((1, 64, 64, 3), np.float32)
    found, _ = jax.eval_shape(Trunk(name, maps).init_with_output, KEY, frames)
    return {
        f"lin{i}.weight": np.full((1, found[key].shape[-1], 1, 1), value, np.float32)
        for i, key in enumerate(maps)
    }


def write(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **tensors)
    return path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("net", ["alexnet", "squeezenet1_1"])
def test_a_checkpoint_of_torchvision_is_read(net, zipped, tmp_path):
    torch = pytest.importorskip("torch")
    tensors = state(net)
    path = tmp_path / "net.pth"
    saved = {name: torch.from_numpy(value) for name, value in tensors.items()}
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    found = from_tree(judges.trunk_params(net, path))
    assert set(found) == set(tensors) - {"classifier.1.weight"}
    for name, value in found.items():
        np.testing.assert_array_equal(value, tensors[name])


def test_layers_may_be_called_as_in_the_papers(tmp_path):
    places = {f"features.{i}.": f"{step.name}." for i, step in enumerate(STACKS["squeezenet1_1"])}
    tensors = state("squeezenet1_1")
    renamed = {}
    for name, value in tensors.items():
        head = next((place for place in places if name.startswith(place)), "")
        renamed[places.get(head, "") + name.removeprefix(head)] = value
    assert "fire9.expand3x3.weight" in renamed
    one = judges.trunk_params("squeezenet1_1", write(tmp_path / "a.npz", renamed))
    two = judges.trunk_params("squeezenet1_1", write(tmp_path / "b.npz", tensors))
    chex.assert_trees_all_equal(one, two)


def test_the_path_given_goes_before_the_data_and_that_before_the_cache(
    tmp_path, monkeypatch, offline
):
    monkeypatch.setenv("JAXVSR_DATA", str(tmp_path))
    stored = write(tmp_path / "elsewhere.npz", state("alexnet", 3.0))
    monkeypatch.setattr(judges, "fetch", lambda url, remedy: stored)
    bias = lambda path=None: judges.trunk_params("alexnet", path)["features_0"]["bias"][0]
    assert bias() == 3
    write(tmp_path / "lpips/lpips_alex_v0.1.npz", state("alexnet", 2.0))
    assert bias() == 2
    assert bias(write(tmp_path / "given.npz", state("alexnet", 1.0))) == 1


def test_one_file_may_hold_trunk_and_heads(tmp_path, offline):
    whole = write(tmp_path / "both.npz", state("alexnet") | heads("alex", 2.0))
    params = judges.lpips_params("alex", trunk=whole)
    assert [head.shape[0] for head in params["heads"]] == [64, 192, 384, 256, 256]
    assert all((head == 2).all() for head in params["heads"])
    other = judges.lpips_params("alex", trunk=whole, heads=write(tmp_path / "h.npz", heads("alex")))
    assert all((head == 1).all() for head in other["heads"])
    assert offline == []


def test_published_files_are_found_in_the_data_folder(shared, monkeypatch, offline):
    monkeypatch.setenv("JAXVSR_DATA", str(shared))
    images = np.random.default_rng(0).random((2, 1, 40, 40, 3), np.float32)
    for net in ("alex", "squeeze"):
        assert lpips(*images, judges.lpips_params(net), net=net) > 0
    assert offline == []


def test_what_niqe_knows_is_a_mean_and_a_covariance(shared, monkeypatch, offline, tmp_path):
    monkeypatch.setenv("JAXVSR_DATA", str(shared))
    pristine = judges.niqe_pristine()
    assert pristine.mean.shape == (36,)
    np.testing.assert_array_equal(pristine.covariance, pristine.covariance.T)
    assert np.linalg.eigvalsh(pristine.covariance).min() > 0
    assert offline == []
    with pytest.raises(WeightsError, match=r"mu_pris_param is missing.*give NIQE's pristine"):
        judges.niqe_pristine(write(tmp_path / "other.npz", {"mean": np.zeros(36)}))


def test_downloads_are_checked_against_the_published_digests(shared):
    digest = lambda path: hashlib.sha256((shared / path).read_bytes()).hexdigest()
    for file in (*judges.HEADS.values(), judges.NIQE):
        assert digest(file.places[0]) == file.sha256
    for file in judges.TRUNKS.values():
        assert len(file.sha256) == 64 and f"-{file.sha256[:8]}.pth" in file.url


def test_another_file_at_the_address_is_refused(monkeypatch):
    def copy(url, file):
        file.write(b"<html>log in</html>")
        return hashlib.sha256(b"<html>log in</html>").hexdigest()

    monkeypatch.setattr(store, "_copy", copy)
    with pytest.raises(WeightsError, match="sha256"):
        judges.trunk_params("vgg19")
    assert not list(store.cache_folder().iterdir())


def test_offline_says_which_files_to_put_where(tmp_path, monkeypatch, offline):
    with pytest.raises(WeightsError) as caught:
        judges.lpips_params("alex")
    said = str(caught.value)
    assert "\n" not in said and "cannot be reached" in said and "JAXVSR_DATA" in said
    for part in ("as lpips/lins/v0.1/alex.pth", "as lpips/alexnet-owt-7be5be79.pth", "online"):
        assert part in said
    monkeypatch.setenv("JAXVSR_DATA", str(tmp_path))
    write(tmp_path / "lpips/lpips_alex_v0.1.npz", state("alexnet"))
    path = Path(tmp_path, "heads.npz")
    assert judges.lpips_params("alex", heads=write(path, heads("alex")))
    with pytest.raises(WeightsError, match=r"put it as lpips/vgg16-397923af.pth into"):
        judges.lpips_params("vgg", heads=write(path, heads("vgg")))
    assert offline == [judges.HEADS["alex"].url, judges.TRUNKS["vgg16"].url]


def test_what_was_put_there_after_the_advice_is_found(tmp_path, monkeypatch, offline):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("JAXVSR_DATA", str(tmp_path))
    published = (
        (judges.HEADS["alex"], heads("alex")),
        (judges.TRUNKS["alexnet"], state("alexnet")),
    )
    for file, tensors in published:
        path = tmp_path / file.places[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        named = {
            k.replace(".weight", ".model.1.weight") if k[:3] == "lin" else k: torch.tensor(v)
            for k, v in tensors.items()
        }
        torch.save(named, path)
    assert judges.lpips_params("alex") and offline == []


def test_a_wrong_file_is_told_with_what_was_expected(tmp_path):
    alex = write(tmp_path / "alex.npz", state("alexnet"))
    with pytest.raises(WeightsError, match=r"features_\d+/.*give torchvision's VGG16"):
        judges.trunk_params("vgg16", alex)
    squeeze = write(tmp_path / "squeeze.npz", heads("squeeze"))
    with pytest.raises(WeightsError, match=r"lin1.weight is .128,. where .192,. was expected"):
        judges.lpips_params("alex", trunk=alex, heads=squeeze)
    with pytest.raises(WeightsError, match="no such file"):
        judges.trunk_params("vgg16", tmp_path / "nowhere.pth")
    nan = write(tmp_path / "nan.npz", state("alexnet", np.nan))
    with pytest.raises(WeightsError, match="no numbers; fetch it again"):
        judges.trunk_params("alexnet", nan)


@pytest.mark.parametrize("suffix", [".npz", ".pth"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty"])
def test_a_damaged_file_is_told(suffix, damage, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / f"net{suffix}"
    if suffix == ".npz":
        write(path, state("alexnet"))
    else:
        torch.save({k: torch.tensor(v) for k, v in state("alexnet").items()}, path)
    whole = path.read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 7]) + whole[half + 1 :]
    path.write_bytes({"cut": whole[:half], "flipped": flipped, "text": b"no", "empty": b""}[damage])
    with pytest.raises(WeightsError, match="fetch it again"):
        judges.trunk_params("alexnet", path)


def test_a_pickle_inside_an_archive_is_not_run(tmp_path):
    path = write(tmp_path / "evil.npz", {"features.0.weight": np.array([print], object)})
    with pytest.raises(WeightsError, match="pickle"):
        judges.trunk_params("alexnet", path)


def test_unknown_names_are_answered_with_the_choices():
    with pytest.raises(ValueError, match="'vgg13': choose one of alexnet"):
        judges.trunk_params("vgg13")
    with pytest.raises(ValueError, match="'vgg16': choose one of alex, squeeze, vgg"):
        judges.lpips_params("vgg16")
