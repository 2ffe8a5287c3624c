"""Measures detectors on real players and on held-out renders.

    python -m models.evaluate_detection --data DIR [--renders DIR] [--dev DIR --held DIR ...] [--cache DIR]
        [--weights FOLDER ...] [--confusion FILE] [--teacher DIR] [--results FILE] [--card]

DIR of --data holds `dev/` (see `models.detection.recordings`), that of --renders clips of held-out scores and timbres,
every second of which is measured here (the others served for thresholds, and so did the recordings of `dev/`; with the
examples --dev and --held of the export a second column shows the detector with thresholds chosen without the group that
a recording belongs to). --weights names folders of `model.onnx` and `card.json` to be measured instead of
the model that ships; several stand beside each other. Printed, and with --results written between the marks of that
Markdown file: every demand on the detector with what was measured; frame F1 per instrument at the frame rate, pooled
to nine frames (104.5 ms; a pool is positive if any frame of it is) and at 10 Hz; area under the ROC curve,
label-ranking precision, calibration; line-ups. --confusion draws who is taken for whom. --teacher adds the published
baseline on the same sound. --cache keeps features between calls: the network alone is then run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.clips import StoredClip, frame_labels
from models.detection import confusion_plot, teacher
from models.detection.answers import RATES, Answer, Scores, macro
from models.detection.bars import bars, mixed, real, renders
from models.detection.examples import LABELS, load_all
from models.detection.metrics import POOL_FRAMES
from models.detection.recordings import Recording, recordings
from models.detection.teacher import Teacher
from models.detection.thresholds import Choice, for_renders, judged_example, judged_recording
from score_pipeline import weights
from score_pipeline.detection.attribution import Attribution, players_with_notes
from score_pipeline.detection.detector import Detector, DetectorCard, Features, decide, notes_at_once
from score_pipeline.features.cqt import audible
from score_pipeline.features.mel import log_mel
from score_pipeline.features.posteriorgram import PitchModel
from score_pipeline.instruments import MUSICNET_SEVEN
from score_pipeline.settings import DetectionSettings
from score_pipeline.types import Audio, FloatArray
from score_pipeline.units import SAMPLE_RATE_HZ

RENDERS = "renders"
"""Group of the held-out renders."""

LEFT_OUT = "thresholds of other groups"
"""The column of figures that thresholds chosen on the same recordings do not flatter."""

MARK = ("<!-- detection: begin -->", "<!-- detection: end -->")


class FeatureCache:
    """Features of recordings, computed or read from a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._pitch: PitchModel | None = None

    def of(self, audio: Audio) -> Features:
        """Features of a recording at 22050 Hz."""
        if self._folder is None:
            return self._compute(audio)
        path = self._folder / f"{hashlib.sha256(audio.samples.tobytes()).hexdigest()[:24]}.npz"
        if not path.exists():
            computed = self._compute(audio)
            self._folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, levels=computed.levels, note=computed.note.astype(np.float16))
            part.replace(path)
        with np.load(path) as file:
            return Features(file["levels"], log_mel(audio), file["note"].astype(np.float32))

    def _compute(self, audio: Audio) -> Features:
        self._pitch = self._pitch or PitchModel.load()
        return Features.of(audio, self._pitch.note(audio))


def rendered(folder: Path) -> Iterable[Recording]:
    """Every second clip of a folder of held-out renders."""
    for path in sorted(folder.glob("*.npz"))[1::2]:
        clip = StoredClip(path)
        labels = frame_labels(clip.header, LABELS)
        players = frozenset(key for key, row in zip(LABELS, labels, strict=True) if row.any())
        audio = Audio(clip.mixture()[None], SAMPLE_RATE_HZ)
        yield Recording(path.stem, RENDERS, audio, players, labels, np.ones(labels.shape[1], dtype=np.bool_))


@dataclass(frozen=True, eq=False)
class Heard:
    """What a detector's network says of a recording, before anything is decided."""

    recording: Recording
    features: Features
    probability: FloatArray

    @property
    def audible(self) -> NDArray[np.bool_]:
        """Frames in which anything is to be heard."""
        return audible(self.features.levels)

    def answer(self, card: DetectorCard, attribution: Attribution) -> Answer:
        """The product's answer with the thresholds of a card, those who get no notes left out."""
        levels, note = self.features.levels, self.features.note
        activity, _ = players_with_notes(
            lambda settings: decide(self.probability, self.audible, notes_at_once(note), card, settings),
            lambda line_up: attribution.attribute(levels, note, line_up),
            DetectionSettings(),
        )
        return Answer.of_activity(self.recording, activity)


def heard(detector: Detector, recording: Recording, features: Features) -> Heard:
    """Runs the network."""
    return Heard(recording, features, detector.probability(features))


