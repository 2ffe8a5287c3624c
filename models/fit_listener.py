"""Fit the network that hears attacks: `python -m models.fit_listener --scores DIR [--more FILE ...]`.

Endless players (`models.rhythm_takes`) play every score anew; stretches of their takes, at other tempos still, teach
the network of `score_pipeline.rhythm.listener` two answers, by AdamW on their cross entropies: the pair of meter and
length of the quarter, and, told the true pair, the weight of every attack. A tenth of the works is kept apart; the card
reports on it. Takes a quarter of an hour on one core. The same command gives the same file on the same kind of
processor, with one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from models.fit_rhythm import add_sources, known_scores, tenth
from models.rhythm_card import write_tables
from models.rhythm_takes import Take, play, sheet_of
from score_pipeline.rhythm import listener
from score_pipeline.rhythm.attacks import N_FEATURES, SECONDS_COLUMNS
from score_pipeline.rhythm.listener import PERIODS_S, in_key, period_bin
from score_pipeline.rhythm.priors import LEVELS, METERS

Floats = NDArray[np.float64]

STEPS, BATCH, LENGTH = 3000, 24, 256
"""Steps of training, stretches of each, attacks of a stretch."""
OWN_TAKES, MORE_TAKES = 20, 4
"""Takes of each score of the folder and of `--more`, each a little longer than a stretch."""
OWN_SHARE = 0.45
"""Stretches from the folder's scores, which are fewer and of more kinds."""
CHANNELS, NEAR, LAYERS = 64, 48, 7
RATE = 4e-3
LOUDNESS_COLUMN = 12


@dataclass(frozen=True, eq=False)
class Example:
    """A take as the network sees it: `seen` (n, features + 12), truths (n,), -1 where there is none."""

    seen: NDArray[np.float32]
    level: NDArray[np.int64]
    meter: NDArray[np.int64]
    log_period: NDArray[np.float32]
    of_folder: bool


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_sources(parser)
    parser.add_argument("--out", type=Path, default=Path(listener.__file__).with_name("listener.npz"))
    arguments = parser.parse_args()
    own, more = known_scores(arguments.scores, arguments.more)
    learnt: list[Example] = []
    checked: list[Example] = []
    for number, record in enumerate([*own, *more]):
        sheet = sheet_of(record)
        of_folder = number < len(own)
        for take in range(OWN_TAKES if of_folder else MORE_TAKES):
            if sheet is not None and (played := play(sheet, np.random.default_rng([number, take]), LENGTH + 32)):
                (learnt if tenth(record) else checked).append(example_of(played, of_folder))
    print(f"{len(learnt)} takes, {len(checked)} kept apart", flush=True)
    tables, figures = fit(learnt, [example for example in checked if example.of_folder])
    write_tables(arguments.out, tables, {"takes": len(learnt), **figures}, own + more)


def example_of(played: Take, of_folder: bool) -> Example:
    """What the network sees of a take."""
    chroma = in_key(played.attacks.chroma, played.attacks.length_s)
    seen = np.concatenate([played.attacks.features, chroma], axis=1).astype(np.float32)
    return Example(seen, played.level, played.meter, played.log_period.astype(np.float32), of_folder)


class Network(torch.nn.Module):
    """Dilated residual convolutions over attacks and two answers, see `score_pipeline.rhythm.listener`."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = torch.nn.Linear(N_FEATURES + 12, CHANNELS)
        self.conv = torch.nn.ModuleList(
            torch.nn.Conv1d(CHANNELS, CHANNELS, 3, padding=2**k, dilation=2**k) for k in range(LAYERS)
        )
        for layer in self.conv:
            layer.weight.data *= 0.5
        self.drop = torch.nn.Dropout(0.12)
        self.joint = torch.nn.Linear(CHANNELS, (len(METERS) + 1) * len(PERIODS_S))
        self.near = torch.nn.Linear(CHANNELS, NEAR)
        self.of_meter = torch.nn.Embedding(len(METERS) + 1, NEAR)
        self.of_period = torch.nn.Embedding(len(PERIODS_S), NEAR)
        self.mix = torch.nn.Linear(NEAR, NEAR)
        self.level = torch.nn.Linear(NEAR, len(LEVELS))

    def forward(
        self, x: torch.Tensor, there: torch.Tensor, meter: torch.Tensor, pace: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, attacks, ...) to log P(meter, period) (batch, attacks, meters + 1, periods) and logits of levels."""
        x = torch.relu(self.inside(x)).transpose(1, 2)
        inside = there[:, None, :].float()  # what is not there sounds like the silence around a piece
        for layer in self.conv:
            x = x + self.drop(torch.relu(layer(x * inside)))
        x = self.drop(x.transpose(1, 2))
        joint = torch.log_softmax(self.joint(x), dim=-1).unflatten(-1, (len(METERS) + 1, len(PERIODS_S)))
        told = torch.relu(self.near(x) + self.of_meter(meter) + self.of_period(pace))
        return joint, self.level(torch.relu(self.mix(told)))


@dataclass(frozen=True, eq=False)
class Batch:
    """Stretches side by side: `x`, what is `there`, `level` and `meter` (-1: unknown), `pace` a period's index,
    `period` its probabilities."""

    x: torch.Tensor
    there: torch.Tensor
    level: torch.Tensor
    meter: torch.Tensor
    pace: torch.Tensor
    period: torch.Tensor


