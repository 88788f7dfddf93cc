"""Anything to something worse: frames, a picture, a video, or a folder of either."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from jaxvsr.degradation import presets
from jaxvsr.degradation.coding import spoil
from jaxvsr.degradation.downscale import area, quantise, reduced
from jaxvsr.degradation.film import degrade_film, record_path, write_record
from jaxvsr.degradation.recipe import Recipe
from jaxvsr.degradation.record import Facts, tell
from jaxvsr.errors import OutputError, UsageError, unknown
from jaxvsr.host import folders
from jaxvsr.host.files import whole
from jaxvsr.host.pipes import as_file, check_beside, is_stream
from jaxvsr.host.places import check_place, check_replaced
from jaxvsr.host.progress import Progress
from jaxvsr.inference import moving
from jaxvsr.inference.settings import Result, Settings
from jaxvsr.video import encode, holding, names
from jaxvsr.video.animation import is_animation
from jaxvsr.video.formats import FORMATS
from jaxvsr.video.formats import SUFFIXES as PICTURES
from jaxvsr.video.images import read_picture, write_image
from jaxvsr.video.transparency import filled

SETTINGS = ("start", "duration", "interlaced", "drop", "overwrite")


def degrade(source, output=None, recipe: str | Recipe = "sr-unet", **changes):
    """Spoils frames or a file as a paper does; `recipe` is a preset's name or a `Recipe`.

    Frames [T, H, W, 3], numpy or JAX, uint8 or float in [0, 1], give frames of the same kind,
    numpy, [T, h, w, 3]. A path to a video, a picture or a folder is spoiled into `output` (beside
    it by default), with a record OUTPUT.json, and gives a `Result`, or a list of them for a folder.
    `changes` are fields of `Recipe` (a codec of "none" leaves it out), and for paths `start`,
    `duration`, `interlaced`, `drop` and `overwrite` as of `Settings`.
    Raises a `JaxvsrError` that says in one line what is wrong and what to do.
    """
    settings = Settings(**{k: changes.pop(k) for k in SETTINGS if k in changes})
    chosen = choose(recipe, **changes)
    many = isinstance(source, list | tuple) and all(isinstance(s, str | Path) for s in source)
    if many or isinstance(source, str | Path):
        mark = recipe if isinstance(recipe, str) else "degraded"
        output = Path(output) if output else None
        found = folders.gather([Path(path) for path in source] if many else [Path(source)], output)
        if found.single:
            return degrade_path(found.files[0][0], output, chosen, settings, mark)
        return degrade_found(found, output, chosen, settings, mark)
    frames = np.asarray(source)
    if frames.dtype.kind != "f":
        return spoil(frames, chosen)
    return spoil(quantise(frames), chosen).astype(frames.dtype) / 255


def choose(recipe: str | Recipe, **changes) -> Recipe:
    """A recipe or the preset of a name, with fields changed. Raises UsageError."""
    known = sorted({*(field.name for field in fields(Recipe)), *SETTINGS})
    for name in changes.keys() - set(known):
        raise UsageError(unknown("setting", name, known))
    if isinstance(recipe, str):
        return presets.recipe(recipe, **changes)
    return replace(recipe, **changes)


def default_output(source: Path, recipe: Recipe, mark: str, content: Path | None = None) -> Path:
    """Beside the input, named after what is done: film_sr-unet.mp4.

    `content` is the copy of a pipe, which tells what it holds.
    """
    if content not in (None, source):
        check_beside(source)
    ending = suffix_for(content or source, recipe)
    return names.beside(source, "", source.stem, f"_{mark}{ending}")


def suffix_for(source: Path, recipe: Recipe) -> str:
    """The source's own suffix where it can be written by the recipe, else ".mkv"."""
    suffix = source.suffix.lower()
    if suffix in PICTURES and not is_animation(source):
        return suffix if suffix in FORMATS else ".png"
    if recipe.codec in encode.CONTAINERS.get(suffix, ()):
        return suffix
    return ".mkv"


def degrade_path(
    source: Path,
    output: Path | None,
    recipe: Recipe,
    settings: Settings,
    mark: str = "degraded",
    show: str = "none",
):
    """Spoils one file, or every file of a folder; see `degrade`. A pipe is copied first."""
    if source.is_dir():
        found = folders.gather([source], output)
        return degrade_found(found, output, recipe, settings, mark, show)
    said = Progress(str(source), None, 0.0, show=show)
    if output is not None and is_stream(source):
        check_replaced(output, overwrite=settings.overwrite)
    with as_file(source, output, said.notice) as path:
        output = output or default_output(source, recipe, mark, path)
        if path.suffix.lower() in PICTURES and not moving.as_film(path, output, settings):
            return degrade_picture(path, output, recipe, settings)
        return degrade_film(path, output, recipe, settings, show, str(source))


def degrade_found(
    found: folders.Found,
    output: Path | None,
    recipe: Recipe,
    settings: Settings,
    mark: str = "degraded",
    show: str = "none",
    failed: folders.Failed | None = None,
    suffix: str | None = None,
) -> list[Result]:
    """Spoils the files that `folders.gather` found into a folder; see `folders.every`.

    Those of a single folder go to one beside it where `output` is None, others beside themselves.
    `suffix` is the format of the films, where it is not their own.
    """
    if output is None and found.folder is not None:
        output = found.folder.with_name(f"{found.folder.name}_{mark}")
    still = lambda path: path.suffix.lower() in PICTURES
    ending = lambda path: suffix if suffix and not still(path) else suffix_for(path, recipe)
    work = lambda path, target: degrade_path(path, target, recipe, settings, mark, show)
    return folders.every(found, output, ending, work, overwrite=settings.overwrite, failed=failed)


def degrade_picture(source: Path, output: Path, recipe: Recipe, settings: Settings) -> Result:
    """Blurs, shrinks and grains one picture, 8 bits; video codecs are not for pictures.

    Grey stays grey, transparency is averaged down, and what the file says is kept. Notices say
    what is not, and that the codec was left out.
    """
    if output.suffix.lower() not in FORMATS:
        raise OutputError(f"{output}: not a picture; end its name in one of {', '.join(FORMATS)}")
    still = replace(recipe, codec=None, crf=None, kbps=None, vbv=None, preset=None)
    picture = read_picture(source)
    pixels, alpha = picture.pixels, picture.alpha
    held = holding.plan(output, pixels, alpha, picture.tags, drop=settings.drop).said
    if alpha is not None:
        pixels = filled(pixels, alpha)
    rgb = np.repeat(pixels, 3 // pixels.shape[-1], axis=-1)
    check_place(source, output, overwrite=settings.overwrite)
    check_place(source, record_path(output), overwrite=settings.overwrite)
    small = quantise(reduced(np.float32(rgb) / np.iinfo(rgb.dtype).max, still, 0))
    if alpha is not None:
        height, width = still.used(*alpha.shape)
        clear = np.float32(alpha[:height, :width, None]) / np.iinfo(alpha.dtype).max
        alpha = quantise(area(clear, small.shape[:2]))[..., 0]
    with whole(output) as draft:
        small = small[..., : pixels.shape[-1]]
        write_image(draft, small, alpha, picture.tags, drop=settings.drop)
    coded = [*picture.said, *held]
    coded += [f"a picture: shrunk, but not coded by {recipe.codec}"] if recipe.codec else []
    told = tell(still, Facts(), (1, *small.shape[:2]), None)
    size = {"name": source.name, "width": rgb.shape[1], "height": rgb.shape[0]}
    write_record(told | {"source": size, "notices": coded}, output)
    return Result(output, 1, 0, 0.0, tuple(coded))
