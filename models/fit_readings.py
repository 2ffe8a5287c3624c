"""Fit the networks that choose among readings: `python -m models.fit_readings --scores DIR [--more FILE ...]`.

Simulated performances (`models.rhythm_takes`), cut to what `track_beats` decides on. The true reading of each stands
among others of the same notes: other levels, other meters, other first beats, bars that slip by a beat on the way; and
for some, the readings that the search finds stand among each other. The networks learn to give the largest share to
what is worth most, by `ranking.agreement` with the truth (cross entropy). Every network sees all but a tenth of the
scores, on which the card reports. Run it after `models.fit_listener`; takes half an hour on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.fit_rhythm import add_sources, known_scores, tenth
from models.rhythm_card import write_tables
from models.rhythm_takes import Sheet, Take, play, sheet_of
from score_pipeline.rhythm import ranking
from score_pipeline.rhythm.attacks import Attacks
from score_pipeline.rhythm.listener import Heard, load_listener
from score_pipeline.rhythm.metrical import Player, Reading, search
from score_pipeline.rhythm.priors import METERS, TICKS, bar_ticks, load_priors
from score_pipeline.rhythm.ranking import Describer, Judge, agreement, candidates, choose, judge_from, relatives
from score_pipeline.types import Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARPNESS = 12.0
"""How much more of the share a reading is to get that is worth more, as the factor of a softmax."""
KEPT = 6
"""Readings of the search whose relatives are learnt from."""
OWN_TAKES, MORE_TAKES, FALSE = 4, 1, 35
"""Excerpts of each score of the folder and of `--more`, readings of each excerpt."""
SEARCHED = 1
"""Excerpts of each score of the folder of which the search's readings are learnt from too."""
SHORTEST, LONGEST = 40, 300
"""Attacks of an excerpt."""
EPOCHS, WIDTHS = 10, (48, 24)
EXCERPTS_APART = 120
"""Excerpts of scores kept apart that say how sure to be."""
NETWORKS = 8
"""Whose mean counts; they differ in seed and order."""


@dataclass(frozen=True, eq=False)
class Case:
    """Readings of one excerpt: rows of features, what each is worth (1 for the truth), whether its meter is true."""

    score: int
    tenth: int
    rows: NDArray[np.float32]
    worth: Floats
    meter: NDArray[np.bool_]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_sources(parser)
    parser.add_argument("--workers", type=int, default=2, help="processes that make cases; the result is the same")
    parser.add_argument("--out", type=Path, default=Path(ranking.__file__).with_name("readings.npz"))
    arguments = parser.parse_args()
    own, more = known_scores(arguments.scores, arguments.more)
    tasks = [
        (record, number, OWN_TAKES if number < len(own) else MORE_TAKES) for number, record in enumerate([*own, *more])
    ]
    with ProcessPoolExecutor(arguments.workers) as pool:
        found = [case for some in pool.map(_cases_of, *zip(*tasks, strict=True), chunksize=8) for case in some]
    print(f"{len(found)} sets of readings", flush=True)
    learnt, checked = [case for case in found if case.tenth], [case for case in found if not case.tenth]
    networks = [fit(learnt, checked, turn) for turn in range(NETWORKS)]
    tables = {name: np.stack([network[name] for network in networks]) for name in networks[0]}
    apart = [sheet for record in [*own, *more] if not tenth(record) and (sheet := sheet_of(record)) is not None]
    tables["sure"], figures = fit_confidence(apart, judge_from(tables | {"sure": np.zeros(5)}))
    write_tables(arguments.out, tables, {"sets_of_readings": len(learnt), **figures}, own + more)


def fit_confidence(sheets: list[Sheet], judge: Judge) -> tuple[Floats, dict[str, float]]:
    """Bias and weights of `Judge.sure`, by ridge regression on scores that no network saw, half of which report."""
    grounds, worth, meter_right = [], [], []
    for number, sheet in enumerate(sheets[:EXCERPTS_APART]):
        rng = np.random.default_rng([number, 8])
        excerpted = played_excerpt(sheet, rng)
        if excerpted is None:
            continue
        cut, heard, truth = excerpted
        searched = search(cut.time_s, heard, load_priors(), METERS, Player())
        choice = choose(*candidates(searched), cut, heard, load_priors(), judge)
        grounds.append([1.0, *choice.grounds])
        worth.append(agreement([truth, choice.reading], cut.time_s)[0, 1])
        meter_right.append(choice.reading.meter == truth.meter)
    x, right = np.array(grounds), np.array(worth)
    logit = np.log(right.clip(0.05, 0.95) / (1 - right.clip(0.05, 0.95)))
    half = np.arange(len(x)) % 2 == 0
    told = x[~half] @ _ridge(x[half], logit[half])
    figures = {
        "excerpts_apart": len(x),
        "worth_of_the_chosen": round(float(right.mean()), 3),
        "meter_right": round(float(np.mean(meter_right)), 3),
        "confidence_correlation": round(float(np.corrcoef(told, right[~half])[0, 1]), 3),
    }
    print(figures, flush=True)
    return _ridge(x, logit), figures


