"""Which bars deserve a second look for their rhythm: those whose notes were played far from where they are written.

A wrong beat or a wrong place shows as notes that stray from the page, more so on triplets and finer places, which are
what a wrong reading is written in. Music that was written and not played strays nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from score_pipeline.notation.measures import Bar, bar_at
from score_pipeline.types import BeatGrid, QuantisedTrack

_STRAY_Q = 0.055
"""Root of the mean square of a bar's strays, in quarters, from which on it is doubtful."""

_CROOKED = 2.0
"""How much more a bar strays that has nothing but triplets and finer places."""


def strayed_bars(tracks: Sequence[QuantisedTrack], grid: BeatGrid, bars: Sequence[Bar]) -> set[int]:
    """Indices of the bars of all parts whose onsets were played away from their places; grace notes say nothing."""
    starts = [bar.start_q for bar in bars]
    strays: dict[int, list[float]] = defaultdict(list)
    crooked: dict[int, list[bool]] = defaultdict(list)
    for track in tracks:
        notes = [note for note in track.notes if not note.grace]
        played_q = grid.to_quarters([note.note.onset_s for note in notes]).tolist()
        for note, played in zip(notes, played_q, strict=True):
            index = bar_at(starts, note.onset_q)
            strays[index].append(played - float(note.onset_q))
            crooked[index].append(note.onset_q.denominator not in (1, 2, 4))
    return {
        index
        for index, of_bar in strays.items()
        if np.sqrt(np.mean(np.square(of_bar))) * (1 + _CROOKED * np.mean(crooked[index])) >= _STRAY_Q
    }
