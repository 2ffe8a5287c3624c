"""The network that hears who plays from the whole band: plain convolutions over a mel spectrum, a GRU behind them.

Beside the detector, which looks at semitones through their harmonics and hears nothing above 4 kHz. Two late layers:
one learns from labels, the other all that a published tagger says of sound (Schmid, Koutini & Widmer, ICASSP 2023, who
teach small networks with large ones); only the first ships.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from score_pipeline.features.mel import N_BANDS

LAYERS: tuple[tuple[int, tuple[int, int]], ...] = (
    (32, (1, 1)), (64, (2, 3)), (64, (1, 1)), (96, (2, 1)), (96, (1, 1)), (128, (2, 1)), (128, (1, 1)),
)  # fmt: skip
"""Channels of each convolution, and by how many bands and frames it is pooled before."""

FIRST_STRIDE = (2, 3)
"""Bands and frames of the first convolution's step."""


@dataclass(frozen=True)
class FullBandConfig:
    """Shape of the network. `tagged`: how many things the tagger names."""

    instruments: tuple[str, ...]
    tags: int
    first: int = 32
    channels: int = 192
    recurrent: int = 64

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> FullBandConfig:
        """As `to_json` wrote it."""
        return cls(**(stored | {"instruments": tuple(stored["instruments"])}))

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint or a card."""
        return asdict(self)


class Heard(NamedTuple):
    """Logits `labels` (n, instruments, t / 9) and `tagged` (n, tags, t / 9)."""

    labels: Tensor
    tagged: Tensor


def _convolution(inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> nn.Sequential:
    around = (kernel[0] // 2, (kernel[1] - stride[1]) // 2 if stride[1] > 1 else kernel[1] // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, around, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class FullBand(nn.Module):
    """`mel` (n, 128, t), levels as `cqt.relative` gives them, -> `Heard`; t must be a multiple of 9."""

    def __init__(self, config: FullBandConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(N_BANDS, 1))
        self.register_buffer("scale", torch.ones(N_BANDS, 1))
        self.first = _convolution(1, config.first, (5, 9), FIRST_STRIDE)
        layers: list[nn.Module] = []
        inputs, bands = config.first, N_BANDS // FIRST_STRIDE[0]
        for outputs, pooling in LAYERS:
            if pooling != (1, 1):
                layers.append(nn.MaxPool2d(pooling))
                bands //= pooling[0]
            layers.append(_convolution(inputs, outputs, (3, 3)))
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.join = nn.Conv1d(inputs * bands, config.channels, 1, bias=False)
        self.join_normalisation = nn.BatchNorm1d(config.channels)
        self.drop = nn.Dropout(0.2)
        self.context = nn.GRU(config.channels, config.recurrent, batch_first=True, bidirectional=True)
        width = config.channels + 2 * config.recurrent
        self.late = nn.Conv1d(width, len(config.instruments), 1)
        self.late_tagged = nn.Conv1d(width, config.tags, 1)

    def set_input_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Per-band mean and standard deviation of the training features, shape (128,)."""
        self.get_buffer("mean").copy_(mean[:, None])
        self.get_buffer("scale").copy_(1 / deviation.clamp_min(1e-3)[:, None])

    def forward(self, mel: Tensor) -> Heard:
        """Logits of both late layers, a value per nine frames."""
        x = (mel - self.get_buffer("mean")) * self.get_buffer("scale")
        y = self.layers(self.first(x[:, None])).flatten(1, 2)
        y = self.drop(F.relu(self.join_normalisation(self.join(y))))
        with torch.autocast("cpu", enabled=False):  # a GRU in bfloat16 is slower than in float32 on CPUs
            around, _ = self.context(y.transpose(1, 2).float())
        y = torch.cat((y.float(), self.drop(around).transpose(1, 2)), dim=1)
        with torch.autocast("cpu", enabled=False):
            return Heard(self.late(y), self.late_tagged(y))
