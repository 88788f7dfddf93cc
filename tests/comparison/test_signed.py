"""Metrics with a sign: what is nearest to 0 is best, on either side."""

import dataclasses

import numpy as np
from scored import scored

from jaxvsr.comparison import wording, worst


def of(values: list[float]):
    score = scored(frames=len(values), metrics=("detail",))
    return dataclasses.replace(score, frames={"detail": np.array(values)})


def test_the_nearest_to_0_is_best():
    soft, right, sharp = of([-3, -3]), of([-0.5, 0.3]), of([2, 2])
    assert wording.best([soft, right, sharp], "detail") == {1}
    assert wording.best([soft, sharp], "detail") == {1}
    assert wording.arrow("detail") == "→0"


def test_the_worst_frames_are_the_farthest_on_either_side():
    assert of([-1, 3, 0.5, -4]).order("detail").tolist() == [3, 1, 0, 2]
    assert of([-1, 3, 0.5, -4]).worst("detail") == -4


def test_the_worst_of_all_candidates_is_chosen_by_size():
    scores = [of([0.1] * 40 + [np.nan]), of([-0.2] * 20 + [-5] + [0.3] * 20)]
    assert worst.worst_frames(scores, "detail", 1) == [20]
