"""From stems to tracks, with a pitch model that hears what it is told to."""

from __future__ import annotations

import numpy as np
import pytest

from score_pipeline.settings import TranscriptionSettings
from score_pipeline.transcription.transcribe import transcribe
from score_pipeline.types import Activity, Audio, Ownership, Pitchgram, Stems, Track
from score_pipeline.units import FRAME_RATE_HZ, midi_to_hz, n_frames

RATE_HZ = 44100
SECONDS = 4.0
FRAMES = n_frames(int(SECONDS * 22050))

Melody = list[tuple[float, float, int, float]]
"""(onset s, offset s, pitch, amplitude)"""

VIOLIN: Melody = [(0.2, 0.9, 76, 0.2), (1.0, 1.9, 79, 0.2), (2.0, 3.5, 74, 0.02)]
CELLO: Melody = [(0.2, 1.8, 48, 0.2), (2.0, 3.5, 43, 0.2)]


def play(melody: Melody) -> Audio:
    """Stereo sound at 44.1 kHz."""
    samples = np.zeros(int(SECONDS * RATE_HZ))
    for onset_s, offset_s, pitch, amplitude in melody:
        span = slice(int(onset_s * RATE_HZ), int(offset_s * RATE_HZ))
        time_s = np.arange(span.stop - span.start) / RATE_HZ
        for partial in range(1, 7):
            samples[span] += amplitude / partial * np.sin(2 * np.pi * partial * midi_to_hz(pitch) * time_s)
    return Audio(np.stack([samples, samples]), RATE_HZ)


def hear(melody: Melody) -> Pitchgram:
    onset, note = np.zeros((FRAMES, 88)), np.zeros((FRAMES, 88))
    for onset_s, offset_s, pitch, _ in melody:
        start, stop = round(onset_s * FRAME_RATE_HZ), round(offset_s * FRAME_RATE_HZ)
        note[start:stop, pitch - 21] = 0.85
        onset[start, pitch - 21] = 0.9
    return Pitchgram(onset, note, np.zeros((FRAMES, 264)))


class Listener:
    """A pitch model that answers with the given posteriorgrams, one after the other."""

    def __init__(self, *answers: Pitchgram) -> None:
        self.answers = list(answers)

    def pitchgram(self, audio: Audio) -> Pitchgram:
        assert audio.rate_hz == 22050 and audio.samples.shape[0] == 1
        return self.answers.pop(0)


def activity(*instruments: str) -> Activity:
    everywhere = np.ones((len(instruments), FRAMES))
    return Activity(everywhere, everywhere > 0, np.ones(len(instruments)), instruments)


