"""From single notes to lines a player can read: at most two voices on a staff, chords inside them.

Conventions
-----------
A `Tone` is a note in score time, a `Chord` one or more tones of one voice with one start and one end. Voice 1 is the
upper voice of a staff and the only one wherever one is enough.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby, pairwise

from score_pipeline.instruments import Instrument
from score_pipeline.notation.durations import LONG_TUPLETS
from score_pipeline.types import QuantisedNote

_log = logging.getLogger(__name__)

_TUPLETS = tuple(parts for parts, _ in LONG_TUPLETS if parts % 3)
"""Equal parts of a quarter (or of a half) that are written as they come: no player is put there by chance."""

_BEAM = 12
"""States kept in the search for voices; more changes nothing on the pieces tried."""


@dataclass(frozen=True)
class Tone:
    """One note: quarters from the first downbeat, sounding pitch, and its spelling on the line of fifths."""

    start_q: Fraction
    end_q: Fraction
    pitch: int
    velocity: int = 64
    confidence: float = 1.0
    fifths: int = 0
    staccato: bool = False


@dataclass(frozen=True)
class Chord:
    """Tones of one voice that start and end together, lowest first."""

    start_q: Fraction
    end_q: Fraction
    tones: tuple[Tone, ...]
    voice: int = 1


def settle(notes: Iterable[QuantisedNote], instrument: Instrument, shortest_q: Fraction) -> list[Tone]:
    """Notes on places that can be written, without doubles, and no more at once than the instrument can play.

    Places are multiples of `shortest_q`, or of two thirds of it where that is nearer (triplets). Of too many notes
    with one onset the surest stay; of too many that sound together the oldest end. A wind instrument's note ends
    where its next begins.
    """
    played = (note for note in notes if not note.grace)
    tones = sorted((_placed(note, shortest_q) for note in played), key=lambda tone: (tone.start_q, tone.pitch))
    kept: list[Tone] = []
    sounding: list[Tone] = []
    for start_q, group in groupby(tones, key=lambda tone: tone.start_q):
        new: dict[int, Tone] = {}
        for tone in group:
            if tone.pitch not in new or new[tone.pitch].end_q < tone.end_q:
                new[tone.pitch] = tone
        arrivals = sorted(new.values(), key=lambda tone: (-tone.confidence, tone.start_q - tone.end_q, -tone.pitch))
        if len(arrivals) > instrument.polyphony:
            _log.info("%s cannot play %d notes at quarter %s", instrument.name, len(arrivals), start_q)
            arrivals = arrivals[: instrument.polyphony]
        pitches = {tone.pitch for tone in arrivals}
        still: list[Tone] = []
        room = instrument.polyphony - len(arrivals)
        for tone in sorted(sounding, key=lambda tone: -tone.start_q):
            if tone.end_q <= start_q:
                kept.append(tone)
            elif tone.pitch in pitches or room <= 0:
                kept.append(replace(tone, end_q=start_q))
            else:
                still.append(tone)
                room -= 1
        sounding = still + arrivals
    kept += sounding
    return sorted(kept, key=lambda tone: (tone.start_q, tone.pitch))


def _placed(note: QuantisedNote, shortest_q: Fraction) -> Tone:
    start_q = _nearest(note.onset_q, shortest_q)
    end_q = _nearest(note.onset_q + note.duration_q, shortest_q)
    if end_q <= start_q:
        binary = (start_q / shortest_q).denominator == 1
        end_q = start_q + (shortest_q if binary else shortest_q * Fraction(2, 3))
        if start_q.denominator in _TUPLETS:
            end_q = start_q + Fraction(1, start_q.denominator)
    return Tone(start_q, end_q, note.note.pitch, note.note.velocity, note.note.confidence, staccato=note.staccato)


def _nearest(position_q: Fraction, shortest_q: Fraction) -> Fraction:
    """The nearest place that can be written; a tie goes to the binary one."""
    meant = position_q.denominator in _TUPLETS and shortest_q <= Fraction(1, 4)
    if meant or (position_q / shortest_q).denominator == 1:
        return position_q
    third = shortest_q * Fraction(2, 3)
    places = [round(position_q / step) * step for step in (shortest_q, third)]
    return min(places, key=lambda place: abs(place - position_q))


def graces_of(notes: Iterable[QuantisedNote], shortest_q: Fraction) -> list[Tone]:
    """Grace notes, each at the place of the note it stands before."""
    return [_placed(note, shortest_q) for note in notes if note.grace]


def single_voice(tones: Sequence[Tone]) -> list[Chord]:
    """Everything in voice 1: one chord per onset, each ending at the next at the latest."""
    groups = [list(group) for _, group in groupby(tones, key=lambda tone: tone.start_q)]
    return _chords(groups, [len(group) for group in groups])


def two_voices(tones: Sequence[Tone], *, is_line: bool = False) -> list[Chord]:
    """Chords of one or two voices, found by a beam search over the onsets.

    An instrument that mostly plays one line (`is_line`) gets a second voice only where that lasts: a note held into
    the next by a bow or a reverberant hall is no voice.

    At each onset the highest tones go to voice 1 and the rest to voice 2. The search weighs what a choice costs the
    reader (a second voice, its entries, crossings, leaps) against what it costs the music (tones cut short by the
    next of their voice, or made as long as their chord).
    """
    chords: list[Chord] = []
    for region in _regions(tones):
        groups = [sorted(group, key=lambda tone: -tone.pitch) for _, group in groupby(region, lambda t: t.start_q)]
        chords += _chords(groups, _best_split(_released_together(groups), _LINE_ENTRY if is_line else _ENTRY))
    return chords


def _released_together(groups: Sequence[Sequence[Tone]]) -> list[list[Tone]]:
    """The groups as a player means them: fingers that leave a chord a little apart, while nothing new is struck."""
    starts = [group[0].start_q for group in groups]
    meant = []
    for group in groups:
        last = max(tone.end_q for tone in group)
        meant.append(
            [
                replace(tone, end_q=last)
                if tone.end_q - tone.start_q >= _SAME_RELEASE * (last - tone.start_q)
                and bisect_left(starts, tone.end_q) == bisect_left(starts, last)
                else tone
                for tone in group
            ]
        )
    return meant


def without_slivers(chords: Sequence[Chord]) -> list[Chord]:
    """The chords of played music, held to the next of their voice where only a sliver of a rest would stand between.

    One that alone would need a triplet for its end lasts to the end of that eighth. Where a note was let go is known
    only roughly, and which voice it belongs to not before its staff is divided.
    """
    result = list(chords)
    for voice in (1, 2):
        line = [index for index, chord in enumerate(chords) if chord.voice == voice]
        for index, following in pairwise(line):
            chord, goal = chords[index], chords[following].start_q
            gap, length = goal - chord.end_q, chord.end_q - chord.start_q
            if gap > 0 and _is_lone_third(chord, goal):
                result[index] = replace(chord, end_q=min(goal, (chord.end_q // _EIGHTH + 1) * _EIGHTH))
                continue
            if 0 < gap <= _SLIVER and length >= (gap if gap < _SLIVER else 4 * gap):
                result[index] = replace(chord, end_q=goal)
    return result


def _is_lone_third(chord: Chord, goal: Fraction) -> bool:
    """Whether a chord ends on a triplet of another hand's, having none of its own: its voice goes on at `goal`."""
    return chord.end_q.denominator % 3 == 0 and chord.start_q.denominator % 3 != 0 and goal.denominator % 3 != 0


