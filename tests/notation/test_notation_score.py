"""What a player sees: names, keys, transposition, spelling, voices, hands, clefs, bars, marks."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import groupby, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from score_pipeline.notation.beams import beams_of
from score_pipeline.notation.key import fifths_of_transposition, written_key
from score_pipeline.notation.musicxml import to_musicxml
from score_pipeline.notation.score import build_score
from score_pipeline.notation.spelling import write
from score_pipeline.settings import NotationSettings
from score_pipeline.types import BeatGrid, Meter, Part, QuantisedTrack, Score, Spelling

MAJOR = (0, 2, 4, 5, 7, 9, 11, 12)


def scale(tonic: int, bars: int = 4) -> list[tuple[int, int, int]]:
    """Quarters up and down a major scale, ending on its tonic."""
    steps = [*MAJOR, *MAJOR[::-1]]
    return [(i, 1, tonic + steps[i % 16]) for i in range(4 * bars - 1)] + [(4 * bars - 1, 1, tonic)]


def names(part: Part, measure: int = 0) -> list[str]:
    signs = {-2: "bb", -1: "b", 0: "", 1: "#", 2: "##"}
    return [
        f"{pitch.step}{signs[pitch.alter]}{pitch.octave}"
        for event in part.measures[measure].events
        for pitch in event.pitches
    ]


def test_parts_are_ordered_named_and_numbered(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2)
    tracks = [
        help_with.track_of(key, [(0, 4, 60)], grid, player=player)
        for key, player in [("cello", 1), ("violin", 2), ("violin", 1), ("clarinet", 1)]
    ]
    score = help_with.build((tracks, grid))
    assert [part.name for part in score.parts] == ["Clarinet in B♭", "Violin 1", "Violin 2", "Cello"]
    assert score.parts[1].abbreviation == "Vln. 1"
    assert score.title == "concert"
    assert score.subtitle == "transcribed from concert.wav"


@pytest.mark.parametrize("tonic", range(12))
def test_key_and_names_of_a_scale(tonic: int, help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 4)
    score = help_with.build(([help_with.track_of("violin", scale(60 + tonic), grid)], grid))
    fifths = score.parts[0].measures[0].key_fifths
    assert (7 * fifths - tonic) % 12 == 0
    letters = [name[0] for name in names(score.parts[0])]
    start = "CDEFGAB".index(letters[0])
    assert letters == ["CDEFGAB"[(start + i) % 7] for i in range(4)]


def test_accidentals_follow_the_line(help_with: SimpleNamespace) -> None:
    """In A minor the leading tone is G sharp; in C minor the sixth degree is A flat: one key on the keyboard."""
    grid = help_with.grid_of(Meter(4, 4), 8)
    a_minor = [(i, 1, p) for i, p in enumerate((69, 71, 72, 74, 76, 74, 72, 71, 69, 68, 69, 64, 69, 68, 69, 69))]
    c_minor = [(i, 1, p) for i, p in enumerate((60, 62, 63, 65, 67, 68, 67, 65, 63, 62, 60, 67, 68, 67, 62, 60))]
    for line, wanted, unwanted in ((a_minor, "G#4", "Ab4"), (c_minor, "Ab4", "G#4")):
        score = help_with.build(([help_with.track_of("violin", line, grid)], grid))
        found = [name for index in range(4) for name in names(score.parts[0], index)]
        assert wanted in found
        assert unwanted not in found


def test_a_leading_note_has_the_letter_below_the_note_it_leads_to(help_with: SimpleNamespace) -> None:
    """A major: E sharp to F sharp and D sharp to E; the passing note down from B is no leading note."""
    grid = help_with.grid_of(Meter(4, 4), 6)
    events = [*scale(69), *((16 + i, 1, pitch) for i, pitch in enumerate((65, 66, 63, 64, 71, 70, 69, 69)))]
    score = help_with.build(([help_with.track_of("violin", events, grid)], grid))
    assert names(score.parts[0], 4) == ["E#4", "F#4", "D#4", "E4"]
    assert names(score.parts[0], 5)[0] == "B4" and names(score.parts[0], 5)[2:] == ["A4", "A4"]


def test_a_repeated_chord_keeps_its_names_before_the_next(help_with: SimpleNamespace) -> None:
    """C major: the B flat of four chords of E flat is no A sharp because the fifth chord has a B."""
    grid = help_with.grid_of(Meter(4, 4), 12)
    home = [(at, 1, pitch) for at in (*range(16), *range(24, 48)) for pitch in ((60, 64, 67), (59, 62, 67))[at % 2]]
    aside = [(16 + at, 1, pitch) for at in range(4) for pitch in (63, 67, 70)]
    back = [(20 + at, 1, pitch) for at in range(4) for pitch in (62, 67, 71)]
    score = help_with.build(([help_with.track_of("piano", sorted([*home, *aside, *back]), grid)], grid))
    found = set(names(score.parts[0], 4))
    assert "Bb4" in found and "A#4" not in found


def test_double_accidentals_are_for_leading_notes(help_with: SimpleNamespace) -> None:
    """Bars of D flat minor within D flat major have no double flats; G sharp minor has its F double sharp."""
    grid = help_with.grid_of(Meter(4, 4), 24)
    minor = [(48 + i, 1, 61 + step) for i, step in enumerate((0, 3, 8, 7, 8, 3, 2, 0) * 2)]
    outer = [(16 * k + i, 1, pitch) for k in (0, 1, 2, 4, 5) for i, _, pitch in scale(61)]
    flats = help_with.build(([help_with.track_of("violin", outer + minor, grid)], grid)).parts[0]
    found = [name for bar in range(24) for name in names(flats, bar)]
    assert flats.measures[12].key_fifths == -5 and not any("bb" in name for name in found)
    line = [(i, 1, 68 + step) for i, step in enumerate((0, 2, 3, 5, 7, 8, -1, 0) * 4)]
    sharps = help_with.build(([help_with.track_of("violin", line, help_with.grid_of(Meter(4, 4), 8))], grid)).parts[0]
    assert sharps.measures[0].key_fifths == 5 and "F##4" in names(sharps, 1)


def test_transposing_instruments_read_their_own_key(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 4)
    tracks = [help_with.track_of(key, scale(65), grid) for key in ("clarinet", "horn", "saxophone", "violin")]
    score = help_with.build((tracks, grid))
    keys = {part.instrument: part.measures[0].key_fifths for part in score.parts}
    assert keys == {"clarinet": 1, "horn": 0, "saxophone": 2, "violin": -1}
    first = {part.instrument: names(part)[0] for part in score.parts}
    assert first == {"clarinet": "G4", "horn": "C5", "saxophone": "D5", "violin": "F4"}


def test_a_signature_beyond_six_is_written_enharmonically(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 4)
    score = help_with.build(([help_with.track_of("clarinet", scale(59), grid)], grid))  # concert B major
    assert score.parts[0].measures[0].key_fifths == -5
    assert names(score.parts[0])[:3] == ["Db4", "Eb4", "F4"]
    assert written_key(5, -2) == -5
    assert fifths_of_transposition(-9) == 3


def test_a_passing_modulation_is_no_new_key(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 16)
    events = [
        (16 * part + onset, length, pitch)
        for part, tonic in enumerate((60, 67, 60, 60))
        for onset, length, pitch in scale(tonic)
    ]
    score = help_with.build(([help_with.track_of("violin", events, grid)], grid))
    assert {measure.key_fifths for measure in score.parts[0].measures} == {0}


def test_a_new_key_that_stays_is_written(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 64)
    events = [
        (16 * part + onset, length, pitch)
        for part in range(16)
        for onset, length, pitch in scale(60 if part < 8 else 64)
    ]
    score = help_with.build(([help_with.track_of("violin", events, grid)], grid))
    keys = [measure.key_fifths for measure in score.parts[0].measures]
    assert (keys[0], keys[-1]) == (0, 4)
    assert sum(a != b for a, b in pairwise(keys)) == 1


def test_a_distant_key_of_many_bars_is_written_and_a_neighbour_is_not(help_with: SimpleNamespace) -> None:
    """G major, then 32 bars of G minor (a minore), or of D major, as sonatas modulate."""
    grid = help_with.grid_of(Meter(4, 4), 96)
    minor = (0, 3, 7, 8, 7, 5, 3, 2, 3, 5, 8, 7, 3, 2, 0, 0)
    in_minor = [(128 + 16 * k + i, 1, 67 + step) for k in range(8) for i, step in enumerate(minor)]
    in_d = [(128 + 16 * k + i, 1, pitch) for k in range(8) for i, _, pitch in scale(62)]
    outer = [(128 * part + 16 * k + i, 1, pitch) for part in (0, 2) for k in range(8) for i, _, pitch in scale(67)]
    for middle, wanted in ((in_minor, [1, -2, 1]), (in_d, [1])):
        for key in ("violin", "clarinet"):
            part = help_with.build(([help_with.track_of(key, outer + middle, grid)], grid)).parts[0]
            found = [fifths for fifths, _ in groupby(measure.key_fifths for measure in part.measures)]
            assert found == [fifths + 2 * (key == "clarinet") for fifths in wanted]


def test_a_last_cadence_in_major_is_no_new_key(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 24)
    minor = (0, 2, 3, 5, 7, 8, 10, 12, 10, 8, 7, 5, 3, 2, 0, 0)
    events = [(16 * k + i, 1, 60 + step) for k in range(5) for i, step in enumerate(minor)]
    events += [(80 + i, 1, pitch) for i, pitch in enumerate((60, 64, 67, 72, 76, 72, 69, 71, 72, 67, 64, 69, 71, 76))]
    score = help_with.build(([help_with.track_of("violin", [*events, (94, 2, 60)], grid)], grid))
    assert {measure.key_fifths for measure in score.parts[0].measures} == {-3}


def test_winds_have_one_voice_and_one_note_at_a_time(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 1)
    events = [(0, 3, 72), (1, 2, 74), (2, 1, 76), (2, 2, 60)]
    score = help_with.build(([help_with.track_of("flute", events, grid)], grid))
    sounding = [event for event in score.parts[0].measures[0].events if not event.is_rest]
    assert {event.voice for event in sounding} == {1}
    assert all(len(event.pitches) == 1 for event in sounding)


def test_a_held_note_over_moving_ones_is_two_voices(piano_two_voices: Any, help_with: SimpleNamespace) -> None:
    measure = help_with.build(piano_two_voices).parts[0].measures[0]
    upper = [event for event in measure.events if (event.staff, event.voice) == (1, 1)]
    lower = [event for event in measure.events if (event.staff, event.voice) == (1, 2)]
    assert [float(event.duration_q) for event in upper] == [4.0]
    assert [float(event.duration_q) for event in lower] == [1.0] * 4


def test_a_ragged_chord_is_one_chord(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 1)
    events = [(0, Fraction(3, 4), 60), (0, 1, 64), (0, 1, 67), (1, 3, 72)]
    measure = help_with.build(([help_with.track_of("guitar", events, grid)], grid)).parts[0].measures[0]
    assert [len(event.pitches) for event in measure.events] == [3, 1]


def test_hands(help_with: SimpleNamespace) -> None:
    """Chords low, a tune high, and a tune that comes down below middle C stays in the right hand."""
    grid = help_with.grid_of(Meter(4, 4), 4)
    tune = [72, 74, 76, 77, 72, 69, 67, 64, 60, 59, 57, 60, 64, 67, 72, 76]
    events = [(i, 1, pitch) for i, pitch in enumerate(tune)]
    events += [(4 * bar, 4, pitch) for bar in range(4) for pitch in (36, 43, 48)]
    score = help_with.build(([help_with.track_of("piano", events, grid)], grid))
    right = [
        pitch.midi
        for measure in score.parts[0].measures
        for event in measure.events
        if event.staff == 1
        for pitch in event.pitches
    ]
    assert right == tune


def test_clefs_follow_the_register_and_stay(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 24)
    low = [(i, 1, 43 + i % 5) for i in range(32)]
    high = [(32 + i, 1, 67 + i % 8) for i in range(32)]
    once = [(64 + i, 1, 62 if i == 5 else 48) for i in range(32)]
    score = help_with.build(([help_with.track_of("cello", low + high + once, grid)], grid))
    clefs = [(measure.number, clef) for measure in score.parts[0].measures for _, _, clef in measure.clefs]
    assert clefs[0] == (1, "bass")
    assert len(clefs) == 3
    assert clefs[1][0] == 9
    assert clefs[2] == (17, "bass")


def test_fingers_that_leave_a_chord_apart_make_no_second_voice(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2)
    events = [(0, 4, 76), (0, 3, 64), (0, 3, 67), (0, 3, 71), (4, 4, 72)]
    measures = help_with.build(([help_with.track_of("guitar", events, grid)], grid)).parts[0].measures
    assert [len(event.pitches) for event in measures[0].events if not event.is_rest] == [4]


def test_a_sliver_of_a_rest_is_no_rest_unless_it_was_written(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2)
    events = [
        (0, Fraction(3, 4), 60),
        (1, Fraction(1, 4), 62),
        (2, 1, 64),
        (3, 1, 65),
        (4, Fraction(5, 2), 67),
        (7, 1, 60),
    ]
    exact = help_with.track_of("guitar", events, grid)
    played = tuple(replace(n, note=replace(n.note, offset_s=n.note.offset_s + 0.01)) for n in exact.notes)
    for track, ends in ((exact, [0.75, 1.25, 3, 4, 2.5, 4]), (replace(exact, notes=played), [1, 1.25, 3, 4, 3, 4])):
        part = help_with.build(([track], grid)).parts[0]
        events_of = [event for measure in part.measures for event in measure.events if not event.is_rest]
        found = [float(event.onset_q + event.duration_q) for event in events_of if event.ties[0] in ("none", "stop")]
        assert found == ends


def test_the_other_hands_triplets_give_a_note_no_bracket(help_with: SimpleNamespace) -> None:
    """A bass let go under a triplet is an eighth and rests on the beat, not a third and two rests in a bracket."""
    grid = help_with.grid_of(Meter(4, 4), 2)
    runs = [(Fraction(k, 3), Fraction(1, 3), 76 + k % 3) for k in range(24)]
    bass = [(2 * k, Fraction(1, 3), 40) for k in range(4)]
    exact = help_with.track_of("piano", sorted([*runs, *bass]), grid)
    played = tuple(replace(n, note=replace(n.note, offset_s=n.note.offset_s + 0.01)) for n in exact.notes)
    measure = help_with.build(([replace(exact, notes=played)], grid)).parts[0].measures[0]
    left = [event for event in measure.events if event.staff == 2]
    assert not any(event.tuplet for event in left)
    assert [event.duration_q for event in left if not event.is_rest] == [Fraction(1, 2)] * 2


def test_a_lone_staccato_is_an_accident(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2)
    track = help_with.track_of("violin", [(i, 1, 67 + i) for i in range(8)], grid)
    for short in ({2}, {1, 2, 5}, {1, 2, 3}):
        notes = tuple(replace(note, staccato=index in short) for index, note in enumerate(track.notes))
        part = help_with.build(([replace(track, notes=notes)], grid)).parts[0]
        dots = [event.staccato for measure in part.measures for event in measure.events]
        assert dots == [short == {1, 2, 3} and index in short for index in range(8)]


def test_a_hand_leaves_a_low_octave_to_the_pedal(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(3, 4), 4)
    events = [(3 * bar, 3, pitch) for bar in range(4) for pitch in (29, 41)]
    events += [(3 * bar + beat, 1, pitch) for bar in range(4) for beat in (1, 2) for pitch in (60, 65, 69, 77, 81, 84)]
    score = help_with.build(([help_with.track_of("piano", events, grid)], grid))
    upper = {
        (event.staff, pitch.midi)
        for measure in score.parts[0].measures
        for event in measure.events
        for pitch in event.pitches
        if pitch.midi > 41
    }
    assert upper == {(2, 60), (2, 65), (2, 69), (1, 77), (1, 81), (1, 84)}


def test_a_single_high_beat_changes_no_clef(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 8)
    line = [(i, 1, 69 if i == 13 else 48 + i % 5) for i in range(32)]
    for key in ("cello", "bassoon", "trombone"):
        part = help_with.build(([help_with.track_of(key, line, grid)], grid)).parts[0]
        assert [clef for measure in part.measures for clef in measure.clefs] == [(0, 1, "bass")]


def test_a_phrase_in_the_high_register_has_its_clef(help_with: SimpleNamespace) -> None:
    """Written pitches: the horn's lie a fifth above what sounds."""
    grid = help_with.grid_of(Meter(4, 4), 24)
    for key, usual, other, clefs in (
        ("cello", 43, 67, ["bass", "tenor", "bass"]),
        ("bassoon", 43, 67, ["bass", "tenor", "bass"]),
        ("viola", 52, 84, ["alto", "treble", "alto"]),
        ("horn", 60, 38, ["treble", "bass", "treble"]),
    ):
        line = [(i, 1, (other if 32 <= i < 64 else usual) + i % 5) for i in range(96)]
        part = help_with.build(([help_with.track_of(key, line, grid)], grid)).parts[0]
        assert [clef for measure in part.measures for _, _, clef in measure.clefs] == clefs, key


