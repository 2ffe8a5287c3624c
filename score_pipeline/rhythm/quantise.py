"""Played notes to exact score positions: the cheapest notation that explains what was played.

Conventions
-----------
Everything here happens in quarters of the grid, never in seconds, so a recording stretched together with its grid
gives the same score. Positions are whole ticks while they are searched for and `Fraction` when they leave.

Not the nearest grid point: all parts' notes are gathered into clusters, and a Viterbi path through the positions
near each cluster pays for three things: distance (less where the neighbours stray the same way, because a player who
is late stays late), crooked positions, and duple and triple notes in one quarter. A quarter is divided further than
the settings say only where one player's successive notes would otherwise fall together. Five, six or seven even
notes of one player in a quarter (five or seven in a half) are a tuplet where that costs clearly less than what the path
found for them; it is looked for after the path, since nobody else shares its positions. Notes that all sit on the
grid exactly were written, not played, and keep their places and lengths.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from score_pipeline.instruments import instrument
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import BeatGrid, Meter, Note, QuantisedNote, QuantisedTrack, Track

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHORD_Q = 0.05
"""Onsets this close to the first of a cluster are one attack: 25 ms at 120 quarters per minute."""
_REACH_Q = 0.34
"""How far from where it was played a note may be written."""
_SPREAD_Q = (0.02, 0.07)
"""Bounds of the deviation of onsets from their positions; in between it is measured on the notes themselves."""
_FOLLOW = 0.5
"""How much of the last cluster's deviation the next one is expected to share."""
_CLASH = 4.0
"""Cost of a duple and a triple position in one quarter."""
_COLLISION = 12.0
"""Cost of one player's successive notes on one position; only a finer division escapes it."""
_LONELY_TRIPLET, _ALONE = 2.5, 4
"""Further cost of a triplet with none in as many quarters before and after it."""
_INNER_TRIPLET = 3.5
"""Cost of a triplet position inside an eighth."""
_TUPLETS = ((5, 1), (6, 1), (7, 1), (5, 2), (7, 2))
"""Notes and quarters of the tuplets looked for."""
_TUPLET = 9.0
"""What a tuplet costs the reader: the path's own cost for the notes must exceed it."""
_EXACT_Q = 1e-4
"""No player is this exact (50 microseconds); a sequencer is."""
_GRACE = Fraction(1, 8)
"""How long a grace note is played, in quarters."""
_GRACE_Q = (0.04, 0.12)
"""A grace note comes this much before its note: less than that is a chord, more a thirty-second."""
_FINEST_DOUBLING = 3
"""How often the divisions may be doubled where notes would collide: sixteenths up to 128ths."""


@dataclass(frozen=True)
class _Places:
    """All positions a note may take, in order: ticks, cost, quarter they belong to, 0 neutral / 1 duple / 2 triple."""

    ticks_per_quarter: int
    tick: Ints
    cost: Floats
    quarter: Ints
    kind: Ints


@dataclass(frozen=True)
class _Attack:
    """Notes struck together: indices into the flat list of notes, and where, in quarters."""

    notes: tuple[int, ...]
    at: float


@dataclass(frozen=True)
class _Run:
    """A tuplet of one track: its attacks, the tick of the first, and the ticks from one to the next."""

    track: int
    attacks: tuple[int, ...]
    tick: int
    step: int


@dataclass(frozen=True)
class _Played:
    """A note in quarters, with the track it belongs to."""

    track: int
    note: Note
    onset: float
    offset: float


