"""What written music looks like: how onsets move through bars of each meter.

Counted on scores by `python -m models.fit_rhythm --scores DIR`, stored beside this file; nothing here is set by hand
except where it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from score_pipeline.rhythm.tables import read_tables
from score_pipeline.types import Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TICKS = 24
"""Ticks per quarter: thirty-seconds are 3 and sixteenth triplets 4."""
METERS: tuple[Meter, ...] = (
    Meter(2, 4), Meter(3, 4), Meter(4, 4), Meter(2, 2), Meter(3, 8), Meter(6, 8), Meter(9, 8), Meter(12, 8),
    Meter(3, 2), Meter(6, 4),
)  # fmt: skip
"""Meters that are looked for."""
LEVELS = ("bar", "strong", "beat", "half", "fine")
"""Weight of a position: first of the bar, middle of it, other beats, half beats, everything finer."""


def bar_ticks(meter: Meter) -> int:
    """Length of a bar in ticks."""
    return int(meter.bar_q * TICKS)


def positions(meter: Meter) -> Ints:
    """Ticks of a bar on which an attack may be written."""
    fine = np.arange(bar_ticks(meter))
    if meter.unit >= 8:
        return np.asarray(fine[fine % 3 == 0])
    return np.asarray(fine[(fine % 3 == 0) | (fine % 4 == 0)])


def levels(meter: Meter) -> Ints:
    """Index into `LEVELS` of every tick of a bar."""
    length = bar_ticks(meter)
    tick = np.arange(length)
    beat = int(meter.beat_q * TICKS)
    half = beat // 3 if meter.is_compound else max(beat // 2, 1)
    level = np.full(length, 4)
    level[tick % half == 0] = 3
    level[tick % beat == 0] = 2
    if meter.beats_per_bar % 2 == 0 and length % 2 == 0:
        level[length // 2] = 1
    level[0] = 0
    return level


@dataclass(frozen=True, eq=False)
class Priors:
    """Tables per meter of `METERS`, natural logarithms.

    `first[m]` float (bar,) of the position of the first attack; `step[m]` float (bar, bar + 1): attack at row's tick,
    next one column ticks later.
    """

    first: tuple[Floats, ...]
    step: tuple[Floats, ...]
    common: Floats

    def first_of(self, meter: Meter) -> Floats:
        """log P(tick of the first attack), for any meter."""
        if meter in METERS:
            return self.first[METERS.index(meter)]
        plain = np.where(levels(meter) < 4, 0.0, -4.0)
        return np.asarray(plain - np.log(np.exp(plain).sum()))

    def step_of(self, meter: Meter) -> Floats:
        """log P(distance to the next attack | tick), for any meter: an unknown one moves as its longest relative."""
        if meter in METERS:
            return self.step[METERS.index(meter)]
        relative = Meter(12, 8) if meter.unit >= 8 else Meter(4, 4)
        known = np.exp(self.step[METERS.index(relative)])
        cycle = 36 if meter.unit >= 8 else TICKS
        phases = known.reshape(-1, cycle, known.shape[1]).mean(axis=0)
        length = bar_ticks(meter)
        table = np.full((length, length + 1), 1e-6)
        reach = min(length, phases.shape[1] - 1)
        table[:, : reach + 1] = phases[np.arange(length) % cycle, : reach + 1]
        return np.asarray(np.log(table))

    def common_of(self, meter: Meter) -> float:
        """log share of a meter among scores; a meter that no table knows was asked for."""
        return float(self.common[METERS.index(meter)]) if meter in METERS else 0.0


@cache
def load_priors() -> Priors:
    """The tables that ship with the package."""
    return from_arrays(read_tables("priors"))


def from_arrays(tables: Mapping[str, NDArray[np.floating]]) -> Priors:
    """The tables by name, as `models.fit_rhythm` makes them."""
    arrays = {name: np.asarray(table, dtype=np.float64) for name, table in tables.items()}
    return Priors(
        first=tuple(arrays.pop(f"first_{k}") for k in range(len(METERS))),
        step=tuple(arrays.pop(f"step_{k}") for k in range(len(METERS))),
        **arrays,
    )


def meter_index(meter: Meter) -> int | None:
    """Place of a meter in `METERS`, None when no table knows it."""
    return METERS.index(meter) if meter in METERS else None
