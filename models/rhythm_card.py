"""Writes tables of the rhythm room and the card beside them: made from what, by which command, with which figures."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_tables(
    path: Path,
    tables: Mapping[str, NDArray[np.floating]],
    figures: Mapping[str, object],
    records: Sequence[Mapping[str, Any]],
) -> None:
    """`path` with the tables as half precision floats, and `path` with the suffix .json: its card."""
    stored: dict[str, Any] = {name: np.asarray(table, dtype=np.float16) for name, table in tables.items()}
    np.savez_compressed(path, **stored)
    module = "models." + Path(sys.argv[0]).stem
    # folders differ between machines, names of files do not
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    card = {
        "name": path.stem,
        "licence": "MIT, as the package",
        "command": shlex.join(["python", "-m", module, *words]),
        "seed": 0,
        "learnt_from": sources(records),
        "figures": dict(figures),
        "numbers": int(sum(np.size(table) for table in tables.values())),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sources(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many scores came under which licence, from the records' own words; OpenScore's records name none."""
    return dict(Counter(str(record.get("licence") or "CC0 (OpenScore)") for record in records).most_common())
