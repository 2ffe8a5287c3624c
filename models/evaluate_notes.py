"""Measures the notes on real players and on held-out renders.

    python -m models.evaluate_notes --data DIR [--renders DIR] [--cache DIR] [--results FILE] [--only WORD]

DIR of --data holds `dev/` with `trios/`, `bach10/`, `urmp/`, `quartet/`, `piano/` and `violin/`; that of --renders
holds clips of held-out scores and timbres (`models.data.clips`). Printed, and with --results written between the marks
of that Markdown file: onset F1 per instrument, pitch after rounding, offsets ignored (mir_eval's
`transcription.precision_recall_f1_overlap` with offset_ratio None; the matching is `score_pipeline.evaluate`'s).

Ways of hearing
---------------
- blind: the mixture decoded; a note counts whoever plays it.
- register: the mixture decoded and given out by register and line alone, no stems, no activity, no timbre: the floor.
- product: detector, separator, transcription, nothing known.
- line-up: the same, the players named by the user.
- true stems: the stems as they were recorded, line-up known: what a perfect separator would give.

Labels of Bach10 and URMP were made by pYIN on the stems and are worth no more than 100 ms. Two parts of one instrument
count as one; instruments the program does not know (tuba) sound in the mixture and belong to nobody.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from models.data.clips import StoredClip
from score_pipeline import audio
from score_pipeline.evaluate import Counts, evaluate
from score_pipeline.features.cqt import log_cqt
from score_pipeline.features.posteriorgram import PitchModel
from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.pipeline import Models, load_models, who_plays
from score_pipeline.settings import DetectionSettings, TranscriptionSettings
from score_pipeline.transcription.assignment import NOBODY, assign
from score_pipeline.transcription.decoder import decode
from score_pipeline.transcription.evidence import Witness, gather, pool
from score_pipeline.transcription.transcribe import transcribe
from score_pipeline.types import Activity, Audio, FloatArray, Note, Ownership, Pitchgram, Stems
from score_pipeline.units import SAMPLE_RATE_HZ, frames_to_seconds, n_frames

log = logging.getLogger(__name__)

TOLERANCES_S = (0.05, 0.1)
MARK = ("<!-- notes: begin -->", "<!-- notes: end -->")

UNKNOWN_PLAYER = "pizzicato strings"
"""What the labels call notes whose player nobody wrote down; nothing that begins within them is counted."""

_ANYBODY = "piano"
"""Who stands for everybody where it does not matter who plays."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A labelled recording at 22050 Hz: `stems` by instrument (may be empty), `rest` = whatever else sounds."""

    group: str
    name: str
    stems: Mapping[str, FloatArray]
    rest: FloatArray
    notes: tuple[Note, ...]
    masked: tuple[tuple[float, float], ...] = field(default=())

    @property
    def mixture(self) -> Audio:
        """Everything together."""
        return _mono(sum(self.stems.values(), self.rest))

    @property
    def line_up(self) -> tuple[str, ...]:
        """Who plays, as far as the program knows them."""
        return tuple(dict.fromkeys([*self.stems, *(note.instrument for note in self.notes)]))

    def counted(self, notes: Sequence[Note]) -> list[Note]:
        """Notes that do not begin where the labels are silent about the player."""
        return [note for note in notes if not any(start <= note.onset_s <= end for start, end in self.masked)]


class CachedPitchModel(PitchModel):
    """Keeps what a `PitchModel` heard in a folder (half precision, contours left out)."""

    def __init__(self, model: PitchModel, folder: Path | None) -> None:
        self._model, self._folder = model, folder

    def pitchgram(self, sound: Audio) -> Pitchgram:
        """Posteriorgrams of a recording at 22050 Hz; the contour is silent."""
        if self._folder is None:
            return self._model.pitchgram(sound)
        path = self._folder / f"{audio.content_sha256(sound)[:24]}.npz"
        if not path.exists():
            heard = self._model.pitchgram(sound)
            self._folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, onset=heard.onset.astype(np.float16), note=heard.note.astype(np.float16))
        with np.load(path) as file:
            onset, note = file["onset"].astype(np.float32), file["note"].astype(np.float32)
        return Pitchgram(onset, note, np.zeros((len(note), 3 * note.shape[1]), dtype=np.float32))


