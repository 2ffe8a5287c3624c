"""How often the rhythm room is right: `python -m models.evaluate_rhythm --scores DIR --performances DIR [--limit N]`.

Three tables. Renders of scores (`models.rhythm_renders`, file `notes_dev.jsonl.gz` unless --split says train) with the
tempo map given; the same renders, now with a tempo that breathes and nothing given; performances by people with
annotated beats. Beside each untold figure stand two others: "baseline", librosa's beat tracker on the notes' onset
strength, 4/4 from its first beat, every onset on the nearest sixteenth; "music21", its `quantize` at an even 120; and,
where it is installed, MuseScore's MIDI import.

- position: share of notes written where the score has them. With a given map literally; else counted from the bar
  lines of the score, up to a shift by whole bars that may differ from one stretch of 50 notes to the next, so that one
  slip is counted once. A bar is the shorter one of the true and the found meter if they divide each other, else the
  true one. Not known (and left out of the mean) where less than half of the notes could be found in the score.
- value: share of notes with the written length of the score. beat F1: mir_eval, 70 ms, nothing trimmed.
- ties + rests: how many the page has against those that the written notes need, engraved by the same code.
- MV2H meter, MV2H value: McLeod and Steedman's (2018) two figures of rhythm: F1 of bars, beats and their parts as
  pairs of a start and an end in seconds (50 ms), and one less the relative error of the written lengths.
- doubt: misplaced notes (not at their position) in the bars that the page marks for a second look and in the others,
  of all pieces together, and the share of marked bars on an average page.
- meter: the meter of most bars. phase: at least three quarters of the found downbeats are true ones, or of the true
  ones found (a meter half as long has every true downbeat right).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import subprocess
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import mir_eval
import numpy as np
from numpy.typing import NDArray

from models.rhythm_renders import Render, read_scores, render
from models.rhythm_scores import DIV, read_parts
from score_pipeline.notation.render import musescore
from score_pipeline.notation.score import build_score
from score_pipeline.rhythm.beats import track_beats
from score_pipeline.rhythm.quantise import quantise
from score_pipeline.rhythm.tempo_map import grid_from_tempo_map, parse_tempo_map
from score_pipeline.settings import NotationSettings, RhythmSettings
from score_pipeline.types import BeatGrid, Meter, Note, QuantisedNote, QuantisedTrack, Score, Track

Floats = NDArray[np.float64]
_T = TypeVar("_T")
KNOWN = 0.5
"""Share of the notes of a performance that must be found in the score for their positions to be known."""
Written = Mapping[tuple[int, int], tuple[Fraction, Fraction | None]]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a played piece; `written` maps (track, note) to position and value where they are known.

    Positions count from bar lines (`from_bar_lines`).
    """

    name: str
    tracks: list[Track]
    written: Written
    beat_s: Floats
    downbeat_s: Floats
    meter: Meter


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scores", type=Path, help="folder with notes_dev.jsonl.gz")
    parser.add_argument("--performances", type=Path, help="folder with *.notes.csv.gz and *.beats.csv.gz")
    parser.add_argument("--split", choices=("dev", "train"), default="dev")
    parser.add_argument("--limit", type=int, help="this many pieces of each table, evenly spread")
    parser.add_argument("--each", action="store_true", help="also a line per piece")
    arguments = parser.parse_args()
    settings = RhythmSettings()
    if arguments.scores:
        records = thinned(list(read_scores(arguments.scores / f"notes_{arguments.split}.jsonl.gz")), arguments.limit)
        steady = [played for record in records if (played := render(record, breath=0.0)) is not None]
        rows = [given_map(played, settings) for played in steady]
        table("renders, tempo map given", rows, arguments.each)
        marks = [sum(int(str(row[key])) for row in rows) for key in ("marks", "marks meant")]
        print(f"  ties and rests on all pages: {marks[0]}, meant {marks[1]}: {marks[0] / max(marks[1], 1):.3f}\n")
        free = [played for record in records if (played := render(record)) is not None]
        rows = [untold(truth_of(played), settings) for played in free]
        table("renders, nothing given", rows, arguments.each)
        doubt(rows)
    if arguments.performances:
        found = arguments.performances.glob("*.notes.csv.gz")
        names = sorted(path.name.removesuffix(".notes.csv.gz") for path in found)
        pieces = [read_performance(arguments.performances, name) for name in thinned(names, arguments.limit)]
        rows = [untold(piece, settings) for piece in pieces]
        table("performances", rows, arguments.each)
        doubt(rows)


