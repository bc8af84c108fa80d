"""Equivalent number of looks of homogeneous areas, with its standard error and 95 % interval.

The law of the errors is that of averaged looks of one circular Gaussian field: pixels are Gamma(L), pairs
follow Kibble's bivariate Gamma law, under which Laguerre polynomials of degree k correlate as rho^k (Kibble
1941). First-order errors of the estimators are sums of such polynomials, which gives each its effective
number of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, polygamma, psi

from sarcurate.core.homogeneous import (
    HomogeneousAreas,
    correlated_px,
    coverage,
    looks_of_cv2,
    mean_correlation,
    window_mean,
)
from sarcurate.core.marginal_fit import inverse_trigamma
from sarcurate.core.measure import Measure
from sarcurate.core.radiometry import Radiometry

Values = NDArray[np.float64]

Z95 = 1.959964
# Degrees of Laguerre polynomials of which the correlation is followed; of higher ones neighbours are as good
# as independent.
DEGREES = 6
MAX_LOOKS = 1e6
# Variance of the median of half-overlapping windows over that of their mean, by simulation (docs/enl.md);
# that of independent windows would be pi / 2.
MEDIAN_VARIANCE = 1.1
# 1 / CV^2 of a window exceeds 1 / mean(CV^2) by r - MOMENT_SKEW r^2 / L, r being the relative variance of
# CV^2: the first term by expansion, the second, for the long tail of few looks, by simulation.
MOMENT_SKEW = 1.7


class EnlMethod(StrEnum):
    """How looks are found from windows."""

    MOMENT = "moment"
    HARMONIC = "harmonic"
    MAXIMUM_LIKELIHOOD = "maximum_likelihood"
    LOG_VARIANCE = "log_variance"
    MEDIAN = "median"


@dataclass(frozen=True, eq=False)
class EnlResult:
    """ENL of n chips with standard error and 95 % interval, of intensity declared as ``domain``.

    Args:
        enl: looks.
        stderr: standard error, in looks.
        low: lower end of the 95 % interval (normal in ln ENL).
        high: upper end.
        domain: declared radiometry; relative kinds give relative looks, to be compared within one data set.
        method: the estimator.
        n_px: (n,) pixels of the homogeneous area.
    """

    enl: Measure
    stderr: Measure
    low: Measure
    high: Measure
    domain: Radiometry
    method: EnlMethod
    n_px: NDArray[np.int64]


def enl(areas: HomogeneousAreas, method: EnlMethod = EnlMethod.HARMONIC) -> EnlResult:
    """Looks of each chip's homogeneous area, corrected for window size, correlation and curvature.

    moment: mean over windows of 1 / CV^2 (the usual mean^2 / variance). harmonic: 1 / mean of CV^2.
    maximum_likelihood: ln L - psi(L) = ln <I> - <ln I> in windows. log_variance: psi1(L) = Var ln I (Cui et
    al. 2011). median: of the windows' own looks (Anfinsen et al. 2009). Texture counts as speckle.

    Args:
        areas: from :func:`sarcurate.core.homogeneous.homogeneous_areas`.
        method: the estimator.
    """
    found = areas.reasons == ""
    rho = np.where(found, areas.correlation, 0.0)
    m = mean_correlation(rho, areas.windows.window_px)
    n_px = np.maximum(coverage(areas.kept), 1) * (areas.windows.window_px // 2) ** 2
    looks, relative = _ESTIMATORS[method](areas, rho, m, n_px)
    looks = np.where(found, looks, 1.0)
    spread = np.sqrt(np.where(found, relative, 0.0))
    lost = ~found | ~((looks > 0) & (looks < MAX_LOOKS) & np.isfinite(spread))
    reasons = np.where(found & lost, "no speckle", areas.reasons)

    def measure(values: Values) -> Measure:
        return Measure(np.where(lost, np.nan, values), reasons)

    half = np.exp(np.minimum(Z95 * spread, 50.0))
    return EnlResult(
        enl=measure(looks),
        stderr=measure(looks * spread),
        low=measure(looks / half),
        high=measure(looks * half),
        domain=areas.domain,
        method=method,
        n_px=areas.n_px,
    )


def _harmonic(areas: HomogeneousAreas, rho: Values, m: Values, n_px: Values) -> tuple[Values, Values]:
    raw = _positive(looks_of_cv2(window_mean(areas.windows.cv2, areas.kept), m))
    relative = _cv2_error(raw, rho) / n_px
    # E[1/x] exceeds 1/E[x] by the relative variance of x.
    return raw / (1 + relative), relative


def _moment(areas: HomogeneousAreas, rho: Values, m: Values, n_px: Values) -> tuple[Values, Values]:
    harmonic, relative = _harmonic(areas, rho, m, n_px)
    cv2 = np.where(areas.kept, areas.windows.cv2, 1.0)
    raw = window_mean(looks_of_cv2(cv2, m[:, None, None]), areas.kept)
    one = _cv2_error(harmonic, rho) / areas.windows.window_px**2
    return raw / (1 + one - MOMENT_SKEW * one**2 / np.maximum(harmonic, 1)), relative


def _median(areas: HomogeneousAreas, rho: Values, m: Values, n_px: Values) -> tuple[Values, Values]:
    harmonic, relative = _harmonic(areas, rho, m, n_px)
    raw = _positive(looks_of_cv2(_median_cv2(areas), m))
    # A window's CV^2 is close to log-normal: its median lies below its mean by half its relative variance.
    shift = 1 + _cv2_error(harmonic, rho) / areas.windows.window_px**2 / 2
    return raw / shift, relative * MEDIAN_VARIANCE


def _median_cv2(areas: HomogeneousAreas) -> Values:
    """Median CV^2 of the kept windows, the mean of the middle two for an even count; 1 without any."""
    count = areas.kept.sum(axis=(1, 2))
    each = np.where(areas.kept, areas.windows.cv2, np.inf).reshape(
        len(count), math.prod(areas.kept.shape[1:])
    )
    # One more column keeps chips without windows indexable.
    order = np.sort(np.hstack([each, np.full((len(count), 1), np.inf)]), axis=1)
    pair = np.stack([np.maximum(count - 1, 0) // 2, np.maximum(count // 2, 0)], axis=1)
    middle = np.take_along_axis(order, pair, axis=1).mean(axis=1)
    return np.where(count > 0, middle, 1.0)


def _maximum_likelihood(
    areas: HomogeneousAreas, rho: Values, m: Values, n_px: Values
) -> tuple[Values, Values]:
    gap = np.maximum(window_mean(areas.windows.log_gap, areas.kept), 1e-9)
    ln_looks = np.log(np.maximum((1 - m) / (2 * gap), 1e-2))
    for _ in range(8):
        looks = np.exp(ln_looks)
        wrong = _log_gap(looks) - _log_gap(looks / m) - gap
        slope = looks * (_log_gap_slope(looks) - _log_gap_slope(looks / m) / m)
        ln_looks = np.clip(ln_looks - np.clip(wrong / slope, -1, 1), -7, 20)
    looks = np.exp(ln_looks)
    error = _degrees(looks, rho, lambda k: np.full_like(looks, 1 / k**2), polygamma(1, looks) - 1 / looks)
    relative = error / n_px / (_log_gap_slope(looks) * looks) ** 2
    bend = (-1 / looks**2 - polygamma(2, looks)) / _log_gap_slope(looks)
    return looks * (1 + 0.5 * bend * relative * looks), relative


def _log_variance(areas: HomogeneousAreas, rho: Values, m: Values, n_px: Values) -> tuple[Values, Values]:
    seen = np.maximum(window_mean(areas.windows.log_variance, areas.kept), 1e-9)
    looks = inverse_trigamma(seen)
    for _ in range(6):
        looks = inverse_trigamma(seen + _variance_of_log_mean(looks, rho, areas.windows.window_px))
    harmonic_number = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, DEGREES + 1))])
    full = polygamma(3, looks) + 2 * polygamma(1, looks) ** 2
    error = _degrees(looks, rho, lambda k: np.full_like(looks, (2 * harmonic_number[k - 1] / k) ** 2), full)
    slope = polygamma(2, looks)
    relative = error / n_px / (slope * looks) ** 2
    return looks * (1 + 0.5 * polygamma(3, looks) / slope * relative * looks), relative


_Estimator = Callable[[HomogeneousAreas, Values, Values, Values], tuple[Values, Values]]
_ESTIMATORS: dict[EnlMethod, _Estimator] = {
    EnlMethod.MOMENT: _moment,
    EnlMethod.HARMONIC: _harmonic,
    EnlMethod.MAXIMUM_LIKELIHOOD: _maximum_likelihood,
    EnlMethod.LOG_VARIANCE: _log_variance,
    EnlMethod.MEDIAN: _median,
}


def _positive(looks: Values) -> Values:
    return np.maximum(looks, 1e-3)


def _cv2_error(looks: Values, rho: Values) -> Values:
    """Relative variance of CV^2, times pixels. Its error is the Laguerre polynomial of degree 2."""
    return 2 * (1 + 1 / looks) * correlated_px(rho, 2)


def _degrees(looks: Values, rho: Values, square: Callable[[int], Values], full: Values) -> Values:
    """Variance times pixels of an error with squared Laguerre coefficients ``square(k) / norm``, k >= 2.

    ``full`` is the variance without correlation, which degrees above DEGREES take their rest from.
    """
    parts = {k: square(k) / _norm(looks, k) for k in range(2, DEGREES + 1)}
    rest = np.maximum(full - sum(parts.values()), 0)
    return np.asarray(rest + sum(part * correlated_px(rho, k) for k, part in parts.items()))


def _norm(looks: Values, k: int) -> Values:
    """Mean square of the generalised Laguerre polynomial of degree k under Gamma(looks)."""
    return np.asarray(np.exp(gammaln(k + looks) - gammaln(looks) - gammaln(k + 1)))


def _variance_of_log_mean(looks: Values, rho: Values, window_px: int) -> Values:
    """Variance of the mean of ln I over a window; ln I has squared coefficients 1 / k^2."""
    parts = {k: 1 / k**2 / _norm(looks, k) for k in range(1, DEGREES + 1)}
    rest = np.maximum(polygamma(1, looks) - sum(parts.values()), 0) / window_px**2
    return np.asarray(rest + sum(p * mean_correlation(rho, window_px, k) for k, p in parts.items()))


def _log_gap(looks: Values) -> Values:
    return np.asarray(np.log(looks) - psi(looks))


def _log_gap_slope(looks: Values) -> Values:
    return np.asarray(1 / looks - polygamma(1, looks))
