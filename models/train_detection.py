"""Trains the detector.

    python -m models.train_detection --train runs/detection/train --real runs/detection/real \\
        --dev runs/detection/dev --run runs/detection/first --steps 1500

Examples come from `models.detection.examples`. A run's folder gets `config.json`, `log.csv`, `loss.png`, `last.pt`
(with which the same command continues an interrupted run) and `best.pt`, the averaged weights with the best macro F1
on the held-out renders. Everything random is drawn from the seed and the step, so a continued run equals an
uninterrupted one.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.checkpoint import follow, set_rate, write_log, write_state
from models.detection import tagger, teacher
from models.detection.examples import LABELS, StoredExample, load_all
from models.detection.metrics import THRESHOLDS
from models.detection.scenes import Clip, Drawn, Mixing, Stage, as_is, clips, only_front
from models.networks.detection import OUTPUT_FRAMES, Answer, Detector, DetectorConfig
from score_pipeline.instruments import MUSICNET_SEVEN
from score_pipeline.types import FloatArray
from score_pipeline.units import BLOCK_FRAMES

ROLL_OUTPUTS = BLOCK_FRAMES // OUTPUT_FRAMES
"""Outputs per answer about whose note sounds."""

EMPTY_WEIGHT = 0.03
"""Of a pitch at which nothing sounds beside one at which something does, of which there are a thirtieth as many."""

SURELY_ABSENT = 1.0
"""How far below its midpoint the tagger's logit must stay for an instrument to be taken for absent."""


