"""Known datasets: how each lies on disk, how it is split, where to get it, what it may be used for.

Splits are by sequence. Test sets are for reporting alone: `refuse_test_sets` stops a training run
that would see one. Nothing here downloads: the data must be fetched by whoever accepts its terms.
Layouts are those of the official archives, and where given also those that BasicSR
(docs/DatasetPreparation.md) and mmagic (tools/dataset_converters) ask for.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from jaxvsr.data.sources import RAW, VIDEOS, Clip, Found, open_all
from jaxvsr.errors import InputError, UsageError
from jaxvsr.video.images import SUFFIXES
from jaxvsr.video.names import of_system

REDS4 = ("000", "011", "015", "020")
VID4 = {"calendar": (576, 720), "city": (576, 704), "foliage": (480, 720), "walk": (480, 720)}
UDM10 = ("archpeople", "archwall", "auditorium", "band", "caffe", "camera", "clap", "lake")
UDM10 += ("photography", "polyflow")
REPORTED = ("bigbuckbunny_720p", "juggle_720p", "driving_720p", "cactusflower_720p")  # our own
MFQE_TESTS = {  # name_size_frames, by their classes of the JCT-VC
    *("Traffic_2560x1600_150", "PeopleOnStreet_2560x1600_150", "Kimono_1920x1080_240"),
    *("ParkScene_1920x1080_240", "Cactus_1920x1080_500", "BQTerrace_1920x1080_600"),
    *("BasketballDrive_1920x1080_500", "RaceHorses_832x480_300", "BQMall_832x480_600"),
    *("PartyScene_832x480_500", "BasketballDrill_832x480_500", "RaceHorses_416x240_300"),
    *("BQSquare_416x240_600", "BlowingBubbles_416x240_500", "BasketballPass_416x240_500"),
    *("FourPeople_1280x720_600", "Johnny_1280x720_600", "KristenAndSara_1280x720_600"),
}

SEPTUPLET = re.compile(r"/\d{5}/\d{4}$")  # of Vimeo-90K, 448 x 256

Sequences = list[tuple[Path, str]]  # (path, name); the path need not exist


@dataclass(frozen=True)
class Dataset:
    """`splits` map a root to the sequences that belong there; `counts` are those of the whole set.

    `folders` are the names under which the set usually lies; `get` says what to download and how
    it must lie; `source` is the official page, `licence` what is known of its terms; `tests` are
    the splits that must not be trained on, and `facts` where layout and split are written down.
    """

    title: str
    folders: tuple[str, ...]
    get: str
    source: str
    licence: str
    facts: str
    splits: Mapping[str, Callable[[Path], Sequences]]
    counts: Mapping[str, int]
    tests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """What of a dataset is on disk: sequences by split, and lines about what is missing."""

    root: Path
    present: dict[str, int]
    expected: Mapping[str, int]
    missing: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def check(name: str, root) -> Inventory:
    """What of dataset `name` lies at `root` (its folder, or the one that holds it)."""
    dataset, home = known(name), home_of(name, root)
    present, missing = {}, []
    for split, expected in dataset.counts.items():
        there = [sequence for sequence in dataset.splits[split](home) if _exists(sequence[0])]
        present[split] = len(there)
        if len(there) < expected:
            missing.append(f"{split}: {len(there)} of {expected} sequences")
    if missing:
        missing.append(_remedy(dataset))
    return Inventory(home, present, dataset.counts, tuple(missing))


def clips(name: str, split: str, root) -> Found:
    """The clips of a split, as far as they are on disk; what is missing is told in `skipped`.

    Raises InputError with what to download and where to put it if there is not one, and
    UsageError for an unknown dataset or split.
    """
    dataset = known(name)
    if split not in dataset.splits:
        raise UsageError(f"{name} has no split {split!r}; choose from {', '.join(dataset.splits)}")
    home = home_of(name, root)
    wanted = dataset.splits[split](home)
    there = [sequence for sequence in wanted if _exists(sequence[0])]
    if not there:
        raise InputError(f"{home}: nothing of {dataset.title}'s {split} split; {_remedy(dataset)}")
    found = open_all(there)
    if not found.clips:
        raise InputError(f"{home}: none of {len(there)} clips can be read; {found.skipped[0]}")
    absent = max(len(wanted), dataset.counts[split]) - len(there)
    lines = (f"{dataset.title}: {absent} sequences of the {split} split are not there",)
    return Found(found.clips, (*found.skipped, *lines[: absent > 0]))


def home_of(name: str, root) -> Path:
    """The dataset's folder: `root` itself, or the folder of one of its usual names inside."""
    inside = (Path(root) / folder for folder in known(name).folders)
    return next((path for path in inside if path.is_dir()), Path(root))


