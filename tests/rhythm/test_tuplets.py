"""Tuplets: five, six and seven even notes are seen, and nothing else is taken for them."""

from __future__ import annotations

import pytest

from score_pipeline.rhythm.quantise import quantise
from score_pipeline.settings import RhythmSettings
from tests.rhythm.playing import F, line, played, ruler, shape


@pytest.mark.parametrize(("count", "quarters"), [(5, 1), (6, 1), (7, 1), (5, 2), (7, 2)])
def test_even_notes_that_fit_nothing_plain_are_a_tuplet(count: int, quarters: int) -> None:
    grid = ruler(60.0)
    values = [F(1), F(1), *[F(quarters, count)] * count, *[F(1)] * (6 - quarters)]
    accompaniment = [(F(k, 2), F(1, 2), 40 + k % 3) for k in range(16)]
    tracks = [
        played(line(values), grid, jitter_s=0.012, held=0.95, key="flute"),
        played(accompaniment, grid, jitter_s=0.012, held=0.95, key="bassoon", seed=1),
    ]
    flute, bassoon = quantise(tracks, grid, RhythmSettings())
    assert shape(flute) == line(values)
    assert shape(bassoon) == accompaniment


def test_uneven_sixteenths_are_no_tuplet() -> None:
    """Six sixteenths and an eighth are seven notes in a half, an eighth and triplets five in one."""
    grid = ruler(60.0)
    values = [F(1, 4)] * 6 + [F(1, 2)] + [F(1)] * 2 + [F(1, 3)] * 6 + [F(1, 2)] * 2 + [F(1, 3)] * 3 + [F(1)] * 4
    for seed in range(5):
        (found,) = quantise([played(line(values), grid, jitter_s=0.015, seed=seed)], grid, RhythmSettings())
        assert [note.onset_q for note in found.notes] == [onset for onset, _, _ in line(values)]


def test_a_written_tuplet_is_kept_as_it_is() -> None:
    grid = ruler()
    values = [F(1), *[F(1, 5)] * 5, *[F(2, 7)] * 7, F(4)]
    (found,) = quantise([played(line(values), grid)], grid, RhythmSettings())
    assert shape(found) == line(values)


def test_no_tuplet_where_only_named_divisions_or_plain_rhythms_are_wanted() -> None:
    grid = ruler(60.0)
    track = played(line([F(1), *[F(1, 5)] * 5, F(2)]), grid, jitter_s=0.005)
    for wanted in (RhythmSettings(finest_divisions=(4,)), RhythmSettings(detail="plain")):
        (found,) = quantise([track], grid, wanted)
        assert all(note.onset_q.denominator != 5 for note in found.notes)
