"""What the judges of pictures have learned: trunks of classifiers, LPIPS's heads, NIQE's model.

Each is looked for at the path given, then under the folder that JAXVSR_DATA names, then in the
cache of downloads, then on the network, where what comes is checked by its sha256.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxvsr.errors import WeightsError
from jaxvsr.metrics.niqe import Pristine
from jaxvsr.metrics.perceptual import NETS
from jaxvsr.models.features import STACKS, Trunk
from jaxvsr.weights.layouts import Tensors, by_path, to_tree
from jaxvsr.weights.store import fetch
from jaxvsr.weights.unpickle import read_checkpoint
from jaxvsr.weights.wrapping import state_dict

NIQE_FEATURES = 36
LARGE_ENOUGH = (1, 64, 64, 3)  # frames that pass every trunk


@dataclass(frozen=True)
class Published:
    """A file that its authors publish, and where copies of its tensors may lie in JAXVSR_DATA."""

    title: str
    places: tuple[str, ...]  # the first is where an error says to put it
    url: str
    sha256: str


def _torchvision(title: str, name: str, sha256: str, *more: str) -> Published:
    file = f"{name}-{sha256[:8]}.pth"
    url = f"https://download.pytorch.org/models/{file}"
    return Published(f"torchvision's {title}", (f"lpips/{file}", *more), url, sha256)


def _head(net: str, sha256: str) -> Published:
    commit = "082bb24f84c091ea94de2867d34c4544f68e0963"
    folder = f"https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/{commit}"
    places = (f"lpips/lins/v0.1/{net}.pth", f"lpips/lpips_{net}_v0.1.npz")
    url = f"{folder}/lpips/weights/v0.1/{net}.pth"
    return Published(f"LPIPS v0.1's heads for {net}", places, url, sha256)


TRUNKS = {
    "alexnet": _torchvision(
        "AlexNet",
        "alexnet-owt",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "lpips/lpips_alex_v0.1.npz",
    ),
    "squeezenet1_1": _torchvision(
        "SqueezeNet 1.1",
        "squeezenet1_1",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        "lpips/lpips_squeeze_v0.1.npz",
    ),
    "vgg16": _torchvision(
        "VGG16", "vgg16", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
    ),
    "vgg19": _torchvision(
        "VGG19", "vgg19", "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"
    ),
}
HEADS = {
    "alex": _head("alex", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
    "squeeze": _head("squeeze", "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"),
    "vgg": _head("vgg", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
}
NIQE = Published(
    "NIQE's pristine parameters",
    ("metrics/niqe_pris_params.npz",),
    "https://raw.githubusercontent.com/XPixelGroup/BasicSR/8d56e3a045f9fb3e1d8872f92ee4a4f07f886b0a"
    "/basicsr/metrics/niqe_pris_params.npz",
    "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
)


def lpips_params(
    net: str, *, trunk: str | Path | None = None, heads: str | Path | None = None
) -> dict:
    """Parameters of `jaxvsr.metrics.lpips`: {"trunk": tree, "heads": [[C] for each layer]}.

    `net` is "alex", "squeeze" or "vgg". `trunk` is a classifier in torchvision's format, `heads`
    LPIPS's own linear layers (.pth); an .npz may hold either or both. WeightsError, with what to
    do about it, where they cannot be had or are something else.
    """
    if net not in NETS:
        raise ValueError(f"net {net!r}: choose one of {', '.join(NETS)}")
    name, maps = NETS[net]
    if heads is None and trunk is not None and _heads(_read(_local(trunk), only=".npz")):
        heads = trunk
    others = [] if trunk or _present(TRUNKS[name]) else [TRUNKS[name]]
    path = _locate(HEADS[net], heads, others)  # first, because it is small
    found = _heads(_read(path))
    images = jax.ShapeDtypeStruct(LARGE_ENOUGH, jnp.float32)
    shapes, _ = jax.eval_shape(Trunk(name, maps).init_with_output, jax.random.key(0), images)
    wanted = {f"lin{i}.weight": shapes[key].shape[-1:] for i, key in enumerate(maps)}
    _check(found, wanted, HEADS[net], path)
    return {
        "trunk": _trunk(name, _locate(TRUNKS[name], trunk)),
        "heads": [jnp.asarray(found[key], jnp.float32) for key in wanted],
    }


def trunk_params(net: str, path: str | Path | None = None) -> dict:
    """Parameters of `jaxvsr.models.features.Trunk(net)`, float32.

    `net` is "vgg16", "vgg19", "alexnet" or "squeezenet1_1"; `path` a checkpoint in torchvision's
    format (.pth), or an .npz. WeightsError where it cannot be had or is something else. Reading
    a VGG takes 1.3 GB for a moment, because its file holds the whole classifier.
    """
    if net not in TRUNKS:
        raise ValueError(f"net {net!r}: choose one of {', '.join(TRUNKS)}")
    return _trunk(net, _locate(TRUNKS[net], path))


def niqe_pristine(path: str | Path | None = None) -> Pristine:
    """What NIQE knows of undistorted pictures, in float64.

    `path` is an .npz with `mu_pris_param` [1, 36] and `cov_pris_param` [36, 36], as BasicSR
    publishes it. WeightsError where it cannot be had or is something else.
    """
    path, side = _locate(NIQE, path), NIQE_FEATURES
    found = _read(path)
    wanted = {"mu_pris_param": (1, side), "cov_pris_param": (side, side)}
    _check(found, wanted, NIQE, path)
    return Pristine(found["mu_pris_param"].ravel(), found["cov_pris_param"])


def _local(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give an .npz or .pth with the weights")
    return path


def _present(file: Published) -> Path | None:
    """A copy of it under the folder that JAXVSR_DATA names."""
    folder = os.environ.get("JAXVSR_DATA")
    paths = [Path(folder, place) for place in file.places] if folder else []
    return next((path for path in paths if path.is_file()), None)


def _locate(file: Published, path: str | Path | None, others: Sequence[Published] = ()) -> Path:
    """The file that has these tensors; where it cannot be had, the error names `others` too."""
    if path is not None:
        return _local(path)
    copies = [f"it as {file.places[0]}", *(f"{f.url} as {f.places[0]}" for f in others)]
    remedy = f"go online, or put {' and '.join(copies)} into the folder that JAXVSR_DATA names"
    return _present(file) or fetch(f"{file.url}#sha256={file.sha256}", remedy)


def _read(path: Path, only: str = "") -> Tensors:
    """Named tensors of an .npz or of a checkpoint of torch; {} of a file that is not `only`."""
    if only and path.suffix != only:
        return {}
    if path.suffix != ".npz":
        return state_dict(read_checkpoint(path))
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive can raise almost anything
        detail = " ".join(str(error).split())[:100] or type(error).__name__
        raise WeightsError(f"{path}: not a readable .npz ({detail}); fetch it again") from None


def _trunk(net: str, path: Path) -> dict:
    """The tree of a trunk whose layers are called as torchvision or as the papers do."""
    places = {s.name: f"features.{i}" for i, s in enumerate(STACKS[net])}
    tensors = {}
    for key, value in _read(path).items():
        head, _, rest = key.partition(".")
        name = f"{places[head]}.{rest}" if head in places else key
        if name.startswith("features."):
            tensors[name] = value
    last = STACKS[net][-1].name
    images = jax.ShapeDtypeStruct(LARGE_ENOUGH, jnp.float32)
    tree = jax.eval_shape(Trunk(net, (last,)).init, jax.random.key(0), images)["params"]
    found = to_tree(tensors)
    _check(by_path(found), {k: v.shape for k, v in by_path(tree).items()}, TRUNKS[net], path)
    return jax.tree.map(jnp.asarray, found)


def _heads(tensors: Tensors) -> Tensors:
    """LPIPS's linear layers among these tensors, as vectors, under short names."""
    named = ((re.fullmatch(r"(lin\d+)\.(?:model\.1\.)?weight", k), v) for k, v in tensors.items())
    return {f"{match[1]}.weight": value.ravel() for match, value in named if match}


def _check(found: Mapping, wanted: Mapping, file: Published, path: Path) -> None:
    """Names and shapes are those expected, and every number is finite."""
    for name, shape in wanted.items():
        seen = found[name].shape if name in found else "missing"
        if seen != shape:
            raise WeightsError(
                f"{path}: {name} is {seen} where {shape} was expected; give {file.title}"
            )
        if not np.isfinite(found[name]).all():
            raise WeightsError(f"{path}: {name} has values that are no numbers; fetch it again")
