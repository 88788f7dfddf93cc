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


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit status; errors become one line on stderr."""
    commands = {"enhance": Enhance, "compare": Compare, "degrade": Degrade, "models": Models}
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
