"""ncnn networks: a text `.param` that lists layers and a `.bin` that holds their weights in order.

Only what a plain stack needs is read: convolutions and PReLUs. Weights are float32, or float16
where a tag before them says so.
"""

from pathlib import Path

import numpy as np

from jaxvsr.errors import WeightsError

MAGIC = "7767517"
FLOAT16, FLOAT32 = 0x01306B47, 0
CARRY_NO_WEIGHTS = {"Input", "Split", "PixelShuffle", "Interp", "BinaryOp", "Concat", "ReLU"}


def read_ncnn(path: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    """The layers with weights in order: ("conv", weight OIHW, bias) or ("prelu", weight)."""
    text, binary = path.with_suffix(".param"), path.with_suffix(".bin")
    for part in (text, binary):
        if not part.is_file():
            raise WeightsError(f"{part}: missing; an ncnn network is a .param and a .bin together")
    try:
        lines = text.read_text().split("\n")
        if lines[0].strip() != MAGIC:
            raise WeightsError(f"{text}: not an ncnn network; expected a first line {MAGIC}")
        cursor = Cursor(binary.read_bytes())
        layers = [_layer(line.split(), cursor, text) for line in lines[2:] if line.strip()]
        if cursor.position != len(cursor.data):
            raise ValueError("the .bin is longer than the .param says")
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:100]
        raise WeightsError(f"{text}: cannot be read ({detail}); fetch both files again") from None
    return [layer for layer in layers if layer]


class Cursor:
    """Reads a `.bin` from front to back."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def take(self, count: int, dtype) -> np.ndarray:
        """The next `count` numbers as float32; each run of them fills whole groups of 4 bytes."""
        raw = np.frombuffer(self.data, dtype, count, self.position)
        self.position += -(-raw.nbytes // 4) * 4
        return raw.astype(np.float32)

    def tagged(self, count: int) -> np.ndarray:
        """Numbers behind a tag that tells their type."""
        tag = int(np.frombuffer(self.data, "<u4", 1, self.position)[0])
        if tag not in (FLOAT16, FLOAT32):
            raise ValueError(f"weights of the unknown kind {tag:#x}, expected float32 or float16")
        self.position += 4
        return self.take(count, "<f2" if tag == FLOAT16 else "<f4")


def _layer(words: list[str], cursor: Cursor, path: Path):
    kind, inputs, outputs = words[0], int(words[2]), int(words[3])
    pairs = [word.split("=") for word in words[4 + inputs + outputs :]]
    option = {int(key): value for key, value in pairs if not key.startswith("-")}
    if kind == "Convolution":
        out, size, count = int(option[0]), int(option[1]), int(option[6])
        weight = cursor.tagged(count).reshape(out, -1, size, size)
        bias = cursor.take(out, "<f4") if int(option.get(5, 0)) else np.zeros(out, np.float32)
        return "conv", {"weight": weight, "bias": bias}
    if kind == "PReLU":
        return "prelu", {"weight": cursor.take(int(option[0]), "<f4")}
    if kind not in CARRY_NO_WEIGHTS:
        raise WeightsError(f"{path}: layer {kind} is not known here; expected SRVGGNetCompact")
    return None
