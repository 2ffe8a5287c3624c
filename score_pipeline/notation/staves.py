"""Staves as music21 writes them: measures in which everything is decided become the notes of a MusicXML tree.

music21 is handed finished measures (values, ties, tuplets, beams, accidentals, voices), so that it only writes and
makes no notation of its own; that is also several times faster. What comes back is one <part> element per staff, which
`musicxml` completes.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from score_pipeline.instruments import Instrument, instrument
from score_pipeline.notation.accidentals import printed_accidentals
from score_pipeline.notation.beams import Beam, beams_of, tuplets_of, written_q
from score_pipeline.notation.drums import drum
from score_pipeline.notation.durations import value_of
from score_pipeline.quiet_imports import load_music21
from score_pipeline.types import Measure, Part, Score, ScoreEvent, Spelling, Tempo

if TYPE_CHECKING:
    from music21 import duration as m21duration
    from music21 import note as m21note
    from music21 import stream as m21stream

DOUBTFUL_COLOUR = "#A0522D"
"""Noteheads of doubtful bars: a brown that a printer turns into dark grey."""

DRUM_ID = "drum-"
"""Start of the id of a drum's note, followed by its General MIDI key."""

_VALUE_NAMES: dict[Fraction, str] = {
    Fraction(8): "breve", Fraction(4): "whole", Fraction(2): "half", Fraction(1): "quarter",
    Fraction(1, 2): "eighth", Fraction(1, 4): "16th", Fraction(1, 8): "32nd", Fraction(1, 16): "64th",
    Fraction(1, 32): "128th",
}  # fmt: skip


def export_staves(score: Score, parts: Sequence[Part]) -> list[list[ET.Element]]:
    """For every part its staves as music21's <part> elements, all written in one go."""
    load_music21()
    from music21 import stream
    from music21.musicxml.m21ToXml import ScoreExporter

    page = stream.Score()
    staff_counts = []
    for index, part in enumerate(parts):
        count = instrument(part.instrument).staves
        staff_counts.append(count)
        for staff in range(1, count + 1):
            tempos = score.tempos if index == 0 and staff == 1 else ()
            marks = index == 0 and staff == 1
            page.coreInsert(0.0, _staff(part, staff, score_start(score), tempos, marks))
    page.coreElementsChanged()
    exporter = ScoreExporter(page, makeNotation=False)
    elements = iter(exporter.parse().findall("part"))
    return [[next(elements) for _ in range(count)] for count in staff_counts]


def _staff(part: Part, staff: int, start_q: Fraction, tempos: Sequence[Tempo], with_marks: bool) -> m21stream.Part:
    """One staff of a part."""
    from music21 import stream

    result = stream.Part()
    printed = printed_accidentals(part.measures, staff)
    row = instrument(part.instrument)
    at = start_q
    before: Measure | None = None
    waiting = sorted(tempos, key=lambda tempo: tempo.onset_q, reverse=True)
    for index, measure in enumerate(part.measures):
        here = []
        while waiting and waiting[-1].onset_q < at + measure.length_q:
            here.append(waiting.pop())
        written = _measure(measure, before, staff, row, printed[index], with_marks)
        for tempo in here:
            written.coreInsert(float(max(Fraction(0), tempo.onset_q - at)), _metronome(tempo))
        if index + 1 == len(part.measures):
            written.rightBarline = "final"
        written.coreElementsChanged()
        result.coreInsert(float(at - start_q), written)
        at += measure.length_q
        before = measure
    result.coreElementsChanged()
    return result


def score_start(score: Score) -> Fraction:
    """Quarters from the first downbeat at which the first bar starts: there the first tempo mark stands."""
    return score.tempos[0].onset_q if score.tempos else Fraction(0)


def _metronome(tempo: Tempo) -> Any:
    from music21 import duration
    from music21 import tempo as m21tempo

    value = value_of(tempo.beat_q)
    if value is None:
        raise ValueError(f"no note value is {tempo.beat_q} quarters long")
    beat = duration.Duration(type=_VALUE_NAMES[value[0]], dots=value[1])
    # a player reads whole numbers, a program plays the exact tempo
    mark = m21tempo.MetronomeMark(number=max(1, round(tempo.bpm)), referent=beat)
    mark.numberSounding = round(tempo.bpm, 3)
    mark.placement = "above"
    return mark


def _measure(
    measure: Measure,
    before: Measure | None,
    staff: int,
    row: Instrument,
    printed: dict[int, tuple[bool, ...]],
    with_marks: bool,
) -> m21stream.Measure:
    from music21 import bar, clef, dynamics, expressions, key, meter, stream

    result = stream.Measure(number=measure.number)
    for onset_q, of_staff, name in measure.clefs:
        # music21 would put one inside the bar apart from the voices; `musicxml` writes those
        if of_staff == staff and onset_q == 0:
            result.coreInsert(0.0, _m21_clef(clef, name))
    if before is None or before.key_fifths != measure.key_fifths:
        result.coreInsert(0.0, key.KeySignature(measure.key_fifths))
        if before is not None:
            result.leftBarline = bar.Barline("double")
    if before is None or before.meter != measure.meter:
        result.coreInsert(0.0, meter.TimeSignature(str(measure.meter)))
    if staff == 1:
        for onset_q, sign in measure.dynamics:
            result.coreInsert(float(onset_q), dynamics.Dynamic(sign))
        if with_marks and measure.rehearsal:
            result.coreInsert(0.0, expressions.RehearsalMark(measure.rehearsal))
    events = [event for event in measure.events if event.staff == staff]
    voices = sorted({event.voice for event in events})
    offset_q = measure.meter.bar_q - measure.length_q
    for voice in voices:
        line = [event for event in events if event.voice == voice]
        target: Any = result
        if len(voices) > 1:
            target = stream.Voice(id=str(voice))
        beams = beams_of(line, measure.meter, offset_q)
        for event, beam, bracket in zip(line, beams, _brackets(line, beams), strict=True):
            shown = printed.get(id(event), ())
            for place, pitch in enumerate(event.graces):
                target.coreInsert(float(event.onset_q), _grace(pitch, bool(shown) and shown[place], len(event.graces)))
            shown = shown[len(event.graces) :]
            target.coreInsert(float(event.onset_q), _general_note(event, measure, row, shown, beam, bracket))
        if target is not result:
            target.coreElementsChanged()
            result.coreInsert(0.0, target)
    return result


