"""Fit the network that looks at readings bar by bar: `python -m models.fit_critic --scores DIR [--more FILE ...]`.

Endless simulated performances (`models.rhythm_takes`) of stretches of scores. The true reading of each stands among
others of the same notes: other levels, other meters, other first beats, bars that slip on the way; for some, readings
that the search finds stand among each other. The network learns to give the largest share to what is worth most, by
`ranking.agreement` with the truth (cross entropy). A tenth of the works is kept apart; the card reports on it. Run it
after `models.fit_listener`; takes an hour and a half on two cores, with a checkpoint from which a stopped run goes on.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import relu
from torch.utils.data import DataLoader, Dataset

from models.checkpoint import follow, set_rate, write_state
from models.fit_rhythm import add_sources, tenth
from models.rhythm_card import write_tables
from models.rhythm_excerpts import false_readings, played_excerpt, searched_readings
from models.rhythm_renders import read_scores
from models.rhythm_takes import Sheet, sheet_of
from score_pipeline.rhythm import critic
from score_pipeline.rhythm.attacks import Attacks
from score_pipeline.rhythm.critic import N_PLACE, Critic, attack_rows, critic_from, place_rows
from score_pipeline.rhythm.listener import load_listener
from score_pipeline.rhythm.metrical import Player, Reading, search
from score_pipeline.rhythm.priors import METERS, load_priors
from score_pipeline.rhythm.ranking import TIMING, agreement, candidates, choose, reconsider
from score_pipeline.types import Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEPS, BATCH, READINGS = 4500, 8, 40
"""Steps of training, excerpts of each, readings of an excerpt."""
RATE, WARM_UP, AVERAGE = 2e-3, 100, 0.998
"""Learning rate at its highest, steps until then, and how slowly the weights that ship follow."""
SHARPNESS = 12.0
"""How much more of the share a reading is to get that is worth more, as the factor of a softmax."""
SEARCHED = 0.4
"""Share of the excerpts whose readings are those of a search, as in use, and not the true one's relatives."""
BEST_OF_SEARCH = 6
"""Readings of a search that are sure to be among those learnt from, those worth most."""
SLIPS = 2
"""Readings that lose or gain something on the way."""
CHANNELS, LAYERS, HIDDEN = 64, 3, 64
CHECKED = 150
"""Excerpts of scores kept apart that are looked at along the way."""
CHECK_EVERY = 500
EXCERPTS_APART = 120
"""Excerpts of scores kept apart that say how sure to be."""


@dataclass(frozen=True, eq=False)
class Case:
    """Readings of one excerpt, log likelihoods per attack of their timing, and what each is worth (1 for the truth)."""

    attacks: Attacks
    readings: list[Reading]
    timing: Floats
    worth: Floats
    meter: Meter


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_sources(parser)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--checkpoint", type=Path, help="file to go on from, if it is there, and to write every 500 steps"
    )
    parser.add_argument("--out", type=Path, default=Path(critic.__file__).with_name("critic.npz"))
    arguments = parser.parse_args()
    files = [arguments.scores / "notes_train.jsonl.gz", *arguments.more]
    collections = [list(read_scores(path)) for path in files]
    pools: list[list[Sheet]] = []
    apart: list[Sheet] = []
    for collection in collections:
        pools.append([])
        for record in collection:
            if (sheet := sheet_of(record)) is not None:
                (pools[-1] if tenth(record) else apart).append(sheet)
    print([len(pool) for pool in pools], len(apart), "apart", flush=True)
    tables, figures = fit(pools, apart, arguments.steps, arguments.checkpoint)
    told = fit_confidence(apart, critic_from(tables | {"sure": np.zeros(5)}))
    write_tables(
        arguments.out,
        tables | {"sure": told[0]},
        figures | told[1],
        [record for some in collections for record in some],
    )


def case_of(sheet: Sheet, rng: np.random.Generator) -> Case | None:
    """A new excerpt of a score with readings to choose from; None where the score holds none that is long enough."""
    found = played_excerpt(sheet, rng)
    if found is None:
        return None
    truth = found.truth
    if rng.random() < SEARCHED:
        readings, timing = searched_readings(found, READINGS, BEST_OF_SEARCH, rng)
    else:
        readings = [truth, *false_readings(truth, READINGS - 1, SLIPS, rng)]
        timing = np.zeros(len(readings))
    worth = agreement([truth, *readings], found.attacks.time_s)[0, 1:]
    return Case(found.attacks, readings, timing, worth, truth.meter)


