"""Training examples, real recordings and figures, by what each step promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from models.detection.examples import LABELS, Example, StoredExample, in_front, line_up, noises, real_label
from models.detection.metrics import pooled
from models.detection.recordings import Sounding, mixed, read_notes, roll
from models.evaluate_detection import write_section
from models.train_detection import best_f1
from score_pipeline.types import Audio
from score_pipeline.units import SAMPLE_RATE_HZ


def example(instrument: str, frames: int = 90, level: float = -30.0, bin_: int = 40) -> Example:
    levels = np.full((frames, 88), -90.0, np.float32)
    levels[:, bin_] = level
    pitch = np.zeros((frames, 88), np.float32)
    pitch[:, bin_] = 0.8
    labels = np.zeros((len(LABELS), frames), bool)
    labels[LABELS.index(instrument)] = True
    return Example(levels, pitch, labels, np.full((7, frames // 9), 0.5, np.float32))


def test_a_file_keeps_an_example(tmp_path: Path) -> None:
    original = example("violin", level=3.2)
    original.save(tmp_path / "one.npz")
    stored = StoredExample.load(tmp_path / "one.npz")
    back = stored.example(9, 50)
    np.testing.assert_allclose(back.levels, original.levels[9:50], atol=0.26)
    np.testing.assert_allclose(back.pitch, original.pitch[9:50], atol=1 / 255)
    assert back.labels is not None and back.labels[LABELS.index("violin")].all()
    assert back.taught is not None and back.taught.shape == (7, 4)
    with pytest.raises(ValueError, match="multiple"):
        stored.example(4)


def test_noises_are_quiet_finite_and_repeatable() -> None:
    first, second = list(noises(0.5, 3, seed=1)), list(noises(0.5, 3, seed=1))
    for (_, a), (_, b) in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)


@pytest.mark.parametrize(
    ("path", "label"),
    [("piano/a.ogg", "piano"), ("mixed/a.ogg", None), ("medley-solos/training-5_ab.ogg", "saxophone")],
)
def test_labels_of_files(path: str, label: str | None) -> None:
    assert real_label(Path(path)) == label


def test_best_f1_finds_the_threshold_that_separates() -> None:
    probability = np.array([0.1, 0.2, 0.6, 0.7], np.float32)
    score, threshold = best_f1(probability, np.array([0, 0, 1, 1], np.float32))
    assert score == 1
    assert 0.2 < threshold <= 0.6


def test_rolls_mixtures_and_pools(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("onset_s,offset_s,pitch,instrument\n0.0,0.1,60,kick\n0.2,0.3,62,horn\n")
    notes = read_notes(tmp_path / "notes.csv")
    assert notes == [Sounding("drums", 0.0, 0.1), Sounding("horn", 0.2, 0.3)]
    assert roll(notes[1:], 40).nonzero()[0].tolist() == list(range(18, 26))
    sound = mixed([Audio(np.ones((1, n), np.float32), SAMPLE_RATE_HZ) for n in (3, 5)])
    assert sound.samples.tolist() == [[2, 2, 2, 1, 1]]
    assert pooled(np.eye(20, dtype=bool)[:1]).tolist() == [[True, False]]


def test_a_section_is_replaced_and_the_rest_is_left(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\n\nseparation\n")
    write_section(path, "one")
    write_section(path, "two")
    text = path.read_text()
    assert "separation" in text and "two" in text and "one" not in text


def test_line_ups_are_read_from_folders() -> None:
    assert line_up(Path("real/lineup/violin+cello/a.ogg")) == ["violin", "cello"]
    assert "viola" in (line_up(Path("real/strings/a.ogg")) or ())
    assert line_up(Path("real/violin/a.ogg")) is None
    with pytest.raises(ValueError, match="kazoo is no instrument"):
        line_up(Path("real/lineup/violin+kazoo/a.ogg"))


def test_who_is_in_front_is_read_from_folders() -> None:
    assert in_front(Path("unlabelled/horn predominant/a.ogg")) == "horn"
    assert in_front(Path("real/horn/a.ogg")) is None
    with pytest.raises(ValueError, match="kazoo is no instrument"):
        in_front(Path("unlabelled/kazoo predominant/a.ogg"))
