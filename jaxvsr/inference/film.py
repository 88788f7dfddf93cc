"""One video file to one video file: decode | network | encode, in segments that survive a crash."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxvsr.clip import scenes
from jaxvsr.errors import (
    DISK_FULL,
    InputError,
    JaxvsrError,
    OutputError,
    SpaceError,
    StoppedError,
    UsageError,
)
from jaxvsr.host.pipeline import Behind, ahead
from jaxvsr.host.progress import Progress
from jaxvsr.inference import moving, stills
from jaxvsr.inference.engine import Engine, initial_state
from jaxvsr.inference.forecast import LONG, foresee, lighter, timed
from jaxvsr.inference.journal import Journal
from jaxvsr.inference.plan import Plan, check_output, default_output, make_plan
from jaxvsr.inference.settings import Result, Settings
from jaxvsr.video import animating, colour, containers, encode, mux, pixels
from jaxvsr.video.animation import AnimationInfo
from jaxvsr.video.opening import open_film
from jaxvsr.video.scene import CutDetector
from jaxvsr.video.sequence import PictureWriter, frame_suffix, is_pattern, publish
from jaxvsr.video.streams import VideoInfo

DEPTH = 3  # batches that wait between two stages
SHAPING = ("start", "duration", "interlaced", "stream", "dtype", "impl")  # what shapes a result


@dataclass
class Batch:
    """Frames on their way: planes [N, (T,) h, w], real frames in it, and what begins with it.

    `alphas` is the transparency of the real frames, each None or [h, w].
    """

    planes: tuple
    times: list[tuple[int, int]]
    begins: bool
    alphas: list


def enhance_film(
    net, source: Path, output: Path | None, settings: Settings, show: str, name: str = ""
) -> Result:
    """Enhances the video `source`, called `name`, into `output`; None puts it beside the source.

    Raises InputError, OutputError or UsageError before work starts; SpaceError or StoppedError
    later, with the finished segments kept for the same call to go on from.
    """
    span = {"start": settings.start, "duration": settings.duration}
    how = {"interlaced": settings.interlaced, "stream": settings.stream}
    with open_film(source, **span, **how) as reader:
        output = output or default_output(reader.info, net, settings)
        plan = make_plan(net, reader.info, output, settings)
        lost = check_output(source, output, plan, settings)
        said = moving.said(reader.info, output, settings)
        reader.flat = not moving.holds_alpha(output)
        with closing(_journal(net, plan, output, settings)) as journal:
            rate = float(reader.info.fps)
            done, total = len(journal.times), _expected(reader.info, settings)
            progress = Progress(name or str(source), total, rate, done=done, show=show)
            _announce(progress, plan, done, said, settings)
            announce_streams(progress, plan.info, output, lost, settings)
            with _kept(journal, output):
                _run(net, reader, plan, journal, progress, settings)
                lame = _deliver(journal, plan, output, settings)
            frames = len(journal.times)
            journal.remove()
            damaged, surprises = reader.damaged, reader.surprises()
    for what in surprises:
        progress.notice(what)
    if lame:
        progress.notice(f"{lame} packets of sound or subtitles are damaged and were left out")
    if damaged:
        bad = f"{damaged} frames of the input are damaged or missing"
        progress.notice(f"{bad}; what could be decoded is enhanced")
    facts = progress.facts()
    progress.finish(output=str(output), damaged=damaged)
    return Result(output, frames, damaged, facts["seconds"], tuple(progress.notices))


@contextmanager
def _kept(journal: Journal, output: Path):
    """Whatever stops the work, says what is safe and how to go on."""

    def safe():
        count = len(journal.times)
        return (
            f"{count} frames are safe in {journal.folder}" if count else "no segment was finished"
        )

    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError(f"stopped; {safe()}; give the same command again to go on") from None
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        full = "the disk is full; free some space and give the same command again"
        raise SpaceError(f"{output}: {full}; {safe()}") from error
    except SpaceError as error:
        raise SpaceError(f"{error}; {safe()}") from error


def _journal(net, plan: Plan, output: Path, settings: Settings) -> Journal:
    """The work folder for exactly this input, network and result."""
    stat = Path(plan.info.path).stat()
    run = {
        "input": [Path(plan.info.path).name, stat.st_size, stat.st_mtime_ns],
        "model": [f"{net.name} {net.arch}".strip(), parameters_hash(net.params)],
        "size": plan.size,
        "encoding": asdict(plan.encoding) if plan.encoding else f"pictures{output.suffix}",
        "segment": plan.segment,
        "flat": getattr(plan.info, "clear", "") != "" and not moving.holds_alpha(output),
        **{name: getattr(settings, name) for name in SHAPING},
    }
    suffix = ".mkv" if plan.encoding else ""
    return Journal(output, run, suffix=suffix, overwrite=settings.overwrite)


def parameters_hash(params) -> str:
    """A short fingerprint of every parameter's place and value."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def announce_streams(progress, info: VideoInfo, output: Path, lost, settings) -> None:
    """Says which of several videos is taken, and what is left out or converted."""
    if info.choice:
        progress.notice(info.choice)
    for what in lost:
        progress.notice(f"left out, since the output cannot hold it: {what}")
    if settings.convert:
        for what in containers.changes(info, output.suffix.lower()):
            progress.notice(f"converted, since the output cannot hold it: {what}")