def thinned(items: list[_T], limit: int | None) -> list[_T]:
    """At most `limit` items, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[k * len(items) // limit] for k in range(limit)]


def table(title: str, rows: Sequence[Mapping[str, object]], each: bool) -> None:
    """Print the mean of every figure, and the rows if asked."""
    if not rows:
        return
    figures = [key for key, value in rows[0].items() if isinstance(value, float)]
    if each:
        for row in rows:
            print(*(f"{row[key]:.3f}" if isinstance(row[key], float) else row[key] for key in row), sep="  ")
    print(f"\n{title}: {len(rows)} pieces")
    for key in figures:
        values = [row[key] for row in rows]
        print(f"  {key:28s} {np.nanmean(np.array(values, dtype=float)):.3f}")
    print(flush=True)


def doubt(rows: Sequence[Mapping[str, object]]) -> None:
    """Print how often notes are misplaced in marked bars and in the others, pooled over the rows."""
    for where in ("marked", "other"):
        notes, wrong = (sum(int(str(row[f"{what} {where}"])) for row in rows) for what in ("notes", "misplaced"))
        print(f"  misplaced in {where} bars: {wrong} of {notes}: {wrong / max(notes, 1):.3f}")
    print(flush=True)


def given_map(played: Render, settings: RhythmSettings) -> dict[str, object]:
    """Positions and values with the true tempo map."""
    first, meter = played.bars[0]
    origin = first if first >= 0 else -meter.bar_q
    events = [(Fraction(0), meter)]
    for quarter, new in played.bars[1:]:
        if new != events[-1][1]:
            events.append((quarter - origin, new))
    host = parse_tempo_map(
        {
            "tempo": [{"quarter": 0, "bpm": played.quarter_bpm}],
            "meter": [{"quarter": float(q), "beats": m.beats, "unit": m.unit} for q, m in events],
            "offset_s": -played.seconds(float(origin)),
        }
    )
    grid = grid_from_tempo_map(host, played.duration_s)
    started = time.perf_counter()
    found = noted(played.tracks, grid, settings)
    seconds = time.perf_counter() - started
    zero = Fraction(round(float(grid.to_quarters(played.seconds(0.0))) * 96), 96)
    total = len(played.written)
    right = sum(found[key].onset_q - zero == quarter for key, (quarter, _) in played.written.items() if key in found)
    value = sum(found[key].duration_q == length for key, (_, length) in played.written.items() if key in found)
    page = build_score(quantise(played.tracks, grid, settings), grid, NotationSettings(), played.name)
    meant = build_score(written_tracks(played, zero), grid, NotationSettings(), played.name)
    return {"name": played.name[:40], "meter": str(meter), "position": right / total, "value": value / total,
            "marks": debris(page), "marks meant": debris(meant),
            "ties + rests within .15": float(abs(debris(page) / max(debris(meant), 1) - 1) <= 0.15),
            "speed (s per s)": seconds / played.duration_s}  # fmt: skip


def written_tracks(played: Render, zero: Fraction) -> list[QuantisedTrack]:
    """The notes as the score has them, its first downbeat at `zero`."""
    return [
        QuantisedTrack(
            track.instrument,
            track.player,
            tuple(
                QuantisedNote(played.written[number, index][0] + zero, played.written[number, index][1], note)
                for index, note in enumerate(track.notes)
                if (number, index) in played.written
            ),
        )
        for number, track in enumerate(played.tracks)
    ]


def debris(score: Score) -> int:
    """Ties and visible rests on a page."""
    events = [event for part in score.parts for measure in part.measures for event in measure.events]
    ties = sum(any(tie in ("start", "both") for tie in event.ties) for event in events)
    return ties + sum(event.is_rest and not event.hidden for event in events)


def noted(tracks: Sequence[Track], grid: BeatGrid, settings: RhythmSettings) -> dict[tuple[int, int], QuantisedNote]:
    """Quantised notes by (track, index of the played note)."""
    found: dict[tuple[int, int], QuantisedNote] = {}
    for number, track in enumerate(quantise(tracks, grid, settings)):
        index = {id(note): k for k, note in enumerate(tracks[number].notes)}
        found.update({(number, index[id(item.note)]): item for item in track.notes})
    return found


def from_bar_lines(written: Written, downbeats_q: Sequence[Fraction], bar_q: Fraction) -> Written:
    """Positions moved by less than a bar, so that the last downbeat before each is a multiple of a bar.

    Scores count from a pickup, or have bars that are cut short at a repeat.
    """
    starts = sorted(downbeats_q)
    if not starts:
        return written
    moved = {}
    for key, (onset, value) in written.items():
        before = starts[max(bisect_right(starts, onset) - 1, 0)]
        moved[key] = (onset - before % bar_q, value)
    return moved


def truth_of(played: Render) -> Truth:
    """Beats of a render as its score counts them."""
    beats, downbeats = [], []
    onsets = [quarter for quarter, _ in played.written.values()]
    first, last = min(onsets), max(onsets)
    ends = [*(quarter for quarter, _ in played.bars[1:]), played.bars[-1][0] + played.bars[-1][1].bar_q]
    for (start, meter), end in zip(played.bars, ends, strict=True):
        if start >= 0 and first <= start <= last:
            downbeats.append(played.seconds(float(start)))
        at = end - meter.bar_q if start < 0 else start
        while at < end:
            if first <= at <= last and at >= start:
                beats.append(played.seconds(float(at)))
            at += meter.beat_q
    written = from_bar_lines(played.written, [start for start, _ in played.bars if start >= 0], played.meter.bar_q)
    return Truth(played.name, played.tracks, written, np.array(beats), np.array(downbeats), played.meter)


def read_performance(folder: Path, name: str) -> Truth:
    """A performance with its annotated beats; ASAP's notes find their score note by pitch near the annotated beat."""
    beats = list(rows_of(folder / f"{name}.beats.csv.gz"))
    times = np.array([float(row["time_s"]) for row in beats])
    down = np.array([row["is_downbeat"] == "1" for row in beats])
    meters = [row["time_signature"] or None for row in beats]
    known = [index for index, text in enumerate(meters) if text]
    spans = {index: (known[k + 1] if k + 1 < len(known) else len(beats)) - index for k, index in enumerate(known)}
    beats_of, unit_of = (meters[max(spans, key=lambda index: spans[index])] or "4/4").split("/")
    played = []
    for row in rows_of(folder / f"{name}.notes.csv.gz"):
        on, off = float(row["onset_s"]), float(row["offset_s"])
        key = "violin" if name.startswith("bachviolin") else "piano"
        note = Note(max(on, 0.0), max(off, on + 0.02), int(row["pitch"]), max(int(row["velocity"]), 1), key)
        played.append((note, row.get("score_onset_quarter") or None, row.get("score_duration_quarter") or None))
    played.sort(key=lambda item: (item[0].onset_s, item[0].pitch))
    track = Track(played[0][0].instrument, 1, tuple(item[0] for item in played))
    written: dict[tuple[int, int], tuple[Fraction, Fraction | None]] = {}
    unfolded = folder / f"{name}.score_unfolded.csv.gz"
    if unfolded.exists():
        quarter = np.array([float(row["score_quarter"]) for row in beats])
        by_pitch: dict[int, list[float]] = {}
        for row in rows_of(unfolded):
            by_pitch.setdefault(int(row["pitch"]), []).append(float(row["onset_quarter"]))
        keep = np.append(True, (np.diff(quarter) > 0) & (np.diff(times) > 0))
        for index, (note, _, _) in enumerate(played):
            at = float(np.interp(note.onset_s, times[keep], quarter[keep]))
            near = min(by_pitch.get(note.pitch, [1e9]), key=lambda q: abs(q - at))
            if abs(near - at) < 0.4:
                written[0, index] = (Fraction(near).limit_denominator(48), None)
    else:
        for index, (_, onset, value) in enumerate(played):
            if onset is not None:
                length = Fraction(value).limit_denominator(48) if value else None
                written[0, index] = (Fraction(onset).limit_denominator(48), length)
    meter = Meter(int(beats_of), int(unit_of))
    starts = [Fraction(row["score_quarter"]).limit_denominator(48) for row in beats if row["is_downbeat"] == "1"]
    return Truth(name, [track], from_bar_lines(written, starts, meter.bar_q), times, times[down], meter)


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a gzipped CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def untold(truth: Truth, settings: RhythmSettings) -> dict[str, object]:
    """All figures of one piece with nothing given, and the baseline's."""
    end_s = max(note.offset_s for track in truth.tracks for note in track.notes)
    started = time.perf_counter()
    grid = track_beats(truth.tracks, None, settings, end_s)
    found = noted(truth.tracks, grid, settings)
    seconds = time.perf_counter() - started
    row: dict[str, object] = {"name": truth.name[:40], "true": str(truth.meter), "found": str(main_meter(grid))}
    row |= compared(truth, grid, {key: item.onset_q for key, item in found.items()}, "")
    lengths = [(found[key].duration_q, value) for key, (_, value) in truth.written.items() if value and key in found]
    row["value"] = float(np.mean([a == b for a, b in lengths])) if lengths else float("nan")
    errors = [min(abs(float(a / b) - 1), 1.0) for a, b in lengths]
    row["MV2H value"] = 1 - float(np.mean(errors)) if errors else float("nan")
    row["confidence"] = grid.confidence
    row |= marked(truth, grid, found, settings)
    row["speed (s per s)"] = seconds / end_s
    base = baseline(truth.tracks, end_s)
    nearest = {
        (number, index): Fraction(round(float(base.to_quarters(note.onset_s)) * 4), 4)
        for number, track in enumerate(truth.tracks)
        for index, note in enumerate(track.notes)
    }
    row |= compared(truth, base, nearest, "baseline ")
    steady = even_beats(end_s)
    row |= compared(truth, steady, quantised_by_music21(truth.tracks), "music21 ")
    if (program := musescore()) is not None:
        meter, onsets = imported_by_musescore(program, truth.tracks)
        row["MuseScore meter"] = float(meter == truth.meter)
        row["MuseScore position"] = positions_right(truth, meter, onsets)
    return row


