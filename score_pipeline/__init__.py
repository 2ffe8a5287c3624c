"""A recording of several instruments in, one readable MusicXML part per instrument out.

>>> from pathlib import Path
>>> from score_pipeline import Settings, convert, load_models, write_result
>>> conversion = convert(Path("mix.wav"), Settings(), load_models())  # doctest: +SKIP
>>> write_result(conversion, Path("out/mix"))  # doctest: +SKIP

Nothing heavy is imported before it is needed: importing this package takes as long as importing numpy.
"""

__version__ = "0.1.0"

from score_pipeline.errors import ScorePipelineError
from score_pipeline.pipeline import Conversion, Models, convert, load_models, who_plays
from score_pipeline.result import write as write_result
from score_pipeline.settings import (
    DetectionSettings,
    NotationSettings,
    RhythmSettings,
    Settings,
    TranscriptionSettings,
)

__all__ = [
    "Conversion",
    "DetectionSettings",
    "Models",
    "NotationSettings",
    "RhythmSettings",
    "ScorePipelineError",
    "Settings",
    "TranscriptionSettings",
    "convert",
    "load_models",
    "who_plays",
    "write_result",
]
