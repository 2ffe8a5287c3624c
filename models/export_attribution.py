"""Exports the network that hears whose note sounds.

    python -m models.export_attribution --run RUN --real EXAMPLES --renders RENDERS ... --data DATA [--index FILE ...]

Takes `best.pt` of a run of `models.train_attribution`, writes `model.onnx` and `card.json`, and compares the graph's
answers with torch's. `--begun-from` says what the run's `--start` was, in words, for the card.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch

from models.detection.examples import load_all
from models.export_detection import heard_in_training, made, write_card
from models.export_separation import OPSET
from models.networks.attribution import ABSENT, Attribution
from models.train_attribution import load_network
from score_pipeline import weights
from score_pipeline.detection import attribution as runtime
from score_pipeline.units import BLOCK_FRAMES, N_PITCHES

TOLERANCE = 1e-3
"""Largest difference of a log-probability between ONNX Runtime and torch."""


def inputs_of(blocks: int, players: int, instruments: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random features of some blocks and a line-up."""
    generator = torch.Generator().manual_seed(blocks)
    cqt = torch.rand(1, N_PITCHES, blocks * BLOCK_FRAMES, generator=generator)
    hsf = 6 * torch.rand(1, N_PITCHES, blocks * BLOCK_FRAMES, generator=generator) ** 4
    line_up = torch.zeros(1, instruments)
    line_up[0, torch.randperm(instruments, generator=generator)[:players]] = 1.0
    return cqt, hsf, line_up


def export(network: Attribution, path: Path) -> float:
    """Writes the graph and gives back the largest difference from torch where it matters; too large is an error."""
    names, instruments = ("cqt", "hsf", "line_up"), len(network.config.instruments)
    with warnings.catch_warnings():
        # the tracing exporter is deprecated; the other one needs onnxscript
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            inputs_of(20, 3, instruments),
            str(path),
            input_names=list(names),
            output_names=["log_share"],
            dynamic_axes={"cqt": {2: "frames"}, "hsf": {2: "frames"}, "log_share": {3: "blocks"}},
            opset_version=OPSET,
            dynamo=False,
        )
    session = weights.open_session(path)
    worst = 0.0
    for blocks, players in ((1, 2), (57, 4), (96, 7)):
        inputs = inputs_of(blocks, players, instruments)
        with torch.no_grad():
            expected = network(*inputs)
        fed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        got = torch.from_numpy(session.run(["log_share"], fed)[0])
        matters = expected > ABSENT / 2  # below this are those who are not in the line-up
        worst = max(worst, float((got - expected)[matters].abs().max()))
    if worst > TOLERANCE:
        raise ValueError(f"{path} differs from torch by {worst:.2e}")
    return worst


def card(network: Attribution, state: dict[str, Any], arguments: argparse.Namespace, worst: float) -> dict[str, Any]:
    """Everything about the model."""
    return {
        "name": runtime.WEIGHTS_NAME,
        "task": "whose note sounds: log-probability per instrument of a given line-up, pitch and block of nine frames",
        "architecture": f"timbre of every semitone through its harmonics, {network.config.width} channels; residual "
        "convolutions over time and over pitch; the line-up as an input (cf. Hung, Chen & Yang 2019)",
        **made("models.export_attribution", arguments.out / "model.onnx", worst),
        **network.config.to_json(),
        "inputs": ["cqt (1, 88, frames), 0..1", "hsf (1, 88, frames)", "line_up (1, instruments), 0 or 1"],
        "figures": {
            "on_scenes_kept_apart": {key: round(value, 4) for key, value in state["log"][-1].items()},
            "on_real_players": "models/RESULTS.md, Notes",
        },
        "training": {
            "steps": state["step"],
            "begun_from": arguments.begun_from,
            **heard_in_training(arguments.renders, load_all(arguments.real), arguments.data, arguments.index),
        },
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--real", type=Path, required=True, help="examples of real soloists, for the card")
    parser.add_argument("--renders", type=Path, nargs="+", required=True, help="clips trained on, for their sources")
    parser.add_argument("--index", type=Path, nargs="*", default=[], help="further lists of real recordings")
    parser.add_argument("--begun-from", default="nothing", help="what the weights were before, for the card")
    parser.add_argument("--data", type=Path, required=True, help="folder with notes/ and real/")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights" / runtime.WEIGHTS_NAME)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    network, state = load_network(arguments.run / "best.pt")
    worst = export(network, arguments.out / "model.onnx")
    content = card(network, state, arguments, worst)
    write_card(content, arguments.out)
    print(f"{content['bytes']} bytes, parity {worst:.1e}")


if __name__ == "__main__":
    main()