def real(data: Path) -> Iterator[Recording]:
    """The labelled dev recordings in `data`."""
    for folder in sorted((data / "trios").iterdir()):
        yield _of_stems("TRIOS", folder.name, sorted(folder.glob("*.ogg")), [folder / "notes.csv"])
    for folder in sorted((data / "bach10").iterdir()):
        yield _of_stems("Bach10", folder.name, sorted(folder.glob("*.ogg")), [folder / "notes.csv"])
    with (data / "urmp" / "ensembles.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            stems = [data / "urmp" / f"{stem}.ogg" for stem in row["stems"].split()]
            yield _of_stems("URMP", row["ensemble"], stems, [stem.with_suffix(".csv") for stem in stems])
    for group, name in (
        ("Ravel quartet", "quartet/ravel_2"),
        ("solo piano", "piano/wtc_2195"),
        ("solo piano", "piano/wtc_2207"),
        ("solo violin", "violin/bwv1002_double_garner"),
    ):
        yield _of_stems(group, name, [data / f"{name}.ogg"], [data / f"{name}.csv"])


def rendered(folder: Path) -> Iterator[Recording]:
    """Held-out renders with somebody in them whose notes have a pitch."""
    for path in sorted(folder.glob("clip_*.npz")):
        clip = StoredClip(path).clip()
        stems: dict[str, FloatArray] = {}
        rest = clip.noise.copy()
        notes: list[Note] = []
        for key, sound, played in zip(clip.instruments, clip.stems, clip.notes, strict=True):
            if key not in INSTRUMENTS or not INSTRUMENTS[key].is_pitched:
                rest += sound
                continue
            stems[key] = stems.get(key, np.zeros_like(rest)) + sound
            # a note that began before the clip has no onset to find
            notes += [Note(n.onset_s, n.offset_s, n.pitch, n.velocity, key) for n in played if n.onset_s > 0]
        if notes:
            yield Recording("renders", path.stem, stems, rest, tuple(notes))


def _of_stems(group: str, name: str, sounds: Sequence[Path], labels: Sequence[Path]) -> Recording:
    """A sum of stems called `<part>-<instrument>.ogg` or `<instrument>.ogg`; a single file is a mixture."""
    read = [audio.resample(audio.to_mono(audio.read(path)), SAMPLE_RATE_HZ).samples[0] for path in sounds]
    length = min(len(samples) for samples in read)
    notes, masked = _read_labels(labels)
    if len(sounds) == 1:
        return Recording(group, name, {}, read[0], notes, masked)
    stems: dict[str, FloatArray] = {}
    rest = np.zeros(length, dtype=np.float32)
    for path, samples in zip(sounds, read, strict=True):
        key = path.stem.split("-")[-1]
        if key in INSTRUMENTS:
            stems[key] = stems.get(key, np.zeros_like(rest)) + samples[:length]
        else:
            rest += samples[:length]
    return Recording(group, name, stems, rest, notes, masked)


def _read_labels(paths: Sequence[Path]) -> tuple[tuple[Note, ...], tuple[tuple[float, float], ...]]:
    """Notes of known instruments, and the times of those whose player is unknown."""
    notes, masked = [], []
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                onset_s, offset_s, key = float(row["onset_s"]), float(row["offset_s"]), row["instrument"]
                if key in INSTRUMENTS:
                    end_s = max(offset_s, onset_s + 0.01)
                    notes.append(Note(onset_s, end_s, round(float(row["pitch"])), 64, key))
                elif key == UNKNOWN_PLAYER:
                    masked.append((onset_s - max(TOLERANCES_S), offset_s))
    return tuple(notes), tuple(masked)


def blind(recording: Recording, models: Models) -> list[Note]:
    """Every note of the mixture; who plays is not asked."""
    heard = models.pitch.pitchgram(recording.mixture)
    return [
        Note(note.onset_s, note.offset_s, note.pitch, 64, _ANYBODY) for note in decode(heard, TranscriptionSettings())
    ]


def register(recording: Recording, models: Models) -> list[Note]:
    """Notes of the mixture given out by the line-up's registers and lines."""
    sound = recording.mixture
    heard, players = models.pitch.pitchgram(sound), recording.line_up
    candidates = pool(decode(heard, TranscriptionSettings()), [])
    alike = [None] * len(players)
    evidence = gather(candidates, Witness.of(heard, sound), alike, players, _always(players, sound))
    owner = assign(candidates, evidence, players).owner
    return [
        Note(
            frames_to_seconds(int(candidates.onset_frame[index])),
            frames_to_seconds(int(candidates.offset_frame[index])),
            int(candidates.pitch[index]),
            64,
            players[owner[index]],
        )
        for index in np.flatnonzero(owner != NOBODY)
    ]


def product(recording: Recording, models: Models) -> list[Note]:
    """What the product finds when it is told nothing."""
    return _detected(recording, models, DetectionSettings())


def named(recording: Recording, models: Models) -> list[Note]:
    """What the product finds when it is told who plays."""
    return _detected(recording, models, DetectionSettings(instruments=recording.line_up))


def true_stems(recording: Recording, models: Models) -> list[Note]:
    """What a perfect separator would make possible."""
    sound = recording.mixture
    stems = Stems({key: _mono(samples) for key, samples in recording.stems.items()}, _mono(recording.rest))
    activity = _always(recording.line_up, sound)
    ownership = models.attribution.attribute(log_cqt(sound), models.pitch.pitchgram(sound).note, recording.line_up)
    return _transcribed(stems, sound, activity, ownership, models)


def _detected(recording: Recording, models: Models, settings: DetectionSettings) -> list[Note]:
    sound = recording.mixture
    activity, ownership = who_plays(sound, models.pitch.pitchgram(sound).note, settings, models)
    return _transcribed(models.separator.separate(sound, activity, ownership), sound, activity, ownership, models)


def _transcribed(stems: Stems, sound: Audio, activity: Activity, ownership: Ownership, models: Models) -> list[Note]:
    heard = models.pitch.pitchgram(sound)
    tracks = transcribe(stems, heard, activity, ownership, models.pitch, TranscriptionSettings())
    return [note for track in tracks for note in track.notes]


def _always(players: Sequence[str], sound: Audio) -> Activity:
    """Everybody plays all the time."""
    shape = (len(players), n_frames(sound.samples.shape[1]))
    ones = np.ones(shape, dtype=np.float32)
    return Activity(ones, ones.astype(bool), np.ones(len(players), dtype=np.float32), tuple(players))


WAYS: dict[str, Callable[[Recording, Models], list[Note]]] = {
    "blind": blind,
    "register": register,
    "product": product,
    "line-up": named,
    "true stems": true_stems,
}


@dataclass(frozen=True)
class Answer:
    """What one way of hearing came to on one recording: counts per instrument, by tolerance in seconds."""

    group: str
    name: str
    way: str
    counts: Mapping[float, Mapping[str, Counts]]

    def f1(self, tolerance_s: float) -> float:
        """F1 over the notes of all instruments."""
        return sum(self.counts[tolerance_s].values(), Counts(0, 0, 0)).f1


def judge(recording: Recording, way: str, models: Models) -> Answer:
    """Hear a recording one way and count."""
    reference = recording.counted(recording.notes)
    estimate = recording.counted(WAYS[way](recording, models))
    counts: dict[float, Mapping[str, Counts]] = {}
    for tolerance_s in TOLERANCES_S:
        evaluation = evaluate(reference, estimate, tolerance_s)
        counts[tolerance_s] = {"everybody": evaluation.blind} if way == "blind" else evaluation.instruments
    return Answer(recording.group, recording.name, way, counts)


def ways_for(recording: Recording) -> list[str]:
    """The ways that make sense: without stems there are no true ones; a soloist has nobody to be mistaken for."""
    ways = [way for way in WAYS if recording.stems or way != "true stems"]
    return [way for way in ways if len(recording.line_up) > 1 or way not in ("register", "true stems")]


def report(answers: Sequence[Answer]) -> str:
    """Markdown: mean F1 over the recordings of each group per way, then F1 per instrument over all of them."""
    groups = list(dict.fromkeys(answer.group for answer in answers))
    lines = ["Onset F1 within 50 / 100 ms, micro over instruments, mean over recordings:", ""]
    lines += _table(
        ["", "recordings", *WAYS],
        [
            [group, str(len({answer.name for answer in answers if answer.group == group}))]
            + [_mean_f1([answer for answer in answers if (answer.group, answer.way) == (group, way)]) for way in WAYS]
            for group in groups
        ],
    )
    lines += ["", "Per instrument, all notes of a group together, within 100 ms (notes in the labels):", ""]
    ways = [way for way in WAYS if way != "blind"]
    totals: dict[tuple[str, str, str], Counts] = defaultdict(lambda: Counts(0, 0, 0))
    for answer in answers:
        if answer.way != "blind":
            for key, counts in answer.counts[TOLERANCES_S[-1]].items():
                totals[answer.group, key, answer.way] += counts
    rows = []
    for group, key in sorted(
        {(group, key) for group, key, _ in totals}, key=lambda pair: (groups.index(pair[0]), pair)
    ):
        labelled = max(totals[group, key, way].reference for way in ways if (group, key, way) in totals)
        cells = [f"{totals[group, key, way].f1:.2f}" if (group, key, way) in totals else "" for way in ways]
        if labelled:
            rows.append([group, f"{key} ({labelled})", *cells])
    lines += _table(["", "instrument", *ways], rows)
    return "\n".join(lines)


def _mean_f1(answers: Sequence[Answer]) -> str:
    if not answers:
        return ""
    return " / ".join(f"{np.mean([answer.f1(tolerance_s) for answer in answers]):.2f}" for tolerance_s in TOLERANCES_S)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def write_section(path: Path, text: str) -> None:
    """Replace what stands between the marks of a Markdown file, or append it under its own heading."""
    section = f"{MARK[0]}\n{text}\n{MARK[1]}"
    old = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    if MARK[0] in old and MARK[1] in old:
        before, rest = old.split(MARK[0], 1)
        new = before + section + rest.split(MARK[1], 1)[1]
    else:
        new = f"{old.rstrip()}\n\n## Notes\n\n{section}\n"
    path.write_text(new, encoding="utf-8")


def _mono(samples: FloatArray) -> Audio:
    return Audio(np.asarray(samples, dtype=np.float32)[np.newaxis], SAMPLE_RATE_HZ)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure the notes on real players and on held-out renders.")
    parser.add_argument("--data", type=Path, help="folder with dev/")
    parser.add_argument("--renders", type=Path, help="folder of held-out rendered clips")
    parser.add_argument("--clips", type=int, default=40, help="how many of the rendered clips (default 40)")
    parser.add_argument("--cache", type=Path, help="folder for posteriorgrams, kept between calls")
    parser.add_argument("--only", default="", help="recordings whose group or name holds this word")
    parser.add_argument("--results", type=Path, help="Markdown file whose section on notes is rewritten")
    parser.add_argument("--json", type=Path, help="file for every count")
    arguments = parser.parse_args()
    if not arguments.data and not arguments.renders:
        parser.error("--data or --renders is needed")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    models = load_models(threads=1)
    models = replace(models, pitch=CachedPitchModel(models.pitch, arguments.cache))
    answers = []
    recordings = list(real(arguments.data / "dev")) if arguments.data else []
    if arguments.renders:
        recordings += list(rendered(arguments.renders))[: arguments.clips]
    for recording in recordings:
        if arguments.only.lower() not in f"{recording.group} {recording.name}".lower():
            continue
        for way in ways_for(recording):
            answers.append(judge(recording, way, models))
            log.info("%s %s, %s: %.3f / %.3f", recording.group, recording.name, way, *map(answers[-1].f1, TOLERANCES_S))
    text = report(answers)
    print(text)
    if arguments.results:
        write_section(arguments.results, text)
    if arguments.json:
        arguments.json.write_text(json.dumps([_as_json(answer) for answer in answers], indent=1), encoding="utf-8")


def _as_json(answer: Answer) -> dict[str, object]:
    return {
        "group": answer.group,
        "recording": answer.name,
        "way": answer.way,
        "counts": {
            f"{tolerance_s:g}": {key: [c.reference, c.estimate, c.matched] for key, c in counts.items()}
            for tolerance_s, counts in answer.counts.items()
        },
    }


if __name__ == "__main__":
    main()
