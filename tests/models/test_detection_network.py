"""The detection network: shapes, context, export."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F

from models.export_detection import PARITY, export
from models.networks.detection import Answer, Detector, DetectorConfig, Timbre

SMALL = DetectorConfig(
    ("piano", "violin", "flute"), ("violin",), ("violin", "flute"), channels=8, recurrent=4, timbre=4
)


def features(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 88, frames, generator=generator), torch.rand(2, 88, frames, generator=generator)


@pytest.mark.parametrize("frames", [9, 90, 855])
def test_one_output_per_three_frames(frames: int) -> None:
    labels, taught, tagged, roll = Detector(SMALL)(*features(frames))
    assert labels.shape == (2, 3, frames // 3)
    assert taught.shape == (2, 1, frames // 3)
    assert tagged.shape == (2, 2, frames // 3)
    assert roll.shape == (2, 4, 88, frames // 9)
    assert torch.allclose(torch.exp(roll).sum(dim=1), torch.ones(2, 88, frames // 9), atol=1e-5)


def test_without_the_pitch_feature_it_is_not_heard() -> None:
    network = Detector(DetectorConfig(("piano",), channels=8, recurrent=4, hsf_order=-1)).eval()
    cqt, hsf = features(90)
    assert torch.equal(network(cqt, hsf)[0], network(cqt, hsf + 1)[0])


def test_the_answer_is_the_mean_of_all_heads_there_are() -> None:
    network = Detector(SMALL).eval()
    cqt, hsf = features(90)
    labels, taught, tagged, _ = network(cqt, hsf)
    answer = Answer(network).eval()(cqt, hsf)
    assert torch.allclose(answer[:, 0], torch.sigmoid(labels[:, 0]))
    assert torch.allclose(answer[:, 1], torch.sigmoid((2 * labels[:, 1] + taught[:, 0] + 2 * tagged[:, 0]) / 5))
    assert torch.allclose(answer[:, 2], torch.sigmoid((labels[:, 2] + tagged[:, 1]) / 2))


def test_context_reaches_the_other_end_only_through_the_gru() -> None:
    torch.manual_seed(0)
    cqt, hsf = features(162)  # the convolutions reach eleven answers of nine frames
    changed = cqt.clone()
    changed[:, :, :45] += 1
    network = Detector(SMALL).eval()
    assert (network(cqt, hsf)[0][..., -1] != network(changed, hsf)[0][..., -1]).any()
    assert network.late.in_channels == SMALL.channels + 2 * SMALL.recurrent
    with torch.no_grad():
        network.late.weight[:, SMALL.channels :] = 0  # what the GRU says is not heard
    assert torch.equal(network(cqt, hsf)[0][..., -1], network(changed, hsf)[0][..., -1])


@pytest.mark.parametrize("config", [SMALL, DetectorConfig(("piano",), channels=8, recurrent=4)])
def test_onnx_equals_torch_at_any_length(tmp_path: Path, config: DetectorConfig) -> None:
    torch.manual_seed(0)
    network = Detector(config)
    network.set_input_statistics(torch.rand(176), torch.rand(176) + 0.5)
    assert export(network, tmp_path / "model.onnx") <= PARITY


def test_the_timbre_layer_hears_a_transposed_note_alike() -> None:
    torch.manual_seed(0)
    front = Timbre(DetectorConfig(("piano",), channels=8)).eval()
    low = torch.zeros(1, 176, 90)
    low[0, [24, 36, 43, 48]] = 1.0
    high = torch.zeros(1, 176, 90)
    high[0, [28, 40, 47, 52]] = 1.0
    seen = [F.relu(front.attack(front.stacked(x))) for x in (low, high)]
    assert torch.allclose(seen[0][:, :, 20:60], seen[1][:, :, 24:64], atol=1e-6)
