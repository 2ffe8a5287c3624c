"""What a small network makes of the attacks: which meter at which tempo, and how heavy each attack would be in it.

The network (dilated convolutions over attacks) answers two questions side by side. One: how probable is each pair of a
meter and a length of the quarter? A pair, because that is what a composer chooses: 3/8 and 3/4 with quarters twice as
long are the same bars. Two, once such a pair is assumed: how probable is each weight of a position? The product of the
answers is the probability of a reading, as far as attacks are independent. Fitted by `python -m models.fit_listener` on
simulated performances; `listener.npz` lies beside this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from score_pipeline.rhythm.attacks import Attacks
from score_pipeline.rhythm.priors import METERS
from score_pipeline.rhythm.tables import read_tables
from score_pipeline.types import Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PERIODS_S: Floats = np.exp(np.arange(np.log(0.2), np.log(3.2), 0.1))
"""Seconds per quarter that the network tells apart."""
_SCALE = np.array([1.0, -0.6, 0.8, -0.6, 0.9, 0.7, -0.5, 1.0, -0.6, 0.8, -0.5, 0.7])
"""How well a pitch class fits a major key on the first one."""


_BLOCK = 1024
"""Attacks whose answers are computed at a time."""


@dataclass(frozen=True, eq=False)
class Listener:
    """Layers of the network: residual convolutions of three taps, dilated by powers of two, and two answers.

    `mean`, `scale` (features,); `inside` (features + 12, channels); `conv` (layers, 3, channels, channels); `joint`
    (channels, (meters + 1) * periods); `near` (channels, d), `of_meter` (meters + 1, d), `of_period` (periods, d),
    `mix` (d, d), `level` (d, levels); `prior` (meters + 1, levels) natural logarithms of how common the levels are.
    """

    mean: Floats
    scale: Floats
    inside: Floats
    inside_bias: Floats
    conv: Floats
    conv_bias: Floats
    joint: Floats
    joint_bias: Floats
    near: Floats
    near_bias: Floats
    of_meter: Floats
    of_period: Floats
    mix: Floats
    mix_bias: Floats
    level: Floats
    level_bias: Floats
    prior: Floats

    def hear(self, attacks: Attacks) -> Heard:
        """What the network makes of every attack from up to 127 neighbours on either side."""
        x = ((attacks.features - self.mean) / self.scale).clip(-4, 4)
        x = np.concatenate([x, in_key(attacks.chroma, attacks.length_s)], axis=1)
        x = np.maximum(x @ self.inside + self.inside_bias, 0.0)
        for layer in range(len(self.conv)):
            reach = 2**layer
            padded = np.pad(x, ((reach, reach), (0, 0)))
            taps = (padded[k * reach : k * reach + len(x)] @ self.conv[layer, k] for k in range(3))
            x = x + np.maximum(sum(taps) + self.conv_bias[layer], 0.0)
        joint = _in_blocks(lambda rows: log_softmax(rows @ self.joint + self.joint_bias), x)
        return Heard(self, joint.reshape(len(x), len(METERS) + 1, len(PERIODS_S)), x @ self.near + self.near_bias)


@dataclass(frozen=True, eq=False)
class Heard:
    """One row per attack: `joint` (n, METERS and "another", PERIODS_S) of log P(meter, seconds per quarter | music);
    `near` (n, d), from which `levels` are told."""

    listener: Listener
    joint: Floats
    near: Floats

    def at(self, rows: slice) -> Heard:
        """The same for some of the attacks."""
        return replace(self, joint=self.joint[rows], near=self.near[rows])

    def with_silent(self, index: int) -> Heard:
        """The same with a moment before attack `index` of which nothing is heard but its neighbours."""
        near = min(index, len(self.near) - 1)
        return replace(
            self,
            joint=np.insert(self.joint, index, self.joint[near], axis=0),
            near=np.insert(self.near, index, self.near[near], axis=0),
        )

    def levels(self, meter: Meter) -> Floats:
        """log P(level | music, meter, seconds per quarter) - log P(level | meter), (n, PERIODS_S, levels)."""
        net, index = self.listener, kin(meter)

        def answer(near: Floats) -> Floats:
            told = np.maximum(near[:, None] + net.of_meter[index] + net.of_period, 0.0)
            told = np.maximum(told @ net.mix + net.mix_bias, 0.0)
            return np.asarray(log_softmax(told @ net.level + net.level_bias) - net.prior[index])

        return _in_blocks(answer, self.near)

    def pairs(self, meter: Meter) -> Floats:
        """log P(meter, seconds per quarter | music), (n, PERIODS_S); any meter that no table knows is "another"."""
        return np.asarray(self.joint[:, METERS.index(meter) if meter in METERS else len(METERS)])


def kin(meter: Meter) -> int:
    """Index of a meter, or of the one whose positions weigh alike, if no table knows it."""
    if meter in METERS:
        return METERS.index(meter)
    return METERS.index(Meter(12, 8) if meter.is_compound else Meter(4, 4) if meter.beats % 2 == 0 else Meter(3, 4))


def period_bin(period_s: Floats) -> Ints:
    """Index of the nearest of `PERIODS_S`."""
    step = np.log(PERIODS_S[1] / PERIODS_S[0])
    index = np.round(np.log(period_s / PERIODS_S[0]) / step).astype(np.int64)
    return np.asarray(index.clip(0, len(PERIODS_S) - 1))


def in_key(chroma: Floats, length_s: Floats) -> Floats:
    """`chroma` (n, 12) turned so that the major scale (or its relative minor's) that fits the music best is on 0."""
    usual = (chroma * np.sqrt(np.minimum(length_s, 9.0))[:, None]).sum(axis=0)
    tonic = int(np.argmax([np.roll(usual, -shift) @ _SCALE for shift in range(12)]))
    return np.asarray(np.roll(chroma, -tonic, axis=1))


def _in_blocks(function: Callable[[Floats], Floats], rows: Floats) -> Floats:
    """`function` of `rows`, some at a time: memory does not grow with what lies between."""
    return np.concatenate([function(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)])


def log_softmax(values: Floats) -> Floats:
    """Along the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


@cache
def load_listener() -> Listener:
    """The network that ships with the package."""
    return listener_from(read_tables("listener"))


def listener_from(arrays: Mapping[str, NDArray[np.floating]]) -> Listener:
    """The network by the names of its layers, as `models.fit_listener` makes it."""
    return Listener(**{name: np.asarray(table, dtype=np.float64) for name, table in arrays.items()})
