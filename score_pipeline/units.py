"""Every conversion between units, and the one clock all frame-wise arrays share.

Conventions
-----------
Frame k is centred at ``k * HOP_LENGTH / SAMPLE_RATE_HZ`` seconds: 256 samples at 22.05 kHz, which is 512 at
44.1 kHz, the hop of Hung & Yang (2018, section 4.1) and of Basic Pitch at once. Arrays over frames therefore line up
without interpolation. Row 0 of a pitch axis is MIDI 21 (A0, 27.5 Hz); there are 88 semitones.
"""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAMPLE_RATE_HZ = 22050
"""Rate at which features, detection and transcription listen."""

HOP_LENGTH = 256
"""Samples from one frame to the next at `SAMPLE_RATE_HZ`."""

FRAME_RATE_HZ = SAMPLE_RATE_HZ / HOP_LENGTH
"""86.1328125 frames per second."""

BLOCK_FRAMES = 9
"""Frames per answer of networks that think slowly: a tenth of a second."""

LOWEST_PITCH = 21
"""MIDI number of row 0 of every pitch axis (A0)."""

N_PITCHES = 88
"""Semitones on a pitch axis, A0 to C8."""

LOWEST_HZ = 27.5
"""Frequency of `LOWEST_PITCH`."""


@overload
def frames_to_seconds(frame: float) -> float: ...
@overload
def frames_to_seconds(frame: NDArray[np.generic]) -> NDArray[np.float64]: ...
def frames_to_seconds(frame: float | NDArray[np.generic]) -> float | NDArray[np.float64]:
    """Time of the centre of a frame in seconds (exact; frames may be fractional)."""
    if isinstance(frame, np.ndarray):
        return np.asarray(frame, dtype=np.float64) * HOP_LENGTH / SAMPLE_RATE_HZ
    return frame * HOP_LENGTH / SAMPLE_RATE_HZ


def seconds_to_frame(time_s: float) -> int:
    """Index of the frame whose centre is nearest to `time_s`."""
    return round(time_s * SAMPLE_RATE_HZ / HOP_LENGTH)


def n_frames(n_samples: int) -> int:
    """Frames that cover `n_samples` at `SAMPLE_RATE_HZ`: one centred at every multiple of the hop, 0 included."""
    return 0 if n_samples <= 0 else 1 + n_samples // HOP_LENGTH


def midi_to_hz(pitch: ArrayLike) -> NDArray[np.float64]:
    """Frequency in Hz of MIDI pitches (69 = 440 Hz, equal temperament; fractions allowed)."""
    return np.asarray(440.0 * 2.0 ** ((np.asarray(pitch, dtype=np.float64) - 69.0) / 12.0))


def hz_to_midi(frequency_hz: ArrayLike) -> NDArray[np.float64]:
    """Fractional MIDI pitch of frequencies in Hz."""
    return np.asarray(69.0 + 12.0 * np.log2(np.asarray(frequency_hz, dtype=np.float64) / 440.0))


def decibels(amplitude: float) -> float:
    """20 log10 of an amplitude ratio."""
    return float(20.0 * np.log10(amplitude))
