"""VMAF by libvmaf, which the ffmpeg of the imageio-ffmpeg package carries with its models.

The score depends on which frames are paired: containers round times differently, so both
inputs get new ones, frame by frame. VMAF reads luma only.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np

from jaxvsr.errors import InputError, UsageError
from jaxvsr.video.colour import MATRICES

MODELS = r"version=vmaf_v0.6.1\\:name=vmaf|version=vmaf_v0.6.1neg\\:name=vmaf_neg"
REMEDY = "VMAF: {}; install an ffmpeg that has it by: pip install imageio-ffmpeg"

Clip = str | Path | Iterable[np.ndarray]


def vmaf(fake: Clip, real: Clip, *, fps: float = 25, pix_fmt: str = "yuv420p") -> dict[str, float]:
    """Means over frames: {"vmaf", "vmaf_neg", "frames"}; 0 to 100, about 100 for equal clips.

    Each clip is a video file, or frames [H, W, 3] in RGB, uint8 or float in [0, 1]; the shorter
    of the two ends the comparison. Files are compared in `pix_fmt`. InputError where the clips
    cannot be compared, UsageError where there is no ffmpeg with libvmaf.
    """
    program = _ffmpeg()
    sources = [_source(clip, fps) for clip in (fake, real)]
    feeders = [feeder for *_, feeder in sources if feeder]
    with tempfile.TemporaryDirectory() as folder:
        argv = [program, "-nostdin", "-hide_banner", "-loglevel", "error"]
        argv += [*sources[0][0], *sources[1][0], "-lavfi", _graph(fps, pix_fmt), "-f", "null", "-"]
        pipes = [pipe for _, pipe, _ in sources if pipe is not None]
        try:
            run = subprocess.Popen(argv, pass_fds=pipes, cwd=folder, stderr=subprocess.PIPE)
        finally:
            for pipe in pipes:
                os.close(pipe)
        for feeder in feeders:
            feeder.start()
        complaint = run.communicate()[1].decode(errors="replace").strip()
        for feeder in feeders:
            feeder.join()
        log = Path(folder, "vmaf.json")
        if run.returncode or not log.is_file():
            raise _error(complaint)
        return _means(json.loads(log.read_text()))


def y4m(frames: Iterable[tuple], fps: float, bits: int = 8) -> Iterator[bytes]:
    """A YUV4MPEG2 stream, chunk by chunk, of 4:2:0 planes (y, u, v) in uint8 or uint16."""
    for i, planes in enumerate(frames):
        if i == 0:
            height, width = planes[0].shape
            depth = "420jpeg" if bits == 8 else f"420p{bits}"
            yield f"YUV4MPEG2 W{width} H{height} F{round(fps * 1000)}:1000 Ip C{depth}\n".encode()
        yield b"FRAME\n"
        for plane in planes:
            yield np.ascontiguousarray(plane).tobytes()


def _ffmpeg() -> str:
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UsageError(REMEDY.format("imageio-ffmpeg is not installed")) from None
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise UsageError(REMEDY.format(f"no ffmpeg ({error})".splitlines()[0])) from None


def _graph(fps: float, pix_fmt: str) -> str:
    retime = f"settb=AVTB,setpts=N/{fps}/TB,format={pix_fmt}"
    options = "log_fmt=json:log_path=vmaf.json:n_threads=2:shortest=1"
    return f"[0:v]{retime}[d];[1:v]{retime}[r];[d][r]libvmaf=model={MODELS}:{options}"


def _error(complaint: str) -> Exception:
    if "libvmaf" in complaint and "No such filter" in complaint:
        return UsageError(REMEDY.format("this ffmpeg was built without libvmaf"))
    cause = complaint.splitlines()[0] if complaint else "ffmpeg wrote no scores"
    return InputError(f"VMAF: {cause}; both clips must be videos of one size")


def _means(log: dict) -> dict[str, float]:
    pooled = {name: log["pooled_metrics"][name]["mean"] for name in ("vmaf", "vmaf_neg")}
    return {**pooled, "frames": len(log["frames"])}


def _source(clip: Clip, fps: float):
    """ffmpeg's arguments for one input, the pipe it reads, and the thread that fills the pipe."""
    if isinstance(clip, str | Path):
        if not Path(clip).is_file():
            raise InputError(f"{clip}: no such file; VMAF compares two videos")
        return ["-i", str(Path(clip).resolve())], None, None
    end, start = os.pipe()
    chunks = y4m((_planes(frame) for frame in clip), fps)
    feeder = Thread(target=_feed, args=(start, chunks), daemon=True)
    return ["-f", "yuv4mpegpipe", "-i", f"pipe:{end}"], end, feeder


def _feed(pipe: int, chunks: Iterator[bytes]) -> None:
    try:
        with os.fdopen(pipe, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
    except BrokenPipeError:
        pass  # the other clip was shorter, or ffmpeg has said what is wrong


def _planes(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma by BT.601 below 720 lines and BT.709 from there, limited range; chroma left grey."""
    frame = np.asarray(frame)
    height, width = frame.shape[:2]
    red, blue = MATRICES["bt709" if height >= 720 else "bt601"]
    weights = np.array([red, 1 - red - blue, blue], np.float32) * 219
    if frame.dtype == np.uint8:
        weights /= 255
    y = np.rint(frame.astype(np.float32) @ weights + 16).clip(16, 235).astype(np.uint8)
    grey = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    return y, grey, grey
