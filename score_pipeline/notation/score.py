"""From quantised notes to a `Score`: the order in which the decisions are made, each of them in its own module."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import PurePath

import numpy as np

from score_pipeline.instruments import Clef, Instrument, instrument, score_order
from score_pipeline.notation import clefs, durations, key, spelling, voices
from score_pipeline.notation.doubt import strayed_bars
from score_pipeline.notation.dynamics import dynamics_of, hairpins_of
from score_pipeline.notation.hands import split_hands
from score_pipeline.notation.measures import Bar, bar_at, bars_of_page, tempos_of
from score_pipeline.notation.rehearsal import rehearsal_marks
from score_pipeline.notation.voices import Chord, Tone
from score_pipeline.settings import NotationSettings
from score_pipeline.types import (
    BeatGrid,
    Measure,
    Part,
    QuantisedTrack,
    Score,
    ScoreEvent,
    Spelling,
    Tempo,
    Tie,
)

_EXACT_S = 1e-3
"""Seconds within which no player ends every note where it is written, and every program does."""


@dataclass(frozen=True)
class _Player:
    """A track on its way to a part."""

    row: Instrument
    player: int
    name: str
    abbreviation: str
    tones: tuple[Tone, ...]
    graces: tuple[Tone, ...] = ()
    is_played: bool = True
    """Whether people's hands decided where notes end; a program's notes end where they are written."""


def build_score(
    tracks: Sequence[QuantisedTrack], grid: BeatGrid, settings: NotationSettings, source_name: str
) -> Score:
    """The page: every track becomes a part with the same bars, keys and tempo marks.

    `source_name` is the recording's file name; it is the title unless the settings have one, and the subtitle says
    "transcribed from" it. Tracks without notes become parts of rests; no tracks make a score without parts.
    """
    # the beats of 17/32 lie finer than sixteenths, and what begins on a beat is written there
    finest = min([settings.shortest_written_q, *(Fraction(4, meter.unit) for meter in set(grid.meter))])
    players = _players(tracks, grid, finest)
    first_q = min((tone.start_q for player in players for tone in player.tones), default=Fraction(0))
    last_q = max((tone.end_q for player in players for tone in player.tones), default=first_q)
    bars = bars_of_page(grid, first_q, last_q)
    keys = key.key_of_bars((tone for player in players if player.row.is_pitched for tone in player.tones), bars)
    tempos = tempos_of(grid, bars)
    marks = rehearsal_marks([player.tones for player in players], bars, _changes(bars, keys, tempos))
    strayed = strayed_bars(tracks, grid, bars)
    parts = tuple(_part(player, bars, keys, marks, strayed, settings) for player in _spelled(players, bars, keys))
    doubtful = sorted({measure.number for part in parts for measure in part.measures if measure.doubtful})
    return Score(
        title=settings.title or PurePath(source_name).stem,
        subtitle=f"transcribed from {source_name}",
        tempos=tempos,
        parts=parts,
        doubtful_bars=tuple(doubtful),
    )


def _players(tracks: Sequence[QuantisedTrack], grid: BeatGrid, shortest_q: Fraction) -> list[_Player]:
    """Tracks in the order of the page, named, and numbered where an instrument has several players."""
    ordered = sorted(tracks, key=lambda track: (score_order(track.instrument), track.player))
    counts = {key_: sum(track.instrument == key_ for track in tracks) for key_ in {t.instrument for t in tracks}}
    players = []
    seen: dict[str, int] = {}
    for track in ordered:
        row = instrument(track.instrument)
        seen[row.key] = seen.get(row.key, 0) + 1
        number = f" {seen[row.key]}" if counts[row.key] > 1 else ""
        tones = tuple(voices.settle(track.notes, row, shortest_q))
        graces = tuple(voices.graces_of(track.notes, shortest_q)) if row.is_pitched else ()
        is_played = not _ends_as_written(track, grid)
        name, abbreviation = row.name + number, row.abbreviation + number
        players.append(_Player(row, track.player, name, abbreviation, tones, graces, is_played))
    return players


def _ends_as_written(track: QuantisedTrack, grid: BeatGrid) -> bool:
    """Whether every note lasted exactly as long as it is written."""
    notes = [note for note in track.notes if not note.grace]
    ends_s = grid.to_seconds([float(note.onset_q + note.duration_q) for note in notes])
    return bool(np.all(np.abs(ends_s - np.array([note.note.offset_s for note in notes])) < _EXACT_S))


def _spelled(players: Sequence[_Player], bars: Sequence[Bar], keys: Sequence[int]) -> list[_Player]:
    """All players' tones named together, since a chord's name is spread over the parts."""
    starts = [bar.start_q for bar in bars]
    everything = sorted(
        (
            (tone, index, grace)
            for index, player in enumerate(players)
            if player.row.is_pitched
            for grace, tones in enumerate((player.tones, player.graces))
            for tone in tones
        ),
        key=lambda row: (row[0].start_q, -row[2], row[0].pitch if not row[2] else 0),
    )
    named = spelling.spell(
        [tone for tone, _, _ in everything], [keys[bar_at(starts, tone.start_q)] for tone, _, _ in everything]
    )
    of_player: list[tuple[list[Tone], list[Tone]]] = [([], []) for _ in players]
    for tone, (_, index, grace) in zip(named, everything, strict=True):
        of_player[index][grace].append(tone)
    result = []
    for player, (tones, graces) in zip(players, of_player, strict=True):
        if player.row.is_pitched:
            led = spelling.with_leading_notes(tones, [keys[bar_at(starts, tone.start_q)] for tone in tones])
            player = replace(player, tones=tuple(led), graces=tuple(graces))
        result.append(player)
    return result


def _changes(bars: Sequence[Bar], keys: Sequence[int], tempos: Sequence[Tempo]) -> list[int]:
    """Bars at which meter, key or tempo change."""
    starts = {tempo.onset_q for tempo in tempos}
    return [
        index
        for index in range(1, len(bars))
        if (bars[index].meter, keys[index]) != (bars[index - 1].meter, keys[index - 1]) or bars[index].start_q in starts
    ]


def _part(
    player: _Player,
    bars: Sequence[Bar],
    keys: Sequence[int],
    marks: Mapping[int, str],
    strayed: Collection[int],
    settings: NotationSettings,
) -> Part:
    """One player's bars, in written pitch."""
    row = player.row
    # the same shift for signature and notes, so that an enharmonic signature takes its notes along
    written_keys = [key.written_key(concert, row.transposition) if row.is_pitched else 0 for concert in keys]
    starts = [bar.start_q for bar in bars]
    staves = [
        _writable(_chords_of_staff(tones, row, player.is_played), bars, starts) for tones in _staves(player.tones, row)
    ]
    graces = _graces_of_chords(player.graces, [chord for chords in staves for chord in chords])
    per_bar: list[list[tuple[int, list[Chord]]]] = [[(staff, []) for staff in range(1, len(staves) + 1)] for _ in bars]
    for staff, chords in enumerate(staves):
        for chord in chords:
            index = bar_at(starts, chord.start_q)
            while index < len(bars) and bars[index].start_q < chord.end_q:
                per_bar[index][staff][1].append(chord)
                index += 1
    signs = dynamics_of(player.tones, bars)
    hairpins = hairpins_of(player.tones, bars, signs)
    measures = []
    for index, bar in enumerate(bars):
        shift = written_keys[index] - keys[index]
        events = tuple(
            event
            for staff, chords in per_bar[index]
            for event in _staff_events(_upper_voice_first(chords, bar), bar, staff, row, shift, graces)
        )
        begun = [
            tone.confidence
            for _, chords in per_bar[index]
            for chord in chords
            if chord.start_q >= bar.start_q
            for tone in chord.tones
        ]
        unsure = bool(begun) and sum(begun) / len(begun) < settings.doubtful_confidence
        measures.append(
            Measure(
                bar.number,
                bar.meter,
                written_keys[index],
                bar.length_q,
                events,
                dynamics=(signs[index],) if index in signs else (),
                hairpin=hairpins.get(index, ""),
                rehearsal=marks.get(index, ""),
                doubtful=unsure or (bool(begun) and index in strayed),
            )
        )
    return Part(row.key, player.player, player.name, player.abbreviation, tuple(_with_clefs(measures, row)))


