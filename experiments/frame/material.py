"""What runs see: a degradation for each use, clips to train on, and others to validate on."""

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from experiments import DATA, counted
from jaxvsr.data import builders, catalogue, made_up, packed, pipeline, shots, sources
from jaxvsr.data.shots import Pair
from jaxvsr.degradation import Recipe
from jaxvsr.errors import JaxvsrError, UsageError

CODECS = ("libx264", "libx265", "libvpx-vp9", "libsvtav1")
SPEEDS = {  # ours: what services use and encoders reach, each as likely as the others
    "libx264": ("veryfast", "fast", "medium"),
    "libx265": ("ultrafast", "veryfast", "fast"),
    "libvpx-vp9": ("5", "8"),
    "libsvtav1": ("8", "10"),
}
SHRINKS = ("swscale", "bicubic", "area", "lanczos")
LINES = {  # ours: reduced to so many lines, which hides what their own coding left
    "bamboo_foliage_540p": 400,
    "bedroom_540p": 400,
    "blocks_720p": 480,
    "coffee_720p": 480,
    "crosswalk_people_480p": 360,
    "drone_coast_480p": 360,
    "face_selfie_1440x1080": 540,
    "flower_opening_540p": 400,
    "gopro_hero7_walk_480p": 360,
    "gopro_max_walk_480p": 360,
    "parachute_544x960": 640,
    "park_trees_traffic_1080p": 540,
    "street_london_1376x1840": 918,
}
SCENES = 96  # made-up ones beside the shared clips: clean edges and text, as animation has them
TAKES = {"cid22": 2}  # ours: of a still of 512x512; the others are larger and have four
GRAINY = 1 / 3  # ours: share of sharp stills that get grain
CLIPS, FRAMES = 8, 12  # that validate a run
LENGTH = 24  # frames of a shot, about. Ours
UNUSED = ("driving_540p", "mountain_hdr_1080p")  # a test clip's camera; HDR


def web(least: int, most: int) -> Callable[[np.random.Generator], Recipe]:
    """Draws halved video of four codecs, at CRFs from `least` to `most` as x264 counts them."""

    def draw(rng) -> Recipe:
        codec = str(rng.choice(CODECS, p=(0.4, 0.3, 0.15, 0.15)))
        crf = int(rng.integers(least, most + 1))
        # ours: VP9 and AV1 count to 63 where the others count to 51.
        crf = crf if codec in CODECS[:2] else round(1.25 * crf + 2.5)
        return Recipe(
            downscale=str(rng.choice(SHRINKS, p=(0.4, 0.3, 0.15, 0.15))),
            codec=codec,
            crf=crf,
            preset=str(rng.choice(SPEEDS[codec])),
            gop=int(rng.choice([30, 250])),
            matrix=str(rng.choice(["bt601", "bt709"])),
        )

    return draw


# What weights are for, beside a paper's own degradation: halved video as the web has it.
USES = {"x2": web(18, 28), "x2_collapse": web(33, 42), "light_x2": web(18, 28)}


