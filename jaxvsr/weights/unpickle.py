"""PyTorch checkpoints read without PyTorch and without running anything from the file.

A checkpoint is a pickle, and a pickle may name any function to be called. This reader resolves
only the handful of names that describe tensors; every other name ends the reading.
"""

import collections
import io
import math
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from jaxvsr.errors import WeightsError

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
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
LARGEST = 1 << 28  # elements that an expanded tensor may have


@dataclass
class Storage:
    """A flat array; legacy files fill it only after the tensors that look into it are built."""

    dtype: np.dtype
    count: int
    data: np.ndarray | None = None


@dataclass
class Tensor:
    """A view into a storage: offset, shape and strides, counted in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The tensor as an array of its own, after checking that it lies inside its storage."""
        data = self.storage.data
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
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, strides).copy()


def read_checkpoint(path: Path):
    """What `torch.save` wrote to `path`, tensors as numpy arrays; raises WeightsError."""
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            found = _read_zip(file, path) if zipped else _read_legacy(file, path)
        return _arrays(found)
    except WeightsError:
        raise
    except zipfile.BadZipFile:
        raise WeightsError(f"{path}: the file is cut short or damaged; fetch it again") from None
    except Exception as error:  # a damaged pickle can raise almost anything
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> WeightsError:
    detail = " ".join(str(error).split())[:100] or type(error).__name__
    return WeightsError(f"{path}: not a readable PyTorch checkpoint ({detail}); fetch it again")


def _read_zip(file, path: Path):
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [n for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
        if any(n.endswith("/constants.pkl") for n in names):
            raise WeightsError(
                f"{path}: a TorchScript program, not weights; save its state_dict() instead"
            )
        if not pickles:
            raise WeightsError(f"{path}: a zip archive without data.pkl; expected torch.save's")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError(f"{path}: stored big-endian; save it again on a common machine")
        storages: dict[str, Storage] = {}

        def load(record) -> Storage:
            dtype, key, count = _storage_record(record)
            if key not in storages:
                raw = archive.read(f"{root}data/{key}")
                data = np.frombuffer(raw, dtype, count)
                storages[key] = Storage(dtype, count, data)
            return storages[key]

        return Reader(io.BytesIO(archive.read(pickles[0])), path, load).load()


def _read_legacy(file, path: Path):
    """Five pickles and then the raw storages, as PyTorch wrote before version 1.6."""
    storages: dict[str, Storage] = {}

    def load(record) -> Storage:
        if record[0] != "storage" or (len(record) > 5 and record[5] is not None):
            raise ValueError("a view of a storage")
        dtype, key, count = _storage_record(record)
        return storages.setdefault(key, Storage(dtype, count))

    refuse = lambda record: load(("none",))
    if Reader(file, path, refuse).load() != LEGACY_MAGIC:
        raise ValueError("it does not begin as one")
    if Reader(file, path, refuse).load() != LEGACY_VERSION:
        raise ValueError("an unknown version")
    Reader(file, path, refuse).load()
    found = Reader(file, path, load).load()
    for key in Reader(file, path, refuse).load():
        storage = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise ValueError("a storage has another length than its tensors say")
        raw = file.read(count * storage.dtype.itemsize)
        storage.data = np.frombuffer(raw, storage.dtype, count)
    return found


def _storage_record(record) -> tuple[np.dtype, str, int]:
    kind, dtype, key, _, count = record[:5]
    known = kind == "storage" and isinstance(dtype, StorageType)
    if not (known and isinstance(key, str) and isinstance(count, int) and count >= 0):
        raise ValueError("an unknown kind of storage")
    return dtype.dtype, key, count


@dataclass(frozen=True)
class StorageType:
    """Stands for torch.FloatStorage and its kind: data, not something to call."""

    dtype: np.dtype


class Opaque:
    """Stands for a torch.dtype or torch.device: it may be mentioned, and means nothing here."""


class Reader(pickle.Unpickler):
    """An unpickler that knows tensors and containers and refuses every other name."""

    def __init__(self, file, path: Path, load):
        super().__init__(file, encoding="utf-8")
        self.path, self.load_storage = path, load

    def find_class(self, module: str, name: str):
        """Resolves the names that describe tensors; anything else is refused, never imported."""
        if (module, name) in NAMES:
            return NAMES[module, name]
        if module in ("torch", "torch.storage") and name in STORAGES:
            return StorageType(np.dtype(STORAGES[name]))
        if module == "torch" and name in DTYPES:
            return Opaque()
        raise WeightsError(
            f"{self.path}: contains code ({module}.{name}): refused; ask for a file of tensors only"
        )

    def persistent_load(self, record):
        """Called by pickle where the file refers to a storage."""
        return self.load_storage(record)


def _rebuild_tensor(storage, offset, shape, strides, *_) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_):
    return tensor


NAMES = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): lambda *_: None,
}
DTYPES = {
    *("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"),
    *("uint8", "bool", "strided"),
}


def _arrays(found):
    """The same nest of dicts and lists with arrays for tensors."""
    if isinstance(found, Tensor):
        return found.array()
    if isinstance(found, dict):
        return {key: _arrays(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [_arrays(value) for value in found]
    return found
