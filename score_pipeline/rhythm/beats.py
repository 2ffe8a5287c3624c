"""Beats, bars and meter from the notes of all parts together, and from the sound where there are hardly any notes.

`attacks` gathers the notes, `metrical` finds the reading that explains them best, here it becomes a `BeatGrid`. What
the user says of tempo, meter and downbeat is taken as given. A grid that nothing speaks for (no notes, one note) is
120 beats per minute in 4/4 with confidence 0; nothing in here fails on music it does not understand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from score_pipeline.rhythm.attacks import Attacks, gather
from score_pipeline.rhythm.critic import load_critic
from score_pipeline.rhythm.listener import Heard, load_listener
from score_pipeline.rhythm.metrical import Player, Reading, followed, search
from score_pipeline.rhythm.priors import METERS, TICKS, bar_ticks, load_priors
from score_pipeline.rhythm.ranking import candidates, choose, reconsider
from score_pipeline.settings import RhythmSettings
from score_pipeline.types import Audio, BeatGrid, Meter, Track

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FALLBACK_BPM = 120.0
FALLBACK_METER = Meter(4, 4)
_FEW_ATTACKS = 8
"""With fewer attacks than this the sound is asked as well, and trusted alone if it has more."""
_SAME_S = 0.06
"""An attack this close to a downbeat the user named is that downbeat."""
_LONGEST_PICKUP = 0.8
"""Share of a bar up to which its notes are a pickup; a fuller one is the first bar with a rest before them."""
_TRIAL = 300
"""Attacks on which meter, level and player are decided: all readings are followed so far, the chosen one to the end."""
_LONG_BEAM = 100


def track_beats(tracks: Sequence[Track], audio: Audio | None, settings: RhythmSettings, duration_s: float) -> BeatGrid:
    """Find the beats of a recording of `duration_s` seconds; `source` is "hints" where `settings` say anything.

    The grid runs from the first note's beat (a pickup is bar 0) to the end of the bar in which the last note ends.
    `confidence` is low where another meter or tempo explains the notes nearly as well, 0 where nothing was heard.
    """
    attacks = gather(tracks)
    if audio is not None and len(attacks) < _FEW_ATTACKS:
        clicks = _attacks_of_sound(audio)
        attacks = clicks if len(clicks) > len(attacks) else attacks
    source = "hints" if (settings.tempo_bpm, settings.meter, settings.downbeat_s) != (None, None, None) else "audio"
    if len(attacks) < 2:
        first_s = float(attacks.time_s[0]) if len(attacks) else 0.0
        return _constant_grid(settings, first_s, duration_s, source)
    priors = load_priors()
    attacks, heard, downbeats = _with_named_downbeat(attacks, load_listener().hear(attacks), settings.downbeat_s)
    beat_s = None if settings.tempo_bpm is None else 60.0 / settings.tempo_bpm
    player = replace(Player(), beat_s=beat_s)
    meters = METERS if settings.meter is None else (settings.meter,)
    first = slice(0, _TRIAL)
    named = None if downbeats is None else downbeats[first]
    searched = search(attacks.time_s[first], heard.at(first), priors, meters, player, named)
    critic = load_critic()
    readings, timing = candidates(searched, meters, same_beat=beat_s is not None, same_bars=named is not None)
    best = choose(readings, timing, attacks.at(first), priors, critic)
    player = replace(player, start_s=best.start_s, start_tick=int(best.tick[0]), beam=_LONG_BEAM)
    best, player = followed(attacks.time_s[first], heard.at(first), priors, best.meter, player, named)
    if len(attacks) > _TRIAL:
        best = search(attacks.time_s, heard, priors, (best.meter,), player, downbeats)[0]
    choice = reconsider(
        best, attacks, heard, meters, priors, critic, same_beat=beat_s is not None, same_bars=named is not None
    )
    if choice.reading.meter != best.meter or not np.array_equal(choice.reading.tick, best.tick):
        best = choice.reading
        player = replace(player, start_s=best.start_s, start_tick=int(best.tick[0]))
        best = search(attacks.time_s, heard, priors, (best.meter,), player, downbeats)[0]
    confidence = choice.confidence(critic)
    end_s = max((note.offset_s for track in tracks for note in track.notes), default=duration_s)
    end_s = max(end_s, float(attacks.time_s[-1]))
    return _grid(best, attacks.time_s, player, end_s, source, confidence)


def _constant_grid(settings: RhythmSettings, first_s: float, duration_s: float, source: str) -> BeatGrid:
    """Even beats over the whole recording: bar 1 starts at the named downbeat or at the only attack."""
    meter = settings.meter or FALLBACK_METER
    period = 60.0 / (settings.tempo_bpm or FALLBACK_BPM)
    start = first_s if settings.downbeat_s is None else settings.downbeat_s
    bar_s = period * meter.beats_per_bar
    start -= bar_s * max(math.ceil((start - first_s) / bar_s - 1e-9), 0)
    count = max(math.ceil((max(duration_s, first_s) - start) / period), meter.beats_per_bar, 2)
    index = np.arange(count)
    return BeatGrid(
        beat_time_s=start + period * index.astype(np.float64),
        beat_number=index % meter.beats_per_bar + 1,
        bar_number=index // meter.beats_per_bar + 1,
        meter=(meter,) * count,
        source="hints" if source == "hints" else "audio",
        confidence=0.0,
    )


def _attacks_of_sound(audio: Audio) -> Attacks:
    """Peaks of the onset strength, for recordings in which no pitched notes were found (drums alone)."""
    from librosa.onset import onset_detect
    from librosa.util import fix_length

    # librosa warns about sound that is shorter than its window
    sound = fix_length(audio.mono, size=max(2048, audio.samples.shape[1]))
    peaks = onset_detect(y=sound, sr=audio.rate_hz, units="time")
    return Attacks.bare(peaks)


def _with_named_downbeat(
    attacks: Attacks, heard: Heard, downbeat_s: float | None
) -> tuple[Attacks, Heard, NDArray[np.bool_] | None]:
    """Attacks, what is heard in them and which must be a downbeat: the one the user named, added if nothing sounds."""
    if downbeat_s is None:
        return attacks, heard, None
    nearest = int(np.argmin(np.abs(attacks.time_s - downbeat_s)))
    if abs(attacks.time_s[nearest] - downbeat_s) > _SAME_S:
        nearest = int(np.searchsorted(attacks.time_s, downbeat_s))
        heard = heard.with_silent(nearest)
        attacks = attacks.with_silent(nearest, downbeat_s)
    return attacks, heard, np.arange(len(attacks)) == nearest


def _grid(reading: Reading, time_s: Floats, player: Player, end_s: float, source: str, confidence: float) -> BeatGrid:
    """Beats of a reading, from the beat of its first attack to the end of the bar that `end_s` lies in."""
    meter = reading.meter
    bar, beat = bar_ticks(meter), bar_ticks(meter) // meter.beats_per_bar
    clock_tick, clock_s = _smoothed_clock(reading.tick, time_s, player)
    slope = (clock_s[-1] - clock_s[max(len(clock_s) - 9, 0)]) / (clock_tick[-1] - clock_tick[max(len(clock_s) - 9, 0)])
    end_tick = clock_tick[-1] + max(end_s - clock_s[-1], 0.0) / slope
    last = max(math.ceil((end_tick - 1) / bar) * bar, bar)
    first = int(reading.tick[0]) // beat * beat
    if bar - first > _LONGEST_PICKUP * bar:
        first = 0
    ticks = np.arange(first, last, beat)
    if len(ticks) < 2:
        ticks = np.arange(first, first + 2 * beat, beat)
    times = _along(ticks.astype(np.float64), clock_tick, clock_s)
    number = ticks % bar // beat + 1
    bars = ticks // bar + (0 if first > 0 else 1)
    return BeatGrid(
        beat_time_s=times,
        beat_number=number,
        bar_number=bars,
        meter=(meter,) * len(ticks),
        source="hints" if source == "hints" else "audio",
        confidence=confidence,
    )


def _along(x: Floats, xs: Floats, ys: Floats) -> Floats:
    """Piecewise linear, going on outside with the mean slope of the eight outermost points."""
    reach = min(8, len(xs) - 1)
    below = (ys[reach] - ys[0]) / (xs[reach] - xs[0])
    above = (ys[-1] - ys[-1 - reach]) / (xs[-1] - xs[-1 - reach])
    inside = np.interp(x, xs, ys)
    return np.asarray(inside + np.minimum(x - xs[0], 0) * below + np.maximum(x - xs[-1], 0) * above)


def _smoothed_clock(tick: Ints, time_s: Floats, player: Player) -> tuple[Floats, Floats]:
    """The player's clock through all attacks: ticks, strictly increasing, and their seconds (Rauch-Tung-Striebel)."""
    places, first = np.unique(tick, return_index=True)
    observed = np.array([float(np.median(chunk)) for chunk in np.split(time_s, first[1:])])
    if len(places) < 2:
        return np.array([places[0], places[0] + TICKS], float), np.array([observed[0], observed[0] + player.period_s])
    quarters = np.diff(places) / TICKS
    rough = np.diff(observed) / quarters
    period = float(np.median(rough[: min(len(rough), 8)]))
    state = np.array([observed[0], period])
    spread = np.diag([player.onset_s**2, (0.3 * period) ** 2])
    filtered, predicted = [(state, spread)], []
    for step, time in zip(quarters.tolist(), observed[1:].tolist(), strict=True):
        move = np.array([[1.0, step], [0.0, 1.0]])
        scale = state[1] ** 2 * step
        ahead = move @ state
        ahead_spread = move @ spread @ move.T + np.diag([player.slip**2 * scale, player.drift**2 * scale])
        predicted.append((move, ahead, ahead_spread))
        gain = ahead_spread[:, 0] / (ahead_spread[0, 0] + player.onset_s**2 + (player.onset_share * ahead[1]) ** 2)
        state = ahead + gain * (time - ahead[0])
        state[1] = max(state[1], 0.05)
        spread = ahead_spread - np.outer(gain, ahead_spread[0])
        filtered.append((state, spread))
    smooth = np.empty(len(places))
    later = filtered[-1][0]
    smooth[-1] = later[0]
    for k in range(len(places) - 2, -1, -1):
        state, spread = filtered[k]
        move, ahead, ahead_spread = predicted[k]
        later = state + spread @ move.T @ np.linalg.solve(ahead_spread, later - ahead)
        smooth[k] = later[0]
    # Two attacks a hair apart may swap in the smoothing; the clock never stands still.
    floor = np.maximum.accumulate(smooth - 0.002 * places) + 0.002 * places
    return places.astype(np.float64), floor
