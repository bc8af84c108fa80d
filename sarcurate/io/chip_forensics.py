"""Forensics of one chip as manifest columns, with what its file and its sensor profile say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.forensics import Container, Finding, Forensics, examine, statistics_of
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.resampling import BandLimits, band_limits
from sarcurate.io.raster import Pixels
from sarcurate.io.sensors import SensorProfile

SPEED_OF_LIGHT_M_PER_S = 299_792_458.0

COLUMNS = (
    "saturated_fraction",
    "missing_levels_fraction",
    "comb_strength",
    "full_range",
    "jpeg_grid_strength",
    "occupied_band_azimuth",
    "occupied_band_range",
    "border_px",
    "wedge_fraction",
    "grey_as_rgb",
    "forensics",
    "statistics",
)


def forensic_columns(
    pixels: Pixels,
    window: tuple[slice, slice],
    radiometry: Radiometry,
    row: Mapping[str, Any],
    profile: SensorProfile,
) -> dict[str, Any]:
    """Values of ``COLUMNS`` for a chip; None where the chip cannot tell.

    Args:
        pixels: of its whole file.
        window: rows and columns of the file that are the chip.
        radiometry: declared meaning of the values.
        row: manifest row of the chip, with its spacing.
        profile: of its sensor; resolution, bandwidth and sampling say what is oversampled.
    """
    chip: NDArray[np.generic] = pixels.values[window]
    samples = None if pixels.samples is None else pixels.samples[window]
    container = Container(pixels.was_jpeg, pixels.was_rgb)
    found = examine(chip, radiometry, samples, _limits(row, profile), container)
    return _columns(found) | {
        "grey_as_rgb": pixels.was_rgb,
        "forensics": " ".join(found.findings),
        "statistics": statistics_of(radiometry, found.findings).value,
    }


def count_findings(column: Iterable[str | None]) -> dict[str, int]:
    """Number of chips with each finding that any has, from the manifest column ``forensics``."""
    counts = Counter(name for text in column for name in (text or "").split())
    return {finding.value: counts[finding.value] for finding in Finding if counts[finding.value]}


def _columns(found: Forensics) -> dict[str, Any]:
    stretch, border = found.stretch, found.border
    return {
        "saturated_fraction": stretch.saturated_fraction,
        "missing_levels_fraction": stretch.missing_levels_fraction,
        "comb_strength": stretch.comb_strength,
        "full_range": stretch.full_range,
        "jpeg_grid_strength": found.jpeg_grid_strength,
        "occupied_band_azimuth": found.occupied_band[0],
        "occupied_band_range": found.occupied_band[1],
        "border_px": None if border is None else max(border.frame_px),
        "wedge_fraction": None if border is None else border.wedge_fraction,
    }


def _limits(row: Mapping[str, Any], profile: SensorProfile) -> BandLimits:
    """Least occupied band; bandwidth over sampling counts only where the chip is on the sensor's own grid."""
    azimuth_m, range_m = float(row["azimuth_spacing_m"]), float(row["range_spacing_m"])
    ratio = None
    if profile.range_bandwidth_hz is not None and profile.sampling_frequency_hz is not None:
        own_m = SPEED_OF_LIGHT_M_PER_S / (2 * profile.sampling_frequency_hz)
        is_own = math.isclose(range_m, own_m, rel_tol=0.02)
        ratio = profile.range_bandwidth_hz / profile.sampling_frequency_hz if is_own else None
    resolution_m = (profile.azimuth_resolution_m, profile.range_resolution_m)
    return band_limits((azimuth_m, range_m), resolution_m, ratio)
