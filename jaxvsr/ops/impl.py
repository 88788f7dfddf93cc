"""One operation, two ways: XLA's, which is its definition, or a Triton kernel of `kernels`.

`impl` is "xla", "triton" (the kernel or an error), "winograd" (as "triton", but 3x3 convolutions
of one group by Winograd's F(2,3)), or "auto": on an NVIDIA GPU whatever was measured to be the
fastest for these shapes, elsewhere XLA. Kernels are imported when they are first asked for; they
come with a checkout of the project, not with the installed package.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec

import jax

from jaxvsr.errors import UsageError

IMPLS = ("auto", "xla", "triton", "winograd")


def check(impl: str) -> str:
    """`impl` itself. Raises ValueError unless it is one of IMPLS."""
    if impl not in IMPLS:
        raise ValueError(f"impl {impl!r}: choose one of {', '.join(IMPLS)}")
    return impl


def either(impl: str, name: str, plain: Callable, fast: Callable[[], Callable], *arrays):
    """plain(*arrays), or fast()(*arrays): `fast` imports a kernel and returns what runs it.

    Where there are several kernels it returns them by name, first the usual one; "auto" chooses.
    `name` tells apart what the shapes of `arrays`, which may be None, do not. Raises UsageError
    where a kernel is asked for and Triton or the kernels are not there.
    """
    if check(impl) == "xla" or (impl == "auto" and not available()):
        return plain(*arrays)
    try:
        ours = fast()
    except ImportError as error:
        raise UsageError(f"impl {impl!r}: {missing(error)}; or use impl 'auto'") from error
    ways = ours if isinstance(ours, Mapping) else {"triton": ours}
    if impl == "auto":
        from kernels.choice import fastest

        return ways.get(fastest(name, ways, plain, arrays), plain)(*arrays)
    return next(iter(ways.values()))(*arrays)


@cache
def available() -> bool:
    """True where kernels can run for speed: an NVIDIA GPU, Triton, and a checkout with kernels."""
    if jax.default_backend() != "gpu" or "cuda" not in jax.devices()[0].client.platform_version:
        return False
    return find_spec("triton") is not None and _has_kernels()


def missing(error: ImportError) -> str:
    """What to install for the kernels, by the import that failed."""
    if (error.name or "").partition(".")[0] == "kernels":
        return "the kernels are not in the installed package; run from a checkout of the project"
    return f"{error.name} is missing; pip install 'triton>=3.6,<3.8'"


def _has_kernels() -> bool:
    try:
        return find_spec("kernels.launch") is not None
    except ImportError:
        return False
