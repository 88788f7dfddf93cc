"""Checkpoints of a training run: a folder of steps, each complete or not there at all.

A step holds the arrays of the state and one JSON text: the run's config, the data iterator's
position and what the loop wants to remember. Orbax writes it beside the others under another
name and renames it, and older steps go only after that: a run that is killed at any moment finds
its last complete one. Saving waits until all is on the disk. That costs well under a second for
these networks every few minutes, and an error belongs to the save that met it.
"""

import json
import logging
import shutil
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxvsr.errors import (
    DISK_FULL,
    InputError,
    JaxvsrError,
    OutputError,
    SpaceError,
    UsageError,
    WeightsError,
)

fcntl = None
with suppress(ImportError):  # Windows has no such locks, and goes without
    import fcntl

ROOM = 2  # sizes of a state that must be free: the new step stands beside the old ones
FULL = ("no space left", "disk quota exceeded")  # how tensorstore says it, in lower case


class Checkpoints:
    """The checkpoints in `folder`; the latest `keep` stay.

    `config` is a flat mapping of JSON values that names the run; those of its fields that are in
    `free` may change from start to start. Every process of a run opens the same folder.
    """

    def __init__(self, folder: Path, config: Mapping, *, keep: int = 3, free: tuple = ()):
        """Raises OutputError where the folder cannot be made or another run has it open."""
        self.folder = Path(folder).absolute()
        self.config, self.free = json.loads(json.dumps(dict(config), default=str)), free
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
            with _quiet():
                self._manager = _manager(self.folder, keep)
        except OSError as error:
            raise OutputError(f"{self.folder}: {error.strerror}; choose another folder") from error

    def steps(self) -> list[int]:
        """The steps that are there, oldest first."""
        return sorted(self._manager.all_steps())

    def latest(self) -> int | None:
        """The newest step, None in a new folder."""
        return self._manager.latest_step()

    def memo(self) -> dict[str, Any]:
        """What `save` was given as memo at the newest step, once its config has been checked.

        UsageError with a line for each field that differs; InputError if it cannot be read.
        """
        import orbax.checkpoint as ocp

        step = self.latest()
        try:
            args = ocp.args.Composite(memo=ocp.args.JsonRestore())
            with _quiet():
                kept = self._manager.restore(step, args=args)["memo"]
            config, memo = kept["config"], kept["memo"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            path = self.folder / str(step)
            raise InputError(f"{path}: not a checkpoint of a run; remove it") from error
        self._compare(config)
        return memo

    def restore(self, like: Any) -> Any:
        """The state at the newest step, of the structure, shapes and shardings of `like`.

        `like` is a state or its `jax.ShapeDtypeStruct`s. WeightsError names the first array that
        does not fit.
        """
        import orbax.checkpoint as ocp

        step = self.latest()
        path = self.folder / str(step)
        self._fits(step, like)
        args = ocp.args.Composite(state=ocp.args.PyTreeRestore(like, _restore_args(like)))
        try:
            with _quiet():
                return self._manager.restore(step, args=args)["state"]
        except (OSError, ValueError, KeyError) as error:
            cause = str(error).splitlines()[0]
            raise InputError(
                f"{path}: damaged ({cause}); remove it to use the one before"
            ) from error

    def save(self, step: int, state: Any, memo: Mapping | None = None) -> None:
        """Writes a step; one that is there already stays. All processes call it together.

        SpaceError if the disk is full: the steps that are there stay intact.
        """
        import orbax.checkpoint as ocp

        if step in self._manager.all_steps():
            return
        self._check_room(state)
        text = {"config": self.config, "memo": dict(memo or {})}
        args = ocp.args.Composite(state=ocp.args.PyTreeSave(state), memo=ocp.args.JsonSave(text))
        try:
            with _quiet():
                self._manager.save(step, args=args, force=True)
                self._manager.wait_until_finished()
        except Exception as error:  # tensorstore has its own kinds for a full disk
            for debris in self.folder.glob("*.orbax-checkpoint-tmp"):
                shutil.rmtree(debris, ignore_errors=True)
            raise self._failure(error) from error

    def close(self) -> None:
        """Gives the folder free for another run."""
        self._manager.close()
        if self._lock:
            self._lock.close()

    def _compare(self, theirs: Mapping) -> None:
        names = [name for name in {**theirs, **self.config} if name not in self.free]
        pick = lambda config, name: json.dumps(config[name]) if name in config else "not set"
        pairs = {name: (pick(theirs, name), pick(self.config, name)) for name in names}
        lines = [f"  {k}: {a} there, {b} here" for k, (a, b) in pairs.items() if a != b]
        if lines:
            remedy = "use those values, or another run folder"
            raise UsageError("\n".join([f"{self.folder}: another run; {remedy}", *lines]))

    def _fits(self, step: int, like: Any) -> None:
        """Compares the shapes on disk with those asked for."""
        with _quiet():
            found = self._manager.item_metadata(step)["state"]
        kept = _shapes(getattr(found, "tree", found))
        asked = _shapes(like)
        for name in {**kept, **asked}:
            if kept.get(name) != asked.get(name):
                there, here = (shapes.get(name, "missing") for shapes in (kept, asked))
                raise WeightsError(
                    f"{self.folder}: a checkpoint of another network: {name} is {there} there, "
                    f"{here} here; use another run folder"
                )

    def _check_room(self, state: Any) -> None:
        size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        if free < ROOM * size:
            raise SpaceError(
                f"{self.folder}: {free / 1e6:.1f} MB free, a checkpoint needs "
                f"{ROOM * size / 1e6:.1f}; {self._remedy()}"
            )

    def _failure(self, error: Exception) -> Exception:
        code, text = getattr(error, "errno", None), str(error)
        if code in DISK_FULL or any(word in text.lower() for word in FULL):
            return SpaceError(f"{self.folder}: the disk is full; {self._remedy()}")
        if isinstance(error, OSError):
            reason = error.strerror or text
            return OutputError(f"{self.folder}: {reason}; {self._remedy()}")
        return error

    def _remedy(self) -> str:
        kept = f"step {self.latest()} is safe: " if self.latest() is not None else ""
        return f"{kept}free some space and start the same command again"

    def _locked(self):
        if fcntl is None or jax.process_index() > 0:
            return None
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise OutputError(f"{self.folder}: another run is writing here; wait for it") from error
        return lock


def players(folder: Path) -> dict[str, Any]:
    """Where the run whose checkpoints are in `folder` left its players: their parameters by name.

    The generator's are its moving average. Raises InputError if there is nothing to read.
    """
    import orbax.checkpoint as ocp

    steps = [path for path in Path(folder).glob("*/state") if path.parent.name.isdigit()]
    if not steps:
        raise InputError(f"{folder}: no checkpoint; give the folder of a run, or a file of weights")
    newest = max(steps, key=lambda path: int(path.parent.name))
    try:
        with _quiet(), ocp.PyTreeCheckpointer() as reader:
            told = reader.metadata(newest.absolute()).item_metadata
            if told is None:
                raise ValueError("its list of arrays is gone")
            here = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), told.tree)
            state = reader.restore(newest.absolute(), restore_args=here)
        return state["params"] | {"generator": state["ema"]}
    except (OSError, ValueError, KeyError) as error:
        cause = str(error).splitlines()[0]
        raise InputError(f"{newest.parent}: damaged ({cause}); remove it") from error


