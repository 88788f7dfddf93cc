"""A network of its own for one film, sent along with its stream (Sect. 4.3, Fig. 6-7, Table 4).

python -m experiments.sr_unet overfit film.mp4
python -m jaxvsr enhance film_overfit/stream.mp4 --model film_overfit/weights.safetensors

The film is halved and coded, the light network is tuned on what came out, and its weights are
written as float16. Their bytes count: the report holds stream and weights together against the
plain stream, bicubic and the untuned network at other CRFs.
"""

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import optax

import jaxvsr
from experiments import say
from experiments.frame.config import check_patch
from experiments.frame.numbered import Numbered
from experiments.frame.tables import quoted
from experiments.frame.training import unclipped
from experiments.sr_unet.paper import TABLE_4
from experiments.sr_unet.recipe import FIDELITY, SRUNet, terms
from jaxvsr import train, weights
from jaxvsr.commands.reading import Positional
from jaxvsr.comparison import rates
from jaxvsr.comparison.scores import Scores
from jaxvsr.data.sources import Video
from jaxvsr.degradation import read_frames, read_video
from jaxvsr.degradation.presets import recipe
from jaxvsr.errors import InputError, OutputError, UsageError, WeightsError
from jaxvsr.host.dealing import check_batch
from jaxvsr.host.options import Range
from jaxvsr.layers import fold, trained_folded
from jaxvsr.metrics.table import METRICS
from jaxvsr.weights import judges

LOSSES = {
    "fidelity": FIDELITY,
    "perceptual": {"lpips": 1.0, "ssim": 1.0},  # ours: Eq. 4 without its critic
}
MEMORY = 1e9  # bytes of frames that are tuned on
LEAST = 8  # frames of a film
TUNED, UNTUNED, PLAIN = "tuned, with its weights", "untuned", "full size"


@dataclass(frozen=True)
class Overfit:
    """Halve and code CLIP, tune the light network on it, and tell what stream and weights cost."""

    clip: Annotated[Path, Positional("CLIP")]
    """A video."""
    output: Path | None = None
    """Folder of stream.mp4, weights.safetensors and report.md; CLIP_overfit by default. The same
    command goes on with a run found there."""
    crf: Annotated[float, Range(0, 51)] = 23
    """Of the stream, H.265."""
    others: Annotated[tuple[int, ...], Range(0, 51)] = (18, 20, 26, 30)
    """CRFs that the rates are compared at; () leaves the curves out."""
    start: str = "sr_unet_light_x2"
    """The network to tune: a name, or weights of an SR-UNet x2. Viewers need not have it."""
    steps: int = 2000
    loss: Literal["fidelity", "perceptual"] = "fidelity"
    """L1 + 0.1 (1 - SSIM), or LPIPS (squeeze) + (1 - SSIM). Ours; the paper tunes by Eq. 4."""
    rate: Annotated[float, Range(0, 1, above=True)] = 1e-4
    """Adam's. Falls to zero along a cosine (ours)."""
    batch: int = 16
    patch: int = 96
    """Side of a crop in true pixels."""
    frames: int = 24
    """Frames from the middle of the clip that are scored."""
    metrics: tuple[str, ...] = ("psnr_y", "ssim", "lpips", "vmaf")
    """What to score; one that cannot be had is left out and named."""
    accelerator: Literal["cpu", "gpu", "tpu"] = "cpu"
    seed: int = 0

    def run(self) -> Path:
        """Does it; returns the report's path."""
        if not self.clip.is_file():
            raise InputError(f"{self.clip}: no such video; check the name")
        train.start(self.accelerator, self.batch)
        loaded = checked(self)
        film = Video.open(self.clip, self.clip.name)
        judge = judges.lpips_params("squeeze") if self.loss == "perceptual" else {}
        check_film(self, film)
        folder = self.output or self.clip.with_name(f"{self.clip.stem}_overfit")
        make_folder(folder)
        train.check_folder(folder / "run", identity(self))
        stream = coded(self, folder / "stream.mp4", self.crf, 2)
        pairs = Pairs(self, film.frames, stream)
        average = tuned(self, folder, loaded, judge, pairs)
        path = send(loaded.module, average, folder / "weights.safetensors")
        return tell(self, folder, stream, path, film)


