"""Finds training recordings that are also among those to check with, under whatever name.

    python -m models.detection.overlap --real DIR ... --dev DEV

A few seconds of each sound file under DEV, stems and whole recordings, are looked for in all recordings of the folders,
by the correlation of their mel levels over time and band; what is found is printed, and the exit status is 1. Public
repositories copy from each other: a name that differs says nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from models.detection.band_scenes import read_cast
from score_pipeline import audio as audio_io
from score_pipeline.features.mel import log_mel
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import SAMPLE_RATE_HZ

FRAMES_TOGETHER, BANDS_TOGETHER = 4, 4
"""Frames and mel bands of which the mean is taken."""
LOOKED_FOR = 86
"""Steps of such frames that are looked for: four seconds."""
PLACES = (0.2, 0.45, 0.7)
"""Where in a recording they begin."""
QUIETEST_DB = -80.0
LEAST_SPREAD_DB = 3.0
"""Stretches whose levels spread less (rests, tones) are like anything."""
SAME = 0.9
"""Correlation from which two stretches are the same recording; copies have .94 and more, other music .8 at most."""


def fingerprint(audio: Audio) -> FloatArray:
    """Coarse levels in dB, (steps, 24), of a recording at 22050 Hz."""
    levels = log_mel(audio)[:, 8:104]
    steps = len(levels) // FRAMES_TOGETHER
    cells = levels[: steps * FRAMES_TOGETHER].reshape(steps, FRAMES_TOGETHER, -1, BANDS_TOGETHER)
    return np.maximum(cells.mean(axis=(1, 3)), np.float32(QUIETEST_DB))


def correlation(wanted: FloatArray, among: FloatArray) -> FloatArray:
    """Of a stretch (n, bands) with each stretch of n steps of a longer one (m, bands), (m - n + 1,); 0 in rests."""
    n = len(wanted)
    centred = wanted - wanted.mean(axis=0)
    product = sum(fftconvolve(among[:, band], centred[::-1, band], "valid") for band in range(among.shape[1]))
    total, squares = (
        np.cumsum(np.pad(array, ((1, 0), (0, 0))), axis=0, dtype=np.float64) for array in (among, among**2)
    )
    spread = (squares[n:] - squares[:-n] - (total[n:] - total[:-n]) ** 2 / n).sum(axis=1)
    enough = spread > wanted.size * LEAST_SPREAD_DB**2
    scale = np.sqrt(np.where(enough, spread, np.inf)) * max(float(np.sqrt((centred**2).sum())), 1e-6)
    return np.asarray(product / scale, dtype=np.float32)


def likest(checked: FloatArray, trained_on: Sequence[tuple[str, FloatArray]]) -> tuple[str, float]:
    """Of (name, fingerprint) the name that is most like a recording by its fingerprint, and its correlation.

    A recording shorter than what is looked for is like nothing.
    """
    if len(checked) < LOOKED_FOR:
        return "", 0.0
    among = np.concatenate([fingerprint for _, fingerprint in trained_on])
    ends = np.cumsum([len(fingerprint) for _, fingerprint in trained_on])
    starts = {min(int(place * len(checked)), len(checked) - LOOKED_FOR) for place in PLACES}
    found = [correlation(checked[start : start + LOOKED_FOR], among) for start in sorted(starts)]
    best = max(found, key=lambda values: float(values.max()))
    middle = int(best.argmax()) + LOOKED_FOR // 2
    return trained_on[int(np.searchsorted(ends, middle, "right"))][0], float(best.max())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, nargs="+", required=True, help="folders of recordings to train on")
    parser.add_argument("--refuse", nargs="*", default=[], help="recordings with this in their path are left out")
    parser.add_argument("--dev", type=Path, required=True, help="folder of what is checked with")
    arguments = parser.parse_args()
    cast = read_cast(arguments.real, [], arguments.refuse)
    heard = [(one.name, fingerprint(Audio(one.sound()[None], SAMPLE_RATE_HZ))) for one in cast.real]
    found = 0
    for path in sorted(arguments.dev.rglob("*.ogg")):
        audio = audio_io.resample(audio_io.to_mono(audio_io.read(path)), SAMPLE_RATE_HZ)
        name, like = likest(fingerprint(audio), heard)
        if like >= SAME:
            print(f"{path.relative_to(arguments.dev)} is {name} ({like:.2f})", flush=True)
            found += 1
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
