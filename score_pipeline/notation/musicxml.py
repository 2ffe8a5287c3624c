"""`Score` -> MusicXML 4.0: the whole score, or one player's part.

Conventions
-----------
music21 writes the notes from measures in which everything is already decided; what it does not write, or writes
only for whole parts (instruments with sounds and programs, transpositions, two staves in one part, the drum kit,
rests over many bars), is put into its tree here. Files are deterministic: no date, no random ids. Voices 1 and 2 stand
on the first staff, 5 and 6 on the second.

Source: W3C MusicXML 4.0, https://www.w3.org/2021/06/musicxml40/
"""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Sequence
from fractions import Fraction

from score_pipeline.instruments import Instrument, instrument
from score_pipeline.notation.drums import drum
from score_pipeline.notation.staves import DRUM_ID, export_staves, score_start
from score_pipeline.types import Measure, Meter, Part, Score, ScoreEvent

SOFTWARE = "score-pipeline"

_PAGE_TENTHS = (1200, 1697)
"""Width and height of an A4 page in tenths of a staff space, at 40 to a staff of 7 mm."""

_DOCTYPE = (
    b'<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    b'"http://www.musicxml.org/dtds/partwise.dtd">\n'
)

_CLEFS = {
    "treble": ("G", "2", ""), "alto": ("C", "3", ""), "tenor": ("C", "4", ""), "bass": ("F", "4", ""),
    "treble8vb": ("G", "2", "-1"),
}  # fmt: skip
"""Sign, line and octave change of the clefs that a staff may change to inside a bar."""

_SECOND_STAFF_VOICES = 4
"""Added to the voice of a second staff, as MuseScore counts."""

_BEFORE_STAFF = {
    "grace", "chord", "pitch", "unpitched", "rest", "duration", "tie", "instrument", "voice", "type", "dot",
    "accidental", "time-modification", "stem", "notehead",
}  # fmt: skip
_BEFORE_VOICE = {"grace", "chord", "pitch", "unpitched", "rest", "duration", "tie", "instrument"}
_BEFORE_INSTRUMENT = {"grace", "chord", "pitch", "unpitched", "rest", "duration", "tie"}
_BEFORE_NOTEHEAD = _BEFORE_STAFF - {"notehead"}
_AFTER_TRANSPOSE = {"directive", "measure-style"}


def to_musicxml(score: Score) -> bytes:
    """The whole score as a MusicXML file."""
    return _file(score, score.parts, single=False)


def part_to_musicxml(score: Score, part: Part) -> bytes:
    """One part of `score` as a file of its own: with the tempo marks, and long rests drawn together."""
    if part not in score.parts:
        raise ValueError(f"{part.name!r} is not a part of the score {score.title!r}")
    return _file(score, (part,), single=True)


def to_mxl(musicxml: bytes) -> bytes:
    """A compressed MusicXML file (.mxl) with `musicxml` as its one score; the same bytes for the same score."""
    container = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<container><rootfiles>'
        b'<rootfile full-path="score.musicxml" media-type="application/vnd.recordare.musicxml+xml"/>'
        b"</rootfiles></container>\n"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, compression in (
            ("mimetype", b"application/vnd.recordare.musicxml", zipfile.ZIP_STORED),
            ("META-INF/container.xml", container, zipfile.ZIP_DEFLATED),
            ("score.musicxml", musicxml, zipfile.ZIP_DEFLATED),
        ):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, compression)
    return packed.getvalue()


def _file(score: Score, parts: Sequence[Part], single: bool) -> bytes:
    root = ET.Element("score-partwise", version="4.0")
    _append(_append(root, "work"), "work-title", score.title)
    identification = _append(root, "identification")
    encoding = _append(identification, "encoding")
    _append(encoding, "software", SOFTWARE)
    for name in ("accidental", "beam"):
        _append(encoding, "supports", element=name, type="yes")
    _append(identification, "source", score.subtitle)
    _append_page(root)
    _append_credits(root, score, parts[0].name if single else "")
    part_list = _append(root, "part-list")
    # a score of nobody is still a score: one empty staff says so in every program
    written = parts or (_silent_part(),)
    brackets = _brackets_of_families(written)
    for index, part in enumerate(written):
        if index in brackets:
            group = _append(part_list, "part-group", type="start", number="1")
            _append(group, "group-symbol", "bracket")
            # bar lines through the staves, but not through singers' words
            _append(group, "group-barline", "no" if part.instrument == "voice" else "yes")
        _append_score_part(part_list, f"P{index + 1}", part)
        if index in brackets.values():
            _append(part_list, "part-group", type="stop", number="1")
    for index, (part, staves) in enumerate(zip(written, export_staves(score, written), strict=True)):
        element = _part_element(part, staves, f"P{index + 1}")
        if single:
            _draw_rests_together(element, part, score)
        root.append(element)
    _reduce_divisions(root)
    ET.indent(root, " ")
    body: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + _DOCTYPE + body + b"\n"


