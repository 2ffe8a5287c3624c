"""The network that hears whose note sounds, told who plays: multi-pitch streaming by timbre, register and line.

Every semitone is looked at through its own harmonics, as in the detector, then beside what sounds above and below it,
before and after, and beside what that pitch sounded like in the whole stretch. Who is in the line-up is an input, so
that the question is never "is this a viola" but "is this the violin's or the cello's". As Hung, Chen & Yang (2019) it
answers for each pitch at each moment; the line-up as a condition is ours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.detection import DetectorConfig, Timbre
from score_pipeline.units import N_PITCHES

ABSENT = -30.0
"""Added to the logit of who is not in the line-up."""

TIME_REACH = (1, 2, 4, 8)
"""Distance between the three taps over time, in blocks of nine frames, of each residual block."""

PITCH_REACH = (1, 3, 1, 3)
"""Distance between the five taps over pitch, in semitones."""


@dataclass(frozen=True)
class AttributionConfig:
    """Shape of the network: `width` channels per pitch and moment."""

    instruments: tuple[str, ...]
    hsf_order: int = 5
    width: int = 32

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> AttributionConfig:
        """As `to_json` wrote it."""
        return cls(**(stored | {"instruments": tuple(stored["instruments"])}))

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint or a card."""
        return asdict(self)


class Neighbours(nn.Module):
    """A residual block: three taps over time, then five over pitch."""

    def __init__(self, width: int, time_reach: int, pitch_reach: int) -> None:
        super().__init__()
        self.time = nn.Conv2d(width, width, (1, 3), padding=(0, time_reach), dilation=(1, time_reach), bias=False)
        self.time_normalisation = nn.BatchNorm2d(width)
        self.pitch = nn.Conv2d(
            width, width, (5, 1), padding=(2 * pitch_reach, 0), dilation=(pitch_reach, 1), bias=False
        )
        self.pitch_normalisation = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, 88, t) to the same."""
        y = F.relu(self.time_normalisation(self.time(x)))
        return F.relu(x + self.pitch_normalisation(self.pitch(y)))


class Attribution(nn.Module):
    """(cqt, hsf) (n, 88, t) each and `line_up` (n, instruments), 1 for who plays -> (n, instruments, 88, t / 9).

    The answer is log P(the instrument plays the note | a note of somebody in the line-up sounds there); t must be a
    multiple of 9.
    """

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__()
        self.config = config
        like = DetectorConfig(config.instruments, hsf_order=config.hsf_order, timbre=config.width)
        self.register_buffer("mean", torch.zeros(like.input_channels, 1))
        self.register_buffer("scale", torch.ones(like.input_channels, 1))
        self.timbre = Timbre(like)
        self.members = nn.Linear(len(config.instruments), config.width)
        self.register_of = nn.Parameter(torch.zeros(config.width, N_PITCHES, 1))
        self.enter = nn.Conv2d(config.width, config.width, 1)
        blocks = [Neighbours(config.width, *reach) for reach in zip(TIME_REACH, PITCH_REACH, strict=True)]
        self.near, self.far = nn.Sequential(*blocks[:2]), nn.Sequential(*blocks[2:])
        self.throughout = nn.Conv1d(2 * config.width, config.width, 5, padding=2)
        self.late = nn.Conv2d(config.width, len(config.instruments), 1)

    def forward(self, cqt: Tensor, hsf: Tensor, line_up: Tensor) -> Tensor:
        """Log-probabilities."""
        x = (torch.cat((cqt, hsf), dim=1) - self.get_buffer("mean")) * self.get_buffer("scale")
        y = self.enter(self.timbre(x)) + self.members(line_up)[:, :, None, None] + self.register_of
        y = self.near(F.relu(y))
        whole = torch.cat((y.mean(dim=3), y.amax(dim=3)), dim=1)  # what each pitch sounds like in this stretch
        y = self.far(y + F.relu(self.throughout(whole))[:, :, :, None])
        return F.log_softmax(self.late(y).float() + ABSENT * (1 - line_up)[:, :, None, None], dim=1)
