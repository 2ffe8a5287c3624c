"""What the doctor finds, with parts of the house taken away."""

from __future__ import annotations

import importlib.metadata

import pytest

from score_pipeline import doctor, weights
from score_pipeline.doctor import Finding
from score_pipeline.errors import WeightsError


def _named(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


@pytest.fixture
def no_tone(monkeypatch):
    """The conversion of the tone left out: it has tests of its own."""
    monkeypatch.setattr(doctor, "_tone", lambda: Finding("conversion of a tone", "ok", "left out"))


def test_every_requirement_is_looked_at(no_tone, tmp_path):
    findings = doctor.examine(tmp_path)
    names = {finding.name for finding in findings}
    assert {"Python", "numpy", "onnxruntime", "librosa", "soundfile", "verovio", "ffmpeg", "cache"} <= names
    assert {f"model {name}" for name in ("detector", "attribution", "separator", "basic_pitch")} <= names
    assert not names & {"torch", "demucs", "mir_eval"}
    assert _named(findings, "numpy").detail == importlib.metadata.version("numpy")


@pytest.mark.parametrize(
    ("needed", "state", "said"),
    [
        ("no-such-library-of-ours>=1", "missing", "pip install"),
        ('no-such-library-of-ours>=1; extra == "preview"', "optional", "pip install"),
        ("numpy>=9999", "missing", "but >=9999 is needed"),
        ("numpy", "ok", ""),
    ],
)
def test_libraries(needed, state, said, no_tone, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "needs", lambda: doctor.Needs(">=3.11", [needed]))
    finding = doctor.examine(tmp_path)[1]
    assert finding.state == state
    assert said in finding.detail


def test_a_python_that_is_too_old_is_told(no_tone, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "needs", lambda: doctor.Needs(">=4", []))
    assert doctor.examine(tmp_path)[0].state == "missing"


def test_a_missing_model_is_told_and_the_tone_is_not_tried(tmp_path, monkeypatch):
    def missing(name):
        raise WeightsError(f"The model {name!r} is not installed; reinstall score-pipeline.")

    monkeypatch.setattr(weights, "find", missing)
    findings = doctor.examine(tmp_path)
    assert _named(findings, "model detector").state == "missing"
    assert "reinstall" in _named(findings, "model detector").detail
    assert "conversion of a tone" not in {finding.name for finding in findings}


def test_a_cache_that_cannot_be_written_is_no_obstacle(no_tone, tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = _named(doctor.examine(tmp_path / "file" / "cache"), "cache")
    assert found.state == "optional"
    assert "cannot be written" in found.detail


def test_the_command(say, monkeypatch):
    findings = [Finding("Python", "ok", "3.11"), Finding("numpy", "missing", "not installed; run: pip install numpy")]
    monkeypatch.setattr(doctor, "examine", lambda cache: findings)
    said = say("doctor")
    assert said.code == 1
    assert "pip install numpy" in said.out
    assert "Python" not in say("doctor", "--quiet").out
    assert say("doctor", "--json").events[0][1]["state"] == "missing"
    findings.pop()
    assert say("doctor", "--quiet") == type(said)(0, "", "")
