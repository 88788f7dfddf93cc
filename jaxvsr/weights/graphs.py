"""What an ncnn file computes, compared with what a network computes.

Both are written as expressions in one normal form: sums of terms with factors, where a term is a
convolution, an activation, an enlargement or a concatenation of such sums. Two ways to say the same
(a factor in an Eltwise or in a BinaryOp, one Concat or two, an activation of its own or inside a
convolution) become the same number. Names of layers mean nothing.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from math import isqrt
from pathlib import Path

from jaxvsr.errors import WeightsError
from jaxvsr.weights.layouts import Found
from jaxvsr.weights.ncnn import FUSED, Layer

ENLARGEMENTS = {1: "nearest", 2: "bilinear", 3: "bicubic"}
ALONE = {"TanH": "tanh", "ELU": "elu", "GELU": "gelu", "Swish": "silu", "Mish": "mish"}
PASSED = ("Split", "Noop", "Dropout")
LEAKY = ("leaky", 0.2)  # ESRGAN's
BETA = 0.2
CUT_NOTE = "its ncnn graph ends before the pixel shuffle; taken for SRVGGNetCompact"


class Expressions:
    """Each expression is a number; equal expressions are the same one."""

    def __init__(self):
        self.numbers: dict[tuple, int] = {}
        self.contents: list[tuple] = []
        self.exact: dict[int, Counter] = {}  # the unrounded factors of sums
        self.input = self.term("input")

    def term(self, *content) -> int:
        """The number of an expression that is no sum."""
        if content not in self.numbers:
            self.numbers[content] = len(self.contents)
            self.contents.append(content)
        return self.numbers[content]

    def sum(self, *parts: tuple[int, float]) -> int:
        """The sum of factor * expression over (expression, factor)."""
        total: Counter = Counter()
        for number, factor in parts:
            for term, inner in self.exact.get(number, {number: 1.0}).items():
                total[term] += factor * inner
        terms = tuple((term, f"{f:.9g}") for term, f in sorted(total.items()) if f)
        if len(terms) == 1 and terms[0][1] == "1":
            return terms[0][0]
        number = self.term("sum", terms)
        self.exact.setdefault(number, total)
        return number

    def concat(self, *parts: int) -> int:
        """Channels one behind the other."""
        flat: list[int] = []
        for part in parts:
            content = self.contents[part]
            flat += content[1] if content[0] == "concat" else [part]
        return flat[0] if len(flat) == 1 else self.term("concat", tuple(flat))

    def act(self, x: int, kind: str, *which) -> int:
        """An activation; "prelu" has the place of its weights, "leaky" its slope."""
        return x if kind == "none" else self.term("act", kind, *which, x)

    def shuffle(self, x: int, r: float, kind: str = "shuffle") -> int:
        """A pixel shuffle or its inverse."""
        return x if r == 1 else self.term(kind, float(r), x)

    def enlarge(self, x: int, r: float, method: str) -> int:
        """`r` times larger."""
        return x if r == 1 else self.term("enlarge", method, float(r), x)


def recognise(layers: list[Layer], path: Path) -> Found:
    """The network that these layers compute. WeightsError with what they are like."""
    try:
        made = Expressions()
        end = _evaluated(layers, made)
    except ValueError as error:
        raise WeightsError(f"{path}: an ncnn network that is not known here: {error}") from None
    near = ""
    for found, write in _candidates(layers):
        whole, cut = write(made, found.fields)
        if end == whole:
            return found
        if end == cut:
            return Found(found.name, found.fields, found.tensors, CUT_NOTE)
        near = near or found.name
    kinds = Counter(layer.kind for layer in layers if layer.kind not in ("Input", "Split"))
    seen = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6))
    like = f"; the tensors are like {near}'s, but what they compute is not" if near else ""
    raise WeightsError(
        f"{path}: an ncnn network that is not known here ({seen}; it ends in "
        f"{layers[-1].kind if layers else 'nothing'}){like}; of ncnn, expected SRVGGNetCompact, "
        "RRDBNet or ESPCN"
    )


def _evaluated(layers: list[Layer], made: Expressions) -> int:
    """The expression of the output: what no layer takes, the last of it."""
    blobs: dict[str, int] = {}
    taken = {name for layer in layers for name in layer.inputs}
    declared = any(layer.kind == "Input" for layer in layers)
    convs = prelus = 0
    end = made.input
    for layer in layers:
        if not declared and not blobs:
            blobs |= dict.fromkeys(layer.inputs, made.input)
        missing = next((name for name in layer.inputs if name not in blobs), None)
        if missing is not None:
            raise ValueError(f"layer {layer.name} takes {missing}, which no layer before it gives")
        inputs = [blobs[name] for name in layer.inputs]
        value = _value(layer, inputs, made, convs, prelus)
        convs, prelus = convs + (layer.kind == "Convolution"), prelus + (layer.kind == "PReLU")
        blobs |= dict.fromkeys(layer.outputs, value)
        end = value if set(layer.outputs) - taken else end
    content = made.contents[end]
    return content[1] if content[0] == "clip" else end  # as the result is clipped in any case


def _value(layer: Layer, inputs: list[int], made: Expressions, convs: int, prelus: int) -> int:
    """What one layer gives."""
    kind = layer.kind
    if kind == "Input":
        return made.input
    if not inputs:
        raise ValueError(f"layer {layer.name} takes nothing")
    x = inputs[0]
    if kind in PASSED:
        return x
    if kind == "Clip" and (layer.number(0), layer.number(1)) == (0, 1):
        return made.term("clip", x)
    if kind == "Convolution":
        return made.act(made.term("conv", convs, x), *_fused(layer))
    if kind == "PReLU":
        return made.act(x, "prelu", prelus)
    if kind == "ReLU":
        slope = layer.number(0)
        return made.act(x, "leaky", slope) if slope else made.act(x, "relu")
    if kind in ALONE:
        return made.act(x, ALONE[kind])
    if kind == "Concat" and layer.number(0) == 0:
        return made.concat(*inputs)
    if kind in ("BinaryOp", "Eltwise"):
        return _sum(layer, inputs, made)
    if kind in ("PixelShuffle", "Reorg") and layer.number(1) == 0:
        return made.shuffle(x, layer.number(0, 1), "shuffle" if kind[0] == "P" else "unshuffle")
    if kind == "Interp" and layer.number(1) == layer.number(2) > 0 and not layer.number(6):
        return made.enlarge(x, layer.number(1), ENLARGEMENTS.get(int(layer.number(0)), "?"))
    raise ValueError(f"layer {layer.name} is a {kind} of a kind that is not known here")


def _fused(layer: Layer) -> tuple:
    """The activation inside a convolution, as `Expressions.act` takes it."""
    kind = FUSED.get(int(layer.number(9)))
    if kind is None:
        raise ValueError(f"layer {layer.name} ends in an activation that is not known here")
    slope = layer.options.get(10, [0.0])
    return ("leaky", *slope[:1]) if kind == ("leaky",) and isinstance(slope, list) else kind


def _sum(layer: Layer, inputs: list[int], made: Expressions) -> int:
    """Sums, differences, and products with a number."""
    kind = int(layer.number(0))
    if layer.kind == "Eltwise":
        factors = layer.options.get(1) or [1.0] * len(inputs)
        if kind != 1 or not isinstance(factors, list) or len(factors) != len(inputs):
            raise ValueError(f"layer {layer.name} is an Eltwise of a kind that is not known here")
        return made.sum(*zip(inputs, factors, strict=True))
    if layer.number(1) and kind in (2, 3) and layer.number(2):
        factor = layer.number(2)
        return made.sum((inputs[0], factor if kind == 2 else 1 / factor))
    if len(inputs) == 2 and kind in (0, 1):
        return made.sum((inputs[0], 1.0), (inputs[1], 1.0 if kind == 0 else -1.0))
    raise ValueError(f"layer {layer.name} is a BinaryOp of a kind that is not known here")


def _candidates(layers: list[Layer]) -> Iterator[tuple[Found, Callable]]:
    """Networks that have as many tensors of such shapes, and who writes their expression."""
    convs = [layer for layer in layers if layer.kind == "Convolution"]
    prelus = [layer for layer in layers if layer.kind == "PReLU"]
    if len(convs) < 2:
        return
    shapes = [layer.tensors["weight"].shape for layer in convs]
    if not prelus and (fields := _rrdb_fields(layers, shapes)):
        names = list(_rrdb_names(fields))
        yield Found("esrgan", fields, _named(convs, names)), _esrgan
    scale = isqrt(shapes[-1][0] // 3)
    into = [3, *(shape[0] for shape in shapes[:-1])]
    if [shape[1] for shape in shapes] != into or 3 * scale**2 != shapes[-1][0]:
        return
    activation = _activation(layers)
    bend = dict(zip(("activation", "slope"), activation, strict=False))
    if {shape[2] for shape in shapes} == {3} and len({shape[0] for shape in shapes[:-1]}) == 1:
        named = _named(convs, [f"body.{2 * i}" for i in range(len(convs))])
        named |= _named(prelus, [f"body.{2 * i + 1}" for i in range(len(prelus))], shapes[0][0])
        known = {"scale": scale, "features": shapes[0][0], "convs": len(convs) - 2, **bend}
        for base in ("nearest", "bilinear", "bicubic", "plain"):
            yield Found("srvgg", known | {"base": base}, named), _srvgg
    if {shape[2] for shape in shapes[1:]} == {3} and not prelus:
        named = _named(convs, [f"conv{i + 1}" for i in range(len(convs))])
        known = {"scale": scale, "widths": tuple(s[0] for s in shapes[:-1]), **bend}
        for residual in (False, True):
            more = {"first": shapes[0][2], "residual": residual}
            yield Found("espcn", known | more, named), _espcn


def _named(layers: list[Layer], names: list[str], features: int = 0) -> dict:
    """The layers' tensors under these names; a single slope is that of all channels."""
    named = {}
    for name, layer in zip(names, layers, strict=True):
        for key, value in layer.tensors.items():
            named[f"{name}.{key}"] = (
                value.repeat(features) if value.shape == (1,) and features else value
            )
    return named


