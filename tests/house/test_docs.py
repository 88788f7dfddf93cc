"""What the documents say can be done, done."""

import re
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"


def programs(name: str) -> list[str]:
    """The Python programs of a document."""
    return re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


def test_the_data_sets_are_told_of(capsys):
    exec(programs("training.md")[0], {})
    told = capsys.readouterr().out
    assert "vimeo_septuplet.zip" in told and "LIVE_NFLX_II" in told


@pytest.mark.sweep
def test_a_network_and_losses_of_ones_own(tmp_path):
    pytest.importorskip("grain")
    asked = 'STEPS, FOLDER = 50_000, Path("runs/mine")'
    (program,) = (p for p in programs("training.md") if asked in p)
    found: dict = {}
    exec(program.replace(asked, f"STEPS, FOLDER = 1, Path({str(tmp_path)!r})"), found)
    end = found["end"]
    assert int(end.state.step) == 2 and int(end.state.skipped) == 0
    assert np.isfinite(
        np.concatenate([np.ravel(p) for p in found["jax"].tree.leaves(end.state.ema)])
    ).all()
