"""Excerpts of simulated performances with the true reading and others, for fitting the choice among readings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.rhythm_takes import Sheet, Take, play
from score_pipeline.rhythm.attacks import Attacks
from score_pipeline.rhythm.listener import Heard, load_listener
from score_pipeline.rhythm.metrical import Player, Reading, search
from score_pipeline.rhythm.priors import METERS, TICKS, bar_ticks, load_priors
from score_pipeline.rhythm.ranking import agreement, candidates, relatives

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHORTEST, LONGEST = 40, 300
"""Attacks of an excerpt."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A stretch of one meter: its `attacks`, how it is written (`truth`), and the `part` of what was `played` it is."""

    attacks: Attacks
    truth: Reading
    played: Take
    part: slice

    def heard(self) -> Heard:
        """What the listener makes of it, with the music around it."""
        return load_listener().hear(self.played.attacks).at(self.part)


def played_excerpt(sheet: Sheet, rng: np.random.Generator) -> Excerpt | None:
    """A stretch of one meter of a score as somebody plays it; None where the score holds none that is long enough."""
    played = play(sheet, rng, LONGEST + 30)
    if played is None:
        return None
    meter, tick = true_ticks(played)
    part = excerpt(meter, tick, rng)
    if part is None:
        return None
    true = METERS[meter[part.start]]
    place = tick[part] - tick[part.start] + tick[part.start] % bar_ticks(true)
    return Excerpt(played.attacks.at(part), Reading(true, place, 1.0, 0.0, 0.0), played, part)


def searched_readings(of: Excerpt, count: int, best: int, rng: np.random.Generator) -> tuple[list[Reading], Floats]:
    """`count` readings that would be chosen from in use, a search's and their relatives: the `best` ones and others.

    With the log likelihood per attack of their timing.
    """
    time_s = of.attacks.time_s
    found, timing = candidates(search(time_s, of.heard(), load_priors(), METERS, Player()), METERS)
    order = np.argsort(-agreement([of.truth, *found], time_s)[0, 1:], kind="stable")
    kept = np.concatenate([order[:best], rng.permutation(order[best:])[: count - best]])
    return [found[index] for index in kept.tolist()], timing[kept]


def false_readings(truth: Reading, count: int, slips: int, rng: np.random.Generator) -> list[Reading]:
    """`count` or fewer wrong readings: relatives of the true one, and `slips` with bars that slip by a beat or half."""
    family = [
        replace(truth, meter=meter, tick=tick)
        for meter, tick in relatives(truth.meter, truth.tick, METERS)
        if meter != truth.meter or not np.array_equal(tick, truth.tick)
    ]
    found = [family[int(index)] for index in rng.permutation(len(family))[: count - slips]]
    for _ in range(slips):
        base = truth if rng.random() < 0.5 or not found else found[int(rng.integers(len(found)))]
        slipped = base.tick.copy()
        beat = int(base.meter.beat_q * TICKS)
        slipped[int(rng.uniform(0.15, 0.8) * len(slipped)) :] += (
            beat * int(rng.integers(1, 3)) // int(rng.integers(1, 3))
        )
        found.append(replace(base, tick=slipped))
    return found


def true_ticks(played: Take) -> tuple[Ints, Ints]:
    """Meter (index, a negative number where bars are broken) of every attack, and ticks counting bars of it from 0."""
    stray = played.tick < 0
    absolute = np.round(np.where(stray, np.round(played.onset_q * 4) / 4, played.onset_q) * TICKS).astype(np.int64)
    absolute = np.maximum.accumulate(absolute)
    meter = np.where(stray, -1, played.meter)
    known = np.flatnonzero(~stray)
    if not len(known):
        return meter, absolute
    # an attack whose place is not known belongs to the bars around it
    before = known[np.maximum(np.searchsorted(known, np.arange(len(meter)), side="right") - 1, 0)]
    meter = meter[before]
    bar = np.array([*(bar_ticks(known_meter) for known_meter in METERS), TICKS])[meter]
    off = ((played.tick - absolute)[before]) % bar
    broken = (np.diff(off, prepend=off[:1]) != 0) | (meter == len(METERS))
    return np.where(broken, -2, meter), absolute + off


def excerpt(meter: Ints, tick: Ints, rng: np.random.Generator) -> slice | None:
    """A stretch of one meter without bars cut short, half of them from its beginning; None if all are too short."""
    edges = np.flatnonzero(np.diff(meter, prepend=-9, append=-9))
    runs = [
        (low, high)
        for low, high in pairwise(edges)
        if meter[low] >= 0 and high - low >= SHORTEST and tick[high - 1] - tick[low] > 2 * TICKS
    ]
    if not runs:
        return None
    low, high = runs[int(rng.integers(len(runs)))]
    length = int(min(high - low, rng.integers(SHORTEST, LONGEST + 1) if rng.random() < 0.5 else LONGEST))
    start = low if rng.random() < 0.6 else int(rng.integers(low, high - length + 1))
    return slice(int(start), int(start) + length)
