"""Which hand plays what: the split of a keyboard part over two staves.

Method: at each onset the lowest tones go to the left hand; a beam search finds where to cut, so that no hand spans
more than it can, hands move little and stay on their own sides of middle C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby

from score_pipeline.notation.voices import Tone

_BEAM = 16
_OCTAVE = 12
_WIDE = 0.6
"""Cost per semitone beyond an octave in one hand."""
_PEDAL = 3.0
"""The most that a stretch to notes still held may cost beyond the stretch of what is struck."""
_FINGERS = 5
_FINGER = 2.0
"""Cost of each tone struck at once that a hand has no finger for."""
_MOVE = 0.12
"""Cost per semitone that a hand moves, less the longer it had."""
_SIDE = 0.1
"""Cost per semitone on the other hand's side of middle C."""
_CROSS = 0.5
_ENTRY = 0.4
"""Cost of a hand that comes in again after a rest shorter than `_REST_Q` quarters: a torn figure."""
_REST_Q = 2
_MIXED = 0.8
"""Cost of each further length in what one hand strikes at once: the odd one belongs to the other hand's figure."""
_MIDDLE_C = 60


@dataclass(frozen=True)
class _Hand:
    """Where a hand is: the middle of what it last played, when, until when, and the tones that it still holds."""

    place: float
    last_q: Fraction
    free_q: Fraction
    held: tuple[Tone, ...] = ()


@dataclass(frozen=True)
class _State:
    cost: float
    before: _State | None
    lower: int
    left: _Hand
    right: _Hand


def split_hands(tones: Sequence[Tone]) -> tuple[list[Tone], list[Tone]]:
    """(right hand, left hand) of tones sorted by onset."""
    groups = [sorted(group, key=lambda tone: tone.pitch) for _, group in groupby(tones, lambda tone: tone.start_q)]
    if not groups:
        return [], []
    start_q = groups[0][0].start_q
    beam = [_State(0.0, None, 0, _Hand(48.0, start_q, start_q), _Hand(72.0, start_q, start_q))]
    for group in groups:
        grown = [_with_group(state, group, lower) for state in beam for lower in range(len(group) + 1)]
        grown.sort(key=lambda state: state.cost)
        beam = grown[:_BEAM]
    cuts: list[int] = []
    state: _State | None = beam[0]
    while state is not None and state.before is not None:
        cuts.append(state.lower)
        state = state.before
    right: list[Tone] = []
    left: list[Tone] = []
    for group, lower in zip(groups, reversed(cuts), strict=True):
        left += group[:lower]
        right += group[lower:]
    return right, left


def _with_group(state: _State, group: Sequence[Tone], lower: int) -> _State:
    """The state after the `lower` lowest tones went to the left hand and the others to the right."""
    start_q = group[0].start_q
    cost = state.cost
    hands = []
    for hand, tones, side in ((state.left, group[:lower], 1), (state.right, group[lower:], -1)):
        held = tuple(tone for tone in hand.held if tone.end_q > start_q)
        if not tones:
            hands.append(replace(hand, held=held))
            continue
        reach = _WIDE * max(0, tones[-1].pitch - tones[0].pitch - _OCTAVE)
        pitches = [tone.pitch for tone in (*held, *tones)]
        # what is still held may be held by the pedal
        cost += max(reach, min(_WIDE * max(0, max(pitches) - min(pitches) - _OCTAVE), reach + _PEDAL))
        cost += _FINGER * max(0, len(tones) - _FINGERS)
        place = (tones[0].pitch + tones[-1].pitch) / 2
        waited = float(start_q - hand.last_q)
        cost += _MOVE * abs(place - hand.place) / (1 + waited)
        cost += _MIXED * (len({tone.end_q for tone in tones}) - 1)
        if 0 < start_q - hand.free_q < _REST_Q:
            cost += _ENTRY
        cost += _SIDE * sum(max(0, side * (tone.pitch - _MIDDLE_C)) for tone in tones)
        free_q = max(hand.free_q, *(tone.end_q for tone in tones))
        hands.append(_Hand(place, start_q, free_q, (*held, *tones)))
    left, right = hands
    if left.held and right.held and max(t.pitch for t in left.held) > min(t.pitch for t in right.held):
        cost += _CROSS
    return _State(cost, state, lower, left, right)
