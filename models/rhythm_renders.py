"""Scores played by a simple simulated player: known beats for checking the rhythm room.

Tempo: the score's metronome mark, else the geometric mean of 100 quarters a minute and the tempo at which about 3.5
attacks sound per second. The tempo breathes slowly by some per cent and slows down in the last bar; every onset strays
by a normal jitter; notes are held for a part of their written value (legato, detached or staccato by phrase). Grace
notes are left out. What is fitted learns from freer players (`models.rhythm_takes`).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.types import Meter, Note, Track


@dataclass(frozen=True, eq=False)
class Render:
    """A played score and its truth.

    `written` maps (part, index into the part's notes) to the written onset and value in quarters from the first
    downbeat; `bars` are (quarter, Meter) where bars start; `tempo` is (quarter, time_s) of the player's clock.
    """

    name: str
    tracks: list[Track]
    written: dict[tuple[int, int], tuple[Fraction, Fraction]]
    bars: list[tuple[Fraction, Meter]]
    clock_quarter: NDArray[np.float64]
    clock_s: NDArray[np.float64]
    quarter_bpm: float

    @property
    def duration_s(self) -> float:
        """End of the last note."""
        return max(note.offset_s for track in self.tracks for note in track.notes)

    @property
    def meter(self) -> Meter:
        """The meter that fills most of the piece."""
        lengths: dict[Meter, Fraction] = {}
        for _, meter in self.bars:
            lengths[meter] = lengths.get(meter, Fraction(0)) + meter.bar_q
        return max(lengths, key=lambda meter: lengths[meter])

    def seconds(self, quarter: float) -> float:
        """When the player's clock reaches a quarter; before its first beat the first tempo holds."""
        early = min(quarter - float(self.clock_quarter[0]), 0.0)
        first = (self.clock_s[1] - self.clock_s[0]) / (self.clock_quarter[1] - self.clock_quarter[0])
        return float(np.interp(quarter, self.clock_quarter, self.clock_s) + early * first)


def read_scores(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a gzipped JSON-lines file of scores."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def score_bars(record: dict[str, Any]) -> list[tuple[Fraction, Meter]]:
    """Bars of a score: start in quarters from its first downbeat (a pickup's is negative) and meter."""
    div = record["div"]
    starts = [Fraction(tick, div) for tick, _ in record["measures"]]
    meters = []
    for start in starts:
        known = [Meter(n, d) for tick, n, d in record["time_signatures"] if Fraction(tick, div) <= start]
        meters.append(known[-1] if known else Meter(*record["time_signatures"][0][1:]))
    pickup = len(starts) > 1 and starts[1] - starts[0] < meters[0].bar_q
    zero = starts[1] if pickup else starts[0]
    return [(start - zero, meter) for start, meter in zip(starts, meters, strict=True)]


def render(record: dict[str, Any], *, jitter_s: float = 0.015, breath: float = 0.06) -> Render | None:
    """Play a score; None if it holds fewer than ten notes. The player is seeded by the score's name."""
    rng = np.random.default_rng([zlib.crc32(record["id"].encode()), 0])
    div = record["div"]
    bars = score_bars(record)
    zero = Fraction(record["measures"][0][0], div) - bars[0][0]
    parts = [
        sorted((Fraction(n[0], div) - zero, n[2], Fraction(n[1], div)) for n in part["notes"] if n[1] > 0)
        for part in record["parts"]
    ]
    keys = [_key(part["instrument"], notes) for part, notes in zip(record["parts"], parts, strict=True)]
    keys = [key for key, part in zip(keys, parts, strict=True) if part]
    parts = [part for part in parts if part]
    if sum(map(len, parts)) < 10:
        return None
    onsets = np.array(sorted({float(note[0]) for part in parts for note in part}))
    marked = [bpm for _, bpm, _ in record["tempos"] if bpm]
    if marked:
        bpm = float(marked[0])
    else:
        even = 60 * 3.5 * float(np.exp(rng.normal(0, 0.3))) * float(np.mean(np.diff(onsets)))
        bpm = float(np.clip(np.sqrt(even * 100), 40, 208))
    bpm = float(np.clip(bpm, 25, 330))
    clock_q, clock_s = _clock(rng, float(onsets[0]) - 1, float(onsets[-1]) + 16, bpm, breath)
    tracks, written = [], {}
    for number, part in enumerate(parts):
        notes = []
        for index, (quarter, pitch, value) in enumerate(part):
            if index % 8 == 0:
                style = rng.choice(3, p=[0.6, 0.25, 0.15])
            held = float((rng.uniform(0.9, 1.03), rng.uniform(0.65, 0.9), rng.uniform(0.4, 0.6))[style])
            on, off = np.interp([float(quarter), float(quarter + value * Fraction(held))], clock_q, clock_s)
            start_s = max(float(on) + float(rng.normal(0, jitter_s)), 0.0)
            notes.append((Note(start_s, max(float(off), start_s + 0.03), pitch, 80, keys[number]), quarter, value))
        notes.sort(key=lambda item: (item[0].onset_s, item[0].pitch))
        tracks.append(Track(keys[number], number + 1, tuple(item[0] for item in notes)))
        for index, (_, quarter, value) in enumerate(notes):
            written[number, index] = (quarter, value)
    return Render(record["id"], tracks, written, bars, clock_q, clock_s, bpm)


def _key(name: str, notes: list[tuple[Fraction, int, Fraction]]) -> str:
    """The instrument's key; a part the table does not know, or with more notes at once than it plays, is a piano."""
    alone = all(a[0] + a[2] <= b[0] for a, b in pairwise(notes))
    return name if name in INSTRUMENTS and (alone or INSTRUMENTS[name].polyphony > 1) else "piano"


def _clock(
    rng: np.random.Generator, start: float, end: float, bpm: float, breath: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(quarters, seconds) of a player whose tempo wanders by `breath` (relative) around `bpm`; starts at 0.5 s."""
    quarters = np.arange(start, end + 1, 0.25)
    wander = np.zeros(len(quarters))
    if breath:
        steps = rng.normal(0, 1, len(quarters))
        memory = 0.97  # eight quarters until a deviation is forgotten
        for k in range(1, len(quarters)):
            wander[k] = memory * wander[k - 1] + np.sqrt(1 - memory**2) * steps[k]
        wander = breath * wander - 0.25 * np.clip((quarters - (end - 16 - 3)) / 3, 0, 1)
    period = 60 / bpm * np.exp(-wander)
    seconds = np.concatenate(([0.0], np.cumsum(0.25 * period[:-1])))
    return quarters, seconds - np.interp(start + 1, quarters, seconds) + 0.5
