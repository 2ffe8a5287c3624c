"""Ornaments: a short note before a longer one takes no time of its own."""

from __future__ import annotations

from score_pipeline.rhythm.quantise import quantise
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import Note, Track
from tests.rhythm.playing import F, line, played, ruler


def test_a_short_note_before_a_long_one_is_a_grace_note() -> None:
    notes = [
        Note(0.0, 0.48, 60, 80, "flute"),
        Note(0.45, 0.51, 64, 80, "flute"),
        Note(0.5, 0.98, 62, 80, "flute"),
        Note(1.01, 1.49, 64, 80, "flute"),
    ]
    (found,) = quantise([Track("flute", 1, tuple(notes))], ruler(), RhythmSettings())
    assert [(note.onset_q, note.note.pitch, note.grace) for note in found.notes] == [
        (0, 60, False),
        (1, 64, True),
        (1, 62, False),
        (2, 64, False),
    ]
    (plain,) = quantise([Track("flute", 1, tuple(notes))], ruler(), RhythmSettings(detail="plain"))
    assert [note.note.pitch for note in plain.notes] == [60, 62, 64]


def test_notes_of_a_fast_run_are_no_grace_notes() -> None:
    grid = ruler(60.0)
    written = line([F(1, 8)] * 16)
    (found,) = quantise([played(written, grid, jitter_s=0.004, held=0.9)], grid, RhythmSettings())
    assert not any(note.grace for note in found.notes)
