"""Who a note belongs to: each witness is heard, none alone decides, and neighbours count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.transcription.assignment import NOBODY, TESSITURA, assign
from score_pipeline.transcription.evidence import Candidates, Evidence

LENGTH = 40


def notes(*rows: tuple[int, int]) -> Candidates:
    """Candidates of equal length from (onset frame, pitch)."""
    onset, pitch = np.array(sorted(rows)).T
    return Candidates(onset, onset + LENGTH, pitch, np.ones(len(rows), dtype=bool))


def undecided(candidates: Candidates, players: int) -> Evidence:
    """Clear notes in the mixture; no stem, no share, no activity speaks for one rather than the other."""
    n = len(candidates)
    own = np.full((n, players), 0.8, dtype=np.float32)
    return Evidence(
        note=np.full(n, 0.8, dtype=np.float32),
        attack=np.full(n, 0.8, dtype=np.float32),
        overtone=np.zeros(n, dtype=np.float32),
        level_db=np.zeros(n, dtype=np.float32),
        stem_note=own,
        stem_attack=own,
        share=np.full((n, players), 1 / players, dtype=np.float32),
        activity=np.ones((n, players), dtype=np.float32),
        timbre=np.zeros((n, players), dtype=np.float32),
    )


def leaning(evidence: Evidence, **columns: list[list[float]]) -> Evidence:
    return replace(evidence, **{name: np.array(values, dtype=np.float32) for name, values in columns.items()})


def test_every_pitched_instrument_has_a_tessitura_within_its_range():
    for key, row in INSTRUMENTS.items():
        if row.is_pitched:
            assert row.plays(round(TESSITURA[key][0])), key


def test_register_decides_when_nothing_else_does():
    two = notes((0, 45), (200, 81))
    assert assign(two, undecided(two, 2), ("violin", "cello")).owner.tolist() == [1, 0]


def test_the_range_is_a_veto():
    one = notes((0, 40))
    for_violin = leaning(undecided(one, 2), stem_note=[[1, 0]], stem_attack=[[1, 0]], share=[[1, 0]])
    found = assign(one, for_violin, ("violin", "cello"))
    assert found.owner[0] != 0 and found.belief[0, 0] < 1e-9


@pytest.mark.parametrize("witness", ["stem_note", "stem_attack", "share"])
def test_a_stem_decides_between_equals(witness):
    one = notes((0, 66))
    found = assign(one, leaning(undecided(one, 2), **{witness: [[0.1, 0.9]]}), ("violin", "viola"))
    assert found.owner.tolist() == [1]


def test_how_a_note_sounds_decides_between_equals():
    one = notes((0, 66))
    found = assign(one, leaning(undecided(one, 2), timbre=[[-1.5, 0.0]]), ("violin", "viola"))
    assert found.owner.tolist() == [1]


def test_activity_is_no_knife():
    one = notes((0, 66))
    silent = leaning(undecided(one, 2), activity=[[1, 0]])
    assert assign(one, silent, ("viola", "clarinet")).owner.tolist() == [0]
    heard = leaning(silent, stem_note=[[0.1, 0.9]], stem_attack=[[0.1, 0.9]], share=[[0.1, 0.9]])
    assert assign(one, heard, ("viola", "clarinet")).owner.tolist() == [1]


def test_a_ghost_is_nobodys():
    one = notes((0, 72))
    faint = leaning(
        undecided(one, 1), attack=[0.1], overtone=[0.9], stem_note=[[0.1]], stem_attack=[[0.05]], share=[[0.1]]
    )
    found = assign(one, faint, ("violin",))
    assert found.owner.tolist() == [NOBODY]
    assert found.belief[0, 0] < 0.25


def test_a_wind_player_leaves_the_second_note_to_somebody_else():
    two = notes((0, 67), (0, 70))
    hardly = leaning(undecided(two, 2), share=[[0.5, 0.5], [0.6, 0.4]])
    assert sorted(assign(two, hardly, ("clarinet", "oboe")).owner.tolist()) == [0, 1]


def test_a_piano_keeps_its_chord():
    chord = notes((0, 48), (0, 60), (0, 64), (0, 67))
    assert assign(chord, undecided(chord, 1), ("piano",)).owner.tolist() == [0, 0, 0, 0]


def test_the_higher_instrument_plays_the_higher_note():
    two = notes((0, 74), (0, 78))
    assert assign(two, undecided(two, 2), ("clarinet", "flute")).owner.tolist() == [0, 1]


def test_a_line_goes_on_in_small_steps():
    # an upper and a lower line; one note of the upper one has no witness but its neighbours
    line = notes(*[(50 * k, pitch) for k in range(9) for pitch in (62, 74)])
    sure = np.array([[0.1, 0.9] if pitch == 62 else [0.9, 0.1] for pitch in line.pitch])
    sure[9] = 0.5
    found = assign(line, leaning(undecided(line, 2), share=sure, stem_note=sure, stem_attack=sure), ("violin", "horn"))
    assert found.owner.tolist() == [1, 0] * 9


def test_two_trumpets_are_two_players():
    thirds = notes(*[(50 * k, pitch + k % 3) for k in range(20) for pitch in (67, 71)])
    alone = assign(thirds, undecided(thirds, 1), ("trumpet",))
    assert alone.players.tolist() == [2]
    assert (alone.owner == 0).all()


def test_one_trumpet_with_reverberation_is_one_player():
    scale = notes(*[(35 * k, 60 + k) for k in range(20)])
    assert assign(scale, undecided(scale, 1), ("trumpet",)).players.tolist() == [1]


@given(seed=st.integers(0, 2**16), n=st.integers(1, 25))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_players_does_not_matter(seed, n):
    rng = np.random.default_rng(seed)
    line_up = ("violin", "clarinet", "piano")
    some = notes(*{(int(rng.integers(0, 400)), int(rng.integers(50, 90))) for _ in range(n)})
    said = {name: rng.random((len(some), 3)) for name in ("stem_note", "stem_attack", "share", "activity")}
    forward = assign(some, leaning(undecided(some, 3), **said), line_up)
    turned = assign(some, leaning(undecided(some, 3), **{k: v[:, ::-1] for k, v in said.items()}), line_up[::-1])
    np.testing.assert_allclose(forward.belief, turned.belief[:, ::-1], atol=1e-6)
    assert ((forward.belief >= 0) & (forward.belief <= 1)).all()
    assert (forward.belief.sum(axis=1) <= 1 + 1e-9).all()
    named = forward.owner != NOBODY
    assert (forward.owner[named] == 2 - turned.owner[named]).all()
