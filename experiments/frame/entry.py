"""The command line of a paper: python -m experiments.PAPER [pack | table | its own]."""

import sys

import jax
import tyro

from experiments import tell_library
from experiments.frame.experiment import Experiment
from experiments.frame.packing import Pack
from experiments.frame.tables import Table, conclude
from experiments.frame.training import play
from jaxvsr import train


def command(experiment: Experiment, args: list[str], description: str) -> object:
    """What the command line asks for: a run, or one of the subcommands."""
    paper = experiment.paper
    prog, name = f"python -m experiments.{paper.name}", args[0] if args else ""
    own = args[1:], f"{prog} {name}"
    parse = lambda kind: tyro.cli(kind, args=own[0], prog=own[1])
    if name == "pack":
        return parse(Pack).run(experiment.uses)
    if name == "table" and paper.study:
        return parse(Table).run(paper.study)
    if name in experiment.commands:
        return experiment.commands[name](*own)
    config = tyro.cli(experiment.config, args=args, prog=prog, description=description)
    scores = play(experiment, config)
    print(*(f"{metric} {value:.4f}" for metric, value in scores.items()))
    if config.use == "paper" and not config.smoke and paper.study and jax.process_index() == 0:
        conclude(paper.name, paper.study, experiment.checked(config).run)
    return scores


def start(experiment: Experiment, description: str) -> None:
    """The main of a paper; ends the process with its exit status."""
    tell_library()
    sys.exit(train.exit_status(lambda: command(experiment, sys.argv[1:], description)))
