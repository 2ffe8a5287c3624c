"""The fitted tables of this room: numbers by name in an .npz file, with a card of the same name beside it."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


def read_tables(name: str) -> dict[str, NDArray[np.float64]]:
    """The tables of `name`.npz that ship with the package, in full precision."""
    with files("score_pipeline.rhythm").joinpath(f"{name}.npz").open("rb") as handle:
        stored = np.load(handle, allow_pickle=False)
        return {key: np.asarray(stored[key], dtype=np.float64) for key in stored.files}
