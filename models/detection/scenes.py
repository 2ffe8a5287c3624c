"""Training scenes: recorded and rendered players put together anew for every batch, on the features themselves.

Mixing on the constant-Q transform is much cheaper than on sound: powers add (phases know nothing of each other), an
equaliser is a factor per bin, a room is an exponential average over time. The pitch posteriorgram of a sum cannot be
had that way; it is taken as the greatest of its players', each faded where others drown it. So a share of the scenes
are mixtures whose posteriorgram was computed on their sound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.detection.examples import LABELS, LEVEL_OF_BYTE, StoredExample
from models.detection.tagger import HOP_FRAMES, WINDOW_FRAMES
from models.detection.tagger import INSTRUMENTS as TAGGED
from models.detection.teacher import ANSWER_FRAMES, INSTRUMENTS
from score_pipeline.features.cqt import FLOOR_DB, reference_db, relative
from score_pipeline.features.harmonics import harmonic_series_feature
from score_pipeline.types import FloatArray
from score_pipeline.units import FRAME_RATE_HZ, N_PITCHES

BoolArray = NDArray[np.bool_]
Rng = np.random.Generator
Kind = Literal["rendered", "remixed", "invented", "real"]

SOUNDING = 0.35
"""A pitch of a player alone sounds where its posterior is no less."""

LEAST_NOTE_FRAMES = 8
"""Shorter stretches of one pitch are taken for slips of the posteriorgram."""

KIND_WEIGHT = {"nobody": 0.3, "ensemble": 6.0, "several": 5.0, "unlabelled": 4.0}
"""Noise without players suffices in small doses; several at once teach what solos cannot, teachers what nobody says."""

_POWER_OF_BYTE = (10 ** (LEVEL_OF_BYTE / 10)).astype(np.float32)
_SILENT_BYTE = 255
_FADE_CENTRE_DB, _FADE_SLOPE_DB = -5.0, 2.5
"""How a note fades from the posteriorgram beside louder ones: so that the mean is that of rendered mixtures."""


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
    in_step_share: float = 0.4
    step_s: tuple[float, float] = (0.3, 1.0)
    noise_share: float = 0.5
    noise_below_db: tuple[float, float] = (35.0, 90.0)
    level_share: float = 0.5
    level_db: tuple[float, float] = (-20.0, 4.0)
    deaf_share: float = 0.1
    gate_share: float = 0.35
    gate: tuple[float, float] = (0.03, 0.4)
    gamma_share: float = 0.35
    gamma: tuple[float, float] = (0.6, 2.0)


@dataclass(frozen=True)
class Mixing:
    """What scenes are made of: shares of the kinds and of numbers of players in invented scenes.

    In a share `real_only` of the invented scenes all players are real, in the others each is with chance `real_player`.
    """

    kinds: Mapping[Kind, float] = field(
        default_factory=lambda: {"rendered": 0.15, "remixed": 0.13, "invented": 0.34, "real": 0.38}
    )
    players: tuple[float, ...] = (0.12, 0.28, 0.27, 0.2, 0.08, 0.05)
    real_only: float = 0.3
    real_player: float = 0.45
    variation: Variation = field(default_factory=Variation)


class Drawn(NamedTuple):
    """One item of a batch.

    `cqt`, `hsf` float32 (88, frames); `labels` float32 (17, outputs), `known` float32 (17,) 1 where they are; `taught`
    float32 (7, outputs), `is_taught` 1 where the teacher answered; `roll` bool (17, 88, outputs), `is_rolled`
    likewise; `tagged` float32 (14, windows), the tagger's logits, NaN where it gave none.
    """

    cqt: FloatArray
    hsf: FloatArray
    labels: FloatArray
    known: FloatArray
    taught: FloatArray
    is_taught: float
    roll: BoolArray
    is_rolled: float
    tagged: FloatArray


@dataclass(eq=False)
class Sound:
    """One sound of a scene: `power` and `pitch` float32 (frames, 88); the rest as in `Example`."""

    power: FloatArray
    pitch: FloatArray
    labels: BoolArray | None
    taught: FloatArray | None = None
    unsure: BoolArray | None = None
    tagged: FloatArray | None = None


Scene = tuple[Sound, BoolArray | None]
"""What is heard, and the roll (17, 88, frames) of whose note sounds where, None if nobody knows."""

Maker = Callable[[Rng], Scene]


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered mixture with its players, or a real recording, which is its own only player if it is a solo."""

    mixture: StoredExample
    stems: tuple[StoredExample, ...]


