"""Stems, mixture and activity to tracks: the room's one door.

The mixture is decoded, every stem is decoded, and each note that any of them holds is given to the player for whom
most evidence speaks (`evidence`, `assignment`). So a weak stem costs little: the mixture still holds its notes, and
register, activity and the other stems still say whose they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from score_pipeline.audio import resample, to_mono
from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.settings import TranscriptionSettings
from score_pipeline.transcription.assignment import NOBODY, Array, Assignment, assign
from score_pipeline.transcription.decoder import DecodedNote, decode
from score_pipeline.transcription.evidence import Candidates, Evidence, Witness, gather, pool
from score_pipeline.transcription.players import one_at_a_time, split_in_two
from score_pipeline.types import Activity, Audio, Note, Ownership, Pitchgram, Stems, Track
from score_pipeline.units import SAMPLE_RATE_HZ, frames_to_seconds

LEAST_SECOND_BELIEF = 0.05
"""Who played a note with a smaller probability is not worth naming."""

LOUD_PERCENTILE = 95
LOUD_VELOCITY = 100
"""The loudest notes of a recording are written as forte; what the microphone's gain was is unknown."""


class PitchModel(Protocol):
    """What turns sound into posteriorgrams: `features.posteriorgram.PitchModel`, or a fake."""

    def pitchgram(self, audio: Audio) -> Pitchgram:
        """Posteriorgrams of a recording at 22050 Hz."""
        ...


def transcribe(
    stems: Stems,
    mixture: Pitchgram,
    activity: Activity,
    ownership: Ownership,
    pitch_model: PitchModel,
    settings: TranscriptionSettings,
    on_progress: Callable[[float], None] = lambda done: None,
) -> list[Track]:
    """Who plays which notes: one track per player that has any, in the order of `activity.instruments`.

    `mixture` is the posteriorgram of the whole recording, of which `stems` are the parts, and `ownership` says of those
    present and pitched whose note sounds where; `on_progress` is called with
    the share done, 0..1. Instruments without definite pitch get no notes. A stem of digital silence is a player who
    does not play.
    """
    line_up = [key for key in activity.present if INSTRUMENTS[key].is_pitched and not _is_silent(stems, key)]
    if not line_up:
        return []
    if len(activity.present) == 1:
        tracks = _solo(line_up[0], _listen(stems), mixture, activity, settings)
    else:
        tracks = _ensemble(line_up, stems, mixture, activity, ownership, pitch_model, settings, on_progress)
    on_progress(1.0)
    return tracks


def _solo(
    player: str, sound: Audio, mixture: Pitchgram, activity: Activity, settings: TranscriptionSettings
) -> list[Track]:
    """A player alone: every note within the instrument's range is theirs, or a ghost, and a chord is no second player.

    A solo of double stops would look like two players to `assign`; that there are two of a kind and nobody else is
    rarer.
    """
    row = INSTRUMENTS[player]
    candidates = pool(decode(mixture, settings, row.lowest, row.highest), [])
    if len(candidates) == 0:
        return []
    evidence = gather(candidates, Witness.of(mixture, sound), [None], [player], activity)
    alone = replace(assign(candidates, evidence, [player]), players=np.ones(1, dtype=np.int64))
    return _tracks(candidates, evidence, alone, [player])


def _ensemble(
    line_up: Sequence[str],
    stems: Stems,
    mixture: Pitchgram,
    activity: Activity,
    ownership: Ownership,
    pitch_model: PitchModel,
    settings: TranscriptionSettings,
    on_progress: Callable[[float], None],
) -> list[Track]:
    rows = [INSTRUMENTS[key] for key in line_up]
    in_mixture = decode(mixture, settings, min(row.lowest for row in rows), max(row.highest for row in rows))
    whole = Witness.of(mixture, _listen(stems))
    sounds = {row.key: stems[row.key] for row in rows if row.key in stems}
    if len(stemless := [row.key for row in rows if row.key not in stems]) == 1:
        # what is left over is theirs; several would all be heard in all of it, so for them the mixture speaks
        sounds[stemless[0]] = stems.residual
    witnesses: dict[str, Witness] = {}
    in_stems: list[list[DecodedNote]] = []
    for key, stem in sounds.items():
        on_progress(len(witnesses) / len(sounds))
        sound = resample(to_mono(stem), SAMPLE_RATE_HZ)
        heard = pitch_model.pitchgram(sound)
        witnesses[key] = Witness.of(heard, sound)
        in_stems.append(decode(heard, settings, INSTRUMENTS[key].lowest, INSTRUMENTS[key].highest))
    candidates = pool(in_mixture, in_stems)
    if len(candidates) == 0:
        return []
    evidence = gather(candidates, whole, [witnesses.get(key) for key in line_up], line_up, activity, ownership)
    return _tracks(candidates, evidence, assign(candidates, evidence, line_up), line_up)


def _tracks(candidates: Candidates, evidence: Evidence, assignment: Assignment, line_up: Sequence[str]) -> list[Track]:
    velocities = velocity(evidence, assignment)
    tracks = []
    for index, key in enumerate(line_up):
        notes = [
            Note(
                onset_s=frames_to_seconds(int(candidates.onset_frame[chosen])),
                offset_s=frames_to_seconds(int(candidates.offset_frame[chosen])),
                pitch=int(candidates.pitch[chosen]),
                velocity=int(velocities[chosen]),
                instrument=key,
                confidence=float(assignment.belief[chosen, index].clip(0, 1)),
                second_instrument=_second(assignment.belief[chosen], index, line_up),
            )
            for chosen in np.flatnonzero(assignment.owner == index)
        ]
        lines = list(split_in_two(notes)) if assignment.players[index] == 2 else [notes]
        if INSTRUMENTS[key].polyphony == 1:
            lines = [one_at_a_time(line) for line in lines]
        tracks += [Track(key, number, tuple(line)) for number, line in enumerate(filter(None, lines), start=1)]
    return tracks


def velocity(evidence: Evidence, assignment: Assignment) -> Array:
    """MIDI velocity of every candidate, from its level in its owner's stem relative to the recording's loud notes.

    A synthesiser's amplitude goes with the square of the velocity (General MIDI level 2), so 40 dB lie between 1.27
    and 127. The note posterior is no measure of loudness: it hardly changes with level.
    """
    owned = assignment.owner != NOBODY
    share = evidence.share[np.arange(len(owned)), assignment.owner]  # NOBODY takes the last; those are not used
    level_db = evidence.level_db + 10 * np.log10(share + 1e-3)
    loud_db = np.percentile(level_db[owned], LOUD_PERCENTILE) if owned.any() else 0.0
    return np.asarray(np.rint(LOUD_VELOCITY * 10 ** ((level_db - loud_db) / 40)).clip(1, 127))


def _second(belief: Array, owner: int, line_up: Sequence[str]) -> str | None:
    """Who else may have played the note."""
    others = belief.copy()
    others[owner] = 0.0
    second = int(others.argmax())
    return line_up[second] if others[second] >= LEAST_SECOND_BELIEF else None


def _is_silent(stems: Stems, key: str) -> bool:
    return key in stems and not stems[key].samples.any()


def _listen(stems: Stems) -> Audio:
    """The recording, which is the sum of its stems and the residual, as the models hear it."""
    total = stems.residual.mono.copy()
    for key in stems:
        total += stems[key].mono
    return resample(Audio(total[np.newaxis], stems.residual.rate_hz), SAMPLE_RATE_HZ)
