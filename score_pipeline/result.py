"""The output folder of a conversion: the contract with everybody who reads our results.

It is written to a temporary sibling and renamed whole, so a folder that exists is complete. `result.json` lists every
file; its schema is `result.schema.json` beside this module.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from score_pipeline import __version__, audio
from score_pipeline.errors import MissingExtraError, OutputError
from score_pipeline.notes_file import beats_csv, notes_csv
from score_pipeline.pipeline import Conversion
from score_pipeline.types import Activity, Audio, Part, Stems
from score_pipeline.units import FRAME_RATE_HZ, frames_to_seconds
from score_pipeline.wording import printable

SCHEMA_VERSION = 1

RESULT_FILE = "result.json"
"""A folder with this file holds a complete conversion."""

PARTIAL_RESULT_FILES = frozenset(
    {"activity.json", "activity.npz", "beats.csv", "notes.csv", "performance.mid", "stems"}
)
"""What the commands write that do only a part of a conversion."""


def write(conversion: Conversion, folder: Path, *, force: bool = False, formats: Collection[str] = ()) -> list[str]:
    """Write everything a conversion found into `folder`, which must not exist unless `force` replaces it.

    `formats` are those of `notation.render.FORMATS` in which score and parts are wanted beside MusicXML; one that needs
    what is not installed is a MissingExtraError. Returns the paths of the files relative to the folder. Raises
    OutputError when the folder exists or cannot be written; then nothing is left behind and what was there is
    untouched. Only a folder that holds an earlier result (or nothing) is ever replaced.
    """
    return write_folder(folder, lambda unfinished: _write_files(conversion, unfinished, formats), force=force)


def write_folder(folder: Path, fill: Callable[[Path], list[str]], *, force: bool) -> list[str]:
    """Let `fill` write into a temporary sibling of `folder`, then rename it; all or nothing."""
    check_is_free(folder, force=force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".score-pipeline-", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder} cannot be created ({error.strerror}); choose another folder.") from error
    try:
        files = fill(unfinished)
        unfinished.chmod(0o777 & ~_umask())
        _swap(unfinished, folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror}); free some space or choose another folder."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return files


def check_is_free(folder: Path, *, force: bool) -> None:
    """OutputError if results cannot go to `folder`; worth asking before minutes of work."""
    try:
        if folder.exists():
            _check_may_be_replaced(folder, force)
        above = next(parent for parent in folder.absolute().parents if parent.exists())
    except OSError as error:
        raise OutputError(f"{folder} cannot be looked into ({error.strerror}); choose another folder.") from error
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "may not be written to" if above.is_dir() else "is not a folder"
        raise OutputError(f"{folder} cannot be created because {above} {reason}; choose another folder.")


def _check_may_be_replaced(folder: Path, force: bool) -> None:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if not (folder.is_dir() and (RESULT_FILE in names or names <= PARTIAL_RESULT_FILES)):
        raise OutputError(f"{folder} exists and holds something else than a result; choose another folder.")
    if names and not force:
        raise OutputError(f"{folder} exists already; choose another folder or give --force to replace it.")


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap(finished: Path, folder: Path) -> None:
    """Put `finished` where `folder` is; an earlier result goes only after the new one stands."""
    if not folder.exists():
        finished.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=".score-pipeline-old-", dir=folder.parent))
    folder.rename(old / "result")
    try:
        finished.rename(folder)
    except OSError:
        (old / "result").rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write_files(conversion: Conversion, folder: Path, formats: Collection[str]) -> list[str]:
    from score_pipeline.notation.midi import performance_midi, score_midi
    from score_pipeline.notation.musicxml import part_to_musicxml, to_musicxml
    from score_pipeline.notation.render import in_formats
    from score_pipeline.report import report_html

    heard, grid, score = conversion.heard, conversion.grid, conversion.score
    contents: dict[str, bytes] = {
        "performance.mid": performance_midi(list(heard.tracks), grid),
        "score.mid": score_midi(list(conversion.quantised), grid),
        "notes.csv": notes_csv(conversion.quantised, grid).encode(),
        "beats.csv": beats_csv(grid).encode(),
        "activity.json": _json_bytes(activity_summary(heard.activity)),
    }
    if score.parts:
        contents["score.musicxml"] = to_musicxml(score)
    for number, part in enumerate(score.parts, start=1):
        contents[part_path(number, part)] = part_to_musicxml(score, part)
    written = {name: content for name, content in contents.items() if name.endswith(".musicxml")}
    pages = _pages(written)
    for name, musicxml in written.items():
        further = in_formats(musicxml, pages.get(name, []), formats)
        contents |= {name.removesuffix(".musicxml") + end: content for end, content in further.items()}
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    write_activity_npz(folder / "activity.npz", heard.activity)
    files = [*contents, "activity.npz"]
    gain = 1.0
    if heard.stems is not None:
        names, gain = write_stems(folder / "stems", heard.stems)
        files += names
    files = sorted([*files, "report.html", RESULT_FILE])
    (folder / "report.html").write_text(report_html(conversion, pages, files), encoding="utf-8")
    (folder / RESULT_FILE).write_bytes(_json_bytes(result_summary(conversion, files, gain)))
    return files


def part_path(number: int, part: Part) -> str:
    """File of a part: parts/01-violin.musicxml, parts/02-violin-2.musicxml."""
    player = f"-{part.player}" if part.player > 1 else ""
    return f"parts/{number:02d}-{part.instrument}{player}.musicxml"


def _pages(written: dict[str, bytes]) -> dict[str, list[str]]:
    """The engraved pages of score and parts as SVG; empty where verovio is not installed."""
    from score_pipeline.notation.render import to_svg_pages

    try:
        return {name: to_svg_pages(content) for name, content in written.items()}
    except MissingExtraError:
        return {}


def write_stems(folder: Path, stems: Stems) -> tuple[list[str], float]:
    """Write each stem and the residual as FLAC. Returns the file names and the gain all were written with.

    FLAC holds nothing beyond full scale, so when a stem exceeds it all are turned down alike and still add up.
    """
    sounds: dict[str, Audio] = {**stems.stems, "residual": stems.residual}
    peak = max(float(np.abs(sound.samples).max(initial=0.0)) for sound in sounds.values())
    gain = min(1.0, 0.999 / peak) if peak > 0 else 1.0
    folder.mkdir(parents=True, exist_ok=True)
    for name, sound in sounds.items():
        audio.write(folder / f"{name}.flac", Audio(sound.samples * np.float32(gain), sound.rate_hz))
    return [f"{folder.name}/{name}.flac" for name in sounds], gain


def write_activity_npz(path: Path, activity: Activity) -> None:
    """activity.npz: probability, active, instruments, frame_rate."""
    np.savez_compressed(
        path,
        probability=activity.probability,
        active=activity.active,
        instruments=np.array(activity.instruments),
        frame_rate=np.float64(FRAME_RATE_HZ),
    )


def activity_summary(activity: Activity) -> dict[str, Any]:
    """activity.json: spans in seconds and presence per instrument."""
    return {
        "frame_rate_hz": FRAME_RATE_HZ,
        "instruments": {
            key: {
                "presence": round(float(activity.presence[row]), 4),
                "active_s": round(float(frames_to_seconds(int(activity.active[row].sum()))), 3),
                "spans": [[round(span.start_s, 3), round(span.end_s, 3)] for span in activity.spans(key)],
            }
            for row, key in enumerate(activity.instruments)
        },
    }


def result_summary(conversion: Conversion, files: list[str], stems_gain: float) -> dict[str, Any]:
    """result.json, as its schema says."""
    score = conversion.score
    return {
        "schema": SCHEMA_VERSION,
        "score_pipeline": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": printable(conversion.source.name),
        "duration_s": round(conversion.duration_s, 3),
        "title": score.title,
        "parts": [
            {
                "instrument": part.instrument,
                "player": part.player,
                "name": part.name,
                "file": part_path(number, part),
                "notes": sum(
                    len(track.notes)
                    for track in conversion.heard.tracks
                    if (track.instrument, track.player) == (part.instrument, part.player)
                ),
            }
            for number, part in enumerate(score.parts, start=1)
        ],
        "beats": {"source": conversion.grid.source, "confidence": round(conversion.grid.confidence, 3)},
        "doubtful_bars": list(score.doubtful_bars),
        "warnings": list(conversion.warnings),
        "files": files,
        "stems_gain": stems_gain,
        "models": conversion.models,
        "settings": settings_summary(conversion),
        "seconds": {stage: round(seconds, 3) for stage, seconds in conversion.seconds.items()},
    }


def settings_summary(conversion: Conversion) -> dict[str, Any]:
    """The settings as plain JSON: stage -> name -> value."""
    from dataclasses import asdict

    plain: dict[str, Any] = json.loads(json.dumps(asdict(conversion.settings), default=str))
    return plain


def _json_bytes(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
