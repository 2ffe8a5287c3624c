"""Which of several readings of a piece a musician would write.

The search adds up steps as if they were independent, so it is too sure about the level (eighths or sixteenths?) and
about the bar (two beats or four?). Here the readings that differ from a found one in level, meter or first beat alone
stand beside it, and a network that sees whole bars (`critic`) says how much each looks like music somebody wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from score_pipeline.rhythm.attacks import Attacks
from score_pipeline.rhythm.critic import Critic, local_quarters
from score_pipeline.rhythm.listener import Heard, log_softmax, period_bin
from score_pipeline.rhythm.metrical import Reading
from score_pipeline.rhythm.priors import TICKS, Priors, bar_ticks, levels, positions
from score_pipeline.types import Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCALES = (Fraction(1), Fraction(2), Fraction(1, 2), Fraction(3, 2), Fraction(2, 3))
"""Factors of note values that turn one level of a reading into another."""
TIMING = 15.0
"""What a difference of one in the mean log likelihood of the timing is worth in logits."""
COMMON = 0.3
"""Weight of how common a meter is: of two readings as good as each other the usual one is easier to read."""
_STRETCH, _STRETCHES = 300, 6
"""Attacks of a stretch that is looked at when a whole piece is reconsidered, and how many of them there are at most."""
_KEPT = 6
"""Readings of the search whose relatives are judged, best first."""
_MISFITS = 0.1
"""Share of attacks that may fall off a relative's positions."""
METER, BEATS, BARS, VALUES = 0.3, 0.3, 0.2, 0.2
"""What it is worth to share the true reading's meter, beats, bars and note values."""
_SAME_PACE = 0.1
"""Natural logarithm up to which two paces are one."""


def agreement(readings: Sequence[Reading], time_s: Floats) -> Floats:
    """How much of each reading would be right if each other one were true, 0..1, shape (readings, readings).

    The reading to write is the one that loses least in expectation: readings that share their beats speak for each
    other, also where they differ in the meter's name.
    """
    known = list(dict.fromkeys(reading.meter for reading in readings))
    meters = np.array([known.index(reading.meter) for reading in readings])
    ticks = np.array([reading.tick for reading in readings])
    bar = np.array([[bar_ticks(reading.meter)] for reading in readings])
    beat = np.array([[int(reading.meter.beat_q * TICKS)] for reading in readings])
    span = max(float(time_s[-1] - time_s[0]), 1e-3)
    pace = np.log(span / np.maximum(ticks[:, -1:] - ticks[:, :1], 1))
    total = METER * (meters[:, None] == meters[None, :]) + VALUES * (np.abs(pace - pace.T) < _SAME_PACE)
    for share, unit in ((BEATS, beat), (BARS, bar)):
        on = (ticks % unit == 0).astype(np.float64)
        count = on.sum(axis=1)
        both = 2 * (on @ on.T) / np.maximum(count[:, None] + count[None, :], 1.0)
        length = pace + np.log(unit)
        total = total + share * both * (np.abs(length - length.T) < _SAME_PACE)
    return np.asarray(total)


def relatives(
    meter: Meter, tick: Ints, meters: Sequence[Meter], *, same_beat: bool = False
) -> Iterator[tuple[Meter, Ints]]:
    """A reading and all that differ from it in level, meter and first beat: (meter, ticks from the start of a bar).

    With `same_beat` the counted beat stays what it is.
    """
    since = tick - tick[0]
    for scale in (Fraction(1),) if same_beat else SCALES:
        if np.mean(since * scale.numerator % scale.denominator != 0) > _MISFITS:
            continue
        scaled = np.round(since * float(scale)).astype(np.int64)
        origin = round(int(tick[0]) * float(scale))
        for other in meters:
            if same_beat and other.beat_q != meter.beat_q:
                continue
            bar, beat = bar_ticks(other), int(other.beat_q * TICKS)
            allowed = np.zeros(bar, dtype=np.bool_)
            allowed[positions(other)] = True
            for shift in range(other.beats_per_bar):
                moved = scaled + (origin + shift * beat) % bar
                if np.mean(~allowed[moved % bar]) <= _MISFITS:
                    yield other, moved