def checked(config: Overfit) -> weights.Loaded:
    """The network to tune, in the layout for training. Raises UsageError and WeightsError."""
    for name in config.metrics:
        if name not in METRICS:
            raise UsageError(f"no metric {name!r}; choose from {', '.join(METRICS)}")
    if min(config.steps, config.batch, config.frames) < 1 or config.seed < 0:
        raise UsageError("steps, batch and frames: give 1 or more, and a seed of 0 or more")
    check_patch(config.patch)
    check_batch(config.batch, jax.device_count())
    loaded = weights.load(config.start, folded=False)
    if not isinstance(loaded.module, SRUNet) or loaded.module.scale != 2:
        raise WeightsError(f"{config.start}: not an SR-UNet x2; give weights of one")
    for crf in (config.crf, *config.others):
        recipe("sr-unet", crf=crf)
    return loaded


def check_film(config: Overfit, film: Video) -> None:
    """Raises InputError where there is too little to tune on."""
    if film.frames < max(LEAST, 2):
        raise InputError(f"{config.clip}: {film.frames} frames; give a clip of {LEAST} or more")
    if min(film.size) // 4 * 4 < config.patch:
        size = f"{film.size[1]}x{film.size[0]}"
        raise InputError(f"{config.clip}: {size}, smaller than the crop; use a smaller --patch")


def make_folder(folder: Path) -> None:
    """Raises OutputError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}; choose another --output") from error


def coded(config: Overfit, path: Path, crf: float, factor: float) -> Path:
    """The whole clip by the paper's recipe, unless it lies there already."""
    made = recipe("sr-unet", factor=factor, crf=crf)
    stat = config.clip.stat()
    mark = json.dumps([str(config.clip.absolute()), stat.st_size, stat.st_mtime_ns, made.facts()])
    note = path.with_suffix(".made")
    if not (path.exists() and note.exists() and note.read_text() == mark):
        note.unlink(missing_ok=True)
        say(f"coding at CRF {crf:g}" + (", full size" if factor == 1 else ""))
        jaxvsr.degrade(config.clip, path, made, overwrite=True, drop=True)
        note.write_text(mark)
    return path


def kbps_of(stream: Path) -> float:
    """Mean bitrate of the picture, as the coder's record has it."""
    return json.loads(stream.with_name(f"{stream.name}.json").read_text())["kbps"]


def seconds_of(stream: Path) -> float:
    """How long it plays."""
    return json.loads(stream.with_name(f"{stream.name}.json").read_text())["seconds"]


class Pairs(Numbered):
    """Batches of aligned crops of the stream and of the film.

    Frames are taken evenly over the film, as many as MEMORY holds.
    """

    def __init__(self, config: Overfit, frames: int, stream: Path):
        self.config = config
        height, width = next(read_video(config.clip)).shape[:2]
        count = min(frames, max(1, int(MEMORY / (3.75 * height * width))))
        wanted = set(np.linspace(0, frames - 1, count).round().astype(int).tolist())
        both = zip(read_video(stream), read_video(config.clip), strict=False)
        kept = [pair for i, pair in enumerate(both) if i in wanted]
        if not kept:
            raise InputError(f"{config.clip}: no frames can be decoded; give another clip")
        self.lr, hr = (np.stack(frames) for frames in zip(*kept, strict=True))
        h, w = self.lr.shape[1:3]
        if hr.shape[1] < 2 * h or hr.shape[2] < 2 * w:
            raise InputError(f"{config.clip}: the stream is not half its size; give upright video")
        self.hr = hr[:, : 2 * h, : 2 * w]

    def batch(self, number: int) -> dict[str, np.ndarray]:
        """See `Numbered`."""
        config, side = self.config, self.config.patch // 2
        rng = np.random.default_rng([config.seed, number])
        lr, hr = [], []
        for _ in range(config.batch):
            t, y, x = rng.integers(np.array(self.lr.shape[:3]) - [0, side - 1, side - 1])
            turn = slice(None, None, -1 if rng.integers(2) else 1)
            lr.append(self.lr[t, y : y + side, x : x + side][:, turn])
            hr.append(self.hr[t, 2 * y : 2 * (y + side), 2 * x : 2 * (x + side)][:, turn])
        return {"lr": np.stack(lr), "hr": np.stack(hr)}


