"""Habits of this code base that a reader may rely on."""

import ast
import dataclasses
import re
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick
ROOT = Path(__file__).parents[2]
PACKAGES = ("jaxvsr", "kernels", "experiments", "tools", "tests")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LIBRARY = [path for path in FILES if path.is_relative_to(ROOT / "jaxvsr")]
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|root|home|Users|opt)/")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def public(path: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """Top-level functions and classes without a leading underscore."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [n for n in tree(path).body if isinstance(n, kinds) and n.name[0] != "_"]


def functions(path: Path) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef)]


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda p: str(p.relative_to(ROOT)))


@named(FILES)
def test_a_file_is_one_idea_and_says_which(path):
    assert len(path.read_text().splitlines()) <= 400
    assert ast.get_docstring(tree(path))
    assert path.stem not in VAGUE


@named(LIBRARY)
def test_public_names_are_documented(path):
    assert [node.name for node in public(path) if not ast.get_docstring(node)] == []


@named(LIBRARY)
def test_a_function_fits_a_screen(path):
    assert [f.name for f in functions(path) if f.end_lineno - f.lineno >= 40] == []


@named([path for path in LIBRARY if path.parts[-2] != "commands"])
def test_only_the_command_line_prints(path):
    calls = [n for n in ast.walk(tree(path)) if isinstance(n, ast.Call)]
    assert [n.lineno for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"] == []


@named(LIBRARY)
def test_key_comes_first_and_switches_are_named(path):
    for function in functions(path):
        args = [a.arg for a in function.args.args if a.arg not in ("self", "cls")]
        assert "key" not in args[1:], function.name
        defaults = function.args.defaults
        switches = [
            d for d in defaults if isinstance(d, ast.Constant) and isinstance(d.value, bool)
        ]
        assert not switches, f"{function.name}: a switch must be keyword-only"


def test_no_path_of_one_machine():
    kinds = ("*.py", "*.md", "*.toml", "*.html", "*.js", "*.json")
    written = [
        path for package in PACKAGES for kind in kinds for path in ROOT.glob(f"{package}/**/{kind}")
    ]
    written += [path for kind in kinds for path in ROOT.glob(kind)]
    written += [ROOT / "Makefile", ROOT / ".ci" / "run"]
    assert [str(p) for p in written if MACHINE_PATH.search(p.read_text())] == []


def test_the_library_is_typed():
    assert (ROOT / "jaxvsr" / "py.typed").is_file()


def test_every_network_states_its_facts():
    from jaxvsr.models import MODELS

    for name, spec in MODELS.items():
        assert spec.module.__doc__ and spec.paper, name
        assert spec.scale > 0 and spec.multiple >= 1 and spec.radius >= 0 and spec.reach >= 0, name
        assert "scale" in {field.name for field in dataclasses.fields(spec.module)}, name


WAITS = {"run", "communicate", "wait", "check_output", "check_call"}


@named([path for path in FILES if path.is_relative_to(ROOT / "tests")])
def test_no_test_waits_for_ever_for_a_process(path):
    """`subprocess.run`, `communicate` and `wait` of a process are given a `timeout`."""
    text = path.read_text()
    for call in (n for n in ast.walk(tree(path)) if isinstance(n, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr in WAITS:
            said = ast.get_source_segment(text, call)
            process = said.startswith("subprocess.") or call.func.attr in ("communicate", "wait")
            given = {keyword.arg for keyword in call.keywords}  # **options are None
            assert not process or given & {"timeout", None}, f"{path}:{call.lineno}: {said}"
