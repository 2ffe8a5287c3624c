"""What every separator promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from score_pipeline.types import Activity, Audio, Ownership, Stems

OnProgress = Callable[[float], None]
"""Called with the share that is done, 0..1."""


def nobody_listens(done: float) -> None:
    """The `OnProgress` of whoever does not ask."""


class Separator(Protocol):
    """Pulls a recording apart.

    `activity` says who plays when and `ownership` whose notes sound; a separator may make what it likes of the latter.
    The stems are those of the instruments that are active somewhere and that the separator knows, in the order of the
    activity. They have the rate, the channels and the length of `audio`, and with the residual they add up to it
    within float32. Silence gives silence; a louder recording gives louder stems and nothing else.
    """

    def separate(
        self, audio: Audio, activity: Activity, ownership: Ownership, on_progress: OnProgress = nobody_listens
    ) -> Stems:
        """Stems of the active instruments and the residual."""
        ...
