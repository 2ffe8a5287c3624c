"""MIDI files: the performance as played, and the score as written.

Conventions
-----------
Both carry the tempo map and the meters of the grid, so that bar lines in a DAW fall where they fell in the room.
Tick 0 is the start of the recording (performance) or of the first bar (score). A stretch before the first downbeat
that is no whole bar becomes a shorter bar with a meter of its own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from score_pipeline.instruments import instrument, score_order
from score_pipeline.notation.measures import Bar, bars_of, bars_of_page, meter_of_length, tempos_of
from score_pipeline.types import BeatGrid, Meter, QuantisedTrack, Track

if TYPE_CHECKING:
    import mido

TICKS_PER_QUARTER = 960
"""Fine enough for half a millisecond at 120 bpm, and divisible by triplets."""

_DRUM_CHANNEL = 9
_SLOWEST_US, _FASTEST_US = 16_777_215, 1
"""What the three bytes of a MIDI tempo can say, in microseconds per quarter."""


@dataclass(frozen=True)
class _MidiNote:
    start_tick: int
    end_tick: int
    pitch: int
    velocity: int


@dataclass(frozen=True)
class _MidiTrack:
    instrument: str
    player: int
    notes: list[_MidiNote]


def performance_midi(tracks: Sequence[Track], grid: BeatGrid) -> bytes:
    """The notes when they were played (tick 0 = start of the recording), under the grid's bars and tempo."""
    time_map = _TimeMap(grid)
    lines = [
        _MidiTrack(
            track.instrument,
            track.player,
            [
                _MidiNote(time_map.tick(note.onset_s), time_map.tick(note.offset_s), note.pitch, note.velocity)
                for note in track.notes
            ],
        )
        for track in tracks
    ]
    return _file([*time_map.tempo_events(), *time_map.meter_events()], lines)


def score_midi(tracks: Sequence[QuantisedTrack], grid: BeatGrid) -> bytes:
    """The notes as written, in the grid's bars, at the tempo marks of the page (tick 0 = start of the first bar)."""
    notes = [note for track in tracks for note in track.notes]
    first_q = min((note.onset_q for note in notes), default=Fraction(0))
    last_q = max((note.onset_q + note.duration_q for note in notes), default=Fraction(0))
    bars = bars_of_page(grid, first_q, last_q)
    origin_q = bars[0].start_q

    def tick(quarter: Fraction) -> int:
        return round((quarter - origin_q) * TICKS_PER_QUARTER)

    lines = [
        _MidiTrack(
            track.instrument,
            track.player,
            [
                _MidiNote(
                    max(tick(n.onset_q - n.grace * n.duration_q), 0),
                    max(tick(n.onset_q + (not n.grace) * n.duration_q), 1),
                    n.note.pitch,
                    n.note.velocity,
                )
                for n in track.notes
            ],
        )
        for track in tracks
    ]
    events = [_tempo(tick(mark.onset_q), 60.0 / (mark.bpm * float(mark.beat_q))) for mark in tempos_of(grid, bars)]
    return _file([*events, *_meters(bars, tick)], lines)


class _TimeMap:
    """Seconds of the recording <-> ticks: a lead-in up to the grid's first bar, then the grid's anchors."""

    def __init__(self, grid: BeatGrid) -> None:
        first = grid.meter[0]
        beat_s = float(grid.beat_time_s[1] - grid.beat_time_s[0])
        origin_q = float(grid.beat_quarter[0])
        times, quarters = grid.anchor_time_s, grid.anchor_quarter
        inside = times > 1e-6
        zero_q = float(grid.to_quarters(0.0))
        lead_beats = 0
        if float(grid.beat_time_s[0]) > 1e-6:
            # a whole number of beats in front of the first, at the tempo that makes them fit
            lead_beats = max(1, round(float(grid.beat_time_s[0]) / beat_s))
            zero_q = origin_q - lead_beats * float(first.beat_q)
            inside &= times >= float(grid.beat_time_s[0]) - 1e-9
        bars = bars_of(grid, Fraction(0), _as_fraction(float(quarters[-1])))
        first_bar_q = next((float(bar.start_q) for bar in bars if float(bar.start_q) > zero_q - 1e-6), zero_q)
        rest_of_bar = Fraction(0)
        if not lead_beats and first_bar_q - zero_q > 1e-6:
            # the recording begins inside a bar: what is left of it, on a grid of 32nds that a meter can name
            rest_of_bar = Fraction(math.ceil((first_bar_q - zero_q) * 8 - 1e-6), 8)
            zero_q = first_bar_q - float(rest_of_bar)
        self._seconds = np.concatenate(([0.0], times[inside]))
        self._quarters = np.concatenate(([zero_q], quarters[inside]))
        if len(self._seconds) < 2:
            self._seconds = np.array([0.0, 1.0])
            self._quarters = np.array([zero_q, zero_q + float(grid.to_quarters(1.0)) - float(grid.to_quarters(0.0))])
        self._zero_q = zero_q
        self._lead_beats = lead_beats
        self._rest_of_bar = rest_of_bar
        self._bars = bars

    def _tick_of_quarter(self, quarter: float) -> int:
        return max(0, round((quarter - self._zero_q) * TICKS_PER_QUARTER))

    def tick(self, time_s: float) -> int:
        """Tick of a time in the recording."""
        if time_s > self._seconds[-1]:
            slope = (self._quarters[-1] - self._quarters[-2]) / (self._seconds[-1] - self._seconds[-2])
            return self._tick_of_quarter(float(self._quarters[-1] + (time_s - self._seconds[-1]) * slope))
        return self._tick_of_quarter(float(np.interp(time_s, self._seconds, self._quarters)))

    def tempo_events(self) -> list[tuple[int, Any]]:
        """One tempo per stretch between anchors, where it differs from the one before."""
        events: list[tuple[int, Any]] = []
        before = 0
        stretches = zip(self._seconds[:-1], self._seconds[1:], self._quarters[:-1], self._quarters[1:], strict=True)
        for start_s, end_s, start_q, end_q in stretches:
            low, high = self._tick_of_quarter(float(start_q)), self._tick_of_quarter(float(end_q))
            if high <= low:
                continue
            tick, message = _tempo(low, float(end_s - start_s) / ((high - low) / TICKS_PER_QUARTER))
            if message.tempo != before:
                events.append((tick, message))
            before = message.tempo
        return events

    def meter_events(self) -> list[tuple[int, Any]]:
        """The grid's meters; the beats before its first downbeat make a bar of their own."""
        bars = self._bars
        first = bars[0]
        lead = self._lead_beats + (first.length_q / first.meter.beat_q if first.offset_q else 0)
        events: list[tuple[int, Any]] = []
        if first.offset_q:
            bars = bars[1:]
        if self._rest_of_bar:
            events.append(_meter(0, meter_of_length(self._rest_of_bar, first.meter)))
        elif lead:
            events.append(_meter(0, _meter_of_beats(lead, first.meter)))
        before: Meter | None = None
        for bar in bars:
            if bar.meter != before and float(bar.start_q) >= self._zero_q - 1e-9:
                events.append(_meter(self._tick_of_quarter(float(bar.start_q)), bar.meter))
                before = bar.meter
        return events


