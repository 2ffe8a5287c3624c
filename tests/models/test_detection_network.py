"""The detection network: shapes, context, export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F

from models.export_detection import PARITY, export
from models.networks.detection import TRANSPOSITIONS, Answer, Detector, DetectorConfig, Timbre, transposed
from models.networks.ensemble import FULL_BAND_WEIGHT, Ensemble
from models.networks.full_band import FullBand, FullBandConfig

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


def test_the_answer_is_the_mean_of_all_heads_there_are_and_of_all_hearings() -> None:
    network = Detector(SMALL).eval()
    cqt, hsf = features(90)
    answer = Answer(network).eval()(cqt, hsf)
    heard = [network(transposed(cqt, semitones), transposed(hsf, semitones)) for semitones in TRANSPOSITIONS]
    labels, taught, tagged, _ = (sum(parts) / len(heard) for parts in zip(*heard, strict=True))
    assert torch.allclose(answer[:, 0], torch.sigmoid(labels[:, 0]), atol=1e-6)
    expected = torch.sigmoid((2 * labels[:, 1] + taught[:, 0] + 2 * tagged[:, 0]) / 5)
    assert torch.allclose(answer[:, 1], expected, atol=1e-6)
    assert torch.allclose(answer[:, 2], torch.sigmoid((labels[:, 2] + tagged[:, 1]) / 2), atol=1e-6)


def test_what_is_transposed_comes_from_its_neighbours_and_silence() -> None:
    rows, _ = features(9)
    up, down = transposed(rows, 2), transposed(rows, -1)
    assert up.shape == down.shape == rows.shape
    assert torch.equal(up[:, 2:], rows[:, :-2]) and not up[:, :2].any()
    assert torch.equal(down[:, :-1], rows[:, 1:]) and not down[:, -1:].any()


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
    full_band = FullBand(FullBandConfig(config.instruments, tags=5))
    assert export(Ensemble(full_band, network).eval(), tmp_path / "model.onnx") <= PARITY


def test_the_timbre_layer_hears_a_transposed_note_alike() -> None:
    torch.manual_seed(0)
    front = Timbre(DetectorConfig(("piano",), channels=8)).eval()
    low = torch.zeros(1, 176, 90)
    low[0, [24, 36, 43, 48]] = 1.0
    high = torch.zeros(1, 176, 90)
    high[0, [28, 40, 47, 52]] = 1.0
    seen = [F.relu(front.attack(front.stacked(x))) for x in (low, high)]
    assert torch.allclose(seen[0][:, :, 20:60], seen[1][:, :, 24:64], atol=1e-6)


def test_networks_answer_together_with_the_mean_of_their_logits() -> None:
    torch.manual_seed(1)
    one, other = Detector(SMALL).eval(), Detector(SMALL).eval()
    cqt, hsf = features(18)
    with torch.no_grad():
        apart = [torch.logit(Answer(network)(cqt, hsf)) for network in (one, other)]
        together = torch.logit(Answer(one, other)(cqt, hsf))
    torch.testing.assert_close(together, (apart[0] + apart[1]) / 2, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="same late layers"):
        Answer(one, Detector(replace(SMALL, taught=())))


def test_the_full_band_is_heard_beside_the_semitones() -> None:
    torch.manual_seed(2)
    network, full_band = Detector(SMALL).eval(), FullBand(FullBandConfig(SMALL.instruments, tags=5)).eval()
    cqt, hsf = features(90)
    mel = torch.rand(2, 128, 90)
    with torch.no_grad():
        semitones = torch.logit(Answer(network)(cqt, hsf))
        whole = full_band(mel).labels.repeat_interleave(3, dim=2)
        together = torch.logit(Ensemble(full_band, network).eval()(cqt, hsf, mel))
    expected = (1 - FULL_BAND_WEIGHT) * semitones + FULL_BAND_WEIGHT * whole
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="same instruments"):
        Ensemble(FullBand(FullBandConfig(("voice",), tags=5)), network)
