"""Notes on the grid's clock, and which of them were struck together.

Everything is in quarters of the grid, so that nothing here knows a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from score_pipeline.instruments import instrument
from score_pipeline.types import BeatGrid, Note, Track

EXACT_Q = 1e-4
"""No player is this exact (50 microseconds at 120 quarters per minute); a sequencer is."""
_CHORD_Q = 0.05
"""Onsets this close to the first of a cluster are one attack: 25 ms at 120 quarters per minute."""


@dataclass(frozen=True)
class Played:
    """A note in quarters, the track it belongs to, and whether whoever plays it has one note at a time."""

    track: int
    note: Note
    onset: float
    offset: float
    alone: bool


@dataclass(frozen=True)
class Cluster:
    """Notes struck together: indices into the flat list of notes, and where, in quarters."""

    notes: tuple[int, ...]
    at: float


def in_quarters(tracks: Sequence[Track], grid: BeatGrid) -> list[Played]:
    """The notes of all tracks, one track after the other."""
    return [
        Played(number, note, onset, offset, instrument(track.instrument).polyphony == 1)
        for number, track in enumerate(tracks)
        for note, onset, offset in zip(
            track.notes,
            grid.to_quarters([note.onset_s for note in track.notes]).tolist(),
            grid.to_quarters([note.offset_s for note in track.notes]).tolist(),
            strict=True,
        )
    ]


def clusters_of(played: Sequence[Played], graces: Mapping[int, int]) -> list[Cluster]:
    """Gather onsets of all tracks, grace notes aside; no cluster holds two notes that one player plays in turn."""
    order = sorted(
        (index for index in range(len(played)) if index not in graces),
        key=lambda index: (played[index].onset, played[index].note.pitch),
    )
    clusters: list[Cluster] = []
    members: list[int] = []
    taken: set[tuple[int, int]] = set()

    def close() -> None:
        if members:
            clusters.append(Cluster(tuple(members), float(np.median([played[i].onset for i in members]))))

    for index in order:
        item = played[index]
        key = (item.track, -1 if item.alone else item.note.pitch)
        if members and (item.onset - played[members[0]].onset > _CHORD_Q or key in taken):
            close()
            members, taken = [], set()
        members.append(index)
        taken.add(key)
    close()
    return clusters


def follows(first: Played, second: Played) -> bool:
    """Whether `second` comes after `first` in one player's line, rather than with it in a (broken) chord."""
    if first.track != second.track:
        return False
    gap = second.onset - first.onset
    if first.note.pitch == second.note.pitch:
        return gap > _CHORD_Q
    return first.alone or (gap > _CHORD_Q and first.offset - second.onset < 0.5 * gap)
