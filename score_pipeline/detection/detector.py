"""Who plays when: a recording and its note posteriorgram -> Activity.

The network (card.json beside it says what it learned from) hears the constant-Q transform, the harmonic series feature
and the mel spectrum, and answers every three frames. It is run over windows of two minutes with twenty seconds of
context on either side, since what was heard around decides more than the moment; memory is flat in the length of the
recording but for the features and the result themselves (some 5 MB a minute).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from score_pipeline import weights
from score_pipeline.detection.evidence import BoolArray, evidence, steady, threshold_share, weighed
from score_pipeline.errors import WeightsError
from score_pipeline.features import cqt, mel
from score_pipeline.features.harmonics import harmonic_series_feature
from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.settings import DetectionSettings
from score_pipeline.types import Activity, Audio, FloatArray
from score_pipeline.units import FRAME_RATE_HZ, HOP_LENGTH, LOWEST_HZ, N_PITCHES, SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

WEIGHTS_NAME = "detector"

FEATURES: dict[str, float] = {
    "sample_rate_hz": SAMPLE_RATE_HZ,
    "hop_length": HOP_LENGTH,
    "bins": N_PITCHES,
    "bins_per_octave": cqt.BINS_PER_OCTAVE,
    "f_min_hz": LOWEST_HZ,
    "range_db": cqt.RANGE_DB,
    "reference_percentile": cqt.REFERENCE_PERCENTILE,
    "mel_bands": mel.N_BANDS,
    "mel_window_samples": mel.WINDOW_SAMPLES,
    "mel_f_min_hz": mel.LOWEST_BAND_HZ,
}
"""What a card must say about its features for the network to fit this program."""

WINDOW_BLOCKS = 1148
"""Blocks of nine frames the network hears at once: two minutes."""

CONTEXT_BLOCKS = 191
"""Of these, on either side of what is kept: twenty seconds."""

EVIDENCE_WINDOW_S = 30.0

SHORTEST_GAP_S = 0.25
"""Shorter rests are articulation and not somebody who stops."""

SHORTEST_SPAN_S = 0.1

LEAST_PLAYING_S = 1.0
LEAST_PLAYING_SHARE = 0.25
"""Who plays less than a second in all, or than this share of a recording even shorter, is taken for a ghost."""

SURE_NOTE = 0.5
NOTES_SHARE = 0.25
"""Where nobody is recognised, somebody plays all the same if this share of the audible frames has a note so sure."""

COUNTED_NOTE = 0.4
"""Posterior from which a note counts when it is asked how many sound at once."""

CHORD_NOTES = 6
"""Who can play so many at once may be the only player of a chord."""

NAMED_SHARE = 0.5
"""Of its threshold, that suffices for an instrument the user named."""


@dataclass(frozen=True, eq=False)
class Features:
    """What the detector hears of a recording.

    `levels` (frames, 88) of `cqt.log_cqt`, `mel` (frames, 128) of `mel.log_mel`, `note` (frames, 88) the posteriorgram
    of its notes. ValueError when the frames differ.
    """

    levels: FloatArray
    mel: FloatArray
    note: FloatArray

    def __post_init__(self) -> None:
        if not len(self.levels) == len(self.mel) == len(self.note):
            frames = f"{len(self.levels)} and {len(self.mel)}"
            raise ValueError(f"the note posteriorgram has {len(self.note)} frames, the recording {frames}")

    @classmethod
    def of(cls, audio: Audio, note: FloatArray) -> Features:
        """Of a recording at 22050 Hz, given its `Pitchgram.note`."""
        return cls(cqt.log_cqt(audio), mel.log_mel(audio), note)

    def __getitem__(self, frames: slice) -> Features:
        """A stretch of them."""
        return Features(self.levels[frames], self.mel[frames], self.note[frames])


@dataclass(frozen=True)
class DetectorCard:
    """What the program reads of the card."""

    instruments: tuple[str, ...]
    thresholds: tuple[float, ...]
    hsf_order: int
    output_frames: int
    block_frames: int

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> DetectorCard:
        """Reads and checks; a card for other features is a WeightsError."""
        try:
            features = card["features"]
            differing = [key for key, value in FEATURES.items() if features[key] != value]
            instruments = tuple(card["instruments"])
            read = cls(
                instruments=instruments,
                thresholds=tuple(float(card["thresholds"][key]) for key in instruments),
                hsf_order=int(features["hsf_order"]),
                output_frames=int(card["output_frames"]),
                block_frames=int(card["block_frames"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"The detector's card lacks or garbles {error}; reinstall score-pipeline.") from error
        if differing:
            raise WeightsError(
                f"The detector was made for other features ({', '.join(differing)}); reinstall score-pipeline."
            )
        return read


class Detector:
    """The detection network behind one session; make it once and use it for many recordings."""

    def __init__(self, session: InferenceSession, card: DetectorCard) -> None:
        self._session = session
        self.card = card

    @classmethod
    def load(cls, threads: int = 1) -> Detector:
        """Open the network that ships; a missing, altered or unfit one is a WeightsError."""
        found = weights.find(WEIGHTS_NAME)
        return cls(weights.open_session(found.model, threads), DetectorCard.from_card(found.card))

    @property
    def instruments(self) -> tuple[str, ...]:
        """Whom the network knows."""
        return self.card.instruments

    def detect(self, features: Features, settings: DetectionSettings | None = None) -> Activity:
        """Who plays when in a recording.

        The result has one row per instrument the network knows and the settings do not exclude; if the settings name
        the players, exactly those rows, each present wherever anything is to be heard at all. Notes of which nobody is
        known to be the player go to whom the network comes nearest.
        """
        return self.decided(self.probability(features), features, settings or DetectionSettings())

    def decided(self, answer: FloatArray, features: Features, settings: DetectionSettings) -> Activity:
        """The same where the network's answer, `probability`, is known already."""
        audible = cqt.audible(features.levels)
        activity = decide(answer, audible, notes_at_once(features.note), self.card, settings)
        if activity.present or settings.instruments is not None or not plays_notes(features.note, audible):
            return activity
        # somebody plays notes and is like nobody the network knows: one part for whom it comes nearest beats none
        candidates = [key for key in activity.instruments if INSTRUMENTS[key].is_pitched]
        if not candidates:
            return activity
        nearest = max(candidates, key=lambda key: float(activity.presence[activity.instruments.index(key)]))
        row = activity.instruments.index(nearest)
        active = activity.active.copy()
        active[row] = audible
        return replace(activity, active=active)

    def probability(self, features: Features) -> FloatArray:
        """The network's answer to a recording: (instruments, outputs).

        There is one output per three frames, centred on the middle one; 0 where all three are silent.
        """
        card, frames = self.card, len(features.levels)
        outputs = -(-frames // card.output_frames)
        references = cqt.reference_db(features.levels), cqt.reference_db(features.mel)
        window, context = WINDOW_BLOCKS * card.block_frames, CONTEXT_BLOCKS * card.block_frames
        kept = window - 2 * context
        answer = np.zeros((len(card.instruments), outputs), dtype=np.float32)
        start = 0
        while start < frames:
            last = start + window >= frames
            piece = self._window(features[start : start + window], *references)
            skipped = context if start else 0
            first, stop = start + skipped, frames if last else start + context + kept
            span = slice(first // card.output_frames, outputs if last else stop // card.output_frames)
            offset = skipped // card.output_frames
            answer[:, span] = piece[:, offset : offset + span.stop - span.start]
            if last:
                break
            start += kept
        answer[:, ~_any_of(cqt.audible(features.levels), card.output_frames)] = 0
        return answer

    def _window(self, features: Features, levels_reference: float, mel_reference: float) -> FloatArray:
        card = self.card
        rows = {
            "cqt": cqt.relative(features.levels, levels_reference),
            "hsf": harmonic_series_feature(features.note, card.hsf_order),
            "mel": cqt.relative(features.mel, mel_reference),
        }
        missing = -len(features.note) % card.block_frames
        inputs = {name: np.pad(array, ((0, missing), (0, 0))).T[None] for name, array in rows.items()}
        output = self._session.run(["probability"], inputs)[0]
        return np.asarray(output[0].clip(0, 1), dtype=np.float32)


def plays_notes(note: FloatArray, audible: BoolArray) -> bool:
    """Whether notes are heard in a fair share of what is to be heard at all; noise has none."""
    heard = note[audible]
    return len(heard) > 0 and float((heard.max(axis=1) >= SURE_NOTE).mean()) >= NOTES_SHARE


def notes_at_once(note: FloatArray) -> NDArray[np.int64]:
    """How many notes sound in each frame, (frames,), by a posteriorgram (frames, 88)."""
    return np.asarray((note >= COUNTED_NOTE).sum(axis=1))


def _any_of(frames: BoolArray, group: int) -> BoolArray:
    """Whether any frame of each group is set, (groups,); the last group may be short."""
    padded = np.pad(frames, (0, -len(frames) % group))
    return np.asarray(padded.reshape(-1, group).any(axis=1))


def to_frames(outputs: FloatArray, frames: int, output_frames: int) -> FloatArray:
    """Outputs (rows, outputs), centred on the middle of their frames, as (rows, frames), linearly interpolated."""
    if outputs.shape[1] == 0:
        return np.zeros((len(outputs), frames), dtype=np.float32)
    centres = np.arange(outputs.shape[1]) * output_frames + (output_frames - 1) / 2
    clock = np.arange(frames)
    return np.stack([np.interp(clock, centres, row) for row in outputs]).astype(np.float32).reshape(-1, frames)


def decide(
    answer: FloatArray,
    audible: BoolArray,
    notes: NDArray[np.int64],
    card: DetectorCard,
    settings: DetectionSettings,
) -> Activity:
    """The network's answer (instruments, outputs) as Activity: evidence weighed, users obeyed, flicker removed.

    `audible` and `notes` (how many sound at once) are (frames,).
    """
    frames = len(audible)
    heard_steps = _any_of(audible, card.output_frames)
    window_steps = round(EVIDENCE_WINDOW_S * FRAME_RATE_HZ / card.output_frames)
    sure = evidence(answer, heard_steps, window_steps)
    presence = sure.max(axis=1, initial=0.0)
    probability = to_frames(answer, frames, card.output_frames) * audible
    if settings.instruments is not None:
        return _of_named(probability, presence, audible, card, settings)
    kept = [row for row, key in enumerate(card.instruments) if key not in settings.exclude]
    thresholds = np.array([card.thresholds[row] for row in kept], dtype=np.float32).reshape(-1, 1)
    judged = weighed(answer[kept], sure[kept])
    chordal = np.array([INSTRUMENTS[card.instruments[row]].polyphony >= CHORD_NOTES for row in kept], dtype=np.bool_)
    middle = np.minimum(np.arange(answer.shape[1]) * card.output_frames + card.output_frames // 2, frames - 1)
    share = threshold_share(judged, heard_steps, thresholds, notes[middle], chordal)
    active = (to_frames(judged, frames, card.output_frames) >= share * thresholds) & audible
    active = _steady(active)
    least = min(LEAST_PLAYING_S * FRAME_RATE_HZ, LEAST_PLAYING_SHARE * np.count_nonzero(audible))
    active[active.sum(axis=1) < least] = False
    return Activity(
        probability=probability[kept],
        active=active,
        presence=presence[kept],
        instruments=tuple(card.instruments[row] for row in kept),
    )


def _of_named(
    probability: FloatArray, presence: FloatArray, audible: BoolArray, card: DetectorCard, settings: DetectionSettings
) -> Activity:
    """Activity of exactly the players the user named: whoever is named is there, the question is when."""
    named = tuple(key for key in dict.fromkeys(settings.instruments or ()) if key not in settings.exclude)
    rows = np.zeros((len(named), len(audible)), dtype=np.float32)
    margin = np.zeros_like(rows)
    sure = np.zeros(len(named), dtype=np.float32)
    for row, key in enumerate(named):
        if key in card.instruments:
            known = card.instruments.index(key)
            rows[row], sure[row] = probability[known], presence[known]
            # relative to the threshold, and to the best moment of a player whom the network hardly hears
            level = min(NAMED_SHARE * card.thresholds[known], 0.5 * float(rows[row].max(initial=0.0)))
            margin[row] = rows[row] / max(level, 1e-6)
        else:
            rows[row] = margin[row] = audible  # the network does not know the instrument: it may always play
            sure[row] = float(audible.any())
    active = (margin >= 1) & audible
    if named:
        # somebody is playing wherever anything is to be heard
        nobody = np.flatnonzero(audible & ~active.any(axis=0))
        active[margin[:, nobody].argmax(axis=0), nobody] = True
    without_flicker = _steady(active)
    lost = ~without_flicker.any(axis=1)
    without_flicker[lost] = active[lost]  # a short entry of somebody who is there is better than none
    return Activity(rows, without_flicker, sure, named)


def _steady(active: BoolArray) -> BoolArray:
    return steady(active, round(SHORTEST_GAP_S * FRAME_RATE_HZ), round(SHORTEST_SPAN_S * FRAME_RATE_HZ))
