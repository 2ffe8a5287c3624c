"""Entries and exits of every instrument, as a table: python examples/who_plays_when.py RECORDING."""

import sys
from pathlib import Path

from score_pipeline import DetectionSettings, audio, load_models, who_plays
from score_pipeline.units import SAMPLE_RATE_HZ

models = load_models()
recording = audio.read(Path(sys.argv[1]))
mixture = audio.resample(audio.to_mono(recording), SAMPLE_RATE_HZ)
activity, _ = who_plays(mixture, models.pitch.pitchgram(mixture).note, DetectionSettings(), models)
for instrument in activity.present:
    for start_s, end_s in activity.spans(instrument):
        print(f"{instrument:12} {start_s:8.2f} s to {end_s:8.2f} s")
