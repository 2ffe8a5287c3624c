"""The path of a piece through its bars: which tick every attack is, at a tempo that may breathe.

A beam search over hypotheses, each one a meter, a position in the bar and a Kalman filter that follows the player's
clock (time of the position, seconds per quarter). An attack moves every hypothesis to the positions near where its
clock expects it; the sum of three log likelihoods decides: how well the time fits, how usual the step is in written
music of that meter, how much the attack sounds like that place of a bar, that tempo and that meter. Hypotheses that
agree in meter, position and tempo are one, so the beam stays wide where it matters. (Switching Kalman filter over
score positions: Cemgil and Kappen 2003; metrical transition tables: Raphael 2002, Temperley 2007.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from score_pipeline.rhythm.listener import PERIODS_S, Heard, period_bin
from score_pipeline.rhythm.priors import TICKS, Priors, bar_ticks, levels, positions
from score_pipeline.types import Meter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Player:
    """What is assumed of players and of the music; the search reads nothing else.

    Periods are seconds per quarter. Deviations: `onset_s` of an attack from the clock, plus `onset_share` of the
    period; `drift` of the tempo per quarter (relative) and `slip` of the clock per quarter (share of the period).
    """

    period_s: float = 0.62
    period_spread: float = 0.55
    onset_s: float = 0.016
    onset_share: float = 0.03
    drift: float = 0.1
    slip: float = 0.03
    step_weight: float = 0.8
    accent_weight: float = 0.8
    pair_weight: float = 0.15
    tempo_weight: float = 3.0
    repeat_cost: float = 3.0
    pull: float = 2.0
    """Cost per attack of a tempo that is e times as fast as it was so far; with the square of the logarithm."""
    beam: int = 40
    start_s: float | None = None
    """Seconds per quarter at the start, where they are known already."""
    start_tick: int | None = None
    """Tick of the first attack, where it is known already, or the nearest on which one can be written."""
    beat_s: float | None = None
    """Seconds per counted beat where the user says so: then no other tempo is looked for."""


DRIFTS = (0.1, 0.05, 0.025, 0.18)
"""Freedoms of the tempo that `followed` tries, `Player.drift`; the clock slips in proportion."""
SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 0.15, 5.0
_PINNED, _PINNED_SPREAD = 1.45, 0.06
"""A tempo that was told holds within this factor, and at the start nearly exactly (log spread)."""
_TOLD_PULL = 10.0
"""`Player.pull` towards a tempo that was told, which no music changes."""
_START_SPREAD = 0.3
_REACH = 6
"""Positions tried on either side of the expected one."""
_TEMPO_BIN = 0.06
"""Hypotheses whose tempos differ by less than this (relative) are one."""
_GIVE_UP = 20.0
"""A hypothesis this much (log likelihood) behind the best of its meter is dropped."""
_METER_GIVE_UP = 60.0
"""A meter this much behind after `_METER_TRIAL` attacks is dropped."""
_METER_TRIAL = 200
FAMILIES_S = (0.3, 0.55, 1.0)
"""Seconds per quarter that part the families of tempos; each family of each meter has a beam of its own."""
_FAMILIES_KEPT = 14
"""Families of all meters that are followed: those the network finds likeliest."""
_MEMORY = 200
"""Attacks over which a tempo becomes the usual one: nobody plays twice as fast where the notes get quicker."""
_FAR = -12.0
"""Log probability of a step longer than a bar."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Tick of each attack, counted from the start of the first one's bar; `start_s` seconds per quarter at first.

    `timing` is the part of `log_likelihood` that speaks of when the attacks come, not of where in a bar.
    """

    meter: Meter
    tick: Ints
    start_s: float
    log_likelihood: float
    timing: float


@dataclass
class _Beam:
    """Arrays of one entry per hypothesis; `parent` points into the beam before."""

    meter: Ints
    family: Ints
    tick: Ints
    time: Floats
    period: Floats
    p_tt: Floats
    p_tp: Floats
    p_pp: Floats
    score: Floats
    timing: Floats
    pace: Floats
    parent: Ints

    def pick(self, index: Ints) -> _Beam:
        """The hypotheses at `index`."""
        return _Beam(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


class _Tables:
    """The tables of all meters laid end to end, so that one hypothesis more costs no loop."""

    def __init__(self, heard: Heard, priors: Priors, meters: Sequence[Meter], player: Player) -> None:
        self.meters = tuple(meters)
        self.bar = np.array([bar_ticks(meter) for meter in meters])
        self.allowed = [positions(meter) for meter in meters]
        self.per_bar = np.array([len(ticks) for ticks in self.allowed])
        self.place_at = np.concatenate(([0], np.cumsum(self.per_bar)))
        self.place = np.concatenate(self.allowed)
        self.bar_at = np.concatenate(([0], np.cumsum(self.bar)))
        self.below = np.concatenate(
            [
                np.searchsorted(ticks, np.arange(length), side="right") - 1
                for length, ticks in zip(self.bar.tolist(), self.allowed, strict=True)
            ]
        )
        self.level = np.concatenate([levels(meter) for meter in meters])
        steps = [priors.step_of(meter) for meter in meters]
        self.step = np.concatenate([table.ravel() for table in steps])
        self.step_at = np.concatenate(([0], np.cumsum([table.size for table in steps])))
        self.first = [priors.first_of(meter) for meter in meters]
        self.heard_level = np.stack([heard.levels(meter) for meter in meters])
        self.heard_pair = np.stack([heard.pairs(meter) for meter in meters])
        self.families = (*FAMILIES_S, np.inf)
        self.common = [priors.common_of(meter) for meter in meters]
        per_beat = np.array([float(meter.beat_q) for meter in meters])
        if player.beat_s is None:
            self.pull, self.learns = player.pull, 1.0
            self.period: NDArray[np.float64] = np.full(len(meters), player.period_s)
            self.shortest: NDArray[np.float64] = np.full(len(meters), SHORTEST_PERIOD_S)
            self.longest: NDArray[np.float64] = np.full(len(meters), LONGEST_PERIOD_S)
        else:
            self.pull, self.learns = _TOLD_PULL, 0.0
            self.period = player.beat_s / per_beat
            self.shortest, self.longest = self.period / _PINNED, self.period * _PINNED


def search(
    time_s: Floats,
    heard: Heard,
    priors: Priors,
    meters: Sequence[Meter],
    player: Player,
    downbeats: NDArray[np.bool_] | None = None,
) -> list[Reading]:
    """Best reading of every meter and family of tempos that lasts to the end, best first; needs two or more attacks.

    `downbeats` marks attacks that must be the first of a bar.
    """
    tables = _Tables(heard, priors, meters, player)
    beam = _started(time_s, tables, player)
    if downbeats is not None and downbeats[0]:
        beam.score[beam.tick != 0] -= 100.0
    history: list[tuple[Ints, Ints]] = []
    for k in range(1, len(time_s)):
        grown = _grown(beam, k, time_s[k], tables, player)
        if downbeats is not None and downbeats[k]:
            grown.score[grown.tick % tables.bar[grown.meter] != 0] -= 100.0
        history.append((beam.tick.astype(np.int32), beam.parent.astype(np.int32)))
        beam = _pruned(grown, tables, 2 * player.beam if k < 24 else player.beam, k)
    history.append((beam.tick.astype(np.int32), beam.parent.astype(np.int32)))
    readings = []
    group = beam.meter * len(tables.families) + beam.family
    for number in np.unique(group):
        mine = np.flatnonzero(group == number)
        last = state = int(mine[np.argmax(beam.score[mine])])
        ticks = np.empty(len(time_s), dtype=np.int64)
        for k in range(len(time_s) - 1, -1, -1):
            ticks[k] = history[k][0][state]
            state = int(history[k][1][state])
        meter = int(beam.meter[last])
        early = min(len(ticks), 12) - 1
        length_q = max(int(ticks[early] - ticks[0]), 1) / TICKS
        readings.append(
            Reading(
                tables.meters[meter],
                ticks,
                float(time_s[early] - time_s[0]) / length_q,
                float(beam.score[last]) + tables.common[meter],
                float(beam.timing[last]),
            )
        )
    return sorted(readings, key=lambda reading: -reading.log_likelihood)


def followed(
    time_s: Floats,
    heard: Heard,
    priors: Priors,
    meter: Meter,
    player: Player,
    downbeats: NDArray[np.bool_] | None = None,
) -> tuple[Reading, Player]:
    """Best reading in one meter by the player, of those who keep time better and worse, whom the attacks speak for.

    A player who is thought freer than he is may lose a sixteenth where a note is missing and win it back a bar later;
    one who is thought steadier is lost at the first ritardando. The likelihood knows which of them it hears.
    """
    slip = player.slip / player.drift
    players = [replace(player, drift=drift, slip=slip * drift) for drift in DRIFTS]
    readings = [search(time_s, heard, priors, (meter,), one, downbeats)[0] for one in players]
    best = int(np.argmax([reading.log_likelihood for reading in readings]))
    return readings[best], players[best]


def _started(time_s: Floats, tables: _Tables, player: Player) -> _Beam:
    """Hypotheses for the first attack: every likely position and tempo of every meter."""
    likely_family = _likely_families(tables)
    if player.beat_s is not None:
        likely_family[:] = True  # a tempo that was told is law, however unlikely it sounds
    rows: list[tuple[int, int, int, float, float]] = []
    for meter in range(len(tables.meters)):
        low, high = np.log(tables.shortest[meter]), np.log(tables.longest[meter])
        if player.start_s is not None:
            low, high = np.log(player.start_s) - _START_SPREAD, np.log(player.start_s) + _START_SPREAD
        spread = player.period_spread if player.beat_s is None else _PINNED_SPREAD
        periods = np.exp(np.linspace(low, high, max(int((high - low) / 0.1), 5)))
        ticks = tables.allowed[meter]
        log_first = tables.first[meter][ticks]
        likely = np.argsort(-log_first)[:14]
        if player.start_tick is not None:
            likely = np.abs(ticks - player.start_tick % tables.bar[meter]).argmin(keepdims=True)
        for place in likely.tolist():
            level = tables.level[tables.bar_at[meter] + ticks[place]]
            for period in periods.tolist():
                family = sum(period > edge for edge in tables.families[:-1])
                if not likely_family[meter, family]:
                    continue
                off = np.log(period / tables.period[meter]) / spread
                heard = tables.heard_level[meter, 0, int(period_bin(np.asarray(period))), level]
                start = player.step_weight * log_first[place] + player.accent_weight * heard
                score = float(start - 0.5 * player.tempo_weight * off**2)
                rows.append((meter, family, int(ticks[place]), period, score))
    meter_, family_, tick, period_, score_ = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    return _Beam(
        meter=meter_,
        family=family_,
        tick=tick,
        time=np.full(n, time_s[0]),
        period=period_,
        p_tt=np.full(n, player.onset_s**2),
        p_tp=np.zeros(n),
        p_pp=(0.06 * period_) ** 2,
        score=score_,
        timing=np.zeros(n),
        pace=np.log(period_ if player.beat_s is None else tables.period[meter_]),
        parent=np.full(n, -1),
    )


def _likely_families(tables: _Tables) -> NDArray[np.bool_]:
    """Which families of tempos of which meters are worth following, (meters, families)."""
    mean = tables.heard_pair.mean(axis=1)
    family = np.searchsorted(FAMILIES_S, PERIODS_S)
    best = np.array([[row[family == k].max() for k in range(len(tables.families))] for row in mean])
    return np.asarray(best >= np.sort(best, axis=None)[::-1][min(_FAMILIES_KEPT, best.size) - 1])


def _grown(beam: _Beam, k: int, time_s: float, tables: _Tables, player: Player) -> _Beam:
    """Every hypothesis moved to every position near where it expects this attack."""
    bar, per_bar = tables.bar[beam.meter], tables.per_bar[beam.meter]
    expected = beam.tick + np.maximum((time_s - beam.time) / beam.period, 0.0) * TICKS
    whole, rest = np.divmod(expected.astype(np.int64), bar)
    place = whole * per_bar + tables.below[tables.bar_at[beam.meter] + rest]
    place = place[:, None] + np.arange(1 - _REACH, _REACH + 1)[None, :]
    turns, rest = np.divmod(place, per_bar[:, None])
    tick = turns * bar[:, None] + tables.place[tables.place_at[beam.meter][:, None] + rest]
    distance = tick - beam.tick[:, None]
    parent, column = np.nonzero(distance >= 0)
    tick, distance = tick[parent, column], distance[parent, column]
    meter, period, bar = beam.meter[parent], beam.period[parent], bar[parent]

    quarters = distance / TICKS
    ahead = time_s - beam.time[parent] - quarters * period
    p_pp = beam.p_pp[parent] + (player.drift * period) ** 2 * quarters
    p_tp = beam.p_tp[parent] + quarters * beam.p_pp[parent]
    p_tt = beam.p_tt[parent] + quarters * (beam.p_tp[parent] + p_tp) + (player.slip * period) ** 2 * quarters
    noise = player.onset_s**2 + (player.onset_share * period) ** 2
    total = p_tt + noise
    surprise = ahead**2 / total
    gain_t, gain_p = p_tt / total, p_tp / total
    now = beam.time[parent] + quarters * period + gain_t * ahead
    new_period = period + gain_p * ahead

    row = tables.step_at[meter] + (beam.tick[parent] % bar) * (bar + 1) + np.minimum(distance, bar)
    step = np.where(distance > bar, _FAR, tables.step[row])
    step = np.where(distance == 0, -player.repeat_cost, step)
    level = tables.level[tables.bar_at[meter] + tick % bar]
    timing = -0.5 * (surprise + np.log(total))
    score = beam.score[parent] + timing + player.step_weight * step
    pace = period_bin(new_period)
    score += np.where(distance == 0, 0.0, player.accent_weight * tables.heard_level[meter, k, pace, level])
    score += player.pair_weight * tables.heard_pair[meter, k, pace]
    off = np.log(new_period.clip(1e-3)) - beam.pace[parent]
    score -= tables.pull * off**2
    shortest, longest = tables.shortest[meter], tables.longest[meter]
    score[(new_period < shortest) | (new_period > longest)] -= 50.0
    new_period = new_period.clip(shortest, longest)
    return _Beam(
        meter=meter,
        family=beam.family[parent],
        tick=tick,
        time=now,
        period=new_period,
        p_tt=p_tt * (1 - gain_t),
        p_tp=p_tp * (1 - gain_t),
        p_pp=p_pp - gain_p * p_tp,
        score=score,
        timing=beam.timing[parent] + timing,
        pace=beam.pace[parent] + tables.learns * off * max(1 / (k + 1), 1 / _MEMORY),
        parent=parent,
    )


def _pruned(beam: _Beam, tables: _Tables, width: int, k: int) -> _Beam:
    """The best `width` hypotheses of each meter and family, one per position and tempo."""
    group = beam.meter * len(tables.families) + beam.family
    leader = np.full(len(tables.meters) * len(tables.families), -np.inf)
    np.maximum.at(leader, group, beam.score)
    enough = leader - _GIVE_UP
    if k > _METER_TRIAL:
        enough = np.maximum(enough, leader.max() - _METER_GIVE_UP)
    order = np.flatnonzero(beam.score > enough[group])
    order = order[np.argsort(-beam.score[order])]
    tempo = np.round(np.log(beam.period[order]) / _TEMPO_BIN).astype(np.int64)
    key = (group[order] * 4096 + beam.tick[order] % tables.bar[beam.meter[order]]) * 4096 + tempo + 2048
    order = order[np.sort(np.unique(key, return_index=True)[1])]
    # Groups side by side, each still best first: the place within the group is the rank.
    order = order[np.argsort(group[order], kind="stable")]
    first = np.searchsorted(group[order], group[order])
    return beam.pick(order[np.arange(len(order)) - first < width])
