"""What speaks for a note being there, and for each player having played it.

Conventions
-----------
A candidate is a note that somebody may have played: one the mixture holds, or one only a stem holds. Per candidate
and instrument there are six witnesses, each blind where another sees:

- the stem's note and onset posteriors at the candidate's pitch: sharp, but nearly blind to level, so that a bleed
  20 dB down still speaks loudly;
- the stem's share of the sound at the candidate's harmonics: knows level, but harmonics are shared; those that other
  candidates claim at the same time count less;
- how the note sounds in the mixture (`Ownership`): knows nothing of stems;
- the instrument's register; and
- the detector's activity.

Arrays are (candidates,) or (candidates, instruments). Semitone bands start at MIDI 21; their power is sampled every
`BAND_HOP_FRAMES` frames of the clock of `units`, which is enough for the mean over a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from score_pipeline.transcription.decoder import DecodedNote
from score_pipeline.types import Activity, Audio, FloatArray, Ownership, Pitchgram
from score_pipeline.units import BLOCK_FRAMES, HOP_LENGTH, LOWEST_PITCH, SAMPLE_RATE_HZ, midi_to_hz

IntArray = NDArray[np.int64]

SAME_ONSET_FRAMES = 6
"""Two notes of one pitch that begin within 70 ms are one note heard twice."""

ATTACK_FRAMES = 3
"""How far from a candidate's onset, to either side, a stem's onset posterior may peak: 35 ms."""

LEAST_LOG_SHARE = -4.0
"""No moment of a note speaks more strongly than this against a player."""

BAND_HOP_FRAMES = 4
"""Frames between two samples of the band powers: 46 ms."""

N_BANDS = 104
"""Semitone bands from A0 up to 10.8 kHz, just below the Nyquist frequency."""

HARMONIC_SEMITONES: IntArray = np.round(12 * np.log2(np.arange(1, 11))).astype(np.int64)
"""Bands of the first ten harmonics above the fundamental's: 0, 12, 19, 24, 28, 31, 34, 36, 38, 40."""

OVERTONE_SEMITONES = (12, 19, 24, 28, 31)
"""Where the ghost of a note appears: its second to sixth harmonic."""

_FFT_SIZE = 4096
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Candidates:
    """Notes nobody has claimed yet, one per row, sorted by (onset, pitch); frames as in `decoder`."""

    onset_frame: IntArray
    offset_frame: IntArray
    pitch: IntArray
    in_mixture: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pitch)


class Witness(NamedTuple):
    """What is kept of a sound: its posteriors (frames, 88) and the power of its bands (samples, `N_BANDS`)."""

    onset: FloatArray
    note: FloatArray
    bands: FloatArray

    @staticmethod
    def of(pitchgram: Pitchgram, audio: Audio) -> Witness:
        """Of a sound at 22050 Hz and its posteriorgram."""
        return Witness(pitchgram.onset, pitchgram.note, band_power(audio))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the witnesses say; probabilities and shares 0..1.

    (candidates,): `note`, `attack` in the mixture, `overtone` = loudness (note posterior) of the strongest note of
    which the candidate may be a harmonic, `level_db` of its harmonics where they are loudest, up to a constant.
    (candidates, instruments): `stem_note`, `stem_attack`, `share`, `activity`, and `timbre`, the mean log-probability
    that it is theirs by its sound, 0 for all where nobody was asked.
    """

    note: FloatArray
    attack: FloatArray
    overtone: FloatArray
    level_db: FloatArray
    stem_note: FloatArray
    stem_attack: FloatArray
    share: FloatArray
    activity: FloatArray
    timbre: FloatArray


def pool(mixture: Sequence[DecodedNote], stems: Sequence[Sequence[DecodedNote]]) -> Candidates:
    """All different notes of the mixture and of the stems; a note heard twice keeps the mixture's times."""
    kept: dict[int, list[tuple[int, int, bool]]] = {}
    for source, notes in enumerate((mixture, *stems)):
        for note in notes:
            row = kept.setdefault(note.pitch, [])
            if source == 0 or all(abs(note.onset_frame - onset) > SAME_ONSET_FRAMES for onset, _, _ in row):
                row.append((note.onset_frame, note.offset_frame, source == 0))
    rows = sorted((onset, pitch, offset, first) for pitch, row in kept.items() for onset, offset, first in row)
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Candidates(columns[:, 0], columns[:, 2], columns[:, 1], columns[:, 3].astype(bool))