def _append(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, {key.replace("_", "-"): value for key, value in attributes.items()})
    element.text = _xml_text(text) if text is not None else None
    return element


def _xml_text(text: str) -> str:
    """`text` without the control characters and lone surrogates that no XML file may hold (file names have them)."""
    return "".join(
        character
        if character in "\t\n\r"
        or (character >= " " and not "\ud800" <= character <= "\udfff" and character not in "\ufffe\uffff")
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def _append_page(root: ET.Element) -> None:
    """A4 paper with a staff of 7 mm: the page that `_append_credits` places its lines on."""
    defaults = _append(root, "defaults")
    scaling = _append(defaults, "scaling")
    _append(scaling, "millimeters", "7")
    _append(scaling, "tenths", "40")
    layout = _append(defaults, "page-layout")
    _append(layout, "page-height", str(_PAGE_TENTHS[1]))
    _append(layout, "page-width", str(_PAGE_TENTHS[0]))
    margins = _append(layout, "page-margins", type="both")
    for side in ("left", "right", "top", "bottom"):
        _append(margins, f"{side}-margin", "70")


def _append_credits(root: ET.Element, score: Score, part_name: str) -> None:
    """Title and origin at the head of the first page."""
    width, height = _PAGE_TENTHS
    middle, top = width // 2, height - 77
    rows = [
        ("title", score.title, middle, top, 22, "center"),
        ("subtitle", score.subtitle, middle, top - 55, 11, "center"),
    ]
    if part_name:
        rows.append(("part name", part_name, 70, top, 14, "left"))
    for kind, text, x, y, size, justify in rows:
        credit = _append(root, "credit", page="1")
        _append(credit, "credit-type", kind)
        _append(
            credit,
            "credit-words",
            text,
            default_x=str(x),
            default_y=str(y),
            font_size=str(size),
            justify=justify,
            valign="top",
        )


def _brackets_of_families(parts: Sequence[Part]) -> dict[int, int]:
    """First -> last part of every run of two or more parts of one family."""
    runs: dict[int, int] = {}
    start = 0
    for index in range(1, len(parts) + 1):
        families = {instrument(part.instrument).family for part in parts[start : index + 1]}
        if index == len(parts) or len(families) > 1:
            if index - start > 1:
                runs[start] = index - 1
            start = index
    return runs


def _silent_part() -> Part:
    rest = ScoreEvent(Fraction(0), Fraction(4))
    measure = Measure(1, Meter(4, 4), 0, Fraction(4), (rest,), clefs=((Fraction(0), 1, "treble"),))
    return Part("voice", 1, "", "", (measure,))


# --- instruments ---------------------------------------------------------------------------------------------------


def _append_score_part(part_list: ET.Element, part_id: str, part: Part) -> None:
    """Name, sound and program of a part; a drum part declares every instrument of the kit that it plays."""
    row = instrument(part.instrument)
    element = _append(part_list, "score-part", id=part_id)
    _append(element, "part-name", part.name)
    _append(element, "part-abbreviation", part.abbreviation)
    number = int(part_id[1:])
    if row.is_pitched:
        score_instrument = _append(element, "score-instrument", id=f"{part_id}-I1")
        _append(score_instrument, "instrument-name", row.name)
        _append(score_instrument, "instrument-sound", row.sound)
        midi = _append(element, "midi-instrument", id=f"{part_id}-I1")
        # channel 10 is the drums'
        channel = (number - 1) % 15 + 1
        _append(midi, "midi-channel", str(channel if channel < 10 else channel + 1))
        _append(midi, "midi-program", str(row.midi_program + 1))
        return
    kit = _kit(part)
    for pitch in kit:
        score_instrument = _append(element, "score-instrument", id=_drum_id(part_id, pitch))
        _append(score_instrument, "instrument-name", drum(pitch).name)
        _append(score_instrument, "instrument-sound", drum(pitch).sound)
    for pitch in kit:
        midi = _append(element, "midi-instrument", id=_drum_id(part_id, pitch))
        _append(midi, "midi-channel", "10")
        _append(midi, "midi-program", str(row.midi_program + 1))
        # MusicXML counts percussion keys from 1
        _append(midi, "midi-unpitched", str(pitch + 1))


def _kit(part: Part) -> list[int]:
    """General MIDI keys that a drum part plays; the snare where it plays nothing."""
    played = {pitch.midi for measure in part.measures for event in measure.events for pitch in event.pitches}
    return sorted(played) or [38]


def _drum_id(part_id: str, pitch: int) -> str:
    return f"{part_id}-I{pitch}"


# --- the tree music21 made, completed ------------------------------------------------------------------------------


def _part_element(part: Part, staves: Sequence[ET.Element], part_id: str) -> ET.Element:
    """<part> of one or two staves, with ids, voices, staves, transposition and drums."""
    row = instrument(part.instrument)
    result = ET.Element("part", id=part_id)
    of_staves = [staff.findall("measure") for staff in staves]
    for index, measure in enumerate(part.measures):
        element = ET.SubElement(result, "measure", number=str(measure.number))
        if index == 0 and measure.length_q < measure.meter.bar_q:
            element.set("implicit", "yes")
        for staff, measures in enumerate(of_staves, start=1):
            source = measures[index]
            _add_clefs_inside(source, measure, staff)
            if staff > 1:
                backup = ET.SubElement(element, "backup")
                _append(backup, "duration", str(_ticks(measure.length_q)))
            for child in source:
                if child.tag == "note":
                    _complete_note(child, staff if len(staves) > 1 else None, part_id, row)
                elif child.tag == "attributes" and len(staves) > 1:
                    _number_clefs(child, staff)
                elif child.tag in ("print", "barline") and staff > 1:
                    continue
                element.append(child)
        if len(staves) > 1:
            _one_head(element)
            # the barline of the first staff would stand before the second staff's notes
            for barline in element.findall("barline[@location='right']"):
                element.remove(barline)
                element.append(barline)
        if measure.hairpin:
            _add_hairpin(element, measure.hairpin)
        if index == 0:
            _complete_attributes(element, row)
    return result


def _add_clefs_inside(source: ET.Element, measure: Measure, staff: int) -> None:
    """The clefs that a staff changes to inside a bar, each before the first note written at its place."""
    for onset_q, of_staff, name in measure.clefs:
        if of_staff != staff or onset_q == 0:
            continue
        wanted, at = _ticks(onset_q), 0
        for place, child in enumerate(source):
            if child.tag == "note" and at == wanted and child.find("chord") is None:
                sign, line, octave = _CLEFS[name]
                attributes = ET.Element("attributes")
                clef = _append(attributes, "clef")
                _append(clef, "sign", sign)
                _append(clef, "line", line)
                if octave:
                    _append(clef, "clef-octave-change", octave)
                source.insert(place, attributes)
                break
            if child.find("chord") is None:
                length = int(child.findtext("duration") or 0)
                at += -length if child.tag == "backup" else length


def _add_hairpin(measure: ET.Element, kind: str) -> None:
    """A wedge that opens or ends at the bar's start, before its first note."""
    direction = ET.Element("direction", placement="below")
    _append(_append(direction, "direction-type"), "wedge", type=kind, number="1")
    place = next((k for k, child in enumerate(measure) if child.tag in ("note", "backup", "forward")), len(measure))
    measure.insert(place, direction)


def _ticks(quarters: Fraction) -> int:
    """Quarters in music21's divisions, which `_reduce_divisions` makes small again."""
    from music21 import defaults

    return int(quarters * defaults.divisionsPerQuarter)


def _insert_after(parent: ET.Element, child: ET.Element, leading: set[str]) -> None:
    """Put `child` behind the last of the `leading` tags at the front of `parent`."""
    place = 0
    while place < len(parent) and parent[place].tag in leading:
        place += 1
    parent.insert(place, child)


def _complete_note(element: ET.Element, staff: int | None, part_id: str, row: Instrument) -> None:
    voice = element.find("voice")
    if voice is None:
        voice = ET.Element("voice")
        voice.text = "1"
        _insert_after(element, voice, _BEFORE_VOICE)
    if staff == 2:
        voice.text = str(int(voice.text or "1") + _SECOND_STAFF_VOICES)
    identity = element.attrib.pop("id", None)
    # the head alone is coloured, not its stem and beams
    element.attrib.pop("color", None)
    if not row.is_pitched and identity is not None and element.find("unpitched") is not None:
        pitch = int(identity.removeprefix(DRUM_ID))
        _insert_after(element, ET.Element("instrument", id=_drum_id(part_id, pitch)), _BEFORE_INSTRUMENT)
        if drum(pitch).notehead != "normal":
            old = element.find("notehead")
            if old is not None:
                old.text = drum(pitch).notehead
            else:
                notehead = ET.Element("notehead")
                notehead.text = drum(pitch).notehead
                _insert_after(element, notehead, _BEFORE_NOTEHEAD)
    if staff is not None:
        place = ET.Element("staff")
        place.text = str(staff)
        _insert_after(element, place, _BEFORE_STAFF)


def _number_clefs(attributes: ET.Element, staff: int) -> None:
    for clef in attributes.findall("clef"):
        clef.set("number", str(staff))
    if staff > 1:
        # both staves share key, meter and divisions; the first has written them
        for tag in ("divisions", "key", "time"):
            for child in attributes.findall(tag):
                attributes.remove(child)


def _one_head(measure: ET.Element) -> None:
    """Move the clefs that the second staff begins a bar with into the attributes at the bar's head."""
    seen_backup = False
    head = measure.find("attributes")
    for child in list(measure):
        if child.tag == "backup":
            seen_backup = True
            after_backup = True
        elif seen_backup and child.tag == "attributes" and after_backup:
            if len(child) == 0:
                measure.remove(child)
            elif head is not None and _starts_bar(measure, head):
                for clef in child.findall("clef"):
                    head.append(clef)
                measure.remove(child)
        elif child.tag == "note":
            after_backup = False


def _starts_bar(measure: ET.Element, child: ET.Element) -> bool:
    for other in measure:
        if other is child:
            return True
        if other.tag == "note":
            return False
    return False


def _complete_attributes(measure: ET.Element, row: Instrument) -> None:
    """<staves> and <transpose> of a part's first bar."""
    attributes = measure.find("attributes")
    if attributes is None:
        attributes = ET.Element("attributes")
        measure.insert(0, attributes)
    if row.staves > 1:
        staves = ET.Element("staves")
        staves.text = str(row.staves)
        _insert_after(attributes, staves, {"divisions", "key", "time"})
    if row.transposition:
        octaves = int(row.transposition / 12)
        transpose = ET.Element("transpose")
        _append(transpose, "diatonic", str(row.transposition_steps - 7 * octaves))
        _append(transpose, "chromatic", str(row.transposition - 12 * octaves))
        if octaves:
            _append(transpose, "octave-change", str(octaves))
        place = len(attributes)
        while place and attributes[place - 1].tag in _AFTER_TRANSPOSE:
            place -= 1
        attributes.insert(place, transpose)


def _draw_rests_together(element: ET.Element, part: Part, score: Score) -> None:
    """Runs of two or more empty bars become one rest with a number, as orchestral players count them.

    A run ends where the player must look up: a change of key, meter or tempo, or a rehearsal mark.
    """
    measures = element.findall("measure")
    tempo_places = {tempo.onset_q for tempo in score.tempos}
    at = score_start(score)
    run: list[ET.Element] = []
    before: Measure | None = None
    for measure, xml in zip(part.measures, measures, strict=True):
        empty = all(event.is_rest for event in measure.events) and measure.length_q == measure.meter.bar_q
        news = (
            before is None
            or (before.meter, before.key_fifths) != (measure.meter, measure.key_fifths)
            or bool(measure.rehearsal or measure.clefs)
            or any(at <= place < at + measure.length_q for place in tempo_places)
        )
        if not empty or news:
            _number_rests(run)
            run = []
        if empty:
            run.append(xml)
        before = measure
        at += measure.length_q
    _number_rests(run)


def _number_rests(run: Sequence[ET.Element]) -> None:
    if len(run) < 2:
        return
    # Apart from the bar's other attributes and behind its marks: verovio draws a second clef for the one and leaves out
    # tempo and rehearsal marks for the other.
    attributes = ET.Element("attributes")
    _append(_append(attributes, "measure-style"), "multiple-rest", str(len(run)))
    place = next(index for index, child in enumerate(run[0]) if child.tag == "note")
    run[0].insert(place, attributes)


def _reduce_divisions(root: ET.Element) -> None:
    """Divide music21's 10080 divisions by what all durations share, so that the file can be read by people too."""
    lengths = [element for tag in ("duration", "divisions", "offset") for element in root.iter(tag)]
    common = math.gcd(*(int(element.text or 0) for element in lengths)) if lengths else 1
    for element in lengths:
        element.text = str(int(element.text or 0) // common)
