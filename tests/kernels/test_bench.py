"""The bench of the kernels survives whatever they do; on a CPU it checks and times nothing."""

import csv
import io
import json
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

launch = pytest.importorskip("kernels.launch")  # before anything that imports triton
pytest.importorskip("torch")
from kernels import store, timing, tuning  # noqa: E402
from kernels.bench import __main__ as bench  # noqa: E402
from kernels.bench import ceilings, measure, plots, report  # noqa: E402
from kernels.bench.campaign import Campaign  # noqa: E402
from kernels.bench.report import Entry  # noqa: E402
from kernels.bench.rivals import RIVALS, tensors  # noqa: E402
from kernels.bench.workers import Worker  # noqa: E402
from kernels.op import Op, config  # noqa: E402
from kernels.table import OPS  # noqa: E402
from tools import bench_networks  # noqa: E402

SHAPE = (1, 4, 5, 3)


@pytest.fixture
def worker(tmp_path):
    log = tmp_path / "log"
    log.touch()
    with Worker("tests.faulty", os.environ, log) as worker:
        yield worker


@pytest.fixture
def toy(monkeypatch):
    """An operation that can be told to be wrong."""

    def ours(x, config=None):
        choice = config or tuning.pick("toy", (x,), configs(x.shape, x.dtype.name))
        return x + 1 + dict(choice.constants)["OFF"]

    def configs(shape, dtype):
        return config(OFF=0), config(OFF=1), config(OFF=0, warps=8)

    op = Op(
        name="toy",
        ours=ours,
        definition=lambda x: x + 1,
        example=lambda key, shape, dtype: (jax.random.normal(key, shape, dtype),),
        flops=lambda shape: 60.0,
        bytes=lambda shape, size: 120.0 * size,
        configs=configs,
        small=(SHAPE,),
        shapes={"540p": SHAPE},
        baselines={"broken": lambda x: x.missing, "other": lambda x: x - 1},
    )
    monkeypatch.setitem(OPS, "toy", op)
    measure._arrays.cache_clear(), measure._truth.cache_clear()
    return op


JOB = {"op": "toy", "size": list(SHAPE), "dtype": "float32"}


def test_a_process_that_crashes_or_hangs_costs_one_answer(worker):
    first = worker.ask({"do": "a"}, 20)
    assert first["is"] == "a"
    assert worker.ask({"do": "raise"}, 20)["error"] == "ValueError: two"
    assert worker.ask({"do": "b"}, 20)["process"] == first["process"]
    assert "illegal memory access" in worker.ask({"do": "crash"}, 20)["error"]
    assert worker.ask({"do": "c"}, 20)["process"] != first["process"]
    start = time.monotonic()
    assert "no answer in 0 s" in worker.ask({"do": "hang"}, 0.3)["error"]
    assert time.monotonic() - start < 10
    assert worker.ask({"do": "d"}, 20)["is"] == "d"


def test_a_process_whose_device_is_lost_is_replaced(worker):
    first = worker.ask({"do": "a"}, 20)["process"]
    assert worker.ask({"do": "sicken"}, 20) == {"errors": {"triton": "sticky"}, "well": False}
    assert worker.ask({"do": "b"}, 20)["process"] != first


def test_timing_tells_a_slow_function_from_a_fast_one():
    def slow(x):
        return jax.pure_callback(lambda x: time.sleep(0.01) or np.asarray(x), x, x)

    took = timing.milliseconds({"slow": slow, "fast": jnp.sin}, (jnp.ones(8),), seconds=0.05)
    assert took["slow"].p20 <= took["slow"].median <= took["slow"].p80
    assert 10 < took["slow"].median < 100 and took["fast"].median < took["slow"].median


def test_timing_rotates_inputs_and_repeats_nothing_for_less_than_asked():
    calls = []

    def counted(x, nothing):
        return jax.pure_callback(lambda x: calls.append(1) or np.asarray(x), x, x)

    timing.milliseconds({"run": counted}, (jnp.ones(8), None), seconds=0.001, copies=3)
    assert len(calls) % 3 == 0 and len(calls) >= 3 * timing.ROUNDS[0]


def test_timing_inside_a_traced_function():
    took = []

    @jax.jit
    def traced(x):
        with jax.ensure_compile_time_eval():
            runs = {"sin": jnp.sin, "cos": jax.jit(jnp.cos)}
            took.append(timing.milliseconds(runs, (jnp.ones(8),), seconds=0.001))
        return x

    traced(jnp.ones(3))
    assert took[0].keys() == {"sin", "cos"} and took[0]["sin"].median > 0


def test_quantiles_are_samples():
    assert timing.summary([5, 1, 4, 2, 3]) == timing.Timing(3, 2, 4)


