"""Whose note sounds at each pitch and moment, by how it sounds, told who plays.

A network looks at every semitone of the constant-Q transform through its harmonics, beside what sounds around it; the
line-up is an input (multi-pitch streaming; cf. Hung, Chen & Yang, "Multitask learning for frame-level instrument
recognition", 2019). It knows nothing of stems, so it errs elsewhere than the separator does, and who gets hardly a note
is not there: that is how a false player is told from a true one. Made by `models.train_attribution`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from score_pipeline import weights
from score_pipeline.detection.detector import COUNTED_NOTE
from score_pipeline.errors import WeightsError
from score_pipeline.features import cqt
from score_pipeline.features.harmonics import harmonic_series_feature
from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.settings import DetectionSettings
from score_pipeline.types import Activity, FloatArray, Ownership
from score_pipeline.units import BLOCK_FRAMES, FRAME_RATE_HZ, N_PITCHES

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

WEIGHTS_NAME = "attribution"

WINDOW_BLOCKS = 96
"""What the network hears at once, ten seconds as in training; every moment is heard in two windows."""

LEAST_OF_EQUAL = 0.25
"""Whoever has less than this part of an equal share of the notes is not there; measured on real players' mixtures."""

SHARE_WINDOW_S = 60.0
"""The notes of a minute are shared out, the best minute counts: a late entry is not voted down by what came before."""


class Attribution:
    """The network behind one session; make it once and use it for many recordings."""

    def __init__(self, session: InferenceSession, instruments: Sequence[str], hsf_order: int) -> None:
        self._session = session
        self.instruments = tuple(instruments)
        self._hsf_order = hsf_order

    @classmethod
    def load(cls, threads: int = 1) -> Attribution:
        """Open the network that ships; a missing, altered or unfit one is a WeightsError."""
        found = weights.find(WEIGHTS_NAME)
        try:
            instruments, hsf_order = found.card["instruments"], int(found.card["hsf_order"])
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"The card of {WEIGHTS_NAME!r} lacks {error}; reinstall score-pipeline.") from error
        return cls(weights.open_session(found.model, threads), instruments, hsf_order)

    def attribute(self, levels: FloatArray, note: FloatArray, line_up: Sequence[str]) -> Ownership:
        """Whose note it is, by `log_cqt` and note posteriorgram of a recording, (frames, 88) each, and its players.

        Whom the network does not know is as likely as the likeliest other. Raises ValueError when the frames differ.
        """
        if note.shape != levels.shape:
            raise ValueError(f"the note posteriorgram is {note.shape}, the recording has {levels.shape}")
        blocks = -(-len(levels) // BLOCK_FRAMES)
        known = [self.instruments.index(key) for key in line_up if key in self.instruments]
        if len(known) < 2:
            nothing = np.zeros((len(line_up), N_PITCHES, blocks), dtype=np.float16)
            return Ownership(note, nothing, tuple(line_up))
        told = np.zeros((1, len(self.instruments)), dtype=np.float32)
        told[0, known] = 1.0
        total = np.zeros((len(known), N_PITCHES, blocks), dtype=np.float32)
        windows = np.zeros(blocks, dtype=np.float32)
        reference, half = cqt.reference_db(levels), WINDOW_BLOCKS // 2
        for start in range(0, max(blocks - half, 1), half):
            span = slice(start, min(start + WINDOW_BLOCKS, blocks))
            frames = slice(span.start * BLOCK_FRAMES, span.stop * BLOCK_FRAMES)
            missing = ((0, frames.stop - min(frames.stop, len(levels))), (0, 0))
            inputs = {
                "cqt": np.pad(cqt.relative(levels[frames], reference), missing).T[None],
                "hsf": np.pad(harmonic_series_feature(note[frames], self._hsf_order), missing).T[None],
                "line_up": told,
            }
            total[:, :, span] += self._session.run(["log_share"], inputs)[0][0][known]
            windows[span] += 1
        total /= windows
        by_key = dict(zip((self.instruments[row] for row in known), total, strict=True))
        likeliest = total.max(axis=0)
        answer = np.stack([by_key.get(key, likeliest) for key in line_up]).astype(np.float16)
        return Ownership(note, answer, tuple(line_up))


def pitched(activity: Activity) -> tuple[str, ...]:
    """Those present whose notes have a pitch: who may own one."""
    return tuple(key for key in activity.present if INSTRUMENTS[key].is_pitched)


def shares(ownership: Ownership) -> FloatArray:
    """Share of the sounding notes that are each player's, in the minute in which it is greatest, (instruments,)."""
    n_players, _, blocks = ownership.log_share.shape
    if n_players == 0:
        return np.zeros(0, dtype=np.float32)
    middle = np.minimum(np.arange(blocks) * BLOCK_FRAMES + BLOCK_FRAMES // 2, len(ownership.note) - 1)
    note = ownership.note[middle].T
    loudness = np.where(note >= COUNTED_NOTE, note, 0)
    owner = ownership.log_share.argmax(axis=0)
    owned = np.array([(loudness * (owner == player)).sum(axis=0) for player in range(n_players)])
    window = round(SHARE_WINDOW_S * FRAME_RATE_HZ / BLOCK_FRAMES)
    best = np.zeros(n_players, dtype=np.float32)
    for start in range(0, max(blocks - window // 2, 1), window // 2):
        heard = owned[:, start : start + window].sum(axis=1)
        best = np.maximum(best, heard / max(float(heard.sum()), 1e-6))
    return np.asarray(best, dtype=np.float32)


def players_with_notes(
    decided: Callable[[DetectionSettings], Activity],
    attributed: Callable[[Sequence[str]], Ownership],
    settings: DetectionSettings,
) -> tuple[Activity, Ownership]:
    """Who plays when and whose note sounds where: whoever gets hardly a note is not there, unless the user says so.

    As many players are looked for as notes sound, so whoever had no notes may have stood for somebody: once they are
    out, `decided` is asked again without them. `attributed` is `Attribution.attribute` of the recording.
    """
    activity = decided(settings)
    ownership = attributed(pitched(activity))
    if settings.instruments is not None:
        return activity, ownership
    heard = without_idle(activity, ownership)
    idle = set(activity.present) - set(heard.present)
    if not idle:
        return activity, ownership
    again = decided(replace(settings, exclude=(*settings.exclude, *sorted(idle))))
    active = np.zeros_like(activity.active)
    active[[activity.instruments.index(key) for key in again.instruments]] = again.active
    activity = replace(activity, active=active)
    ownership = attributed(pitched(activity))
    heard = without_idle(activity, ownership)
    return heard, ownership if heard.present == activity.present else attributed(pitched(heard))


def without_idle(activity: Activity, ownership: Ownership) -> Activity:
    """Who plays when, without those to whom hardly any of the notes belong.

    Where no notes are heard at all, nobody is judged by them.
    """
    shared = shares(ownership) * len(ownership.instruments)
    if not shared.any():
        return activity
    idle = {key for key, share in zip(ownership.instruments, shared, strict=True) if share < LEAST_OF_EQUAL}
    rests = np.array([key in idle for key in activity.instruments], dtype=np.bool_)
    return Activity(activity.probability, activity.active & ~rests[:, None], activity.presence, activity.instruments)