def left_out(
    detector: Detector, attribution: Attribution, everything: Sequence[Heard], dev: Path, held: Sequence[Path]
) -> list[Answer]:
    """Answers with thresholds chosen without the group of each recording.

    `dev`: examples of held-out renders, `held`: folders of encounters, as for the export. Renders are measured on the
    half of them thresholds were not chosen on.
    """
    kinds = [for_renders(load_all(dev)), *(load_all(folder) for folder in held)]
    choice = Choice(
        detector.instruments,
        [[judged_example(detector, stored.example()) for stored in kind] for kind in kinds],
        [
            (one.recording.group, judged_recording(detector.card, one.recording, one.probability, one.audible))
            for one in everything
            if one.recording.group != RENDERS
        ],
    )
    cards = {}
    for group in {one.recording.group for one in everything}:
        chosen = choice.thresholds(without=group)
        cards[group] = replace(detector.card, thresholds=tuple(chosen[key] for key in detector.instruments))
    return [one.answer(cards[one.recording.group], attribution) for one in everything]


def opened(folder: Path) -> Detector:
    """The detector of a folder, installed or not."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return Detector(weights.open_session(folder / "model.onnx"), DetectorCard.from_card(card))


def taught(network: Teacher, recording: Recording, features: Features) -> Answer:
    """The published baseline's answer with its authors' thresholds, held over the nine frames of each step."""
    frames = len(features.levels)
    probability = np.zeros((len(LABELS), frames), dtype=np.float32)
    active = np.zeros((len(LABELS), frames), dtype=np.bool_)
    for key, row, threshold in zip(
        teacher.INSTRUMENTS, network.probability(features.levels), teacher.THRESHOLDS, strict=True
    ):
        held = np.repeat(row, POOL_FRAMES)[:frames]
        probability[LABELS.index(key), : len(held)] = held
        active[LABELS.index(key), : len(held)] = held > threshold
    return Answer(
        recording, probability, active, frozenset(k for k, row in zip(LABELS, active, strict=True) if row.any())
    )


def presence_counts(answers: Sequence[Answer]) -> tuple[int, int, int]:
    """Players found, players invented, players missed, over all recordings; names outside the table do not count."""
    found = sum(len(answer.players & answer.present) for answer in answers)
    invented = sum(len(answer.present - answer.players) for answer in answers)
    return found, invented, sum(len(answer.players - answer.present) for answer in answers)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def report(systems: dict[str, list[Answer]]) -> str:
    """All tables as Markdown; `systems` is name -> answers to the same recordings."""
    parts = ["What is demanded (F1 at the frame rate unless said otherwise):\n", _demands(systems) + "\n"]
    for kind, select in (("real players, mixtures and two solos", mixed), ("held-out renders", renders)):
        chosen = {name: Scores(select(answers)) for name, answers in systems.items()}
        if not next(iter(chosen.values())).answers:
            continue
        minutes = sum(a.recording.audio.duration_s for a in next(iter(chosen.values())).answers) / 60
        parts += [f"Per instrument, {kind}, {minutes:.0f} min:\n", _per_instrument(chosen) + "\n"]
    labelled = {name: Scores(real(answers)) for name, answers in systems.items()}
    if next(iter(labelled.values())).answers:
        parts += ["What a probability means, real players, the seven:\n", _reliability(labelled) + "\n"]
    parts += ["By kind of recording (players found, invented, missed):\n", _by_group(systems) + "\n"]
    parts += ["Of which only the line-up is known: reported (share of the time):\n", _line_ups(systems) + "\n"]
    return "\n".join(parts)


def _demands(systems: dict[str, list[Answer]]) -> str:
    columns = [bars(answers) for answers in systems.values()]
    rows = [[same[0].what, same[0].wanted, *(bar.verdict for bar in same)] for same in zip(*columns, strict=True)]
    return table(["", "wanted", *systems], rows)


def _per_instrument(systems: dict[str, Scores]) -> str:
    def cells(scores: dict[str, float]) -> list[str]:
        each = [f"{scores[key]:.3f}" if key in scores else "" for key in LABELS]
        return [f"{macro(scores, MUSICNET_SEVEN):.3f}", f"{macro(scores):.3f}", *each]

    rows = []
    for name, scores in systems.items():
        rows += [[f"{name}, F1, {rate}", *cells(scores.f1(rate))] for rate in RATES]
        rows.append([f"{name}, area under ROC", *cells(scores.auc())])
        occurring = scores.auc()
        errors = {key: scores.calibration([key]).error for key in LABELS if key in occurring}
        rows.append([f"{name}, calibration error", *cells(errors)])
        micro, mean = scores.ranking()
        rows.append([f"{name}, ranking precision", "", f"{micro:.3f} micro, {mean:.3f} macro", *[""] * len(LABELS)])
    return table(["", "seven", "all", *LABELS], rows)


def _reliability(systems: dict[str, Scores]) -> str:
    rows = []
    for name, scores in systems.items():
        bins = scores.calibration(MUSICNET_SEVEN)
        rows.append([f"{name}, frames", *(str(count) for count in bins.count)])
        rows.append([f"{name}, mean probability", *(f"{value:.2f}" for value in bins.probability)])
        rows.append([f"{name}, played", *(f"{value:.2f}" for value in bins.played)])
    return table(["", *(f"{edge / 10:.1f}-" for edge in range(10))], rows)


def _by_group(systems: dict[str, list[Answer]]) -> str:
    rows = []
    groups = dict.fromkeys(a.recording.group for a in next(iter(systems.values())))
    for group in groups:
        for name, answers in systems.items():
            theirs = [a for a in answers if a.recording.group == group]
            scores = Scores(theirs)
            f1 = f"{macro(scores.f1()):.3f}" if scores.answers else ""
            line_up = float(np.mean([answer.presence_f1 for answer in theirs]))
            rows.append([group, name, f1, f"{line_up:.3f}", *(str(count) for count in presence_counts(theirs))])
    return table(["", "", "macro F1", "line-up F1", "found", "invented", "missed"], rows)


def _line_ups(systems: dict[str, list[Answer]]) -> str:
    rows = []
    for name, answers in systems.items():
        for answer in answers:
            if answer.recording.labels is None and answer.recording.group != "medley":
                rows.append([answer.recording.name, name, *_who(answer)])
    return table(["", "", "reported", "invented", "missed"], rows)


def _who(answer: Answer) -> list[str]:
    reported = ", ".join(f"{key} {answer.share(key):.0%}" for key in LABELS if key in answer.present)
    return [
        reported,
        ", ".join(sorted(answer.present - answer.players)),
        ", ".join(sorted(answer.players - answer.present)),
    ]


def figures(answers: list[Answer]) -> dict[str, object]:
    """The main figures for the card."""
    result: dict[str, object] = {}
    for kind, select in (("real", mixed), ("renders", renders)):
        scores = Scores(select(answers))
        if not scores.answers:
            continue
        for rate, name in (("frames", "frames"), ("104.5 ms", "104ms")):
            f1 = scores.f1(rate)
            result[f"{kind}_f1_{name}"] = {
                "mean_of_seven": round(macro(f1, MUSICNET_SEVEN), 3),
                "mean_of_all": round(macro(f1), 3),
                **{key: round(score, 3) for key, score in f1.items()},
            }
    result["demands"] = [
        {"what": bar.what, "wanted": bar.wanted, "measured": bar.measured, "met": bar.met} for bar in bars(answers)
    ]
    return result


def write_section(path: Path, text: str, mark: tuple[str, str] = MARK) -> None:
    """Puts `text` between the marks of a Markdown file, which are added at its end if they are not there."""
    content = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    begin, end = mark
    if begin not in content:
        content += f"\n{begin}\n{end}\n"
    before, after = content.split(begin)[0], content.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with dev/")
    parser.add_argument("--renders", type=Path, help="held-out clips")
    parser.add_argument("--dev", type=Path, help="examples of held-out renders that thresholds were chosen on")
    parser.add_argument("--held", type=Path, nargs="*", default=[], help="encounters that thresholds were chosen on")
    parser.add_argument("--weights", type=Path, nargs="+", metavar="FOLDER", help="candidates; default: what ships")
    parser.add_argument("--confusion", type=Path, metavar="FILE", help="picture of who is taken for whom (.svg, .png)")
    parser.add_argument("--teacher", type=Path, help="folder of the published baseline, to measure it beside")
    parser.add_argument("--cache", type=Path, help="folder that keeps features between calls")
    parser.add_argument("--results", type=Path, help="Markdown file whose section on detection is rewritten")
    parser.add_argument("--card", action="store_true", help="write the main figures into the (first) detector's card")
    arguments = parser.parse_args()
    folders = arguments.weights or [weights.find("detector").model.parent]
    detectors = {folder.resolve().name: opened(folder) for folder in folders}
    if len(detectors) < len(folders):
        parser.error("the folders of --weights must have different names")
    cache = FeatureCache(arguments.cache)
    network = Teacher(arguments.teacher) if arguments.teacher else None
    said: dict[str, list[Heard]] = {name: [] for name in detectors}
    published: list[Answer] = []
    for source in (recordings(arguments.data / "dev"), rendered(arguments.renders) if arguments.renders else ()):
        for recording in source:
            features = cache.of(recording.audio)
            for name, detector in detectors.items():
                said[name].append(heard(detector, recording, features))
            if network:
                published.append(taught(network, recording, features))
    attribution = Attribution.load()
    systems = {name: [one.answer(detectors[name].card, attribution) for one in each] for name, each in said.items()}
    name, answers = next(iter(systems.items()))
    if arguments.dev:
        systems[LEFT_OUT] = left_out(detectors[name], attribution, said[name], arguments.dev, arguments.held)
    if network:
        systems["hung2018"] = published
    text = report(systems)
    print(text)
    if arguments.confusion:
        confusion_plot.save(Scores(mixed(answers)).confusion(), f"{name}: real players, mixtures", arguments.confusion)
    if arguments.results:
        write_section(arguments.results, text)
    if arguments.card:
        from models.export_detection import write_card  # loads torch

        card = json.loads((folders[0] / "card.json").read_text(encoding="utf-8"))
        measured = {"figures": figures(answers)}
        if arguments.dev:
            measured["figures_with_thresholds_of_other_groups"] = figures(systems[LEFT_OUT])
        write_card(card | measured, folders[0])


if __name__ == "__main__":
    main()
