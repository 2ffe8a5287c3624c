"""Complaints made about other programs' MusicXML, each turned into a test of ours.

Numbers are issues of musescore/MuseScore (MS) and cuthbertLab/music21 (m21).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest

from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.notation.beams import beams_of
from score_pipeline.notation.drums import DRUMS
from score_pipeline.notation.musicxml import part_to_musicxml, to_musicxml
from score_pipeline.notation.render import to_svg_pages
from score_pipeline.notation.score import build_score
from score_pipeline.notation.staves import DOUBTFUL_COLOUR
from score_pipeline.rhythm.tempo_map import grid_from_tempo_map, parse_tempo_map
from score_pipeline.settings import NotationSettings
from score_pipeline.types import Meter, QuantisedNote


def tree(content: bytes) -> ET.Element:
    return ET.fromstring(content)


def brackets(root: ET.Element) -> Iterator[str]:
    for note in root.iter("note"):
        for tuplet in note.iter("tuplet"):
            yield tuplet.get("type", "")


def test_sixteenth_triplets_stay_triplets(triplets: Any, help_with: SimpleNamespace) -> None:
    """MS 25220: sixteenth triplets become septuplets."""
    root = tree(to_musicxml(help_with.build(triplets)))
    ratios = {
        (change.findtext("actual-notes"), change.findtext("normal-notes")) for change in root.iter("time-modification")
    }
    assert ratios == {("3", "2")}


def test_tuplets_close_also_around_rests(triplets: Any, help_with: SimpleNamespace) -> None:
    """m21 1780: malformed tuplets with rests."""
    kinds = list(brackets(tree(to_musicxml(help_with.build(triplets)))))
    assert kinds == ["start", "stop"] * 4


def test_one_line_stays_one_voice(help_with: SimpleNamespace) -> None:
    """MS 28466: a monophonic part becomes two voices."""
    grid = help_with.grid_of(Meter(4, 4), 2)
    events = [(Fraction(i, 2), Fraction(5, 8), 60 + i % 7) for i in range(16)]
    root = tree(to_musicxml(help_with.build(([help_with.track_of("oboe", events, grid)], grid))))
    assert {voice.text for voice in root.iter("voice")} == {"1"}
    assert root.find(".//backup") is None


@pytest.mark.parametrize("key", [key for key, row in INSTRUMENTS.items() if row.is_pitched])
def test_every_part_says_what_it_is(key: str, help_with: SimpleNamespace) -> None:
    """MS 16216: "Trumpet in B flat" is not matched; MS 27543: a part without instrument becomes a drum staff."""
    row = INSTRUMENTS[key]
    grid = help_with.grid_of(Meter(4, 4), 1)
    middle = (row.lowest + row.highest) // 2
    root = tree(to_musicxml(help_with.build(([help_with.track_of(key, [(0, 4, middle)], grid)], grid))))
    part = root.find(".//score-part")
    assert part is not None
    assert part.findtext("part-name") == row.name
    assert part.findtext("part-abbreviation") == row.abbreviation
    assert part.findtext("score-instrument/instrument-sound") == row.sound
    assert part.findtext("midi-instrument/midi-program") == str(row.midi_program + 1)
    assert part.findtext("midi-instrument/midi-channel") != "10"
    chromatic = int(root.findtext(".//transpose/chromatic") or 0)
    octaves = int(root.findtext(".//transpose/octave-change") or 0)
    assert chromatic + 12 * octaves == row.transposition
    steps = int(root.findtext(".//transpose/diatonic") or 0) + 7 * octaves
    assert steps == row.transposition_steps


def test_drums_are_declared_and_unpitched(help_with: SimpleNamespace) -> None:
    """MS 22954: a drum part plays piano unless every instrument of the kit is declared."""
    grid = help_with.grid_of(Meter(4, 4), 2)
    events = [(Fraction(i, 2), Fraction(1, 4), key) for i in range(16) for key in ((42, 36) if i % 4 == 0 else (42,))]
    events += [(Fraction(i), Fraction(1, 4), 38) for i in (1, 3, 5, 7)] + [(Fraction(6), Fraction(1), 99)]
    score = help_with.build(([help_with.track_of("drums", events, grid)], grid))
    content = to_musicxml(score)
    help_with.schema().validate(content.decode())
    root = tree(content)
    assert root.find(".//pitch") is None
    assert root.findtext(".//clef/sign") == "percussion"
    declared = {element.get("id"): element for element in root.iter("midi-instrument")}
    assert {element.findtext("midi-channel") for element in declared.values()} == {"10"}
    assert {int(e.findtext("midi-unpitched") or 0) - 1 for e in declared.values()} == {36, 38, 42, 99}
    used = {element.get("id") for element in root.findall(".//note/instrument")}
    assert used == set(declared)
    hats = [n for n in root.iter("note") if n.find("instrument[@id='P1-I42']") is not None]
    assert len(hats) == 16
    assert {n.findtext("notehead") for n in hats} == {"x"}


def test_no_note_carries_dynamics(waltz_two_bars: Any, help_with: SimpleNamespace) -> None:
    """MS 27934: a loudness on every note disables the dynamics marks."""
    root = tree(to_musicxml(help_with.build(waltz_two_bars)))
    assert not any(note.get("dynamics") for note in root.iter("note"))


@pytest.mark.parametrize(("meter", "quarters"), [(Meter(4, 4), 1.0), (Meter(6, 8), 1.5), (Meter(2, 2), 2.0)])
def test_the_tempo_is_that_of_the_beat(meter: Meter, quarters: float, help_with: SimpleNamespace) -> None:
    """MS 28129: tempo and all values are off by a factor."""
    grid = help_with.grid_of(meter, 8, bpm=77.7)
    events = [(i, 1, 67) for i in range(12)]
    root = tree(to_musicxml(help_with.build(([help_with.track_of("violin", events, grid)], grid))))
    sound = root.find(".//sound[@tempo]")
    assert sound is not None
    assert float(sound.get("tempo", "0")) == pytest.approx(77.7 * quarters, rel=1e-3)
    assert root.findtext(".//metronome/per-minute") == "78"


@pytest.mark.parametrize("length", [Fraction(5, 4), Fraction(9, 4), Fraction(5, 3), Fraction(7, 6), Fraction(11, 4)])
def test_lengths_no_symbol_has_become_tied_ones(length: Fraction, help_with: SimpleNamespace) -> None:
    """m21 1022, 1598, 1600: such durations crash the export or come out wrong."""
    grid = help_with.grid_of(Meter(4, 4), 2)
    score = help_with.build(([help_with.track_of("violin", [(0, length, 67)], grid)], grid))
    content = to_musicxml(score)
    help_with.schema().validate(content.decode())
    assert help_with.read_by_music21(content) == [[(0, length, 67)]]


def test_a_part_alone_has_its_tempo_and_its_long_rests(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 12)
    tracks = [
        help_with.track_of("violin", [(4 * i, 4, 67) for i in range(12)], grid),
        help_with.track_of("cello", [(0, 4, 43), (40, 4, 43)], grid),
    ]
    score = help_with.build((tracks, grid))
    root = tree(part_to_musicxml(score, score.parts[1]))
    assert len(root.findall("part")) == 1
    assert root.find(".//sound[@tempo]") is not None
    assert [element.text for element in root.iter("multiple-rest")] == ["9"]
    assert len(root.findall("part/measure")) == 12
    assert tree(to_musicxml(score)).find(".//multiple-rest") is None
    with pytest.raises(ValueError, match="not a part"):
        part_to_musicxml(help_with.build((tracks[:1], grid)), score.parts[1])


def test_names_no_xml_can_hold_are_cleaned(waltz_two_bars: Any, help_with: SimpleNamespace) -> None:
    tracks, grid = waltz_two_bars
    score = help_with.build((tracks, grid), title="a\x00b\ud800 <&> \N{VIOLIN}")
    content = to_musicxml(score)
    help_with.schema().validate(content.decode())
    assert tree(content).findtext("work/work-title") == "a\ufffdb\ufffd <&> \N{VIOLIN}"


def test_doubtful_bars_are_coloured(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2)
    track = help_with.track_of("violin", [(0, 4, 67)], grid, confidence=0.1)
    root = tree(to_musicxml(help_with.build(([track], grid))))
    assert [element.get("color") for element in root.iter("notehead")] == [DOUBTFUL_COLOUR]


def test_files_are_the_same_each_time(piano_two_voices: Any, help_with: SimpleNamespace) -> None:
    assert to_musicxml(help_with.build(piano_two_voices)) == to_musicxml(help_with.build(piano_two_voices))


def test_the_drum_table_has_no_two_keys() -> None:
    assert all(pitch == row.pitch for pitch, row in DRUMS.items())
    assert len({row.name for row in DRUMS.values()}) == len(DRUMS)


def test_a_silent_pickup_is_not_read_as_a_full_bar(help_with: SimpleNamespace) -> None:
    """music21 stretches a lone whole rest, or one marked as a bar's, to the length of the meter."""
    grid = help_with.grid_of(Meter(4, 2), 2, pickup_beats=2)
    tracks = [
        help_with.track_of("violin", [(-4, 4, 67), (0, 8, 67)], grid),
        help_with.track_of("cello", [(0, 8, 43)], grid),
    ]
    score = help_with.build((tracks, grid))
    assert help_with.read_by_music21(to_musicxml(score)) == [[(0, 4, 67), (4, 8, 67)], [(4, 8, 43)]]


