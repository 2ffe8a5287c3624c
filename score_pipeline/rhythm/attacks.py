"""Moments at which something is struck, and what makes one of them sound like the first of a bar.

Conventions
-----------
An attack gathers the onsets of all parts within 35 ms. Features are one row per attack: lengths are logarithms of
ratios to the usual distance between attacks nearby, pitches and loudness are differences from their neighbours, and
three columns are logarithms of seconds. They are the same in training (`models.fit_rhythm`) and in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_pipeline.types import Track

Floats = NDArray[np.float64]

CHORD_S = 0.035
"""Onsets of one chord lie within this: players of an ensemble are 20 ms apart, thirty-seconds at most 20 per second."""
N_FEATURES = 24
SECONDS_COLUMNS = slice(13, 16)
"""Features that are logarithms of seconds."""


@dataclass(frozen=True, eq=False)
class Attacks:
    """`time_s` float64 (n,), increasing; `features` float64 (n, N_FEATURES).

    `length_s` (n,) is the longest note struck, `chroma` (n, 12) what is struck by pitch class, of unit length.
    """

    time_s: Floats
    features: Floats
    length_s: Floats
    chroma: Floats

    def __len__(self) -> int:
        return len(self.time_s)

    def at(self, rows: slice) -> Attacks:
        """The same for some of the attacks."""
        return Attacks(self.time_s[rows], self.features[rows], self.length_s[rows], self.chroma[rows])

    def with_silent(self, index: int, time_s: float) -> Attacks:
        """The same with a moment before attack `index` at which nothing is struck."""
        return Attacks(
            np.insert(self.time_s, index, time_s),
            np.insert(self.features, index, 0.0, axis=0),
            np.insert(self.length_s, index, 0.0),
            np.insert(self.chroma, index, 0.0, axis=0),
        )

    @classmethod
    def bare(cls, time_s: Floats) -> Attacks:
        """Attacks of which nothing but the time is known."""
        n = len(time_s)
        return cls(np.asarray(time_s, dtype=np.float64), np.zeros((n, N_FEATURES)), np.zeros(n), np.zeros((n, 12)))


def gather(tracks: Sequence[Track]) -> Attacks:
    """Attacks of all tracks together, in order."""
    rows = [
        (note.onset_s, note.offset_s, note.pitch, note.velocity, part)
        for part, track in enumerate(tracks)
        for note in track.notes
    ]
    if not rows:
        return Attacks.bare(np.empty(0))
    return described(np.array(sorted(rows), dtype=np.float64))[0]


def described(table: Floats) -> tuple[Attacks, NDArray[np.int64]]:
    """Attacks of notes (onset, offset, pitch, velocity, part), sorted by onset; and the attack each belongs to."""
    onset, offset, pitch, velocity, part = table.T
    group = np.empty(len(onset), dtype=np.int64)
    start, number = onset[0], 0
    for k, time_s in enumerate(onset.tolist()):
        if time_s - start > CHORD_S:
            start, number = time_s, number + 1
        group[k] = number
    n = number + 1
    first = np.searchsorted(group, np.arange(n))
    count = np.diff(np.append(first, len(group))).astype(np.float64)
    time = np.add.reduceat(onset, first) / count
    low = np.minimum.reduceat(pitch, first)
    high = np.maximum.reduceat(pitch, first)
    length = offset - onset
    longest = np.maximum.reduceat(length, first)
    loud = np.add.reduceat(velocity, first) / count
    parts = np.array([len(set(part[i : i + int(c)])) for i, c in zip(first, count, strict=True)], dtype=np.float64)
    by_pitch = np.lexsort((pitch, group))
    bass, top = length[by_pitch[first]], length[by_pitch[np.append(first[1:], len(group)) - 1]]
    chroma = np.zeros((n, 12))
    np.add.at(chroma, (group, pitch.astype(np.int64) % 12), 1.0)
    chroma /= np.linalg.norm(chroma, axis=1, keepdims=True)
    sounding = np.append(first[1:], len(group)) - np.searchsorted(np.sort(offset), time)
    silent_since = np.maximum.accumulate(offset)[np.maximum(first - 1, 0)]

    gap = np.diff(time)
    # a single attack has no gap to compare with; a second is as good as any
    usual = np.exp(_local_mean(np.log(gap), 8)) if len(gap) else np.ones(0)
    usual = np.append(usual, usual[-1:] if len(gap) else 1.0)
    ahead = np.append(gap, usual[-1])
    behind = np.insert(gap, 0, usual[0])
    columns = [
        np.log(count) - _local_mean(np.log(count), 8),
        np.log(parts) - _local_mean(np.log(parts), 8),
        (low - _local_mean(low, 8)) / 12,
        (low <= _local_min(low, 3)).astype(np.float64),
        (high - _local_mean(high, 8)) / 12,
        np.log(ahead / usual),
        np.log(behind / usual),
        np.log(longest / usual).clip(-3, 4) - _local_mean(np.log(longest / usual).clip(-3, 4), 8),
        np.log(bass / usual).clip(-3, 4),
        np.log(bass / ahead).clip(-2, 4),
        *(_novelty(time, onset, offset, pitch, window) for window in (0.6, 2.0)),
        (loud - _local_mean(loud, 8)) / 20,
        *(np.log(seconds).clip(-4, 3) for seconds in (ahead, behind, usual)),
        np.diff(high, prepend=high[:1]).clip(-24, 24) / 12,
        np.diff(low, prepend=low[:1]).clip(-24, 24) / 12,
        np.log(top / ahead).clip(-2, 4),
        np.log(np.maximum(sounding, 1.0)),
        (low - 60) / 24,
        (high - 60) / 24,
        np.insert((chroma[1:] * chroma[:-1]).sum(axis=1), 0, 0.0),
        ((time - silent_since) / usual).clip(-1, 4),
    ]
    return Attacks(time, np.stack(columns, axis=1), longest, chroma), group


def _local_mean(values: Floats, reach: int) -> Floats:
    """Mean over `reach` neighbours on each side, fewer at the ends."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return np.asarray((total[high] - total[low]) / (high - low))


def _local_min(values: Floats, reach: int) -> Floats:
    """Least value among `reach` neighbours on each side."""
    padded = np.pad(values, reach, constant_values=np.inf)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(axis=1))


def _novelty(time: Floats, onset: Floats, offset: Floats, pitch: Floats, window_s: float) -> Floats:
    """How much the pitch classes of the `window_s` after each attack differ from those before, 0..1, less its mean."""
    order = np.argsort(onset, kind="stable")
    weight = np.sqrt(np.minimum(offset - onset, window_s))[order]
    total = np.zeros((len(order) + 1, 12))
    chroma = np.zeros((len(order), 12))
    chroma[np.arange(len(order)), pitch[order].astype(int) % 12] = weight
    np.cumsum(chroma, axis=0, out=total[1:])
    edges = [np.searchsorted(onset[order], time + shift) for shift in (-window_s, -CHORD_S, window_s - CHORD_S)]
    before, after = total[edges[1]] - total[edges[0]], total[edges[2]] - total[edges[1]]
    norm = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    differs = 1 - (before * after).sum(axis=1) / np.maximum(norm, 1e-9)
    return np.asarray(differs - _local_mean(differs, 8))