def tuned(config: Overfit, folder: Path, loaded, judge: dict, pairs: Pairs):
    """The average of the network's parameters over the tuning; goes on with a run found there."""
    net = unclipped(loaded.module)
    tx = optax.adam(train.cosine(config.rate, config.steps))
    game = train.Game({"generator": trained_folded(net)}, terms("squeeze", judge), tx)
    keep = 1 - 1 / (1 + min(config.steps / 20, 999))  # ours: an average over a twentieth
    end = train.fit(
        folder / "run",
        game,
        (train.Phase("tune", config.steps, LOSSES[config.loss], ema=keep),),
        {"generator": dict(loaded.params)},
        pairs,
        key=jax.random.key(config.seed),
        config=identity(config),
        cadence=train.Cadence(keep=1),
    )
    return jax.tree.map(np.asarray, end.state.ema)


def identity(config: Overfit) -> dict:
    """What must be the same when a run goes on."""
    names = ("crf", "start", "steps", "loss", "rate", "batch", "patch", "seed")
    told = {name: getattr(config, name) for name in names}
    return told | {"clip": config.clip.name, "bytes": config.clip.stat().st_size}


def send(net: SRUNet, params, path: Path) -> Path:
    """Writes what a viewer needs: folded, float16. `jaxvsr.weights.load` reads it."""
    small = jax.tree.map(lambda p: np.asarray(p, np.float16), fold(params))
    if not all(np.isfinite(p).all() for p in jax.tree.leaves(small)):
        raise WeightsError(f"{path}: weights beyond float16; tune with a lower --rate")
    weights.save(path, small, weights.metadata_of(net.clone(folded=True, clip=True)))
    return path