def marked(
    truth: Truth, grid: BeatGrid, found: Mapping[tuple[int, int], QuantisedNote], settings: RhythmSettings
) -> dict[str, object]:
    """Notes, and misplaced ones, in the bars that the page marks and in the others."""
    page = build_score(quantise(truth.tracks, grid, settings), grid, NotationSettings(), truth.name)
    measures = page.parts[0].measures
    starts = np.cumsum([0.0, *(float(measure.length_q) for measure in measures)]) + float(page.tempos[0].onset_q)
    doubtful = np.array([measure.number in page.doubtful_bars for measure in measures])
    right = rightly_placed(truth, main_meter(grid), {key: item.onset_q for key, item in found.items()})
    counts = dict.fromkeys(("notes marked", "misplaced marked", "notes other", "misplaced other"), 0)
    for key in truth.written.keys() & found.keys():
        bar = int(np.searchsorted(starts, float(found[key].onset_q) + 1e-6)) - 1
        where = "marked" if doubtful[min(max(bar, 0), len(doubtful) - 1)] else "other"
        counts[f"notes {where}"] += 1
        counts[f"misplaced {where}"] += key not in right
    return {**counts, "bars marked": float(np.mean(doubtful))}


def even_beats(end_s: float) -> BeatGrid:
    """What a program without a beat tracker makes of a recording: 120 to the minute, 4/4, from its start."""
    index = np.arange(max(int(end_s * 2) + 1, 2))
    return BeatGrid(index / 2, index % 4 + 1, index // 4 + 1, (Meter(4, 4),) * len(index))


def imported_by_musescore(program: Path, tracks: Sequence[Track]) -> tuple[Meter, dict[tuple[int, int], Fraction]]:
    """Meter and onsets by (track, note) after MuseScore's MIDI import; a pitch's notes are matched in order."""
    import pretty_midi

    midi = pretty_midi.PrettyMIDI(initial_tempo=120)
    for number, track in enumerate(tracks):
        line = pretty_midi.Instrument(program=0, name=str(number))
        line.notes = [pretty_midi.Note(n.velocity, n.pitch, n.onset_s, n.offset_s) for n in track.notes]
        midi.instruments.append(line)
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "in.mid", Path(folder) / "out.mxl"
        midi.write(str(source))
        environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
        command = [str(program), str(source), "-o", str(result)]
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300)
        parts, meters = read_parts(result)
    found: dict[tuple[int, int], Fraction] = {}
    for number, (track, written) in enumerate(zip(tracks, parts, strict=False)):
        of_pitch: dict[int, list[Fraction]] = {}
        for onset, _, pitch, *_ in sorted(written):
            of_pitch.setdefault(pitch, []).append(Fraction(onset, DIV))
        for index, played in enumerate(track.notes):
            if of_pitch.get(played.pitch):
                found[number, index] = of_pitch[played.pitch].pop(0)
    return Meter(*meters[0][1:]) if meters else Meter(4, 4), found


