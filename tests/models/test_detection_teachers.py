"""The tagger's input and windows, what training makes of its answers, and mixtures of players who never met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from models.detection import tagger
from models.detection.encounters import Cast, encounter, entering
from models.detection.examples import LABELS, Example, StoredExample
from models.detection.scenes import real_kind
from models.detection.tagger import HOP_FRAMES, WINDOW_FRAMES, Tagger, log_mel
from models.train_detection import tag_midpoints, tagged_loss, with_absences
from score_pipeline.types import Audio
from score_pipeline.units import FRAME_RATE_HZ, SAMPLE_RATE_HZ

PIANO = LABELS.index("piano")


def tone(frequency_hz: float, seconds: float, rate_hz: int) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def test_a_higher_tone_lies_in_a_higher_band() -> None:
    bands = [int(log_mel(tone(hz, 1.0, 32000)).mean(axis=1).argmax()) for hz in (220, 880, 3520)]
    assert bands == sorted(bands) and len(set(bands)) == 3
    # mel(880 Hz) = 917 of mel(15 kHz) = 3493, and 128 triangles have their peaks 27 mel apart
    assert bands[1] == pytest.approx(917 / 3493 * 129 - 1, abs=1)


class Counting:
    """A stand-in network that answers class by class with the level of its input."""

    def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        (mel,) = inputs["logmel"]
        assert mel.shape == (128, round(WINDOW_FRAMES / FRAME_RATE_HZ * 100))
        return [np.full((1, 527), mel.mean(), np.float32)]


@pytest.mark.parametrize(("seconds", "windows"), [(3.9, 0), (4.0, 1), (5.9, 1), (6.0, 2), (30.0, 14)])
def test_windows_of_four_seconds_every_two(seconds: float, windows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.detection.tagger.weights.open_session", lambda path: Counting())
    audio = Audio(tone(440, seconds, SAMPLE_RATE_HZ)[None], SAMPLE_RATE_HZ)
    assert Tagger(Path()).logits(audio).shape == (14, windows)


def test_the_midpoint_parts_playing_from_resting(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    frames = WINDOW_FRAMES + 9 * HOP_FRAMES
    examples = []
    for index in range(4):
        labels = np.zeros((len(LABELS), frames), bool)
        labels[[LABELS.index(key) for key in tagger.INSTRUMENTS]] = index % 2 == 0
        logits = generator.normal(-2.0 if index % 2 == 0 else -6.0, 0.5, (14, 10)).astype(np.float32)
        silent = np.full((frames, 88), -90.0, np.float32)
        Example(silent, np.zeros_like(silent), labels, None, tagged=logits).save(tmp_path / f"{index}.npz")
        examples.append(StoredExample.load(tmp_path / f"{index}.npz"))
    assert np.all(np.abs(tag_midpoints(examples) + 4) < 1.5)
    with pytest.raises(ValueError, match="plays in all or in none"):
        tag_midpoints(examples[::2])


def test_the_taggers_windows_are_the_outputs_they_cover() -> None:
    outputs, steps = 285, HOP_FRAMES // 3
    answers = torch.full((1, 2, outputs), -20.0)
    answers[0, 0, : 2 * steps] = 20.0  # the first four seconds
    truth = torch.full((1, 2, 4), -20.0)
    truth[0, 0, 0] = 20.0
    truth[0, 0, 1] = float("nan")  # half in, half out: not asked
    assert tagged_loss(answers, truth).item() < 1e-3
    truth[0, 0, 0] = -20.0
    assert tagged_loss(answers, truth).item() > 1
    assert tagged_loss(answers, truth[:, :, :0]).item() == 0


def test_an_encounter_is_labelled_by_who_sounds() -> None:
    rest = np.zeros(5 * SAMPLE_RATE_HZ, np.float32)
    cast = Cast({"piano": [np.concatenate((tone(440, 5.0, SAMPLE_RATE_HZ), rest))]}, {})
    for seed in range(5):
        mixture, labels = encounter(cast, np.random.default_rng(seed))
        again, same = encounter(cast, np.random.default_rng(seed))
        np.testing.assert_array_equal(mixture, again)
        np.testing.assert_array_equal(labels, same)
        assert np.isfinite(mixture).all() and np.abs(mixture).max() <= 1
        assert not labels[np.arange(len(LABELS)) != PIANO].any()
        sounding = labels[PIANO].nonzero()[0]
        assert len(sounding) == 0 or sounding.max() < 8 * FRAME_RATE_HZ  # five seconds, and the room


def test_some_players_come_late_or_leave_early() -> None:
    kinds = set()
    for seed in range(60):
        entered = entering(SAMPLE_RATE_HZ, np.random.default_rng(seed))
        kinds.add((bool(entered[0] > 0.5), bool(entered[-1] > 0.5)))
    assert kinds == {(True, True), (True, False), (False, True)}


def test_who_is_never_tagged_is_absent_and_of_the_others_nothing_is_known(tmp_path: Path) -> None:
    silent = np.full((WINDOW_FRAMES, 88), -90.0, np.float32)
    logits = np.full((14, 2), -9.0, np.float32)
    logits[tagger.INSTRUMENTS.index("cello"), 1] = -4.5
    Example(silent, np.zeros_like(silent), None, None, tagged=logits).save(tmp_path / "one.npz")
    heard = with_absences(StoredExample.load(tmp_path / "one.npz"), np.full((14, 1), -4.0, np.float32))
    assert heard.labels is not None and heard.unsure is not None
    unsure = [key for key, row in zip(LABELS, heard.unsure, strict=True) if row]
    assert sorted(unsure) == ["bassoon", "cello", "oboe", "viola"]  # the tagger knows no bassoon, oboe or viola
    np.testing.assert_array_equal(heard.labels.all(axis=1), heard.unsure)


def test_beside_who_is_in_front_only_who_is_never_tagged_is_known_to_be_absent(tmp_path: Path) -> None:
    unsure = np.array([key != "horn" for key in LABELS])
    silent = np.full((WINDOW_FRAMES, 88), -90.0, np.float32)
    logits = np.full((14, 1), -9.0, np.float32)
    logits[tagger.INSTRUMENTS.index("cello")] = -4.5
    labels = np.ones((len(LABELS), WINDOW_FRAMES), np.bool_)
    Example(silent, np.zeros_like(silent), labels, None, unsure, logits).save(tmp_path / "one.npz")
    heard = with_absences(StoredExample.load(tmp_path / "one.npz"), np.full((14, 1), -4.0, np.float32))
    assert heard.labels is not None and heard.unsure is not None
    assert real_kind(heard) == "in front"
    assert sorted(key for key, row in zip(LABELS, heard.unsure, strict=True) if row) == [
        "bassoon",
        "cello",
        "oboe",
        "viola",
    ]
    plays = heard.labels.any(axis=1) & ~heard.unsure
    assert [key for key, row in zip(LABELS, plays, strict=True) if row] == ["horn"]  # tagged or not
