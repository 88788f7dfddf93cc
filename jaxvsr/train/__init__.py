"""Training: one pure step for every game, and the run around it.

    game = train.Game({"generator": net, "patch": critic}, TERMS, optax.adam(1e-4), CRITICS)
    phases = (train.Phase("warm", 5_000, {"l1": 1.0}),
              train.Phase("full", 95_000, {"l1": 1.0, "space": RAMP}, critics=("patch",)))
    train.start("gpu")
    end = train.fit(folder, game, phases, params, batches, key=jax.random.key(0), config={...})

The same command continues a run that was stopped, from its last checkpoint.
"""

from jaxvsr.train.devices import distribute, replicate, shardings, start
from jaxvsr.train.fit import Cadence, DivergedError, End, check_folder, fit
from jaxvsr.train.game import Game, Phase, Round, Stop, TrainState, enter, init, untrained
from jaxvsr.train.rates import adam, cosine, multistep
from jaxvsr.train.signals import exit_status
from jaxvsr.train.step import make_step

__all__ = [
    "Cadence",
    "DivergedError",
    "End",
    "Game",
    "Phase",
    "Round",
    "Stop",
    "TrainState",
    "adam",
    "check_folder",
    "cosine",
    "distribute",
    "enter",
    "exit_status",
    "fit",
    "init",
    "make_step",
    "multistep",
    "replicate",
    "shardings",
    "start",
    "untrained",
]