def test_grace_notes_take_no_time_and_are_read(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2)
    track = help_with.track_of("flute", [(0, 1, 72), (1, 1, 74), (2, 2, 76), (4, 4, 72)], grid)
    grace = QuantisedNote(Fraction(1), Fraction(1, 8), replace(track.notes[1].note, pitch=75), grace=True)
    notes = (track.notes[0], grace, *track.notes[1:])
    content = to_musicxml(build_score([replace(track, notes=notes)], grid, NotationSettings(), "graces"))
    help_with.schema().validate(content)
    heads = ET.fromstring(content).findall(".//note")
    assert [head.find("grace") is not None for head in heads] == [False, True, False, False, False]
    assert heads[1].find("duration") is None and heads[1].findtext("pitch/step") == "E"
    read = [note for part in help_with.read_by_music21(content) for note in part if note[1] > 0]
    assert read == [(0, 1, 72), (1, 1, 74), (2, 2, 76), (4, 4, 72)]


def test_staccato_is_a_dot_and_not_a_rest(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(3, 4), 2)
    track = help_with.track_of("bassoon", [(0, 1, 50), (1, 1, 52), (2, 1, 48), (3, 3, 50)], grid)
    notes = tuple(replace(note, staccato=note.duration_q == 1) for note in track.notes)
    content = to_musicxml(build_score([replace(track, notes=notes)], grid, NotationSettings(), "short"))
    help_with.schema().validate(content)
    heads = ET.fromstring(content).findall(".//note")
    assert [head.find("notations/articulations/staccato") is not None for head in heads] == [True] * 3 + [False]


