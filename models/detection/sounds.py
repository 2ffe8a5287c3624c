"""One sound of a training scene, and what may happen to it: cut, coloured, moved, delayed, misheard.

A sound is what the network hears of it: power on the semitones of the constant-Q transform, and a posteriorgram. Powers
add and an equaliser is a factor per bin; a room is an exponential average over time. What changes a sound does
so in place, and draws from the generator it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.detection.examples import LEVEL_OF_BYTE, StoredExample
from models.detection.tagger import HOP_FRAMES, WINDOW_FRAMES
from models.detection.teacher import ANSWER_FRAMES
from score_pipeline.types import FloatArray
from score_pipeline.units import FRAME_RATE_HZ, LOWEST_HZ, N_PITCHES

BoolArray = NDArray[np.bool_]

Rng = np.random.Generator

SOUNDING = 0.35
"""A pitch of a player alone sounds where its posterior is no less."""

LEAST_NOTE_FRAMES = 8
"""Shorter stretches of one pitch are taken for slips of the posteriorgram."""

_POWER_OF_BYTE = (10 ** (LEVEL_OF_BYTE / 10)).astype(np.float32)

_SILENT_BYTE = 255


@dataclass(frozen=True)
class Variation:
    """How strongly players and scenes are varied; decibels, semitones, seconds and shares of the cases."""

    equaliser_db: float = 2.5
    equaliser_knots: int = 8
    dull_share: float = 0.3
    dull_db_per_semitone: tuple[float, float] = (0.3, 2.5)
    transpose_share: float = 0.4
    transpose_most: int = 2
    balance_db: tuple[float, float] = (-9.0, 6.0)
    room_share: float = 0.35
    room_decay_s: tuple[float, float] = (0.3, 2.5)
    room_db: tuple[float, float] = (-18.0, -3.0)
    entry_share: float = 0.25
    in_step_share: float = 0.5
    step_s: tuple[float, float] = (0.3, 1.0)
    interference_share: float = 0.7
    beat_hz: float = 4.0
    noise_share: float = 0.5
    noise_below_db: tuple[float, float] = (35.0, 90.0)
    level_share: float = 0.5
    level_db: tuple[float, float] = (-20.0, 4.0)
    deaf_share: float = 0.1
    gate_share: float = 0.35
    gate: tuple[float, float] = (0.03, 0.4)
    gamma_share: float = 0.35
    gamma: tuple[float, float] = (0.6, 2.0)


@dataclass(eq=False)
class Sound:
    """One sound of a scene: `power` and `pitch` float32 (frames, 88); the rest as in `Example`."""

    power: FloatArray
    pitch: FloatArray
    labels: BoolArray | None
    taught: FloatArray | None = None
    unsure: BoolArray | None = None
    tagged: FloatArray | None = None


def cut(stored: StoredExample, frames: int, start: int, repeat: bool) -> Sound:
    """`frames` frames from `start` (a multiple of 9) on; a shorter example is repeated, or lies behind `start`."""
    length = len(stored)
    levels, pitch, labels, taught = stored.levels, stored.pitch, stored.labels, stored.taught
    if length >= frames:
        span = slice(start, start + frames)
        answers = slice(start // ANSWER_FRAMES, (start + frames) // ANSWER_FRAMES)
        sound = _sound(levels[span], pitch[span], None if labels is None else labels[:, span],
                       None if taught is None else taught[:, answers])  # fmt: skip
        if stored.tagged is not None and start % HOP_FRAMES == 0:
            first = start // HOP_FRAMES
            sound.tagged = stored.tagged[:, first : first + windows_in(frames)].astype(np.float32)
        return sound
    if repeat and length >= ANSWER_FRAMES:
        whole = length // ANSWER_FRAMES * ANSWER_FRAMES
        times, answers_ = -(-frames // whole), frames // ANSWER_FRAMES
        return _sound(
            np.tile(levels[:whole], (times, 1))[:frames],
            np.tile(pitch[:whole], (times, 1))[:frames],
            None if labels is None else np.tile(labels[:, :whole], (1, times))[:, :frames],
            None if taught is None else np.tile(taught[:, : whole // ANSWER_FRAMES], (1, times))[:, :answers_],
        )
    around = (start, frames - start - length)
    first, answers_ = start // ANSWER_FRAMES, frames // ANSWER_FRAMES
    if taught is not None:
        taught = np.pad(taught, ((0, 0), (first, answers_)))[:, :answers_]
    return _sound(
        np.pad(levels, (around, (0, 0)), constant_values=_SILENT_BYTE),
        np.pad(pitch, (around, (0, 0))),
        None if labels is None else np.pad(labels, ((0, 0), around)),
        taught,
    )


def _sound(
    levels: NDArray[np.uint8],
    pitch: NDArray[np.uint8],
    labels: BoolArray | None,
    taught: NDArray[np.uint8] | None,
) -> Sound:
    return Sound(
        _POWER_OF_BYTE[levels],
        pitch * np.float32(1 / 255),
        labels,
        None if taught is None else taught * np.float32(1 / 255),
    )


def windows_in(frames: int) -> int:
    """Windows of the tagger that lie within a stretch which begins with one."""
    return max(0, (frames - WINDOW_FRAMES) // HOP_FRAMES + 1)


def draw_start(length: int, frames: int, rng: Rng, step: int = ANSWER_FRAMES) -> int:
    """Where a stretch begins in a longer example, or a shorter example in the stretch; a multiple of `step`."""
    return int(rng.integers(0, abs(length - frames) // step + 1)) * step


def equalise(sound: Sound, variation: Variation, rng: Rng) -> None:
    """Another instrument of the kind, another microphone: tone controls and, at times, less bandwidth; in place."""
    n_knots = variation.equaliser_knots
    knots = rng.normal(0, variation.equaliser_db, n_knots)
    curve_db = np.interp(np.linspace(0, n_knots - 1, N_PITCHES), np.arange(n_knots), knots)
    if rng.random() < variation.dull_share:
        above = np.arange(N_PITCHES) - rng.integers(50, N_PITCHES)
        curve_db -= rng.uniform(*variation.dull_db_per_semitone) * above.clip(0)
    sound.power = sound.power * (10 ** (curve_db / 10)).astype(np.float32)


def transpose_by(sound: Sound, semitones: int) -> None:
    """Moves a sound up or down; in place."""
    sound.power, sound.pitch = transposed(sound.power, semitones), transposed(sound.pitch, semitones)


def transposed(rows: FloatArray, semitones: int) -> FloatArray:
    """(frames, 88) moved up or down; silence comes in at the edge."""
    moved = np.zeros_like(rows)
    if semitones >= 0:
        moved[:, semitones:] = rows[:, : N_PITCHES - semitones]
    else:
        moved[:, :semitones] = rows[:, -semitones:]
    return moved


def reverberate(sound: Sound, decay_s: float, wet_db: float) -> None:
    """Adds a diffuse tail that falls by 60 dB in `decay_s`, `wet_db` beside the direct sound when that is steady."""
    keep = 10 ** (-6 / (decay_s * FRAME_RATE_HZ))
    gain = (1 - keep) * 10 ** (wet_db / 10)
    tail = signal.lfilter([gain], [1, -keep], sound.power, axis=0)
    sound.power = sound.power + tail.astype(np.float32)


def enter_and_leave(sound: Sound, rng: Rng) -> None:
    """Silences a stretch of a player: before an entry, after an exit, or a rest between; in place."""
    frames = len(sound.power)
    first, second = (np.sort(rng.uniform(0.1, 0.9, 2)) * frames).astype(int).tolist()
    spans = ((0, first), (second, frames), (first, second))
    start, stop = spans[int(rng.integers(3))]
    sound.power[start:stop] = 0
    sound.pitch[start:stop] = 0
    if sound.labels is not None:
        sound.labels = sound.labels.copy()
        sound.labels[:, start:stop] = False


def draw_steps(frames: int, variation: Variation, rng: Rng) -> list[int]:
    """A rhythm for all: the frames at which everybody takes the next note, the first 0, and the end."""
    beat = float(np.exp(rng.uniform(*np.log(variation.step_s)))) * FRAME_RATE_HZ
    edges = [0.0]
    while edges[-1] < frames:
        edges.append(edges[-1] + beat * float(rng.choice([0.5, 1.0, 1.0, 1.0, 2.0])))
    return [round(edge) for edge in edges[:-1]] + [frames]


def fall_in_step(sound: Sound, steps: Sequence[int], rng: Rng) -> None:
    """Puts the notes of a player on a rhythm, one after the other, held or cut short as it takes; in place.

    Solos that are merely summed hardly ever move at once, so a network takes chords that do for a piano's.
    """
    begins, ends = note_spans(sound.pitch)
    if len(begins) == 0:
        return
    source = np.zeros(len(sound.pitch), dtype=np.int64)
    place = int(rng.integers(len(begins)))
    for start, stop in pairwise(steps):
        begin, length = int(begins[place]), int(ends[place] - begins[place])
        place = (place + 1) % len(begins)
        ahead = np.arange(stop - start)
        half = max(1, length // 2)  # what is longer than the note goes back and forth in its second half
        over = np.maximum(ahead - (length - 1), 0) % (2 * half)
        source[start:stop] = begin + np.minimum(ahead, length - 1) - np.minimum(over, 2 * half - over)
    sound.power, sound.pitch = sound.power[source], sound.pitch[source]
    if sound.labels is not None:
        sound.labels = sound.labels[:, source]


def note_spans(pitch: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First frames of the notes of a player, by the strongest pitch, and the frames behind their last."""
    strongest = np.where(pitch.max(axis=1) > SOUNDING, pitch.argmax(axis=1), -1)
    edges = np.concatenate(([0], np.flatnonzero(np.diff(strongest)) + 1, [len(pitch)]))
    begins, ends = edges[:-1], edges[1:]
    notes = (strongest[begins] >= 0) & (ends - begins >= LEAST_NOTE_FRAMES)
    return begins[notes], ends[notes]