def _m21_clef(clef: Any, name: str) -> Any:
    classes = {
        "treble": clef.TrebleClef, "alto": clef.AltoClef, "tenor": clef.TenorClef, "bass": clef.BassClef,
        "treble8vb": clef.Treble8vbClef, "percussion": clef.PercussionClef,
    }  # fmt: skip
    return classes[name]()


def _brackets(line: Sequence[ScoreEvent], beams: Sequence[Beam]) -> list[tuple[str, Fraction, bool]]:
    """For each event ("start" | "stop" | "startStop" | "" , base value of its tuplet, whether to draw a bracket)."""
    result: list[tuple[str, Fraction, bool]] = [("", Fraction(0), False)] * len(line)
    for group in tuplets_of(line):
        first, last = line[group[0]], line[group[-1]]
        assert first.tuplet is not None
        base = (last.onset_q + last.duration_q - first.onset_q) / first.tuplet[1]
        beamed = beams[group[0]][:1] == ("start",) and beams[group[-1]][:1] == ("stop",)
        beamed = beamed and all(beams[index][:1] == ("continue",) for index in group[1:-1])
        for place, member in enumerate(group):
            ends = (place == 0) + 2 * (place + 1 == len(group))
            result[member] = (("", "start", "stop", "startStop")[ends], base, not beamed)
    return result


def _general_note(
    event: ScoreEvent,
    measure: Measure,
    row: Instrument,
    shown: Sequence[bool],
    beam: Beam,
    bracket: tuple[str, Fraction, bool],
) -> m21note.GeneralNote:
    from music21 import chord, duration, note, percussion

    if event.is_rest:
        rest = note.Rest()
        # not in a pickup, whose one rest other programs would stretch to a full bar
        whole = event.duration_q == measure.meter.bar_q
        rest.fullMeasure = whole
        if whole:
            rest.duration = duration.Duration(quarterLength=event.duration_q)
        else:
            rest.duration = _duration(event, bracket)
        if event.hidden:
            rest.style.hideObjectOnPrint = True
        return rest
    notes: list[Any] = []
    for index, (pitch, tie) in enumerate(zip(event.pitches, event.ties, strict=True)):
        head: Any
        if row.is_pitched:
            head = note.Note(_m21_pitch(pitch.step, pitch.alter, pitch.octave, bool(shown) and shown[index]))
        else:
            place = drum(pitch.midi)
            head = note.Unpitched()
            head.displayStep, head.displayOctave = place.step, place.octave
            # read again, and taken away, when the kit's instruments are put in
            head.id = f"{DRUM_ID}{pitch.midi}"
        if tie != "none":
            head.tie = _m21_tie(tie)
        if measure.doubtful:
            head.style.color = DOUBTFUL_COLOUR
        notes.append(head)
    result: Any = notes[0]
    if len(notes) > 1:
        result = chord.Chord(notes) if row.is_pitched else percussion.PercussionChord(notes)
    result.duration = _duration(event, bracket)
    if event.staccato:
        from music21 import articulations

        result.articulations.append(articulations.Staccato())
    for kind in beam:
        if kind.startswith("partial"):
            result.beams.append("partial", kind.removeprefix("partial-"))
        else:
            result.beams.append(kind)
    return cast("m21note.GeneralNote", result)


def _grace(pitch: Spelling, shown: bool, count: int) -> Any:
    """One of `count` grace notes: a single one has a stroke through its stem."""
    from music21 import duration, note

    head = note.Note(_m21_pitch(pitch.step, pitch.alter, pitch.octave, shown))
    head.duration = duration.Duration(type="eighth" if count == 1 else "16th")
    grace = head.getGrace()
    grace.duration.slash = count == 1
    return grace


def _m21_pitch(step: str, alter: int, octave: int, shown: bool) -> Any:
    from music21 import pitch

    result = pitch.Pitch(step=step, octave=octave)
    if alter or shown:
        result.accidental = pitch.Accidental(alter)
        result.accidental.displayStatus = shown
    return result


@lru_cache(maxsize=4)
def _tie_class() -> Any:
    from music21 import tie

    return tie.Tie


def _m21_tie(kind: str) -> Any:
    return _tie_class()("continue" if kind == "both" else kind)


def _duration(event: ScoreEvent, bracket: tuple[str, Fraction, bool]) -> m21duration.Duration:
    from music21 import duration

    value = value_of(written_q(event))
    if value is None:
        raise ValueError(f"no note value writes {event.duration_q} quarters in the tuplet {event.tuplet}")
    result = duration.Duration(type=_VALUE_NAMES[value[0]], dots=value[1])
    if event.tuplet is not None:
        place, base, drawn = bracket
        named = value_of(base)
        unit = _VALUE_NAMES[named[0]] if named is not None else _VALUE_NAMES[value[0]]
        tuplet = duration.Tuplet(event.tuplet[0], event.tuplet[1], unit)
        if place:
            tuplet.type = place
        tuplet.bracket = drawn
        result.appendTuplet(tuplet)
    return result
