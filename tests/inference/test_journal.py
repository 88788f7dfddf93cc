"""What the work folder of an unfinished run promises."""

import json

import numpy as np
import pytest

from jaxvsr.errors import OutputError
from jaxvsr.inference.journal import Journal

RUN = {"input": ["a.mp4", 1], "crf": 20}


OPEN: list[Journal] = []


def open_journal(folder, run=RUN, **options):
    OPEN.append(Journal(folder / "out.mkv", run, suffix=".mkv", **options))
    return OPEN[-1]


@pytest.fixture(autouse=True)
def closed_afterwards():
    yield
    while OPEN:
        OPEN.pop().close()


def write_segment(journal, content=b"frames", times=((0, 1), (1, 1)), state=None):
    journal.path().write_bytes(content)
    journal.commit(list(times), state)


def test_finished_segments_are_found_again(tmp_path):
    journal = open_journal(tmp_path)
    write_segment(journal)
    write_segment(journal, times=[(2, 1)])
    journal.close()
    again = open_journal(tmp_path)
    assert again.times == [(0, 1), (1, 1), (2, 1)]
    assert [s.path.read_bytes() for s in again.segments] == [b"frames", b"frames"]


def test_a_segment_without_its_record_is_debris(tmp_path):
    """A crash between the frames and the record costs that segment and nothing else."""
    journal = open_journal(tmp_path)
    write_segment(journal)
    stray = journal.path()
    stray.write_bytes(b"half a seg")
    journal.close()
    assert open_journal(tmp_path).times == [(0, 1), (1, 1)]
    assert not stray.exists()


def test_a_segment_that_was_cut_short_is_not_trusted(tmp_path):
    journal = open_journal(tmp_path)
    write_segment(journal)
    write_segment(journal)
    journal.close()
    journal.path(1).write_bytes(b"fra")
    again = open_journal(tmp_path)
    assert len(again.segments) == 1


def test_a_torn_record_is_not_trusted(tmp_path):
    journal = open_journal(tmp_path)
    write_segment(journal)
    journal.close()
    record = journal.folder / "segment-000000.json"
    record.write_text(record.read_text()[:10])
    assert open_journal(tmp_path).segments == []


def test_another_run_is_refused_by_name_and_replaced_on_demand(tmp_path):
    journal = open_journal(tmp_path)
    write_segment(journal)
    journal.close()
    with pytest.raises(OutputError, match="other crf"):
        open_journal(tmp_path, {**RUN, "crf": 30})
    again = open_journal(tmp_path)
    assert again.segments  # the refusal harmed nothing
    again.close()
    assert open_journal(tmp_path, {**RUN, "crf": 30}, overwrite=True).segments == []


def test_two_runs_never_write_one_output(tmp_path):
    journal = open_journal(tmp_path)
    with pytest.raises(OutputError, match="another run"):
        open_journal(tmp_path)
    journal.close()
    open_journal(tmp_path).close()


def test_state_of_the_last_segment_is_kept(tmp_path):
    journal = open_journal(tmp_path)
    write_segment(journal, state=[np.arange(3.0), np.ones((2, 2))])
    write_segment(journal, state=[np.arange(4.0), np.zeros((2, 2))])
    journal.close()
    saved = open_journal(tmp_path).state()
    np.testing.assert_array_equal(saved[0], np.arange(4.0))
    np.testing.assert_array_equal(saved[1], np.zeros((2, 2)))


def test_an_empty_journal_leaves_nothing(tmp_path):
    open_journal(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_run_record_is_plain_json(tmp_path):
    journal = open_journal(tmp_path, {**RUN, "size": (2, 4)})
    write_segment(journal)
    journal.close()
    assert json.loads((journal.folder / "run.json").read_text())["size"] == [2, 4]
    open_journal(tmp_path, {**RUN, "size": (2, 4)}).close()  # tuples and lists are the same run