def interfering(powers: Sequence[FloatArray], variation: Variation, rng: Rng) -> FloatArray:
    """The power of players who share a room: where partials fall together they beat, (frames, 88).

    Each player has a phase per bin that begins anywhere and turns by some `beat_hz`, less in the low bins, whose
    filters are too narrow for fast beats. On average over time the powers add.
    """
    frames, bins = powers[0].shape
    seconds = np.arange(frames, dtype=np.float32)[:, None] / np.float32(FRAME_RATE_HZ)
    fastest = np.minimum(variation.beat_hz, bin_widths_hz(bins) / 2)
    real, imaginary = np.zeros((2, frames, bins), dtype=np.float32)
    for power in powers:
        turn_hz = (rng.normal(0, 1, bins) * fastest).astype(np.float32)
        phase = np.float32(2 * np.pi) * (turn_hz * seconds + rng.random(bins, dtype=np.float32))
        amplitude = np.sqrt(power)
        real += amplitude * np.cos(phase)
        imaginary += amplitude * np.sin(phase)
    return real**2 + imaginary**2


def bin_widths_hz(bins: int) -> NDArray[np.float64]:
    """Distance in hertz from each semitone to the next."""
    return np.asarray(LOWEST_HZ * 2 ** (np.arange(bins) / 12) * (2 ** (1 / 12) - 1))


