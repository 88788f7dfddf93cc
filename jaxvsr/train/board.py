"""TensorBoard's event files: numbers and pictures over steps, written without TensorFlow.

A file is a row of TFRecords (length, checksum, data, checksum), each an `Event` of
tensorflow/core/util/event.proto, of which a run needs five fields. Writing those by hand costs
a page; tensorboardX, the light writer there is, imports torch for 4 seconds where it finds it.
"""

import io
import struct
import time
from pathlib import Path

import numpy as np
from PIL import Image

CASTAGNOLI = 0x82F63B78  # CRC-32C, its bits reversed


class Board:
    """Appends to a new event file in `folder`, which is made.

    Steps after `step` that are in the folder's other files are hidden: a resumed run tells them
    again. Raises OSError.
    """

    def __init__(self, folder: Path, step: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"events.out.tfevents.{time.time_ns()}.jaxvsr").open("wb")
        self._event(_text(3, "brain.Event:2"))
        self._event(_integer(2, step + 1) + _nested(7, _integer(1, 1)))  # a session starts here

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """A point on the curve of each name."""
        parts = [_nested(1, _text(1, k) + _float(2, v)) for k, v in values.items()]
        self._event(_integer(2, step) + _nested(5, b"".join(parts)))

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """A picture [H, W, 3]: uint8, or in [0, 1]."""
        if picture.dtype != np.uint8:
            picture = np.uint8(np.clip(picture, 0, 1) * 255 + 0.5)
        png = io.BytesIO()
        Image.fromarray(picture).save(png, "png")
        height, width = picture.shape[:2]
        image = (
            _integer(1, height) + _integer(2, width) + _integer(3, 3) + _bytes(4, png.getvalue())
        )
        self._event(_integer(2, step) + _nested(5, _nested(1, _text(1, name) + _nested(4, image))))

    def close(self) -> None:
        """Ends the file."""
        self._file.close()

    def _event(self, fields: bytes) -> None:
        data = struct.pack("<Bd", 1 << 3 | 1, time.time()) + fields
        length = struct.pack("<Q", len(data))
        self._file.write(length + _checksum(length) + data + _checksum(data))
        self._file.flush()


def _table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (CASTAGNOLI if value & 1 else 0) for value in table]
    return table


TABLE = _table()


def _checksum(data: bytes) -> bytes:
    """TFRecord's masked CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _number(value: int) -> bytes:
    """A varint of protocol buffers: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _integer(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _float(field: int, value: float) -> bytes:
    return _number(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, data: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


_nested = _bytes