def _graces_of_chords(graces: Sequence[Tone], chords: Sequence[Chord]) -> dict[tuple[Fraction, int], list[Tone]]:
    """Grace notes by start and lowest pitch of the chord they stand before; those whose chord is gone are left out."""
    found: dict[tuple[Fraction, int], list[Tone]] = {}
    starts = sorted(chords, key=lambda chord: chord.start_q)
    places = [chord.start_q for chord in starts]
    for grace in graces:
        near = starts[bisect_left(places, grace.start_q) : bisect_right(places, grace.start_q)]
        if near:
            chord = min(near, key=lambda chord: min(abs(tone.pitch - grace.pitch) for tone in chord.tones))
            found.setdefault((chord.start_q, chord.tones[0].pitch), []).append(grace)
    return found


def _staves(tones: Sequence[Tone], row: Instrument) -> list[Sequence[Tone]]:
    return list(split_hands(tones)) if row.staves == 2 else [tones]


def _chords_of_staff(tones: Sequence[Tone], row: Instrument, is_played: bool) -> list[Chord]:
    if not row.is_pitched:
        return voices.single_voice(_struck(tones))
    if row.polyphony == 1:
        return voices.without_lone_dots(voices.single_voice(tones))
    is_line = row.staves == 1 and row.family == "strings"
    chords = voices.two_voices(tones, is_line=is_line)
    # a bow has one line, whose gaps were weighed when its notes were placed
    return voices.without_lone_dots(voices.without_slivers(chords) if is_played and not is_line else chords)