def without_lone_dots(chords: Sequence[Chord]) -> list[Chord]:
    """The chords, with staccato only where a voice has at least `_DOTS` of them in a row: a touch, not an accident."""
    kept: dict[int, Chord] = {}
    for voice in (1, 2):
        line = [index for index, chord in enumerate(chords) if chord.voice == voice]
        for short, run in groupby(line, lambda index: all(tone.staccato for tone in chords[index].tones)):
            members = list(run)
            for index in members:
                chord = chords[index]
                if short and len(members) < _DOTS:
                    chord = replace(chord, tones=tuple(replace(tone, staccato=False) for tone in chord.tones))
                kept[index] = chord
    return [kept[index] for index in range(len(chords))]


def _regions(tones: Sequence[Tone]) -> Iterable[list[Tone]]:
    """Stretches between moments at which nothing is held over."""
    region: list[Tone] = []
    end_q = None
    for tone in tones:
        if end_q is not None and tone.start_q >= end_q:
            yield region
            region, end_q = [], None
        region.append(tone)
        end_q = tone.end_q if end_q is None else max(end_q, tone.end_q)
    if region:
        yield region


def _best_split(groups: Sequence[Sequence[Tone]], entry: float) -> list[int]:
    """How many of the highest tones of each onset go to voice 1."""
    if len(groups) == 1 and len({tone.end_q for tone in groups[0]}) == 1:
        return [len(groups[0])]
    beam: list[_State] = [_State(0.0, None, None, None, 0)]
    for group in groups:
        grown = [state.with_group(group, upper, entry) for state in beam for upper in range(len(group), -1, -1)]
        grown.sort(key=lambda state: state.cost)
        beam = grown[:_BEAM]
    splits: list[int] = []
    state: _State | None = beam[0]
    while state is not None and state.before is not None:
        splits.append(state.upper)
        state = state.before
    return splits[::-1]


