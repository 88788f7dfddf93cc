"""python -m jaxvsr compare: how close candidates are to a reference."""

import csv
import io
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from jaxvsr.comparison import (
    candidates,
    curves,
    page,
    rates,
    strip,
    table,
    wording,
)
from jaxvsr.comparison.pairs import frames_at
from jaxvsr.comparison.run import compare, damaged
from jaxvsr.comparison.saving import save
from jaxvsr.comparison.scores import Scores
from jaxvsr.comparison.settings import Settings
from jaxvsr.comparison.sources import Source, open_source
from jaxvsr.errors import DAMAGED, UsageError
from jaxvsr.host import allocator, cores, places
from jaxvsr.host.pipes import as_file, is_stream
from jaxvsr.inference.film import find_device


@dataclass(frozen=True)
class Compare:
    """Measure how close each CANDIDATE is to REFERENCE, frame by frame.

    Videos of any container, pictures, folders of pictures, or patterns such as %05d.png. Frames
    are paired by the time at which they are shown, pictures by their order.
    """

    reference: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="REFERENCE")]
    """The truth."""
    candidates: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="CANDIDATE [CANDIDATE ...]")
    ]
    """What is measured: a path, NAME=path or NAME@KBPS=path. Those of one NAME form a curve; KBPS
    takes the place of the file's own bitrate."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where it is computed."""
    json: bool = False
    """Print JSON instead of a table."""
    csv: Path | None = None
    """Write the value of every frame to this file."""
    plot: Path | None = None
    """Write curves, and strips of the worst frames, as PNG into this folder."""
    report: Path | None = None
    """Write a page with table, curves and pictures to this .html file."""
    rate: bool = False
    """Print BD-rates of the curves; with --plot draw them, too."""
    anchor: str | None = None
    """NAME that BD-rates are relative to; by default the first."""
    overwrite: bool = False
    """Replace outputs that exist."""

    def run(self) -> int:
        """Does it, and returns the exit status."""
        asked = [candidates.parse(text) for text in self.candidates]
        self._check(asked)
        allocator.keep_memory()
        cores.show()
        with ExitStack() as stack, jax.default_device(find_device(self)):
            here = lambda path: stack.enter_context(as_file(Path(path)))
            truth = open_source(here(self.reference))
            opened = [
                replace(c, path=open_source(here(c.path)), name=c.name or _of_stream(c))
                for c in asked
            ]
            scores = compare(truth, opened, self.settings, "text")
            self._tell(scores)
            self._write(scores, truth, [c.path for c in opened])
        return status(scores)

    def _check(self, asked: list[candidates.Candidate]) -> None:
        """Refuses what cannot be written or asked, before any work."""
        if not asked:
            raise UsageError("nothing to compare with the reference; name a candidate")
        inputs = [self.reference, *(str(c.path) for c in asked)]
        for path in (self.csv, self.report):
            if path is not None:
                places.check_file(path, inputs, overwrite=self.overwrite)
        if self.plot is not None:
            places.check_folder(self.plot, overwrite=self.overwrite)
            if find_spec("matplotlib") is None:
                raise UsageError("--plot needs matplotlib; install it by: pip install matplotlib")
        if self.anchor is not None:
            series = list(dict.fromkeys(c.series or Path(str(c.path)).stem for c in asked))
            if not self.rate or self.anchor not in series:
                known = ", ".join(series)
                raise UsageError(f"--anchor {self.anchor}: goes with --rate and one of {known}")

    def _tell(self, scores: list[Scores]) -> None:
        """The result, on stdout."""
        if self.json:
            facts = table.as_json(scores)
            if self.rate:
                facts["rates"] = rates.as_json(scores, self.anchor)
            print(json.dumps(facts, indent=1, allow_nan=False))
            return
        print(table.text(scores))
        if self.rate:
            print(f"\n{rates.table(scores, self.anchor)}")

    def _write(self, scores: list[Scores], truth: Source, sources: list[Source]) -> None:
        """The files that were asked for."""
        if self.csv is not None:
            lines = io.StringIO(newline="")
            csv.writer(lines).writerows(table.csv_rows(scores))
            save(self.csv, lines.getvalue().encode(errors="backslashreplace"))
        metric = next(iter(wording.had(scores)), None)
        look = partial(frames_at, truth, sources, settings=self.settings, times=scores[0].times)
        if self.plot is not None:
            self._plot(scores, look, metric)
        if self.report is not None:
            shown = page.pictures(scores, look, metric) if metric else []
            sections = {"BD-rates": rates.table(scores, self.anchor)} if self.rate else {}
            page.write(scores, shown, self.report, reference=truth.name, sections=sections)

    def _plot(self, scores: list[Scores], look, metric: str | None) -> None:
        self.plot.mkdir(exist_ok=True)
        curves.plot_frames(scores, self.plot / "frames.png")
        if self.rate:
            rates.plot(scores, self.plot / "rates.png")
        names = [re.sub(r"[^\w.@-]+", "_", score.name) for score in scores]
        for i, (score, name) in enumerate(zip(scores, names, strict=True)):
            if metric in wording.had([score]):
                mark = f"_{i}" if names.count(name) > 1 else ""
                path = self.plot / f"worst_{name}{mark}.png"
                strip.worst_frames(score, look, path, metric, candidate=i)


def _of_stream(candidate: candidates.Candidate) -> str:
    """A pipe's own name, which that of its copy would hide; "" for what has a name."""
    alone = is_stream(Path(candidate.path)) and not candidate.series
    return str(candidate.path) if alone else ""


def status(scores: list[Scores]) -> int:
    """0; that of what a metric lacked (2 or 5); or 6 where a file was damaged."""
    reasons = [reason for score in scores for reason in score.unavailable.values()]
    if reasons:
        return max(getattr(reason, "status", UsageError.status) for reason in reasons)
    return DAMAGED if damaged(scores) else 0
