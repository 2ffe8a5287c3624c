"""From probabilities to decisions: evidence over the whole recording, steady activity. Pure.

Conventions
-----------
`probability` is float32 (instruments, steps), one step per output of the network; `audible` is bool (steps,). A
network that looks at some seconds takes a violin for a viola now and then; over a recording it rarely does. So a
probability is weighed by how sure the network was of that instrument elsewhere: by the 75th percentile over the
audible steps of the recording, or, so that a late or short entry is not voted down by those who came before, of the
half minute around. Hung & Yang (2018) decide each frame alone and name smoothing as future work (section 4.3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from score_pipeline.types import FloatArray

BoolArray = NDArray[np.bool_]

EVIDENCE_PERCENTILE = 75.0
"""Whoever plays a quarter of the time is heard out; measured on real recordings."""

COVERAGE = 0.7
"""Of the audible steps in which enough players should be found; the rest is reverberation, noise and false notes."""

LEAST_SHARE = 0.5
"""Thresholds come down no further than to this share, so that nobody is found in noise."""

MOST_WANTED = 4
"""However many notes sound, no more players are looked for: octaves of few players are taken for notes of more."""


def evidence(probability: FloatArray, audible: BoolArray, window_steps: int) -> FloatArray:
    """How sure the network was of each instrument, 0..1, (instruments, steps).

    The greater of the percentile over all audible steps and over those of the window of `window_steps` around (in
    windows half overlapping, the better of the two that hold a step).
    """
    n_instruments, steps = probability.shape
    result = np.zeros((n_instruments, steps), dtype=np.float32)
    if not audible.any():
        return result
    result[:] = np.percentile(probability[:, audible], EVIDENCE_PERCENTILE, axis=1)[:, None]
    half = max(1, window_steps // 2)
    # the percentile of a window that is mostly rests would be that of a few frames
    enough = max(1, half // 2)
    for start in range(0, max(1, steps - half), half):
        window = slice(start, start + 2 * half)
        heard = probability[:, window][:, audible[window]]
        if heard.shape[1] >= enough:
            local = np.percentile(heard, EVIDENCE_PERCENTILE, axis=1)[:, None]
            np.maximum(result[:, window], local, out=result[:, window])
    return result


def weighed(probability: FloatArray, sure: FloatArray) -> FloatArray:
    """What thresholds apply to: the geometric mean of the moment's probability and the evidence around it."""
    return np.asarray(np.sqrt(probability * sure), dtype=np.float32)


def threshold_share(
    judged: FloatArray, audible: BoolArray, thresholds: FloatArray, notes: NDArray[np.int64], chordal: BoolArray
) -> float:
    """Share of the thresholds, `LEAST_SHARE`..1, at which the notes have players in `COVERAGE` of the audible steps.

    Where music sounds somebody makes it, and where four notes sound it is four players or one who plays chords: if a
    recording is unlike what the network learned from, its answers are faint, and the thresholds come down together
    until most of the sound is accounted for. `thresholds` is (instruments, 1), `notes` (steps,) how many sound at
    once, `chordal` (instruments,) who may play them all.
    """
    if not audible.any() or not len(judged):
        return 1.0
    ratio = judged[:, audible] / thresholds
    wanted = notes[audible].clip(1, min(MOST_WANTED, len(judged)))
    enough = -np.sort(-ratio, axis=0)[wanted - 1, np.arange(len(wanted))]
    if chordal.any():
        enough = np.maximum(enough, ratio[chordal].max(axis=0))
    return float(np.clip(np.percentile(enough, 100 * (1 - COVERAGE)), LEAST_SHARE, 1.0))


def without_short_runs(active: BoolArray, shortest: int, value: bool) -> BoolArray:
    """`active` (rows, steps) with runs of `value` shorter than `shortest` steps turned over.

    Runs that touch either end are kept: how long they are is not known.
    """
    result = active.copy()
    for row in result:
        edges = np.flatnonzero(np.diff(row.astype(np.int8))) + 1
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if row[start] == value and end - start < shortest:
                row[start:end] = not value
    return result


def steady(active: BoolArray, shortest_gap: int, shortest_span: int) -> BoolArray:
    """Activity without flicker: gaps shorter than `shortest_gap` are closed, then short spans are dropped."""
    return without_short_runs(without_short_runs(active, shortest_gap, False), shortest_span, True)