def _struck(tones: Sequence[Tone]) -> list[Tone]:
    """Drum strokes, which have no length: each is written to the next stroke or to the end of its quarter."""
    onsets = sorted({tone.start_q for tone in tones})
    following = dict(pairwise(onsets))
    return [
        replace(
            tone,
            end_q=min(following.get(tone.start_q, tone.start_q + 1), Fraction(tone.start_q.__floor__() + 1)),
        )
        for tone in tones
    ]


def _upper_voice_first(chords: Sequence[Chord], bar: Bar) -> list[Chord]:
    """A bar with a lower voice alone has one voice, unless a tie leads elsewhere."""
    alone = chords and all(chord.voice == 2 for chord in chords)
    if alone and all(bar.start_q <= chord.start_q and chord.end_q <= bar.end_q for chord in chords):
        return [replace(chord, voice=1) for chord in chords]
    return list(chords)


@dataclass(frozen=True)
class _Segment:
    """What a voice does from start to end, quarters from the start of a full bar."""

    start_q: Fraction
    end_q: Fraction
    chord: Chord | None


def _staff_events(
    chords: Sequence[Chord],
    bar: Bar,
    staff: int,
    row: Instrument,
    shift: int,
    graces: Mapping[tuple[Fraction, int], Sequence[Tone]],
) -> list[ScoreEvent]:
    """Every symbol of one staff in one bar: voice 1, and voice 2 if it has notes here."""
    events: list[ScoreEvent] = []
    for voice in (1, 2):
        line = [chord for chord in chords if chord.voice == voice]
        if voice == 2 and not line:
            continue
        segments = _segments(line, bar)
        if all(segment.chord is None for segment in segments) and bar.length_q == bar.meter.bar_q:
            events.append(ScoreEvent(Fraction(0), bar.length_q, voice=voice, staff=staff))
            continue
        for event in _voice_events(segments, bar, row, shift, graces):
            # the upper voice fills the bar with notes or rests; a second row of rests tells nothing more
            events.append(replace(event, voice=voice, staff=staff, hidden=event.is_rest and voice == 2))
    return events


def _segments(line: Sequence[Chord], bar: Bar) -> list[_Segment]:
    """Chords and the rests between them; they fill the bar without a gap."""
    low, high = bar.offset_q, bar.offset_q + bar.length_q
    segments: list[_Segment] = []
    at = low
    for chord in line:
        start = max(low, chord.start_q - bar.start_q + low)
        end = min(high, chord.end_q - bar.start_q + low)
        if start > at:
            segments.append(_Segment(at, start, None))
        segments.append(_Segment(start, end, chord))
        at = end
    if at < high:
        segments.append(_Segment(at, high, None))
    return segments


def _writable(chords: Sequence[Chord], bars: Sequence[Bar], starts: Sequence[Fraction]) -> list[Chord]:
    """The chords, moved where one voice would mix triplets and finer values in one beat.

    What such a move leaves without length was too fast to be written apart and is left out.
    """
    fitted: list[Chord] = []
    for voice in (1, 2):
        line = [chord for chord in chords if chord.voice == voice]
        edges: dict[int, list[Fraction]] = {}
        for edge in {edge for chord in line for edge in (chord.start_q, chord.end_q)}:
            index = bar_at(starts, edge)
            edges.setdefault(index, []).append(edge - bars[index].start_q + bars[index].offset_q)
        moved: dict[Fraction, Fraction] = {}
        for index, places in edges.items():
            bar = bars[index]
            origin = bar.start_q - bar.offset_q
            moves = durations.fit(places, bar.offset_q, bar.offset_q + bar.length_q, bar.meter)
            moved |= {origin + old: origin + new for old, new in moves.items()}
        at = bars[0].start_q
        for chord in line:
            start = max(at, moved.get(chord.start_q, chord.start_q))
            end = moved.get(chord.end_q, chord.end_q)
            if end > start:
                fitted.append(replace(chord, start_q=start, end_q=end))
                at = end
    return sorted(fitted, key=lambda chord: (chord.start_q, chord.voice))


