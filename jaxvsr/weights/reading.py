"""A file of weights to what it holds: its kind is told by how it begins, not by its name."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from jaxvsr.errors import WeightsError
from jaxvsr.weights.unpickle import read_checkpoint

PICKLES = tuple(b"\x80" + bytes([version]) for version in range(2, 6))
OTHERS = {  # how a file begins that is something else, and what that is
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"GGUF": "a GGUF file",
    b"version https://": "a pointer of Git LFS instead of the file; fetch it with git lfs pull",
    b"<!": "a web page instead of the file; download it again",
    b"<h": "a web page instead of the file; download it again",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
}
KINDS = {  # of number, as safetensors calls them
    **{f"F{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"I{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    "BOOL": np.dtype(bool),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}
EXPECTED = "expected .safetensors, .pth, .pt or .bin of PyTorch, .npz, or ncnn's .param with .bin"
INDEX = ".index.json"


@dataclass(frozen=True)
class Contents:
    """Tensors by name, in whatever nest they lie, and a safetensors file's texts."""

    found: object
    metadata: Mapping[str, str] = field(default_factory=dict)


def is_ncnn(path: Path) -> bool:
    """True of a .param, of a .bin that no other format begins like, and of a name without them."""
    if path.suffix == ".param" or not path.is_file():
        return True
    return path.suffix == ".bin" and _head(path)[:2] not in (b"PK", *PICKLES) and not _safe(path)


def read(path: Path) -> Contents:
    """What a file of PyTorch, safetensors or numpy holds. Raises WeightsError."""
    head = _head(path)
    if path.name.endswith(INDEX):
        return _read_shards(path)
    if _safe(path):
        return _read_safetensors(path)
    if head[:2] == b"PK" and _is_npz(path):
        return Contents(_read_npz(path))
    if head[:2] in (b"PK", *PICKLES):
        return Contents(read_checkpoint(path))
    kind = "an empty file" if not head else "not a file of weights"
    for start, other in OTHERS.items():
        kind = f"not a file of weights but {other}" if head.startswith(start) else kind
    raise WeightsError(f"{path}: {kind}; {EXPECTED}")


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None


def _safe(path: Path) -> bool:
    head = _head(path)
    return head[8:9] == b"{" and head[6:8] == b"\0\0"


def _read_safetensors(path: Path) -> Contents:
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
        parts = deserialize(path.read_bytes())
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        detail = " ".join(str(error).split())[:100]
        raise WeightsError(f"{path}: damaged safetensors ({detail}); fetch it again") from None
    tensors = {}
    for name, part in sorted(parts, key=lambda item: item[0]):
        if part["dtype"] not in KINDS:
            raise WeightsError(
                f"{path}: {name} is of the kind {part['dtype']}, which is not read here; "
                "save it as float32 or float16"
            )
        tensors[name] = np.frombuffer(part["data"], KINDS[part["dtype"]]).reshape(part["shape"])
    return Contents(tensors, metadata)


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive can raise almost anything
        detail = " ".join(str(error).split())[:100] or type(error).__name__
        raise WeightsError(f"{path}: not a readable .npz ({detail}); fetch it again") from None


def _read_shards(path: Path) -> Contents:
    """The tensors of all files that an index names, each beside it."""
    try:
        places = json.loads(path.read_text())["weight_map"]
        shards = sorted(set(places.values()))
        plain = all(Path(s).name == s and not s.endswith(INDEX) for s in shards)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise WeightsError(f"{path}: not an index of weights; expected a weight_map") from None
    if not plain:
        raise WeightsError(f"{path}: names files that do not lie beside it; {EXPECTED}")
    found: dict = {}
    for shard in shards:
        if not (path.parent / shard).is_file():
            raise WeightsError(f"{path}: {shard} is missing beside it; fetch every part")
        part = read(path.parent / shard).found
        found |= part if isinstance(part, Mapping) else {}
    missing = next((name for name in places if name not in found), None)
    if missing is not None:
        raise WeightsError(f"{path}: {missing} is in none of its files; fetch every part")
    return Contents(found)
