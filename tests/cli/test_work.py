"""What each command leaves, with networks that answer at once."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from score_pipeline import audio
from score_pipeline.features.cqt import audible
from score_pipeline.pipeline import Models
from score_pipeline.settings import RhythmSettings, Settings
from score_pipeline.types import Activity, Audio, Meter, Note, Ownership, Stems, Track
from score_pipeline.units import FRAME_RATE_HZ, n_frames
from score_pipeline.work import Convert, Detect, Separate, activity_of_notes, engrave

HALF = ("violin",)


class PretendedNetworks:
    """Hear a violin in the first half of everything, and nothing in silence."""

    def pitchgram(self, mixture):
        return SimpleNamespace(note=np.zeros((n_frames(mixture.samples.shape[1]), 88), dtype=np.float32))

    def probability(self, features):
        return np.zeros((1, len(features.levels) // 3), dtype=np.float32)

    def decided(self, answer, features, settings):
        frames = len(features.levels)
        active = np.zeros((1, frames), dtype=bool)
        if audible(features.levels).any():
            active[:, : frames // 2] = True
        return Activity(active.astype(np.float32), active, active.max(axis=1).astype(np.float32), HALF)

    def attribute(self, levels, note, line_up):
        return Ownership(note, np.zeros((len(line_up), 88, 1), dtype=np.float16), tuple(line_up))

    def separate(self, recording, activity, ownership, progress):
        progress(0.5)
        share = Audio(recording.samples * 0.75, recording.rate_hz)
        return Stems({"violin": share}, Audio(recording.samples * 0.25, recording.rate_hz))


@pytest.fixture
def hearing():
    """hearing(Detect) makes a work whose networks are pretended."""

    def make(kind):
        work = kind()
        networks = PretendedNetworks()
        work.models = Models(networks, networks, networks, networks, {})
        return work

    return make


@pytest.fixture
def recording(tmp_path, a440_two_seconds):
    audio.write(tmp_path / "a440.wav", a440_two_seconds)
    return tmp_path / "a440.wav"


def test_detect_tells_and_writes_who_plays_when(say, hearing, recording, tmp_path):
    said = say("detect", recording, "-o", tmp_path / "out", "--json", work=hearing(Detect))
    assert said.code == 0
    found = said.events[-1]["found"][0]
    assert (found["instrument"], found["notes"]) == ("violin", None)
    assert found["spans"] == [[0.0, pytest.approx(1.0, abs=0.02)]]
    written = json.loads((tmp_path / "out" / "a440" / "activity.json").read_text())
    assert written["instruments"]["violin"]["presence"] == 1.0
    with np.load(tmp_path / "out" / "a440" / "activity.npz") as arrays:
        assert arrays["active"].sum() / arrays["frame_rate"] == pytest.approx(1.0, abs=0.02)
    assert "0:00-0:0" in say("detect", recording, work=hearing(Detect)).out


def test_a_picture_is_drawn_when_asked_for(say, hearing, recording, tmp_path):
    work = hearing(Detect)
    assert say("detect", recording, "-o", tmp_path / "plain", work=work).code == 0
    assert say("detect", recording, "-o", tmp_path / "drawn", "--plot", work=work).code == 0
    files = {path.name for path in (tmp_path / "plain" / "a440").iterdir()}
    assert {path.name for path in (tmp_path / "drawn" / "a440").iterdir()} - files == {"activity.svg"}
    drawn = (tmp_path / "drawn" / "a440" / "activity.svg").read_text(encoding="utf-8")
    assert "a440.wav" in drawn
    assert "Violin" in drawn


def test_nothing_detected_is_said(say, hearing, tmp_path, silence_two_seconds):
    audio.write(tmp_path / "nothing.wav", silence_two_seconds)
    said = say("detect", tmp_path / "nothing.wav", work=hearing(Detect))
    assert said.code == 0
    assert "no instrument found" in said.out
    assert "Warning" in said.out


def test_stems_add_up_to_the_recording(say, hearing, recording, tmp_path):
    assert say("separate", recording, "-o", tmp_path / "out", "--quiet", work=hearing(Separate)).code == 0
    stems = sorted((tmp_path / "out" / "a440" / "stems").iterdir())
    assert [path.name for path in stems] == ["residual.flac", "violin.flac"]
    total = sum(audio.read(path).samples for path in stems)
    np.testing.assert_allclose(total, audio.read(recording).samples, atol=2**-22)


@pytest.mark.parametrize("kind", [Detect, Separate])
def test_partial_results_are_replaced_only_when_told_to(kind, say, hearing, recording, tmp_path):
    command = kind.__name__.lower()
    assert say(command, recording, "-o", tmp_path / "out", work=hearing(kind)).code == 0
    refused = say(command, recording, "-o", tmp_path / "out", work=hearing(kind))
    assert refused.code == 1
    assert "exists already" in refused.err
    assert say(command, recording, "-o", tmp_path / "out", "--force", work=hearing(kind)).code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a440"]


def test_a_work_can_be_sent_to_another_process():
    import pickle

    assert pickle.loads(pickle.dumps(Convert(3))) == Convert(3)


def test_a_cache_that_cannot_be_used_costs_nothing_but_time(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = Convert(cache_folder=tmp_path / "file" / "cache").cache
    assert cache.remember(len, ignore=()) is len
    assert "cannot be used" in caplog.text


def test_activity_of_notes_is_where_they_sound():
    tracks = [
        Track("cello", 1, (Note(0.0, 1.0, 40, 80, "cello"),)),
        Track("violin", 1, (Note(0.5, 1.5, 70, 80, "violin"), Note(2.0, 3.0, 71, 80, "violin"))),
    ]
    activity = activity_of_notes(tracks)
    assert activity.instruments == ("violin", "cello")
    half_a_frame = 0.5 / FRAME_RATE_HZ
    for key, spans in {"violin": [(0.5, 1.5), (2.0, 3.0)], "cello": [(0.0, 1.0)]}.items():
        np.testing.assert_allclose(activity.spans(key), spans, atol=1.01 * 2 * half_a_frame)


BEATS = "time_s,beat,bar,meter\n" + "".join(f"{0.6 * k:.1f},{k % 3 + 1},{k // 3 + 1},3/4\n" for k in range(9))
NOTES = "onset_s,offset_s,pitch,instrument\n" + "".join(
    f"{0.6 * k:.1f},{0.6 * k + 0.6:.1f},{60 + k},violin\n" for k in range(8)
)


def test_engrave_goes_by_the_beats_beside_the_notes(tmp_path):
    (tmp_path / "notes.csv").write_text(NOTES)
    (tmp_path / "beats.csv").write_text(BEATS)
    conversion = engrave(tmp_path / "notes.csv", Settings(), lambda stage, done: None)
    assert conversion.grid.source == "score"
    assert set(map(str, conversion.grid.meter)) == {"3/4"}
    assert [note.onset_q for note in conversion.quantised[0].notes] == list(range(8))


def test_what_the_user_says_about_the_beat_goes_first(tmp_path):
    (tmp_path / "notes.csv").write_text(NOTES)
    (tmp_path / "beats.csv").write_text(BEATS)
    hints = RhythmSettings(tempo_bpm=100, meter=Meter(4, 4), downbeat_s=0.0)
    conversion = engrave(tmp_path / "notes.csv", Settings(rhythm=hints), lambda stage, done: None)
    assert set(map(str, conversion.grid.meter)) == {"4/4"}


def test_engraved_results_can_be_engraved_again(say, tmp_path):
    """notes.csv and beats.csv of a result, and its performance.mid, lead to the same bars."""
    (tmp_path / "notes.csv").write_text(NOTES)
    (tmp_path / "beats.csv").write_text(BEATS)
    assert say("engrave", tmp_path / "notes.csv", "-o", tmp_path / "first", "--quiet").code == 0
    first = tmp_path / "first" / "notes"
    for source in ("notes.csv", "performance.mid"):
        assert say("engrave", first / source, "-o", tmp_path / "again", "--quiet").code == 0
        again = tmp_path / "again" / source.partition(".")[0] / "notes.csv"
        columns = [
            [line.split(",")[2:11:6] for line in path.read_text().splitlines()] for path in (first / "notes.csv", again)
        ]
        assert columns[0] == columns[1]


def test_engrave_tells_what_it_cannot_read(say, tmp_path):
    (tmp_path / "empty.csv").write_text("onset_s,offset_s,pitch,instrument\n")
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    said = say("engrave", tmp_path / "empty.csv", tmp_path / "wrong.csv", tmp_path / "none.mid", "-o", tmp_path / "out")
    assert said.code == 1
    assert [name for name in ("empty.csv", "wrong.csv", "none.mid") if name in said.err] == [
        "empty.csv",
        "wrong.csv",
        "none.mid",
    ]
    assert said.err.count("\n") == 3
    assert not (tmp_path / "out").exists()
