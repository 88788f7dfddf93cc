"""Aligned crops to train on: clips of any origin, spoiled by a codec, cut into pairs.

Clips are uint8 RGB [T, H, W, 3]. Stills become clips by moving a window over them, because a
codec treats moving pictures differently from still ones. Everything is drawn from a numpy
generator: the same seed gives the same crops.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxvsr.data import synthetic
from jaxvsr.data.synthetic import cut_at
from jaxvsr.degradation import Recipe, read_video, shrink, spoil, subsampled

WORDS = "the quick brown fox jumps over 1234567890 LAZY dogs & CREDITS, Scene 5: night (2026)"


@dataclass(frozen=True)
class Pairs:
    """Crops before and after the network: lr uint8 [N, h, w, 3], hr uint8 [N, h*r, w*r, 3]."""

    lr: np.ndarray
    hr: np.ndarray

    def __len__(self) -> int:
        return len(self.lr)

    def batch(self, step: int, size: int, patch: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Batch number `step`: random crops of `patch` LR pixels, flipped and turned, in [0, 1].

        A function of its arguments alone, so a resumed run sees what an unbroken one would.
        """
        rng, r = np.random.default_rng((seed, step)), self.hr.shape[1] // self.lr.shape[1]
        lr, hr = [], []
        for i in rng.integers(len(self), size=size):
            y, x = rng.integers([self.lr.shape[1] - patch + 1, self.lr.shape[2] - patch + 1])
            turns, flip = rng.integers([4, 2])
            for crops, source, s in ((lr, self.lr, 1), (hr, self.hr, r)):
                crop = source[i, y * s : (y + patch) * s, x * s : (x + patch) * s]
                crops.append(np.rot90(crop[:, ::-1] if flip else crop, turns))
        return {"lr": np.float32(lr) / 255, "hr": np.float32(hr) / 255}


