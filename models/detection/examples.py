"""Training examples: features and labels of renders, of real sound and of noise, computed once and kept in files.

    python -m models.detection.examples --renders RENDERS --out runs/detection/train --teacher TEACHERS
    python -m models.detection.examples --real REAL --out runs/detection/real --teacher TEACHERS

The features are those of `score_pipeline.features`, before anything that training varies: levels in dB and the pitch
posteriorgram. Files that exist are left, so a second call continues the first. A folder of real recordings has one
folder per instrument, whose name is the label; `mixed` is unlabelled; of `lineup/a+b/`, `strings` and `winds` it is
known who may play, but not when; of `horn predominant` only that a horn is in front; the clips of Medley-solos-DB carry
their label in their name.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.clips import StoredClip, frame_labels
from models.detection.tagger import Tagger
from models.detection.teacher import ANSWER_FRAMES, Teacher
from score_pipeline import audio as audio_io
from score_pipeline.features.cqt import audible, log_cqt, reference_db
from score_pipeline.features.mel import log_mel
from score_pipeline.features.posteriorgram import PitchModel
from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import SAMPLE_RATE_HZ, n_frames

LABELS: tuple[str, ...] = tuple(INSTRUMENTS)
"""Rows of an example's labels: the whole table, whatever a network is asked for."""

MEDLEY_SOLOS = ("clarinet", "guitar", "voice", "flute", "piano", "saxophone", "trumpet", "violin")
"""Meaning of the digit in Medley-solos-DB's file names."""

UNLABELLED_FOLDERS = frozenset({"mixed"})

FAMILY_FOLDERS: dict[str, tuple[str, ...]] = {
    "strings": ("violin", "viola", "cello", "double_bass"),
    "winds": ("flute", "oboe", "clarinet", "bassoon", "saxophone", "horn", "trumpet", "trombone"),
}
"""Folders of ensembles of which nobody knows more than that no others play."""

LINE_UPS = "lineup"
"""Folder whose folders are named by complete line-ups: `lineup/violin+viola+cello/x.ogg`."""

PREDOMINANT = " predominant"
"""How folders end of recordings in which an instrument is in front of who knows how many others."""

SOUNDING_DB = -45.0
"""A solo player is taken to sound where the loudest bin is no further than this below the recording's level."""

_LEVEL_STEP_DB = 0.5
_HIGHEST_DB = 7.5

LEVEL_OF_BYTE = _HIGHEST_DB - np.arange(256) * _LEVEL_STEP_DB
"""Decibels that a stored level stands for; 255 is silence."""


@dataclass(frozen=True, eq=False)
class Example:
    """A stretch of features with what is known about it.

    `levels` float32 (frames, 88) dB; `pitch` float32 (frames, 88); `labels` bool (17, frames) or None if nobody knows
    who plays; `taught` float32 (7, frames // 9) is the teacher's answer, None if it was not asked. `unsure` bool (17,):
    rows of `labels` in which True says that the instrument plays in the recording, but not when. `tagged` float32
    (14, windows) is the tagger's answer. `mel` float32 (frames, 128) dB is kept of what the detector is asked about.
    """

    levels: FloatArray
    pitch: FloatArray
    labels: NDArray[np.bool_] | None
    taught: FloatArray | None
    unsure: NDArray[np.bool_] | None = None
    tagged: FloatArray | None = None
    mel: FloatArray | None = None

    def save(self, path: Path) -> None:
        """Writes a compressed .npz: levels in half decibels, posteriors in 1/255."""
        arrays: dict[str, NDArray[Any]] = {
            "levels": _bytes_of(self.levels),
            "pitch": np.round(self.pitch * 255).astype(np.uint8),
        }
        if self.mel is not None:
            arrays["mel"] = _bytes_of(self.mel)
        if self.labels is not None:
            arrays["labels"] = self.labels
        if self.taught is not None:
            arrays["taught"] = np.round(self.taught * 255).astype(np.uint8)
        if self.unsure is not None:
            arrays["unsure"] = self.unsure
        if self.tagged is not None:
            arrays["tagged"] = self.tagged.astype(np.float16)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        part.replace(path)


