"""Before JAX starts: a compilation cache and four CPU devices. After: the shared data."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Compiling is most of the time of a test run; XLA's programs are kept between runs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
FOUR_DEVICES = "--xla_force_host_platform_device_count=4"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FOUR_DEVICES}".strip()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of clips, weights and expected values, which is not part of the project."""
    path = Path(os.environ.get("JAXVSR_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path}; set JAXVSR_DATA")
    return path
