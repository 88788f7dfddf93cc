"""A made-up film: two shots of moving layers, text and sound, the same for the same seed.

Surfaces are drawn once at twice the size and reduced for each of the half-pixel positions
that the motion visits, so a frame costs a few pastes. Lengths are in pixels of the frame
whatever its size: a small frame is a crop of the same world, not a shrunken one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxvsr.data import textures

WORDS = (
    "amber bridge cedar delta ember fjord grove harbour island juniper kestrel lantern meadow "
    "nectar orchard pebble quarry river signal timber umbra valley willow xenon yonder zephyr"
)
SHARPNESS = Image.Resampling.BILINEAR  # at half size: the taps 1 3 3 1, a lens's slight blur


@dataclass
class Layer:
    """A drawing at twice the size whose top left corner moves over the frame."""

    drawing: Image.Image
    start: tuple[float, float]  # (x, y) at the shot's first frame
    velocity: tuple[float, float] = (0.0, 0.0)  # pixels a frame
    sway: float = 0.0  # pixels to and fro, as wind does
    spin: float = 0.0  # degrees a frame
    reduced: dict = field(default_factory=dict)

    def paste(self, frame: Image.Image, t: int) -> None:
        """Puts the layer where it is at frame t of its shot."""
        swing = self.sway * np.sin(0.12 * t)
        place = [p + v * t + swing for p, v in zip(self.start, self.velocity, strict=True)]
        halves = [round(2 * p) for p in place]
        whole = [-(-h // 2) for h in halves]
        phase = tuple(2 * w - h for w, h in zip(whole, halves, strict=True))
        image = self._at(phase, self.spin * t)
        frame.paste(image, tuple(whole), image if image.mode == "RGBA" else None)

    def _at(self, phase: tuple[int, int], angle: float) -> Image.Image:
        if self.spin:
            turned = self.drawing.rotate(angle, Image.Resampling.BICUBIC)
            return _reduce(turned, phase)
        if phase not in self.reduced:
            self.reduced[phase] = _reduce(self.drawing, phase)
        return self.reduced[phase]


@dataclass
class Zoom:
    """A drawing at twice the size that the camera slowly nears."""

    drawing: Image.Image
    rate: float = 0.004  # of the size, a frame

    def paste(self, frame: Image.Image, t: int) -> None:
        """Fills the frame with what the camera sees at frame t of its shot."""
        scale = 2 * (1 + self.rate) ** -t
        (w, h), (width, height) = self.drawing.size, (scale * side for side in frame.size)
        left, top = (w - width) / 2, (h - height) / 2
        box = (left, top, left + width, top + height)
        frame.paste(self.drawing.resize(frame.size, SHARPNESS, box=box))


def scene(seed: int, frames: int, height: int, width: int) -> Iterator[np.ndarray]:
    """Frames uint8 [H, W, 3]: a street, then from frame `cut_at(frames)` a close view."""
    cut = cut_at(frames)
    for number, (shot, length) in enumerate(((_street, cut), (_close, frames - cut))):
        layers = shot(np.random.default_rng([seed, number]), length, height, width)
        for t in range(length):
            frame = Image.new("RGB", (width, height))
            for layer in layers:
                layer.paste(frame, t)
            yield np.asarray(frame)


def cut_at(frames: int) -> int:
    """The first frame of the second shot."""
    return -(-frames * 11 // 20)


def tone(seed: int, seconds: float, rate: int = 48_000) -> np.ndarray:
    """Stereo sound, float32 [samples, 2] in [-1, 1]: a chord that changes on every half second."""
    rng = np.random.default_rng([seed, 2])
    time = np.arange(round(seconds * rate)) / rate
    beat = (2 * time).astype(int)
    notes = 220 * 2 ** (rng.choice([0, 2, 4, 7, 9, 12], (beat.max(initial=0) + 1, 3)) / 12)
    phase = 2 * np.pi * np.cumsum(notes[beat], axis=0) / rate
    envelope = np.exp(-3 * (2 * time - beat))[:, None]
    voices = np.sin(phase) * envelope * 0.25
    return np.stack([voices[:, :2].sum(1), voices[:, 1:].sum(1)], 1).astype(np.float32)


def _street(rng, frames: int, height: int, width: int) -> list:
    """Sky, houses with a sign, a passing van, a wheel in the wind, branches close by."""
    way = rng.choice([-1, 1])
    sky = _wide(textures.sky, rng, height, width, frames, 0.5 * way)
    houses = _wide(_houses, rng, height, width, frames, 1.5 * way)
    van = Layer(
        _board(_words(rng, 2).upper(), 46, (226, 178, 52), (44, 40, 66)),
        (0.1 * width if way < 0 else 0.55 * width, 0.72 * height),
        (-2.5 * way, 0.0),
    )
    wheel = Layer(_wheel(rng), (0.12 * width, 0.12 * height), (1.5 * way, 0.0), spin=7)
    near = _wide(textures.branches, rng, height, width, frames, 3.5 * way, sway=2.0)
    caption = Layer(_board(_words(rng, 6), 22, (20, 22, 26, 150), (240, 240, 236)), (24, 20))
    return [sky, houses, wheel, van, near, caption]


def _close(rng, frames: int, height: int, width: int) -> list:
    """A surface that comes nearer, slats that pass in front, a line of running text."""
    surface = textures.SURFACES[rng.integers(len(textures.SURFACES))]
    back = Zoom(Image.fromarray(surface(rng, 2 * height, 2 * width)))
    label = Layer(
        _board(_words(rng, 3), 34, (236, 232, 220), (120, 34, 30)),
        (0.5 * width, 0.3 * height),
        (-1.0, 0.5),
    )
    slats = _wide(_slats, rng, height, width, frames, 4.0)
    running = _words(rng, (width + 3 * frames) // 60 + 4)
    band = Layer(
        _board(running, 22, (16, 24, 40), (250, 240, 200)), (0.0, height - 56.0), (-3.0, 0.0)
    )
    return [back, label, slats, band]


def _wide(draw, rng, height: int, width: int, frames: int, speed: float, sway: float = 0.0):
    """A layer drawn wide enough to fill the frame over the whole shot."""
    travel = int(abs(speed) * frames) + 2 * int(sway) + 8
    picture = draw(rng, 2 * (height + 16), 2 * (width + travel))
    x = -4.0 - sway if speed < 0 else -travel + 4.0 + sway
    return Layer(Image.fromarray(picture), (x, -8.0), (speed, 0.0), sway)


def _houses(rng, height: int, width: int) -> np.ndarray:
    """Walls of different heights with windows, uint8 [H, W, 4]: nothing above the roofs."""
    picture = np.full((height, width, 4), 255, np.uint8)
    left = 0
    while left < width:
        wide, roof = int(rng.integers(500, 900)), int(rng.uniform(0.12, 0.45) * height)
        wall = Image.fromarray(textures.masonry(rng, height, min(wide, width - left)))
        draw = ImageDraw.Draw(wall)
        for top in range(roof + 90, height - 60, 290):
            for x in range(70, wide - 150, 210):
                _window(draw, rng, x, top)
        draw.rectangle((0, roof, wide, roof + 22), (92, 84, 80))
        picture[:, left : left + wide, :3] = np.asarray(wall)
        picture[:roof, left : left + wide, 3] = 0
        left += wide
    return picture


def _window(draw, rng, x: int, y: int) -> None:
    glass = (238, 214, 140) if rng.random() < 0.3 else (58, 76, 96)
    draw.rectangle((x - 10, y - 10, x + 110, y + 170), (226, 222, 212))
    for i in range(2):
        for j in range(3):
            pane = (x + 54 * i, y + 56 * j, x + 54 * i + 46, y + 56 * j + 48)
            draw.rectangle(pane, glass)
            draw.line((pane[0], pane[3], pane[2], pane[1]), tuple(c + 16 for c in glass), 3)
    draw.rectangle((x - 22, y + 166, x + 122, y + 182), (176, 170, 160))


def _slats(rng, height: int, width: int) -> np.ndarray:
    """Boards of a fence with gaps between them, uint8 [H, W, 4]."""
    grain = textures.fractal(rng, height // 16 + 1, width, 0.6).repeat(16, axis=0)[:height]
    wood = np.array([150, 116, 84]) * (1 + 0.16 * grain[..., None])
    x = np.arange(width)
    solid = np.broadcast_to((x % 560 < 64) * 255, (height, width))
    picture = np.dstack([wood * np.where(x % 560 < 8, 1.25, 1.0)[:, None], solid])
    return np.clip(picture, 0, 255).astype(np.uint8)


def _wheel(rng) -> Image.Image:
    """A round of coloured vanes on a dark hub."""
    image = Image.new("RGBA", (320, 320))
    draw = ImageDraw.Draw(image)
    for i in range(12):
        colour = tuple(rng.integers(60, 240, 3).tolist())
        draw.pieslice((10, 10, 310, 310), 30 * i, 30 * i + 17, (*colour, 255))
    draw.ellipse((140, 140, 180, 180), (30, 28, 32, 255))
    return image


def _words(rng, count: int) -> str:
    return " ".join(rng.choice(WORDS.split(), count)) + f" {rng.integers(100, 1000)}"


def _board(text: str, size: int, ground: tuple, ink: tuple) -> Image.Image:
    """A board that fits its text; `size` is the letters' height in the frame."""
    font = ImageFont.load_default(2 * size)
    left, top, right, bottom = font.getbbox(text)
    width, height = round(right - left) + 2 * size, round(bottom - top) + size
    image = Image.new("RGBA", (width, height), ground)
    ImageDraw.Draw(image).text((size - left, size // 2 - top), text, ink, font)
    return image


def _reduce(drawing: Image.Image, phase: tuple[int, int]) -> Image.Image:
    """Half the size, beginning `phase` half pixels late."""
    (w, h), (x, y) = drawing.size, phase
    size = ((w - x) // 2, (h - y) // 2)
    return drawing.resize(size, SHARPNESS, box=(x, y, x + 2 * size[0], y + 2 * size[1]))
