"""The whole job on the example recording, and what must not change its result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from score_pipeline import audio
from score_pipeline.cache import StageCache
from score_pipeline.evaluate import evaluate, read_notes
from score_pipeline.pipeline import STAGES, Conversion, Models, convert, load_models, who_plays
from score_pipeline.settings import DetectionSettings, RhythmSettings, Settings
from score_pipeline.types import Audio, Meter

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PLAYERS = ("violin", "viola", "horn", "bassoon")


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models()


@pytest.fixture(scope="module")
def opening(tmp_path_factory) -> Path:
    """The first nine seconds of the example, up to the end of bar 4."""
    whole = audio.read(EXAMPLES / "quartet.flac")
    path = tmp_path_factory.mktemp("sound") / "opening.flac"
    audio.write(path, Audio(whole.samples[:, : 9 * whole.rate_hz], whole.rate_hz))
    return path


@pytest.fixture(scope="module")
def conversion(opening: Path, models: Models) -> Conversion:
    told: list[tuple[str, float]] = []
    settings = Settings(detection=DetectionSettings(instruments=PLAYERS))
    found = convert(opening, settings, models, lambda stage, done: told.append((stage, done)), keep_stems=True)
    assert list(dict.fromkeys(stage for stage, _ in told)) == list(STAGES)
    assert all(0 <= done <= 1 for _, done in told)
    return found


def test_the_named_players_get_a_part_each(conversion: Conversion):
    assert {part.instrument for part in conversion.score.parts} == set(PLAYERS)
    assert set(conversion.seconds) == set(STAGES)
    assert set(conversion.models) == {"detector", "attribution", "separator", "basic_pitch"}


def test_most_notes_are_those_that_were_played(conversion: Conversion, tmp_path: Path):
    """A floor well below what is reached, so that a broken clock, octave or stem is noticed and luck is not."""
    from score_pipeline.notes_file import notes_csv

    (tmp_path / "notes.csv").write_text(notes_csv(conversion.quantised, conversion.grid))
    reference = [note for note in read_notes(EXAMPLES / "quartet.notes.csv") if note.onset_s < 8.5]
    found = evaluate(reference, read_notes(tmp_path / "notes.csv"), 0.1)
    assert found.blind.f1 > 0.5


def test_who_plays_is_called_a_guess_unless_it_was_said(conversion: Conversion, opening: Path, models: Models):
    guessed = convert(opening, Settings(), models)
    assert len(guessed.heard.tracks) > 1
    assert any("--instruments" in warning for warning in guessed.warnings)
    assert not any("--instruments" in warning for warning in conversion.warnings)


def test_stems_and_residual_are_the_recording(conversion: Conversion, opening: Path):
    stems = conversion.heard.stems
    assert stems is not None
    total = stems.residual.samples + sum(stem.samples for stem in stems.stems.values())
    np.testing.assert_allclose(total, audio.read(opening).samples, atol=2e-5)


def test_what_was_heard_is_kept_by_content(opening: Path, models: Models, tmp_path: Path):
    cache = StageCache(tmp_path / "cache")
    first = convert(opening, Settings(), models, cache=cache)
    copy = tmp_path / "another name.flac"
    copy.write_bytes(opening.read_bytes())
    stages: list[str] = []
    waltz = Settings(rhythm=RhythmSettings(tempo_bpm=100, meter=Meter(3, 4), downbeat_s=0.9))
    again = convert(copy, waltz, models, lambda stage, done: stages.append(stage), cache=cache)
    assert "separate" not in stages
    assert [track.notes for track in again.heard.tracks] == [track.notes for track in first.heard.tracks]
    assert again.grid.source == "hints"


@pytest.mark.parametrize("gain_db", [-6.0, 6.0])
def test_volume_does_not_change_who_plays(opening: Path, models: Models, gain_db: float, tmp_path: Path):
    original = audio.read(opening)
    louder = Audio(original.samples * np.float32(10 ** (gain_db / 20)), original.rate_hz)
    audio.write(tmp_path / "x.wav", louder, subtype="FLOAT")
    assert _present(tmp_path / "x.wav", models) == _present(opening, models)


def _present(path: Path, models: Models) -> set[str]:
    mixture = audio.resample(audio.to_mono(audio.read(path)), 22050)
    return set(who_plays(mixture, models.pitch.pitchgram(mixture).note, DetectionSettings(), models)[0].present)


def test_a_tempo_map_is_law(opening: Path, models: Models, tmp_path: Path):
    tempo_map = {"offset_s": 0.0, "tempo": [{"quarter": 0, "bpm": 90.0}], "meter": [], "first_bar": 17}
    (tmp_path / "map.json").write_text(json.dumps(tempo_map))
    settings = Settings(
        detection=DetectionSettings(instruments=("violin",)), rhythm=RhythmSettings(tempo_map=tmp_path / "map.json")
    )
    found = convert(opening, settings, models)
    assert found.grid.source == "host"
    assert found.score.parts[0].measures[0].number == 17
    np.testing.assert_allclose(np.diff(found.grid.beat_time_s), 60 / 90, atol=1e-9)


def test_silence_is_a_result_with_a_warning(models: Models, tmp_path: Path, silence_two_seconds: Audio):
    audio.write(tmp_path / "silence.wav", silence_two_seconds)
    found = convert(tmp_path / "silence.wav", Settings(), models)
    assert found.score.parts == ()
    assert any("silence" in warning for warning in found.warnings)


def test_a_conversion_needs_neither_torch_nor_tensorflow(opening: Path, tmp_path: Path):
    code = (
        "import sys\n"
        "from score_pipeline.cli import main\n"
        f"done = main(['convert', '--no-cache', '--quiet', '-o', {str(tmp_path / 'out')!r}, {str(opening)!r}])\n"
        "unwanted = {'torch', 'tensorflow', 'demucs', 'basic_pitch', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(done or ' '.join(unwanted) or 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "out" / "opening" / "result.json").is_file()
