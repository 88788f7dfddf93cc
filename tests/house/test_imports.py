"""The layering rule, checked: who may import whom, and that no files import each other."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick
ROOT = Path(__file__).parents[2]
MAY = {  # package: what it may import from this repository
    "kernels": {"kernels"},
    "jaxvsr": {"jaxvsr", "kernels"},
    "experiments": {"experiments", "jaxvsr"},
    "tools": {"tools", "jaxvsr"},
}
LAYERS = (  # inside jaxvsr, lowest first: a room imports from itself and from below
    {"errors"},
    {"video", "ops"},
    {"clip", "host", "layers"},
    {"models"},
    {"metrics"},
    {"losses", "weights"},
    {"inference", "compress"},
    {"comparison", "degradation"},
    {"data", "train", "export"},
    {""},
    {"commands"},
    {"__main__"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
PARTS = 16  # modules and packages directly inside jaxvsr, beside its own two files
VIDEO_MAY = {"av", "numpy", "PIL", "pillow_heif"} | sys.stdlib_module_names
OPTIONAL = ("torch", "triton", "onnx", "onnxruntime", "skimage", "imageio_ffmpeg", "matplotlib")
OPTIONAL += ("cv2", "grain", "orbax", "tensorflow_datasets", "array_record")


@cache
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


def dotted(path: Path) -> str:
    """A file as it is imported: a.b.c, and a.b for a/b/__init__.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def file_of(name: str, known: dict[str, Path]) -> Path | None:
    """The file that `import a.b.c` is about: a module, or the one that defines the name c."""
    return known.get(name) or known.get(name.rpartition(".")[0])


def graph(paths: list[Path]) -> dict[Path, set[Path]]:
    """Which of the files import which, lazily too."""
    known = {dotted(path): path for path in paths}
    return {path: {f for n in imports(path) if (f := file_of(n, known))} for path in paths}


def circles(edges: dict) -> set:
    """What is left when everything that imports nothing else left is taken away, again and again.

    And from the other side: what only imports a circle is none itself.
    """
    left = {node: needs - {node} for node, needs in edges.items()}
    while free := {node for node, needs in left.items() if not needs & left.keys()}:
        left = {node: needs for node, needs in left.items() if node not in free}
    while left:
        asked = set().union(*(needs & left.keys() for needs in left.values()))
        if not (left.keys() - asked):
            break
        left = {node: needs for node, needs in left.items() if node in asked}
    return set(left)


@pytest.mark.parametrize("package", MAY)
def test_imports_point_down(package):
    for path in files(package):
        ours = {name.split(".")[0] for name in imports(path)} & MAY.keys()
        assert ours <= MAY[package], path


@pytest.mark.parametrize("package", MAY)
def test_no_files_import_each_other(package):
    assert not circles(graph(files(package)))


def test_a_circle_of_files_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    made = {
        "a": "def f():\n    from p.b import x",  # lazily, too
        "b": "import p.c",
        "c": "from p import a",
        "d": "from p import a",
        "e": "import os",
    }
    (tmp_path / "p").mkdir()
    for name, text in made.items():
        (tmp_path / f"p/{name}.py").write_text(text)
    assert {path.stem for path in circles(graph(files("p")))} == {"a", "b", "c"}


def test_layers_inside_the_library_point_down():
    for path in files("jaxvsr"):
        assert part(path) in RANK, f"{path}: name its layer in {Path(__file__).name}"
        high = {name for name in inner(path) if RANK[name] > RANK[part(path)]}
        assert not high, f"{path} imports {high} from above"


def rooms() -> Iterator[str]:
    """What lies directly inside jaxvsr."""
    for path in (ROOT / "jaxvsr").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            yield path.stem


def test_rooms_are_few():
    assert len(set(rooms()) - {"__init__", "__main__"}) <= PARTS


def test_no_rooms_import_each_other():
    below = {name: set() for name in RANK}
    for path in files("jaxvsr"):
        below[part(path)] |= inner(path) - {part(path)}
    assert not circles(below)


def test_tests_mirror_the_packages():
    """A folder of tests is named after a room of the library, or after another package."""
    known = set(rooms()) | MAY.keys() | {"house", "tests"}
    folders = {path.parent.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders <= known


def test_video_needs_no_jax():
    for path in files("jaxvsr/video"):
        others = {n.split(".")[0] for n in imports(path)} - VIDEO_MAY - {"jaxvsr"}
        assert not others and inner(path) <= {"video", "errors"}, path


def test_importing_the_library_needs_no_optional_package():
    code = f"import sys, jaxvsr; print(*[m for m in {OPTIONAL} if m in sys.modules])"
    line = [sys.executable, "-c", code]
    out = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert out.returncode == 0 and not out.stdout.split(), out.stdout + out.stderr
