"""A reading is looked at bar by bar: which bar is called the first does not matter, how the bars are filled does."""

from __future__ import annotations

import numpy as np
import pytest

from score_pipeline.rhythm.attacks import Attacks, gather
from score_pipeline.rhythm.critic import N_PLACE, load_critic, local_quarters, place_rows
from score_pipeline.rhythm.metrical import Reading
from score_pipeline.rhythm.priors import METERS, TICKS, load_priors
from score_pipeline.types import Meter, Note, Track


def waltz(bars: int, quarter_s: float) -> Attacks:
    """A low note and two chords in every bar, a melody of a dotted half or three quarters above them."""
    notes = []
    for bar in range(bars):
        start = 3 * bar * quarter_s
        bass = (36, 43)[bar % 2]
        notes.append(Note(start, start + quarter_s, bass, 80, "piano"))
        for beat in (1, 2):
            at = start + beat * quarter_s
            notes += [Note(at, at + 0.6 * quarter_s, pitch, 60, "piano") for pitch in (52, 55, 60)]
        if bar % 2:
            notes += [
                Note(start + k * quarter_s, start + (k + 1) * quarter_s, 72 + 2 * k, 70, "piano") for k in range(3)
            ]
        else:
            notes.append(Note(start, start + 3 * quarter_s, 76, 70, "piano"))
    return gather([Track("piano", 1, tuple(sorted(notes, key=lambda note: note.onset_s)))])


def reading(meter: Meter, tick: np.ndarray) -> Reading:
    return Reading(meter, tick, 0.5, 0.0, 0.0)


def test_a_waltz_is_preferred_in_three() -> None:
    attacks = waltz(16, 0.4)
    tick = np.round(attacks.time_s / 0.4).astype(np.int64) * TICKS
    three, four, late, double = load_critic().logits(
        attacks,
        [
            reading(Meter(3, 4), tick),
            reading(Meter(4, 4), tick),
            reading(Meter(3, 4), tick + TICKS),
            reading(Meter(3, 4), 2 * tick),
        ],
        load_priors(),
    )
    assert three > max(four, late, double)


@pytest.mark.parametrize("meter", [Meter(4, 4), Meter(6, 8), Meter(5, 4)])
def test_which_bar_is_the_first_does_not_matter(meter: Meter) -> None:
    attacks, priors = waltz(8, 0.5), load_priors()
    tick = np.round(attacks.time_s / 0.5).astype(np.int64) * TICKS
    bar = int(meter.bar_q * TICKS)
    rows, number = place_rows(attacks, meter, tick, priors)
    later, moved = place_rows(attacks, meter, tick + 7 * bar, priors)
    np.testing.assert_array_equal(rows, later)
    np.testing.assert_array_equal(number, moved)
    assert rows.shape == (len(attacks), N_PLACE)
    assert number[0] == 0
    assert np.isfinite(rows).all()


def test_other_readings_do_not_change_a_logit() -> None:
    attacks, priors = waltz(8, 0.5), load_priors()
    tick = np.round(attacks.time_s / 0.5).astype(np.int64) * TICKS
    all_ = [reading(meter, tick) for meter in METERS]
    together = load_critic().logits(attacks, all_, priors)
    alone = [load_critic().logits(attacks, [one], priors)[0] for one in all_]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert np.isfinite(together).all()


def test_bars_without_an_attack_are_bars() -> None:
    attacks = waltz(8, 0.5)
    tick = np.round(attacks.time_s / 0.5).astype(np.int64) * TICKS
    tick[len(tick) // 2 :] += 12 * TICKS
    assert np.isfinite(load_critic().logits(attacks, [reading(Meter(3, 4), tick)], load_priors())).all()


def test_the_tempo_of_a_reading_is_that_of_its_quarters() -> None:
    attacks = waltz(8, 0.5)
    tick = np.round(attacks.time_s / 0.5).astype(np.int64) * TICKS
    np.testing.assert_allclose(local_quarters(tick, attacks.time_s), 0.5, rtol=0.02)
    np.testing.assert_allclose(local_quarters(2 * tick, attacks.time_s), 0.25, rtol=0.02)