def _announce(progress, plan: Plan, done, said, settings):
    info = plan.info
    for text in said:
        progress.notice(text)
    if plan.sar != info.sar:
        progress.notice(f"pixels of shape {info.sar} become square, as the output cannot tell")
    if info.interlaced and settings.interlaced == "keep":
        progress.notice("interlaced: kept, but the output is not flagged so")
    elif info.interlaced:
        progress.notice("interlaced: deinterlacing (--interlaced keep leaves it)")
    if done:
        progress.notice(f"going on after {done} frames that an earlier run finished")


def _expected(info: VideoInfo, settings: Settings) -> int | None:
    """About how many frames there will be."""
    if settings.start is None and settings.duration is None:
        return info.frames
    if info.duration is None:
        return None
    left = max(info.duration - (settings.start or 0), 0)
    return round(min(left, settings.duration or left) * info.fps)


def _run(net, reader, plan: Plan, journal: Journal, progress: Progress, settings) -> None:
    """Drives the three stages until the input ends."""
    head = partial(colour.to_rgb, colour=reader.info.colour)
    tail = partial(colour.from_rgb, colour=plan.colour)
    engine = Engine(
        net,
        head,
        tail,
        size=plan.size,
        dtype=settings.dtype,
        tile=settings.tile,
        device=find_device(settings),
        impl=settings.impl,
        notice=progress.notice,
    )
    state = _saved_state(net, plan, journal)
    with ExitStack() as stack:
        sink = Sink(plan, journal, progress)
        out = Behind(sink, DEPTH)
        stack.callback(sink.drop)
        stack.callback(out.abandon)
        source = stack.enter_context(
            closing(ahead(batches(net.spec, reader, plan, journal), DEPTH))
        )
        for batch in source:
            state = None if batch.begins else state
            if progress.began or not progress.heard:
                results, state = engine(batch.planes, state)
            else:
                (results, state), seconds = timed(engine, batch.planes, state)
                first = _frame(plan, [np.asarray(p) for p in results], batch.alphas, 0)
                _foretell(net, plan, journal, progress, settings, first, seconds / plan.batch)
                progress.start(len(batch.times))
            out.put((results, batch.times, batch.alphas, state))
        out.finish()
        sink.end()
    if not journal.times:
        raise InputError(f"{plan.info.path}: no frames in the chosen span; check --start")


def _foretell(net, plan: Plan, journal: Journal, progress: Progress, settings, planes, seconds):
    """Says, before the first frame is written, how long it takes and how large it gets."""
    left = None if progress.total is None else max(progress.total - progress.done, 1)
    what = foresee(plan, journal.output, planes, seconds, left, journal.folder)
    progress.forecast(str(what), what.facts())
    if what.seconds > LONG:
        progress.forecast(lighter(net, settings), {})


def batches(spec, reader, plan: Plan, journal: Journal) -> Iterator[Batch]:
    """Decoded frames, windowed within their scenes and stacked; finished ones are left out.

    The last batch is filled up with its last frame, so that it needs no program of its own.
    """
    finished = journal.times
    pending: list = []
    for index, (window, begins) in enumerate(scenes(_with_cuts(spec, reader), spec.radius)):
        frame = window[spec.radius]
        if index < len(finished):
            if frame.pts != finished[index][0]:
                raise InputError(
                    f"{plan.info.path}: frame {index} is not what it was when this run began; "
                    "give --overwrite to begin anew"
                )
            continue
        pending.append((window, begins))
        if len(pending) == plan.batch:
            yield _stack(pending, spec, plan.batch)
            pending = []
    if pending:
        yield _stack(pending, spec, plan.batch)


def _with_cuts(spec, reader):
    """(frame, whether a scene begins with it); only networks that look in time need to know."""
    temporal, detector = spec.radius or spec.recurrent, CutDetector()
    for index, frame in enumerate(reader):
        cut = detector.is_cut(frame.planes[0]) if temporal else False
        yield frame, cut or index == 0


def _stack(pending, spec, size) -> Batch:
    filled = pending + [pending[-1]] * (size - len(pending))
    kinds = range(len(pending[0][0][0].planes))
    if spec.radius:
        planes = (np.stack([np.stack([f.planes[k] for f in w]) for w, _ in filled]) for k in kinds)
    else:
        planes = (np.stack([w[0].planes[k] for w, _ in filled]) for k in kinds)
    times = [(w[spec.radius].pts, w[spec.radius].duration) for w, _ in pending]
    return Batch(tuple(planes), times, pending[0][1], [w[spec.radius].alpha for w, _ in pending])


