"""python -m jaxvsr models: the networks and their facts."""

from dataclasses import dataclass
from json import dumps

from jaxvsr.commands.speech import aligned
from jaxvsr.models import table


@dataclass(frozen=True)
class Models:
    """List the networks: scale, parameters, cost, temporal radius, paper, and weights."""

    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """Prints the table."""
        rows = table.rows()
        print(dumps(rows, indent=1) if self.json else aligned(rows))
        return 0
