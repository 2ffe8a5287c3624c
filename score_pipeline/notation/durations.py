"""Note values: which lengths one symbol can write, where longer ones are cut, which stretches are tuplets.

Conventions
-----------
Positions are quarters from the start of a full bar, so that a pickup's first beat has the position it would have in a
whole bar. `levels` orders a meter's divisions from the bar down; the level of a position is the index of the coarsest
division it falls on, and a smaller level is a stronger place. The customs are those of Gould, "Behind Bars" (2011),
pages 164-170 (values across beats) and 161-163 (rests).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from score_pipeline.types import Meter

_LONGEST = Fraction(8)
"""A breve; bars of 4/2 need it."""

_SHORTEST = Fraction(1, 32)
"""A 128th: nothing finer is ever written."""

_PLAIN_VALUES = tuple(_LONGEST / 2**power for power in range(9))
_VALUES: dict[Fraction, tuple[Fraction, int]] = {
    value * (2 - Fraction(1, 2**dots)): (value, dots) for value in _PLAIN_VALUES for dots in (0, 1, 2)
}

TRIPLET = (3, 2)
SEXTUPLET = (6, 4)
LONG_TUPLETS = ((5, 4), SEXTUPLET, (7, 4))
"""Tuplets of a quarter or a half; six in a half are two triplets."""


@dataclass(frozen=True)
class Piece:
    """One symbol: quarters from the start of the full bar, and the tuplet it is written in."""

    start_q: Fraction
    end_q: Fraction
    tuplet: tuple[int, int] | None = None


@dataclass(frozen=True)
class Window:
    """A stretch of a voice that is written as a tuplet: (3, 2) is three values in the time of two."""

    start_q: Fraction
    end_q: Fraction
    tuplet: tuple[int, int] = TRIPLET


def value_of(length_q: Fraction) -> tuple[Fraction, int] | None:
    """(plain value in quarters, dots) of a length one symbol can write, else None."""
    return _VALUES.get(length_q)


@lru_cache(maxsize=64)
def levels(meter: Meter) -> tuple[Fraction, ...]:
    """Divisions of the bar in quarters, coarse to fine: 4/4 -> 4, 2, 1, 1/2, ..."""
    found = [meter.bar_q]
    beat = meter.beat_q
    beats = meter.beats_per_bar
    if beats % 2 == 0 and beats > 2:
        found.append(meter.bar_q / 2)
    if beat < found[-1]:
        found.append(beat)
    step = beat / 3 if meter.is_compound else beat / 2
    while step >= _SHORTEST:
        found.append(step)
        step /= 2
    return tuple(found)


def _level(position_q: Fraction, divisions: Sequence[Fraction]) -> int:
    """Index of the coarsest division that `position_q` falls on; one more than the last for none."""
    for index, division in enumerate(divisions):
        if (position_q / division).denominator == 1:
            return index
    return len(divisions)


def split_note(start_q: Fraction, end_q: Fraction, meter: Meter) -> list[Piece]:
    """The tied values that write a note from start to end inside one bar."""
    return [Piece(a, b) for a, b in _split(start_q, end_q, levels(meter), meter.is_compound, rest=False)]


def split_rest(start_q: Fraction, end_q: Fraction, meter: Meter) -> list[Piece]:
    """The rests that fill start to end inside one bar; none hides a beat."""
    return [Piece(a, b) for a, b in _split(start_q, end_q, levels(meter), meter.is_compound, rest=True)]


def split_in_tuplet(start_q: Fraction, end_q: Fraction, window: Window, rest: bool) -> list[Piece]:
    """As `split_note` and `split_rest`, for a stretch inside a tuplet."""
    whole = window.end_q - window.start_q
    step = whole / window.tuplet[0]
    divisions = tuple([whole] + [step / 2**power for power in range(6)])
    pieces = _split(
        start_q - window.start_q,
        end_q - window.start_q,
        divisions,
        compound=False,
        rest=rest,
        stretch=Fraction(*window.tuplet),
    )
    return [Piece(window.start_q + a, window.start_q + b, window.tuplet) for a, b in pieces]


def closes(length_q: Fraction, tuplet: tuple[int, int]) -> bool:
    """Whether the values of a tuplet are complete when they have lasted `length_q`: their sum is a plain value again.

    Half of a sextuplet would be one too; sextuplets last a quarter.
    """
    return _is_binary(length_q) and (tuplet != SEXTUPLET or length_q == 1)


def _split(
    start: Fraction,
    end: Fraction,
    divisions: Sequence[Fraction],
    compound: bool,
    rest: bool,
    stretch: Fraction = Fraction(1),
) -> list[tuple[Fraction, Fraction]]:
    """Cut [start, end) at the strongest place that a single value would hide, until nothing is hidden."""
    crossed = _crossed(start, end, divisions)
    writable = (end - start) * stretch in _VALUES
    if writable:
        hidden = (
            _hidden_by_rest(start, end, divisions, compound, crossed)
            if rest
            else (_hidden_by_note(start, end, divisions, compound, crossed))
        )
        if hidden is None:
            return [(start, end)]
        cut = hidden
    elif crossed:
        strongest = min(level for _, level in crossed)
        places = [place for place, level in crossed if level == strongest]
        # the longer value comes first from a strong start, last from a weak one
        cut = places[-1] if _level(start, divisions) <= strongest else places[0]
    else:
        raise ValueError(f"no note value writes {end - start} quarters from {start}")
    return _split(start, cut, divisions, compound, rest, stretch) + _split(cut, end, divisions, compound, rest, stretch)


def _crossed(start: Fraction, end: Fraction, divisions: Sequence[Fraction]) -> list[tuple[Fraction, int]]:
    """Places strictly inside (start, end) on the coarsest divisions that have any there, two levels deep."""
    found: dict[Fraction, int] = {}
    depth = 0
    for level, division in enumerate(divisions):
        place = (start // division + 1) * division
        any_here = False
        while place < end:
            found.setdefault(place, level)
            any_here = True
            place += division
        depth += any_here
        if depth == 2:
            break
    return sorted(found.items())


def _hidden_by_note(
    start: Fraction,
    end: Fraction,
    divisions: Sequence[Fraction],
    compound: bool,
    crossed: Sequence[tuple[Fraction, int]],
) -> Fraction | None:
    """The place at which a single note value must be cut, or None.

    A value may start on a place at least as strong as all it crosses, or be a syncopation: cross one stronger place
    with both its ends on the division next below it. In compound meters nothing but whole beats crosses a beat.
    """
    from_level, to_level = _level(start, divisions), _level(end, divisions)
    beat_level = _compound_beat_level(divisions) if compound else -1
    violations: list[tuple[int, Fraction]] = []
    syncopated: list[tuple[int, Fraction]] = []
    for place, level in crossed:
        if compound and level <= beat_level:
            if max(from_level, to_level) > beat_level:
                violations.append((level, place))
        elif from_level > level:
            kind = syncopated if max(from_level, to_level) <= level + 1 else violations
            kind.append((level, place))
    if len(syncopated) > 1:
        violations += syncopated
    if not violations:
        return None
    return min(violations)[1]


def _hidden_by_rest(
    start: Fraction,
    end: Fraction,
    divisions: Sequence[Fraction],
    compound: bool,
    crossed: Sequence[tuple[Fraction, int]],
) -> Fraction | None:
    """The place at which a rest must be cut, or None: it must fill one division, or two thirds of a compound beat."""
    length = end - start
    from_level = _level(start, divisions)
    if not crossed or any(length == division for division in divisions[from_level:]):
        return None
    if (
        compound
        and length == 2 * divisions[_compound_beat_level(divisions) + 1]
        and from_level <= (_compound_beat_level(divisions))
    ):
        return None
    strongest = min(level for _, level in crossed)
    places = [place for place, level in crossed if level == strongest]
    return places[-1] if from_level <= strongest else places[0]


def _compound_beat_level(divisions: Sequence[Fraction]) -> int:
    """Index of the dotted beat: the last division before one that is a third of it."""
    return next(
        (index for index in range(len(divisions) - 1) if divisions[index] == 3 * divisions[index + 1]),
        0,
    )


def tuplet_windows(
    edges_q: Iterable[Fraction],
    start_q: Fraction,
    end_q: Fraction,
    meter: Meter,
    rests_q: Sequence[tuple[Fraction, Fraction]] = (),
) -> list[Window]:
    """Stretches of the bar [start_q, end_q) that a voice with these note edges must write as tuplets.

    Triplets take halves, quarters or eighths, quintuplets and septuplets halves or quarters, sextuplets (where all six
    notes are there) quarters. The choice takes the fewest brackets and the fewest notes cut by them; rests
    (start, end) may be cut anywhere. Edges must be on a grid that some choice can write (see `fit`), or it is a
    ValueError.
    """
    edges = sorted({edge for edge in edges_q if start_q < edge < end_q})
    if all(_is_binary(edge) for edge in edges):
        return []
    windows: list[Window] = []
    for low, high in _roots(start_q, end_q, meter):
        inside = [edge for edge in edges if low < edge < high]
        if all(_is_binary(edge) for edge in inside):
            continue
        plan = _plan(low, high, inside, rests_q)
        if plan is None:
            raise ValueError(f"edges {inside} fit no tuplet")
        windows += plan[1]
    return windows


def _is_binary(position_q: Fraction) -> bool:
    denominator = position_q.denominator
    return denominator & (denominator - 1) == 0


def _roots(start_q: Fraction, end_q: Fraction, meter: Meter) -> list[tuple[Fraction, Fraction]]:
    """The widest stretches a triplet may take in this meter, clipped to whole ones inside the bar."""
    if meter.is_compound or meter.unit > 4:
        size = Fraction(1, 2)
    elif meter.bar_q in (2, 4):
        size = meter.bar_q
    else:
        size = min(meter.beat_q, Fraction(2))
    while start_q % size or end_q % size:
        size /= 2
    count = int((end_q - start_q) / size)
    return [(start_q + index * size, start_q + (index + 1) * size) for index in range(count)]


def _plan(
    low: Fraction, high: Fraction, inside: Sequence[Fraction], rests_q: Sequence[tuple[Fraction, Fraction]] = ()
) -> tuple[int, list[Window]] | None:
    """(cost, windows) of the cheapest way to write [low, high), or None where no way is fine enough."""
    if all(_is_binary(edge) for edge in inside):
        return 0, []
    size = high - low
    middle = low + size / 2
    options: list[tuple[int, list[Window]]] = []
    third = size / 3
    # a triplet of 32nds is written for its own sake only, not to reconcile an eighth's third with a sixteenth
    meant = size >= Fraction(1, 2) or any(edge.denominator % 12 == 0 for edge in inside)
    if meant and all((edge - low) % _finest_in_triplet(size) == 0 for edge in inside):
        options.append((1 + sum((edge - low) % third != 0 for edge in inside), [Window(low, high)]))
    for tuplet in LONG_TUPLETS if size in (1, 2) else ():
        step = size / tuplet[0]
        # one edge on a fifth is another voice's, not a quintuplet
        enough = 5 if tuplet == SEXTUPLET else tuplet[0] // 2 + 1
        fits = all((edge - low) % step == 0 for edge in inside)
        if fits and len(inside) >= enough and (tuplet != SEXTUPLET or size == 1):
            options.append((1, [Window(low, high, tuplet)]))
    if size > Fraction(1, 4):
        left = _plan(low, middle, [edge for edge in inside if edge < middle], rests_q)
        right = _plan(middle, high, [edge for edge in inside if edge > middle], rests_q)
        if left is not None and right is not None:
            whole = middle in inside or any(start < middle < end for start, end in rests_q)
            options.append((left[0] + right[0] + 2 * (not whole), left[1] + right[1]))
    return min(options, key=lambda option: option[0]) if options else None


def _finest_in_triplet(size: Fraction) -> Fraction:
    """The step inside a triplet `size` long: its third, halved once where that is not yet a short value."""
    return size / 6 if size >= 1 else size / 3


def fit(edges_q: Sequence[Fraction], start_q: Fraction, end_q: Fraction, meter: Meter) -> dict[Fraction, Fraction]:
    """Where each edge of a voice inside a bar has to go so that the bar can be written; most stay.

    Only stretches that mix triplets with finer binary values move: each goes wholly to the division that moves it
    least.
    """
    edges = sorted({edge for edge in edges_q if start_q < edge < end_q})
    moved: dict[Fraction, Fraction] = {}
    for low, high in _roots(start_q, end_q, meter):
        _fit_into(low, high, [edge for edge in edges if low < edge < high], moved)
    return moved


def _fit_into(low: Fraction, high: Fraction, inside: Sequence[Fraction], moved: dict[Fraction, Fraction]) -> None:
    if _plan(low, high, inside) is not None:
        return
    size = high - low
    middle = low + size / 2
    if size > 1:
        _fit_into(low, middle, [edge for edge in inside if edge < middle], moved)
        _fit_into(middle, high, [edge for edge in inside if edge > middle], moved)
        return
    choices = []
    for step in (size / 4, _finest_in_triplet(size)):
        target = {edge: low + round((edge - low) / step) * step for edge in inside}
        choices.append((sum(abs(edge - place) for edge, place in target.items()), target))
    moved.update(min(choices, key=lambda choice: choice[0])[1])
