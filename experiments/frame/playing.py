"""The course of a run, the same for every paper: what is refused, data, start or going on."""

import jax

from experiments import say
from experiments.frame import material, training, validation
from experiments.frame.config import Config, feed_of
from experiments.frame.experiment import Experiment
from experiments.frame.smoke import smoke
from jaxvsr import train
from jaxvsr.host.dealing import check_batch
from jaxvsr.layers import trained_folded
from jaxvsr.weights import judges


def play(experiment: Experiment, config: Config) -> dict[str, float]:
    """Trains, resuming where there is something to resume; returns the last validation's scores.

    Everything that can be refused is refused before a clip is coded.
    """
    config = experiment.checked(config)
    train.start(config.accelerator, config.batch)
    if config.smoke:
        return smoke(experiment, config)
    check_batch(config.batch, jax.device_count())
    asked = experiment.judges(config)
    params = training.starting(experiment, config)
    found = material.material(config.data, config.share, config.seed)
    say(*found.told)
    guarded = experiment.guarded(config) and found.validates
    watch = judges.lpips_params("alex") if guarded else None
    told = training.identity(config, found)
    train.check_folder(config.run, told, free=training.FREE)
    feed, draw = feed_of(config), experiment.uses[config.use]
    batches, unseen, left = material.fed(found, config.use, draw, feed, config.keep)
    say(*left)
    score = validation.over(unseen, trained_folded(config.net), watch) if unseen else None
    return training.fit(experiment, config, told, asked, params, batches, score)
