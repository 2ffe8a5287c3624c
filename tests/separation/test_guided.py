"""Stems add up, silence stays silent, time and level pass through; with networks whose answers are known."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_pipeline import audio as sound
from score_pipeline.errors import WeightsError
from score_pipeline.instruments import MUSICNET_SEVEN
from score_pipeline.separation import guided
from score_pipeline.separation.guided import GuidedHTDemucs, SeparatorCard
from score_pipeline.types import Activity, Audio, Ownership
from score_pipeline.units import SAMPLE_RATE_HZ, n_frames

CARD = SeparatorCard(MUSICNET_SEVEN, SAMPLE_RATE_HZ, nfft=1024, hop=256, n_bins=256, segment_frames=16)


def even_masks(magnitude, wave, gate):
    """Everybody whose gate is open takes the same, and so does the residual."""
    assert wave.shape == (magnitude.shape[1] * CARD.hop,)
    weight = np.concatenate((gate, np.ones((1, gate.shape[1]), dtype=np.float32)))
    masks = np.repeat((weight / weight.sum(axis=0))[:, None], magnitude.shape[0], axis=1)
    return masks.astype(np.float32)


def split_at_1_khz(magnitude, wave, gate):
    """The cello takes what lies below 1 kHz, the violin what lies above."""
    masks = np.zeros((len(MUSICNET_SEVEN) + 1, *magnitude.shape), dtype=np.float32)
    edge = round(1000 * CARD.nfft / CARD.rate_hz)
    masks[MUSICNET_SEVEN.index("cello"), :edge] = 1
    masks[MUSICNET_SEVEN.index("violin"), edge:] = 1
    return masks


def level_dependent(magnitude, wave, gate):
    """Bins louder than the mean go to the first open gate: what a network that listens does to its input."""
    masks = even_masks(magnitude, wave, gate)
    loud = magnitude > magnitude.mean()
    masks[:, loud] = 0
    masks[int(gate.any(axis=1).argmax())][loud] = 1
    return masks


def activity_of(keys, n_samples, rate_hz):
    active = np.ones((len(keys), n_frames(n_samples * SAMPLE_RATE_HZ // rate_hz)), dtype=bool)
    return Activity(active.astype(np.float32), active, np.ones(len(keys), dtype=np.float32), tuple(keys))


def notes_of(activity, pitches=()):
    """Nothing but a note per player that sounds all the time; who is not named has none."""
    keys, frames = activity.instruments, activity.active.shape[1]
    note = np.zeros((frames, 88), dtype=np.float32)
    log_share = np.full((len(keys), 88, -(-frames // 9)), -9.0, dtype=np.float16)
    for key, pitch in dict(pitches).items():
        note[:, pitch - 21] = 0.9
        log_share[keys.index(key), pitch - 21] = 0
    return Ownership(note, log_share, keys)


def noise(channels, n_samples, rate_hz, seed=0):
    samples = np.random.default_rng(seed).standard_normal((channels, n_samples)) * 0.1
    return Audio(samples.astype(np.float32), rate_hz)


def total(stems):
    return sum((stem.samples for stem in stems.stems.values()), stems.residual.samples)


@settings(deadline=None, max_examples=40)
@given(
    channels=st.integers(1, 6),
    n_samples=st.integers(1, 9000),
    rate_hz=st.sampled_from([8000, 16000, 22050, 44100, 48000, 192000]),
    keys=st.sets(st.sampled_from([*MUSICNET_SEVEN, "flute"])),
    seed=st.integers(0, 2**32 - 1),
)
def test_stems_and_residual_add_up_to_the_mixture(channels, n_samples, rate_hz, keys, seed):
    mixture = noise(channels, n_samples, rate_hz, seed)
    activity = activity_of(sorted(keys), n_samples, rate_hz)
    stems = GuidedHTDemucs(even_masks, CARD).separate(mixture, activity, notes_of(activity))
    assert set(stems) == (keys if activity.active.shape[1] else set())
    assert stems.residual.rate_hz == rate_hz
    np.testing.assert_allclose(total(stems), mixture.samples, atol=1e-5)


def test_masks_are_laid_on_the_sound_they_are_for():
    time_s = np.arange(2 * 44100) / 44100
    low, high = (0.3 * np.sin(2 * np.pi * frequency * time_s) for frequency in (440, 3000))
    mixture = Audio(np.stack([low + high, low - high]).astype(np.float32), 44100)
    activity = activity_of(("violin", "cello"), 88200, 44100)
    notes = notes_of(activity, {"cello": 69, "violin": 102})
    stems = GuidedHTDemucs(split_at_1_khz, CARD).separate(mixture, activity, notes)
    inner = slice(4000, -4000)
    np.testing.assert_allclose(stems["cello"].samples[:, inner], np.stack([low, low])[:, inner], atol=0.015)
    np.testing.assert_allclose(stems["violin"].samples[:, inner], np.stack([high, -high])[:, inner], atol=0.015)


def test_the_first_and_the_last_moment_are_as_good_as_any():
    mixture = noise(1, 5000, 22050)
    activity = activity_of(("violin",), 5000, 22050)
    stems = GuidedHTDemucs(even_masks, CARD).separate(mixture, activity, notes_of(activity))
    # the network gives the violin half, the notes give it nothing, and neither has a veto
    share = guided._LEAST_CLAIM / (1 + 2 * guided._LEAST_CLAIM)
    np.testing.assert_allclose(stems["violin"].samples, mixture.samples * share, atol=1e-5)


def test_what_lies_above_the_seen_spectrum_follows_its_top():
    time_s = np.arange(22050) / 22050
    mixture = sum(0.1 * np.sin(2 * np.pi * frequency * time_s) for frequency in (5000, 8000))
    recording = Audio(mixture[None].astype(np.float32), 22050)
    activity = activity_of(("violin", "cello"), 22050, 22050)
    stems = GuidedHTDemucs(split_at_1_khz, CARD).separate(recording, activity, notes_of(activity, {"violin": 83}))
    np.testing.assert_allclose(stems["violin"].samples[:, 2000:-2000], recording.samples[:, 2000:-2000], atol=0.015)
    assert np.abs(stems["cello"].samples[:, 2000:-2000]).max() < 2e-3


def test_what_lies_above_11_khz_is_residual():
    time_s = np.arange(48000) / 48000
    fade = np.hanning(48000)  # a tone that begins at once is no tone
    mixture = Audio((0.3 * fade * np.sin(2 * np.pi * 15000 * time_s))[None].astype(np.float32), 48000)
    activity = activity_of(("violin", "cello"), 48000, 48000)
    stems = GuidedHTDemucs(split_at_1_khz, CARD).separate(mixture, activity, notes_of(activity))
    assert max(np.abs(stem.samples).max() for stem in stems.stems.values()) < 1e-3
    np.testing.assert_allclose(stems.residual.samples, mixture.samples, atol=1e-3)


@pytest.mark.parametrize("rate_hz", [22050, 48000])
def test_silence_gives_silence(rate_hz):
    mixture = Audio(np.zeros((2, rate_hz), dtype=np.float32), rate_hz)
    activity = activity_of(("violin", "horn"), rate_hz, rate_hz)
    stems = GuidedHTDemucs(even_masks, CARD).separate(mixture, activity, notes_of(activity))
    assert set(stems) == {"violin", "horn"}
    assert not total(stems).any()


def test_nobody_active_leaves_everything_to_the_residual():
    mixture = noise(2, 5000, 44100)
    nobody = activity_of((), 5000, 44100)
    stems = GuidedHTDemucs(even_masks, CARD).separate(mixture, nobody, notes_of(nobody))
    assert len(stems) == 0
    np.testing.assert_array_equal(stems.residual.samples, mixture.samples)


def test_whom_the_network_does_not_know_has_a_stem_for_its_notes():
    time_s = np.arange(22050) / 22050
    low, high = (0.3 * np.sin(2 * np.pi * frequency * time_s) for frequency in (110, 830.6))
    activity = activity_of(("cello", "saxophone"), 22050, 22050)
    stems = GuidedHTDemucs(even_masks, CARD).separate(
        Audio((low + high)[None].astype(np.float32), 22050),
        activity,
        notes_of(activity, {"cello": 45, "saxophone": 80}),
    )
    assert set(stems) == {"cello", "saxophone"}
    own = np.abs(stems["saxophone"].samples[0, 4000:-4000] - high[4000:-4000]).max()
    assert own < 0.2 * 0.3


def test_who_does_not_play_takes_nothing():
    mixture = noise(1, 44100, 22050)
    active = np.ones((2, n_frames(44100)), dtype=bool)
    active[1, : n_frames(22050)] = False
    activity = Activity(active.astype(np.float32), active, np.ones(2, dtype=np.float32), ("violin", "cello"))
    stems = GuidedHTDemucs(even_masks, CARD).separate(
        mixture, activity, notes_of(activity, {"cello": 45, "violin": 80})
    )
    assert np.abs(stems["cello"].samples[0, :15000]).max() < 1e-6
    assert np.abs(stems["cello"].samples[0, 26000:]).max() > 1e-3


def test_a_louder_recording_gives_louder_stems_and_nothing_else():
    mixture = noise(1, 22050, 22050)
    activity = activity_of(("violin", "cello"), 22050, 22050)
    separator = GuidedHTDemucs(level_dependent, CARD)
    notes = notes_of(activity, {"violin": 80})
    quiet, loud = (separator.separate(Audio(mixture.samples * gain, 22050), activity, notes) for gain in (0.01, 1))
    for key in quiet:
        np.testing.assert_allclose(quiet[key].samples * 100, loud[key].samples, atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(blocks=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_later_recording_gives_later_stems_and_nothing_else(blocks, seed):
    delay = blocks * CARD.segment_frames // 2 * CARD.hop
    early = noise(1, 9000, 22050, seed)
    late = Audio(np.pad(early.samples, ((0, 0), (delay, 0))), 22050)
    separator = GuidedHTDemucs(level_dependent, CARD)
    both = activity_of(("violin", "cello"), 9000, 22050), activity_of(("violin", "cello"), 9000 + delay, 22050)
    expected, got = (
        separator.separate(sound, activity, notes_of(activity, {"violin": 80, "cello": 45}))
        for sound, activity in zip((early, late), both, strict=True)
    )
    for key in expected:
        np.testing.assert_allclose(got[key].samples[:, delay:], expected[key].samples, atol=1e-5)


def test_progress_rises_to_one():
    heard = []
    activity = activity_of(("violin",), 44100, 22050)
    GuidedHTDemucs(even_masks, CARD).separate(noise(1, 44100, 22050), activity, notes_of(activity), heard.append)
    assert heard == sorted(heard)
    assert len(heard) > 5
    assert heard[-1] == 1.0


def test_memory_beside_recording_and_stems_does_not_grow_with_the_length():
    def beside(seconds):
        mixture = noise(1, seconds * 22050, 22050)
        activity = activity_of(("violin", "cello"), seconds * 22050, 22050)
        tracemalloc.start()
        stems = GuidedHTDemucs(even_masks, CARD).separate(mixture, activity, notes_of(activity))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - sum(stem.samples.nbytes for stem in (*stems.stems.values(), stems.residual))

    beside(2)
    growth = beside(40) - beside(20)
    # a stem waits at 22050 Hz while it is checked and taken off the residual: two bytes' worth of copies a sample
    assert growth < 20 * 22050 * 4 * 2


def test_a_card_for_another_program_is_refused():
    with pytest.raises(WeightsError, match="reinstall"):
        SeparatorCard.from_card({"instruments": ["violin"]})
    with pytest.raises(WeightsError, match="theremin"):
        SeparatorCard.from_card({**CARD.__dict__, "instruments": ["theremin"]})


@pytest.fixture(scope="module")
def shipped():
    return GuidedHTDemucs.load(threads=1)


@pytest.fixture(scope="module")
def low_and_high():
    """Bowed notes of 0.75 s with vibrato, one line two octaves and a half below the other, over a noise floor."""
    time_s = np.arange(3 * 22050) / 22050
    bowed = np.minimum(1, (time_s % 0.75) / 0.08) * np.minimum(1, (0.75 - time_s % 0.75) / 0.1)
    lines = [
        bowed * sum(0.2 / k**1.2 * np.sin(k * pitch * (2 * np.pi * time_s + 0.007 * np.sin(34.6 * time_s)))
                    for k in range(1, 20) if k * pitch < 10000)
        for pitch in (98.0, 659.0)
    ]  # fmt: skip
    noise_floor = 1e-3 * np.random.default_rng(0).standard_normal(len(time_s))
    return Audio((sum(lines) + noise_floor)[None].astype(np.float32), 22050)


def test_the_model_that_ships_keeps_sum_and_level(shipped, low_and_high):
    activity = activity_of(("violin", "cello"), low_and_high.samples.shape[1], 22050)
    notes = notes_of(activity, {"cello": 43, "violin": 76})
    stems = shipped.separate(low_and_high, activity, notes)
    np.testing.assert_allclose(total(stems), low_and_high.samples, atol=1e-5)
    quieter = shipped.separate(Audio(low_and_high.samples * 0.1, 22050), activity, notes)
    for key in stems:
        np.testing.assert_allclose(quieter[key].samples * 10, stems[key].samples, atol=1e-3)


def test_the_model_that_ships_gives_the_low_line_to_the_cello(shipped, low_and_high):
    activity = activity_of(("violin", "cello"), low_and_high.samples.shape[1], 22050)
    stems = shipped.separate(low_and_high, activity, notes_of(activity, {"cello": 43, "violin": 76}))
    mixture = np.abs(np.fft.rfft(low_and_high.samples[0]))
    low, high = (slice(round(pitch * 3) - 9, round(pitch * 3) + 10) for pitch in (98.0, 659.0))
    for key, own, other in (("cello", low, high), ("violin", high, low)):
        spectrum = np.abs(np.fft.rfft(stems[key].samples[0]))
        assert spectrum[own].max() / mixture[own].max() > 5 * spectrum[other].max() / mixture[other].max()


def test_resampling_is_left_to_the_audio_module(monkeypatch):
    rates = []
    original = sound.resample
    monkeypatch.setattr(sound, "resample", lambda audio, rate_hz: rates.append(rate_hz) or original(audio, rate_hz))
    activity = activity_of(("horn",), 9600, 48000)
    GuidedHTDemucs(even_masks, CARD).separate(noise(1, 9600, 48000), activity, notes_of(activity))
    assert rates == [22050, 48000]