def test_a_pickup_is_bar_nought(pickup: Any, help_with: SimpleNamespace) -> None:
    score = help_with.build(pickup)
    assert [measure.number for measure in score.parts[0].measures] == [0, 1, 2]
    assert score.parts[0].measures[0].length_q == 1
    assert score.tempos[0].onset_q == -1


def test_an_empty_pickup_is_left_out(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2, pickup_beats=2)
    score = help_with.build(([help_with.track_of("violin", [(0, 4, 67)], grid)], grid))
    assert [measure.number for measure in score.parts[0].measures] == [1]


@pytest.mark.parametrize(
    ("meter", "heard_beats", "first_q", "length_q"),
    [(Meter(2, 2), 1, -1, 1), (Meter(6, 8), 1, Fraction(-1, 2), Fraction(1, 2)), (Meter(4, 4), 3, Fraction(-3, 2), 2)],
)
def test_a_pickup_starts_with_its_first_note(
    meter: Meter, heard_beats: int, first_q: Fraction, length_q: Fraction, help_with: SimpleNamespace
) -> None:
    grid = help_with.grid_of(meter, 2, pickup_beats=heard_beats)
    track = help_with.track_of("violin", [(first_q, -first_q, 67), (0, 2, 71)], grid)
    measures = help_with.build(([track], grid)).parts[0].measures
    assert [(measure.number, measure.length_q) for measure in measures] == [(0, length_q), (1, meter.bar_q)]
    of_host = help_with.build(([track], replace(grid, source="host"))).parts[0].measures
    assert of_host[0].length_q == heard_beats * meter.beat_q


