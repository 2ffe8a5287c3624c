"""The published separator drives the demucs package as that wants to be driven; with a small untrained network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pretrained = pytest.importorskip("demucs.pretrained")

from demucs.htdemucs import HTDemucs  # noqa: E402

from score_pipeline.errors import WeightsError  # noqa: E402
from score_pipeline.separation.published import PublishedDemucs  # noqa: E402
from score_pipeline.types import Activity, Audio, Ownership  # noqa: E402


def test_sources_become_instruments_and_everything_adds_up(monkeypatch):
    torch.manual_seed(0)
    small = HTDemucs(["drums", "bass", "other", "vocals"], channels=8, t_layers=1, t_heads=2, segment=1)
    asked = []
    monkeypatch.setattr(pretrained, "get_model", lambda name: asked.append(name) or small)
    mixture = Audio(np.random.default_rng(0).standard_normal((1, 33075)).astype(np.float32) * 0.1, 22050)
    active = np.ones((2, 131), dtype=bool)
    activity = Activity(active.astype(np.float32), active, np.ones(2, dtype=np.float32), ("drums", "violin"))
    ownership = Ownership(np.zeros((131, 88)), np.zeros((2, 88, 15), dtype=np.float16), activity.instruments)
    stems = PublishedDemucs.load("small", threads=1).separate(mixture, activity, ownership)
    assert asked == ["small"]
    assert set(stems) == {"drums", "violin"}
    assert np.abs(stems["drums"].samples - stems["violin"].samples).max() > 1e-4
    total = sum((stem.samples for stem in stems.stems.values()), stems.residual.samples)
    np.testing.assert_allclose(total, mixture.samples, atol=1e-5)


def test_a_checkpoint_that_cannot_be_fetched_is_named(monkeypatch):
    def unreachable(name):
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained, "get_model", unreachable)
    with pytest.raises(WeightsError, match="htdemucs_6s"):
        PublishedDemucs.load()
