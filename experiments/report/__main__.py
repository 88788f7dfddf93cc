"""Networks at the papers' degradations, by every metric: tables, curves and pictures.

python -m experiments.report baseline
python -m experiments.report baseline --models bicubic mine=MY.safetensors --clips juggle_720p
"""

import sys

import tyro

from experiments import tell_library
from experiments.report.baseline import Baseline
from jaxvsr.train import exit_status

STUDIES = {"baseline": Baseline}


def main() -> None:
    """Runs the study that the command line names."""
    tyro.extras.subcommand_cli_from_dict(STUDIES, prog="python -m experiments.report").run()


if __name__ == "__main__":
    tell_library()
    sys.exit(exit_status(main))