def _saved_state(net, plan: Plan, journal: Journal):
    """What a recurrent network carried when the last finished segment ended."""
    saved = journal.state() if net.spec.recurrent else None
    if saved is None:
        return None
    shape = jax.eval_shape(lambda: initial_state(net, 1, plan.info.height, plan.info.width))
    return jax.tree.unflatten(jax.tree.structure(shape), saved)


def find_device(settings) -> jax.Device | None:
    """The first device of a kind ("cpu", "gpu", "tpu"); None for "auto", which is JAX's choice.

    Raises UsageError for a kind that is not there, and for kernels where no GPU can run them.
    """
    name, have = settings.device, ", ".join(sorted({d.platform for d in jax.devices()}))
    try:
        device = None if name == "auto" else jax.devices(name)[0]
    except RuntimeError as error:
        raise UsageError(f"--device {name}: JAX finds none here; it has {have}") from error
    impl = getattr(settings, "impl", "xla")
    if impl not in ("auto", "xla") and (device or jax.devices()[0]).platform != "gpu":
        raise UsageError(f"--impl {impl}: needs an NVIDIA GPU, JAX has {have}; use --impl auto")
    return device


def _frame(plan: Plan, planes, alphas, i: int) -> tuple:
    """Planes [H, W] of frame `i` of a batch, for a writer: transparency last, where it is kept."""
    picture, alpha = tuple(p[i] for p in planes), alphas[i]
    if plan.encoding is None:  # pictures take only that of an animation
        keep = alpha is not None and isinstance(plan.info, AnimationInfo)
        return (*picture, stills.grown(alpha, plan.size)) if keep else picture
    if not plan.encoding.alpha:
        return picture
    if alpha is None:  # a stream that changed on its way
        alpha = np.full((8, 8), 65535, np.uint16)
    return (*picture, pixels.resized_alpha(alpha, *plan.size, plan.colour.bits))


class Sink:
    """Takes enhanced batches, in order, and writes them as segments of the journal."""

    def __init__(self, plan: Plan, journal: Journal, progress: Progress):
        self.plan, self.journal, self.progress = plan, journal, progress
        self.writer, self.times, self.state = None, [], None

    def __call__(self, item) -> None:
        results, times, alphas, self.state = item
        planes = [np.asarray(p) for p in results]
        for i, when in enumerate(times):
            if self.writer is None:
                self.writer = self._open()
            self.writer.write(_frame(self.plan, planes, alphas, i))
            self.times.append(when)
            if len(self.times) == self.plan.segment:
                self.end()
        self.progress.add(len(times))

    def _open(self):
        plan, path = self.plan, self.journal.path()
        if plan.encoding is None:
            return PictureWriter(path, plan.colour, frame_suffix(self.journal.output))
        info, (height, width) = plan.info, plan.size
        more = {"fps": info.fps, "sar": plan.sar, "colour": plan.colour, "hdr": info.hdr}
        return encode.SegmentWriter(path, plan.encoding, width=width, height=height, **more)

    def end(self) -> None:
        """Closes the segment in hand, if there is one, and commits it."""
        if self.writer is None:
            return
        self.writer.close()
        state = None if self.state is None else [np.asarray(x) for x in jax.tree.leaves(self.state)]
        self.journal.commit(self.times, state)
        self.writer, self.times = None, []

    def drop(self) -> None:
        """Lets go of an unfinished segment."""
        if self.writer is not None:
            with suppress(JaxvsrError):
                self.writer.close()
            self.writer = None


def _deliver(journal: Journal, plan: Plan, output: Path, settings: Settings) -> int:
    """Joins the segments with the source's other streams and renames the whole into place.

    Returns how many packets of the other streams were too damaged to be copied.
    """
    segments = [segment.path for segment in journal.segments]
    if is_pattern(output):
        publish(segments, output)
        return 0
    draft = journal.folder / f"joined{output.suffix}"
    lame = _join(segments, journal.times, plan, draft, settings)
    try:
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(output)
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror}; choose another output") from error
    return lame


def _join(segments, times, plan: Plan, draft: Path, settings: Settings) -> int:
    """Writes the whole, as an animation or a video; returns how many packets were left out."""
    if plan.encoding is None:
        animating.assemble(segments, times, plan.info, draft)
        return 0
    info = replace(plan.info, sar=plan.sar)
    if isinstance(info, AnimationInfo):  # which has no streams beside the picture
        info = replace(info, path=str(segments[0]))
    span = {"start": settings.start, "duration": settings.duration}
    return mux.assemble(segments, times, info, draft, **span, convert=settings.convert)
