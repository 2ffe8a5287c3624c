"""The detector that ships, on the example recording: what must hold whatever it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from score_pipeline import audio as audio_io
from score_pipeline import weights
from score_pipeline.detection.detector import Detector, Features
from score_pipeline.features.posteriorgram import PitchModel
from score_pipeline.instruments import INSTRUMENTS, MUSICNET_SEVEN
from score_pipeline.settings import DetectionSettings
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import SAMPLE_RATE_HZ

QUARTET = Path(__file__).parents[2] / "examples" / "quartet.flac"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


@pytest.fixture(scope="module")
def quartet() -> tuple[Audio, FloatArray]:
    """The example recording at 22050 Hz and its note posteriorgram."""
    recording = audio_io.resample(audio_io.to_mono(audio_io.read(QUARTET)), SAMPLE_RATE_HZ)
    return recording, PitchModel.load().note(recording)


def test_the_card_tells_what_a_reader_needs() -> None:
    found = weights.find("detector")
    card = found.card
    assert set(MUSICNET_SEVEN) <= set(card["instruments"]) <= set(INSTRUMENTS)
    assert all(0 < card["thresholds"][key] < 1 for key in card["instruments"])
    assert found.model.stat().st_size == card["bytes"] < 20_000_000
    assert card["parity_with_torch"] <= 1e-5
    means, deviations = card["features"]["mean"], card["features"]["deviation"]
    assert len(means) == len(deviations) > 0
    assert all(len(numbers) == 176 for numbers in (*means, *deviations))
    for key in ("licence", "date", "command", "training"):
        assert card[key]


def test_six_decibels_leave_the_same_players(detector: Detector, quartet: tuple[Audio, FloatArray]) -> None:
    recording, note = quartet
    expected = detector.detect(Features.of(recording, note))
    for gain in (0.5, 2.0):
        louder = Audio(recording.samples * np.float32(gain), SAMPLE_RATE_HZ)
        moved = detector.detect(Features.of(louder, note))
        assert moved.present == expected.present
        np.testing.assert_allclose(moved.probability, expected.probability, atol=0.01)


def test_silence_is_nobody_and_noise_is_no_player_of_notes(detector: Detector) -> None:
    pitch = PitchModel.load()
    generator = np.random.default_rng(0)
    for level in (0.0, 1e-5, 0.003, 0.1):
        samples = level * generator.standard_normal((1, 5 * SAMPLE_RATE_HZ))
        noise = Audio(samples.astype(np.float32), SAMPLE_RATE_HZ)
        # loud white noise may pass for cymbals, but never for an instrument that plays notes
        present = set(detector.detect(Features.of(noise, pitch.note(noise))).present)
        assert present <= ({"drums"} if level > 1e-3 else set())


def test_a_pause_in_the_recording_is_nobody(detector: Detector, quartet: tuple[Audio, FloatArray]) -> None:
    recording, note = quartet
    samples, pitch = recording.samples.copy(), note.copy()
    samples[:, 10 * SAMPLE_RATE_HZ : 15 * SAMPLE_RATE_HZ] = 0
    pitch[862:1292] = 0
    activity = detector.detect(Features.of(Audio(samples, SAMPLE_RATE_HZ), pitch))
    assert not activity.active[:, 900:1250].any()
    assert activity.active[:, :800].any()


def test_the_users_line_up_is_obeyed(detector: Detector, quartet: tuple[Audio, FloatArray]) -> None:
    named = ("violin", "horn", "bassoon", "cello")
    recording, note = quartet
    features = Features.of(recording, note)
    activity = detector.detect(features, DetectionSettings(instruments=named))
    assert activity.present == named
    without = detector.detect(features, DetectionSettings(exclude=("violin",)))
    assert "violin" not in without.instruments
