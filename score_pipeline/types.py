"""The nouns that pass between the rooms.

Conventions
-----------
Times are seconds (`_s`) up to `rhythm/` and quarter notes (`_q`, exact fractions) from there on; only `BeatGrid`
knows both. Arrays are float32, frame-wise ones on the clock of `units`, and read-only once wrapped: whoever wants to
change one copies it. Pitches are sounding MIDI numbers unless a name says "written". Values are checked here, once,
where a noun is made; code that receives one trusts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from score_pipeline.instruments import INSTRUMENTS
from score_pipeline.units import FRAME_RATE_HZ, N_PITCHES

FloatArray = NDArray[np.float32]


def _read_only(values: ArrayLike, name: str, ndim: int) -> FloatArray:
    """`values` as a read-only float32 array of `ndim` axes; anything not finite is refused."""
    array = np.ascontiguousarray(values, dtype=np.float32).view()
    if array.ndim != ndim:
        raise ValueError(f"{name} needs {ndim} axes, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    array.flags.writeable = False
    return array


class Span(NamedTuple):
    """A stretch of time in seconds."""

    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound: `samples` float32 (channels, n), nominally -1..1 and never clipped; `rate_hz` samples per second."""

    samples: FloatArray
    rate_hz: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", _read_only(self.samples, "samples", 2))
        if self.rate_hz <= 0:
            raise ValueError(f"rate_hz must be positive, got {self.rate_hz}")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate_hz

    @property
    def mono(self) -> FloatArray:
        """Mean of the channels, shape (n,)."""
        only_one = self.samples.shape[0] == 1
        return np.asarray(self.samples[0] if only_one else self.samples.mean(axis=0, dtype=np.float32))


