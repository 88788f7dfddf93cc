"""What the threads between decode, network and encode promise."""

import threading
import time

import pytest

from jaxvsr.host.pipeline import Behind, ahead


def test_ahead_gives_everything_in_order_and_holds_little():
    made = 0

    def source():
        nonlocal made
        for i in range(50):
            made = i + 1
            yield i

    got = []
    for item in ahead(source(), 3):
        got.append(item)
        assert made <= item + 1 + 3 + 1  # queued, and one in the hand of the source
    assert got == list(range(50))


def test_ahead_passes_on_what_goes_wrong():
    def source():
        yield 1
        raise KeyError("lost")

    items = ahead(source(), 2)
    assert next(items) == 1
    with pytest.raises(KeyError, match="lost"):
        next(items)


def test_ahead_stops_its_thread_when_nobody_reads():
    before = threading.active_count()
    items = ahead(iter(range(1000)), 2)
    next(items)
    items.close()
    assert threading.active_count() == before


@pytest.mark.quick
def test_behind_handles_everything_in_order():
    got = []
    behind = Behind(got.append, 2)
    for i in range(20):
        behind.put(i)
    behind.finish()
    assert got == list(range(20))


def test_behind_waits_when_it_cannot_keep_up():
    """At most `depth` items wait, so a slow encoder slows the network and fills no memory."""
    go, got = threading.Event(), []

    def slow(item):
        go.wait(timeout=60)
        got.append(item)

    behind, put = Behind(slow, 2), []

    def feed():
        for i in range(10):
            behind.put(i)
            put.append(i)

    feeder = threading.Thread(target=feed)
    feeder.start()
    time.sleep(0.3)
    assert len(put) <= 3
    go.set()
    feeder.join()
    behind.finish()
    assert got == list(range(10))


def test_behind_tells_what_went_wrong_and_takes_no_more():
    def fail(item):
        raise OSError(28, "No space left on device")

    behind = Behind(fail, 1)
    with pytest.raises(OSError, match="No space"):
        for i in range(10):
            behind.put(i)
        behind.finish()


def test_abandoned_work_is_dropped():
    behind = Behind(lambda item: time.sleep(0.01), 2)
    behind.put(1)
    behind.abandon()
    assert not behind._thread.is_alive()