def gather(
    candidates: Candidates,
    mixture: Witness,
    stems: Sequence[Witness | None],
    instruments: Sequence[str],
    activity: Activity,
    ownership: Ownership | None = None,
) -> Evidence:
    """Ask every witness about every candidate.

    `stems` has one entry per instrument; None where there is no stem, and then the mixture speaks for it, for all
    alike. An instrument `activity` does not know counts as active throughout. Without `ownership` how a note
    sounds speaks for nobody.
    """
    n, players = len(candidates), len(instruments)
    rows = candidates.pitch - LOWEST_PITCH
    note = _mean_over_notes(mixture.note, candidates, rows)
    stem_note = np.empty((n, players), dtype=np.float32)
    stem_attack = np.empty((n, players), dtype=np.float32)
    playing = np.ones((n, players), dtype=np.float32)
    for column, (instrument, stem) in enumerate(zip(instruments, stems, strict=True)):
        heard = mixture if stem is None else stem
        stem_note[:, column] = _mean_over_notes(heard.note, candidates, rows)
        stem_attack[:, column] = _peak_at_onsets(heard.onset, candidates, rows)
        if instrument in activity.instruments:
            index = activity.instruments.index(instrument)
            # the decision too: the detector's thresholds differ, so .3 may mean yes for one and no for another
            belief = (activity.probability[index] + activity.active[index]) / 2
            playing[:, column] = _mean_over_notes(belief[:, None], candidates, np.zeros_like(rows))
    share, level_db = _shares(candidates, note, mixture, stems)
    return Evidence(
        note=note,
        attack=_peak_at_onsets(mixture.onset, candidates, rows),
        overtone=_loudest_fundamental(candidates, note),
        level_db=level_db,
        stem_note=stem_note,
        stem_attack=stem_attack,
        share=share,
        activity=playing,
        timbre=np.zeros((n, players), dtype=np.float32)
        if ownership is None
        else _timbre(candidates, ownership.of(instruments)),
    )


def overlapping(candidates: Candidates) -> list[IntArray]:
    """For each candidate, the others that sound at some moment of it, in order."""
    longest = int((candidates.offset_frame - candidates.onset_frame).max(initial=0))
    first = np.searchsorted(candidates.onset_frame, candidates.onset_frame - longest, side="left")
    last = np.searchsorted(candidates.onset_frame, candidates.offset_frame, side="left")
    neighbours = []
    for index, (start, stop) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        near = np.arange(start, stop)
        near = near[(candidates.offset_frame[start:stop] > candidates.onset_frame[index]) & (near != index)]
        neighbours.append(near)
    return neighbours


