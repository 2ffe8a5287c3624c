"""The network that hears who plays: Hung & Yang's residual network (2018, figure 1) on top of a reading of timbre.

The paper feeds the 88 semitones of the constant-Q transform and of the harmonic series feature into an early
convolution over time, three residual blocks of three, and a late layer. That part is here, as it was, at a ninth of the
frame rate, since who plays changes slowly. What stands before it: every semitone is first looked at with the same eyes,
through its own harmonics, so that a timbre learned on some notes of some recordings is known on the others; this layer
also says, pitch by pitch, whose note sounds there (multi-task, as in Hung, Chen & Yang 2019). What stands behind it: a
bidirectional GRU tells the late layers what was heard around, and a small layer that hears every third frame says when
exactly somebody begins and ends; further late layers may answer as published networks do (teachers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from score_pipeline.features.harmonics import harmonic_shift
from score_pipeline.units import BLOCK_FRAMES, N_PITCHES

OUTPUT_FRAMES = 3
"""Frames of the clock per output: output i is centred at frame 3 i + 1."""

HARMONICS = 8
"""Harmonics of a semitone seen at once; the eighth is three octaves up."""

BAND = 4
"""Semitones that are pooled before the residual blocks; keeps the register."""


@dataclass(frozen=True)
class DetectorConfig:
    """Shape of the network. `taught`, `tagged`: instruments with further outputs that learn from teachers.

    `timbre` channels look at each semitone, `channels` at each moment, `recurrent` in each direction of time.
    `hsf_order` = -1 leaves the pitch feature out.
    """

    instruments: tuple[str, ...]
    taught: tuple[str, ...] = ()
    tagged: tuple[str, ...] = ()
    channels: int = 256
    recurrent: int = 96
    hsf_order: int = 5
    timbre: int = 32

    @property
    def input_channels(self) -> int:
        """88 for the constant-Q transform, 88 more for the harmonic series feature."""
        return N_PITCHES * (1 if self.hsf_order < 0 else 2)


HEAD_WEIGHTS = (1.0, 0.5, 1.0)
"""Of the late layers that learned from labels, from the CQT teacher and from the tagger."""


TRANSPOSITIONS = (0, 1, -1)
"""Semitones by which the sound is moved for each hearing."""


class Answers(NamedTuple):
    """Logits `labels` (n, instruments, t / 3), `taught` and `tagged` likewise.

    `roll` (n, instruments + 1, 88, t / 9) are log-probabilities of who sounds at a pitch; the last row is nobody.
    """

    labels: Tensor
    taught: Tensor
    tagged: Tensor
    roll: Tensor


class Timbre(nn.Module):
    """Looks at every semitone through its harmonics: (n, 176, t) to (n, timbre, 88, t / 9)."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        width = config.timbre
        self.shifts = [harmonic_shift(n) for n in range(HARMONICS)]
        inputs = HARMONICS + (config.input_channels // N_PITCHES - 1)
        self.attack = nn.Conv2d(inputs, width, (1, BLOCK_FRAMES), stride=(1, BLOCK_FRAMES), bias=False)
        self.attack_normalisation = nn.BatchNorm2d(width)
        self.spectrum = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.spectrum_normalisation = nn.BatchNorm2d(width)
        self.chord = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.chord_normalisation = nn.BatchNorm2d(width)

    def stacked(self, x: Tensor) -> Tensor:
        """(n, 176, t) to (n, 9, 88, t): at every semitone its harmonics, then the pitch feature."""
        cqt = F.pad(x[:, :N_PITCHES], (0, 0, 0, self.shifts[-1]))  # silence above the highest bin
        seen = [cqt[:, shift : shift + N_PITCHES] for shift in self.shifts]
        if x.shape[1] > N_PITCHES:
            seen.append(x[:, N_PITCHES:])
        return torch.stack(seen, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features of each semitone."""
        y = F.relu(self.attack_normalisation(self.attack(self.stacked(x))))
        near = F.relu(self.spectrum_normalisation(self.spectrum(y)))
        return F.relu(y + self.chord_normalisation(self.chord(near)))


class ResidualBlock(nn.Module):
    """Three convolutions over time, each normalised, and the way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1, bias=False) for _ in range(3))
        self.normalisations = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, t) to the same."""
        y = x
        for i, (convolve, normalise) in enumerate(zip(self.convolutions, self.normalisations, strict=True)):
            y = normalise(convolve(y))
            if i < 2:
                y = F.relu(y)
        return F.relu(x + y)


class Detector(nn.Module):
    """(cqt, hsf) of shape (n, 88, t) each -> `Answers`; t must be a multiple of 9."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        channels, instruments = config.channels, len(config.instruments)
        self.register_buffer("mean", torch.zeros(config.input_channels, 1))
        self.register_buffer("scale", torch.ones(config.input_channels, 1))
        self.timbre = Timbre(config)
        self.whose = nn.Conv2d(config.timbre, instruments + 1, 1)
        self.join = nn.Conv1d(config.timbre * N_PITCHES // BAND + instruments, channels, 1, bias=False)
        self.join_normalisation = nn.BatchNorm1d(channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(3)))
        self.drop = nn.Dropout(0.2)
        self.context = nn.GRU(channels, config.recurrent, batch_first=True, bidirectional=True)
        width = channels + 2 * config.recurrent
        self.heads = (instruments, len(config.taught), len(config.tagged))
        self.late = nn.Conv1d(width, sum(self.heads), 1)
        self.late_whose = nn.Conv1d(width, instruments + 1, 1)
        self.fine = nn.Conv1d(config.input_channels, 32, 3 * OUTPUT_FRAMES, OUTPUT_FRAMES, padding=OUTPUT_FRAMES)
        self.late_fine = nn.Conv1d(32, sum(self.heads), 1, bias=False)

    def set_input_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Per-bin mean and standard deviation of the training features, shape (input channels,)."""
        self.get_buffer("mean").copy_(mean[:, None])
        self.get_buffer("scale").copy_(1 / deviation.clamp_min(1e-3)[:, None])

    def forward(self, cqt: Tensor, hsf: Tensor) -> Answers:
        """Logits of all late layers."""
        x = cqt if self.config.hsf_order < 0 else torch.cat((cqt, hsf), dim=1)  # (n, 176, t)
        x = (x - self.get_buffer("mean")) * self.get_buffer("scale")
        timbre = self.timbre(x)  # (n, w, 88, t / 9)
        whose = self.whose(timbre).float()  # (n, i + 1, 88, t / 9)
        loudest = torch.logsumexp(F.log_softmax(whose, dim=1)[:, :-1], dim=2)  # (n, i, t / 9): clear on any pitch
        bands = F.max_pool2d(timbre, (BAND, 1)).flatten(1, 2)
        y = F.relu(self.join_normalisation(self.join(torch.cat((bands, loudest.to(bands.dtype)), dim=1))))
        y = self.blocks(y)  # (n, c, t / 9)
        with torch.autocast("cpu", enabled=False):  # a GRU in bfloat16 is slower than in float32 on CPUs
            around, _ = self.context(self.drop(y.transpose(1, 2).float()))
        y = self.drop(torch.cat((y.float(), around.transpose(1, 2)), dim=1))  # (n, c + 2 r, t / 9)
        late = self.late(y).repeat_interleave(BLOCK_FRAMES // OUTPUT_FRAMES, dim=2)
        late = late + self.late_fine(F.relu(self.fine(x)))  # (n, all heads, t / 3)
        labels, taught, tagged = late.split(self.heads, dim=1)
        return Answers(labels, taught, tagged, F.log_softmax(whose + self.late_whose(y)[:, :, None].float(), dim=1))


def transposed(rows: Tensor, semitones: int) -> Tensor:
    """(n, 88, t) moved up or down by some semitones; silence comes in at the edge."""
    return F.pad(rows, (0, 0, max(semitones, 0), max(-semitones, 0)))[:, max(-semitones, 0) :][:, :N_PITCHES]


class Answer(nn.Module):
    """(cqt, hsf) -> probability (n, instruments, t // 3) that an instrument sounds.

    Every network hears the sound as it is and transposed by `TRANSPOSITIONS`, which errs elsewhere, and all late layers
    that know an instrument are heard (mean of logits); whose notes sound is for training alone. Networks with different
    late layers are a ValueError.
    """

    def __init__(self, *detectors: Detector) -> None:
        super().__init__()
        heads = {(d.config.instruments, d.config.taught, d.config.tagged) for d in detectors}
        if len(heads) != 1:
            raise ValueError("networks that answer together must have the same late layers")
        (heads_of_all,) = heads
        instruments = heads_of_all[0]
        self.detectors = nn.ModuleList(detectors)
        columns = [(weight, key) for weight, head in zip(HEAD_WEIGHTS, heads_of_all, strict=True) for key in head]
        share = torch.zeros(len(instruments), len(columns))
        for column, (weight, key) in enumerate(columns):
            share[instruments.index(key), column] = weight
        voices = len(detectors) * len(TRANSPOSITIONS)
        self.register_buffer("share", share / share.sum(dim=1, keepdim=True) / voices)

    def logits(self, cqt: Tensor, hsf: Tensor) -> Tensor:
        """Mean logit per instrument and output frame."""
        logits = [
            torch.cat(detector(transposed(cqt, semitones), transposed(hsf, semitones))[:-1], dim=1)
            for detector in self.detectors
            for semitones in TRANSPOSITIONS
        ]
        return torch.matmul(self.get_buffer("share"), torch.stack(logits).sum(dim=0))

    def forward(self, cqt: Tensor, hsf: Tensor) -> Tensor:
        """Probability per instrument and output frame."""
        return torch.sigmoid(self.logits(cqt, hsf))