def test_ceilings_are_finite_or_say_why():
    found = ceilings.measure(0.001, scale=1024)
    assert all(isinstance(v, str) or 0 < v < 1e6 for v in found.values())
    assert isinstance(found["l2"], float), found["l2"]


def test_reads_of_the_l2_kernel_cover_what_they_should():
    x = jnp.arange(4096.0)
    sizes = {"COUNT": 4096, "PASSES": 4, "STEP": 1024, "BLOCK": 1024}
    out = jax.ShapeDtypeStruct((4096,), jnp.float32)
    total = launch.launch(ceilings._read, (4,), out, x, **sizes)
    np.testing.assert_array_equal(total, np.tile(x.reshape(4, 1024).sum(0), 4))


def test_a_row_has_errors_against_float64_and_survives_broken_baselines(toy):
    found = measure.row({**JOB, "seconds": 0.001})
    assert found["truth"] == "float64" and found["relerr"]["triton"] < 1e-6
    assert found["times"].keys() == {"triton", "xla"}
    assert "AttributeError" in found["errors"]["xla broken"]
    assert "wrong" in found["errors"]["xla other"]


def test_a_wrong_config_is_not_timed(toy):
    assert "times" in measure.config({**JOB, "config": 0, "seconds": 0.001})
    assert "wrong" in measure.config({**JOB, "config": 1, "seconds": 0.001})["error"]