def test_beats_finer_than_the_shortest_note_can_be_written(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(17, 32), 4)
    track = help_with.track_of("horn", [(Fraction(k, 8), Fraction(1, 8), 60 + k % 5) for k in range(40)], grid)
    help_with.schema().validate(to_musicxml(build_score([track], grid, NotationSettings(), "odd")))


def test_a_note_held_into_the_next_is_no_second_voice_of_a_violin(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 4)
    tune = [(k, 1, 67 + 2 * (k % 4)) for k in range(16)]
    held = [(at, 2 if at in (5, 9) else length, pitch) for at, length, pitch in tune]
    score = build_score([help_with.track_of("violin", held, grid)], grid, NotationSettings(), "held")
    assert {event.voice for measure in score.parts[0].measures for event in measure.events} == {1}


def test_a_clef_inside_a_bar_is_read_by_everybody(help_with: SimpleNamespace) -> None:
    """On one staff, and on the lower of two beside a held voice, which music21 writes apart."""
    grid = help_with.grid_of(Meter(4, 4), 4)
    cello = [(k, 1, 43 + k % 5) for k in range(6)] + [(6 + k, 1, 71 + k % 5) for k in range(10)]
    piano = [(0, 4, 84), (4, 4, 84), (4, 2, 29), (4, 2, 41), (8, 8, 86)]
    piano += [(6 + Fraction(k, 2), Fraction(1, 2), pitch + k % 3) for k in range(20) for pitch in (67, 70, 74)]
    tracks = [help_with.track_of("cello", cello, grid), help_with.track_of("piano", piano, grid)]
    score = help_with.build((tracks, grid))
    changes = {part.instrument: [c for m in part.measures for c in m.clefs if c[0] > 0] for part in score.parts}
    assert changes["cello"] == [(Fraction(2), 1, "treble")] and changes["piano"] == [(Fraction(2), 2, "treble")]
    content = to_musicxml(score)
    help_with.schema().validate(content.decode())
    for read in (help_with.read_by_music21, help_with.read_by_partitura, help_with.read_by_verovio):
        assert read(content) == help_with.sounding(score), read.__name__


def test_tuplets_of_five_six_and_seven_are_read_by_everybody(help_with: SimpleNamespace) -> None:
    """In a quarter and in a half, with a rest and a longer note inside; each closes, and nothing else is a tuplet."""
    grid = help_with.grid_of(Meter(4, 4), 4)
    events = [(Fraction(k, 5), Fraction(1, 5), 60 + k) for k in range(5)]
    events += [(1 + Fraction(k, 6), Fraction(1, 6), 60 + k) for k in range(6)]
    events += [(2 + Fraction(2 * k, 7), Fraction(2, 7), 60 + k) for k in range(7)]
    events += [(4 + Fraction(2 * k, 5), Fraction(2, 5), 60 + k) for k in range(5)]
    events += [(6 + Fraction(k, 7), Fraction(1, 7), 60 + k) for k in range(7) if k != 3]
    events += [(7, Fraction(1, 5), 62), (7 + Fraction(1, 5), Fraction(2, 5), 64)]
    events += [(7 + Fraction(k, 5), Fraction(1, 5), 60 + k) for k in (3, 4)] + [(8, 8, 60)]
    score = help_with.build(([help_with.track_of(key, events, grid) for key in ("violin", "clarinet")], grid))
    content = to_musicxml(score)
    help_with.schema().validate(content.decode())
    root = tree(content)
    assert list(brackets(root)) == ["start", "stop"] * 12
    ratios = [note.findtext("time-modification/actual-notes") for note in root.findall("part")[0].iter("note")]
    assert [ratio for ratio, _ in groupby(ratios)] == ["5", "6", "7", "5", "7", "5", None]
    wanted = help_with.sounding(score)
    assert wanted == [sorted(events)] * 2
    assert help_with.read_by_music21(content) == wanted
    assert help_with.read_by_partitura(content) == wanted


