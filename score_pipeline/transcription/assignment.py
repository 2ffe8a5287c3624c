"""Which player a note belongs to, if to any.

Conventions
-----------
Every candidate gets one label: the index of an instrument, or `NOBODY`. A score is a log-odds against nobody, that is
against the candidate being a ghost. It is a weighted sum of what `evidence` gathered and of what only the whole can
tell: a clarinet plays one note at a time, lines move by small steps, the higher instrument tends to play the higher
note, and a player's register is that of this recording rather than of the textbook. No witness has a veto but the
instrument's range: each is bounded, so that a wrong one can be outvoted.

The labels are found by iterated conditional modes: the least certain candidates reconsider first, given all others,
until nothing changes. Arrays are (candidates, instruments) unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from score_pipeline.instruments import Instrument, instrument
from score_pipeline.transcription.evidence import Candidates, Evidence, IntArray, overlapping
from score_pipeline.units import FRAME_RATE_HZ

Array = NDArray[np.float64]

NOBODY = -1

LEAST_BELIEF = 0.25
"""A note is written down when somebody played it with at least this probability.

A false note costs F1 as much as a missed one gains when a note's chance is half the F1 reached, .5 to .8 here; and
somebody with a score in hand deletes a wrong note more easily than he hears a missing one.
"""

TESSITURA: dict[str, tuple[float, float]] = {
    "piano": (63, 13), "violin": (72, 7.5), "viola": (62, 6.5), "cello": (51, 7), "clarinet": (69, 7),
    "bassoon": (52, 7), "horn": (58, 7), "flute": (77, 6.5), "oboe": (73, 5.5), "saxophone": (66, 6.5),
    "trumpet": (69, 6), "trombone": (54, 7), "double_bass": (40, 7), "guitar": (60, 9), "bass_guitar": (38, 6),
    "voice": (64, 9),
}  # fmt: skip
"""Mean and standard deviation of sounding MIDI pitch in 332 public-domain scores, rounded; where those held fewer than
a thousand notes, or parts for another size of the instrument, the middle of what orchestration books give."""

_TESSITURA_NOTES = 20
"""How many notes of a recording weigh as much as the textbook when a register is adapted to it."""

_CHORDAL = 5
"""Instruments that play this many notes at once play chords; the others, of melody, have a line."""

_CHORDAL_LOG_RATE = 1.0
"""Log of how many more notes per part those have: a piano part has 2.7 times the notes of a violin's."""

_MIDDLING_FRAMES = 20
"""A note of typical length, 0.23 s, for which duration says nothing."""

_SAME = 0.5
"""Log-odds, and logs of shares, by which two stems may differ without meaning anything.

A separator that hesitates leaves every note in all its stems, a little stronger here or there for reasons that have
nothing to do with who plays; one that separates makes differences of three and more.
"""

_OF_STEMS = ("stem_note", "stem_attack", "share")

_LARGEST_BIAS = 1.5

_OUT_OF_RANGE = -50.0
_SWEEPS = 8
_NEIGHBOURS = 12
_LINE_GAP_FRAMES = round(FRAME_RATE_HZ)
_LINE_OVERLAP_FRAMES = 8


@dataclass(frozen=True)
class Weights:
    """How much each witness counts, in log-odds per unit of its feature.

    Those above `activity` are round numbers near a conditional logit fitted to 160 rendered clips whose stems were
    spoiled in eight ways (bleed, tiles given to the wrong player, soft masks with correlated errors), tempered for
    separators that are wrong in ways of their own; what stems say counts a quarter of that since they follow the
    notes' owners, who speak for themselves in `timbre`. The last three describe neighbours and were set by hand.
    """

    bias: float = -0.2
    attack: float = 0.4
    overtone: float = -0.8
    stem_only: float = -0.7
    duration: float = 0.3
    best_stem_note: float = 0.7
    best_stem_attack: float = 0.6
    stem_note: float = 0.25
    stem_attack: float = 0.15
    share: float = 0.1
    register: float = 1.0
    activity: float = 0.4
    timbre: float = 1.2
    overlap: float = 2.5
    step: float = 0.5
    order: float = 1.0


@dataclass(frozen=True, eq=False)
class Assignment:
    """Who plays what. `owner` (candidates,) is an index into the instruments or `NOBODY`.

    `belief` (candidates, instruments) is the probability that the instrument plays the candidate, given who plays the
    others; what a row lacks to 1 is that nobody does. `players` (instruments,) is 2 where an instrument of melody holds
    two notes most of the time it plays, so that there must be two of them.
    """

    owner: IntArray
    belief: Array
    players: IntArray


