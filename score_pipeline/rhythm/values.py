"""How long each note is written, and which are staccato.

A value is weighed against how long the note sounded (a player holds, detaches or shortens notes by the phrase) and
against what the reader needs for it: a value that lasts to another onset of the part is nearly free, one that leaves
a rest or takes a tie is not. Notes of a chord that were let go about together are written alike.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from score_pipeline.instruments import Instrument
from score_pipeline.rhythm.bars import Bars, hides_a_beat, ties
from score_pipeline.rhythm.clusters import EXACT_Q

_VALUES: tuple[Fraction, ...] = tuple(
    Fraction(*value)
    for value in ((1, 4), (1, 3), (1, 2), (2, 3), (3, 4), (1, 1), (3, 2), (2, 1), (3, 1), (4, 1), (6, 1), (8, 1))
)


_SIXTEENTH = Fraction(1, 4)

_TOUCHES = (0.97, 0.78, 0.5)
"""Shares of its written length that a note sounds: held, detached, staccato."""
_TOUCH_COST = (0.0, 0.15, 0.4)
"""What each of them costs, per note, against being held."""
_TOUCH_CHANGE = 1.2
"""Cost of one note played otherwise than the one before it."""
_REST = 1.4
"""Cost of a note that ends where no other note of the part begins."""
_REST_BEFORE_OFFBEAT = 0.9
"""The same where it ends on a stronger place than the next note begins on: there a rest is meant."""
_CROOKED_END = 2.0
"""Further cost where that is not on an eighth: it needs a tie or a short rest."""
_SLIVER = 1.2
"""Further cost where less than an eighth is left of the time to the next note."""
_TIE = 1.1
"""Cost of each tie that a value takes."""
_SYNCOPATION = 0.5
"""Cost of a note that begins off the beat and is held over one."""
_LET_GO_TOGETHER = 0.8
"""Notes of a chord that sound at least this share of its longest are meant alike."""
_EXACT_PARTS = (384, 5, 7)
"""Parts of a quarter that a sequencer's note may last: its triplets and 128ths, and its tuplets."""
_PLAIN_PARTS = 24
"""Parts of a quarter on which notes of tuplets of six, and of plain rhythms, begin."""
_HAND = 12
"""Semitones between neighbours in one hand's chord."""
_NEAR = 7
"""Semitones within which the line of a note is thought to go on where there are several: a fifth."""
_TWO_HANDED = ("keyboard", "plucked")
"""Families that accompany themselves; a bow has one line, however far that leaps."""
_PASSED = 0.15
"""Cost of every onset of its line that a note is held over."""
_FOREIGN_END = 0.8
"""Cost of a note that ends where only a distant line of the part has an onset: it leaves a rest in its own."""


@dataclass(frozen=True)
class Placed:
    """A note at its place: how long it sounded in quarters, and its length if it belongs to a tuplet."""

    onset_q: Fraction
    pitch: int
    sounded_q: float
    in_tuplet_q: Fraction | None = None


def written_values(line: Sequence[Placed], row: Instrument, bars: Bars, exact: bool) -> list[tuple[Fraction, bool]]:
    """Written length in quarters of each note of one track, and whether it is staccato.

    `line` is sorted by onset and pitch. Notes of a tuplet last to its next, and no other note ends inside one. In
    `exact` music, which was written and not played, what lasts exactly as long as a value has that value.
    """
    solo = row.polyphony == 1
    reach = _NEAR if row.family in _TWO_HANDED else math.inf
    inner = {note.onset_q for note in line if note.in_tuplet_q and _PLAIN_PARTS % note.onset_q.denominator}
    struck: dict[Fraction, list[int]] = defaultdict(list)
    for note in line:
        struck[note.onset_q].append(note.pitch)
    after = dict(pairwise(sorted(struck)))
    fixed: dict[int, Fraction] = {}
    options: list[dict[Fraction, float]] = []
    for number, (note, again) in enumerate(zip(line, _struck_again(line), strict=True)):
        start = note.onset_q
        limit = after.get(start) if solo else again
        longest = None if limit is None else limit - start
        if exact and (kept := _exact_value(note.sounded_q)) is not None:
            fixed[number] = kept if longest is None else min(kept, longest)
        if note.in_tuplet_q is not None:
            fixed[number] = note.in_tuplet_q if longest is None else min(note.in_tuplet_q, longest)
        # what a hand or a bow goes on to lies near; other lines' onsets are poorer ends, and none is passed by them
        ends: dict[Fraction, float] = {}
        passed = 0
        following = after.get(start)
        while following is not None and (limit is None or following <= limit) and len(ends) < 16:
            near = any(abs(pitch - note.pitch) <= reach for pitch in struck[following])
            if solo or following not in inner:
                ends[following - start] = _PASSED * passed + (0.0 if near else _FOREIGN_END)
            passed += near
            if float(following - start) > note.sounded_q + 2:
                break
            following = after.get(following)
        place, meter = bars.place(start)
        priced = _options(note.sounded_q, ends, longest, start)
        options.append(
            {
                value: price + _TIE * ties(place, value, meter) + _SYNCOPATION * hides_a_beat(place, value, meter)
                for value, price in priced.items()
            }
        )
    chords = list(_chords(line, fixed))
    chosen = _articulated(
        [[line[number].sounded_q for number in chord] for chord in chords],
        [_shared([options[number] for number in chord]) for chord in chords],
    )
    return [
        (fixed.get(number, value), staccato and number not in fixed and value <= 1 and row.is_pitched)
        for chord, (value, staccato) in zip(chords, chosen, strict=True)
        for number in chord
    ]


