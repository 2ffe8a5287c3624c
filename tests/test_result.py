from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pretty_midi
import pytest

from score_pipeline import audio, result
from score_pipeline.errors import MissingExtraError, OutputError
from score_pipeline.notation import render
from score_pipeline.notes_file import read_grid, read_tracks
from score_pipeline.pipeline import Conversion, Heard, StageClock, write_down
from score_pipeline.settings import RhythmSettings, Settings
from score_pipeline.types import Activity, Audio, Meter, Note, Stems, Track

SCHEMA = json.loads((Path(result.__file__).parent / "result.schema.json").read_text())


@pytest.fixture(scope="module")
def duet() -> Conversion:
    """Eight bars of a violin and a cello at 120, with stems louder than FLAC can hold."""
    violin = Track("violin", 1, tuple(Note(i / 2, i / 2 + 0.45, 67 + i % 5, 80, "violin", 0.9) for i in range(32)))
    cello = Track("cello", 1, tuple(Note(float(i), i + 0.9, 43 + i % 3, 60, "cello", 0.8, "viola") for i in range(16)))
    settings = Settings(rhythm=RhythmSettings(tempo_bpm=120, meter=Meter(4, 4), downbeat_s=0.0))
    clock = StageClock(lambda stage, done: None)
    grid, quantised, score = write_down((violin, cello), None, 16.0, settings, "a duet.wav", clock)
    active = np.ones((2, 1379), dtype=bool)
    active[1, 100:200] = False
    activity = Activity(active.astype(np.float32), active, np.ones(2), ("violin", "cello"))
    sound = Audio(np.full((2, 1000), 0.75), 44100)
    residual = Audio(np.full((2, 1000), -0.5), 44100)
    stems = Stems({"violin": sound, "cello": Audio(sound.samples * 2, 44100)}, residual)
    return Conversion(
        Path("a duet.wav"), 16.0, settings, Heard(activity, (violin, cello), stems), grid, tuple(quantised), score,
        ("It is a test.",), clock.seconds, {"detector": "0" * 64},
    )  # fmt: skip


