"""docs/kept.md is true: each row's test exists, and README's table says nothing beyond it."""

import re
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick
ROOT = Path(__file__).parents[2]


def rows(text: str) -> list[list[str]]:
    """Cells of the rows of every table in a text, without heads and rules."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("-: ") and row[0] != "property"]


@cache
def source(path: str) -> str:
    return (ROOT / path).read_text()


def kept() -> list[list[str]]:
    return rows((ROOT / "docs" / "kept.md").read_text())


def test_every_row_names_its_test():
    assert len(kept()) > 30
    for row in kept():
        assert len(row) == 3 and row[0] and row[1], row
        proofs = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[2])
        assert proofs, f"{row[0]}: no test is named"
        for path, name in proofs:
            assert re.search(rf"^def {name}\(", source(path), re.M), row


def test_no_property_is_told_twice():
    for section in re.split(r"^## ", (ROOT / "docs" / "kept.md").read_text(), flags=re.M):
        names = [row[0].lower() for row in rows(section)]
        assert len(names) == len(set(names)), section.splitlines()[0]


def test_the_readme_says_nothing_beyond_it():
    """Each thing that README's table names is a property in the whole list."""
    text = (ROOT / "README.md").read_text()
    table = text.split("## What is kept")[1].split("\n## ")[0]
    known = " ".join(row[0].lower() for row in kept())
    said = [thing.strip().lower() for row in rows(table) for thing in row[0].split(",")]
    assert len(said) > 8
    assert [thing for thing in said if thing not in known] == []
    assert "docs/kept.md" in table