def _ridge(x: Floats, y: Floats) -> Floats:
    """Least squares with a little weight against large coefficients; the first column is a bias."""
    scale = x.std(axis=0) + 1e-6
    penalty = 3.0 * np.diag(np.where(np.arange(x.shape[1]) == 0, 0.0, scale**2))
    return np.asarray(np.linalg.solve(x.T @ x + penalty, x.T @ y))


def _cases_of(record: dict[str, Any], number: int, takes: int) -> list[Case]:
    """All of `cases`; a process of its own may run it."""
    sheet = sheet_of(record)
    return [] if sheet is None else list(cases(sheet, number, tenth(record), takes))


def cases(sheet: Sheet, number: int, of_tenth: int, takes: int) -> Iterator[Case]:
    """Excerpts of a score that stay in one meter, each with its readings."""
    for take in range(takes):
        rng = np.random.default_rng([number, take, 7])
        excerpted = played_excerpt(sheet, rng)
        if excerpted is None:
            continue
        cut, heard, truth = excerpted
        sets = [[truth, *false_readings(truth.meter, truth.tick, rng)]]
        if takes > 1 and take < SEARCHED:
            searched = search(cut.time_s, heard, load_priors(), METERS, Player())
            sets.append(others_of(truth, searched, cut, rng))
        describer = Describer(cut, heard, load_priors())
        for found in sets:
            rows = [describer.row(reading.meter, reading.tick) for reading in found]
            worth = agreement([truth, *found], cut.time_s)[0, 1:]
            meter_is = np.array([reading.meter == truth.meter for reading in found])
            yield Case(number, of_tenth, np.array(rows, dtype=np.float32), worth, meter_is)


def played_excerpt(sheet: Sheet, rng: np.random.Generator) -> tuple[Attacks, Heard, Reading] | None:
    """A stretch of one meter of a score as somebody plays it, what the listener hears in it, and how it is written.

    None where the score holds none that is long enough.
    """
    played = play(sheet, rng, LONGEST + 30)
    if played is None:
        return None
    meter, tick = true_ticks(played)
    part = excerpt(meter, tick, rng)
    if part is None:
        return None
    true = METERS[meter[part.start]]
    place = tick[part] - tick[part.start] + tick[part.start] % bar_ticks(true)
    heard = load_listener().hear(played.attacks).at(part)
    return played.attacks.at(part), heard, Reading(true, place, 1.0, 0.0, 0.0)


