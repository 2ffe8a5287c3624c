"""What each command does to one file, behind one signature, so that all are run and reported the same way.

A `Work` is called with a `Job` and returns an `Outcome` or raises a ScorePipelineError. It opens the networks when it
is first called and keeps them for the files to come; before that it can be pickled, which is how it gets into the
worker processes of a batch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from score_pipeline import audio, result
from score_pipeline.cache import StageCache
from score_pipeline.console import Found, Outcome
from score_pipeline.detection.plot import timeline_svg
from score_pipeline.errors import NotesFileError
from score_pipeline.instruments import instrument, score_order
from score_pipeline.notation.render import check_formats
from score_pipeline.notes_file import beats_csv, notes_csv, read_grid, read_tracks
from score_pipeline.pipeline import (
    Conversion,
    Heard,
    Models,
    OnProgress,
    StageClock,
    convert,
    load_models,
    who_plays,
    write_down,
)
from score_pipeline.settings import RhythmSettings, Settings
from score_pipeline.types import Activity, Audio, BeatGrid, Ownership, Track
from score_pipeline.units import SAMPLE_RATE_HZ, seconds_to_frame
from score_pipeline.wording import player_name, printable

log = logging.getLogger(__name__)

DEFAULT_THREADS = 2
"""Networks gain little from more threads, and whoever works beside us wants some."""


@dataclass(frozen=True)
class Job:
    """One file, how to treat it, and the folder its results go to (None: they are only told)."""

    source: Path
    folder: Path | None
    settings: Settings
    stems: bool = False
    plot: bool = False
    formats: frozenset[str] = frozenset()
    force: bool = False


Work = Callable[[Job, OnProgress], Outcome]


@dataclass
class _Networked:
    """Opens the networks when the first file comes, and keeps slow results in `cache_folder` unless that is None."""

    threads: int = DEFAULT_THREADS
    cache_folder: Path | None = None

    @cached_property
    def models(self) -> Models:
        """All networks."""
        return load_models(self.threads)

    @cached_property
    def cache(self) -> StageCache:
        """Where slow results are kept; a folder that cannot be used costs time and not the conversion."""
        if self.cache_folder is not None:
            try:
                self.cache_folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                log.warning("nothing is cached because %s cannot be used (%s)", self.cache_folder, error.strerror)
                return StageCache(None)
        return StageCache(self.cache_folder)

    def convert(self, job: Job, on_progress: OnProgress) -> Conversion:
        """The whole conversion, not written yet."""
        conversion = convert(job.source, job.settings, self.models, on_progress, keep_stems=job.stems, cache=self.cache)
        self.cache.trim()
        return conversion

    def detect(self, job: Job, clock: StageClock) -> tuple[Audio, Activity, Ownership]:
        """The recording, who plays when in it, and whose notes sound."""
        with clock.stage("read"):
            recording = audio.read(job.source)
            mixture = audio.resample(audio.to_mono(recording), SAMPLE_RATE_HZ)
        with clock.stage("listen"):
            pitchgram = self.models.pitch.pitchgram(mixture)
        with clock.stage("detect"):
            return recording, *who_plays(mixture, pitchgram.note, job.settings.detection, self.models)


class Convert(_Networked):
    """Recording to parts and all that belongs to them."""

    def __call__(self, job: Job, on_progress: OnProgress) -> Outcome:
        """Convert and write."""
        folder = _free_folder(job)
        conversion = self.convert(job, on_progress)
        return _outcome(job, conversion, result.write(conversion, folder, force=job.force, formats=job.formats))


class Transcribe(_Networked):
    """Recording to the notes as played: performance.mid, notes.csv, beats.csv and who plays when."""

    def __call__(self, job: Job, on_progress: OnProgress) -> Outcome:
        """Convert and write all but the score."""
        folder = _free_folder(job)
        conversion = self.convert(job, on_progress)
        files = result.write_folder(folder, lambda to: _write_notes(conversion, to), force=job.force)
        return _outcome(job, conversion, files)


class Separate(_Networked):
    """Recording to one sound per instrument and a residual, which add up to it."""

    def __call__(self, job: Job, on_progress: OnProgress) -> Outcome:
        """Separate and write."""
        folder = _free_folder(job)
        clock = StageClock(on_progress)
        recording, activity, ownership = self.detect(job, clock)
        with clock.stage("separate") as progress:
            stems = self.models.separator.separate(recording, activity, ownership, progress)

        def fill(unfinished: Path) -> list[str]:
            names, gain = result.write_stems(unfinished / "stems", stems)
            if gain < 1:
                log.warning("the stems of %s are %.1f dB quieter than the recording", job.source, 20 * np.log10(gain))
            return [*names, *_write_activity(activity, unfinished)]

        result.write_folder(folder, fill, force=job.force)
        return Outcome(job.source, folder, (), _found(activity, ()), _nobody(activity), recording.duration_s)


class Detect(_Networked):
    """Recording to who plays when; written only where a folder is named."""

    def __call__(self, job: Job, on_progress: OnProgress) -> Outcome:
        """Detect, and write if asked to."""
        if job.folder is not None:
            result.check_is_free(job.folder, force=job.force)
        recording, activity, _ = self.detect(job, StageClock(on_progress))
        if job.folder is not None:

            def fill(unfinished: Path) -> list[str]:
                files = _write_activity(activity, unfinished)
                if job.plot:
                    picture = timeline_svg(activity, printable(job.source.name))
                    (unfinished / "activity.svg").write_text(picture, encoding="utf-8")
                    files.append("activity.svg")
                return files

            result.write_folder(job.folder, fill, force=job.force)
        return Outcome(job.source, job.folder, (), _found(activity, ()), _nobody(activity), recording.duration_s)


class Engrave:
    """Edited notes to parts: a notes.csv, by the beats.csv beside it if there is one, or a MIDI file by its own tempo.

    What the user says about the beat goes before either.
    """

    def __call__(self, job: Job, on_progress: OnProgress) -> Outcome:
        """Read, engrave and write."""
        folder = _free_folder(job)
        conversion = engrave(job.source, job.settings, on_progress)
        return _outcome(job, conversion, result.write(conversion, folder, force=job.force, formats=job.formats))


def engrave(source: Path, settings: Settings, on_progress: OnProgress) -> Conversion:
    """Notes of a file as a conversion whose activity is where its notes sound; a NotesFileError if there are none."""
    clock = StageClock(on_progress)
    with clock.stage("read"):
        tracks = read_tracks(source)
        if not any(track.notes for track in tracks):
            raise NotesFileError(f"{source} holds no notes; export it again.")
        grid = _given_grid(source, settings.rhythm)
    duration_s = max(note.offset_s for track in tracks for note in track.notes)
    grid, quantised, score = write_down(tracks, None, duration_s, settings, source.name, clock, grid)
    return Conversion(
        source=source,
        duration_s=duration_s,
        settings=settings,
        heard=Heard(activity_of_notes(tracks), tuple(tracks)),
        grid=grid,
        quantised=tuple(quantised),
        score=score,
        seconds=clock.seconds,
    )


def _given_grid(source: Path, hints: RhythmSettings) -> BeatGrid | None:
    """The beats that came with the notes, unless the user knows better."""
    if any(hint is not None for hint in (hints.tempo_bpm, hints.meter, hints.downbeat_s, hints.tempo_map)):
        return None
    beats = source if source.suffix.lower() in {".mid", ".midi"} else source.with_name("beats.csv")
    return read_grid(beats) if beats.is_file() else None


def activity_of_notes(tracks: Sequence[Track]) -> Activity:
    """Certain activity while a note of the instrument sounds, none elsewhere."""
    keys = tuple(sorted({track.instrument for track in tracks}, key=score_order))
    end_s = max((note.offset_s for track in tracks for note in track.notes), default=0.0)
    active = np.zeros((len(keys), seconds_to_frame(end_s) + 1), dtype=np.bool_)
    for track in tracks:
        for note in track.notes:
            active[keys.index(track.instrument), seconds_to_frame(note.onset_s) : seconds_to_frame(note.offset_s)] = (
                True
            )
    return Activity(active.astype(np.float32), active, np.ones(len(keys), dtype=np.float32), keys)


def _free_folder(job: Job) -> Path:
    """The job's folder; whether it and all formats can be written is asked before minutes of work and not after."""
    if job.folder is None:
        raise ValueError(f"this work writes files; give {job.source} a folder")
    result.check_is_free(job.folder, force=job.force)
    check_formats(job.formats)
    return job.folder


