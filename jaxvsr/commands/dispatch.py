"""The command that a command line asks for: only its own file is read, so that help is quick."""

from collections.abc import Sequence
from importlib import import_module

import jaxvsr
from jaxvsr.commands.reading import read
from jaxvsr.errors import UsageError, nearest

PROG = "python -m jaxvsr"
COMMANDS = {  # each a dataclass of that name in a file of its own, read when it is asked for
    "enhance": "make a better video or picture, or folder of either",
    "compare": "measure how close videos or pictures are to a reference",
    "degrade": "make a worse video or picture, as a paper does",
    "models": "list the networks and the packaged weights",
}


def parse(argv: Sequence[str]):
    """The command with its options; help ends the process. Raises UsageError."""
    name, *rest = argv or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        raise SystemExit(0)
    if name in ("-V", "--version"):
        print(f"jaxvsr {jaxvsr.__version__}")
        raise SystemExit(0)
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        meant = nearest(name, [*COMMANDS, "--help", "--version"])
        raise UsageError(f"no {kind} {name!r}; choose from {', '.join(COMMANDS)}{meant}")
    kind = getattr(import_module(f"jaxvsr.commands.{name}"), name.capitalize())
    return read(kind, rest, prog=f"{PROG} {name}")


def usage() -> str:
    """What the commands are."""
    rows = "\n".join(f"  {name:9}{what}" for name, what in COMMANDS.items())
    about = jaxvsr.__doc__.split("\n")[0]
    return (
        f"usage: {PROG} [-h] [--version] COMMAND ...\n\n{about}\n\ncommands:\n{rows}\n\n"
        f"{PROG} COMMAND --help tells the options of one."
    )
