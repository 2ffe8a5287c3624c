"""Thresholds: each kind weighs alike, rare instruments share the common one, and what is left out has no say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from models.detection.thresholds import COMMON_WEIGHT, RAISED, Choice, Judged, choose


def told(*best: float, outputs: int = 50) -> Judged:
    """One instrument per threshold that parts its playing from its rests without a mistake."""
    values = np.tile(np.linspace(0, 1, outputs, dtype=np.float32), (len(best), 1))
    return Judged(values, values >= np.array(best)[:, None])


def test_an_instrument_of_many_examples_has_the_threshold_that_is_best_for_it() -> None:
    often = [told(0.3, 0.7)] * int(20 * COMMON_WEIGHT)
    chosen = choose(("horn", "oboe"), [often])
    assert chosen["horn"] == pytest.approx(0.3 * RAISED, abs=0.04)
    assert chosen["oboe"] == pytest.approx(0.7 * RAISED, abs=0.04)


def test_an_instrument_of_few_examples_has_nearly_the_threshold_of_all() -> None:
    chosen = choose(("horn", "oboe"), [[told(0.3, 0.7)]])
    assert abs(chosen["horn"] - chosen["oboe"]) < 0.03


def test_recordings_of_the_group_that_is_left_out_have_no_say() -> None:
    groups = [("trios", told(0.2))] * 400 + [("urmp", told(0.5))] * 400
    choice = Choice(("horn",), [], groups)
    assert choice.thresholds()["horn"] == pytest.approx(0.2 * RAISED, abs=0.04)
    assert choice.thresholds(without="trios")["horn"] == pytest.approx(0.5 * RAISED, abs=0.04)


def test_mixtures_are_one_kind_and_all_other_recordings_another() -> None:
    quartet, danzi, trios, bach = told(0.9), told(0.8), told(0.2), told(0.3)
    groups = [("quartet", quartet), ("trios", trios), ("danzi", danzi), ("bach10", bach)]
    assert Choice(("horn",), [], groups).thresholds() == choose(("horn",), [[trios, bach], [quartet, danzi]])


def test_sound_apart_from_the_recordings_weighs_twice() -> None:
    apart, trios = [told(0.3)], told(0.6)
    chosen = Choice(("horn",), [apart], [("trios", trios)]).thresholds()
    assert chosen == choose(("horn",), [apart, apart, [trios]])
