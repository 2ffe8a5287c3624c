"""Quantising: what was written comes back, nothing is lost, and the rules of one player hold."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from score_pipeline.rhythm.quantise import quantise
from score_pipeline.rhythm.tempo_map import grid_from_tempo_map, parse_tempo_map
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import BeatGrid, Meter, Note, QuantisedTrack, Track

WRITTEN = list[tuple[Fraction, Fraction, int]]
F = Fraction


def ruler(bpm: float = 120.0, meter: tuple[int, int] = (4, 4), duration_s: float = 60.0) -> BeatGrid:
    """An even grid from 0 s."""
    return grid_from_tempo_map(
        parse_tempo_map(
            {"tempo": [{"quarter": 0, "bpm": bpm}], "meter": [{"quarter": 0, "beats": meter[0], "unit": meter[1]}]}
        ),
        duration_s,
    )


def played(
    written: WRITTEN, grid: BeatGrid, *, jitter_s: float = 0.0, held: float = 1.0, key: str = "violin", seed: int = 0
) -> Track:
    """`written` (onset, value, pitch) as a player with `jitter_s` would sound it."""
    rng = np.random.default_rng(seed)
    notes = []
    for onset, value, pitch in written:
        start = max(float(grid.to_seconds(float(onset))) + rng.normal(0, jitter_s), 0.0)
        end = float(grid.to_seconds(float(onset) + held * float(value)))
        notes.append(Note(start, max(end, start + 0.02), pitch, 80, key))
    return Track(key, 1, tuple(notes))


def line(values: list[Fraction], start: int = 0) -> WRITTEN:
    """A melody of these values without rests, every pitch another than the one before."""
    result, at = [], F(start)
    for index, value in enumerate(values):
        result.append((at, value, 60 + 2 * (index % 7)))
        at += value
    return result


def shape(track: QuantisedTrack) -> WRITTEN:
    return [(note.onset_q, note.duration_q, note.note.pitch) for note in track.notes]


@pytest.mark.parametrize("held", [1.0, 0.8, 0.55])
@pytest.mark.parametrize(
    ("meter", "values"),
    [
        ((4, 4), [F(1), F(1, 2), F(1, 2), F(2), F(1, 4), F(1, 4), F(1, 4), F(1, 4), F(1), F(2)] * 3),
        ((4, 4), [F(1, 3)] * 6 + [F(1), F(1)] + [F(1, 2)] * 8 + [F(1, 3)] * 12),
        ((3, 4), [F(3, 2), F(1, 2), F(1)] * 8),
        ((6, 8), [F(1), F(1, 2), F(1, 2), F(1, 2), F(1, 2), F(3, 2), F(3, 2)] * 4),
        ((3, 8), [F(1, 2), F(1, 4), F(1, 4), F(1, 2), F(3, 2)] * 6),
        ((2, 2), [F(3), F(1), F(2), F(2)] * 3),
    ],
)
def test_a_played_line_is_written_as_it_was(meter: tuple[int, int], values: list[Fraction], held: float) -> None:
    grid = ruler(100.0, meter)
    written = line(values)
    (found,) = quantise([played(written, grid, jitter_s=0.012, held=held, key="flute")], grid, RhythmSettings())
    assert shape(found)[:-1] == written[:-1]  # nothing says how long a last note is meant to be


def test_parts_that_strike_together_are_written_together() -> None:
    grid = ruler(90.0)
    tune = line([F(1), F(1, 2), F(1, 2), F(2)] * 4)
    bass = [(onset, value, pitch - 24) for onset, value, pitch in tune]
    late = Track("cello", 1, tuple(
        Note(n.onset_s + 0.025, n.offset_s + 0.025, n.pitch, 80, "cello") for n in played(bass, grid).notes
    ))  # fmt: skip
    upper, lower = quantise([played(tune, grid, jitter_s=0.01), late], grid, RhythmSettings())
    assert [note.onset_q for note in upper.notes] == [note.onset_q for note in lower.notes]


def test_a_player_who_is_always_late_is_not_a_sixteenth_late() -> None:
    grid = ruler(120.0)
    written = line([F(1, 2)] * 16 + [F(1, 4)] * 16)
    late = Track("oboe", 1, tuple(
        Note(n.onset_s + 0.055, n.offset_s + 0.055, n.pitch, 80, "oboe") for n in played(written, grid).notes
    ))  # fmt: skip
    (found,) = quantise([late], grid, RhythmSettings())
    assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in written]


def test_thirty_seconds_of_one_player_are_not_squeezed_into_sixteenths() -> None:
    grid = ruler(60.0)
    written = line([F(1)] * 2 + [F(1, 8)] * 8 + [F(1)] * 2)
    (found,) = quantise([played(written, grid, jitter_s=0.006, key="flute")], grid, RhythmSettings())
    assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in written]


def test_a_chord_spread_by_the_hand_stays_a_chord() -> None:
    grid = ruler(100.0)
    notes = [Note(2.4 + 0.018 * k, 3.5, pitch, 80, "piano") for k, pitch in enumerate((48, 55, 64, 72))]
    others = played(line([F(1)] * 4), grid, key="piano").notes
    (found,) = quantise([Track("piano", 1, (*others, *notes))], grid, RhythmSettings())
    assert {note.onset_q for note in found.notes if note.note in notes} == {F(4)}


def test_doubled_notes_become_one_and_nothing_else_is_lost() -> None:
    grid = ruler()
    notes = (Note(0.5, 0.9, 60, 80, "piano"), Note(0.51, 0.7, 60, 80, "piano"), Note(0.5, 0.9, 64, 80, "piano"))
    (found,) = quantise([Track("piano", 1, notes)], grid, RhythmSettings())
    assert [(note.note.pitch, note.note.offset_s) for note in found.notes] == [(60, 0.9), (64, 0.9)]


def test_no_tracks_and_empty_tracks() -> None:
    assert quantise([], ruler(), RhythmSettings()) == []
    (found,) = quantise([Track("horn", 2, ())], ruler(), RhythmSettings())
    assert found == QuantisedTrack("horn", 2, ())


def test_quarters_before_the_first_downbeat_are_negative() -> None:
    times = np.arange(9) * 0.5
    grid = BeatGrid(times, np.arange(2, 11) % 4 + 1, np.arange(2, 11) // 4, (Meter(4, 4),) * 9)
    (found,) = quantise([played(line([F(1)] * 6, -2), grid, jitter_s=0.01)], grid, RhythmSettings())
    assert [note.onset_q for note in found.notes] == [F(k) for k in range(-2, 4)]


@st.composite
def tracks(draw: st.DrawFn) -> list[Track]:
    """One to four parts of notes anywhere in twenty seconds, fast ones and overlapping ones among them."""
    result = []
    for player in range(draw(st.integers(1, 4))):
        key = draw(st.sampled_from(["piano", "violin", "flute", "drums", "bassoon"]))
        rows = draw(
            st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 800), st.integers(40, 52)), min_size=0, max_size=25)
        )
        notes = tuple(Note(on / 200, (on + length) / 200, pitch, 80, key) for on, length, pitch in rows)
        result.append(Track(key, player + 1, notes))
    return result


GRIDS = st.builds(
    ruler,
    bpm=st.sampled_from([47.0, 96.0, 120.0, 181.0]),
    meter=st.sampled_from([(4, 4), (3, 4), (6, 8), (3, 8), (2, 2), (12, 8), (5, 8), (7, 4)]),
)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(tracks(), GRIDS)
@SLOW
def test_the_rules_of_one_player(parts: list[Track], grid: BeatGrid) -> None:
    found = quantise(parts, grid, RhythmSettings())
    for part, track in zip(parts, found, strict=True):
        lost = set(map(id, part.notes)) - {id(note.note) for note in track.notes}
        ordinary = [note for note in track.notes if not note.grace]
        kept = {(note.onset_q, note.note.pitch) for note in ordinary}
        assert len(kept) == len(ordinary) and len(track.notes) + len(lost) == len(part.notes)
        assert [(n.onset_q, n.note.pitch) for n in ordinary] == sorted(kept)
        assert all(note.onset_q in {other.onset_q for other in ordinary} for note in track.notes)
        for pitch in {note.note.pitch for note in ordinary}:
            same = [note for note in ordinary if note.note.pitch == pitch]
            assert all(a.onset_q + a.duration_q <= b.onset_q for a, b in pairwise(same))
            # A note only disappears into another of its pitch.
            assert all(n.pitch in {m.note.pitch for m in track.notes} for n in part.notes)
        if part.instrument in ("flute", "bassoon"):
            assert all(a.onset_q + a.duration_q <= b.onset_q for a, b in pairwise(ordinary) if a.onset_q != b.onset_q)
        onsets = {id(note.note): note.onset_q for note in track.notes if not note.grace}
        order = [onsets[id(note)] for note in part.notes if id(note) in onsets]
        assert order == sorted(order)


@given(tracks(), GRIDS)
@SLOW
def test_what_was_quantised_once_is_quantised_to_itself(parts: list[Track], grid: BeatGrid) -> None:
    first = quantise(parts, grid, RhythmSettings())
    assume(all(note.onset_q >= 0 and not note.grace for track in first for note in track.notes))
    again = [
        Track(
            track.instrument,
            track.player,
            tuple(
                Note(
                    max(float(grid.to_seconds(float(note.onset_q))), 0.0),
                    float(grid.to_seconds(float(note.onset_q + note.duration_q))),
                    note.note.pitch,
                    80,
                    track.instrument,
                )
                for note in track.notes
            ),
        )
        for track in first
    ]
    assert [shape(track) for track in quantise(again, grid, RhythmSettings())] == [shape(track) for track in first]


@given(tracks(), GRIDS, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
@SLOW
def test_a_recording_stretched_with_its_grid_gives_the_same_score(
    parts: list[Track], grid: BeatGrid, stretch: float
) -> None:
    stretched = [
        Track(
            part.instrument,
            part.player,
            tuple(
                Note(n.onset_s * stretch, n.offset_s * stretch, n.pitch, n.velocity, n.instrument) for n in part.notes
            ),
        )
        for part in parts
    ]
    wide = BeatGrid(grid.beat_time_s * stretch, grid.beat_number, grid.bar_number, grid.meter)
    plain = BeatGrid(grid.beat_time_s, grid.beat_number, grid.bar_number, grid.meter)
    first, second = quantise(parts, plain, RhythmSettings()), quantise(stretched, wide, RhythmSettings())
    assert [shape(track) for track in first] == [shape(track) for track in second]


def test_two_hundred_notes_a_second_are_all_written() -> None:
    notes = tuple(Note(k / 200, k / 200 + 0.004, 60 + k % 13, 80, "clarinet") for k in range(200))
    (found,) = quantise([Track("clarinet", 1, notes)], ruler(), RhythmSettings())
    assert len(found.notes) > 190 and all(note.duration_q > 0 for note in found.notes)


def test_a_short_note_before_a_long_one_is_a_grace_note() -> None:
    notes = [
        Note(0.0, 0.48, 60, 80, "flute"),
        Note(0.45, 0.51, 64, 80, "flute"),
        Note(0.5, 0.98, 62, 80, "flute"),
        Note(1.01, 1.49, 64, 80, "flute"),
    ]
    (found,) = quantise([Track("flute", 1, tuple(notes))], ruler(), RhythmSettings())
    assert [(note.onset_q, note.note.pitch, note.grace) for note in found.notes] == [
        (0, 60, False),
        (1, 64, True),
        (1, 62, False),
        (2, 64, False),
    ]
    (plain,) = quantise([Track("flute", 1, tuple(notes))], ruler(), RhythmSettings(detail="plain"))
    assert [note.note.pitch for note in plain.notes] == [60, 62, 64]


def test_notes_of_a_fast_run_are_no_grace_notes() -> None:
    grid = ruler(60.0)
    written = line([F(1, 8)] * 16)
    (found,) = quantise([played(written, grid, jitter_s=0.004, held=0.9)], grid, RhythmSettings())
    assert not any(note.grace for note in found.notes)


def test_short_notes_in_a_row_are_staccato_and_held_ones_are_not() -> None:
    grid = ruler()
    for held, expected in ((0.5, True), (0.95, False)):
        (found,) = quantise([played(line([F(1)] * 12), grid, jitter_s=0.01, held=held)], grid, RhythmSettings())
        assert [note.duration_q for note in found.notes] == [F(1)] * 12
        assert all(note.staccato == expected for note in found.notes)


def test_triplets_beside_dotted_rhythms_keep_to_themselves() -> None:
    grid = ruler(104.0, (3, 4))
    values = [F(1, 3)] * 6 + [F(3, 4), F(1, 4)] + [F(1, 3)] * 3 + [F(1), F(2)]
    (found,) = quantise([played(line(values), grid, jitter_s=0.01)], grid, RhythmSettings())
    assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in line(values)]


@pytest.mark.parametrize(("detail", "finest"), [("plain", F(1, 2)), ("normal", F(1, 4)), ("full", F(1, 8))])
def test_detail_is_the_finest_step_of_free_notes(detail: str, finest: Fraction) -> None:
    grid = ruler(60.0)
    notes = tuple(Note(at, at + 0.5, 60 + k % 12, 80, "piano") for k, at in enumerate(1.37 * np.arange(40) + 0.125))
    (found,) = quantise([Track("piano", 1, notes)], grid, RhythmSettings(detail=detail))
    steps = {note.onset_q.denominator for note in found.notes}
    assert max(steps) <= 1 / finest and (detail == "plain" or max(steps) > 2)


def test_a_detail_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="plain, normal, full"):
        RhythmSettings(detail="fine")


def test_a_tune_is_held_to_its_own_next_note_over_an_accompaniment() -> None:
    """Let go early, it ends where the other hand goes on; that is no place for a rest in the tune."""
    grid = ruler(90.0)
    tune = [(F(4 * bar + at), value, 76 + bar) for bar in range(8) for at, value in ((0, F(3)), (3, F(1)))]
    chords = [(F(k, 2), F(1, 2), pitch) for k in range(64) for pitch in (48, 52)]
    notes = (*played(tune, grid, held=0.82, key="piano").notes, *played(chords, grid, held=0.95, key="piano").notes)
    (found,) = quantise([Track("piano", 1, notes)], grid, RhythmSettings())
    assert [note.duration_q for note in found.notes if note.note.pitch >= 76] == [3, 1] * 8


@pytest.mark.parametrize(("count", "quarters"), [(5, 1), (6, 1), (7, 1), (5, 2), (7, 2)])
def test_even_notes_that_fit_nothing_plain_are_a_tuplet(count: int, quarters: int) -> None:
    grid = ruler(60.0)
    values = [F(1), F(1), *[F(quarters, count)] * count, *[F(1)] * (6 - quarters)]
    accompaniment = [(F(k, 2), F(1, 2), 40 + k % 3) for k in range(16)]
    tracks = [
        played(line(values), grid, jitter_s=0.012, held=0.95, key="flute"),
        played(accompaniment, grid, jitter_s=0.012, held=0.95, key="bassoon", seed=1),
    ]
    flute, bassoon = quantise(tracks, grid, RhythmSettings())
    assert shape(flute) == line(values)
    assert shape(bassoon) == accompaniment


def test_uneven_sixteenths_are_no_tuplet() -> None:
    """Six sixteenths and an eighth are seven notes in a half, an eighth and triplets five in one."""
    grid = ruler(60.0)
    values = [F(1, 4)] * 6 + [F(1, 2)] + [F(1)] * 2 + [F(1, 3)] * 6 + [F(1, 2)] * 2 + [F(1, 3)] * 3 + [F(1)] * 4
    for seed in range(5):
        (found,) = quantise([played(line(values), grid, jitter_s=0.015, seed=seed)], grid, RhythmSettings())
        assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in line(values)]


def test_a_written_tuplet_is_kept_as_it_is() -> None:
    grid = ruler()
    values = [F(1), *[F(1, 5)] * 5, *[F(2, 7)] * 7, F(4)]
    (found,) = quantise([played(line(values), grid)], grid, RhythmSettings())
    assert shape(found) == line(values)


def test_leaps_of_a_bow_are_one_line() -> None:
    """Strings ring on; a note is not held over the leap to the next."""
    grid = ruler(80.0)
    written = [(F(k, 4), F(1, 4), (83, 61, 81, 64)[k % 4]) for k in range(32)]
    (found,) = quantise([played(written, grid, jitter_s=0.008, held=1.25)], grid, RhythmSettings())
    assert [note.duration_q for note in found.notes[:-1]] == [F(1, 4)] * 31


def test_a_last_note_off_the_beat_ends_on_one() -> None:
    """Not a sixteenth after it, with a tie, and a sixteenth's rest."""
    grid = ruler(90.0)
    written = [*line([F(1, 4)] * 11), (F(11, 4), F(5, 4), 60)]
    (found,) = quantise([played(written, grid, jitter_s=0.008, held=0.9, key="horn")], grid, RhythmSettings())
    assert shape(found)[-1] == written[-1]


def test_no_tuplet_where_only_named_divisions_or_plain_rhythms_are_wanted() -> None:
    grid = ruler(60.0)
    track = played(line([F(1), *[F(1, 5)] * 5, F(2)]), grid, jitter_s=0.005)
    for wanted in (RhythmSettings(finest_divisions=(4,)), RhythmSettings(detail="plain")):
        (found,) = quantise([track], grid, wanted)
        assert all(note.onset_q.denominator != 5 for note in found.notes)
