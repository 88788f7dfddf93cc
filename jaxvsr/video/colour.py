"""YUV <-> RGB by one definition, from the tags alone, for numpy and JAX arrays alike.

swscale's default conversion is off by about a code value and differs from what browsers do, so
training, metrics and enhancement all come here. The matrices are those of ITU-R BT.601, BT.709 and
BT.2020 (non-constant luminance). The chroma filters are the low-pass halves of biorthogonal
wavelets: `from_rgb(to_rgb(planes)) == planes` holds exactly, whatever the planes.
"""

from dataclasses import dataclass

MATRICES = {  # name: (weight of red, weight of blue) in luma
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
# Where a chroma sample lies in its group of luma samples, (vertically, horizontally). FFmpeg has
# no name for the ones that end in "right": they come from turning a picture upside down.
SITINGS = {
    "left": ("mid", "first"),
    "center": ("mid", "mid"),
    "topleft": ("first", "first"),
    "top": ("first", "mid"),
    "bottomleft": ("last", "first"),
    "bottom": ("last", "mid"),
    "right": ("mid", "last"),
    "topright": ("first", "last"),
    "bottomright": ("last", "last"),
}
TALL = 720  # lines from which untagged video is taken for BT.709
UNSPECIFIED = 2  # FFmpeg's code for a tag that is absent


def untagged(height: int) -> str:
    """The matrix of video of so many lines that does not name one."""
    return "bt601" if height < TALL else "bt709"


@dataclass(frozen=True)
class Colour:
    """What the numbers in a frame's planes mean.

    `primaries`, `transfer` and `matrix_code` are FFmpeg's codes and are carried, not interpreted;
    `subsampling` is (vertical, horizontal). `matrix` is a key of MATRICES, "rgb" or "gray".
    """

    matrix: str = "bt709"
    full_range: bool = False
    siting: str = "left"
    bits: int = 8
    subsampling: tuple[int, int] = (2, 2)
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix_code: int = UNSPECIFIED

    @property
    def peak(self) -> int:
        """The largest code."""
        return 2**self.bits - 1

    @property
    def luma(self) -> tuple[float, float]:
        """(code of black, codes from black to white)."""
        unit = 2 ** (self.bits - 8)
        return (0.0, float(self.peak)) if self.full_range else (16.0 * unit, 219.0 * unit)

    @property
    def chroma(self) -> tuple[float, float]:
        """(code of no colour, codes from -0.5 to 0.5)."""
        middle = float(2 ** (self.bits - 1))
        return middle, float(self.peak) if self.full_range else 224.0 * 2 ** (self.bits - 8)


def to_rgb(planes, colour: Colour):
    """Planes (y, u, v), (r, g, b) or (y,) of codes to float32 R'G'B' [..., H, W, 3], 0 to 1.

    Codes outside the nominal range and colours outside the gamut give values outside [0, 1];
    clipping is left to the caller because it would lose them.
    """
    xp = planes[0].__array_namespace__()
    return xp.stack(to_channels(planes, colour), axis=-1)


def to_channels(planes, colour: Colour) -> tuple:
    """The same as three planes r, g, b, float32 [..., H, W], which is less work to make."""
    xp = planes[0].__array_namespace__()
    black, span = colour.luma
    planes = [plane.astype(xp.float32) for plane in planes]
    if colour.matrix in ("rgb", "gray"):
        planes = [(plane - black) * (1 / span) for plane in planes]
        return tuple(planes if len(planes) == 3 else planes * 3)
    red, blue = MATRICES[colour.matrix]
    green = 1 - red - blue
    y = (planes[0] - black) * (1 / span)
    middle, spread = colour.chroma
    u, v = (_up((plane - middle) * (1 / spread), y.shape, colour, xp) for plane in planes[1:])
    r, b = y + (2 - 2 * red) * v, y + (2 - 2 * blue) * u
    g = y - (2 * blue * (1 - blue) / green) * u - (2 * red * (1 - red) / green) * v
    return r, g, b


def to_luma(planes, colour: Colour, matrix: str = "bt601"):
    """Planes to the luma of `matrix` as float32 [..., H, W], 0 to 1, not clipped.

    Of a picture in that matrix it is its own first plane; of one in another matrix a little
    chroma comes to it. The same as `to_rgb` and a weighted sum, for much less work.
    """
    xp = planes[0].__array_namespace__()
    red, blue = MATRICES[matrix]
    if colour.matrix not in MATRICES:
        weights = xp.asarray([red, 1 - red - blue, blue], dtype=xp.float32)
        return (to_rgb(planes, colour) * weights).sum(-1)
    black, span = colour.luma
    y = (planes[0].astype(xp.float32) - black) * (1 / span)
    if colour.matrix == matrix:
        return y
    r, b = MATRICES[colour.matrix]
    middle, spread = colour.chroma
    gain = (1 - red - blue) / (1 - r - b)
    from_u = (2 - 2 * b) * (blue - gain * b) / spread
    from_v = (2 - 2 * r) * (red - gain * r) / spread
    chroma = planes[1].astype(xp.float32) * from_u + planes[2].astype(xp.float32) * from_v
    return y + _up(chroma - (from_u + from_v) * middle, y.shape, colour, xp)


def from_rgb(rgb, colour: Colour):
    """R'G'B' [..., H, W, 3], 0 to 1, to planes as `to_rgb` takes them.

    Rounded to the nearest code, clipped to the codes there are; uint16 above 8 bits, else uint8.
    """
    xp = rgb.__array_namespace__()
    black, span = colour.luma
    r, g, b = (rgb[..., i].astype(xp.float32) for i in range(3))
    if colour.matrix == "rgb":
        return tuple(_codes(plane * span + black, colour, xp) for plane in (r, g, b))
    red, blue = MATRICES["bt601" if colour.matrix == "gray" else colour.matrix]
    y = red * r + (1 - red - blue) * g + blue * b
    luma = _codes(y * span + black, colour, xp)
    if colour.matrix == "gray":
        return (luma,)
    middle, spread = colour.chroma
    u = _down(b - y, colour, xp) * (spread / (2 - 2 * blue)) + middle
    v = _down(r - y, colour, xp) * (spread / (2 - 2 * red)) + middle
    return luma, _codes(u, colour, xp), _codes(v, colour, xp)


def _codes(plane, colour: Colour, xp):
    kind = xp.uint8 if colour.bits <= 8 else xp.uint16
    return xp.clip(xp.round(plane), 0, colour.peak).astype(kind)


def _up(plane, shape, colour: Colour, xp):
    """Chroma to the size of luma, rows first because they are shorter then."""
    sites = SITINGS[colour.siting]
    for axis in (-2, -1):
        if colour.subsampling[axis] == 2:
            plane = _up_axis(plane, axis, shape[axis], sites[axis], xp)
    return plane


def _down(plane, colour: Colour, xp):
    """Luma-sized chroma to its own size, columns first because rows are shorter then."""
    sites = SITINGS[colour.siting]
    for axis in (-1, -2):
        if colour.subsampling[axis] == 2:
            plane = _down_axis(plane, axis, sites[axis], xp)
    return plane


def _up_axis(c, axis: int, size: int, site: str, xp):
    """Doubles an axis: linear where samples coincide, else a slope through the mean."""
    if site == "last":
        return xp.flip(_up_axis(xp.flip(c, axis), axis, size, "first", xp), axis)
    after = _shift(c, axis, 1, xp)
    if site == "first":
        even, odd = c, (c + after) * 0.5
    else:
        slope = (after - _shift(c, axis, -1, xp)) * 0.125
        if size % 2:  # the last sample has one luma sample to itself
            slope = xp.concat(
                [_cut(slope, axis, 0, -1), _cut(slope, axis, -1, None) * 0], axis=axis
            )
        even, odd = c - slope, c + slope
    # The new axis comes right after `axis`, so that merging the two interleaves even and odd.
    pairs = xp.stack([even, odd], axis=c.ndim + axis + 1)
    shape = list(c.shape)
    shape[axis] *= 2
    return _cut(pairs.reshape(shape), axis, 0, size)


def _down_axis(x, axis: int, site: str, xp):
    """Halves an axis: the 5/3 low pass where samples coincide, the mean of pairs where they do not.

    Le Gall and Tabatabai 1988 for the former; the edge is repeated, which keeps both exact.
    """
    if site == "last":
        return xp.flip(_down_axis(xp.flip(x, axis), axis, "first", xp), axis)
    if x.shape[axis] % 2:
        x = xp.concat([x, _cut(x, axis, -1, None)], axis=axis)
    even, odd = _cut(x, axis, 0, None, 2), _cut(x, axis, 1, None, 2)
    if site == "mid":
        return (even + odd) * 0.5
    first, last = _cut(even, axis, 0, 1), _cut(odd, axis, -1, None)
    evens = xp.concat([first, even, last], axis=axis)
    odds = xp.concat([first, odd], axis=axis)
    near = _cut(odds, axis, 0, -1) + _cut(odds, axis, 1, None)
    far = _cut(evens, axis, 0, -2) + _cut(evens, axis, 2, None)
    return even * 0.75 + near * 0.25 - far * 0.125


def _shift(c, axis: int, step: int, xp):
    """Neighbours one step on (or back), the edge repeated."""
    if step > 0:
        return xp.concat([_cut(c, axis, 1, None), _cut(c, axis, -1, None)], axis=axis)
    return xp.concat([_cut(c, axis, 0, 1), _cut(c, axis, 0, -1)], axis=axis)


def _cut(x, axis: int, start, stop, step: int = 1):
    """A slice along -1 or -2."""
    part = slice(start, stop, step)
    return x[..., part] if axis == -1 else x[..., part, :]
