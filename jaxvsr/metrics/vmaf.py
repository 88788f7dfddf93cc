"""VMAF by libvmaf, which the ffmpeg of the imageio-ffmpeg package carries with its models.

The score depends on which frames are paired: containers round times differently, so both
inputs get new ones, frame by frame. VMAF reads luma only.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np

from jaxvsr.errors import InputError, UsageError
from jaxvsr.host.pipeline import Behind
from jaxvsr.video.colour import MATRICES, untagged

MODELS = {"vmaf": "vmaf_v0.6.1", "vmaf_neg": "vmaf_v0.6.1neg"}
DEPTHS = (8, 10, 12, 16)  # bits that libvmaf takes
WAITING = 4  # frames that may wait for libvmaf
PIPE = 1 << 20  # bytes that the system may hold between us and ffmpeg
REMEDY = "VMAF: {}; install an ffmpeg that has it by: pip install imageio-ffmpeg"

Clip = str | Path | Iterable[np.ndarray]


def vmaf(fake: Clip, real: Clip, *, fps: float = 25, pix_fmt: str = "yuv420p") -> dict[str, float]:
    """Means over frames: {"vmaf", "vmaf_neg", "frames"}; 0 to 100, about 100 for equal clips.

    Each clip is a video file, or frames [H, W, 3] in RGB, uint8 or float in [0, 1]; the shorter
    of the two ends the comparison. Files are compared in `pix_fmt`. InputError where the clips
    cannot be compared, UsageError where there is no ffmpeg with libvmaf. Higher is better.
    """
    program = find_ffmpeg()
    sources = [_source(clip, fps) for clip in (fake, real)]
    feeders = [feeder for *_, feeder in sources if feeder]
    with tempfile.TemporaryDirectory() as folder:
        pipes = [pipe for _, pipe, _ in sources if pipe is not None]
        inputs = [*sources[0][0], *sources[1][0]]
        run = _launch(program, inputs, pipes, _graph(fps, pix_fmt, tuple(MODELS)), folder)
        for feeder in feeders:
            feeder.start()
        complaint = run.communicate()[1].decode(errors="replace").strip()
        for feeder in feeders:
            feeder.join()
        values = _values(run.returncode, complaint, folder, tuple(MODELS))
    means = {name: float(np.mean(v)) for name, v in values.items()}
    return {**means, "frames": len(values["vmaf"])}


class VmafRun:
    """VMAF of two streams of luma planes, computed by ffmpeg beside whatever else is done.

    `add` takes frames as they come and waits only while a few are waiting already, so memory
    stays flat; `finish` gives the values. `models` are keys of MODELS, `bits` one of DEPTHS.
    `add` and `finish` raise UsageError where there is no ffmpeg with libvmaf and InputError where
    it fails. Whoever does not come to `finish` must `close`.
    """

    def __init__(self, width: int, height: int, fps: float, bits: int = 8, models=tuple(MODELS)):
        if bits not in DEPTHS:
            raise ValueError(f"bits {bits}: choose one of {', '.join(map(str, DEPTHS))}")
        program = find_ffmpeg()
        self._size, self._bits, self._models = (height, width), bits, tuple(models)
        self._folder = tempfile.TemporaryDirectory()
        ends = [os.pipe() for _ in range(2)]
        argv = [a for end, _ in ends for a in ("-f", "yuv4mpegpipe", "-i", f"pipe:{end}")]
        pix_fmt = "yuv420p" if bits == 8 else f"yuv420p{bits}le"
        graph = _graph(fps, pix_fmt, self._models)
        self._run = _launch(program, argv, [e for e, _ in ends], graph, self._folder.name)
        self._talk = _Listener(self._run.stderr)
        head = y4m_header(width, height, fps, bits)
        chroma = _grey((height, width), bits)
        self._writers = [_Writer(start, head, chroma) for _, start in ends]

    def add(self, fake_luma: np.ndarray, real_luma: np.ndarray) -> None:
        """Hands over one pair of planes [H, W] in limited range, uint8, or uint16 above 8 bits.

        They must not be changed afterwards.
        """
        kind = np.uint8 if self._bits == 8 else np.dtype("<u2")
        for plane, writer in zip((fake_luma, real_luma), self._writers, strict=True):
            if plane.shape != self._size or plane.dtype != kind:
                raise ValueError(f"{plane.dtype} {plane.shape}: wanted {kind} {self._size}")
            try:
                writer.put(plane)
            except OSError:
                self._fail()

    def finish(self) -> dict[str, np.ndarray]:
        """The value of each frame, {model: [T]}, when all are scored."""
        try:
            for writer in self._writers:
                with suppress(OSError):
                    writer.finish()
            complaint, code = self._talk.text(), self._run.wait()
            return _values(code, complaint, self._folder.name, self._models)
        finally:
            self.close()

    def close(self) -> None:
        """Lets go of everything; what is not finished is lost."""
        if self._run.poll() is None:
            self._run.kill()
        self._run.wait()
        for writer in self._writers:
            writer.close()
        self._talk.text()
        self._run.stderr.close()
        self._folder.cleanup()

    def _fail(self):
        complaint, code = self._talk.text(), self._run.wait()
        self.close()
        raise _error(complaint or f"ffmpeg ended with status {code}")


class _Writer:
    """One input of ffmpeg: planes go into a pipe in a thread of their own."""

    def __init__(self, pipe: int, head: bytes, chroma: bytes):
        with suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
        self._stream, self._head, self._chroma = os.fdopen(pipe, "wb", 0), head, chroma
        self._behind = Behind(self._write, WAITING)

    def put(self, plane: np.ndarray) -> None:
        """Raises OSError where ffmpeg is gone."""
        self._behind.put(plane)

    def _write(self, plane: np.ndarray) -> None:
        _write_all(self._stream, self._head + b"FRAME\n")
        self._head = b""
        _write_all(self._stream, np.ascontiguousarray(plane))
        _write_all(self._stream, self._chroma)

    def finish(self) -> None:
        try:
            self._behind.finish()
        finally:
            self._stream.close()

    def close(self) -> None:
        """After ffmpeg's end, so that no write waits for it."""
        self._behind.abandon()
        self._stream.close()


