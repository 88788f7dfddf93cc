"""What a codec really did, as JSON: bitrate, and of every frame its type, bytes and QP.

Where a QP comes from, and its scale: H.264, the mean over the macroblocks that the decoder read
(0 to 51); H.265, the mean that x265 states (0 to 51); VP9, the base index that the decoder read (0
to 255); AV1, the one that SVT-AV1 states for the frame (0 to 63). VP9 and AV1 have key frames and
others, told here as I and P; VP9's hidden frames count into the packet that carries them.
"""

import importlib.metadata
import struct
from array import array
from pathlib import Path

import av
import numpy as np

from jaxvsr.degradation.recipe import Recipe
from jaxvsr.video import names

FORMAT = 1  # of the record
ASK = {"export_side_data": "venc_params"}  # asks FFmpeg's H.264 and VP9 decoders for their QPs
LAMBDA = 118  # FFmpeg's units for one QP in the quality of a packet
TYPES = "?IPBSipb"  # by FFmpeg's numbers
SCALES = {
    "libx264": "mean H.264 QP of the macroblocks, 0 to 51, read by the decoder",
    "libx265": "mean H.265 QP, 0 to 51, stated by x265",
    "libvpx-vp9": "VP9 base quantizer index, 0 to 255, read by the decoder",
    "libsvtav1": "AV1 QP of the frame, 0 to 63, stated by SVT-AV1",
}
STATED = ("libx265", "libsvtav1")  # encoders whose own QP is taken
UNKNOWN = float("nan")


class Facts:
    """Type, bytes and QP of every frame, by its ordinal in display order; grows as it hears."""

    def __init__(self):
        self.types, self.sizes, self.qps = bytearray(), array("q"), array("d")

    def __len__(self) -> int:
        return len(self.sizes)

    def hear_packet(self, packet: av.Packet, codec: str) -> None:
        """Takes what the encoder says of a packet whose time is its frame's ordinal."""
        data = packet.get_sidedata("quality_stats") if packet.has_sidedata("quality_stats") else b""
        data = bytes(data)
        self._reach(packet.pts)
        if len(data) >= 5:
            quality, kind = struct.unpack_from("<IB", data)
            self.types[packet.pts] = kind
            if codec in STATED:
                self.qps[packet.pts] = quality / LAMBDA

    def hear_size(self, ordinal: int, size: int) -> None:
        """Takes a packet's length in bytes."""
        self._reach(ordinal)
        self.sizes[ordinal] += size

    def hear_frame(self, ordinal: int, frame: av.VideoFrame) -> None:
        """Takes what a decoder that was asked to (`ASK`) says of a frame."""
        self._reach(ordinal)
        qp = qp_of(frame)
        if qp is not None:
            self.qps[ordinal] = qp
        if not self.types[ordinal]:
            self.types[ordinal] = int(frame.pict_type)

    def _reach(self, ordinal: int) -> None:
        more = ordinal + 1 - len(self.sizes)
        if more > 0:
            self.types.extend(bytes(more))
            self.sizes.extend([0] * more)
            self.qps.extend([UNKNOWN] * more)


def qp_of(frame: av.VideoFrame) -> float | None:
    """The mean QP of a decoded frame on its codec's scale, if the decoder told.

    FFmpeg's AVVideoEncParams: count, offset and size of the blocks, type, base QP, eight deltas.
    """
    data = next((d for d in frame.side_data if d.type.name == "VIDEO_ENC_PARAMS"), None)
    if data is None:
        return None
    data = bytes(data)
    count, offset, size, _, base = struct.unpack_from("<I4xQQii", data)
    if not count:
        return float(base)
    blocks = np.frombuffer(data, np.uint8, count * size, offset).reshape(count, size)
    deltas = np.ascontiguousarray(blocks[:, 16:20]).view("<i4")  # after x, y, width, height
    return base + float(deltas.mean())


def hear_file(path: Path, facts: Facts, *, decodes: bool) -> None:
    """Completes facts from a segment whose times are ordinals: sizes, and with `decodes` QPs."""
    with av.open(names.url(path)) as file:
        stream = file.streams.video[0]
        stream.codec_context.options = ASK
        done = 0
        for packet in file.demux(stream):
            if packet.size:
                facts.hear_size(packet.pts, packet.size)
            for frame in packet.decode() if decodes else ():
                facts.hear_frame(done, frame)
                done += 1


def size_of(frames: np.ndarray) -> tuple[int, int, int]:
    """(frames, height, width) of a clip."""
    return frames.shape[:3]


def tell(recipe: Recipe, facts: Facts, size: tuple[int, int, int], seconds: float | None) -> dict:
    """The record of a result of `size` = (frames, height, width) that lasts `seconds`.

    Bitrate and bytes are of the video stream's packets alone; without a codec there are none.
    """
    count, height, width = size
    told = {"format": FORMAT, "recipe": recipe.facts(), "versions": versions()}
    told |= {"width": width, "height": height, "frames": count}
    if recipe.codec is None:
        return told
    total, kinds = sum(facts.sizes), "".join(TYPES[kind] for kind in facts.types)
    kbps = round(total * 8 / seconds / 1000, 3) if seconds else None
    known = [qp for qp in facts.qps if qp == qp]
    mean = round(sum(known) / len(known), 3) if known else None
    return told | {
        "seconds": seconds,
        "bytes": total,
        "kbps": kbps,
        "types": {kind: kinds.count(kind) for kind in "IPB" if kind in kinds},
        "qp": {"mean": mean, "scale": SCALES[recipe.codec] if known else None},
        "per_frame": {
            "type": kinds,
            "bytes": list(facts.sizes),
            "qp": [round(qp, 3) if qp == qp else None for qp in facts.qps],
        },
    }


def versions() -> dict[str, str]:
    """What the bytes depend on: this package, PyAV with its encoders, numpy and Pillow."""
    names = ("jaxvsr", "av", "numpy", "pillow")
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    return {name: importlib.metadata.version(name) for name in names} | {"libavcodec": codec}