def clips(examples: Sequence[StoredExample]) -> list[Clip]:
    """Examples grouped by what stands before `.stem` in their names; stems without a mixture are a ValueError."""
    stems: dict[str, list[StoredExample]] = {}
    mixtures = {}
    for example in examples:
        name, dot, _ = example.name.partition(".stem")
        if dot:
            stems.setdefault(name, []).append(example)
        else:
            mixtures[name] = example
    if lost := stems.keys() - mixtures.keys():
        raise ValueError(f"players of {sorted(lost)[0]} without their mixture")
    return [Clip(mixture, tuple(stems.get(name, ()))) for name, mixture in mixtures.items()]


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


def loudness(power: FloatArray) -> float:
    """Level in dB that balances players: of the loudest bins, where anything sounds."""
    peaks = power.max(axis=1)
    peaks = peaks[peaks > 1e-9]
    return float(10 * np.log10(np.percentile(peaks, 90))) if len(peaks) else -90.0


def together(sounds: Sequence[Sound], gains_db: Sequence[float]) -> Scene:
    """The sum of sounds at gains, with its roll (17, 88, frames) of whose note sounds where."""
    parts = [sound.power * np.float32(10 ** (gain_db / 10)) for sound, gain_db in zip(sounds, gains_db, strict=True)]
    power = np.sum(parts, axis=0)
    pitch = np.zeros_like(power)
    roll = empty_roll(len(power))
    labels = np.zeros((len(LABELS), len(power)), dtype=np.bool_)
    for sound, part in zip(sounds, parts, strict=True):
        if len(sounds) > 1:
            below_db = 10 * np.log10((part + 1e-13) / (power + 1e-13))
            fade = 1 / (1 + np.exp((_FADE_CENTRE_DB - below_db) / _FADE_SLOPE_DB))
            np.maximum(pitch, sound.pitch * fade, out=pitch)
        else:
            pitch = sound.pitch
        if sound.labels is None:
            raise ValueError("nobody knows who plays in a sound that is to be mixed")
        labels |= sound.labels
        add_to_roll(roll, sound.pitch, sound.labels)
    return Sound(np.asarray(power, dtype=np.float32), pitch, labels), roll


def empty_roll(frames: int) -> FloatArray:
    """Nobody's note anywhere: bool (17, 88, frames)."""
    return np.zeros((len(LABELS), N_PITCHES, frames), dtype=np.bool_)


def add_to_roll(roll: BoolArray, pitch: FloatArray, labels: BoolArray) -> None:
    """Writes a single player's notes into `roll`; nothing for a player outside the table."""
    players = np.flatnonzero(labels.any(axis=1))
    if len(players) == 1:
        roll[players[0]] |= (pitch > SOUNDING).T


