"""Other looks at a chip, for eyes: linear amplitude, log spectrum, homogeneous area; scales are fixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.display import to_uint8_db
from sarcurate.core.homogeneous import homogeneous_areas
from sarcurate.core.radiometry import Radiometry

LINEAR_TOP = 0.75  # of the dB window: what is brighter is white
SPECTRUM_DB = (-20.0, 15.0)  # against the chip's own mean power
OUTSIDE = 0.3  # grey levels outside the homogeneous area, against those inside
_SEPARATOR_PX = 2

Grey = NDArray[np.uint8]


def linear_view(intensity: NDArray[np.floating], window_db: tuple[float, float]) -> Grey:
    """Amplitude, linear from black at 0 to white at three quarters of the sensor's dB window."""
    low, high = window_db
    top = 10 ** ((low + LINEAR_TOP * (high - low)) / 20)
    grey: Grey = np.rint(255 * np.clip(np.sqrt(intensity) / top, 0, 1)).astype(np.uint8)
    return grey


def spectrum_view(intensity: NDArray[np.floating]) -> Grey:
    """Power of intensity contrast under a Hann window, in dB of its mean; frequency 0 in the middle."""
    rows, cols = intensity.shape
    mean = float(intensity.mean(dtype=np.float64))
    contrast = intensity / mean - 1 if mean > 0 else np.zeros((rows, cols))
    power = np.abs(np.fft.fft2(contrast * np.outer(np.hanning(rows), np.hanning(cols)))) ** 2
    whole = float(power.mean())
    relative = np.fft.fftshift(power / whole if whole > 0 else power)
    return to_uint8_db(relative.astype(np.float32), *SPECTRUM_DB)


def homogeneous_view(
    intensity: NDArray[np.floating], radiometry: Radiometry, window_db: tuple[float, float]
) -> Grey:
    """The dB view, dark outside the windows that ENL is measured in."""
    grey = to_uint8_db(intensity, *window_db)
    inside = homogeneous_areas(intensity[None], radiometry).mask(intensity.shape)[0]
    return np.where(inside, grey, np.rint(OUTSIDE * grey)).astype(np.uint8)


def side_by_side(views: list[Grey]) -> Grey:
    """Views in a row with white lines between them, all as high as the highest (pixels repeated)."""
    height = max(view.shape[0] for view in views)
    parts: list[Grey] = []
    for view in views:
        rows = np.arange(height) * view.shape[0] // height
        width = max(1, round(view.shape[1] * height / view.shape[0]))
        cols = np.arange(width) * view.shape[1] // width
        parts += [view[np.ix_(rows, cols)], np.full((height, _SEPARATOR_PX), 255, dtype=np.uint8)]
    return np.hstack(parts[:-1])