@dataclass(frozen=True)
class Training:
    """How a run goes; saved beside its result."""

    steps: int = 1500
    batch: int = 16
    frames: int = 95 * BLOCK_FRAMES
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warm_up: int = 100
    average: float = 0.998
    taught_weight: float = 1.0
    tagged_weight: float = 1.0
    roll_weight: float = 0.3
    check_every: int = 500
    seed: int = 1
    network: DetectorConfig = field(default_factory=lambda: DetectorConfig(LABELS, MUSICNET_SEVEN, tagger.INSTRUMENTS))
    mixing: Mixing = field(default_factory=Mixing)


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of `Drawn`, stacked along a first axis; what is known or not has axes of length 1 for the others."""

    cqt: Tensor
    hsf: Tensor
    labels: Tensor
    known: Tensor
    taught: Tensor
    is_taught: Tensor
    roll: Tensor
    is_rolled: Tensor
    tagged: Tensor


def stacked(items: Sequence[Drawn]) -> Batch:
    """Items as tensors."""

    def stack(values: Sequence[FloatArray]) -> Tensor:
        return torch.from_numpy(np.stack(values))

    return Batch(
        cqt=stack([item.cqt for item in items]),
        hsf=stack([item.hsf for item in items]),
        labels=stack([item.labels for item in items]),
        known=stack([item.known for item in items])[:, :, None],
        taught=stack([item.taught for item in items]),
        is_taught=torch.tensor([item.is_taught for item in items])[:, None, None],
        roll=torch.from_numpy(np.stack([item.roll for item in items])),
        is_rolled=torch.tensor([item.is_rolled for item in items])[:, None, None, None],
        tagged=stack([item.tagged for item in items]),
    )


class Examples:
    """Draws batches of scenes; the same seed and step give the same batch."""

    def __init__(self, rendered: Sequence[Clip], real: Sequence[StoredExample], training: Training) -> None:
        self._training = training
        tagged = any(example.tagged is not None for example in real)
        self._midpoints = tag_midpoints(real) if tagged and training.network.tagged else None
        if self._midpoints is not None:
            real = [with_absences(example, self._midpoints) for example in real]
        self._stage = Stage(rendered, real, training.mixing, training.frames)

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        generator = np.random.default_rng((self._training.seed, step))
        order = max(0, self._training.network.hsf_order)
        drawn = [self._stage.draw(order, OUTPUT_FRAMES, generator) for _ in range(self._training.batch)]
        if self._midpoints is not None:
            drawn = [item._replace(tagged=item.tagged - self._midpoints) for item in drawn]
        return stacked(drawn)


def input_statistics(examples: Examples, training: Training) -> tuple[Tensor, Tensor]:
    """Mean and deviation per input channel over sixteen batches of what the network will see."""
    batches = [examples.batch(-1 - index & 0xFFFF) for index in range(16)]
    features = torch.cat([torch.cat((batch.cqt, batch.hsf), dim=1) for batch in batches])
    features = features[:, : training.network.input_channels]
    return features.mean(dim=(0, 2)), features.std(dim=(0, 2))


class Losses(NamedTuple):
    """Mean cross entropies: by the labels, by the teacher, by the tagger, by whose note sounds where."""

    labels: Tensor
    taught: Tensor
    tagged: Tensor
    roll: Tensor


def tag_midpoints(examples: Sequence[StoredExample]) -> FloatArray:
    """The tagger's logit per instrument that parts best those windows in which it plays from those in which it rests.

    (14, 1), by balanced accuracy on examples of which the players are known; NaN is not among them: an instrument that
    never plays or never rests is a ValueError.
    """
    known = [one for one in examples if one.tagged is not None and one.labels is not None and one.unsure is None]
    midpoints = []
    for row, key in enumerate(tagger.INSTRUMENTS):
        logits, plays = [], []
        for one in known:
            assert one.tagged is not None and one.labels is not None
            share = np.convolve(one.labels[LABELS.index(key)], np.ones(tagger.WINDOW_FRAMES), "valid")
            share = share[:: tagger.HOP_FRAMES][: one.tagged.shape[1]] / tagger.WINDOW_FRAMES
            logits.append(one.tagged[row, : len(share)].astype(np.float32))
            plays.append(share > 0.3)
        logit, playing = np.concatenate(logits), np.concatenate(plays)
        if playing.all() or not playing.any():
            raise ValueError(f"the tagger cannot be judged on {key}: it plays in all or in none of the examples")
        candidates = np.quantile(logit, np.linspace(0.01, 0.99, 99))
        hit = (logit[playing, None] > candidates).mean(axis=0)
        alarm = (logit[~playing, None] > candidates).mean(axis=0)
        midpoints.append(candidates[(hit - alarm).argmax()])
    return np.array(midpoints, dtype=np.float32)[:, None]


def with_absences(example: StoredExample, midpoints: FloatArray) -> StoredExample:
    """A recording of which not all players are known, with the tagger's word for who does not play in it at all.

    That is one without labels, or one of which only who is in front is known.
    """
    if example.tagged is None or not example.tagged.shape[1] or not (example.labels is None or only_front(example)):
        return example
    unheard = (example.tagged.astype(np.float32) < midpoints - SURELY_ABSENT).all(axis=1)
    absent = [LABELS.index(key) for key, silent in zip(tagger.INSTRUMENTS, unheard, strict=True) if silent]
    unsure = np.ones(len(LABELS), dtype=np.bool_) if example.unsure is None else example.unsure.copy()
    absent = [row for row in absent if unsure[row]]
    unsure[absent] = False
    labels = np.repeat(unsure[:, None], len(example), axis=1) if example.labels is None else example.labels.copy()
    labels[absent] = False
    return replace(example, labels=labels, unsure=unsure)


def tagged_loss(tagged: Tensor, logits: Tensor) -> Tensor:
    """Cross entropy of the mean answer over each of the tagger's windows with its own answer."""
    kernel, stride = tagger.WINDOW_FRAMES // OUTPUT_FRAMES, tagger.HOP_FRAMES // OUTPUT_FRAMES
    if logits.shape[2] == 0:
        return torch.zeros(())
    means = F.avg_pool1d(tagged.float(), kernel, stride)[:, :, : logits.shape[2]]
    answered = torch.isfinite(logits)
    each = F.binary_cross_entropy_with_logits(means, torch.sigmoid(logits.nan_to_num(0.0)), reduction="none")
    return (each * answered).sum() / answered.sum().clamp_min(1)


def roll_loss(log_probability: Tensor, roll: Tensor, is_rolled: Tensor) -> Tensor:
    """Mean cross entropy of whose note sounds at each pitch and moment; players of one note share it."""
    players = roll.sum(dim=1, keepdim=True)
    plays = (players > 0).float()
    whose = torch.cat((roll / players.clamp_min(1), 1 - plays), dim=1)
    matter = (plays + EMPTY_WEIGHT).clamp_max(1) * is_rolled
    return ((-log_probability * whose).sum(dim=1, keepdim=True) * matter).sum() / matter.sum().clamp_min(1)


