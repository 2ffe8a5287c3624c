"""Beats found in notes: plain music is read as written, hints are law, and nothing makes the tracker fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from score_pipeline.rhythm.beats import FALLBACK_BPM, track_beats
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import Audio, BeatGrid, Meter, Note, Track


def struck(times: list[float], pitches: list[int], lengths: list[float], key: str = "piano", player: int = 1) -> Track:
    rows = zip(times, pitches, lengths, strict=True)
    return Track(key, player, tuple(Note(t, t + length, pitch, 80, key) for t, pitch, length in rows))


def oompah(meter: Meter, bars: int, quarter_s: float, start_s: float = 0.5, bend: float = 0.0) -> list[Track]:
    """A bass note on every bar, chords on the other beats, a tune in eighths over them; new harmony every bar.

    `bend` lets the tempo swing by that share over eight bars.
    """
    rng = np.random.default_rng(1)
    roots = [48, 53, 55, 48, 57, 50, 55, 48]

    def clock(quarter: float) -> float:
        turn = 8 * float(meter.bar_q)
        return start_s + quarter_s * (quarter + bend * turn / 6.28 * np.sin(6.28 * quarter / turn))

    bass, chords, tune = [], [], []
    for bar in range(bars):
        zero = bar * float(meter.bar_q)
        root = roots[bar % 8]
        bass.append((zero, float(meter.bar_q), root - 12))
        for beat in range(1, meter.beats_per_bar):
            at = zero + beat * float(meter.beat_q)
            chords += [(at, float(meter.beat_q) * 0.6, root + k) for k in (4, 7, 12)]
        for step in range(int(meter.bar_q * 2)):
            pitch = root + 24 + int(rng.choice([0, 2, 4, 7, 9]))
            if step == 0 or rng.random() < 0.7:
                tune.append((zero + step / 2, 0.5, pitch))
    result = []
    for player, (key, rows) in enumerate((("cello", bass), ("piano", chords), ("flute", tune))):
        notes = [
            Note(max(clock(q) + rng.normal(0, 0.008), 0.0), clock(q + length), pitch, 80, key)
            for q, length, pitch in rows
        ]
        result.append(Track(key, player + 1, tuple(notes)))
    return result


def test_a_waltz_is_a_waltz() -> None:
    grid = track_beats(oompah(Meter(3, 4), 24, 0.5), None, RhythmSettings(tempo_bpm=120.0), 40.0)
    assert grid.meter[0] == Meter(3, 4)
    downbeats = grid.beat_time_s[grid.beat_number == 1]
    np.testing.assert_allclose(downbeats[:20], 0.5 + 1.5 * np.arange(20), atol=0.05)
    assert grid.bar_number[0] == 1 and grid.source == "hints" and 0 < grid.confidence <= 1


@pytest.mark.parametrize("meter", [Meter(3, 4), Meter(6, 8)])
def test_bars_are_found_where_nothing_is_said(meter: Meter) -> None:
    tracks = oompah(meter, 24, 0.5)
    grid = track_beats(tracks, None, RhythmSettings(), 40.0)
    assert set(grid.meter) == {meter} and grid.source == "audio"
    bass = [note.onset_s for note in tracks[0].notes]
    np.testing.assert_allclose(grid.beat_time_s[grid.beat_number == 1][: len(bass)], bass, atol=0.05)


def test_a_tempo_that_breathes_is_followed() -> None:
    tracks = oompah(Meter(4, 4), 24, 0.55, bend=0.2)
    grid = track_beats(tracks, None, RhythmSettings(meter=Meter(4, 4), tempo_bpm=109.0), 60.0)
    bass = [note.onset_s for note in tracks[0].notes]
    downbeats = grid.beat_time_s[grid.beat_number == 1]
    np.testing.assert_allclose(downbeats[: len(bass)], bass, atol=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
def test_a_steady_run_with_notes_missing_loses_no_sixteenth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heard = np.flatnonzero(rng.random(360) > 0.12)
    times = 0.5 + 0.172 * heard + rng.normal(0, 0.012, len(heard))
    pitches = [60 + (7 * k) % 12 + 12 * (k % 12 == 0) for k in heard.tolist()]
    run = struck(np.sort(times).tolist(), pitches, [0.16] * len(heard), "violin")
    grid = track_beats([run], None, RhythmSettings(tempo_bpm=87.2, meter=Meter(3, 4)), 63.0)
    period = np.diff(grid.beat_time_s)
    assert np.mean(np.abs(np.log(period / np.median(period))) > 0.1) < 0.04


def test_meter_tempo_and_downbeat_are_law() -> None:
    tracks = oompah(Meter(3, 4), 24, 0.5)
    first = 0.5 + 0.5
    said = RhythmSettings(tempo_bpm=120.0, meter=Meter(4, 4), downbeat_s=first)
    grid = track_beats(tracks, None, said, 40.0)
    assert grid.source == "hints" and set(grid.meter) == {Meter(4, 4)}
    downbeats = grid.beat_time_s[grid.beat_number == 1]
    assert np.abs(downbeats - first).min() < 0.05
    assert np.median(np.diff(grid.beat_time_s)) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("meter", [Meter(5, 4), Meter(7, 8), Meter(3, 2), Meter(2, 2), Meter(4, 8), Meter(1, 4)])
def test_a_meter_no_table_knows_can_be_asked_for(meter: Meter) -> None:
    grid = track_beats(oompah(Meter(4, 4), 8, 0.5), None, RhythmSettings(meter=meter), 20.0)
    assert set(grid.meter) == {meter}


def test_a_downbeat_named_in_silence_counts_too() -> None:
    tracks = [struck([2.0 + 0.5 * k for k in range(16)], [60] * 16, [0.4] * 16)]
    grid = track_beats(tracks, None, RhythmSettings(tempo_bpm=120.0, meter=Meter(4, 4), downbeat_s=0.5), 12.0)
    downbeats = grid.beat_time_s[grid.beat_number == 1]
    assert np.abs((downbeats - 0.5 + 1.0) % 2.0 - 1.0).max() < 0.06


def test_the_grid_reaches_from_the_first_note_to_the_end_of_the_last() -> None:
    tracks = oompah(Meter(4, 4), 8, 0.5, start_s=30.0)
    grid = track_beats(tracks, None, RhythmSettings(), 60.0)
    end = max(note.offset_s for track in tracks for note in track.notes)
    assert 27.0 < grid.beat_time_s[0] < 30.1
    assert grid.to_seconds(float(grid.beat_quarter[-1] + grid.meter[-1].beat_q)) >= end - 0.2


@pytest.mark.parametrize("duration_s", [0.0, 1.0, 10.0, 3 * 3600.0])
def test_silence_gets_an_even_grid_that_nothing_speaks_for(duration_s: float) -> None:
    grid = track_beats([Track("piano", 1, ())], None, RhythmSettings(), duration_s)
    assert np.diff(grid.beat_time_s) == pytest.approx(60 / FALLBACK_BPM)
    assert grid.confidence == 0 and grid.meter[0] == Meter(4, 4)
    assert grid.beat_time_s[-1] >= duration_s - 60 / FALLBACK_BPM


def test_one_note_starts_bar_one() -> None:
    grid = track_beats([struck([3.2], [60], [1.0])], None, RhythmSettings(), 10.0)
    assert grid.beat_time_s[0] == pytest.approx(3.2) and grid.beat_number[0] == 1 and grid.confidence == 0


def test_a_chord_struck_once_is_one_attack() -> None:
    grid = track_beats([struck([1.0, 1.01, 1.02], [60, 64, 67], [1.0] * 3)], None, RhythmSettings(), 5.0)
    assert grid.confidence == 0 and grid.beat_time_s[0] == pytest.approx(1.0, abs=0.03)


@pytest.mark.slow
def test_clicks_without_notes_are_heard_in_the_sound() -> None:
    rate = 22050
    samples = np.zeros(rate * 12, np.float32)
    for click in np.arange(0.5, 11.5, 0.5):
        start = int(click * rate)
        samples[start : start + 400] = np.sin(np.arange(400)) * np.exp(-np.arange(400) / 80)
    grid = track_beats([], Audio(samples[None], rate), RhythmSettings(meter=Meter(4, 4), tempo_bpm=120.0), 12.0)
    assert np.abs((grid.beat_time_s[1:20] + 0.25) % 0.5 - 0.25).max() < 0.08


NOTES = st.lists(
    st.tuples(st.floats(0, 30), st.floats(1e-6, 10), st.integers(0, 127), st.integers(1, 127)), max_size=40
)


@given(
    NOTES,
    st.none() | st.floats(10, 400),
    st.none() | st.sampled_from([Meter(3, 4), Meter(6, 8), Meter(5, 8), Meter(2, 1)]),
    st.none() | st.floats(-5, 60),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_notes_and_any_hints_give_a_grid(
    rows: list[tuple[float, float, int, int]], tempo: float | None, meter: Meter | None, downbeat_s: float | None
) -> None:
    notes = tuple(Note(on, on + length, pitch, velocity, "piano") for on, length, pitch, velocity in rows)
    said = RhythmSettings(tempo_bpm=tempo, meter=meter, downbeat_s=downbeat_s)
    grid = track_beats([Track("piano", 1, notes)], None, said, 30.0)
    assert isinstance(grid, BeatGrid) and 0 <= grid.confidence <= 1
    assert np.isfinite(grid.beat_time_s).all()
    assert (np.diff(grid.bar_number) >= 0).all() and grid.bar_number[0] in (0, 1)
    if meter is not None:
        assert set(grid.meter) == {meter}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sixteenths_in_threes_are_no_triplets_at_the_tempo_that_was_told(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heard = np.flatnonzero(rng.random(480) > 0.05)
    times = np.sort(0.5 + 0.17 * heard + rng.normal(0, 0.02, len(heard)))
    pitches = rng.integers(0, 9, len(heard)) + np.where(heard % 3 == 0, 53, 72)
    run = struck(times.tolist(), pitches.tolist(), [0.15] * len(heard), "violin")
    grid = track_beats([run], None, RhythmSettings(tempo_bpm=88.2, meter=Meter(3, 4)), 82.0)
    assert np.median(np.diff(grid.beat_time_s)) == pytest.approx(0.68, rel=0.03)
    assert len(grid.beat_time_s) == pytest.approx(120, abs=4)


def test_a_tempo_that_was_told_is_followed_however_unlikely_it_sounds() -> None:
    track = struck([8.0, 20.0, 20.125], [64, 61, 60], [2.0, 2.0, 1.0])
    grid = track_beats([track], None, RhythmSettings(tempo_bpm=290.0), 22.0)
    assert grid.beat_time_s[0] <= 8.1 and grid.beat_time_s[-1] >= 21.0


@pytest.mark.parametrize("rate", [3.0, 200.0])
def test_many_notes(rate: float) -> None:
    times = (np.arange(600) / rate).tolist()
    grid = track_beats(
        [struck(times, [60 + k % 12 for k in range(600)], [0.5 / rate] * 600)], None, RhythmSettings(), 200.0
    )
    assert grid.beat_time_s[-1] > times[-1] - 10


def test_a_short_recording_is_not_filled_with_beats() -> None:
    grid = track_beats([struck([0.1, 0.35], [60, 62], [0.2, 0.2])], None, RhythmSettings(), 0.6)
    assert len(grid.beat_time_s) <= 16


def test_two_moments_hours_apart() -> None:
    grid = track_beats([struck([0.0, 1.0, 10000.0, 10001.0], [60] * 4, [1.0] * 4)], None, RhythmSettings(), 10002.0)
    assert grid.beat_time_s[-1] > 9990
