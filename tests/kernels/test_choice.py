"""`auto` takes what was fastest, remembers it, and never what is wrong or fails."""

import jax.numpy as jnp
import pytest

pytest.importorskip("kernels.launch")
from kernels import choice, launch, store, timing

X = jnp.ones((1, 4, 4, 2))
TOOK = {"xla": 1.0, "direct": 0.8, "clever": 0.5, "level": 0.99}


@pytest.fixture
def device(monkeypatch, tmp_path):
    """As on a GPU, with times that are given; the list tells what was timed together."""
    timed = []

    def milliseconds(runs, arrays, **options):
        timed.append(sorted(runs))
        return {name: timing.Timing(TOOK[name], 0, 0) for name in runs}

    monkeypatch.setattr(launch, "INTERPRETED", False)
    monkeypatch.setattr(timing, "milliseconds", milliseconds)
    monkeypatch.setenv("JAXVSR_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "none.json")
    return timed


def plain(x, nothing):
    return x + 1


def wrong(x, nothing):
    return x + 2


def absent(x, nothing):
    return x * jnp.nan


def fails(x, nothing):
    raise launch.RefusedError("too large; use impl='xla'")


def chosen(*names, name="sum", **others) -> str:
    return choice.fastest(name, dict.fromkeys(names, plain) | others, plain, (X, None))


def test_the_fastest_wins_and_is_remembered(device):
    assert chosen("direct", "clever") == "clever"
    assert chosen("direct", "clever") == "clever"
    assert device == [["clever", "direct", "xla"]]


def test_what_cannot_be_told_apart_stays_with_xla(device):
    assert chosen("level") == "xla"
    assert chosen("level", name="another") == "xla"
    assert len(device) == 2


def test_a_way_that_is_new_is_measured(device):
    assert chosen("direct") == "direct"
    assert chosen("direct", "clever") == "clever"
    assert chosen("direct") == "direct"
    assert len(device) == 2


@pytest.mark.parametrize("bad", [wrong, absent, fails])
def test_what_is_wrong_or_fails_is_out_and_others_are_not(device, bad):
    assert chosen("direct", clever=bad) == "direct"
    assert device == [["direct", "xla"]]
    (kept,) = store.load().values()
    assert kept["refused"].keys() == {"clever"}
    assert chosen("direct", clever=bad) == "direct" and len(device) == 1


def test_nothing_is_timed_where_no_kernel_runs(device):
    assert chosen(clever=fails) == "xla"
    assert chosen(clever=fails) == "xla"
    assert not device


@pytest.mark.parametrize("at", ["inputs", "timing"])
def test_measuring_that_fails_leaves_the_program_to_xla(device, monkeypatch, at):
    def full(*_, **__):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    where = {"inputs": (choice, "_random"), "timing": (timing, "milliseconds")}[at]
    with monkeypatch.context() as broken:
        broken.setattr(*where, full)
        assert chosen("clever") == "xla"
    assert chosen("clever") == "clever"  # by a later program that finds the memory


def test_without_a_gpu_it_is_xla():
    if not launch.INTERPRETED:
        pytest.skip("there is a GPU")
    assert chosen("clever") == "xla"


def test_what_is_shipped_was_measured_on_a_named_device(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXVSR_CACHE", str(tmp_path))
    known = store.load()
    assert known and all(key.startswith("NVIDIA ") for key in known)
    for value in known.values():
        assert {"xla", "triton"} <= value["ms"].keys() and min(value["ms"].values()) > 0
