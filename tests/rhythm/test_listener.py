"""What is heard in attacks depends on the music alone: not on the key, on when it starts or on how long a page is."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

import numpy as np
import pytest

from score_pipeline.rhythm.attacks import gather
from score_pipeline.rhythm.listener import PERIODS_S, in_key, kin, load_listener, period_bin
from score_pipeline.rhythm.priors import LEVELS, METERS
from score_pipeline.types import Meter, Note, Track


def tune(up: int = 0, late_s: float = 0.0) -> Track:
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([0.25, 0.5, 1.0], 60)) + late_s
    pitches = 60 + rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 60) + up
    return Track("piano", 1, tuple(Note(t, t + 0.2, int(p), 80, "piano") for t, p in zip(times, pitches, strict=True)))


def test_the_key_does_not_matter_for_what_a_pitch_means() -> None:
    at_home, moved = gather([tune()]), gather([tune(up=5)])
    np.testing.assert_allclose(
        in_key(at_home.chroma, at_home.length_s), in_key(moved.chroma, moved.length_s), atol=1e-12
    )
    assert np.abs(at_home.chroma - moved.chroma).max() > 0.5


def test_when_a_recording_starts_does_not_matter() -> None:
    now, later = load_listener().hear(gather([tune()])), load_listener().hear(gather([tune(late_s=100.0)]))
    np.testing.assert_allclose(now.joint, later.joint, atol=1e-6)


def test_answers_are_probabilities() -> None:
    listener = load_listener()
    heard = listener.hear(gather([tune()]))
    assert heard.joint.shape[1:] == (len(METERS) + 1, len(PERIODS_S))
    np.testing.assert_allclose(np.exp(heard.joint).sum(axis=(1, 2)), 1.0)
    for meter in (Meter(3, 4), Meter(12, 8), Meter(5, 4)):
        told = np.exp(heard.levels(meter) + listener.prior[kin(meter)])
        assert told.shape == (len(heard.joint), len(PERIODS_S), len(LEVELS))
        np.testing.assert_allclose(told.sum(axis=-1), 1.0)


def test_a_silent_moment_is_one_row_more() -> None:
    heard = load_listener().hear(gather([tune()]))
    for index in (0, 7, len(heard.joint)):
        more = heard.with_silent(index)
        assert len(more.joint) == len(more.near) == len(heard.joint) + 1
        np.testing.assert_array_equal(np.delete(more.joint, index, axis=0), heard.joint)


def test_every_period_is_in_its_own_bin() -> None:
    np.testing.assert_array_equal(period_bin(PERIODS_S * 1.02), np.arange(len(PERIODS_S)))
    assert period_bin(np.array([1e-3, 100.0])).tolist() == [0, len(PERIODS_S) - 1]


@pytest.mark.parametrize("name", ["priors", "listener", "critic"])
def test_tables_are_what_their_cards_say(name: str) -> None:
    folder = files("score_pipeline.rhythm")
    card = json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    stored = folder.joinpath(f"{name}.npz").read_bytes()
    assert card["sha256"] == hashlib.sha256(stored).hexdigest()
    assert card["command"].startswith("python -m models.fit_") and card["learnt_from"] and card["licence"]
