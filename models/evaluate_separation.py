"""Judges the separator: python -m models.evaluate_separation --renders DIR --data DIR [--json FILE].

`--renders` is the folder whose `dev` holds clips; `--data` one with stems of real players: `bach10/<piece>/*.ogg`,
`trios/<piece>/*.ogg`, and `urmp/ensembles.csv` (ensemble, seconds, stems without ending). Prints Markdown tables.

What is measured
----------------
The model that ships, through the product's own code, told who plays from the true stems (so that its figures are not
the detector's) or, with `--detected`, by the detector. Per instrument and mixture, for the true stem s and the
estimate e:

- SI-SDR (Le Roux et al., 2019) of e less that of the untouched mixture, in dB: how much was gained.
- log-spectral distance: root mean square over bins up to 5.5 kHz of the difference of levels in dB, levels below -60 dB
  of the mixture's loudest bin counting as -60, mean over frames. It hears quiet leaks, which SI-SDR forgives.
- leak: level of e in frames where s is 40 dB below its loudest frame, relative to the mixture there.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.data.clips import Clip
from score_pipeline import audio
from score_pipeline.detection.attribution import pitched
from score_pipeline.features.cqt import log_cqt
from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.pipeline import Models, load_models, who_plays
from score_pipeline.separation.spectrum import Framing
from score_pipeline.settings import DetectionSettings
from score_pipeline.types import Activity, Audio, FloatArray
from score_pipeline.units import HOP_LENGTH, SAMPLE_RATE_HZ, n_frames

log = logging.getLogger(__name__)

_FRAMING = Framing(2048, 512)
_FLOOR_DB = -60.0
_SILENT_DB = -40.0


class Piece(NamedTuple):
    """A mixture: `stems` by instrument, two of one kind added up, and `rest`, everything else; all (samples,)."""

    group: str
    name: str
    stems: dict[str, FloatArray]
    rest: FloatArray

    @property
    def mixture(self) -> FloatArray:
        """Sum of all."""
        return np.asarray(sum(self.stems.values(), self.rest), dtype=np.float32)


class Figures(NamedTuple):
    """What one stem of one mixture came to."""

    gain_db: float
    si_sdr_db: float
    distance_db: float
    distance_before_db: float
    leak_db: float


def piece_of(group: str, name: str, sounds: Iterable[tuple[str, FloatArray]]) -> Piece:
    """Adds sounds up by instrument; who is not in the table is the rest."""
    sounds = list(sounds)
    length = max(len(samples) for _, samples in sounds)
    stems: dict[str, FloatArray] = {}
    rest = np.zeros(length, dtype=np.float32)
    for instrument, samples in sounds:
        target = rest
        if instrument in INSTRUMENTS:
            target = stems.setdefault(instrument, np.zeros(length, dtype=np.float32))
        target[: len(samples)] += samples
    return Piece(group, name, {key: stem for key, stem in stems.items() if np.abs(stem).max() > 1e-3}, rest)


def renders(folder: Path, count: int) -> Iterator[Piece]:
    """The first clips of a folder that have somebody to be told from somebody."""
    for path in sorted(folder.glob("*.npz"))[:count]:
        clip = Clip.load(path)
        yield piece_of("renders", path.stem, [*zip(clip.instruments, clip.stems, strict=True), ("", clip.noise)])


def recordings(folder: Path, seconds: float) -> Iterator[Piece]:
    """Mixtures of real stems, at most the first `seconds` of each."""
    for group in ("bach10", "trios"):
        for piece in sorted(path for path in (folder / group).iterdir() if path.is_dir()):
            sounds = [(path.stem, _read(path, seconds)) for path in sorted(piece.glob("*.ogg"))]
            yield piece_of(group, piece.name, sounds)
            if group == "bach10":
                yield piece_of("bach10 without saxophone", piece.name, [s for s in sounds if s[0] != "saxophone"])
    with (folder / "urmp" / "ensembles.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            paths = [folder / "urmp" / f"{stem}.ogg" for stem in row["stems"].split()]
            sounds = [(path.stem.split("-")[-1], _read(path, seconds)) for path in paths]
            yield piece_of("urmp", row["ensemble"], sounds)


def _read(path: Path, seconds: float) -> FloatArray:
    samples = audio.resample(audio.to_mono(audio.read(path)), SAMPLE_RATE_HZ).samples[0]
    return samples[: int(seconds * SAMPLE_RATE_HZ)]


def true_activity(stems: Mapping[str, FloatArray], floor_db: float = -35.0) -> Activity:
    """Who plays when, from the stems: within `floor_db` of its loudest frame, pauses under half a second filled."""
    length = max(len(stem) for stem in stems.values())
    frames = n_frames(length)
    active = np.zeros((len(stems), frames), dtype=np.bool_)
    for row, stem in zip(active, stems.values(), strict=True):
        power = np.convolve(np.pad(stem, (0, frames * HOP_LENGTH - length)) ** 2, np.ones(HOP_LENGTH), mode="same")
        loud = power[::HOP_LENGTH][:frames]
        row[:] = loud > loud.max() * 10 ** (floor_db / 10)
        sounding = np.flatnonzero(row)
        for first, second in pairwise(sounding):
            if second - first <= 43:
                row[first:second] = True
    return Activity(active.astype(np.float32), active, active.any(axis=1).astype(np.float32), tuple(stems))


def figures(true: FloatArray, estimate: FloatArray, mixture: FloatArray) -> Figures:
    """Compares one stem; all three (samples,)."""
    before, after = si_sdr(true, mixture), si_sdr(true, estimate)
    floor = float(_magnitude(mixture).max()) * 10 ** (_FLOOR_DB / 20)
    return Figures(
        after - before, after, _distance(true, estimate, floor), _distance(true, mixture, floor),
        _leak(true, estimate, mixture),
    )  # fmt: skip


def si_sdr(true: FloatArray, estimate: FloatArray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, between -60 and 60."""
    wanted = true.astype(np.float64) * (estimate @ true.astype(np.float64)) / (true @ true.astype(np.float64))
    wrong = estimate - wanted
    return float(np.clip(10 * np.log10((wanted @ wanted + 1e-12) / (wrong @ wrong + 1e-12)), -60, 60))