def quantise(tracks: Sequence[Track], grid: BeatGrid, settings: RhythmSettings) -> list[QuantisedTrack]:
    """Put every note of every track on the grid; one `QuantisedTrack` per track, in the same order.

    No note is lost except a second note of the same pitch that falls on the same position of the same track (a
    double trigger): the longer one stays. Durations are positive, notes of one pitch never overlap within a track,
    and instruments that play one note at a time never overlap at all; where one has more notes on a position than
    the finest division can part, they are left as a chord.
    """
    played = [
        _Played(index, note, onset, offset)
        for index, track in enumerate(tracks)
        for note, onset, offset in zip(
            track.notes,
            grid.to_quarters([note.onset_s for note in track.notes]).tolist(),
            grid.to_quarters([note.offset_s for note in track.notes]).tolist(),
            strict=True,
        )
    ]
    if not played:
        return [QuantisedTrack(track.instrument, track.player, ()) for track in tracks]
    solo = [instrument(track.instrument).polyphony == 1 for track in tracks]
    principal = _graces(played)
    attacks = _attacks(played, solo, principal)
    onset_ticks, ticks_per_quarter, exact, runs = _positions(played, attacks, solo, grid, settings)
    in_run = {
        index: run.step
        for run in runs
        for attack in run.attacks
        for index in attacks[attack].notes
        if played[index].track == run.track
    }
    residual = {
        index: attack.at - tick / ticks_per_quarter
        for attack, tick in zip(attacks, onset_ticks, strict=True)
        for index in attack.notes
    }
    by_track: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
    for attack, tick in zip(attacks, onset_ticks, strict=True):
        for index in attack.notes:
            key = (int(tick), played[index].note.pitch)
            other = by_track[played[index].track].get(key)
            if other is None or played[other].offset < played[index].offset:
                by_track[played[index].track][key] = index
    result = []
    for number, track in enumerate(tracks):
        instrument_of = instrument(track.instrument)
        placed = sorted((tick, pitch, index) for (tick, pitch), index in by_track[number].items())
        reach = _NEAR if instrument_of.family in _TWO_HANDED else math.inf
        lengths = _lengths(placed, played, residual, ticks_per_quarter, solo[number], exact, in_run, reach)
        onset = {index: Fraction(tick, ticks_per_quarter) for tick, _, index in placed}
        notes = [
            QuantisedNote(onset[index], length, played[index].note, staccato=staccato and instrument_of.is_pitched)
            for (_, _, index), (length, staccato) in zip(placed, lengths, strict=True)
        ]
        if settings.detail != "plain":
            notes += [
                QuantisedNote(onset[after], _GRACE, played[index].note, grace=True)
                for index, after in principal.items()
                if played[index].track == number and after in onset
            ]
        # grace notes keep the order they were played in, before the note they belong to
        notes.sort(
            key=lambda item: (item.onset_q, not item.grace, item.note.onset_s if item.grace else item.note.pitch)
        )
        result.append(QuantisedTrack(track.instrument, track.player, tuple(notes)))
    return result


def _graces(played: Sequence[_Played]) -> dict[int, int]:
    """Grace notes and the note each stands before, as indices into `played`.

    A grace note is struck just before a longer note a step or two away, is let go for it, and is no part of a run;
    notes that sit on the grid exactly hold none.
    """
    lines: dict[int, list[int]] = defaultdict(list)
    for index in sorted(range(len(played)), key=lambda index: (played[index].onset, played[index].note.pitch)):
        lines[played[index].track].append(index)
    found: dict[int, int] = {}
    onsets = np.array([item.onset for item in played])
    if np.abs(onsets - np.round(onsets * 96) / 96).max() < _EXACT_Q:
        return found
    for line in lines.values():
        for place in range(len(line) - 1):
            this, then = played[line[place]], played[line[place + 1]]
            gap = then.onset - this.onset
            if not _GRACE_Q[0] <= gap <= _GRACE_Q[1]:
                continue
            near = 1 <= abs(this.note.pitch - then.note.pitch) <= 4
            let_go = this.offset <= then.onset + 0.5 * gap
            before = this.onset - played[line[place - 1]].onset if place else math.inf
            after = played[line[place + 2]].onset - then.onset if place + 2 < len(line) else math.inf
            if near and let_go and before > 1.8 * gap and after > 2.0 * gap and then.offset - then.onset > 2.0 * gap:
                found[line[place]] = line[place + 1]
    return found


