"""Pictures on disk: upright, 8 or 16 bits, with transparency and colour profile."""

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxvsr.errors import InputError, OutputError

LOSSY = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"lossless": True}}
LOSSY[".jpeg"] = LOSSY[".jpg"]
OPAQUE = {".jpg", ".jpeg", ".bmp"}  # formats without transparency
PNG_DEPTH = 24  # place of the bit depth in a PNG file
TURNS = {  # EXIF orientation: what makes the stored [H, W, C] upright
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: np.rot90,
}


@dataclass(frozen=True)
class Picture:
    """`rgb` [H, W, 3] and `alpha` [H, W] or None, uint8 or uint16; `tags` as Pillow writes them."""

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    tags: dict = field(default_factory=dict)


def read_image(path: Path) -> Picture:
    """Reads a picture, turned upright as its EXIF tag asks. Raises InputError."""
    try:
        with Image.open(path) as file:
            file.load()
            deep, upright = _deep(path, file), ImageOps.exif_transpose(file)
            tags = {k: file.info[k] for k in ("icc_profile", "dpi") if k in file.info}
            exif = upright.getexif()
            exif.pop(ExifTags.Base.Orientation, None)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable picture ({error}); check the file") from error
    if len(exif):
        tags["exif"] = exif.tobytes()
    if deep is not None:
        return Picture(*deep, tags)
    if upright.mode.startswith("I;16"):
        grey = np.asarray(upright).astype(np.uint16)
        return Picture(np.stack([grey] * 3, axis=-1), None, tags)
    if upright.has_transparency_data:
        rgba = np.asarray(upright.convert("RGBA"))
        return Picture(rgba[..., :3], rgba[..., 3], tags)
    return Picture(np.asarray(upright.convert("RGB")), None, tags)


def write_image(path: Path, rgb: np.ndarray, alpha: np.ndarray | None = None, tags=None) -> None:
    """Writes [H, W, 3] with transparency [H, W]; 16 bits as PNG or TIFF, else reduced to 8.

    Raises OutputError for transparency that the format cannot hold, OSError of the system.
    """
    kind = path.suffix.lower()
    if alpha is not None and kind in OPAQUE and (alpha == np.iinfo(alpha.dtype).max).all():
        alpha = None
    if alpha is not None and kind in OPAQUE:
        raise OutputError(f"{path}: {kind} cannot hold transparency; write a .png or .webp")
    if rgb.dtype == np.uint16 and kind == ".png":
        _write_deep(path, rgb, alpha)
        return
    layers = rgb if alpha is None else np.concatenate([rgb, alpha[..., None]], axis=-1)
    if layers.dtype == np.uint16:
        layers = np.round(layers / 257).astype(np.uint8)
    Image.fromarray(np.ascontiguousarray(layers)).save(path, **LOSSY.get(kind, {}), **(tags or {}))


def _deep(path: Path, file: Image.Image):
    """(rgb, alpha) uint16 of a PNG with 16 bits a channel, which Pillow would cut to 8."""
    if file.format != "PNG" or path.read_bytes()[PNG_DEPTH] != 16:
        return None
    with av.open(str(path)) as source:
        frame = next(source.decode(video=0))
    turn = TURNS.get(file.getexif().get(ExifTags.Base.Orientation), lambda x: x)
    rgba = turn(frame.reformat(format="rgba64le").to_ndarray())
    return rgba[..., :3], rgba[..., 3] if file.has_transparency_data else None


def _write_deep(path: Path, rgb: np.ndarray, alpha: np.ndarray | None) -> None:
    form = "rgb48le" if alpha is None else "rgba64le"
    layers = rgb if alpha is None else np.concatenate([rgb, alpha[..., None]], axis=-1)
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as out:
        stream = out.add_stream("png", rate=1)
        stream.height, stream.width = rgb.shape[:2]
        stream.pix_fmt = form.replace("le", "be")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(layers), format=form)
        out.mux([*stream.encode(frame), *stream.encode(None)])
