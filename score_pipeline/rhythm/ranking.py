"""Which of several readings of a piece a musician would write.

The search adds up steps as if they were independent, so it is too sure about the level (eighths or sixteenths?) and
about the bar (two beats or four?). Here a reading is judged as a whole: where in its bars the long, low, loud and
thick attacks fall, whether bars resemble each other, which note values it needs and how fast its beats go. A few
small networks, fitted by `python -m models.fit_readings` on true readings among false ones of the same music, turn that
into a logit; the readings that differ from a found one in level, meter or first beat alone are judged along with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

from score_pipeline.rhythm.attacks import Attacks
from score_pipeline.rhythm.listener import PERIODS_S, Heard, period_bin
from score_pipeline.rhythm.metrical import Reading
from score_pipeline.rhythm.priors import METERS, TICKS, Priors, bar_ticks, levels, positions
from score_pipeline.rhythm.tables import read_tables
from score_pipeline.types import Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCALES = (Fraction(1), Fraction(2), Fraction(1, 2), Fraction(3, 2), Fraction(2, 3))
"""Factors of note values that turn one level of a reading into another."""
TIMING = 30.0
"""What a difference of one in the mean log likelihood of the timing is worth in logits."""
SURE = 1.4
"""Factor of the networks' mean logits, which is more cautious than each of them; tuned on renders."""
_KEPT = 6
"""Readings of the search whose relatives are judged, best first."""
_MISFITS = 0.1
"""Share of attacks that may fall off a relative's positions."""
_SPAN = 4
"""Attacks on either side from which the tempo at an attack is taken."""
_ACCENTS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
"""Columns of `Attacks.features` that may mark a bar."""
_PARITY = (0, 1, 2, 5, 7, 8, 10, 11, 12)
"""Columns whose difference between odd and even bars tells a half bar from a bar."""
_VALUES = np.array([0.01, 0.14, 0.2, 0.29, 0.4, 0.6, 0.7, 0.9, 1.2, 1.7, 2.5, 3.5])
"""Edges between note values, in quarters."""
_SAME_LENGTH = 0.16
"""Natural logarithm up to which two bars or beats are equally long."""
_SLOT = 6
"""Ticks of a slot where bars are compared: a sixteenth."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Layers of the networks that judge, whose mean counts.

    `mean` and `scale` (networks, features), weights (networks, in, out), biases (networks, out).
    """

    mean: Floats
    scale: Floats
    weight: tuple[Floats, ...]
    bias: tuple[Floats, ...]
    sure: Floats
    """Bias and weights (1 + len(Choice.grounds),) of the logit of how much of a chosen reading is right."""

    def logits(self, rows: Floats) -> Floats:
        """How much each of the readings described by `rows` (readings, features) is to be preferred."""
        x = ((rows - self.mean[:, None]) / self.scale[:, None]).clip(-4, 4)  # (networks, readings, features)
        for weight, bias in zip(self.weight[:-1], self.bias[:-1], strict=True):
            x = np.maximum(x @ weight + bias[:, None], 0.0)
        return np.asarray((x @ self.weight[-1] + self.bias[-1][:, None])[:, :, 0].mean(axis=0))


@cache
def load_judge() -> Judge:
    """The networks that ship with the package."""
    return judge_from(read_tables("readings"))


def judge_from(arrays: Mapping[str, NDArray[np.floating]]) -> Judge:
    """The networks by name, as `models.fit_readings` makes it."""
    tables = {name: np.asarray(table, dtype=np.float64) for name, table in arrays.items()}
    layers = range(sum(name.startswith("weight_") for name in tables))
    return Judge(
        tables["mean"],
        tables["scale"],
        tuple(tables[f"weight_{k}"] for k in layers),
        tuple(tables[f"bias_{k}"] for k in layers),
        tables["sure"],
    )


