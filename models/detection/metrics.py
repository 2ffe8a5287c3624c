"""Figures of who-plays-when: how right, how sure, and what is taken for what. Pure.

Conventions
-----------
`active` and `labels` are bool and `probability` float32, all (instruments, frames) on the clock of
`score_pipeline.units`; frames in which it is not known who plays have been taken out before (`pooled` and `sampled`
before that, since they need frames that follow one another). Recordings are put together by adding `Counts`, or by
concatenating frames.

Metrics
-------
- Frame F1 per instrument over all frames together, and its mean over instruments (macro), as in Hung & Yang (ISMIR
  2018, section 4.3). An instrument that never plays has no F1 (NaN); its false alarms show in `presence_f1` and
  `confusion`.
- Area under the ROC curve per instrument; label-ranking average precision over all frames (micro) or as the mean over
  recordings (macro), as in Gururani, Summers & Lerch (ISMIR 2018, section 4.3). Frames in which nobody plays are left
  out of the ranking: any order is right in them, and silence would count as success.
- Expected calibration error: the probability of a bin against the share of its frames in which the instrument plays.
- Confusion (Gururani et al., section 4.4): who was missed in the frames in which somebody was invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import label_ranking_average_precision_score, roc_auc_score

from score_pipeline.types import FloatArray
from score_pipeline.units import FRAME_RATE_HZ

BoolArray = NDArray[np.bool_]

POOL_FRAMES = 9
"""104.5 ms, the step of the published baseline."""

STEP_HZ = 10
"""The coarser rate of the tables."""

THRESHOLDS = np.arange(1, 100) / 100
"""Candidates of section 4.3 of the paper."""


def pooled(rows: BoolArray) -> BoolArray:
    """(rows, frames) -> (rows, frames // 9): whether any of nine frames is set."""
    steps = rows.shape[1] // POOL_FRAMES
    return np.asarray(rows[:, : steps * POOL_FRAMES].reshape(len(rows), steps, POOL_FRAMES).any(axis=2))


def sampled_frames(frames: int) -> NDArray[np.int64]:
    """The frames nearest to each tenth of a second, of a recording of `frames` frames."""
    steps = int(np.ceil(frames / FRAME_RATE_HZ * STEP_HZ))
    nearest = np.round(np.arange(steps) * FRAME_RATE_HZ / STEP_HZ).astype(np.int64)
    return nearest[nearest < frames]


class Counts(NamedTuple):
    """Per instrument: frames found rightly, frames reported, frames played; int64 (instruments,)."""

    hits: NDArray[np.int64]
    alarms: NDArray[np.int64]
    positives: NDArray[np.int64]

    @property
    def f1(self) -> NDArray[np.float64]:
        """Frame F1 per instrument; NaN for one that never plays."""
        played = np.where(self.positives > 0, self.alarms + self.positives, 1)
        return np.where(self.positives > 0, 2 * self.hits / played, np.nan)


def counts(active: BoolArray, labels: BoolArray) -> Counts:
    """Hits, alarms and positives of each instrument."""
    return Counts((active & labels).sum(axis=1), active.sum(axis=1), labels.sum(axis=1))


def total(parts: Iterable[Counts]) -> Counts:
    """Counts of several recordings together; none is a ValueError."""
    listed = list(parts)
    if not listed:
        raise ValueError("no counts to add")
    return Counts(*(np.sum(column, axis=0) for column in zip(*listed, strict=True)))


def auc_roc(probability: FloatArray, labels: BoolArray) -> NDArray[np.float64]:
    """Area under the ROC curve per instrument; NaN for one that plays never or always."""
    return np.array(
        [
            roc_auc_score(truth, score) if truth.any() and not truth.all() else np.nan
            for truth, score in zip(labels, probability, strict=True)
        ]
    )


def ranking_precision(probability: FloatArray, labels: BoolArray) -> float:
    """Label-ranking average precision over the frames in which somebody plays; NaN if nobody ever does."""
    played = labels.any(axis=0)
    if not played.any():
        return float("nan")
    return float(label_ranking_average_precision_score(labels[:, played].T, probability[:, played].T))


class Calibration(NamedTuple):
    """What probabilities meant, per bin of equal width: how many frames, their mean probability, share played."""

    count: NDArray[np.int64]
    probability: NDArray[np.float64]
    played: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean difference of the two, weighed by the number of frames."""
        filled = self.count > 0
        gap = np.abs(self.probability[filled] - self.played[filled])
        return float(np.average(gap, weights=self.count[filled])) if filled.any() else float("nan")


def calibration(probability: FloatArray, labels: BoolArray, bins: int = 10) -> Calibration:
    """The bin table of all frames of all rows given; NaN in empty bins. Any shape, the same for both."""
    index = np.minimum((probability.ravel() * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, probability.ravel().astype(np.float64), minlength=bins) / count
        played = np.bincount(index, labels.ravel().astype(np.float64), minlength=bins) / count
    return Calibration(count, mean, played)


def presence_f1(players: frozenset[str], present: frozenset[str]) -> float:
    """F1 of the line-up of one recording; 1 if nobody plays and nobody is reported."""
    return 2 * len(players & present) / (len(players) + len(present)) if players or present else 1.0


class Confusion(NamedTuple):
    """Who was missed while somebody was invented, in frames.

    `missed` int64 (instruments, instruments): row = who was invented, column = who was missed at that moment; `ghosts`
    int64 (instruments,): frames in which the row was invented; `alone`: those of them in which nobody was missed, so
    that the ghost took no player's place but stood beside them.
    """

    missed: NDArray[np.int64]
    ghosts: NDArray[np.int64]
    alone: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each row of `missed` as shares of its sum (the paper's matrix); zeros where nothing was missed."""
        return self.missed / np.maximum(self.missed.sum(axis=1, keepdims=True), 1)


def confusion(pairs: Sequence[tuple[BoolArray, BoolArray]]) -> Confusion:
    """Confusion over recordings, each (active, labels); none is a ValueError."""
    if not pairs:
        raise ValueError("no recordings to compare")
    rows = len(pairs[0][0])
    result = Confusion(*(np.zeros(shape, dtype=np.int64) for shape in ((rows, rows), rows, rows)))
    for active, labels in pairs:
        invented, missed = active & ~labels, labels & ~active
        result.missed[:] += invented.astype(np.int64) @ missed.T.astype(np.int64)
        result.ghosts[:] += invented.sum(axis=1)
        result.alone[:] += (invented & ~missed.any(axis=0)).sum(axis=1)
    return result
