"""PyTorch checkpoints read without PyTorch and without running anything from the file.

A checkpoint is a pickle, and a pickle may name any function to be called. This reader resolves
only the handful of names that describe tensors; every other name ends the reading.
"""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

from jaxvsr.errors import WeightsError
from jaxvsr.weights.standins import Scripted, Storage, StorageType, Tensor, arrays, stand_in

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001


def read_checkpoint(path: Path):
    """What `torch.save` wrote to `path`, tensors as numpy arrays; raises WeightsError."""
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            found = _read_zip(file, path) if zipped else _read_legacy(file, path)
        return arrays(found)
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
        if not pickles:
            inside = f" ({names[0]}, ..)" if names else ""
            raise WeightsError(
                f"{path}: a zip archive without torch.save's data.pkl{inside}; unpack it first"
            )
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

        found = Reader(io.BytesIO(archive.read(pickles[0])), path, load).load()
        scripted = any(n.endswith("/constants.pkl") for n in names)
        return _named(found, path) if scripted else found


def _named(program, path: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript program under the names of its state_dict."""
    found: dict[str, Tensor] = {}

    def walk(part, prefix: str):
        for name, value in part.items():
            if isinstance(value, Tensor):
                found[prefix + name] = value
            elif isinstance(value, Scripted):
                walk(value, f"{prefix}{name}.")

    if isinstance(program, Scripted):
        walk(program, "")
    if not found:
        raise WeightsError(
            f"{path}: a TorchScript program without tensors by name, as freezing leaves it; "
            "save its state_dict() instead"
        )
    return found


def _read_legacy(file, path: Path):
    """Five pickles and then the raw storages, as PyTorch wrote before version 1.6."""
    storages: dict[str, Storage] = {}

    def load(record) -> Storage:
        if record[0] != "storage" or (len(record) > 5 and record[5] is not None):
            raise ValueError("a view of a storage")
        dtype, key, count = _storage_record(record)
        return storages.setdefault(key, Storage(dtype, count))

    refuse = lambda record: load(("none",))
    first = Reader(file, path, refuse).load()
    if isinstance(first, dict):
        return first  # a pickle of numpy arrays
    if first != LEGACY_MAGIC:
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


class Reader(pickle.Unpickler):
    """An unpickler that knows tensors and containers and refuses every other name."""

    def __init__(self, file, path: Path, load):
        super().__init__(file, encoding="utf-8")
        self.path, self.load_storage = path, load

    def find_class(self, module: str, name: str):
        """What stands for a name of data; any other is refused, never imported."""
        found = stand_in(module, name)
        if found is None:
            raise WeightsError(
                f"{self.path}: contains code ({module}.{name}): refused; ask for a file of tensors "
                "only, as torch.save(net.state_dict(), ...) writes it"
            )
        return found

    def persistent_load(self, record):
        """Called by pickle where the file refers to a storage."""
        return self.load_storage(record)