@dataclass(frozen=True, eq=False)
class Activity:
    """Who plays when: `probability` float32 (instruments, frames) in 0..1, on the clock of `units`.

    `active` is the decision, bool of the same shape; `presence` is the evidence, 0..1, that an instrument plays
    anywhere in the recording.
    """

    probability: FloatArray
    active: NDArray[np.bool_]
    presence: FloatArray
    instruments: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "probability", _read_only(self.probability, "probability", 2))
        object.__setattr__(self, "presence", _read_only(self.presence, "presence", 1))
        active = np.ascontiguousarray(self.active, dtype=np.bool_).view()
        active.flags.writeable = False
        object.__setattr__(self, "active", active)
        if unknown := [key for key in self.instruments if key not in INSTRUMENTS]:
            raise ValueError(f"unknown instruments {unknown}")
        n = len(self.instruments)
        if self.probability.shape[0] != n or self.presence.shape != (n,) or active.shape != self.probability.shape:
            raise ValueError(
                f"{n} instruments do not fit probability {self.probability.shape}, active {active.shape}, "
                f"presence {self.presence.shape}"
            )
        for name, values in (("probability", self.probability), ("presence", self.presence)):
            if values.size and (values.min() < 0 or values.max() > 1):
                raise ValueError(f"{name} must lie in 0..1")

    @property
    def present(self) -> tuple[str, ...]:
        """Instruments that are active in at least one frame."""
        return tuple(key for key, row in zip(self.instruments, self.active, strict=True) if row.any())

    def of(self, instrument: str) -> FloatArray:
        """Probability of one instrument, shape (frames,)."""
        return np.asarray(self.probability[self.instruments.index(instrument)])

    def spans(self, instrument: str) -> list[Span]:
        """Stretches in which the instrument is active, in order; a frame covers half a hop to either side."""
        row = self.active[self.instruments.index(instrument)].astype(np.int8)
        edges = np.diff(np.concatenate(([0], row, [0])))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        half = 0.5
        return [
            Span(max(0.0, (start - half) / FRAME_RATE_HZ), (end - half) / FRAME_RATE_HZ)
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Stems:
    """One sound per instrument, and what belongs to none: stems plus residual equal the mixture.

    All have the rate, the channels and the length of the mixture.
    """

    stems: Mapping[str, Audio]
    residual: Audio

    def __post_init__(self) -> None:
        object.__setattr__(self, "stems", MappingProxyType(dict(self.stems)))
        for key, stem in self.stems.items():
            if key not in INSTRUMENTS:
                raise ValueError(f"unknown instrument {key!r}")
            if stem.samples.shape != self.residual.samples.shape or stem.rate_hz != self.residual.rate_hz:
                raise ValueError(f"stem {key!r} differs from the residual in shape or rate")

    def __iter__(self) -> Iterator[str]:
        return iter(self.stems)

    def __getitem__(self, instrument: str) -> Audio:
        return self.stems[instrument]

    def __len__(self) -> int:
        return len(self.stems)


@dataclass(frozen=True, eq=False)
class Pitchgram:
    """Basic Pitch's three posteriorgrams, 0..1, on the clock of `units`.

    `onset` and `note` are float32 (frames, 88), row 0 of the pitch axis = MIDI 21; `contour` is (frames, 264), three
    bins per semitone.
    """

    onset: FloatArray
    note: FloatArray
    contour: FloatArray

    def __post_init__(self) -> None:
        for name in ("onset", "note", "contour"):
            object.__setattr__(self, name, _read_only(getattr(self, name), name, 2))
        frames = self.note.shape[0]
        if self.onset.shape != (frames, N_PITCHES) or self.note.shape != (frames, N_PITCHES):
            raise ValueError(f"onset {self.onset.shape} and note {self.note.shape} must be (frames, {N_PITCHES})")
        if self.contour.shape != (frames, 3 * N_PITCHES):
            raise ValueError(f"contour {self.contour.shape} must be ({frames}, {3 * N_PITCHES})")


@dataclass(frozen=True, eq=False)
class Ownership:
    """Which notes sound and whose they are, row 0 of the pitch axis = MIDI 21.

    `note` float32 (frames, 88) is the posteriorgram, 0..1; `log_share` float16 (instruments, 88, blocks) is log P(an
    instrument plays the pitch | one of them does), `units.BLOCK_FRAMES` frames of the clock per block.
    """

    note: FloatArray
    log_share: NDArray[np.float16]
    instruments: tuple[str, ...]

    def __post_init__(self) -> None:
        log_share = np.ascontiguousarray(self.log_share, dtype=np.float16).view()
        log_share.flags.writeable = False
        object.__setattr__(self, "log_share", log_share)
        object.__setattr__(self, "note", _read_only(self.note, "note", 2))
        if self.note.shape[1] != N_PITCHES:
            raise ValueError(f"note {self.note.shape} must be (frames, {N_PITCHES})")
        if self.log_share.shape[:2] != (len(self.instruments), N_PITCHES):
            raise ValueError(f"log_share {self.log_share.shape} must be ({len(self.instruments)}, {N_PITCHES}, blocks)")

    def of(self, instruments: Sequence[str]) -> NDArray[np.float16]:
        """The rows of some of the instruments, in their order."""
        return np.asarray(self.log_share[[self.instruments.index(key) for key in instruments]])


@dataclass(frozen=True)
class Note:
    """A note as played: seconds from the start of the recording, sounding MIDI pitch, velocity 1..127.

    `confidence` 0..1 is the belief that the note exists and belongs to `instrument`; `second_instrument` is who else
    may have played it.
    """

    onset_s: float
    offset_s: float
    pitch: int
    velocity: int
    instrument: str
    confidence: float = 1.0
    second_instrument: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.onset_s < self.offset_s < float("inf"):
            raise ValueError(f"a note needs 0 <= onset < offset, got {self.onset_s} and {self.offset_s}")
        if not 0 <= self.pitch <= 127 or not 1 <= self.velocity <= 127 or not 0 <= self.confidence <= 1:
            raise ValueError(f"pitch, velocity or confidence out of range: {self}")
        for key in (self.instrument, self.second_instrument):
            if key is not None and key not in INSTRUMENTS:
                raise ValueError(f"unknown instrument {key!r}")


@dataclass(frozen=True)
class Track:
    """Everything one player played: notes sorted by (onset, pitch). `player` counts from 1 within an instrument."""

    instrument: str
    player: int
    notes: tuple[Note, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(sorted(self.notes, key=lambda note: (note.onset_s, note.pitch))))
        if self.instrument not in INSTRUMENTS:
            raise ValueError(f"unknown instrument {self.instrument!r}")
        if self.player < 1:
            raise ValueError(f"players count from 1, got {self.player}")


@dataclass(frozen=True)
class Meter:
    """A time signature: `beats` of the note value 1/`unit`, as written (6/8 is Meter(6, 8))."""

    beats: int
    unit: int

    def __post_init__(self) -> None:
        if self.beats < 1 or self.unit not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"not a meter: {self.beats}/{self.unit}")

    def __str__(self) -> str:
        return f"{self.beats}/{self.unit}"

    @property
    def bar_q(self) -> Fraction:
        """Length of a bar in quarters."""
        return Fraction(4 * self.beats, self.unit)

    @property
    def is_compound(self) -> bool:
        """Whether the beat divides in three: 6/8, 9/8, 12/8 and their kin."""
        return self.unit >= 8 and self.beats > 3 and self.beats % 3 == 0

    @property
    def beat_q(self) -> Fraction:
        """Length of the counted beat in quarters: a dotted quarter in 6/8, a half in 2/2, an eighth in 3/8."""
        return Fraction(4, self.unit) * (3 if self.is_compound else 1)

    @property
    def beats_per_bar(self) -> int:
        """Counted beats in a bar: 2 in 6/8, 4 in 4/4."""
        return int(self.bar_q / self.beat_q)


