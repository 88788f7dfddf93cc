"""A run: what it refuses before it starts, when it ends, and what it tells."""

import jax
import jax.numpy as jnp
import little_run
import numpy as np
import optax
import pytest
from little_run import TERMS, Batches
from PIL import Image
from test_train import FULL, KEY, L1, PARAMS, phase, same

from jaxvsr import train
from jaxvsr.errors import InputError, UsageError, WeightsError
from jaxvsr.train import board, telling


def fit(folder, phases=None, data=None, params=None, table=None, **options):
    """A run on one device, four batches to a validation."""
    phases = phases or (train.Phase("only", 12, L1),)
    settings = {"key": KEY, "config": {}, "show": "none", "on": jax.devices()[:1]} | options
    settings = {"cadence": train.Cadence(tell=4, validate=4)} | settings
    table = table or little_run.game(optax.sgd(0.1))
    return train.fit(folder, table, phases, params or PARAMS, data or Batches(), **settings)


REFUSED = {
    "term": ({"phases": (phase({"l3": 1.0}),)}, "'only': no term 'l3'; choose from l1, l2"),
    "critic": ({"phases": (phase(FULL, ("time",)),)}, "no critic 'time'; choose from space"),
    "frozen": ({"phases": (phase(frozen=("head",)),)}, "'head'; choose from first, last"),
    "all frozen": ({"phases": (phase(frozen=("first", "last")),)}, "freezes the whole generator"),
    "no terms": ({"phases": (phase({}),)}, "has no terms"),
    "no steps": ({"phases": (train.Phase("only", 0, L1),)}, "steps 0; give 1 or more"),
    "stop": (
        {"phases": (phase(stop=train.Stop("psnr", at=30)),)},
        "'only' stops by 'psnr', but nothing is validated; give fit validate",
    ),
    "no phase": ({"phases": []}, "no phase to train"),
    "updates": ({"phases": (phase(critic_updates=2),)}, "needs a critic"),
    "optimiser": (
        {"table": little_run.game({"generator": optax.sgd(0.1)})},
        "no optimiser for player 'space'",
    ),
    "player": ({"params": {"generator": PARAMS["generator"]}}, "no parameters of player 'space'"),
    "moments": (
        {"phases": (phase(), phase(tx=optax.adam(0.1), fresh=False))},
        "moments do not fit; leave fresh=True",
    ),
    "devices": (
        {"on": jax.devices()[:3]},
        "batch 8 does not divide by 3 devices; use 6 or 9",
    ),
    "parts": (
        {"phases": (phase(accumulate=3),)},
        "batch 8 does not divide by 1 devices x 3 parts; use 6 or 9",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_one_line_before_anything_is_written(tmp_path, case):
    options, told = REFUSED[case]
    options = {k: list(v) if k == "phases" and not v else v for k, v in options.items()}
    if case == "no phase":
        with pytest.raises(UsageError, match=told):
            train.fit(
                tmp_path / "run", little_run.game(), (), PARAMS, Batches(), key=KEY, config={}
            )
        return
    with pytest.raises(UsageError) as refused:
        fit(tmp_path / "run", **options)
    assert told in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    wide = jax.tree.map(lambda x: x, PARAMS)
    wide["generator"] = {
        **wide["generator"],
        "first": {**wide["generator"]["first"], "kernel": jnp.zeros((3, 3, 3, 8))},
    }
    with pytest.raises(WeightsError, match=r"first/kernel is \(3, 3, 3, 8\), in Generator it is"):
        fit(tmp_path / "run", params=wide)
    critic = {
        **PARAMS,
        "space": {
            **PARAMS["space"],
            "last": {"kernel": jnp.zeros((1, 1, 9, 1))},
        },
    }
    with pytest.raises(WeightsError, match=r"phase 'only'.*Use its own weights"):
        fit(tmp_path / "run", (phase(FULL, ("space",)),), params=critic)
    assert not (tmp_path / "run").exists()


def test_a_lead_that_the_critic_does_not_tell_is_refused(tmp_path):
    silent = {"space": lambda r: little_run.critic_loss(r)[0]}
    table = train.Game(little_run.game().players, TERMS, optax.sgd(0.1), silent)
    with pytest.raises(UsageError, match="critic 'space' does not tell its own"):
        fit(tmp_path / "run", (phase(FULL, ("space",), lead=0.4),), table=table)


def test_data_that_end_are_told(tmp_path):
    with pytest.raises(InputError, match="the data ended at step 5"):
        fit(tmp_path, data=Batches(last=5))


def test_a_run_that_stays_not_finite_ends(tmp_path):
    cadence = train.Cadence(tell=4, misses=5)
    with pytest.raises(train.DivergedError, match=r"5 steps in a row.*lower the rate"):
        fit(tmp_path, (train.Phase("only", 30, {"nan": 1.0}),), cadence=cadence)


def test_the_given_parameters_stay_as_they_are(tmp_path):
    before = jax.tree.map(np.array, PARAMS)
    fit(tmp_path)
    assert same(before, PARAMS)


def scored(*values):
    """A validation that finds these scores, one after another."""
    told = iter(values)
    return lambda average: {"lpips": next(told)}


def test_a_phase_stops_at_a_score(tmp_path):
    stop = train.Stop("lpips", at=0.5, lower=True)
    phases = (train.Phase("first", 100, L1, stop=stop), train.Phase("then", 4, L1))
    end = fit(tmp_path, phases, validate=scored(0.9, 0.4, 0.7))
    assert int(end.state.step) == 12 and int(end.state.phase) == 1 and end.scores["lpips"] == 0.7
    assert end.notices[0] == "first: lpips 0.4 reached; step 8"
    again = fit(tmp_path, phases, validate=scored())
    assert int(again.state.step) == 12


def test_a_phase_stops_without_a_better_score(tmp_path):
    stop = train.Stop("lpips", patience=2, lower=True)
    phases = (train.Phase("only", 100, L1, stop=stop),)
    end = fit(tmp_path, phases, validate=scored(0.9, 0.5, 0.6, 0.55, 0.1))
    assert int(end.state.step) == 16 and "no better for 2 validations" in end.notices[0]


def test_a_collapse_is_told_and_the_best_is_kept(tmp_path):
    steps, count = [], lambda average: steps.append(len(steps))
    end = fit(tmp_path, validate=scored(0.2, 0.1, 0.16), improved=count)
    assert len(steps) == 2
    assert end.notices[0].startswith("step 12: lpips is 0.16, 0.1 at best: a collapse?")
    assert [p.name for p in (tmp_path / "best").iterdir() if p.name != "lock"] == ["8"]


def test_a_stop_by_an_unknown_score_is_told(tmp_path):
    phases = (train.Phase("only", 8, L1, stop=train.Stop("psnr", at=30)),)
    with pytest.raises(UsageError, match="stops by 'psnr'; scores are lpips"):
        fit(tmp_path, phases, validate=scored(0.2))


def test_optimisers_begin_anew_with_a_phase_unless_carried_on(tmp_path):
    table = little_run.game(optax.adam(0.01))
    counts = {}
    for fresh in (True, False):
        phases = (train.Phase("a", 4, L1), train.Phase("b", 4, L1, fresh=fresh))
        end = fit(tmp_path / str(fresh), phases, table=table)
        counts[fresh] = int(end.state.opt["generator"][0].count)
    assert counts == {True: 4, False: 8}


def test_tensorboard_reads_what_a_run_writes(tmp_path):
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    crc32c = pytest.importorskip("tensorboardX.crc32c").crc32c
    picture = np.random.default_rng(0).random((4, 6, 3), np.float32)
    fit(tmp_path, validate=lambda average: {"psnr": 31.5, "strip": picture})
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, found = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        for part, end in ((data[:8], 8), (data[12 : 12 + size], 12 + size)):
            crc = crc32c(part)
            masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
            assert int.from_bytes(data[end : end + 4], "little") == masked
        found.append(events.Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert found[0].file_version == "brain.Event:2" and found[1].session_log.status == 1
    values = [(e.step, v) for e in found for v in e.summary.value]
    scores = {step: v.simple_value for step, v in values if v.tag == "validation/psnr"}
    assert scores == {4: 31.5, 8: 31.5, 12: 31.5}
    image = next(v.image for _, v in values if v.tag == "strip")
    (tmp_path / "strip.png").write_bytes(image.encoded_image_string)
    shown = np.asarray(Image.open(tmp_path / "strip.png"))
    assert (image.height, image.width) == (4, 6)
    np.testing.assert_allclose(shown / 255, picture, atol=0.5 / 255)


def test_large_numbers_and_long_texts_are_coded_as_protobuf_does():
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    fields = board._integer(2, 2**40 + 5) + board._text(3, "x" * 300)
    event = events.Event.FromString(fields)
    assert event.step == 2**40 + 5 and event.file_version == "x" * 300


def test_the_line_tells_of_loss_pace_and_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(telling, "PLAIN_EVERY", 0)
    fit(tmp_path, show="text", validate=scored(0.3, 0.2, 0.1))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 6
    assert told[2].startswith("only  step 8/12  67%  l1 ") and told[2].endswith(" left")
    assert "images/s" in told[2] and told[3] == "only  step 8  validation  lpips 0.2"


def test_a_run_goes_on_in_a_phase_that_carries_moments_on(tmp_path):
    """Its optimiser is that of the second phase, not of the first."""
    table = little_run.game(optax.sgd(0.1))
    phases = (
        train.Phase("a", 4, L1),
        train.Phase("b", 4, FULL, ("space",), tx=optax.adam(0.01)),
        train.Phase("c", 4, FULL, ("space",), tx=optax.adam(0.01), fresh=False),
    )
    whole = fit(tmp_path / "whole", phases, table=table).state
    with pytest.raises(InputError):
        fit(tmp_path / "parts", phases, Batches(last=10), table=table)
    parts = fit(tmp_path / "parts", phases, table=table).state
    assert int(parts.opt["space"][0].count) == 8 and same(whole, parts)


def test_a_teacher_is_asked_and_never_taught(tmp_path):
    apply = little_run.Generator().apply
    players = {"generator": little_run.Generator(), "teacher": lambda p, x: apply({"params": p}, x)}
    follow = {"follow": lambda r: jnp.square(r.fake - r.judge("teacher", r.lr)).mean()}
    params = {"generator": PARAMS["generator"], "teacher": little_run.params(5)["generator"]}
    table = train.Game(players, follow, optax.adam(0.01))
    end = fit(tmp_path, (phase({"follow": 1.0}),), params=params, table=table)
    assert same(end.state.params["teacher"], params["teacher"])
    assert set(end.state.opt) == {"generator"}
