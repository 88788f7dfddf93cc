"""ncnn networks: a text `.param` that lists layers and a `.bin` that holds their weights in order.

Weights are float32, or float16 where a tag before them says so, or a table of 256 values and bytes
that choose among them. What the layers compute together, `graphs` says.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxvsr.errors import WeightsError

MAGIC = "7767517"
FLOAT16, FLOAT32, RAW32, INT8 = 0x01306B47, 0, 0x0002C056, 0x000D4B38  # tags before weights
WEIGHTLESS = {
    *("Input", "Split", "Noop", "Dropout", "Concat", "BinaryOp", "Eltwise", "Clip"),
    *("PixelShuffle", "Reorg", "Interp", "ReLU", "TanH", "ELU", "GELU", "Swish", "Mish"),
}
ARRAY = -23300  # an option's key below this holds several values
FUSED = {0: ("none",), 1: ("relu",), 2: ("leaky",), 5: ("mish",)}  # what ends a convolution


@dataclass(frozen=True)
class Layer:
    """One line of a `.param`: options by number, a list where there are several, and weights."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: dict[int, float | list[float]]
    tensors: dict[str, np.ndarray]

    def number(self, key: int, default: float = 0) -> float:
        """An option that is one number."""
        value = self.options.get(key, default)
        if isinstance(value, list):
            raise ValueError(f"layer {self.name}: option {key} is a list")
        return value


def read_ncnn(path: Path) -> list[Layer]:
    """The layers in order, each with its weights: "weight" (OIHW or [channels]) and "bias"."""
    text, binary = path.with_suffix(".param"), path.with_suffix(".bin")
    for part in (text, binary):
        if not part.is_file():
            raise WeightsError(
                f"{part}: missing; an ncnn network is a .param and a .bin together, and "
                f"{path.name} is no file of PyTorch"
            )
    try:
        lines = text.read_text().split("\n")
        if lines[0].strip() != MAGIC:
            raise WeightsError(f"{text}: not an ncnn network; expected a first line {MAGIC}")
        cursor = Cursor(binary.read_bytes())
        layers = [_layer(line.split(), cursor, text) for line in lines[2:] if line.strip()]
        if cursor.position != len(cursor.data):
            raise ValueError("the .bin is longer than the .param says")
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
        detail = " ".join(str(error).split())[:100]
        raise WeightsError(f"{text}: cannot be read ({detail}); fetch both files again") from None
    return layers


class Cursor:
    """Reads a `.bin` from front to back."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def take(self, count: int, dtype) -> np.ndarray:
        """The next `count` numbers; each run of them fills whole groups of 4 bytes."""
        if count <= 0:
            raise ValueError(f"{count} weights")
        raw = np.frombuffer(self.data, dtype, count, self.position)
        self.position += -(-raw.nbytes // 4) * 4
        return raw if raw.dtype == np.uint8 else raw.astype(np.float32)

    def tagged(self, count: int) -> np.ndarray:
        """Numbers behind a tag that tells their type."""
        tag = int(np.frombuffer(self.data, "<u4", 1, self.position)[0])
        self.position += 4
        if tag == INT8:
            raise ValueError("weights of 8-bit integers, expected float32 or float16")
        if tag in (FLOAT16, FLOAT32, RAW32):
            return self.take(count, "<f2" if tag == FLOAT16 else "<f4")
        if tag >> 16 == 0x0130:  # another version's tag: bytes of a table would not begin so
            raise ValueError(f"weights of the unknown kind {tag:#x}, expected float32 or float16")
        table = self.take(256, "<f4")
        return table[self.take(count, np.uint8)]


def _layer(words: list[str], cursor: Cursor, path: Path) -> Layer:
    kind, name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
    blobs, rest = words[4 : 4 + inputs + outputs], words[4 + inputs + outputs :]
    options = dict(_option(word) for word in rest)
    layer = Layer(kind, name, tuple(blobs[:inputs]), tuple(blobs[inputs:]), options, {})
    if kind == "Convolution":
        layer.tensors.update(_convolution(layer, cursor))
    elif kind == "PReLU":
        layer.tensors["weight"] = cursor.take(int(layer.number(0)), "<f4")
    elif kind not in WEIGHTLESS:
        raise WeightsError(
            f"{path}: layer {kind} ({name}) is not known here; of ncnn, expected the layers of "
            "SRVGGNetCompact, RRDBNet or ESPCN"
        )
    return layer


def _option(word: str) -> tuple[int, float | list[float]]:
    """`6=1728`, or of an array `-23310=1,2.0e-01`, whose first value is its length."""
    key, value = word.split("=")
    if int(key) > ARRAY:
        return int(key), float(value)
    return ARRAY - int(key), [float(part) for part in value.split(",")[1:]]


def _convolution(layer: Layer, cursor: Cursor) -> dict[str, np.ndarray]:
    """Weight and bias of a convolution of stride 1 that keeps the size; ValueError for others."""
    out, side, count = int(layer.number(0)), int(layer.number(1)), int(layer.number(6))
    # Stride and dilation, the kernel's height, padding (-233, -234: as much as keeps the size).
    plain = layer.number(2, 1) == layer.number(3, 1) == 1 and layer.number(11, side) == side
    pads = [layer.number(key, layer.number(4)) for key in (4, 14, 15, 16)]
    kept = side % 2 == 1 and all(pad in (side // 2, -233, -234) for pad in pads)
    if not plain or not kept or layer.number(18) != 0:
        raise ValueError(f"layer {layer.name} is a convolution that changes the size")
    if layer.number(8) != 0:
        raise ValueError(f"layer {layer.name} has weights of 8-bit integers")
    weight = cursor.tagged(count).reshape(out, -1, side, side)
    bias = cursor.take(out, "<f4") if layer.number(5) else np.zeros(out, np.float32)
    return {"weight": weight, "bias": bias}
