"""Scenes for the network that hears the whole band: players put together as sound, kept as mel levels.

    python -m models.detection.band_scenes --real REAL ... --renders RENDERS ... --teacher TEACHERS --scenes 20000 \\
        --out runs/bands/train --seed 1 [--shard 0/2]

Every scene lasts eight seconds: players who never met (real ones, rendered ones), a rendered clip with some of its
players left out, a real recording as it is, or noise. Each player gets an equaliser, a level, at times another pitch
and an entry; all stand in one room; noise, and at times an old recording's bandwidth, lie over it. Who plays is told
per block of nine frames, and where it cannot be said (a decay, somebody drowned by the others) it is not. The tagger is
asked about real recordings and a share of the others. Files hold `SHARD` scenes each; those that exist are left as they
are; `sources.json` says what was heard, for the card.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy import fft

from models.data import acoustics
from models.data.clips import StoredClip
from models.detection.encounters import entering
from models.detection.examples import LABELS, LINE_UPS, UNLABELLED_FOLDERS, in_front, line_up, noises, real_label
from models.detection.scenes import FAMILIES
from models.detection.tagger import HOP_FRAMES, N_CLASSES, WINDOW_FRAMES, Tagger
from score_pipeline.features.cqt import reference_db, relative
from score_pipeline.features.mel import log_mel
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import BLOCK_FRAMES, HOP_LENGTH, SAMPLE_RATE_HZ

BLOCKS = 76
FRAMES = BLOCKS * BLOCK_FRAMES
SAMPLES = FRAMES * HOP_LENGTH
"""Eight seconds."""

SHARD = 100
"""Scenes of a file."""

WINDOWS = (FRAMES - WINDOW_FRAMES) // HOP_FRAMES + 1
"""Answers of the tagger about a scene."""

OUTSIDE = "outside"
"""Folder whose folders hold solos of instruments that are not in the table."""

_RECORDINGS = ("*/*.ogg", f"{LINE_UPS}/*/*.ogg", f"{OUTSIDE}/*/*.ogg")

MEL_STEP = 1.25 / 255
"""Of the stored levels, which are `relative` ones."""

KINDS = {"invented": 0.54, "remixed": 0.24, "real": 0.2, "nobody": 0.02}
PLAYERS = (0.08, 0.24, 0.27, 0.22, 0.12, 0.07)
REAL_PLAYER, ALL_REAL, OF_FAMILY = 0.5, 0.4, 0.35
"""Chance that a player is real; shares of the invented scenes in which all are, and in which all are of a family."""
STRANGER = 0.15
"""Chance that somebody plays whose instrument is not in the table."""
BALANCE_DB = (-11.0, 7.0)
TAGGED = 0.3
"""Share of the scenes that are not real recordings about which the tagger is asked."""
SOUNDS_DB, RESTS_DB, DROWNED_DB = -32.0, -45.0, -27.0
"""Beside a player's loud playing: above the first it sounds, below the second not. Beside all: below it, who knows."""
RARE = 0.4
"""Weight of instruments of which nobody real is known, beside the others."""