@dataclass(frozen=True)
class Reduced(sources.Derived):
    """A clip with fewer lines: another clip of the same file."""

    lines: int

    def __post_init__(self):
        if self.lines > self.clip.size[0]:
            raise ValueError(f"{self.lines} lines of {self.clip.size[0]}: not fewer")

    @property
    def name(self) -> str:
        """The clip's name and the lines."""
        return f"{self.clip.name} {self.lines}p"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), both even."""
        height, width = self.clip.size
        return self.lines // 2 * 2, round(width * self.lines / height / 2) * 2

    def read(self, start: int, count: int) -> np.ndarray:
        """See `sources.Clip.read`; reduced by Lanczos."""
        size = self.size[::-1]
        shrink = lambda frame: Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
        return np.stack([np.asarray(shrink(frame)) for frame in self.clip.read(start, count)])


@dataclass(frozen=True)
class Material:
    """Clips to train on (None: made-up scenes), others to validate on, and what to say of them.

    `skipped` are those lines of `told` that name what cannot be read. Of `packs` there are no
    clips any more, only the pairs that were made of them.
    """

    known: tuple[sources.Clip, ...] | None
    unseen: tuple[sources.Clip, ...]
    told: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    packs: packed.Packs | None = None

    @property
    def validates(self) -> bool:
        """Whether anything is held out."""
        return bool(self.packs.unseen if self.packs else self.unseen)


def check_use(use: str, uses: Mapping[str, Callable]) -> None:
    """Raises UsageError for a use that there is not."""
    if use not in uses:
        raise UsageError(f"no use {use!r}; choose from {', '.join(uses)}")


def material(
    folders: tuple[Path, ...], share: float, seed: int, takes: int = 1, grainy: float = GRAINY
) -> Material:
    """The clips of `folders`; without any, those of the shared data; without it, made-up scenes.

    Of the shared stills `takes` times as many places are visited, a share `grainy` with grain.
    About `share` of the sequences are held out, whole: all sizes of one sequence stay together.
    Raises InputError for a folder that is not there or holds nothing.
    """
    packs = [path for path in folders if path.suffix == packed.SUFFIX]
    if packs:
        if len(packs) < len(folders):
            raise UsageError(
                "packs and folders together: pack the folders as well, or leave them out"
            )
        return _packed(packed.read(packs), ", ".join(map(str, packs)))
    if folders:
        found = [clips_at(folder, seed) for folder in folders]
        every = [clip for one in found for clip in one.clips]
        skipped = tuple(line for one in found for line in one.skipped)
        dealt = _dealt(every, share, sequence_of, skipped, ", ".join(map(str, folders)))
        stills = sum(isinstance(clip, made_up.MovingStill) for clip in every)
        told = (f"{stills} stills under a moving camera",) if stills else ()
        return replace(dealt, told=told + dealt.told)
    if (DATA / "train/video").is_dir():
        every, skipped = shared_clips(DATA / "train", seed, takes, grainy)
        return _dealt(every, share, lambda c: c.name.split("_")[0], skipped, f"{DATA / 'train'}")
    unseen = made_up.procedural(seed + 1, 8).clips
    return Material(None, unseen, ("no --data and no JAXVSR_DATA: made-up scenes",))


def _packed(packs: packed.Packs, where: str) -> Material:
    told = f"{where}: {len(packs.known)} shots to train on, {len(packs.unseen)} held out"
    return Material(None, (), (told,), packs=packs)


def clips_at(given: Path, seed: int) -> sources.Found:
    """The clips of a folder, or of NAME/SPLIT=FOLDER: a published set as it lies, or as stored.

    A folder's pictures that are no frames of a clip become clips under a moving camera.
    Raises InputError where there is none, and UsageError for an unknown name or split.
    """
    named = re.fullmatch(r"(\w+)/(\w+)=(.+)", given.as_posix())
    if given.exists() or not named:
        return made_up.find(given, seed)
    name, split, folder = named.groups()
    if (Path(folder) / "dataset_info.json").is_file():
        return builders.read(folder, split)
    return catalogue.clips(name, split, folder)


def shared_clips(
    root: Path, seed: int, takes: int = 1, grainy: float = GRAINY
) -> tuple[list, tuple[str, ...]]:
    """(its videos, reduced as LINES says, its stills under a moving camera, scenes; what was left).

    Each still is resampled once, as a turning camera does, and elsewhere as sharp as it was taken.
    """
    videos = sources.find(root / "video")
    clips = [part for clip in videos.clips for part in _reduced(clip)]
    folders = [p for p in sorted(root.iterdir()) if p.is_dir() and p.name != "video"]
    stills = {folder: made_up.moving_stills(folder, seed) for folder in folders}
    clips += [clip for found in stills.values() for clip in found.clips]
    for folder, found in stills.items():
        for clip, take in product(found.clips, range(takes * TAKES.get(folder.name, 4))):
            clip = replace(clip, size=(256, 256), whole=True, take=take)
            clips.append(_perhaps_grainy(clip, grainy))
    clips += made_up.procedural(seed, SCENES, size=(256, 256)).clips
    return clips, (*videos.skipped, *(line for found in stills.values() for line in found.skipped))


def _reduced(clip: sources.Clip) -> list:
    """The clip with the lines of LINES and with three quarters of them."""
    stem = Path(clip.name).stem
    if stem in UNUSED:
        return []
    if stem not in LINES:
        return [clip]
    return [Reduced(clip, lines) for lines in (LINES[stem], LINES[stem] * 3 // 4)]


def _perhaps_grainy(clip: sources.Clip, share: float) -> sources.Clip:
    """A share of clips with grain: a film or a sensor has some, a still that was reduced none."""
    rng = np.random.default_rng(zlib.crc32(clip.name.encode()))
    if rng.random() > share:
        return clip
    return made_up.Grainy(clip, round(rng.uniform(1, 6), 1), round(rng.uniform(0, 0.8), 1))


def sequence_of(clip: sources.Clip) -> str:
    """What all sizes of one sequence share: BVI-DVC calls them AName_3840x..., BName_1920x...

    Septuplets of Vimeo-90K, such as 00001/0002, share their film.
    """
    if septuplet := re.fullmatch(r"(\d{5})/\d{4}", clip.name):
        return septuplet[1]
    stem = Path(clip.name).stem
    bvi = any("bvi" in part.lower() for part in getattr(clip, "path", Path()).parts)
    stem = stem[1:] if bvi and re.match(r"[A-D][A-Z0-9]", stem) else stem
    return re.split(r"_\d{3,4}x\d{3,4}|_\d{3,4}p", stem)[0]


def _dealt(clips: list, share: float, group, skipped, where: str) -> Material:
    known, unseen = sources.split(clips, share, group)
    if not known:
        known, unseen = clips, []
    told = [*skipped, f"{where}: {len(known)} clips to train on, {len(unseen)} held out"]
    if not unseen:
        told.append("no sequence is held out: nothing validates this run; give more clips")
    return Material(tuple(known), tuple(unseen), tuple(told), skipped)


def identity(found: Material) -> str:
    """Tells clips from others, wherever they lie: their sides, names, lengths and bytes."""
    if found.packs:
        return f"{found.packs.facts['clips']}, packed {found.packs.identity}"
    sides = {"known": found.known or (), "unseen": found.unseen}
    facts = [[side, *_facts(clip)] for side, clips in sides.items() for clip in clips]
    digest = hashlib.sha256(json.dumps(sorted(facts)).encode()).hexdigest()[:12]
    count = "made-up scenes" if found.known is None else f"{len(found.known)} clips"
    return f"{count}, {len(found.unseen)} held out, {digest}"


def _facts(clip: sources.Clip) -> tuple:
    path = getattr(clip, "path", None)
    files = getattr(clip, "paths", () if path is None else (path,))
    return clip.name, clip.frames, *clip.size, sum(f.stat().st_size for f in files if f.is_file())


def fed(
    found: Material, use: str, draw: Callable, feed: pipeline.Feed, folder: Path | None
) -> tuple[pipeline.Batches, tuple[Pair, ...], tuple[str, ...]]:
    """(batches by the degradations of `draw`, pairs to validate on, lines for clips left out).

    Raises what `pipeline.stream` does, and UsageError for packs of another use or of frames that
    are too small, before work starts.
    """
    if found.packs:
        _check_packs(found.packs, use, feed)
        unseen = tuple(found.packs.unseen[i] for i in range(len(found.packs.unseen)))
        return _batches(pipeline.dealt(found.packs.known, feed), feed), unseen, ()
    batches, unseen, left = frames_of(found.known, draw, feed, folder), (), ()
    if found.unseen:
        unseen, left = held_out(found.unseen, draw, feed, folder)
    return batches, unseen, left_out((*batches.skipped, *left), len(found.skipped))


def _check_packs(packs: packed.Packs, use: str, feed: pipeline.Feed) -> None:
    if packs.facts["use"] != use:
        raise UsageError(f"packs for {packs.facts['use']}, not {use}: pack with --use {use}")
    least = min(min(entry.size) for entry in packs.known.entries)
    if least < feed.crop:
        raise UsageError(
            f"crops of {feed.crop} of frames of {least}: give --patch {least // 16 * 16} or less"
        )


def frames_of(clips, draw: Callable, feed: pipeline.Feed, folder: Path | None) -> pipeline.Batches:
    """Batches of frames, or of clips where the feed has more than one frame.

    Raises what `pipeline.stream` does, before work starts.
    """
    show = counted("coding shots to train on")
    return _batches(pipeline.stream(clips, draw, feed, folder=folder, show=show), feed)


def _batches(stream, feed: pipeline.Feed) -> pipeline.Batches:
    return pipeline.Singles(stream) if feed.frames == 1 else pipeline.Batches(stream)


def left_out(lines: tuple[str, ...], before: int) -> tuple[str, ...]:
    """What to say of clips that nothing is cut from: a line for each, and how many they are.

    Those that were named `before` count too.
    """
    count = (f"{len(lines) + before} left out in all",) if lines or before else ()
    return (*(f"left out: {line}" for line in lines), *count)


def held_out(
    clips, draw: Callable, feed: pipeline.Feed, folder: Path | None
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """(clips that are not trained on, whole frames before and after; a line for each left out).

    They validate a run: up to CLIPS, spread over all that are held out, and about the first FRAMES
    frames of each. Test sets and small frames are refused as in training, by the same errors.
    """
    crop, where = (feed.crop, feed.crop), "the held-out clips"
    found = sources.usable(sources.Found(tuple(clips)), feed.frames, crop, where)
    first = {shot.clip.name: shot for shot in reversed(shots.shots(found.clips, 1, FRAMES))}
    chosen = tuple(first.values())[:: max(1, -(-len(first) // CLIPS))]
    pairs = shots.Pairs(chosen, shots.Spoiling(draw, feed.seed), folder, keep=CLIPS)
    try:
        catalogue.refuse_test_sets(found.clips)
        pairs.check_room()
        pairs, failed = shots.prepare(pairs, counted("coding shots to validate on"))
    except JaxvsrError as error:
        raise type(error)(f"{where}: {error}") from error
    return tuple(pairs[i] for i in range(len(pairs))), (*found.skipped, *failed)
