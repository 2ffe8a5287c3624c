"""The same recording is found under another name, louder, cut and coded; other music is not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from models.detection.overlap import SAME, correlation, fingerprint, likest
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import SAMPLE_RATE_HZ


def melody(seed: int, seconds: float) -> FloatArray:
    rng = np.random.default_rng(seed)
    time = np.arange(int(0.25 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    notes = [
        np.exp(-4 * time) * sum(np.sin(2 * np.pi * 220 * 2 ** (step / 12) * k * time) / k for k in range(1, 6))
        for step in rng.integers(0, 24, int(seconds * 4))
    ]
    return np.asarray(0.1 * np.concatenate(notes), dtype=np.float32)


def heard(samples: FloatArray) -> FloatArray:
    return fingerprint(Audio(samples[None], SAMPLE_RATE_HZ))


def test_a_copy_that_is_cut_louder_and_noisy_is_found() -> None:
    original = melody(1, 30)
    noise = 0.002 * np.random.default_rng(2).standard_normal(len(original)).astype(np.float32)
    copy = (0.4 * original + noise)[7 * SAMPLE_RATE_HZ + 123 :]
    name, like = likest(heard(original), [("other", heard(melody(3, 30))), ("copy", heard(copy))])
    assert name == "copy" and like >= SAME


def test_other_music_rests_and_snippets_are_nobodys_copy() -> None:
    others = [("other", heard(melody(4, 30))), ("rest", heard(np.zeros(20 * SAMPLE_RATE_HZ, np.float32)))]
    assert likest(heard(melody(1, 30)), others)[1] < 0.8
    assert likest(heard(melody(4, 2)), others) == ("", 0.0)


def test_a_stretch_is_like_itself_where_it_lies() -> None:
    levels = heard(melody(5, 20))
    alike = correlation(levels[100:186], levels)
    assert alike.argmax() == 100 and alike.max() == pytest.approx(1, abs=0.01)
