"""Pictures: verovio draws every fixture without a word of complaint; missing programs are named."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from score_pipeline.errors import MissingExtraError, OutputError
from score_pipeline.notation import render
from score_pipeline.notation.musicxml import part_to_musicxml, to_musicxml
from score_pipeline.types import Meter

PIECES = ("waltz_two_bars", "pickup", "six_eight", "triplets", "piano_two_voices")


@pytest.mark.parametrize("name", PIECES)
def test_verovio_draws_without_warnings(
    name: str, request: pytest.FixtureRequest, help_with: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("verovio")
    score = help_with.build(request.getfixturevalue(name))
    for content in (to_musicxml(score), part_to_musicxml(score, score.parts[0])):
        pages = render.to_svg_pages(content)
        assert len(pages) == 1
        assert "<svg" in pages[0]
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out == ""


def test_png_and_pdf(waltz_two_bars: Any, help_with: SimpleNamespace) -> None:
    pytest.importorskip("verovio")
    pytest.importorskip("cairosvg", exc_type=(ImportError, OSError))
    pages = render.to_svg_pages(to_musicxml(help_with.build(waltz_two_bars)))
    assert render.to_png(pages[0], 200).startswith(b"\x89PNG")
    pdf = render.to_pdf(pages * 2)
    assert pdf.startswith(b"%PDF")
    assert b"/Count 2" in pdf


def test_no_pages_are_no_pdf() -> None:
    with pytest.raises(ValueError, match="at least one page"):
        render.to_pdf([])


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verovio", None)
    with pytest.raises(MissingExtraError, match="preview"):
        render.to_svg_pages(b"<score-partwise/>")


def test_musescore_that_writes_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "mscore"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render.musescore() == program
    with pytest.raises(OutputError, match="drew no score"):
        render.to_pdf_by_musescore(b"<score-partwise/>")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(MissingExtraError, match="MuseScore is not installed"):
        render.to_pdf_by_musescore(b"<score-partwise/>")


def test_marks_above_counted_rests_are_drawn_and_no_second_clef(help_with: SimpleNamespace) -> None:
    verovio = pytest.importorskip("verovio")
    grid = help_with.grid_of(Meter(4, 4), 48)
    violin = [(i, 1, 67 + i % 3) for i in range(96)] + [(i, 4, 85) for i in range(96, 192, 4)]
    tracks = [help_with.track_of("violin", violin, grid), help_with.track_of("bassoon", [(188, 4, 50)], grid)]
    score = help_with.build((tracks, grid))
    (bassoon,) = (part for part in score.parts if part.instrument == "bassoon")
    content = part_to_musicxml(score, bassoon)
    assert content.count(b"<multiple-rest>") == 2 and b"<rehearsal" in content
    help_with.schema().validate(content.decode())
    toolkit = verovio.toolkit()
    assert toolkit.loadData(content.decode())
    drawn = toolkit.getMEI()
    assert [drawn.count(f"<{name} ") for name in ("multiRest", "clef", "tempo", "reh")] == [2, 1, 1, 1]
