"""Exports a trained detector: ONNX, parity with torch, thresholds, card.

    python -m models.export_detection --run runs/detection/run --full-band runs/full_band \\
        --scenes runs/bands/train --real runs/detection/real --dev runs/detection/dev_whole \\
        --held runs/detection/held_whole --renders runs/renders/train --index REAL/index.csv --data DATA \\
        --out models/weights/detector

The networks of several runs answer together, with the one that hears the whole band. DATA holds `notes/manifest.csv`,
`real/index.csv` (sources and licences for the card, to which --index adds) and `dev/`, which helps to choose thresholds
(`models.detection.thresholds`), as do the examples of --held (encounters of real players nobody trained on) and every
second one of --dev, all made with --whole.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
import os
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.data.clips import StoredClip
from models.detection.band_scenes import SHARD
from models.detection.examples import StoredExample, load_all
from models.detection.recordings import recordings
from models.detection.scenes import real_kind
from models.detection.thresholds import Choice, for_renders, judged_example, judged_recording
from models.evaluate_detection import FeatureCache
from models.networks.detection import OUTPUT_FRAMES, Detector
from models.networks.ensemble import Ensemble
from models.train_detection import load_network
from models.train_full_band import load_network as load_full_band
from score_pipeline import weights
from score_pipeline.detection import detector as runtime
from score_pipeline.features.cqt import audible
from score_pipeline.features.mel import N_BANDS
from score_pipeline.units import BLOCK_FRAMES, FRAME_RATE_HZ, N_PITCHES

PARITY = 1e-5
"""Greatest difference between torch and ONNX Runtime that is let through."""

MAX_BYTES = 20_000_000

TEACHERS = [
    "CQT baseline of Hung et al. (ISMIR 2018), biboamy/instrument-prediction 6b9af148, MIT; it learned from MusicNet",
    "EfficientAT mn04 (Schmid et al., ICASSP 2023), fschmid56/EfficientAT, MIT, by way of a copy in "
    "nikih94/swch-audio-classification 2b362d97; it learned from AudioSet",
]

THRESHOLDS_FROM = (
    "chosen on encounters of real players not trained on, on every second held-out render and on all dev recordings "
    "the figures are measured on; figures with thresholds chosen without the group of each recording stand beside them"
)


INPUTS = {"cqt": N_PITCHES, "hsf": N_PITCHES, "mel": N_BANDS}
"""What the networks hear, and how many rows each has."""


def export(ensemble: Ensemble, path: Path) -> float:
    """Writes the ONNX file; returns the greatest difference from torch over three lengths, ValueError if too great."""
    examples = tuple(torch.rand(1, rows, 100 * BLOCK_FRAMES) for rows in INPUTS.values())
    with warnings.catch_warnings():
        # the tracing exporter is deprecated; the other one needs onnxscript
        warnings.simplefilter("ignore")
        torch.onnx.export(
            ensemble,
            examples,
            str(path),
            input_names=list(INPUTS),
            output_names=["probability"],
            dynamic_axes={name: {2: "frames"} for name in INPUTS} | {"probability": {2: "outputs"}},
            opset_version=17,
            dynamo=False,
        )
    worst = parity(ensemble, path)
    if worst > PARITY:
        raise ValueError(f"{path} differs from torch by {worst:.2e}")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, more than {MAX_BYTES}")
    return worst


def parity(ensemble: Ensemble, path: Path) -> float:
    """Greatest difference between torch and ONNX Runtime on random features of three lengths."""
    session = weights.open_session(path)
    worst = 0.0
    for blocks in (1, 57, 300):
        generator = torch.Generator().manual_seed(blocks)
        heard = {name: torch.rand(1, rows, blocks * BLOCK_FRAMES, generator=generator) for name, rows in INPUTS.items()}
        heard["hsf"] = 6 * heard["hsf"] ** 4
        with torch.no_grad():
            expected = ensemble(**heard).numpy()
        got = session.run(["probability"], {name: array.numpy() for name, array in heard.items()})[0]
        worst = max(worst, float(np.abs(got - expected).max()))
    return worst


def feature_numbers(networks: Sequence[Detector]) -> dict[str, Any]:
    """The features' numbers for the card; mean and deviation, per network, are also inside the networks."""
    means = [network.get_buffer("mean")[:, 0].tolist() for network in networks]
    deviations = [(1 / network.get_buffer("scale")[:, 0]).tolist() for network in networks]
    return {
        **runtime.FEATURES,
        "inputs": [
            "cqt (1, 88, frames), 0..1",
            "hsf (1, 88, frames), 0..hsf_order + 1",
            "mel (1, 128, frames), 0..1",
        ],
        "pitch_model": "basic_pitch",
        "hsf_order": max(0, networks[0].config.hsf_order),
        "mean": [[round(value, 5) for value in mean] for mean in means],
        "deviation": [[round(value, 5) for value in deviation] for deviation in deviations],
    }