@dataclass(frozen=True, eq=False)
class Choice:
    """The reading to write, and `grounds` (4,) to believe in it: the logit of what it is expected to be worth, the log
    likelihoods per attack of its timing, of its weights and of its steps."""

    reading: Reading
    grounds: Floats

    def confidence(self, critic: Critic) -> float:
        """How much of the reading is right in expectation, 0..1, see `agreement`."""
        return float(1 / (1 + np.exp(-(critic.sure[0] + self.grounds @ critic.sure[1:]))))


def choose(found: Sequence[Reading], timing: Floats, attacks: Attacks, priors: Priors, critic: Critic) -> Reading:
    """The one of the `candidates` that loses least in expectation; see `rank`."""
    expected = agreement(found, attacks.time_s) @ np.exp(rank(found, timing, attacks, priors, critic))
    return found[int(np.argmax(expected))]


def reconsider(
    reading: Reading,
    attacks: Attacks,
    heard: Heard,
    meters: Sequence[Meter],
    priors: Priors,
    critic: Critic,
    *,
    same_beat: bool = False,
    same_bars: bool = False,
) -> Choice:
    """The relative of a whole piece's reading, or itself, for which stretches from all over the piece speak together.

    `same_beat` and `same_bars` as in `candidates`.
    """
    family, _ = candidates([reading], meters, same_beat=same_beat, same_bars=same_bars)
    n = len(attacks)
    starts = np.linspace(0, max(n - _STRETCH, 0), int(np.clip(round(n / _STRETCH), 1, _STRETCHES))).astype(int)
    common = COMMON * np.array([priors.common_of(relative.meter) for relative in family])
    logits = np.array(
        [
            critic.logits(
                attacks.at(slice(start, start + _STRETCH)),
                [replace(relative, tick=relative.tick[start : start + _STRETCH]) for relative in family],
                priors,
            )
            for start in starts.tolist()
        ]
    )
    agree = agreement(family, attacks.time_s)
    # the stretches are no independent witnesses: four together say twice as much as one, and are as sure as one
    together = logits.mean(axis=0) * np.sqrt(len(starts))
    index = int(np.argmax(agree @ np.exp(log_softmax(together + common))))
    share = np.exp(log_softmax(logits + common)).mean(axis=0)
    best, worth = family[index], float((agree[index] @ share).clip(0.01, 0.99))
    place = best.tick % bar_ticks(best.meter)
    pace = period_bin(local_quarters(best.tick, attacks.time_s))
    weight = heard.levels(best.meter)[np.arange(n), pace, levels(best.meter)[place]]
    step = priors.step_of(best.meter)[place[:-1], np.minimum(np.diff(best.tick), bar_ticks(best.meter))]
    return Choice(best, np.array([np.log(worth / (1 - worth)), best.timing / n, weight.mean(), step.mean()]))


def candidates(
    readings: Sequence[Reading], meters: Sequence[Meter], *, same_beat: bool = False, same_bars: bool = False
) -> tuple[list[Reading], Floats]:
    """Readings of a search and the relatives of the best ones in any of `meters`, each once; and the log likelihood
    per attack of their timing, which a relative shares with its reading.

    With `same_beat` no relative counts other beats than its reading, with `same_bars` there are no relatives.
    """
    timing = np.array([reading.timing / len(reading.tick) for reading in readings])
    found: list[Reading] = []
    fit: list[float] = []
    known: set[tuple[Meter, bytes]] = set()
    for order, index in enumerate(np.argsort(-timing, kind="stable").tolist()):
        reading = readings[index]
        family = [(reading.meter, reading.tick)]
        if order < _KEPT and not same_bars:
            family += relatives(reading.meter, reading.tick, meters, same_beat=same_beat)
        for meter, tick in family:
            key = (meter, tick.tobytes())
            if key in known:
                continue
            known.add(key)
            longer = max(int(tick[-1] - tick[0]), 1) / max(int(reading.tick[-1] - reading.tick[0]), 1)
            found.append(replace(reading, meter=meter, tick=tick, start_s=reading.start_s / longer))
            fit.append(float(timing[index]))
    return found, np.array(fit)


def rank(
    found: Sequence[Reading],
    timing: Floats,
    attacks: Attacks,
    priors: Priors,
    critic: Critic,
) -> Floats:
    """log P(reading is the one to write) of each of the `candidates`, shape (readings,)."""
    common = np.array([priors.common_of(reading.meter) for reading in found])
    totals = critic.logits(attacks, found, priors) + TIMING * (timing - timing.max()) + COMMON * common
    return log_softmax(totals)