def test_what_is_tuned_is_what_is_picked(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXVSR_CACHE", str(tmp_path))
    monkeypatch.setattr(launch, "INTERPRETED", False)
    x = jnp.ones(SHAPE)
    choices = toy.configs(SHAPE, "float32")
    assert tuning.pick("toy", (x,), choices) == choices[0]
    kept = measure.keep({**JOB, "config": 2, "ms": 0.5})
    assert kept == {"config": str(choices[2]), "keys": ["toy"]}
    assert tuning.pick("toy", (x,), choices) == choices[2]
    assert json.loads(store.path().read_text())


def test_errors_are_found_wherever_they_are():
    truth = np.array([3.0, 4.0])
    assert measure.apart(jnp.array([3.0, 4.5]), truth) == pytest.approx(0.1)
    assert measure.apart(jnp.array([3.0, jnp.nan]), truth) == float("inf")


def entry() -> Entry:
    found = Entry("conv3x3", "540p", (1, 540, 960, 64), "bfloat16", flops=3.82e10, bytes=1.33e8)
    times = {"triton": [0.1, 0.09, 0.11], "xla": [0.2] * 3, "xla padded": [0.15] * 3}
    found.add({"times": times, "relerr": {"triton": 2e-3}, "truth": "float64"})
    found.add({"times": {"torch": [0.16] * 3, "torch compile": [0.12] * 3}})
    return found


def test_a_row_is_compared_with_the_fastest_of_the_others():
    first, *others = report.of_entry(entry(), report.ASSUMED)
    assert first.impl == "triton" and first.verdict == "WIN"
    assert first.over_xla == pytest.approx(1.5) and first.over_torch == pytest.approx(1.2)
    assert first.tflops == pytest.approx(382) and first.gbs == pytest.approx(1330)
    assert first.side == "C" and first.roof == pytest.approx(100 * 382 / 790)
    assert [row.impl for row in others] == ["torch compile", "xla padded", "torch", "xla"]


@pytest.mark.parametrize("ms, verdict", [(0.14, "WIN"), (0.155, "TIE"), (0.16, "LOSS")])
def test_a_loss_is_a_row_like_a_win(ms, verdict):
    found = entry()
    found.add({"times": {"triton": [ms] * 3}})
    row = report.of_entry(found, report.ASSUMED)[0]
    assert row.verdict == verdict and verdict in report.line(row)


def test_an_error_is_a_row_and_results_can_be_read_back(tmp_path):
    found = entry()
    found.add({"errors": {"xla": "out of memory"}, "relerr": {"triton": None}})
    report.write(tmp_path, {"device": "H"}, {"copy": 4000.0, "l2": "error: x"}, [found])
    text = (tmp_path / "results.csv").read_text()
    lines = [line for line in text.splitlines() if line[0] != "#"]
    rows = {row["impl"]: row for row in csv.DictReader(io.StringIO("\n".join(lines)))}
    assert rows["xla"]["verdict"] == "ERROR" and "out of memory" in rows["xla"]["note"]
    whole = json.loads((tmp_path / "results.json").read_text())
    assert Entry(**whole["entries"][0]).times == found.times
    pytest.importorskip("matplotlib")
    assert plots.plot(tmp_path).stat().st_size > 1000


@pytest.fixture
def here(monkeypatch):
    """Jobs are done in this process."""

    def ask(run, worker, limit=0.0, **job):
        if "do" in job:
            return json.loads(json.dumps(measure.JOBS[job["do"]](job) | {"well": True}))
        return {"error": "not here"} if "network" in job else {"none": True}

    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(Campaign, "ask", ask)


def test_on_a_cpu_it_says_that_times_mean_nothing(toy, here, capsys, tmp_path):
    assert bench.main(["--op", "toy", "--dtype", "float32", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "times mean nothing" in said and "toy |  | float32 | triton | - | - |" in said
    assert (tmp_path / "results.csv").is_file()


def test_all_phases_run_and_a_failure_ends_none(toy, here, capsys, tmp_path, monkeypatch):
    """As on a GPU, with times that mean nothing; networks and ceilings fail here."""
    monkeypatch.setattr(Campaign, "gpu", True)
    monkeypatch.setattr(bench, "workers", lambda: 0)
    monkeypatch.setattr(bench, "SAMPLED", 0.001)
    monkeypatch.setitem(measure.JOBS, "ceilings", lambda job: {"copy": "error: none here"})
    args = ["--all", "--op", "toy", "--dtype", "bfloat16", "--out", str(tmp_path)]
    assert bench.main(args) == 1
    whole = json.loads((tmp_path / "results.json").read_text())
    verdicts = {(row["op"], row["impl"]): row["verdict"] for row in whole["rows"]}
    assert verdicts["toy", "triton"] in ("WIN", "TIE", "LOSS")
    assert verdicts["toy", "xla broken"] == verdicts["network esrgan", "xla"] == "ERROR"
    assert {("toy", f"xla +{flag}") for flag in bench.FLAGS} <= verdicts.keys()
    tuned = whole["entries"][0]["configs"]
    assert len(tuned) == 3 and sum(isinstance(t, list) for t in tuned.values()) == 2
    assert "kept" in capsys.readouterr().out


def test_the_run_ends_in_time_and_says_what_was_left_out(toy, tmp_path):
    said = []
    with Campaign(tmp_path, 2.0, os.environ, said.append) as run:
        bench.time_rows(run, [(toy, "540p", SHAPE, "float32")])
    assert run.entries["toy", SHAPE, "float32"].errors == {"triton": "no time was left"}
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert "no time" in rows[0]["note"]


def test_most_valuable_rows_come_first():
    found = bench.plan(bench.parsed(["--all"]))
    assert {dtype for *_, dtype in found[:10]} <= {"bfloat16", "int8"}
    assert all(op.name in bench.FIRST for op, *_ in found[:10])
    assert found[-1][3] == "float32"
    assert {s[0].name for s in found} == OPS.keys()
    assert bench.parsed(["--all"]).seconds <= 480


@pytest.mark.parametrize("name", bench_networks.CASES)
def test_networks_take_the_frame_that_they_are_timed_with(name):
    case = bench_networks.CASES[name]
    size = n, h, w, c = bench_networks.size_of(case)
    module = case.module(**case.settings, impl="auto")
    frame = jax.ShapeDtypeStruct(size, jnp.float32)
    made, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), frame)
    assert made.shape == (n, h * module.scale, w * module.scale, c)


def test_shapes_are_named_or_given():
    op = next(iter(OPS.values()))
    channels = next(iter(op.shapes.values()))[3]
    assert bench.size_of(op, "720p")[1:] == (720, 1280, channels)
    assert bench.size_of(op, "2x3x4x5") == (2, 3, 4, 5)
    with pytest.raises(SystemExit, match="NxHxWxC"):
        bench.size_of(op, "large")
    with pytest.raises(SystemExit, match="no operation"):
        bench.chosen(["conv4x4"])


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    "name", sorted(RIVALS.keys() & OPS.keys() - {"grouped2", "grouped8", "grouped16"})
)
def test_the_rival_computes_the_same(name):
    """PyTorch's own operations against the definitions; bytes may be one level apart."""
    if name == "deform3x3":
        pytest.importorskip("torchvision")
    op, rival = OPS[name], RIVALS[name]
    arrays = op.example(jax.random.key(0), op.small[0], "float32")
    theirs = rival.run(*tensors(rival, arrays, "cpu")).permute(0, 2, 3, 1).numpy()
    truth = jax.jit(op.definition)(*arrays)
    if truth.dtype == jnp.uint8:
        assert np.abs(theirs.astype(int) - np.asarray(truth, int)).max() <= 1
    else:
        np.testing.assert_allclose(
            theirs, truth, atol=2e-5 * float(jnp.abs(truth).max()), rtol=1e-4
        )
