"""Anything to something better: frames, a picture, a video, or a folder of either."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from jaxvsr import ops, weights
from jaxvsr.errors import InputError, OutputError
from jaxvsr.host import folders
from jaxvsr.host.files import whole
from jaxvsr.host.options import chosen
from jaxvsr.host.places import check_place
from jaxvsr.inference.film import enhance_film, find_device
from jaxvsr.inference.network import Network
from jaxvsr.inference.plan import mark, result_size
from jaxvsr.inference.preview import side_by_side
from jaxvsr.inference.settings import DEFAULT_MODEL, Result, Settings
from jaxvsr.video import colour, mux
from jaxvsr.video.images import SUFFIXES as PICTURES
from jaxvsr.video.images import read_image, read_tags, write_image
from jaxvsr.video.reader import VideoReader


def enhance(source, output=None, *, model: str | Path = DEFAULT_MODEL, arch: str = "", **settings):
    """Enhances frames or a file with the network `model` (a name, a path or a URL).

    `arch` says what a checkpoint does not tell of itself, see `weights.archs`.

    Frames [N, H, W, 3], numpy or JAX, uint8 or float in [0, 1], give frames of the same kind.
    A path to a video, a picture or a folder is enhanced into `output` (beside it by default) and
    gives a `Result`, or a list of them for a folder. `settings` are the fields of `Settings`.
    Raises a `JaxvsrError` that says in one line what is wrong and what to do.
    """
    asked = chosen(Settings, settings)
    if isinstance(source, str | Path):
        check_source(Path(source))
        output = Path(output) if output else None
        net = weights.load(str(model), arch=arch)
        made = enhance_path(net, Path(source), output, asked)
        return [_noted(r, net) for r in made] if isinstance(made, list) else _noted(made, net)
    return _run(weights.load(str(model), arch=arch), source, asked)


def _noted(result: Result, net) -> Result:
    """The result with what was assumed of the network before its notices."""
    return replace(result, notices=(*net.notes, *result.notices))


def check_source(source: Path) -> None:
    """Refuses what is not there, before anything else is loaded."""
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; check the path")


def enhance_path(net, source: Path, output: Path | None, settings: Settings, show: str = "none"):
    """Enhances one file, or every file of a folder; see `enhance`."""
    if source.is_dir():
        return enhance_folder(net, source, output, settings, show)
    if source.suffix.lower() in PICTURES:
        return enhance_picture(net, source, output, settings)
    return enhance_film(net, source, output, settings, show)


def enhance_folder(
    net,
    source: Path,
    output: Path | None,
    settings: Settings,
    show: str = "none",
    failed: folders.Failed | None = None,
) -> list[Result]:
    """Enhances every video and picture of a folder into another; see `folders.every`."""
    output = output or source.with_name(f"{source.name}_{mark(net, settings)}")
    work = lambda path, target: enhance_path(net, path, target, settings, show)
    return folders.every(source, output, _suffix, work, overwrite=settings.overwrite, failed=failed)


def _suffix(path: Path) -> str:
    """The file's own suffix, or another where its own cannot be written."""
    if path.suffix.lower() in PICTURES:
        return path.suffix.lower()
    with VideoReader(path) as reader:
        return mux.default_suffix(reader.info)


def enhance_picture(net, source: Path, output: Path | None, settings: Settings) -> Result:
    """Enhances one picture; transparency and 16-bit depth are kept."""
    rgb, alpha = read_image(source)
    output = output or source.with_name(f"{source.stem}_{mark(net, settings)}{source.suffix}")
    if output.suffix.lower() not in PICTURES:
        kinds = ", ".join(sorted(PICTURES))
        raise OutputError(f"{output}: not a picture; its name must end in one of {kinds}")
    check_place(source, output, overwrite=settings.overwrite)
    better = _as_kind(_run(net, _unit(rgb)[None], settings)[0], rgb.dtype)
    if alpha is not None:
        size = better.shape[:2]
        grown = ops.resize(_unit(alpha)[None, ..., None], size, method="lanczos", antialias=True)
        alpha = _as_kind(np.asarray(grown)[0, ..., 0], alpha.dtype)
    with whole(output) as draft:
        write_image(draft, better, alpha, read_tags(source))
    return Result(output, 1, 0, 0.0)


def enhance_preview(net, source: Path, output: Path | None, settings: Settings) -> Result:
    """Writes one PNG: a frame enlarged by bicubic beside the enhanced one, and a zoom."""
    output = output or source.with_name(f"{source.stem}_preview.png")
    check_place(source, output, overwrite=settings.overwrite)
    frame = _one_frame(source, settings)[None]
    better = _run(net, frame, settings)
    plain = np.asarray(ops.resize(frame, better.shape[1:3], method="bicubic", antialias=True))
    columns = {"bicubic": plain[0], net.name: better[0]}
    as_bytes = {label: _as_kind(picture, np.uint8) for label, picture in columns.items()}
    write_image(output, side_by_side(as_bytes))
    return Result(output, 1, 0, 0.0)


def _one_frame(source: Path, settings: Settings) -> np.ndarray:
    """The frame at `start` (by default a third into a video), RGB [H, W, 3] float."""
    if source.suffix.lower() in PICTURES:
        return _unit(read_image(source)[0])
    start = settings.start
    if start is None:
        with VideoReader(source, stream=settings.stream) as reader:
            start = (reader.info.duration or 0) / 3
    how = {"interlaced": settings.interlaced, "stream": settings.stream}
    with VideoReader(source, start=start, **how) as reader:
        for frame in reader:
            rgb = colour.to_rgb(tuple(p[None] for p in frame.planes), reader.info.colour)
            return np.clip(rgb[0], 0, 1)
    raise InputError(f"{source}: no frame at {start:g} s; choose an earlier --start")


def _run(net, frames, settings: Settings):
    """Frames [N, H, W, 3] through the network, on the device and to the size that are asked for."""
    size = result_size(*frames.shape[1:3], net.spec.scale, settings)
    device = find_device(settings)
    how = {"dtype": settings.dtype, "tile": settings.tile, "impl": settings.impl}
    if device is not None and device.platform != "gpu":
        how["impl"] = "xla"
    with jax.default_device(device):
        return Network(net, size=size, **how)(frames)


def _unit(picture: np.ndarray) -> np.ndarray:
    """Integers to float32 in [0, 1]."""
    return picture.astype(np.float32) / np.iinfo(picture.dtype).max


def _as_kind(picture: np.ndarray, dtype) -> np.ndarray:
    """Floats in [0, 1] to integers of a kind."""
    return np.round(np.clip(picture, 0, 1) * np.iinfo(dtype).max).astype(dtype)
