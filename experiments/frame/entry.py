"""The command line of a paper: python -m experiments.PAPER [pack | table | its own]."""

import sys
from collections.abc import Callable, Mapping

import jax

from experiments import tell_library
from experiments.frame.experiment import Experiment
from experiments.frame.packing import Pack
from experiments.frame.playing import play
from experiments.frame.tables import Table, conclude
from jaxvsr import train
from jaxvsr.commands.reading import read

Commands = Mapping[str, Callable[[list[str], str], object]]


def command(experiment: Experiment, args: list[str], description: str, more: Commands) -> object:
    """What the command line asks for: a run, one of every paper's subcommands, or one of `more`."""
    paper = experiment.paper
    prog, name = f"python -m experiments.{paper.name}", args[0] if args else ""
    own = args[1:], f"{prog} {name}"
    parse = lambda kind: read(kind, own[0], prog=own[1])
    if name == "pack":
        return parse(Pack).run(experiment.uses)
    if name == "table" and paper.study:
        return parse(Table).run(paper)
    if name in more:
        return more[name](*own)
    config = read(experiment.config, args, prog=prog, about=description)
    scores = play(experiment, config)
    print(*(f"{metric} {value:.4f}" for metric, value in scores.items()))
    if config.use == "paper" and not config.smoke and paper.study and jax.process_index() == 0:
        conclude(paper, experiment.checked(config).run)
    return scores


def start(experiment: Experiment, description: str, more: Commands | None = None) -> None:
    """The main of a paper; ends the process with its exit status.

    `more` are subcommands of its own: name -> f(arguments, the name that help shows).
    """
    tell_library()
    sys.exit(train.exit_status(lambda: command(experiment, sys.argv[1:], description, more or {})))
