"""Readings are judged as wholes: their relatives are found, and what they share counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from score_pipeline.rhythm.attacks import Attacks, gather
from score_pipeline.rhythm.critic import load_critic
from score_pipeline.rhythm.listener import Heard, load_listener
from score_pipeline.rhythm.metrical import Reading
from score_pipeline.rhythm.priors import METERS, TICKS, bar_ticks, load_priors
from score_pipeline.rhythm.ranking import agreement, candidates, reconsider, relatives
from score_pipeline.types import Meter, Note, Track

EIGHTHS = np.arange(48) * (TICKS // 2)
TIMES = EIGHTHS / TICKS * 0.5


def reading(meter: Meter, tick: np.ndarray) -> Reading:
    return Reading(meter, tick, 0.5, 0.0, 0.0)


def test_relatives_are_other_levels_meters_and_first_beats() -> None:
    found = list(relatives(Meter(4, 4), EIGHTHS, METERS))
    assert any(meter == Meter(4, 4) and np.array_equal(tick, EIGHTHS) for meter, tick in found)
    assert any(meter == Meter(2, 4) and np.array_equal(tick, EIGHTHS) for meter, tick in found)
    assert any(meter == Meter(4, 4) and np.array_equal(tick, 2 * EIGHTHS) for meter, tick in found)
    assert any(meter == Meter(3, 4) and np.array_equal(tick, EIGHTHS + TICKS) for meter, tick in found)


def test_relatives_with_the_same_beat_count_it_alike() -> None:
    for meter, tick in relatives(Meter(4, 4), EIGHTHS, METERS, same_beat=True):
        assert meter.beat_q == 1
        np.testing.assert_array_equal(np.diff(tick), np.diff(EIGHTHS))


def test_a_reading_agrees_with_itself_and_in_part_with_its_relatives() -> None:
    readings = [
        reading(Meter(4, 4), EIGHTHS),
        reading(Meter(2, 4), EIGHTHS),
        reading(Meter(4, 4), EIGHTHS + TICKS),
        reading(Meter(4, 4), 2 * EIGHTHS),
        reading(Meter(4, 4), EIGHTHS + TICKS // 2),
    ]
    shared = agreement(readings, TIMES)
    assert np.diag(shared) == pytest.approx(1.0)
    assert shared[0, 1] == pytest.approx(0.5)  # beats and values
    assert shared[0, 2] == pytest.approx(0.8)  # all but the bars
    assert shared[0, 3] == pytest.approx(0.3)  # the meter's name
    assert shared[0, 4] == pytest.approx(0.5)  # meter and values


def melody(count: int, bass_from: int = 0) -> tuple[Attacks, Heard, np.ndarray]:
    """Eighths of 3/4, from that of `bass_from` on with a bass note at every bar line; and their ticks."""
    times = np.arange(count) * 0.3
    notes = [Note(t, t + 0.28, 72 + (5 * k) % 9, 80, "piano") for k, t in enumerate(times.tolist())]
    notes += [
        Note(t, t + 1.7, 41 + (7 * k) % 12, 80, "piano")
        for k, t in enumerate(times.tolist())
        if k % 6 == 0 and k >= bass_from
    ]
    attacks = gather([Track("piano", 1, tuple(sorted(notes, key=lambda note: note.onset_s)))])
    return attacks, load_listener().hear(attacks), np.arange(count) * (TICKS // 2)


def test_a_choice_says_how_sure_it_is() -> None:
    attacks, heard, tick = melody(48)
    critic = load_critic()
    choice = reconsider(reading(Meter(4, 4), tick), attacks, heard, METERS, load_priors(), critic)
    np.testing.assert_allclose(np.diff(choice.reading.tick) / np.diff(choice.reading.tick)[0], 1.0)
    assert 0 < choice.confidence(critic) < 1
    told = [replace(choice, grounds=choice.grounds + shift * critic.sure[1:]).confidence(critic) for shift in (-1, 1)]
    assert told[0] < choice.confidence(critic) < told[1]


def test_the_whole_piece_is_asked_what_its_beginning_does_not_say() -> None:
    attacks, heard, tick = melody(1500, bass_from=300)
    choice = reconsider(reading(Meter(4, 4), tick), attacks, heard, METERS, load_priors(), load_critic())
    down = choice.reading.tick % bar_ticks(choice.reading.meter) == 0
    struck = np.arange(1500) % 6 == 0
    assert (down & struck).sum() == down.sum() > 100


def test_bars_that_were_told_are_not_reconsidered() -> None:
    attacks, heard, tick = melody(48)
    told = reading(Meter(4, 4), tick)
    choice = reconsider(told, attacks, heard, METERS, load_priors(), load_critic(), same_bars=True)
    assert choice.reading.meter == told.meter and np.array_equal(choice.reading.tick, told.tick)


def test_relatives_are_looked_for_in_all_meters_that_are_asked_for() -> None:
    found = [reading(Meter(4, 4), EIGHTHS)]
    assert {one.meter for one in candidates(found, METERS)[0]} == set(METERS)
    assert {one.meter for one in candidates(found, (Meter(3, 4),))[0]} == {Meter(4, 4), Meter(3, 4)}
    assert {one.meter for one in candidates(found, METERS, same_bars=True)[0]} == {Meter(4, 4)}
