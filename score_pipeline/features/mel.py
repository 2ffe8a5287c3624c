"""Mel spectrum: Audio -> levels per frame and mel band over the whole band, up to 11 kHz.

What tells instruments apart besides their partials: breath, bow and reed noise, attacks, formants, what lies above the
4 kHz at which the constant-Q transform ends. Frames are those of `score_pipeline.units`; a frame looks at 46 ms.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import HOP_LENGTH, SAMPLE_RATE_HZ, n_frames

N_BANDS = 128
LOWEST_BAND_HZ = 30.0
WINDOW_SAMPLES = 1024

FLOOR_DB = -120.0
"""Least level of a band; below 20-bit quantisation noise."""

_CHUNK_FRAMES = 5120
"""About a minute at once."""


def log_mel(audio: Audio) -> FloatArray:
    """Levels in dB, shape (frames, 128), of a recording at 22050 Hz; another rate is a ValueError.

    0 dB is the power of a full-scale sine in the bin of its frequency.
    """
    if audio.rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"the mel spectrum is made for {SAMPLE_RATE_HZ} Hz, got {audio.rate_hz} Hz")
    samples = audio.mono
    frames = n_frames(len(samples))
    levels = np.empty((frames, N_BANDS), dtype=np.float32)
    padded = np.pad(samples, WINDOW_SAMPLES // 2 + HOP_LENGTH)[HOP_LENGTH:]
    if not frames:
        return levels
    looks = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_LENGTH][:frames]
    for first in range(0, frames, _CHUNK_FRAMES):
        span = slice(first, first + _CHUNK_FRAMES)
        spectrum = np.fft.rfft(looks[span] * _taper(), axis=1)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ _bands()
        levels[span] = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return levels


@cache
def _taper() -> FloatArray:
    """A Hann window that leaves a full-scale sine at 1."""
    taper = np.hanning(WINDOW_SAMPLES + 1)[:-1]
    return np.asarray(taper * 2 / taper.sum(), dtype=np.float32)


@cache
def _bands() -> FloatArray:
    """Triangles (513, 128), each 1 at its peak."""
    from librosa.filters import mel

    bands = mel(sr=SAMPLE_RATE_HZ, n_fft=WINDOW_SAMPLES, n_mels=N_BANDS, fmin=LOWEST_BAND_HZ, norm=None)
    return np.ascontiguousarray(bands.T, dtype=np.float32)
