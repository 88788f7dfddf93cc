"""The layering rule, checked: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY = {  # package: what it may import from this repository
    "kernels": {"kernels"},
    "jaxvsr": {"jaxvsr", "kernels"},
    "experiments": {"experiments", "jaxvsr"},
    "tools": {"tools", "jaxvsr"},
}
LAYERS = (  # inside jaxvsr, lowest first: a module imports from its own layer and from below
    {"errors"},
    {"impl", "convolution", "cores", "allocator"},
    {"ops", "motion", "resample", "clip", "video", "journal", "pipeline", "progress"}
    | {"settings", "folders"},
    {"layers", "fused"},
    {"models", "losses", "metrics"},
    {"weights", "compress", "checkpoint", "degradation", "plan", "preview", "sequence"},
    {"engine", "comparison"},
    {"network", "film", "data", "train", "export"},
    {"enhance"},
    {""},
    {"commands"},
    {"__main__"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
VIDEO_MAY = {"av", "numpy", "PIL"} | sys.stdlib_module_names
OPTIONAL = ("torch", "triton", "onnx", "onnxruntime", "skimage", "imageio_ffmpeg", "matplotlib")
OPTIONAL += ("cv2", "grain", "orbax", "tensorflow_datasets", "array_record")


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it; `from a import b` counts as a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(path: Path) -> str:
    """The module or package directly inside jaxvsr that a file belongs to."""
    return path.relative_to(ROOT / "jaxvsr").parts[0].removesuffix(".py").replace("__init__", "")


def inner(path: Path) -> set[str]:
    """Parts of jaxvsr that a file imports; a name defined in jaxvsr itself counts as ""."""
    dotted = [n.split(".") for n in imports(path)]
    return {n[1] if n[1:] and n[1] in RANK else "" for n in dotted if n[0] == "jaxvsr"}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY)
def test_imports_point_down(package):
    for path in files(package):
        ours = {name.split(".")[0] for name in imports(path)} & MAY.keys()
        assert ours <= MAY[package], path


def test_layers_inside_the_library_point_down():
    for path in files("jaxvsr"):
        assert part(path) in RANK, f"{path}: name its layer in {Path(__file__).name}"
        high = {name for name in inner(path) if RANK[name] > RANK[part(path)]}
        assert not high, f"{path} imports {high} from above"


def test_no_circles_inside_the_library():
    below = {name: set() for name in RANK}
    for path in files("jaxvsr"):
        below[part(path)] |= inner(path) - {part(path)}
    while below:
        free = {name for name, needs in below.items() if not needs & below.keys()}
        assert free, f"a circle among {sorted(below)}"
        below = {name: needs for name, needs in below.items() if name not in free}


def test_video_needs_no_jax():
    for path in files("jaxvsr/video"):
        others = {n.split(".")[0] for n in imports(path)} - VIDEO_MAY - {"jaxvsr"}
        assert not others and inner(path) <= {"video", "errors"}, path


def test_importing_the_library_needs_no_optional_package():
    code = f"import sys, jaxvsr; print(*[m for m in {OPTIONAL} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0 and not out.stdout.split(), out.stdout + out.stderr