class _Relations(NamedTuple):
    """A candidate among the others: indices, how much they overlap, and who might come just before and after."""

    others: IntArray
    own_overlap: Array
    """Share of the candidate's own length during which each of `others` sounds too."""
    mutual_overlap: Array
    """The same of the shorter one's length."""
    above: Array
    """1 where the candidate is higher than the other, -1 where it is lower."""
    same_pitch: NDArray[np.bool_]
    before: IntArray
    after: IntArray


def assign(
    candidates: Candidates, evidence: Evidence, instruments: Sequence[str], weights: Weights | None = None
) -> Assignment:
    """Give each candidate to the instrument that most probably played it, or to nobody."""
    weights = weights or Weights()
    rows = [instrument(key) for key in instruments]
    allowed = np.stack([(candidates.pitch >= row.lowest) & (candidates.pitch <= row.highest) for row in rows], axis=1)
    without_stems, of_stems = _witness_scores(candidates, evidence, allowed, weights)
    without_stems = np.where(allowed, without_stems, _OUT_OF_RANGE)
    bias = _bias(without_stems, of_stems, candidates, rows, weights)
    local, centres = _with_register(without_stems + of_stems - bias, candidates, rows, weights)
    relations = [_relate(candidates, index, others) for index, others in enumerate(overlapping(candidates))]
    settler = _Settler(local, allowed, candidates.pitch, relations, rows, centres, weights)
    players = _players(candidates, settler.settle(np.full(len(rows), np.inf)), rows)
    capacity = np.array([_capacity(row) for row in rows]) * players.astype(np.float64)
    scores = settler.settle(capacity)
    return Assignment(_owners(scores), _beliefs(scores), players)


def log_odds(probability: NDArray[np.floating], floor: float = 0.02) -> Array:
    """Log-odds of a probability, bounded to about +-4 by `floor`."""
    clean = np.asarray(probability, dtype=np.float64)
    return np.asarray(np.log((clean + floor) / (1 - clean + floor)))


def features(candidates: Candidates, evidence: Evidence, allowed: NDArray[np.bool_]) -> dict[str, Array]:
    """What `Weights` multiplies, by name, register aside; (candidates, 1) where it is the same for all instruments.

    Whether a note is there is said by the stem that holds it best; whose it is, by how far the other stems lag
    behind that one.
    """
    length = candidates.offset_frame - candidates.onset_frame
    note, attack = log_odds(evidence.stem_note), log_odds(evidence.stem_attack)
    return {
        "attack": log_odds(evidence.attack)[:, None],
        "overtone": evidence.overtone[:, None].astype(np.float64),
        "stem_only": (~candidates.in_mixture)[:, None].astype(np.float64),
        "duration": np.log(length / _MIDDLING_FRAMES)[:, None],
        "best_stem_note": _best(note, allowed),
        "best_stem_attack": _best(attack, allowed),
        "stem_note": _lag(note, allowed),
        "stem_attack": _lag(attack, allowed),
        "share": _lag(np.log(evidence.share + 0.02, dtype=np.float64), allowed),
        "activity": np.log(evidence.activity + 0.1, dtype=np.float64),
        "timbre": evidence.timbre - _best(evidence.timbre.astype(np.float64), allowed),
    }


def _best(values: Array, allowed: NDArray[np.bool_]) -> Array:
    """Highest of those the range allows, (candidates, 1)."""
    return np.asarray(np.where(allowed, values, values.min(axis=1, keepdims=True)).max(axis=1, keepdims=True))


def _lag(values: Array, allowed: NDArray[np.bool_]) -> Array:
    """How far each falls behind the best by more than `_SAME`; 0 or less."""
    return np.minimum(values - _best(values, allowed) + _SAME, 0.0)


def register_scores(pitch: IntArray, rows: Sequence[Instrument], centres: Array) -> Array:
    """Log-density of each pitch in each instrument's register, which is `centres` and the textbook's width."""
    width = np.array([TESSITURA[row.key][1] for row in rows])
    distance = (pitch[:, None] - centres) / width
    rate = np.array([_CHORDAL_LOG_RATE if row.polyphony >= _CHORDAL else 0.0 for row in rows])
    return np.asarray(-0.5 * np.minimum(distance**2, 9.0) - np.log(width / 7.0) + rate)


