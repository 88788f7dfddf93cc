"""Scene cuts, found frame by frame from a thumbnail of the luma plane."""

import numpy as np

SIDE = 32  # cells a side of the thumbnail
BINS = 16
JUMP = 0.1  # mean change of a cell, of full scale, below which nothing is a cut
RATIO = 3.0  # how many times the recent change a cut must be


class CutDetector:
    """`is_cut(luma)` tells of each frame in turn whether a new scene begins with it.

    A cut changes most cells of a 32x32 thumbnail by much more than the frames before did, and moves
    the histogram too, which motion alone does not. The first frame is no cut.
    """

    def __init__(self):
        self._before = None
        self._recent = 0.0

    def is_cut(self, luma: np.ndarray) -> bool:
        """`luma` is a plane [H, W] of unsigned codes (uint8, or uint16 of 10 bits or more)."""
        cells = _thumbnail(luma)
        before, self._before = self._before, cells
        if before is None:
            return False
        # A fade or a flash moves all cells alike: only what remains after the mean counts.
        shift = cells.mean() - before.mean()
        change = float(np.abs(cells - before - 0.8 * shift).mean())
        moved = float(np.abs(_histogram(cells) - _histogram(before)).sum()) / 2
        score = change * min(1.0, 0.4 + moved)
        cut = score > JUMP * 0.5 and score > RATIO * self._recent
        self._recent = 0.0 if cut else max(score, 0.8 * self._recent)
        return bool(cut)


def _thumbnail(luma: np.ndarray) -> np.ndarray:
    """Means over a few samples of each cell, scaled to the range the codes seem to have."""
    rows, columns = (np.arange(2 * SIDE) * n // (2 * SIDE) for n in luma.shape)
    samples = luma[rows[:, None], columns].astype(np.float32)
    cells = samples.reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3))
    return cells / (255.0 if luma.dtype == np.uint8 else _scale(luma))


def _scale(luma: np.ndarray) -> float:
    """White of 10, 12 or 16 bit codes, told by the largest one in a sparse sample."""
    largest = int(luma[::7, ::7].max(initial=0))
    return float(next(2**bits for bits in (10, 12, 16) if largest < 2**bits))


def _histogram(cells: np.ndarray) -> np.ndarray:
    counts = np.bincount((cells.ravel() * (BINS - 1e-3)).astype(int), minlength=BINS)[:BINS]
    return counts / cells.size
