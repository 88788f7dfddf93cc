"""What a paper tells the frame: its claim and numbers, and the functions that are its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.linen as nn

from experiments.frame import config as options
from experiments.frame.claims import Paper
from experiments.frame.config import Config
from experiments.frame.material import check_use
from jaxvsr import train
from jaxvsr.errors import UsageError

Players = dict[str, tuple[nn.Module, tuple[int, ...]]]


@dataclass(frozen=True)
class Experiment:
    """A run of a paper, as the frame plays it.

    - `config`: the class of its options;
    - `uses`: name -> f(numpy generator) -> degradation recipe; "paper" is the paper's own;
    - `networks`: name -> module as it is trained; `usual`: use -> name, "" for all other uses;
    - `steps`: updates of the paper's run, which `--scale` shortens;
    - `players`: f(config) -> name -> (module, shape of an example), the generator among them;
    - `game`: f(config, judges) -> what is trained; `phases`: f(config, steps) -> its phases;
    - `judges`: f(config) -> parameters of those who are only asked, such as LPIPS's, or nothing;
    - `guarded`: f(config) -> whether LPIPS (AlexNet) watches over held-out clips, which keeps the
      best weights apart from the last;
    - `tiny`: the network of `--smoke`, `zeroed` its top-level parts that start at zero,
      `random_judges`: f(config) -> judges as nobody learned them;
    - `told`: names of config fields that a weight file states.
    """

    paper: Paper
    config: type[Config]
    uses: Mapping[str, Callable]
    networks: Mapping[str, nn.Module]
    usual: Mapping[str, str]
    steps: int
    players: Callable[[Any], Players]
    game: Callable[[Any, Any], train.Game]
    phases: Callable[[Any, int], tuple[train.Phase, ...]]
    tiny: nn.Module
    zeroed: tuple[str, ...] = ()
    judges: Callable[[Any], Any] = lambda config: {}
    guarded: Callable[[Any], bool] = lambda config: False
    random_judges: Callable[[Any], Any] = lambda config: {}
    told: tuple[str, ...] = ()

    def checked(self, config: Config) -> Config:
        """The config with what hangs on other fields filled in. Raises UsageError."""
        check_use(config.use, self.uses)
        usual = self.usual.get(config.use, self.usual[""])
        name = config.network or usual
        if self.paper.study and name in self.paper.study.rows.keys() - self.networks.keys():
            table = f"python -m experiments.{self.paper.name} table"
            raise UsageError(f"{name} learns nothing; it is a row of: {table}")
        if name not in self.networks:
            raise UsageError(f"no network {name!r}; choose from {', '.join(self.networks)}")
        options.check_numbers(config)
        net, home = config.net or self.networks[name], Path("runs") / self.paper.name
        parts = [part for part in (config.use, name, config.mark) if part]
        run, keep = config.run or home / "-".join(parts), config.keep or Path(f"{home}_data")
        return replace(config, network=name, run=run, keep=keep, net=net)
