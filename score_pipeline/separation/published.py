"""Demucs' published checkpoints behind the same protocol, for who wants vocals, drums, bass, guitar and piano apart.

Needs the extra `demucs` (PyTorch) and, the first time, the network to fetch the checkpoint. A checkpoint knows fewer
sources than we have instruments (`Instrument.demucs_source`; what the checkpoint lacks falls into its "other"). When
several active instruments fall into one source, nothing tells them apart but who plays when: at every moment the source
is shared out evenly among those whose gates are open, which keeps the sum but not the parts; for such line-ups the
product's own separator is the better one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from score_pipeline import audio as sound
from score_pipeline.errors import MissingExtraError, WeightsError
from score_pipeline.instruments import instrument
from score_pipeline.separation.gate import gates
from score_pipeline.separation.remainder import stems_of
from score_pipeline.separation.separator import OnProgress, nobody_listens
from score_pipeline.types import Activity, Audio, FloatArray, Ownership, Stems
from score_pipeline.units import FRAME_RATE_HZ

REST = "other"
"""The source of a checkpoint that holds whatever its others do not."""

CHECKPOINT = "htdemucs_6s"
"""The published checkpoint with a piano and a guitar."""


class SourceModel(Protocol):
    """A checkpoint: `sources` are its names, `rate_hz` its rate; it hears two channels."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of what it tells apart."""
        ...

    @property
    def rate_hz(self) -> int:
        """Samples per second it was trained for."""
        ...

    def __call__(self, stereo: FloatArray) -> Mapping[str, FloatArray]:
        """Source -> (2, n) of a recording (2, n) at `rate_hz`."""
        ...


class PublishedDemucs:
    """A `Separator` around a published checkpoint."""

    def __init__(self, model: SourceModel) -> None:
        self._model = model

    @classmethod
    def load(cls, checkpoint: str = CHECKPOINT, threads: int = 2) -> PublishedDemucs:
        """Opens a checkpoint by its name; without the extra a MissingExtraError, unfetchable a WeightsError."""
        return cls(_Checkpoint(checkpoint, threads))

    def separate(
        self, audio: Audio, activity: Activity, ownership: Ownership, on_progress: OnProgress = nobody_listens
    ) -> Stems:
        """Stems of the active instruments and the residual; the checkpoint's answer as a whole is held in memory."""
        model = self._model
        mixture = sound.resample(audio, model.rate_hz).samples
        present = activity.present
        if not present or not mixture.any():
            return stems_of(audio, ((key, np.zeros_like(mixture)) for key in present), model.rate_hz)
        sources = model(_two_channels(mixture))
        on_progress(0.9)
        stems = stems_of(audio, self._parts(sources, activity, len(mixture)), model.rate_hz)
        on_progress(1.0)
        return stems

    def _parts(
        self, sources: Mapping[str, FloatArray], activity: Activity, channels: int
    ) -> Iterator[tuple[str, FloatArray]]:
        present = activity.present
        n_samples = next(iter(sources.values())).shape[1]
        frame_time_s = np.arange(activity.active.shape[1]) / FRAME_RATE_HZ
        openness = gates(activity, present, frame_time_s)
        for row, key in enumerate(present):
            source = self._source_of(key)
            rivals = [other for other, name in enumerate(present) if self._source_of(name) == source]
            share = openness[row] ** 2 / np.maximum(openness[rivals].sum(axis=0), 1e-6)
            sample_s = np.arange(n_samples) / self._model.rate_hz
            level = np.interp(sample_s, frame_time_s, share).astype(np.float32)
            yield key, _channels(sources[source], channels) * level

    def _source_of(self, key: str) -> str:
        wanted = instrument(key).demucs_source
        return wanted if wanted in self._model.sources else REST


def _two_channels(samples: FloatArray) -> FloatArray:
    """Stereo of any number of channels: one is doubled, more than two are averaged and doubled."""
    if samples.shape[0] == 2:
        return samples
    return np.repeat(samples.mean(axis=0, keepdims=True, dtype=np.float32), 2, axis=0)


def _channels(stereo: FloatArray, channels: int) -> FloatArray:
    """As many channels as the mixture has: both, or their mean in each."""
    if channels == 2:
        return stereo
    return np.repeat(stereo.mean(axis=0, keepdims=True, dtype=np.float32), channels, axis=0)


class _Checkpoint:
    """`SourceModel` around the demucs package; the only place of the product that imports torch."""

    def __init__(self, name: str, threads: int) -> None:
        try:
            import torch
            from demucs.apply import apply_model
            from demucs.pretrained import get_model
        except ImportError as error:
            raise MissingExtraError(
                "Published Demucs checkpoints need the extra 'demucs' "
                f"({error}); run: pip install 'score-pipeline[demucs]'."
            ) from error
        self._torch, self._apply = torch, apply_model
        torch.set_num_threads(threads)
        try:
            self._model = get_model(name)
        # demucs ends the program's call with whatever its download, its repository or torch raised
        except (OSError, RuntimeError, SystemExit, ValueError) as error:
            raise WeightsError(
                f"The Demucs checkpoint {name!r} cannot be fetched or opened ({error}); check its name and the network."
            ) from error
        self._model.eval()

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self._model.sources)

    @property
    def rate_hz(self) -> int:
        return int(self._model.samplerate)

    def __call__(self, stereo: FloatArray) -> Mapping[str, FloatArray]:
        # demucs was trained on recordings brought to zero mean and unit deviation
        mean, deviation = float(stereo.mean()), float(stereo.std()) + 1e-8
        mixture = self._torch.from_numpy((stereo - mean) / deviation)[None]
        with self._torch.no_grad():
            parts = self._apply(self._model, mixture, shifts=0, split=True, overlap=0.25, progress=False)[0]
        return {
            name: np.asarray(part.numpy() * deviation, dtype=np.float32)
            for name, part in zip(self.sources, parts, strict=True)
        }