class Describer:
    """Turns readings of one stretch of music into rows of features; keeps what does not depend on the reading."""

    def __init__(self, attacks: Attacks, heard: Heard, priors: Priors) -> None:
        self.attacks, self.heard, self.priors = attacks, heard, priors
        self.accents = attacks.features[:, _ACCENTS]
        self.levels = {meter: heard.levels(meter) for meter in METERS}
        mean = heard.joint.mean(axis=0)
        self.pair = mean - np.logaddexp.reduce(mean, axis=None)  # log P(meter, seconds per quarter) of all of it
        bar_q = np.array([*(float(meter.bar_q) for meter in METERS), 4.0])
        beat_q = np.array([*(float(meter.beat_q) for meter in METERS), 1.0])
        self.bar_log = np.log(PERIODS_S) + np.log(bar_q)[:, None]
        self.beat_log = np.log(PERIODS_S) + np.log(beat_q)[:, None]
        self.meter_heard = np.logaddexp.reduce(self.pair, axis=1).clip(-8, 0)

    def row(self, meter: Meter, tick: Ints) -> Floats:
        """Features of the reading with `tick` (attacks,) counted from the start of a bar."""
        time_s, heard = self.attacks.time_s, self.heard
        n, bar = len(tick), bar_ticks(meter)
        beat = int(meter.beat_q * TICKS)
        place = tick % bar
        level = levels(meter)[place]
        quarter_s = _local_quarters(tick, time_s)
        typical = float(np.log(np.median(quarter_s)))
        known = METERS.index(meter) if meter in METERS else len(METERS)
        which = np.zeros(len(METERS) + 1)
        which[known] = 1.0
        tempo = typical + np.log([1.0, beat / TICKS, bar / TICKS])
        distance = np.diff(tick)
        gaps = np.bincount(np.searchsorted(_VALUES, distance / TICKS), minlength=len(_VALUES) + 1) / n
        values = (
            np.bincount(np.searchsorted(_VALUES, self.attacks.length_s / quarter_s), minlength=len(_VALUES) + 1) / n
        )
        gap_q = float(np.log(max(tick[-1] - tick[0], 1) / TICKS / n))
        share = np.bincount(level, minlength=5) / n
        step = self.priors.step_of(meter)[place[:-1], np.minimum(distance, bar)]
        if meter not in self.levels:
            self.levels[meter] = heard.levels(meter)
        pace = period_bin(quarter_s)
        heard_level = self.levels[meter][np.arange(n), pace, level]
        per_level = np.bincount(level, heard_level, minlength=5) / n
        pairs = heard.pairs(meter)[np.arange(n), pace]
        ends = np.zeros(10)
        ends[level[0]] = ends[5 + level[-1]] = 1.0
        return np.concatenate(
            [
                which,
                tempo,
                tempo**2,
                gaps,
                values,
                share,
                self._occupancy(tick, bar, beat),
                self._contrasts(level),
                self._parity(tick // bar, level),
                [step.mean(), np.minimum(step, -6.0).mean(), heard_level.mean(), np.minimum(heard_level, 0).mean()],
                [pairs.mean(), np.maximum(pairs, -8).mean(), self.meter_heard[known]],
                self._shares(known, typical, typical + np.log(bar / TICKS), typical + np.log(beat / TICKS)),
                per_level,
                self.meter_heard,
                ends,
                [(bar - place[0]) / bar % 1, np.log(n), self.priors.first_of(meter)[place[0]]],
                [gap_q, gap_q + typical, gap_q**2],
                self._likeness(tick, bar, beat),
            ]
        )

    def _shares(self, known: int, typical: float, bar_log: float, beat_log: float) -> Floats:
        """log share that the network gives to this pair, to bars, beats and quarters of this length."""
        there = [
            self.pair[known][np.abs(np.log(PERIODS_S) - typical) < _SAME_LENGTH],
            self.pair[np.abs(self.bar_log - bar_log) < _SAME_LENGTH],
            self.pair[np.abs(self.beat_log - beat_log) < _SAME_LENGTH],
            self.pair[:, np.abs(np.log(PERIODS_S) - typical) < _SAME_LENGTH],
        ]
        return np.array([max(float(np.logaddexp.reduce(part, axis=None, initial=-8.0)), -8.0) for part in there])

    def _occupancy(self, tick: Ints, bar: int, beat: int) -> Floats:
        """Shares of bars, half bars and beats that an attack falls on."""
        span = tick[-1] - tick[0] + 1
        return np.array(
            [len(np.unique(tick[tick % unit == 0])) / max(span / unit, 1.0) for unit in (bar, bar // 2, beat)]
        )

    def _contrasts(self, level: Ints) -> Floats:
        """How much more accented each level is than the one below it, one entry per accent and pair of levels."""
        count = np.bincount(level, minlength=5).astype(np.float64)
        total = np.zeros((5, self.accents.shape[1]))
        np.add.at(total, level, self.accents)
        mean = total / np.maximum(count, 1.0)[:, None]
        beats = (total[1] + total[2]) / max(count[1] + count[2], 1.0)
        known = (count > 0).astype(np.float64)
        return np.concatenate(
            [
                (mean[0] - beats) * known[0] * max(known[1], known[2]),
                (mean[0] - mean[1]) * known[0] * known[1],
                (mean[1] - mean[2]) * known[1] * known[2],
                (beats - mean[3]) * max(known[1], known[2]) * known[3],
                (mean[3] - mean[4]) * known[3] * known[4],
            ]
        )

    def _parity(self, number: Ints, level: Ints) -> Floats:
        """How different the first attacks of odd and even bars are, in standard errors, one entry per column."""
        first = level == 0
        rows, odd = self.accents[first][:, _PARITY], number[first] % 2 == 1
        if odd.sum() < 2 or (~odd).sum() < 2:
            return np.zeros(len(_PARITY))
        spread = np.sqrt(rows[odd].var(axis=0) / odd.sum() + rows[~odd].var(axis=0) / (~odd).sum()) + 1e-2
        return np.asarray(np.log1p(np.abs(rows[odd].mean(axis=0) - rows[~odd].mean(axis=0)) / spread))

    def _likeness(self, tick: Ints, bar: int, beat: int) -> Floats:
        """How alike the music is to itself a beat, half a bar, a bar, ... later: by rhythm and by pitch classes."""
        slot = (tick - tick[0]) // _SLOT
        size = int(min(slot[-1] + 1, 4096))
        slot = np.minimum(slot, size - 1)
        struck = np.zeros(size)
        struck[slot] = 1.0
        chroma = np.zeros((size, 12))
        chroma[slot] = self.attacks.chroma
        density = struck.mean()
        usual = float(np.square(self.attacks.chroma.mean(axis=0)).sum())
        row = []
        for ticks in (beat, 2 * beat, bar // 2, bar - beat, bar, bar + beat, 2 * bar, 4 * bar):
            lag = max(round(ticks / _SLOT), 1)
            if lag >= size - 4:
                row += [0.0, 0.0]
                continue
            both = struck[:-lag] * struck[lag:]
            again = both.sum() / max(struck[:-lag].sum(), 1.0) - density
            alike = (chroma[:-lag] * chroma[lag:]).sum() / max(both.sum(), 1.0) - usual
            row += [again, alike]
        return np.array(row)


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


def _local_quarters(tick: Ints, time_s: Floats) -> Floats:
    """Seconds per quarter around every attack."""
    index = np.arange(len(tick))
    low, high = np.maximum(index - _SPAN, 0), np.minimum(index + _SPAN, len(tick) - 1)
    quarters = np.maximum(tick[high] - tick[low], 1) / TICKS
    return np.asarray(np.maximum((time_s[high] - time_s[low]) / quarters, 1e-3))


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

    def confidence(self, judge: Judge) -> float:
        """How much of the reading is right in expectation, 0..1, see `agreement`."""
        return float(1 / (1 + np.exp(-(judge.sure[0] + self.grounds @ judge.sure[1:]))))


def choose(
    found: Sequence[Reading], timing: Floats, attacks: Attacks, heard: Heard, priors: Priors, judge: Judge
) -> Choice:
    """The one of the `candidates` that loses least in expectation; see `rank`."""
    log_share = rank(found, timing, attacks, heard, priors, judge)
    expected = agreement(found, attacks.time_s) @ np.exp(log_share)
    index = int(np.argmax(expected))
    best, n = found[index], len(attacks)
    place = best.tick % bar_ticks(best.meter)
    pace = period_bin(_local_quarters(best.tick, attacks.time_s))
    weight = heard.levels(best.meter)[np.arange(n), pace, levels(best.meter)[place]]
    step = priors.step_of(best.meter)[place[:-1], np.minimum(np.diff(best.tick), bar_ticks(best.meter))]
    worth = float(expected[index].clip(0.01, 0.99))
    grounds = [np.log(worth / (1 - worth)), best.timing / n, weight.mean(), step.mean()]
    return Choice(best, np.array(grounds))


def candidates(
    readings: Sequence[Reading], *, same_beat: bool = False, same_bars: bool = False
) -> tuple[list[Reading], Floats]:
    """Readings of a search and the relatives of the best ones, each once; and the log likelihood per attack of their
    timing, which a relative shares with its reading.

    With `same_beat` no relative counts other beats than its reading, with `same_bars` there are no relatives.
    """
    meters = list(dict.fromkeys(reading.meter for reading in readings))
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
    found: Sequence[Reading], timing: Floats, attacks: Attacks, heard: Heard, priors: Priors, judge: Judge
) -> Floats:
    """log P(reading is the one to write) of each of the `candidates`, shape (readings,)."""
    describer = Describer(attacks, heard, priors)
    rows = np.array([describer.row(reading.meter, reading.tick) for reading in found])
    totals = SURE * judge.logits(rows) + TIMING * (timing - timing.max())
    totals -= totals.max()
    return np.asarray(totals - np.log(np.exp(totals).sum()))