def refuse_test_sets(training: tuple[Clip, ...]) -> None:
    """Raises UsageError if one of the clips belongs to a test set, by its path, name and size.

    So it does where nobody can know: for septuplets of Vimeo-90K without their lists.
    """
    for clip in training:
        path = getattr(clip, "path", None)
        title = _declared(clip) or test_set_of(path, clip.size)
        if title:
            raise UsageError(
                f"{path or clip.name}: belongs to the test set {title}, which results are reported "
                "on; train on other data (or rename a film that only has its name and size)"
            )
        if path is not None and _unlisted(path, clip.size):
            raise UsageError(
                f"{path}: a septuplet of Vimeo-90K, and no list says whether it is for testing; "
                "put sep_trainlist.txt and sep_testlist.txt beside the folder of sequences"
            )


def _declared(clip: Clip) -> str | None:
    """The test set that a clip itself says it is of, as stored ones do."""
    dataset = DATASETS.get(getattr(clip, "dataset", ""))
    if dataset and getattr(clip, "split", "") in dataset.tests:
        return dataset.title
    return None


def test_set_of(path: Path | None, size: tuple[int, int] | None = None) -> str | None:
    """The test set that a sequence (or what a link leads to) belongs to, None if of none known."""
    titles = (_title(place, size) for place in _places(path)) if path is not None else ()
    return next(filter(None, titles), None)


def _places(path: Path) -> tuple[Path, Path]:
    """The path as it was given, and where its links lead."""
    return Path(path).absolute(), Path(path).resolve()


def _title(path: Path, size: tuple[int, int] | None) -> str | None:
    """The test set of one place: by its folders, or by its name and what else tells it apart."""
    for part in path.parts:
        title = TEST_FOLDERS.get(re.sub(r"[^a-z0-9]", "", part.lower()))
        if title:
            return title
    path = path.parent if path.suffix.lower() in SUFFIXES else path
    name = path.stem  # a sequence may also be one film file
    if name in MFQE_TESTS:
        return "MFQE 2.0 (the 18 test sequences of the JCT-VC)"
    if size is not None and VID4.get(name) == size:
        return "Vid4"
    if name in REPORTED and size == (720, 1280):
        return "of this project"
    sharp = any(part.startswith("train_sharp") for part in path.parts)
    if sharp and name.split("_")[0] in REDS4:  # 000_s001 is a part of 000
        return "REDS4"
    if name in UDM10[:3] or (name == "truth" and path.parent.name in UDM10):
        return "UDM10"
    return "Vimeo-90K-T" if _named_in("sep_testlist.txt", path) else None


TEST_FOLDERS = {  # folders that hold nothing else: letters and digits of their names
    "vid4": "Vid4",
    "udm10": "UDM10",
    "reds4": "REDS4",
    "vimeo90kt": "Vimeo-90K-T",
    "vimeo90ktest": "Vimeo-90K-T",
    "vimeosuperresolutiontest": "Vimeo-90K-T",
    "test18": "MFQE 2.0 (the 18 test sequences of the JCT-VC)",
    "livenflx": "LIVE-NFLX",
    "livenflxii": "LIVE-NFLX",
    "assetsmp4individual": "LIVE-NFLX",
}


def _unlisted(path: Path, size: tuple[int, int]) -> bool:
    """Whether it looks like a septuplet of Vimeo-90K, of which no list says what it is for."""
    places = _places(path)
    if size != (256, 448) or not any(SEPTUPLET.search(place.as_posix()) for place in places):
        return False
    train = any(_named_in("sep_trainlist.txt", place) for place in places)
    return not train and all(_named_in("sep_testlist.txt", place) is None for place in places)


