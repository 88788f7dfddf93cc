"""python -m jaxvsr models: the networks and their facts, and the packaged weights."""

from dataclasses import dataclass
from json import dumps

from jaxvsr.commands.speech import aligned


@dataclass(frozen=True)
class Models:
    """List the networks (scale, parameters, cost, temporal radius, paper) and packaged weights."""

    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """Prints both tables."""
        from jaxvsr.models import table
        from jaxvsr.weights import PACKAGED

        rows = table.rows()
        names = [{"--model": name, "for": purpose} for name, purpose in PACKAGED.items()]
        if self.json:
            print(dumps({"networks": rows, "packaged": PACKAGED}, indent=1))
        else:
            print(aligned(rows), "Weights that come with the package:", aligned(names), sep="\n\n")
        return 0
