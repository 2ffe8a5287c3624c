"""What the notes claim of the spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_pipeline.separation.note_masks import NoteMasks, combs
from score_pipeline.separation.spectrum import Framing
from score_pipeline.types import Ownership
from score_pipeline.units import FRAME_RATE_HZ, SAMPLE_RATE_HZ, midi_to_hz

FRAMING = Framing(4096, 1024)
SECONDS = 4
PLAYERS = ("violin", "cello")


def ownership(*notes: tuple[int, int, float, float]) -> Ownership:
    """(player, pitch, from, to) in seconds."""
    frames = round(SECONDS * FRAME_RATE_HZ)
    note = np.zeros((frames, 88), dtype=np.float32)
    log_share = np.full((len(PLAYERS), 88, -(-frames // 9)), -9.0, dtype=np.float16)
    for player, pitch, start_s, end_s in notes:
        note[round(start_s * FRAME_RATE_HZ) : round(end_s * FRAME_RATE_HZ), pitch - 21] = 0.9
        log_share[player, pitch - 21] = 0
    return Ownership(note, log_share, PLAYERS)


def at(hz: float) -> int:
    return round(hz * FRAMING.nfft / SAMPLE_RATE_HZ)


def frame(time_s: float) -> int:
    return round(time_s * SAMPLE_RATE_HZ / FRAMING.hop - 0.5)


@pytest.mark.parametrize("pitch", [28, 57, 69, 96])
def test_a_comb_stands_where_the_harmonics_are(pitch: int) -> None:
    comb = combs(FRAMING.nfft)[pitch - 21]
    for harmonic in (1, 2, 3):
        place = at(harmonic * float(midi_to_hz(pitch)))
        assert comb[place] > 0.9 * harmonic**-0.5
    if pitch > 50:  # the harmonics of lower notes touch
        assert comb[at(1.5 * float(midi_to_hz(pitch)))] < 0.01


def test_harmonics_are_their_players_and_the_rest_is_nobodys() -> None:
    heard = ownership((0, 81, 0, SECONDS), (1, 45, 0, SECONDS))
    violin, cello, nobody = NoteMasks(FRAMING)(heard, PLAYERS, 0, 80)[:, :, 40]
    # the eighth harmonic of the cello's A is the violin's first
    assert 0.5 < violin[at(880)] < 0.9 and cello[at(880)] > 0.1
    assert cello[at(110)] > 0.99 and violin[at(2640)] > cello[at(2640)]
    assert nobody[at(9000) :].min() > 0.0
    empty = NoteMasks(FRAMING)(heard, PLAYERS, 0, 80)[2, at(40), 40]
    assert empty > 0.9


def test_a_note_claims_while_it_sounds() -> None:
    masks = NoteMasks(FRAMING)(ownership((0, 69, 1.0, 2.0)), PLAYERS, 0, 85)
    claimed = masks[0, at(440)]
    assert claimed[frame(1.5)] > 0.99
    assert claimed[: frame(0.8)].max() < 0.01 and claimed[frame(2.2) :].max() < 0.01


@given(st.integers(-60, 120), st.integers(1, 60))
def test_any_stretch_adds_up_to_one(start: int, count: int) -> None:
    heard = ownership((0, 69, 0.5, 2.0), (1, 50, 1.0, 3.9))
    masks = NoteMasks(Framing(256, 64))(heard, ("cello", "drums", "violin"), start, count)
    assert masks.shape == (4, 129, count) and masks.min() >= 0
    np.testing.assert_allclose(masks.sum(axis=0), 1, atol=1e-5)
    assert not masks[1].any()  # who owns no notes claims nothing


def test_a_stretch_is_the_same_in_one_piece_and_in_two() -> None:
    heard, masks = ownership((0, 69, 0.5, 2.0), (1, 50, 1.0, 3.9)), NoteMasks(FRAMING)
    whole = masks(heard, PLAYERS, 0, 80)
    np.testing.assert_allclose(
        np.concatenate((masks(heard, PLAYERS, 0, 30), masks(heard, PLAYERS, 30, 50)), 2), whole, atol=1e-6
    )
