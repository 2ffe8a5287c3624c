"""Quantising: what was written comes back, nothing is lost, and the rules of one player hold."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from score_pipeline.rhythm.quantise import quantise
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import BeatGrid, Meter, Note, QuantisedTrack, Track
from tests.rhythm.playing import F, line, played, ruler, shape


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
    # whether a group is of six or seven is decided along with how long its notes are held, which is evened out here
    assume(all(note.onset_q.denominator % long for track in first for note in track.notes for long in (5, 7)))
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
