"""Rows of the bench: what was measured, against the roofline and against the other ways.

A kernel's verdict compares it with the fastest XLA variant at the same dtype: WIN or LOSS where
they differ by more than 5 %, else TIE. Losses and errors are rows like any other.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

TIE = 0.05
HEAD = (
    "op | shape | dtype | implementation | ms p50 [p20, p80] | TFLOP/s | GB/s | % roof (side) "
    "| x XLA | x torch | rel. error | verdict"
)
ASSUMED = {  # TFLOP/s by dtype, GB/s by level: an H200 by its data sheet and what others measured
    "bfloat16": 790.0,
    "float16": 790.0,
    "float32": 50.0,
    "int8": 1500.0,
    "copy": 4300.0,
    "l2": 5500.0,
}
RATES = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16", "int8": "int8"}


@dataclass
class Entry:
    """All that was measured of an operation, or network, at one shape and dtype."""

    op: str
    shape: str
    size: tuple[int, ...]
    dtype: str
    flops: float = 0.0
    bytes: float = 0.0
    truth: str = ""
    times: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    relerr: dict[str, float | None] = field(default_factory=dict)
    configs: dict[str, list[float] | str] = field(default_factory=dict)
    frames: int = 0  # a call makes, for networks

    def add(self, answer: Mapping, *, named: str = "{}") -> set[str]:
        """Takes over what a process answered; what it says of a name replaces what was known.

        Returns the names of the implementations that were answered about.
        """
        for name, times in answer.get("times", {}).items():
            self.times[named.format(name)] = times
            self.errors.pop(named.format(name), None)
        for name in answer.get("errors", {}):
            self.times.pop(named.format(name), None)
        for part in ("errors", "relerr"):
            for name, value in answer.get(part, {}).items():
                getattr(self, part)[named.format(name)] = value
        for part in ("flops", "bytes", "truth", "frames"):
            setattr(self, part, answer.get(part) or getattr(self, part))
        about = (answer.get(part, {}) for part in ("times", "errors", "relerr"))
        return {named.format(name) for part in about for name in part}


@dataclass(frozen=True)
class Row:
    """One implementation of one operation at one shape and dtype; times are milliseconds."""

    op: str
    shape: str
    size: str
    dtype: str
    impl: str
    ms: float | None = None
    p20: float | None = None
    p80: float | None = None
    fps: float | None = None
    tflops: float | None = None
    gbs: float | None = None
    roof: float | None = None
    side: str = ""
    over_xla: float | None = None
    over_torch: float | None = None
    relerr: float | None = None
    truth: str = ""
    verdict: str = ""
    note: str = ""


def or_assumed(measured: Mapping) -> dict[str, float]:
    """The measured figures, and the assumed where one is missing."""
    given = {name: value for name, value in measured.items() if isinstance(value, float)}
    return ASSUMED | given


def rows(entries: Iterable[Entry], ceilings: Mapping[str, float]) -> list[Row]:
    """All rows: of each entry the kernel's first, then the others from fast to slow."""
    return [row for entry in entries for row in of_entry(entry, ceilings)]


def of_entry(entry: Entry, ceilings: Mapping[str, float]) -> list[Row]:
    """The rows of one entry."""
    names = entry.times.keys() | entry.errors.keys() | entry.relerr.keys()
    slow = [float("inf")]
    order = lambda name: (name not in ("triton", "auto"), entry.times.get(name, slow)[0], name)
    return [_row(entry, name, ceilings) for name in sorted(names, key=order)]


def _row(entry: Entry, name: str, ceilings: Mapping[str, float]) -> Row:
    size = "x".join(map(str, entry.size))
    row = {"op": entry.op, "shape": entry.shape, "size": size, "dtype": entry.dtype, "impl": name}
    row |= {"relerr": entry.relerr.get(name), "truth": entry.truth}
    if name in entry.errors:
        return Row(**row, verdict="ERROR", note=f"error: {entry.errors[name]}")
    if name not in entry.times:
        return Row(**row, verdict="OK")
    ms, p20, p80 = entry.times[name]
    row |= {"ms": ms, "p20": p20, "p80": p80}
    row["over_xla"] = _over(entry, "xla", ms)
    row["over_torch"] = _over(entry, "torch compile", ms) or _over(entry, "torch", ms)
    row["fps"] = 1e3 * entry.frames / ms if entry.frames else None
    row["verdict"] = _verdict(name, row["over_xla"])
    return Row(**row, **_speed(entry, ms, ceilings))


def _speed(entry: Entry, ms: float, ceilings: Mapping[str, float]) -> dict:
    """TFLOP/s, GB/s, and the share of the roofline; `side` C for compute, M for memory."""
    found = {}
    computing = moving = 0.0
    if entry.flops:
        found["tflops"] = entry.flops / ms / 1e9
        computing = entry.flops / ceilings[RATES.get(entry.dtype, "float32")] / 1e9
    if entry.bytes:
        found["gbs"] = entry.bytes / ms / 1e6
        moving = entry.bytes / ceilings["copy"] / 1e6
    if computing or moving:
        found["roof"] = 100 * max(computing, moving) / ms
        found["side"] = "C" if computing >= moving else "M"
    return found


def _over(entry: Entry, family: str, ms: float) -> float | None:
    """How many times faster `ms` is than the fastest of a family of implementations."""
    others = [times[0] for name, times in entry.times.items() if name.startswith(family)]
    return min(others) / ms if others else None


def _verdict(name: str, over: float | None) -> str:
    if name not in ("triton", "auto") or over is None:
        return ""
    return "WIN" if over > 1 + TIE else "LOSS" if over < 1 - TIE else "TIE"


def line(row: Row) -> str:
    """A row as text, in the columns of HEAD."""
    ms = "-" if row.ms is None else f"{row.ms:.4g} [{row.p20:.4g}, {row.p80:.4g}]"
    roof = "-" if row.roof is None else f"{row.roof:.0f} % ({row.side})"
    cells = [row.op, row.shape, row.dtype, row.impl, ms, _figure(row.tflops), _figure(row.gbs)]
    cells += [roof, _figure(row.over_xla), _figure(row.over_torch), _figure(row.relerr)]
    fps = f"{row.fps:.1f} frames/s" if row.fps else ""
    return " | ".join([*cells, " ".join(filter(None, [row.verdict, fps, row.note]))])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def write(folder: Path, facts: Mapping, ceilings: Mapping, entries: Iterable[Entry]) -> None:
    """results.csv, with the facts as comments above its head, and results.json."""
    entries = list(entries)
    table = rows(entries, or_assumed(ceilings))
    text = io.StringIO()
    for name, value in {**facts, "ceilings": ceilings}.items():
        text.write(f"# {name}: {json.dumps(value)}\n")
    writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in table)
    whole = {"facts": facts, "ceilings": ceilings, "rows": [asdict(row) for row in table]}
    whole["entries"] = [asdict(entry) for entry in entries]
    _replace(folder / "results.csv", text.getvalue())
    _replace(folder / "results.json", json.dumps(whole, indent=1))


def _replace(path: Path, text: str) -> None:
    """Written beside and renamed: whoever is cut off leaves the last whole file."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text)
    part.replace(path)
