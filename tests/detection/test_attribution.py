"""Whose note sounds: windows, line-ups, and who is taken to be there for the notes they get."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from score_pipeline.detection.attribution import Attribution, players_with_notes, shares, without_idle
from score_pipeline.features.cqt import log_cqt
from score_pipeline.features.posteriorgram import PitchModel
from score_pipeline.settings import DetectionSettings
from score_pipeline.types import Activity, Audio, FloatArray, Ownership
from score_pipeline.units import BLOCK_FRAMES, SAMPLE_RATE_HZ

KNOWN = ("piano", "violin", "horn")


class ByHeight:
    """A stand-in network: the lower half of the pitches is the first player's of the line-up, the rest the last's.

    What it says of a block is that block's own level, so that windows put together wrongly would show.
    """

    def __init__(self) -> None:
        self.heard: list[int] = []

    def run(self, names: list[str], inputs: dict[str, FloatArray]) -> list[FloatArray]:
        frames = inputs["cqt"].shape[2]
        assert frames % BLOCK_FRAMES == 0 and inputs["hsf"].shape == inputs["cqt"].shape
        self.heard.append(frames // BLOCK_FRAMES)
        players = np.flatnonzero(inputs["line_up"][0])
        answer = np.full((1, len(KNOWN), 88, frames // BLOCK_FRAMES), -30.0, dtype=np.float32)
        level = inputs["cqt"][0].reshape(88, -1, BLOCK_FRAMES).mean(axis=2)
        answer[0, players] = -5.0
        answer[0, players[0], :44] = -level[:44]
        answer[0, players[-1], 44:] = -level[44:]
        return [answer]


@pytest.fixture
def network() -> ByHeight:
    return ByHeight()


@pytest.fixture
def attribution(network: ByHeight) -> Attribution:
    return Attribution(network, KNOWN, hsf_order=5)  # type: ignore[arg-type]


def levels_of(frames: int) -> FloatArray:
    return np.random.default_rng(frames).uniform(-60, 0, (frames, 88)).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 9, 10, 400, 864, 865, 2000])
def test_every_block_of_any_length_has_an_answer(attribution: Attribution, network: ByHeight, frames: int) -> None:
    levels = levels_of(frames)
    owners = attribution.attribute(levels, np.zeros_like(levels), ("horn", "violin"))
    assert owners.log_share.shape == (2, 88, -(-frames // BLOCK_FRAMES))
    # rows follow the line-up as it was named, not the network's order
    assert (owners.of(["violin"])[0, :44] > -2).all() and (owners.of(["horn"])[0, 44:] > -2).all()
    assert max(network.heard) <= 96


def test_windows_say_what_one_look_would(attribution: Attribution, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = levels_of(3000)
    in_windows = attribution.attribute(levels, np.zeros_like(levels), ("piano", "horn")).log_share
    monkeypatch.setattr("score_pipeline.detection.attribution.WINDOW_BLOCKS", 1000)
    at_once = attribution.attribute(levels, np.zeros_like(levels), ("piano", "horn")).log_share
    np.testing.assert_allclose(in_windows, at_once, atol=2e-3)


def test_an_unknown_player_is_as_likely_as_the_likeliest(attribution: Attribution) -> None:
    levels = levels_of(90)
    owners = attribution.attribute(levels, np.zeros_like(levels), ("violin", "trombone", "horn"))
    np.testing.assert_array_equal(owners.of(["trombone"])[0], owners.of(["violin", "horn"]).max(axis=0))


def test_a_player_alone_needs_no_network(attribution: Attribution, network: ByHeight) -> None:
    levels = levels_of(90)
    assert not attribution.attribute(levels, np.zeros_like(levels), ("violin",)).log_share.any()
    assert network.heard == []


def test_other_frames_are_refused(attribution: Attribution) -> None:
    with pytest.raises(ValueError, match="posteriorgram"):
        attribution.attribute(levels_of(90), np.zeros((91, 88), np.float32), ("violin", "horn"))


def owned(*lasting: tuple[int, int, int], blocks: int, players: int = 3) -> Ownership:
    """(player, first block, last block): a note each, on a pitch of their own."""
    log_share = np.full((players, 88, blocks), -5.0, dtype=np.float16)
    note = np.zeros((blocks * BLOCK_FRAMES, 88), dtype=np.float32)
    for player, start, stop in lasting:
        log_share[player, 30 + player, start:stop] = 0
        note[start * BLOCK_FRAMES : stop * BLOCK_FRAMES, 30 + player] = 0.9
    return Ownership(note, log_share, KNOWN[:players])


def everybody(blocks: int, players: int = 3) -> Activity:
    everywhere = np.ones((players, blocks * BLOCK_FRAMES))
    return Activity(everywhere, everywhere > 0, np.ones(players), KNOWN[:players])


def test_shares_are_those_of_the_notes() -> None:
    ownership = owned((0, 0, 60), (1, 0, 40), blocks=100)
    assert shares(ownership).tolist() == pytest.approx([0.6, 0.4, 0.0])


def test_who_gets_no_notes_is_not_there() -> None:
    ownership = owned((0, 0, 60), (1, 0, 40), blocks=100)
    assert without_idle(everybody(100), ownership).present == ("piano", "violin")


def test_a_late_entry_is_not_voted_down_by_what_came_before() -> None:
    # ten minutes of piano, and a horn in the last
    ownership = owned((0, 0, 5740), (1, 0, 5740), (2, 5500, 5740), blocks=5740)
    assert without_idle(everybody(5740), ownership).present == KNOWN


def test_where_no_notes_are_heard_nobody_is_judged_by_them() -> None:
    ownership = owned(blocks=20)
    assert without_idle(everybody(20), ownership).present == KNOWN


def test_a_soloist_and_nobody_at_all_stay_what_they_are() -> None:
    alone = owned((0, 0, 20), blocks=20, players=1)
    assert without_idle(everybody(20, 1), alone).present == ("piano",)
    nobody = owned(blocks=20, players=0)
    assert without_idle(everybody(20, 0), nobody).present == ()


def test_the_shipped_network_gives_notes_to_the_line_up_alone() -> None:
    generator = np.random.default_rng(3)
    sound = Audio(0.1 * generator.standard_normal((1, 3 * SAMPLE_RATE_HZ)).astype(np.float32), SAMPLE_RATE_HZ)
    levels, note = log_cqt(sound), PitchModel.load().note(sound)
    for line_up in (("violin", "cello"), ("horn", "flute", "piano", "drums")):
        probability = np.exp(Attribution.load().attribute(levels, note, line_up).log_share.astype(np.float32))
        np.testing.assert_allclose(probability.sum(axis=0), 1, atol=0.01)


def test_the_shipped_network_knows_high_from_low() -> None:
    """Two bowed tones two octaves and a half apart, told that a violin and a cello play."""
    time_s = np.arange(4 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tones = [
        sum(
            np.sin(2 * np.pi * partial * hz * (time_s + 0.0005 * np.sin(2 * np.pi * 5.5 * time_s) / (2 * np.pi)))
            / partial
            for partial in range(1, 9)
        )
        for hz in (130.81, 739.99)
    ]
    sound = Audio((0.05 * (tones[0] + tones[1]))[None].astype(np.float32), SAMPLE_RATE_HZ)
    owners = Attribution.load().attribute(log_cqt(sound), PitchModel.load().note(sound), ("violin", "cello"))
    low, high = owners.log_share[:, 48 - 21, 5:-5], owners.log_share[:, 78 - 21, 5:-5]
    assert (low.argmax(axis=0) == 1).mean() > 0.9
    assert (high.argmax(axis=0) == 0).mean() > 0.9


def test_whoever_stood_for_somebody_is_asked_about_again() -> None:
    asked: list[tuple[str, ...]] = []

    def decided(settings: DetectionSettings) -> Activity:
        """The violin hides the horn until it is out."""
        asked.append(settings.exclude)
        heard = everybody(100)
        there = np.array([key != ("violin" if "violin" in settings.exclude else "horn") for key in KNOWN])
        rows = [row for row, key in enumerate(KNOWN) if key not in settings.exclude]
        active = (heard.active & there[:, None])[rows]
        return Activity(heard.probability[rows], active, heard.presence[rows], tuple(KNOWN[row] for row in rows))

    def attributed(line_up: Sequence[str]) -> Ownership:
        """Every note is the piano's or the horn's."""
        found = owned((KNOWN.index("piano"), 0, 60), (KNOWN.index("horn"), 0, 40), blocks=100)
        rows = [KNOWN.index(key) for key in line_up]
        return Ownership(found.note, found.log_share[rows], tuple(line_up))

    activity, ownership = players_with_notes(decided, attributed, DetectionSettings())
    assert activity.present == ownership.instruments == ("piano", "horn")
    assert activity.instruments == KNOWN  # whoever is out is still on the timeline
    assert asked == [(), ("violin",)]
    named = DetectionSettings(instruments=("violin",))
    assert players_with_notes(decided, attributed, named)[0].present == ("piano", "violin")  # the user's word is law
