"""The product's separator: our HTDemucs, told by the activity who plays when, and the harmonics of everybody's notes.

How it works
------------
The network hears 4.5 s of mono at 22050 Hz, sees its spectrum up to 5.5 kHz and who plays, and answers with one mask
per source: numbers in 0..1 that add up to 1 over the instruments and the residual at every bin. The masks of
overlapping segments are crossfaded; above 5.5 kHz each source keeps the share it has of the power just below. They are
multiplied with what the notes claim (`note_masks`), which counts more; whom the network does not know has its residual
for a mask. Who does not play takes nothing. The product, made to add up to 1, is laid on the spectrum of every channel.
Stems are brought back to the recording's rate, and whatever they do not explain, all above 11 kHz included, is the
residual.

Masks only ever share out what is in the mixture, so nothing is invented, and stems and residual add up to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from score_pipeline import audio as sound
from score_pipeline import weights
from score_pipeline.errors import WeightsError
from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.separation.gate import gates
from score_pipeline.separation.note_masks import NoteMasks
from score_pipeline.separation.remainder import stems_of
from score_pipeline.separation.separator import OnProgress, nobody_listens
from score_pipeline.separation.spectrum import Framing, cut
from score_pipeline.types import Activity, Audio, FloatArray, Ownership, Stems
from score_pipeline.units import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

WEIGHTS_NAME = "separator"

_TOP_SHARE = 4
"""One over the part of the seen spectrum, its top, that bins above it follow."""

_NETWORK_WEIGHT = 0.25
"""Exponent of the network's masks beside those of the notes."""

_LEAST_MASK, _LEAST_CLAIM = 0.02, 0.02
"""No mask of either is smaller while somebody plays, so that neither has a veto."""

_LEVEL = 4.0
"""Root mean square of the magnitudes a network is given; its training clips have about this one."""


class MaskNetwork(Protocol):
    """Who answers for one segment.

    Shape: magnitude (n_bins, frames), wave (frames * hop,), gate (instruments, frames) -> (sources, n_bins, frames).
    """

    def __call__(self, magnitude: FloatArray, wave: FloatArray, gate: FloatArray) -> FloatArray:
        """Masks of one segment, the residual last; they add up to 1."""
        ...


@dataclass(frozen=True)
class SeparatorCard:
    """What the program reads of the model's card; `segment_frames` frames of `hop` samples are seen at once."""

    instruments: tuple[str, ...]
    rate_hz: int
    nfft: int
    hop: int
    n_bins: int
    segment_frames: int

    def __post_init__(self) -> None:
        if unknown := [key for key in self.instruments if key not in INSTRUMENTS]:
            raise ValueError(f"unknown instruments {unknown}")
        if self.rate_hz != SAMPLE_RATE_HZ:
            raise ValueError(f"a separator hears {SAMPLE_RATE_HZ} Hz, got {self.rate_hz}")
        if self.segment_frames % 2 or not 0 < self.n_bins <= self.nfft // 2:
            raise ValueError(f"segment of {self.segment_frames} frames or {self.n_bins} bins do not fit")

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> SeparatorCard:
        """Reads and checks; a card that does not fit this program is a WeightsError."""
        try:
            values = {field.name: card[field.name] for field in fields(cls)}
            return cls(**values | {"instruments": tuple(values["instruments"])})
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"The model {WEIGHTS_NAME!r} was made for another version ({error}); reinstall score-pipeline."
            ) from error


