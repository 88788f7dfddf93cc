"""A run: phases in order from wherever its folder stands, saved, validated and told of."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxvsr.errors import InputError, JaxvsrError, UsageError
from jaxvsr.train import checks, devices, game, signals
from jaxvsr.train.checkpoint import Checkpoints, position, seek
from jaxvsr.train.game import Game, Params, Phase, TrainState
from jaxvsr.train.step import make_step
from jaxvsr.train.telling import Silent, Telling

AHEAD = 2  # steps that may be under way at once; more would only hold batches in memory
AGREE_EVERY = 10  # steps between two agreements of several processes


class DivergedError(JaxvsrError):
    """The losses stay infinite or NaN; no weights come of it."""

    status = 8


@dataclass(frozen=True)
class Cadence:
    """How often a run does what, and when it worries.

    - `tell`, `validate`: steps between lines of the log, and between validations.
    - `save`: seconds between checkpoints; `keep` of them stay.
    - `misses`: skipped steps in a row that end the run.
    - `guard`: the validation score, lower is better, whose best checkpoint is kept in `best/`
      and shown to `improved`, and whose growth by `factor` over that best is told as a collapse.
    """

    tell: int = 100
    validate: int = 5000
    save: float = 120
    keep: int = 3
    misses: int = 50
    guard: str = "lpips"
    factor: float = 1.5


@dataclass(frozen=True)
class End:
    """A finished run: its state, the scores of the last validation, and what it had to say."""

    state: TrainState
    scores: Mapping[str, float]
    notices: tuple[str, ...]


def fit(
    folder: Path,
    game: Game,
    phases: Sequence[Phase],
    params: Mapping[str, Params],
    batches: Iterator[Mapping],
    *,
    key: jax.Array,
    config: Mapping,
    free: Sequence[str] = (),
    validate: Callable[[Params], Mapping] | None = None,
    improved: Callable[[Params], None] | None = None,
    cadence: Cadence | None = None,
    show: str = "text",
    on: Sequence[jax.Device] | None = None,
) -> End:
    """Trains `params` (by player) through the phases and returns the end.

    `batches` yields this process's rows of each batch, numpy arrays, and has `get_state` and
    `set_state`. `config` names the run: it must be the same when `folder` is used again, but for
    its fields in `free`. `validate` gets the generator's moving average, not to be kept, and
    returns numbers, which are scores, and pictures [H, W, 3] for TensorBoard, on every process,
    every `cadence.validate` steps and as each phase ends; `improved` gets it at the best yet.

    The run is saved as it begins, at the end of each phase, when it is asked to stop, and every
    `cadence.save` seconds. Started again with the same folder it goes on from the last checkpoint,
    on a CPU to the very bits of an unbroken run. `on` are the devices, all of them if None.

    Raises before work starts: UsageError (unknown names, a batch that devices cannot share, a
    folder of another run), WeightsError (weights of another network). Later: StoppedError,
    SpaceError, OutputError, DivergedError.
    """
    checks.check_phases(game, phases, params, validate)
    run = _Run(Path(folder), game, tuple(phases), batches, cadence, (validate, improved), on)
    try:
        run.open(key, params, config, tuple(free), show)
        with signals.listening() as asked:
            return run.play(asked)
    finally:
        run.close()


def check_folder(folder: Path, config: Mapping, *, free: Sequence[str] = ()) -> None:
    """Refuses a folder as `fit` would: for before the work of making what a run learns from.

    OutputError where it cannot be written or another run is writing; UsageError where it has a
    run of another config, but for the fields in `free`.
    """
    kept = Checkpoints(Path(folder) / "checkpoints", config, free=tuple(free))
    try:
        if kept.latest() is not None:
            kept.memo()
    finally:
        kept.close()


class _Run:
    """The state of a run on the host, beside the state on the devices."""

    def __init__(self, folder, game, phases, batches, cadence, hooks, on):
        self.folder, self.game, self.phases = folder, game, phases
        self.batches, self.cadence = batches, cadence or Cadence()
        self.validate, self.improved = hooks
        self.whole, self.split = devices.shardings(on)
        # What must outlive a restart: where the run stands, and its best scores so far.
        self.memo = {"phase": 0, "began": 0, "best": None, "stop": {}, "scores": {}}
        self.memo["done"] = False
        self.step, self.images, self.saved = 0, 0, time.monotonic()
        self.told: deque = deque()  # metrics of steps under way
        self.means: list[dict[str, float]] = []
        self.checkpoints = self.best = self.telling = None

    def open(self, key, params, config, free, show) -> None:
        """Checks everything, and restores or makes the state."""
        state = self._example(key, params)
        self.checkpoints = Checkpoints(
            self.folder / "checkpoints", config, keep=self.cadence.keep, free=free
        )
        self.best = Checkpoints(self.folder / "best", config, keep=1, free=free)
        if self.checkpoints.latest() is None:
            self.state = devices.replicate(state, self.whole)
            self._save()
        else:
            self._restore(state)
        total = self.step + self._left()
        first = jax.process_index() == 0
        self.telling = Telling(self.folder, total, self.step, show=show) if first else Silent()

    def _example(self, key, params) -> TrainState:
        """The state before the first step, once a batch and all phases have been tried on it."""
        start = position(self.batches)
        batch = next(self.batches)
        seek(self.batches, start)
        hosts, count = jax.process_count(), self.whole.mesh.size
        checks.check_batch(batch, self.phases, count, hosts)
        state = game.init(key, params, self.game, self.phases[0])
        checks.check_step(self.game, self.phases, state, batch)
        return state

    def _restore(self, like: TrainState) -> None:
        kept = self.checkpoints.memo()
        self.memo, seats = kept["run"], kept["iterators"]
        number = self.memo["phase"]
        if number >= len(self.phases):
            raise UsageError(f"{self.folder}: the run has more phases; use another folder")
        for i, phase in enumerate(self.phases[: number + 1]):
            enter = lambda s, phase=phase, i=i: game.enter(self.game, phase, i, s)
            like = jax.eval_shape(enter, like)
        place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.whole)
        self.state = self.checkpoints.restore(jax.tree.map(place, like))
        self.step = int(self.state.step)
        if len(seats) != jax.process_count() and len(set(seats)) > 1:
            here = jax.process_count()
            raise UsageError(
                f"{self.folder}: its data was dealt to {len(seats)} processes, not {here}; "
                f"start {len(seats)}"
            )
        own = jax.process_index() if len(seats) == jax.process_count() else 0
        seek(self.batches, seats[own])

    def play(self, asked) -> End:
        """All phases from where the run stands."""
        while True:
            phase = self.phases[self.memo["phase"]]
            self._play(phase, asked)
            if self.memo["phase"] + 1 == len(self.phases):
                break
            self._enter(self.memo["phase"] + 1)
            self._save()
        self.memo["done"] = True
        self._save()
        return End(self.state, self.memo["scores"], tuple(self.telling.notices))

    def _play(self, phase: Phase, asked) -> None:
        """What is left of one phase."""
        step = jax.jit(make_step(self.game, phase), donate_argnums=0)
        ended = self.memo["done"] or self._left_of(phase) == 0
        while not ended:
            self._advance(step, phase)
            ended = self._left_of(phase) == 0
            if ended or self.step % self.cadence.validate == 0:
                ended = self._validated(phase) or ended
            if not ended:
                self._pause(asked)
        self._flush(phase)

    def _advance(self, step, phase: Phase) -> None:
        """One step; the host runs at most AHEAD of the devices."""
        rows = []
        for _ in range(phase.critic_updates):
            batch = next(self.batches, None)
            if batch is None:
                raise InputError(f"the data ended at step {self.step}; repeat it for ever")
            rows.append(devices.distribute(batch, self.split))
        self.state, metrics = step(self.state, *rows)
        self.step += 1
        self.images += sum(len(batch["lr"]) for batch in rows)
        self.told.append(metrics)
        if len(self.told) > AHEAD:
            self._take(self.told.popleft())
        if self.step % self.cadence.tell == 0:
            self._flush(phase)

    def _take(self, metrics) -> None:
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self.means.append(values)
        if values["missed"] >= self.cadence.misses:
            raise DivergedError(
                f"{self.cadence.misses} steps in a row had losses or gradients that are not "
                "finite; lower the rate or set Phase.clip, and use another run folder"
            )

    def _flush(self, phase: Phase) -> None:
        """Tells the means of the steps since the last time."""
        while self.told:
            self._take(self.told.popleft())
        if not self.means:
            return
        names = self.means[-1]
        means = {name: float(np.mean([m.get(name, np.nan) for m in self.means])) for name in names}
        means |= {name: self.means[-1][name] for name in ("skipped", "missed")}
        self.means = []
        self.telling.interval(self.step, phase.name, means, self.images)

    def _validated(self, phase: Phase) -> bool:
        """Validates, keeps the best, and says whether the phase shall end."""
        if self.validate is None:
            return False
        self._flush(phase)
        found = self.validate(self.state.ema)
        pictures = {name: value for name, value in found.items() if np.ndim(value) == 3}
        scores = {name: float(value) for name, value in found.items() if name not in pictures}
        self.memo["scores"] = scores
        self.telling.scores(self.step, phase.name, scores, pictures)
        self._guard(scores)
        return self._stops(phase, scores)

    def _guard(self, scores: Mapping[str, float]) -> None:
        """Keeps the best checkpoint, and warns of a collapse."""
        name, factor = self.cadence.guard, self.cadence.factor
        if name not in scores:
            return
        best, now = self.memo["best"], scores[name]
        if best is None or now < best:
            self.memo["best"] = now
            self.best.save(self.step, self.state, self._told_memo())
            if self.improved is not None:
                self.improved(self.state.ema)
        elif not now <= factor * best:
            told = f"step {self.step}: {name} is {now:.4g}, {best:.4g} at best: a collapse?"
            self.telling.notice(f"{told} The best is kept in {self.folder / 'best'}")

    def _stops(self, phase: Phase, scores: Mapping[str, float]) -> bool:
        stop = phase.stop
        if stop is None:
            return False
        if stop.metric not in scores:
            choices = ", ".join(scores)
            raise UsageError(f"phase {phase.name!r} stops by {stop.metric!r}; scores are {choices}")
        value, seen = scores[stop.metric], self.memo["stop"]
        if stop.better(value, seen.get("best")):
            self.memo["stop"] = seen = {"best": value, "since": 0}
        else:
            self.memo["stop"] = seen = {**seen, "since": seen.get("since", 0) + 1}
        tired = stop.patience is not None and seen["since"] >= stop.patience
        if stop.reached(value) or tired:
            why = "reached" if stop.reached(value) else f"no better for {stop.patience} validations"
            self.telling.notice(f"{phase.name}: {stop.metric} {value:.4g} {why}; step {self.step}")
            return True
        return False

    def _pause(self, asked) -> None:
        """Saves where it is time, and stops where a signal asked for it."""
        if jax.process_count() > 1 and self.step % AGREE_EVERY:
            return
        due = time.monotonic() - self.saved > self.cadence.save
        number, due = devices.highest(asked.number, int(due))
        if number or due:
            self._save()
        if number:
            raise signals.stopped(number, self.step)

    def _save(self) -> None:
        self.checkpoints.save(self.step, self.state, self._told_memo())
        self.saved = time.monotonic()

    def _told_memo(self) -> dict[str, Any]:
        return {"run": self.memo, "iterators": devices.everyones(position(self.batches))}

    def _enter(self, number: int) -> None:
        phase = self.phases[number]
        enter = lambda state: game.enter(self.game, phase, number, state)
        self.state = jax.jit(enter, out_shardings=self.whole)(self.state)
        self.memo |= {"phase": number, "began": self.step, "stop": {}}

    def _left_of(self, phase: Phase) -> int:
        return max(phase.steps - (self.step - self.memo["began"]), 0)

    def _left(self) -> int:
        number = self.memo["phase"]
        later = sum(phase.steps for phase in self.phases[number + 1 :])
        return self._left_of(self.phases[number]) + later

    def close(self) -> None:
        for part in (self.telling, self.checkpoints, self.best):
            if part is not None:
                part.close()
