"""Count how written music moves through bars: `python -m models.fit_rhythm --scores DIR [--more FILE ...]`.

How attacks follow each other through bars of each meter; every piece has the same weight, those of `--more` less, since
they are more and of fewer kinds. In the folder only the file `notes_train.jsonl.gz` is read. Takes a minute; run it
before `models.fit_listener` and `models.fit_critic`.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rhythm_card import write_tables
from models.rhythm_renders import read_scores
from models.rhythm_takes import Sheet, sheet_of
from score_pipeline.rhythm import priors
from score_pipeline.rhythm.priors import METERS, TICKS, bar_ticks, levels, positions

Floats = NDArray[np.float64]

PIECE_WEIGHT, MORE_WEIGHT = 200.0, 60.0
"""Attacks a piece of the folder and one of `--more` count for, however long it is."""
SPREAD = 12.0
"""Pseudo-attacks by which the table of a meter leans on the table of its kind."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_sources(parser)
    parser.add_argument("--out", type=Path, default=Path(priors.__file__).with_name("priors.npz"))
    arguments = parser.parse_args()
    own, more = known_scores(arguments.scores, arguments.more)
    weighed = [
        (sheet, weight)
        for records, weight in ((own, PIECE_WEIGHT), (more, MORE_WEIGHT))
        for record in records
        if (sheet := sheet_of(record)) is not None
    ]
    tables = count_steps([sheet for sheet, _ in weighed], [weight for _, weight in weighed])
    write_tables(arguments.out, tables, {"scores": len(weighed)}, own + more)


def add_sources(parser: argparse.ArgumentParser) -> None:
    """The arguments that name scores."""
    parser.add_argument("--scores", type=Path, required=True, help="folder with notes_train.jsonl.gz")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="files that models.rhythm_scores wrote")


def known_scores(folder: Path, more: Sequence[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The scores of a folder's training split, and those of more files."""
    return list(read_scores(folder / "notes_train.jsonl.gz")), [record for path in more for record in read_scores(path)]


def tenth(record: dict[str, Any]) -> int:
    """Which tenth of all works a score belongs to, 0..9: tenth 0 is kept from every fit and reported on."""
    work = record.get("group") or record["id"].split("#")[0]
    return zlib.crc32(str(work).encode()) % 10


def count_steps(sheets: Sequence[Sheet], weights: Sequence[float]) -> dict[str, Floats]:
    """Tables `first_k`, `step_k` and `common` (log share of each meter); `weights` in attacks per sheet."""
    counts = [np.zeros((bar_ticks(meter), bar_ticks(meter) + 1)) for meter in METERS]
    firsts = [np.zeros(bar_ticks(meter)) for meter in METERS]
    common = np.zeros(len(METERS))
    for sheet, most in zip(sheets, weights, strict=True):
        onset, where = np.unique(sheet.onset_q[~sheet.grace], return_index=True)
        meter, tick = sheet.meter[~sheet.grace][where], sheet.tick[~sheet.grace][where]
        weight = min(most / len(onset), 1.0)
        distance = np.round(np.diff(onset) * TICKS).astype(np.int64)
        share = most / PIECE_WEIGHT
        if meter[0] < len(METERS) and tick[0] >= 0:
            firsts[meter[0]][tick[0]] += share
        common += share * (np.bincount(meter, minlength=len(METERS) + 1)[:-1] / len(meter))
        for index in np.unique(meter[meter < len(METERS)]).tolist():
            here = (meter[:-1] == index) & (meter[1:] == index) & (tick[:-1] >= 0)
            steps = np.minimum(distance[here], bar_ticks(METERS[index]))
            np.add.at(counts[index], (tick[:-1][here], steps), weight)
    tables: dict[str, Floats] = {"common": np.log((common + 1) / (common + 1).sum())}
    for index, meter_ in enumerate(METERS):
        allowed = np.zeros(bar_ticks(meter_), dtype=bool)
        allowed[positions(meter_)] = True
        tables[f"step_{index}"] = _smoothed(index, counts, allowed)
        plain = np.where(levels(meter_) < 4, 1.0, 0.1) * allowed
        first = firsts[index] * allowed + 3 * plain / plain.sum() + 1e-3
        tables[f"first_{index}"] = np.log(first / first.sum())
    return tables


def _smoothed(index: int, counts: list[Floats], allowed: NDArray[np.bool_]) -> Floats:
    """log P(distance | tick) of one meter, leaning on all meters of its kind where it has seen little."""
    meter = METERS[index]
    length = bar_ticks(meter)
    cycle = 36 if meter.unit >= 8 else 24
    kin = np.zeros((cycle, length + 1))
    for other, table in zip(METERS, counts, strict=True):
        if (other.unit >= 8) == (meter.unit >= 8):
            for tick in range(len(table)):
                reach = min(length, table.shape[1] - 1)
                kin[tick % cycle, : reach + 1] += table[tick, : reach + 1]
    reachable = np.zeros((length, length + 1))
    for tick in range(length):
        distance = np.arange(1, length + 1)
        reachable[tick, 1:] = np.where(allowed[(tick + distance) % length], 1.0, 1e-4) / (4 + distance)
    reachable /= reachable.sum(axis=1, keepdims=True)
    table = np.empty_like(reachable)
    for tick in range(length):
        base = kin[tick % cycle] + 2.0 * reachable[tick]
        base /= base.sum()
        own = counts[index][tick] + SPREAD * (0.9 * base + 0.1 * reachable[tick])
        table[tick] = own / own.sum()
    table[:, 0] = 1e-3
    return np.asarray(np.log(np.maximum(table, 1e-6)))


if __name__ == "__main__":
    main()
