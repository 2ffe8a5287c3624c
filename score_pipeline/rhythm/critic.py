"""How much a reading of the notes looks like music somebody wrote: a small network that looks at it bar by bar.

Every attack is seen at its place in the bar of that reading (weight, phases, note values in quarters, tempo, what was
struck a beat, half a bar, a bar, two and four bars before). Convolutions over attacks, then over bars, then one number,
to be compared with that of other readings of the same attacks. So 3/4 is told from 4/4 by what its bars would have in
common, and an eighth from a quarter by the tempo and the values that follow from it. Fitted by `python -m
models.fit_critic` on simulated performances; `critic.npz` lies beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from score_pipeline.rhythm.attacks import Attacks
from score_pipeline.rhythm.listener import in_key, kin
from score_pipeline.rhythm.metrical import Reading
from score_pipeline.rhythm.priors import LEVELS, METERS, TICKS, Priors, bar_ticks, levels
from score_pipeline.rhythm.tables import read_tables
from score_pipeline.types import Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.float32]

_PHASES = (1, 2, 3, 4)
"""Cycles per bar and per beat whose phase is told."""
_SPAN = 4
"""Attacks on either side from which the tempo at an attack is taken."""
_USUAL_LIKENESS = 0.35
"""Cosine between the pitch classes of two attacks taken at random, about."""
N_PLACE = len(LEVELS) + 4 * len(_PHASES) + 7 + 10 + len(METERS)
"""Columns of `place_rows`."""


def local_quarters(tick: Ints, time_s: Floats) -> Floats:
    """Seconds per quarter around every attack."""
    index = np.arange(len(tick))
    low, high = np.maximum(index - _SPAN, 0), np.minimum(index + _SPAN, len(tick) - 1)
    quarters = np.maximum(tick[high] - tick[low], 1) / TICKS
    return np.asarray(np.maximum((time_s[high] - time_s[low]) / quarters, 1e-3))


def place_rows(attacks: Attacks, meter: Meter, tick: Ints, priors: Priors) -> tuple[Rows, Ints]:
    """What the network sees of each attack's place, float32 (attacks, N_PLACE), and the bar it is in, from 0.

    `tick` (attacks,) counts from the start of any bar.
    """
    n, bar, beat = len(tick), bar_ticks(meter), int(meter.beat_q * TICKS)
    tick = tick - tick[0] // bar * bar
    place = tick % bar
    weight = np.eye(len(LEVELS))[levels(meter)[place]]
    turns = [2 * np.pi * place / bar, 2 * np.pi * (place % beat) / beat]
    phases = [wave(k * turn) for turn in turns for k in _PHASES for wave in (np.cos, np.sin)]
    quarter_s = local_quarters(tick, attacks.time_s)
    distance = np.diff(tick)
    log_distance = np.log((distance / TICKS).clip(0.03, 16))
    step = priors.step_of(meter)[place[:-1], np.minimum(distance, bar)]
    columns = [
        np.append(log_distance, log_distance[-1:]),
        np.insert(log_distance, 0, log_distance[:1]),
        np.log((attacks.length_s / quarter_s).clip(0.03, 16)),
        *(np.log(quarter_s * quarters) for quarters in (1.0, beat / TICKS, bar / TICKS)),
        np.append(step, -2.0).clip(-10, 0) / 4,
    ]
    for lag in (beat, bar // 2, bar, 2 * bar, 4 * bar):
        before = np.minimum(np.searchsorted(tick, tick - lag), n - 1)
        struck, reached = tick[before] == tick - lag, tick - lag >= tick[0]
        alike = (attacks.chroma * attacks.chroma[before]).sum(axis=1) - _USUAL_LIKENESS
        columns += [np.where(reached, struck - 0.5, 0.0), np.where(struck, alike, 0.0)]
    which = np.zeros((n, len(METERS)))
    which[:, kin(meter)] = 1.0
    rows = np.concatenate([weight, np.stack(phases + columns, axis=1), which], axis=1)
    return rows.astype(np.float32), tick // bar


def attack_rows(attacks: Attacks, mean: Floats | Rows, scale: Floats | Rows) -> Rows:
    """What the network sees of each attack whatever its place, float32 (attacks, features + 12)."""
    seen = ((attacks.features - mean) / scale).clip(-4, 4)
    rows = np.concatenate([seen, in_key(attacks.chroma, attacks.length_s)], axis=1)
    return np.asarray(rows, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Critic:
    """Layers of the network, float32.

    `mean`, `scale` (features,); `attack` (features + 12, c) and `place` (N_PLACE, c) share a bias; `conv` (layers, 3,
    c, c) over attacks and `bar_conv` (layers, 3, c, c) over bars, dilated by powers of two; `bar` (2 c + 2, c);
    `hidden` (2 c, d); `out` (d, 1). `sure` (5,): bias and weights of the logit of how much of a chosen reading is
    right, see `ranking.Choice`.
    """

    mean: Rows
    scale: Rows
    attack: Rows
    place: Rows
    bias: Rows
    conv: Rows
    conv_bias: Rows
    bar: Rows
    bar_bias: Rows
    bar_conv: Rows
    bar_conv_bias: Rows
    hidden: Rows
    hidden_bias: Rows
    out: Rows
    sure: Rows

    def logits(self, attacks: Attacks, readings: Sequence[Reading], priors: Priors) -> Floats:
        """How much each of the readings of these attacks is to be preferred, (readings,)."""
        seen = attack_rows(attacks, self.mean, self.scale) @ self.attack + self.bias
        return np.array([self._logit(seen, *place_rows(attacks, r.meter, r.tick, priors)) for r in readings])

    def _logit(self, seen: Rows, places: Rows, number: Ints) -> float:
        x = _convolved(np.maximum(seen + places @ self.place, 0.0), self.conv, self.conv_bias)
        first = np.flatnonzero(np.diff(number, prepend=-1))
        count = np.diff(np.append(first, len(number)))[:, None]
        bars = np.zeros((int(number[-1]) + 1, self.bar.shape[0]), dtype=np.float32)
        bars[number[first]] = np.concatenate(
            [
                np.add.reduceat(x, first, axis=0) / count,
                np.maximum.reduceat(x, first, axis=0),
                np.log1p(count),
                np.ones_like(count),
            ],
            axis=1,
        )
        y = _convolved(np.maximum(bars @ self.bar + self.bar_bias, 0.0), self.bar_conv, self.bar_conv_bias)
        whole = np.concatenate([y.mean(axis=0), y.max(axis=0)])
        return float((np.maximum(whole @ self.hidden + self.hidden_bias, 0.0) @ self.out)[0])


def _convolved(x: Rows, weight: Rows, bias: Rows) -> Rows:
    """Residual convolutions of three taps over the rows of `x`, each of twice the reach of the one before."""
    for layer in range(len(weight)):
        reach = 2**layer
        padded = np.pad(x, ((reach, reach), (0, 0)))
        taps = [padded[k * reach : k * reach + len(x)] @ weight[layer, k] for k in range(3)]
        x = x + np.maximum(taps[0] + taps[1] + taps[2] + bias[layer], 0.0)
    return x


@cache
def load_critic() -> Critic:
    """The network that ships with the package."""
    return critic_from(read_tables("critic"))


def critic_from(arrays: Mapping[str, NDArray[np.floating]]) -> Critic:
    """The network by the names of its layers, as `models.fit_critic` makes it."""
    return Critic(**{name: np.asarray(table, dtype=np.float32) for name, table in arrays.items()})
