"""Spoiling clips in memory: pixels as they are told to be, and a real codec that repeats itself."""

from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from jaxvsr.degradation import (
    CODECS,
    COLOURS,
    DOWNSCALES,
    Recipe,
    code,
    downscale,
    draw,
    quantise,
    record,
    shrink,
    spoil,
)
from jaxvsr.degradation.coding import spoil_and_tell, spoil_to_packets
from jaxvsr.errors import UsageError
from jaxvsr.ops.resample import imresize
from jaxvsr.video.colour import from_rgb, to_rgb
from jaxvsr.video.encode import REPEATABLE

HEVC = Recipe(codec="libx265", preset="ultrafast")
FAST = {"libx265": "ultrafast", "libvpx-vp9": "8", "libsvtav1": "12"}
RAW = Recipe(codec=None)


def noise(frames=5, height=64, width=80, seed=0):
    """Blotches that move, as uint8 [T, H, W, 3]."""
    rng = np.random.default_rng(seed)
    more = frames // 8 + 2
    still = rng.integers(0, 256, (height // 8 + more, width // 8 + more, 3))
    still = still.repeat(8, 0).repeat(8, 1)
    return np.stack([still[t : t + height, t : t + width] for t in range(frames)]).astype(np.uint8)


def unit(clip):
    return clip.astype(np.float32) / 255


def error(a, b):
    return np.abs(a.astype(float) - b).mean()


def joined(packets):
    return b"".join(map(bytes, packets))


@pytest.mark.parametrize("matrix", COLOURS)
def test_lossless_coding_leaves_what_4_2_0_leaves(matrix):
    clip, colour = noise(), COLOURS[matrix]
    planes = from_rgb(clip.astype(np.float32) / 255, colour)
    expected = quantise(to_rgb(planes, colour))
    np.testing.assert_array_equal(code(clip, Recipe(crf=0, matrix=matrix)), expected)


@pytest.mark.quick
@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_comes_back_in_order_and_worse_with_crf(codec):
    clip, recipe = noise(9), Recipe(codec=codec, preset=FAST.get(codec))
    good, bad = (code(clip, replace(recipe, crf=crf)) for crf in (18, 45))
    assert good.shape == bad.shape == clip.shape and good.dtype == np.uint8
    assert error(good, clip) < error(bad, clip)
    nearest = [np.argmin([error(frame, other) for other in clip]) for frame in good]
    assert nearest == list(range(9))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", [{"crf": 35}, {"kbps": 60}], ids=["crf", "kbps"])
def test_the_same_recipe_gives_the_same_bytes(codec, rate):
    """160 pixels are ten macroblocks, where x264's AVX-512 code reads what it should not."""
    clip = noise(8, 128, 160)
    recipe = Recipe(factor=1, codec=codec, preset=FAST.get(codec, "veryfast"), **rate)
    first = joined(spoil_to_packets(clip, recipe))
    dirt = [np.full(n, 255, np.uint8) for n in (1 << 16, 1 << 18, 1 << 20)]
    del dirt
    assert joined(spoil_to_packets(clip, recipe)) == first


def test_x264_with_a_buffer_repeats_itself_too():
    clip, recipe = noise(8, 128, 160), Recipe(factor=1, kbps=60, vbv=1)
    assert len({joined(spoil_to_packets(clip, recipe)) for _ in range(3)}) == 1


@pytest.mark.skipif(not REPEATABLE, reason="no AVX-512 here")
def test_x264_keeps_away_from_avx_512():
    from jaxvsr.degradation.coding import options

    assert options(Recipe())["x264-params"] == "asm=AVX2"


@pytest.mark.parametrize("codec", CODECS)
def test_the_record_tells_what_the_packets_hold(codec):
    recipe = Recipe(factor=1, codec=codec, preset=FAST.get(codec), crf=35, gop=8)
    clip = noise(9, 64, 128)
    packets = spoil_to_packets(clip, recipe)
    frames, told = spoil_and_tell(clip, recipe)
    assert told["bytes"] == len(joined(packets)) == sum(told["per_frame"]["bytes"])
    assert told["kbps"] == pytest.approx(told["bytes"] * 8 / (9 / 25) / 1000, abs=1e-3)
    assert (told["frames"], told["height"], told["width"]) == frames.shape[:3]
    kinds = told["per_frame"]["type"]
    assert len(kinds) == 9 and set(kinds) <= set("IPB") and kinds[0] == "I"
    assert told["types"] == {k: kinds.count(k) for k in "IPB" if k in kinds}
    assert kinds[8] == "I"
    keys = sorted(packet.pts for packet in packets if packet.is_keyframe)
    assert [i for i, kind in enumerate(kinds) if kind == "I"][: len(keys)] == keys
    assert told["recipe"] == recipe.facts() and told["versions"]["av"] == av.__version__


@pytest.mark.parametrize("codec", CODECS)
def test_a_higher_crf_shows_in_the_qps(codec):
    clip = noise(6, 64, 128)
    recipes = [Recipe(factor=1, codec=codec, preset=FAST.get(codec), crf=c) for c in (20, 45)]
    low, high = (spoil_and_tell(clip, recipe)[1]["qp"]["mean"] for recipe in recipes)
    assert low + 5 < high <= {"libvpx-vp9": 255, "libsvtav1": 63}.get(codec, 51)


def test_a_constant_qp_is_read_from_every_macroblock():
    """x264 at CRF 0 is lossless: QP 0 in each."""
    told = spoil_and_tell(noise(3), Recipe(factor=1, crf=0))[1]
    assert told["per_frame"]["qp"] == [0.0, 0.0, 0.0]
    assert record.SCALES["libx264"] == told["qp"]["scale"]


@pytest.mark.parametrize("codec", CODECS)
def test_a_bitrate_is_met_roughly_and_what_came_out_is_told(codec):
    """Over two seconds encoders miss; VP9 and AV1 by most."""
    clip = noise(50, 96, 128)
    recipe = Recipe(factor=1, codec=codec, preset=FAST.get(codec), kbps=300)
    told = spoil_and_tell(clip, recipe)[1]
    assert 300 / 2.5 < told["kbps"] < 300 * 2.5 and told["recipe"]["kbps"] == 300


def test_a_recipe_halves():
    assert spoil(noise(2), Recipe()).shape == (2, 32, 40, 3)


@pytest.mark.parametrize(
    "recipe, size, used",
    [
        (Recipe(factor=4), (178, 320), (712, 1280)),
        (Recipe(factor=4, codec=None), (179, 320), (716, 1280)),
        (Recipe(factor=1.5), (478, 854), (717, 1281)),
        (Recipe(factor=4 / 3), (538, 960), (717, 1281)),
    ],
)
def test_a_whole_factor_cuts_the_remainder_off_and_stays_exact(recipe, size, used):
    assert recipe.size(717, 1281) == size
    assert recipe.used(717, 1281) == used


@pytest.mark.parametrize("method", ["area", "bicubic", "lanczos"])
def test_shrinking_keeps_the_mean_and_the_place(method):
    clip = noise(1, 64, 64)
    small = shrink(clip, (32, 32), method)
    assert small.mean() == pytest.approx(clip.mean(), abs=1)
    back = small.repeat(2, 1).repeat(2, 2)
    moved = [error(np.roll(back, by, 2), clip) for by in (-1, 0, 1)]
    assert np.argmin(moved) == 1 and moved[0] == pytest.approx(moved[2], rel=0.1)


@pytest.mark.parametrize("kind", DOWNSCALES)
@pytest.mark.parametrize("factor", [2, 4, 1.5])
def test_every_downscale_keeps_flat_colours_and_the_mean(kind, factor):
    if kind == "gaussian" and factor == 1.5:
        pytest.skip("it takes every n-th pixel")
    recipe = Recipe(downscale=kind, factor=factor, codec=None)
    flat = np.full((1, 48, 48, 3), (200, 90, 30), np.uint8)
    assert np.abs(spoil(flat, recipe).astype(int) - flat[:, :1, :1]).max() <= (
        1 if kind == "swscale" else 0
    )
    clip = noise(1, 48, 48)
    assert spoil(clip, recipe).mean() == pytest.approx(clip.mean(), abs=2)


def test_area_is_the_mean_of_a_block_and_does_not_brighten():
    """Pillow's BOX rounds halves up, which lifts the picture by almost half a level."""
    blocks = noise(1, 16, 16)[:, ::2, ::2]
    np.testing.assert_array_equal(shrink(blocks.repeat(2, 1).repeat(2, 2), (8, 8), "area"), blocks)
    clip = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3)).astype(np.uint8)
    ours = shrink(clip, (128, 128), "area")
    boxed = np.asarray(Image.fromarray(clip[0]).resize((128, 128), Image.Resampling.BOX))
    assert abs(ours.mean() - clip.mean()) < 0.02 < 0.1 < boxed.mean() - clip.mean()


