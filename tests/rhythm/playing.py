"""Lines as they are written, and as somebody plays them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from score_pipeline.rhythm.tempo_map import grid_from_tempo_map, parse_tempo_map
from score_pipeline.types import BeatGrid, Note, QuantisedTrack, Track

WRITTEN = list[tuple[Fraction, Fraction, int]]
F = Fraction


def ruler(bpm: float = 120.0, meter: tuple[int, int] = (4, 4), duration_s: float = 60.0) -> BeatGrid:
    """An even grid from 0 s."""
    return grid_from_tempo_map(
        parse_tempo_map(
            {"tempo": [{"quarter": 0, "bpm": bpm}], "meter": [{"quarter": 0, "beats": meter[0], "unit": meter[1]}]}
        ),
        duration_s,
    )


def played(
    written: WRITTEN, grid: BeatGrid, *, jitter_s: float = 0.0, held: float = 1.0, key: str = "violin", seed: int = 0
) -> Track:
    """`written` (onset, value, pitch) as a player with `jitter_s` would sound it."""
    rng = np.random.default_rng(seed)
    notes = []
    for onset, value, pitch in written:
        start = max(float(grid.to_seconds(float(onset))) + rng.normal(0, jitter_s), 0.0)
        end = float(grid.to_seconds(float(onset) + held * float(value)))
        notes.append(Note(start, max(end, start + 0.02), pitch, 80, key))
    return Track(key, 1, tuple(notes))


def line(values: list[Fraction], start: int = 0) -> WRITTEN:
    """A melody of these values without rests, every pitch another than the one before."""
    result, at = [], F(start)
    for index, value in enumerate(values):
        result.append((at, value, 60 + 2 * (index % 7)))
        at += value
    return result


def shape(track: QuantisedTrack) -> WRITTEN:
    return [(note.onset_q, note.duration_q, note.note.pitch) for note in track.notes]