@dataclass(frozen=True, eq=False)
class BeatGrid:
    """Where the beats are: the one bridge between seconds and quarters.

    `beat_time_s` float64 (beats,), strictly increasing; `beat_number` int (beats,), 1 = downbeat; `bar_number` int
    (beats,), 0 = pickup unless a host's numbering says otherwise; `meter` one per beat. Quarters count from the first
    downbeat, so a pickup is negative. `anchor_time_s` and `anchor_quarter` (float64, same length) may refine the map
    between the beats where a tempo ramps; left out, the beats are the anchors. `source` says who placed the beats.
    """

    beat_time_s: NDArray[np.float64]
    beat_number: NDArray[np.int64]
    bar_number: NDArray[np.int64]
    meter: tuple[Meter, ...]
    source: Literal["audio", "hints", "host", "score"] = "audio"
    confidence: float = 1.0
    anchor_time_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    anchor_quarter: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        n = len(self.beat_time_s)
        if n < 2:
            raise ValueError("a beat grid needs at least two beats")
        if len(self.beat_number) != n or len(self.bar_number) != n or len(self.meter) != n:
            raise ValueError("beat times, numbers, bars and meters must be of one length")
        if not (np.diff(self.beat_time_s) > 0).all():
            raise ValueError("beat times must increase")
        if len(self.anchor_time_s) == 0:
            object.__setattr__(self, "anchor_time_s", np.asarray(self.beat_time_s, dtype=np.float64))
            object.__setattr__(self, "anchor_quarter", self.beat_quarter.astype(np.float64))
        if len(self.anchor_time_s) != len(self.anchor_quarter) or len(self.anchor_time_s) < 2:
            raise ValueError("anchors need two or more pairs of a time and a quarter")
        if not ((np.diff(self.anchor_time_s) > 0).all() and (np.diff(self.anchor_quarter) > 0).all()):
            raise ValueError("anchors must increase in seconds and in quarters")

    @property
    def beat_quarter(self) -> NDArray[np.object_]:
        """Quarter position of each beat as Fraction, 0 at the first downbeat."""
        lengths = [meter.beat_q for meter in self.meter]
        positions = [Fraction(0)]
        for length in lengths[:-1]:
            positions.append(positions[-1] + length)
        downbeats = np.flatnonzero(np.asarray(self.beat_number) == 1)
        zero = positions[int(downbeats[0])] if len(downbeats) else Fraction(0)
        return np.array([position - zero for position in positions], dtype=object)

    def to_quarters(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Quarters of times in seconds; before the first and after the last anchor the outer tempo goes on."""
        return _extrapolate(np.asarray(time_s, dtype=np.float64), self.anchor_time_s, self.anchor_quarter)

    def to_seconds(self, quarter: ArrayLike) -> NDArray[np.float64]:
        """Seconds of positions in quarters; the inverse of `to_quarters`."""
        return _extrapolate(np.asarray(quarter, dtype=np.float64), self.anchor_quarter, self.anchor_time_s)


def _extrapolate(x: NDArray[np.float64], xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float64]:
    """Piecewise linear map through (xs, ys), its first and last slopes going on outside."""
    inside = np.interp(x, xs, ys)
    first = (ys[1] - ys[0]) / (xs[1] - xs[0])
    last = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    below = np.where(x < xs[0], (x - xs[0]) * first, 0.0)
    above = np.where(x > xs[-1], (x - xs[-1]) * last, 0.0)
    return np.asarray(inside + below + above)


@dataclass(frozen=True)
class QuantisedNote:
    """A note in score time: exact quarters from the first downbeat, and the played note it came from.

    A `grace` note stands before the note that begins at its onset and takes no time of its own; its duration is only
    how long it is played. `staccato` notes sound about half of what is written.
    """

    onset_q: Fraction
    duration_q: Fraction
    note: Note
    grace: bool = False
    staccato: bool = False

    def __post_init__(self) -> None:
        if self.duration_q <= 0:
            raise ValueError(f"a quantised note needs a positive duration, got {self.duration_q}")


@dataclass(frozen=True)
class QuantisedTrack:
    """A `Track` in score time, sorted by (onset, pitch)."""

    instrument: str
    player: int
    notes: tuple[QuantisedNote, ...]


@dataclass(frozen=True)
class Spelling:
    """A written pitch: letter, alteration in semitones, octave (C4 = middle C)."""

    step: Literal["C", "D", "E", "F", "G", "A", "B"]
    alter: int
    octave: int

    @property
    def midi(self) -> int:
        """MIDI number of the written pitch."""
        semitone = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[self.step]
        return 12 * (self.octave + 1) + semitone + self.alter


Tie = Literal["none", "start", "stop", "both"]


@dataclass(frozen=True)
class ScoreEvent:
    """A note, chord (several pitches) or rest (none) of one voice on one staff; quarters from the bar's start.

    `ties` has one entry per pitch. `tuplet` is (actual, normal), as (3, 2) for a triplet. `confidence` is the least
    of the notes' in it.
    """

    onset_q: Fraction
    duration_q: Fraction
    pitches: tuple[Spelling, ...] = ()
    ties: tuple[Tie, ...] = ()
    voice: int = 1
    staff: int = 1
    tuplet: tuple[int, int] | None = None
    confidence: float = 1.0
    hidden: bool = False
    """A rest that only keeps a second voice in time and is not drawn."""
    graces: tuple[Spelling, ...] = ()
    """Grace notes before it, in order."""
    staccato: bool = False

    @property
    def is_rest(self) -> bool:
        """Whether nothing sounds."""
        return not self.pitches


@dataclass(frozen=True)
class Measure:
    """One bar of one part: every voice in it fills `length_q`, which falls short of the meter in a pickup."""

    number: int
    meter: Meter
    key_fifths: int
    length_q: Fraction
    events: tuple[ScoreEvent, ...]
    clefs: tuple[tuple[Fraction, int, str], ...] = ()
    """Clefs that begin in this bar: (quarters from its start, staff, clef of `instruments.Clef`)."""
    dynamics: tuple[tuple[Fraction, str], ...] = ()
    """Loudness from a place in this bar on: (quarters from its start, "pp".."ff")."""
    hairpin: Literal["", "crescendo", "diminuendo", "stop"] = ""
    """A hairpin that opens at this bar's start, or the end there of the one that is open."""
    rehearsal: str = ""
    """Rehearsal mark at its start, the same in all parts."""
    doubtful: bool = False
    """Whether this part's notes here deserve a second look."""


@dataclass(frozen=True)
class Part:
    """One player's staff or staves. Pitches and keys are written ones: already transposed for the player."""

    instrument: str
    player: int
    name: str
    abbreviation: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Tempo:
    """Beats per minute from a position in quarters on; the beat is `beat_q` long."""

    onset_q: Fraction
    bpm: float
    beat_q: Fraction


@dataclass(frozen=True)
class Score:
    """What a player reads: all parts have the same bars."""

    title: str
    subtitle: str
    tempos: tuple[Tempo, ...]
    parts: tuple[Part, ...]
    doubtful_bars: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        counts = {len(part.measures) for part in self.parts}
        if len(counts) > 1:
            raise ValueError(f"parts differ in their number of bars: {sorted(counts)}")
