"""Anything to something better: frames, a picture, a video, or a folder of either."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from jaxvsr import ops, weights
from jaxvsr.errors import InputError, OutputError
from jaxvsr.host import folders
from jaxvsr.host.files import whole
from jaxvsr.host.options import chosen
from jaxvsr.host.pipes import as_file, check_beside, is_stream
from jaxvsr.host.places import check_place, check_replaced
from jaxvsr.host.progress import Progress
from jaxvsr.inference.film import enhance_film, find_device
from jaxvsr.inference.network import Network
from jaxvsr.inference.plan import mark, result_size
from jaxvsr.inference.preview import side_by_side
from jaxvsr.inference.settings import DEFAULT_MODEL, Result, Settings
from jaxvsr.video import colour, mux, names
from jaxvsr.video.images import SUFFIXES as PICTURES
from jaxvsr.video.images import read_image, read_tags, write_image
from jaxvsr.video.reader import VideoReader


def enhance(source, output=None, *, model: str | Path = DEFAULT_MODEL, arch: str = "", **settings):
    """Enhances frames or a file with the network `model` (a name, a path or a URL).

    `arch` says what a checkpoint does not tell of itself, see `weights.archs`.

    Frames [N, H, W, 3], numpy or JAX, uint8 or float in [0, 1], give frames of the same kind.
    A path to a video, a picture or a folder, or a pattern such as "films/*.mp4", is enhanced into
    `output` (beside it by default) and gives a `Result`, or a list of them for a folder, a pattern
    or a list of paths. `settings` are the fields of `Settings`.
    Raises a `JaxvsrError` that says in one line what is wrong and what to do.
    """
    asked = chosen(Settings, settings)
    many = isinstance(source, list | tuple)
    if many or isinstance(source, str | Path):
        output = Path(output) if output else None
        found = folders.gather([Path(path) for path in source] if many else [Path(source)], output)
        net = weights.load(str(model), arch=arch)
        if found.single:
            return _noted(enhance_path(net, found.files[0][0], output, asked), net)
        return [_noted(made, net) for made in enhance_found(net, found, output, asked)]
    return _run(weights.load(str(model), arch=arch), source, asked)


def _noted(result: Result, net) -> Result:
    """The result with what was assumed of the network before its notices."""
    return replace(result, notices=(*net.notes, *result.notices))


def enhance_path(net, source: Path, output: Path | None, settings: Settings, show: str = "none"):
    """Enhances one file, or every file of a folder; see `enhance`. A pipe is copied first."""
    if source.is_dir():
        return enhance_found(net, folders.gather([source], output), output, settings, show)
    said = Progress(str(source), None, 0.0, show=show)
    if output is not None and is_stream(source):
        check_replaced(output, overwrite=settings.overwrite)
    with as_file(source, output, said.notice) as path:
        if output is None and path != source:
            output = _beside(net, source, path, settings)
        name = str(source)
        if path.suffix.lower() in PICTURES:
            result = enhance_picture(net, path, output, settings, show, name)
        else:
            result = enhance_film(net, path, output, settings, show, name)
    return replace(result, notices=(*said.notices, *result.notices))


def _beside(net, source: Path, path: Path, settings: Settings) -> Path:
    """Beside the pipe `source` whose copy is `path`."""
    check_beside(source)
    return names.beside(source, "", source.stem, f"_{mark(net, settings)}{_suffix(path)}")


def enhance_found(
    net,
    found: folders.Found,
    output: Path | None,
    settings: Settings,
    show: str = "none",
    failed: folders.Failed | None = None,
    suffix: str | None = None,
) -> list[Result]:
    """Enhances the files that `folders.gather` found into a folder; see `folders.every`.

    Those of a single folder go to one beside it where `output` is None, others beside themselves.
    `suffix` is the format of the films, where it is not their own.
    """
    if output is None and found.folder is not None:
        output = found.folder.with_name(f"{found.folder.name}_{mark(net, settings)}")
    work = lambda path, target: enhance_path(net, path, target, settings, show)
    ending = lambda path: _suffix(path, suffix)
    return folders.every(found, output, ending, work, overwrite=settings.overwrite, failed=failed)


def _suffix(path: Path, wanted: str | None = None) -> str:
    """The file's own suffix, or another where its own cannot be written."""
    if path.suffix.lower() in PICTURES:
        return path.suffix.lower()
    if wanted is not None:
        return wanted
    with VideoReader(path) as reader:
        return mux.default_suffix(reader.info)


def enhance_picture(
    net, source: Path, output: Path | None, settings: Settings, show="none", name: str = ""
) -> Result:
    """Enhances one picture, called `name`; transparency and 16-bit depth are kept."""
    rgb, alpha = read_image(source)
    done = f"_{mark(net, settings)}{source.suffix}"
    output = output or names.beside(source, "", source.stem, done)
    if output.suffix.lower() not in PICTURES:
        kinds = ", ".join(sorted(PICTURES))
        raise OutputError(f"{output}: not a picture; its name must end in one of {kinds}")
    check_place(source, output, overwrite=settings.overwrite)
    said = Progress(name or str(source), 1, 0.0, show=show)
    better = _run(net, rgb[None], settings, said.notice)[0]
    if alpha is not None:
        size = better.shape[:2]
        grown = ops.resize(_unit(alpha)[None, ..., None], size, method="lanczos", antialias=True)
        alpha = _as_kind(np.asarray(grown)[0, ..., 0], alpha.dtype)
    with whole(output) as draft:
        write_image(draft, better, alpha, read_tags(source))
    return Result(output, 1, 0, 0.0, tuple(said.notices))


def enhance_preview(net, source: Path, output: Path | None, settings: Settings) -> Result:
    """Writes one PNG: a frame enlarged by bicubic beside the enhanced one, and a zoom."""
    output = output or names.beside(source, "", source.stem, "_preview.png")
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
        with VideoReader(source) as reader:
            start = (reader.info.duration or 0) / 3
    with VideoReader(source, start=start, interlaced=settings.interlaced) as reader:
        for frame in reader:
            rgb = colour.to_rgb(tuple(p[None] for p in frame.planes), reader.info.colour)
            return np.clip(rgb[0], 0, 1)
    raise InputError(f"{source}: no frame at {start:g} s; choose an earlier --start")


def _run(net, frames, settings: Settings, notice: Callable[[str], None] = lambda line: None):
    """Frames [N, H, W, 3] through the network, on the device and to the size that are asked for."""
    size = result_size(*frames.shape[1:3], net.spec.scale, settings)
    device = find_device(settings)
    how = {"dtype": settings.dtype, "tile": settings.tile, "impl": settings.impl}
    if device is not None and device.platform != "gpu":
        how["impl"] = "xla"
    with jax.default_device(device):
        return Network(net, size=size, notice=notice, **how)(frames)


def _unit(picture: np.ndarray) -> np.ndarray:
    """Integers to float32 in [0, 1]."""
    return picture.astype(np.float32) / np.iinfo(picture.dtype).max


def _as_kind(picture: np.ndarray, dtype) -> np.ndarray:
    """Floats in [0, 1] to integers of a kind."""
    return np.round(np.clip(picture, 0, 1) * np.iinfo(dtype).max).astype(dtype)
