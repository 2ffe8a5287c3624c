"""Thresholds per instrument, chosen on sound no network learned from, and what they are worth on sound left out.

As in section 4.3 of the paper the best of .01, .02 ... .99 by F1, but on what the detector decides with: the moment's
probability weighed by the evidence over the recording. The sound is of four kinds: encounters of real players nobody
trained on, every second held-out render, mixtures of real players' stems and other dev recordings. The first two, on
which no figure is measured, weigh twice as much. Figures on dev recordings would flatter thresholds chosen on them, so
they are also measured with thresholds chosen without the whole group a recording belongs to. For some instruments
there is little sound, so each threshold lies between the instrument's own best and the one that is best for all in
common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.detection.bars import MIXED_GROUPS
from models.detection.examples import LABELS, Example, StoredExample
from models.detection.metrics import THRESHOLDS
from models.detection.recordings import BoolArray, Recording
from score_pipeline.detection.detector import EVIDENCE_WINDOW_S, Detector, DetectorCard, Features
from score_pipeline.detection.evidence import evidence, weighed
from score_pipeline.features.cqt import audible
from score_pipeline.types import FloatArray
from score_pipeline.units import FRAME_RATE_HZ

COMMON_WEIGHT = 100.0
"""An instrument that plays in this many examples is half its own master."""

APART_TIMES = 2
"""How much more a kind of sound apart from dev recordings weighs."""

RAISED = 1.2
"""Thresholds come down together where too little is accounted for, so they start above what is best without that."""


class Judged(NamedTuple):
    """What is compared with the thresholds, and who plays, both (instruments, outputs)."""

    values: FloatArray
    labels: BoolArray


def for_renders(dev: Sequence[StoredExample]) -> list[StoredExample]:
    """The held-out renders thresholds may be chosen on: every second one."""
    return list(dev[0::2])


def judged(card: DetectorCard, answer: FloatArray, heard: BoolArray, labels: BoolArray, known: BoolArray) -> Judged:
    """From the network's answer (instruments, outputs); `heard`, `known` (frames,), `labels` (17, frames) as elsewhere.

    Only outputs whose players are known are kept.
    """
    step = card.output_frames
    frames = np.minimum(np.arange(answer.shape[1]) * step + step // 2, len(heard) - 1)
    sure = evidence(answer, heard[frames], round(EVIDENCE_WINDOW_S * FRAME_RATE_HZ / step))
    rows = [LABELS.index(key) for key in card.instruments]
    kept = known[frames]
    return Judged(weighed(answer, sure)[:, kept], labels[rows][:, frames][:, kept])


def judged_example(detector: Detector, example: Example) -> Judged:
    """Of an example with labels and a mel spectrum; none is a ValueError."""
    if example.labels is None or example.mel is None:
        raise ValueError("thresholds need labels, and examples that were made with --whole")
    answer = detector.probability(Features(example.levels, example.mel, example.pitch))
    everywhere = np.ones(len(example.levels), dtype=np.bool_)
    return judged(detector.card, answer, audible(example.levels), example.labels, everywhere)


def judged_recording(card: DetectorCard, recording: Recording, answer: FloatArray, heard: BoolArray) -> Judged:
    """Of a dev recording. If only the players are known they are taken to sound wherever anything is to be heard."""
    if recording.labels is not None and recording.known is not None:
        return judged(card, answer, heard, recording.labels, recording.known)
    labels = np.zeros((len(LABELS), len(heard)), dtype=np.bool_)
    labels[[LABELS.index(key) for key in recording.players if key in LABELS]] = heard
    return judged(card, answer, heard, labels, np.ones(len(heard), dtype=np.bool_))


@dataclass(frozen=True, eq=False)
class Choice:
    """All that thresholds are chosen on: kinds of sound apart from dev recordings, and these with their groups."""

    instruments: tuple[str, ...]
    kinds: Sequence[Sequence[Judged]]
    recordings: Sequence[tuple[str, Judged]]

    def thresholds(self, without: str | None = None) -> dict[str, float]:
        """Threshold per instrument, chosen on all dev recordings but those of a group."""
        heard = [(group in MIXED_GROUPS, one) for group, one in self.recordings if group != without]
        mixtures = [one for mixed, one in heard if mixed]
        others = [one for mixed, one in heard if not mixed]
        return choose(self.instruments, [kind for kind in (*APART_TIMES * [*self.kinds], mixtures, others) if kind])


def shares(results: Sequence[Judged], row: int) -> tuple[FloatArray, FloatArray, float]:
    """Hits and alarms at each of the 99 thresholds, and positives, of one instrument, as shares of all outputs."""
    edges = np.concatenate(([-1], THRESHOLDS, [2]))
    values = np.concatenate([one.values[row] for one in results])
    positive = np.concatenate([one.labels[row] for one in results])

    def above(selected: FloatArray) -> FloatArray:
        count = np.histogram(selected, edges)[0][::-1].cumsum()[::-1][1 : 1 + len(THRESHOLDS)]
        return np.asarray(count / len(values), dtype=np.float32)

    return above(values[positive]), above(values), float(positive.mean())


def f1_curves(n_instruments: int, kinds: Sequence[Sequence[Judged]]) -> tuple[FloatArray, FloatArray]:
    """F1 at each threshold, (instruments, 99), all kinds of sound weighing alike; NaN where nobody plays.

    And in how many examples each instrument plays, (instruments,).
    """
    curves = np.full((n_instruments, len(THRESHOLDS)), np.nan, dtype=np.float32)
    for row in range(len(curves)):
        per_kind = [shares(of_kind, row) for of_kind in kinds]
        hits = np.sum([kind[0] for kind in per_kind], axis=0)
        alarms = np.sum([kind[1] for kind in per_kind], axis=0)
        positives = sum(kind[2] for kind in per_kind)
        if positives:
            curves[row] = 2 * hits / (alarms + positives)
    examples = [one.labels.any(axis=1) for of_kind in kinds for one in of_kind]
    return curves, np.sum(examples, axis=0, dtype=np.float32)


def choose(instruments: Sequence[str], kinds: Sequence[Sequence[Judged]]) -> dict[str, float]:
    """Threshold per instrument from kinds of sound that weigh alike; with more examples its own best counts more.

    All of them are `RAISED`.
    """
    curves, examples = f1_curves(len(instruments), kinds)
    common = float(THRESHOLDS[int(np.nanmean(curves, axis=0).argmax())])
    chosen = {}
    for key, curve, count in zip(instruments, curves, examples.tolist(), strict=True):
        own = common if np.isnan(curve).any() else float(THRESHOLDS[int(curve.argmax())])
        between = common + (own - common) * count / (count + COMMON_WEIGHT)
        chosen[key] = round(min(RAISED * between, float(THRESHOLDS[-1])), 3)
    return chosen
