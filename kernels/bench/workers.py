"""Work in another process, so that what crashes or hangs takes only its own answer with it.

A kernel that reads where it must not ends CUDA for its whole process, and one that waits for ever
ends nothing at all. So the bench asks processes, one JSON object a line, and starts them anew.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
STARTING = 90.0  # seconds that a process may take until it can answer
LIMIT = 300  # characters of a message that are kept


class Worker:
    """A process `python -m module`, a name and arguments, that answers jobs; started when asked."""

    def __init__(self, module: str, env: Mapping[str, str], log: Path):
        self.module, self.env, self.log = module, dict(env), log
        self.process: subprocess.Popen | None = None
        self.answers: queue.Queue = queue.Queue()

    def ask(self, job: dict, seconds: float) -> dict:
        """The answer, or {"error": why} where it raised, ended the process, or took too long."""
        if fresh := not self.alive:
            self._start()
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            line = self.answers.get(timeout=seconds + STARTING * fresh)
        except queue.Empty:
            self.close()
            return {"error": f"no answer in {seconds:.0f} s; the process was ended"}
        except OSError:
            line = None
        if line is None:
            return {"error": self._last_words()}
        answer = json.loads(line)
        if not answer.get("well", True):
            self.close()
        return answer

    @property
    def alive(self) -> bool:
        """True while the process that answered last can answer again."""
        return self.process is not None and self.process.poll() is None

    def close(self) -> None:
        """Ends the process and those that it started."""
        if self.process is None:
            return
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _start(self) -> None:
        self.close()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.module.split()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=self.env,
                start_new_session=True,
            )
        self.answers = queue.Queue()
        reader = threading.Thread(target=_read, args=(self.process, self.answers), daemon=True)
        reader.start()

    def _last_words(self) -> str:
        code = self.process.wait(timeout=10) if self.process else None
        self.close()
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
        said = next((line for line in reversed(lines) if line), "nothing said")
        return f"the process ended with {code}: {said}"[:LIMIT]


def _read(process: subprocess.Popen, answers: queue.Queue) -> None:
    """Hands on every line, and None at the end."""
    with process.stdout:
        for line in process.stdout:
            answers.put(line)
    answers.put(None)


def serve(answer: Callable[[dict], dict], healthy: Callable[[], object]) -> None:
    """Answers the jobs of stdin on stdout until it closes, or `healthy()` raises after an error.

    What anything else prints goes to stderr.
    """
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        for line in sys.stdin:
            try:
                result = answer(json.loads(line))
            except Exception as error:  # whatever it is, the next job may still go well
                result = {"error": brief(error)}
            well = not failed(result) or _well(healthy)
            out.write(json.dumps(result | {"well": well}) + "\n")
            out.flush()
            if not well:
                return


def brief(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:LIMIT]


def failed(result: dict) -> bool:
    """True where an answer, or a part of it, is an error."""
    return bool(result.get("error") or result.get("errors"))


def _well(healthy: Callable[[], object]) -> bool:
    try:
        healthy()
    except Exception:
        return False
    return True
