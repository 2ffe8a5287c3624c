"""What the notes say of whose sound a bin is: harmonics of a player's notes are that player's.

Score-informed separation (Ewert et al., "Score-informed source separation for musical audio recordings", 2014) without
a score: the notes are the posteriorgram's, their owners `Ownership`'s. It knows every instrument that has notes with a
pitch, and what lies between the harmonics of all notes is nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from score_pipeline.separation.spectrum import Framing
from score_pipeline.types import FloatArray, Ownership
from score_pipeline.units import BLOCK_FRAMES, HOP_LENGTH, LOWEST_PITCH, N_PITCHES, SAMPLE_RATE_HZ, midi_to_hz

HARMONICS = 24
"""Of a note, as far as the spectrum reaches."""

ROLL_OFF = 0.5
"""The n-th harmonic counts n ** -0.5: less than the first, more than its power, so that it is claimed at all."""

WIDTH = 0.012
"""Standard deviation of a harmonic's place as a share of its frequency, a fifth of a tone: vibrato, mistuning."""

LEAST_WIDTH_BINS = 1.3

REACH_FRAMES = 4
"""Frames of the clock by which a note sounds before and after its posterior says so: 46 ms, for attack and release."""

FAINTEST_NOTE = 0.15
"""A smaller posterior is no note."""

DECIDED = 1.5
"""Exponent of each player's claims: at 1 harmonics that coincide are shared by strength; above, the stronger wins."""

NOBODYS = 1e-3
"""Claims that together are not above this leave a bin to nobody."""


class NoteMasks:
    """Masks of players at the bins and frames of a spectrum; make it once."""

    def __init__(self, framing: Framing) -> None:
        self._hop = framing.hop
        self._combs = combs(framing.nfft)

    def __call__(self, ownership: Ownership, players: Sequence[str], start: int, count: int) -> FloatArray:
        """Masks of frames `start`..`start + count`, (players + 1, bins, count); the last is nobody's; they add up to 1.

        Who owns no notes, or has none with a pitch, claims nothing.
        """
        bins = self._combs.shape[1]
        claims = np.zeros((len(players) + 1, bins, count), dtype=np.float32)
        claims[-1] = NOBODYS
        owners = [row for row, key in enumerate(players) if key in ownership.instruments]
        n_frames = len(ownership.note)
        if owners and n_frames:
            # frame i of the spectrum is centred on sample (i + 1/2) * hop
            centre = np.rint((np.arange(start, start + count) + 0.5) * self._hop / HOP_LENGTH).astype(np.int64)
            around = centre[:, None] + np.arange(-REACH_FRAMES, REACH_FRAMES + 1)
            note = ownership.note[around.clip(0, n_frames - 1)].max(axis=1)
            note = np.where(note > FAINTEST_NOTE, note, 0)
            block = (centre // BLOCK_FRAMES).clip(0, ownership.log_share.shape[2] - 1)
            log_share = ownership.of([players[row] for row in owners])[:, :, block].astype(np.float32)
            sounding = np.exp(log_share) * note.T
            claims[owners] = np.matmul(self._combs.T, sounding) ** DECIDED
        return np.asarray(claims / claims.sum(axis=0))


def combs(nfft: int) -> FloatArray:
    """Where the harmonics of each pitch lie, (88, bins), 1 at the centre of the first."""
    bin_hz = SAMPLE_RATE_HZ / nfft
    frequency_hz = np.arange(nfft // 2 + 1) * bin_hz
    result = np.zeros((N_PITCHES, len(frequency_hz)), dtype=np.float32)
    for row, lowest_hz in enumerate(midi_to_hz(LOWEST_PITCH + np.arange(N_PITCHES)).tolist()):
        number = np.arange(1, HARMONICS + 1)
        harmonic_hz = number * lowest_hz
        width_hz = np.maximum(LEAST_WIDTH_BINS * bin_hz, WIDTH * harmonic_hz)
        distance = (frequency_hz[:, None] - harmonic_hz) / width_hz
        result[row] = (number**-ROLL_OFF * np.exp(-0.5 * distance**2)).sum(axis=1)
    return result
