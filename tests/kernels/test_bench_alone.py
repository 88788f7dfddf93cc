"""`python -m kernels.bench`, as people will type it: on a GPU, without one, without Triton."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("kernels.launch")  # before anything that imports triton
pytest.importorskip("torch")
from kernels.bench import __main__ as bench
from kernels.bench import measure
from kernels.bench.campaign import Campaign
from kernels.table import OPS

ROOT = Path(__file__).parents[2]
UNFINDABLE = "import runpy, sys; sys.modules['triton'] = None; sys.argv = ['kernels.bench']; "
START = "runpy.run_module('kernels.bench', run_name='__main__')"


@pytest.fixture
def here(monkeypatch):
    """Jobs are done in this process, for the INT8 convolution and one like it that is wrong."""
    right = OPS["int8_conv3x3"]
    wrong = dataclasses.replace(
        right, name="wrong", ours=lambda x, w, b, m, config=None: right.definition(x, w, b + 99, m)
    )
    monkeypatch.setitem(OPS, "wrong", wrong)
    ask = lambda run, worker, limit=0.0, **job: json.loads(json.dumps(measure.JOBS[job["do"]](job)))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(Campaign, "ask", ask)
    return right, wrong


def test_without_a_gpu_every_operation_is_a_row(here, monkeypatch, capsys):
    right, wrong = here
    monkeypatch.setattr(bench, "chosen", lambda names: [right])
    assert bench.main([]) == 0
    said = capsys.readouterr().out
    assert "times would mean nothing" in said
    assert "int8_conv3x3 | 2x9x5x3 | int8 | 0 | 0 | ok" in said.splitlines()
    monkeypatch.setattr(bench, "chosen", lambda names: [wrong, right])
    assert bench.main([]) == 1
    said = capsys.readouterr().out
    assert "wrong | 2x9x5x3 | int8 | 0." in said and "| WRONG: wrong: relative error" in said
    assert "int8_conv3x3 | 2x9x5x3 | int8 | 0 | 0 | ok" in said.splitlines()


def test_with_a_gpu_it_is_all_of_the_bench(here, monkeypatch):
    asked = []
    monkeypatch.setattr(Campaign, "gpu", True)
    monkeypatch.setattr(bench, "timed", lambda run, options: asked.append(options))
    monkeypatch.setattr(bench, "checked_briefly", lambda run: pytest.fail("there is a GPU"))
    assert bench.main([]) == 0
    alone, everything = asked[0], bench.parsed(["--all"])
    everything.alone = True
    assert alone == everything and alone.phase == list(bench.PHASES)


def test_without_triton_it_is_one_line_with_the_remedy():
    done = subprocess.run(
        [sys.executable, "-c", UNFINDABLE + START],
        capture_output=True, text=True, cwd=ROOT, timeout=60,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == bench.NO_TRITON + "\n" and 'pip install ".[kernels]"' in done.stderr


def test_every_flag_of_xla_is_tried_and_known_to_it(here, monkeypatch):
    """jaxlib ends a process whose XLA_FLAGS it does not know."""
    settings, right = [], here[0]
    real = Campaign.worker

    def worker(run, name, module, **environment):
        settings.append((name, environment.get("XLA_FLAGS", "")))
        return real(run, name, module, **environment)

    monkeypatch.setattr(Campaign, "worker", worker)
    with Campaign(None, 1000.0, {}, print) as run:
        bench.time_flags(run, [(right, "", (2, 9, 5, 3), "int8")])
    assert settings == list(bench.FLAGS.items())
    assert "--xla_gpu_enable_command_buffer=+CONVOLUTION" in bench.FLAGS.values()
    entry = run.entries["int8_conv3x3", (2, 9, 5, 3), "int8"]
    assert {f"xla +{flag}" for flag in bench.FLAGS} <= entry.times.keys()
    flags = {"XLA_FLAGS": " ".join(bench.FLAGS.values()), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; print(jax.numpy.ones(1).sum())"]
    env = os.environ | flags
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]
