"""YUV4MPEG2 (.y4m): a line of header, then raw planes. It knows one constant rate and no sound."""

from pathlib import Path

import numpy as np

from jaxvsr.errors import UsageError
from jaxvsr.video import pixels
from jaxvsr.video.colour import Colour
from jaxvsr.video.streams import VideoInfo, open_media

SITED = {"left": "420mpeg2", "center": "420jpeg", "topleft": "420paldv"}


def write_y4m(segments, info: VideoInfo, output: Path) -> None:
    """Decodes lossless segments into `output`. Raises OSError for what the disk refuses."""
    with open(output, "wb") as file:
        header = None
        for path in segments:
            with open_media(path) as segment:
                for frame in segment.decode(video=0):
                    if header is None:
                        header = _header(frame, info)
                        file.write(header)
                    file.write(b"FRAME\n")
                    for plane in pixels.planes_of(frame, frame.format.name):
                        file.write(np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")))


def _header(frame, info: VideoInfo) -> bytes:
    rate = info.fps.limit_denominator(1 << 20)
    sar, colour = info.sar, info.colour
    full = "FULL" if int(frame.color_range) == pixels.FULL else "LIMITED"
    words = [f"YUV4MPEG2 W{frame.width} H{frame.height}"]
    words += [f"F{rate.numerator}:{rate.denominator}", "Ip"]
    words += [f"A{sar.numerator}:{sar.denominator}", f"C{_space(frame.format.name, colour)}"]
    return f"{' '.join(words)} XCOLORRANGE={full}\n".encode()


def _space(pix_fmt: str, colour: Colour) -> str:
    """The format's name in y4m."""
    kind, bits, subsampling = pixels.facts(pix_fmt)
    deep = "" if bits == 8 else str(bits)
    if kind == "rgb":
        raise UsageError("y4m holds no RGB; choose --pix-fmt yuv444p")
    if kind == "gray":
        return f"mono{deep}"
    name = next(name for name, value in pixels.CHROMA.items() if value == subsampling)
    if name == "420" and bits == 8:
        return SITED.get(colour.siting, "420mpeg2")
    return f"{name}p{bits}" if deep else name
