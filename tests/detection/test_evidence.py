"""Evidence over a recording and steady activity, by what they are for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_pipeline.detection.evidence import LEAST_SHARE, evidence, steady, threshold_share, without_short_runs


def test_a_glimpse_weighs_less_than_a_player() -> None:
    probability = np.zeros((2, 1000), np.float32)
    probability[0, ::2] = 0.9  # plays half of the time
    probability[1, ::50] = 0.9  # was seen now and then
    sure = evidence(probability, np.ones(1000, bool), 200)
    assert sure[0].min() == pytest.approx(0.9)
    assert sure[1].max() == 0


def test_a_late_entry_is_heard_where_it_is() -> None:
    probability = np.zeros((1, 2000), np.float32)
    probability[0, 1800:] = 0.8
    sure = evidence(probability, np.ones(2000, bool), 200)
    assert sure[0, 1800:].min() == pytest.approx(0.8)
    assert sure[0, :1500].max() == 0


def test_silence_does_not_dilute() -> None:
    probability = np.zeros((1, 1000), np.float32)
    probability[0, 900:] = 0.7
    audible = np.arange(1000) >= 900
    assert evidence(probability, audible, 300)[0].min() == pytest.approx(0.7)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_short_and_silent_recordings(steps: int) -> None:
    probability = np.full((3, steps), 0.5, np.float32)
    assert evidence(probability, np.zeros(steps, bool), 100).max(initial=0) == 0
    assert (evidence(probability, np.ones(steps, bool), 100) == 0.5).all()


@given(
    rows=st.lists(st.booleans(), min_size=1, max_size=80),
    gap=st.integers(1, 6),
    span=st.integers(1, 6),
)
def test_no_short_span_or_gap_is_left_inside(rows: list[bool], gap: int, span: int) -> None:
    active = np.array([rows])
    closed = without_short_runs(active, gap, False)
    assert (closed | active == closed).all()  # closing gaps only adds
    result = steady(active, gap, span)[0]
    edges = np.flatnonzero(np.diff(result.astype(int))) + 1
    for start, end in itertools.pairwise(edges):
        if result[start]:
            assert end - start >= span


def test_runs_at_the_ends_are_kept() -> None:
    active = np.array([[True, False, False, False, True]])
    assert (without_short_runs(active, 3, True) == active).all()
    assert without_short_runs(active, 4, False).all()


def test_thresholds_come_down_where_nobody_accounts_for_the_sound() -> None:
    thresholds = np.array([[0.4], [0.5]], np.float32)
    audible = np.ones(100, bool)
    loud = np.full((2, 100), 0.45, np.float32)
    one, nobody = np.ones(100, np.int64), np.zeros(2, bool)
    assert threshold_share(loud, audible, thresholds, one, nobody) == 1
    faint = np.full((2, 100), 0.3, np.float32)
    assert threshold_share(faint, audible, thresholds, one, nobody) == pytest.approx(0.75)
    assert threshold_share(np.zeros_like(faint), audible, thresholds, one, nobody) == LEAST_SHARE
    assert threshold_share(faint, ~audible, thresholds, one, nobody) == 1


def test_as_many_players_are_looked_for_as_notes_sound() -> None:
    thresholds = np.full((3, 1), 0.5, np.float32)
    audible = np.ones(100, bool)
    judged = np.repeat(np.array([[0.6], [0.4], [0.3]], np.float32), 100, axis=1)
    shares = [
        threshold_share(judged, audible, thresholds, np.full(100, notes), np.zeros(3, bool)) for notes in range(5)
    ]
    assert shares == pytest.approx([1, 1, 0.8, 0.6, 0.6])
    chordal = np.array([True, False, False])
    assert threshold_share(judged, audible, thresholds, np.full(100, 3), chordal) == 1
