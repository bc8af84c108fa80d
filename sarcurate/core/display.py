"""Grey levels for eyes: a fixed dB window as 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry, to_db, to_intensity
from sarcurate.errors import ParamsError


def to_uint8_db(intensity: NDArray[np.generic], low_db: float, high_db: float) -> NDArray[np.uint8]:
    """Grey levels of linear intensity, linear in dB: ``low_db`` is 0, ``high_db`` is 255, clipped beyond.

    One fixed window per sensor keeps previews comparable, which a stretch per chip would not. For display
    only: the clipped, rounded levels carry no radiometry.

    Args:
        intensity: linear intensity >= 0, any shape; 0 is black.
        low_db: level shown as black, in dB of the intensity's own unit.
        high_db: level shown as white, in dB.

    Raises:
        RadiometryError: for complex, negative or non-finite values.
        ParamsError: unless low_db < high_db, both finite.
    """
    if not (np.isfinite(low_db) and np.isfinite(high_db) and low_db < high_db):
        raise ParamsError(
            f"display window: found {low_db} to {high_db} dB, expected finite low < high",
            fix="give a window such as -25 to 5 dB",
        )
    level_db = to_db(to_intensity(intensity, Radiometry.INTENSITY))
    share = np.clip((level_db.astype(np.float64) - low_db) / (high_db - low_db), 0.0, 1.0)
    return np.rint(255.0 * share).astype(np.uint8)