def quantised_by_music21(tracks: Sequence[Track]) -> dict[tuple[int, int], Fraction]:
    """Onsets by (track, note) after `Stream.quantize` with its own divisors, at 120 quarters to the minute."""
    from music21 import note as m21note
    from music21 import stream

    found: dict[tuple[int, int], Fraction] = {}
    for number, track in enumerate(tracks):
        line = stream.Stream()
        heads = {}
        for index, played in enumerate(track.notes):
            head = m21note.Note(played.pitch)
            head.quarterLength = 0.5
            heads[head.id] = index
            line.coreInsert(2 * played.onset_s, head)
        line.coreElementsChanged()
        line.quantize(inPlace=True, processDurations=False, recurse=False)
        found.update({(number, heads[head.id]): Fraction(head.offset) for head in line.notes})
    return found


def compared(truth: Truth, grid: BeatGrid, onsets: Mapping[tuple[int, int], Fraction], prefix: str) -> dict[str, float]:
    """Figures of a grid and of the positions found on it."""
    downbeats = grid.beat_time_s[grid.beat_number == 1]
    hits = len(mir_eval.util.match_events(truth.downbeat_s, downbeats, 0.07))
    precision, recall = hits / max(len(downbeats), 1), hits / max(len(truth.downbeat_s), 1)
    return {
        f"{prefix}meter": float(main_meter(grid) == truth.meter),
        f"{prefix}phase": float(max(precision, recall) >= 0.75),
        f"{prefix}beat F1": mir_eval.beat.f_measure(truth.beat_s, grid.beat_time_s),
        f"{prefix}downbeat F1": mir_eval.beat.f_measure(truth.downbeat_s, downbeats),
        f"{prefix}MV2H meter": metrical_f1(truth, grid),
        f"{prefix}position": positions_right(truth, main_meter(grid), onsets),
    }