def position(iterator: Any) -> str:
    """The state of a data iterator as text; `iterator.get_state()` gives bytes or JSON values."""
    state = iterator.get_state()
    if isinstance(state, bytes):
        return json.dumps({"bytes": b64encode(state).decode()})
    return json.dumps({"state": state}, default=_plain)


def seek(iterator: Any, text: str) -> None:
    """Puts a data iterator where `position` found it."""
    kept = json.loads(text)
    iterator.set_state(b64decode(kept["bytes"]) if "bytes" in kept else kept["state"])


def _plain(value):
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"the data iterator's state holds a {type(value).__name__}, not JSON values")


def _manager(folder: Path, keep: int):
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        remedy = "install it by: pip install orbax-checkpoint"
        raise JaxvsrError(f"checkpoints of runs need orbax; {remedy}") from None
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        create=False,
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,  # what a killed run left unfinished
    )
    handlers = {"state": ocp.PyTreeCheckpointHandler(), "memo": ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


def _restore_args(like):
    import orbax.checkpoint as ocp

    def arg(leaf):
        sharding = getattr(leaf, "sharding", None)
        return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=leaf.shape, dtype=leaf.dtype)

    return jax.tree.map(arg, like)


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    """Shapes by name; a dict, a dataclass and a tuple of the same names look alike."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    plain = lambda key: str(next(v for v in vars_of(key) if v is not None))
    vars_of = lambda key: (getattr(key, name, None) for name in ("key", "name", "idx"))
    return {"/".join(plain(k) for k in path): tuple(leaf.shape) for path, leaf in found}


@contextmanager
def _quiet():
    """Orbax and absl tell of every step of a save; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("absl", "orbax")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
