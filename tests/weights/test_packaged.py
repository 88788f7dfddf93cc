"""The weights that ship: small, as their card says, and better than bicubic and Lanczos."""

from importlib import resources

import jax
import numpy as np
import pytest

from experiments import evaluate_clips
from jaxvsr import metrics, weights
from jaxvsr.data.synthetic import scene
from jaxvsr.degradation import Recipe, spoil
from jaxvsr.inference import network

NAME = "sr_unet_light_x2"
FOLDER = resources.files("jaxvsr") / "weights_data"


def gains(net, clip, recipe):
    """PSNR of the network over bicubic's and over Lanczos', the mean of the frames, dB."""
    coded = spoil(clip, recipe)
    score = lambda f: np.mean([metrics.psnr(f(x[None])[0] / 255, y / 255) for x, y in both])
    both = list(zip(coded.astype(np.uint8), clip.astype(np.float32), strict=True))
    ours, *others = map(score, (net, network.load("bicubic"), network.load("lanczos")))
    return [ours - other for other in others]


@pytest.fixture(scope="module")
def net():
    return network.load(NAME)


@pytest.mark.parametrize("name", weights.PACKAGED)
def test_it_is_small_and_has_a_card(name):
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 3e6
    described = name.removesuffix("_fidelity").removesuffix("_perceptual")
    card = (FOLDER / f"{described}.md").read_text()
    trained = weights.load(name, folded=False)
    assert f"{sum(p.size for p in jax.tree.leaves(trained.params)):,} " in card
    words = (name, "python -m experiments.sr_unet", "CC BY-SA 4.0", "VMAF", "Limits")
    assert all(word in card for word in words)


def test_it_beats_both_filters_on_a_made_up_film(net):
    clip = np.stack(list(scene(5, 12, 128, 192)))
    assert min(gains(net, clip, Recipe(crf=23))) > 0.2


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", evaluate_clips.CLIPS)
def test_it_beats_both_filters_on_clips_it_never_saw(net, shared, name):
    clip = evaluate_clips.read_clip(name, 8)[:, 200:456, 400:784]
    assert min(gains(net, clip, Recipe(crf=23))) > 0


def test_saved_weights_may_be_read_by_others(tmp_path):
    loaded = weights.load(NAME)
    weights.save(tmp_path / "w.safetensors", loaded.params, weights.metadata_of(loaded.module))
    (tmp_path / "plain").touch()
    mode = lambda name: (tmp_path / name).stat().st_mode
    assert mode("w.safetensors") == mode("plain")
