"""Endless simulated performances for fitting the rhythm room: whole scores as arrays, a new player for every take.

A player has a tempo that wanders, phrases that end slower, late beats, pauses, chords that are broken, trills, notes
held too short or too long, and is heard through a transcriber that loses and invents notes; some parts may be missing,
and the key may be any. Loudness tells little: most players have none. The written level is never changed, since it is
what the networks are to find. Fractions of quarters are floats here; `models.rhythm_renders` plays the scores that are
measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from models.rhythm_renders import score_bars
from score_pipeline.rhythm import priors
from score_pipeline.rhythm.attacks import Attacks, described
from score_pipeline.rhythm.priors import METERS, TICKS, bar_ticks, levels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP_Q = 0.25
"""Quarters between two points of a player's clock."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """A score as arrays, one entry per note, sorted by onset.

    `onset_q` and `value_q` in quarters, `pitch` MIDI, `part` a number, `grace` bool; `meter` index into METERS (their
    number for one that no table knows), `tick` in the bar, `level` index into LEVELS, both -1 where they are not known;
    `bpm` quarters per minute as marked, 0 where nothing is; `bar_q` length of the last bar.
    """

    onset_q: Floats
    value_q: Floats
    pitch: Floats
    part: Ints
    grace: NDArray[np.bool_]
    meter: Ints
    tick: Ints
    level: Ints
    bpm: float
    bar_q: float


def sheet_of(record: dict[str, Any]) -> Sheet | None:
    """The score of a record as `models.rhythm_scores` writes it; None if it holds fewer than ten notes."""
    div = record["div"]
    bars = score_bars(record)
    zero = record["measures"][0][0] / div - float(bars[0][0])
    rows = np.array(
        [
            (note[0] / div - zero, note[1] / div, note[2], number, note[1] == 0)
            for number, part in enumerate(record["parts"])
            for note in part["notes"]
        ],
        dtype=np.float64,
    )
    if len(rows) < 10 or (rows[:, 4] == 0).sum() < 10:
        return None
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    starts = np.array([float(start) for start, _ in bars])
    if starts[0] < 0:
        starts[0] = -float(bars[0][1].bar_q)
    place = np.maximum(np.searchsorted(starts, rows[:, 0] + 1e-6, side="right") - 1, 0)
    index_of_bar = np.array([_index(meter) for _, meter in bars])
    meter = index_of_bar[place]
    tick = np.round((rows[:, 0] - starts[place]) * TICKS).astype(np.int64)
    length = np.array([*(bar_ticks(known) for known in METERS), 0])
    valid = (tick >= 0) & (tick < length[meter])
    tick[~valid] = -1
    table = [levels(known) for known in METERS]
    level = np.array(
        [table[m][t] if good else -1 for m, t, good in zip(meter.tolist(), tick.tolist(), valid.tolist(), strict=True)]
    )
    marked = [bpm for _, bpm, _ in record["tempos"] if bpm]
    return Sheet(
        rows[:, 0],
        rows[:, 1],
        rows[:, 2],
        rows[:, 3].astype(np.int64),
        rows[:, 4] == 1,
        meter,
        tick,
        level,
        float(marked[0]) if marked else 0.0,
        float(bars[-1][1].bar_q),
    )


def _index(meter: priors.Meter) -> int:
    known = priors.meter_index(meter)
    return len(METERS) if known is None else known


@dataclass(frozen=True, eq=False)
class Take:
    """A performance: attacks, and per attack the truth, -1 where it is not known (an invented note, a grace note).

    `level`, `meter` as in `Sheet`; `tick` counts from the start of the first bar of the excerpt's score;
    `log_period` of seconds per quarter.
    """

    attacks: Attacks
    level: Ints
    meter: Ints
    onset_q: Floats
    tick: Ints
    log_period: Floats


def play(sheet: Sheet, rng: np.random.Generator, most: int) -> Take | None:
    """A new performance of at most about `most` attacks, a third of them from the beginning; None if too few notes."""
    chosen = _window(sheet, rng, most)
    if chosen is None:
        return None
    onset_q, grace = sheet.onset_q[chosen], sheet.grace[chosen]
    clock_q, clock_s = _clock(sheet, onset_q, rng)
    value = sheet.value_q[chosen] * _held(len(chosen), rng)
    onset = np.interp(onset_q, clock_q, clock_s)
    offset = np.interp(onset_q + value, clock_q, clock_s)
    if rng.random() < 0.15:  # a pedal, or a room
        offset += rng.uniform(0.05, 0.6)
    jitter = float(np.exp(rng.uniform(np.log(0.004), np.log(0.035))))
    part = sheet.part[chosen]
    onset += rng.normal(0, jitter, len(onset)) + rng.normal(0, 0.008, 64)[part % 64] * (rng.random() < 0.5)
    onset[grace] -= rng.uniform(0.04, 0.13, int(grace.sum()))
    pitch = sheet.pitch[chosen] + int(rng.integers(-5, 7))
    _break_chords(onset, onset_q, pitch, rng)
    loud = _loudness(sheet, chosen, rng)
    real = np.where(grace, -1, np.arange(len(onset)))
    if rng.random() < 0.5:
        ghosts = np.flatnonzero(rng.random(len(onset)) < 0.06 * rng.random())
        keep = rng.random(len(onset)) > 0.12 * rng.random()
        late = onset[ghosts] + np.where(rng.random(len(ghosts)) < 0.5, 0.0, rng.uniform(0.05, 0.5, len(ghosts)))
        shift = rng.choice([-12, 12, 19, 7, -5], len(ghosts))
        onset = np.concatenate([onset[keep], late])
        offset = np.concatenate([offset[keep], late + 0.1])
        pitch = np.concatenate([pitch[keep], pitch[ghosts] + shift])
        loud = np.concatenate([loud[keep], np.full(len(ghosts), 45.0)])
        part = np.concatenate([part[keep], part[ghosts]])
        real = np.concatenate([real[keep], np.full(len(ghosts), -1)])
    if rng.random() < 0.4:
        source, late, step = _ornaments(offset - onset, 0.06 * rng.random(), rng)
        onset = np.concatenate([onset, onset[source] + late])
        offset = np.concatenate([offset, onset[len(offset) :] + 0.07])
        pitch, loud = np.concatenate([pitch, pitch[source] + step]), np.concatenate([loud, loud[source]])
        part, real = np.concatenate([part, part[source]]), np.concatenate([real, np.full(len(source), -1)])
    onset = onset - min(onset.min(), 0.0)
    offset = np.maximum(offset, onset + 0.03)
    table = np.stack([onset, offset, pitch.clip(0, 127), loud.clip(1, 127), part], axis=1)
    order = np.lexsort((table[:, 2], onset))
    table, real = table[order], real[order]
    attacks, group = described(table)
    if len(attacks) < 12:
        return None
    # the first true note of an attack says where it is
    first = np.full(len(attacks), -1)
    known = np.flatnonzero(real >= 0)[::-1]
    first[group[known]] = chosen[real[known]]
    there = first >= 0
    level = np.where(there, sheet.level[first], -1)
    meter = np.where(there, sheet.meter[first], -1)
    at_q = np.interp(attacks.time_s, clock_s, clock_q)
    at_q = np.where(there, sheet.onset_q[first], at_q)
    period = np.gradient(clock_s, clock_q)
    smooth = np.convolve(np.pad(period, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
    log_period = np.log(np.interp(attacks.time_s, clock_s, smooth))
    return Take(attacks, level, meter, at_q, np.where(there, sheet.tick[first], -1), log_period)


def _window(sheet: Sheet, rng: np.random.Generator, most: int) -> Ints | None:
    """Notes of an excerpt, perhaps of some of the parts."""
    chosen = np.arange(len(sheet.onset_q))
    parts = np.unique(sheet.part)
    if len(parts) > 1 and rng.random() < 0.25:
        kept = rng.permutation(parts)[: int(rng.integers(1, len(parts)))]
        chosen = chosen[np.isin(sheet.part, kept)]
    moments = np.unique(sheet.onset_q[chosen])
    if len(moments) < 12:
        return None
    length = min(int(most * 1.05), len(moments))
    start = 0 if rng.random() < 0.35 else int(rng.integers(0, len(moments) - length + 1))
    low, high = moments[start], moments[start + length - 1]
    chosen = chosen[(sheet.onset_q[chosen] >= low) & (sheet.onset_q[chosen] <= high)]
    return chosen if (~sheet.grace[chosen]).sum() >= 12 else None


def _clock(sheet: Sheet, onset_q: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(quarters, seconds) of a player."""
    moments = np.unique(onset_q)
    bpm, spread = sheet.bpm, 0.2
    if not bpm:
        spread = 0.45  # nobody says how fast: what follows is a guess
        even = 60 * 3.5 * float(np.exp(rng.normal(0, 0.3))) * float(np.diff(moments).mean())
        bpm = float(np.clip(np.sqrt(even * 100), 40, 208))
    bpm = float(np.clip(bpm * np.exp(rng.normal(0, spread)), 25, 330))
    clock_q = np.arange(moments[0] - 1, moments[-1] + 12, STEP_Q)
    n = len(clock_q)
    free = rng.random()
    breath = rng.uniform(0.01, 0.05 + 0.1 * free)
    memory = float(rng.choice([0.9, 0.97, 0.99]))
    wander = breath * lfilter([np.sqrt(1 - memory**2)], [1, -memory], rng.normal(0, 1, n))
    wander += np.repeat(rng.normal(0, 0.08 * free * rng.random(), n // 4 + 1), 4)[:n]
    phrase = sheet.bar_q * float(rng.choice([1, 2, 4, 8]))
    along = ((clock_q + rng.choice([0.0, 0.0, 1.0])) / phrase) % 1
    wander += 0.4 * free**2 * rng.random() * (2 * along - 0.7).clip(0) ** 2
    if rng.random() < 0.6:
        wander += 0.25 * np.clip((clock_q - moments[-1] + 3) / 3, 0, 1)
    if free > 0.7 and n > 80:  # another tempo, or a pause
        at = int(rng.integers(20, n - 20))
        if rng.random() < 0.5:
            wander[at:] += rng.normal(0, 0.2)
        else:
            wander[at] += rng.uniform(0.5, 2.0)
    seconds = np.concatenate(([0.0], np.cumsum(60 / bpm * np.exp(wander[:-1]) * STEP_Q)))
    return clock_q, seconds


def _held(n: int, rng: np.random.Generator) -> Floats:
    """Share of their value that notes are held, by phrase."""
    style = np.repeat(rng.choice(3, n // 8 + 1, p=rng.dirichlet([3.0, 1.5, 0.8])), 8)[:n]
    low, high = np.array([0.9, 0.6, 0.25])[style], np.array([1.04, 0.9, 0.6])[style]
    return np.asarray(low + (high - low) * rng.random(n))


def _break_chords(onset: Floats, onset_q: Floats, pitch: Floats, rng: np.random.Generator) -> None:
    """Spread some chords from the lowest to the highest note, in place."""
    share = 0.2 * rng.random() ** 2
    width = rng.uniform(0.03, 0.13)
    _, chord = np.unique(onset_q, return_inverse=True)
    broken = rng.random(chord.max() + 1) < share
    low = np.full(chord.max() + 1, np.inf)
    high = np.full(chord.max() + 1, -np.inf)
    np.minimum.at(low, chord, pitch)
    np.maximum.at(high, chord, pitch)
    onset += np.where(broken[chord], width * (pitch - low[chord]) / np.maximum(high - low, 12)[chord], 0.0)


def _ornaments(length_s: Floats, share: float, rng: np.random.Generator) -> tuple[Ints, Floats, Ints]:
    """Trills and mordents on a share of the notes long enough: whose they are, seconds after it, semitones above it."""
    source: list[int] = []
    late: list[float] = []
    step: list[int] = []
    chosen = np.flatnonzero((length_s > 0.2) & (rng.random(len(length_s)) < share))
    for note in chosen.tolist():
        every = rng.uniform(0.055, 0.11)
        count = 2 if rng.random() < 0.5 else min(int(length_s[note] / every) - 1, 40)
        upper = int(rng.integers(1, 3)) * (-1 if count == 2 and rng.random() < 0.3 else 1)
        source += [note] * count
        late += [every * (k + 1) for k in range(count)]
        step += [upper * (1 - k % 2) for k in range(count)]
    return np.array(source, dtype=np.int64), np.array(late), np.array(step, dtype=np.int64)


def _loudness(sheet: Sheet, chosen: Ints, rng: np.random.Generator) -> Floats:
    """Velocities, of which most say nothing of the bar."""
    if rng.random() < 0.35:
        return np.full(len(chosen), 80.0)
    accent = 14 * 0.6 * rng.random() if rng.random() < 0.4 else 0.0
    spread = rng.uniform(0, 12)
    weight = np.array([1.0, 0.6, 0.4, 0.0, 0.0, 0.0])[sheet.level[chosen]]
    wander = np.cumsum(rng.normal(0, 0.5 * spread / 10, len(chosen))).clip(-20, 20)
    return np.asarray(64 + accent * weight + wander + rng.normal(0, spread, len(chosen)))
