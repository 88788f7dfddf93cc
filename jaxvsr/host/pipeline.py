"""Stages in threads with bounded queues between them: decode | network | encode."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
END = object()


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Iterates `items` in a thread of their own, at most `depth` of them ahead of the reader.

    An exception of the source is raised here. Closing the iterator stops the thread.
    """
    waiting: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def fill():
        last = (END, None)
        try:
            for item in items:
                if not _put(waiting, (None, item), stop):
                    return
        except BaseException as error:
            last = (END, error)
        _put(waiting, last, stop)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        while True:
            mark, item = waiting.get()
            if mark is END:
                if item is not None:
                    raise item
                return
            yield item
    finally:
        stop.set()
        thread.join()


class Behind:
    """Hands items to `handle` in a thread of its own; `put` waits while `depth` are waiting.

    An exception of `handle` is raised by the next `put` or by `finish`.
    """

    def __init__(self, handle: Callable[[Item], None], depth: int):
        self._waiting: queue.Queue = queue.Queue(depth)
        self._stop, self._error = threading.Event(), None
        self._thread = threading.Thread(target=self._drain, args=(handle,), daemon=True)
        self._thread.start()

    def _drain(self, handle):
        try:
            while not self._stop.is_set():
                try:
                    mark, item = self._waiting.get(timeout=0.2)
                except queue.Empty:
                    continue
                if mark is END:
                    return
                handle(item)
        except BaseException as error:
            self._error = error
            self._stop.set()

    def put(self, item: Item) -> None:
        """Queues one item; raises what `handle` raised before."""
        if not _put(self._waiting, (None, item), self._stop):
            self._raise()

    def finish(self) -> None:
        """Waits until everything is handled."""
        _put(self._waiting, (END, None), self._stop)
        self._thread.join()
        self._raise()

    def abandon(self) -> None:
        """Stops after the item in hand and drops the rest."""
        self._stop.set()
        self._thread.join()

    def _raise(self):
        if self._error is not None:
            raise self._error


def _put(waiting: queue.Queue, item, stop: threading.Event) -> bool:
    """Puts with an eye on `stop`; tells whether the item went in."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=0.2)
        except queue.Full:
            continue
        return True
    return False