def _voice_events(
    segments: Sequence[_Segment],
    bar: Bar,
    row: Instrument,
    shift: int,
    graces: Mapping[tuple[Fraction, int], Sequence[Tone]],
) -> list[ScoreEvent]:
    """Notes cut into values that can be written, tied; rests cut so that they show the beats; tuplets."""
    low, high = bar.offset_q, bar.offset_q + bar.length_q
    rests = [(segment.start_q, segment.end_q) for segment in segments if segment.chord is None]
    windows = durations.tuplet_windows([segment.start_q for segment in segments], low, high, bar.meter, rests)
    events: list[ScoreEvent] = []
    for segment in segments:
        pieces = _pieces(segment, windows, bar)
        if segment.chord is None:
            events += [ScoreEvent(p.start_q - low, p.end_q - p.start_q, tuplet=p.tuplet) for p in pieces]
            continue
        chord = segment.chord
        from_before = chord.start_q < bar.start_q and segment.start_q == low
        goes_on = chord.end_q > bar.end_q and segment.end_q == high
        written = tuple(_written(tone, row, shift) for tone in chord.tones)
        before = () if from_before else graces.get((chord.start_q, chord.tones[0].pitch), ())
        short = len(pieces) == 1 and not from_before and not goes_on and all(tone.staccato for tone in chord.tones)
        for index, piece in enumerate(pieces):
            tie = _tie(index > 0 or from_before, index + 1 < len(pieces) or goes_on)
            events.append(
                ScoreEvent(
                    piece.start_q - low,
                    piece.end_q - piece.start_q,
                    pitches=written,
                    ties=(tie,) * len(written),
                    tuplet=piece.tuplet,
                    confidence=min(tone.confidence for tone in chord.tones),
                    graces=tuple(_written(tone, row, shift) for tone in before) if index == 0 else (),
                    staccato=short,
                )
            )
    return events


def _pieces(segment: _Segment, windows: Sequence[durations.Window], bar: Bar) -> list[durations.Piece]:
    rest = segment.chord is None
    split = durations.split_rest if rest else durations.split_note
    pieces: list[durations.Piece] = []
    at = segment.start_q
    if rest and segment.end_q - at == bar.length_q == 4 < bar.meter.bar_q:
        # a whole rest alone in a pickup of 4/2 is read as a rest of a full bar by music21 and others
        middle = at + 2
        pieces += split(at, middle, bar.meter)
        at = middle
    for window in windows:
        if window.end_q <= at or window.start_q >= segment.end_q:
            continue
        if window.start_q > at:
            pieces += split(at, window.start_q, bar.meter)
            at = window.start_q
        end = min(window.end_q, segment.end_q)
        pieces += durations.split_in_tuplet(at, end, window, rest)
        at = end
    if at < segment.end_q:
        pieces += split(at, segment.end_q, bar.meter)
    return pieces


def _written(tone: Tone, row: Instrument, shift: int) -> Spelling:
    if not row.is_pitched:
        return spelling.write(tone.pitch, spelling.plain_fifths(tone.pitch))
    return spelling.write(tone.pitch - row.transposition, tone.fifths + shift)


def _tie(from_before: bool, goes_on: bool) -> Tie:
    if from_before:
        return "both" if goes_on else "stop"
    return "start" if goes_on else "none"


def _with_clefs(measures: Sequence[Measure], row: Instrument) -> list[Measure]:
    """The measures with the clefs that begin in them: the first bar's, and every change."""
    begun: list[list[tuple[Fraction, int, str]]] = [[] for _ in measures]
    for staff in range(1, row.staves + 1):
        allowed: tuple[Clef, ...] = row.clefs[::-1] if staff == 2 else row.clefs
        pitches = [_pitches_of_beats(measure, staff) for measure in measures]
        for index, changes in enumerate(clefs.choose_clefs(pitches, allowed)):
            begun[index] += [(onset_q, staff, clef) for onset_q, clef in changes]
    return [replace(measure, clefs=tuple(new)) for measure, new in zip(measures, begun, strict=True)]


def _pitches_of_beats(measure: Measure, staff: int) -> list[tuple[Fraction, list[Spelling]]]:
    """What a staff plays, by the places in the bar at which it may change its clef: beats on which a note begins."""
    offset_q = measure.meter.bar_q - measure.length_q
    beat_q = max(measure.meter.beat_q, Fraction(1, 2))
    places: list[tuple[Fraction, list[Spelling]]] = [(Fraction(0), [])]
    events = sorted((event for event in measure.events if event.staff == staff), key=lambda event: event.onset_q)
    for event in events:
        if event.is_rest:
            continue
        if event.onset_q > places[-1][0] and (event.onset_q + offset_q) % beat_q == 0:
            places.append((event.onset_q, []))
        places[-1][1].extend(event.pitches)
    return places
