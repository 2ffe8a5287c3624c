"""Clusters: what was struck together is written together."""

from __future__ import annotations

from score_pipeline.rhythm.quantise import quantise
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import Note, Track
from tests.rhythm.playing import F, line, played, ruler


def test_parts_that_strike_together_are_written_together() -> None:
    grid = ruler(90.0)
    tune = line([F(1), F(1, 2), F(1, 2), F(2)] * 4)
    bass = [(onset, value, pitch - 24) for onset, value, pitch in tune]
    late = Track("cello", 1, tuple(
        Note(n.onset_s + 0.025, n.offset_s + 0.025, n.pitch, 80, "cello") for n in played(bass, grid).notes
    ))  # fmt: skip
    upper, lower = quantise([played(tune, grid, jitter_s=0.01), late], grid, RhythmSettings())
    assert [note.onset_q for note in upper.notes] == [note.onset_q for note in lower.notes]


def test_a_chord_spread_by_the_hand_stays_a_chord() -> None:
    grid = ruler(100.0)
    notes = [Note(2.4 + 0.018 * k, 3.5, pitch, 80, "piano") for k, pitch in enumerate((48, 55, 64, 72))]
    others = played(line([F(1)] * 4), grid, key="piano").notes
    (found,) = quantise([Track("piano", 1, (*others, *notes))], grid, RhythmSettings())
    assert {note.onset_q for note in found.notes if note.note in notes} == {F(4)}
