"""Which short notes are ornaments of the note after them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from score_pipeline.rhythm.clusters import EXACT_Q, Played

_GRACE_Q = (0.04, 0.12)
"""A grace note comes this much before its note: less than that is a chord, more a thirty-second."""


def grace_notes(played: Sequence[Played]) -> dict[int, int]:
    """Grace notes and the note each stands before, as indices into `played`.

    A grace note is struck just before a longer note a step or two away, is let go for it, and is no part of a run;
    notes that sit on the grid exactly hold none.
    """
    lines: dict[int, list[int]] = defaultdict(list)
    for index in sorted(range(len(played)), key=lambda index: (played[index].onset, played[index].note.pitch)):
        lines[played[index].track].append(index)
    found: dict[int, int] = {}
    onsets = np.array([item.onset for item in played])
    if np.abs(onsets - np.round(onsets * 96) / 96).max() < EXACT_Q:
        return found
    for line in lines.values():
        for place in range(len(line) - 1):
            this, then = played[line[place]], played[line[place + 1]]
            gap = then.onset - this.onset
            if not _GRACE_Q[0] <= gap <= _GRACE_Q[1]:
                continue
            near = 1 <= abs(this.note.pitch - then.note.pitch) <= 4
            let_go = this.offset <= then.onset + 0.5 * gap
            before = this.onset - played[line[place - 1]].onset if place else math.inf
            after = played[line[place + 2]].onset - then.onset if place + 2 < len(line) else math.inf
            if near and let_go and before > 1.8 * gap and after > 2.0 * gap and then.offset - then.onset > 2.0 * gap:
                found[line[place]] = line[place + 1]
    return found
