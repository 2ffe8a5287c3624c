"""Whatever notes come in, the page that goes out is whole."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.notation.durations import closes, value_of
from score_pipeline.notation.musicxml import part_to_musicxml, to_musicxml
from score_pipeline.notation.score import build_score
from score_pipeline.settings import NotationSettings
from score_pipeline.types import BeatGrid, Meter, Note, QuantisedNote, QuantisedTrack, Score

METERS = [Meter(2, 2), Meter(2, 4), Meter(3, 4), Meter(4, 4), Meter(3, 8), Meter(6, 8), Meter(9, 8), Meter(12, 8)]
METERS += [Meter(3, 2), Meter(4, 2), Meter(5, 4), Meter(6, 4), Meter(7, 8), Meter(1, 4)]
DENOMINATORS = [1, 2, 3, 4, 6, 8, 12, 16, 5, 7, 24, 96]


@st.composite
def grids(draw: st.DrawFn) -> BeatGrid:
    """A pickup, a few bars, possibly a change of meter, uneven beats."""
    numbers, bars, meters = [], [], []
    first = draw(st.sampled_from(METERS))
    pickup = draw(st.integers(0, first.beats_per_bar - 1))
    for beat in range(pickup):
        numbers.append(first.beats_per_bar - pickup + beat + 1)
        bars.append(0)
        meters.append(first)
    for bar in range(draw(st.integers(1, 4))):
        meter = draw(st.sampled_from([first, first, first, draw(st.sampled_from(METERS))]))
        for beat in range(meter.beats_per_bar):
            numbers.append(beat + 1)
            bars.append(bar + 1)
            meters.append(meter)
    if len(numbers) < 2:
        numbers, bars, meters = [1, 1], [1, 2], [first, first]
    steps = draw(st.lists(st.floats(0.1, 2.0), min_size=len(numbers), max_size=len(numbers)))
    return BeatGrid(np.cumsum(steps), np.array(numbers), np.array(bars), tuple(meters))


@st.composite
def tracks(draw: st.DrawFn, grid: BeatGrid) -> list[QuantisedTrack]:
    """Up to twelve players with anything from nothing to a cloud of notes."""
    players = []
    for number in range(draw(st.integers(0, draw(st.sampled_from([1, 2, 12]))))):
        key = draw(st.sampled_from(list(INSTRUMENTS)))
        row = INSTRUMENTS[key]
        denominator = draw(st.sampled_from(DENOMINATORS))
        notes = []
        for _ in range(draw(st.integers(0, draw(st.sampled_from([0, 1, 4, 25]))))):
            onset = Fraction(draw(st.integers(-denominator, 12 * denominator)), denominator)
            duration = Fraction(draw(st.integers(1, 6 * denominator)), denominator)
            pitch = draw(st.integers(row.lowest, row.highest))
            confidence = draw(st.sampled_from([0.1, 0.5, 1.0]))
            notes.append(QuantisedNote(onset, duration, Note(0.0, 1.0, pitch, 64, key, confidence)))
        players.append(QuantisedTrack(key, number + 1, tuple(notes)))
    return players


def check(score: Score) -> None:
    """Every voice fills its bars exactly with single values; ties lead somewhere; tuplets close."""
    for part in score.parts:
        staves = INSTRUMENTS[part.instrument].staves
        for measure in part.measures:
            assert 0 < measure.length_q <= measure.meter.bar_q
            assert {event.staff for event in measure.events} == set(range(1, staves + 1))
            for staff in range(1, staves + 1):
                voices = {event.voice for event in measure.events if event.staff == staff}
                assert voices in ({1}, {1, 2})
                for voice in voices:
                    line = [e for e in measure.events if (e.staff, e.voice) == (staff, voice)]
                    at = Fraction(0)
                    open_tuplet: tuple[Fraction, tuple[int, int]] | None = None
                    for event in line:
                        assert event.onset_q == at
                        at += event.duration_q
                        if event.tuplet:
                            if open_tuplet is None:
                                open_tuplet = event.onset_q, event.tuplet
                            start, ratio = open_tuplet
                            assert event.tuplet == ratio
                            assert value_of(event.duration_q * Fraction(*ratio))
                            if closes(at - start, ratio):
                                open_tuplet = None
                        else:
                            assert open_tuplet is None
                            assert value_of(event.duration_q) or (
                                event.is_rest and event.duration_q == measure.meter.bar_q
                            )
                    assert at == measure.length_q
                    assert open_tuplet is None


def total(score: Score) -> list[Fraction]:
    return [
        sum((event.duration_q * len(event.pitches) for bar in part.measures for event in bar.events), Fraction(0))
        for part in score.parts
    ]


@st.composite
def pieces(draw: st.DrawFn) -> tuple[list[QuantisedTrack], BeatGrid]:
    grid = draw(grids())
    return draw(tracks(grid)), grid


def whole(piece: tuple[list[QuantisedTrack], BeatGrid], help_with: SimpleNamespace) -> None:
    players, grid = piece
    score = build_score(players, grid, NotationSettings(), "fuzz.wav")
    assert len(score.parts) == len(players)
    check(score)
    content = to_musicxml(score)
    help_with.schema().validate(content.decode())
    joined = [sum((duration for _, duration, _ in notes), Fraction(0)) for notes in help_with.sounding(score)]
    assert joined == total(score)
    if players:
        help_with.schema().validate(part_to_musicxml(score, score.parts[-1]).decode())
        assert help_with.read_by_music21(content) == [
            notes if INSTRUMENTS[part.instrument].is_pitched else []
            for part, notes in zip(score.parts, help_with.sounding(score), strict=True)
        ]


@settings(max_examples=20, deadline=None, derandomize=True, phases=[Phase.generate])
@given(piece=pieces())
def test_any_notes_make_a_whole_page(piece: tuple[list[QuantisedTrack], BeatGrid], help_with: SimpleNamespace) -> None:
    whole(piece, help_with)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, derandomize=True, phases=[Phase.generate])
@given(piece=pieces())
def test_five_hundred_note_lists(piece: tuple[list[QuantisedTrack], BeatGrid], help_with: SimpleNamespace) -> None:
    whole(piece, help_with)
