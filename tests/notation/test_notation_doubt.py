"""Doubt about rhythm: bars whose notes stray from the page are marked, and no others."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from score_pipeline.notation.score import build_score
from score_pipeline.settings import NotationSettings
from score_pipeline.types import BeatGrid, Meter, Note, QuantisedNote, QuantisedTrack, Score

F = Fraction


def page(steps: list[tuple[Fraction, float]], key: str = "flute") -> Score:
    """Four bars of 4/4 at 120 in quarters; `steps` are (position, how late in quarters it is played)."""
    grid = BeatGrid(np.arange(17) * 0.5, np.arange(17) % 4 + 1, np.arange(17) // 4 + 1, (Meter(4, 4),) * 17)
    notes = []
    for onset, late in steps:
        start = (float(onset) + late) * 0.5
        notes.append(QuantisedNote(onset, F(1, 3), Note(max(start, 0.0), start + 0.15, 72, 80, key)))
    return build_score([QuantisedTrack(key, 1, tuple(notes))], grid, NotationSettings(), "x.wav")


def quarters(late: dict[int, float]) -> list[tuple[Fraction, float]]:
    return [(F(k), late.get(k // 4, 0.0) * (-1) ** k) for k in range(16)]


def test_a_bar_played_beside_its_places_is_marked() -> None:
    assert page(quarters({1: 0.1, 2: 0.03})).doubtful_bars == (2,)


def test_a_bar_in_which_a_part_has_no_note_is_not_marked_in_it() -> None:
    score = page([row for row in quarters({1: 0.1}) if row[0] // 4 != 2])
    assert [measure.doubtful for measure in score.parts[0].measures] == [False, True, False, False]


@pytest.mark.parametrize(("late", "marked"), [(0.0, ()), (0.035, (1,))])
def test_triplets_are_doubted_sooner_but_not_when_they_are_exact(late: float, marked: tuple[int, ...]) -> None:
    triplets = [(F(k, 3), late * (-1) ** k) for k in range(12)]
    assert page([*triplets, *((place, late) for place, _ in quarters({}) if place >= 4)]).doubtful_bars == marked


def test_grace_notes_are_never_where_they_are_written() -> None:
    score = page(quarters({}))
    assert score.doubtful_bars == ()
    grid = BeatGrid(np.arange(5) * 0.5, np.arange(5) % 4 + 1, np.arange(5) // 4 + 1, (Meter(4, 4),) * 5)
    note = QuantisedNote(F(1), F(1), Note(0.5, 1.0, 72, 80, "flute"))
    grace = QuantisedNote(F(1), F(1, 8), Note(0.3, 0.5, 74, 80, "flute"), grace=True)
    track = QuantisedTrack("flute", 1, (grace, note))
    assert build_score([track], grid, NotationSettings(), "x.wav").doubtful_bars == ()
