"""Scores of the Mutopia Project: from what LilyPond says to records; which files are free, and whole."""

from __future__ import annotations

import shutil
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from models import mutopia_scores
from models.mutopia_scores import candidates, converted, kind_of, licence_of, listen, midi_bpm, read_logs, records_of
from models.rhythm_scores import DIV

with_lilypond = pytest.mark.skipif(
    not (shutil.which("lilypond") and shutil.which("convert-ly")), reason="LilyPond is not installed"
)


def said(bars: list[Fraction], *, braced: bool = True, beats: int = 3) -> str:
    """A tune in quarters over a bass note a bar, for bars of these lengths; a short first one is a pickup."""
    upper, lower = ("9\tPiano", "9\tPiano") if braced else ("1\tPiano", "2\tCello")
    lines = ["SCORE", f"STAFF\t1\t{upper} / upper", f"STAFF\t2\t{lower} / lower"]
    at, whole = Fraction(), Fraction(beats, 4)
    for number, length in enumerate(bars):
        place = length - whole if number == 0 else Fraction()
        for k in range(int(length * 4)):
            lines.append(f"B\t{at + Fraction(k, 4)}\t{place + Fraction(k, 4)}\t{beats}\t4")
            lines.append(f"N\t{at + Fraction(k, 4)}\t0\t1/4\t{60 + (5 * k + 2 * number) % 9}\t1\t0")
        lines.append(f"N\t{at}\t0\t{length}\t{40 + number % 5}\t2\t0")
        at += length
    return "\n".join([*lines, "END"])


WHOLE = Fraction(3, 4)


def records(log: str, kind: str = "piano", text: str = "", complaints: str = "") -> list[dict]:
    return list(records_of("ComposerA/O1/piece/piece.ly", text, kind, log, complaints))


def test_a_waltz_with_a_pickup_is_one_record() -> None:
    (record,) = records(said([Fraction(1, 4), *[WHOLE] * 15]), text='  title = "Waltz"')
    assert record["title"] == "Waltz" and record["source"].endswith("ComposerA/O1/piece/piece.ly")
    assert record["time_signatures"] == [[0, 3, 4]] and record["tempos"] == []
    assert record["measures"] == [[0, 1], *([DIV + 3 * DIV * k, k + 2] for k in range(15))]
    (part,) = record["parts"]
    assert part["instrument"] == "piano" and len(part["notes"]) == 46 + 16
    assert part["notes"][:3] == [[0, DIV, 40, 0, 1, 1], [0, DIV, 60, 0, 2, 1], [DIV, 3 * DIV, 41, 0, 1, 1]]


@pytest.mark.parametrize(
    ("kind", "braced", "instruments"),
    [("piano", False, ["piano"]), ("", True, ["piano"]), ("", False, ["cello", "piano"])],
)
def test_staves_of_one_player_are_one_part(kind: str, braced: bool, instruments: list[str]) -> None:
    (record,) = records(said([WHOLE] * 16, braced=braced), kind)
    assert [part["instrument"] for part in record["parts"]] == instruments
    staves = [{note[4] for note in part["notes"]} for part in record["parts"]]
    assert staves == ([{1}, {1}] if len(instruments) == 2 else [{1, 2}])


