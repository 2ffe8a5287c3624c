"""Trains the network that hears who plays from the whole band.

    python -m models.train_full_band --scenes runs/bands/train --apart runs/bands/held --run runs/full_band \\
        [--start runs/earlier/best.pt]

Scenes come from `models.detection.band_scenes`, made beforehand. Each time one is drawn it goes through another
equaliser and level, some of its bands or blocks are missing, and in a share of the cases a second scene sounds with it:
powers add, and so do the players. What the labels do not say the tagger may (cross entropy with its probabilities). A
run's folder gets `log.csv`, `last.pt` (with which the same command goes on) and `best.pt`, chosen on the scenes kept
apart.
"""

from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from models.checkpoint import Progress, follow, read_best, set_rate
from models.detection.band_scenes import BLOCKS, MEL_STEP, BandScenes, load_scenes
from models.detection.examples import LABELS
from models.detection.metrics import auc_roc
from models.detection.tagger import CLASSES, HOP_FRAMES, N_CLASSES, WINDOW_FRAMES
from models.networks.full_band import FullBand, FullBandConfig, widened
from score_pipeline.features.cqt import RANGE_DB
from score_pipeline.types import FloatArray
from score_pipeline.units import BLOCK_FRAMES

STEPS, BATCH = 13500, 24
RATE, WARM_UP, DECAY, AVERAGE = 2e-3, 200, 0.01, 0.999
TAGGED_WEIGHT = 1.0
OURS_WEIGHT = 0.5
"""Share of the tagger's loss that is our instruments' alone."""
TOGETHER = 0.3
"""Share of the scenes with which a second one sounds."""
EQUALISER_DB, KNOTS = 3.0, 8
LEVEL_DB = (-12.0, 6.0)
MISSING_BANDS, MISSING_BLOCKS = 16, 12
"""At most so many neighbouring bands, and blocks of nine frames, are missing."""
CHECK_EVERY = 500
SEED = 1
UNKNOWN = 2


class Batch(NamedTuple):
    """`mel` (n, 128, 684), `plays` uint8 (n, 17, 76), `tagged` (n, 527, windows), NaN where nobody was asked."""

    mel: Tensor
    plays: Tensor
    tagged: Tensor


class Drawn(Dataset[Batch]):
    """The batch of each step, drawn anew; the same step gives the same batch."""

    def __init__(self, scenes: BandScenes, size: int) -> None:
        self._scenes, self._size = scenes, size

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((SEED, step))
        items = [self._one(rng) for _ in range(self._size)]
        return Batch(*(torch.from_numpy(np.stack(arrays)) for arrays in zip(*items, strict=True)))

    def _one(self, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.uint8], FloatArray]:
        index = int(rng.integers(len(self._scenes.mel)))
        mel = self._levels(index, rng)
        plays, tagged = self._scenes.plays[index], self._scenes.tagged[index].astype(np.float32)
        if rng.random() < TOGETHER:
            other = int(rng.integers(len(self._scenes.mel)))
            mel = summed(mel, self._levels(other, rng), float(rng.uniform(-10, 0)))
            plays = either(plays, self._scenes.plays[other])
            tagged = np.full_like(tagged, np.nan)
        mel = mel + np.float32(rng.uniform(*LEVEL_DB) / RANGE_DB)
        bands, blocks = int(rng.integers(MISSING_BANDS + 1)), int(rng.integers(MISSING_BLOCKS + 1))
        band = int(rng.integers(mel.shape[1] - bands + 1))
        mel[:, band : band + bands] = 0
        block = int(rng.integers(BLOCKS - blocks + 1))
        mel[block * BLOCK_FRAMES : (block + blocks) * BLOCK_FRAMES] = 0
        plays = plays.copy()
        plays[:, block : block + blocks] = UNKNOWN
        return np.ascontiguousarray(np.maximum(mel, 0).T), plays, tagged

    def _levels(self, index: int, rng: np.random.Generator) -> FloatArray:
        """Levels of a scene through an equaliser, (684, 128)."""
        curve = np.interp(np.linspace(0, KNOTS - 1, 128), np.arange(KNOTS), rng.normal(0, EQUALISER_DB, KNOTS))
        return self._scenes.mel[index] * np.float32(MEL_STEP) + (curve / RANGE_DB).astype(np.float32)


def summed(one: FloatArray, other: FloatArray, gain_db: float) -> FloatArray:
    """Levels of two sounds together, the second by `gain_db` louder than it was."""
    natural = np.float32(RANGE_DB * math.log(10) / 10)
    return np.logaddexp(one * natural, (other + np.float32(gain_db / RANGE_DB)) * natural) / natural