def _magnitude(samples: FloatArray) -> FloatArray:
    frames = _FRAMING.frames(len(samples))
    return np.abs(_FRAMING.analyse(samples[np.newaxis], 0, frames)[0, : _FRAMING.nfft // 4])


def _distance(true: FloatArray, estimate: FloatArray, floor: float) -> float:
    levels = [20 * np.log10(np.maximum(_magnitude(samples), floor)) for samples in (true, estimate)]
    return float(np.sqrt(((levels[0] - levels[1]) ** 2).mean(axis=0)).mean())


def _leak(true: FloatArray, estimate: FloatArray, mixture: FloatArray) -> float:
    power = [(_magnitude(samples) ** 2).sum(axis=0) for samples in (true, estimate, mixture)]
    silent = power[0] < power[0].max() * 10 ** (_SILENT_DB / 10)
    if silent.sum() < 20 or power[2][silent].sum() == 0:
        return float("nan")
    return float(10 * np.log10(power[1][silent].sum() / power[2][silent].sum() + 1e-6))


def judge(models: Models, pieces: Iterable[Piece], detected: bool) -> dict[str, dict[str, list[Figures]]]:
    """Figures by group and instrument."""
    found: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for piece in pieces:
        if not piece.stems:
            continue
        mixture = Audio(piece.mixture[np.newaxis], SAMPLE_RATE_HZ)
        note = models.pitch.note(mixture)
        if detected:
            activity, ownership = who_plays(mixture, note, DetectionSettings(), models)
        else:
            activity = true_activity(piece.stems)
            ownership = models.attribution.attribute(log_cqt(mixture), note, pitched(activity))
        stems = models.separator.separate(mixture, activity, ownership)
        for instrument, true in piece.stems.items():
            # what was not detected has no stem: it counts as if nothing had been gained
            estimate = stems[instrument].samples[0] if instrument in stems.stems else piece.mixture
            if len(piece.stems) > 1 or np.abs(piece.rest).max() > 1e-2:
                found[piece.group][instrument].append(figures(true, estimate, piece.mixture))
        log.info("%s %s", piece.group, piece.name)
    return found


def summary(found: Mapping[str, Mapping[str, list[Figures]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians by group and instrument, and of all stems of a group; a leak nobody could cause is left out."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for group, by_instrument in found.items():
        every = [figure for figures in by_instrument.values() for figure in figures]
        rows = {key: by_instrument[key] for key in INSTRUMENTS if key in by_instrument} | {"all": every}
        result[group] = {
            key: {"stems": len(row)}
            | {
                name: round(float(np.nanmedian(column)), 1)
                for name, column in zip(Figures._fields, np.array(row).T, strict=True)
                if np.isfinite(column).any()
            }
            for key, row in rows.items()
        }
    return result


def table(group: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """One group as Markdown."""
    lines = [
        f"| {group} | stems | gain dB | SI-SDR dB | log-spectral distance dB (mixture's) | leak dB |",
        "|---|---|---|---|---|---|",
    ]
    for key, row in rows.items():
        leak = f"{row['leak_db']:.1f}" if "leak_db" in row else "-"
        lines.append(
            f"| {key} | {row['stems']:.0f} | {row['gain_db']:+.1f} | {row['si_sdr_db']:.1f} | "
            f"{row['distance_db']:.1f} ({row['distance_before_db']:.1f}) | {leak} |"
        )
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each real recording")
    parser.add_argument("--detected", action="store_true", help="the detector says who plays, not the stems")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pieces = [
        *renders(arguments.renders / "dev", arguments.clips),
        *recordings(arguments.data, arguments.seconds),
    ]
    result = summary(judge(load_models(threads=1), pieces, arguments.detected))
    print("\n\n".join(table(group, rows) for group, rows in result.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
