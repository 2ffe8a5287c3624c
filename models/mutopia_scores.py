"""Note lists from the Mutopia Project: `python -m models.mutopia_scores --source DIR --apart FILE... --out FILE`.

DIR is a checkout of github.com/MutopiaProject/MutopiaProject; LilyPond 2.24 must be installed. Its files are brought
up to date by convert-ly and heard, not typeset: performers of `mutopia_log.ily` say which notes and bars LilyPond
counts, first endings left out. Written are records as those of `models.rhythm_scores`, with licence and work (`group`).

Kept are scores in the public domain, under CC0 or CC BY; no parts of larger works. A score is cut where its bars do not
add up, and dropped where that happens often, where LilyPond finds errors, where no table knows its meter, or where it
shares music with what is kept `--apart` (or its work does), with `--known` files, or with a score before it. All takes
hours; what fits into `--minutes` begins with the shortest keyboard pieces.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from models.rhythm_renders import read_scores
from models.rhythm_scores import DIV, pieces, runs
from models.rhythm_takes import sheet_of
from score_pipeline.instruments import INSTRUMENTS

LONGEST_S = 25
"""Seconds of processor after which LilyPond is stopped; hardly any file that is of use takes longer."""
SHARED, TWICE = 0.02, 0.3
"""Shares of a score's runs that may be found in what is kept apart, and in what is there already."""
BARS, NOTES = 8, 40
"""A stretch of a score has at least so many."""
KEYED = {"piano", "organ", "harpsichord"}
_SEVERAL = re.compile(r"duet|4 hands|four hands|2 pianos|two pianos|quartet|trio|duo|ensemble|orchestra|[^s]s\b|\d")
_VERSION = re.compile(r'\\version\s*#?"([\d.]+)"')
_INCLUDE = re.compile(r'^([^%\n]*?)\\include\s*#?"([^"]+)"', re.M)
_FREE = re.compile(r"public\s+domain|\bcc-?0\b|creative\s+commons\s+(attribution|zero)|\bcc[- ]by\b", re.I)
_BOUND = re.compile(r"share\s*-?\s*alike|by-sa|\bsa\b|non\s*-?\s*commercial|\bnc\b|\bnd\b|no\s*deriv", re.I)
_PART = re.compile(
    r"(?i)-lys/(.*/)?(parts?/|([^/]*[-_])?(part|v[nc]|vl[an]?|viol|cello|contra|continuo|bass|flut|flaut|horn|cor[no\d]"
    r"|clarinet|oboe|bassoon|fag|piano|cembalo|organ|guitar|tromb|trump|mand|sax|timp|voice|sopran|alto|tenor)[^/]*\.ly$)"
)


class Heard(NamedTuple):
    """A note as logged: moment and length in whole notes, MIDI pitch, whether it is tied on."""

    at: Fraction
    grace: bool
    length: Fraction
    pitch: int
    staff: str
    tied: bool


class Bar(NamedTuple):
    """Where a bar would start if it were whole, where it does, its meter, where it ends; in whole notes."""

    virtual: Fraction
    start: Fraction
    meter: tuple[int, int]
    end: Fraction = Fraction(0)


class Log(NamedTuple):
    """What was heard of one score: brace and label of each staff, notes, bars as known at every moment, tempos."""

    staves: dict[str, tuple[str, str]]
    notes: list[Heard]
    bars: list[Bar]
    tempos: list[tuple[Fraction, float]]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="a checkout of MutopiaProject")
    parser.add_argument("--apart", type=Path, nargs="+", required=True, help="*.jsonl.gz of scores kept for checking")
    parser.add_argument("--known", type=Path, nargs="*", default=[], help="*.jsonl.gz of scores learnt from anyway")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after that long")
    arguments = parser.parse_args()
    root: Path = arguments.source / "ftp"
    if not root.is_dir():
        parser.error(f"{arguments.source} is no checkout of MutopiaProject: it has no folder ftp")
    if not (shutil.which("lilypond") and shutil.which("convert-ly")):
        parser.error("lilypond and convert-ly are not there: install LilyPond 2.24")
    apart = [record for path in arguments.apart for record in read_scores(path)]
    works = {record.get("group") for record in apart}
    kept_apart = {run for record in apart for run in runs(record)}
    there = {run for path in arguments.known for record in read_scores(path) for run in runs(record)}
    end_s, written = time.monotonic() + 60 * arguments.minutes, 0
    with gzip.open(arguments.out, "wt", encoding="utf-8") as out:
        for path, kind in candidates(root):
            if time.monotonic() > end_s:
                break
            name = path.relative_to(root)
            work = "mut:" + "/".join(name.parts[:2])  # composer and opus
            if work not in works and (text := converted(path, root)) and (licence := licence_of(text)):
                for record in records_of(name.as_posix(), text, kind, *listen(text)):
                    mine = runs(record)
                    if mine and len(mine & kept_apart) <= SHARED * len(mine) and len(mine & there) <= TWICE * len(mine):
                        there |= mine
                        written += 1
                        for piece in pieces(record | {"licence": licence, "group": work}):
                            out.write(json.dumps(piece, ensure_ascii=False) + "\n")
    print(f"{written} scores written")