def batch_of(examples: Sequence[Example], mean: Floats, scale: Floats, rng: np.random.Generator | None) -> Batch:
    """A stretch of each example, at a slightly other tempo; from the beginning and as played without `rng`."""
    x = np.zeros((len(examples), LENGTH, N_FEATURES + 12), np.float32)
    there = np.zeros((len(examples), LENGTH), bool)
    level, meter = np.full(there.shape, -1), np.full(there.shape, -1)
    log_period = np.zeros(there.shape)
    for row, example in enumerate(examples):
        start = 0 if rng is None else int(rng.integers(0, max(len(example.level) - LENGTH, 0) + 1))
        part = slice(start, start + LENGTH)
        seen = example.seen[part].copy()
        count = len(seen)
        slower = 0.0 if rng is None else float(rng.normal(0, 0.12))
        seen[:, SECONDS_COLUMNS] += slower
        seen[:, :N_FEATURES] = ((seen[:, :N_FEATURES] - mean) / scale).clip(-4, 4)
        if rng is not None and rng.random() < 0.3:
            seen[:, LOUDNESS_COLUMN] = 0.0
        x[row, :count], there[row, :count] = seen, True
        level[row, :count], meter[row, :count] = example.level[part], example.meter[part]
        log_period[row, :count] = example.log_period[part] + slower
    near = np.exp(-0.5 * ((log_period[..., None] - np.log(PERIODS_S)) / 0.1) ** 2) + 1e-9
    if rng is not None:
        log_period += rng.normal(0, 0.05, log_period.shape)
    return Batch(
        torch.tensor(x),
        torch.tensor(there),
        torch.tensor(level),
        torch.tensor(meter),
        torch.tensor(period_bin(np.exp(log_period))),
        torch.tensor((near / near.sum(axis=-1, keepdims=True)).astype(np.float32)),
    )


def losses(network: Network, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cross entropies of the pair and of the levels, in nats per attack; and the pairs' log probabilities."""
    joint, told = network(batch.x, batch.there, batch.meter.clamp(min=0), batch.pace)
    known = batch.meter >= 0
    of_meter = joint.gather(2, batch.meter.clamp(min=0)[..., None, None].expand(-1, -1, 1, len(PERIODS_S)))[:, :, 0]
    pair = -(of_meter * batch.period).sum(dim=-1)[known].mean()
    placed = known & (batch.level >= 0) & (batch.meter < len(METERS))
    return pair, cross_entropy(told[placed], batch.level[placed]), joint


def fit(learnt: Sequence[Example], checked: Sequence[Example]) -> tuple[dict[str, Floats], dict[str, float]]:
    """The tables of `score_pipeline.rhythm.listener.Listener`, and how they do on what was kept apart."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    everything = np.concatenate([example.seen[:, :N_FEATURES] for example in learnt[::5]]).astype(np.float64)
    mean, scale = everything.mean(axis=0), everything.std(axis=0) + 1e-3
    pools = [[example for example in learnt if example.of_folder is side] for side in (True, False)]
    pools = [pool or list(learnt) for pool in pools]
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS, pct_start=0.07)
    for step in range(STEPS):
        sides = (pools[0] if rng.random() < OWN_SHARE else pools[1] for _ in range(BATCH))
        batch = batch_of([side[int(rng.integers(len(side)))] for side in sides], mean, scale, rng)
        pair, level, _ = losses(network, batch)
        optimiser.zero_grad()
        (0.4 * pair + level).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 500 == 499:
            print(f"step {step + 1}: {checked_figures(network, checked, mean, scale)}", flush=True)
    return tables_of(network, mean, scale, learnt), checked_figures(network, checked, mean, scale)


def checked_figures(network: Network, examples: Sequence[Example], mean: Floats, scale: Floats) -> dict[str, float]:
    """Cross entropies on examples, and how often meter, length of the quarter (20 %) and both are right, by excerpt."""
    network.eval()
    rows = []
    with torch.no_grad():
        for example in examples[::2]:
            batch = batch_of([example], mean, scale, None)
            pair, level, joint = losses(network, batch)
            count = int(batch.there.sum())
            whole = joint[0, :count].mean(dim=0)
            true = np.bincount(example.meter[:count].clip(0), minlength=len(METERS) + 1).argmax()
            period = float(np.median(example.log_period[:count]))
            found, pace = np.unravel_index(int(whole.argmax()), whole.shape)
            paced = abs(float(np.log(PERIODS_S[pace])) - period) < 0.2
            rows.append([float(pair), float(level), found == true, paced, found == true and paced])
    network.train()
    names = ("pair_nats", "level_nats", "meter_right", "quarter_right", "pair_right")
    return {name: round(float(value), 3) for name, value in zip(names, np.nanmean(rows, axis=0), strict=True)}


def tables_of(network: Network, mean: Floats, scale: Floats, learnt: Sequence[Example]) -> dict[str, Floats]:
    """The layers by the names that the package knows."""
    weight = {name: value.numpy().astype(np.float64) for name, value in network.state_dict().items()}
    tables = {"mean": mean, "scale": scale}
    tables |= {name: weight[f"{name}.weight"] for name in ("of_meter", "of_period")}
    for name in ("inside", "joint", "near", "mix", "level"):
        tables[name], tables[f"{name}_bias"] = weight[f"{name}.weight"].T, weight[f"{name}.bias"]
    tables["conv"] = np.stack([weight[f"conv.{k}.weight"].transpose(2, 1, 0) for k in range(LAYERS)])
    tables["conv_bias"] = np.stack([weight[f"conv.{k}.bias"] for k in range(LAYERS)])
    count = np.full((len(METERS) + 1, len(LEVELS)), 5.0)
    for example in learnt:
        known = (example.level >= 0) & (example.meter >= 0)
        np.add.at(count, (example.meter[known], example.level[known]), 1 / len(example.level))
    return tables | {"prior": np.log(count / count.sum(axis=1, keepdims=True))}


if __name__ == "__main__":
    main()