def _witness_scores(
    candidates: Candidates, evidence: Evidence, allowed: NDArray[np.bool_], weights: Weights
) -> tuple[Array, Array]:
    """The sum of all features but the register's, and apart from it those that say whose stem holds the note."""
    without_stems, of_stems = np.full(allowed.shape, weights.bias), np.zeros(allowed.shape)
    for name, values in features(candidates, evidence, allowed).items():
        total = of_stems if name in _OF_STEMS else without_stems
        total += getattr(weights, name) * values
    return without_stems, of_stems


def _bias(
    without_stems: Array, of_stems: Array, candidates: Candidates, rows: Sequence[Instrument], weights: Weights
) -> Array:
    """How much too well the stems speak for each instrument throughout, (instruments,), in log-odds.

    A stem that got too much of everything claims notes all over the recording. By as much as the notes a player has
    with and without the stems differ, it is corrected, once and within bounds: who has sharp stems hardly notices.
    """
    length = (candidates.offset_frame - candidates.onset_frame)[:, None] / _MIDDLING_FRAMES
    expected, claimed = (
        (_beliefs(_with_register(scores, candidates, rows, weights)[0]) * length).sum(axis=0)
        for scores in (without_stems, without_stems + of_stems)
    )
    return np.asarray(np.log((claimed + 3.0) / (expected + 3.0)).clip(-_LARGEST_BIAS, _LARGEST_BIAS))


def _with_register(
    witnesses: Array, candidates: Candidates, rows: Sequence[Instrument], weights: Weights
) -> tuple[Array, Array]:
    """Scores with the register's, and the centres of the registers, adapted to whom the notes seem to belong to."""
    textbook = np.array([float(TESSITURA[row.key][0]) for row in rows])
    length = (candidates.offset_frame - candidates.onset_frame) / _MIDDLING_FRAMES
    centres = textbook
    for _ in range(4):
        scores = witnesses + weights.register * register_scores(candidates.pitch, rows, centres)
        belonging = _beliefs(scores) * length[:, None]
        centres = (textbook * _TESSITURA_NOTES + belonging.T @ candidates.pitch) / (
            _TESSITURA_NOTES + belonging.sum(axis=0)
        )
    return scores, centres


def _relate(candidates: Candidates, index: int, others: IntArray) -> _Relations:
    onset, offset, pitch = candidates.onset_frame, candidates.offset_frame, candidates.pitch
    common = np.minimum(offset[others], offset[index]) - np.maximum(onset[others], onset[index])
    own_length = offset[index] - onset[index]
    before = np.arange(max(0, index - _NEIGHBOURS), index)
    gap = onset[index] - offset[before]
    before = before[(gap >= -_LINE_OVERLAP_FRAMES) & (gap < _LINE_GAP_FRAMES)]
    after = np.arange(index + 1, min(len(pitch), index + 1 + _NEIGHBOURS))
    gap = onset[after] - offset[index]
    after = after[(gap >= -_LINE_OVERLAP_FRAMES) & (gap < _LINE_GAP_FRAMES)]
    return _Relations(
        others=others,
        own_overlap=common / own_length,
        mutual_overlap=common / np.minimum(offset[others] - onset[others], own_length),
        above=np.sign(pitch[index] - pitch[others]).astype(np.float64),
        same_pitch=pitch[others] == pitch[index],
        before=before,
        after=after[::-1],  # nearest last, as in `before`
    )