def candidates(root: Path) -> list[tuple[Path, str]]:
    """Files that hold scores of their own and their kind: solo keyboard first, other solos next, short ones first."""
    found = []
    for folder in sorted({path.parent for path in root.rglob("*.ly")}):
        everything = "\n".join(path.read_text("utf-8", "replace") for path in sorted(folder.rglob("*.*ly*")))
        included = {Path(name).name for _, name in _INCLUDE.findall(everything)}
        for path in sorted(folder.glob("*.ly")):
            text = path.read_text("utf-8", "replace")
            if path.name not in included and not _PART.search(path.as_posix()):
                kind = kind_of(text if "mutopiainstrument" in text else everything)
                found.append((not kind, kind not in KEYED, len(text), path, kind))
    return [(path, kind) for *_, path, kind in sorted(found)]


def kind_of(text: str) -> str:
    """Key of the only instrument in a file's header, or of the first of some keyboards; nothing for several players."""
    said = re.search(r'(?:mutopia|\b)instrument\s*=\s*"([^"]*)', text)
    keys = instruments(said[1]) if said and not _SEVERAL.search(said[1].lower()) else []
    return keys[0] if keys and (set(keys) <= KEYED or len(keys) == 1) else ""


def instruments(label: str) -> list[str]:
    """Keys of the instruments that a label names, in its order."""
    places = {label.lower().find(key.replace("_", " ")): key for key in sorted({*INSTRUMENTS, *KEYED})}
    return [places[place] for place in sorted(places) if place >= 0]


def licence_of(text: str) -> str | None:
    """The licence a file states, by its short name; None for one that asks for more than a name, or for none."""
    told = re.findall(r'^\s*\w*(?:licen[sc]e|copyright)\s*=\s*"([^"]*)"', text, re.M)
    if not any(map(_FREE.search, told)):  # perhaps it stands in the footer's markup
        told += re.findall(r"(?:licensed under|public domain)[^}]{0,80}", re.sub("%.*", "", text), re.I)
    word = next(filter(_FREE.search, told), None)
    if word is None or any(map(_BOUND.search, told)):
        return None
    if re.search(r"public\s+domain", word, re.I):
        return "Public Domain"
    version = re.search(r"(?:attribution|by)\D*(\d\.\d)", word, re.I)
    return "CC0" if re.search("zero|cc-?0", word, re.I) else f"CC BY {version[1] if version else ''}".strip()


def converted(path: Path, root: Path, version: str = "") -> str:
    """A file's text as LilyPond of today reads it, what it includes in place; nothing if convert-ly gives up."""
    version = next(iter(_VERSION.findall(path.read_text("latin-1"))), version)
    done = _run("", "convert-ly", "--loglevel=NONE", "--no-version", f"--from={version}", str(path))
    if not version or done.returncode:
        return ""

    def included(match: re.Match[str]) -> str:
        places = [folder / match[2] for folder in path.parents if folder.is_relative_to(root)]
        other = next((place for place in places if place.is_file() and place != path), None)  # None: LilyPond's own
        return f"{match[1]}\n{converted(other, root, version)}\n" if other else match[0]

    return _INCLUDE.sub(included, _VERSION.sub("", done.stdout).lstrip("\ufeff"))


