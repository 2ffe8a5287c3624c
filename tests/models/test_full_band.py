"""The network that hears the whole band: its scenes, its training, its shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from models.detection.band_scenes import (
    BLOCKS,
    FRAMES,
    SAMPLES,
    WINDOWS,
    BandScenes,
    Cast,
    Player,
    Recorded,
    Scenery,
    in_a_room,
    load_scenes,
    told,
)
from models.detection.examples import LABELS
from models.detection.tagger import N_CLASSES
from models.networks.full_band import FullBand, FullBandConfig, widened
from models.train_full_band import Batch, Run, apart_figures, either, loss, summed
from score_pipeline.features.cqt import RANGE_DB
from score_pipeline.units import SAMPLE_RATE_HZ

VIOLIN, HORN = LABELS.index("violin"), LABELS.index("horn")


def tone(frequency_hz: float, amplitude: float = 0.3) -> np.ndarray:
    time = np.arange(SAMPLES) / SAMPLE_RATE_HZ
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def halves(first: float, second: float) -> np.ndarray:
    gain = np.where(np.arange(SAMPLES) < SAMPLES // 2, first, second)
    return tone(440) * gain.astype(np.float32)


def test_who_sounds_is_told_and_who_rests() -> None:
    plays = told([Player(halves(1, 0), VIOLIN), Player(halves(0, 1), HORN)])
    assert plays.shape == (len(LABELS), BLOCKS)
    assert (plays[VIOLIN] == [1] * 38 + [0] * 38).all()
    assert (plays[HORN] == [0] * 38 + [1] * 38).all()
    assert not np.delete(plays, [VIOLIN, HORN], axis=0).any()


def test_a_decay_and_a_drowned_player_are_nobodys_knowledge() -> None:
    decay = told([Player(halves(1, 0.01), VIOLIN)])  # 40 dB below
    assert (decay[VIOLIN, 39:] == 2).all() and (decay[VIOLIN, :38] == 1).all()
    drowned = told([Player(tone(440, 0.5), VIOLIN), Player(tone(300, 0.01), HORN)])  # 34 dB below
    assert (drowned[HORN] == 2).all() and (drowned[VIOLIN] == 1).all()


def test_a_player_of_no_instrument_of_the_table_drowns_others_and_is_not_told() -> None:
    plays = told([Player(tone(440, 0.01), VIOLIN), Player(tone(300, 0.9), None)])
    assert set(np.unique(plays)) == {0, 2}


def test_a_room_keeps_silence_and_length() -> None:
    rng = np.random.default_rng(0)
    assert not in_a_room([Player(np.zeros(SAMPLES, np.float32), None)], rng, 1.0).any()
    heard = in_a_room([Player(halves(0, 1), VIOLIN)], np.random.default_rng(1), 1.0)
    assert heard.shape == (SAMPLES,)
    before, after = np.square(heard[: SAMPLES // 2 - 2000]).mean(), np.square(heard[SAMPLES // 2 :]).mean()
    assert before < 1e-4 * after  # nothing rings before it is played


@pytest.fixture
def cast() -> Cast:
    def recorded(name: str, frequency_hz: float, solo: str) -> Recorded:
        return Recorded(name, (32767 * tone(frequency_hz)).astype(np.int16), solo)

    return Cast([recorded("violin_a", 660, "violin"), recorded("horn_b", 220, "horn")], [])


def test_the_same_generator_draws_the_same_scene(cast: Cast) -> None:
    scenery = Scenery(cast, None)
    one, other = (scenery.draw(np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(a, b, equal_nan=a.dtype != np.uint8) for a, b in zip(one, other, strict=True))
    assert one.mel.shape == (FRAMES, 128) and one.plays.shape == (len(LABELS), BLOCKS)
    assert np.isnan(one.tagged).all() and one.tagged.shape == (N_CLASSES, WINDOWS)


def test_only_who_is_in_the_cast_plays(cast: Cast) -> None:
    scenery = Scenery(cast, None)
    drawn = [scenery.draw(np.random.default_rng(seed)) for seed in range(12)]
    played = np.max([(scene.plays == 1).any(axis=1) for scene in drawn], axis=0)
    assert {LABELS[row] for row in np.flatnonzero(played)} == {"violin", "horn"}


def test_a_stranger_is_heard_and_nobody_is_told(cast: Cast) -> None:
    stranger = Recorded("piccolo_c", (32767 * tone(3000)).astype(np.int16), players=frozenset())
    scenery = Scenery(Cast([*cast.real, stranger], []), None)
    drawn = [scenery.draw(np.random.default_rng(seed)) for seed in range(60)]
    whistle = np.array([scene.mel[:, 70:95].max(axis=1).mean() for scene in drawn])
    heard = whistle > np.median(whistle) + 100
    assert 3 <= heard.sum() <= 18
    assert all(not scene.plays[LABELS.index("flute")].any() for scene in drawn)


def test_powers_of_two_scenes_add() -> None:
    level = np.full((5, 128), 0.5, np.float32)
    np.testing.assert_allclose((summed(level, level, 0.0) - level) * RANGE_DB, 3.01, atol=0.01)
    np.testing.assert_allclose(summed(level, level - 1, 0.0), level, atol=1e-4)
    np.testing.assert_allclose(summed(level, level, -10.0), summed(level, level - 10 / RANGE_DB, 0.0), atol=1e-6)


def test_who_plays_in_either_of_two_scenes() -> None:
    states = np.array([0, 1, 2], np.uint8)
    assert either(states[:, None], states[None]).tolist() == [[0, 1, 2], [1, 1, 1], [2, 1, 2]]


@pytest.mark.parametrize("frames", [9, 90, 684])
def test_an_answer_per_nine_frames(frames: int) -> None:
    heard = FullBand(FullBandConfig(("violin", "horn"), tags=7)).eval()(torch.rand(2, 128, frames))
    assert heard.labels.shape == (2, 2, frames // 9)
    assert heard.tagged.shape == (2, 7, frames // 9)


def test_what_nobody_knows_costs_nothing() -> None:
    network = FullBand(FullBandConfig(LABELS, tags=N_CLASSES)).eval()
    mel, plays = torch.rand(2, 128, FRAMES), torch.zeros(2, len(LABELS), BLOCKS, dtype=torch.uint8)
    unasked = torch.full((2, N_CLASSES, WINDOWS), torch.nan)
    plays[:, VIOLIN] = 2
    with torch.no_grad():
        known = loss(network, Batch(mel, plays, unasked))
        network.late.bias[VIOLIN] += 5
        moved = loss(network, Batch(mel, plays, unasked))
    assert float(known.tagged) == 0
    torch.testing.assert_close(known.labels, moved.labels)


def scenes(count: int) -> BandScenes:
    rng = np.random.default_rng(3)
    mel = rng.integers(0, 255, (count, FRAMES, 128), dtype=np.uint8)
    plays = rng.integers(0, 3, (count, len(LABELS), BLOCKS), dtype=np.uint8)
    plays[1::2] = 0
    tagged = rng.normal(-4, 2, (count, N_CLASSES, WINDOWS)).astype(np.float16)
    tagged[::2] = np.nan
    return BandScenes(mel, plays, tagged)


def test_a_continued_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    some = scenes(6)
    torch.set_num_threads(1)
    Run(tmp_path / "whole", 4, some, some, batch=2).train()
    first = Run(tmp_path / "parts", 4, some, some, batch=2)
    for step in range(2):
        first._one_step(first._drawn[step])
    first.progress.log.append({"step": 2, "label_loss": 1.0, "tagged_loss": 1.0, "apart_loss": 1.0, "apart_area": 0.5})
    first.progress.save(tmp_path / "parts")
    Run(tmp_path / "parts", 4, some, some, batch=2).train()
    whole, parts = (torch.load(tmp_path / name / "last.pt")["network"] for name in ("whole", "parts"))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, msg=name)


def test_figures_on_scenes_kept_apart_tell_a_right_answer_from_a_wrong_one() -> None:
    some = scenes(4)
    some.plays[:2], some.plays[2:] = 1, 0
    network = FullBand(FullBandConfig(LABELS, tags=3))
    figures = apart_figures(network, some)
    assert set(figures) == {"apart_loss", "apart_area"} and 0 <= figures["apart_area"] <= 1


def test_scenes_are_read_in_order_and_none_is_refused(tmp_path: Path) -> None:
    for number in (1, 0):
        part = scenes(2)
        np.savez(tmp_path / f"scenes_{number:05d}.npz", **(part._asdict() | {"plays": part.plays * 0 + number}))
    assert load_scenes(tmp_path).plays[:, 0, 0].tolist() == [0, 0, 1, 1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no scenes"):
        load_scenes(tmp_path / "empty")


def test_a_widened_network_answers_as_before_and_its_twins_can_part() -> None:
    torch.manual_seed(3)
    narrow = FullBand(FullBandConfig(LABELS, 5, widths=(8, 12, 12, 16, 16, 20, 20), channels=24, recurrent=8))
    for name, value in narrow.named_buffers():  # statistics as after a training
        if name.endswith(("running_mean", "running_var")):
            value.add_(torch.rand_like(value))
    wide_config = replace(narrow.config, widths=(12, 16, 20, 16, 24, 50, 30))
    mel = torch.rand(2, 128, 90)
    wide = widened(narrow.eval(), wide_config, noise=0.0).eval()
    for before, after in zip(narrow(mel), wide(mel), strict=True):
        torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    noisy = widened(narrow, wide_config).layers[0][0].weight
    assert len(torch.unique(noisy.flatten(1), dim=0)) == 12
    with pytest.raises(ValueError, match="cannot become"):
        widened(wide, narrow.config)
    with pytest.raises(ValueError, match="only the widths"):
        widened(narrow, replace(wide_config, recurrent=16))
