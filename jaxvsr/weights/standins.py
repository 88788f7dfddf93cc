"""What stands for the names in a pickle: tensors, arrays, and data that means nothing here.

A pickle names classes and functions to be called. None of those is imported: each known name is
answered with one of the stand-ins below, which hold numbers or swallow what they are given.
"""

import collections
import math
from dataclasses import dataclass

import ml_dtypes
import numpy as np

STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "UntypedStorage": np.uint8,
}
SMALL = {  # kinds of number that are no numpy kinds, by torch's name
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "float8_e8m0fnu": ml_dtypes.float8_e8m0fnu,
}
PLAIN = ("float64", "float32", "float16", "bool", "complex64", "complex128")
PLAIN += tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
LARGEST = 1 << 28  # elements that an expanded tensor may have
DATA_ALONE = {  # packages whose classes in checkpoints carry settings, times, counts and the like
    *("argparse", "collections", "datetime", "decimal", "pathlib", "uuid", "enum", "types"),
    *("addict", "easydict", "omegaconf", "yacs", "mmengine", "mmcv"),
    *("lightning", "lightning_fabric", "lightning_utilities", "pytorch_lightning", "accelerate"),
}
CONTAINERS = {"collections": {"Counter", "defaultdict", "deque"}, "types": {"SimpleNamespace"}}


@dataclass
class Storage:
    """A flat array; legacy files fill it only after the tensors that look into it are built."""

    dtype: np.dtype
    count: int
    data: np.ndarray | None = None


@dataclass
class Tensor:
    """A view into a storage: offset, shape and strides, counted in elements of its type."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype | None = None  # where the storage is one of bytes

    def array(self) -> np.ndarray:
        """The tensor as an array of its own, after checking that it lies inside its storage."""
        data = self.storage.data
        if data is not None and self.dtype is not None:
            data = data.view(self.dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        sound = all(
            isinstance(n, int) and n >= 0 for n in (self.offset, *self.shape, *self.strides)
        )
        if not sound or data is None or (0 not in self.shape and last >= data.size):
            raise ValueError("a tensor lies outside its storage")
        if math.prod(self.shape) > max(data.size, LARGEST):
            raise ValueError("a tensor is larger than what it is made of")
        if 0 in self.shape:
            return np.empty(self.shape, data.dtype)
        strides = [s * data.itemsize for s in self.strides]
        start = self.offset * data.itemsize
        return np.ndarray(self.shape, data.dtype, data.view(np.uint8), start, strides).copy()


@dataclass(frozen=True)
class StorageType:
    """Stands for torch.FloatStorage and its kind: data, not something to call."""

    dtype: np.dtype


@dataclass(frozen=True)
class NumberType:
    """Stands for torch.float32 and its kind."""

    dtype: np.dtype


class Opaque:
    """Stands for what may be mentioned and means nothing here."""


class Inert(dict):
    """Stands for an object of settings, times or counts: takes whatever it is given.

    Items are kept, as a default dict may hold tensors; attributes are not.
    """

    def __init__(self, *_, **__):
        super().__init__()

    def __setstate__(self, state):
        """Forgets the state."""

    def append(self, *_):
        """Forgets an element."""

    extend = add = append


class Scripted(dict):
    """A module of a TorchScript program: its attributes by name."""

    def __init__(self, *_):
        super().__init__()

    def __setstate__(self, state):
        self.update(state)


class ArrayType:
    """Stands for numpy.dtype."""

    def __init__(self, kind: str, *_):
        self.kind, self.order = kind, "<"

    def __setstate__(self, state):
        self.order = state[1] if state[1] in ("<", ">", "|") else "<"

    def dtype(self) -> np.dtype:
        """The type itself, if it is one of numbers."""
        found = np.dtype(f"{self.order}{self.kind}".replace("|", ""))
        if found.kind not in "fiub":
            raise ValueError("an array of things that are no numbers")
        return found


class Array:
    """Stands for numpy.ndarray while it is put together."""

    values = None

    def __setstate__(self, state):
        _, shape, kind, fortran, raw = state
        if isinstance(raw, bytes):
            flat = np.frombuffer(raw, kind.dtype())
            self.values = flat.reshape(shape, order="F" if fortran else "C").copy()


def _rebuild_tensor(storage, offset, shape, strides, *_) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_of_bytes(storage, offset, shape, strides, _, __, kind, *___) -> Tensor:
    if not isinstance(kind, NumberType):
        raise ValueError("a tensor of an unknown type of number")
    tensor = _rebuild_tensor(storage, offset, shape, strides)
    tensor.dtype = kind.dtype
    return tensor


def _rebuild_from_type(build, _, arguments, *__):
    return build(*arguments)


def _first(value, *_):
    return value


def _array_of_buffer(raw, kind, shape, order="C", *_):
    return np.frombuffer(raw, kind.dtype()).reshape(shape, order=order).copy()


def _scalar(*_):
    return 0


def _encoded(text, *_):
    return text.encode("latin1")


MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
BUILTINS = ("builtins", "__builtin__")
BUILT_IN = {"list": list, "dict": dict, "set": Inert, "frozenset": Inert, "int": int}
BUILT_IN |= {"float": float, "bool": bool, "str": str, "complex": Inert, "slice": Inert}
BUILT_IN |= {"getattr": Inert}  # what mmengine's histories name; nothing is got
NAMES = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_of_bytes,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch", "Tensor"): Opaque(),
    ("torch.nn.parameter", "Parameter"): Opaque(),
    ("torch.nn.parameter", "Buffer"): Opaque(),
    ("torch", "Size"): tuple,
    ("torch", "device"): lambda *_: None,
    ("torch.serialization", "_get_layout"): lambda *_: None,
    ("numpy", "dtype"): ArrayType,
    ("numpy", "ndarray"): Array,
    **{(module, "_reconstruct"): lambda *_: Array() for module in MULTIARRAY},
    **{(module, "scalar"): _scalar for module in MULTIARRAY},
    **{(f"numpy.{c}.numeric", "_frombuffer"): _array_of_buffer for c in ("core", "_core")},
    ("_codecs", "encode"): _encoded,
    **{(module, name): kind for module in BUILTINS for name, kind in BUILT_IN.items()},
    **{("torch.jit._pickle", f"build_{kind}list"): _first for kind in ("int", "tensor", "double")},
    ("torch.jit._pickle", "build_boollist"): _first,
    ("torch.jit._pickle", "restore_type_tag"): _first,
}


def stand_in(module: str, name: str):
    """What stands for module.name in a pickle; None for a name that is none of data."""
    if (module, name) in NAMES:
        return NAMES[module, name]
    if module in ("torch", "torch.storage") and name in STORAGES:
        return StorageType(np.dtype(STORAGES[name]))
    if module == "torch" and name in (*SMALL, *PLAIN):
        return NumberType(np.dtype(SMALL.get(name, name)))
    if module == "torch" and name == "strided":
        return Opaque()
    root = module.partition(".")[0]
    if root == "__torch__":
        return Scripted
    known = CONTAINERS.get(root, {name} if root in DATA_ALONE else set())
    return Inert if module == "numpy.dtypes" or name in known else None


def arrays(found):
    """The same nest of dicts and lists with arrays for tensors."""
    if isinstance(found, Tensor):
        return found.array()
    if isinstance(found, Array):
        return found.values
    if isinstance(found, dict):
        return {key: arrays(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [arrays(value) for value in found]
    return found
