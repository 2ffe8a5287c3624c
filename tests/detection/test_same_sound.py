"""The same sound in another file is played by the same people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from score_pipeline import audio as audio_io
from score_pipeline.pipeline import load_models, who_plays
from score_pipeline.settings import DetectionSettings
from score_pipeline.types import Activity, Audio
from score_pipeline.units import SAMPLE_RATE_HZ

QUARTET = Path(__file__).parents[2] / "examples" / "quartet.flac"


@pytest.fixture(scope="module")
def quartet() -> Audio:
    """The example at 44.1 kHz, mono, with 9 dB of room above."""
    samples = audio_io.resample(audio_io.to_mono(audio_io.read(QUARTET)), 44100).samples
    return Audio(samples * np.float32(0.35 / np.abs(samples).max()), 44100)


class Ear:
    """The networks, opened once."""

    def __init__(self) -> None:
        self._models = load_models()

    def __call__(self, path: Path) -> Activity:
        """Who plays in a file, by the product's own way of reading it."""
        recording = audio_io.resample(audio_io.to_mono(audio_io.read(path)), SAMPLE_RATE_HZ)
        return who_plays(recording, self._models.pitch.note(recording), DetectionSettings(), self._models)[0]


@pytest.fixture(scope="module")
def heard(quartet: Audio, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ear, Activity]:
    """The ear, and what it heard in the plain file."""
    path = tmp_path_factory.mktemp("plain") / "plain.wav"
    audio_io.write(path, quartet)
    ear = Ear()
    activity = ear(path)
    assert len(activity.present) >= 2
    return ear, activity


@pytest.mark.parametrize(
    ("rate_hz", "channels", "gain_db", "suffix"),
    [
        (48000, 1, 0.0, ".wav"),
        (44100, 2, 0.0, ".wav"),
        (44100, 1, 6.0, ".wav"),
        (44100, 1, -6.0, ".wav"),
        (44100, 1, 0.0, ".mp3"),
        (48000, 2, -6.0, ".mp3"),
    ],
)
def test_players_do_not_depend_on_the_file(
    quartet: Audio,
    heard: tuple[Ear, Activity],
    tmp_path: Path,
    rate_hz: int,
    channels: int,
    gain_db: float,
    suffix: str,
) -> None:
    ear, expected = heard
    other = audio_io.resample(quartet, rate_hz)
    samples = np.repeat(other.samples, channels, axis=0) * np.float32(10 ** (gain_db / 20))
    path = tmp_path / f"other{suffix}"
    audio_io.write(path, Audio(samples, rate_hz))
    found = ear(path)
    assert found.present == expected.present
    frames = min(found.active.shape[1], expected.active.shape[1])
    assert (found.active[:, :frames] == expected.active[:, :frames]).mean() > 0.95
