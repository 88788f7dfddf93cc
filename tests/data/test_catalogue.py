"""Known datasets, on tiny trees of their shape; and nobody trains on a test set."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from jaxvsr.data import builders, catalogue, made_up, sources
from jaxvsr.errors import InputError, JaxvsrError, UsageError

FRAME = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


def sequence(path, count=3, size=(16, 24), name="{:08d}.png"):
    """A folder of frames."""
    path.mkdir(parents=True)
    for i in range(count):
        still = np.broadcast_to(np.uint8(20 * i + 5), (*size, 3))
        Image.fromarray(np.ascontiguousarray(still)).save(path / name.format(i))


def raw(path, frames=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(frames * 24 * 16 * 3 // 2))


def vimeo(root):
    for name in ("00001/0001", "00001/0002", "00002/0001"):
        sequence(root / "sequences" / name, 7, name="im{:d}.png")
    (root / "sep_trainlist.txt").write_text("00001/0001\n00002/0001\n00009/0009\n\n")
    (root / "sep_testlist.txt").write_text("00001/0002\n")
    return root


def reds(root, train="train_sharp", val="val_sharp"):
    for number in ("000", "001", "011", "015", "020", "239"):
        sequence(root / train / number)
    for number in ("000", "029"):
        sequence(root / val / number)
    return root


def names(found):
    return [clip.name for clip in found.clips]


def test_vimeo_is_split_by_its_own_lists(tmp_path):
    vimeo(tmp_path / "vimeo_septuplet")
    train = catalogue.clips("vimeo90k", "train", tmp_path)
    assert names(train) == ["00001/0001", "00002/0001"]
    assert train.clips[0].frames == 7
    assert "64610 sequences" in train.skipped[0]
    assert names(catalogue.clips("vimeo90k", "test", tmp_path)) == ["00001/0002"]


@pytest.mark.parametrize(
    "train, val", [("train_sharp", "val_sharp"), ("train/train_sharp", "val/val_sharp")]
)
def test_reds4_is_no_part_of_training(tmp_path, train, val):
    reds(tmp_path / "REDS", train, val)
    assert names(catalogue.clips("reds", "train", tmp_path)) == ["train/001", "train/239"]
    assert len(catalogue.clips("reds", "test", tmp_path).clips) == 4
    assert names(catalogue.clips("reds", "val", tmp_path / "REDS")) == ["val/000", "val/029"]


def test_reds_with_validation_moved_as_basicsr_does(tmp_path):
    for number in ("001", "240", "269"):
        sequence(tmp_path / "REDS/train_sharp" / number)
    assert names(catalogue.clips("reds", "val", tmp_path)) == ["val/000"[:4] + "240", "val/269"]


def test_the_sizes_of_one_bvi_sequence_stay_on_one_side(tmp_path):
    for i in range(30):
        for prefix, size in zip(
            "ABCD", ("3840x2176", "1920x1088", "960x544", "480x272"), strict=True
        ):
            sequence(tmp_path / "BVI-DVC" / f"{prefix}Scene{i}_{size}_25fps_10bit_420", 1)
    train, val = (catalogue.clips("bvi_dvc", split, tmp_path) for split in ("train", "val"))
    scene = lambda clip: clip.name[1:].split("_")[0]
    assert not {scene(c) for c in train.clips} & {scene(c) for c in val.clips}
    assert len(train.clips) + len(val.clips) == 120 and len(val.clips) % 4 == 0
    assert val.clips


def test_mfqe_is_raw_video_in_two_folders(tmp_path):
    raw(tmp_path / "MFQEv2_dataset/train_108/raw/akiyo_24x16_2.yuv")
    raw(tmp_path / "MFQEv2_dataset/test_18/raw/other_24x16_2.yuv")
    (train,) = catalogue.clips("mfqe2", "train", tmp_path).clips
    assert train.read(0, 2).shape == (2, 16, 24, 3)
    assert names(catalogue.clips("mfqe2", "test", tmp_path)) == ["other_24x16_2"]


def test_udm10_and_vid4_in_both_customary_layouts(tmp_path):
    for name in ("archwall", "lake"):
        sequence(tmp_path / "a/UDM10/GT" / name)
        sequence(tmp_path / "b/udm10" / name / "truth")
    assert names(catalogue.clips("udm10", "test", tmp_path / "a")) == ["archwall", "lake"]
    assert names(catalogue.clips("udm10", "test", tmp_path / "b")) == ["archwall", "lake"]
    sequence(tmp_path / "Vid4/GT/walk")
    assert names(catalogue.clips("vid4", "test", tmp_path)) == ["walk"]


def test_check_says_what_is_there_and_what_is_missing(tmp_path):
    reds(tmp_path / "REDS")
    told = catalogue.check("reds", tmp_path)
    assert told.present == {"train": 2, "val": 2, "test": 4} and not told.complete
    assert told.missing[0] == "train: 2 of 236 sequences"
    assert "train_sharp.zip" in told.missing[-1] and "https://" in told.missing[-1]
    for name in catalogue.VID4:
        sequence(tmp_path / "Vid4/GT" / name)
    assert catalogue.check("vid4", tmp_path).complete


@pytest.mark.parametrize("name", catalogue.DATASETS)
def test_a_missing_dataset_says_what_to_download_and_where_to_put_it(tmp_path, name):
    dataset = catalogue.DATASETS[name]
    assert set(dataset.tests) <= set(dataset.splits) and set(dataset.counts) == set(dataset.splits)
    for split in dataset.splits:
        with pytest.raises(InputError) as error:
            catalogue.clips(name, split, tmp_path)
        assert "\n" not in str(error.value)
        assert dataset.get in str(error.value) and dataset.source in str(error.value)
    assert sum(catalogue.check(name, tmp_path).present.values()) == 0


def test_unknown_names_list_the_choices(tmp_path):
    with pytest.raises(UsageError, match="vimeo90k"):
        catalogue.clips("vimeo", "train", tmp_path)
    with pytest.raises(UsageError, match="vimeo90k"):
        builders.build("vimeo", tmp_path, tmp_path)
    with pytest.raises(UsageError, match="choose from train, test"):
        catalogue.clips("vimeo90k", "val", tmp_path)


def test_every_test_split_is_refused_for_training_and_no_other(tmp_path):
    vimeo(tmp_path / "vimeo_septuplet")
    reds(tmp_path / "REDS")
    raw(tmp_path / "MFQEv2_dataset/train_108/raw/akiyo_24x16_2.yuv")
    raw(tmp_path / "MFQEv2_dataset/test_18/raw/other_24x16_2.yuv")
    sequence(tmp_path / "Vid4/GT/walk")
    sequence(tmp_path / "UDM10/GT/lake")
    sequence(tmp_path / "LIVE_NFLX_II/assets_mp4_individual/stream")
    sequence(tmp_path / "BVI-DVC/ABoats_24x16_25fps_10bit_420")
    for name, dataset in catalogue.DATASETS.items():
        for split in dataset.splits:
            try:
                clips = catalogue.clips(name, split, tmp_path).clips
            except InputError:  # the one sequence of BVI-DVC is on the other side
                assert name == "bvi_dvc"
                continue
            for clip in clips:
                if split in dataset.tests:
                    with pytest.raises(UsageError, match="test set"):
                        catalogue.refuse_test_sets((clip,))
                else:
                    catalogue.refuse_test_sets((clip,))


def test_test_sequences_are_known_wherever_they_lie(tmp_path):
    known = {
        "films/Kimono_1920x1080_240.yuv": (1080, 1920),
        "x/y/calendar": (576, 720),
        "train_sharp/011": (720, 1280),
        "REDS/train_sharp_sub/000_s001": (480, 480),
        "mine/vid4/anything.mp4": (480, 720),
        "Vimeo90K-T/x": (256, 448),
        "some/archpeople": (720, 1272),
        "films/walk.mp4": (480, 720),
        "REDS/train_sharp/000/00000003.png": (192, 192),
        "REDS/train_sharp/011.mkv": (720, 1280),
        "clips/driving_720p.mp4": (720, 1280),
    }
    for path, size in known.items():
        assert catalogue.test_set_of(tmp_path / path, size), path
    harmless = {
        "walk": (1080, 1920),
        "walk.mp4": (1080, 1920),
        "calendar.mp4": None,
        "driving_720p.mp4": (480, 854),
        "clips/blocks_720p.mp4": (720, 1280),
        "city": (576, 720),
        "000": (720, 1280),
        "my_vid4_notes": (9, 9),
    }
    for path, size in harmless.items():
        assert catalogue.test_set_of(tmp_path / path, size) is None, path


def test_a_link_does_not_hide_a_test_sequence(tmp_path):
    sequence(tmp_path / "Vid4/GT/walk")
    (tmp_path / "mine").symlink_to(tmp_path / "Vid4/GT/walk")
    (tmp_path / "plain").mkdir()
    (tmp_path / "vid4_link").symlink_to(tmp_path / "plain")
    assert catalogue.test_set_of(tmp_path / "mine") == "Vid4"
    assert catalogue.test_set_of(tmp_path / "vid4_link") is None
    with pytest.raises(UsageError, match="test set Vid4"):
        catalogue.refuse_test_sets(sources.find(tmp_path / "mine").clips)


def test_septuplets_without_their_lists_are_refused(tmp_path):
    for name in ("00001/0001", "00001/0002"):
        sequence(tmp_path / "sequences" / name, 7, (256, 448), "im{:d}.png")
    learn, other = sources.find(tmp_path / "sequences").clips
    with pytest.raises(UsageError, match=r"00001/0001: .*put sep_trainlist.txt and"):
        catalogue.refuse_test_sets((learn,))
    (tmp_path / "sep_trainlist.txt").write_text("00001/0001\n")
    catalogue.refuse_test_sets((learn,))
    with pytest.raises(UsageError, match=r"00001/0002: .*no list says"):
        catalogue.refuse_test_sets((other,))
    (tmp_path / "sep_testlist.txt").write_text("00001/0002\n")
    with pytest.raises(UsageError, match="test set Vimeo-90K-T"):
        catalogue.refuse_test_sets((other,))
    sequence(tmp_path / "a/b/my/00001/0002", 7)  # so small it is another set
    catalogue.refuse_test_sets(sources.find(tmp_path / "a").clips)


def test_the_clips_of_our_own_reports_are_refused(shared):
    reported = sources.find(shared / "clips").clips
    names = {clip.path.stem for clip in reported} & set(catalogue.REPORTED)
    assert names == set(catalogue.REPORTED)
    for clip in reported:
        if clip.path.stem in names:
            with pytest.raises(UsageError, match="of this project, which results are reported on"):
                catalogue.refuse_test_sets((clip,))


def test_a_dataset_is_stored_and_read_back_without_tensorflow(tmp_path, capsys):
    pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    reds(tmp_path / "REDS")
    folder = builders.build("reds", tmp_path, tmp_path / "stored")
    for split in ("train", "val", "test"):
        plain = catalogue.clips("reds", split, tmp_path)
        stored = builders.read(folder, split)
        assert names(stored) == names(plain)
        for a, b in zip(stored.clips, plain.clips, strict=True):
            assert (a.frames, a.size) == (b.frames, b.size)
            np.testing.assert_array_equal(a.read(1, 2), b.read(1, 2))
    assert "tensorflow" not in sys.modules
    with pytest.raises(UsageError, match="REDS"):
        catalogue.refuse_test_sets(builders.read(folder, "test").clips)
    catalogue.refuse_test_sets(builders.read(folder, "train").clips)


def test_any_clips_can_be_stored(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    scenes = made_up.procedural(0, 2, 3, (16, 16))
    folder = builders.store("mine", {"train": scenes}, tmp_path)
    examples = tfds.builder_from_directory(str(folder)).as_data_source("train")
    assert [(e["sequence"].decode(), int(e["index"])) for e in examples][2:4] == [
        (scenes.clips[0].name, 2),
        (scenes.clips[1].name, 0),
    ]
    np.testing.assert_array_equal(examples[4]["frame"], scenes.clips[1].read(1, 1)[0])
    with pytest.raises(InputError, match="delete it"):
        builders.store("mine", {"train": made_up.procedural(1, 2, 3, (16, 16))}, tmp_path)
    for place, split in ((folder, "test"), (tmp_path, "train")):
        with pytest.raises(InputError, match="build it first"):
            builders.read(place, split)


def test_a_jpeg_keeps_its_bytes(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    path = tmp_path / "clip"
    path.mkdir()
    Image.fromarray(FRAME).save(path / "1.jpg", quality=70)
    folder = builders.store("jpeg", {"train": sources.find(path)}, tmp_path / "out")
    (clip,) = builders.read(folder, "train").clips
    assert clip.examples[0]["frame"] == (path / "1.jpg").read_bytes()
    np.testing.assert_array_equal(
        clip.read(0, 1)[0], Image.open(io.BytesIO((path / "1.jpg").read_bytes()))
    )


@pytest.mark.parametrize("package", ["tensorflow_datasets", "array_record"])
def test_a_missing_package_is_one_line_with_the_remedy(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(JaxvsrError, match="pip install tensorflow-datasets array_record"):
        builders.read(tmp_path, "train")
