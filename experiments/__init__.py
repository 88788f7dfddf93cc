"""One file a paper: its losses, its phases, and its numbers beside ours."""

import os
from pathlib import Path

DATA = Path(os.environ.get("JAXVSR_DATA", Path(__file__).parents[2] / "shared/data"))
