"""Values: how long notes are written, however they were held."""

from __future__ import annotations

from fractions import Fraction

import pytest

from score_pipeline.rhythm.quantise import quantise
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import Track
from tests.rhythm.playing import F, line, played, ruler, shape


def test_short_notes_in_a_row_are_staccato_and_held_ones_are_not() -> None:
    grid = ruler()
    for held, expected in ((0.5, True), (0.95, False)):
        (found,) = quantise([played(line([F(1)] * 12), grid, jitter_s=0.01, held=held)], grid, RhythmSettings())
        assert [note.duration_q for note in found.notes] == [F(1)] * 12
        assert all(note.staccato == expected for note in found.notes)


def test_a_tune_is_held_to_its_own_next_note_over_an_accompaniment() -> None:
    """Let go early, it ends where the other hand goes on; that is no place for a rest in the tune."""
    grid = ruler(90.0)
    tune = [(F(4 * bar + at), value, 76 + bar) for bar in range(8) for at, value in ((0, F(3)), (3, F(1)))]
    chords = [(F(k, 2), F(1, 2), pitch) for k in range(64) for pitch in (48, 52)]
    notes = (*played(tune, grid, held=0.82, key="piano").notes, *played(chords, grid, held=0.95, key="piano").notes)
    (found,) = quantise([Track("piano", 1, notes)], grid, RhythmSettings())
    assert [note.duration_q for note in found.notes if note.note.pitch >= 76] == [3, 1] * 8


def test_leaps_of_a_bow_are_one_line() -> None:
    """Strings ring on; a note is not held over the leap to the next."""
    grid = ruler(80.0)
    written = [(F(k, 4), F(1, 4), (83, 61, 81, 64)[k % 4]) for k in range(32)]
    (found,) = quantise([played(written, grid, jitter_s=0.008, held=1.25)], grid, RhythmSettings())
    assert [note.duration_q for note in found.notes[:-1]] == [F(1, 4)] * 31


def test_a_last_note_off_the_beat_ends_on_one() -> None:
    """Not a sixteenth after it, with a tie, and a sixteenth's rest."""
    grid = ruler(90.0)
    written = [*line([F(1, 4)] * 11), (F(11, 4), F(5, 4), 60)]
    (found,) = quantise([played(written, grid, jitter_s=0.008, held=0.9, key="horn")], grid, RhythmSettings())
    assert shape(found)[-1] == written[-1]


@pytest.mark.parametrize("held", [0.9, 1.0])
@pytest.mark.parametrize("step", [F(1, 4), F(1, 2)])
def test_short_notes_between_the_beats_leave_the_beats_to_rests(step: Fraction, held: float) -> None:
    """Not syncopated eighths with a dot each, tied over every beat."""
    grid = ruler(90.0, (2, 4))
    after_beat = [(step * (2 * k + 1), step, 60 + k % 5) for k in range(32)]
    (found,) = quantise([played(after_beat, grid, jitter_s=0.008, held=held)], grid, RhythmSettings())
    assert shape(found)[:-1] == after_beat[:-1]


def test_a_chord_let_go_raggedly_is_written_as_one() -> None:
    """Three fingers leave within a third of a quarter, while another hand goes on in sixteenths."""
    grid = ruler(90.0)
    tune = played([(F(k, 4), F(1, 4), 72 + k % 5) for k in range(64)], grid, key="piano", jitter_s=0.004).notes
    chords = [
        played([(F(4 * bar), F(2), pitch)], grid, key="piano", held=held).notes[0]
        for bar in range(4)
        for pitch, held in ((45, 1.0), (52, 0.92), (57, 0.85))
    ]
    (found,) = quantise([Track("piano", 1, (*tune, *chords))], grid, RhythmSettings())
    lengths = {
        bar: {n.duration_q for n in found.notes if n.note in chords and n.onset_q == 4 * bar} for bar in range(4)
    }
    assert all(len(of_chord) == 1 for of_chord in lengths.values())
