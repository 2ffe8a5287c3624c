"""Scores played by simulated people: what is known of a score stays known in every performance of it."""

from __future__ import annotations

import numpy as np
import pytest

from models.fit_rhythm import count_steps
from models.rhythm_takes import play, sheet_of
from score_pipeline.rhythm.priors import LEVELS, METERS, TICKS
from score_pipeline.types import Meter


def waltz_with_a_pickup(bars: int = 40) -> dict:
    """A quarter before the first bar, then bass, chord, chord under a tune in eighths."""
    bass, tune = [], [[0, TICKS, 67, 0, 1, 1]]
    for bar in range(bars):
        start = TICKS + bar * 3 * TICKS
        bass += [[start + k * TICKS, TICKS, 43 if k == 0 else 55, 0, 1, 1] for k in range(3)]
        tune += [[start + k * TICKS // 2, TICKS // 2, 67 + (5 * k + bar) % 9, 0, 1, 1] for k in range(6)]
    return {
        "id": "waltz", "div": TICKS, "time_signatures": [[0, 3, 4]], "tempos": [[0, 150.0, ""]],
        "measures": [[0, 0], *([TICKS + k * 3 * TICKS, k + 1] for k in range(bars))],
        "parts": [{"instrument": "cello", "notes": bass}, {"instrument": "violin", "notes": tune}],
    }  # fmt: skip


def test_a_sheet_knows_every_place() -> None:
    sheet = sheet_of(waltz_with_a_pickup())
    assert sheet is not None
    assert sheet.onset_q[0] == -1 and sheet.tick[0] == 2 * TICKS and sheet.bpm == 150
    assert set(sheet.meter) == {METERS.index(Meter(3, 4))}
    bass = sheet.part == 0
    np.testing.assert_array_equal(sheet.tick[bass][:6], [0, TICKS, 2 * TICKS] * 2)
    np.testing.assert_array_equal(sheet.level[bass][:3], [LEVELS.index("bar")] + [LEVELS.index("beat")] * 2)


@pytest.mark.parametrize("seed", range(8))
def test_places_are_kept_by_every_player(seed: int) -> None:
    sheet = sheet_of(waltz_with_a_pickup())
    assert sheet is not None
    played = play(sheet, np.random.default_rng(seed), 100)
    assert played is not None and 12 <= len(played.attacks) <= 140
    known = played.level >= 0
    assert known.mean() > 0.8
    on_bar = (played.onset_q[known] % 3 == 0) == (played.level[known] == LEVELS.index("bar"))
    assert on_bar.all()
    assert (np.diff(played.attacks.time_s) > 0).all() and np.isfinite(played.attacks.features).all()
    true_s = np.diff(played.attacks.time_s).sum() / np.ptp(played.onset_q)
    assert np.exp(played.log_period).mean() == pytest.approx(true_s, rel=0.35)


def test_the_same_seed_is_the_same_player_and_another_is_not() -> None:
    sheet = sheet_of(waltz_with_a_pickup())
    assert sheet is not None
    first, again, other = (play(sheet, np.random.default_rng(seed), 100) for seed in (5, 5, 6))
    assert first is not None and again is not None and other is not None
    np.testing.assert_array_equal(first.attacks.features, again.attacks.features)
    assert len(first.attacks) != len(other.attacks) or not np.array_equal(first.attacks.time_s, other.attacks.time_s)


def test_a_counted_table_prefers_what_was_written() -> None:
    sheet = sheet_of(waltz_with_a_pickup())
    assert sheet is not None
    tables = count_steps([sheet] * 5, [200.0] * 5)
    step = np.exp(tables[f"step_{METERS.index(Meter(3, 4))}"])
    np.testing.assert_allclose(step.sum(axis=1), 1.0, atol=0.01)
    assert step[0, TICKS // 2] > 0.9
    first = tables[f"first_{METERS.index(Meter(3, 4))}"]
    assert first.argmax() == 2 * TICKS