def either(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Who plays in either of two scenes: 1 if in one, unknown if it is so in one and nobody plays in the other."""
    return np.where((one == 1) | (other == 1), 1, np.maximum(one, other)).astype(np.uint8)


class Losses(NamedTuple):
    """Mean cross entropies with the labels and with the tagger."""

    labels: Tensor
    tagged: Tensor


def loss(network: FullBand, batch: Batch) -> Losses:
    """How far the answers are from labels and tagger; windows of the tagger are means over their blocks."""
    heard = network(batch.mel)
    known = (batch.plays != UNKNOWN).float()
    by_label = F.binary_cross_entropy_with_logits(heard.labels, (batch.plays == 1).float(), reduction="none")
    by_label = (by_label * known).sum() / known.sum().clamp_min(1)
    windows = F.avg_pool1d(heard.tagged, WINDOW_FRAMES // BLOCK_FRAMES, HOP_FRAMES // BLOCK_FRAMES)
    asked = ~batch.tagged[:, 0].isnan()
    if not asked.any():
        return Losses(by_label, windows.sum() * 0)
    said = torch.sigmoid(batch.tagged.transpose(1, 2)[asked])
    answered = windows.transpose(1, 2)[asked]
    each = F.binary_cross_entropy_with_logits(answered, said, reduction="none")
    ours = each[:, list(CLASSES.values())].mean()
    return Losses(by_label, OURS_WEIGHT * ours + (1 - OURS_WEIGHT) * each.sum(dim=1).mean() / 20)


class Run:
    """One training, from its first step or from where it was left."""

    def __init__(
        self,
        folder: Path,
        steps: int,
        scenes: BandScenes,
        apart: BandScenes,
        batch: int = BATCH,
        rate: float = RATE,
        start: Path | None = None,
    ) -> None:
        torch.manual_seed(SEED)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.steps, self.rate, self._apart = folder, steps, rate, apart
        self._drawn = Drawn(scenes, batch)
        self.network = FullBand(FullBandConfig(LABELS, N_CLASSES)).to(memory_format=torch.channels_last)
        if start is None:
            mel = torch.cat([self._drawn[index].mel for index in range(8)])
            self.network.set_input_statistics(mel.mean(dim=(0, 2)), mel.std(dim=(0, 2)))
        else:
            grown = widened(load_network(start)[0], self.network.config)
            self.network.load_state_dict(grown.state_dict())
        self.averaged = copy.deepcopy(self.network)
        optimiser = torch.optim.AdamW(self.network.parameters(), RATE, weight_decay=DECAY)
        self.progress = Progress(self.network, self.averaged, optimiser, self.network.config.to_json())
        self.progress.resume(folder)

    def train(self) -> None:
        """All steps that are left; every `CHECK_EVERY` the averaged weights are checked and the state is saved."""
        progress = self.progress
        made = DataLoader(self._drawn, batch_size=None, sampler=range(progress.step, self.steps), num_workers=1)
        recent: list[tuple[float, float]] = []
        for batch in made:
            recent.append(self._one_step(batch))
            if progress.step % CHECK_EVERY == 0 or progress.step == self.steps:
                labels, tagged = np.mean(recent, axis=0).tolist()
                figures = apart_figures(self.averaged, self._apart)
                progress.log.append({"step": progress.step, "label_loss": labels, "tagged_loss": tagged, **figures})
                print(" ".join(f"{key} {value:.4g}" for key, value in progress.log[-1].items()), flush=True)
                recent = []
                progress.save(self.folder)

    def _one_step(self, batch: Batch) -> tuple[float, float]:
        progress = self.progress
        set_rate(progress.optimiser, self.rate, progress.step, self.steps, WARM_UP)
        self.network.train()
        torch.manual_seed(SEED * 1_000_003 + progress.step)  # dropout, the same when a run is continued
        with torch.autocast("cpu", torch.bfloat16):
            losses = loss(self.network, batch)
        progress.optimiser.zero_grad(set_to_none=True)
        (losses.labels + TAGGED_WEIGHT * losses.tagged).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        progress.optimiser.step()
        progress.step += 1
        follow(self.averaged, self.network, AVERAGE, progress.step)
        return float(losses.labels.detach()), float(losses.tagged.detach())


@torch.no_grad()
def apart_figures(network: FullBand, scenes: BandScenes) -> dict[str, float]:
    """On scenes kept apart: cross entropy, and mean over instruments of the area under ROC of who plays at all."""
    network.eval()
    values, plays, nats = [], [], []
    for first in range(0, len(scenes.mel), 25):
        span = slice(first, first + 25)
        mel = torch.from_numpy(scenes.mel[span].transpose(0, 2, 1) * np.float32(MEL_STEP))
        truth = torch.from_numpy(scenes.plays[span])
        logits = network(mel).labels
        known = (truth != UNKNOWN).float()
        each = F.binary_cross_entropy_with_logits(logits, (truth == 1).float(), reduction="none")
        nats.append(float((each * known).sum() / known.sum()))
        values.append(logits.quantile(0.75, dim=2).numpy())
        plays.append((truth == 1).float().mean(dim=2).numpy() > 0.1)
    value, there = np.concatenate(values), np.concatenate(plays)
    area = auc_roc(value.T, there.T)
    return {"apart_loss": float(np.mean(nats)), "apart_area": float(np.nanmean(area))}


def load_network(path: Path) -> tuple[FullBand, dict[str, Any]]:
    """The network of a run's `best.pt`, ready to answer, and the state it was saved in."""
    return read_best(path, lambda config: FullBand(FullBandConfig.from_json(config)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True, nargs="+", help="folders of scenes to learn from")
    parser.add_argument("--apart", type=Path, required=True, help="folder of scenes of other players")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rate", type=float, default=RATE, help="learning rate at its highest")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--start", type=Path, help="best.pt of an earlier run to go on from, as wide as this or less")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scenes, apart = load_scenes(*arguments.scenes), load_scenes(arguments.apart)
    Run(arguments.run, arguments.steps, scenes, apart, rate=arguments.rate, start=arguments.start).train()


if __name__ == "__main__":
    main()
