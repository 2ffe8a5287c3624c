"""Values: what one symbol may write, where it is cut, what becomes a triplet."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_pipeline.notation.durations import (
    Window,
    fit,
    levels,
    split_in_tuplet,
    split_note,
    split_rest,
    tuplet_windows,
    value_of,
)
from score_pipeline.types import Meter

METERS = [Meter(2, 2), Meter(3, 4), Meter(4, 4), Meter(3, 8), Meter(6, 8), Meter(9, 8), Meter(12, 8), Meter(4, 2)]
METERS += [Meter(5, 4), Meter(7, 8), Meter(6, 4), Meter(2, 4)]


def cuts(pieces: list) -> list[float]:  # type: ignore[type-arg]
    return [float(pieces[0].start_q), *(float(piece.end_q) for piece in pieces)]


@pytest.mark.parametrize(
    ("meter", "start", "end", "expected"),
    [
        (Meter(4, 4), 1, 3, [1, 3]),  # quarter, half, quarter: the one syncopation over the middle
        (Meter(4, 4), 0.5, 1.5, [0.5, 1.5]),
        (Meter(4, 4), 1.5, 2.5, [1.5, 2, 2.5]),  # off the beat over the middle
        (Meter(4, 4), 1, 2.5, [1, 2, 2.5]),
        (Meter(4, 4), 0.5, 2.5, [0.5, 2, 2.5]),
        (Meter(4, 4), 0, 3, [0, 3]),
        (Meter(4, 4), 1, 4, [1, 4]),
        (Meter(4, 4), 0, 2.5, [0, 2, 2.5]),  # five eighths are two symbols
        (Meter(4, 4), 0, 1.25, [0, 1, 1.25]),
        (Meter(4, 4), 0.75, 2, [0.75, 1, 2]),
        (Meter(3, 4), 1, 3, [1, 3]),
        (Meter(6, 8), 0, 2, [0, 1.5, 2]),  # nothing but whole beats crosses a compound beat
        (Meter(6, 8), 1, 2, [1, 1.5, 2]),
        (Meter(6, 8), 0.5, 1.5, [0.5, 1.5]),
        (Meter(9, 8), 0, 4.5, [0, 3, 4.5]),
    ],
)
def test_notes_show_the_strong_places(meter: Meter, start: float, end: float, expected: list[float]) -> None:
    assert cuts(split_note(Fraction(start), Fraction(end), meter)) == expected


@pytest.mark.parametrize(
    ("meter", "start", "end", "expected"),
    [
        (Meter(4, 4), 0, 2, [0, 2]),
        (Meter(4, 4), 1, 3, [1, 2, 3]),  # a rest never hides the middle of the bar
        (Meter(4, 4), 1, 4, [1, 2, 4]),
        (Meter(3, 4), 1, 3, [1, 2, 3]),  # nor a beat of 3/4
        (Meter(6, 8), 0, 1.5, [0, 1.5]),
        (Meter(6, 8), 0.5, 3, [0.5, 1, 1.5, 3]),
        (Meter(12, 8), 1.5, 6, [1.5, 3, 6]),
    ],
)
def test_rests_show_the_beats(meter: Meter, start: float, end: float, expected: list[float]) -> None:
    assert cuts(split_rest(Fraction(start), Fraction(end), meter)) == expected


@settings(max_examples=200, deadline=None, derandomize=True)
@given(meter=st.sampled_from(METERS), start=st.integers(0, 200), length=st.integers(1, 200), rest=st.booleans())
def test_pieces_are_values_and_fill_the_note(meter: Meter, start: int, length: int, rest: bool) -> None:
    step = Fraction(1, 16)
    low = start * step % meter.bar_q
    high = min(meter.bar_q, low + length * step)
    pieces = (split_rest if rest else split_note)(low, high, meter)
    assert pieces[0].start_q == low
    assert pieces[-1].end_q == high
    assert all(a.end_q == b.start_q for a, b in pairwise(pieces))
    assert all(value_of(piece.end_q - piece.start_q) for piece in pieces)


def third(numerator: int, denominator: int = 3) -> Fraction:
    return Fraction(numerator, denominator)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([third(1), third(2), Fraction(1)], [(0, 1)]),
        ([third(2), third(4), Fraction(2)], [(0, 2)]),  # quarters in the time of a half
        ([third(1, 6), third(2, 6), third(1, 2), Fraction(1)], [(0, 0.5)]),
        ([third(i, 6) for i in range(1, 6)], [(0, 1)]),  # six sixteenths: a sextuplet
        ([third(1), third(2), Fraction(1), third(4), third(5)], [(0, 1), (1, 2)]),
        ([Fraction(1, 4), Fraction(1, 2)], []),
    ],
)
def test_triplets_take_the_smallest_bracket_that_cuts_no_note(
    edges: list[Fraction], expected: list[tuple[float, float]]
) -> None:
    windows = tuplet_windows(edges, Fraction(0), Fraction(4), Meter(4, 4))
    assert [(float(window.start_q), float(window.end_q)) for window in windows] == expected


def test_values_inside_a_triplet_are_those_written() -> None:
    window = Window(Fraction(0), Fraction(1))
    pieces = split_in_tuplet(Fraction(0), Fraction(2, 3), window, rest=False)
    assert [(piece.start_q, piece.end_q, piece.tuplet) for piece in pieces] == [(0, Fraction(2, 3), (3, 2))]


def test_a_mixture_goes_to_the_nearer_division() -> None:
    moved = fit([Fraction(1, 4), Fraction(1, 3), Fraction(2, 3)], Fraction(0), Fraction(4), Meter(4, 4))
    assert {edge for edge, place in moved.items() if edge != place} == {Fraction(1, 4)}


def test_levels_of_a_meter() -> None:
    assert levels(Meter(4, 4))[:4] == (4, 2, 1, Fraction(1, 2))
    assert levels(Meter(6, 8))[:3] == (3, Fraction(3, 2), Fraction(1, 2))
    assert levels(Meter(3, 8))[:3] == (Fraction(3, 2), Fraction(1, 2), Fraction(1, 4))