def loudness(power: FloatArray) -> float:
    """Level in dB that balances players: of the loudest bins, where anything sounds."""
    peaks = power.max(axis=1)
    peaks = peaks[peaks > 1e-9]
    return float(10 * np.log10(np.percentile(peaks, 90))) if len(peaks) else -90.0


def add_noise(sound: Sound, variation: Variation, rng: Rng) -> None:
    """A floor of noise of some colour, whose level scatters from frame to frame as that of narrow bands does."""
    floor_db = loudness(sound.power) - rng.uniform(*variation.noise_below_db)
    tilt_db = np.linspace(-1, 1, N_PITCHES) * rng.normal(0, 8)
    chi_squared = rng.standard_exponential(sound.power.shape, dtype=np.float32)
    sound.power = sound.power + chi_squared * (10 ** ((floor_db + tilt_db) / 10)).astype(np.float32)


def mishear(sound: Sound, variation: Variation, rng: Rng) -> None:
    """Another transcriber: quiet posteriors gated, all of them sharper or blunter, at times none at all; in place.

    A network is not to learn who plays, or that nobody does, from how the posteriorgram looks where no note is.
    """
    if rng.random() < variation.deaf_share:
        sound.pitch = np.zeros_like(sound.pitch)
        return
    if rng.random() < variation.gate_share:
        gate = np.float32(np.exp(rng.uniform(*np.log(variation.gate))))
        sound.pitch = np.where(sound.pitch < gate, np.float32(rng.uniform(0, 0.3)) * sound.pitch, sound.pitch)
    if rng.random() < variation.gamma_share:
        sound.pitch = sound.pitch ** np.float32(np.exp(rng.uniform(*np.log(variation.gamma))))
