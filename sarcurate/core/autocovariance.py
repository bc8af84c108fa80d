"""Spatial correlation of speckle: autocovariance of intensity along azimuth and range, and its theory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.chip_stack import ChipStack, chip_stack
from sarcurate.core.impulse_response import Weighting, cosine_coefficients
from sarcurate.core.measure import Measure
from sarcurate.errors import DataError

Values = NDArray[np.float64]

MOST_LAG_PX = 4
LEAST_PX = 16  # four times the largest lag: fewer pixels a line mostly measure their own mean
LEAST_AREA_PX = 64
_NODES = 64


@dataclass(frozen=True, eq=False)
class Autocovariance:
    """Normalised autocovariance of intensity at lags 0 to 4 px, each (m, 5), 1 at lag 0.

    ``azimuth`` is along the rows' axis, ``range_`` along the columns'.
    """

    azimuth: Values
    range_: Values
    chips: ChipStack

    def half_widths_px(self) -> tuple[Measure, Measure]:
        """(azimuth, range) lag in px at which the autocovariance falls to 0.5, linear between lags."""
        azimuth, range_ = (self._half_width(line) for line in (self.azimuth, self.range_))
        return azimuth, range_

    def at_lag(self, lag_px: int) -> tuple[Measure, Measure]:
        """(azimuth, range) autocovariance at one lag of 0 to 4 px."""
        return self.chips.measure(self.azimuth[:, lag_px]), self.chips.measure(self.range_[:, lag_px])

    def distances(self, azimuth: Values, range_: Values) -> tuple[Measure, Measure]:
        """(azimuth, range) mean |difference| over lags 1 to 4 to a theory or a pooled set, each (5,)."""
        gaps = [
            np.abs(line - np.asarray(target))[:, 1:].mean(axis=1)
            for line, target in ((self.azimuth, azimuth), (self.range_, range_))
        ]
        return self.chips.measure(gaps[0]), self.chips.measure(gaps[1])

    def _half_width(self, line: Values) -> Measure:
        below = line < 0.5
        first = np.maximum(below.argmax(axis=1), 1)[:, None]
        before = np.take_along_axis(line, first - 1, axis=1)[:, 0]
        after = np.take_along_axis(line, first, axis=1)[:, 0]
        crosses = below.any(axis=1)
        step = np.where(crosses, before - after, 1.0)
        width = first[:, 0] - 1 + (before - 0.5) / step
        return self.chips.measure(width, ~crosses, f"correlation above 0.5 up to {MOST_LAG_PX} px")


def autocovariance(
    intensity: NDArray[np.floating] | ChipStack, mask: NDArray[np.bool_] | None = None
) -> Autocovariance:
    """Normalised autocovariance of linear intensity along both axes to lag 4, inside ``mask``.

    Products of pixels a lag apart, both inside, less the area's mean, over their number; divided by the
    area's variance. Brightness that varies within the area counts as correlation: give homogeneous areas.
    Taking away the area's own mean lowers all lags by about 1 / (independent pixels), not undone here.

    Args:
        intensity: (n, rows, cols), 16 px a side or more.
        mask: (n, rows, cols), true inside the area; the whole chip without.

    Raises:
        DataError: for chips that are no such stack, or a mask of another shape.
    """
    chips = _scaled(chip_stack(intensity, LEAST_PX))
    if mask is None:
        centred = chips.fit - chips.fit.mean(axis=(1, 2), keepdims=True)
        pixels = chips.fit.shape[1] * chips.fit.shape[2]
        variance = np.einsum("nrc,nrc->n", centred, centred) / pixels
        return Autocovariance(
            _lines(centred, None, variance), _lines(_turned(centred), None, variance), chips
        )
    if mask.shape != np.shape(intensity):
        raise DataError(
            f"autocovariance: the mask has shape {mask.shape}, the chips {np.shape(intensity)}",
            fix="give one mask per chip, of the chips' size",
        )
    chips, inside = _with_area(chips, np.asarray(mask, dtype=np.float64)[chips.places])
    count = inside.sum(axis=(1, 2))
    mean = np.einsum("nrc,nrc->n", chips.fit, inside) / count
    centred = (chips.fit - mean[:, None, None]) * inside
    variance = np.einsum("nrc,nrc->n", centred, centred) / count
    azimuth = _lines(centred, inside, variance)
    return Autocovariance(azimuth, _lines(_turned(centred), _turned(inside), variance), chips)


def band_limited_autocovariance(band: float, weighting: Weighting) -> Values:
    """(5,) autocovariance of fully developed speckle at lags 0 to 4 px, for any number of looks.

    The field's correlation is the Fourier transform of its power spectrum, the weighting squared over the
    band; that of intensity is the squared modulus (Goodman 1975, equation 2.62 ff.): sinc(band lag)^2
    without weighting.

    Args:
        band: share of the sampling rate that the complex samples fill, in (0, 1].
        weighting: spectral weighting of the axis.

    Raises:
        DataError: for a band outside (0, 1].
    """
    if not 0 < band <= 1:
        raise DataError(f"autocovariance: the band is {band}, expected in (0, 1]", fix="correct the band")
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    u = nodes / 2
    coefficients = cosine_coefficients(weighting)
    amplitude = np.full(_NODES, coefficients[0])
    for m, coefficient in enumerate(coefficients[1:], start=1):
        amplitude += 2 * coefficient * np.cos(2 * np.pi * m * u)
    power = weights * amplitude**2
    lags = np.arange(MOST_LAG_PX + 1)
    field = np.cos(2 * np.pi * band * np.outer(lags, u)) @ power / power.sum()
    return np.asarray(field**2)


def _scaled(chips: ChipStack) -> ChipStack:
    """Chips over their maximum, so that no square leaves the range of numbers; no ratio feels it."""
    if not len(chips.fit):
        return chips
    return ChipStack(chips.fit / chips.fit.max(axis=(1, 2), keepdims=True), chips.places, chips.reasons)


def _with_area(chips: ChipStack, inside: Values) -> tuple[ChipStack, Values]:
    """Leave out chips whose area is too small, constant, or holds no pair of pixels at some lag."""
    flat = (len(inside), inside.shape[1] * inside.shape[2])
    held = inside > 0
    high = np.where(held, chips.fit, -np.inf).reshape(flat).max(axis=1)
    low = np.where(held, chips.fit, np.inf).reshape(flat).min(axis=1)
    pairs = np.minimum(
        (inside[:, MOST_LAG_PX:] * inside[:, :-MOST_LAG_PX]).sum(axis=(1, 2)),
        (inside[:, :, MOST_LAG_PX:] * inside[:, :, :-MOST_LAG_PX]).sum(axis=(1, 2)),
    )
    small = (inside.sum(axis=(1, 2)) < LEAST_AREA_PX) | (pairs < LEAST_AREA_PX / 2)
    why = np.select([small, low == high], [f"area below {LEAST_AREA_PX} px or too thin", "constant area"], "")
    reasons = chips.reasons.astype(object)
    reasons[chips.places] = why
    good = why == ""
    return ChipStack(chips.fit[good], chips.places[good], reasons.astype(str)), inside[good]


def _turned(chips: Values) -> Values:
    return chips.swapaxes(1, 2)


def _lines(centred: Values, inside: Values | None, variance: Values) -> Values:
    """(m, 5) autocovariance along axis 1 over the variance."""
    lags = [np.ones(len(centred))]
    for lag in range(1, MOST_LAG_PX + 1):
        total = np.einsum("nrc,nrc->n", centred[:, lag:], centred[:, :-lag])
        if inside is None:
            pairs = np.full(len(centred), (centred.shape[1] - lag) * centred.shape[2], dtype=np.float64)
        else:
            pairs = np.einsum("nrc,nrc->n", inside[:, lag:], inside[:, :-lag])
        # A lag that no pair of a ragged area has says nothing: it counts as uncorrelated.
        lags.append(total / np.maximum(pairs, 1) / variance)
    return np.stack(lags, axis=1)