class GuidedHTDemucs:
    """A `Separator`; make it once and use it for many recordings."""

    def __init__(self, network: MaskNetwork, card: SeparatorCard) -> None:
        self._network, self.card = network, card
        self._framing = Framing(card.nfft, card.hop)
        self._note_masks = NoteMasks(self._framing)

    @classmethod
    def load(cls, threads: int = 2) -> GuidedHTDemucs:
        """Opens the model that ships; a missing, altered or unfit one is a WeightsError."""
        found = weights.find(WEIGHTS_NAME)
        return cls(_OnnxMasks(weights.open_session(found.model, threads)), SeparatorCard.from_card(found.card))

    def separate(
        self, audio: Audio, activity: Activity, ownership: Ownership, on_progress: OnProgress = nobody_listens
    ) -> Stems:
        """Stems of the active instruments of the card and of those who own notes, and the residual.

        Any rate, any number of channels, any length. Beyond the recording, the stems and a copy of each at 22050 Hz,
        memory does not grow with the length.
        """
        known = {*self.card.instruments, *ownership.instruments}
        present = [key for key in activity.present if key in known]
        mixture = sound.resample(audio, self.card.rate_hz).samples
        if not present or not mixture.any():
            nothing = ((key, np.zeros_like(mixture)) for key in present)
            return stems_of(audio, nothing, self.card.rate_hz)
        parts = [np.zeros_like(mixture) for _ in present]
        blocks = self._framing.frames(mixture.shape[1]) * 2 // self.card.segment_frames + 2
        for number, (start, block) in enumerate(self._blocks(mixture, activity, ownership, present)):
            for part, piece in zip(parts, block, strict=True):
                _add(part, piece, start)
            on_progress(min(1.0, (number + 1) / blocks))
        on_progress(1.0)
        # the list gives its parts away one by one, so that each is freed once it has been resampled
        return stems_of(audio, ((key, parts.pop(0)) for key in present), self.card.rate_hz)

    def _blocks(
        self, mixture: FloatArray, activity: Activity, ownership: Ownership, present: Sequence[str]
    ) -> Iterator[tuple[int, FloatArray]]:
        """Pieces of the stems to be added up: first sample, and (present, channels, samples)."""
        card, framing = self.card, self._framing
        # of the network's masks: who is not known to it, and the residual itself, last, are its residual
        rows = [card.instruments.index(key) if key in card.instruments else -1 for key in (*present, "")]
        half = card.segment_frames // 2
        fade_in = np.sin(np.pi / 2 * (np.arange(half, dtype=np.float32) + 0.5) / half) ** 2
        # frames centred just outside the recording reach into it
        before = self._masks(mixture, activity, -2 * half)
        for start in range(-half, framing.frames(mixture.shape[1]) + 2, half):
            now = self._masks(mixture, activity, start)
            masks = before[rows, :, half:] * (1 - fade_in) + now[rows, :, :half] * fade_in
            spectrum = framing.analyse(mixture, start, half)  # (channels, all bins, half)
            heard = self._to_the_top(masks, (np.abs(spectrum) ** 2).sum(axis=0))
            claimed = self._note_masks(ownership, present, start, half)
            shares = np.maximum(heard, _LEAST_MASK) ** _NETWORK_WEIGHT * (claimed + _LEAST_CLAIM)
            shares[:-1] *= gates(activity, present, self._frame_times(start, half))[:, np.newaxis]
            shares /= shares.sum(axis=0)
            piece = framing.synthesise(shares[:-1, np.newaxis] * spectrum)
            yield start * card.hop - framing.overhang, piece
            before = now

    def _masks(self, mixture: FloatArray, activity: Activity, start: int) -> FloatArray:
        """Masks of the segment that begins at frame `start`: (sources, n_bins, segment_frames)."""
        card, framing = self.card, self._framing
        mono = cut(mixture, start * card.hop - card.nfft, card.segment_frames * card.hop + 2 * card.nfft)
        mono = mono.mean(axis=0, keepdims=True, dtype=np.float32)
        around = card.nfft // card.hop
        spectrum = framing.analyse(mono, around, card.segment_frames)[0, : card.n_bins]
        wave = mono[0, card.nfft : -card.nfft]
        magnitude = np.abs(spectrum)
        level = float(np.sqrt(np.mean(magnitude**2)))
        if level == 0:
            return np.zeros((len(card.instruments) + 1, *magnitude.shape), dtype=np.float32)
        scale = np.float32(_LEVEL / level)
        openness = gates(activity, card.instruments, self._frame_times(start, card.segment_frames))
        return self._network(magnitude * scale, wave * scale, openness)

    def _frame_times(self, start: int, count: int) -> NDArray[np.float64]:
        """Seconds at which frames of the spectrum are centred."""
        return (np.arange(start, start + count) + 0.5) * self.card.hop / self.card.rate_hz

    def _to_the_top(self, masks: FloatArray, power: FloatArray) -> FloatArray:
        """Masks (sources, n_bins, frames) continued to all bins of `power` (bins, frames)."""
        seen = self.card.n_bins
        top = slice(seen - seen // _TOP_SHARE, seen)
        share = (masks[:, top] * power[top]).sum(axis=1) / (power[top].sum(axis=0) + 1e-20)
        above = np.broadcast_to(share[:, np.newaxis], (len(masks), len(power) - seen, masks.shape[2]))
        return np.concatenate((masks, above), axis=1)


def _add(sound: FloatArray, piece: FloatArray, start: int) -> None:
    """Adds (channels, m) to (channels, n) from sample `start` on; what lies outside is left away."""
    first, last = max(0, start), min(sound.shape[1], start + piece.shape[1])
    if first < last:
        sound[:, first:last] += piece[:, first - start : last - start]


class _OnnxMasks:
    """`MaskNetwork` behind an ONNX Runtime session, which knows batches."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session

    def __call__(self, magnitude: FloatArray, wave: FloatArray, gate: FloatArray) -> FloatArray:
        inputs = {"magnitude": magnitude[np.newaxis], "wave": wave[np.newaxis], "gate": gate[np.newaxis]}
        (masks,) = self._session.run(["masks"], inputs)
        return np.asarray(masks[0], dtype=np.float32)
