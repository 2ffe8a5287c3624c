"""The detector's decisions with networks whose answers are known, and its windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from score_pipeline.detection import detector as module
from score_pipeline.detection.detector import FEATURES, Detector, DetectorCard, Features, decide, to_frames
from score_pipeline.errors import WeightsError
from score_pipeline.settings import DetectionSettings
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import SAMPLE_RATE_HZ, n_frames

CARD = DetectorCard(("piano", "violin", "horn"), (0.3, 0.4, 0.5), hsf_order=5, output_frames=3, block_frames=9)


class LoudestBins:
    """A stand-in network: each instrument's probability is the level of one bin of the transform, averaged locally."""

    def run(self, names: list[str], inputs: dict[str, FloatArray]) -> list[FloatArray]:
        frames = inputs["cqt"].shape[2]
        assert frames % 9 == 0
        assert inputs["hsf"].shape == inputs["cqt"].shape
        assert inputs["mel"].shape == (1, 128, frames)
        rows = inputs["cqt"][0, [39, 48, 60]]
        return [rows.reshape(3, frames // 3, 3).mean(axis=2)[None].astype(np.float32)]


@pytest.fixture
def detector() -> Detector:
    return Detector(LoudestBins(), CARD)  # type: ignore[arg-type]


def noise(seconds: float, seed: int = 0) -> Audio:
    samples = 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * SAMPLE_RATE_HZ))
    return Audio(samples[None].astype(np.float32), SAMPLE_RATE_HZ)


def no_notes(audio: Audio) -> FloatArray:
    return np.zeros((n_frames(audio.samples.shape[1]), 88), np.float32)


def full_card() -> dict[str, Any]:
    return {
        "features": {**FEATURES, "hsf_order": 5},
        "instruments": ["piano", "violin"],
        "thresholds": {"violin": 0.4, "piano": 0.3},
        "output_frames": 3,
        "block_frames": 9,
    }


def test_a_card_is_read_in_the_order_of_its_instruments() -> None:
    card = DetectorCard.from_card(full_card())
    assert dict(zip(card.instruments, card.thresholds, strict=True)) == {"piano": 0.3, "violin": 0.4}


@pytest.mark.parametrize("missing", ["features", "instruments", "thresholds", "output_frames"])
def test_an_incomplete_card_is_refused(missing: str) -> None:
    card = full_card()
    del card[missing]
    with pytest.raises(WeightsError, match=missing):
        DetectorCard.from_card(card)


def test_a_card_of_other_features_is_refused() -> None:
    card = full_card()
    card["features"]["hop_length"] = 512
    with pytest.raises(WeightsError, match="hop_length"):
        DetectorCard.from_card(card)


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.5, 3.3])
def test_one_column_per_frame_for_any_length(detector: Detector, seconds: float) -> None:
    audio = noise(seconds)
    activity = detector.detect(Features.of(audio, no_notes(audio)))
    assert activity.probability.shape == (3, n_frames(audio.samples.shape[1]))


