"""The path: players who stray together are written where they meant to be."""

from __future__ import annotations

from fractions import Fraction

import pytest

from score_pipeline.rhythm.quantise import quantise
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import Note, Track
from tests.rhythm.playing import F, line, played, ruler


def test_a_player_who_is_always_late_is_not_a_sixteenth_late() -> None:
    grid = ruler(120.0)
    written = line([F(1, 2)] * 16 + [F(1, 4)] * 16)
    late = Track("oboe", 1, tuple(
        Note(n.onset_s + 0.055, n.offset_s + 0.055, n.pitch, 80, "oboe") for n in played(written, grid).notes
    ))  # fmt: skip
    (found,) = quantise([late], grid, RhythmSettings())
    assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in written]


def test_thirty_seconds_of_one_player_are_not_squeezed_into_sixteenths() -> None:
    grid = ruler(60.0)
    written = line([F(1)] * 2 + [F(1, 8)] * 8 + [F(1)] * 2)
    (found,) = quantise([played(written, grid, jitter_s=0.006, key="flute")], grid, RhythmSettings())
    assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in written]


def test_triplets_beside_dotted_rhythms_keep_to_themselves() -> None:
    grid = ruler(104.0, (3, 4))
    values = [F(1, 3)] * 6 + [F(3, 4), F(1, 4)] + [F(1, 3)] * 3 + [F(1), F(2)]
    (found,) = quantise([played(line(values), grid, jitter_s=0.01)], grid, RhythmSettings())
    assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in line(values)]


def test_a_fast_march_played_freely_has_no_lonely_sixteenth() -> None:
    """At 300 quarters a minute a sixteenth is 50 ms, about as much as a player strays."""
    grid = ruler(300.0)
    written = line([F(2), F(2), F(1), F(1), F(2)] * 6)
    (found,) = quantise([played(written, grid, jitter_s=0.012, key="trumpet")], grid, RhythmSettings())
    assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in written]


@pytest.mark.parametrize(("meter", "value"), [((3, 8), F(1, 4)), ((4, 4), F(1, 4)), ((4, 4), F(1, 3))])
def test_the_longer_a_run_the_less_a_note_that_strays_speaks_for_another_sort(
    meter: tuple[int, int], value: Fraction
) -> None:
    grid = ruler(87.0, meter)
    written = line([value] * 72)
    wrong = 0
    for seed in range(8):
        (found,) = quantise([played(written, grid, jitter_s=0.026, seed=seed)], grid, RhythmSettings())
        wrong += sum(note.onset_q % value != 0 for note in found.notes)
    assert wrong < 0.02 * 8 * len(written)
