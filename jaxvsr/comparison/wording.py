"""How scores are said, alike in every output: names, numbers, and the notes below a table."""

import math
from collections import Counter

from jaxvsr.comparison.scores import WORST, Scores
from jaxvsr.metrics.table import METRICS

ARROWS = {True: "↑", False: "↓", None: "→0"}  # by whether higher is better
DIRECTIONS = "↑ higher is better, ↓ lower is better"


def asked(scores: list[Scores]) -> list[str]:
    """The metrics of any candidate, had or not, in the order of the table of metrics."""
    known = {name for s in scores for name in (*s.frames, *s.unavailable)}
    return [name for name in METRICS if name in known]


def had(scores: list[Scores]) -> list[str]:
    """The metrics that have a value in at least one frame of one candidate."""
    return [name for name in asked(scores) if any(not math.isnan(mean(s, name)) for s in scores)]


def mean(score: Scores, metric: str) -> float:
    """`Scores.mean`, NaN for a metric that the candidate does not have."""
    return score.mean(metric) if metric in score.frames else math.nan


def worst(score: Scores, metric: str) -> float:
    """`Scores.worst`, NaN for a metric that the candidate does not have."""
    return score.worst(metric) if metric in score.frames else math.nan


def labels(scores: list[Scores]) -> list[str]:
    """A printable name for each candidate, no two alike: its name, else its path, else a number."""
    names = [printable(s.name or s.path) or "candidate" for s in scores]
    counts = Counter(names)
    names = [
        printable(s.path) or n if counts[n] > 1 else n for s, n in zip(scores, names, strict=True)
    ]
    seen: set[str] = set()
    for i, name in enumerate(names):
        number = 2
        while names[i] in seen:
            names[i], number = f"{name} ({number})", number + 1
        seen.add(names[i])
    return names


def printable(text: str) -> str:
    """The text without line breaks, terminal codes and bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(text: str, longest: int) -> str:
    """The text, with an ellipsis in its middle where it is longer than `longest`."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[len(text) - tail :]}"


def shown(metric: str, value: float) -> str:
    """A value in the metric's own number of digits; "inf", and "-" where there is none."""
    if math.isnan(value):
        return "-"
    digits = METRICS[metric].digits
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0 makes -0.00 into 0.00


def title(metric: str) -> str:
    """Name and unit: "PSNR (RGB), dB"."""
    facts = METRICS[metric]
    return f"{facts.title}, {facts.unit}" if facts.unit else facts.title


def arrow(metric: str) -> str:
    """Which way is better."""
    return ARROWS[METRICS[metric].higher_is_better]


def kbps(score: Scores) -> str:
    """The bitrate in whole kbit/s, with a decimal below 100."""
    if score.kbps is None:
        return "-"
    return f"{score.kbps:.0f}" if score.kbps >= 100 else f"{score.kbps:.1f}"


def best(scores: list[Scores], metric: str) -> set[int]:
    """Positions of the candidates with the best mean as printed; none where all print alike."""
    means = {i: mean(s, metric) for i, s in enumerate(scores)}
    known = {i: value for i, value in means.items() if not math.isnan(value)}
    texts = {i: shown(metric, value) for i, value in known.items()}
    if len(set(texts.values())) < 2:
        return set()
    top = texts[min(known, key=lambda i: METRICS[metric].loss(known[i]))]
    return {i for i, text in texts.items() if text == top}


def legend(scores: list[Scores]) -> str:
    """What a cell of the table means, with the number of frames where all candidates have as many.

    "mean (mean of the worst 5 % of 200 frames)"
    """
    counts = {len(s.times) for s in scores}
    of = frames(counts.pop()) if len(counts) == 1 else "the frames"
    return f"mean (mean of the worst {WORST:.0%} of {of})".replace("%", " %")


def frames(count: int) -> str:
    """A number of frames in words: "1 frame", "200 frames"."""
    return f"{count} frame{'s' * (count != 1)}"


def notes(scores: list[Scores]) -> list[str]:
    """What a table cannot hold: metrics that could not be had, equal frames, notices.

    A note that is true of every candidate is said once, others begin with the candidates' names.
    """
    said: dict[str, list[str]] = {}
    for label, score in zip(labels(scores), scores, strict=True):
        for note in (*_missing(score), *_equal(score), *map(printable, score.notices)):
            who = said.setdefault(note, [])
            if label not in who:
                who.append(label)
    return [
        note if len(who) == len(scores) else f"{', '.join(who)}: {note}"
        for note, who in said.items()
    ]


def _missing(score: Scores) -> list[str]:
    """One note a reason, naming the metrics that share it."""
    reasons: dict[str, list[str]] = {}
    for name in asked([score]):
        if name in score.unavailable:
            reasons.setdefault(score.unavailable[name], []).append(METRICS[name].title)
    return [f"{', '.join(names)} not available: {why}" for why, names in reasons.items()]


def _equal(score: Scores) -> list[str]:
    """One note a number of equal frames, naming the metrics that count so many."""
    counts: dict[tuple[int, int], list[str]] = {}
    for name in score.frames:
        if equal := score.equal(name):
            key = equal, len(score.order(name))
            counts.setdefault(key, []).append(METRICS[name].title)
    return [
        f"{', '.join(names)}: every frame equals the reference"
        if equal == total
        else f"{', '.join(names)}: {equal} of {frames(total)} equal the reference; "
        "left out of the mean"
        for (equal, total), names in counts.items()
    ]
