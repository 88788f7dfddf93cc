"""The whole journey on one screen: a film, hard compression, enhancement, and a comparison.

`python -m tools.demo` renders a film, so that the truth is known; `--clip` takes your own,
whose truth nobody knows, so there is a picture to look at but no score.
"""

import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Annotated

import av
import numpy as np
from PIL import Image

from jaxvsr import ops
from jaxvsr.commands.reading import read
from jaxvsr.commands.speech import answer
from jaxvsr.data.synthetic import scene, tone
from jaxvsr.degradation import quantise
from jaxvsr.host.options import Range
from jaxvsr.inference.preview import side_by_side
from jaxvsr.metrics.fidelity import psnr, ssim
from jaxvsr.video import colour, encode, mux, pixels
from jaxvsr.video.colour import Colour
from jaxvsr.video.reader import VideoReader

FPS, RATE = 25, 48_000
SIZE = 720, 1280
LONGEST = 10  # seconds of a person's own clip
SCORED = 5  # every fifth frame is scored
SHOWN = 40  # this one is in the picture
RESULTS = ("input.mp4", "truth.mp4", "side_by_side.png")
RESULTS += tuple(f"enhanced{suffix}" for suffix in encode.CONTAINERS)
BT601 = Colour("bt601", False, "left", 8, (2, 2), 6, 6)


@dataclass(frozen=True)
class Args:
    """Makes demo/input.mp4, demo/enhanced.mp4 and demo/side_by_side.png, and prints scores."""

    clip: Path | None = None
    """Your own video, of which the first 10 s are enhanced."""
    model: str | None = None
    """What `python -m jaxvsr enhance --model` takes."""
    crf: Annotated[int, Range(0, 51)] = 30
    """How hard x264 compresses the rendered film: more is worse."""
    seconds: Annotated[float, Range(1 / FPS, 600, "seconds")] = 5
    """Length of the rendered film."""
    folder: Path = Path("demo")
    """Where results go."""


def main(args: Args) -> int:
    """Runs the demonstration; returns the exit status."""
    args.folder.mkdir(parents=True, exist_ok=True)
    return show_clip(args) if args.clip else show_film(args)


def clear(folder: Path, clip: Path | None = None) -> None:
    """Takes away what another demonstration left; never the clip that is to be enhanced."""
    mine = clip.resolve() if clip else None
    for path in (folder / name for name in RESULTS):
        if path.is_file() and path.resolve() != mine:
            path.unlink()


def show_film(args: Args) -> int:
    """Renders, compresses, enhances and scores."""
    clear(args.folder)
    source, target = args.folder / "input.mp4", args.folder / "enhanced.mp4"
    frames = round(args.seconds * FPS)
    print(f"rendering {frames} frames of {SIZE[1]}x{SIZE[0]} and compressing them at half size")
    truth = make_input(source, args.folder / "truth.mp4", frames, args.crf)
    rate = source.stat().st_size * 8 / args.seconds / 1000
    print(f"{source}: {SIZE[1] // 2}x{SIZE[0] // 2}, x264 CRF {args.crf}, {rate:.0f} kb/s")
    if status := enhance(source, target, args.model):
        return status
    small, ours = (list(every(path, frames)) for path in (source, target))
    columns = {
        "bicubic": [resized(frame, "bicubic", SIZE) for frame in small],
        "Lanczos": [resized(frame, "lanczos", SIZE) for frame in small],
        "enhanced": ours,
    }
    shown = min(SHOWN, frames - 1) // SCORED
    picture = {name: columns[name][shown] for name in ("bicubic", "enhanced")}
    save_picture(args.folder, picture | {"truth": truth[shown]})
    print_scores(columns, truth)
    print_paths(args.folder, source.name, "truth.mp4", target.name, "side_by_side.png")
    return 0


def show_clip(args: Args) -> int:
    """Enhances a person's clip and shows one frame before and after."""
    with VideoReader(args.clip) as reader:
        suffix, length = mux.default_suffix(reader.info), reader.info.duration or 0
    clear(args.folder, args.clip)
    target = args.folder / f"enhanced{suffix}"
    cut = ["--duration", str(LONGEST)] if length > LONGEST else []
    if cut:
        print(f"{args.clip} lasts {length:.0f} s: only the first {LONGEST} s are enhanced here")
    if status := enhance(args.clip, target, args.model, *cut):
        return status
    first, second = (nth(path, SHOWN) for path in (args.clip, target))
    plain = resized(first, "bicubic", second.shape[:2])
    save_picture(args.folder, {"bicubic": plain, "enhanced": second})
    print(
        "\nNobody knows what this clip should look like, so there are no scores; see for yourself"
    )
    print_paths(args.folder, target.name, "side_by_side.png")
    return 0


