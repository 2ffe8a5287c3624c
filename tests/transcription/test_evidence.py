"""What speaks for a note: the pool of candidates, band powers, shares and the other witnesses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_pipeline.transcription.decoder import DecodedNote
from score_pipeline.transcription.evidence import (
    BAND_HOP_FRAMES,
    LEAST_LOG_SHARE,
    N_BANDS,
    Candidates,
    Witness,
    band_power,
    gather,
    overlapping,
    pool,
)
from score_pipeline.types import Activity, Audio, Ownership
from score_pipeline.units import HOP_LENGTH, SAMPLE_RATE_HZ, midi_to_hz

FRAMES = 173


def tone(pitch: float, amplitude: float = 0.1, partials: int = 6) -> np.ndarray:
    """Two seconds of a harmonic tone."""
    time_s = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    hz = float(midi_to_hz(pitch))
    return sum(amplitude / k * np.sin(2 * np.pi * k * hz * time_s) for k in range(1, partials + 1))


def audio(samples: np.ndarray) -> Audio:
    return Audio(samples[None], SAMPLE_RATE_HZ)


def witness(samples: np.ndarray, pitches: tuple[int, ...]) -> Witness:
    """Somebody who hears `pitches` from the second on, begun at frame 20, and the true sound."""
    onset, note = np.zeros((FRAMES, 88), dtype=np.float32), np.zeros((FRAMES, 88), dtype=np.float32)
    for pitch in pitches:
        note[20:100, pitch - 21] = 0.9
        onset[20, pitch - 21] = 0.8
    return Witness(onset, note, band_power(audio(samples)))


def candidates(*pitches: int) -> Candidates:
    return pool([DecodedNote(20, 100, pitch, 0.9) for pitch in pitches], [])


def always(*instruments: str, level: float = 1.0) -> Activity:
    shape = (len(instruments), FRAMES)
    return Activity(np.full(shape, level), np.full(shape, level >= 0.5), np.ones(len(instruments)), instruments)


def test_a_note_heard_twice_is_one_candidate_with_the_times_of_the_mixture():
    found = pool([DecodedNote(10, 50, 60, 0.8)], [[DecodedNote(13, 70, 60, 0.9)], [DecodedNote(16, 40, 60, 0.9)]])
    assert (found.onset_frame.tolist(), found.offset_frame.tolist(), found.in_mixture.tolist()) == ([10], [50], [True])


def test_a_note_only_stems_hold_is_one_candidate_too():
    found = pool([DecodedNote(10, 50, 60, 0.8)], [[DecodedNote(17, 70, 60, 0.9)], [DecodedNote(19, 80, 60, 0.9)]])
    assert found.onset_frame.tolist() == [10, 17]
    assert found.in_mixture.tolist() == [True, False]


def test_no_notes_are_no_candidates():
    assert len(pool([], [[]])) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(21, 108)), min_size=1, max_size=30, unique=True
    )
)
def test_overlapping_finds_what_comparing_everything_finds(notes):
    rows = np.array(sorted(notes))
    found = overlapping(Candidates(rows[:, 0], rows[:, 0] + rows[:, 1], rows[:, 2], np.ones(len(rows), dtype=bool)))
    starts, ends = rows[:, 0], rows[:, 0] + rows[:, 1]
    for index, others in enumerate(found):
        expected = [j for j in range(len(rows)) if j != index and starts[j] < ends[index] and ends[j] > starts[index]]
        assert others.tolist() == expected


@pytest.mark.parametrize("pitch", [33, 57, 69, 93, 110])
def test_a_sine_is_loudest_in_its_own_band(pitch):
    power = band_power(audio(tone(pitch, partials=1)))
    assert power.shape == (1 + 2 * SAMPLE_RATE_HZ // (BAND_HOP_FRAMES * HOP_LENGTH), N_BANDS)
    assert power[20].argmax() == pitch - 21


def test_bands_are_centred_on_the_clock():
    click = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    click[8 * BAND_HOP_FRAMES * HOP_LENGTH] = 1.0
    assert band_power(audio(click)).sum(axis=1).argmax() == 8


def test_bands_want_the_clocks_rate():
    with pytest.raises(ValueError, match="44100"):
        band_power(Audio(np.zeros((1, 100)), 44100))


def test_the_stem_that_sounds_has_the_share():
    low, high = tone(48), tone(79)
    evidence = gather(
        candidates(48, 79),
        witness(low + high, (48, 79)),
        [witness(low, (48,)), witness(high, (79,))],
        ("cello", "violin"),
        always("cello", "violin"),
    )
    assert evidence.share[0, 0] > 0.9 and evidence.share[1, 1] > 0.9
    assert evidence.stem_note[0].tolist() == pytest.approx([0.9, 0.0])
    assert evidence.stem_attack[1].tolist() == pytest.approx([0.0, 0.8])


def test_a_harmonic_two_notes_claim_says_little():
    # all that is left of the lower note's share in the wrong stem are the harmonics it has in common with the upper
    low, high = tone(48), tone(60)
    evidence = gather(
        candidates(48, 60),
        witness(low + high, (48, 60)),
        [witness(low, (48,)), witness(high, (60,))],
        ("cello", "violin"),
        always("cello", "violin"),
    )
    assert evidence.share[0, 0] > 0.65
    assert evidence.overtone.tolist() == pytest.approx([0.0, 0.9])


def test_volume_changes_no_share():
    low, high = tone(48), tone(79)
    shares = [
        gather(
            candidates(48, 79),
            witness(gain * (low + high), (48, 79)),
            [witness(gain * (low + 0.3 * high), (48,)), witness(gain * 0.7 * high, (79,))],
            ("cello", "violin"),
            always("cello", "violin"),
        ).share
        for gain in (1.0, 0.01)
    ]
    np.testing.assert_allclose(shares[0], shares[1], atol=1e-3)


def test_without_stems_the_mixture_speaks_for_all_alike():
    mixture = witness(tone(60), (60,))
    evidence = gather(candidates(60), mixture, [None, None], ("viola", "horn"), always("viola", "horn"))
    assert evidence.share[0].tolist() == pytest.approx([0.5, 0.5])
    assert evidence.stem_note[0].tolist() == pytest.approx([0.9, 0.9])


def test_whom_the_detector_does_not_know_may_always_play():
    mixture = witness(tone(60), (60,))
    evidence = gather(candidates(60), mixture, [None, None], ("viola", "oboe"), always("viola", level=0.2))
    assert evidence.activity[0].tolist() == pytest.approx([0.1, 1.0])


def test_a_note_is_whose_it_sounds_like_while_it_lasts():
    log_share = np.full((2, 88, 20), -9.0, dtype=np.float16)
    log_share[0, 60 - 21] = 0
    log_share[1, 60 - 21, :2] = 0  # the horn's sound before the note ends, the viola's all the time
    ownership = Ownership(np.zeros((FRAMES, 88)), log_share, ("viola", "horn"))
    heard = Candidates(np.array([0]), np.array([36]), np.array([60]), np.ones(1, dtype=bool))
    evidence = gather(
        heard, witness(tone(60), (60,)), [None, None], ("horn", "viola"), always("horn", "viola"), ownership
    )
    # two of four blocks speak against the horn, none more strongly than is believed of a moment
    assert evidence.timbre[0].tolist() == pytest.approx([0.5 * LEAST_LOG_SHARE, 0.0])


def test_a_louder_note_has_the_higher_level():
    def level(amplitude: float) -> float:
        mixture = witness(tone(60, amplitude), (60,))
        return float(gather(candidates(60), mixture, [None], ("viola",), always("viola")).level_db[0])

    assert level(0.2) - level(0.02) == pytest.approx(20, abs=0.1)
