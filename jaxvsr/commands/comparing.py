"""What `compare` does once its options are read: files opened, scores told, pages written."""

import csv
import io
import json
import re
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import jax

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
from jaxvsr.comparison.sources import Source, open_source
from jaxvsr.errors import DAMAGED, UsageError
from jaxvsr.host import allocator, cores, places
from jaxvsr.host.pipes import as_file, is_stream
from jaxvsr.host.programs import keep_programs
from jaxvsr.inference.film import find_device


def run(options) -> int:
    """Does what the `Compare` asks for, and returns the exit status."""
    asked = [candidates.parse(text) for text in options.candidates]
    _check(options, asked)
    allocator.keep_memory()
    keep_programs()
    cores.show()
    with ExitStack() as stack, jax.default_device(find_device(options)):
        here = lambda path: stack.enter_context(as_file(Path(path)))
        truth = open_source(here(options.reference))
        opened = [
            replace(c, path=open_source(here(c.path)), name=c.name or _of_stream(c)) for c in asked
        ]
        scores = compare(truth, opened, options.settings, "text")
        _tell(options, scores)
        _write(options, scores, truth, [c.path for c in opened])
    return status(scores)


def _of_stream(candidate: candidates.Candidate) -> str:
    """A pipe's own name, which that of its copy would hide; "" for what has a name."""
    alone = is_stream(Path(candidate.path)) and not candidate.series
    return str(candidate.path) if alone else ""


def _check(options, asked: list[candidates.Candidate]) -> None:
    """Refuses what cannot be written or asked, before any work."""
    if not asked:
        raise UsageError("nothing to compare with the reference; name a candidate")
    inputs = [options.reference, *(str(c.path) for c in asked)]
    for path in (options.csv, options.report):
        if path is not None:
            places.check_file(path, inputs, overwrite=options.overwrite)
    if options.plot is not None:
        places.check_folder(options.plot, overwrite=options.overwrite)
        if find_spec("matplotlib") is None:
            raise UsageError("--plot needs matplotlib; install it by: pip install matplotlib")
    if options.anchor is not None:
        series = list(dict.fromkeys(c.series or Path(str(c.path)).stem for c in asked))
        if not options.rate or options.anchor not in series:
            known = ", ".join(series)
            raise UsageError(f"--anchor {options.anchor}: goes with --rate and one of {known}")


def _tell(options, scores: list[Scores]) -> None:
    """The result, on stdout."""
    if options.json:
        facts = table.as_json(scores)
        if options.rate:
            facts["rates"] = rates.as_json(scores, options.anchor)
        print(json.dumps(facts, indent=1, allow_nan=False))
        return
    print(table.text(scores))
    if options.rate:
        print(f"\n{rates.table(scores, options.anchor)}")


def _write(options, scores: list[Scores], truth: Source, sources: list[Source]) -> None:
    """The files that were asked for."""
    if options.csv is not None:
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(table.csv_rows(scores))
        save(options.csv, lines.getvalue().encode(errors="backslashreplace"))
    metric = next(iter(wording.had(scores)), None)
    look = partial(frames_at, truth, sources, settings=options.settings, times=scores[0].times)
    if options.plot is not None:
        _plot(options, scores, look, metric)
    if options.report is not None:
        shown = page.pictures(scores, look, metric) if metric else []
        sections = {"BD-rates": rates.table(scores, options.anchor)} if options.rate else {}
        page.write(scores, shown, options.report, reference=truth.name, sections=sections)


def _plot(options, scores: list[Scores], look, metric: str | None) -> None:
    options.plot.mkdir(exist_ok=True)
    curves.plot_frames(scores, options.plot / "frames.png")
    if options.rate:
        rates.plot(scores, options.plot / "rates.png")
    names = [re.sub(r"[^\w.@-]+", "_", score.name) for score in scores]
    for i, (score, name) in enumerate(zip(scores, names, strict=True)):
        if metric in wording.had([score]):
            mark = f"_{i}" if names.count(name) > 1 else ""
            path = options.plot / f"worst_{name}{mark}.png"
            strip.worst_frames(score, look, path, metric, candidate=i)


def status(scores: list[Scores]) -> int:
    """0; that of what a metric lacked (2 or 5); or 6 where a file was damaged."""
    reasons = [reason for score in scores for reason in score.unavailable.values()]
    if reasons:
        return max(getattr(reason, "status", UsageError.status) for reason in reasons)
    return DAMAGED if damaged(scores) else 0
