"""Played notes to exact score positions: the cheapest notation that explains what was played.

Conventions
-----------
Everything here happens in quarters of the grid, never in seconds, so a recording stretched together with its grid
gives the same score. Positions are whole ticks while they are searched for and `Fraction` when they leave.

The order of decisions, each in its own module: ornaments (`graces`), what is struck together (`clusters`), where it may
be written (`places`), where it is (`path`), what no plain place explains (`tuplets`), and how long it lasts (`values`).
Notes that all sit on the grid exactly were written, not played, and keep their places and lengths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from score_pipeline.instruments import instrument
from score_pipeline.rhythm.bars import Bars
from score_pipeline.rhythm.clusters import EXACT_Q, Cluster, Played, clusters_of, in_quarters
from score_pipeline.rhythm.graces import grace_notes
from score_pipeline.rhythm.path import cheapest_path
from score_pipeline.rhythm.places import FINEST_DOUBLING, Ints, exact_ticks, nearest, places_of
from score_pipeline.rhythm.tuplets import tuplets_of
from score_pipeline.rhythm.values import Placed, written_values
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import BeatGrid, QuantisedNote, QuantisedTrack, Track

_GRACE = Fraction(1, 8)
"""How long a grace note is played, in quarters."""


@dataclass(frozen=True)
class _Onsets:
    """Where the clusters begin: their ticks, those of a quarter, and the ticks to the next note in a tuplet (by note).

    `exact` says that all notes sat on the grid, as no player's do.
    """

    tick: Ints
    ticks_per_quarter: int
    step_in_tuplet: dict[int, int]
    exact: bool


def quantise(tracks: Sequence[Track], grid: BeatGrid, settings: RhythmSettings) -> list[QuantisedTrack]:
    """Put every note of every track on the grid; one `QuantisedTrack` per track, in the same order.

    No note is lost except a second note of the same pitch that falls on the same position of the same track (a
    double trigger): the longer one stays. Durations are positive, notes of one pitch never overlap within a track,
    and instruments that play one note at a time never overlap at all; where one has more notes on a position than
    the finest division can part, they are left as a chord.
    """
    played = in_quarters(tracks, grid)
    if not played:
        return [QuantisedTrack(track.instrument, track.player, ()) for track in tracks]
    principal = grace_notes(played)
    clusters = clusters_of(played, principal)
    onsets = _onsets(played, clusters, grid, settings)
    placed = _placed(played, clusters, onsets)
    bars = Bars(grid)
    result = []
    for number, track in enumerate(tracks):
        row = instrument(track.instrument)
        line = placed[number]
        values = written_values([note for note, _ in line], row, bars, onsets.exact)
        notes = [
            QuantisedNote(note.onset_q, length, played[index].note, staccato=staccato)
            for (note, index), (length, staccato) in zip(line, values, strict=True)
        ]
        if settings.detail != "plain":
            onset = {index: note.onset_q for note, index in line}
            notes += [
                QuantisedNote(onset[after], _GRACE, played[index].note, grace=True)
                for index, after in principal.items()
                if after in onset
            ]
        # grace notes keep the order they were played in, before the note they belong to
        notes.sort(
            key=lambda item: (item.onset_q, not item.grace, item.note.onset_s if item.grace else item.note.pitch)
        )
        result.append(QuantisedTrack(track.instrument, track.player, tuple(notes)))
    return result


def _onsets(played: Sequence[Played], clusters: Sequence[Cluster], grid: BeatGrid, settings: RhythmSettings) -> _Onsets:
    """Where every cluster is written."""
    at = np.array([cluster.at for cluster in clusters])
    span = (float(at.min()), float(at.max()))
    written = places_of(grid, settings.divisions, span, defaultdict(lambda: FINEST_DOUBLING))
    ticks = exact_ticks(written, span)
    exact = ticks[nearest(ticks, at * written.ticks_per_quarter)]
    deviation = [
        played[index].onset - tick / written.ticks_per_quarter
        for cluster, tick in zip(clusters, exact.tolist(), strict=True)
        for index in cluster.notes
    ]
    if np.abs(deviation).max(initial=0.0) < EXACT_Q:
        return _Onsets(exact, written.ticks_per_quarter, {}, exact=True)
    path = cheapest_path(played, clusters, grid, settings.divisions)
    found = path.places.tick[path.chosen]
    step: dict[int, int] = {}
    if settings.detail != "plain" and settings.finest_divisions is None:
        for tuplet in tuplets_of(path, played, clusters, grid):
            found[list(tuplet.clusters)] = tuplet.tick + tuplet.step * np.arange(len(tuplet.clusters))
            members = (index for cluster in tuplet.clusters for index in clusters[cluster].notes)
            step.update({index: tuplet.step for index in members if played[index].track == tuplet.track})
    return _Onsets(np.maximum.accumulate(found), path.places.ticks_per_quarter, step, exact=False)


def _placed(
    played: Sequence[Played], clusters: Sequence[Cluster], onsets: _Onsets
) -> dict[int, list[tuple[Placed, int]]]:
    """Every track's notes at their places with their indices, by onset and pitch; of doubles the longest."""
    chosen: dict[tuple[int, int, int], tuple[int, float]] = {}
    for cluster, tick in zip(clusters, onsets.tick.tolist(), strict=True):
        late = cluster.at - tick / onsets.ticks_per_quarter
        for index in cluster.notes:
            key = (played[index].track, tick, played[index].note.pitch)
            other = chosen.get(key)
            if other is None or played[other[0]].offset < played[index].offset:
                chosen[key] = (index, late)
    lines: dict[int, list[tuple[Placed, int]]] = defaultdict(list)
    for (track, tick, pitch), (index, late) in sorted(chosen.items()):
        onset = Fraction(tick, onsets.ticks_per_quarter)
        sounded = max(played[index].offset - late - float(onset), 1e-3)
        step = onsets.step_in_tuplet.get(index)
        in_tuplet = None if step is None else Fraction(step, onsets.ticks_per_quarter)
        lines[track].append((Placed(onset, pitch, sounded, in_tuplet), index))
    return lines