def pairs(clips: Iterable[np.ndarray], rng, draw, *, side: int = 64, count: int = 6) -> Pairs:
    """`count` aligned crops of `side` LR pixels from each clip, each clip spoiled by `draw(rng)`.

    A clip is first reduced to what 4:2:0 video holds; its sides must be even.
    Half of the crops come from the last third of a clip: most frames of real video lie deep in a
    group of pictures.
    """
    lr, hr = [], []
    for clip in clips:
        recipe: Recipe = draw(rng)
        clip = subsampled(clip)
        small, r = spoil(clip, recipe), int(recipe.factor)
        for k in range(count):
            t = rng.integers(len(clip) * 2 // 3 if k % 2 else 0, len(clip))
            y, x = rng.integers([small.shape[1] - side + 1, small.shape[2] - side + 1])
            lr.append(small[t, y : y + side, x : x + side])
            hr.append(clip[t, y * r : (y + side) * r, x * r : (x + side) * r])
    return Pairs(np.stack(lr), np.stack(hr))


def read_still(path: Path, longest: int = 0) -> np.ndarray:
    """An image as uint8 RGB [H, W, 3], reduced to `longest` pixels where that is given."""
    image = Image.open(path).convert("RGB")
    if longest and max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(image)


def enlarged(still: np.ndarray, factor: float) -> np.ndarray:
    """The still `factor` times larger (bicubic): as soft as much real video is."""
    size = [round(side * factor) for side in still.shape[1::-1]]
    return np.asarray(Image.fromarray(still).resize(size, Image.Resampling.BICUBIC))


def pan(still: np.ndarray, frames: int, side: int, rng) -> np.ndarray:
    """A window of `side` pixels that glides over the still by whole pixels, which stay sharp."""
    room = np.array(still.shape[:2]) - side
    speed = rng.normal(0, 3, 2)
    start = rng.uniform(0, room)
    places = start + speed * np.arange(frames)[:, None]
    places = np.round(np.clip(places, 0, room)).astype(int)
    return np.stack([still[y : y + side, x : x + side] for y, x in places])


def turn(still: np.ndarray, frames: int, side: int, rng) -> np.ndarray:
    """A window that glides, turns and zooms by fractions of a pixel (bicubic)."""
    image, reach = Image.fromarray(still), np.array(still.shape[1::-1])
    zoom = rng.uniform(0.9, 1.2) * (1 + rng.normal(0, 0.004)) ** np.arange(frames)
    angle = rng.uniform(-0.2, 0.2) + rng.normal(0, 0.006) * np.arange(frames)
    half = 0.5 * side * 1.35 * zoom.max()
    centre = rng.uniform(np.minimum(half, reach / 2), np.maximum(reach - half, reach / 2))
    centre = centre + rng.normal(0, 1.5, 2) * np.arange(frames)[:, None]
    clip = []
    for (x, y), z, a in zip(centre, zoom, angle, strict=True):
        c, s = z * np.cos(a), z * np.sin(a)
        row = (c, -s, x - (c - s) * side / 2, s, c, y - (s + c) * side / 2)
        moved = image.transform((side, side), Image.Transform.AFFINE, row, Image.Resampling.BICUBIC)
        clip.append(np.asarray(moved))
    return np.stack(clip)


def windows(path: Path, frames: int, side: int, lines: int, rng, start=0) -> Iterator[np.ndarray]:
    """Clips from a video reduced to `lines` lines: every run of `frames` frames, one window each.

    Reducing hides the artefacts of the video's own compression, so that it can serve as truth.
    """
    run: list[np.ndarray] = []
    for i, rgb in enumerate(read_video(path)):
        if i < start:
            continue
        if not run:
            height, width = rgb.shape[:2]
            lines = min(lines, height)
            size = lines, round(width * lines / height)
            y, x = rng.integers([size[0] - side + 1, size[1] - side + 1])
        small = rgb if lines == height else shrink(rgb[None], size, "lanczos")[0]
        run.append(small[y : y + side, x : x + side])
        if len(run) == frames:
            yield np.stack(run)
            run = []


def scene(frames: int, side: int, rng) -> np.ndarray:
    """Drawn shapes and text over a slope of colour, as a clip: edges that photographs lack."""
    sheet = 4 * side  # drawn at twice the size and reduced, so that edges are smooth
    slope = np.linspace(rng.uniform(0, 255, 3), rng.uniform(0, 255, 3), sheet)
    image = Image.fromarray(np.broadcast_to(slope[:, None], (sheet, sheet, 3)).astype(np.uint8))
    brush = ImageDraw.Draw(image)
    for _ in range(rng.integers(10, 40)):
        _draw(brush, sheet, rng)
    still = np.asarray(image.resize((sheet // 2, sheet // 2), Image.Resampling.LANCZOS))
    move = pan if rng.random() < 0.5 else turn
    return move(still, frames, side, rng)


def _draw(brush, sheet: int, rng) -> None:
    """A filled ellipse, an outlined box, a line, or (two in five) a piece of text."""
    colour, at = tuple(rng.integers(0, 256, 3).tolist()), rng.uniform(-40, sheet, 2)
    kind, size = rng.integers(5), rng.uniform(12, 240, 2)
    box = (*at, *(at + size))
    if kind == 0:
        brush.ellipse(box, fill=colour)
    elif kind == 1:
        brush.rectangle(box, outline=colour, width=int(rng.integers(2, 12)))
    elif kind == 2:
        brush.line(box, fill=colour, width=int(rng.integers(2, 16)))
    else:
        first = int(rng.integers(len(WORDS) - 8))
        font = ImageFont.load_default(int(rng.integers(18, 80)))
        brush.text(tuple(at), WORDS[first:][:24], fill=colour, font=font)


def made_up(frames: int, side: int, rng) -> Iterator[np.ndarray]:
    """A window in each of the two shots of a film that `synthetic.scene` makes."""
    height, width, cut = side + 64, 2 * side, cut_at(2 * frames)
    seed = int(rng.integers(1, 2**31))  # 0 is the demonstration's film
    film = np.stack(list(synthetic.scene(seed, 2 * frames, height, width)))
    for shot in (film[:cut], film[cut:]):
        y, x = rng.integers([height - side + 1, width - side + 1])
        yield shot[:frames, y : y + side, x : x + side]