def _attacks(played: Sequence[_Played], solo: Sequence[bool], graces: Mapping[int, int]) -> list[_Attack]:
    """Gather onsets of all tracks, grace notes aside; no attack holds two notes that one player plays in turn."""
    order = sorted(
        (index for index in range(len(played)) if index not in graces),
        key=lambda index: (played[index].onset, played[index].note.pitch),
    )
    attacks: list[_Attack] = []
    members: list[int] = []
    taken: set[tuple[int, int]] = set()

    def close() -> None:
        if members:
            attacks.append(_Attack(tuple(members), float(np.median([played[i].onset for i in members]))))

    for index in order:
        item = played[index]
        key = (item.track, -1 if solo[item.track] else item.note.pitch)
        if members and (item.onset - played[members[0]].onset > _CHORD_Q or key in taken):
            close()
            members, taken = [], set()
        members.append(index)
        taken.add(key)
    close()
    return attacks


def _positions(
    played: Sequence[_Played],
    attacks: Sequence[_Attack],
    solo: Sequence[bool],
    grid: BeatGrid,
    settings: RhythmSettings,
) -> tuple[Ints, int, bool, list[_Run]]:
    """Tick of every attack, the ticks of a quarter, whether all notes sat on the grid exactly, and tuplets if not."""
    at = np.array([attack.at for attack in attacks])
    span = (float(at.min()), float(at.max()))
    written = _places(grid, settings.divisions, span, defaultdict(lambda: _FINEST_DOUBLING))
    quarters = np.arange(math.floor(span[0]), math.ceil(span[1]) + 1) * written.ticks_per_quarter
    parts = [written.ticks_per_quarter * part // whole for whole in (5, 7) for part in range(whole)]
    exact_ticks = np.union1d(written.tick, np.add.outer(quarters, parts))
    nearest = exact_ticks[_nearest(exact_ticks, at * written.ticks_per_quarter)]
    deviation = [
        item.onset - tick / written.ticks_per_quarter
        for attack, tick in zip(attacks, nearest.tolist(), strict=True)
        for item in (played[index] for index in attack.notes)
    ]
    if np.abs(deviation).max(initial=0.0) < _EXACT_Q:
        return nearest, written.ticks_per_quarter, True, []
    finer: defaultdict[int, int] = defaultdict(int)
    while True:
        places = _places(grid, settings.divisions, span, finer)
        spread, successive = _spread(places, at), _successive(played, attacks, solo)
        chosen = _cheapest_path(places, at, spread, successive)
        lonely = _lonely_triplets(places, chosen)
        if lonely.any():
            places = replace(places, cost=places.cost + _LONELY_TRIPLET * lonely)
            chosen = _cheapest_path(places, at, spread, successive)
        crowded = _crowded(places, chosen, played, attacks, solo)
        stuck = {quarter for quarter in crowded if finer[quarter] >= _FINEST_DOUBLING}
        if not crowded - stuck:
            may = settings.detail != "plain" and settings.finest_divisions is None
            runs = _runs(places, chosen, at, spread, played, attacks, grid) if may else []
            ticks = places.tick[chosen]
            for run in runs:
                ticks[list(run.attacks)] = run.tick + run.step * np.arange(len(run.attacks))
            return np.maximum.accumulate(ticks), places.ticks_per_quarter, False, runs
        for quarter in crowded - stuck:
            finer[quarter] += 1


def _runs(
    places: _Places,
    chosen: Ints,
    at: Floats,
    spread: float,
    played: Sequence[_Played],
    attacks: Sequence[_Attack],
    grid: BeatGrid,
) -> list[_Run]:
    """Tuplets of five, six and seven: a track's attacks that fill a quarter or a half evenly, and fit nothing plain."""
    inverse = 0.5 / spread**2
    position = places.tick[chosen] / places.ticks_per_quarter
    late = _median_around(at - position)
    plain = places.cost[chosen] + inverse * (at - late - position) ** 2
    of_track: dict[int, list[int]] = defaultdict(list)
    for index, attack in enumerate(attacks):
        for track in {played[note].track for note in attack.notes}:
            of_track[track].append(index)
    starts = _starts_of_tuplets(grid)
    found: list[_Run] = []
    for track, line in of_track.items():
        times = at[line] - late[line]
        for count, quarters in _TUPLETS:
            step = quarters / count
            for start in starts[quarters]:
                low, high = np.searchsorted(times, [start - step / 2, start + quarters - step / 2]).tolist()
                members = line[low:high]
                if len(members) != count:
                    continue
                even = start + step * np.arange(count)
                if _TUPLET + inverse * np.sum((at[members] - late[members] - even) ** 2) < np.sum(plain[members]):
                    first = round(start * places.ticks_per_quarter)
                    ticks = quarters * places.ticks_per_quarter // count
                    found.append(_Run(track, tuple(members), first, ticks))
                    plain[members] = 0.0  # spoken for
    return found


def _median_around(deviation: Floats) -> Floats:
    """Median of the deviations around every attack: how late the players are there."""
    side = 8
    padded = np.pad(deviation, side, mode="reflect" if len(deviation) > side else "edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1), axis=1))


def _starts_of_tuplets(grid: BeatGrid) -> dict[int, list[float]]:
    """Quarters and halves of the grid's simple meters, by their length in quarters."""
    starts: dict[int, list[float]] = {1: [], 2: []}
    for at, number, meter in zip(grid.beat_quarter.tolist(), grid.beat_number.tolist(), grid.meter, strict=True):
        if meter.is_compound or meter.unit > 4:
            continue
        for step in range(int(meter.beat_q)):
            starts[1].append(float(at + step))
            in_bar = (number - 1) * meter.beat_q + step
            if meter.bar_q in (2, 4) and in_bar % 2 == 0:
                starts[2].append(float(at + step))
    return starts


def _lonely_triplets(places: _Places, chosen: Ints) -> NDArray[np.bool_]:
    """Triple positions of quarters near which the path has no triplet but their own: most are a player's freedom."""
    triple = np.unique(places.quarter[chosen[places.kind[chosen] == 2]])
    near = np.searchsorted(triple, places.quarter + _ALONE + 1) - np.searchsorted(triple, places.quarter - _ALONE)
    return np.asarray((places.kind == 2) & (near < 2))


def _places(
    grid: BeatGrid, divisions: Sequence[int], span: tuple[float, float], finer: defaultdict[int, int]
) -> _Places:
    """Every position from a beat before the first attack to a beat after the last.

    `finer` says for a quarter (by its number from the grid's zero, rounded down) how often its divisions are doubled.
    """
    per_quarter = math.lcm(8, 5, 7, *divisions) * 2 ** (_FINEST_DOUBLING + 1)
    beats, meters = _beats(grid, span)
    tick: list[int] = []
    cost: list[float] = []
    quarter: list[int] = []
    kind: list[int] = []
    patterns: dict[tuple[Meter, int], list[tuple[int, float, int]]] = {}
    for start, meter in zip(beats, meters, strict=True):
        beat_tick = int(start * per_quarter)
        for step in range(math.ceil(meter.beat_q)):
            first = beat_tick + step * per_quarter
            number = first // per_quarter
            level = finer[number]
            length = min(meter.beat_q - step, Fraction(1))
            key = (meter, level * 4 + int(length * 2))
            if key not in patterns:
                patterns[key] = _pattern(divisions, level, per_quarter, meter.beat_q.denominator == 1, length)
            for offset, price, sort in patterns[key]:
                tick.append(first + offset)
                cost.append(price + (0.3 if step and offset == 0 else 0.0))
                quarter.append(number)
                kind.append(sort)
    order = np.argsort(tick, kind="stable")
    return _Places(
        per_quarter, np.array(tick)[order], np.array(cost)[order], np.array(quarter)[order], np.array(kind)[order]
    )


def _pattern(
    divisions: Sequence[int], level: int, per_quarter: int, triplets: bool, length: Fraction
) -> list[tuple[int, float, int]]:
    """(offset in ticks, cost, kind) within a quarter, or within the `length` of one that a beat cuts short."""
    found: dict[int, tuple[float, int]] = {}
    for division in divisions:
        # Where eighths are counted in threes a triplet fills an eighth, not a quarter.
        inner = division % 3 == 0 and not triplets
        for depth in range(level + 1):
            parts = division * 2 ** (depth + inner)
            for part in range(parts):
                fraction = Fraction(part, parts)
                if fraction >= length:
                    break
                price = max(_crookedness(fraction), _INNER_TRIPLET * (inner and fraction.denominator % 3 == 0))
                value = (int(fraction * per_quarter), price, _kind(fraction))
                found.setdefault(value[0], value[1:])
    return sorted((offset, *value) for offset, value in found.items())


def _crookedness(fraction: Fraction) -> float:
    """Cost of a position within its quarter, about -log of how much rarer than the quarter's start it is.

    Set by hand after counts of written music: eighths are about as common as quarters, sixteenths half of that,
    triplets an eighth, everything finer rare.
    """
    table = {1: 0.0, 2: 0.4, 4: 1.2, 3: 2.0, 8: 3.5, 6: 3.5}
    return table.get(fraction.denominator, 5.0)


def _kind(fraction: Fraction) -> int:
    """0 for positions duple and triple rhythms share, 1 duple, 2 triple."""
    if fraction.denominator % 3 == 0:
        return 2
    return 1 if fraction.denominator % 2 == 0 else 0


def _beats(grid: BeatGrid, span: tuple[float, float]) -> tuple[list[Fraction], list[Meter]]:
    """Beats of the grid (quarters and meters), continued on both sides to cover `span` and a beat more."""
    starts, meters = list(grid.beat_quarter), list(grid.meter)
    first, last = meters[0], meters[-1]
    before = max(math.ceil((float(starts[0]) - span[0]) / float(first.beat_q)) + 1, 1)
    after = max(math.ceil((span[1] - float(starts[-1])) / float(last.beat_q)) + 1, 1)
    starts = [
        *(starts[0] - k * first.beat_q for k in range(before, 0, -1)),
        *starts,
        *(starts[-1] + k * last.beat_q for k in range(1, after + 1)),
    ]
    meters = [first] * before + meters + [last] * after
    low, high = span[0] - 4, span[1] + 4
    kept = [index for index, start in enumerate(starts) if low <= start + meters[index].beat_q and start <= high]
    return [starts[index] for index in kept], [meters[index] for index in kept]


def _nearest(sorted_values: Ints, wanted: Floats) -> Ints:
    """Index of the nearest of `sorted_values` for each wanted value."""
    right = np.clip(np.searchsorted(sorted_values, wanted), 1, len(sorted_values) - 1)
    nearer_left = wanted - sorted_values[right - 1] <= sorted_values[right] - wanted
    return np.asarray(right - nearer_left, dtype=np.int64)


def _spread(places: _Places, at: Floats) -> float:
    """Standard deviation of onsets from positions, at the median of their deviations.

    Measured on sixteenths or on triplets, in every quarter on those that fit its onsets better: a gigue written in
    triplets strays from all sixteenths, however exactly it is played.
    """
    quarter = np.floor(at + 0.25).astype(np.int64)
    quarter -= quarter.min()
    strays = []
    for kinds in ((0, 1), (0, 2)):
        fine = places.tick[np.isin(places.kind, kinds)]
        strays.append(np.abs(at - fine[_nearest(fine, at * places.ticks_per_quarter)] / places.ticks_per_quarter))
    duple, triple = (np.bincount(quarter, np.square(stray)) for stray in strays)
    stray = np.where((triple < duple)[quarter], strays[1], strays[0])
    return float(np.clip(1.4826 * np.median(stray), *_SPREAD_Q))


def _successive(played: Sequence[_Played], attacks: Sequence[_Attack], solo: Sequence[bool]) -> NDArray[np.bool_]:
    """For every attack: whether a player of the attack before it goes on to another note in it."""
    return np.array(
        [False]
        + [
            any(_follows(played[a], played[b], solo) for a in before.notes for b in after.notes)
            for before, after in pairwise(attacks)
        ]
    )


def _follows(first: _Played, second: _Played, solo: Sequence[bool]) -> bool:
    """Whether `second` comes after `first` in one player's line, rather than with it in a (broken) chord."""
    if first.track != second.track:
        return False
    gap = second.onset - first.onset
    if first.note.pitch == second.note.pitch:
        return gap > _CHORD_Q
    return solo[first.track] or (gap > _CHORD_Q and first.offset - second.onset < 0.5 * gap)


def _crowded(
    places: _Places, chosen: Ints, played: Sequence[_Played], attacks: Sequence[_Attack], solo: Sequence[bool]
) -> set[int]:
    """Quarters in which one player's successive notes were put on one position."""
    crowded: set[int] = set()
    here: list[int] = []
    for j, place in enumerate(chosen.tolist()):
        if here and chosen[here[-1]] != place:
            here = []
        if any(_follows(played[a], played[b], solo) for i in here for a in attacks[i].notes for b in attacks[j].notes):
            # The neighbour may have been pushed here from the quarter before, so both get more room.
            crowded.update({int(places.quarter[place]), math.floor(attacks[here[0]].at), math.floor(attacks[j].at)})
        here.append(j)
    return crowded


def _cheapest_path(places: _Places, at: Floats, spread: float, successive: NDArray[np.bool_]) -> Ints:
    """Viterbi: index into `places` of every attack, never going back."""
    position = places.tick / places.ticks_per_quarter
    low = np.searchsorted(position, at - _REACH_Q)
    high = np.searchsorted(position, at + _REACH_Q)
    nearest = _nearest(places.tick, at * places.ticks_per_quarter)
    # A path must exist: the floor of each window never falls below the one before it, nor its top above the next.
    low = np.minimum(np.maximum.accumulate(np.minimum(low, nearest)), nearest)
    high = np.maximum(high, nearest + 1)
    inverse = 0.5 / spread**2
    backpointers: list[Ints] = []
    total = np.zeros(1)
    for j in range(len(at)):
        now = np.arange(low[j], high[j])
        stray = at[j] - position[now]
        alone = places.cost[now] + (1 - _FOLLOW) * inverse * stray**2
        if j == 0:
            total = alone + _FOLLOW * inverse * stray**2
        else:
            last = np.arange(low[j - 1], high[j - 1])
            change = stray[None, :] - (at[j - 1] - position[last])[:, None]
            step = _FOLLOW * inverse * change**2
            step += np.where(last[:, None] > now[None, :], 1e6 * (last[:, None] - now[None, :]), 0.0)
            same_quarter = places.quarter[last][:, None] == places.quarter[now][None, :]
            step += _CLASH * (same_quarter & (places.kind[last][:, None] + places.kind[now][None, :] == 3))
            if successive[j]:
                step += _COLLISION * (last[:, None] == now[None, :])
            whole = total[:, None] + step
            best = np.argmin(whole, axis=0)
            backpointers.append(best)
            total = whole[best, np.arange(len(now))] + alone
    path = np.empty(len(at), dtype=np.int64)
    state = int(np.argmin(total))
    for j in range(len(at) - 1, -1, -1):
        path[j] = low[j] + state
        if j:
            state = int(backpointers[j - 1][state])
    return np.asarray(np.maximum.accumulate(path))


def _lengths(
    placed: Sequence[tuple[int, int, int]],
    played: Sequence[_Played],
    residual: dict[int, float],
    ticks_per_quarter: int,
    solo: bool,
    exact: bool,
    in_run: Mapping[int, int],
    reach: float,
) -> list[tuple[Fraction, bool]]:
    """Written length in quarters of each note of one track, and whether it is staccato.

    `placed` holds (tick, pitch, index), sorted; `in_run` the ticks from a tuplet's note (by its index) to the next, for
    which it lasts. No other note ends inside a tuplet. A line goes on within `reach` semitones.
    """
    inner = {tick for tick, _, index in placed if (tick * _PLAIN_PARTS) % ticks_per_quarter and index in in_run}
    struck: dict[int, list[int]] = defaultdict(list)
    for tick, pitch, _ in placed:
        struck[tick].append(pitch)
    onsets = sorted(struck)
    after = dict(pairwise(onsets))
    next_same: dict[int, int] = {}
    upcoming: dict[int, int] = {}
    for tick, pitch, index in reversed(placed):
        if pitch in upcoming:
            next_same[index] = upcoming[pitch]
        upcoming[pitch] = tick
    fixed: dict[int, Fraction] = {}
    sounding: list[float] = []
    options: list[dict[Fraction, float]] = []
    for number, (tick, own, index) in enumerate(placed):
        start = Fraction(tick, ticks_per_quarter)
        sounded = max(played[index].offset - residual[index] - float(start), 1e-3)
        limit = next_same.get(index)
        if solo:
            limit = after.get(tick)
        longest = None if limit is None else Fraction(limit, ticks_per_quarter) - start
        if exact and (kept := _exact_value(sounded)) is not None:
            fixed[number] = kept if longest is None else min(kept, longest)
        if index in in_run:
            value = Fraction(in_run[index], ticks_per_quarter)
            fixed[number] = value if longest is None else min(value, longest)
        # what a hand or a bow goes on to lies near; other lines' onsets are poorer ends, and none is passed by them
        ends: dict[Fraction, float] = {}
        passed = 0
        following = after.get(tick)
        while following is not None and (limit is None or following <= limit) and len(ends) < 16:
            end = Fraction(following, ticks_per_quarter) - start
            near = any(abs(pitch - own) <= reach for pitch in struck[following])
            if solo or following not in inner:
                ends[end] = _PASSED * passed + (0.0 if near else _FOREIGN_END)
            passed += near
            if float(end) > sounded + 2:
                break
            following = after.get(following)
        sounding.append(sounded)
        options.append(_length_options(sounded, ends, longest, start))
    chosen = _articulated(sounding, options)
    return [
        (fixed.get(number, value), staccato and number not in fixed and value <= 1)
        for number, (value, staccato) in enumerate(chosen)
    ]


def _exact_value(sounded: float) -> Fraction | None:
    """The value of a note that lasts exactly as long as a written one, None for any other."""
    for parts in _EXACT_PARTS:
        value = Fraction(round(sounded * parts), parts)
        if value > 0 and abs(float(value) - sounded) < _EXACT_Q:
            return value
    return None


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
_CROOKED_END = 2.0
"""Further cost where that is not on an eighth: it needs a tie or a short rest."""
_SLIVER = 1.2
"""Further cost where less than an eighth is left of the time to the next note."""
_EXACT_PARTS = (384, 5, 7)
"""Parts of a quarter that a sequencer's note may last: its triplets and 128ths, and its tuplets."""
_PLAIN_PARTS = 24
"""Parts of a quarter on which notes of tuplets of six, and of plain rhythms, begin."""
_NEAR = 7
"""Semitones within which the line of a note is thought to go on where there are several: a fifth."""
_TWO_HANDED = ("keyboard", "plucked")
"""Families that accompany themselves; a bow has one line, however far that leaps."""
_PASSED = 0.15
"""Cost of every onset of its line that a note is held over."""
_FOREIGN_END = 0.8
"""Cost of a note that ends where only a distant line of the part has an onset: it leaves a rest in its own."""


def _length_options(
    sounded: float, ends: Mapping[Fraction, float], longest: Fraction | None, start: Fraction
) -> dict[Fraction, float]:
    """The values a note may be written with, and what each costs the reader; `ends` has those up to other onsets.

    A value that lasts to another onset of the part is nearly free, one that leaves a rest is not, least of all a
    short rest.
    """
    triple = start.denominator % 3 == 0
    options: dict[Fraction, float] = {}

    def price(value: Fraction) -> float:
        left = min(ends) - value if ends else Fraction(4)
        end = start + value
        crooked = end.denominator > 2 and end.denominator % 3 != 0
        return _REST + (_SLIVER if 0 < left < Fraction(1, 2) else 0.0) + (_CROOKED_END if crooked else 0.0)

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


def _articulated(sounding: Sequence[float], options: Sequence[dict[Fraction, float]]) -> list[tuple[Fraction, bool]]:
    """Written value of every note of a line and whether it is staccato: Viterbi over how notes are touched.

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
            cost, value = min((base + _stray(float(value) * touch / sounded), value) for value, base in priced.items())
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