def metrical_f1(truth: Truth, grid: BeatGrid) -> float:
    """F1 of the stretches of bars, beats and their halves or thirds that start and end where they should."""
    down = np.array(truth.downbeat_s)
    found = grid.beat_time_s[grid.beat_number == 1]
    wanted = [*pairs(down), *pairs(truth.beat_s), *pairs(parted(truth.beat_s, truth.meter))]
    given = [*pairs(found), *pairs(grid.beat_time_s), *pairs(parted(grid.beat_time_s, main_meter(grid)))]
    left = sorted(given)
    starts = np.array([start for start, _ in left])
    free = np.ones(len(left), dtype=bool)
    hits = 0
    for start, end in wanted:
        for k in range(*np.searchsorted(starts, [start - 0.05, start + 0.05]).tolist()):
            if free[k] and abs(left[k][1] - end) <= 0.05:
                free[k] = False
                hits += 1
                break
    return 2 * hits / max(len(wanted) + len(given), 1)


def pairs(times: Floats) -> list[tuple[float, float]]:
    """Each time with the next."""
    return list(pairwise(times.tolist()))


def parted(beats: Floats, meter: Meter) -> Floats:
    """Beats with the halves or thirds between them."""
    parts = 3 if meter.is_compound else 2
    if len(beats) < 2:
        return beats
    index = np.arange(parts * (len(beats) - 1) + 1) / parts
    return np.asarray(np.interp(index, np.arange(len(beats)), beats))


