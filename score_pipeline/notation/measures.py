"""Bars: cut from the beat grid, and stretched until every note has one.

Conventions
-----------
A `Bar` starts at `start_q` quarters from the first downbeat. `offset_q` is where its start lies within a full bar of
its meter: zero everywhere but in a pickup, whose one beat of 3/4 is the third.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from score_pipeline.notation.stretches import even_stretches
from score_pipeline.types import BeatGrid, Meter, Tempo

_CHANGE = 0.08
"""A tempo mark is worth its ink when the beat changes by more than this; players' ordinary freedom stays below."""

_SHORTEST_TEMPO_BARS = 4
"""A mark holds at least this long; shorter changes are expression, not tempo."""


@dataclass(frozen=True)
class Bar:
    """One bar of the piece, the same for all parts."""

    number: int
    start_q: Fraction
    length_q: Fraction
    meter: Meter
    offset_q: Fraction = Fraction(0)

    @property
    def end_q(self) -> Fraction:
        """Quarter position of its end."""
        return self.start_q + self.length_q


def bars_of(grid: BeatGrid, first_q: Fraction, last_q: Fraction) -> list[Bar]:
    """Bars that follow the grid and cover first_q..last_q; empty bars after the last note are left out.

    A bar inside the piece whose beats do not fit its meter gets the meter that its beats make.
    """
    bars = _bars_of_beats(grid)
    while bars[0].start_q > first_q:
        bars = _one_more_before(bars)
    while bars[-1].end_q < last_q:
        last = bars[-1]
        bars.append(Bar(last.number + 1, last.end_q, last.meter.bar_q, last.meter))
    while len(bars) > 1 and bars[-1].start_q >= last_q:
        bars.pop()
    return bars


def bars_of_page(grid: BeatGrid, first_q: Fraction, last_q: Fraction) -> list[Bar]:
    """As `bars_of`, without silence before the music; a host's bars stay as they are.

    A tracker may hear beats before anybody plays: a pickup starts with its first note, on a whole eighth where the
    meter counts those, else on a whole quarter, and is left out where nobody plays in it.
    """
    bars = bars_of(grid, first_q, last_q)
    pickup = bars[0]
    if len(bars) < 2 or pickup.offset_q == 0:
        return bars
    if pickup.end_q <= first_q:
        return bars[1:]
    step = Fraction(1, 2) if pickup.meter.unit > 4 else Fraction(1)
    silent = (first_q - pickup.start_q) // step * step
    if silent <= 0 or grid.source == "host":
        return bars
    shorter = replace(
        pickup,
        start_q=pickup.start_q + silent,
        length_q=pickup.length_q - silent,
        offset_q=pickup.offset_q + silent,
    )
    return [shorter, *bars[1:]]


def _bars_of_beats(grid: BeatGrid) -> list[Bar]:
    """The grid's own bars; the last one is completed to its meter."""
    quarters = grid.beat_quarter.tolist()
    downbeats = [index for index, number in enumerate(grid.beat_number) if number == 1]
    starts = downbeats if downbeats[:1] == [0] else [0, *downbeats]
    bars: list[Bar] = []
    for index, start in enumerate(starts):
        meter, number = grid.meter[start], int(grid.bar_number[start])
        if index + 1 == len(starts):
            length = meter.bar_q
            if len(starts) == 1 and downbeats != [0]:
                length -= (int(grid.beat_number[start]) - 1) * meter.beat_q
        else:
            length = quarters[starts[index + 1]] - quarters[start]
        offset = Fraction(0)
        if index == 0 and downbeats[:1] != [0] and length < meter.bar_q:
            offset = meter.bar_q - length
        elif length != meter.bar_q:
            meter = meter_of_length(length, meter)
        bars.append(Bar(number, quarters[start], length, meter, offset))
    return bars


def meter_of_length(length_q: Fraction, meter: Meter) -> Meter:
    """A meter with the unit of `meter` (or a finer one) whose bar is `length_q` long."""
    unit = meter.unit
    while (length_q * unit / 4).denominator != 1 and unit < 32:
        unit *= 2
    return Meter(max(1, round(length_q * unit / 4)), unit)


def _one_more_before(bars: list[Bar]) -> list[Bar]:
    """Music before the first bar: a pickup is filled up beat by beat, then whole bars are put in front."""
    first = bars[0]
    if first.offset_q > 0:
        step = min(first.meter.beat_q, first.offset_q)
        grown = replace(
            first, start_q=first.start_q - step, length_q=first.length_q + step, offset_q=first.offset_q - step
        )
        return [grown, *bars[1:]]
    step = first.meter.beat_q
    return [
        Bar(first.number - 1, first.start_q - step, step, first.meter, first.meter.bar_q - step),
        *bars,
    ]


def bar_at(starts: Sequence[Fraction], quarter: Fraction) -> int:
    """Index of the bar whose start is the last one not after `quarter`."""
    return max(0, bisect_right(starts, quarter) - 1)


def tempos_of(grid: BeatGrid, bars: Sequence[Bar]) -> tuple[Tempo, ...]:
    """Tempo marks: one at the start and one wherever the beat changes for good.

    The bars' tempos are read off the grid and split where the mean of the bars before and after differs most; a split
    stays when it changes the beat by more than 8 % and both sides last four bars (a host's grid: always).
    """
    edges_s = grid.to_seconds([float(bar.start_q) for bar in bars] + [float(bars[-1].end_q)])
    quarters_per_minute = [
        60 * float(bar.length_q) / (end - start)
        for bar, start, end in zip(bars, edges_s[:-1], edges_s[1:], strict=True)
    ]
    shortest = 1 if grid.source == "host" else _SHORTEST_TEMPO_BARS
    change = 0.005 if grid.source == "host" else _CHANGE
    starts = even_stretches(np.log(quarters_per_minute), shortest, float(np.log1p(change)))
    marks = []
    for start, end in zip(starts, [*starts[1:], len(bars)], strict=True):
        meter = bars[start].meter
        quarters = sum((bar.length_q for bar in bars[start:end]), Fraction(0))
        per_minute = 60 * float(quarters) / float(edges_s[end] - edges_s[start])
        marks.append(Tempo(bars[start].start_q, per_minute / float(meter.beat_q), meter.beat_q))
    return tuple(marks)