# What a reader pays, in the currency of "one quarter of sound written wrong". Tuned on scores with two-voice staves:
# violin solos and piano pieces whose voices are known.
_SECOND_VOICE = 0.4
_ENTRY = 0.4
_LINE_ENTRY = 1.6
_TOP_SILENT = 0.5
_CROSSING = 1.5
_LEAP_PER_SEMITONE = 0.02
_CUT = 0.2

_SAME_RELEASE = Fraction(2, 3)
"""Share of the longest tone's length from which on a tone of its chord is thought to be let go with it."""

_SLIVER = Fraction(1, 2)
"""A rest of an eighth is one after a half note, a shorter one after any note that is not shorter still."""

_EIGHTH = Fraction(1, 2)

_DOTS = 3
"""Staccato notes in a row that are worth their dots."""


@dataclass(frozen=True)
class _Line:
    """The last chord of a voice."""

    end_q: Fraction
    low: int
    high: int
    size: int


@dataclass(frozen=True)
class _State:
    """A choice for every onset so far."""

    cost: float
    before: _State | None
    first: _Line | None
    second: _Line | None
    upper: int

    def with_group(self, group: Sequence[Tone], upper: int, entry: float) -> _State:
        """The state after one more onset whose `upper` highest tones go to voice 1."""
        start_q = group[0].start_q
        lines: list[_Line | None] = [self.first, self.second]
        cost = self.cost
        for index, tones in enumerate((group[:upper], group[upper:])):
            if not tones:
                continue
            line = lines[index]
            end_q = _common_end(tones)
            cost += sum(abs(float(tone.end_q - end_q)) for tone in tones)
            if line is not None:
                if line.end_q > start_q:
                    cost += _CUT + line.size * float(line.end_q - start_q)
                middle = (tones[0].pitch + tones[-1].pitch - line.low - line.high) / 2
                cost += _LEAP_PER_SEMITONE * abs(middle)
            if index == 1:
                cost += _SECOND_VOICE
                if line is None or line.end_q < start_q:
                    cost += entry
            lines[index] = _Line(end_q, tones[-1].pitch, tones[0].pitch, len(tones))
        first, second = lines
        if upper == 0 and (first is None or first.end_q <= start_q):
            cost += _TOP_SILENT
        if first and second and first.end_q > start_q and second.end_q > start_q and first.low < second.high:
            cost += _CROSSING
        return _State(cost, self, first, second, upper)


def _common_end(tones: Sequence[Tone]) -> Fraction:
    """The end that changes the tones' lengths least in sum; the later one where two are equal."""
    ends = sorted((tone.end_q for tone in tones), reverse=True)
    return min(ends, key=lambda end: sum(abs(other - end) for other in ends))


def _chords(groups: Sequence[Sequence[Tone]], splits: Sequence[int]) -> list[Chord]:
    """Chords of the chosen voices, each cut at the next onset of its voice, or of one of its pitches in any voice."""
    chords: list[Chord] = []
    starts: dict[int, list[Fraction]] = {}
    for group in groups:
        for tone in group:
            starts.setdefault(tone.pitch, []).append(tone.start_q)
    for voice in (1, 2):
        line = [(group[:upper] if voice == 1 else group[upper:]) for group, upper in zip(groups, splits, strict=True)]
        line = [tones for tones in line if tones]
        for index, tones in enumerate(line):
            end_q = _common_end(tones)
            if index + 1 < len(line):
                end_q = min(end_q, line[index + 1][0].start_q)
            for tone in tones:
                again = bisect_right(starts[tone.pitch], tone.start_q)
                end_q = min([end_q, *starts[tone.pitch][again : again + 1]])
            ordered = tuple(sorted(tones, key=lambda tone: tone.pitch))
            chords.append(Chord(tones[0].start_q, end_q, ordered, voice))
    return sorted(chords, key=lambda chord: (chord.start_q, chord.voice))
