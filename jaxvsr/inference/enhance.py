"""Anything to something better: frames, a picture, a video, or a folder of either."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from jaxvsr import ops, weights
from jaxvsr.errors import InputError, OutputError, UsageError
from jaxvsr.host import folders
from jaxvsr.host.files import whole
from jaxvsr.host.options import chosen
from jaxvsr.host.pipes import as_file, check_beside, is_stream
from jaxvsr.host.places import check_parent, check_place, check_replaced
from jaxvsr.host.progress import Progress
from jaxvsr.inference import moving, stills
from jaxvsr.inference.film import enhance_film, find_device
from jaxvsr.inference.network import Network
from jaxvsr.inference.plan import mark, result_size
from jaxvsr.inference.preview import side_by_side
from jaxvsr.inference.settings import DEFAULT_MODEL, Result, Settings
from jaxvsr.video import colour, holding, mux, names
from jaxvsr.video.formats import FORMATS
from jaxvsr.video.formats import SUFFIXES as PICTURES
from jaxvsr.video.images import page_numbers, read_image, read_picture, write_image
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
        if path.suffix.lower() in PICTURES and not moving.as_film(path, output, settings):
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
        return still_suffix(path).lower()
    if wanted is not None:
        return wanted
    with VideoReader(path) as reader:
        return mux.default_suffix(reader.info)


def enhance_picture(
    net, source: Path, output: Path | None, settings: Settings, show="none", name: str = ""
) -> Result:
    """Enhances one picture, called `name`, or every page of a TIFF; what is not kept is said.

    Raises InputError, OutputError or UsageError before the work.
    """
    picture, pages = read_picture(source), page_numbers(source)
    done = f"_{mark(net, settings)}{still_suffix(source)}"
    output = output or names.beside(source, "", source.stem, done)
    said = _check_picture(source, output, picture, pages, settings)
    pages = pages if holding.format_of(output).pages else pages[:1]
    progress = Progress(name or str(source), len(pages), 0, show=show)
    for text in said:
        progress.notice(text)
    run = lambda frames: _run(net, frames, settings, progress.notice)
    with whole(output) as draft:
        writer = holding.PictureFile(draft, drop=settings.drop)
        for page in pages:
            picture = picture if page == pages[0] else read_picture(source, page)
            pixels, alpha = stills.enlarged(picture.pixels, picture.alpha, run)
            writer.write(pixels, alpha, picture.tags)
            progress.add(1)
    progress.finish(output=str(output), damaged=0)
    return Result(output, len(pages), 0, progress.facts()["seconds"], tuple(progress.notices))


def _check_picture(source: Path, output: Path, picture, pages, settings: Settings) -> list[str]:
    """Refuses what cannot be, before the work; returns what will be said of the rest."""
    if output.suffix.lower() not in FORMATS:
        raise OutputError(f"{output}: not a picture; end its name in one of {', '.join(FORMATS)}")
    check_place(source, output, overwrite=settings.overwrite)
    check_parent(output)
    said = [*picture.said, *held(output, picture, settings)]
    if len(pages) > 1 and not holding.format_of(output).pages:
        what = f"{len(pages)} pages, and {output.suffix} holds one"
        if not settings.drop:
            raise UsageError(f"{source}: has {what}; write a .tif, or give --drop for the first")
        said.append(f"has {what}: the first is taken")
    return said


def held(output: Path, picture, settings: Settings) -> list[str]:
    """What `output` cannot hold of a picture, or UsageError."""
    told = picture.pixels, picture.alpha, picture.tags
    return holding.plan(output, *told, drop=settings.drop).said


def still_suffix(source: Path) -> str:
    """The picture's own suffix, or ".png" where its own cannot be written."""
    return source.suffix if source.suffix.lower() in FORMATS else ".png"


def enhance_preview(net, source: Path, output: Path | None, settings: Settings) -> Result:
    """Writes one PNG: a frame enlarged by bicubic beside the enhanced one, and a zoom."""
    output = output or names.beside(source, "", source.stem, "_preview.png")
    check_place(source, output, overwrite=settings.overwrite)
    frame = _one_frame(source, settings)[None]
    better = _run(net, frame, settings)
    plain = np.asarray(ops.resize(frame, better.shape[1:3], method="bicubic", antialias=True))
    columns = {"bicubic": plain[0], net.name: better[0]}
    as_bytes = {label: stills.as_kind(picture, np.uint8) for label, picture in columns.items()}
    write_image(output, side_by_side(as_bytes))
    return Result(output, 1, 0, 0.0)


def _one_frame(source: Path, settings: Settings) -> np.ndarray:
    """The frame at `start` (by default a third into a video), RGB [H, W, 3] float."""
    if source.suffix.lower() in PICTURES:
        return stills.unit(read_image(source)[0])
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


def _run(net, frames, settings: Settings, notice: Callable[[str], None] = lambda line: None):
    """Frames [N, H, W, 3] through the network, on the device and to the size that are asked for."""
    size = result_size(*frames.shape[1:3], net.spec.scale, settings)
    device = find_device(settings)
    how = {"dtype": settings.dtype, "tile": settings.tile, "impl": settings.impl}
    if device is not None and device.platform != "gpu":
        how["impl"] = "xla"
    with jax.default_device(device):
        return Network(net, size=size, notice=notice, **how)(frames)