def band_power(audio: Audio) -> FloatArray:
    """Power in semitone bands, shape (samples, `N_BANDS`), sample j centred at frame ``j * BAND_HOP_FRAMES``."""
    if audio.rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"bands are made for {SAMPLE_RATE_HZ} Hz, got {audio.rate_hz} Hz")
    hop = BAND_HOP_FRAMES * HOP_LENGTH
    padded = np.pad(audio.mono, _FFT_SIZE // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SIZE)[::hop]
    filters, taper = _band_filters(), np.hanning(_FFT_SIZE).astype(np.float32)
    power = np.empty((len(windows), N_BANDS), dtype=np.float32)
    for start in range(0, len(windows), _BLOCK):
        spectrum = np.fft.rfft(windows[start : start + _BLOCK] * taper, axis=1)
        power[start : start + _BLOCK] = (spectrum.real**2 + spectrum.imag**2) @ filters
    return power


def _band_filters() -> FloatArray:
    """Triangles around the semitones, at least one bin wide to either side; shape (bins, `N_BANDS`)."""
    bin_hz = SAMPLE_RATE_HZ / _FFT_SIZE
    centre_hz = midi_to_hz(LOWEST_PITCH + np.arange(N_BANDS))
    half_width_hz = np.maximum(centre_hz * (2 ** (1 / 12) - 1), bin_hz)
    distance_hz = np.abs(np.arange(_FFT_SIZE // 2 + 1)[:, None] * bin_hz - centre_hz)
    return np.asarray((1 - distance_hz / half_width_hz).clip(0), dtype=np.float32)


def _mean_over_notes(values: FloatArray, candidates: Candidates, columns: IntArray) -> FloatArray:
    """Mean of each candidate's column of `values` over its frames; frames beyond the end count as the end."""
    n_frames = len(values)
    if n_frames == 0:
        return np.zeros(len(candidates), dtype=np.float32)
    means = np.empty(len(candidates), dtype=np.float32)
    for index, (start, stop, column) in enumerate(
        zip(candidates.onset_frame.tolist(), candidates.offset_frame.tolist(), columns.tolist(), strict=True)
    ):
        start = min(start, n_frames - 1)
        means[index] = values[start : max(stop, start + 1), column].mean()
    return means


def _timbre(candidates: Candidates, log_share: NDArray[np.float16]) -> FloatArray:
    """Mean of (instruments, 88, blocks) over each candidate's blocks at its pitch, (candidates, instruments)."""
    means = np.empty((len(candidates), len(log_share)), dtype=np.float32)
    last = log_share.shape[2] - 1
    for index, (start, stop, row) in enumerate(
        zip(
            (candidates.onset_frame // BLOCK_FRAMES).clip(0, last).tolist(),
            (candidates.offset_frame // BLOCK_FRAMES).tolist(),
            (candidates.pitch - LOWEST_PITCH).tolist(),
            strict=True,
        )
    ):
        during = log_share[:, row, start : max(stop, start + 1)].astype(np.float32)
        means[index] = np.maximum(during, LEAST_LOG_SHARE).mean(axis=1)
    return means


def _peak_at_onsets(onset: FloatArray, candidates: Candidates, columns: IntArray) -> FloatArray:
    """Highest onset posterior within `ATTACK_FRAMES` of each candidate's onset."""
    if len(onset) == 0:
        return np.zeros(len(candidates), dtype=np.float32)
    around = candidates.onset_frame[:, None] + np.arange(-ATTACK_FRAMES, ATTACK_FRAMES + 1)
    return np.asarray(onset[around.clip(0, len(onset) - 1), columns[:, None]].max(axis=1))


def _loudest_fundamental(candidates: Candidates, note: FloatArray) -> FloatArray:
    """Note posterior of the strongest note that began no later and has an overtone at the candidate; 0 if none."""
    loudest = np.zeros(len(candidates), dtype=np.float32)
    onset, offset, pitch = candidates.onset_frame, candidates.offset_frame, candidates.pitch
    for index, near in enumerate(overlapping(candidates)):
        common = np.minimum(offset[near], offset[index]) - np.maximum(onset[near], onset[index])
        below = near[
            np.isin(pitch[index] - pitch[near], OVERTONE_SEMITONES)
            & (onset[near] <= onset[index] + ATTACK_FRAMES)
            & (2 * common > offset[index] - onset[index])
        ]
        loudest[index] = note[below].max(initial=0.0)
    return loudest


def _shares(
    candidates: Candidates, note: FloatArray, mixture: Witness, stems: Sequence[Witness | None]
) -> tuple[FloatArray, FloatArray]:
    """Each stem's share of the power at each candidate's harmonics, and the level there in the mixture, in dB.

    A harmonic counts by the fourth root of its power, so that the upper ones, which differ between instruments,
    have a say, and by 1 / (1 + c) ** 2 where c is how strongly other candidates claim it.
    """
    alike = mixture.bands / max(1, len(stems))
    powers = [alike if stem is None else stem.bands for stem in stems]
    length = len(mixture.bands)
    bands = candidates.pitch[:, None] - LOWEST_PITCH + HARMONIC_SEMITONES
    spans = [
        slice(start, max(start + 1, stop))
        for start, stop in zip(
            (candidates.onset_frame // BAND_HOP_FRAMES).clip(0, max(0, length - 1)).tolist(),
            (candidates.offset_frame // BAND_HOP_FRAMES).clip(0, length).tolist(),
            strict=True,
        )
    ]
    claimed = np.zeros_like(mixture.bands)
    for index, span in enumerate(spans):
        claimed[span, bands[index][bands[index] < N_BANDS]] += note[index]
    share = np.full((len(candidates), len(stems)), 1 / max(1, len(stems)), dtype=np.float32)
    level_db = np.empty(len(candidates), dtype=np.float32)
    for index, span in enumerate(spans):
        heard = bands[index][bands[index] < N_BANDS]
        level_db[index] = 10 * np.log10(mixture.bands[span, heard].sum(axis=1).max() + 1e-12)
        power = np.array([stem[span, heard].sum(axis=0) for stem in powers])  # (instruments, harmonics)
        # what is in no stem counts too: a note most of which is elsewhere is nobody's of these
        total = np.maximum(power.sum(axis=0), mixture.bands[span, heard].sum(axis=0))
        others = (claimed[span, heard].mean(axis=0) - note[index]).clip(0)
        weight = total**0.25 / (1 + others) ** 2
        if weight.sum() > 0:
            share[index] = (power / np.maximum(total, 1e-20) * weight).sum(axis=1) / weight.sum()
    return share, level_db