def _chords(line: Sequence[Placed], fixed: Mapping[int, Fraction]) -> Iterator[list[int]]:
    """The notes in order, by their indices: those of a hand's chord together that were let go about together."""
    chord: list[int] = []
    for number, note in enumerate(line):
        if chord:
            last = line[chord[-1]]
            lengths = [note.sounded_q, *(line[other].sounded_q for other in chord)]
            joins = (
                note.onset_q == last.onset_q
                and note.pitch - last.pitch <= _HAND
                and min(lengths) >= _LET_GO_TOGETHER * max(lengths)
                and number not in fixed
                and chord[0] not in fixed
            )
            if not joins:
                yield chord
                chord = []
        chord.append(number)
    if chord:
        yield chord


def _shared(options: Sequence[Mapping[Fraction, float]]) -> dict[Fraction, float]:
    """The values that all notes of a chord may have, at their mean price; the shortest note's where none is."""
    common = set.intersection(*(set(priced) for priced in options))
    if not common:
        return dict(min((dict(priced) for priced in options), key=lambda priced: max(priced.keys())))
    return {value: sum(priced[value] for priced in options) / len(options) for value in common}


def _struck_again(line: Sequence[Placed]) -> list[Fraction | None]:
    """Where the pitch of each note is struck next."""
    upcoming: dict[int, Fraction] = {}
    found: list[Fraction | None] = []
    for note in reversed(line):
        found.append(upcoming.get(note.pitch))
        upcoming[note.pitch] = note.onset_q
    return found[::-1]


def _exact_value(sounded: float) -> Fraction | None:
    """The value of a note that lasts exactly as long as a written one, None for any other."""
    for parts in _EXACT_PARTS:
        value = Fraction(round(sounded * parts), parts)
        if value > 0 and abs(float(value) - sounded) < EXACT_Q:
            return value
    return None


def _options(
    sounded: float, ends: Mapping[Fraction, float], longest: Fraction | None, start: Fraction
) -> dict[Fraction, float]:
    """The values a note may be written with, and what each costs the reader; `ends` has those up to other onsets.

    A value that lasts to another onset of the part is nearly free, one that leaves a rest is not, least of all a
    short rest.
    """
    triple = start.denominator % 3 == 0
    options: dict[Fraction, float] = {}

    def price(value: Fraction) -> float:
        end = start + value
        following = start + min(ends) if ends else end + 4
        crooked = end.denominator > 2 and end.denominator % 3 != 0
        if end.denominator < following.denominator:
            return _REST_BEFORE_OFFBEAT + (_CROOKED_END if crooked else 0.0)
        sliver = 0 < following - end < Fraction(1, 2)
        return _REST + (_SLIVER if sliver else 0.0) + (_CROOKED_END if crooked else 0.0)

    for value in _VALUES:
        if longest is not None and value > longest:
            break
        if (value.denominator == 3) != triple and (value.denominator == 3 or value < Fraction(1, 2)):
            continue
        options[value] = price(value)
    if start.denominator == 4:
        # from a sixteenth off the beat a plain value would end off it too
        for value in (plain + shift for plain in _VALUES for shift in (-_SIXTEENTH, _SIXTEENTH)):
            if value > 0 and value.denominator == 4 and (longest is None or value <= longest):
                options.setdefault(value, price(value))
    options.update(ends)
    if not options:
        assert longest is not None
        return {longest: 0.0}
    while (value := max(options)) < sounded / 1.5 and (longest is None or value < longest):
        further = value + 4 if longest is None else min(value + 4, longest)
        options[further] = price(further)
    return options


def _articulated(
    sounding: Sequence[Sequence[float]], options: Sequence[Mapping[Fraction, float]]
) -> list[tuple[Fraction, bool]]:
    """Written value of every chord of a line and whether it is staccato: Viterbi over how notes are touched.

    How far a note sounds from its written length times the touch is a distance on the logarithm of the length, so
    what was written once is written the same again.
    """
    count = len(_TOUCHES)
    total = [0.0] * count
    best: list[list[Fraction]] = []
    back: list[list[int]] = []
    for sounded, priced in zip(sounding, options, strict=True):
        choices, costs = [], []
        for touch, extra in zip(_TOUCHES, _TOUCH_COST, strict=True):
            cost, value = min(
                (base + sum(_stray(float(value) * touch / length) for length in sounded), value)
                for value, base in priced.items()
            )
            choices.append(value)
            costs.append(cost + extra)
        step = [min(range(count), key=lambda k: total[k] + _TOUCH_CHANGE * (k != now)) for now in range(count)]
        total = [total[step[now]] + _TOUCH_CHANGE * (step[now] != now) + costs[now] for now in range(count)]
        best.append(choices)
        back.append(step)
    values: list[tuple[Fraction, bool]] = []
    state = min(range(count), key=lambda k: total[k]) if best else 0
    for choices, step in zip(reversed(best), reversed(back), strict=True):
        values.append((choices[state], _TOUCHES[state] == min(_TOUCHES)))
        state = step[state]
    return values[::-1]


def _stray(ratio: float) -> float:
    """Cost of a note expected to sound `ratio` times as long as it does."""
    return 5.0 * abs(math.log(ratio))
