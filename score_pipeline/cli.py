"""The command `score-pipeline`: arguments in, files, events and an exit code out. Nothing is computed here.

Exit codes: 0 all done; 1 something failed, one sentence each on standard error; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from score_pipeline import __version__
from score_pipeline.batch import SUMMARY_FILE, batch_folders, find_recordings, output_folders, run_batch, run_here
from score_pipeline.console import print_table, reporter
from score_pipeline.errors import AudioFileError, ScorePipelineError
from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.notation.render import FORMATS
from score_pipeline.notes_file import parse_meter
from score_pipeline.settings import Settings
from score_pipeline.wording import printable
from score_pipeline.work import DEFAULT_THREADS, Convert, Detect, Engrave, Job, Separate, Transcribe, Work


def main(argv: Sequence[str] | None = None, work: Work | None = None) -> int:
    """Runs one command and returns its exit code. `work` stands in for what the command would do to each file."""
    if argv is None:
        _behave_as_a_program()
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        return int(args.run(args, work))
    except ScorePipelineError as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read our output has gone; what is still buffered must not fail a second time at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _behave_as_a_program() -> None:
    """SIGTERM ends us the way an exception does, so that nothing stays half-written; odd names can be printed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


# --- settings as options ----------------------------------------------------------------------------------------


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in text.split(",") if key.strip())


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{printable(path)} does not exist")
    return path


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


