"""Training scenes: what mixing on the features promises, and that a training can be continued."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from models.detection.examples import LABELS, Example, StoredExample
from models.detection.scenes import (
    FAMILIES,
    Clip,
    Mixing,
    Stage,
    clips,
    drawn,
    of_family,
    only_player,
    real_kind,
    together,
)
from models.detection.sounds import (
    Sound,
    Variation,
    add_noise,
    cut,
    draw_steps,
    enter_and_leave,
    fall_in_step,
    interfering,
    mishear,
    note_spans,
    reverberate,
    transpose_by,
)
from models.networks.detection import DetectorConfig
from models.train_detection import Run, Training
from score_pipeline.units import FRAME_RATE_HZ

VIOLIN, HORN = LABELS.index("violin"), LABELS.index("horn")


def stored(
    folder: Path, name: str, *players: str, frames: int = 120, bin_: int = 40, level: float = -30.0
) -> StoredExample:
    levels = np.full((frames, 88), -90.0, np.float32)
    levels[:, bin_] = level
    pitch = np.zeros((frames, 88), np.float32)
    pitch[:, bin_] = 0.8
    labels = np.isin(LABELS, players)[:, None] & np.ones(frames, bool)
    Example(levels, pitch, labels, np.full((7, frames // 9), 0.5, np.float32)).save(folder / f"{name}.npz")
    return StoredExample.load(folder / f"{name}.npz")


def sound(player: str, bin_: int = 40, power: float = 1e-3, frames: int = 90) -> Sound:
    energy, pitch = np.zeros((2, frames, 88), np.float32)
    energy[:, bin_], pitch[:, bin_] = power, 0.8
    return Sound(energy, pitch, np.isin(LABELS, [player])[:, None] & np.ones(frames, bool))


def test_two_equal_sounds_are_three_decibels_louder() -> None:
    total, _ = together([sound("violin"), sound("violin")], [0, 0])
    assert 10 * np.log10(total.power[0, 40] / 1e-3) == pytest.approx(3.01, abs=0.01)


def test_everybody_in_a_mixture_is_labelled_and_owns_the_notes() -> None:
    total, roll = together([sound("violin"), sound("horn", bin_=20)], [0, -6])
    assert total.labels is not None and roll is not None
    assert total.labels[[VIOLIN, HORN]].all() and total.labels.sum() == 2 * 90
    assert roll[VIOLIN, 40].all() and roll[HORN, 20].all() and roll.sum() == 2 * 90
    assert 10 * np.log10(total.power[0, 20] / total.power[0, 40]) == pytest.approx(-6, abs=0.01)


def test_a_drowned_note_fades_from_the_posteriorgram_but_stays_its_players() -> None:
    total, roll = together([sound("violin"), sound("horn")], [0, -30])
    alone = together([sound("horn")], [-30])[0]
    assert roll is not None and roll[HORN, 40].all()
    assert alone.pitch[0, 40] == pytest.approx(0.8)
    assert total.pitch[0, 40] <= 0.8
    quiet, _ = together([sound("violin", power=1.0), sound("horn", bin_=20, power=1e-9)], [0, 0])
    assert quiet.pitch[0, 20] == pytest.approx(0.8 / (1 + np.exp(-2)), abs=0.01)  # nothing else in that bin


def test_a_sound_of_unknown_players_cannot_be_mixed() -> None:
    unknown = sound("violin")
    unknown.labels = None
    with pytest.raises(ValueError, match="nobody knows"):
        together([unknown, sound("horn")], [0, 0])


@pytest.mark.parametrize("semitones", [-2, 0, 1])
def test_transposing_moves_sound_and_pitch(semitones: int) -> None:
    moved = sound("piano")
    transpose_by(moved, semitones)
    assert moved.power[0].argmax() == moved.pitch[0].argmax() == 40 + semitones


def test_a_room_decays_by_sixty_decibels_in_its_time() -> None:
    click = sound("piano", frames=180)
    click.power[1:] = 0
    reverberate(click, 1.0, -6.0)
    level = 10 * np.log10(click.power[:, 40])
    assert level[20 + round(FRAME_RATE_HZ)] - level[20] == pytest.approx(-60, abs=1)
    steady = sound("piano", frames=900)
    reverberate(steady, 0.5, -6.0)
    assert steady.power[-1, 40] == pytest.approx(1e-3 * (1 + 10**-0.6), rel=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_who_has_left_is_neither_heard_nor_labelled(seed: int) -> None:
    player = sound("cello")
    enter_and_leave(player, np.random.default_rng(seed))
    assert player.labels is not None
    heard = player.power.any(axis=1)
    assert 0 < heard.sum() < 90
    np.testing.assert_array_equal(heard, player.labels.any(axis=0))
    np.testing.assert_array_equal(heard, player.pitch.any(axis=1))


@pytest.mark.parametrize("seed", range(5))
def test_who_falls_in_step_changes_notes_with_all_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = draw_steps(400, Variation(), rng)
    assert steps[0] == 0 and steps[-1] == 400 and all(a < b for a, b in itertools.pairwise(steps))
    for player, lowest, length in (("violin", 50, 31), ("horn", 20, 47)):
        energy = np.zeros((400, 88), np.float32)
        for k in range(400 // length):
            energy[k * length : k * length + length - 5, lowest + k] = 1.0
        alone = Sound(energy, energy.copy(), np.isin(LABELS, [player])[:, None] & energy.any(axis=1))
        fall_in_step(alone, steps, rng)
        begins, _ = note_spans(alone.pitch)
        assert set(begins.tolist()) == {step for step in steps[:-1] if 400 - step >= 8}
        assert alone.labels is not None and (alone.labels.any(axis=0) == alone.pitch.any(axis=1)).all()


def test_noise_lies_below_the_music() -> None:
    noisy = sound("flute")
    add_noise(noisy, Variation(noise_below_db=(40, 40)), np.random.default_rng(0))
    floor_db = 10 * np.log10(noisy.power[:, 44].mean() / 1e-3)
    assert floor_db == pytest.approx(-40, abs=4)


@pytest.mark.parametrize("start", [0, 9, 36])
def test_a_short_example_lies_in_silence(tmp_path: Path, start: int) -> None:
    longer = cut(stored(tmp_path, "a", "piano", frames=50), 90, start, repeat=False)
    expected = np.zeros(90, bool)
    expected[start : start + 50] = True
    assert longer.labels is not None and longer.taught is not None
    np.testing.assert_array_equal(longer.power.max(axis=1) > 1e-8, expected)
    np.testing.assert_array_equal(longer.labels.any(axis=0), expected)
    assert longer.taught.shape == (7, 10)
    assert longer.taught.any(axis=0).nonzero()[0][0] == start // 9


def test_a_short_example_is_repeated(tmp_path: Path) -> None:
    longer = cut(stored(tmp_path, "a", "piano", frames=50), 99, 0, repeat=True)
    assert longer.power.shape == longer.pitch.shape == (99, 88)
    assert longer.labels is not None and longer.labels.any(axis=0).all()
    assert longer.taught is not None and longer.taught.shape == (7, 11)


def test_targets_are_those_of_the_middle_frames() -> None:
    flute = sound("flute", frames=18)
    assert flute.labels is not None
    flute.labels[LABELS.index("flute")] = np.arange(18) >= 10
    item = drawn(flute, None, 0.0, 5, 3)
    assert item.cqt.shape == item.hsf.shape == (88, 18)
    assert item.labels[LABELS.index("flute")].tolist() == [0, 0, 0, 1, 1, 1]
    assert item.cqt.max() == pytest.approx(1)
    assert item.hsf[40 + 12, 0] == pytest.approx(0.8)
    assert item.is_rolled == 0 and item.known.all()


def test_a_known_line_up_says_who_is_absent_and_not_when_the_others_play() -> None:
    duo = sound("violin")
    duo.unsure = np.isin(LABELS, ["violin"])
    item = drawn(duo, None, 0.0, 5, 3)
    assert item.known[VIOLIN] == 0 and item.known.sum() == len(LABELS) - 1
    assert not item.labels[item.known > 0].any()


def test_the_teacher_is_not_believed_about_who_is_not_there() -> None:
    violin = sound("violin")
    violin.taught = np.full((7, 10), 0.9, np.float32)
    item = drawn(violin, None, 0.0, 5, 3)
    assert item.taught.sum(axis=1).nonzero()[0].tolist() == [1]  # the violin is the second of the seven


def test_a_misheard_posteriorgram_keeps_its_notes_in_their_places() -> None:
    before = sound("violin")
    before.pitch[:, 10] = 0.02
    for seed in range(30):
        heard = sound("violin")
        heard.pitch[:, 10] = 0.02
        mishear(heard, Variation(deaf_share=0), np.random.default_rng(seed))
        assert (heard.pitch.argmax(axis=1) == 40).all() and (heard.pitch[:, 10] < heard.pitch[:, 40]).all()
        assert np.array_equal(heard.power, before.power)
    deaf = sound("violin")
    mishear(deaf, Variation(deaf_share=1), np.random.default_rng(0))
    assert not deaf.pitch.any() and before.pitch.any()


def test_players_are_found_with_their_mixture(tmp_path: Path) -> None:
    mixture = stored(tmp_path, "c", "violin", "horn")
    players = [stored(tmp_path, f"c.stem{i}", key) for i, key in enumerate(("violin", "horn"))]
    assert [(clip.mixture.name, len(clip.stems)) for clip in clips([mixture, *players])] == [("c", 2)]
    with pytest.raises(ValueError, match="without their mixture"):
        clips(players)
    assert [only_player(one) for one in (mixture, *players)] == [None, VIOLIN, HORN]
    assert [real_kind(one) for one in (mixture, players[0])] == ["several", "violin"]


def test_scenes_are_a_function_of_the_generator(tmp_path: Path) -> None:
    players = [stored(tmp_path, f"c.stem{i}", key, bin_=30 + i) for i, key in enumerate(("violin", "horn"))]
    clip = Clip(stored(tmp_path, "c", "violin", "horn"), tuple(players))
    real = [stored(tmp_path, "solo", "horn", frames=60), stored(tmp_path, "noise")]
    stage = Stage([clip], real, Mixing(), 90)
    for seed in range(20):
        first, again = (stage.draw(5, 3, np.random.default_rng(seed)) for _ in range(2))
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)
        assert np.isfinite(first.cqt).all() and first.cqt.shape == (88, 90)


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    examples = [stored(tmp_path, "a", "violin"), stored(tmp_path, "b", "horn", bin_=20)]
    training = Training(
        steps=4,
        batch=2,
        frames=90,
        check_every=2,
        network=DetectorConfig(LABELS, ("violin",), ("horn",), channels=4, recurrent=4, timbre=4),
    )
    Run(tmp_path / "whole", training, clips(examples), []).train(examples)
    first = Run(tmp_path / "parts", training, clips(examples), [])
    first.check(examples, [first.one_step(), first.one_step()])
    Run(tmp_path / "parts", training, clips(examples), []).train(examples)
    whole, parts = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "parts"))
    assert parts["step"] == whole["step"] == 4
    for name, value in whole["network"].items():
        torch.testing.assert_close(parts["network"][name], value)


def test_powers_that_interfere_add_up_in_the_mean_and_beat_in_the_moment() -> None:
    one, other = np.full((2, 4000, 88), 1e-3, np.float32)
    beating = interfering([one, other], Variation(), np.random.default_rng(1))
    assert beating.mean() == pytest.approx(2e-3, rel=0.05)
    assert 0 <= beating.min() < 1e-4 and 3.9e-3 < beating.max() <= 4.01e-3
    np.testing.assert_allclose(interfering([one], Variation(), np.random.default_rng(1)), one, rtol=1e-4)


def test_a_family_plays_alone_if_any_of_it_can_be_drawn() -> None:
    even = np.full(len(LABELS), 1 / len(LABELS))
    winds = of_family(even, FAMILIES[0])
    assert {key for key, share in zip(LABELS, winds, strict=True) if share} == set(FAMILIES[0])
    assert winds.sum() == pytest.approx(1)
    pianos = np.isin(LABELS, ["piano"]).astype(float)
    np.testing.assert_array_equal(of_family(pianos, FAMILIES[0]), pianos)
