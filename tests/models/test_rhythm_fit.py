"""The networks that are trained are the ones that run, and they learn what there is to be learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models import fit_critic, fit_listener  # noqa: E402
from models.fit_listener import Network, batch_of, example_of, tables_of  # noqa: E402
from models.rhythm_takes import play, sheet_of  # noqa: E402
from score_pipeline.rhythm.critic import critic_from  # noqa: E402
from score_pipeline.rhythm.listener import PERIODS_S, listener_from, log_softmax  # noqa: E402
from score_pipeline.rhythm.priors import METERS, load_priors  # noqa: E402
from score_pipeline.rhythm.ranking import TIMING  # noqa: E402
from score_pipeline.types import Meter  # noqa: E402
from tests.models.test_rhythm_takes import waltz_with_a_pickup  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def takes(count: int) -> list:
    sheet = sheet_of(waltz_with_a_pickup())
    assert sheet is not None
    played = [play(sheet, np.random.default_rng(seed), 100) for seed in range(count)]
    return [take for take in played if take is not None]


def test_numpy_hears_what_torch_hears() -> None:
    torch.manual_seed(0)
    network, played = Network().eval(), takes(1)[0]
    example = example_of(played, True)
    mean, scale = np.zeros(example.seen.shape[1] - 12), np.ones(example.seen.shape[1] - 12)
    listener = listener_from(tables_of(network, mean, scale, [example]))
    heard = listener.hear(played.attacks)
    batch = batch_of([example], mean, scale, None)
    meter, pace = METERS.index(Meter(3, 4)), 9
    with torch.no_grad():
        joint, told = network(
            batch.x, batch.there, torch.full_like(batch.meter, meter), torch.full_like(batch.pace, pace)
        )
    n = len(example.seen)
    np.testing.assert_allclose(heard.joint, joint[0, :n].numpy(), atol=1e-4)
    found = heard.levels(Meter(3, 4))[:, pace] + listener.prior[meter]
    np.testing.assert_allclose(found, log_softmax(told[0, :n].numpy().astype(np.float64)), atol=1e-4)
    assert heard.joint.shape[2] == len(PERIODS_S)


def test_a_waltz_can_be_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_listener, "STEPS", 40)
    monkeypatch.setattr(fit_listener, "BATCH", 4)
    examples = [example_of(take, True) for take in takes(6)]
    _, figures = fit_listener.fit(examples[1:], examples[:1])
    assert figures["meter_right"] == 1.0
    assert figures["level_nats"] < 1.2  # what is known of levels without listening


def test_numpy_prefers_what_torch_prefers() -> None:
    torch.manual_seed(0)
    sheet = sheet_of(waltz_with_a_pickup())
    assert sheet is not None
    case = fit_critic.case_of(sheet, np.random.default_rng(1))
    assert case is not None
    mean, scale = np.zeros(case.attacks.features.shape[1]), np.ones(case.attacks.features.shape[1])
    network = fit_critic.Network(len(mean) + 12).eval()
    critic = critic_from(fit_critic.tables_of(network, mean, scale) | {"sure": np.zeros(5)})
    with torch.no_grad():
        expected = network(fit_critic.batch_of([case], mean, scale))[0].numpy()
    found = critic.logits(case.attacks, case.readings, load_priors())
    found += TIMING * (case.timing - case.timing.max())  # as `ranking.rank` does
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_true_reading_of_a_waltz_can_be_learnt_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fit_critic, "BATCH", 2)
    monkeypatch.setattr(fit_critic, "CHECKED", 6)
    monkeypatch.setattr(fit_critic, "CHECK_EVERY", 20)
    monkeypatch.setattr(fit_critic, "SEARCHED", 0.0)
    sheet = sheet_of(waltz_with_a_pickup())
    assert sheet is not None
    tables, figures = fit_critic.fit([[sheet]], [sheet], 40, tmp_path / "critic.pt")
    assert figures["worth"] > 0.8
    again, same = fit_critic.fit([[sheet]], [sheet], 40, tmp_path / "critic.pt")
    assert same == figures
    np.testing.assert_array_equal(again["conv"], tables["conv"])
