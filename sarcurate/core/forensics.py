"""Forensics: what was done to a chip's pixels since the sensor, and which statistics they still carry."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core import jpeg_blocks
from sarcurate.core.borders import Border, find_border
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.resampling import LEAST_REPEATED, BandLimits, occupied_band, repeated_lines
from sarcurate.core.stretch import NO_STRETCH, Stretch, find_stretch, levels_of
from sarcurate.errors import RadiometryError


class Finding(StrEnum):
    """One thing done to a chip: complex samples are ``SATURATED``, detected pixels ``STRETCHED``."""

    STRETCHED = "stretched"
    SATURATED = "saturated"
    JPEG = "jpeg"
    UPSAMPLED = "upsampled"
    GREY_AS_RGB = "grey_as_rgb"
    BORDER = "border"


class Statistics(StrEnum):
    """``ABSOLUTE``: pixel statistics are the sensor's. ``RELATIVE``: they only compare alike chips."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"


# a border is left out by whoever measures, and equal channels lose nothing
BREAKS_LINEARITY = frozenset({Finding.STRETCHED, Finding.SATURATED, Finding.JPEG, Finding.UPSAMPLED})


@dataclass(frozen=True)
class Container:
    """What the file itself says: it was compressed by JPEG, it held three equal channels."""

    was_jpeg: bool = False
    was_rgb: bool = False


@dataclass(frozen=True)
class Forensics:
    """Measures and findings of one chip; None where it is too small or too uniform to tell.

    ``stretch``, ``jpeg_grid_strength``, ``occupied_band`` (azimuth, range) and ``border`` are as their
    modules define them; ``findings`` are in the order of :class:`Finding`.
    """

    stretch: Stretch
    jpeg_grid_strength: float | None
    occupied_band: tuple[float | None, float | None]
    border: Border | None
    findings: tuple[Finding, ...]


def examine(
    chip: NDArray[Any],
    radiometry: Radiometry,
    samples: NDArray[np.complexfloating] | None = None,
    limits: BandLimits | None = None,
    container: Container | None = None,
) -> Forensics:
    """Every measure on one chip, and what they find.

    A constant chip has no measures. Frames of one value are cut off before the other measures, corner
    wedges are left out of the histogram.

    Args:
        chip: (rows, cols), real, as stored.
        radiometry: meaning of the values.
        samples: (rows, cols) complex samples that the chip was detected from, if it was.
        limits: least occupied band that is no finding; the usual ones by default.
        container: what the file says.
    """
    container, limits = container or Container(), limits or BandLimits()
    border = find_border(chip)
    if border is None:
        found = _container_findings(container)
        return Forensics(NO_STRETCH, None, (None, None), None, tuple(f for f in Finding if f in found))
    top, bottom, left, right = border.frame_px
    inner = (slice(top, chip.shape[0] - bottom), slice(left, chip.shape[1] - right))
    stretch = _stretch(chip, radiometry, samples, border)
    amplitude = np.sqrt(np.maximum(chip[inner], 0)) if radiometry.is_power else chip[inner]
    strength = jpeg_blocks.grid_strength(amplitude, _step(amplitude))
    band = occupied_band(_floats(chip[inner]) if samples is None else samples[inner])
    least = limits.detected_least if samples is None else limits.complex_least
    upsampled = repeated_lines(chip[inner]) >= LEAST_REPEATED or any(
        share is not None and share < limit for share, limit in zip(band, least, strict=True)
    )
    heaped = Finding.STRETCHED if samples is None else Finding.SATURATED
    found = _container_findings(container) | {
        finding
        for finding, is_found in (
            (heaped, stretch.found),
            (Finding.JPEG, strength is not None and strength > jpeg_blocks.FOUND),
            (Finding.UPSAMPLED, upsampled),
            (Finding.BORDER, border.found),
        )
        if is_found
    }
    return Forensics(stretch, strength, band, border, tuple(f for f in Finding if f in found))


def statistics_of(radiometry: Radiometry, findings: Collection[Finding]) -> Statistics:
    """Relative where the radiometry is, or where a finding says that values or spectrum were changed."""
    changed = radiometry.is_relative or not BREAKS_LINEARITY.isdisjoint(findings)
    return Statistics.RELATIVE if changed else Statistics.ABSOLUTE


def needs_linear(statistics: Statistics, measure: str, source: str) -> None:
    """Refuse a measure that holds only for pixels linear in the sensor's own.

    Args:
        statistics: of the chip or set.
        measure: what was to be measured, for the message.
        source: chip or set, for the message.

    Raises:
        RadiometryError: for relative statistics.
    """
    if statistics is Statistics.RELATIVE:
        raise RadiometryError(
            f"{source}: {measure} needs absolute statistics, but these pixels are relative",
            fix="use chips cut from the product itself, or report the measure as relative; the columns "
            "radiometry and forensics of the manifest say why",
        )


def _container_findings(container: Container) -> set[Finding]:
    said = ((Finding.JPEG, container.was_jpeg), (Finding.GREY_AS_RGB, container.was_rgb))
    return {finding for finding, is_so in said if is_so}


def _stretch(
    chip: NDArray[Any], radiometry: Radiometry, samples: NDArray[np.complexfloating] | None, border: Border
) -> Stretch:
    """Stretch of detected pixels; of complex samples only the heap of I and Q on their rail."""
    if samples is None:
        return find_stretch(chip[border.inside], test_levels=not radiometry.is_power)
    inside = samples[border.inside]
    rail = np.maximum(np.abs(inside.real), np.abs(inside.imag))
    return find_stretch(rail, test_levels=False)


def _step(chip: NDArray[Any]) -> float:
    """Distance of the pixels' levels, 0 for continuous values."""
    levels = levels_of(chip)
    return 0.0 if levels is None else levels.step


def _floats(chip: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(chip, dtype=np.float64)
