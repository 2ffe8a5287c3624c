"""From a recording to a score: the whole job as one page. The mathematics is in the rooms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from score_pipeline import __version__, audio
from score_pipeline.cache import StageCache
from score_pipeline.settings import DetectionSettings, Settings, TranscriptionSettings
from score_pipeline.types import Activity, Audio, BeatGrid, FloatArray, Ownership, QuantisedTrack, Score, Stems, Track
from score_pipeline.units import SAMPLE_RATE_HZ, decibels
from score_pipeline.wording import printable

if TYPE_CHECKING:
    from score_pipeline.detection.attribution import Attribution
    from score_pipeline.detection.detector import Detector
    from score_pipeline.features.posteriorgram import PitchModel
    from score_pipeline.separation.separator import Separator

OnProgress = Callable[[str, float], None]
"""Called with a stage of `STAGES` and the share of it that is done, 0..1."""

STAGES = ("read", "listen", "detect", "separate", "transcribe", "rhythm", "engrave")

NETWORKS = ("detector", "attribution", "separator")
"""Models that ship and that a conversion cannot do without; Basic Pitch's comes from its own package."""

SHORTEST_S = 0.5
"""A shorter recording holds hardly a note."""

QUIET_PEAK = 0.003
"""-50 dB: at 16 bits, quantisation noise then lies 46 dB below the peak."""

UNSURE_BEAT = 0.5
"""Confidence of a beat grid below which the user is told so: less than half of it is expected to be right."""


@dataclass(frozen=True)
class Models:
    """The networks of a conversion, opened once and passed down. `checksums` is name -> sha256."""

    pitch: PitchModel
    detector: Detector
    attribution: Attribution
    separator: Separator
    checksums: dict[str, str]


@dataclass(frozen=True, eq=False)
class Heard:
    """What the networks made of a recording, before any thought of bars. `stems` is None unless asked for."""

    activity: Activity
    tracks: tuple[Track, ...]
    stems: Stems | None = None


@dataclass(frozen=True, eq=False)
class Conversion:
    """Everything a conversion found, and how."""

    source: Path
    duration_s: float
    settings: Settings
    heard: Heard
    grid: BeatGrid
    quantised: tuple[QuantisedTrack, ...]
    score: Score
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)


