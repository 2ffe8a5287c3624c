"""Bach's chorales from music21's corpus as training scores: everybody moves at once, as a piano's chords do.

    python -m models.data.chorales --out runs/chorales

Writes `notes_train.jsonl.gz` as `models.data.scores` reads it. The music is in the public domain. The chorales that
the Bach10 recordings play are left out: those recordings serve to check.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DIVISION = 24
"""Ticks per quarter."""

HELD_OUT = frozenset({255, 256, 274, 275, 296, 297, 326, 327, 328, 358, 365, 385})
"""Numbers in the catalogue of the chorales of Bach10, and of some they may be taken for."""

LICENCE = "public domain (encoded for music21's corpus)"


def records() -> Iterator[dict[str, Any]]:
    """Every chorale of four parts, one record each."""
    from music21 import corpus

    for path in sorted(corpus.getComposer("bach"), key=str):
        number = re.fullmatch(r"bwv(\d+)(\.\d+)?", Path(path).stem)
        if number is None or int(number[1]) in HELD_OUT:
            continue
        piece = corpus.parse(path)
        title = str(piece.metadata.title or piece.metadata.movementName or "") if piece.metadata else ""
        if len(piece.parts) != 4:
            continue
        yield record(piece, Path(path).stem, title)


def record(piece: Any, name: str, title: str) -> dict[str, Any]:
    """One score as `models.data.scores` reads it; ties are joined, chords are not to be found in chorales."""
    parts = []
    for part in piece.parts:
        notes = [
            [round(note.offset * DIVISION), round(note.quarterLength * DIVISION), note.pitch.midi, 0, 1, 1]
            for note in part.stripTies().flatten().notes
            if note.isNote and note.quarterLength > 0
        ]
        parts.append({"name": part.partName or "", "instrument": "voice", "notes": notes})
    first = piece.parts[0]
    signatures = [
        [round(one.offset * DIVISION), one.numerator, one.denominator]
        for one in first.flatten().getElementsByClass("TimeSignature")
    ]
    measures = [[round(bar.offset * DIVISION), bar.number] for bar in first.getElementsByClass("Measure")]
    return {
        "id": f"bach_{name}",
        "title": title,
        "composer": "BachJS",
        "licence": LICENCE,
        "source": f"music21 corpus, bach/{name}",
        "category": "chorale",
        "pickup": False,
        "div": DIVISION,
        "length": max(onset + duration for part in parts for onset, duration, *_ in part["notes"]),
        "time_signatures": signatures or [[0, 4, 4]],
        "key_signatures": [],
        "tempos": [],
        "measures": measures,
        "parts": parts,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = 0
    with gzip.open(arguments.out / "notes_train.jsonl.gz", "wt", encoding="utf-8") as lines:
        for line in records():
            lines.write(json.dumps(line) + "\n")
            written += 1
    print(f"{written} chorales")


if __name__ == "__main__":
    main()