def test_the_folder_holds_what_was_promised(duet: Conversion, tmp_path: Path):
    files = result.write(duet, tmp_path / "out" / "a duet")
    folder = tmp_path / "out" / "a duet"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == sorted(files)
    assert set(files) == {
        "score.musicxml", "parts/01-violin.musicxml", "parts/02-cello.musicxml", "performance.mid", "score.mid",
        "notes.csv", "beats.csv", "activity.json", "activity.npz", "stems/violin.flac", "stems/cello.flac",
        "stems/residual.flac", "report.html", "result.json",
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a duet"]


def test_score_and_parts_come_in_other_formats(duet: Conversion, tmp_path: Path):
    pytest.importorskip("verovio")
    files = result.write(duet, tmp_path / "duet", formats={"mxl", "svg"})
    assert {"score.mxl", "parts/01-violin.mxl", "score-1.svg", "parts/02-cello-1.svg"} <= set(files)
    with zipfile.ZipFile(tmp_path / "duet" / "score.mxl") as packed:
        assert packed.read("score.musicxml") == (tmp_path / "duet" / "score.musicxml").read_bytes()
    assert "<svg" in (tmp_path / "duet" / "parts" / "02-cello-1.svg").read_text()


def test_a_pdf_is_drawn_by_whoever_can(duet: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cairosvg", None)
    monkeypatch.setattr(render, "to_pdf_by_musescore", lambda musicxml: b"%PDF of " + musicxml[:5])
    files = result.write(duet, tmp_path / "duet", formats={"pdf"})
    assert {"score.pdf", "parts/01-violin.pdf", "parts/02-cello.pdf"} <= set(files)
    monkeypatch.setattr(render, "musescore", lambda: None)
    with pytest.raises(MissingExtraError, match="preview"):
        render.check_formats({"pdf"})
    render.check_formats({"mxl"})


def test_result_json_keeps_its_schema(duet: Conversion, tmp_path: Path):
    result.write(duet, tmp_path / "duet")
    summary = json.loads((tmp_path / "duet" / "result.json").read_text())
    jsonschema.validate(summary, SCHEMA)
    assert [part["notes"] for part in summary["parts"]] == [32, 16]
    assert summary["warnings"] == ["It is a test."]
    assert summary["settings"]["rhythm"]["tempo_bpm"] == 120


def test_activity_comes_back(duet: Conversion, tmp_path: Path):
    result.write(duet, tmp_path / "duet")
    with np.load(tmp_path / "duet" / "activity.npz") as stored:
        np.testing.assert_array_equal(stored["active"], duet.heard.activity.active)
        np.testing.assert_array_equal(stored["probability"], duet.heard.activity.probability)
        assert list(stored["instruments"]) == ["violin", "cello"]
        assert float(stored["frame_rate"]) == pytest.approx(86.1328125)
    spans = json.loads((tmp_path / "duet" / "activity.json").read_text())["instruments"]
    assert len(spans["violin"]["spans"]) == 1
    assert len(spans["cello"]["spans"]) == 2


def test_stems_are_turned_down_together_and_still_add_up(duet: Conversion, tmp_path: Path):
    names, gain = result.write_stems(tmp_path / "stems", duet.heard.stems)
    assert gain == pytest.approx(0.999 / 1.5)
    total = sum(audio.read(tmp_path / name).samples for name in names)
    np.testing.assert_allclose(total, gain * (0.75 + 1.5 - 0.5), atol=1e-5)


def test_notes_and_beats_come_back(duet: Conversion, tmp_path: Path):
    result.write(duet, tmp_path / "duet")
    tracks = {track.instrument: track for track in read_tracks(tmp_path / "duet" / "notes.csv")}
    assert [note.pitch for note in tracks["violin"].notes] == [note.pitch for note in duet.heard.tracks[0].notes]
    assert tracks["cello"].notes[0].second_instrument == "viola"
    grid = read_grid(tmp_path / "duet" / "beats.csv")
    np.testing.assert_allclose(grid.beat_time_s, duet.grid.beat_time_s, atol=1e-4)


@pytest.mark.parametrize("name", ["performance.mid", "score.mid"])
def test_midi_has_a_track_per_part_in_time(duet: Conversion, tmp_path: Path, name: str):
    result.write(duet, tmp_path / "duet")
    midi = pretty_midi.PrettyMIDI(str(tmp_path / "duet" / name))
    by_name = {part.name: part for part in midi.instruments}
    assert set(by_name) == {"Violin", "Cello"}
    for (label, part), track in zip(sorted(by_name.items(), reverse=True), duet.heard.tracks, strict=True):
        onsets = [note.start for note in sorted(part.notes, key=lambda note: note.start)]
        np.testing.assert_allclose(onsets, [note.onset_s for note in track.notes], atol=2e-3, err_msg=label)


def test_an_existing_result_is_kept_unless_forced(duet: Conversion, tmp_path: Path):
    folder = tmp_path / "duet"
    result.write(duet, folder)
    (folder / "mine.txt").write_text("keep me")
    with pytest.raises(OutputError, match="--force"):
        result.write(duet, folder)
    assert (folder / "mine.txt").exists()
    result.write(duet, folder, force=True)
    assert not (folder / "mine.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["duet"]


def test_a_folder_of_something_else_is_never_replaced(duet: Conversion, tmp_path: Path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("years of work")
    with pytest.raises(OutputError, match="something else"):
        result.write(duet, folder, force=True)
    assert (folder / "chapter1.tex").read_text() == "years of work"


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path):
    def fill(folder: Path) -> list[str]:
        (folder / "half.txt").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        result.write_folder(tmp_path / "out", fill, force=False)
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_is_a_file(duet: Conversion, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another folder"):
        result.write(duet, tmp_path / "file" / "out")