class BandScenes(NamedTuple):
    """Scenes as they are kept.

    `mel` uint8 (n, 684, 128), `plays` uint8 (n, 17, 76): 1, 0, or 2 where nobody knows; `tagged` float16 (n, 527,
    windows), NaN where the tagger was not asked.
    """

    mel: NDArray[np.uint8]
    plays: NDArray[np.uint8]
    tagged: NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Recorded:
    """A real recording: 16-bit `samples`; who plays (one key), who is in front, whose line-up it is, or nothing known.

    `name` is its folder's and its own.
    """

    name: str
    samples: NDArray[np.int16]
    solo: str | None = None
    front: str | None = None
    players: frozenset[str] | None = None

    def cut(self, length: int, rng: np.random.Generator) -> FloatArray:
        """Some stretch of that length; a shorter recording goes round."""
        samples = self.samples
        if len(samples) < length:
            samples = np.tile(samples, -(-length // len(samples)))
        start = int(rng.integers(len(samples) - length + 1))
        return samples[start : start + length].astype(np.float32) / 32768

    def sound(self) -> FloatArray:
        """All of it."""
        return self.samples.astype(np.float32) / 32768


@dataclass(frozen=True, eq=False)
class Cast:
    """Who can be drawn: real recordings, rendered clips, and of each instrument its solos and rendered players."""

    real: list[Recorded]
    clips: list[StoredClip]
    solos: dict[str, list[Recorded]] = field(default_factory=lambda: defaultdict(list))
    rendered: dict[str, list[tuple[StoredClip, int]]] = field(default_factory=lambda: defaultdict(list))

    @cached_property
    def strangers(self) -> list[Recorded]:
        """Solos of instruments outside the table."""
        return [one for one in self.real if one.players == frozenset()]

    def __post_init__(self) -> None:
        for one in self.real:
            if one.solo is not None:
                self.solos[one.solo].append(one)
        for clip in self.clips:
            for player, key in enumerate(clip.header.instruments):
                if key in LABELS:
                    self.rendered[key].append((clip, player))

    def weight(self, keys: Sequence[str]) -> NDArray[np.float64]:
        """How often each of these instruments is drawn, relative to each other."""
        known = [1.0 if self.solos[key] else RARE if self.rendered[key] else 0.0 for key in keys]
        return np.array(known)


def read_cast(real: Sequence[Path], renders: Sequence[Path], refused: Sequence[str] = ()) -> Cast:
    """All recordings and clips of folders, but for recordings in whose path one of `refused` occurs."""
    found = []
    for path in sorted(path for folder in real for pattern in _RECORDINGS for path in folder.glob(pattern)):
        if any(word in str(path.resolve()) for word in refused):
            continue
        sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        samples = soxr.resample(sound.mean(axis=1), rate_hz, SAMPLE_RATE_HZ)
        samples *= 0.9 / max(1e-4, float(np.abs(samples).max()))
        kept = (samples * 32767).astype(np.int16)
        players = () if path.parent.parent.name == OUTSIDE else line_up(path)
        front = in_front(path)
        nobody_knows = players is not None or front is not None or path.parent.name in UNLABELLED_FOLDERS
        solo = None if nobody_knows else real_label(path)
        found.append(
            Recorded(
                f"{path.parent.name}_{path.stem}", kept, solo, front, None if players is None else frozenset(players)
            )
        )
    return Cast(found, [StoredClip(path) for folder in renders for path in sorted(folder.glob("*.npz"))])


class Player(NamedTuple):
    """Sound of a scene, and the row of the table it belongs to (None: of no instrument there)."""

    samples: FloatArray
    row: int | None


def block_power(samples: FloatArray) -> FloatArray:
    """Mean square of each block of nine frames, (76,)."""
    return np.asarray((samples.reshape(BLOCKS, -1) ** 2).mean(axis=1) + 1e-12)


def leveled(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A player at some level beside the others; silence if nothing was played."""
    loud = float(np.sqrt(np.percentile(block_power(samples), 90)))
    return samples * np.float32(0.1 / loud * 10 ** (rng.uniform(*BALANCE_DB) / 20) if loud > 1e-4 else 0.0)


def told(players: Sequence[Player]) -> NDArray[np.uint8]:
    """Who plays in which block, uint8 (17, 76): 1, 0, or 2 where it cannot be said."""
    power = [block_power(player.samples) for player in players]
    total_db = 10 * np.log10(np.sum(power, axis=0)) if power else np.full(BLOCKS, -np.inf)
    plays = np.zeros((len(LABELS), BLOCKS), dtype=np.uint8)
    unsure = np.zeros_like(plays, dtype=np.bool_)
    for player, own in zip(players, power, strict=True):
        if player.row is None:
            continue
        own_db = 10 * np.log10(own)
        loud_db = np.percentile(own_db, 90)
        sounds = (own_db > loud_db + SOUNDS_DB) & (own_db > total_db + DROWNED_DB) & (own_db > -75)
        plays[player.row] |= sounds
        unsure[player.row] |= ~sounds & (own_db > loud_db + RESTS_DB) & (own_db > -95)
    return np.where(unsure & (plays == 0), 2, plays).astype(np.uint8)


class Scenery:
    """Draws scenes; the same generator state gives the same scene."""

    def __init__(self, cast: Cast, teacher: Tagger | None) -> None:
        self._cast, self._teacher = cast, teacher
        self._weight = cast.weight(LABELS)
        self._real_weight = np.array([1.0 if cast.solos[key] else 0.0 for key in LABELS])
        possible = {"invented": True, "remixed": bool(cast.clips), "real": bool(cast.real and teacher), "nobody": True}
        self._kinds = {kind: share for kind, share in KINDS.items() if possible[kind]}

    def draw(self, rng: np.random.Generator) -> BandScenes:
        """One scene, arrays without their first axis."""
        kinds, share = list(self._kinds), np.array(list(self._kinds.values()))
        kind = kinds[int(rng.choice(len(kinds), p=share / share.sum()))]
        if kind == "real":
            sound, plays = self._recorded(rng)
        elif kind == "nobody":
            ((_, audio),) = noises(SAMPLES / SAMPLE_RATE_HZ, 1, int(rng.integers(1 << 31)))
            sound, plays = np.asarray(audio.samples[0, :SAMPLES]), told([])
        else:
            players = self._invented(rng) if kind == "invented" else self._remixed(rng)
            sound, plays = in_a_room(players, rng, 0.8 if kind == "invented" else 0.3), told(players)
        sound = recorded(sound, rng)
        audio = Audio(sound[None], SAMPLE_RATE_HZ)
        levels = log_mel(audio)[:FRAMES]
        tagged = np.full((N_CLASSES, WINDOWS), np.nan, dtype=np.float16)
        if self._teacher is not None and (kind == "real" or rng.random() < TAGGED):
            tagged[:] = self._teacher.everything(audio)[:, :WINDOWS]
        mel = np.round(relative(levels, reference_db(levels)) / MEL_STEP).clip(0, 255).astype(np.uint8)
        return BandScenes(mel, plays, tagged)

    def _invented(self, rng: np.random.Generator) -> list[Player]:
        """Players who never met."""
        count = 1 + int(rng.choice(len(PLAYERS), p=PLAYERS))
        chance, weight = REAL_PLAYER, self._weight
        if self._real_weight.any() and rng.random() < ALL_REAL:
            chance, weight = 1.0, self._real_weight
        if count > 1 and rng.random() < OF_FAMILY:
            family = FAMILIES[int(rng.integers(len(FAMILIES)))]
            among = np.array([key in family for key in LABELS]) * weight
            weight = among if (among > 0).sum() > 1 else weight
        count = min(count, int((weight > 0).sum()))
        players = []
        for row in rng.choice(len(LABELS), size=count, p=weight / weight.sum(), replace=False).tolist():
            samples = leveled(self._player(LABELS[row], chance, rng), rng)
            players.append(Player(samples * entering(SAMPLES, rng), row))
        if players and self._cast.strangers and rng.random() < STRANGER:
            samples = self._cast.strangers[int(rng.integers(len(self._cast.strangers)))].cut(SAMPLES, rng)
            players.append(Player(leveled(samples, rng), None))
        return [player for player in players if player.samples.any()] or self._invented(rng)

    def _player(self, key: str, chance: float, rng: np.random.Generator) -> FloatArray:
        """Eight seconds of somebody, at times at another pitch."""
        ratio = 2 ** (float(rng.normal(0, 0.8)) / 12) if rng.random() < 0.5 else 1.0
        length = int(SAMPLES * ratio) + 2
        solos, rendered = self._cast.solos[key], self._cast.rendered[key]
        if solos and (not rendered or rng.random() < chance):
            samples = solos[int(rng.integers(len(solos)))].cut(length, rng)
        else:
            clip, player = rendered[int(rng.integers(len(rendered)))]
            samples = clip.stem(player)
            if len(samples) < length:
                samples = np.tile(samples, -(-length // len(samples)))
            start = int(rng.integers(len(samples) - length + 1))
            samples = samples[start : start + length]
        if ratio == 1.0:
            return np.asarray(samples[:SAMPLES], dtype=np.float32)
        return np.interp(np.arange(SAMPLES) * ratio, np.arange(length), samples).astype(np.float32)

    def _remixed(self, rng: np.random.Generator) -> list[Player]:
        """Some of the players of a clip: music that belongs together."""
        clip = self._cast.clips[int(rng.integers(len(self._cast.clips)))]
        keys = clip.header.instruments
        kept = [k for k in range(len(keys)) if rng.random() < 0.8] or [int(rng.integers(len(keys)))] * bool(keys)
        if not kept:
            return self._invented(rng)
        start = int(rng.integers(max(1, clip.header.n_samples - SAMPLES + 1)))
        players = []
        for player in kept:
            samples = clip.stem(player)[start : start + SAMPLES]
            samples = np.pad(samples, (0, SAMPLES - len(samples)))
            gain = np.float32(10 ** (rng.normal(0, 4) / 20))
            players.append(Player(samples * gain, LABELS.index(keys[player]) if keys[player] in LABELS else None))
        return players if max(float(np.abs(p.samples).max()) for p in players) > 1e-3 else self._invented(rng)

    def _recorded(self, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.uint8]]:
        """A real recording; those of several players, of whom less is known, as often as solos."""
        several = rng.random() < 0.65
        pool = [one for one in self._cast.real if (one.solo is None) == several]
        one = pool[int(rng.integers(len(pool)))]
        sound = one.cut(SAMPLES, rng)
        if one.solo is not None:
            return in_a_room([Player(sound, None)], rng, 0.2), told([Player(sound, LABELS.index(one.solo))])
        plays = np.full((len(LABELS), BLOCKS), 2, dtype=np.uint8)
        if one.players is not None:
            plays[[key not in one.players for key in LABELS]] = 0
        if one.front is not None:
            row = LABELS.index(one.front)
            plays[row] = np.where(told([Player(sound, row)])[row] == 1, 1, 2)
        return in_a_room([Player(sound, None)], rng, 0.2), plays


def in_a_room(players: Sequence[Player], rng: np.random.Generator, share: float) -> FloatArray:
    """All players through an equaliser each, in a share of the scenes in one room, each at a distance; (samples,)."""
    room = acoustics.Room.draw(rng) if rng.random() < share else None
    n = fft.next_fast_len(SAMPLES + (SAMPLE_RATE_HZ if room else 0), real=True)
    frequency_hz = fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    coarse_hz = np.geomspace(20, SAMPLE_RATE_HZ / 2, 200)
    direct = np.zeros(len(frequency_hz), dtype=np.complex64)
    distant = np.zeros_like(direct)
    for player in players:
        curve = acoustics.draw_equaliser(rng, 3.5).magnitude(coarse_hz)
        if rng.random() < 0.2:
            curve = curve * acoustics.draw_low_pass(rng, 3500).magnitude(coarse_hz)
        spectrum = fft.rfft(player.samples, n) * np.interp(frequency_hz, coarse_hz, curve).astype(np.float32)
        direct += spectrum
        distant += spectrum * np.float32(np.exp(rng.uniform(np.log(0.05), np.log(1.0))))
    if room is not None:
        response = acoustics.impulse_response(room, 1.0, rng)
        response[0] = 0
        direct = direct + distant * fft.rfft(response[:SAMPLE_RATE_HZ], n)
    return np.asarray(fft.irfft(direct, n)[:SAMPLES], dtype=np.float32)


def recorded(sound: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What lies between the room and the file: noise, bandwidth, level; (samples,)."""
    sound = sound * np.float32(rng.uniform(0.1, 0.9) / max(1e-6, float(np.abs(sound).max())))
    if rng.random() < 0.25:
        spectrum = fft.rfft(sound)
        corner_hz = float(np.exp(rng.uniform(np.log(3000), np.log(10000))))
        steepness = rng.uniform(2, 12)
        spectrum *= 1 / (1 + (fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ) / corner_hz) ** steepness)
        sound = fft.irfft(spectrum, len(sound)).astype(np.float32)
    if rng.random() < 0.7:
        rms = float(np.sqrt(np.mean(sound**2)))
        sound = sound + acoustics.draw_noise(len(sound), rms * 10 ** (rng.uniform(-75, -32) / 20), rng)
    return np.asarray(sound, dtype=np.float32)


def load_scenes(*folders: Path) -> BandScenes:
    """All scenes of folders; none is a ValueError."""
    paths = [path for folder in folders for path in sorted(folder.glob("*.npz"))]
    if not paths:
        raise ValueError(f"no scenes in {', '.join(map(str, folders))}")
    parts = []
    for path in paths:
        with np.load(path) as file:
            parts.append(BandScenes(file["mel"], file["plays"], file["tagged"]))
    return BandScenes(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of real recordings")
    parser.add_argument("--renders", type=Path, nargs="*", default=[], help="folders of rendered clips")
    parser.add_argument("--refuse", nargs="*", default=[], help="recordings with this in their path are left out")
    parser.add_argument("--teacher", type=Path, help="folder of the teachers' ONNX files")
    parser.add_argument("--scenes", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard", default="0/1", help="K/N: every Nth file from the Kth on, for N programs at once")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    cast = read_cast(arguments.real, arguments.renders, arguments.refuse)
    sources = {
        "real": sorted({one.name for one in cast.real}),
        "real_minutes": round(sum(len(one.samples) for one in cast.real) / SAMPLE_RATE_HZ / 60),
        "clips": len(cast.clips),
        "seed": arguments.seed,
    }
    (arguments.out / "sources.json").write_text(json.dumps(sources, indent=1) + "\n", encoding="utf-8")
    scenery = Scenery(cast, Tagger(arguments.teacher) if arguments.teacher else None)
    first, step = (int(number) for number in arguments.shard.split("/"))
    for file in range(first, arguments.scenes // SHARD, step):
        target = arguments.out / f"scenes_{file:05d}.npz"
        if not target.exists():
            drawn = [scenery.draw(np.random.default_rng((arguments.seed, file, k))) for k in range(SHARD)]
            part = target.with_suffix(".part")
            with part.open("wb") as out:
                np.savez(out, allow_pickle=False, **BandScenes(*map(np.stack, zip(*drawn, strict=True)))._asdict())
            part.replace(target)


if __name__ == "__main__":
    main()
