"""Trains the network that hears whose note sounds, told who plays.

    python -m models.train_attribution --train runs/detection/train --real runs/detection/real \\
        --run runs/attribution --steps 3000 [--start runs/detection/run/averaged.pt]

Scenes are those of the detector (`models.detection.scenes`) with two players or more; where a player's own
posteriorgram has a note it is theirs. The line-up that the network is told is the true one, but at times somebody is
named who does not play, or somebody who does is left out, since a detector errs too. Every twentieth clip and every
tenth solo are kept apart to check with. `--start` takes over what
fits of a detector's or of an earlier run's averaged weights. A run's folder gets `log.csv`,
`last.pt` (with which the same command goes on) and `best.pt`.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.checkpoint import Progress, follow, read_best, set_rate
from models.detection.examples import LABELS, StoredExample, load_all
from models.detection.scenes import FAMILIES, Clip, Drawn, Mixing, Stage, clips
from models.detection.sounds import BoolArray
from models.networks.attribution import Attribution, AttributionConfig
from models.networks.detection import OUTPUT_FRAMES
from models.train_detection import begin_from
from score_pipeline.types import FloatArray
from score_pipeline.units import BLOCK_FRAMES

MIXING = Mixing(
    kinds={"rendered": 0.2, "remixed": 0.3, "invented": 0.5, "real": 0.0}, players=(0.0, 0.36, 0.32, 0.2, 0.08, 0.04)
)
"""Scenes with two players or more; of real mixtures nobody knows whose notes sound."""

STEPS, BATCH, FRAMES = 3000, 12, 95 * BLOCK_FRAMES
RATE, WARM_UP, DECAY, AVERAGE = 2e-3, 100, 0.01, 0.998
TOO_MANY, TOO_FEW = 0.5, 0.15
"""Share of the scenes in which up to three are named who do not play, and in which one who plays is not."""
ALIKE = 0.5
"""Chance that who is named by mistake is of a family with somebody who plays."""
CHECK_EVERY, CHECKED = 250, 40
"""Steps between two looks at batches kept apart, and how many scenes those are."""
SEED = 1


class Batch(NamedTuple):
    """`cqt`, `hsf` (n, 88, t), `line_up` (n, 17), `owners` (n, 17, 88, t / 9): shares of those who play each pitch."""

    cqt: Tensor
    hsf: Tensor
    line_up: Tensor
    owners: Tensor


class Scenes(Dataset[Batch]):
    """The batch of each step, drawn anew; the same step gives the same batch."""

    def __init__(self, stage: Stage, config: AttributionConfig, size: int, salt: int) -> None:
        self._stage, self._config, self._size, self._salt = stage, config, size, salt

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((SEED, self._salt, step))
        items: list[tuple[Drawn, FloatArray]] = []
        while len(items) < self._size:
            item = self._stage.draw(self._config.hsf_order, OUTPUT_FRAMES, rng)
            if item.is_rolled and (line_up := told(item, rng)) is not None:
                items.append((item, line_up))
        middle = slice(BLOCK_FRAMES // OUTPUT_FRAMES // 2, None, BLOCK_FRAMES // OUTPUT_FRAMES)
        owners = np.stack([item.roll[:, :, middle] * line_up[:, None, None] for item, line_up in items])
        return Batch(
            torch.from_numpy(np.stack([item.cqt for item, _ in items])),
            torch.from_numpy(np.stack([item.hsf for item, _ in items])),
            torch.from_numpy(np.stack([line_up for _, line_up in items])),
            torch.from_numpy(owners / np.maximum(owners.sum(axis=1, keepdims=True), 1)),
        )


def told(item: Drawn, rng: np.random.Generator) -> FloatArray | None:
    """The line-up (17,) that the network is told of a scene; None where fewer than two are known to play."""
    plays = item.roll.any(axis=(1, 2)) | item.labels.any(axis=1)
    if plays.sum() < 2:
        return None
    if rng.random() < TOO_MANY:
        for _ in range(int(rng.integers(1, 4))):
            plays[mistaken(plays, rng)] = True
    if plays.sum() > 2 and rng.random() < TOO_FEW:
        plays[rng.choice(np.flatnonzero(plays))] = False
    return plays.astype(np.float32)


def mistaken(plays: BoolArray, rng: np.random.Generator) -> int:
    """Row of somebody who does not play."""
    if rng.random() < ALIKE:
        alike = {key for family in FAMILIES for key in family if any(plays[LABELS.index(other)] for other in family)}
        if rows := [row for row, key in enumerate(LABELS) if key in alike and not plays[row]]:
            return int(rng.choice(rows))
    return int(rng.choice(np.flatnonzero(~plays)))


def loss(log_probability: Tensor, owners: Tensor) -> Tensor:
    """Mean cross entropy over the pitches at which somebody in the line-up sounds."""
    return -(owners * log_probability).sum() / owners.sum().clamp_min(1)


@dataclass(frozen=True)
class Split:
    """Clips and solos to learn from or to check with."""

    clips: list[Clip]
    solos: list[StoredExample]

    def stage(self) -> Stage:
        """Where their scenes are drawn."""
        return Stage(self.clips, self.solos, MIXING, FRAMES)


def split(rendered: Sequence[Clip], solos: Sequence[StoredExample]) -> tuple[Split, Split]:
    """What is learnt from, and what is kept apart."""
    return (
        Split([c for i, c in enumerate(rendered) if i % 20], [s for i, s in enumerate(solos) if i % 10]),
        Split(list(rendered[::20]), list(solos[::10])),
    )


class Run:
    """One training, from its first step or from where it was left."""

    def __init__(self, folder: Path, steps: int, learn: Split, apart: Split, start: Path | None) -> None:
        torch.manual_seed(SEED)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.steps = folder, steps
        config = AttributionConfig(LABELS)
        self.network = Attribution(config)
        self._scenes = Scenes(learn.stage(), config, BATCH, salt=0)
        apart_scenes = Scenes(apart.stage(), config, 8, salt=1)
        self._checked = [apart_scenes[index] for index in range(CHECKED // 8)]
        if start is None:
            self._normalise([self._scenes[index] for index in range(8)])
        else:
            begin_from(self.network, torch.load(start, weights_only=True))
        self.averaged = copy.deepcopy(self.network)
        optimiser = torch.optim.AdamW(self.network.parameters(), RATE, weight_decay=DECAY)
        self.progress = Progress(self.network, self.averaged, optimiser, self.network.config.to_json())
        self.progress.resume(folder)

    def train(self) -> None:
        """All steps that are left; every `CHECK_EVERY` the averaged weights are checked and the state is saved."""
        progress = self.progress
        made = DataLoader(self._scenes, batch_size=None, sampler=range(progress.step, self.steps), num_workers=1)
        recent: list[float] = []
        for batch in made:
            recent.append(self._one_step(batch))
            if progress.step % CHECK_EVERY == 0 or progress.step == self.steps:
                progress.log.append({"step": progress.step, "loss": float(np.mean(recent)), **self._figures()})
                print(" ".join(f"{key} {value:.4g}" for key, value in progress.log[-1].items()), flush=True)
                recent = []
                progress.save(self.folder)

    def _one_step(self, batch: Batch) -> float:
        progress = self.progress
        set_rate(progress.optimiser, RATE, progress.step, self.steps, WARM_UP)
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16):
            answer = self.network(batch.cqt, batch.hsf, batch.line_up)
        value = loss(answer, batch.owners)
        progress.optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        progress.optimiser.step()
        progress.step += 1
        follow(self.averaged, self.network, AVERAGE, progress.step)
        return float(value.detach())

    @torch.no_grad()
    def _figures(self) -> dict[str, float]:
        """Cross entropy on scenes kept apart, and how often the likeliest owner is one of the true ones."""
        self.averaged.eval()
        rows = []
        for batch in self._checked:
            answer = self.averaged(batch.cqt, batch.hsf, batch.line_up)
            notes = batch.owners.sum(dim=1) > 0
            right = batch.owners.gather(1, answer.argmax(dim=1, keepdim=True))[:, 0] > 0
            rows.append([float(loss(answer, batch.owners)), float(right[notes].float().mean())])
        nats, right_share = np.mean(rows, axis=0).tolist()
        return {"apart_loss": nats, "apart_right": right_share}

    def _normalise(self, batches: Sequence[Batch]) -> None:
        features = torch.cat([torch.cat((batch.cqt, batch.hsf), dim=1) for batch in batches])
        self.network.get_buffer("mean").copy_(features.mean(dim=(0, 2))[:, None])
        self.network.get_buffer("scale").copy_(1 / features.std(dim=(0, 2)).clamp_min(1e-3)[:, None])


def load_network(path: Path) -> tuple[Attribution, dict[str, Any]]:
    """The network of a run's `best.pt`, ready to answer, and the state it was saved in."""
    return read_best(path, lambda config: Attribution(AttributionConfig.from_json(config)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--train", type=Path, required=True, nargs="+", help="folders of examples of renders with stems"
    )
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of examples of real soloists")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--start", type=Path, help="averaged weights of which whatever fits is taken over")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rendered = [clip for folder in arguments.train for clip in clips(load_all(folder)) if clip.stems]
    solos = [example for folder in arguments.real for example in load_all(folder)]
    Run(arguments.run, arguments.steps, *split(rendered, solos), arguments.start).train()


if __name__ == "__main__":
    main()