def test_area_shares_pixels_that_lie_across():
    row = np.float32([[[0], [30], [60]]]).transpose(1, 0, 2).repeat(3, 2)
    halves = downscale.area(row.reshape(3, 1, 3), (2, 1))[:, 0, 0]
    np.testing.assert_allclose(halves, [10, 50], rtol=1e-6)
    image = np.random.default_rng(0).random((12, 20, 3)).astype(np.float32)
    blocks = image.reshape(4, 3, 5, 4, 3).mean((1, 3))
    np.testing.assert_allclose(downscale.area(image, (4, 5)), blocks, atol=1e-6)


def test_bi_is_matlab_s_imresize():
    clip = noise(1, 48, 64)
    ours = spoil(clip, replace(RAW, downscale="imresize", factor=4))[0]
    np.testing.assert_array_equal(ours, quantise(imresize(clip[0] / 255, 0.25)))


@pytest.mark.parametrize(
    "more, middle",
    [
        ({}, 5.5),
        ({"sigma": 1.6, "taps": 12}, 5.5),
        ({"sigma": 1.5, "taps": 9, "phase": "first"}, 4.0),
        ({"sigma": 1.6, "taps": 13, "phase": "first"}, 4.0),
    ],
)
def test_bd_looks_where_its_phase_says(more, middle):
    """Of a ramp, a symmetric filter gives the value at its middle: 5.5 is that of the second 4."""
    ramp = np.float32(np.arange(64)).repeat(3).reshape(1, 64, 3).repeat(64, 0)
    inside = downscale.strided(ramp, 4, **more)[8, :, 0][4:8]
    np.testing.assert_allclose(inside, middle + 4 * np.arange(3, 7), rtol=1e-6)


