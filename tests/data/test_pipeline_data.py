"""Batches: aligned, the same on every run and every number of hosts, resumable to the sample."""

import json
import os
import sys
from dataclasses import replace
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvsr.data import pipeline, shots
from jaxvsr.data.made_up import procedural
from jaxvsr.data.pipeline import Feed
from jaxvsr.data.sources import Found, Pictures
from jaxvsr.degradation import Recipe, draw
from jaxvsr.errors import InputError, JaxvsrError, SpaceError, UsageError
from jaxvsr.host import dealing

pytest.importorskip("grain")
PLAIN = Recipe(factor=2, downscale="area", codec=None)
CODED = Recipe(factor=2, crf=30)
FEED = Feed(batch=4, frames=3, crop=16, seed=5, visit=2)


def scenes(count=5, frames=6, size=(48, 48)):
    return procedural(3, count, frames, size)


def batches(made, count, skip=0):
    it = iter(made.dataset)
    return [next(it) for _ in range(skip + count)][skip:]


def same(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        for name in ("lr", "hr"):
            np.testing.assert_array_equal(one[name], other[name])


def test_a_batch_is_uint8_pairs_and_floats_on_the_device():
    (batch,) = batches(pipeline.stream(scenes(), CODED, FEED), 1)
    assert batch["lr"].shape == (4, 3, 8, 8, 3) and batch["hr"].shape == (4, 3, 16, 16, 3)
    assert batch["lr"].dtype == batch["hr"].dtype == np.uint8
    floats = pipeline.as_float({k: jnp.asarray(v) for k, v in batch.items()})
    assert floats["hr"].dtype == jnp.float32 and 0 <= floats["hr"].min() <= floats["hr"].max() <= 1
    np.testing.assert_allclose(floats["lr"], np.float32(batch["lr"]) / 255, rtol=2e-7)


@pytest.mark.parametrize("flips", pipeline.FLIPS)
@pytest.mark.parametrize("factor", [2, 1.5, 4])
def test_both_crops_show_the_same_place_and_time(flips, factor):
    """Area downscaling commutes with cropping on its grid, so small must be the shrunken large."""
    recipe = Recipe(factor=factor, downscale="area", codec=None)
    feed = replace(FEED, batch=16, crop=12, flips=flips, reverse=True)
    (batch,) = batches(pipeline.stream(scenes(5, 6, (50, 53)), recipe, feed, truth="rgb"), 1)
    edges = np.arange(0, 12 + factor, factor)[:, None]
    covered = np.clip(edges - np.arange(12), 0, 1)  # how much of a pixel lies before an edge
    means = np.diff(covered, axis=0) / factor
    exact = np.einsum("yh,nthwc,xw->ntyxc", means, batch["hr"].astype(float), means)
    assert np.abs(exact - batch["lr"]).max() < 0.501  # levels of 255: rounded once


def test_flips_are_those_that_were_asked_for(tmp_path):
    """A clip whose pixels tell where they are shows which ways crops can lie."""
    path = tmp_path / "ramp"
    path.mkdir()
    y, x = np.mgrid[:32, :32]
    for t in range(3):
        still = np.stack([x * 4, y * 4, np.full_like(x, 80 * t)], -1)
        Image.fromarray(still.astype(np.uint8)).save(path / f"{t}.png")
    clip = Pictures.open(path, "ramp")
    seen = {}
    for flips in pipeline.FLIPS:
        for reverse in (False, True):
            feed = replace(FEED, batch=64, flips=flips, reverse=reverse)
            (batch,) = batches(pipeline.stream([clip], PLAIN, feed, truth="rgb"), 1)
            crops = batch["hr"].astype(int)
            ways = np.sign(crops[:, :, :, -1] - crops[:, :, :, 0]).mean((1, 2))  # to the right
            time = np.sign(crops[:, -1, 0, 0, 2] - crops[:, 0, 0, 0, 2])
            seen[flips, reverse] = len({tuple(way) for way in ways[:, :2]}), len(set(time))
    assert seen == {
        ("none", False): (1, 1),
        ("none", True): (1, 2),
        ("horizontal", False): (2, 1),
        ("horizontal", True): (2, 2),
        ("all", False): (4, 1),
        ("all", True): (4, 2),
    }


def test_the_same_settings_give_the_same_batches_and_another_seed_does_not():
    one, again = (batches(pipeline.stream(scenes(), CODED, FEED), 3) for _ in range(2))
    same(one, again)
    other = batches(pipeline.stream(scenes(), CODED, replace(FEED, seed=6)), 3)
    assert any((a["hr"] != b["hr"]).any() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("threads", [1, 3])
def test_stopped_after_any_batch_the_rest_is_identical(threads):
    feed = replace(FEED, threads=threads, visit=2, mix=2)
    whole = batches(pipeline.stream(scenes(), draw, feed), 7)
    for stop in (0, 3):
        it = iter(pipeline.stream(scenes(), draw, feed).dataset)
        for _ in range(stop):
            next(it)
        state = json.loads(json.dumps(it.get_state()))
        resumed = iter(pipeline.stream(scenes(), draw, feed).dataset)
        resumed.set_state(state)
        same([next(resumed) for _ in range(7 - stop)], whole[stop:])


def test_a_checkpoint_of_orbax_holds_the_place(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    from grain.checkpoint import CheckpointRestore, CheckpointSave

    it = iter(pipeline.stream(scenes(), PLAIN, FEED).dataset)
    next(it), next(it)
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(2, args=ocp.args.Composite(data=CheckpointSave(it)))
        manager.wait_until_finished()
        fresh = iter(pipeline.stream(scenes(), PLAIN, FEED).dataset)
        manager.restore(2, args=ocp.args.Composite(data=CheckpointRestore(fresh)))
    same([next(fresh)], [next(it)])


@pytest.mark.parametrize("hosts", [2, 4])
def test_the_hosts_batches_laid_together_are_the_batch_of_one_host(hosts):
    whole = batches(pipeline.stream(scenes(), PLAIN, FEED), 3)
    feeds = [replace(FEED, hosts=hosts, host=i) for i in range(hosts)]
    parts = [batches(pipeline.stream(scenes(), PLAIN, feed), 3) for feed in feeds]
    joined = [
        {name: np.concatenate([part[name] for part in step]) for name in ("lr", "hr")}
        for step in zip(*parts, strict=True)
    ]
    same(joined, whole)


def test_an_epoch_sees_every_shot_once_each_in_another_order():
    made = pipeline.stream(scenes(8, size=(32, 32)), PLAIN, replace(FEED, visit=1)).batches
    epochs = [[made.shot_of(i) for i in range(e * 8, e * 8 + 8)] for e in range(3)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("visit, mix", [(3, 4), (16, 32), (5, 2)])
def test_an_opened_shot_gives_its_crops_and_new_ones_come_evenly(visit, mix):
    feed = replace(FEED, visit=visit, mix=mix)
    made = pipeline.stream(scenes(200, size=(32, 32)), PLAIN, feed).batches
    rounds = np.array([made.shot_of(i) for i in range(100 * mix)]).reshape(100, mix)
    for slot in rounds.T:
        runs = np.diff(np.flatnonzero(np.diff(slot, prepend=-1)))
        assert runs[0] <= visit and set(runs[1:]) == {visit}
    exchanged = (np.diff(rounds, axis=0) != 0).sum(1)
    assert exchanged.max() <= -(-mix // visit)


def test_pairs_on_disk_are_those_made_in_memory_and_are_made_once(tmp_path, monkeypatch):
    told = []
    memory = batches(pipeline.stream(scenes(), draw, FEED), 3)
    show = lambda done, every: told.append((done, every))
    disk = pipeline.stream(scenes(), draw, FEED, folder=tmp_path, show=show)
    same(batches(disk, 3), memory)
    assert told == [(i, 5) for i in range(1, 6)]
    assert len(list(tmp_path.glob("*.npy"))) == 15 and not list(tmp_path.glob(".*"))

    def read(*_):
        raise AssertionError("read again")

    monkeypatch.setattr("jaxvsr.data.made_up.Procedural.read", read)
    same(batches(pipeline.stream(scenes(), draw, FEED, folder=tmp_path), 3), memory)


def test_what_a_killed_run_left_half_written_is_taken_away(tmp_path):
    old, new = tmp_path / ".a.hr.npy.1.1", tmp_path / ".a.hr.npy.2.2"
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (1, 1))
    pipeline.stream(scenes(1), PLAIN, FEED, folder=tmp_path)
    assert not old.exists() and new.exists()


def test_arrays_that_are_gone_are_made_without_coding_again(tmp_path, monkeypatch):
    first = batches(pipeline.stream(scenes(), CODED, FEED, folder=tmp_path), 2)
    for array in tmp_path.glob("*.npy"):
        array.unlink()

    def code(*_):
        raise AssertionError("coded again")

    monkeypatch.setattr("jaxvsr.degradation.cache.spoil_to_packets", code)
    same(batches(pipeline.stream(scenes(), CODED, FEED, folder=tmp_path), 2), first)


def test_without_arrays_only_packets_are_kept_and_the_batches_are_the_same(tmp_path):
    one = batches(pipeline.stream(scenes(), draw, FEED), 3)
    same(batches(pipeline.stream(scenes(), draw, FEED, folder=tmp_path, arrays=False), 3), one)
    assert not list(tmp_path.glob("*.npy")) and len(list(tmp_path.rglob("*.spoiled"))) == 5


def test_a_disk_too_small_is_told_before_anything_is_made(tmp_path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("Usage", "total used free")(10**6, 9 * 10**5, 10**5)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(SpaceError, match=r"need 0\.3 MB.*0\.1 MB free.*without arrays"):
        pipeline.stream(scenes(), PLAIN, FEED, folder=tmp_path)
    assert not list(tmp_path.rglob("*.*"))
    pipeline.stream(scenes(), PLAIN, FEED, folder=tmp_path, arrays=False)


def test_shots_too_large_for_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(shots, "MEMORY", 1e6)
    refused(UsageError, "64 shots of 0 MB in memory.*give a folder", scenes(), PLAIN, FEED)


def test_a_changed_file_is_another_shot(tmp_path):
    path = tmp_path / "clip"
    path.mkdir()

    def write(tone):
        for i in range(3):
            Image.fromarray(np.full((32, 32, 3), tone + i, np.uint8)).save(path / f"{i}.png")

    write(10)
    open_ = lambda: [Pictures.open(path, "clip")]
    (old,) = batches(pipeline.stream(open_(), PLAIN, FEED, folder=tmp_path / "kept"), 1)
    write(1)
    for file in path.iterdir():
        os.utime(file, (1, 1))
    (new,) = batches(pipeline.stream(open_(), PLAIN, FEED, folder=tmp_path / "kept"), 1)
    assert old["hr"].min() >= 9 and new["hr"].max() <= 4


def test_a_recipe_belongs_to_the_shot_and_not_to_its_place_in_the_list():
    spoiling = shots.Spoiling(draw, seed=1)
    every = shots.shots(scenes(6).clips, 3)
    drawn = {shot.name: spoiling.of(shot) for shot in every}
    assert drawn == {shot.name: spoiling.of(shot) for shot in reversed(every[1:])} | {
        every[0].name: drawn[every[0].name]
    }
    assert len(set(drawn.values())) > 3


def test_shots_cover_a_clip_and_hold_a_window():
    for frames in (7, 8, 99, 100, 101, 149, 150, 351):
        clip = scenes(1, frames).clips[0]
        made = shots.shots([clip], window=7, length=100)
        assert sum(shot.count for shot in made) == frames
        assert all(7 <= shot.count <= 150 for shot in made)
        assert [s.start for s in made] == list(np.cumsum([0] + [s.count for s in made[:-1]]))


class Cut:
    """Two scenes of one grey each, the second from frame 4 on."""

    name, frames, size = "cut", 9, (48, 48)

    def read(self, start, count):
        tones = np.where(np.arange(start, start + count) < 4, 20, 220).astype(np.uint8)
        return np.broadcast_to(tones[:, None, None, None], (count, 48, 48, 3))


def test_a_window_does_not_cross_a_cut_unless_it_must(tmp_path):
    def tones(window):
        feed = replace(FEED, frames=window, batch=32)
        (batch,) = batches(pipeline.stream([Cut()], PLAIN, feed, folder=tmp_path, truth="rgb"), 1)
        return {tuple(np.unique(crop)) for crop in batch["hr"]}

    assert tones(3) == {(20,), (220,)}
    assert tones(6) == {(20, 220)}
    pair = shots.Pair(np.zeros((9, 1, 1, 3)), np.zeros((9, 2, 2, 3)), np.array([4]))
    assert pair.starts(3).tolist() == [0, 1, 4, 5, 6]
    assert pair.starts(1).tolist() == list(range(9))


def test_truth_of_a_video_has_the_colour_of_a_video():
    feed = replace(FEED, batch=8)
    video, rgb = (
        batches(pipeline.stream(scenes(), PLAIN, feed, truth=t), 1)[0] for t in shots.TRUTHS
    )
    assert 0 < np.abs(video["hr"].astype(int) - rgb["hr"]).mean() < 6


def test_without_clips_there_are_made_up_scenes():
    made = pipeline.stream(None, PLAIN, replace(FEED, batch=2))
    assert len(made.batches.pairs) == pipeline.SCENES
    assert batches(made, 1)[0]["hr"].std() > 10


class Torn(Pictures):
    def read(self, start, count):
        raise InputError(f"{self.path}: damaged")


def test_a_shot_that_cannot_be_read_is_named_and_left_out_before_training(tmp_path):
    torn = Torn(tmp_path / "torn", "torn", (48, 48), (tmp_path,) * 6)
    made = pipeline.stream([*scenes().clips, torn], PLAIN, FEED, folder=tmp_path / "kept")
    assert len(made.batches.pairs) == 5 and "torn" in made.skipped[0]
    batches(made, 4)
    with pytest.raises(InputError, match=r"none of the 1 shots.*damaged"):
        pipeline.stream([torn], PLAIN, FEED, folder=tmp_path / "kept")


def refused(kind, message, *args, **kwargs):
    with pytest.raises(kind, match=message) as error:
        pipeline.stream(*args, **kwargs)
    assert "\n" not in str(error.value)


def test_what_cannot_be_done_is_one_line_with_the_remedy(tmp_path):
    feed = lambda **changes: replace(FEED, **changes)
    refused(InputError, "crop of 64x64 is larger", scenes(), PLAIN, feed(crop=64))
    refused(InputError, "shorter than the window of 9", scenes(), PLAIN, feed(frames=9))
    refused(InputError, "there are none; name a folder", Found(()), PLAIN, FEED)
    refused(UsageError, "crop 15: not a multiple of 2.*use 14", scenes(), PLAIN, feed(crop=15))
    either = lambda rng: Recipe(factor=int(rng.choice([2, 4])))
    refused(UsageError, "one factor", scenes(), either, FEED, folder=tmp_path)
    refused(UsageError, "truth 'yuv'.*video, rgb", scenes(), PLAIN, FEED, truth="yuv")
    vid4 = Pictures(tmp_path / "Vid4" / "GT" / "walk", "walk", (480, 720), (tmp_path,) * 9)
    refused(UsageError, "test set Vid4", [vid4], PLAIN, FEED)
    for changes, message in (
        ({"batch": 6, "hosts": 4}, "batch 6 does not divide by 4 hosts; use 4 or 8"),
        ({"batch": 2, "hosts": 4}, "batch 2 does not divide by 4 hosts; use 4"),
        ({"flips": "vertical"}, "choose from none, horizontal, all"),
        ({"frames": 0}, "frames 0: give 1 or more"),
        ({"hosts": 2, "host": 2}, "hosts count from 0"),
    ):
        with pytest.raises(UsageError, match=message):
            feed(**changes)
    with pytest.raises(UsageError, match="batch 12 does not divide by 8 devices; use 8 or 16"):
        dealing.check_batch(12, 8)


@pytest.mark.parametrize(
    "factor, crop, small", [(2, 96, 48), (1.5, 96, 64), (4, 64, 16), (1, 7, 7)]
)
def test_crops_lie_on_the_grid_of_both_sizes(factor, crop, small):
    fraction = Fraction(factor)
    got, spoiled, true = pipeline.steps(fraction, crop)
    assert got == small and Fraction(true, spoiled) == fraction


def test_without_grain_it_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    told = []
    with pytest.raises(JaxvsrError, match="pip install grain"):
        pipeline.stream(scenes(), PLAIN, FEED, folder=tmp_path, show=lambda *n: told.append(n))
    assert not told