def _reader(parse: Callable[[str], object]) -> Callable[[str], object]:
    """`parse` with its ValueErrors in the words argparse shows."""

    def read(text: str) -> object:
        try:
            return parse(text)
        except (ValueError, ZeroDivisionError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


@dataclass(frozen=True)
class Option:
    """How one field of the settings is named and read on the command line; default and help are the field's own."""

    flag: str
    stage: str
    name: str
    parse: Callable[[str], object]
    metavar: str


OPTIONS: tuple[Option, ...] = (
    Option("--instruments", "detection", "instruments", _keys, "A,B"),
    Option("--exclude", "detection", "exclude", _keys, "A,B"),
    Option("--onset-threshold", "transcription", "onset_threshold", float, "P"),
    Option("--frame-threshold", "transcription", "frame_threshold", float, "P"),
    Option("--shortest-note-frames", "transcription", "shortest_note_frames", int, "N"),
    Option("--tempo", "rhythm", "tempo_bpm", float, "BPM"),
    Option("--meter", "rhythm", "meter", parse_meter, "N/D"),
    Option("--downbeat", "rhythm", "downbeat_s", float, "S"),
    Option("--tempo-map", "rhythm", "tempo_map", _file, "FILE"),
    Option("--detail", "rhythm", "detail", str, "plain|normal|full"),
    Option("--divisions", "rhythm", "finest_divisions", _integers, "N,N"),
    Option("--title", "notation", "title", printable, "TEXT"),
    Option("--shortest-written", "notation", "shortest_written_q", Fraction, "Q"),
    Option("--doubtful-below", "notation", "doubtful_confidence", float, "P"),
)

HEARING = ("detection", "transcription", "rhythm")
ALL_STAGES = (*HEARING, "notation")


def _field(option: Option) -> Field[Any]:
    """The field of the settings behind an option."""
    stage = getattr(Settings(), option.stage)
    return next(each for each in fields(stage) if each.name == option.name)


def _add_settings(parser: argparse.ArgumentParser, stages: Sequence[str]) -> None:
    for stage in stages:
        group = parser.add_argument_group(stage)
        for option in OPTIONS:
            if option.stage == stage:
                described = _field(option)
                default = "" if described.default in (None, ()) else f" (default {_plain(described.default)})"
                group.add_argument(
                    option.flag,
                    dest=f"{option.stage}.{option.name}",
                    type=_reader(option.parse),
                    metavar=option.metavar,
                    help=(described.metadata["help"] + default).replace("%", "%%"),
                )
    if "detection" in stages:
        parser.epilog = f"instruments: {', '.join(INSTRUMENTS)}"


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings of the command line; what was not given keeps its default. Wrong values are wrong usage."""
    given: dict[str, dict[str, Any]] = {}
    for option in OPTIONS:
        value = getattr(args, f"{option.stage}.{option.name}", None)
        if value is not None:
            given.setdefault(option.stage, {})[option.name] = value
    try:
        stages = {
            each.name: type(getattr(Settings(), each.name))(**given.get(each.name, {})) for each in fields(Settings)
        }
        return Settings(**stages)
    except ValueError as error:
        args.parser.error(str(error))
        raise


# --- commands ---------------------------------------------------------------------------------------------------


def _convert(args: argparse.Namespace, work: Work | None) -> int:
    return _do_files(args, work or Convert(args.threads, _cache_folder(args)))


def _detect(args: argparse.Namespace, work: Work | None) -> int:
    if args.plot and args.out is None:
        args.parser.error("--plot needs -o, the folder its picture goes to")
    return _do_files(args, work or Detect(args.threads))


def _separate(args: argparse.Namespace, work: Work | None) -> int:
    return _do_files(args, work or Separate(args.threads))


def _transcribe(args: argparse.Namespace, work: Work | None) -> int:
    return _do_files(args, work or Transcribe(args.threads, _cache_folder(args)))


def _engrave(args: argparse.Namespace, work: Work | None) -> int:
    return _do_files(args, work or Engrave())


def _do_files(args: argparse.Namespace, work: Work) -> int:
    """One job per file, one after the other."""
    settings = settings_of(args)
    sources = list({path.absolute(): path for path in args.files}.values())
    if settings.notation.title is not None and len(sources) > 1:
        args.parser.error("--title is for one file; several cannot have the same")
    folders = [None] * len(sources) if args.out is None else output_folders(sources, args.out)
    jobs = [
        Job(
            source,
            folder,
            settings,
            stems=getattr(args, "stems", False),
            plot=getattr(args, "plot", False),
            formats=_formats(args),
            force=args.force,
        )
        for source, folder in zip(sources, folders, strict=True)
    ]
    with reporter(args.json, args.quiet, len(jobs)) as said:
        return 0 if run_here(jobs, work, said, args.traceback) else 1


def _batch(args: argparse.Namespace, work: Work | None) -> int:
    from score_pipeline.audio import AUDIO_SUFFIXES

    settings = settings_of(args)
    if not args.folder.is_dir():
        raise AudioFileError(f"{args.folder} is not a folder; for single files use: score-pipeline convert.")
    sources = list(find_recordings(args.folder, AUDIO_SUFFIXES, args.out))
    if not sources:
        raise AudioFileError(f"{args.folder} holds no recordings; name a folder with sound files in it or below it.")
    folders = batch_folders(sources, args.folder, args.out)
    jobs = [
        Job(source, folder, settings, stems=args.stems, formats=_formats(args), force=args.force)
        for source, folder in zip(sources, folders, strict=True)
    ]
    with reporter(args.json, args.quiet, len(jobs)) as said:
        all_done = run_batch(jobs, args.out, args.jobs, work or Convert(args.threads), said)
    if not (args.json or args.quiet):
        print(f"What became of each: {printable(args.out / SUMMARY_FILE)}")
    return 0 if all_done else 1


def _evaluate(args: argparse.Namespace, work: Work | None) -> int:
    from score_pipeline.evaluate import evaluate, read_notes

    try:
        found = evaluate(read_notes(args.reference), read_notes(args.estimate), args.tolerance)
    except ValueError as error:
        args.parser.error(str(error))
    rows = {**found.instruments, "all": found.together, "all, whoever plays": found.blind}
    if args.json:
        figures = {
            name: {
                "reference": row.reference,
                "estimate": row.estimate,
                "matched": row.matched,
                "precision": round(row.precision, 4),
                "recall": round(row.recall, 4),
                "f1": round(row.f1, 4),
            }
            for name, row in rows.items()
        }
        print(json.dumps({"tolerance_s": args.tolerance, "figures": figures}))
        return 0
    print_table(
        ("instrument", "reference", "estimate", "right", "precision", "recall", "F1"),
        [
            (
                name,
                *(f"{number:,}" for number in (row.reference, row.estimate, row.matched)),
                *(f"{figure:.3f}" for figure in (row.precision, row.recall, row.f1)),
            )
            for name, row in rows.items()
        ],
    )
    return 0


def _models(args: argparse.Namespace, work: Work | None) -> int:
    from score_pipeline import weights

    found = [weights.find(name) for name in weights.available()] + [weights.basic_pitch()]
    if args.json:
        print(json.dumps([{"name": each.name, "sha256": each.sha256, "card": each.card} for each in found]))
        return 0
    for each in found:
        print(f"{each.name}  {each.model.stat().st_size / 1e6:.1f} MB\n  sha256       {each.sha256}")
        for key in ("task", "architecture", "licence", "source", "figures"):
            if key in each.card:
                print(f"  {key:12} {_one_line(each.card[key])}")
    return 0


def _one_line(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_one_line(each)}" for key, each in value.items())
    return printable(value if isinstance(value, str) else json.dumps(value))


def _doctor(args: argparse.Namespace, work: Work | None) -> int:
    from score_pipeline.doctor import examine

    findings = examine(_default_cache_folder())
    if args.json:
        print(json.dumps([finding._asdict() for finding in findings]))
    else:
        shown = [finding for finding in findings if not (args.quiet and finding.state == "ok")]
        if shown:
            print_table(("", "what", "found"), [(finding.state, finding.name, finding.detail) for finding in shown])
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def _formats(args: argparse.Namespace) -> frozenset[str]:
    return frozenset(name for name in FORMATS if getattr(args, name, False))


def _cache_folder(args: argparse.Namespace) -> Path | None:
    return None if args.no_cache else _default_cache_folder()


def _default_cache_folder() -> Path:
    from score_pipeline.cache import default_folder

    return default_folder()


# --- arguments --------------------------------------------------------------------------------------------------


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one event per line instead of tables and bars")
    parser.add_argument("--quiet", action="store_true", help="say nothing but what failed")
    parser.add_argument("--traceback", action="store_true", help="show where an unexpected error came from")


def _add_files(parser: argparse.ArgumentParser, stages: Sequence[str], of: str, needs_out: bool = True) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=f"{of}; put -- before names with a dash")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=needs_out,
        metavar="OUT",
        help="results go to OUT/<name of the file>" + ("" if needs_out else "; without it they are only shown"),
    )
    parser.add_argument("--force", action="store_true", help="replace earlier results")
    _add_common(parser)
    _add_settings(parser, stages)


def _add_networks(parser: argparse.ArgumentParser, caches: bool, threads: int = DEFAULT_THREADS) -> None:
    parser.add_argument(
        "--threads", type=_positive, default=threads, metavar="N", help=f"threads of the networks (default {threads})"
    )
    if caches:
        parser.add_argument("--no-cache", action="store_true", help="neither use nor keep what was heard before")


def _add_stems(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stems", action="store_true", help="write the separated instruments too")


def _add_formats(parser: argparse.ArgumentParser) -> None:
    for name, what in FORMATS.items():
        parser.add_argument(f"--{name}", action="store_true", help=what)


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, ALL_STAGES, "recording")
    _add_stems(parser)
    _add_formats(parser)
    _add_networks(parser, caches=True)


def _detect_arguments(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, ("detection",), "recording", needs_out=False)
    parser.add_argument("--plot", action="store_true", help="write a picture of it too, activity.svg")
    _add_networks(parser, caches=False)


def _separate_arguments(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, ("detection",), "recording")
    _add_networks(parser, caches=False)


def _transcribe_arguments(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, HEARING, "recording")
    _add_networks(parser, caches=True)


def _engrave_arguments(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, ("rhythm", "notation"), "notes.csv or MIDI file")
    _add_formats(parser)


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    from score_pipeline.evaluate import TOLERANCE_S

    kinds = "notes.csv, MIDI or MusicXML"
    parser.add_argument("estimate", type=Path, metavar="EST", help=f"what was found: {kinds}")
    parser.add_argument("reference", type=Path, metavar="REF", help=f"what is right: {kinds}")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE_S,
        metavar="S",
        help=f"of onsets, in seconds (default {TOLERANCE_S})",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _batch_arguments(parser: argparse.ArgumentParser) -> None:
    jobs = os.cpu_count() or 1
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="searched for recordings, folders in it too")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="mirrors FOLDER; finished ones are skipped"
    )
    parser.add_argument(
        "--jobs", type=_positive, default=jobs, metavar="N", help=f"recordings at a time (default {jobs}, one per core)"
    )
    parser.add_argument("--force", action="store_true", help="do finished ones again")
    _add_common(parser)
    _add_settings(parser, ALL_STAGES)
    _add_stems(parser)
    _add_formats(parser)
    _add_networks(parser, caches=False, threads=1)


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the cards as JSON")


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--quiet", action="store_true", help="show only what is not in order")


@dataclass(frozen=True)
class Command:
    """A subcommand: what it is called, what it is for, what it takes, what it does."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Work | None], int]


COMMANDS: tuple[Command, ...] = (
    Command("convert", "recordings to one MusicXML part per instrument", _convert_arguments, _convert),
    Command("batch", "convert a folder of recordings, going on where it was stopped", _batch_arguments, _batch),
    Command("detect", "tell who plays when", _detect_arguments, _detect),
    Command("separate", "write one sound per instrument", _separate_arguments, _separate),
    Command("transcribe", "write the notes as played: MIDI and csv", _transcribe_arguments, _transcribe),
    Command("engrave", "parts from an edited notes.csv or MIDI file", _engrave_arguments, _engrave),
    Command("evaluate", "compare notes with a reference", _evaluate_arguments, _evaluate),
    Command("models", "list the networks and where they come from", _models_arguments, _models),
    Command("doctor", "see whether everything needed is there and works", _doctor_arguments, _doctor),
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="score-pipeline", description="A recording goes in, one readable MusicXML part per instrument comes out."
    )
    parser.add_argument("--version", action="version", version=f"score-pipeline {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name, help=command.help, description=command.help[0].upper() + command.help[1:] + "."
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run, parser=sub)
    return parser