def make_input(source: Path, truth: Path, frames: int, crf: int) -> list[np.ndarray]:
    """Writes the film nearly losslessly, and halved and compressed; returns the scored frames."""
    kept, (height, width) = [], SIZE
    sound = tone(0, frames / FPS, RATE)
    half = Film(source, height // 2, width // 2, sound, crf=crf, preset="veryfast")
    whole = Film(truth, height, width, sound, crf=10, preset="veryfast")
    with half, whole:
        for i, frame in enumerate(scene(0, frames, height, width)):
            whole.add(frame)
            image = Image.fromarray(frame)
            half.add(np.asarray(image.resize((width // 2, height // 2), Image.Resampling.BICUBIC)))
            if i % SCORED == 0:
                kept.append(frame)
    return kept


class Film:
    """An mp4 in the making: x264 in BT.601 limited range, and AAC."""

    def __init__(self, path: Path, height: int, width: int, sound, *, crf: int, preset: str):
        self._file = av.open(str(path), "w", options={"movflags": "faststart"})
        options = {"crf": str(crf), "preset": preset}
        self._video = self._file.add_stream("libx264", rate=FPS, options=options)
        self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
        context = self._video.codec_context
        context.color_range, context.colorspace = 1, BT601.primaries
        context.color_primaries, context.color_trc = BT601.primaries, BT601.transfer
        self._audio = self._file.add_stream("aac", rate=RATE, layout="stereo")
        self._sound, self._count = sound, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for stream in (self._video, self._audio):
            self._file.mux(stream.encode(None))
        self._file.close()

    def add(self, rgb: np.ndarray) -> None:
        """One more frame [H, W, 3] uint8, and the sound that belongs to it."""
        planes = colour.from_rgb(rgb.astype(np.float32) / 255, BT601)
        frame = pixels.frame_of(planes, "yuv420p")
        frame.pts, frame.time_base = self._count, Fraction(1, FPS)
        frame.color_range, frame.colorspace = 1, BT601.primaries
        self._file.mux(self._video.encode(frame))
        per = RATE // FPS
        samples = self._sound[self._count * per : (self._count + 1) * per]
        piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), "fltp", "stereo")
        piece.sample_rate, piece.pts = RATE, self._count * per
        self._file.mux(self._audio.encode(piece))
        self._count += 1


def enhance(source: Path, target: Path, model: str | None, *more: str) -> int:
    """The command that a person would type."""
    command = ["-m", "jaxvsr", "enhance", str(source), str(target), "--overwrite", *more]
    command += ["--model", model] if model else []
    print("\n$ python", *command, flush=True)
    return subprocess.run([sys.executable, *command]).returncode


def every(path: Path, frames: int):
    """The scored ones among the first frames of a video, uint8 [H, W, 3]."""
    with VideoReader(path) as reader:
        for i, frame in enumerate(reader):
            if i < frames and i % SCORED == 0:
                yield quantise(colour.to_rgb(frame.planes, reader.info.colour))


def nth(path: Path, n: int) -> np.ndarray:
    """Frame n of a video, or its last one, uint8 [H, W, 3]."""
    with VideoReader(path) as reader:
        for frame in islice(reader, n + 1):
            planes = frame.planes
        return quantise(colour.to_rgb(planes, reader.info.colour))


def resized(frame: np.ndarray, method: str, size: tuple[int, int]) -> np.ndarray:
    """A frame enlarged as a player would do it."""
    return quantise(ops.resize(frame[None].astype(np.float32) / 255, size, method)[0])


def save_picture(folder: Path, columns: dict[str, np.ndarray]) -> None:
    """Whole frames above enlarged crops."""
    Image.fromarray(side_by_side(columns)).save(folder / "side_by_side.png")


def print_scores(columns: dict[str, list[np.ndarray]], truth: list[np.ndarray]) -> None:
    """One line a method: means over the scored frames, the first row being the yardstick."""
    print(f"\n{'':12}PSNR (RGB)   PSNR (Y)   SSIM (RGB)")
    for name, frames in columns.items():
        pairs = [
            [np.float32(image) / 255 for image in pair] for pair in zip(frames, truth, strict=True)
        ]
        rgb, y, similar = (
            np.mean([metric(*pair, **kind) for pair in pairs])
            for metric, kind in ((psnr, {}), (psnr, {"channels": "y"}), (ssim, {}))
        )
        print(f"{name:12}{rgb:7.2f} dB {y:8.2f} dB {similar:10.4f}")


def print_paths(folder: Path, *names: str) -> None:
    """Where to look."""
    print("\n" + "\n".join(f"{folder / name}" for name in names))


if __name__ == "__main__":
    sys.exit(answer(lambda: main(read(Args, prog="python -m tools.demo"))))