def _as_fraction(value: float) -> Fraction:
    return Fraction(value).limit_denominator(96)


def _meter_of_beats(beats: Fraction | int, meter: Meter) -> Meter:
    """A bar of so many counted beats of `meter`."""
    return Meter(max(1, round(Fraction(beats) * meter.beat_q * meter.unit / 4)), meter.unit)


def _meters(bars: Sequence[Bar], tick: Any) -> list[tuple[int, Any]]:
    events: list[tuple[int, Any]] = []
    before: Meter | None = None
    for index, bar in enumerate(bars):
        meter = bar.meter if not bar.offset_q else _meter_of_beats(bar.length_q / bar.meter.beat_q, bar.meter)
        if meter != before or index == 0:
            events.append(_meter(tick(bar.start_q), meter))
        before = meter
    return events


def _tempo(tick: int, quarter_s: float) -> tuple[int, Any]:
    import mido

    microseconds = min(_SLOWEST_US, max(_FASTEST_US, round(quarter_s * 1e6)))
    return tick, mido.MetaMessage("set_tempo", tempo=microseconds)


def _meter(tick: int, meter: Meter) -> tuple[int, Any]:
    import mido

    return tick, mido.MetaMessage("time_signature", numerator=min(255, meter.beats), denominator=meter.unit)


def _file(conductor: Iterable[tuple[int, Any]], lines: Sequence[_MidiTrack]) -> bytes:
    """A type 1 file: a conductor track, then one track per player, in the order of a score."""
    import mido

    midi = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER, charset="utf-8")
    midi.tracks.append(_timed(sorted(conductor, key=lambda event: event[0])))
    ordered = sorted(lines, key=lambda line: (score_order(line.instrument), line.player))
    channels = [channel for channel in range(16) if channel != _DRUM_CHANNEL]
    several = {line.instrument for line in ordered if line.player > 1}
    for index, line in enumerate(ordered):
        row = instrument(line.instrument)
        channel = channels[index % len(channels)] if row.is_pitched else _DRUM_CHANNEL
        name = f"{row.name} {line.player}" if line.instrument in several else row.name
        events: list[tuple[int, Any]] = [
            (0, mido.MetaMessage("track_name", name=name)),
            (0, mido.Message("program_change", program=row.midi_program, channel=channel)),
        ]
        events += _note_events(line.notes, channel)
        midi.tracks.append(_timed(events))
    stream = io.BytesIO()
    midi.save(file=stream)
    return stream.getvalue()


def _note_events(notes: Sequence[_MidiNote], channel: int) -> list[tuple[int, Any]]:
    """Note-ons and note-offs in order; a pitch struck again while it sounds is ended first."""
    import mido

    events: list[tuple[int, int, Any]] = []
    last: dict[int, int] = {}
    ordered = sorted(notes, key=lambda note: (note.start_tick, note.pitch))
    following: list[int | None] = [None] * len(ordered)
    for index in range(len(ordered) - 1, -1, -1):
        following[index] = last.get(ordered[index].pitch)
        last[ordered[index].pitch] = ordered[index].start_tick
    for note, next_start in zip(ordered, following, strict=True):
        end = max(note.end_tick, note.start_tick + 1)
        if next_start is not None:
            end = min(end, max(next_start, note.start_tick + 1))
        on = mido.Message("note_on", note=note.pitch, velocity=note.velocity, channel=channel)
        off = mido.Message("note_off", note=note.pitch, velocity=0, channel=channel)
        events += [(note.start_tick, 1, on), (end, 0, off)]
    return [(tick, message) for tick, _, message in sorted(events, key=lambda event: event[:2])]


def _timed(events: Sequence[tuple[int, Any]]) -> mido.MidiTrack:
    """Events at absolute ticks as a track of messages with the ticks between them."""
    import mido

    track = mido.MidiTrack()
    at = 0
    for tick, message in events:
        track.append(message.copy(time=tick - at))
        at = tick
    track.append(mido.MetaMessage("end_of_track", time=0))
    return track