def test_windows_equal_the_whole(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    features = Features(
        rng.uniform(-60, 0, (1500, 88)).astype(np.float32),
        rng.uniform(-60, 0, (1500, 128)).astype(np.float32),
        rng.random((1500, 88)).astype(np.float32),
    )
    whole = detector.probability(features)
    monkeypatch.setattr(module, "WINDOW_BLOCKS", 30)
    monkeypatch.setattr(module, "CONTEXT_BLOCKS", 7)
    for frames in (269, 270, 271, 1500, 1411):
        answer = detector.probability(features[:frames])
        # the reference level differs a little between stretches, and the last output may be padded
        assert answer.shape[1] == -(-frames // 3)
    np.testing.assert_allclose(detector.probability(features), whole, atol=1e-6)


def test_a_wrong_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="posteriorgram"):
        Features.of(noise(1), np.zeros((5, 88), np.float32))


def test_silence_gives_nobody(detector: Detector) -> None:
    audio = Audio(np.zeros((1, 50000), np.float32), SAMPLE_RATE_HZ)
    activity = detector.detect(Features.of(audio, no_notes(audio)))
    assert activity.present == ()
    assert activity.presence.max() == 0
    named = detector.detect(Features.of(audio, no_notes(audio)), DetectionSettings(instruments=("piano",)))
    assert named.present == ()


def test_six_decibels_change_nobody(detector: Detector) -> None:
    audio = noise(2)
    louder = Audio(audio.samples * 2, SAMPLE_RATE_HZ)
    before, after = (detector.detect(Features.of(heard, no_notes(heard))) for heard in (audio, louder))
    assert (before.active == after.active).all()
    np.testing.assert_allclose(before.probability, after.probability, atol=1e-3)


def answer_of(frames: int, **rows: float) -> FloatArray:
    answer = np.zeros((3, -(-frames // 3)), np.float32)
    for row, key in enumerate(CARD.instruments):
        answer[row] = rows.get(key, 0.0)
    return answer


def test_who_is_above_the_threshold_plays() -> None:
    activity = decide(
        answer_of(300, piano=0.9, violin=0.3), np.ones(300, bool), np.ones(300, int), CARD, DetectionSettings()
    )
    assert activity.present == ("piano",)  # .9 is above .3, .3 is not above .4
    assert activity.presence.tolist() == pytest.approx([0.9, 0.3, 0])
    assert activity.active[0].all()


def test_two_notes_want_two_players_or_one_who_plays_chords() -> None:
    for loud, expected in (("horn", ("violin", "horn")), ("piano", ("piano",))):
        answer, audible = answer_of(300, violin=0.3, **{loud: 0.9}), np.ones(300, bool)
        assert decide(answer, audible, np.full(300, 1), CARD, DetectionSettings()).present == (loud,)
        assert decide(answer, audible, np.full(300, 2), CARD, DetectionSettings()).present == expected


def test_excluded_players_have_no_row() -> None:
    activity = decide(
        answer_of(300, piano=0.9, violin=0.9),
        np.ones(300, bool),
        np.ones(300, int),
        CARD,
        DetectionSettings(exclude=("piano",)),
    )
    assert activity.instruments == ("violin", "horn")
    assert activity.present == ("violin",)


@pytest.mark.parametrize("named", [("horn",), ("violin", "horn"), ("horn", "flute"), ("flute",)])
def test_named_players_are_exactly_those_present(named: tuple[str, ...]) -> None:
    answer = answer_of(300, piano=0.9, violin=0.3, horn=0.01)
    activity = decide(answer, np.ones(300, bool), np.ones(300, int), CARD, DetectionSettings(instruments=named))
    assert activity.instruments == named
    assert activity.present == named
    assert activity.active.any(axis=0).all()


def test_a_named_player_rests_where_another_is_heard_instead() -> None:
    answer = np.zeros((3, 200), np.float32)
    answer[0, :100] = 0.8
    answer[1, 100:] = 0.8
    activity = decide(
        answer, np.ones(600, bool), np.ones(600, int), CARD, DetectionSettings(instruments=("piano", "violin"))
    )
    assert activity.active[0, :290].all()
    assert not activity.active[0, 310:].any()
    assert activity.active[1, 310:].all()
    assert not activity.active[1, :290].any()


def test_nobody_plays_in_a_rest_of_all() -> None:
    audible = np.ones(900, bool)
    audible[300:600] = False
    activity = decide(answer_of(900, piano=0.9), audible, np.ones(900, int), CARD, DetectionSettings())
    assert not activity.active[0, 300:600].any()
    assert [round(span.start_s) for span in activity.spans("piano")] == [0, 7]


def test_outputs_are_centred_on_their_middle_frame() -> None:
    rows = to_frames(np.array([[0.0, 3.0, 6.0]], np.float32), 9, 3)
    np.testing.assert_allclose(rows[0], [0, 0, 1, 2, 3, 4, 5, 6, 6])


def test_less_than_a_second_in_all_is_a_ghost() -> None:
    answer = np.zeros((3, 2000), np.float32)
    answer[0] = 0.8
    answer[1, 500:520] = 1.0  # 0.7 s
    answer[2, 500:800] = 1.0  # 10 s
    answer[1:, 1000:1020] = 0.01
    activity = decide(answer, np.ones(6000, bool), np.ones(6000, int), CARD, DetectionSettings())
    assert activity.present == ("piano", "horn")


def test_notes_of_somebody_like_nobody_known_go_to_whom_the_network_comes_nearest(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = noise(2)
    frames = n_frames(audio.samples.shape[1])
    faint = answer_of(frames, piano=0.01, violin=0.05, horn=0.02)
    monkeypatch.setattr(detector, "probability", lambda features: faint)
    assert detector.detect(Features.of(audio, no_notes(audio))).present == ()
    note = no_notes(audio)
    note[:, 40] = 0.9
    assert detector.detect(Features.of(audio, note)).present == ("violin",)
    assert detector.detect(Features.of(audio, note), DetectionSettings(exclude=("violin",))).present == ("horn",)
