"""Tuplets of five, six and seven: looked for after the path, since nobody else shares their places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from score_pipeline.rhythm.clusters import Cluster, Played
from score_pipeline.rhythm.path import Path
from score_pipeline.rhythm.places import Floats
from score_pipeline.types import BeatGrid

_TUPLETS = ((5, 1), (6, 1), (7, 1), (5, 2), (7, 2))
"""Notes and quarters of the tuplets looked for."""
_TUPLET = 9.0
"""What a tuplet costs the reader: the path's own cost for the notes must exceed it."""


@dataclass(frozen=True)
class Tuplet:
    """Even notes of one track: their clusters, the tick of the first, and the ticks from one to the next."""

    track: int
    clusters: tuple[int, ...]
    tick: int
    step: int


def tuplets_of(path: Path, played: Sequence[Played], clusters: Sequence[Cluster], grid: BeatGrid) -> list[Tuplet]:
    """A track's notes that fill a quarter or a half evenly, where that costs clearly less than what the path found."""
    places, chosen = path.places, path.chosen
    at = np.array([cluster.at for cluster in clusters])
    inverse = 0.5 / path.spread_q**2
    position = places.tick[chosen] / places.ticks_per_quarter
    late = _median_around(at - position)
    plain = places.cost[chosen] + inverse * (at - late - position) ** 2
    of_track: dict[int, list[int]] = defaultdict(list)
    for index, cluster in enumerate(clusters):
        for track in {played[note].track for note in cluster.notes}:
            of_track[track].append(index)
    starts = _starts(grid)
    found: list[Tuplet] = []
    for track, line in of_track.items():
        times = at[line] - late[line]
        for count, quarters in _TUPLETS:
            step = quarters / count
            for start in starts[quarters]:
                low, high = np.searchsorted(times, [start - step / 2, start + quarters - step / 2]).tolist()
                members = line[low:high]
                if len(members) != count:
                    continue
                even = start + step * np.arange(count)
                if _TUPLET + inverse * np.sum((at[members] - late[members] - even) ** 2) < np.sum(plain[members]):
                    first = round(start * places.ticks_per_quarter)
                    ticks = quarters * places.ticks_per_quarter // count
                    found.append(Tuplet(track, tuple(members), first, ticks))
                    plain[members] = 0.0  # spoken for
    return found


def _median_around(deviation: Floats) -> Floats:
    """Median of the deviations around every attack: how late the players are there."""
    side = 8
    padded = np.pad(deviation, side, mode="reflect" if len(deviation) > side else "edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1), axis=1))


def _starts(grid: BeatGrid) -> dict[int, list[float]]:
    """Quarters and halves of the grid's simple meters, by their length in quarters."""
    starts: dict[int, list[float]] = {1: [], 2: []}
    for at, number, meter in zip(grid.beat_quarter.tolist(), grid.beat_number.tolist(), grid.meter, strict=True):
        if meter.is_compound or meter.unit > 4:
            continue
        for step in range(int(meter.beat_q)):
            starts[1].append(float(at + step))
            in_bar = (number - 1) * meter.beat_q + step
            if meter.bar_q in (2, 4) and in_bar % 2 == 0:
                starts[2].append(float(at + step))
    return starts
