"""The frame of experiments: every paper's smoke, the list of papers, and a paper written anew."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import optax
import pytest

from experiments.__main__ import papers, told
from experiments.frame import config as options
from experiments.frame import entry, material, playing, tables, training
from experiments.frame.claims import Paper
from experiments.frame.experiment import Experiment
from jaxvsr import train, weights
from jaxvsr.errors import UsageError
from jaxvsr.models.espcn import ESPCN

PAPERS = [paper.name for paper in papers()]


def experiment_of(name: str) -> Experiment:
    """What a paper's recipe hands to the frame."""
    module = import_module(f"experiments.{name}.recipe")
    (found,) = (value for value in vars(module).values() if isinstance(value, Experiment))
    return found


@pytest.mark.parametrize("name", PAPERS)
def test_smoke(name):
    """Every phase of every paper, critics and all, without a file."""
    experiment = experiment_of(name)
    scores = playing.play(experiment, experiment.config(smoke=True))
    last = experiment.phases(experiment.config(), 4)[-1]
    wanted = {*last.weights, *(f"critic_{critic}" for critic in last.critics)}
    assert wanted <= scores.keys() and np.isfinite(list(scores.values())).all()


@pytest.mark.quick
def test_every_folder_of_a_paper_is_listed_with_claim_and_state():
    assert "sr_unet" in PAPERS
    for paper in papers():
        assert paper.claim and paper.state and paper.source.startswith("https://")
        assert f"python -m experiments.{paper.name}" in told(paper)
        assert import_module(f"experiments.{paper.name}.__main__").__doc__


NET = ESPCN(widths=(4, 4), first=3)


@dataclass(frozen=True)
class Config(options.Config):
    """A paper of one term."""

    power: int = 2


def game(config: Config, judges) -> train.Game:
    error = lambda r: (abs(r.fake - r.hr) ** config.power).mean()
    return train.Game({"generator": config.net}, {"error": error}, optax.adam(config.rate))


MINE = Experiment(
    paper=Paper("mine", "Mine", "one page, 2026", "https://example.org", "less error", "whole"),
    config=Config,
    uses={"paper": material.web(20, 21), **material.USES},
    networks={"espcn": NET},
    usual={"": "espcn"},
    steps=10,
    players=lambda config: {"generator": (config.net, training.example(config))},
    game=game,
    phases=lambda config, steps: (train.Phase("only", steps, {"error": 1.0}),),
    tiny=NET,
    told=("power",),
)


def test_papers_keep_their_tables_apart(monkeypatch):
    """Cells say which clip and network they are of, not which paper's degradation."""
    monkeypatch.setattr(tables.Table, "_written", lambda table, title, study: table.output)
    folders = [tables.Table().run(paper) for paper in (*papers(), MINE.paper)]
    assert len(set(folders)) == len(folders) and Path("runs/mine_tables") in folders


def test_a_new_paper_is_a_few_lines(films, tmp_path, capsys, monkeypatch):
    """It trains, goes on, packs and trains from the pack, by the command line that it was given."""
    monkeypatch.chdir(tmp_path)
    line = f"--data {films} --share 0.4 --batch 4 --patch 32 --scale 0.2 --rate 0.001".split()
    scores = entry.command(MINE, line, "Mine.", {})
    assert scores["psnr"] > 5
    path = tmp_path / "runs/mine/paper-espcn/paper-espcn.safetensors"
    assert weights.load(path).module == NET and b'"power":"2"' in path.read_bytes()
    assert entry.command(MINE, line, "Mine.", {}) == scores
    entry.command(MINE, f"pack some.zip --use paper --data {films} --share 0.4".split(), "", {})
    packed = [word if word != str(films) else "some.zip" for word in line]
    assert entry.command(MINE, [*packed, "--run", "runs/packed"], "Mine.", {})["psnr"] > 5
    done = entry.command(MINE, ["own", "one"], "Mine.", {"own": lambda *given: given})
    assert done == (["one"], "python -m experiments.mine own")
    with pytest.raises(UsageError, match="no network 'unet'; choose from espcn"):
        playing.play(MINE, Config(network="unet"))
    assert "weights: " in capsys.readouterr().err
