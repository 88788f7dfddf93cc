"""The command line: python -m jaxvsr enhance | compare | degrade | models."""

import os
import signal
import sys

import tyro

import jaxvsr
from jaxvsr.commands.compare import Compare
from jaxvsr.commands.degrade import Degrade
from jaxvsr.commands.enhance import Enhance
from jaxvsr.commands.models import Models
from jaxvsr.commands.speech import complain
from jaxvsr.errors import JaxvsrError, StoppedError

COMMANDS = {"enhance": Enhance, "compare": Compare, "degrade": Degrade, "models": Models}


def parse(argv: list[str] | None):
    """The subcommand with its options; help and wrong usage end the process as tyro does it."""
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="python -m jaxvsr",
        args=argv,
        description=jaxvsr.__doc__.split("\n")[0],
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit status; errors become one line on stderr."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # arrows in tables, whatever the console can show
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return parse(argv).run()
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
