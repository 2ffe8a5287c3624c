"""What every training does on the way: its rate, its states, its log, slowly following weights.

A file that exists is complete.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn


def write_state(state: Any, path: Path) -> None:
    """Saves what `torch.load` reads, under another name first."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def write_log(log: Sequence[dict[str, float]], path: Path) -> None:
    """The entries of a log as a table; all have the first one's columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, log[0])
        writer.writeheader()
        writer.writerows(log)


@dataclass(eq=False)
class Progress:
    """Where a training stands: its weights, those that follow slowly, its steps and its log.

    Every entry of the log holds `apart_loss`, by which the best weights are known.
    """

    network: nn.Module
    averaged: nn.Module
    optimiser: torch.optim.Optimizer
    config: dict[str, Any]
    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Writes `last.pt`, `log.csv` and, if the last entry is the best, `best.pt`."""
        kept = {"averaged": self.averaged.state_dict(), "step": self.step, "log": self.log, "config": self.config}
        last = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        write_state(kept | last, folder / "last.pt")
        if self.log[-1]["apart_loss"] == min(entry["apart_loss"] for entry in self.log):
            write_state(kept, folder / "best.pt")
        write_log(self.log, folder / "log.csv")

    def resume(self, folder: Path) -> None:
        """Goes on from a folder's `last.pt`, if there is one."""
        if not (folder / "last.pt").exists():
            return
        state: dict[str, Any] = torch.load(folder / "last.pt", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.log = state["step"], state["log"]


Network = TypeVar("Network", bound=nn.Module)


def read_best(path: Path, network_of: Callable[[dict[str, Any]], Network]) -> tuple[Network, dict[str, Any]]:
    """The averaged network of a `best.pt`, made from its configuration and ready to answer, and the state it was in."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    network = network_of(state["config"])
    network.load_state_dict(state["averaged"])
    return network.eval(), state


def set_rate(optimiser: torch.optim.Optimizer, highest: float, step: int, steps: int, warm_up: int) -> None:
    """The learning rate of a step: `warm_up` steps of rising, times half a cosine over all `steps`."""
    rate = highest * min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimiser.param_groups:
        group["lr"] = rate


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, average: float, step: int) -> None:
    """Moves averaged weights towards a network's by 1 - `average`, by more in the first steps; counters are copied."""
    kept = min(average, (1 + step) / (10 + step))
    state = network.state_dict()
    for name, value in averaged.state_dict().items():
        if value.is_floating_point():
            value.lerp_(state[name], 1 - kept)
        else:
            value.copy_(state[name])
