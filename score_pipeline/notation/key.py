"""The key signature: how many sharps or flats the bars of a piece deserve.

Method: the likelihood of each bar's pitch classes, weighted by their duration, under every key's profile (after
Krumhansl, "Cognitive Foundations of Musical Pitch", 1990, chapter 2; in the likelihood form of Temperley, "Music and
Probability", 2007, chapter 6), and the best path over the bars, on which a change of signature costs so much that a
passing modulation does not pay. A neighbouring key, which sonatas modulate to without a new signature, costs more than
a distant one, such as the other mode on the same tonic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from score_pipeline.notation.measures import Bar, bar_at
from score_pipeline.notation.voices import Tone

# share of a piece's sounding time on each degree above the tonic
_MAJOR = np.array([0.184, 0.010, 0.155, 0.015, 0.175, 0.105, 0.020, 0.196, 0.012, 0.085, 0.013, 0.080])
_MINOR = np.array([0.184, 0.012, 0.140, 0.165, 0.018, 0.105, 0.022, 0.196, 0.095, 0.015, 0.035, 0.060])

_NEAR_CHANGE, _FAR_CHANGE = 80.0, 50.0
"""What a change of signature by up to two fifths, and by more, must gain in nats of weighted pitch classes (see
`_WEIGHT_CAP`)."""

_SHORTEST_BARS = 8
"""A signature holds at least this long; a last cadence in major is no new key."""

_WEIGHT_CAP = 4.0
"""A bar counts at most this many quarters' worth of notes, so that thick scoring does not modulate."""

_EDGE_BARS, _EDGE_WEIGHT = 4, 4.0
"""The first and last bars say most about the home key; tuned, like the changes' costs, on 323 scores."""

_FIFTHS = tuple(range(-6, 7))


def key_of_bars(tones: Iterable[Tone], bars: Sequence[Bar]) -> list[int]:
    """Signature (sharps positive, flats negative) of every bar, in concert pitch."""
    shares = _shares(tones, bars)
    likelihood = _likelihood(shares)
    price = _prices()
    previous = likelihood[0]
    back = np.zeros(likelihood.shape, dtype=np.int64)
    for index in range(1, len(bars)):
        arrival = previous[:, None] - price
        back[index] = np.argmax(arrival, axis=0)
        previous = np.max(arrival, axis=0) + likelihood[index]
    path = [int(np.argmax(previous))]
    for index in range(len(bars) - 1, 0, -1):
        path.append(int(back[index][path[-1]]))
    return _without_short_ones([_FIFTHS[choice] for choice in reversed(path)])


def _prices() -> NDArray[np.float64]:
    """Cost of going from each signature to each, shape (signatures, signatures); six sharps are next to five flats."""
    apart = np.abs(np.subtract.outer(_FIFTHS, _FIFTHS))
    apart = np.minimum(apart, 12 - apart)
    return np.asarray(np.where(apart > 2, _FAR_CHANGE, _NEAR_CHANGE) * ~np.eye(len(_FIFTHS), dtype=bool))


def _without_short_ones(keys: list[int]) -> list[int]:
    """The keys, with stretches shorter than `_SHORTEST_BARS` given to the one before (the first to the one after)."""
    runs = [(key, len(list(group))) for key, group in groupby(keys)]
    long_ones = [index for index, (_, length) in enumerate(runs) if length >= _SHORTEST_BARS]
    if not long_ones:
        return [max(runs, key=lambda run: run[1])[0]] * len(keys)
    result: list[int] = []
    for index, (_, length) in enumerate(runs):
        holder = max((other for other in long_ones if other <= index), default=long_ones[0])
        result += [runs[holder][0]] * length
    return result


def _shares(tones: Iterable[Tone], bars: Sequence[Bar]) -> NDArray[np.float64]:
    """Quarters per pitch class in every bar, shape (bars, 12), at most `_WEIGHT_CAP` in sum."""
    starts = [bar.start_q for bar in bars]
    shares: NDArray[np.float64] = np.zeros((len(bars), 12))
    for tone in tones:
        # long notes say little more about the key than short ones
        shares[bar_at(starts, tone.start_q), tone.pitch % 12] += min(2.0, float(tone.end_q - tone.start_q)) ** 0.5
    total = shares.sum(axis=1, keepdims=True)
    shares = np.where(total > _WEIGHT_CAP, shares * _WEIGHT_CAP / np.maximum(total, 1e-9), shares)
    edge = min(_EDGE_BARS, len(bars) // 4)
    if edge:
        shares[:edge] *= _EDGE_WEIGHT
        shares[-edge:] *= _EDGE_WEIGHT
    return shares


def _likelihood(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log likelihood of every bar under every signature, shape (bars, signatures): the better of major and minor."""
    scores = np.zeros((len(shares), len(_FIFTHS)))
    for column, fifths in enumerate(_FIFTHS):
        tonic = 7 * fifths % 12
        major = np.log(np.roll(_MAJOR / _MAJOR.sum(), tonic))
        minor = np.log(np.roll(_MINOR / _MINOR.sum(), tonic + 9))
        # one mode for the whole signature: the sum over all bars decides, softly
        scores[:, column] = np.logaddexp(shares @ major, shares @ minor) - np.log(2)
        # six sharps and six flats are the same sounds; flats are read a little more often, extremes rarely
        scores[:, column] -= 0.002 * abs(fifths) + 0.001 * (fifths > 0)
    return scores


def written_key(concert_fifths: int, transposition: int) -> int:
    """Signature a transposing instrument reads: a clarinet in B flat (-2) reads two sharps more.

    Beyond six sharps or flats the enharmonic key is written, as a player would want it.
    """
    fifths = concert_fifths + fifths_of_transposition(transposition)
    while fifths > 6:
        fifths -= 12
    while fifths < -6:
        fifths += 12
    return fifths


def fifths_of_transposition(transposition: int) -> int:
    """Steps on the line of fifths from the sounding to the written pitch: +2 for B flat, +1 for F, +3 for E flat."""
    step = -transposition * 7 % 12
    return step if step <= 6 else step - 12
