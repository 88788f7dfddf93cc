"""Batches that depend on their number alone, as a run wants them: savable to the exact one."""

from abc import ABC, abstractmethod

import numpy as np


class Numbered(ABC):
    """An endless iterator over `batch(0)`, `batch(1)`, ...; a subclass says what a batch is."""

    drawn = 0

    @abstractmethod
    def batch(self, number: int) -> dict[str, np.ndarray]:
        """The batch of a number, whatever was drawn before."""

    def __next__(self) -> dict[str, np.ndarray]:
        self.drawn += 1
        return self.batch(self.drawn - 1)

    def __iter__(self):
        return self

    def get_state(self) -> dict:
        """See `jaxvsr.train.checkpoint.position`."""
        return {"drawn": self.drawn}

    def set_state(self, state: dict) -> None:
        """See `jaxvsr.train.checkpoint.seek`."""
        self.drawn = state["drawn"]
