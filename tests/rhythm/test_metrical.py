"""Attacks are followed through bars: what gets quicker is the notes, not the clock."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from score_pipeline.rhythm.attacks import gather
from score_pipeline.rhythm.listener import load_listener
from score_pipeline.rhythm.metrical import Player, search
from score_pipeline.rhythm.priors import TICKS, load_priors
from score_pipeline.types import Meter, Note, Track

PLAIN = ([1, 1], [0.5, 0.5, 1], [0.5] * 4, [1.5, 0.5])
QUICK = ([0.25] * 8, [0.125] * 4 + [0.25] * 6, [0.25] * 4 + [0.125] * 8)
"""Note values of bars of 2/4."""


def variations(quarter_s: float, seed: int) -> tuple[Track, np.ndarray]:
    """A plain tune, a variation with thirty-seconds, the tune again; and where its notes are, in quarters."""
    rng = np.random.default_rng(seed)
    bars = [kinds[int(rng.integers(len(kinds)))] for kinds in [PLAIN] * 24 + [QUICK] * 8 + [PLAIN] * 16]
    at = np.cumsum([0.0, *(value for bar in bars for value in bar)])
    times = np.sort(0.5 + quarter_s * at + rng.normal(0, 0.01, len(at)))
    notes = (Note(a, a + 0.9 * (b - a), int(60 + rng.integers(12)), 80, "piano") for a, b in pairwise(times.tolist()))
    return Track("piano", 1, tuple(notes)), at[:-1]


@pytest.mark.parametrize("quarter_s", [0.5, 0.8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_variation_in_quicker_notes_is_not_played_twice_as_fast(quarter_s: float, seed: int) -> None:
    track, at = variations(quarter_s, seed)
    attacks = gather([track])
    player = Player(start_s=quarter_s, start_tick=0, beam=100)
    found = search(attacks.time_s, load_listener().hear(attacks), load_priors(), (Meter(2, 4),), player)[0]
    assert (found.tick[-1] - found.tick[0]) / TICKS == pytest.approx(at[-1], rel=0.05)
