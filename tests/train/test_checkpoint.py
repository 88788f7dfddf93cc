"""Runs that end at any moment and go on as if nothing had happened."""

import errno
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import little_run
import numpy as np
import pytest
from little_run import leaves

from jaxvsr.errors import (
    InputError,
    JaxvsrError,
    OutputError,
    SpaceError,
    StoppedError,
    UsageError,
    WeightsError,
)
from jaxvsr.train import checkpoint
from jaxvsr.train.checkpoint import Checkpoints, position, seek

STATE = {"a": jnp.arange(6.0).reshape(2, 3), "b": {"c": jnp.int32(7)}}
PATIENCE = 120  # seconds; a run takes about five


def wait_until(true, process):
    limit = time.monotonic() + PATIENCE
    while not true():
        assert process.poll() is None, process.communicate(timeout=PATIENCE)[1]
        assert time.monotonic() < limit
        time.sleep(0.001)


def finished(process) -> str:
    told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, told
    return told


def steps_told(folder) -> list[int]:
    path = folder / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [
        json.loads(line)["step"] for line in lines if line.endswith("}") and "scores" not in line
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    process = little_run.start(folder)
    told = []

    def end():
        told[:] = told or [finished(process)]
        return np.load(folder / "final.npz")

    yield end
    process.kill()
    process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The folder of a run that was killed and then evicted, and how the eviction ended."""
    folder = tmp_path_factory.mktemp("broken")
    saving = lambda: list(folder.glob("checkpoints/*.orbax-checkpoint-tmp"))
    slowly = ("--pause", "0.03", "--save", "0.2")
    process = little_run.start(folder, *slowly)
    wait_until(lambda: saving() and max(steps_told(folder), default=0) >= 3, process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    process = little_run.start(folder, *slowly)
    wait_until(lambda: max(steps_told(folder), default=0) >= 20, process)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=PATIENCE)[1]
    finished(little_run.start(folder))
    return folder, process.returncode, told


def test_a_run_that_was_killed_goes_on_to_the_same_bits(unbroken, broken):
    whole, pieces = unbroken(), np.load(broken[0] / "final.npz")
    assert set(whole) == set(pieces)
    for name in whole:
        np.testing.assert_array_equal(whole[name], pieces[name], err_msg=name)


def test_an_evicted_run_saves_and_says_so(broken):
    _, status, told = broken
    assert status == 143
    assert "saved; the same command goes on" in told and len(told.splitlines()) == 1


def test_the_log_of_a_broken_run_tells_every_step_once(broken):
    assert steps_told(broken[0]) == list(range(1, 31))


def test_nothing_unfinished_is_left(broken):
    kept = sorted(path.name for path in (broken[0] / "checkpoints").iterdir())
    assert kept[-1] == "lock" and "30" in kept and len(kept) == 4


class Interrupted(little_run.Batches):
    def __next__(self):
        if self.number == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__next__()


def test_ctrl_c_stops_with_130_and_goes_on_to_the_same_bits(tmp_path):
    settings = {"on": jax.devices()[:1], "steps": 16}
    whole = leaves(little_run.run(tmp_path / "whole", **settings).state)
    with pytest.raises(StoppedError, match="step 13") as stopped:
        little_run.run(tmp_path / "parts", batches=Interrupted(), **settings)
    assert stopped.value.status == 130
    end = leaves(little_run.run(tmp_path / "parts", **settings).state)
    for name in whole:
        np.testing.assert_array_equal(whole[name], end[name], err_msg=name)


def test_a_finished_run_is_left_as_it_is(broken):
    folder = broken[0]
    before = (folder / "log.jsonl").read_text()
    end = little_run.run(folder, on=jax.devices()[:1])
    assert int(end.state.step) == 30 and (folder / "log.jsonl").read_text() == before


def test_the_best_checkpoint_is_kept(broken):
    lines = [json.loads(x) for x in (broken[0] / "log.jsonl").read_text().splitlines()]
    found = {x["step"]: x["scores"]["lpips"] for x in lines if "scores" in x}
    best = min(found, key=found.get)
    assert [p.name for p in (broken[0] / "best").iterdir() if p.name != "lock"] == [str(best)]


def test_what_is_saved_comes_back(tmp_path):
    kept = Checkpoints(tmp_path, {"rate": 1}, keep=2)
    for step in (1, 2, 5):
        kept.save(step, jax.tree.map(lambda x, s=step: x + s, STATE), {"seen": step})
    kept.close()
    again = Checkpoints(tmp_path, {"rate": 1})
    assert again.steps() == [2, 5] and again.memo() == {"seen": 5}
    back = again.restore(STATE)
    chex.assert_trees_all_equal(back, jax.tree.map(lambda x: x + 5, STATE))
    again.close()


def test_another_run_takes_over_the_players(tmp_path):
    state = {"params": {"generator": STATE, "critic": STATE}, "ema": {"a": jnp.ones(3)}}
    kept = Checkpoints(tmp_path, {})
    for step in (8, 16):
        kept.save(step, jax.tree.map(lambda x, step=step: x + step, state))
    kept.close()
    found = checkpoint.players(tmp_path)
    assert found.keys() == {"generator", "critic"}
    np.testing.assert_array_equal(found["generator"]["a"], np.full(3, 17.0))
    np.testing.assert_array_equal(found["critic"]["b"]["c"], 23)
    with pytest.raises(InputError, match="no checkpoint; give the folder of a run"):
        checkpoint.players(tmp_path / "nothing")
    shutil.rmtree(tmp_path / "16" / "state" / "d", ignore_errors=True)
    (tmp_path / "16" / "state" / "_METADATA").unlink()
    with pytest.raises(InputError, match=r"16: damaged \(its list"):
        checkpoint.players(tmp_path)


def test_another_config_is_refused_with_a_line_for_each_difference(tmp_path):
    kept = Checkpoints(tmp_path, {"rate": 1e-3, "crop": 96, "steps": 10, "net": "a"})
    kept.save(1, STATE)
    kept.close()
    other = Checkpoints(
        tmp_path, {"rate": 1e-4, "crop": 96, "steps": 20, "new": Path("x")}, free=("steps",)
    )
    with pytest.raises(UsageError) as refused:
        other.memo()
    first, *lines = str(refused.value).splitlines()
    assert "another run folder" in first
    assert lines == [
        "  rate: 0.001 there, 0.0001 here",
        '  net: "a" there, not set here',
        '  new: not set there, "x" here',
    ]
    other.close()


def test_another_network_is_refused_by_its_first_array(tmp_path):
    kept = Checkpoints(tmp_path, {})
    kept.save(1, STATE)
    with pytest.raises(WeightsError, match=r"a is \(2, 3\) there, \(3,\) here"):
        kept.restore({**STATE, "a": jnp.zeros(3)})
    with pytest.raises(WeightsError, match="z is missing there"):
        kept.restore({**STATE, "z": jnp.zeros(3)})
    kept.close()


def test_one_folder_has_one_run(tmp_path):
    kept = Checkpoints(tmp_path, {})
    with pytest.raises(OutputError, match="another run"):
        Checkpoints(tmp_path, {})
    kept.close()
    Checkpoints(tmp_path, {}).close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another folder"):
        Checkpoints(tmp_path / "file" / "run", {})


def test_too_little_room_is_told_before_writing(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path, {})
    kept.save(1, STATE)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(SpaceError, match="step 1 is safe"):
        kept.save(2, STATE)
    assert kept.steps() == [1]
    kept.close()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("x: No space left on device [y]"),
    ],
)
def test_a_disk_that_fills_up_leaves_the_last_checkpoint(tmp_path, monkeypatch, error):
    kept = Checkpoints(tmp_path, {"rate": 1})
    kept.save(1, STATE, {"seen": 1})

    def fail(*args, **options):
        (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(kept._manager, "save", fail)
        with pytest.raises(SpaceError, match="step 1 is safe: free some space"):
            kept.save(2, STATE)
    assert kept.memo() == {"seen": 1}
    assert {path.name for path in tmp_path.iterdir()} == {"1", "lock"}
    chex.assert_trees_all_equal(kept.restore(STATE), STATE)
    kept.close()


def test_a_damaged_checkpoint_is_told(tmp_path):
    kept = Checkpoints(tmp_path, {})
    kept.save(1, STATE)
    kept.close()
    for path in (tmp_path / "1").rglob("metadata"):
        path.write_text("{")
    again = Checkpoints(tmp_path, {})
    with pytest.raises(InputError, match="remove it"):
        again.memo()
    again.close()


@pytest.mark.parametrize("state", [b"\x00\xff", {"n": np.int64(3), "m": np.arange(2)}, [1, "a"]])
def test_positions_of_any_iterator_come_back(state):
    class Data:
        found = None

        def get_state(self):
            return state

        def set_state(self, value):
            self.found = value

    data = Data()
    seek(data, position(data))
    plain = (
        state
        if isinstance(state, bytes)
        else json.loads(json.dumps(state, default=checkpoint._plain))
    )
    assert data.found == plain


def test_a_missing_orbax_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(JaxvsrError, match="need orbax; install it by: pip install"):
        checkpoint._manager(tmp_path, 1)