def _activation(layers: list[Layer]) -> tuple:
    """The first activation in the file, with its slope if it is leaky."""
    for layer in layers:
        if layer.kind == "PReLU":
            return ("prelu",)
        if layer.kind in ALONE:
            return (ALONE[layer.kind],)
        if layer.kind == "ReLU":
            return ("leaky", layer.number(0)) if layer.number(0) else ("relu",)
        if layer.kind == "Convolution" and layer.number(9):
            return _fused(layer)
    return ("none",)


def _rrdb_fields(layers: list[Layer], shapes: list[tuple]) -> dict | None:
    """RRDBNet's fields, counted: 15 convolutions a block, one for each enlargement, 4 more."""
    ups = sum(layer.kind == "Interp" for layer in layers)
    blocks, left = divmod(len(shapes) - 4 - ups, 15)
    unshuffle = isqrt(shapes[0][1] // 3)
    if left or blocks < 1 or unshuffle not in (1, 2, 4, 8) or 2**ups < unshuffle:
        return None
    fields = {"scale": 2**ups // unshuffle, "features": shapes[0][0], "blocks": blocks}
    return fields | {"growth": shapes[1][0], "unshuffle": unshuffle}


def _rrdb_names(fields: Mapping) -> Iterator[str]:
    yield "conv_first"
    for i in range(fields["blocks"]):
        yield from (f"body.{i}.rdb{j}.conv{k}" for j in range(1, 4) for k in range(1, 6))
    yield "conv_body"
    doublings = (fields["scale"] * fields["unshuffle"]).bit_length() - 1
    yield from (f"conv_up{i + 1}" for i in range(doublings))
    yield from ("conv_hr", "conv_last")


class _Convs:
    """Convolutions with numbers in the order in which they are written."""

    def __init__(self, made: Expressions):
        self.made, self.count = made, -1

    def __call__(self, x: int) -> int:
        self.count += 1
        return self.made.term("conv", self.count, x)


def _esrgan(made: Expressions, fields: Mapping) -> tuple[int, int | None]:
    conv, leaky = _Convs(made), lambda x: made.act(x, *LEAKY)
    first = y = conv(made.shuffle(made.input, fields["unshuffle"], "unshuffle"))
    for _ in range(fields["blocks"]):
        inner = y
        for _ in range(3):
            maps = [inner]
            for _ in range(4):
                maps.append(leaky(conv(made.concat(*maps))))
            inner = made.sum((inner, 1.0), (conv(made.concat(*maps)), BETA))
        y = made.sum((y, 1.0), (inner, BETA))
    y = made.sum((first, 1.0), (conv(y), 1.0))
    ups = [name for name in _rrdb_names(fields) if re.match(r"conv_up\d", name)]
    for _ in ups:
        y = leaky(conv(made.enlarge(y, 2, "nearest")))
    return conv(leaky(conv(y))), None


def _chain(made: Expressions, fields: Mapping, count: int) -> int:
    """`count` convolutions with an activation behind each but the last."""
    conv, x = _Convs(made), made.input
    for i in range(count - 1):
        which = {"prelu": (i,), "leaky": (fields.get("slope", 0.0),)}
        kind = fields["activation"]
        x = made.act(conv(x), kind, *which.get(kind, ()))
    return conv(x)


def _over(made: Expressions, x: int, fields: Mapping, base: str) -> int:
    """Shuffled, over the enlarged input."""
    y = made.shuffle(x, fields["scale"])
    if base == "plain":
        return y
    return made.sum((y, 1.0), (made.enlarge(made.input, fields["scale"], base), 1.0))


def _srvgg(made: Expressions, fields: Mapping) -> tuple[int, int | None]:
    last = _chain(made, fields, fields["convs"] + 2)
    whole = _over(made, last, fields, fields["base"])
    return whole, last if (fields["activation"], fields["base"]) == ("prelu", "nearest") else None


def _espcn(made: Expressions, fields: Mapping) -> tuple[int, int | None]:
    last = _chain(made, fields, len(fields["widths"]) + 1)
    return _over(made, last, fields, "bicubic" if fields["residual"] else "plain"), None
