"""Pictures of surfaces from random numbers: uint8 [H, W, 3], drawn at twice the final size.

Their spectra fall off as those of photographs do (noise of 1/f, objects whose sizes follow a
power law), so that a network trained on photographs meets what it knows. Lengths are in
pixels of the drawing.
"""

import numpy as np
from PIL import Image, ImageDraw

FOLIAGE = ((52, 84, 28), (96, 130, 40), (140, 160, 62), (70, 104, 52), (176, 150, 58))
GRASS = ((84, 112, 44), (128, 148, 66), (62, 88, 36), (168, 168, 92))
BRICK = ((150, 78, 58), (168, 92, 66), (128, 66, 54), (182, 112, 84))
STONE = ((148, 142, 132), (172, 166, 154), (126, 122, 116), (186, 176, 160))
MORTAR = (190, 184, 172)


def fractal(rng: np.random.Generator, height: int, width: int, slope: float = 1.0):
    """Noise whose amplitude falls as frequency**-slope, float32 [H, W], mean 0, deviation 1."""
    h, w = (-(-length // 64) * 64 for length in (height, width))
    spectrum = np.fft.rfft2(rng.standard_normal((h, w), np.float32))
    radius = np.hypot(np.fft.fftfreq(h)[:, None] * h, np.fft.rfftfreq(w) * w)
    radius[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum * (radius**-slope).astype(np.float32), (h, w))
    noise = noise[:height, :width].astype(np.float32)
    return (noise - noise.mean()) / (noise.std() + 1e-6)


def sky(rng: np.random.Generator, height: int, width: int):
    """A gradient with clouds."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    blue = np.array([86, 132, 188]) * (1 - down) + np.array([188, 204, 214]) * down
    cover = np.clip(0.25 + 0.45 * fractal(rng, height, width, 1.7), 0, 1)[..., None]
    light = 232 + 12 * fractal(rng, height, width, 1.4)[..., None]
    return _bytes(blue * (1 - cover) + light * cover)


def masonry(rng: np.random.Generator, height: int, width: int):
    """Courses of bricks or stones, each with its own tone, a lit upper and a shaded lower edge."""
    colours, tall = (BRICK, int(rng.integers(22, 34))) if rng.random() < 0.6 else (STONE, 52)
    wide, joint = int(tall * rng.uniform(2.0, 2.6)), max(3, tall // 9)
    y = np.arange(height)[:, None] + 0 * np.arange(width)
    row = y // tall
    x = np.arange(width) + (row % 2) * (wide // 2)
    column = x // wide
    tones = rng.choice(np.array(colours), (row.max() + 1, column.max() + 1))
    tones = tones * rng.normal(1, 0.09, tones.shape[:2])[..., None]
    picture = tones[row, column].astype(np.float32)
    depth = np.minimum(y % tall, x % wide)
    picture[depth < joint] = MORTAR
    picture *= np.where((y % tall == joint) | (y % tall == joint + 1), 1.18, 1.0)[..., None]
    picture *= np.where(y % tall >= tall - 2, 0.8, 1.0)[..., None]
    return _bytes(_rough(rng, picture, 0.07))


def leaves(rng: np.random.Generator, height: int, width: int, *, slender: bool = False):
    """Leaves, or blades of grass, in layers: deep ones dark, near ones light, each with a rib."""
    sizes = _leaf_sizes(rng, slender)
    enough = np.searchsorted(np.cumsum(sizes**2 * _aspect(slender)), 3.2 * height * width) + 1
    tips = rng.uniform((-40, -40), (width + 40, height + 40), (len(sizes[:enough]), 2))
    image = Image.new("RGB", (width, height), (24, 34, 16))
    _draw_leaves(rng, ImageDraw.Draw(image), tips, sizes[:enough], slender)
    return _bytes(_rough(rng, np.asarray(image, np.float32), 0.05))


def branches(rng: np.random.Generator, height: int, width: int):
    """Clusters of leaves with nothing between them, uint8 [H, W, 4]: colour and opacity."""
    image = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(image)
    for _ in range(max(2, width // 520)):
        root = rng.uniform((0, -0.1 * height), (width, 0.2 * height))
        heading = rng.normal(1.57, 0.7)
        end = root + np.array([np.cos(heading), np.sin(heading)]) * rng.uniform(0.3, 0.75) * height
        draw.line([tuple(root), tuple(end)], (62, 48, 36, 255), 9)
        count = int(np.hypot(*(end - root)) / 2.2)
        tips = root + rng.random((count, 1)) ** 0.7 * (end - root) + rng.normal(0, 46, (count, 2))
        _draw_leaves(rng, draw, tips, 1.7 * _leaf_sizes(rng, False)[:count], False)
    picture = np.array(image)
    picture[..., :3] = _bytes(_rough(rng, picture[..., :3].astype(np.float32), 0.05))
    return picture


def _aspect(slender: bool) -> float:
    return 0.07 if slender else 0.36


def _leaf_sizes(rng, slender: bool):
    return np.clip(14 * rng.pareto(2.2, 60_000) + 12, 12, 150) * (2.0 if slender else 1.0)


def _draw_leaves(rng, draw, tips, sizes, slender: bool) -> None:
    count, palette = len(sizes), np.array(GRASS if slender else FOLIAGE)
    angle = rng.normal(-1.5, 0.25, count) if slender else rng.uniform(0, 2 * np.pi, count)
    along = np.stack([np.cos(angle), np.sin(angle)], 1) * sizes[:, None]
    across = along[:, ::-1] * (-1, 1) * _aspect(slender) / 2
    side = [(0.0, 0.0), (0.25, 0.85), (0.5, 1.0), (0.75, 0.7), (1.0, 0.0)]
    side += [(a, -b) for a, b in side[3:0:-1]]
    outlines = np.stack([tips + a * along + b * across for a, b in side], 1)
    light = (0.45 + 0.6 * np.arange(count) / count) * rng.normal(1, 0.12, count)
    colours = palette[rng.integers(len(palette), size=count)] * light[:, None]
    fills, ribs = (_bytes(colours * gain).tolist() for gain in (1, 1.3))
    for outline, fill, rib in zip(outlines.tolist(), fills, ribs, strict=True):
        points = [tuple(point) for point in outline]
        draw.polygon(points, (*fill, 255))
        draw.line([points[0], points[4]], (*rib, 255), 1)


def things(rng: np.random.Generator, height: int, width: int):
    """Dead leaves (Lee, Mumford and Huang 2001): discs and boxes of all sizes hide each other.

    Each carries a grating or a slow gradient of its own.
    """
    count = int(np.clip(height * width / 500, 60, 12_000))
    owner = Image.new("I", (width, height))
    draw = ImageDraw.Draw(owner)
    radii = np.clip(9 * (rng.pareto(1.6, count) + 1), 9, 190)
    for i, r in enumerate(radii):
        x, y = rng.uniform((0, 0), (width, height))
        flat = rng.uniform(0.5, 1)
        shape = draw.ellipse if rng.random() < 0.6 else draw.rectangle
        shape((x - r, y - r * flat, x + r, y + r * flat), i)
    mine = np.asarray(owner)
    hue = rng.uniform(0, 2 * np.pi, count)[:, None] + np.array([0, 2.1, 4.2])
    grey = rng.beta(1.6, 1.8, (count, 1)) * 200 + 25
    colour = (grey * (1 + 0.28 * np.cos(hue) * rng.random((count, 1)))).astype(np.float32)
    period = np.exp(rng.uniform(np.log(5), np.log(120), count))
    angle = rng.uniform(0, np.pi, count)
    fx, fy = (2 * np.pi / period * f(angle) for f in (np.cos, np.sin))
    swing = rng.uniform(0, 0.3, count).astype(np.float32)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    wave = np.sin(fx.astype(np.float32)[mine] * x + fy.astype(np.float32)[mine] * y)
    return _bytes(_rough(rng, colour[mine] * (1 + swing[mine] * wave)[..., None], 0.05))


def cloth(rng: np.random.Generator, height: int, width: int):
    """A plaid weave: coloured bands both ways under a fine thread."""
    bands = []
    for length in (height, width):
        edges = np.cumsum(rng.integers(8, 60, length // 8 + 1))
        tones = rng.uniform(50, 210, (len(edges) + 1, 3))
        bands.append(tones[np.searchsorted(edges, np.arange(length), side="right")])
    y, x = np.arange(height)[:, None], np.arange(width)
    over = (((x + y) // 3) % 2)[..., None]
    picture = np.where(over, bands[0][:, None], bands[1][None]).astype(np.float32)
    return _bytes(_rough(rng, picture * 0.7 + 40, 0.05))


SURFACES = (masonry, leaves, things, cloth)


def _rough(rng, picture, amount: float):
    """Fine grain and uneven light on a surface."""
    height, width = picture.shape[:2]
    grain = fractal(rng, height, width, 0.7) + 1.2 * fractal(rng, height, width, 1.6)
    return picture * (1 + amount * grain)[..., None]


def _bytes(picture):
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
