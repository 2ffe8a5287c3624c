"""The network that hears whose note sounds: what it is told, what it may answer, that it learns, that it exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.detection.examples import LABELS  # noqa: E402
from models.detection.scenes import Drawn  # noqa: E402
from models.export_attribution import export  # noqa: E402
from models.networks.attribution import Attribution, AttributionConfig  # noqa: E402
from models.train_attribution import FRAMES, Batch, loss, told  # noqa: E402

CONFIG = AttributionConfig(LABELS, width=8)


def batch(blocks: int = 12) -> Batch:
    """Two scenes of a violin above a cello, told apart by nothing but the bins they fill."""
    torch.manual_seed(0)
    frames = 9 * blocks
    line_up = torch.zeros(2, len(LABELS))
    violin, cello = LABELS.index("violin"), LABELS.index("cello")
    line_up[:, [violin, cello]] = 1
    owners = torch.zeros(2, len(LABELS), 88, blocks)
    owners[:, violin, 50], owners[:, cello, 20] = 1, 1
    cqt = 0.1 * torch.rand(2, 88, frames)
    cqt[:, [20, 32, 50, 62]] += 0.8
    return Batch(cqt, cqt, line_up, owners)


def drawn(players: tuple[str, ...]) -> Drawn:
    outputs = FRAMES // 3
    roll = np.zeros((len(LABELS), 88, outputs), dtype=np.bool_)
    for player in players:
        roll[LABELS.index(player), 40] = True
    nothing = np.zeros((88, FRAMES), dtype=np.float32)
    return Drawn(
        nothing, nothing, roll.any(axis=1).astype(np.float32), np.ones(17), np.zeros((7, outputs)), 0.0, roll, 1.0,
        np.zeros((14, 1)),
    )  # fmt: skip


def test_only_the_line_up_is_in_question() -> None:
    network, one = Attribution(CONFIG).eval(), batch()
    with torch.no_grad():
        answer = network(one.cqt, one.hsf, one.line_up)
    assert answer.shape == (2, len(LABELS), 88, 12)
    probability = answer.exp()
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(2, 88, 12))
    assert float(probability[one.line_up == 0].max()) < 1e-6


def test_it_learns_who_plays_high() -> None:
    one = batch()
    network = Attribution(CONFIG)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        value = loss(network(one.cqt, one.hsf, one.line_up), one.owners)
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(value.detach()) < 0.1
    # the notes of somebody who is no longer in the line-up go to who is
    alone = one.line_up.clone()
    alone[:, LABELS.index("violin")] = 0
    assert (network.eval()(one.cqt, one.hsf, alone).argmax(dim=1) == LABELS.index("cello")).all()


def test_a_loss_without_notes_is_nothing() -> None:
    one = batch()
    assert float(loss(torch.zeros_like(one.owners), torch.zeros_like(one.owners))) == 0


def test_what_is_told_errs_now_and_then() -> None:
    players = ("violin", "viola", "cello")
    lines = [told(drawn(players), np.random.default_rng(seed)) for seed in range(200)]
    named = np.array(lines) > 0
    true = np.array([key in players for key in LABELS])
    assert (named == true).all(axis=1).mean() == pytest.approx(0.42, abs=0.1)
    assert (named & ~true).any(axis=1).mean() == pytest.approx(0.5, abs=0.1)
    assert 0.05 < (~named & true).any(axis=1).mean() < 0.25
    assert named.sum(axis=1).min() >= 2
    # who is named by mistake is often of the same family
    assert named[:, LABELS.index("double_bass")].mean() > 1.5 * named[:, LABELS.index("guitar")].mean()


def test_a_soloist_is_no_question() -> None:
    assert told(drawn(("violin",)), np.random.default_rng(0)) is None


def test_the_graph_answers_as_torch_does(tmp_path: Path) -> None:
    assert export(Attribution(CONFIG).eval(), tmp_path / "model.onnx") < 1e-3
