"""What ships as the detector: networks that look at semitones and one that hears the whole band, answering together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.detection import OUTPUT_FRAMES, Answer, Detector
from models.networks.full_band import FullBand
from score_pipeline.units import BLOCK_FRAMES

FULL_BAND_WEIGHT = 0.5
"""Of the network that hears the whole band beside all that look at semitones."""


class Ensemble(nn.Module):
    """(cqt, hsf, mel) -> probability (n, instruments, t // 3) that an instrument sounds; t must be a multiple of 9.

    The mean of the logits, weighed. Networks for different instruments are a ValueError.
    """

    def __init__(self, full_band: FullBand, *detectors: Detector) -> None:
        super().__init__()
        if any(one.config.instruments != full_band.config.instruments for one in detectors):
            raise ValueError("networks that answer together must know the same instruments")
        self.answer, self.full_band = Answer(*detectors), full_band

    def forward(self, cqt: Tensor, hsf: Tensor, mel: Tensor) -> Tensor:
        """Probability per instrument and output frame."""
        whole = self.full_band(mel).labels.repeat_interleave(BLOCK_FRAMES // OUTPUT_FRAMES, dim=2)
        return torch.sigmoid((1 - FULL_BAND_WEIGHT) * self.answer.logits(cqt, hsf) + FULL_BAND_WEIGHT * whole)
