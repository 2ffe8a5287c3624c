"""The cheapest path of a piece's clusters through the places near them: a Viterbi search.

It pays for distance (less where the neighbours stray the same way, because a player who is late stays late), for
crooked places, for duple and triple notes in one quarter, for a triplet or a sixteenth on its own. A quarter is divided
further than the settings say only where one player's successive notes would otherwise fall together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from score_pipeline.rhythm.clusters import Cluster, Played, follows
from score_pipeline.rhythm.places import FINEST_DOUBLING, Floats, Ints, Places, nearest, places_of
from score_pipeline.types import BeatGrid

_REACH_Q = 0.34
"""How far from where it was played a note may be written."""
_SPREAD_Q = (0.02, 0.07)
"""Bounds of the deviation of onsets from their positions; in between it is measured on the notes themselves."""
_FOLLOW = 0.5
"""How much of the last cluster's deviation the next one is expected to share."""
_CLASH = 4.0
"""Cost of a duple and a triple position in one quarter."""
_COLLISION = 12.0
"""Cost of one player's successive notes on one position; only a finer division escapes it."""
_LONELY, _ALONE = 2.5, 4
"""Further cost of a triplet, or of a sixteenth, with none in as many quarters before and after it."""
_MINORITY, _AROUND = 2.0, 8
"""Further cost of a triplet among sixteenths, or a sixteenth among triplets, times the natural logarithm of how many
more quarters have the other sort, of as many before and after it."""
_PASSES = 2
"""How often that is looked at again: the fewer there are, the less is spoken for those that are left."""


@dataclass(frozen=True)
class Path:
    """The place chosen for every cluster, as an index into `places`; `spread_q` is how far the players stray."""

    places: Places
    chosen: Ints
    spread_q: float


def cheapest_path(
    played: Sequence[Played], clusters: Sequence[Cluster], grid: BeatGrid, divisions: Sequence[int]
) -> Path:
    """The clusters' places, of which each quarter has `divisions`, doubled where they are too few."""
    at = np.array([cluster.at for cluster in clusters])
    span = (float(at.min()), float(at.max()))
    successive = _successive(played, clusters)
    finer: defaultdict[int, int] = defaultdict(int)
    while True:
        places = places_of(grid, divisions, span, finer)
        spread = _spread(places, at)
        chosen = _viterbi(places, at, spread, successive)
        for _ in range(_PASSES):
            further = _LONELY * _lonely(places, chosen) + _MINORITY * _outnumbered(places, chosen)
            if not further.any():
                break
            chosen = _viterbi(replace(places, cost=places.cost + further), at, spread, successive)
        crowded = _crowded(places, chosen, played, clusters)
        stuck = {quarter for quarter in crowded if finer[quarter] >= FINEST_DOUBLING}
        if not crowded - stuck:
            return Path(places, chosen, spread)
        for quarter in crowded - stuck:
            finer[quarter] += 1


def _lonely(places: Places, chosen: Ints) -> NDArray[np.bool_]:
    """Triplets' and sixteenths' places in quarters near which the path has no others: most are a player's freedom."""
    return np.asarray(
        np.any([sort & (_quarters_with(sort, places, chosen, _ALONE) < 2) for sort in _sorts(places)], axis=0)
    )


def _outnumbered(places: Places, chosen: Ints) -> Floats:
    """log of how many more quarters around have sixteenths, for triplets' places, or triplets, for sixteenths'."""
    triple, fine = _sorts(places)
    triples, fines = (_quarters_with(sort, places, chosen, _AROUND) + 1.0 for sort in (triple, fine))
    ratio = np.log(fines / triples)
    return np.where(triple, np.maximum(ratio, 0.0), np.where(fine, np.maximum(-ratio, 0.0), 0.0))


