"""Films into pictures that move, and such pictures into films: what is refused, what is said."""

from pathlib import Path

from jaxvsr.errors import OutputError, UsageError
from jaxvsr.inference.settings import Settings
from jaxvsr.video import animating, encode
from jaxvsr.video.animation import AnimationInfo, is_animation
from jaxvsr.video.formats import FORMATS
from jaxvsr.video.sequence import is_pattern
from jaxvsr.video.streams import VideoInfo

SINGLE = ".png"  # frames of a film to a name like this are meant to be one picture


def default_suffix(info: AnimationInfo) -> str:
    """The animation's own, or another where its own cannot be written."""
    own = Path(info.path).suffix.lower()
    return own if own in FORMATS and FORMATS[own].moving else ".webp"


def as_film(source: Path, output: Path | None, settings: Settings) -> bool:
    """Whether a picture file moves and is to be enhanced frame by frame.

    Raises UsageError where the output holds one picture, unless `drop` asks for the first frame.
    """
    if not is_animation(source):
        return False
    suffix = "" if output is None else output.suffix.lower()
    still = suffix in FORMATS and not FORMATS[suffix].moving
    if still and not is_pattern(output) and not settings.drop:
        raise UsageError(
            f"{source}: moves, and {suffix} holds one picture; write .gif, .webp, .png, .avif, "
            "a video, or pictures such as %05d.png, or give --drop to take the first frame"
        )
    return not still or is_pattern(output)


def holds_alpha(output: Path) -> bool:
    """Whether the transparency of an animation is kept by pictures of this name."""
    suffix = output.suffix.lower()
    return suffix in FORMATS and any(model.endswith("A") for model in FORMATS[suffix].models)


def writes_animation(info: VideoInfo, output: Path) -> bool:
    """Whether the result is an animation: by its suffix, but a film does not become a .png."""
    if is_pattern(output) or not animating.is_moving(output):
        return False
    if isinstance(info, AnimationInfo) or output.suffix.lower() != SINGLE:
        return True
    names = ", ".join(encode.CONTAINERS)
    raise UsageError(
        f"{output}: a film is no picture; choose from {names}, .gif, .webp, .apng, .avif, "
        "or pictures such as %05d.png"
    )


def said(info: VideoInfo, output: Path, settings: Settings, *, flat: bool = False) -> list[str]:
    """What is converted or left out. Raises OutputError or UsageError for what is refused.

    `flat` says that transparency is laid on white in any case, which is told and not refused.
    """
    moving = writes_animation(info, output)
    lost = animating.unsupported(info) if moving else []
    if lost and not settings.drop:
        what = "; ".join(lost)
        raise OutputError(
            f"{output}: {output.suffix} cannot hold {what}; use .mp4, or --drop to do without"
        )
    lost = [f"left out, since the output cannot hold it: {what}" for what in lost]
    if moving:
        return lost + animating.notices(info, output)
    return _as_video(info, output, settings, flat) if isinstance(info, AnimationInfo) else []


def _as_video(info: AnimationInfo, output: Path, settings: Settings, flat: bool) -> list[str]:
    """The same of an animation that becomes a video or numbered pictures."""
    found = list(info.said)
    if info.clear and (flat or not holds_alpha(output)):
        if not (flat or settings.drop):
            raise UsageError(
                f"{output}: {output.suffix} cannot hold transparency; write .webp or .png, which "
                "move too, or give --drop to lay it on white"
            )
        found.append("transparency is laid on white")
    if info.plays != 1:
        often = f"{info.plays} times" if info.plays else "for ever"
        found.append(f"that it runs {often} is not told by {output.suffix}")
    names = {"icc_profile": "the colour profile", "exif": "EXIF", "xmp": "XMP", "text": "text"}
    kept = [name for key, name in names.items() if key in info.tags]
    return found + [f"left out, since the output cannot hold it: {name}" for name in kept]
