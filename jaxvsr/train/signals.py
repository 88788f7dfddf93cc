"""Stopping: Ctrl-C and SIGTERM let a run finish its step and save; the exit status says which."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxvsr.errors import JaxvsrError, StoppedError

ASKS = (signal.SIGINT, signal.SIGTERM)  # a person; SLURM, Kubernetes and clouds before they evict


class Asked:
    """`number` is the signal that asked the run to stop, 0 as long as none did."""

    number = 0


@contextmanager
def listening() -> Iterator[Asked]:
    """Turns the first Ctrl-C or SIGTERM into a wish; a second Ctrl-C stops at once.

    Python takes signals in its main thread only: elsewhere nothing is changed.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number, frame):
        if asked.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.number = number

    before = {number: signal.signal(number, ask) for number in ASKS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(number: int, step: int) -> StoppedError:
    """The error of a run that saved `step` and stops; 130 after Ctrl-C, 143 after SIGTERM.

    Those are what a shell gives, so a scheduler sees an evicted run and not a failed one.
    """
    error = StoppedError(f"stopped at step {step}, saved; the same command goes on from there")
    error.status = 128 + number
    return error


def exit_status(work: Callable[[], object]) -> int:
    """Runs the main of an experiment; an error that a user can act on becomes a line on stderr.

    Use: `sys.exit(train.exit_status(lambda: main(config)))`.
    """
    try:
        work()
    except JaxvsrError as error:
        sys.stderr.write(f"jaxvsr: {error}\n")
        return error.status
    except KeyboardInterrupt:
        sys.stderr.write("jaxvsr: stopped\n")
        return StoppedError.status
    return 0