def listen(text: str) -> tuple[str, str]:
    """What the performers say of a text, and what LilyPond complains of; nothing if that takes too long."""
    settings = f"-dinclude-settings={Path(__file__).with_name('mutopia_log.ily').absolute()}"
    done = _run(f'\\version "2.24.0"\n{text}\n#(log:finish)\n', "lilypond", "--loglevel=WARN", settings, "-")
    return ("", "") if done.returncode < 0 else (done.stdout, done.stderr)


def _run(text: str, *command: str) -> subprocess.CompletedProcess[str]:
    """What a program of LilyPond's says of a text, in English; stopped by a signal after `LONGEST_S`."""
    words: dict[str, Any] = {"env": os.environ | {"LC_ALL": "C.UTF-8"}, "encoding": "utf-8", "errors": "replace"}
    words["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_S, LONGEST_S))
    return subprocess.run(command, input=text, capture_output=True, check=False, **words)


def records_of(name: str, text: str, kind: str, said: str, complaints: str) -> Iterator[dict[str, Any]]:
    """Records of what was heard of a file, one for every stretch of good bars; none of a score that is not sound."""
    logs = read_logs(said)
    n_bars = sum(len({bar.virtual for bar in log.bars}) for log in logs)
    if "error:" in complaints or len(re.findall("bar ?check", complaints)) > max(2, n_bars // 50):
        return
    title = re.search(r'^\s*(?:mutopia)?title\s*=\s*"([^"]+)', text, re.M)
    named = {"title": title[1] if title else "", "source": f"MutopiaProject {name}"}
    for number, log in enumerate(logs, start=1):
        bars = bars_of(log)
        found = [record for span in spans_of(bars) if (record := record_of(log, span, kind, midi_bpm(text)))]
        covered = sum(len(record["measures"]) for record in found)
        if covered >= 0.8 * len(bars) and len(found) <= 1 + len(bars) // 16:
            for index, record in enumerate(found):
                sheet = sheet_of(record)
                if sheet is not None and (sheet.tick[~sheet.grace] < 0).mean() <= 0.05:  # a meter that the tables know
                    yield {"id": f"mutopia/{name.removesuffix('.ly')}:{number}.{index}", **named, **record}


def read_logs(said: str) -> list[Log]:
    """The scores in what the performers said, as far as they were heard to the end."""
    logs, log = [], Log({}, [], [], [])
    for line in said.splitlines():
        match line.split("\t"):
            case ["SCORE"]:
                log = Log({}, [], [], [])
            case ["STAFF", staff, brace, label]:
                log.staves[staff] = (brace, label)
            case ["N", at, grace, length, pitch, staff, tied]:
                log.notes.append(Heard(Fraction(at), grace == "1", Fraction(length), int(pitch), staff, tied == "1"))
            case ["B", at, place, beats, unit]:
                meter = (int(beats), int(unit))
                virtual = Fraction(at) - Fraction(place) - (Fraction(*meter) if place.startswith("-") else 0)
                log.bars.append(Bar(virtual, Fraction(at), meter))
            case ["T", at, bpm]:
                log.tempos.append((Fraction(at), float(bpm)))
            case ["END"]:
                logs.append(log)
    return logs


def bars_of(log: Log) -> list[Bar]:
    """Bars of the score; two short ones that make up a whole one, as a repeat sign cuts it, are one."""
    bars: list[Bar] = []
    for _, bar in sorted({bar.start: bar for bar in log.bars}.items()):  # what is said last of a moment holds
        if not bars or (bars[-1].virtual, bars[-1].meter) != (bar.virtual, bar.meter):
            bars.append(bar)
    ends = [*(bar.start for bar in bars[1:]), max((note.at + note.length for note in log.notes), default=Fraction())]
    merged: list[Bar] = []
    for bar in (bar._replace(end=end) for bar, end in zip(bars, ends, strict=False) if end > bar.start):
        on_time = all(one.virtual == one.start and one.meter == bar.meter for one in [*merged[-1:], bar])
        if merged and on_time and bar.end - merged[-1].start == Fraction(*bar.meter):
            merged[-1] = merged[-1]._replace(end=bar.end)
        else:
            merged.append(bar)
    return merged


def spans_of(bars: Sequence[Bar]) -> list[list[Bar]]:
    """Long runs of bars that follow each other as their meters say, a pickup before and a short bar behind allowed."""
    found: list[list[Bar]] = [[]]
    for bar in bars:
        on_time, missing = bar.virtual == bar.start, Fraction(*bar.meter) - (bar.end - bar.start)
        pickup = bar.virtual < bar.start and bar.end - bar.virtual == Fraction(*bar.meter)
        if pickup or (missing > 0 and bar is bars[0]):
            found.append([bar])
        else:
            found[-1] += [bar] if on_time and missing >= 0 else []
            found += [] if on_time and missing == 0 else [[]]
    return [span for span in found if len(span) >= BARS]


def tied_notes(log: Log) -> list[Heard]:
    """The notes with those that ties join made one, also between staves under one brace."""
    found: list[Heard] = []
    open_ties: dict[tuple[int, str], int] = {}
    for note in sorted(log.notes, key=lambda note: (note.at, not note.grace)):
        key = (note.pitch, log.staves[note.staff][0])
        index = None if note.grace else open_ties.pop(key, None)
        if index is not None and found[index].at + found[index].length == note.at:
            found[index] = found[index]._replace(length=found[index].length + note.length)
        else:
            index = len(found)
            found.append(note)
        if note.tied and not note.grace:
            open_ties[key] = index
    return found


def record_of(log: Log, span: Sequence[Bar], kind: str, otherwise_bpm: float) -> dict[str, Any] | None:
    """What a record says of a stretch; None for hardly any notes. A grace note's value is its seventh number."""
    low, high = _tick(span[0].start), _tick(span[-1].end)
    notes = [note for note in tied_notes(log) if low <= _tick(note.at) < high]
    if len(notes) < NOTES:
        return None
    solo = kind if len(log.staves) <= 4 else ""
    parts: dict[str, dict[str, Any]] = {}
    staves: dict[str, dict[str, int]] = {}
    for note in sorted(notes, key=lambda note: (_tick(note.at), not note.grace, note.pitch)):
        brace, label = log.staves[note.staff]
        part = "all" if solo in {*KEYED, "guitar"} else note.staff if solo else brace
        key = solo or [*instruments(label), "piano"][0]
        parts.setdefault(part, {"name": label.lower(), "instrument": key, "notes": []})
        mine = staves.setdefault(part, {})
        staff = mine.setdefault(note.staff, len(mine) + 1)
        ticks = max(_tick(note.length) if note.grace else _tick(note.at + note.length) - _tick(note.at), 1)
        row = [_tick(note.at) - low, 0 if note.grace else ticks, note.pitch, 0, staff, 1]
        parts[part]["notes"].append([*row, ticks] if note.grace else row)
    meters = [[_tick(bar.start) - low, *bar.meter] for bar in span]
    tempos = [(_tick(at) - low, bpm) for at, bpm in log.tempos if _tick(at) < high]
    tempos = tempos[max(sum(at <= 0 for at, _ in tempos) - 1, 0) :] or [(0, otherwise_bpm)] * bool(otherwise_bpm)
    return {
        "div": DIV,
        "time_signatures": meters[:1] + [b for a, b in pairwise(meters) if a[1:] != b[1:]],
        "tempos": [[max(at, 0), bpm, ""] for at, bpm in tempos],
        "measures": [[_tick(bar.start) - low, number] for number, bar in enumerate(span, start=1)],
        "parts": list(parts.values()),
    }


def midi_bpm(text: str) -> float:
    """Quarters per minute that the file's \\midi blocks name, 0 unless they agree."""
    marks = re.findall(r"(?s)\\midi\s*\{.{0,300}?\\tempo\s+(\d+)(\.?)\s*=\s*#?(\d+)", text)
    found = {int(count) * 4 / int(unit) * (1.5 if dot else 1) for unit, dot, count in marks}
    return found.pop() if len(found) == 1 else 0.0


def _tick(wholes: Fraction) -> int:
    return round(wholes * 4 * DIV)


if __name__ == "__main__":
    main()