def tell(config: Overfit, folder: Path, stream: Path, path: Path, film: Video) -> Path:
    """Scores everything; writes report.md, points.csv and rate.png."""
    more = 8 * path.stat().st_size / 1000 / seconds_of(stream)
    begin = max(0, (film.frames - config.frames) // 2)
    make_folder(folder / "others")
    real = read_frames(config.clip, begin, config.frames)
    nets = {TUNED: str(path), UNTUNED: config.start, "bicubic": "bicubic"}
    points = []
    for crf in sorted({config.crf, *config.others}):
        here = stream if crf == config.crf else coded(config, folder / name_of(crf, 2), crf, 2)
        full = coded(config, folder / name_of(crf, 1), crf, 1) if config.others else None
        small = read_frames(here, begin, config.frames)
        for name, source in nets.items():
            if name == TUNED and crf != config.crf:
                continue
            net = jaxvsr.load(source)
            fake = np.concatenate([net(frame[None]) for frame in small])
            rate = kbps_of(here) + (more if name == TUNED else 0)
            points.append(point(config, name, crf, fake, real, rate))
        if full is not None:
            plain = read_frames(full, begin, config.frames)
            points.append(point(config, PLAIN, crf, plain, real, kbps_of(full)))
    return written(config, folder, points, (kbps_of(stream), more, path.stat().st_size))


def name_of(crf: float, factor: int) -> str:
    """A stream that is only compared with."""
    return f"others/{'half' if factor == 2 else 'full'}_crf{crf:g}.mp4"


def point(config: Overfit, name: str, crf: float, fake, real, kbps: float) -> tuple[float, Scores]:
    """(CRF, scores of one way to show the film)."""
    height, width = (min(a, b) for a, b in zip(fake.shape[1:3], real.shape[1:3], strict=True))
    cut = lambda clip: clip[:, :height, :width]
    found = jaxvsr.compare(cut(real), cut(fake), metrics=config.metrics)
    facts = found.times, found.frames, found.unavailable
    return crf, Scores(name, "", *facts, kbps=kbps, series=name)


def written(config: Overfit, folder: Path, points: list, cost: tuple) -> Path:
    """report.md with its table, its comparison at equal rate and its figure; points.csv."""
    stream, more, size = cost
    scores = [score for _, score in points]
    lines = [f"# {config.clip.name}: a network of its own", ""]
    lines += [f"Stream at CRF {config.crf:g}: {stream:.1f} kbit/s. Weights: {size:,} bytes, "]
    lines[-1] += f"{more:.1f} kbit/s over the film. Together: **{stream + more:.1f} kbit/s**. "
    lines[-1] += f"(Over ten minutes these weights would cost {8 * size / 1000 / 600:.1f} kbit/s.)"
    told = f"{config.frames} frames from the middle are scored, rates are of the whole clip."
    lines += ["", f"{config.steps} steps of {config.loss}. {told}", ""]
    names = [m for m in config.metrics if all(m in s.frames for s in scores)]
    lines += [*table_of(points, names), "", *at_equal_rate(scores, names), ""]
    reasons = {why for score in scores for why in score.unavailable.values()}
    lines += [f"Not measured: {why}." for why in sorted(reasons)]
    if config.others and names:
        figure = rates.plot(scores, folder / "rate.png")
        lines += [f"![Rate and distortion]({figure.name})", ""]
    lines += quoted("The paper's Table 4, 1080p:", TABLE_4)
    with open(folder / "points.csv", "w", newline="") as file:
        rows = [[s.series, crf, s.kbps, *(s.mean(m) for m in names)] for crf, s in points]
        csv.writer(file).writerows([["series", "crf", "kbps", *names], *rows])
    path = folder / "report.md"
    path.write_text("\n".join(lines) + "\n")
    print(path.read_text())
    return path


def table_of(points: list, names: list[str]) -> Iterator[str]:
    """Markdown: a line a point."""
    yield f"| | CRF | kbit/s | {' | '.join(METRICS[m].title for m in names)} |"
    yield "|---|---:|---:|" + "---:|" * len(names)
    for crf, score in points:
        means = (f"{score.mean(m):.{METRICS[m].digits}f}" for m in names)
        yield f"| {score.name} | {crf:g} | {score.kbps:.1f} | {' | '.join(means)} |"


def at_equal_rate(scores: list[Scores], names: list[str]) -> Iterator[str]:
    """Markdown: what the others reach at the tuned one's whole rate, between their points."""
    (whole,) = (score for score in scores if score.name == TUNED)
    others = {s.series: None for s in scores if s.name != TUNED}
    curves = rates.curves(scores)
    if min(len(next(iter(curves[n].values()), [])) for n in others) < 2:
        return
    yield f"At {whole.kbps:.1f} kbit/s, between the points above (- where they do not reach):"
    yield ""
    yield f"| | {' | '.join(METRICS[m].title for m in names)} |"
    yield "|---|" + "---:|" * len(names)
    for name in (TUNED, *others):
        own = name == TUNED
        cells = [whole.mean(m) if own else between(curves[name][m], whole.kbps) for m in names]
        told = (
            "-" if math.isnan(value) else f"{value:.{METRICS[m].digits}f}"
            for m, value in zip(names, cells, strict=True)
        )
        yield f"| {name} | {' | '.join(told)} |"


def between(points: rates.Points, kbps: float) -> float:
    """The metric at a rate, straight between points over the logarithm of the rate."""
    x = np.log([rate for rate, _ in points])
    return float(np.interp(np.log(kbps), x, [y for _, y in points], left=np.nan, right=np.nan))
