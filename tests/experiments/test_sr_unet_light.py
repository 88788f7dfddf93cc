"""The light run needs no data: it mixes what is there."""

import numpy as np
import pytest
from PIL import Image

from experiments.sr_unet import light as experiment
from jaxvsr.errors import UsageError


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without shared data; its folder of data."""
    monkeypatch.setattr(experiment, "DATA", tmp_path / "data")
    return tmp_path / "data"


def test_without_data_it_trains_on_drawn_and_made_up_clips(bare, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "fit", lambda config, net, known, unseen: (known, unseen))
    known, unseen = experiment.main(experiment.Light(run=tmp_path / "run", clips=20))
    assert known.hr.shape == (160, 128, 128, 3) and unseen.lr.shape == (16, 64, 64, 3)
    assert f"{bare / 'train'}: no stills and no videos" in capsys.readouterr().err


def test_stills_alone_are_mixed_in(bare, monkeypatch, capsys):
    folder = bare / "train" / experiment.STILLS[0]
    folder.mkdir(parents=True)
    for i in range(2):
        Image.new("RGB", (300, 300), (250, 3, 7)).save(folder / f"{i}.png")
    monkeypatch.setattr(experiment, "MIX", (0.5, 0.5, 0.0, 0.0))
    clips = list(experiment.clips(np.random.default_rng(0), 3, held_out=False))
    assert len(clips) == 3 and all((clip[0, 128, 128] == (250, 3, 7)).all() for clip in clips)
    assert "no videos" in capsys.readouterr().err


def test_what_cannot_start_is_refused_before_crops_are_cut(bare, tmp_path):
    asked = experiment.Light(run=tmp_path / "run", batch=6)
    with pytest.raises(UsageError, match="batch 6 does not divide"):
        experiment.main(asked)
    assert not asked.run.exists()