def test_bars_cover_notes_before_and_after_the_grid(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(3, 4), 1)
    score = help_with.build(([help_with.track_of("violin", [(-4, 1, 67), (10, 1, 67)], grid)], grid))
    assert [measure.number for measure in score.parts[0].measures] == [-1, 0, 1, 2, 3, 4]
    assert score.parts[0].measures[0].length_q == 1


def test_meters_change_with_the_grid(help_with: SimpleNamespace) -> None:
    meters = (Meter(4, 4),) * 4 + (Meter(3, 4),) * 3 + (Meter(6, 8),) * 2
    grid = BeatGrid(
        np.arange(9.0), np.array([1, 2, 3, 4, 1, 2, 3, 1, 2]), np.array([1, 1, 1, 1, 2, 2, 2, 3, 3]), meters
    )
    score = help_with.build(([help_with.track_of("violin", [(0, 4, 67), (4, 3, 67), (7, 3, 67)], grid)], grid))
    assert [str(measure.meter) for measure in score.parts[0].measures] == ["4/4", "3/4", "6/8"]


def test_tempo_marks_are_few(help_with: SimpleNamespace) -> None:
    """Rubato of a few per cent is no tempo; half the speed for eight bars is."""
    rng = np.random.default_rng(3)
    steps = np.concatenate([np.full(32, 0.5), np.full(32, 1.0), np.full(32, 0.5)]) * rng.normal(1, 0.03, 96)
    beats = np.arange(96)
    grid = BeatGrid(np.concatenate([[0], np.cumsum(steps)[:-1]]), beats % 4 + 1, beats // 4 + 1, (Meter(4, 4),) * 96)
    score = help_with.build(([help_with.track_of("violin", [(i, 1, 67) for i in range(96)], grid)], grid))
    assert [float(tempo.onset_q) for tempo in score.tempos] == [0, 32, 64]
    assert [tempo.bpm for tempo in score.tempos] == pytest.approx([120, 60, 120], rel=0.03)


def test_doubtful_bars_are_named(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 3)
    track = help_with.track_of("violin", [(0, 4, 67), (4, 4, 67), (8, 4, 67)], grid)
    notes = list(track.notes)
    notes[1] = replace(notes[1], note=replace(notes[1].note, confidence=0.1))
    score = help_with.build(([replace(track, notes=tuple(notes))], grid))
    assert score.doubtful_bars == (2,)
    assert [measure.doubtful for measure in score.parts[0].measures] == [False, True, False]
    assert not help_with.build(([track], grid), doubtful_confidence=0.0).doubtful_bars


def louder_half(track: QuantisedTrack, from_q: int, velocity: int) -> QuantisedTrack:
    return replace(
        track,
        notes=tuple(
            replace(note, note=replace(note.note, velocity=velocity)) if note.onset_q >= from_q else note
            for note in track.notes
        ),
    )


def test_dynamics_stand_where_the_loudness_changes_for_good(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 16)
    track = help_with.track_of("violin", [(i, 1, 67) for i in range(64)], grid, velocity=50)
    score = help_with.build(([louder_half(track, 32, 100)], grid))
    signs = [(measure.number, sign) for measure in score.parts[0].measures for _, sign in measure.dynamics]
    assert signs == [(1, "p"), (9, "f")]
    assert not any(measure.dynamics for measure in help_with.build(([track], grid)).parts[0].measures)


def test_a_hairpin_leads_to_a_sign_that_is_reached_step_by_step(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 16)
    track = help_with.track_of("violin", [(i, 1, 67) for i in range(64)], grid, velocity=50)
    loud = [50] * 6 + [58, 66, 75, 84] + [100] * 6
    notes = tuple(replace(n, note=replace(n.note, velocity=loud[int(n.onset_q) // 4])) for n in track.notes)
    score = help_with.build(([replace(track, notes=notes)], grid))
    pins = [(measure.number, measure.hairpin) for measure in score.parts[0].measures if measure.hairpin]
    assert [kind for _, kind in pins] == ["crescendo", "stop"] and pins[1][0] - pins[0][0] >= 2
    content = to_musicxml(score)
    help_with.schema().validate(content.decode())
    assert content.count(b"<wedge") == 2
    sudden = help_with.build(([louder_half(track, 32, 100)], grid))
    assert not any(measure.hairpin for measure in sudden.parts[0].measures)


def test_rehearsal_letters_stand_where_the_music_changes(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 48)
    violin = [(i, 1, 67 + i % 3) for i in range(96)] + [(i, 4, 85) for i in range(96, 192, 4)]
    cello = [(i, 4, 43) for i in range(0, 96, 4)] + [(Fraction(i, 2), Fraction(1, 2), 49) for i in range(192, 384)]
    tracks = [help_with.track_of("violin", violin, grid), help_with.track_of("cello", cello, grid)]
    score = help_with.build((tracks, grid))
    letters = [(m.number, m.rehearsal) for m in score.parts[0].measures if m.rehearsal]
    assert (25, "A") in letters
    assert letters == [(m.number, m.rehearsal) for m in score.parts[1].measures if m.rehearsal]
    assert len(letters) <= 3


def test_nothing_is_a_score(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 2)
    assert help_with.build(([], grid)).parts == ()
    silent = help_with.build(([QuantisedTrack("violin", 1, ())], grid))
    assert all(event.is_rest for measure in silent.parts[0].measures for event in measure.events)


@pytest.mark.parametrize(
    ("pitch", "fifths", "expected"),
    [
        (60, 0, Spelling("C", 0, 4)),
        (60, 12, Spelling("B", 1, 3)),
        (59, -7, Spelling("C", -1, 4)),
        (61, 7, Spelling("C", 1, 4)),
        (61, -5, Spelling("D", -1, 4)),
        (62, 14, Spelling("C", 2, 4)),
    ],
)
def test_octaves_of_names(pitch: int, fifths: int, expected: Spelling) -> None:
    assert write(pitch, fifths) == expected


def test_beams_follow_the_beat(six_eight: Any, help_with: SimpleNamespace) -> None:
    measure = help_with.build(six_eight).parts[0].measures[0]
    beams = beams_of(measure.events, measure.meter, Fraction(0))
    assert beams == [("start",), ("continue",), ("stop",)] * 2


def test_a_dotted_pair_has_a_broken_beam(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(2, 4), 1)
    events = [(0, Fraction(3, 4), 67), (Fraction(3, 4), Fraction(1, 4), 69), (1, 1, 71)]
    measure = help_with.build(([help_with.track_of("violin", events, grid)], grid)).parts[0].measures[0]
    assert beams_of(measure.events, measure.meter, Fraction(0)) == [("start",), ("stop", "partial-left"), ()]


def test_the_title_may_be_given(waltz_two_bars: Any) -> None:
    tracks, grid = waltz_two_bars
    score: Score = build_score(tracks, grid, NotationSettings(title="Waltz"), "take 7.flac")
    assert score.title == "Waltz"
    assert score.subtitle == "transcribed from take 7.flac"


def test_half_a_beat_among_sevenths_gives_way(help_with: SimpleNamespace) -> None:
    grid = help_with.grid_of(Meter(4, 4), 1)
    sevenths = [(2 + Fraction(k, 7), Fraction(1, 7), 60 + k) for k in range(7) if k not in (3, 4)]
    events = [(0, 2, 60), *sevenths, (2 + Fraction(3, 7), Fraction(1, 14), 71), (Fraction(5, 2), Fraction(1, 14), 72)]
    score = help_with.build(([help_with.track_of("violin", [*events, (3, 1, 60)], grid)], grid))
    (measure,) = score.parts[0].measures
    ends = [event.onset_q + event.duration_q for event in measure.events]
    assert max(ends) == 4 and sum(event.duration_q for event in measure.events if event.voice == 1) == 4
