"""The mel spectrum: physics of tones, gains and silence, and any length in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from score_pipeline.features import mel as module
from score_pipeline.features.mel import FLOOR_DB, N_BANDS, log_mel
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import SAMPLE_RATE_HZ, n_frames


def audio(samples: FloatArray) -> Audio:
    return Audio(np.asarray(samples, dtype=np.float32)[None], SAMPLE_RATE_HZ)


def sine(frequency_hz: float, seconds: float, amplitude: float = 1.0) -> FloatArray:
    time = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.asarray(amplitude * np.sin(2 * np.pi * frequency_hz * time), dtype=np.float32)


def band_hz(band: int) -> float:
    import librosa

    centres = librosa.mel_frequencies(N_BANDS + 2, fmin=module.LOWEST_BAND_HZ, fmax=SAMPLE_RATE_HZ / 2)
    return float(centres[band + 1])


@pytest.mark.parametrize("band", [20, 60, 100, 126])
def test_a_tone_is_loudest_in_its_band_and_near_full_scale(band: int) -> None:
    middle = log_mel(audio(sine(band_hz(band), 1)))[40]
    assert middle.argmax() == band
    assert -3.5 < middle[band] < 3


def test_a_gain_is_a_shift() -> None:
    samples = 0.05 * np.random.default_rng(1).standard_normal(30000).astype(np.float32)
    np.testing.assert_allclose(log_mel(audio(4 * samples)) - log_mel(audio(samples)), 12.04, atol=0.01)


@pytest.mark.parametrize("n_samples", [0, 1, 255, 256, 20000])
def test_frames_are_those_of_the_clock(n_samples: int) -> None:
    assert log_mel(audio(np.zeros(n_samples))).shape == (n_frames(n_samples), N_BANDS)


def test_a_frame_is_centred_at_its_time() -> None:
    click = np.zeros(20000, np.float32)
    click[30 * 256] = 1
    loud = log_mel(audio(click)).max(axis=1)
    assert loud.argmax() == 30
    np.testing.assert_allclose(loud[29], loud[31], atol=1e-3)


def test_pieces_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = 0.1 * np.random.default_rng(2).standard_normal(40000).astype(np.float32)
    whole = log_mel(audio(samples))
    monkeypatch.setattr(module, "_CHUNK_FRAMES", 13)
    np.testing.assert_allclose(log_mel(audio(samples)), whole, atol=1e-3)


def test_silence_is_the_floor() -> None:
    np.testing.assert_allclose(log_mel(audio(np.zeros(9000))), FLOOR_DB)


def test_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="22050"):
        log_mel(Audio(np.zeros((1, 100), np.float32), 44100))
