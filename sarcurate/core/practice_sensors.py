"""Random SAR sensors to practise on, none of them near a sensor that is kept for experiments."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from sarcurate.core.impulse_response import Weighting, bandwidth_per_m
from sarcurate.core.sensor_model import SensorModel

# A sensor is near another where both its resolutions are within this factor of the other's.
MARGIN = 1.25
BANDS_HZ = {"L": 1.26e9, "S": 3.2e9, "C": 5.4e9, "X": 9.65e9, "Ku": 16.7e9}
_BAND_SHARES = (0.1, 0.1, 0.3, 0.35, 0.15)
_RESOLUTION_M = (0.4, 5.0)
_LOOKS = (1, 1, 1, 1, 2, 2, 3, 4, 6, 8)
_NESZ_DB = (-32.0, -16.0)
_LEAST_FILL = 0.45  # of the sampling rate that the band takes; oversampled products go lower still


def is_near(sensor: SensorModel, other: SensorModel) -> bool:
    """Whether both resolutions lie within a factor of ``MARGIN`` of the other's, whatever the rest."""
    ratios = (
        sensor.range_resolution_m / other.range_resolution_m,
        sensor.azimuth_resolution_m / other.azimuth_resolution_m,
    )
    return all(1.0 / MARGIN <= ratio <= MARGIN for ratio in ratios)


def draw_sensor(rng: np.random.Generator, kept_away: Iterable[SensorModel]) -> tuple[str, SensorModel]:
    """A random sensor and the name of its band; square pixels, drawn again while near a kept one.

    Args:
        rng: source of randomness.
        kept_away: sensors that no drawn one may be near, as :func:`is_near` says.
    """
    kept = list(kept_away)
    while True:
        band = str(rng.choice(list(BANDS_HZ), p=_BAND_SHARES))
        sensor = _draw(BANDS_HZ[band] * float(rng.uniform(0.95, 1.05)), rng)
        if not any(is_near(sensor, other) for other in kept):
            return band, sensor


def _draw(frequency_hz: float, rng: np.random.Generator) -> SensorModel:
    range_m = math.exp(rng.uniform(*np.log(_RESOLUTION_M)))
    azimuth_m = range_m * float(2.0 ** rng.uniform(-0.7, 0.7))
    weightings = [Weighting(str(w)) for w in rng.choice([str(w) for w in Weighting], 2)]
    widest = max(
        bandwidth_per_m(m, weighting) for m, weighting in zip((range_m, azimuth_m), weightings, strict=True)
    )
    spacing_m = float(rng.uniform(_LEAST_FILL, 1.0)) / widest
    return SensorModel(
        centre_frequency_hz=frequency_hz,
        range_spacing_m=spacing_m,
        azimuth_spacing_m=spacing_m,
        range_resolution_m=range_m,
        azimuth_resolution_m=azimuth_m,
        looks=int(rng.choice(_LOOKS)),
        range_weighting=weightings[0],
        azimuth_weighting=weightings[1],
        nesz_db=float(rng.uniform(*_NESZ_DB)),
    )