def undecided(*instruments: str) -> Ownership:
    nothing = np.zeros((len(instruments), 88, FRAMES // 9 + 1), dtype=np.float16)
    return Ownership(np.zeros((FRAMES, 88)), nothing, instruments)


def silence() -> Audio:
    return Audio(np.zeros((2, int(SECONDS * RATE_HZ))), RATE_HZ)


def played(track: Track) -> list[tuple[float, int]]:
    return [(round(note.onset_s, 1), note.pitch) for note in track.notes]


def expected(melody: Melody) -> list[tuple[float, int]]:
    return [(onset_s, pitch) for onset_s, _, pitch, _ in melody]


@pytest.fixture
def duo() -> Stems:
    return Stems({"violin": play(VIOLIN), "cello": play(CELLO)}, silence())


def test_each_player_gets_their_notes(duo):
    steps: list[float] = []
    tracks = transcribe(
        duo,
        hear(VIOLIN + CELLO),
        activity("violin", "cello"),
        undecided("violin", "cello"),
        Listener(hear(VIOLIN), hear(CELLO)),
        TranscriptionSettings(),
        steps.append,
    )
    assert [(track.instrument, track.player) for track in tracks] == [("violin", 1), ("cello", 1)]
    assert played(tracks[0]) == expected(VIOLIN)
    assert played(tracks[1]) == expected(CELLO)
    assert all(note.confidence > 0.8 for track in tracks for note in track.notes)
    assert steps == sorted(steps) and steps[-1] == 1.0


def test_the_softer_note_has_the_lower_velocity(duo):
    violin, _ = transcribe(
        duo,
        hear(VIOLIN + CELLO),
        activity("violin", "cello"),
        undecided("violin", "cello"),
        Listener(hear(VIOLIN), hear(CELLO)),
        TranscriptionSettings(),
    )
    loud, _, soft = (note.velocity for note in violin.notes)
    assert soft < 0.5 * loud <= 127


def test_stems_that_hold_everything_cost_nothing_but_doubt():
    # the separator did not separate: registers remain
    both = Audio(play(VIOLIN + CELLO).samples / 2, RATE_HZ)
    heard = hear(VIOLIN + CELLO)
    tracks = transcribe(
        Stems({"violin": both, "cello": both}, silence()),
        heard,
        activity("violin", "cello"),
        undecided("violin", "cello"),
        Listener(heard, heard),
        TranscriptionSettings(),
    )
    assert [played(track) for track in tracks] == [expected(VIOLIN), expected(CELLO)]


def test_a_note_the_mixture_hides_is_found_in_its_stem(duo):
    tracks = transcribe(
        duo,
        hear(VIOLIN[1:] + CELLO),
        activity("violin", "cello"),
        undecided("violin", "cello"),
        Listener(hear(VIOLIN), hear(CELLO)),
        TranscriptionSettings(),
    )
    assert played(tracks[0]) == expected(VIOLIN)


def test_a_soloist_plays_everything_in_range():
    with_hum = [*VIOLIN, (0.5, 3.0, 31, 0.2)]
    (track,) = transcribe(
        Stems({"violin": play(with_hum)}, silence()),
        hear(with_hum),
        activity("violin"),
        undecided("violin"),
        Listener(),
        TranscriptionSettings(),
    )
    assert played(track) == expected(VIOLIN)


def test_a_player_without_a_stem_is_heard_in_the_residual():
    tracks = transcribe(
        Stems({"cello": play(CELLO)}, play(VIOLIN)),
        hear(VIOLIN + CELLO),
        activity("cello", "oboe"),
        undecided("cello", "oboe"),
        Listener(hear(CELLO), hear(VIOLIN)),
        TranscriptionSettings(),
    )
    assert {track.instrument: played(track) for track in tracks} == {"cello": expected(CELLO), "oboe": expected(VIOLIN)}


def test_for_several_without_stems_the_mixture_speaks():
    horn: Melody = [(0.2, 1.0, 62, 0.2), (1.0, 3.5, 60, 0.2)]
    tracks = transcribe(
        Stems({"horn": play(horn)}, play(VIOLIN + CELLO)),
        hear(VIOLIN + CELLO + horn),
        activity("flute", "horn", "trombone"),
        undecided("flute", "horn", "trombone"),
        Listener(hear(horn)),
        TranscriptionSettings(),
    )
    found = {track.instrument: played(track) for track in tracks}
    assert found == {"flute": expected(VIOLIN), "horn": expected(horn), "trombone": expected(CELLO)}


def test_digital_silence_plays_nothing():
    tracks = transcribe(
        Stems({"violin": play(VIOLIN), "cello": silence()}, silence()),
        hear(VIOLIN),
        activity("violin", "cello"),
        undecided("violin", "cello"),
        Listener(hear(VIOLIN)),
        TranscriptionSettings(),
    )
    assert [track.instrument for track in tracks] == ["violin"]


@pytest.mark.parametrize("players", [(), ("drums",)])
def test_nobody_with_a_pitch_makes_no_tracks(players):
    stems = Stems({key: play(CELLO) for key in players}, silence())
    assert (
        transcribe(stems, hear(CELLO), activity(*players), undecided(*players), Listener(), TranscriptionSettings())
        == []
    )


def test_nothing_heard_makes_no_tracks(duo):
    nothing = hear([])
    assert (
        transcribe(
            duo,
            nothing,
            activity("violin", "cello"),
            undecided("violin", "cello"),
            Listener(nothing, nothing),
            TranscriptionSettings(),
        )
        == []
    )


def test_a_wind_players_notes_do_not_overlap():
    ringing = [(0.2, 1.3, 69, 0.2), (1.0, 2.2, 71, 0.2), (2.0, 3.5, 72, 0.2)]
    (track,) = transcribe(
        Stems({"flute": play(ringing)}, silence()),
        hear(ringing),
        activity("flute"),
        undecided("flute"),
        Listener(),
        TranscriptionSettings(),
    )
    assert [note.pitch for note in track.notes] == [69, 71, 72]
    assert all(a.offset_s <= b.onset_s for a, b in zip(track.notes, track.notes[1:], strict=False))
