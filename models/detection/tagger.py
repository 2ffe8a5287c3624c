"""A published network that has heard two million real clips, as a teacher: EfficientAT's mn04, trained on AudioSet.

Source: fschmid56/EfficientAT (MIT), Schmid, Koutini & Widmer (ICASSP 2023), as ONNX. It says of some seconds of sound
which of 527 things are to be heard in them, among them fourteen of our instruments. It is a teacher; nothing of it
ships.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import soxr

from score_pipeline import weights
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import FRAME_RATE_HZ

CLASSES: dict[str, int] = {
    "piano": 153, "violin": 191, "cello": 193, "clarinet": 198, "horn": 186, "flute": 196, "saxophone": 197,
    "trumpet": 187, "trombone": 188, "double_bass": 194, "guitar": 140, "bass_guitar": 142, "drums": 164, "voice": 27,
}  # fmt: skip
"""Our instruments among AudioSet's classes."""

INSTRUMENTS: tuple[str, ...] = tuple(CLASSES)
"""Rows of its answer."""

N_CLASSES = 527

MODEL_FILE = "mn04_as.onnx"

WINDOW_FRAMES = 342
HOP_FRAMES = 171
"""Four seconds are judged every two, in frames of the clock (multiples of nine)."""

_RATE_HZ = 32000
_HOP = 320
_FFT = 1024
_WINDOW = 800
_BANDS = 128
_TOP_HZ = 15000.0
_PRE_EMPHASIS = 0.97
_PEAK = 0.7


class Tagger:
    """The network, opened once."""

    def __init__(self, folder: Path) -> None:
        self._session = weights.open_session(folder / MODEL_FILE)

    def logits(self, audio: Audio) -> FloatArray:
        """Its answer to a recording about our instruments, (14, windows), as `everything`."""
        return self.everything(audio)[list(CLASSES.values())]

    def everything(self, audio: Audio) -> FloatArray:
        """Its answer to a recording: (527, windows), window i covering frames 171 i to 171 i + 341 of the clock.

        A recording shorter than a window has no answer.
        """
        frames = audio.duration_s * FRAME_RATE_HZ
        windows = int((frames - WINDOW_FRAMES) // HOP_FRAMES) + 1
        if windows < 1:
            return np.zeros((N_CLASSES, 0), dtype=np.float32)
        samples = soxr.resample(audio.mono, audio.rate_hz, _RATE_HZ).astype(np.float32)
        peak = float(np.abs(samples).max())
        mel = log_mel(samples * np.float32(_PEAK / peak)) if peak > 0 else log_mel(samples)
        per_frame = _RATE_HZ / _HOP / FRAME_RATE_HZ
        length = round(WINDOW_FRAMES * per_frame)
        answers = []
        for window in range(windows):
            start = min(round(window * HOP_FRAMES * per_frame), mel.shape[1] - length)
            answers.append(self._session.run(["logits"], {"logmel": mel[None, :, start : start + length]})[0][0])
        return np.stack(answers, axis=1).astype(np.float32)


def log_mel(samples: FloatArray) -> FloatArray:
    """The network's input for a recording at 32 kHz: (128, a hundred per second)."""
    emphasised = np.pad(samples[1:] - np.float32(_PRE_EMPHASIS) * samples[:-1], _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, _FFT)[::_HOP]
    taper = np.zeros(_FFT, dtype=np.float32)
    taper[(_FFT - _WINDOW) // 2 : (_FFT + _WINDOW) // 2] = np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames * taper, axis=1)).astype(np.float32) ** 2
    return np.asarray(((np.log(power @ _mel_bands().T + 1e-5) + 4.5) / 5).T, dtype=np.float32)


@cache
def _mel_bands() -> FloatArray:
    """Triangles in mel between 0 and 15 kHz, (128, bins)."""

    def mel(hz: FloatArray) -> FloatArray:
        return np.asarray(1127 * np.log(1 + hz / 700))

    bins = mel(np.arange(_FFT // 2 + 1) * _RATE_HZ / _FFT)
    edges = np.linspace(0, float(mel(np.array(_TOP_HZ))), _BANDS + 2)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    return np.asarray(triangles.clip(0), dtype=np.float32)
