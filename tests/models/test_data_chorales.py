"""Chorales as training scores."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from music21 import corpus

from models.data.chorales import DIVISION, HELD_OUT, record
from models.data.scores import read_scores


def test_a_chorale_becomes_four_parts_that_sound_together(tmp_path: Path) -> None:
    written = record(corpus.parse("bach/bwv269"), "bwv269", "")
    with gzip.open(tmp_path / "notes_train.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.write(json.dumps(written) + "\n")
    (piece,) = read_scores(tmp_path, "train")
    assert len(piece.parts) == 4 and piece.div == DIVISION and piece.meters[0][1:] == (3, 4)
    attacks = [{note.onset for note in part.notes} for part in piece.parts]
    assert len(attacks[0] & attacks[3]) > 0.5 * len(attacks[0])  # they move at once
    heights = [sum(note.pitch for note in part.notes) / len(part.notes) for part in piece.parts]
    assert heights == sorted(heights, reverse=True)


def test_what_bach10_plays_is_known_by_number() -> None:
    assert {255, 256, 274, 275, 296, 297, 327} <= HELD_OUT