def loss(network: Detector, batch: Batch, training: Training) -> Losses:
    """What training makes small."""
    answers = network(batch.cqt, batch.hsf)
    rows = [LABELS.index(key) for key in training.network.instruments]
    known = batch.known[:, rows]
    # the paper weighs positives up (equation 1); then probabilities no longer mean what they say
    each = F.binary_cross_entropy_with_logits(answers.labels.float(), batch.labels[:, rows], reduction="none")
    by_labels = (each * known).sum() / (known.sum().clamp_min(1) * each.shape[2])
    by_teacher = torch.zeros(())
    if training.network.taught:
        taught = batch.taught[:, [teacher.INSTRUMENTS.index(key) for key in training.network.taught]]
        each = F.binary_cross_entropy_with_logits(answers.taught.float(), taught, reduction="none")
        by_teacher = (each * batch.is_taught).sum() / (batch.is_taught.sum().clamp_min(1) * each[0].numel())
    middle = slice(ROLL_OUTPUTS // 2, None, ROLL_OUTPUTS)
    by_roll = roll_loss(answers.roll, batch.roll[:, rows, :, middle].float(), batch.is_rolled)
    by_tagger = torch.zeros(())
    if training.network.tagged:
        columns = [tagger.INSTRUMENTS.index(key) for key in training.network.tagged]
        by_tagger = tagged_loss(answers.tagged, batch.tagged[:, columns])
    return Losses(by_labels, by_teacher, by_tagger, by_roll)


@torch.no_grad()
def answers(network: Detector, examples: Sequence[StoredExample]) -> list[tuple[FloatArray, FloatArray]]:
    """Probability and label, (instruments, outputs) each, of whole examples as they are."""
    network.eval()
    answer = Answer(network)
    rows = [LABELS.index(key) for key in network.config.instruments]
    result = []
    for stored in examples:
        frames = len(stored) // BLOCK_FRAMES * BLOCK_FRAMES
        item = as_is(stored, frames, max(0, network.config.hsf_order), OUTPUT_FRAMES)
        probability = answer(torch.from_numpy(item.cqt)[None], torch.from_numpy(item.hsf)[None])[0]
        result.append((probability.numpy(), item.labels[rows]))
    return result


def best_f1(probability: FloatArray, labels: FloatArray) -> tuple[float, float]:
    """Highest F1 over the 99 thresholds and the threshold; NaN without positives."""
    positives = labels > 0.5
    if not positives.any():
        return math.nan, math.nan
    edges = np.concatenate(([-1], THRESHOLDS, [2]))
    hits = np.histogram(probability[positives], edges)[0][::-1].cumsum()[::-1][1:]
    fired = np.histogram(probability, edges)[0][::-1].cumsum()[::-1][1:]
    f1 = 2 * hits / np.maximum(fired + positives.sum(), 1)
    best = int(f1[: len(THRESHOLDS)].argmax())
    return float(f1[best]), float(THRESHOLDS[best])


def macro_f1(results: list[tuple[FloatArray, FloatArray]]) -> dict[int, float]:
    """Best F1 per instrument that occurs, by row."""
    probability = np.concatenate([result[0] for result in results], axis=1)
    labels = np.concatenate([result[1] for result in results], axis=1)
    scores = {row: best_f1(probability[row], labels[row])[0] for row in range(len(labels))}
    return {row: score for row, score in scores.items() if not math.isnan(score)}


def begin_from(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Takes over what fits of the weights of an earlier run, of a network that lacked an output, say."""
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(own | fitting)


class Run:
    """One training, from its first step or from where it was left."""

    def __init__(
        self,
        folder: Path,
        training: Training,
        rendered: Sequence[Clip],
        real: Sequence[StoredExample],
        start: Path | None = None,
    ) -> None:
        torch.manual_seed(training.seed)
        self.folder, self.training = folder, training
        folder.mkdir(parents=True, exist_ok=True)
        self.examples = Examples(rendered, real, training)
        self.network = Detector(training.network)
        self.network.set_input_statistics(*input_statistics(self.examples, training))
        if start is not None:
            begin_from(self.network, torch.load(start, weights_only=True))
        self.averaged = copy.deepcopy(self.network)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), training.learning_rate, weight_decay=training.weight_decay
        )
        self.step, self.best, self.log = 0, -1.0, list[dict[str, float]]()
        self.started = time.monotonic()
        (folder / "config.json").write_text(json.dumps(asdict(training), indent=2), encoding="utf-8")
        if (folder / "last.pt").exists():
            self._restore(torch.load(folder / "last.pt", weights_only=True))

    def train(self, dev: Sequence[StoredExample]) -> None:
        """All steps that are left; every `check_every` the averaged weights are checked and the state is saved."""
        losses: list[tuple[float, ...]] = []
        while self.step < self.training.steps:
            losses.append(self.one_step())
            if self.step % self.training.check_every == 0 or self.step == self.training.steps:
                self.check(dev, losses)
                losses = []

    def check(self, dev: Sequence[StoredExample], losses: Sequence[tuple[float, ...]]) -> None:
        """Measures the averaged weights on held-out renders, writes down the losses since the last time, saves."""
        scores = macro_f1(answers(self.averaged, dev))
        instruments = self.training.network.instruments
        seven = [score for row, score in scores.items() if instruments[row] in MUSICNET_SEVEN]
        by_labels, by_teacher, by_tagger, by_roll = np.mean(losses, axis=0).tolist()
        self.log.append(
            {
                "step": self.step,
                "label_loss": by_labels,
                "taught_loss": by_teacher,
                "tagged_loss": by_tagger,
                "roll_loss": by_roll,
                "dev_macro_f1": float(np.mean(list(scores.values()))),
                "dev_seven_f1": float(np.mean(seven)) if seven else math.nan,
                "seconds": time.monotonic() - self.started,
            }
        )
        self._save()
        print(" ".join(f"{key} {value:.4g}" for key, value in self.log[-1].items()), flush=True)

    def one_step(self) -> tuple[float, ...]:
        """One batch; returns its losses."""
        training = self.training
        set_rate(self.optimiser, training.learning_rate, self.step, training.steps, training.warm_up)
        self.network.train()
        torch.manual_seed(training.seed * 1_000_003 + self.step)  # dropout, the same when a run is continued
        batch = self.examples.batch(self.step)
        with torch.autocast("cpu", torch.bfloat16):
            losses = loss(self.network, batch, training)
        total = (
            losses.labels
            + training.taught_weight * losses.taught
            + training.tagged_weight * losses.tagged
            + training.roll_weight * losses.roll
        )
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        follow(self.averaged, self.network, self.training.average, self.step)
        return tuple(value.item() for value in losses)

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "best": self.best,
            "log": self.log,
        }
        if self.log[-1]["dev_macro_f1"] > self.best:
            self.best = state["best"] = self.log[-1]["dev_macro_f1"]
            write_state(self.averaged.state_dict(), self.folder / "best.pt")
        write_state(state, self.folder / "last.pt")
        write_log(self.log, self.folder / "log.csv")
        plot(self.log, self.folder / "loss.png")

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.best, self.log = state["step"], state["best"], state["log"]


def plot(log: list[dict[str, float]], path: Path) -> None:
    """The losses and the figure on held-out renders over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    steps = [entry["step"] for entry in log]
    for key in ("label_loss", "taught_loss", "tagged_loss", "roll_loss"):
        axes.plot(steps, [entry[key] for entry in log], label=key.replace("_", " "))
    axes.set_xlabel("step")
    axes.set_ylabel("cross entropy")
    right = axes.twinx()
    right.plot(steps, [entry["dev_macro_f1"] for entry in log], "k:", label="macro F1, held-out renders")
    right.set_ylim(0, 1)
    axes.legend(loc="upper left")
    right.legend(loc="lower right")
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)


def load_network(run: Path, checkpoint: str = "best.pt") -> Detector:
    """The network of a run, ready to answer."""
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))["network"]
    config |= {name: tuple(config[name]) for name in ("instruments", "taught", "tagged")}
    network = Detector(DetectorConfig(**config))
    network.load_state_dict(torch.load(run / checkpoint, weights_only=True))
    return network.eval()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, nargs="+", help="folders of examples of renders")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of examples of real sound and noise")
    parser.add_argument("--dev", type=Path, required=True, help="examples of held-out renders")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--start", type=Path, help="weights (best.pt) of an earlier run of the same shape to go on from"
    )
    parser.add_argument("--learning-rate", type=float, default=Training.learning_rate)
    parser.add_argument("--threads", type=int, default=1)
    defaults, network = Training(), DetectorConfig(LABELS, MUSICNET_SEVEN, tagger.INSTRUMENTS)
    for name in ("steps", "batch", "seed", "check_every"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    for name in ("channels", "recurrent", "hsf_order", "timbre"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(network, name))
    parser.add_argument("--no-teacher", action="store_true", help="learn from labels alone")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network = replace(
        network,
        taught=() if arguments.no_teacher else network.taught,
        tagged=() if arguments.no_teacher else network.tagged,
        **{name: getattr(arguments, name) for name in ("channels", "recurrent", "hsf_order", "timbre")},
    )
    training = replace(
        defaults,
        network=network,
        learning_rate=arguments.learning_rate,
        **{name: getattr(arguments, name) for name in ("steps", "batch", "seed", "check_every")},
    )
    rendered = [clip for folder in arguments.train for clip in clips(load_all(folder))]
    real = [example for folder in arguments.real for example in load_all(folder)]
    run = Run(arguments.run, training, rendered, real, arguments.start)
    run.train(load_all(arguments.dev))


if __name__ == "__main__":
    main()