def _named_in(names: str, path: Path) -> bool | None:
    """Whether a list of septuplets beside the sequences names this one; None without the list."""
    parents = [p / names for p in list(path.parents)[1:4]]
    lists = [_lines(p) for p in parents if p.is_file()]
    name = f"{path.parent.name}/{path.name}"
    return any(name in lines for lines in lists) if lists else None


@lru_cache(maxsize=8)
def _lines(path: Path) -> dict[str, None]:
    """The lines of a file in their order, quick to look up."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict.fromkeys(line for line in lines if line)


def _listed(root: Path, names: str) -> Sequences:
    """Vimeo-90K: the septuplets that a list beside them names."""
    file = root / names
    base = next((root / f for f in ("sequences", "GT") if (root / f).is_dir()), root / "sequences")
    return [(base / line, line) for line in _lines(file)] if file.is_file() else []


def _reds(root: Path, split: str) -> Sequences:
    """REDS: 240 training and 30 validation sequences; four of the former are REDS4."""
    train = _first(root, "train_sharp", "train/train_sharp", "train/sharp")
    if split == "val":  # BasicSR and mmagic move them to the others, as 240 to 269
        val = _first(root, "val_sharp", "val/val_sharp", "val/sharp")
        moved = not val.is_dir()
        numbers = range(240, 270) if moved else range(30)
        return [((train if moved else val) / f"{i:03d}", f"val/{i:03d}") for i in numbers]
    names = [f"{i:03d}" for i in range(240)]
    chosen = [n for n in names if (n in REDS4) == (split == "test")]
    if split == "test" and not train.is_dir():
        train = _first(root, "GT", "REDS4/GT")
    return [(train / name, f"train/{name}") for name in chosen]


def _truths(root: Path, names) -> Sequences:
    """Vid4, UDM10: a folder a sequence in GT, or `truth` in each sequence's own folder."""
    base = root / "GT" if (root / "GT").is_dir() else root
    if names is None and base.is_dir():
        names = sorted(p.name for p in base.iterdir() if p.is_dir() and not of_system(p))
    inside = lambda path: path / "truth" if (path / "truth").is_dir() else path
    return [(inside(base / name), name) for name in names or ()]


def _bvi(root: Path, split: str) -> Sequences:
    """BVI-DVC: every tenth sequence or so is held out, with all four of its sizes."""
    held = lambda name: zlib.crc32(name[1:].split("_")[0].encode()) % 10 == 0
    return [s for s in _media(root, "") if held(s[1]) == (split == "val")]


def _media(root: Path, folder: str) -> Sequences:
    """The video files, raw videos and folders of frames directly in a folder."""
    base = root / folder
    kinds = (*VIDEOS, RAW)
    found = sorted(p for p in base.iterdir() if not of_system(p)) if base.is_dir() else []
    return [(p, p.stem) for p in found if p.suffix.lower() in kinds or _holds_pictures(p)]


def _holds_pictures(path: Path) -> bool:
    inside = path.iterdir() if path.is_dir() else ()
    return any(p.suffix.lower() in SUFFIXES and not of_system(p) for p in inside)


def _first(root: Path, *folders: str) -> Path:
    """The first of the folders that is there; the very first if none is."""
    return next((root / f for f in folders if (root / f).is_dir()), root / folders[0])


def _exists(path: Path) -> bool:
    return path.is_file() or _holds_pictures(path)


def known(name: str) -> Dataset:
    """The dataset of that name. Raises UsageError with the names there are."""
    if name not in DATASETS:
        raise UsageError(f"no dataset {name!r}; choose from {', '.join(DATASETS)}")
    return DATASETS[name]


def _remedy(dataset: Dataset) -> str:
    return f"get {dataset.get} ({dataset.source}; {dataset.licence})"


