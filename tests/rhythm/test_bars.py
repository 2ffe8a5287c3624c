"""Bars: where a position lies, and which values take ties there."""

from __future__ import annotations

import numpy as np
import pytest

from score_pipeline.rhythm.bars import Bars, ties
from score_pipeline.types import BeatGrid, Meter
from tests.rhythm.playing import F, ruler


def test_a_place_is_counted_from_its_bar_line_before_and_after_the_grid_too() -> None:
    bars = Bars(ruler(120.0, (3, 4), 6.0))
    assert [bars.place(F(q)) for q in (0, 4, -1, 3001)] == [(F(q), Meter(3, 4)) for q in (0, 1, 2, 1)]


def test_a_place_after_a_change_of_meter_has_the_new_one() -> None:
    meters = (Meter(4, 4),) * 4 + (Meter(3, 4),) * 3
    grid = BeatGrid(np.arange(7) * 0.5, np.array([1, 2, 3, 4, 1, 2, 3]), np.array([1] * 4 + [2] * 3), meters)
    assert Bars(grid).place(F(9, 2)) == (F(1, 2), Meter(3, 4))


@pytest.mark.parametrize(
    ("meter", "place", "value", "expected"),
    [
        ((4, 4), F(0), F(4), 0),
        ((4, 4), F(0), F(5), 1),  # over the bar line
        ((4, 4), F(3), F(9), 2),
        ((4, 4), F(0), F(5, 4), 1),  # no symbol has this length
        ((4, 4), F(0), F(7, 4), 0),  # two dots
        ((4, 4), F(1, 2), F(1), 0),  # a syncopation
        ((4, 4), F(3, 2), F(1), 1),  # one over the middle of the bar
        ((4, 4), F(1, 2), F(2), 1),
        ((3, 4), F(3, 4), F(1, 2), 1),
        ((3, 4), F(1, 4), F(1, 2), 0),
        ((4, 4), F(2, 3), F(1, 3), 0),
        ((4, 4), F(2, 3), F(2, 3), 1),
        ((6, 8), F(1), F(1), 1),
        ((6, 8), F(0), F(3), 0),
    ],
)  # fmt: skip
def test_ties(meter: tuple[int, int], place: F, value: F, expected: int) -> None:
    assert ties(place, value, Meter(*meter)) == expected
