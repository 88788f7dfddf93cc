"""Ways to build the 3x3 convolution that may be tried on a device, the expected best first."""

from kernels.launch import INTERPRETED, capability, cdiv, power_of_2  # isort: skip
from kernels.op import Config, Shape, config

RESIDENT = 96 * 1024  # bytes of weights that may stay in shared memory


def configs(shape: Shape, dtype: str, features: int | None = None) -> tuple[Config, ...]:
    """What may be tried for an input of `shape` and so many output channels (None: as many).

    WAY 0 is pipelined, as libraries do it; 1 and 2 load the taps through the L1 cache, 2 with
    weights that stay in shared memory. Blackwell has memory of its own for sums, in which the
    nine sums of 1 and 2 in a loop do not fit: a kernel that needs more compiles to a trap.
    """
    c, k = shape[-1], features or shape[-1]
    block = dict(BC=16 if c <= 16 else 32 if 0 < c % 64 <= 32 else 64)
    block |= dict(BK=min(128, max(16, power_of_2(k))))
    if dtype == "float32":
        return _exact(**block)
    device = 90 if INTERPRETED else capability()
    chunks = cdiv(c, block["BC"])
    direct = _direct(small=device < 90, **block) if device < 100 or chunks == 1 else []
    resident = _resident(chunks, 2 if device >= 90 else 1, **block) if device < 100 else []
    ways = [direct, resident, _pipelined(**block)]
    if device // 10 != 9:  # without wgmma the library's way is expected to be the best
        ways = ways[::-1]
    elif block["BK"] == 64:
        ways = [resident, direct, ways[2]]
    return tuple(choice for way in ways for choice in way)


def _exact(BC: int, BK: int) -> tuple[Config, ...]:
    """For float32: SPLIT sums three products of TF32 parts instead of one that is exact."""
    tile = dict(TH=8, TW=8, BC=min(BC, 32), BK=min(BK, 64), SWAP=0, WAY=0)
    return (
        config(8, 1, **tile),
        config(8, 1, **tile, SPLIT=1),
        config(8, 2, **tile | dict(TW=16), SPLIT=1),
    )


def _pipelined(**block: int) -> list[Config]:
    tile = dict(TH=8, TW=16, WAY=0, **block)
    warps = 8 if block["BK"] == 128 else 4
    found = [config(warps, 3, **tile, SWAP=0), config(8, 3, **tile | dict(TH=16), SWAP=0)]
    found += [config(warps, 3, **tile, SWAP=1)] if block["BK"] >= 64 else []
    return [*found, config(warps, 4, **tile, SWAP=0)]


def _direct(*, small: bool, **block: int) -> list[Config]:
    """`small` is what does not spill without wgmma."""
    tile = dict(TH=8, TW=16, WAY=1, **block)
    if small:
        return [config(8, 1, **tile, SWAP=0)]
    swapped = [config(block["BK"] // 16, 1, **tile, SWAP=1)] if block["BK"] >= 64 else []
    large = [config(8, 1, **tile | dict(TH=16), SWAP=0)] if block["BK"] < 128 else []
    found = [config(8, 1, **tile, SWAP=0), *large]
    return swapped + found if block["BK"] == 64 else found + swapped


def _resident(chunks: int, at_once: int, BC: int, BK: int) -> list[Config]:
    """Where all weights of a block of output channels leave room for a second program."""
    block = dict(BC=BC, BK=min(BK, 64))
    if 9 * chunks * BC * block["BK"] * 2 > RESIDENT:
        return []
    tile = dict(TH=8, TW=16, WAY=2, AT_ONCE=at_once, **block)
    swapped = [config(4, 1, **tile, SWAP=1)] if BK >= 64 else []
    return [*swapped, config(8, 1, **tile, SWAP=0)]