def _bytes_of(levels: FloatArray) -> NDArray[np.uint8]:
    return np.round((_HIGHEST_DB - levels) / _LEVEL_STEP_DB).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class StoredExample:
    """An example as it lies in memory: bytes, unpacked when it is drawn."""

    name: str
    levels: NDArray[np.uint8]
    pitch: NDArray[np.uint8]
    labels: NDArray[np.bool_] | None
    taught: NDArray[np.uint8] | None
    unsure: NDArray[np.bool_] | None = None
    tagged: NDArray[np.float16] | None = None
    mel: NDArray[np.uint8] | None = None

    @staticmethod
    def load(path: Path) -> StoredExample:
        """Reads what `Example.save` wrote."""
        with np.load(path) as file:
            return StoredExample(
                path.stem,
                file["levels"],
                file["pitch"],
                file.get("labels"),
                file.get("taught"),
                file.get("unsure"),
                file.get("tagged"),
                file.get("mel"),
            )

    def __len__(self) -> int:
        return len(self.levels)

    def example(self, start: int = 0, stop: int | None = None) -> Example:
        """Frames `start` to `stop`; the teacher's answers are cut at whole answers, so `start` is one's first frame."""
        if start % ANSWER_FRAMES:
            raise ValueError(f"start must be a multiple of {ANSWER_FRAMES}, got {start}")
        stop = len(self) if stop is None else min(stop, len(self))
        return Example(
            levels=np.float32(_HIGHEST_DB) - self.levels[start:stop] * np.float32(_LEVEL_STEP_DB),
            pitch=self.pitch[start:stop] * np.float32(1 / 255),
            labels=None if self.labels is None else self.labels[:, start:stop],
            taught=None
            if self.taught is None
            else self.taught[:, start // ANSWER_FRAMES : stop // ANSWER_FRAMES] * np.float32(1 / 255),
            mel=None
            if self.mel is None
            else np.float32(_HIGHEST_DB) - self.mel[start:stop] * np.float32(_LEVEL_STEP_DB),
        )


class Listener:
    """Audio -> features, with the networks that takes opened once; `whole` keeps the mel spectrum of examples."""

    def __init__(self, teacher_folder: Path | None, whole: bool = False) -> None:
        self._whole = whole
        self._pitch = PitchModel.load()
        self._teacher = Teacher(teacher_folder) if teacher_folder else None
        self._tagger = Tagger(teacher_folder) if teacher_folder else None

    def example(self, audio: Audio, labels: NDArray[np.bool_] | None) -> Example:
        """Features of a recording at 22050 Hz, with its labels."""
        levels = log_cqt(audio)
        return Example(
            levels,
            self._pitch.note(audio),
            labels,
            taught=self._teacher.probability(levels) if self._teacher else None,
            tagged=self._tagger.logits(audio) if self._tagger else None,
            mel=log_mel(audio) if self._whole else None,
        )

    def untaught(self, audio: Audio, labels: NDArray[np.bool_] | None) -> Example:
        """Features alone, the teachers not asked."""
        return Example(log_cqt(audio), self._pitch.note(audio), labels, None)

    def ensemble(self, audio: Audio, players: Collection[str]) -> Example:
        """Features of a recording of which only the complete line-up is known."""
        heard = self.example(audio, None)
        unsure = np.array([key in players for key in LABELS])
        return replace(heard, labels=unsure[:, None] & audible(heard.levels), unsure=unsure)

    def solo(self, audio: Audio, instrument: str | None) -> Example:
        """Features of a recording in which `instrument` plays alone (None: nobody knows), label by loudness."""
        unlabelled = self.example(audio, None)
        if instrument is None:
            return unlabelled
        labels = np.zeros((len(LABELS), len(unlabelled.levels)), dtype=np.bool_)
        labels[LABELS.index(instrument)] = sounding(unlabelled.levels)
        return replace(unlabelled, labels=labels)

    def predominant(self, audio: Audio, instrument: str) -> Example:
        """Features of a recording in which `instrument` is in front; all others may play or not."""
        heard = self.solo(audio, instrument)
        assert heard.labels is not None
        unsure = np.array([key != instrument for key in LABELS])
        return replace(heard, labels=heard.labels | unsure[:, None], unsure=unsure)


def sounding(levels: FloatArray) -> NDArray[np.bool_]:
    """When a player alone sounds, bool (frames,), by `log_cqt` of the recording."""
    return np.asarray(audible(levels) & (levels.max(axis=1) > reference_db(levels) + SOUNDING_DB))


def real_label(path: Path) -> str | None:
    """Instrument of a file of a folder of solos; None where it is not known."""
    if path.parent.name in UNLABELLED_FOLDERS:
        return None
    if path.parent.name == "medley-solos":
        return MEDLEY_SOLOS[int(path.stem.split("-")[1][0])]
    if path.parent.name not in INSTRUMENTS:
        raise ValueError(f"{path}: the folder's name is no instrument")
    return path.parent.name


def in_front(path: Path) -> str | None:
    """Instrument in front of others in a file of a folder of such; None for any other file."""
    name = path.parent.name
    if not name.endswith(PREDOMINANT):
        return None
    instrument = name.removesuffix(PREDOMINANT)
    if instrument not in INSTRUMENTS:
        raise ValueError(f"{path}: {instrument} is no instrument")
    return instrument


def line_up(path: Path) -> Collection[str] | None:
    """Who may play in a recording of several; None for a solo or where nobody knows."""
    if path.parent.parent.name == LINE_UPS:
        players = path.parent.name.split("+")
        if unknown := set(players) - INSTRUMENTS.keys():
            raise ValueError(f"{path}: {sorted(unknown)[0]} is no instrument")
        return players
    return FAMILY_FOLDERS.get(path.parent.name)


def noises(seconds: float, count: int, seed: int) -> Iterator[tuple[str, Audio]]:
    """Sounds in which nobody plays: white to brown noise, mains hum, clicks, each at a level of its own."""
    generator = np.random.default_rng(seed)
    n = int(seconds * SAMPLE_RATE_HZ)
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    for index in range(count):
        colour = generator.uniform(0, 2)
        spectrum = np.fft.rfft(generator.standard_normal(n)) / np.maximum(frequency, 20) ** (colour / 2)
        noise = np.fft.irfft(spectrum, n)
        noise /= noise.std()
        if generator.random() < 0.4:
            mains = generator.choice([50, 60])
            time = np.arange(n) / SAMPLE_RATE_HZ
            noise += sum(generator.uniform(0, 2) / k * np.sin(2 * np.pi * mains * k * time) for k in range(1, 8))
        if generator.random() < 0.4:
            clicks = generator.integers(0, n, size=int(generator.uniform(5, 80)))
            noise[clicks] += generator.uniform(5, 50, size=len(clicks))
        noise *= 10 ** (generator.uniform(-75, -20) / 20)
        yield f"noise_{index:03d}", Audio(noise[None].astype(np.float32), SAMPLE_RATE_HZ)


def write_renders(renders: Path, out: Path, listener: Listener, stems: bool = False) -> None:
    """One example per clip of a folder of renders; with `stems`, one more per player, named CLIP.stem0 and so on.

    The mixture is written last, so that a clip whose mixture exists is complete.
    """
    for path in sorted(renders.glob("*.npz")):
        target = out / path.name
        if target.exists():
            continue
        clip = StoredClip(path)
        for player in range(len(clip.header.instruments) if stems else 0):
            audio = Audio(clip.stem(player)[None], SAMPLE_RATE_HZ)
            labels = frame_labels(clip.header.of_player(player), LABELS)
            listener.untaught(audio, labels).save(out / f"{path.stem}.stem{player}.npz")
        audio = Audio(clip.mixture()[None], SAMPLE_RATE_HZ)
        listener.example(audio, frame_labels(clip.header, LABELS)).save(target)


def write_real(real: Path, out: Path, listener: Listener) -> None:
    """One example per recording of a folder of solos, and forty of noise."""
    for path in sorted([*real.glob("*/*.ogg"), *real.glob(f"{LINE_UPS}/*/*.ogg")]):
        target = out / f"{path.parent.name}_{path.stem}.npz"
        if not target.exists():
            audio = audio_io.resample(audio_io.to_mono(audio_io.read(path)), SAMPLE_RATE_HZ)
            if (players := line_up(path)) is not None:
                listener.ensemble(audio, players).save(target)
            elif (instrument := in_front(path)) is not None:
                listener.predominant(audio, instrument).save(target)
            else:
                listener.solo(audio, real_label(path)).save(target)
    for name, audio in noises(seconds=10, count=40, seed=1):
        target = out / f"{name}.npz"
        if not target.exists():
            silent = np.zeros((len(LABELS), n_frames(audio.samples.shape[1])), dtype=np.bool_)
            listener.example(audio, silent).save(target)


def load_all(folder: Path) -> list[StoredExample]:
    """All examples of a folder, in the order of their names; none is a ValueError."""
    examples = [StoredExample.load(path) for path in sorted(folder.glob("*.npz"))]
    if not examples:
        raise ValueError(f"no examples in {folder}")
    return examples


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", type=Path, help="folder of rendered clips")
    parser.add_argument("--stems", action="store_true", help="of renders, every player's features as well")
    parser.add_argument("--real", type=Path, help="folder of real recordings, one folder per instrument")
    parser.add_argument("--teacher", type=Path, help="folder of the teacher's ONNX file")
    parser.add_argument("--whole", action="store_true", help="keep mel spectra too, to choose thresholds with")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    listener = Listener(arguments.teacher, arguments.whole)
    if arguments.renders:
        write_renders(arguments.renders, arguments.out, listener, arguments.stems)
    if arguments.real:
        write_real(arguments.real, arguments.out, listener)


if __name__ == "__main__":
    main()