def render_sources(renders: Sequence[Path], notes_manifest: Path) -> list[dict[str, Any]]:
    """Sources of the single notes heard in folders of clips, with licences and the number of players they voice."""
    players: Counter[tuple[str, str]] = Counter()
    for path in sorted(path for folder in renders for path in folder.glob("*.npz")):
        header = StoredClip(path).header
        players.update(
            (instrument, source.split("/")[0])
            for instrument, source in zip(header.instruments, header.sources, strict=True)
        )
    licences: dict[tuple[str, str], set[str]] = {}
    with notes_manifest.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            licences.setdefault((row["instrument"], row["source"]), set()).add(row["licence"])
    return [
        {"instrument": key[0], "source": key[1], "players": count, "licences": sorted(licences.get(key, {"own"}))}
        for key, count in sorted(players.items())
    ]


def real_sources(indexes: Sequence[Path], names: Collection[str]) -> list[dict[str, str]]:
    """Recordings of real players among the examples of these names: what, from where, commit, licence as stated."""
    listed = []
    for index in indexes:
        with index.open(newline="", encoding="utf-8") as file:
            listed += [
                {
                    "path": row["path"],
                    "source": row["source repo"],
                    "commit": row["commit"],
                    "licence": row["licence as stated"],
                }
                for row in csv.DictReader(file)
                if f"{Path(row['path']).parent.name}_{Path(row['path']).stem}" in names
            ]
    folders = [
        {"path": "piano/wtc_*", "source": "J. S. Bach, WTC I, Kimiko Ishizaka", "licence": "CC0"},
        {"path": "violin/bwv1002", "source": "John Garner", "licence": "CC BY 3.0"},
        {"path": "violin/bwv1003", "source": "MinJi Kim", "licence": "CC BY 3.0"},
        {"path": "medley-solos/", "source": "Medley-solos-DB", "licence": "CC BY 4.0"},
    ]
    return folders + listed


def shown_command(module: str, arguments: Sequence[str]) -> str:
    """The command without the places of this machine: of a path, what lies nearest to the file."""
    return shlex.join(
        ["python", "-m", module]
        + ["/".join(Path(word).parts[-2:]) if Path(word).is_absolute() else word for word in arguments]
    )


def seconds_per_label(real: Sequence[StoredExample]) -> dict[str, int]:
    """Seconds of real sound per instrument, of sound nobody has labelled and of noise."""
    seconds: Counter[str] = Counter()
    for stored in real:
        seconds[real_kind(stored)] += round(len(stored) / FRAME_RATE_HZ)
    return dict(seconds.most_common())


def made(module: str, onnx: Path, worst: float) -> dict[str, Any]:
    """What every card says of its file: checksum, size, difference from torch, licence, date, command."""
    return {
        "sha256": hashlib.sha256(onnx.read_bytes()).hexdigest(),
        "bytes": onnx.stat().st_size,
        "parity_with_torch": worst,
        "licence": "MIT for the weights; what they learned from is listed under training, each under its own terms",
        "date": datetime.date.today().isoformat(),
        "command": shown_command(module, sys.argv[1:]),
    }


def heard_in_training(
    renders: Sequence[Path],
    real: Sequence[StoredExample],
    data: Path,
    indexes: Sequence[Path],
    also: Collection[str] = (),
) -> dict[str, Any]:
    """What a network listened to, and under which licences, for its card; lists of `data` and further `indexes`.

    `also` are names of further recordings.
    """
    return {
        "clips": sum(len(list(folder.glob("*.npz"))) for folder in renders),
        "renders": render_sources(renders, data / "notes" / "manifest.csv"),
        "scores": "public domain, CC0 and CC BY scores; random textures",
        "real_seconds": seconds_per_label(real),
        "real": real_sources([data / "real" / "index.csv", *indexes], {stored.name for stored in real} | set(also)),
    }


