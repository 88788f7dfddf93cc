"""Packs: pairs in one file, written where the clips are and trained on where they are not."""

import shutil
import threading
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from experiments.frame import material, playing
from experiments.frame.packing import Pack
from experiments.sr_unet import recipe as experiment
from jaxvsr.data import packed, pipeline, shots, synthetic
from jaxvsr.data.shots import Pair
from jaxvsr.errors import InputError, OutputError, UsageError

TWO = Fraction(2)
played = partial(playing.play, experiment.SR_UNET)
NONE = np.zeros(0, np.int64)


def pair(seed: int, frames: int = 2) -> Pair:
    hr = np.stack(list(synthetic.scene(seed, frames, 64, 96)))
    return Pair(halved(hr).astype(np.uint8), hr, NONE)


def halved(frames):
    *n, height, width, _ = frames.shape
    return frames.reshape(*n, height // 2, 2, width // 2, 2, 3).mean((-4, -2))


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    path = tmp_path_factory.mktemp("pack") / "a.zip"
    every = [("known", "one", pair(1)), ("unseen", "two", pair(2)), ("known", "three", pair(3, 1))]
    packed.write(path, every, {"use": "x2", "clips": "three"}, factor=TWO)
    return path


@pytest.fixture(scope="module")
def packs(films, tmp_path_factory):
    """Two packs of the five films."""
    out = tmp_path_factory.mktemp("packs") / "x2.zip"
    return Pack(out, data=(films,), share=0.4, side=64, parts=2).run(experiment.USES)


def test_spoiled_frames_come_back_to_the_bit_and_true_ones_nearly(pack):
    found = packed.read([pack])
    assert (len(found.known), len(found.unseen)) == (2, 1)
    for given, kept in ((pair(1), found.known[0]), (pair(3, 1), found.known[1])):
        np.testing.assert_array_equal(kept.lr, given.lr)
        assert kept.hr.shape == given.hr.shape and kept.hr.dtype == np.uint8
        error = np.mean((np.float64(kept.hr) - given.hr) ** 2)
        assert 10 * np.log10(255**2 / error) > 38
    np.testing.assert_array_equal(found.unseen[0].lr, pair(2).lr)


def test_what_memory_has_no_room_for_is_decoded_again(pack, monkeypatch):
    known = packed.read([pack]).known
    assert known[0] is known[0]
    monkeypatch.setattr(packed, "MEMORY", pair(1).lr.nbytes * 6)  # the first pair and half a frame
    tight = packed.read([pack]).known
    assert tight[0] is tight[0] and tight[1] is not tight[1]
    np.testing.assert_array_equal(tight[1].lr, known[1].lr)


def test_threads_read_at_once(pack):
    known, seen = packed.read([pack]).known, []
    read = lambda: seen.append([known[i].lr.sum() for i in (0, 1)])
    threads = [threading.Thread(target=read) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(seen) == 8 and all(sums == seen[0] for sums in seen)


def test_crops_are_cut_from_it(pack):
    feed = pipeline.Feed(batch=4, frames=1, crop=32)
    stream = pipeline.dealt(packed.read([pack]).known, feed)
    first, again = (next(iter(stream.dataset)) for _ in range(2))
    assert first["lr"].shape == (4, 1, 16, 16, 3) and first["hr"].shape == (4, 1, 32, 32, 3)
    np.testing.assert_array_equal(first["lr"], again["lr"])
    assert np.abs(halved(first["hr"]) - first["lr"]).mean() < 2


def test_what_is_no_pack_is_told(pack, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"not a zip")
    with pytest.raises(InputError, match="not a pack"):
        packed.read([tmp_path / "a.zip"])
    with pytest.raises(InputError, match="not a pack"):
        packed.read([tmp_path / "none.zip"])
    whole = bytearray(pack.read_bytes())
    whole[200:4000] = bytes(3800)  # of a picture: the list at the end is whole
    (tmp_path / "b.zip").write_bytes(whole)
    with pytest.raises(InputError, match=r"one: .*pack it again"):
        packed.read([tmp_path / "b.zip"]).known[0]
    with pytest.raises(OutputError, match="cannot be written"):
        packed.write(tmp_path / "no" / "c.zip", [], {}, factor=TWO)
    packed.write(tmp_path / "d.zip", [("unseen", "x", pair(4))], {"use": "x2"}, factor=TWO)
    with pytest.raises(InputError, match="nothing to train on"):
        packed.read([tmp_path / "d.zip"])


def test_packs_that_do_not_belong_together_are_refused(pack, tmp_path):
    packed.write(tmp_path / "b.zip", [("known", "x", pair(4))], {"use": "paper"}, factor=TWO)
    with pytest.raises(UsageError, match="packs of different use, clips"):
        packed.read([pack, tmp_path / "b.zip"])


def test_parts_together_hold_every_shot_once(packs, films):
    both, found = packed.read(packs), material.material((films,), 0.4, 0)
    named = lambda pairs: sorted(entry.name for entry in pairs.entries)
    of = lambda clips: sorted(shot.name for shot in shots.shots(clips, 1, material.LENGTH))
    assert named(both.known) == of(found.known) and named(both.unseen) == of(found.unseen)
    assert both.facts["use"] == "x2" and all(len(packed.read([p]).known) for p in packs)
    assert packed.read(packs[::-1]).identity == both.identity


def test_frames_are_those_that_a_run_would_see(packs, films):
    """The same recipe for the same shot, and true pixels where the spoiled ones lie."""
    both = packed.read(packs)
    shot = {s.name: s for s in shots.shots(material.sources.find(films).clips, 1, 24)}
    spoiling = shots.Spoiling(experiment.USES["x2"], 0)
    entry, kept = both.known.entries[0], both.known[0]
    whole = shots.Pairs((shot[entry.name],), spoiling, keep=1)[0]
    assert kept.lr.shape == (1, 32, 32, 3) and kept.hr.shape == (1, 64, 64, 3)
    places = [
        (t, y, x)
        for t in range(len(whole.lr))
        for y in range(33)
        for x in range(65)
        if (whole.lr[t, y : y + 32, x : x + 32] == kept.lr[0]).all()
    ]
    t, y, x = places[0]
    true = whole.hr[t, 2 * y : 2 * y + 64, 2 * x : 2 * x + 64]
    assert np.abs(np.float32(true) - kept.hr[0]).mean() < 3


def test_a_run_learns_from_packs_where_the_films_are_gone(packs, tmp_path):
    for path in packs:
        shutil.copy(path, tmp_path / path.name)
    data = tuple(tmp_path / path.name for path in packs)
    asked = experiment.Config(
        use="x2", loss="fidelity", scale=2 / experiment.STEPS, batch=4, patch=64, data=data,
        run=tmp_path / "run", net=experiment.TINY,
    )  # fmt: skip
    scores = played(asked)
    assert scores["psnr"] > 10 and played(replace(asked, data=data[::-1])) == scores
    with pytest.raises(UsageError, match="packs for x2, not paper"):
        played(replace(asked, use="paper", run=tmp_path / "other"))
    with pytest.raises(UsageError, match="crops of 96 of frames of 64"):
        played(replace(asked, patch=96, run=tmp_path / "third"))
    with pytest.raises(UsageError, match="packs and folders together"):
        played(replace(asked, data=(*data, tmp_path), run=tmp_path / "fourth"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"use": "x9"}, "no use 'x9'"),
        ({"out": "a.tar"}, "ends in .zip"),
        ({"side": 62}, "multiple of 4"),
        ({"quality": 0}, "1 to 100"),
        ({"parts": 0}, "parts 0"),
        ({"frames": 30}, "30 frames"),
        ({"limit": 0}, "limit 0"),
        ({"share": 1.0}, "share must be"),
        ({"data": (Path("b.zip"),)}, "packs already"),
    ],
)
def test_what_cannot_be_packed_is_told_before_work(films, tmp_path, change, told):
    out = tmp_path / change.pop("out", "a.zip")
    with pytest.raises((UsageError, InputError), match=told):
        Pack(out, **{"data": (films,)} | change).run(experiment.USES)
    assert not list(tmp_path.iterdir())