def test_tuplets_survive_musescore(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2)
    events = [(Fraction(k, 5), Fraction(1, 5), 60 + k) for k in range(5)]
    events += [(1 + Fraction(k, 6), Fraction(1, 6), 60 + k) for k in range(6)]
    events += [(2 + Fraction(2 * k, 7), Fraction(2, 7), 60 + k) for k in range(7)] + [(4, 4, 60)]
    score = help_with.build(([help_with.track_of("flute", events, grid)], grid))
    # it counts 480 ticks to a quarter, which no septuplet divides
    (read,), (wanted,) = help_with.read_by_musescore(to_musicxml(score)), help_with.sounding(score)
    assert [[round(24 * x) for x in note[:2]] + [note[2]] for note in read] == [
        [round(24 * x) for x in note[:2]] + [note[2]] for note in wanted
    ]


def test_eighths_of_a_wide_quintuplet_share_a_beam(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(2, 4), 1)
    events = [(Fraction(2 * k, 5), Fraction(2, 5), 60 + k) for k in range(5)]
    measure = help_with.build(([help_with.track_of("flute", events, grid)], grid)).parts[0].measures[0]
    beams = beams_of(measure.events, measure.meter, Fraction(0))
    assert beams == [("start",), ("continue",), ("continue",), ("continue",), ("stop",)]


def test_a_hosts_meter_changes_reach_every_part_and_every_reader(help_with: SimpleNamespace) -> None:
    """3/4, 6/8 and 4/4 from a tempo map that starts at bar 17."""
    events = [{"quarter": 0, "beats": 3, "unit": 4}, {"quarter": 6, "beats": 6, "unit": 8}]
    meters = [*events, {"quarter": 12, "beats": 4, "unit": 4}]
    tempo = [{"quarter": 0, "bpm": 60.0}, {"quarter": 12, "bpm": 90.0}]
    grid = grid_from_tempo_map(parse_tempo_map({"tempo": tempo, "meter": meters, "first_bar": 17}), 18.0)
    line = [(3 * bar, 3, 65 + bar) for bar in range(4)] + [(12, 4, 65), (16, 4, 65)]
    score = help_with.build(([help_with.track_of(key, line, grid) for key in ("horn", "cello")], grid))
    for part in score.parts:
        assert [(m.number, str(m.meter)) for m in part.measures] == [
            (17, "3/4"), (18, "3/4"), (19, "6/8"), (20, "6/8"), (21, "4/4"), (22, "4/4"),
        ]  # fmt: skip
        times = [
            f"{time.findtext('beats')}/{time.findtext('beat-type')}"
            for time in tree(part_to_musicxml(score, part)).iter("time")
        ]
        assert times == ["3/4", "6/8", "4/4"]
    assert [(tempo.onset_q, round(tempo.bpm), tempo.beat_q) for tempo in score.tempos] == [(0, 60, 1), (12, 90, 1)]
    content = to_musicxml(score)
    help_with.schema().validate(content.decode())
    for read in (help_with.read_by_music21, help_with.read_by_partitura, help_with.read_by_verovio):
        assert read(content) == help_with.sounding(score), read.__name__


def test_doubtful_notes_are_still_coloured_after_an_import(help_with: SimpleNamespace) -> None:
    """In music21 and in verovio's drawing."""
    grid = help_with.grid_of(Meter(4, 4), 2)
    tracks = [
        help_with.track_of("flute", [(i, 1, 72 + i) for i in range(8)], grid),
        help_with.track_of("horn", [(0, 4, 60), (4, 4, 62)], grid, confidence=0.1),
    ]
    content = to_musicxml(help_with.build((tracks, grid)))
    from music21 import converter

    flute, horn = converter.parseData(content.decode(), format="musicxml").parts
    assert {head.style.color for head in horn.flatten().notes} == {DOUBTFUL_COLOUR}
    assert {head.style.color for head in flute.flatten().notes} == {None}
    pytest.importorskip("verovio")
    assert DOUBTFUL_COLOUR.lower() in to_svg_pages(content)[0].lower()
