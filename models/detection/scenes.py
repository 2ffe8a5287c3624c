"""Training scenes: recorded and rendered players put together anew for every batch, on the features themselves.

Mixing on the constant-Q transform is much cheaper than on sound: powers add (phases know nothing of each other), an
equaliser is a factor per bin, a room is an exponential average over time. The pitch posteriorgram of a sum cannot be
had that way; it is taken as the greatest of its players', each faded where others drown it. So a share of the scenes
are mixtures whose posteriorgram was computed on their sound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.detection.examples import LABELS, StoredExample
from models.detection.sounds import (
    SOUNDING,
    BoolArray,
    Rng,
    Sound,
    Variation,
    add_noise,
    cut,
    draw_start,
    draw_steps,
    enter_and_leave,
    equalise,
    fall_in_step,
    interfering,
    loudness,
    mishear,
    reverberate,
    transpose_by,
    windows_in,
)
from models.detection.tagger import HOP_FRAMES
from models.detection.tagger import INSTRUMENTS as TAGGED
from models.detection.teacher import ANSWER_FRAMES, INSTRUMENTS
from score_pipeline.features.cqt import FLOOR_DB, reference_db, relative
from score_pipeline.features.harmonics import harmonic_series_feature
from score_pipeline.types import FloatArray
from score_pipeline.units import N_PITCHES

Kind = Literal["rendered", "remixed", "invented", "real"]


KIND_WEIGHT = {"nobody": 0.3, "ensemble": 6.0, "in front": 2.0, "several": 5.0, "unlabelled": 4.0}
"""Noise without players suffices in small doses; several at once teach what solos cannot, teachers what nobody says."""

FAMILIES: tuple[tuple[str, ...], ...] = (
    ("flute", "oboe", "clarinet", "bassoon", "horn"),
    ("violin", "viola", "cello", "double_bass"),
    ("trumpet", "horn", "trombone"),
    ("clarinet", "saxophone", "bassoon", "violin"),
)
"""Who play together without a piano: who hears them only among strangers invents one where they move at once."""

_FADE_CENTRE_DB, _FADE_SLOPE_DB = -5.0, 2.5
"""How a note fades from the posteriorgram beside louder ones: so that the mean is that of rendered mixtures."""


@dataclass(frozen=True)
class Mixing:
    """What scenes are made of: shares of the kinds and of numbers of players in invented scenes.

    In a share `real_only` of the invented scenes all players are real, in the others each is with chance `real_player`;
    in a share `family_share` all are of one of the `FAMILIES`.
    """

    kinds: Mapping[Kind, float] = field(
        default_factory=lambda: {"rendered": 0.15, "remixed": 0.13, "invented": 0.34, "real": 0.38}
    )
    players: tuple[float, ...] = (0.1, 0.24, 0.28, 0.22, 0.11, 0.05)
    real_only: float = 0.35
    real_player: float = 0.5
    family_share: float = 0.3
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


def together(
    sounds: Sequence[Sound],
    gains_db: Sequence[float],
    summed: Callable[[Sequence[FloatArray]], FloatArray] | None = None,
) -> Scene:
    """The sum of sounds at gains, with its roll (17, 88, frames) of whose note sounds where.

    `summed` makes one power of the players'; powers add if it is not given.
    """
    parts = [sound.power * np.float32(10 ** (gain_db / 10)) for sound, gain_db in zip(sounds, gains_db, strict=True)]
    total = np.sum(parts, axis=0)
    power = total if summed is None else summed(parts)
    pitch = np.zeros_like(power)
    roll = empty_roll(len(power))
    labels = np.zeros((len(LABELS), len(power)), dtype=np.bool_)
    for sound, part in zip(sounds, parts, strict=True):
        if len(sounds) > 1:
            below_db = 10 * np.log10((part + 1e-13) / (total + 1e-13))
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
        if players > 1 and rng.random() < self._mixing.family_share:
            weight = of_family(weight, FAMILIES[int(rng.integers(len(FAMILIES)))])
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
        if len(sounds) > 1 and rng.random() < variation.interference_share:
            return together(sounds, gains_db, lambda powers: interfering(powers, variation, rng))
        return together(sounds, gains_db)


def of_family(weight: NDArray[np.float64], family: Sequence[str]) -> NDArray[np.float64]:
    """Shares (17,) of those of a family alone; as they were if none of them can be drawn."""
    kept = weight * [key in family for key in LABELS]
    return np.asarray(kept / kept.sum()) if kept.any() else weight


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


def only_front(stored: StoredExample) -> bool:
    """Whether somebody is known to be in front, and of some others not even whether they play."""
    return stored.labels is not None and stored.unsure is not None and bool(stored.labels[~stored.unsure].any())


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
    """Instrument of a solo, "several", "ensemble" where only the line-up is known, "unlabelled", "nobody" for noise.

    "in front" where somebody is known to play and nobody knows who else.
    """
    if stored.labels is None:
        return "unlabelled"
    if stored.unsure is not None:
        return "in front" if only_front(stored) else "ensemble"
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