def test_bd_has_the_published_taps():
    """BasicVSR's script, from scratch: a 12x12 Gaussian of sigma 1.6, looked up at 1, 5, 9 ..."""
    image = np.random.default_rng(0).random((32, 32, 3))
    bell = np.exp(-0.5 * ((np.arange(12) - 5.5) / 1.6) ** 2)
    bell /= bell.sum()
    padded = np.pad(image, ((6, 6), (6, 6), (0, 0)), "edge")
    block = padded[12 + 6 - 4 : 12 + 6 + 8, 8 + 6 - 4 : 8 + 6 + 8]  # around 13.5, 9.5
    expected = np.einsum("i,j,ijc->c", bell, bell, block)
    np.testing.assert_allclose(downscale.strided(image, 4, 1.6, 12)[3, 2], expected, rtol=1e-9)


def test_swscale_meets_4_2_0_planes_again():
    clip = noise(1, 64, 96)[0]
    colour = COLOURS["bt709"]
    planes = from_rgb(unit(clip), colour)
    picture = downscale.pixels.frame_of(planes, "yuv420p")
    small = picture.reformat(48, 32, interpolation="BICUBIC", threads=1)
    ours = from_rgb(downscale.by_swscale(to_rgb(planes, colour), (32, 48), colour), colour)
    for a, b in zip(ours, downscale.pixels.planes_of(small, "yuv420p"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_noise_has_its_strength_repeats_and_differs_from_frame_to_frame():
    grey = np.full((3, 128, 128, 3), 128, np.uint8)
    grainy = replace(RAW, factor=1, noise=10)
    one, again, other = (
        spoil(grey, recipe) for recipe in (grainy, grainy, replace(grainy, seed=1))
    )
    np.testing.assert_array_equal(one, again)
    assert one.std() == pytest.approx(10, rel=0.02) and one.mean() == pytest.approx(128, abs=0.2)
    assert error(one[0], one[1]) > 5 and error(one, other) > 5
    np.testing.assert_array_equal(spoil(grey[:2], grainy), one[:2])


def test_blur_spreads_a_point_by_its_sigma():
    point = np.zeros((33, 33, 3), np.float32)
    point[16, 16] = 1
    spread = downscale.blurred(point, 2.0)[..., 0]
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    x = np.arange(33) - 16
    assert (spread.sum(0) * x**2).sum() == pytest.approx(4, rel=0.03)


def test_odd_sides_are_refused_by_the_codec_and_cut_by_a_recipe():
    with pytest.raises(UsageError, match="even"):
        code(noise(1)[:, :63], Recipe())
    assert spoil(noise(1)[:, :63, :79], Recipe()).shape == (1, 30, 38, 3)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"factor": 0}, "factor 0"),
        ({"factor": 0.5}, "factor 0.5"),
        ({"factor": float("nan")}, "factor nan"),
        ({"downscale": "nearest"}, "choose from bicubic"),
        ({"codec": "mpeg2"}, "choose from libx264"),
        ({"codec": "h264", "preset": "8"}, "libx264.s; choose"),
        ({"codec": "av1", "preset": "fast"}, "libsvtav1.s; choose"),
        ({"crf": 23, "kbps": 500}, "exclude each other"),
        ({"crf": 52}, "0 .best. to 51"),
        ({"kbps": 0}, "kilobits"),
        ({"vbv": 1}, "goes with kbps"),
        ({"codec": None, "crf": 3}, "without a codec"),
        ({"gop": 0}, "gop 0"),
        ({"codec": "av1", "gop": 4}, "fails at 3 to 7"),
        ({"noise": -1}, "noise -1"),
        ({"sigma": 1.5}, "gaussian"),
        ({"downscale": "gaussian", "factor": 1.5}, "n-th pixel"),
        ({"downscale": "gaussian", "factor": 4, "taps": 13}, "an even number"),
        ({"downscale": "gaussian", "factor": 4, "taps": 12, "phase": "first"}, "an odd number"),
        ({"matrix": "bt2020"}, "bt601, bt709"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(wrong, words):
    with pytest.raises(UsageError, match=words) as caught:
        Recipe(**wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [noise(1)[:0], noise(1)[0], unit(noise(1)), noise(1)[..., :1]])
def test_what_is_no_clip_is_refused(wrong):
    with pytest.raises(UsageError, match="uint8"):
        spoil(wrong, Recipe())


def test_a_clip_smaller_than_its_factor_is_refused():
    with pytest.raises(UsageError, match="nothing is left"):
        spoil(noise(1, 8, 80), Recipe(factor=8))


def test_drawn_recipes_are_as_told_and_repeat_with_the_seed():
    recipes = [draw(np.random.default_rng(7)) for _ in range(2)]
    assert recipes[0] == recipes[1]
    rng = np.random.default_rng(0)
    drawn = [draw(rng) for _ in range(300)]
    assert {r.codec for r in drawn} == {"libx264", "libx265"}
    assert min(r.crf for r in drawn) >= 14 and max(r.crf for r in drawn) <= 38
    assert 0.15 < np.mean([r.codec == "libx265" for r in drawn]) < 0.35


@pytest.mark.parametrize("width", [34, 40, 48])
def test_widths_at_which_x265_ends_the_process_are_refused(width):
    with pytest.raises(UsageError, match=f"libx265 fails at a width of {width}"):
        spoil_to_packets(noise(2, 32, width), Recipe(factor=1, codec="libx265"))
