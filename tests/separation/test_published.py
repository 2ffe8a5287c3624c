"""Published checkpoints: their sources become instruments, by name and by who plays."""

import sys

import numpy as np
import pytest

from score_pipeline.errors import MissingExtraError
from score_pipeline.separation.published import PublishedDemucs
from score_pipeline.types import Activity, Audio, Ownership
from score_pipeline.units import FRAME_RATE_HZ


class TwoSources:
    """Finds a quarter of everything to be bass and half of it to be the rest."""

    sources = ("bass", "other")
    rate_hz = 44100

    def __call__(self, stereo):
        assert stereo.shape[0] == 2
        return {"bass": stereo * 0.25, "other": stereo * 0.5}


def activity_of(spans, seconds):
    frames = int(seconds * FRAME_RATE_HZ) + 1
    active = np.zeros((len(spans), frames), dtype=bool)
    for row, (start_s, end_s) in zip(active, spans.values(), strict=True):
        row[round(start_s * FRAME_RATE_HZ) : round(end_s * FRAME_RATE_HZ) + 1] = True
    return Activity(active.astype(np.float32), active, np.ones(len(spans), dtype=np.float32), tuple(spans))


def apart(mixture, activity):
    """Separated without a word of whose notes sound, which this separator does not ask."""
    frames = activity.active.shape[1]
    nothing = np.zeros((len(activity.instruments), 88, -(-frames // 9)), dtype=np.float16)
    ownership = Ownership(np.zeros((frames, 88), dtype=np.float32), nothing, activity.instruments)
    return PublishedDemucs(TwoSources()).separate(mixture, activity, ownership)


@pytest.mark.parametrize(("channels", "rate_hz"), [(1, 22050), (2, 44100), (6, 48000)])
def test_stems_and_residual_add_up_and_sources_go_to_their_instruments(channels, rate_hz):
    samples = np.random.default_rng(0).standard_normal((channels, 2 * rate_hz)).astype(np.float32) * 0.1
    # below the rate's top octave resampling is transparent
    samples = np.cumsum(samples, axis=1) * 0.01
    mixture = Audio(samples.astype(np.float32), rate_hz)
    stems = apart(mixture, activity_of({"bass_guitar": (0, 2), "violin": (0, 2)}, 2))
    assert set(stems) == {"bass_guitar", "violin"}
    total = sum((stem.samples for stem in stems.stems.values()), stems.residual.samples)
    np.testing.assert_allclose(total, mixture.samples, atol=1e-5)
    if channels == 2:
        np.testing.assert_allclose(stems["bass_guitar"].samples, mixture.samples * 0.25, atol=1e-5)
        np.testing.assert_allclose(stems["violin"].samples, mixture.samples * 0.5, atol=1e-5)


def test_instruments_of_one_source_are_told_apart_by_when_they_play():
    mixture = Audio(np.ones((2, 44100 * 4), dtype=np.float32) * 0.1, 44100)
    stems = apart(mixture, activity_of({"violin": (0, 1), "horn": (2, 4)}, 4))
    assert stems["violin"].samples[0, 22050] == pytest.approx(0.05, abs=1e-3)
    assert stems["horn"].samples[0, 22050] == 0
    assert stems["violin"].samples[0, 3 * 44100] == 0
    assert stems["horn"].samples[0, 3 * 44100] == pytest.approx(0.05, abs=1e-3)


def test_where_both_play_each_gets_half():
    mixture = Audio(np.ones((2, 44100), dtype=np.float32) * 0.1, 44100)
    stems = apart(mixture, activity_of({"violin": (0, 1), "horn": (0, 1)}, 1))
    assert stems["violin"].samples[0, 22050] == pytest.approx(0.025, abs=1e-3)
    assert stems["horn"].samples[0, 22050] == pytest.approx(0.025, abs=1e-3)


def test_silence_gives_silence():
    result = apart(Audio(np.zeros((1, 800), dtype=np.float32), 8000), activity_of({"violin": (0, 0.1)}, 0.1))
    assert not result["violin"].samples.any()


def test_without_demucs_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "demucs", None)
    monkeypatch.setitem(sys.modules, "demucs.apply", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"score-pipeline\[demucs\]"):
        PublishedDemucs.load()