class Network(torch.nn.Module):
    """The layers of `score_pipeline.rhythm.critic.Critic`, with dropout."""

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.attack = torch.nn.Linear(seen, CHANNELS)
        self.place = torch.nn.Linear(N_PLACE, CHANNELS, bias=False)
        self.conv, self.bar_conv = (
            torch.nn.ModuleList(
                torch.nn.Conv1d(CHANNELS, CHANNELS, 3, padding=2**k, dilation=2**k) for k in range(LAYERS)
            )
            for _ in range(2)
        )
        self.bar = torch.nn.Linear(2 * CHANNELS + 2, CHANNELS)
        self.hidden = torch.nn.Linear(2 * CHANNELS, HIDDEN)
        self.out = torch.nn.Linear(HIDDEN, 1, bias=False)
        self.drop, self.drop_whole = torch.nn.Dropout1d(0.1), torch.nn.Dropout(0.3)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (excerpts, readings)."""
        excerpts, readings, _ = batch.number.shape
        x = relu(self.attack(batch.seen)[:, None] + self.place(batch.places)).flatten(0, 1).transpose(1, 2)
        there = batch.there[:, None].expand(-1, readings, -1).flatten(0, 1)[:, None].to(x.dtype)
        x = x * there
        for layer in self.conv:
            x = x + relu(layer(self.drop(x))) * there
        x, there = (x * there).transpose(1, 2).float(), there.transpose(1, 2).float()
        number = batch.number.flatten(0, 1)[:, :, None]
        rows, bars = excerpts * readings, int(number.max()) + 1
        count = torch.zeros(rows, bars, 1).scatter_add_(1, number, there)
        wide = number.expand(-1, -1, CHANNELS)
        total = torch.zeros(rows, bars, CHANNELS).scatter_add_(1, wide, x)
        most = torch.zeros(rows, bars, CHANNELS).scatter_reduce_(1, wide, x, "amax")
        last = (number * there.long()).amax(dim=1)
        inside = (torch.arange(bars) <= last)[:, None].float()
        y = torch.cat([total / count.clamp(min=1), most, torch.log1p(count), (count > 0).float()], dim=2)
        y = relu(self.bar(y)).transpose(1, 2) * inside
        for layer in self.bar_conv:
            y = y + relu(layer(self.drop(y))) * inside
        whole = torch.cat([y.sum(dim=2) / inside.sum(dim=2), y.amax(dim=2)], dim=1).float()
        logits = self.out(relu(self.hidden(self.drop_whole(whole)))).reshape(excerpts, readings).float()
        return logits + batch.timing


@dataclass(frozen=True, eq=False)
class Batch:
    """Cases side by side.

    `seen` (cases, attacks, features), `places` (cases, readings, attacks, N_PLACE), `number` of the bar (cases,
    readings, attacks), `there` (cases, attacks), `timing` and `wanted` (cases, readings): logits to add and to reach,
    -1e9 where there is no reading.
    """

    seen: torch.Tensor
    places: torch.Tensor
    number: torch.Tensor
    there: torch.Tensor
    timing: torch.Tensor
    wanted: torch.Tensor


def batch_of(cases: Sequence[Case], mean: Floats, scale: Floats) -> Batch:
    """Arrays of cases, filled up with zeros."""
    size = (len(cases), max(len(case.readings) for case in cases), max(len(case.attacks) for case in cases))
    seen = np.zeros((size[0], size[2], len(mean) + 12), np.float32)
    places, number = np.zeros((*size, N_PLACE), np.float32), np.zeros(size, np.int64)
    there, timing = np.zeros((size[0], size[2]), bool), np.zeros(size[:2], np.float32)
    wanted = np.full(size[:2], -1e9, np.float32)
    for row, case in enumerate(cases):
        n = len(case.attacks)
        seen[row, :n], there[row, :n] = attack_rows(case.attacks, mean, scale), True
        wanted[row, : len(case.worth)] = SHARPNESS * case.worth
        timing[row, : len(case.worth)] = TIMING * (case.timing - case.timing.max())
        for column, reading in enumerate(case.readings):
            found = place_rows(case.attacks, reading.meter, reading.tick, load_priors())
            places[row, column, :n], number[row, column, :n] = found
    return Batch(*(torch.from_numpy(array) for array in (seen, places, number, there, timing, wanted)))


class Batches(Dataset[Batch]):
    """The batch of each step, made anew; the same step gives the same batch.

    A collection of scores is drawn from as often as the root of its size says: large ones are all of one kind.
    """

    def __init__(self, pools: Sequence[Sequence[Sheet]], mean: Floats, scale: Floats) -> None:
        self._pools, self._mean, self._scale = pools, mean, scale
        share = np.sqrt([len(pool) for pool in pools])
        self._share = share / share.sum()

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([step, 5])
        cases: list[Case] = []
        while len(cases) < BATCH:
            pool = self._pools[int(rng.choice(len(self._pools), p=self._share))]
            case = case_of(pool[int(rng.integers(len(pool)))], rng)
            if case is not None:
                cases.append(case)
        return batch_of(cases, self._mean, self._scale)


def loss_of(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the shares, (cases,)."""
    share = torch.log_softmax(logits.masked_fill(wanted < -1e8, -1e9), dim=1).clamp(min=-50)
    return -(torch.softmax(wanted, dim=1) * share).sum(dim=1)


