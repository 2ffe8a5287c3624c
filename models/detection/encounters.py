"""Mixtures of players who never met: real solos and rendered players summed as sound, for training.

    python -m models.detection.encounters --real REAL ... --renders RENDERS --clips 2500 --teacher TEACHERS --out DIR

What `models.detection.scenes` does on features for every batch, done here once on sound, so that the pitch
posteriorgram and the teachers' answers are those of the mixture. Every player gets a room, an equaliser and a level.
A clip has a seed made from the set's and its index; files that exist are left as they are.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data import acoustics
from models.data.clips import StoredClip
from models.detection.examples import LABELS, UNLABELLED_FOLDERS, Listener, in_front, line_up, real_label, sounding
from score_pipeline import audio as audio_io
from score_pipeline.features.cqt import log_cqt
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import HOP_LENGTH, SAMPLE_RATE_HZ, n_frames

SECONDS = 10.0
REAL = 0.75
"""Share of the players, of instruments that have real solos, who are."""

_PLAYERS = (0.1, 0.3, 0.3, 0.2, 0.1)
_SILENT = 1e-4
"""Whose loudest tenth is below this does not play in the stretch that was drawn."""

_RARE = 0.35
"""Weight of instruments without a real solo beside the others."""


@dataclass(frozen=True)
class RenderedPlayer:
    """A player of a stored clip."""

    clip: Path
    player: int

    def sound(self) -> FloatArray:
        """Samples at 22050 Hz."""
        return StoredClip(self.clip).stem(self.player)


@dataclass(frozen=True, eq=False)
class Cast:
    """Who can be drawn: instrument -> real solos (samples at 22050 Hz) and rendered players."""

    real: dict[str, list[FloatArray]]
    rendered: dict[str, list[RenderedPlayer]]

    def draw(self, key: str, rng: np.random.Generator) -> FloatArray:
        """Ten seconds of somebody; a shorter solo goes round."""
        solos, players = self.real.get(key, []), self.rendered.get(key, [])
        if solos and (not players or rng.random() < REAL):
            samples = solos[int(rng.integers(len(solos)))]
        else:
            samples = players[int(rng.integers(len(players)))].sound()
        wanted = round(SECONDS * SAMPLE_RATE_HZ)
        if len(samples) < wanted:
            return np.tile(samples, -(-wanted // len(samples)))[:wanted]
        start = int(rng.integers(len(samples) - wanted + 1))
        return samples[start : start + wanted]


def read_cast(real: Sequence[Path], renders: Path) -> Cast:
    """All solos of folders of real recordings and all players of a folder of clips."""
    solos: dict[str, list[FloatArray]] = defaultdict(list)
    for path in sorted(path for folder in real for path in folder.glob("*/*.ogg")):
        if path.parent.name in UNLABELLED_FOLDERS or line_up(path) is not None or in_front(path) is not None:
            continue
        if (key := real_label(path)) is not None:
            sound = audio_io.resample(audio_io.to_mono(audio_io.read(path)), SAMPLE_RATE_HZ)
            solos[key].append(np.asarray(sound.samples[0]))
    players: dict[str, list[RenderedPlayer]] = defaultdict(list)
    for path in sorted(renders.glob("*.npz")):
        for player, key in enumerate(StoredClip(path).header.instruments):
            if key in LABELS:
                players[key].append(RenderedPlayer(path, player))
    return Cast(dict(solos), dict(players))


def encounter(cast: Cast, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.bool_]]:
    """A mixture (samples,) at 22050 Hz and who sounds in which frame, bool (17, frames)."""
    keys = [key for key in LABELS if key in cast.real or key in cast.rendered]
    weight = np.array([1.0 if key in cast.real else _RARE for key in keys])
    players = 1 + int(rng.choice(len(_PLAYERS), p=_PLAYERS))
    room = acoustics.Room.draw(rng)
    mixture = np.zeros(round(SECONDS * SAMPLE_RATE_HZ), dtype=np.float32)
    labels = np.zeros((len(LABELS), n_frames(len(mixture))), dtype=np.bool_)
    for key in rng.choice(keys, size=players, p=weight / weight.sum()).tolist():
        filters = [acoustics.draw_equaliser(rng, 3.0)]
        if rng.random() < 0.3:
            filters.append(acoustics.draw_low_pass(rng, 3500))
        response = acoustics.impulse_response(room, float(np.exp(rng.uniform(np.log(0.03), np.log(0.8)))), rng)
        stem = acoustics.apply(cast.draw(key, rng), response, filters)
        loud = float(np.sqrt(np.percentile(stem**2, 90)))
        if loud < _SILENT:
            continue
        stem *= np.float32(0.1 / loud * 10 ** (rng.uniform(-9, 6) / 20))
        heard = sounding(log_cqt(Audio(stem[None], SAMPLE_RATE_HZ)))
        gain = entering(len(stem), rng)
        mixture += stem * gain
        labels[LABELS.index(key)] |= heard & (gain[np.minimum(np.arange(len(heard)) * HOP_LENGTH, len(gain) - 1)] > 0.5)
    peak = float(np.abs(mixture).max(initial=1e-6))
    mixture *= np.float32(rng.uniform(0.1, 0.9) / peak)
    rms = float(np.sqrt(np.mean(mixture**2)))
    mixture += acoustics.draw_noise(len(mixture), rms * 10 ** (rng.uniform(-70, -35) / 20), rng)
    return mixture, labels


def entering(length: int, rng: np.random.Generator) -> FloatArray:
    """Gain (length,) of a player: 1, or in a quarter of the cases from late on or until early, with a short fade."""
    if rng.random() > 0.25:
        return np.ones(length, dtype=np.float32)
    at = int(rng.uniform(0.2, 0.8) * length)
    ramp = np.clip((np.arange(length) - at) / (0.05 * SAMPLE_RATE_HZ), 0, 1).astype(np.float32)
    return ramp if rng.random() < 0.5 else 1 - ramp


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, nargs="+", required=True, help="folders of real solos")
    parser.add_argument("--renders", type=Path, required=True, help="rendered clips")
    parser.add_argument("--teacher", type=Path, help="folder of the teachers' ONNX files")
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="keep mel spectra too, to choose thresholds with")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    listener, cast = Listener(arguments.teacher, arguments.whole), read_cast(arguments.real, arguments.renders)
    for index in range(arguments.clips):
        target = arguments.out / f"encounter_{index:05d}.npz"
        if not target.exists():
            mixture, labels = encounter(cast, np.random.default_rng((arguments.seed, index)))
            listener.example(Audio(mixture[None], SAMPLE_RATE_HZ), labels).save(target)


if __name__ == "__main__":
    main()
