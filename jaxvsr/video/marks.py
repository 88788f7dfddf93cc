"""What rides on frames beside their pixels and is not written back, by a name that users know."""

from jaxvsr.video import pixels

NAMES = {  # FFmpeg's kinds of side data
    "A53_CC": "closed captions inside the video (extract them to a subtitle track first)",
    "AFD": "active format description",
    "PANSCAN": "pan-and-scan window",
    "STEREO3D": "stereo 3D arrangement",
    "SPHERICAL": "spherical (360 degrees) projection",
    "ICC_PROFILE": "ICC profile of the video",
    "GOP_TIMECODE": "timecodes inside the video",
    "S12M_TIMECODE": "timecodes inside the video",
    "FILM_GRAIN_PARAMS": "film grain parameters",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
}
ALPHA = "transparency (the alpha channel)"  # an opaque one counts as none
OPAQUE = 65535


def of(frame) -> set[str]:
    """Names of what a decoded frame carries."""
    try:
        kinds = {data.type.name for data in frame.side_data}
    except ValueError:  # a kind that PyAV has no name for
        return {"side data of an unknown kind"}
    alpha = pixels.alpha_of(frame)
    layered = alpha is not None and alpha.min() < OPAQUE
    return {NAMES[kind] for kind in kinds & NAMES.keys()} | ({ALPHA} if layered else set())


def of_all(frames: list) -> tuple[str, ...]:
    """Names of what a stream's first frames carry, sorted."""
    return tuple(sorted(set().union(*(of(frame) for frame in frames))))
