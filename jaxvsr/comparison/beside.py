"""VMAF beside the other metrics: which luma it is given, and what happens when it fails."""

import numpy as np

from jaxvsr.comparison.score import Reason, luma_of
from jaxvsr.comparison.settings import Settings
from jaxvsr.comparison.sources import Source
from jaxvsr.comparison.views import Planes, codes
from jaxvsr.errors import InputError, JaxvsrError
from jaxvsr.metrics.vmaf import DEPTHS, VmafRun
from jaxvsr.video.colour import MATRICES, Colour, untagged


class Beside:
    """A VmafRun fed with the luma of pairs of frames.

    A file's own luma plane is taken as it is where it is limited-range YUV in the matrix of both;
    only its depth is raised to that of the deeper file. All else is converted to that luma.
    When libvmaf fails, its metrics become `unavailable` and nothing else is disturbed.
    """

    def __init__(self, reference: Source, candidate: Source, names, settings: Settings):
        self.unavailable: dict[str, Reason] = {}
        self._names, self._sources, self._run = names, (candidate, reference), None
        self._size, self._settings = reference.size, settings
        self._matrix = _matrix(reference, candidate)
        depth = max(map(_bits, self._sources))
        self._bits = next(bits for bits in DEPTHS if bits >= depth)
        if names:
            height, width = (side - 2 * settings.crop for side in reference.size)
            make = lambda: VmafRun(width, height, reference.fps, self._bits, names)
            self._run = self._try(make)

    def add(self, real: Planes, fake: Planes) -> None:
        """One pair of frames, planes [H, W] or RGB [H, W, 3]."""
        if self._run is not None:
            both = zip((fake, real), self._sources, strict=True)
            planes = [self._luma(*pair) for pair in both]
            self._try(lambda: self._run.add(*planes))

    def finish(self, count: int) -> dict[str, np.ndarray]:
        """{metric: [count]}, without those that became unavailable."""
        if self._run is None:
            return {}
        values = self._try(self._run.finish) or {}
        if any(len(v) != count for v in values.values()):
            self._try(_short)
            return {}
        return values

    def close(self) -> None:
        """Lets go of what is running."""
        if self._run is not None:
            self._run.close()
            self._run = None

    def _try(self, action):
        try:
            return action()
        except JaxvsrError as error:
            self.unavailable = dict.fromkeys(self._names, Reason(error))
            self._run = None
            return None

    def _luma(self, planes: Planes, source: Source) -> np.ndarray:
        crop = self._settings.crop
        inside = slice(crop, -crop or None)
        if self._is_own(source):
            luma = planes[0][inside, inside]
            if source.colour.bits == self._bits and luma.dtype.itemsize == 1 + (self._bits > 8):
                return luma
            return luma.astype(np.uint16) << (self._bits - source.colour.bits)
        facts = {"meaning": source.colour, "size": self._size, "method": self._settings.resize}
        luma = luma_of(tuple(p[None] for p in planes), matrix=self._matrix, **facts)
        return np.asarray(codes(luma, self._bits))[0, inside, inside]

    def _is_own(self, source: Source) -> bool:
        own = isinstance(source.colour, Colour) and not source.colour.full_range
        return own and source.colour.matrix == self._matrix and source.size == self._size


def _short():
    raise InputError("VMAF: libvmaf did not score every frame; try again")


def _matrix(reference: Source, candidate: Source) -> str:
    """The YUV matrix of the reference, or of the candidate, or what untagged video would have."""
    for source in (reference, candidate):
        if source.colour is not None and source.colour.matrix in MATRICES:
            return source.colour.matrix
    return untagged(reference.size[0])


def _bits(source: Source) -> int:
    """Depth of a source; floats count as 10 bits."""
    if source.colour is not None:
        return source.colour.bits
    return 8 if source.dtype == np.uint8 else 10
