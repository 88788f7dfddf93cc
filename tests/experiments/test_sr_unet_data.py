"""What runs see: recipes, clips to train on, and others to validate on."""

import shutil
from dataclasses import replace
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image

from experiments.frame import material, playing, training
from experiments.frame.config import feed_of
from experiments.sr_unet.recipe import SR_UNET, TINY, USES, Config
from jaxvsr.commands.reading import read
from jaxvsr.data import catalogue, made_up
from jaxvsr.errors import InputError, UsageError


def test_clips_are_told_apart_by_side_name_length_and_bytes(films, tmp_path):
    folder, told = tmp_path / "films", set()
    shutil.copytree(films, folder)
    tell = lambda share=0.4: material.identity(material.material((folder,), share, 0))
    told |= {material.identity(material.material((films,), 0.4, 0)), tell()}
    assert len(told) == 1
    told.add(tell(0.6))
    (folder / "ant.mp4").rename(folder / "asp.mp4")
    told.add(tell())
    with open(folder / "bee.mp4", "ab") as file:
        file.write(b"\0" * 8)
    told.add(tell())
    assert len(told) == 4


@pytest.mark.parametrize(("use", "least", "most"), [("x2", 18, 28), ("x2_collapse", 33, 42)])
def test_recipes_stay_in_their_range(use, least, most):
    rng = np.random.default_rng(0)
    drawn = [USES[use](rng) for _ in range(200)]
    assert {r.codec for r in drawn} == set(material.CODECS)
    crfs = [r.crf for r in drawn if r.codec in ("libx264", "libx265")]
    assert (min(crfs), max(crfs)) == (least, most) and {r.factor for r in drawn} == {2}
    assert max(r.crf for r in drawn) <= 63


def test_the_papers_recipe_is_x265_medium_at_23():
    recipe = USES["paper"](None)
    told = recipe.codec, recipe.crf, recipe.preset, recipe.factor
    assert told == ("libx265", 23, "medium", 2)


def test_sizes_of_a_sequence_stay_together(films):
    clip = material.sources.find(films).clips[0]
    named = lambda name, folder: replace(clip, name=name, path=films / folder / name)
    of = lambda name, folder="x": material.sequence_of(named(name, folder))
    assert of("ASwan_3840x2176_60fps.mp4", "BVI-DVC") == of("DSwan_480x272.mp4", "BVI-DVC")
    assert of("ASwan.mp4") != of("BSwan.mp4")


def test_nothing_is_trained_on_and_held_out(films):
    found = material.material((films,), 0.4, 0)
    known, unseen = ({clip.name for clip in clips} for clips in (found.known, found.unseen))
    assert known and unseen and not known & unseen and len(known | unseen) == 5


def test_a_reduced_clip_is_smaller_and_keeps_its_file(films):
    clip = material.sources.find(films).clips[0]
    small = material.Reduced(clip, 64)
    assert small.size == (64, 96) and small.read(1, 2).shape == (2, 64, 96, 3)
    assert small.path == clip.path and small.name != clip.name


def test_runs_are_validated_on_whole_frames_that_are_not_trained_on(films, tmp_path):
    found = material.material((films,), 0.6, 0)
    feed = feed_of(Config())
    pairs, failed = material.held_out(found.unseen, USES["x2"], feed, tmp_path)
    assert not failed and len(pairs) == len(found.unseen) > 1
    assert {pair.hr.shape for pair in pairs} == {(6, 128, 192, 3)}
    assert {pair.lr.shape for pair in pairs} == {(6, 64, 96, 3)}


def test_clips_to_validate_on_pass_the_checks_of_those_to_train_on(films, tmp_path):
    feed = feed_of(Config())
    media.film(tmp_path / "small.mp4", media.Picture(frames=6, width=64, height=48))
    clips = [*material.sources.find(films).clips, *material.sources.find(tmp_path).clips]
    pairs, left = material.held_out(clips, USES["x2"], feed, tmp_path / "kept")
    assert len(pairs) == 5 and len(left) == 1 and "small" in left[0]
    with pytest.raises(InputError, match="the held-out clips: a crop of 96x96 is larger"):
        material.held_out(clips[-1:], USES["x2"], feed, tmp_path / "kept")
    vid4 = replace(clips[0], path=tmp_path / "Vid4" / "GT" / "city")
    with pytest.raises(UsageError, match=r"the held-out clips: .*test set"):
        material.held_out([vid4], USES["x2"], feed, tmp_path / "kept")


def test_what_cannot_be_trained_on_is_named(films, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "films"
    shutil.copytree(films, folder)
    media.film(folder / "small.mp4", media.Picture(frames=6, width=64, height=48))
    whole = (folder / "cat.mp4").read_bytes()
    (folder / "cat.mp4").write_bytes(whole[: len(whole) // 3])
    monkeypatch.setattr(training, "fit", lambda *arguments: {})
    asked = {"data": (folder,), "keep": tmp_path / "kept", "run": tmp_path / "run", "share": 0.01}
    playing.play(SR_UNET, Config(loss="fidelity", net=TINY, **asked))
    told = capsys.readouterr().err
    lines = [line for line in told.splitlines() if "cat.mp4" in line or "left out: small" in line]
    assert len(lines) == 2 and "\n2 left out in all" in told


def test_made_up_scenes_differ_from_those_held_out(monkeypatch, tmp_path):
    monkeypatch.setattr(material, "DATA", tmp_path)
    found = material.material((), 0.2, 0)
    assert found.known is None and not set(made_up.procedural(0, 256).clips) & set(found.unseen)


def test_a_split_of_a_published_set_is_trained_on_by_its_name(tmp_path):
    for number in ("000", "001", "002", "011"):
        folder = tmp_path / "REDS/train_sharp" / number
        folder.mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (32, 24)).save(folder / f"{i:08d}.png")
    data = lambda text: read(Config, ["--data", text], prog="run").data
    found = material.material(data(f"reds/train={tmp_path}"), 0.2, 0)
    names = {clip.name for clip in (*found.known, *found.unseen)}
    assert names == {"train/001", "train/002"}
    catalogue.refuse_test_sets(found.known)
    with pytest.raises(UsageError, match="no dataset 'red'; choose from vimeo90k, reds"):
        material.material(data(f"red/train={tmp_path}"), 0.2, 0)
    with pytest.raises(UsageError, match="choose from train, val, test"):
        material.material(data(f"reds/trian={tmp_path}"), 0.2, 0)


def test_a_stored_set_is_trained_on_by_its_name_too(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    scenes = {"train": made_up.procedural(0, 2, 3, (32, 32))}
    folder = material.builders.store("reds", scenes, tmp_path)
    found = material.clips_at(Path(f"reds/train={folder}"), 0)
    assert [clip.name for clip in found.clips] == [clip.name for clip in scenes["train"].clips]


def test_septuplets_of_one_film_stay_together(films):
    (clip, *_) = material.sources.find(films).clips
    of = lambda name: material.sequence_of(replace(clip, name=name))
    assert of("00001/0002") == of("00001/0003") != of("00002/0003")


def test_stills_and_clips_in_one_folder_are_told_apart(films, tmp_path):
    shutil.copytree(films, tmp_path / "films")
    for i in range(4):
        (tmp_path / "stills").mkdir(exist_ok=True)
        Image.new("RGB", (200 + i, 150)).save(tmp_path / f"stills/{i}.png")
    found = material.material((tmp_path,), 0.2, 0)
    assert len(found.known) + len(found.unseen) == 5 + 4
    assert found.told[0] == "4 stills under a moving camera"
    assert not found.skipped  # nothing is left out
