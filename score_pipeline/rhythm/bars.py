"""Bars of a grid as the quantiser needs them: where in its bar a position is, and which values take ties there."""

from __future__ import annotations

import math
from bisect import bisect_right
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from score_pipeline.types import BeatGrid, Meter


class Bars:
    """The bars of a grid; the first and the last one's meters go on outside it."""

    def __init__(self, grid: BeatGrid) -> None:
        downbeats = [k for k, number in enumerate(grid.beat_number.tolist()) if number == 1] or [0]
        quarters = grid.beat_quarter.tolist()
        self._starts: list[Fraction] = [quarters[k] for k in downbeats]
        self._meters = [grid.meter[k] for k in downbeats]

    def place(self, quarter: Fraction) -> tuple[Fraction, Meter]:
        """Quarters from the start of the bar that `quarter` falls into, and the bar's meter."""
        index = max(bisect_right(self._starts, quarter) - 1, 0)
        meter = self._meters[index]
        return (quarter - self._starts[index]) % meter.bar_q, meter


@lru_cache(maxsize=1 << 14)
def hides_a_beat(place: Fraction, value: Fraction, meter: Meter) -> bool:
    """Whether a note of `value` quarters that begins `place` quarters into its bar, off the beat, lasts over a beat."""
    beat = _beat(meter)
    return place % beat != 0 and (place // beat + 1) * beat < place + value


@lru_cache(maxsize=1 << 14)
def ties(place: Fraction, value: Fraction, meter: Meter) -> int:
    """About how many ties a note of `value` quarters takes that begins `place` quarters into its bar.

    One for every bar line, and one for each stretch between them that no single symbol writes or that would hide a
    beat: a syncopation begins on half a beat, in a simple meter, and crosses one beat, not the middle of 4/4.
    """
    lines = math.ceil((place + value) / meter.bar_q) - 1
    walls = [place, *(meter.bar_q * (line + 1) for line in range(lines)), place + value]
    return lines + sum(_is_broken(start % meter.bar_q, end - start, meter) for start, end in pairwise(walls))


def _is_broken(place: Fraction, length: Fraction, meter: Meter) -> bool:
    beat = _beat(meter)
    end = place + length
    crossed = math.ceil(end / beat) - math.floor(place / beat) - 1
    if place.denominator % 3 == 0 or length.denominator % 3 == 0:
        return crossed > 0  # thirds inside one beat are one symbol
    if crossed and place % beat:
        over_the_middle = meter.bar_q == 4 and place < 2 < end
        if meter.is_compound or place % (beat / 2) or crossed > 1 or over_the_middle:
            return True
    odd = length.numerator // (length.numerator & -length.numerator)
    return odd not in (1, 3, 7)


def _beat(meter: Meter) -> Fraction:
    """What a reader counts: beats, and the quarters of 2/2."""
    return meter.beat_q if meter.is_compound else min(meter.beat_q, Fraction(1))
