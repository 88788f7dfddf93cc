"""A film by whichever reader knows it: a video's, or that of pictures that move."""

from pathlib import Path

from jaxvsr.video.animation import AnimationReader, is_animation
from jaxvsr.video.reader import VideoReader

Reader = VideoReader | AnimationReader


def open_film(path, **span) -> Reader:
    """The reader of a video or an animation; `start`, `duration` and `interlaced` are theirs."""
    return (AnimationReader if is_animation(Path(path)) else VideoReader)(path, **span)
