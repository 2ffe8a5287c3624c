"""What every training keeps on the way: states, a log, slowly following weights. A file that exists is complete."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