DATASETS = {
    "vimeo90k": Dataset(
        "Vimeo-90K septuplets",
        ("vimeo_septuplet", "vimeo90k"),
        "vimeo_septuplet.zip (82 GB) and unpack it so that vimeo_septuplet/ holds sequences/, "
        "sep_trainlist.txt and sep_testlist.txt",
        "http://toflow.csail.mit.edu",
        "no licence stated; the films belong to their makers; used for research",
        "BasicSR's docs and meta_info_Vimeo90K_train_GT.txt; Xue et al., IJCV 2019",
        {
            "train": partial(_listed, names="sep_trainlist.txt"),
            "test": partial(_listed, names="sep_testlist.txt"),
        },
        {"train": 64_612, "test": 7_824},
        ("test",),
    ),
    "reds": Dataset(
        "REDS",
        ("REDS", "reds"),
        "train_sharp.zip and val_sharp.zip and unpack them so that REDS/ holds train_sharp/000 to "
        "239 and val_sharp/000 to 029; papers that report REDS4 train on train and val",
        "https://seungjunnah.github.io/Datasets/reds.html",
        "terms on that page",
        "BasicSR's docs/DatasetPreparation.md: REDS4 is 000, 011, 015, 020; Nah et al., CVPRW 2019",
        {split: partial(_reds, split=split) for split in ("train", "val", "test")},
        {"train": 236, "val": 30, "test": 4},
        ("test",),
    ),
    "vid4": Dataset(
        "Vid4",
        ("Vid4", "vid4"),
        "Vid4 from mmagic's or BasicSR's list and put it so that Vid4/GT/ holds calendar, city, "
        "foliage and walk",
        "https://github.com/open-mmlab/mmagic/tree/main/tools/dataset_converters/vid4",
        "no licence stated; used for reporting only",
        "mmagic's README: 41, 34, 49 and 47 frames; Liu and Sun, PAMI 2014",
        {"test": partial(_truths, names=tuple(VID4))},
        {"test": 4},
        ("test",),
    ),
    "udm10": Dataset(
        "UDM10",
        ("UDM10", "udm10"),
        "UDM10 from mmagic's or PFNL's list and put it so that UDM10/GT/ holds ten folders",
        "https://github.com/open-mmlab/mmagic/tree/main/tools/dataset_converters/udm10",
        "no licence stated; used for reporting only",
        "mmagic's README; Yi et al., ICCV 2019",
        {"test": partial(_truths, names=None)},
        {"test": 10},
        ("test",),
    ),
    "bvi_dvc": Dataset(
        "BVI-DVC",
        ("BVI-DVC", "bvi_dvc"),
        "the archives and put the 800 files (or folders of frames) named like "
        "ABoatsParkVidevo_3840x2176_25fps_10bit_420.yuv into BVI-DVC/",
        "https://fan-aaron-zhang.github.io/BVI-DVC/",
        "all rights stay with the makers of each sequence; research",
        "Ma, Zhang and Bull, IEEE TMM 2021: 200 sequences in four sizes, 64 frames; no official "
        "split, so one sequence in ten by the hash of its name is held out",
        {split: partial(_bvi, split=split) for split in ("train", "val")},
        {"train": 720, "val": 80},
    ),
    "mfqe2": Dataset(
        "MFQE 2.0",
        ("MFQEv2_dataset", "MFQEv2", "mfqe2"),
        "the raw sequences and put them so that MFQEv2_dataset/ holds train_108/raw/*.yuv and "
        "test_18/raw/*.yuv, named like Kimono_1920x1080_240.yuv",
        "https://github.com/ryanxingql/mfqev2.0/wiki/MFQEv2-Dataset",
        "the sequences' own terms (Xiph.org, VQEG, JCT-VC); research",
        "the README of ryanxingql/stdf-pytorch; Guan et al., PAMI 2019",
        {
            "train": partial(_media, folder="train_108/raw"),
            "test": partial(_media, folder="test_18/raw"),
        },
        {"train": 108, "test": 18},
        ("test",),
    ),
    "live_nflx": Dataset(
        "LIVE-NFLX-II",
        ("LIVE_NFLX_II", "LIVE-NFLX-II", "live_nflx"),
        "the 420 streams and put them so that LIVE_NFLX_II/ holds assets_mp4_individual/*.mp4",
        "http://live.ece.utexas.edu/research/LIVE_NFLX_II/live_nflx_plus.html",
        "on request, research only; streams as viewers saw them, without true frames to train on",
        "Bampis et al., 2018: 15 contents; the folder's name from public readers of the set",
        {"test": partial(_media, folder="assets_mp4_individual")},
        {"test": 420},
        ("test",),
    ),
}
