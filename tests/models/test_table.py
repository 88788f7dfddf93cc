"""The table of networks tells true numbers, quickly."""

import time

import pytest

from jaxvsr.models import MODELS, table
from jaxvsr.models.espcn import ESPCN
from jaxvsr.models.srresnet import SRResNet
from jaxvsr.models.srvgg import SRVGGNetCompact


def test_there_is_a_row_for_every_network():
    rows = table.rows()
    assert [row["name"] for row in rows] == list(MODELS)
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_the_table_takes_seconds_at_most():
    start = time.process_time()
    table.rows()
    assert time.process_time() - start < 8


@pytest.mark.parametrize(
    "net, macs",
    [
        (ESPCN(scale=3, widths=(8, 6)), (25 * 3 * 8 + 9 * 8 * 6 + 9 * 6 * 27) / 9),
        (SRVGGNetCompact(scale=2, features=8, convs=3), 9 * (3 * 8 + 3 * 64 + 8 * 12) / 4),
        (
            SRResNet(scale=2, features=64, blocks=2, groups=4),
            (81 * 3 * 64 + 5 * 9 * 64 * 16 + 9 * 64 * 256) / 4 + 81 * 64 * 3,
        ),
    ],
)
def test_cost_is_two_operations_a_weight_and_place(net, macs):
    assert table.cost(net)[1] == pytest.approx(2 * macs)


def test_classical_filters_learn_nothing():
    assert table.cost(MODELS["bicubic"].module()) == (0, 0)
