"""A real codec, in memory: clips through an encoder and its decoder, on one thread.

Clips are uint8 RGB [T, H, W, 3]. Coding goes through the same definition of YUV as enhancing
does; the same recipe gives the same bytes on every run.
"""

import os
from fractions import Fraction
from math import prod

import av
import numpy as np

from jaxvsr.degradation import record
from jaxvsr.degradation.downscale import COLOURS, quantise, reduced
from jaxvsr.degradation.recipe import Recipe
from jaxvsr.errors import UsageError
from jaxvsr.video import pixels, priority
from jaxvsr.video.colour import from_rgb, to_rgb
from jaxvsr.video.encode import REPEATABLE, check_width
from jaxvsr.video.streams import quiet

os.environ.setdefault("SVT_LOG", "0")  # SVT-AV1 talks past FFmpeg

DECODERS = {"libx264": "h264", "libx265": "hevc", "libvpx-vp9": "vp9", "libsvtav1": "libdav1d"}
FIXED = {  # what one thread and equal bytes need, beside the number of threads
    "libx264": REPEATABLE,
    "libx265": {"x265-params": "pools=none:frame-threads=1:log-level=none"},
    "libvpx-vp9": {"deadline": "good"},
    "libsvtav1": {"svtav1-params": "lp=1"},
}


def options(recipe: Recipe) -> dict[str, str]:
    """FFmpeg's options for the recipe's encoder."""
    codec = recipe.codec
    chosen = {
        "g": str(recipe.gop),
        "cpu-used" if codec == "libvpx-vp9" else "preset": recipe.preset,
    }
    if recipe.crf is not None:
        chosen["crf"] = f"{recipe.crf:g}"
        chosen |= {"b": "0"} if codec == "libvpx-vp9" else {}  # else it is an upper bound
    else:
        chosen["b"] = str(round(recipe.kbps * 1000))
    if recipe.vbv is not None:
        chosen |= {"maxrate": chosen["b"], "bufsize": str(round(recipe.kbps * 1000 * recipe.vbv))}
    return chosen | FIXED.get(codec, {})


def spoil(clip: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The clip uint8 [T, H, W, 3] as `recipe` leaves it, uint8 [T, h, w, 3]."""
    return spoil_and_tell(clip, recipe)[0]


def spoil_and_tell(clip: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, dict]:
    """(the spoiled clip, its record as `record.tell` makes it)."""
    packets = spoil_to_packets(clip, recipe)
    if recipe.codec is None:
        return packets, record.tell(recipe, record.Facts(), record.size_of(packets), None)
    frames, facts = decode(packets, recipe)
    seconds = len(frames) / recipe.fps
    return frames, record.tell(recipe, facts, record.size_of(frames), seconds)


def spoil_to_packets(clip: np.ndarray, recipe: Recipe):
    """The coded packets of a clip; without a codec, the frames themselves, uint8 [T, h, w, 3]."""
    _check_clip(clip)
    small = (reduced(np.float32(f) / 255, recipe, i) for i, f in enumerate(clip))
    if recipe.codec is None:
        return np.stack([quantise(frame) for frame in small])
    return encode(small, recipe.size(*clip.shape[1:3]), recipe)


def _check_clip(clip: np.ndarray) -> None:
    if clip.ndim != 4 or clip.shape[-1] != 3 or clip.dtype != np.uint8 or not prod(clip.shape):
        raise UsageError(
            f"a clip of {clip.dtype} {list(clip.shape)}: give uint8 [T, H, W, 3], not empty"
        )


def code(clip: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The clip after `recipe`'s encoder and its decoder; height and width must be even."""
    if clip.shape[1] % 2 or clip.shape[2] % 2:
        size = f"{clip.shape[2]}x{clip.shape[1]}"
        raise UsageError(f"{size}: 4:2:0 video has even sides; crop the clip")
    packets = encode((np.float32(frame) / 255 for frame in clip), clip.shape[1:3], recipe)
    return decode(packets, recipe)[0]


def subsampled(clip: np.ndarray, matrix: str = "bt709") -> np.ndarray:
    """What an uncompressed 4:2:0 video of the clip holds: colour at half the size.

    That is the best that an enhanced 4:2:0 video can show, so it is what training calls true.
    """
    colour = COLOURS[matrix]
    return quantise(to_rgb(from_rgb(clip.astype(np.float32) / 255, colour), colour))


def encode(frames, size: tuple[int, int], recipe: Recipe) -> list[av.Packet]:
    """Frames, float32 RGB [H, W, 3] of `size`, as packets of the recipe's codec, no container.

    Raises UsageError where the encoder cannot do it.
    """
    quiet()
    check_width(recipe.codec, size[1])
    encoder = av.CodecContext.create(recipe.codec, "w")
    encoder.height, encoder.width, encoder.pix_fmt = *size, "yuv420p"
    fps = Fraction(recipe.fps).limit_denominator(1 << 16)
    encoder.time_base, encoder.framerate, encoder.thread_count = 1 / fps, fps, 1
    encoder.options = options(recipe)
    packets = []
    try:
        with priority.ordinary():
            encoder.open()
        for i, frame in enumerate(frames):
            picture = pixels.frame_of(from_rgb(frame, COLOURS[recipe.matrix]), "yuv420p")
            picture.pts = i
            packets += encoder.encode(picture)
        return packets + encoder.encode(None)
    except av.FFmpegError as error:
        what = f"{size[1]}x{size[0]} by {recipe.codec}"
        raise UsageError(f"{what}: {refusal(error)}; try other settings") from error


def refusal(error: av.FFmpegError) -> str:
    """What an encoder said when it would not begin, in one line."""
    said = (error.log or (0, "", ""))[2].strip().rstrip(".")
    return f"the encoder refuses ({said or error.strerror})"


def decode(packets: list[av.Packet], recipe: Recipe) -> tuple[np.ndarray, record.Facts]:
    """(every coded frame in display order, uint8 [T, H, W, 3]; what packets and decoder tell)."""
    facts = record.Facts()
    context = av.CodecContext.create(DECODERS[recipe.codec], "r")
    context.thread_count, context.options = 1, record.ASK
    frames = []
    for packet in [*packets, None]:
        if packet is not None:
            facts.hear_packet(packet, recipe.codec)
            facts.hear_size(packet.pts, packet.size)
        for frame in _decoded(context, packet, recipe):
            facts.hear_frame(len(frames), frame)
            planes = pixels.planes_of(frame, "yuv420p")
            frames.append(quantise(to_rgb(planes, COLOURS[recipe.matrix])))
    return np.stack(frames), facts


def _decoded(context, packet, recipe: Recipe) -> list[av.VideoFrame]:
    try:
        return context.decode(packet)
    except av.FFmpegError as error:
        what = f"{recipe.codec}, preset {recipe.preset}, gop {recipe.gop}"
        raise UsageError(f"{what}: wrote what cannot be decoded; try other settings") from error