class StageClock:
    """Tells the caller how far each stage is and keeps how long it took."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """Times the stage; yields what reports its progress."""
        self._on_progress(name, 0.0)
        start = time.perf_counter()
        yield lambda done: self._on_progress(name, done)
        self.seconds[name] = time.perf_counter() - start
        self._on_progress(name, 1.0)


def load_models(threads: int = 2) -> Models:
    """Open every network that ships; a missing or altered one is a WeightsError."""
    from score_pipeline import weights
    from score_pipeline.detection.attribution import Attribution
    from score_pipeline.detection.detector import Detector
    from score_pipeline.features.posteriorgram import PitchModel
    from score_pipeline.separation.guided import GuidedHTDemucs

    checksums = {name: weights.find(name).sha256 for name in NETWORKS}
    return Models(
        PitchModel.load(threads),
        Detector.load(threads),
        Attribution.load(threads),
        GuidedHTDemucs.load(threads),
        checksums | {"basic_pitch": weights.basic_pitch().sha256},
    )


def convert(
    source: Path,
    settings: Settings,
    models: Models,
    on_progress: OnProgress = lambda stage, done: None,
    *,
    keep_stems: bool = False,
    cache: StageCache | None = None,
) -> Conversion:
    """Read a recording and turn it into parts.

    Raises AudioFileError when `source` cannot be read, NotesFileError when its tempo map cannot; what sounds like
    nothing is a valid result with a warning. Stems are large, so a conversion that keeps them is not cached.
    """
    clock = StageClock(on_progress)
    with clock.stage("read"):
        recording = audio.read(source)
        mixture = audio.resample(audio.to_mono(recording), SAMPLE_RATE_HZ)
        key = (__version__, audio.content_sha256(recording), *sorted(models.checksums.items()))
        duration_s, peak = recording.duration_s, _peak(recording)
        # a long recording at its own rate is most of the memory: without stems nobody needs it any more
        whole = recording if keep_stems else None
        del recording
    listen = (
        hear if keep_stems or cache is None else cache.remember(hear, ignore=("mixture", "whole", "models", "clock"))
    )
    heard = listen(key, mixture, whole, settings.detection, settings.transcription, models, clock)
    grid, quantised, score = write_down(heard.tracks, mixture, duration_s, settings, source.name, clock)
    return Conversion(
        source=source,
        duration_s=duration_s,
        settings=settings,
        heard=heard,
        grid=grid,
        quantised=tuple(quantised),
        score=score,
        warnings=tuple(_warnings(duration_s, peak, heard, grid, score, settings.detection)),
        seconds=clock.seconds,
        models=dict(models.checksums),
    )


def hear(
    key: tuple[object, ...],
    mixture: Audio,
    whole: Audio | None,
    detection: DetectionSettings,
    transcription: TranscriptionSettings,
    models: Models,
    clock: StageClock,
) -> Heard:
    """Who plays what: detect, separate, transcribe.

    `mixture` is the recording as the networks hear it, mono at 22050 Hz; `whole` is the recording itself where its
    stems are to be kept, else None. `key` names program, recording and models for the cache.
    """
    from score_pipeline.transcription.transcribe import transcribe

    with clock.stage("listen"):
        pitchgram = models.pitch.pitchgram(mixture)
    with clock.stage("detect"):
        activity, ownership = who_plays(mixture, pitchgram.note, detection, models)
    with clock.stage("separate") as progress:
        stems = models.separator.separate(whole or mixture, activity, ownership, progress)
    with clock.stage("transcribe") as progress:
        tracks = transcribe(stems, pitchgram, activity, ownership, models.pitch, transcription, progress)
    return Heard(activity, tuple(tracks), stems if whole else None)


def who_plays(
    mixture: Audio, note: FloatArray, settings: DetectionSettings, models: Models
) -> tuple[Activity, Ownership]:
    """Who plays when in a recording at 22050 Hz, and whose note sounds where, by its note posteriorgram (frames, 88).

    Who is detected and gets hardly a note is not there, unless the user says so.
    """
    from score_pipeline.detection.attribution import players_with_notes
    from score_pipeline.detection.detector import Features

    features = Features.of(mixture, note)
    answer = models.detector.probability(features)
    return players_with_notes(
        lambda settings: models.detector.decided(answer, features, settings),
        lambda line_up: models.attribution.attribute(features.levels, note, line_up),
        settings,
    )


def write_down(
    tracks: Sequence[Track],
    mixture: Audio | None,
    duration_s: float,
    settings: Settings,
    source_name: str,
    clock: StageClock,
    grid: BeatGrid | None = None,
) -> tuple[BeatGrid, list[QuantisedTrack], Score]:
    """Played notes to a score: beats, quantised notes, notation.

    `mixture` helps to find the beat when there is a recording; `grid` is used as it is when the beats are known.
    """
    from score_pipeline.notation.score import build_score
    from score_pipeline.rhythm.beats import track_beats
    from score_pipeline.rhythm.quantise import quantise
    from score_pipeline.rhythm.tempo_map import grid_from_tempo_map, read_tempo_map

    with clock.stage("rhythm"):
        if settings.rhythm.tempo_map is not None:
            grid = grid_from_tempo_map(read_tempo_map(settings.rhythm.tempo_map), duration_s)
        elif grid is None:
            grid = track_beats(tracks, mixture, settings.rhythm, duration_s)
        quantised = quantise(tracks, grid, settings.rhythm)
    with clock.stage("engrave"):
        score = build_score(quantised, grid, settings.notation, printable(source_name))
    return grid, quantised, score


def _peak(recording: Audio) -> float:
    """Greatest absolute sample."""
    samples = recording.samples
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def _warnings(
    duration_s: float, peak: float, heard: Heard, grid: BeatGrid, score: Score, detection: DetectionSettings
) -> Iterator[str]:
    """Everything a user should know before trusting the result, one sentence each."""
    if peak == 0:
        yield "The recording is digital silence, so no parts were written."
    elif not heard.activity.present:
        yield "No instrument was recognised, so no parts were written; name the players with --instruments."
    elif not heard.tracks:
        yield "Instruments were recognised but no notes were found, so no parts were written."
    if 0 < peak < QUIET_PEAK:
        yield f"The recording is very quiet (peak {decibels(peak):.0f} dB); the result may lack notes."
    if duration_s < SHORTEST_S:
        yield f"The recording is only {duration_s:.2f} s long."
    silent = [key for key in heard.activity.present if key not in {track.instrument for track in heard.tracks}]
    if heard.tracks and silent:
        yield f"Heard but without a note: {', '.join(silent)}."
    if len(heard.tracks) > 1 and detection.instruments is None:
        yield "Who plays is a guess; if somebody is missing or was invented, name the players with --instruments."
    if heard.tracks and grid.confidence < UNSURE_BEAT:
        yield "The beat is a guess; give --tempo, --meter and --downbeat, or --tempo-map, for better bars."
    if score.doubtful_bars:
        yield f"{len(score.doubtful_bars)} bars hold doubtful notes; they are listed in result.json."
