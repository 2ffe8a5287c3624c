"""Where notes may be written: every position near the music, with what it costs the reader.

Positions are whole ticks, of which a quarter has the same number all through a piece.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from score_pipeline.types import BeatGrid, Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_INNER_TRIPLET = 3.5
"""Cost of a triplet position inside an eighth."""
FINEST_DOUBLING = 3
"""How often the divisions may be doubled where notes would collide: sixteenths up to 128ths."""


@dataclass(frozen=True)
class Places:
    """All positions a note may take, in order: ticks, cost, quarter they belong to, 0 neutral / 1 duple / 2 triple."""

    ticks_per_quarter: int
    tick: Ints
    cost: Floats
    quarter: Ints
    kind: Ints


def places_of(
    grid: BeatGrid, divisions: Sequence[int], span: tuple[float, float], finer: defaultdict[int, int]
) -> Places:
    """Every position from a beat before the first attack to a beat after the last.

    `finer` says for a quarter (by its number from the grid's zero, rounded down) how often its divisions are doubled.
    """
    per_quarter = math.lcm(8, 5, 7, *divisions) * 2 ** (FINEST_DOUBLING + 1)
    beats, meters = _beats(grid, span)
    tick: list[int] = []
    cost: list[float] = []
    quarter: list[int] = []
    kind: list[int] = []
    patterns: dict[tuple[Meter, int], list[tuple[int, float, int]]] = {}
    for start, meter in zip(beats, meters, strict=True):
        beat_tick = int(start * per_quarter)
        for step in range(math.ceil(meter.beat_q)):
            first = beat_tick + step * per_quarter
            number = first // per_quarter
            level = finer[number]
            length = min(meter.beat_q - step, Fraction(1))
            key = (meter, level * 4 + int(length * 2))
            if key not in patterns:
                patterns[key] = _pattern(divisions, level, per_quarter, meter.beat_q.denominator == 1, length)
            for offset, price, sort in patterns[key]:
                tick.append(first + offset)
                cost.append(price + (0.3 if step and offset == 0 else 0.0))
                quarter.append(number)
                kind.append(sort)
    order = np.argsort(tick, kind="stable")
    return Places(
        per_quarter, np.array(tick)[order], np.array(cost)[order], np.array(quarter)[order], np.array(kind)[order]
    )


def _pattern(
    divisions: Sequence[int], level: int, per_quarter: int, triplets: bool, length: Fraction
) -> list[tuple[int, float, int]]:
    """(offset in ticks, cost, kind) within a quarter, or within the `length` of one that a beat cuts short."""
    found: dict[int, tuple[float, int]] = {}
    for division in divisions:
        # Where eighths are counted in threes a triplet fills an eighth, not a quarter.
        inner = division % 3 == 0 and not triplets
        for depth in range(level + 1):
            parts = division * 2 ** (depth + inner)
            for part in range(parts):
                fraction = Fraction(part, parts)
                if fraction >= length:
                    break
                price = max(_crookedness(fraction), _INNER_TRIPLET * (inner and fraction.denominator % 3 == 0))
                value = (int(fraction * per_quarter), price, _kind(fraction))
                found.setdefault(value[0], value[1:])
    return sorted((offset, *value) for offset, value in found.items())


def _crookedness(fraction: Fraction) -> float:
    """Cost of a position within its quarter, about -log of how much rarer than the quarter's start it is.

    Set by hand after counts of written music: eighths are about as common as quarters, sixteenths half of that,
    triplets an eighth, everything finer rare.
    """
    table = {1: 0.0, 2: 0.4, 4: 1.2, 3: 2.0, 8: 3.5, 6: 3.5}
    return table.get(fraction.denominator, 5.0)


def _kind(fraction: Fraction) -> int:
    """0 for positions duple and triple rhythms share, 1 duple, 2 triple."""
    if fraction.denominator % 3 == 0:
        return 2
    return 1 if fraction.denominator % 2 == 0 else 0


def _beats(grid: BeatGrid, span: tuple[float, float]) -> tuple[list[Fraction], list[Meter]]:
    """Beats of the grid (quarters and meters), continued on both sides to cover `span` and a beat more."""
    starts, meters = list(grid.beat_quarter), list(grid.meter)
    first, last = meters[0], meters[-1]
    before = max(math.ceil((float(starts[0]) - span[0]) / float(first.beat_q)) + 1, 1)
    after = max(math.ceil((span[1] - float(starts[-1])) / float(last.beat_q)) + 1, 1)
    starts = [
        *(starts[0] - k * first.beat_q for k in range(before, 0, -1)),
        *starts,
        *(starts[-1] + k * last.beat_q for k in range(1, after + 1)),
    ]
    meters = [first] * before + meters + [last] * after
    low, high = span[0] - 4, span[1] + 4
    kept = [index for index, start in enumerate(starts) if low <= start + meters[index].beat_q and start <= high]
    return [starts[index] for index in kept], [meters[index] for index in kept]


def exact_ticks(places: Places, span: tuple[float, float]) -> Ints:
    """Ticks of all places, and of the fifths and sevenths of every quarter in `span`: where written notes may be."""
    quarters = np.arange(math.floor(span[0]), math.ceil(span[1]) + 1) * places.ticks_per_quarter
    parts = [places.ticks_per_quarter * part // whole for whole in (5, 7) for part in range(whole)]
    return np.union1d(places.tick, np.add.outer(quarters, parts))


def nearest(sorted_values: Ints, wanted: Floats) -> Ints:
    """Index of the nearest of `sorted_values` for each wanted value."""
    right = np.clip(np.searchsorted(sorted_values, wanted), 1, len(sorted_values) - 1)
    nearer_left = wanted - sorted_values[right - 1] <= sorted_values[right] - wanted
    return np.asarray(right - nearer_left, dtype=np.int64)
