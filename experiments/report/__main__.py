"""Networks at the papers' degradations, by every metric: tables, curves and pictures.

python -m experiments.report baseline
python -m experiments.report baseline --models bicubic mine=MY.safetensors --clips juggle_720p
"""

import sys

from experiments import tell_library
from experiments.report.baseline import Baseline
from jaxvsr.commands.reading import read
from jaxvsr.errors import UsageError, unknown
from jaxvsr.train import exit_status

STUDIES = {"baseline": Baseline}


def main() -> None:
    """Runs the study that the command line names."""
    name, *args = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(__doc__)
    elif name in STUDIES:
        read(STUDIES[name], args, prog=f"python -m experiments.report {name}").run()
    else:
        raise UsageError(unknown("study", name, STUDIES))


if __name__ == "__main__":
    tell_library()
    sys.exit(exit_status(main))