def positions_right(truth: Truth, found: Meter, onsets: Mapping[tuple[int, int], Fraction]) -> float:
    """Share of notes on their true position, see the head of this file; NaN where it is not known."""
    if len(truth.written) < KNOWN * sum(len(track.notes) for track in truth.tracks):
        return float("nan")
    return len(rightly_placed(truth, found, onsets)) / len(truth.written)


def rightly_placed(truth: Truth, found: Meter, onsets: Mapping[tuple[int, int], Fraction]) -> set[tuple[int, int]]:
    """The notes on their true position."""
    bars = sorted((truth.meter.bar_q, found.bar_q))
    bar = bars[0] if (bars[1] / bars[0]).denominator == 1 else truth.meter.bar_q
    keys = sorted(truth.written, key=lambda key: truth.tracks[key[0]].notes[key[1]].onset_s)
    right: set[tuple[int, int]] = set()
    for start in range(0, len(keys), 50):
        shifted: dict[Fraction, set[tuple[int, int]]] = {}
        for key in keys[start : start + 50]:
            if key in onsets:
                shift = onsets[key] - truth.written[key][0]
                if (shift / bar).denominator == 1:
                    shifted.setdefault(shift, set()).add(key)
        right |= max(shifted.values(), key=len, default=set())
    return right


def main_meter(grid: BeatGrid) -> Meter:
    """The meter of most beats."""
    return max(set(grid.meter), key=grid.meter.count)


def baseline(tracks: Sequence[Track], end_s: float) -> BeatGrid:
    """librosa's beat tracker on an onset strength of the notes' velocities; 4/4 from its first beat."""
    from librosa.beat import beat_track

    strength = np.zeros(int(end_s * 22050 / 512) + 2)
    for track in tracks:
        for note in track.notes:
            strength[round(note.onset_s * 22050 / 512)] += note.velocity
    _, beats = beat_track(onset_envelope=strength, sr=22050, hop_length=512, units="time", trim=False)
    times = np.asarray(beats, dtype=np.float64)
    if len(times) < 2:
        times = np.array([0.0, 0.5])
    index = np.arange(len(times))
    return BeatGrid(times, index % 4 + 1, index // 4 + 1, (Meter(4, 4),) * len(times))


if __name__ == "__main__":
    main()