class _Settler:
    """Finds labels that agree with each other. Scores in, scores out: what neighbours say is added to `local`."""

    def __init__(
        self,
        local: Array,
        allowed: NDArray[np.bool_],
        pitch: IntArray,
        relations: Sequence[_Relations],
        rows: Sequence[Instrument],
        centres: Array,
        weights: Weights,
    ) -> None:
        self._local = local
        self._allowed = allowed
        self._pitch = pitch
        self._relations = relations
        self._weights = weights
        self._is_line = np.array([row.polyphony < _CHORDAL for row in rows])
        # how surely row i lies above row j: five semitones between their centres are sure
        ranks = ((centres[:, None] - centres) / 5.0).clip(-1, 1)
        self._ranks = ranks * self._is_line * self._is_line[:, None]

    def settle(self, capacity: Array) -> Array:
        """Scores once nobody changes their mind; `capacity` (instruments,) is how many notes each can hold at once."""
        scores = self._local.copy()
        owner = _owners(scores)
        waiting = np.ones(len(scores), dtype=bool)
        for _ in range(_SWEEPS):
            order = np.flatnonzero(waiting)
            order = order[np.argsort(_margins(scores[order]), kind="stable")]
            waiting[:] = False
            for index in order.tolist():
                scores[index] = self._local[index] + self._heard_from_neighbours(index, owner, capacity)
                label = _owners(scores[index : index + 1])[0]
                if label != owner[index]:
                    owner[index] = label
                    relations = self._relations[index]
                    for touched in (relations.others, relations.before, relations.after):
                        waiting[touched] = True
            if not waiting.any():
                break
        return scores

    def _heard_from_neighbours(self, index: int, owner: IntArray, capacity: Array) -> Array:
        """What the labels of the others add to the scores of one candidate; shape (instruments,)."""
        relations, weights = self._relations[index], self._weights
        n = len(capacity)
        said = np.zeros(n)
        labels = owner[relations.others]
        owned = labels != NOBODY
        if owned.any():
            labels = labels[owned]
            own = relations.own_overlap[owned]
            busy = np.bincount(labels, weights=own, minlength=n)
            twice = np.bincount(labels, weights=own * relations.same_pitch[owned], minlength=n)
            # a fifth of a note may overlap for free: players connect notes, rooms ring
            said -= weights.overlap * np.maximum((busy - (capacity - 1) - 0.2).clip(0, 2), twice.clip(0, 1))
            mutual = relations.mutual_overlap[owned]
            above = np.bincount(labels, weights=mutual * relations.above[owned], minlength=n)
            order = self._ranks @ (above / np.maximum(np.bincount(labels, weights=mutual, minlength=n), 1.0))
            # says who, not whether: a ghost above everybody else is no better for it
            reachable = self._allowed[index]
            said += weights.order * (order - order[reachable].max()) if reachable.any() else 0.0
        for line in (relations.before, relations.after):
            said += weights.step * self._step(index, line, owner, n)
        return said

    def _step(self, index: int, line: IntArray, owner: IntArray, n: int) -> Array:
        """+1 for a repeated note after each instrument's nearest note in `line`, -2.2 for a tenth; 0 if there is none.

        A fourth counts as neither.
        """
        nearest = np.full(n + 1, -1, dtype=np.int64)
        nearest[owner[line]] = line  # the last, nearest one wins; NOBODY's lands in the spare place at the end
        known = np.flatnonzero((nearest[:n] >= 0) & self._is_line)
        steps = np.zeros(n)
        if known.size:
            size = np.abs(self._pitch[nearest[known]] - self._pitch[index])
            steps[known] = (5 - np.minimum(size, 16)) / 5
        return steps


def _capacity(row: Instrument) -> float:
    """Notes at once that need no excuse: one for winds, double stops for strings, any number for a piano."""
    if row.polyphony == 1:
        return 1.0
    return 2.0 if row.polyphony < _CHORDAL else np.inf


def _players(candidates: Candidates, scores: Array, rows: Sequence[Instrument]) -> IntArray:
    """2 for instruments of melody that hold two notes during more than half of the time they play, else 1.

    On real recordings two trumpets come to .5-.7 and two violins to .45-.75, single players to less than .45.
    """
    owner, belief = _owners(scores), _beliefs(scores)
    players = np.ones(len(rows), dtype=np.int64)
    end = int(candidates.offset_frame.max(initial=0))
    for index, row in enumerate(rows):
        sure = np.flatnonzero((owner == index) & (belief[:, index] > 0.5))
        if row.polyphony >= _CHORDAL or len(sure) < _TESSITURA_NOTES:
            continue
        change = np.zeros(end + 1, dtype=np.int64)
        np.add.at(change, candidates.onset_frame[sure], 1)
        np.add.at(change, candidates.offset_frame[sure], -1)
        held = np.cumsum(change)
        if 2 * np.count_nonzero(held >= 2) > np.count_nonzero(held):
            players[index] = 2
    return players


def _owners(scores: Array) -> IntArray:
    """Most probable instrument of each row of scores, `NOBODY` where its belief is below `LEAST_BELIEF`."""
    best = scores.argmax(axis=1)
    belief = scores.max(axis=1) - np.logaddexp(0.0, np.logaddexp.reduce(scores, axis=1))
    return np.where(belief < np.log(LEAST_BELIEF), NOBODY, best)


def _beliefs(scores: Array) -> Array:
    """Probability of each instrument against the others and nobody, whose score is 0."""
    total = np.logaddexp(0.0, np.logaddexp.reduce(scores, axis=1, keepdims=True))
    return np.asarray(np.exp(scores - total))


def _margins(scores: Array) -> Array:
    """How far the best label of each row, nobody included, leads the second best."""
    with_nobody = np.concatenate([scores, np.zeros((len(scores), 1))], axis=1)
    with_nobody.sort(axis=1)
    return np.asarray(with_nobody[:, -1] - with_nobody[:, -2])
