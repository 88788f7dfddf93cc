"""Made-up moving scenes whose optical flow is known: what trains and tests when no data is at hand.

A scene is a stack of layers, far ones first: surfaces of `jaxvsr.data.textures` (dead leaves,
foliage, masonry, cloth), cut-out shapes, and text. A camera pans, shakes, turns and zooms over
them, near layers pass faster than far ones (parallax) and hide them, and some move by themselves.
Clips are uint8 RGB [T, H, W, 3]. Flow is forward, in pixels on the grid of the earlier frame:
`flow[t, y, x] = (dx, dy)` says that what is at (x, y) in frame t is at (x + dx, y + dy) in frame
t + 1, so that `ops.warp(clip[t + 1], flow[t])` gives clip[t] wherever `visible[t]` holds. Losses
want backward flow, on the later frame: play it in reverse, `clip[::-1]` with `flow[::-1]` and
`visible[::-1]`.

Everything is drawn from a numpy generator `rng`: the same generator state gives the same scene.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxvsr.data import textures
from jaxvsr.data.synthetic import WORDS

BANK = 24  # surfaces that are drawn once and then reused, cropped, mirrored and recoloured
SHEET = 512  # side of a surface in pixels
OPAQUE = 250  # opacity from which a pixel counts as wholly its layer's


@dataclass(frozen=True)
class Layer:
    """A drawing and where each frame looks into it.

    `drawing` is RGB or RGBA; `views` [T, 2, 3] maps frame to drawing coordinates, pixel centres
    at whole numbers: (u, v) = view @ (x, y, 1).
    """

    drawing: Image.Image
    views: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Layers from far to near, and the size of the frames."""

    layers: tuple[Layer, ...]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.layers[0].views)

    def clip(self, start: int = 0, count: int | None = None) -> np.ndarray:
        """`count` frames (None: all) from frame `start` on, uint8 [T, H, W, 3]."""
        stop = len(self) if count is None else start + count
        return np.stack([self._frame(t) for t in range(start, stop)])

    def motion(self) -> tuple[np.ndarray, np.ndarray]:
        """(flow float32 [T-1, H, W, 2], visible bool [T-1, H, W]) from each frame to the next.

        Visible is what lies inside the next frame, is not hidden there, and is not mixed with
        another layer's edge in either frame.
        """
        owners = [self._owners(t) for t in range(len(self))]
        size = (len(self) - 1, self.height, self.width)
        flow, visible = np.zeros((*size, 2), np.float32), np.zeros(size, bool)
        for t in range(size[0]):
            flow[t], visible[t] = self._pair(t, owners[t], owners[t + 1])
        return flow, visible

    def _frame(self, t: int) -> np.ndarray:
        frame = Image.new("RGB", (self.width, self.height))
        for layer in self.layers:
            image, corner = self._seen(layer.drawing, layer.views[t])
            frame.paste(image, corner, image if image.mode == "RGBA" else None)
        return np.asarray(frame)

    def _seen(self, image: Image.Image, view: np.ndarray) -> tuple[Image.Image, tuple[int, int]]:
        """(the part of a frame that the drawing reaches, its top left corner)."""
        left, top, right, bottom = self._reach(image, view)
        moved = np.column_stack([view[:, :2], view[:, 2] + view[:, :2] @ (left, top)])
        size, way = (right - left, bottom - top), Image.Transform.AFFINE
        return image.transform(size, way, _pillow(moved), Image.Resampling.BICUBIC), (left, top)

    def _reach(self, image: Image.Image, view: np.ndarray) -> tuple[int, int, int, int]:
        """A box of the frame, at least one pixel large, outside of which the drawing is not."""
        if image.mode == "RGB":
            return 0, 0, self.width, self.height
        w, h = image.size
        corners = np.array([(-1, -1), (w, -1), (-1, h), (w, h)], float)
        back = np.linalg.inv(view[:, :2])
        places = (corners - view[:, 2]) @ back.T
        ends = np.array([self.width, self.height])
        low = np.clip(np.floor(places.min(0)).astype(int), 0, ends - 1)
        high = np.clip(np.ceil(places.max(0)).astype(int) + 1, low + 1, ends)
        return (*low.tolist(), *high.tolist())

    def _owners(self, t: int) -> np.ndarray:
        """Which layer each pixel of frame t shows, int8 [H, W]; -1 where two are mixed."""
        owner = np.zeros((self.height, self.width), np.int8)
        for i, layer in enumerate(self.layers):
            if layer.drawing.mode == "RGBA":
                image, (left, top) = self._seen(layer.drawing, layer.views[t])
                alpha = np.asarray(image.getchannel("A"))
                part = owner[top : top + image.height, left : left + image.width]
                part[alpha > 0] = -1
                part[alpha >= OPAQUE] = i
        return owner

    def _pair(self, t: int, now: np.ndarray, then: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y, x = np.mgrid[: self.height, : self.width].astype(np.float64)
        there = np.stack([x, y], -1)
        for i, layer in enumerate(self.layers):
            mine = now == i
            here = np.stack([x[mine], y[mine]], -1)
            there[mine] = _apply(_between(layer.views[t], layer.views[t + 1]), here)
        flow = (there - np.stack([x, y], -1)).astype(np.float32)
        return flow, (now >= 0) & _arrives(now, then, there)


def draw(rng: np.random.Generator, frames: int = 7, height: int = 96, width: int = 96) -> Scene:
    """A random scene; lengths are pixels of the frame whatever its size."""
    camera = Camera.random(rng, frames)
    layers = [_surface_layer(rng, camera, height, width, 0.3)]
    for depth in np.sort(rng.uniform(0.5, 1.8, rng.integers(1, 5))):
        layers.append(_object_layer(rng, camera, height, width, float(depth)))
    return Scene(tuple(layers), height, width)


def over_still(
    rng, still: np.ndarray, frames: int, height: int, width: int, *, whole: bool = False
) -> Scene:
    """A random camera path over a still, uint8 [H, W, 3]; what lies outside it is mirrored.

    `whole`: it only pans, by whole pixels. Nothing is resampled: frames are as sharp as the still.
    """
    camera = Camera.random(rng, frames)
    views = camera.panned() if whole else camera.views(rng, height, width, 1.0)
    layer = _placed(rng, Image.fromarray(still), views, height, width)
    if whole:
        layer.views[..., 2] = np.round(layer.views[..., 2])
    return Scene((layer,), height, width)


@dataclass(frozen=True)
class Camera:
    """A path: per frame the shift [T, 2] in pixels, the turn [T] in radians, the zoom [T]."""

    shift: np.ndarray
    turn: np.ndarray
    zoom: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator, frames: int) -> "Camera":
        """One in eight stands still; others pan, and may accelerate, shake, turn and zoom."""
        time = np.arange(frames, dtype=float)
        if rng.random() < 0.125:
            return cls(np.zeros((frames, 2)), 0 * time, 1 + 0 * time)
        pan = rng.normal(0, 2.0, 2) + rng.normal(0, 0.08, 2) * time[:, None] / 2
        shift = pan * time[:, None]
        if rng.random() < 0.4:  # a hand shakes: steps that lean back to the middle
            hand, steps = np.zeros(2), rng.normal(0, rng.uniform(0.2, 1.5), (frames, 2))
            for t in range(frames):
                hand = 0.7 * hand + steps[t]
                shift[t] += hand
        turn = rng.normal(0, 0.006) * time if rng.random() < 0.4 else 0 * time
        rate = rng.normal(0, 0.008) if rng.random() < 0.5 else 0.0
        return cls(shift, turn, (1 + rate) ** time)

    def panned(self) -> np.ndarray:
        """Views [T, 2, 3] of a camera that neither turns nor zooms and stops at whole pixels."""
        turned = np.broadcast_to(np.eye(2), (len(self.shift), 2, 2))
        return np.concatenate([turned, np.round(self.shift)[..., None]], -1)

    def views(self, rng, height: int, width: int, depth: float) -> np.ndarray:
        """Views [T, 2, 3] about the origin; near layers (large depth) move more."""
        scale = rng.uniform(0.85, 1.2) * self.zoom**depth
        angle = rng.uniform(-0.15, 0.15) + self.turn
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        linear = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], 1)
        offset = depth * self.shift - linear @ middle
        return np.concatenate([linear, offset[..., None]], -1)