def others_of(truth: Reading, searched: list[Reading], attacks: Attacks, rng: np.random.Generator) -> list[Reading]:
    """What `rank` will choose from, the search's readings and their relatives: the best ones and some others."""
    searched = sorted(searched, key=lambda reading: -reading.timing)
    family = [
        replace(reading, meter=meter, tick=tick)
        for reading in searched[:KEPT]
        for meter, tick in relatives(reading.meter, reading.tick, METERS)
    ]
    worth = agreement([truth, *family], attacks.time_s)[0, 1:]
    order = np.argsort(-worth, kind="stable")
    chosen = [*order[: FALSE // 3], *rng.permutation(order[FALSE // 3 :])[: 2 * FALSE // 3]]
    return [family[int(index)] for index in chosen]


def true_ticks(played: Take) -> tuple[Ints, Ints]:
    """Meter (index, a negative number where bars are broken) of every attack, and ticks counting bars of it from 0."""
    stray = played.tick < 0
    absolute = np.round(np.where(stray, np.round(played.onset_q * 4) / 4, played.onset_q) * TICKS).astype(np.int64)
    absolute = np.maximum.accumulate(absolute)
    meter = np.where(stray, -1, played.meter)
    known = np.flatnonzero(~stray)
    if not len(known):
        return meter, absolute
    # an attack whose place is not known belongs to the bars around it
    before = known[np.maximum(np.searchsorted(known, np.arange(len(meter)), side="right") - 1, 0)]
    meter = meter[before]
    bar = np.array([*(bar_ticks(known_meter) for known_meter in METERS), TICKS])[meter]
    off = ((played.tick - absolute)[before]) % bar
    broken = (np.diff(off, prepend=off[:1]) != 0) | (meter == len(METERS))
    return np.where(broken, -2, meter), absolute + off


def excerpt(meter: Ints, tick: Ints, rng: np.random.Generator) -> slice | None:
    """A stretch of one meter without bars cut short, half of them from its beginning; None if all are too short."""
    edges = np.flatnonzero(np.diff(meter, prepend=-9, append=-9))
    runs = [
        (low, high)
        for low, high in pairwise(edges)
        if meter[low] >= 0 and high - low >= SHORTEST and tick[high - 1] - tick[low] > 2 * TICKS
    ]
    if not runs:
        return None
    low, high = runs[int(rng.integers(len(runs)))]
    length = int(min(high - low, rng.integers(SHORTEST, LONGEST + 1) if rng.random() < 0.5 else LONGEST))
    start = low if rng.random() < 0.6 else int(rng.integers(low, high - length + 1))
    return slice(int(start), int(start) + length)


def false_readings(true: Meter, tick: Ints, rng: np.random.Generator) -> Iterator[Reading]:
    """`FALSE` or fewer wrong readings: relatives of the true one, and it with bars that slip by a beat."""
    family = [(m, t) for m, t in relatives(true, tick, METERS) if m != true or not np.array_equal(t, tick)]
    for index in rng.permutation(len(family))[: FALSE - 4].tolist():
        meter, ticks = family[index]
        yield Reading(meter, ticks, 1.0, 0.0, 0.0)
    beat = int(true.beat_q * TICKS)
    for _ in range(4):
        slipped = tick.copy()
        slipped[int(rng.uniform(0.2, 0.7) * len(tick)) :] += beat * int(rng.integers(1, true.beats_per_bar + 1)) // 2
        if (slipped[-1] - tick[-1]) % bar_ticks(true):
            yield Reading(true, slipped, 1.0, 0.0, 0.0)


def fit(learnt: list[Case], checked: list[Case], seed: int) -> dict[str, Floats]:
    """Layers of `score_pipeline.rhythm.ranking.Judge`, by AdamW."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    everything = np.concatenate([case.rows for case in learnt])
    mean, scale = everything.mean(axis=0), everything.std(axis=0) + 1e-3
    sizes = (len(mean), *WIDTHS, 1)
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    parts: list[torch.nn.Module] = [torch.nn.Dropout(0.2)]
    for layer in layers[:-1]:
        parts += [layer, torch.nn.ReLU(), torch.nn.Dropout(0.4)]
    network = torch.nn.Sequential(*parts, layers[-1])
    steps = EPOCHS * (len(learnt) // 32 + 1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.1)

    def tensors(batch: list[Case]) -> tuple[torch.Tensor, torch.Tensor]:
        size = max(len(case.rows) for case in batch)
        x = np.zeros((len(batch), size, len(mean)), np.float32)
        known = np.zeros((len(batch), size), bool)
        for k, case in enumerate(batch):
            x[k, : len(case.rows)] = ((case.rows - mean) / scale).clip(-4, 4)
            known[k, : len(case.rows)] = True
        return torch.tensor(x), torch.tensor(known)

    def losses(batch: list[Case]) -> tuple[torch.Tensor, torch.Tensor]:
        x, known = tensors(batch)
        logits = network(x)[:, :, 0].masked_fill(~known, -1e9)
        wanted = torch.full(known.shape, -1e9)
        for k, case in enumerate(batch):
            wanted[k, : len(case.worth)] = torch.tensor(SHARPNESS * case.worth)
        loss = -(torch.softmax(wanted, dim=1) * torch.log_softmax(logits, dim=1)).sum(dim=1)
        return loss, logits

    for step in range(steps):
        batch = [learnt[int(k)] for k in rng.integers(len(learnt), size=32)]
        loss = losses(batch)[0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % (steps // 6) == 0 or step == steps - 1:
            report(network, losses, learnt[:200], checked, step)
    stored = {"mean": mean, "scale": scale}
    for k, layer in enumerate(layers):
        stored[f"weight_{k}"] = layer.weight.detach().numpy().T
        stored[f"bias_{k}"] = layer.bias.detach().numpy()
    return stored


def report(network: torch.nn.Module, losses: Any, learnt: list[Case], checked: list[Case], step: int) -> None:
    """Print what the chosen reading is worth beside the best there is, and how often its meter is true."""
    network.eval()
    with torch.no_grad():
        for title, batch in (("learnt", learnt), ("checked", checked)):
            loss, logits = losses(batch)
            best = logits.argmax(dim=1).tolist()
            worth = np.mean([case.worth[k] for case, k in zip(batch, best, strict=True)])
            there = np.mean([case.worth.max() for case in batch])
            meter = np.mean([case.meter[k] for case, k in zip(batch, best, strict=True)])
            print(
                f"step {step}, {title}: loss {float(loss.mean()):.3f}, "
                f"worth {worth:.3f} of {there:.3f}, meter {meter:.3f}",
                flush=True,
            )
    network.train()


if __name__ == "__main__":
    main()
