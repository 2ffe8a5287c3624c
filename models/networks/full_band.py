"""The network that hears who plays from the whole band: plain convolutions over a mel spectrum, a GRU behind them.

Beside the detector, which looks at semitones through their harmonics and hears nothing above 4 kHz. Two late layers:
one learns from labels, the other all that a published tagger says of sound (Schmid, Koutini & Widmer, ICASSP 2023, who
teach small networks with large ones); only the first ships.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from score_pipeline.features.mel import N_BANDS

POOLING = ((1, 1), (2, 3), (1, 1), (2, 1), (1, 1), (2, 1), (1, 1))
"""By how many bands and frames it is pooled before each convolution after the first."""

FIRST_STRIDE = (2, 3)
"""Bands and frames of the first convolution's step."""


@dataclass(frozen=True)
class FullBandConfig:
    """Shape of the network. `tags`: how many things the tagger names; `widths`: channels of the convolutions."""

    instruments: tuple[str, ...]
    tags: int
    first: int = 32
    widths: tuple[int, ...] = (48, 96, 96, 144, 144, 192, 192)
    channels: int = 192
    recurrent: int = 64

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> FullBandConfig:
        """As `to_json` wrote it."""
        return cls(**(stored | {name: tuple(stored[name]) for name in ("instruments", "widths")}))

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
        for outputs, pooling in zip(config.widths, POOLING, strict=True):
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


@torch.no_grad()
def widened(network: FullBand, config: FullBandConfig, noise: float = 0.05) -> FullBand:
    """A network of more channels that answers as this one does, to go on from (Net2Net: Chen et al., ICLR 2016).

    Channels beyond those there are twins of some of them; what listens to twins halves its weights. `noise` (share of
    a layer's spread) on what the twins hear lets them part. Only `widths` may differ, else it is a ValueError.
    """
    if replace(network.config, widths=config.widths) != config:
        raise ValueError("only the widths of a network can grow; begin a new one for another shape")
    grown = FullBand(config)
    old, new = network.state_dict(), grown.state_dict()
    source = torch.arange(config.first)
    layers = [k for k, layer in enumerate(network.layers) if isinstance(layer, nn.Sequential)]
    for k, width in zip(layers, config.widths, strict=True):
        count = torch.bincount(source)
        weight = old[f"layers.{k}.0.weight"]
        had = len(weight)
        if width < had:
            raise ValueError(f"a network of {had} channels cannot become one of {width}")
        weight = (weight / count[None, :, None, None])[:, source]
        source = torch.cat((torch.arange(had), torch.randint(had, (width - had,))))
        weight = weight[source]
        weight[had:] += noise * weight.std() * torch.randn_like(weight[had:])
        new[f"layers.{k}.0.weight"] = weight
        for name in ("weight", "bias", "running_mean", "running_var"):
            new[f"layers.{k}.1.{name}"] = old[f"layers.{k}.1.{name}"][source]
    join = old["join.weight"]
    by_channel = join.reshape(len(join), int(source.max()) + 1, -1) / torch.bincount(source)[None, :, None]
    new["join.weight"] = by_channel[:, source].reshape(len(join), -1, 1)
    new |= {name: value for name, value in old.items() if not name.startswith(("layers.", "join.weight"))}
    grown.load_state_dict(new)
    return grown