def _sorts(places: Places) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which places are triplets', and which are sixteenths' or finer."""
    return places.kind == 2, (places.kind == 1) & (places.tick * 2 % places.ticks_per_quarter != 0)


def _quarters_with(sort: NDArray[np.bool_], places: Places, chosen: Ints, reach: int) -> Ints:
    """For each place: in how many quarters, of `reach` before and after it, the path uses a place of that sort."""
    used = np.unique(places.quarter[chosen[sort[chosen]]])
    return np.searchsorted(used, places.quarter + reach + 1) - np.searchsorted(used, places.quarter - reach)


def _spread(places: Places, at: Floats) -> float:
    """Standard deviation of onsets from positions, at the median of their deviations.

    Measured on sixteenths or on triplets, in every quarter on those that fit its onsets better: a gigue written in
    triplets strays from all sixteenths, however exactly it is played.
    """
    quarter = np.floor(at + 0.25).astype(np.int64)
    quarter -= quarter.min()
    strays = []
    for kinds in ((0, 1), (0, 2)):
        fine = places.tick[np.isin(places.kind, kinds)]
        strays.append(np.abs(at - fine[nearest(fine, at * places.ticks_per_quarter)] / places.ticks_per_quarter))
    duple, triple = (np.bincount(quarter, np.square(stray)) for stray in strays)
    stray = np.where((triple < duple)[quarter], strays[1], strays[0])
    return float(np.clip(1.4826 * np.median(stray), *_SPREAD_Q))


def _successive(played: Sequence[Played], clusters: Sequence[Cluster]) -> NDArray[np.bool_]:
    """For every cluster: whether a player of the cluster before it goes on to another note in it."""
    return np.array(
        [False]
        + [
            any(follows(played[a], played[b]) for a in before.notes for b in after.notes)
            for before, after in pairwise(clusters)
        ]
    )


def _crowded(places: Places, chosen: Ints, played: Sequence[Played], clusters: Sequence[Cluster]) -> set[int]:
    """Quarters in which one player's successive notes were put on one position."""
    crowded: set[int] = set()
    here: list[int] = []
    for j, place in enumerate(chosen.tolist()):
        if here and chosen[here[-1]] != place:
            here = []
        if any(follows(played[a], played[b]) for i in here for a in clusters[i].notes for b in clusters[j].notes):
            # The neighbour may have been pushed here from the quarter before, so both get more room.
            crowded.update({int(places.quarter[place]), math.floor(clusters[here[0]].at), math.floor(clusters[j].at)})
        here.append(j)
    return crowded


def _viterbi(places: Places, at: Floats, spread: float, successive: NDArray[np.bool_]) -> Ints:
    """Viterbi: index into `places` of every cluster, never going back."""
    position = places.tick / places.ticks_per_quarter
    low = np.searchsorted(position, at - _REACH_Q)
    high = np.searchsorted(position, at + _REACH_Q)
    closest = nearest(places.tick, at * places.ticks_per_quarter)
    # A path must exist: the floor of each window never falls below the one before it, nor its top above the next.
    low = np.minimum(np.maximum.accumulate(np.minimum(low, closest)), closest)
    high = np.maximum(high, closest + 1)
    inverse = 0.5 / spread**2
    backpointers: list[Ints] = []
    total = np.zeros(1)
    for j in range(len(at)):
        now = np.arange(low[j], high[j])
        stray = at[j] - position[now]
        alone = places.cost[now] + (1 - _FOLLOW) * inverse * stray**2
        if j == 0:
            total = alone + _FOLLOW * inverse * stray**2
        else:
            last = np.arange(low[j - 1], high[j - 1])
            change = stray[None, :] - (at[j - 1] - position[last])[:, None]
            step = _FOLLOW * inverse * change**2
            step += np.where(last[:, None] > now[None, :], 1e6 * (last[:, None] - now[None, :]), 0.0)
            same_quarter = places.quarter[last][:, None] == places.quarter[now][None, :]
            step += _CLASH * (same_quarter & (places.kind[last][:, None] + places.kind[now][None, :] == 3))
            if successive[j]:
                step += _COLLISION * (last[:, None] == now[None, :])
            whole = total[:, None] + step
            best = np.argmin(whole, axis=0)
            backpointers.append(best)
            total = whole[best, np.arange(len(now))] + alone
    path = np.empty(len(at), dtype=np.int64)
    state = int(np.argmin(total))
    for j in range(len(at) - 1, -1, -1):
        path[j] = low[j] + state
        if j:
            state = int(backpointers[j - 1][state])
    return np.asarray(np.maximum.accumulate(path))
