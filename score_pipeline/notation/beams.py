"""Which flagged notes share a beam, by the meter's custom (Gould, "Behind Bars", 2011, pages 151-159)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from score_pipeline.notation.durations import closes
from score_pipeline.types import Meter, ScoreEvent

Beam = tuple[str, ...]
"""One entry per beam from the notes' heads outwards: start, continue, stop, partial-left or partial-right."""


def written_q(event: ScoreEvent) -> Fraction:
    """The symbol's own value in quarters: that of the sound, stretched inside a tuplet."""
    return event.duration_q if event.tuplet is None else event.duration_q * Fraction(*event.tuplet)


def flags(event: ScoreEvent) -> int:
    """Flags on the stem: none for a quarter, one for an eighth, dotted or not."""
    value, count = written_q(event), 0
    while value < 1:
        value, count = value * 2, count + 1
    return count


def tuplets_of(events: Sequence[ScoreEvent]) -> list[list[int]]:
    """The tuplets of one voice in one bar, each as the indices of its events; one ends as soon as it is complete."""
    found: list[list[int]] = []
    group: list[int] = []
    for index, event in enumerate(events):
        if event.tuplet is None:
            continue
        group.append(index)
        if closes(event.onset_q + event.duration_q - events[group[0]].onset_q, event.tuplet):
            found.append(group)
            group = []
    return found


def beams_of(events: Sequence[ScoreEvent], meter: Meter, offset_q: Fraction) -> list[Beam]:
    """The beams of each event of one voice in one bar; `offset_q` is where a pickup starts in its full bar."""
    beams: list[Beam] = [()] * len(events)
    for group in _groups(events, meter, offset_q):
        if len(group) > 1:
            counts = [flags(events[index]) for index in group]
            for place, index in enumerate(group):
                beams[index] = tuple(_beam(counts, place, level) for level in range(1, counts[place] + 1))
    return beams


def _beam(counts: Sequence[int], place: int, level: int) -> str:
    before = place > 0 and counts[place - 1] >= level
    after = place + 1 < len(counts) and counts[place + 1] >= level
    if before and after:
        return "continue"
    if before:
        return "stop"
    if after:
        return "start"
    return "partial-left" if place > 0 else "partial-right"


def _groups(events: Sequence[ScoreEvent], meter: Meter, offset_q: Fraction) -> list[list[int]]:
    """Runs of flagged notes without a rest between them, inside one beam window."""
    groups: list[list[int]] = []
    # what fills more than a beat together is beamed together
    wide = {
        index: group[0]
        for group in tuplets_of(events)
        if events[group[-1]].onset_q + events[group[-1]].duration_q - events[group[0]].onset_q > 1
        for index in group
    }
    window_before: object = None
    for index, event in enumerate(events):
        if event.is_rest or flags(event) == 0:
            window_before = None
            continue
        window: object = ("tuplet", wide[index]) if index in wide else _window(events, event, meter, offset_q)
        if window != window_before:
            groups.append([])
        groups[-1].append(index)
        window_before = window
    return groups


def _window(events: Sequence[ScoreEvent], event: ScoreEvent, meter: Meter, offset_q: Fraction) -> int:
    """A number that two notes share if one beam may hold both."""
    place = event.onset_q + offset_q
    wide = _wide_window(meter)
    if wide is not None:
        low = place // wide * wide
        inside = [
            other
            for other in events
            if other.onset_q + offset_q < low + wide and other.onset_q + other.duration_q + offset_q > low
        ]
        if all(not other.is_rest and written_q(other) == Fraction(1, 2) and not other.tuplet for other in inside):
            return -1 - int(place // wide)
    edges = _edges(meter)
    return max(index for index, edge in enumerate(edges) if edge <= place)


def _wide_window(meter: Meter) -> Fraction | None:
    """Where plain eighths run under one beam: half a bar of 4/4, a bar of 2/4 or 3/4."""
    if meter.is_compound or meter.unit > 4:
        return None
    return meter.bar_q if meter.bar_q in (2, 3) else Fraction(2)


def _edges(meter: Meter) -> list[Fraction]:
    """Starts of the beam windows in a bar: the beats, and groups of two and three eighths in 5/8 and its kin."""
    if meter.is_compound or meter.unit <= 4:
        step = meter.beat_q if meter.is_compound else min(Fraction(1), meter.beat_q)
        return [step * index for index in range(int(meter.bar_q / step))]
    unit = Fraction(4, meter.unit)
    beats, edges, at = meter.beats, [Fraction(0)], 0
    while beats - at > 3:
        at += 3 if meter.beats == 5 else 2
        edges.append(unit * at)
    return edges
