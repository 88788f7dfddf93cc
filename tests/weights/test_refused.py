"""Nothing that is not weights does anything but name what it is and what was expected."""

import pickle
import struct

import numpy as np
import pytest

from jaxvsr import weights
from jaxvsr.errors import WeightsError
from jaxvsr.weights import unpickle

torch = pytest.importorskip("torch")

import torch_nets  # noqa: E402  (needs torch)


class Payload:
    """Writes a file when it is unpickled by a reader that runs what it reads."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, how):
    mark, path = tmp_path / "ran", tmp_path / "net.pth"
    found = {"conv_first.weight": torch.ones(1), "x": Payload(mark)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(found["x"]))
    else:
        torch.save(found, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(WeightsError, match=r"net.pth: contains code \(.*open\): refused") as e:
        weights.load(path)
    assert not mark.exists() and "\n" not in str(e.value)
    if how == "zip":
        torch.load(path, weights_only=False)["x"].close()  # the payload is a real one
        assert mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    ],
)
def test_hand_written_payloads_are_refused(tmp_path, data):
    (tmp_path / "net.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=r"contains code|not a file of weights"):
        weights.load(tmp_path / "net.pth")


def damaged_files(path):
    """Name -> bytes of files that are no checkpoint, each in its own way."""
    torch.save(torch_nets.Compact().state_dict(), path)
    whole = path.read_bytes()
    torch.save(torch_nets.Compact().state_dict(), path, _use_new_zipfile_serialization=False)
    legacy = path.read_bytes()
    rng = np.random.default_rng(0)
    return {
        "empty": b"",
        "text": b"hello, this is not a network\n" * 9,
        "random": rng.bytes(5000),
        "cut zip": whole[: len(whole) // 2],
        "cut legacy": legacy[: len(legacy) // 2],
        "cut header": legacy[:30],
        "random pickle": b"\x80\x02" + rng.bytes(500),
        "zip magic alone": b"PK\x03\x04" + rng.bytes(100),
        "safetensors with a wrong length": struct.pack("<Q", 10**9) + b'{"a":1}',
        "safetensors with a wrong header": struct.pack("<Q", 9) + b'{"a":1}  ' + b"1234",
        "onnx": b"\x08\x0a\x12\x07pytorch\x1a\x052.0.0:\x9a\x03" + rng.bytes(300),
    }


@pytest.mark.parametrize("index", range(11))
def test_damaged_files_end_in_one_clear_line(tmp_path, index):
    path = tmp_path / "net.pth"
    data = list(damaged_files(path).values())[index]
    path.write_bytes(data)
    with pytest.raises(WeightsError) as error:
        weights.load(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_no_byte_of_a_checkpoint_can_be_changed_into_a_crash(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "net.pth"
    torch.save(
        torch_nets.Compact(width=1, convs=1).state_dict(),
        path,
        _use_new_zipfile_serialization=False,
    )
    whole = path.read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
        try:
            unpickle.read_checkpoint(path)
        except WeightsError as error:
            assert "\n" not in str(error)


def test_torchscript_is_named_as_such(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"net/{name}", b"\x80\x02}.")
    with pytest.raises(WeightsError, match=r"TorchScript.*state_dict"):
        weights.load(tmp_path / "net.pt")


@pytest.mark.parametrize(
    "found", [{"a": torch.ones(2)}, {"epoch": 3}, [torch.ones(2)], torch.ones(2)]
)
def test_tensors_of_no_known_network_are_told_what_was_expected(tmp_path, found):
    torch.save(found, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="expected SR-UNet, RRDBNet"):
        weights.load(tmp_path / "net.pth")


def test_a_tensor_of_a_wrong_shape_is_named(tmp_path):
    state = torch_nets.RRDBNet().state_dict()
    state["body.1.rdb2.conv3.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"body_1/rdb2/conv3/bias is \(7,\) where \(4,\)"):
        weights.load(tmp_path / "net.pth")


def test_missing_tensors_are_named(tmp_path):
    state = torch_nets.RRDBNet().state_dict()
    del state["conv_hr.bias"]
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="conv_hr/bias is missing"):
        weights.load(tmp_path / "net.pth")


def test_a_missing_file_lists_the_packaged_names():
    with pytest.raises(WeightsError, match=", ".join(weights.PACKAGED)):
        weights.load("no/such/file.pth")


def test_a_folder_is_told_from_a_file(tmp_path):
    with pytest.raises(WeightsError, match="a folder"):
        weights.load(tmp_path)
