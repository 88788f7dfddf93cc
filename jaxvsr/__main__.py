"""The command line: python -m jaxvsr enhance | models."""

import os
import signal
import sys
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path
from typing import Annotated

import tyro

import jaxvsr
from jaxvsr import weights
from jaxvsr.enhance import check_source, enhance_folder, enhance_path, enhance_preview
from jaxvsr.errors import DAMAGED, JaxvsrError, StoppedError
from jaxvsr.models import table
from jaxvsr.network import DEFAULT
from jaxvsr.settings import Result, Settings


@dataclass(frozen=True)
class Enhance:
    """Make a better video (or picture, or folder of either) out of INPUT.

    Audio, subtitles, chapters, timing and colours are kept. A run that was stopped goes on when
    the same command is given again.
    """

    input: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="INPUT")]
    """A video, a picture, or a folder of either."""
    output: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="OUTPUT")] = None
    """Result; .mp4 .mkv .webm .mov .y4m, a picture, or pictures by a pattern such as %05d.png.
    By default it lies beside the input."""
    model: str = DEFAULT
    """Name of a packaged network (see `models`), or path or URL of a checkpoint."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    preview: bool = False
    """Write only a picture that compares one frame before and after."""
    json: bool = False
    """One JSON line per second on stdout, and a summary."""

    def run(self) -> int:
        """Does it, and returns the exit status."""
        check_source(self.input)
        net = weights.load(self.model)
        show = "json" if self.json else "text"
        if self.preview:
            return self._report([enhance_preview(net, self.input, self.output, self.settings)])
        if not self.input.is_dir():
            result = enhance_path(net, self.input, self.output, self.settings, show)
            return self._report([result])
        errors: list[JaxvsrError] = []

        def failed(error):
            errors.append(error)
            complain(error)

        args = (net, self.input, self.output, self.settings, show, failed)
        status = self._report(enhance_folder(*args))
        return errors[0].status if errors else status

    def _report(self, results: list[Result]) -> int:
        for result in results:
            if not self.json:
                rate = f", {result.frames} frames in {result.seconds:.1f} s" * (result.frames > 1)
                print(f"{result.output}{rate}")
        return DAMAGED if any(result.damaged for result in results) else 0


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


def aligned(rows: list[dict]) -> str:
    """Rows of equal keys as a table of aligned columns."""
    cells = [list(rows[0]), *([str(v) for v in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def complain(error: BaseException) -> None:
    """One line on stderr."""
    print(f"jaxvsr: {error}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit status; errors become one line on stderr."""
    commands = {"enhance": Enhance, "models": Models}
    command = tyro.extras.subcommand_cli_from_dict(
        commands,
        prog="python -m jaxvsr",
        args=argv,
        description=jaxvsr.__doc__.split("\n")[0],
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return command.run()
    except JaxvsrError as error:
        complain(error)
        return error.status
    except KeyboardInterrupt:
        complain("stopped")
        return StoppedError.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
