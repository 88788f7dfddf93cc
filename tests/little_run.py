"""A training run so small that a test can start it, kill it and start it again.

python tests/little_run.py FOLDER [--steps N] [--pause SECONDS] [--save SECONDS]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvsr import train

HERE = Path(__file__).parent
ROWS = 8
CONFIG = {"rate": 1e-2, "rows": ROWS}


class Generator(nn.Module):
    """Two convolutions and the input."""

    @nn.compact
    def __call__(self, frames):
        x = nn.relu(nn.Conv(4, (3, 3), name="first")(frames))
        return frames + nn.Conv(3, (3, 3), name="last")(x)


class Critic(nn.Module):
    """One score for each place."""

    @nn.compact
    def __call__(self, frames):
        x = nn.leaky_relu(nn.Conv(4, (3, 3), strides=2, name="first")(frames), 0.2)
        return nn.Conv(1, (1, 1), use_bias=False, name="last")(x)[..., 0]


class Batches:
    """Batches that are a function of their number; this host has its share of the rows."""

    def __init__(self, rows=ROWS, pause=0.0, host=0, hosts=1, last=None):
        self.rows, self.pause, self.host, self.hosts = rows, pause, host, hosts
        self.number, self.last = 0, last

    def __iter__(self):
        return self

    def __next__(self):
        if self.number == self.last:
            raise StopIteration
        time.sleep(self.pause)
        hr = np.random.default_rng(self.number).random((self.rows, 8, 8, 3), np.float32)
        share = self.rows // self.hosts
        hr = hr[self.host * share : (self.host + 1) * share]
        self.number += 1
        return {"lr": 0.5 * hr + 0.2, "hr": hr}

    def get_state(self):
        return {"number": np.int64(self.number)}

    def set_state(self, state):
        self.number = int(state["number"])


def scores(r):
    return r.judge("space", r.hr), r.judge("space", r.fake)


def beats(a, b):
    return optax.sigmoid_binary_cross_entropy(a - b.mean(), jnp.ones_like(a)).mean()


def critic_loss(r):
    """Relativistic average: its means run over the global batch."""
    real, fake = scores(r)
    return beats(real, fake) + beats(-fake, -real), real.mean() - fake.mean()


TERMS = {
    "l1": lambda r: jnp.abs(r.fake - r.hr).mean(),
    "l2": lambda r: jnp.square(r.fake - r.hr).mean(),
    "space": lambda r: beats(scores(r)[1], scores(r)[0]),
    "noisy": lambda r: jnp.abs(r.fake - r.hr + jax.random.normal(r.key, r.hr.shape)).mean(),
    "nan": lambda r: jnp.sqrt(-1 - r.fake.mean() ** 2),
    "never": lambda r: 1 / 0,
}


def game(tx=None, **options) -> train.Game:
    players = {"generator": Generator(), "space": Critic()}
    # Relativistic losses do not see a shift of all scores, so biases that shift them have
    # gradients of 0 but for rounding. Of those Adam would make full steps, other ones on other
    # devices, if its epsilon were the usual 1e-8.
    tx = optax.adam(CONFIG["rate"], eps=1e-3) if tx is None else tx
    return train.Game(players, TERMS, tx, {"space": critic_loss}, **options)


def params(key=0):
    """Parameters by player, drawn by numpy: compiling Flax's takes seconds in every process."""
    rng, frames = np.random.default_rng(key), np.zeros((1, 8, 8, 3), np.float32)
    shapes = {
        name: jax.eval_shape(player.init, jax.random.key(0), frames)["params"]
        for name, player in game().players.items()
    }
    return jax.tree.map(lambda s: 0.2 * rng.standard_normal(s.shape, np.float32), shapes)


def phases(steps: int) -> tuple[train.Phase, ...]:
    ramp = optax.linear_schedule(0.0, 0.1, 10)
    return (
        train.Phase("warm", 8, {"l1": 1.0}),
        train.Phase("full", steps - 8, {"noisy": 1.0, "space": ramp}, critics=("space",)),
    )


def validate(average):
    return {"lpips": float(jnp.square(average["last"]["kernel"]).mean())}


def run(folder: Path, steps=30, pause=0.0, save=1e9, batches=None, **options) -> train.End:
    host, hosts = jax.process_index(), jax.process_count()
    cadence = train.Cadence(tell=1, validate=7, save=save)
    settings = {"key": jax.random.key(1), "config": CONFIG, "show": "none", "cadence": cadence}
    batches = batches or Batches(pause=pause, host=host, hosts=hosts)
    settings = settings | {"validate": validate} | options
    return train.fit(folder, game(), phases(steps), params(), batches, **settings)


def start(folder: Path, *options: str, devices: int = 1, **env: str) -> subprocess.Popen:
    """A run in a process of its own with so many devices; of repeated flags XLA takes the last."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    paths = f"{HERE.parent}:{HERE}"
    env = {**os.environ, "PYTHONPATH": paths, "XLA_FLAGS": flags, **env}
    command = [sys.executable, __file__, str(folder), *options]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def leaves(state) -> dict[str, np.ndarray]:
    """Every array of a state by name."""
    found = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in found}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--save", type=float, default=1e9)
    args = parser.parse_args()
    train.start("cpu")
    end = run(args.folder, args.steps, args.pause, args.save)
    if jax.process_index() == 0:
        np.savez(args.folder / "final.npz", **leaves(end.state))


if __name__ == "__main__":
    sys.exit(train.exit_status(main))