def fit(
    pools: Sequence[Sequence[Sheet]], apart: Sequence[Sheet], steps: int, checkpoint: Path | None
) -> tuple[dict[str, Floats], dict[str, float]]:
    """The tables of `Critic` without `sure`, and how they do on scores kept apart; seeded step by step."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    heard = load_listener()
    mean, scale = heard.mean, heard.scale
    network = Network(len(mean) + 12)
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    start = 0
    if checkpoint is not None and checkpoint.exists():
        stored = torch.load(checkpoint)
        network.load_state_dict(stored["network"])
        average.load_state_dict(stored["average"])
        optimiser.load_state_dict(stored["optimiser"])
        start = stored["step"]
    checked = [case for k in range(CHECKED) if (case := case_of(apart[k % len(apart)], np.random.default_rng([k, 3])))]
    recent: list[float] = []
    made = DataLoader(Batches(pools, mean, scale), batch_size=None, sampler=range(start, steps), num_workers=1)
    for step, batch in enumerate(made, start):
        set_rate(optimiser, RATE, step, steps, WARM_UP)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(batch)
        loss = loss_of(logits.float(), batch.wanted).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        follow(average, network, AVERAGE, step)
        recent.append(float(loss.detach()))
        if step % CHECK_EVERY == CHECK_EVERY - 1:
            told = checked_figures(average, checked, mean, scale)
            print(f"step {step + 1}: loss {np.mean(recent[-CHECK_EVERY:]):.3f}, kept apart {told}", flush=True)
            if checkpoint is not None:
                keep(checkpoint, network, average, optimiser, step + 1)
    return tables_of(average, mean, scale), {"steps": steps, **checked_figures(average, checked, mean, scale)}


def keep(path: Path, network: Network, average: Network, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write a checkpoint."""
    write_state(
        {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
        },
        path,
    )


def checked_figures(network: Network, cases: Sequence[Case], mean: Floats, scale: Floats) -> dict[str, float]:
    """Cross entropy, what the chosen reading is worth, how often its meter is true."""
    network.eval()
    rows = []
    with torch.no_grad():
        for case in cases:
            batch = batch_of([case], mean, scale)
            logits = network(batch)
            best = int(logits[0].argmax())
            right = case.readings[best].meter == case.meter
            rows.append([float(loss_of(logits, batch.wanted)), case.worth[best], right])
    network.train()
    names = ("nats", "worth", "meter_right")
    return {name: round(float(value), 3) for name, value in zip(names, np.mean(rows, axis=0), strict=True)}


def tables_of(network: Network, mean: Floats, scale: Floats) -> dict[str, Floats]:
    """The layers by the names that the package knows."""
    weight = {name: value.numpy().astype(np.float64) for name, value in network.state_dict().items()}
    tables = {"mean": mean, "scale": scale, "bias": weight["attack.bias"]}
    tables |= {name: weight[f"{name}.weight"].T for name in ("attack", "place", "bar", "hidden", "out")}
    tables |= {f"{name}_bias": weight[f"{name}.bias"] for name in ("bar", "hidden")}
    for name in ("conv", "bar_conv"):
        tables[name] = np.stack([weight[f"{name}.{k}.weight"].transpose(2, 1, 0) for k in range(LAYERS)])
        tables[f"{name}_bias"] = np.stack([weight[f"{name}.{k}.bias"] for k in range(LAYERS)])
    return tables


def fit_confidence(sheets: Sequence[Sheet], fitted: Critic) -> tuple[Floats, dict[str, float]]:
    """Bias and weights of `Critic.sure`, by ridge regression on scores that no network saw, half of which report."""
    grounds, worth, meter_right = [], [], []
    for number, sheet in enumerate(sheets[:EXCERPTS_APART]):
        found = played_excerpt(sheet, np.random.default_rng([number, 8]))
        if found is None:
            continue
        attacks, heard = found.attacks, found.heard()
        searched = search(attacks.time_s, heard, load_priors(), METERS, Player())
        reading = choose(*candidates(searched, METERS), attacks, load_priors(), fitted)
        choice = reconsider(reading, attacks, heard, METERS, load_priors(), fitted)
        grounds.append([1.0, *choice.grounds])
        worth.append(agreement([found.truth, choice.reading], attacks.time_s)[0, 1])
        meter_right.append(choice.reading.meter == found.truth.meter)
    x, right = np.array(grounds), np.array(worth)
    logit = np.log(right.clip(0.05, 0.95) / (1 - right.clip(0.05, 0.95)))
    half = np.arange(len(x)) % 2 == 0
    told = x[~half] @ _ridge(x[half], logit[half])
    figures = {
        "excerpts_apart": len(x),
        "worth_of_the_chosen": round(float(right.mean()), 3),
        "meter_of_the_chosen_right": round(float(np.mean(meter_right)), 3),
        "confidence_correlation": round(float(np.corrcoef(told, right[~half])[0, 1]), 3),
    }
    print(figures, flush=True)
    return _ridge(x, logit), figures


def _ridge(x: Floats, y: Floats) -> Floats:
    """Least squares with a little weight against large coefficients; the first column is a bias."""
    scale = x.std(axis=0) + 1e-6
    penalty = 3.0 * np.diag(np.where(np.arange(x.shape[1]) == 0, 0.0, scale**2))
    return np.asarray(np.linalg.solve(x.T @ x + penalty, x.T @ y))


if __name__ == "__main__":
    main()
