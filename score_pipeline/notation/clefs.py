"""Which clef a staff is read in, and where that changes: few ledger lines, fewer changes.

Method: the best path over the places at which the clef may change (bar lines and beats), where a place costs the ledger
lines of its notes and a change of clef costs as much as many of them, inside a bar more than at its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from score_pipeline.instruments import Clef
from score_pipeline.types import Spelling

# the middle line of the staff in diatonic steps (C4 = 28)
_MIDDLE_LINE: dict[Clef, int] = {
    "treble": 34, "alto": 28, "tenor": 26, "bass": 22, "treble8vb": 27, "percussion": 34,
}  # fmt: skip

# Tuned on the clefs of 19 printed cello and 30 piano staves.
_FREE_LINES = 1
"""Ledger lines that nobody minds."""

_CHANGE = 20.0
"""What a change of clef must save, in the cost of a note's further ledger lines to the power of 1.5."""

_CHANGE_IN_BAR = 26.0
"""The same for a change on a beat inside a bar."""

_SECOND_CHOICE = 1.0
"""Cost of a bar in the instrument's second clef; twice that in its third, for the highest notes alone."""

Place = tuple[Fraction, Sequence[Spelling]]
"""Where in its bar a clef may change, in quarters from the bar's start, and what is written from there on."""


def diatonic(pitch: Spelling) -> int:
    """Steps above C0 on the staff."""
    return 7 * pitch.octave + "CDEFGAB".index(pitch.step)


def ledger_lines(pitch: Spelling, clef: Clef) -> int:
    """Ledger lines the pitch needs in the clef."""
    return max(0, abs(diatonic(pitch) - _MIDDLE_LINE[clef]) // 2 - 2)


def choose_clefs(bars: Sequence[Sequence[Place]], clefs: Sequence[Clef]) -> list[list[tuple[Fraction, Clef]]]:
    """The clefs that begin in each bar: (quarters from its start, clef); the first bar has one at its start.

    `bars` holds the places of every bar, the first at its start; `clefs` are the instrument's, the usual one first.
    """
    places = [(index, onset_q, pitches) for index, bar in enumerate(bars) for onset_q, pitches in bar]
    best: dict[Clef, float] = {clef: (0.0 if clef == clefs[0] else _CHANGE / 2) for clef in clefs}
    back: list[dict[Clef, Clef]] = []
    for index, onset_q, pitches in places:
        price = _CHANGE_IN_BAR if onset_q else _CHANGE
        cheapest = min(best, key=lambda clef: best[clef])
        origin = {clef: clef if best[clef] <= best[cheapest] + price else cheapest for clef in clefs}
        best = {
            clef: best[origin[clef]]
            + (0 if origin[clef] == clef else price)
            + _cost(pitches, clef, clefs.index(clef) / len(bars[index]))
            for clef in clefs
        }
        back.append(origin)
    clef = min(best, key=lambda clef: best[clef])
    chosen: list[Clef] = []
    for origin in reversed(back):
        chosen.append(clef)
        clef = origin[clef]
    begun: list[list[tuple[Fraction, Clef]]] = [[] for _ in bars]
    before: Clef | None = None
    for (index, onset_q, _), clef in zip(places, reversed(chosen), strict=True):
        if clef != before:
            begun[index].append((onset_q, clef))
        before = clef
    return begun


def _cost(pitches: Sequence[Spelling], clef: Clef, choice: float) -> float:
    if not pitches:
        return 0.0
    lines: float = sum(float(max(0, ledger_lines(pitch, clef) - _FREE_LINES)) ** 1.5 for pitch in pitches)
    return lines + _SECOND_CHOICE * choice
