"""python -m experiments: the papers that can be run here, what each claims, and how far it is."""

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

import experiments
from experiments.frame.claims import Paper


def papers() -> Iterator[Paper]:
    """One for each folder of experiments that has a `paper.py`."""
    for module in iter_modules(experiments.__path__, "experiments."):
        if module.ispkg and find_spec(f"{module.name}.paper"):
            yield import_module(f"{module.name}.paper").PAPER


def told(paper: Paper) -> str:
    """A paper in a few lines."""
    lines = f"python -m experiments.{paper.name}", f"{paper.title}, {paper.reference}", paper.source
    return "\n  ".join((*lines, f"claim: {paper.claim}", f"state: {paper.state}"))


if __name__ == "__main__":
    sys.stdout.write("\n\n".join(map(told, papers())) + "\n")