def drawn(sound: Sound, roll: BoolArray | None, level_db: float, hsf_order: int, output_frames: int) -> Drawn:
    """Features and targets as the network takes them."""
    levels = np.maximum(10 * np.log10(np.maximum(sound.power, 1e-12)), FLOOR_DB).astype(np.float32)
    frames = len(levels)
    outputs = frames // output_frames
    middle = slice(output_frames // 2, outputs * output_frames, output_frames)
    labels = np.zeros((len(LABELS), outputs), dtype=np.float32)
    if sound.labels is not None:
        labels[:] = sound.labels[:, middle]
    taught = np.zeros((len(INSTRUMENTS), outputs), dtype=np.float32)
    if sound.taught is not None:
        taught[:] = np.repeat(sound.taught, ANSWER_FRAMES // output_frames, axis=1)[:, :outputs]
        if sound.labels is not None:
            # where the line-up is known, the teacher is not believed about who is not in it
            taught *= sound.labels[[LABELS.index(key) for key in INSTRUMENTS]].any(axis=1)[:, None]
    known = np.full(len(LABELS), sound.labels is not None, dtype=np.float32)
    if sound.unsure is not None:
        known[sound.unsure] = 0
    tagged = np.full((len(TAGGED), windows_in(frames)), np.nan, dtype=np.float32)
    if sound.tagged is not None:
        tagged[:, : sound.tagged.shape[1]] = sound.tagged
    whose = empty_roll(outputs) if roll is None else roll[:, :, middle]
    return Drawn(
        cqt=np.ascontiguousarray(relative(levels + np.float32(level_db), reference_db(levels)).T),
        hsf=np.ascontiguousarray(harmonic_series_feature(sound.pitch, hsf_order).T),
        labels=labels,
        known=known,
        taught=taught,
        is_taught=float(sound.taught is not None),
        roll=np.ascontiguousarray(whose),
        is_rolled=float(roll is not None),
        tagged=tagged,
    )


def as_is(stored: StoredExample, frames: int, hsf_order: int, output_frames: int) -> Drawn:
    """The first `frames` frames of an example as nobody varied them, to check with."""
    return drawn(cut(stored, frames, 0, repeat=False), None, 0.0, hsf_order, output_frames)


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


class Stage:
    """Draws scenes from rendered clips and real recordings; the same generator state gives the same scene."""

    def __init__(self, rendered: Sequence[Clip], real: Sequence[StoredExample], mixing: Mixing, frames: int) -> None:
        self._clips, self._real, self._mixing, self._frames = list(rendered), list(real), mixing, frames
        self._clip_weight = rarity_weights([clip.mixture for clip in rendered])
        self._real_weight = real_weights(self._real)
        self._remixable = [index for index, clip in enumerate(rendered) if clip.stems]
        stems = [stem for clip in rendered for stem in clip.stems]
        self._rendered_players = {row: [s for s in stems if only_player(s) == row] for row in range(len(LABELS))}
        self._real_players = {row: [s for s in real if only_player(s) == row] for row in range(len(LABELS))}
        self._player_weight = root_shares([len(players) for players in self._rendered_players.values()])
        self._real_player_weight = self._player_weight * [bool(players) for players in self._real_players.values()]
        self._real_player_weight /= max(self._real_player_weight.sum(), 1e-9)
        makers: dict[Kind, Maker] = {}
        if self._clips:
            makers["rendered"] = self._rendered_scene
        if self._remixable:
            makers |= {"remixed": self._remixed_scene, "invented": self._invented_scene}
        if self._real:
            makers["real"] = self._real_scene
        self._makers = list(makers.values())
        shares = np.array([mixing.kinds[kind] for kind in makers])
        self._shares = shares / shares.sum()

    def draw(self, hsf_order: int, output_frames: int, rng: Rng) -> Drawn:
        """One scene."""
        variation = self._mixing.variation
        sound, roll = self._makers[int(rng.choice(len(self._makers), p=self._shares))](rng)
        mishear(sound, variation, rng)
        if rng.random() < variation.noise_share:
            add_noise(sound, variation, rng)
        level_db = float(rng.uniform(*variation.level_db)) if rng.random() < variation.level_share else 0.0
        return drawn(sound, roll, level_db, hsf_order, output_frames)

    def _rendered_scene(self, rng: Rng) -> Scene:
        """A mixture as it was rendered, with the posteriorgram of its sound."""
        clip = self._clips[int(rng.choice(len(self._clips), p=self._clip_weight))]
        start = draw_start(len(clip.mixture), self._frames, rng, HOP_FRAMES)
        sound = cut(clip.mixture, self._frames, start, repeat=False)
        roll = None
        if clip.stems:
            roll = empty_roll(self._frames)
            for stem in clip.stems:
                alone = cut(stem, self._frames, start, repeat=False)
                if alone.labels is not None:
                    add_to_roll(roll, alone.pitch, alone.labels)
        equalise(sound, self._mixing.variation, rng)
        return sound, roll

    def _remixed_scene(self, rng: Rng) -> Scene:
        """The players of a clip, some left out, each through a microphone of its own: coherent music."""
        clip = self._clips[self._remixable[int(rng.integers(len(self._remixable)))]]
        start = draw_start(len(clip.mixture), self._frames, rng)
        kept = [stem for stem in clip.stems if rng.random() < 0.75] or list(clip.stems[:1])
        return self._mixed([cut(stem, self._frames, start, repeat=False) for stem in kept], rng, transpose=False)

    def _invented_scene(self, rng: Rng) -> Scene:
        """Players who never met, real ones among them."""
        players = 1 + int(rng.choice(len(self._mixing.players), p=self._mixing.players))
        chance, weight = self._mixing.real_player, self._player_weight
        if self._real_player_weight.any() and rng.random() < self._mixing.real_only:
            chance, weight = 1.0, self._real_player_weight
        sounds = []
        for row in rng.choice(len(LABELS), size=players, p=weight).tolist():
            pool = self._rendered_players[row]
            if self._real_players[row] and rng.random() < chance:
                pool = self._real_players[row]
            stored = pool[int(rng.integers(len(pool)))]
            start = draw_start(len(stored), self._frames, rng)
            sounds.append(cut(stored, self._frames, start, repeat=bool(rng.random() < 0.7)))
        if len(sounds) > 1 and rng.random() < self._mixing.variation.in_step_share:
            steps = draw_steps(self._frames, self._mixing.variation, rng)
            for sound in sounds:
                fall_in_step(sound, steps, rng)
        return self._mixed(sounds, rng, transpose=True)

    def _real_scene(self, rng: Rng) -> Scene:
        """A real recording as it is."""
        stored = self._real[int(rng.choice(len(self._real), p=self._real_weight))]
        start = draw_start(len(stored), self._frames, rng, HOP_FRAMES)
        sound = cut(stored, self._frames, start, repeat=bool(rng.random() < 0.5))
        sound.unsure = stored.unsure
        roll = None
        if sound.labels is not None and only_player(stored) is not None:
            roll = empty_roll(self._frames)
            add_to_roll(roll, sound.pitch, sound.labels)
        equalise(sound, self._mixing.variation, rng)
        return sound, roll

    def _mixed(self, sounds: list[Sound], rng: Rng, transpose: bool) -> Scene:
        variation = self._mixing.variation
        gains_db = []
        for sound in sounds:
            equalise(sound, variation, rng)
            if transpose and rng.random() < variation.transpose_share:
                transpose_by(sound, int(rng.choice([-1, 1]) * rng.integers(1, variation.transpose_most + 1)))
            if rng.random() < variation.room_share:
                decay_s = float(np.exp(rng.uniform(*np.log(variation.room_decay_s))))
                reverberate(sound, decay_s, float(rng.uniform(*variation.room_db)))
            if len(sounds) > 1 and rng.random() < variation.entry_share:
                enter_and_leave(sound, rng)
            gains_db.append(float(rng.uniform(*variation.balance_db)) - loudness(sound.power))
        return together(sounds, gains_db)


def root_shares(counts: Sequence[int]) -> NDArray[np.float64]:
    """Square roots of counts as shares of their sum; zeros if all are."""
    roots = np.sqrt(np.array(counts, dtype=np.float64))
    return np.asarray(roots / max(roots.sum(), 1e-9))


def only_player(stored: StoredExample) -> int | None:
    """Row of the one instrument of a solo; None for anything else."""
    if stored.labels is None or stored.unsure is not None:
        return None
    players = np.flatnonzero(stored.labels.any(axis=1))
    return int(players[0]) if len(players) == 1 else None


def rarity_weights(mixtures: Sequence[StoredExample]) -> NDArray[np.float64]:
    """How often each clip is drawn: by the root of how rare its players are, on average."""
    if not mixtures:
        return np.zeros(0)
    present = np.array([stored.labels.any(axis=1) for stored in mixtures if stored.labels is not None])
    rarity = 1 / np.sqrt(present.mean(axis=0).clip(0.01))
    weight = (present * rarity).sum(axis=1) / present.sum(axis=1).clip(1)
    weight[weight == 0] = 1.0
    return np.asarray(weight / weight.sum())


def real_kind(stored: StoredExample) -> str:
    """Instrument of a solo, "several", "ensemble" where only the line-up is known, "unlabelled", "nobody" for noise."""
    if stored.labels is None:
        return "unlabelled"
    if stored.unsure is not None:
        return "ensemble"
    row = only_player(stored)
    if row is not None:
        return LABELS[row]
    return "several" if stored.labels.any() else "nobody"


def real_weights(real: Sequence[StoredExample]) -> NDArray[np.float64]:
    """How often each real recording is drawn.

    An instrument by the fourth root of its length (there are twelve minutes of piano and ten seconds of horn, and who
    hears real sound mostly from pianos calls real sound a piano), a recording of it by its length.
    """
    kinds = [real_kind(stored) for stored in real]
    length = np.array([len(stored) for stored in real], dtype=np.float64)
    total = {kind: sum(n for n, other in zip(length, kinds, strict=True) if other == kind) for kind in set(kinds)}
    weight = np.array([n / total[kind] ** 0.75 for n, kind in zip(length, kinds, strict=True)])
    weight *= np.array([KIND_WEIGHT.get(kind, 1.0) for kind in kinds])
    return np.asarray(weight / weight.sum()) if len(real) else weight