def test_tied_notes_are_one_and_graces_have_no_duration() -> None:
    log = said([WHOLE] * 16).replace("N\t1/2\t0\t1/4\t61\t1\t0", "N\t1/2\t0\t1/4\t62\t1\t1")
    assert "N\t3/4\t0\t1/4\t62\t1\t0" in log  # the same pitch opens the second bar
    log = log.replace("END", "N\t1/4\t1\t1/8\t90\t1\t0\nEND")
    notes = records(log)[0]["parts"][0]["notes"]
    assert next(note[:3] for note in notes if note[2] == 62) == [2 * DIV, 2 * DIV, 62]
    assert [note for note in notes if note[2] == 90] == [[DIV, 0, 90, 0, 2, 1, DIV // 2]]


def test_bars_that_a_repeat_sign_cuts_are_one_and_others_part_the_score() -> None:
    halves = said([WHOLE] * 16).replace("B\t13/4\t1/4\t3\t4", "B\t13/4\t0\t3\t4").replace("B\t7/2\t1/2", "B\t7/2\t1/4")
    assert len(records(halves)[0]["measures"]) == 16
    long = said([*[WHOLE] * 16, Fraction(1), *[WHOLE] * 16])
    first, second = records(long)
    assert [len(record["measures"]) for record in (first, second)] == [16, 16]
    assert second["measures"][0] == [0, 1] and min(note[0] for note in second["parts"][0]["notes"]) == 0


def test_scores_that_are_not_sound_are_left_out() -> None:
    good = said([WHOLE] * 16)
    assert len(records(good)) == 1
    assert records(good.removesuffix("END")) == []
    assert records(good, complaints="score.ly:3:4: error: unknown escaped string") == []
    assert records(good, complaints="warning: barcheck failed at: 1/4\n" * 3) == []
    assert records(said([WHOLE, Fraction(1)] * 10)) == []
    assert records(said([WHOLE] * 7)) == []
    assert records(said([Fraction(11, 4)] * 10, beats=11)) == []


def test_the_last_mark_before_a_stretch_is_its_tempo() -> None:
    log = said([*[WHOLE] * 16, Fraction(1), *[WHOLE] * 16]).replace("END", "T\t0\t90.0\nT\t3\t120.0\nT\t16\t66.0\nEND")
    first, second = records(log, text=r"\midi { \tempo 4 = 50 }")
    assert first["tempos"] == [[0, 90.0, ""], [12 * DIV, 120.0, ""]]
    assert second["tempos"] == [[0, 120.0, ""], [(64 - 52) * DIV, 66.0, ""]]
    (record,) = records(said([WHOLE] * 16), text=r"\midi { \tempo 4. = 50 }")
    assert record["tempos"] == [[0, 75.0, ""]]


def test_midi_blocks_that_disagree_say_nothing() -> None:
    assert midi_bpm(r"\score { \midi { \tempo 2 = 60 } } \score { \midi { \tempo 4 = 120 } }") == 120
    assert midi_bpm(r"\score { \midi { \tempo 2 = 60 } } \score { \midi { \tempo 4 = 90 } }") == 0
    assert midi_bpm(r"\score { \midi { } }") == 0


@pytest.mark.parametrize(
    ("header", "licence"),
    [
        ('license = "Public Domain"', "Public Domain"),
        ('copyright = "Public Domain"', "Public Domain"),
        ('license = "Creative Commons Attribution 4.0"', "CC BY 4.0"),
        ('license = "cc-by 3.0"', "CC BY 3.0"),
        ('licence = "CC0"', "CC0"),
        (r'copyright = \markup { "Placed in the " \bold "public domain" by the typesetter }', "Public Domain"),
        ('license = "Creative Commons Attribution-ShareAlike 3.0"', None),
        ('license = "Creative Commons Attribution-NonCommercial 2.5"', None),
        ('license = "Public Domain"\n copyright = "CC BY-SA 3.0"', None),
        ('copyright = "1999 A. Typesetter"', None),
        ('% license = "Public Domain"\n title = "Air"', None),
    ],
)
def test_only_free_licences_count(header: str, licence: str | None) -> None:
    assert licence_of(f"\\header {{\n {header}\n}}") == licence


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Piano", "piano"), ("Harpsichord, Piano", "harpsichord"), ("Double Bass", "double_bass"), ("Flute", "flute"),
        ("Piano duet", ""), ("Violin and Piano", ""), ("2 Flutes", ""), ("String Quartet", ""), ("", ""),
    ],
)  # fmt: skip
def test_one_player_is_told_from_several(said: str, kind: str) -> None:
    assert kind_of(f'\\header {{ mutopiainstrument = "{said}" }}') == kind


def test_keyboard_comes_first_and_parts_and_included_files_are_no_candidates(tmp_path: Path) -> None:
    folder = tmp_path / "ComposerA/O1/trio/trio-lys"
    folder.mkdir(parents=True)
    (folder / "trio.ly").write_text('\\include "notes.ly" mutopiainstrument = "Piano Trio"')
    (folder / "notes.ly").write_text("{ c }")
    (folder / "cello.ly").write_text("{ c }")
    for name, said in (("suite", "Piano"), ("air", "Guitar")):
        (tmp_path / "ComposerB/O2" / name).mkdir(parents=True)
        (tmp_path / "ComposerB/O2" / name / f"{name}.ly").write_text(f'mutopiainstrument = "{said}"')
    found = [(path.stem, kind) for path, kind in candidates(tmp_path)]
    assert found == [("suite", "piano"), ("air", "guitar"), ("trio", "")]


def test_without_lilypond_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ftp").mkdir()
    monkeypatch.setattr(mutopia_scores.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["x", "--source", str(tmp_path), "--apart", "a", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        mutopia_scores.main()
    assert "install LilyPond" in capsys.readouterr().err


@with_lilypond
def test_lilypond_is_heard_without_first_endings(tmp_path: Path) -> None:
    folder = tmp_path / "ComposerA/O1/waltz"
    folder.mkdir(parents=True)
    (folder / "bass.ly").write_text(
        "bass = \\notes \\relative c { r4 \\repeat volta 2 { c2. } \\alternative { d e } f }"
    )
    (folder / "waltz.ly").write_text(
        '\\version "2.2.0" \\include "bass.ly"\n'
        "tune = \\notes \\relative c'' { \\time 3/4 \\partial 4 g4 \\repeat volta 2 { a b c ~ } \\alternative {"
        " { c2. } { \\grace d8 c2. } } e2. }\n"
        "\\score { \\context PianoStaff << \\context Staff=up \\tune \\context Staff=down \\bass >> \\paper { } }"
    )
    text = converted(folder / "waltz.ly", tmp_path)
    out, complaints = listen(text)
    assert "error" not in complaints
    (log,) = read_logs(out)
    assert len({brace for brace, _ in log.staves.values()}) == 1
    tune = [(note.at, note.pitch) for note in log.notes if note.pitch > 60 and not note.grace]
    at = [Fraction(k, 4) for k in (0, 1, 2, 3, 4, 7)]
    assert tune == list(zip(at, (67, 69, 71, 72, 72, 76), strict=True))
    assert [note.pitch for note in log.notes if note.grace] == [74]
    assert [note.pitch for note in log.notes if note.pitch < 60] == [48, 52, 53]
    assert [note.tied for note in log.notes if note.pitch == 72] == [True, False]
    assert {bar.meter for bar in log.bars} == {(3, 4)} and log.bars[0].virtual == Fraction(-1, 2)