def card(
    networks: Sequence[Detector], full_band: dict[str, Any], arguments: argparse.Namespace, worst: float
) -> dict[str, Any]:
    """Everything about the model but its thresholds; `full_band` is the state its network was saved in."""
    network = networks[0]
    scenes = [json.loads((folder / "sources.json").read_text(encoding="utf-8")) for folder in arguments.scenes]
    scene_names = {name for sources in scenes for name in sources["real"]}
    real = [stored for folder in arguments.real for stored in load_all(folder)]
    return {
        "name": runtime.WEIGHTS_NAME,
        "task": "who plays when: probability per instrument and output frame",
        "architecture": f"{len(networks)} x Hung & Yang (ISMIR 2018) CQT + HSF residual network over time, "
        f"{network.config.channels} channels, on {network.config.timbre} timbre channels per semitone; bidirectional "
        f"GRU of 2 x {network.config.recurrent}; in training also whose note sounds (Hung, Chen & Yang 2019); and a "
        "convolutional network with a GRU on 128 mel bands",
        **made("models.export_detection", arguments.out / "model.onnx", worst),
        "features": feature_numbers(networks),
        "instruments": list(network.config.instruments),
        "output_frames": OUTPUT_FRAMES,
        "block_frames": BLOCK_FRAMES,
        "thresholds": dict.fromkeys(network.config.instruments, 0.5),
        "thresholds_from": THRESHOLDS_FROM,
        "training": {
            "runs": [json.loads((run / "config.json").read_text(encoding="utf-8")) for run in arguments.run],
            "full_band": {
                "steps": full_band["step"],
                "scenes": SHARD * sum(len(list(folder.glob("*.npz"))) for folder in arguments.scenes),
                "real_minutes": max(sources["real_minutes"] for sources in scenes),
                "log": full_band["log"],
            },
            **heard_in_training(arguments.renders, real, arguments.data, arguments.index, scene_names),
            "teachers": TEACHERS if network.config.taught or network.config.tagged else [],
        },
    }


def choice(
    detector: runtime.Detector, recorded: Path, rendered: Path, held: Sequence[Path], cache: FeatureCache
) -> Choice:
    """All sound that thresholds are chosen on, heard once.

    `recorded`: folder of dev recordings; `rendered`: examples of held-out renders; `held`: folders of encounters.
    """
    heard = []
    for recording in recordings(recorded):
        features = cache.of(recording.audio)
        answer = detector.probability(features)
        one = judged_recording(detector.card, recording, answer, audible(features.levels))
        heard.append((recording.group, one))
    kinds = [for_renders(load_all(rendered)), *(load_all(folder) for folder in held)]
    apart = [[judged_example(detector, stored.example()) for stored in kind] for kind in kinds]
    return Choice(detector.instruments, apart, heard)


def write_card(content: dict[str, Any], folder: Path) -> None:
    """Writes card.json; a file that exists is complete."""
    part = folder / "card.json.part"
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, folder / "card.json")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, nargs="+", required=True, help="folders of runs")
    parser.add_argument("--full-band", type=Path, required=True, help="run of models.train_full_band")
    parser.add_argument("--scenes", type=Path, required=True, nargs="+", help="what it was trained on, for the card")
    parser.add_argument("--real", type=Path, nargs="+", required=True, help="examples of real sound, for the card")
    parser.add_argument("--dev", type=Path, required=True, help="examples of held-out renders; half for thresholds")
    parser.add_argument("--held", type=Path, nargs="*", default=[], help="encounters of players not trained on")
    parser.add_argument("--renders", type=Path, nargs="+", required=True, help="clips trained on, for their sources")
    parser.add_argument("--index", type=Path, nargs="*", default=[], help="further lists of real recordings")
    parser.add_argument("--checkpoint", default="best.pt", help="file of each run's folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with notes/ and real/")
    parser.add_argument("--cache", type=Path, help="folder that keeps features, as of models.evaluate_detection")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    networks = [load_network(run, arguments.checkpoint) for run in arguments.run]
    full_band, state = load_full_band(arguments.full_band / "best.pt")
    worst = export(Ensemble(full_band, *networks).eval(), arguments.out / "model.onnx")
    content = card(networks, state, arguments, worst)
    detector = runtime.Detector(
        weights.open_session(arguments.out / "model.onnx"), runtime.DetectorCard.from_card(content)
    )
    cache = FeatureCache(arguments.cache)
    content["thresholds"] = choice(detector, arguments.data / "dev", arguments.dev, arguments.held, cache).thresholds()
    write_card(content, arguments.out)
    print(f"{content['bytes']} bytes, parity {worst:.1e}, thresholds {content['thresholds']}")


if __name__ == "__main__":
    main()