def _placed(rng, drawing: Image.Image, views, height, width) -> Layer:
    """The drawing where every view of the frame lies inside it; mirrored at its edge if need be."""
    corners = np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], float)
    reach = np.concatenate([_apply(view, corners) for view in views])
    low, span = reach.min(0) - 3, np.ptp(reach, axis=0) + 6
    room = np.array(drawing.size) - span
    if room.min() < 0:
        drawing = _mirrored(drawing, np.ceil(np.maximum(-room, 0)).astype(int))
        room = np.array(drawing.size) - span
    views[..., 2] += rng.uniform(0, 1, 2) * room - low
    return Layer(drawing, views)


def _surface_layer(rng, camera: Camera, height: int, width: int, depth: float) -> Layer:
    surface = _recoloured(rng, _surface(int(rng.integers(BANK))))
    return _placed(rng, surface, camera.views(rng, height, width, depth), height, width)


def _object_layer(rng, camera: Camera, height: int, width: int, depth: float) -> Layer:
    """A cut-out surface or a piece of text that may move by itself over a drawing of nothing."""
    views = camera.views(rng, height, width, depth)
    steps = np.arange(len(views))[:, None]
    views[..., 2] += (rng.random() < 0.7) * rng.normal(0, 1.5, 2) * steps
    drawing = _caption(rng) if rng.random() < 0.25 else _cut_out(rng, min(height, width))
    middle = np.array([[(width - 1) / 2, (height - 1) / 2]])
    aim = _apply(views[len(views) // 2], middle + rng.uniform(-0.5, 0.5, 2) * (width, height))
    views[..., 2] += np.array(drawing.size) / 2 - aim[0]
    return Layer(drawing, views)


@lru_cache(maxsize=BANK)
def _surface(number: int) -> Image.Image:
    """Surface `number` of the bank: drawn at twice the size, as those of `textures` are."""
    rng = np.random.default_rng([71, number])
    kinds = (*textures.SURFACES, textures.things, textures.sky)
    drawing = kinds[number % len(kinds)](rng, 2 * SHEET, 2 * SHEET)
    return Image.fromarray(drawing).reduce(2)


def _recoloured(rng, surface: Image.Image) -> Image.Image:
    """Mirrored, its channels exchanged now and then, lighter or darker, more or less contrast."""
    if rng.random() < 0.5:
        surface = surface.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    order = rng.permutation(3) if rng.random() < 0.25 else np.arange(3)
    bands = surface.split()
    surface = Image.merge("RGB", [bands[i] for i in order])
    codes = np.linspace(0, 1, 256)[None] ** rng.uniform(0.7, 1.4)
    gain = rng.uniform(0.75, 1.1) * rng.normal(1, 0.06, (3, 1))
    table = np.clip(255 * codes * gain + rng.uniform(0, 30), 0, 255)
    return surface.point(table.astype(np.uint8).ravel().tolist())


def _cut_out(rng, side: int) -> Image.Image:
    """A surface seen through a blob of ellipses and polygons, RGBA, smooth at its edge."""
    size = int(rng.uniform(0.25, 0.9) * side) + 12
    mask = Image.new("L", (2 * size, 2 * size))
    brush = ImageDraw.Draw(mask)
    for _ in range(rng.integers(1, 4)):
        at, reach = rng.uniform(0.3, 0.7, 2) * 2 * size, rng.uniform(0.3, 0.6, 2) * size
        if rng.random() < 0.5:
            brush.ellipse((*(at - reach), *(at + reach)), 255)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
            rim = at + np.stack([np.cos(angles), np.sin(angles)], -1) * reach
            brush.polygon([tuple(p) for p in rim], 255)
    corner = rng.integers(0, max(1, SHEET - size), 2).tolist()
    sheet = _surface(int(rng.integers(BANK)))
    patch = sheet.crop((*corner, corner[0] + size, corner[1] + size)).resize((size, size))
    drawing = _recoloured(rng, patch)
    drawing.putalpha(mask.reduce(2))
    return drawing


def _caption(rng) -> Image.Image:
    """A few words in one colour, with or without a board behind them."""
    words = " ".join(rng.choice(WORDS.split(), rng.integers(1, 4)))
    size, ink = int(rng.integers(10, 40)), tuple(rng.integers(0, 256, 3).tolist())
    font = ImageFont.load_default(size)
    left, top, right, bottom = (round(v) for v in font.getbbox(words))
    ground = (*rng.integers(0, 256, 3).tolist(), 255 * int(rng.random() < 0.5))
    image = Image.new("RGBA", (right - left + size, bottom - top + size), (*ink, 0))
    if ground[3]:
        image.paste(ground, (2, 2, image.width - 2, image.height - 2))
    ImageDraw.Draw(image).text((size // 2 - left, size // 2 - top), words, (*ink, 255), font)
    return image


def _mirrored(drawing: Image.Image, more: np.ndarray) -> Image.Image:
    """The drawing (RGB) with `more` (x, y) pixels of its mirror image at the right and bottom."""
    pixels = np.pad(np.asarray(drawing), ((0, more[1]), (0, more[0]), (0, 0)), "symmetric")
    return Image.fromarray(pixels)


def _pillow(view: np.ndarray) -> tuple[float, ...]:
    """A view as Pillow counts: there, pixel centres lie at halves."""
    offset = view[:, 2] + 0.5 - view[:, :2] @ (0.5, 0.5)
    return (*view[0, :2], offset[0], *view[1, :2], offset[1])


def _apply(view: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] (x, y) after a view [2, 3]."""
    return points @ view[:, :2].T + view[:, 2]


def _between(now: np.ndarray, then: np.ndarray) -> np.ndarray:
    """The view [2, 3] that maps a place in one frame to the same place in the other frame."""
    back = np.linalg.inv(then[:, :2])
    return np.column_stack([back @ now[:, :2], back @ (now[:, 2] - then[:, 2])])


def _arrives(now: np.ndarray, then: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Whether all four pixels of the next frame around each place show the same layer."""
    height, width = now.shape
    corner = np.floor(there).astype(int)
    x, y = corner[..., 0], corner[..., 1]
    inside = (there >= 0).all(-1) & (there[..., 0] <= width - 1) & (there[..., 1] <= height - 1)
    for dy in (0, 1):
        for dx in (0, 1):
            at = np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)
            inside &= then[at] == now
    return inside