class _Listener:
    """Reads what a program says, so that it never waits for somebody to listen."""

    def __init__(self, stream):
        self._said = b""
        self._thread = Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream) -> None:
        self._said = stream.read()

    def text(self) -> str:
        """All of it, when the program has ended."""
        self._thread.join()
        return self._said.decode(errors="replace").strip()


def _write_all(stream, data) -> None:
    """A pipe takes as much as it has room for."""
    left = memoryview(data).cast("B")
    while left:
        left = left[stream.write(left) :]


def y4m(frames: Iterable[tuple], fps: float, bits: int = 8) -> Iterator[bytes]:
    """A YUV4MPEG2 stream, chunk by chunk, of 4:2:0 planes (y, u, v) in uint8 or uint16."""
    for i, planes in enumerate(frames):
        if i == 0:
            height, width = planes[0].shape
            yield y4m_header(width, height, fps, bits)
        yield b"FRAME\n"
        for plane in planes:
            yield np.ascontiguousarray(plane).tobytes()


def y4m_header(width: int, height: int, fps: float, bits: int = 8) -> bytes:
    """The line that begins a YUV4MPEG2 stream of 4:2:0."""
    depth = "420jpeg" if bits == 8 else f"420p{bits}"
    return f"YUV4MPEG2 W{width} H{height} F{round(fps * 1000)}:1000 Ip C{depth}\n".encode()


def find_ffmpeg() -> str:
    """The program; UsageError with the remedy where there is none. That it has libvmaf, only a
    run can tell."""
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UsageError(REMEDY.format("imageio-ffmpeg is not installed")) from None
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise UsageError(REMEDY.format(f"no ffmpeg ({error})".splitlines()[0])) from None


def _launch(program: str, inputs: list[str], pipes: list[int], graph: str, folder: str):
    """ffmpeg, with the reading ends of `pipes`, which are closed here."""
    argv = [program, "-nostdin", "-hide_banner", "-loglevel", "error", *inputs]
    argv += ["-lavfi", graph, "-f", "null", "-"]
    try:
        return subprocess.Popen(argv, pass_fds=pipes, cwd=folder, stderr=subprocess.PIPE)
    finally:
        for pipe in pipes:
            os.close(pipe)


def _graph(fps: float, pix_fmt: str, models: Sequence[str]) -> str:
    retime = f"settb=AVTB,setpts=N/{fps}/TB,format={pix_fmt}"
    wanted = "|".join(f"version={MODELS[name]}\\\\:name={name}" for name in models)
    threads = os.cpu_count() or 2
    options = f"log_fmt=json:log_path=vmaf.json:n_threads={threads}:shortest=1"
    return f"[0:v]{retime}[d];[1:v]{retime}[r];[d][r]libvmaf=model={wanted}:{options}"


def _values(code: int, complaint: str, folder: str, models: Sequence[str]) -> dict[str, np.ndarray]:
    """{model: [T]} from ffmpeg's log; raises what its complaint means where there is none."""
    log = Path(folder, "vmaf.json")
    if code or not log.is_file():
        raise _error(complaint)
    frames = json.loads(log.read_text())["frames"]
    return {name: np.array([f["metrics"][name] for f in frames]) for name in models}


def _error(complaint: str) -> Exception:
    if "libvmaf" in complaint and "No such filter" in complaint:
        return UsageError(REMEDY.format("this ffmpeg was built without libvmaf"))
    cause = complaint.splitlines()[0] if complaint else "ffmpeg wrote no scores"
    return InputError(f"VMAF: {cause}; both clips must be videos of one size")


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


def _grey(size: tuple[int, int], bits: int) -> bytes:
    """Both chroma planes of 4:2:0, without colour."""
    count = 2 * (-(-size[0] // 2) * -(-size[1] // 2))
    return np.full(count, 1 << (bits - 1), np.uint8 if bits == 8 else "<u2").tobytes()


def _planes(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma by BT.601 below 720 lines and BT.709 from there, limited range; chroma left grey."""
    frame = np.asarray(frame)
    height, width = frame.shape[:2]
    red, blue = MATRICES[untagged(height)]
    weights = np.array([red, 1 - red - blue, blue], np.float32) * 219
    if frame.dtype == np.uint8:
        weights /= 255
    y = np.rint(frame.astype(np.float32) @ weights + 16).clip(16, 235).astype(np.uint8)
    grey = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    return y, grey, grey
