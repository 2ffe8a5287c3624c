"""What is said of beats and positions is what a musician would say."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from models.evaluate_rhythm import Truth, from_bar_lines, positions_right
from score_pipeline.types import Meter, Note, Track

WALTZ = Meter(3, 4)


def pickup_waltz(known: int = 12) -> tuple[Truth, dict[tuple[int, int], Fraction]]:
    """Twelve quarters, the first a pickup and the score's quarter 0; and where they are from the bar line."""
    notes = tuple(Note(0.5 * k, 0.5 * k + 0.4, 60 + k, 80, "piano") for k in range(12))
    written = {(0, k): (Fraction(k), Fraction(1)) for k in range(known)}
    downbeats = [Fraction(k) for k in range(1, 12, 3)]
    beats = np.arange(12) / 2
    truth = Truth("waltz", [Track("piano", 1, notes)], from_bar_lines(written, downbeats, WALTZ.bar_q),
                  beats, beats[1::3], WALTZ)  # fmt: skip
    return truth, {(0, k): Fraction(k - 1) for k in range(12)}


def test_a_pickup_is_counted_from_the_bar_line() -> None:
    truth, placed = pickup_waltz()
    assert positions_right(truth, WALTZ, placed) == 1.0
    assert positions_right(truth, WALTZ, {key: at + 3 for key, at in placed.items()}) == 1.0


def test_a_bar_line_off_by_a_beat_leaves_nothing_right() -> None:
    truth, placed = pickup_waltz()
    assert positions_right(truth, WALTZ, {key: at + 1 for key, at in placed.items()}) == 0.0


def test_a_bar_cut_short_moves_what_follows() -> None:
    written = {(0, k): (Fraction(k), None) for k in range(8)}
    moved = from_bar_lines(written, [Fraction(0), Fraction(3), Fraction(5)], Fraction(3))
    assert [int(at) for at, _ in moved.values()] == [0, 1, 2, 3, 4, 3, 4, 5]


@pytest.mark.parametrize(("known", "share"), [(6, 1.0), (5, math.nan)])
def test_positions_of_a_score_that_is_hardly_found_are_not_known(known: int, share: float) -> None:
    truth, placed = pickup_waltz(known)
    assert positions_right(truth, WALTZ, placed) == pytest.approx(share, nan_ok=True)