def _write_notes(conversion: Conversion, folder: Path) -> list[str]:
    from score_pipeline.notation.midi import performance_midi

    contents = {
        "performance.mid": performance_midi(list(conversion.heard.tracks), conversion.grid),
        "notes.csv": notes_csv(conversion.quantised, conversion.grid).encode(),
        "beats.csv": beats_csv(conversion.grid).encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [*contents, *_write_activity(conversion.heard.activity, folder)]


def _write_activity(activity: Activity, folder: Path) -> list[str]:
    (folder / "activity.json").write_text(json.dumps(result.activity_summary(activity), indent=2) + "\n")
    result.write_activity_npz(folder / "activity.npz", activity)
    return ["activity.json", "activity.npz"]


def _outcome(job: Job, conversion: Conversion, files: Sequence[str]) -> Outcome:
    """What to tell of a conversion."""
    return Outcome(
        file=job.source,
        folder=job.folder,
        parts=tuple(file for file in files if PurePosixPath(file).match("parts/*.musicxml")),
        found=_found(conversion.heard.activity, conversion.heard.tracks),
        warnings=conversion.warnings,
        duration_s=conversion.duration_s,
    )


def _found(activity: Activity, tracks: Sequence[Track]) -> tuple[Found, ...]:
    """A line per player, or per active instrument where no notes were looked for."""
    shares = (
        dict(zip(activity.instruments, activity.active.mean(axis=1).tolist(), strict=True))
        if activity.active.size
        else {}
    )
    if not tracks:
        return tuple(
            Found(key, instrument(key).name, shares.get(key, 0.0), None, tuple(activity.spans(key)))
            for key in sorted(activity.present, key=score_order)
        )
    return tuple(
        Found(track.instrument, player_name(track, tracks), shares.get(track.instrument, 0.0), len(track.notes))
        for track in sorted(tracks, key=lambda track: (score_order(track.instrument), track.player))
    )


def _nobody(activity: Activity) -> tuple[str, ...]:
    return () if activity.present else ("No instrument was recognised; name the players with --instruments.",)
