"""python -m jaxvsr compare: how close candidates are to a reference."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from jaxvsr.commands.reading import Positional
from jaxvsr.comparison.settings import Settings


@dataclass(frozen=True)
class Compare:
    """Measure how close each CANDIDATE is to REFERENCE, frame by frame.

    Videos of any container, pictures, folders of pictures, or patterns such as %05d.png. Frames
    are paired by the time at which they are shown, pictures by their order.
    """

    reference: Annotated[str, Positional("REFERENCE")]
    """The truth."""
    candidates: Annotated[tuple[str, ...], Positional("CANDIDATE")]
    """What is measured: a path, NAME=path or NAME@KBPS=path. Those of one NAME form a curve; KBPS
    takes the place of the file's own bitrate."""
    settings: Settings = field(default_factory=Settings)
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where it is computed."""
    json: bool = False
    """Print JSON instead of a table."""
    csv: Path | None = None
    """Write the value of every frame to this file."""
    plot: Path | None = None
    """Write curves, and strips of the worst frames, as PNG into this folder."""
    report: Path | None = None
    """Write a page with table, curves and pictures to this .html file."""
    rate: bool = False
    """Print BD-rates of the curves; with --plot draw them, too."""
    anchor: str | None = None
    """NAME that BD-rates are relative to; by default the first."""
    overwrite: bool = False
    """Replace outputs that exist."""

    def run(self) -> int:
        """Does it, and returns the exit status."""
        from jaxvsr.commands import comparing  # brings JAX, which --help need not wait for

        return comparing.run(self)
