"""Gamma, K and log-normal laws fitted to intensity by log-cumulants, and how well they fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, gammainc, gammaincinv, gammaln, kolmogorov, ndtr, polygamma, psi, zeta

from sarcurate.core.log_cumulants import LnArea, LogCumulants
from sarcurate.core.marginal import QUANTILE_LEVELS
from sarcurate.core.measure import Measure
from sarcurate.errors import DataError

Values = NDArray[np.float64]

# Probabilities at which a fitted law is compared; a distance misses at most one step between them.
LEVELS: Values = (np.arange(64) + 0.5) / 64
_TEXTURE_NODES = 24
_CELLS = 192
_REACH_SD = 6.0  # the Gamma law has less than 1e-9 beyond it
_BISECTIONS = 40
_NEWTON_STEPS = 5
NOT_K = "ln intensity is less skewed than any K law"


@dataclass(frozen=True, eq=False)
class GammaFit:
    """Speckle of ``looks`` (m,) and ``mean`` (m,), in the intensity's own unit."""

    looks: Values
    mean: Values

    def cdf(self, ln: Values) -> Values:
        """Probability (m, p) of being at or below ln intensity (m, p)."""
        looks, mean = self.looks[:, None], self.mean[:, None]
        return np.asarray(gammainc(looks, looks * np.exp(ln) / mean))


@dataclass(frozen=True, eq=False)
class KFit:
    """Speckle of ``looks`` on Gamma texture of order ``texture``, each (m,).

    The two orders are interchangeable in the law; the larger one is called looks. ``texture`` is inf where
    the third log-cumulant is as negative as that of pure speckle or more so, and NaN where no K law has
    such cumulants.
    """

    looks: Values
    texture: Values
    mean: Values

    def cdf(self, ln: Values) -> Values:
        """Probability (m, p); a Gauss-Legendre mean over 24 quantiles of the texture.

        NaN where the law does not exist.
        """
        pure = np.isinf(self.texture)
        probability = np.full(ln.shape, np.nan)
        probability[pure] = GammaFit(self.looks[pure], self.mean[pure]).cdf(ln[pure])
        mixed = ~pure & ~np.isnan(self.texture)
        order = self.texture[mixed, None]
        nodes, weights = _texture_nodes()
        texture = gammaincinv(order, (nodes + 1) / 2) / order
        third = np.exp((ln[mixed] - np.log(self.mean[mixed, None])) / 3)
        roots = third[:, :, None] * np.cbrt(1 / texture)[:, None, :]
        # A product with the weights as a matrix would depend on how many chips there are, in the last digit.
        probability[mixed] = (_speckle_cdf(self.looks[mixed], roots) * (weights / 2)).sum(axis=2)
        return probability


def _speckle_cdf(looks: Values, roots: Values) -> Values:
    """Gamma law of mean 1 at the cubes of ``roots`` (m, p, q), for each of ``looks`` (m,), good to 1e-7.

    In the cube root the law is all but normal (Wilson and Hilferty 1931), so one even grid with cubic Hermite
    interpolation does for any looks of one or more; there are far fewer nodes than values.
    """
    found = np.empty(roots.shape)
    many = looks >= 1
    found[~many] = gammainc(looks[~many, None, None], looks[~many, None, None] * roots[~many] ** 3)
    order, width = looks[many], 1 / (3 * np.sqrt(looks[many]))
    low, high = np.maximum(1 - _REACH_SD * width, 1e-3), 1 + _REACH_SD * width
    step = (high - low) / _CELLS
    place = np.clip((roots[many] - low[:, None, None]) / step[:, None, None], 0, _CELLS * (1 - 1e-15))
    cell = place.astype(np.intp)
    place -= cell
    cell += (np.arange(len(order)) * _CELLS)[:, None, None]
    a, b, c, d = (part.take(cell) for part in _cubics(order, low, step))
    for factor in (c, b, a):
        d *= place
        d += factor
    found[many] = d
    return found


def _cubics(looks: Values, low: Values, step: Values) -> tuple[Values, Values, Values, Values]:
    """Coefficients (m * cells,) of powers 0 to 3 of the place within a cell, for :func:`_speckle_cdf`."""
    root = low[:, None] + step[:, None] * np.arange(_CELLS + 1)
    order = looks[:, None]
    x = order * root**3
    value = gammainc(order, x)
    slope = 3 / root * np.exp(order * np.log(x) - x - gammaln(order)) * step[:, None]
    left, right, begin, end = value[:, :-1], value[:, 1:], slope[:, :-1], slope[:, 1:]
    rise = right - left
    parts = (left, begin, 3 * rise - 2 * begin - end, begin + end - 2 * rise)
    return parts[0].ravel(), parts[1].ravel(), parts[2].ravel(), parts[3].ravel()


@dataclass(frozen=True, eq=False)
class LogNormalFit:
    """Normal ln intensity of ``mean_ln`` (m,) and ``std_ln`` (m,)."""

    mean_ln: Values
    std_ln: Values

    def cdf(self, ln: Values) -> Values:
        """Probability (m, p) of being at or below ln intensity (m, p)."""
        return np.asarray(ndtr((ln - self.mean_ln[:, None]) / self.std_ln[:, None]))


def inverse_trigamma(value: Values) -> Values:
    """L with psi'(L) = value > 0, by Newton's method on 1 / psi', which is nearly straight.

    psi'(L) is near 1 / L + 1 / (2 L^2), which gives a start within 30 % for any L.
    """
    order = (1 + np.sqrt(1 + 2 * value)) / (2 * value)
    for _ in range(_NEWTON_STEPS):
        # psi' = zeta(2, .) and psi'' = -2 zeta(3, .), without what polygamma spends on any order.
        trigamma = zeta(2, order)
        order = order - trigamma * (1 - trigamma / value) / (2 * zeta(3, order))
    return np.asarray(order, dtype=np.float64)


def fit_gamma(cumulants: LogCumulants) -> GammaFit:
    """Gamma law with the areas' k1 and k2: psi'(L) = k2 (Nicolas 2002)."""
    looks = inverse_trigamma(cumulants.k2)
    return GammaFit(looks, np.exp(cumulants.k1 - psi(looks) + np.log(looks)))


def fit_log_normal(cumulants: LogCumulants) -> LogNormalFit:
    """Log-normal law with the areas' k1 and k2."""
    return LogNormalFit(cumulants.k1, np.sqrt(cumulants.k2))


def fit_k(cumulants: LogCumulants) -> KFit:
    """K law with the areas' k1, k2 and k3: psi'(L) + psi'(M) = k2, psi''(L) + psi''(M) = k3.

    With a = psi'(L) and g(psi'(x)) = psi''(x), g(a) + g(k2 - a) rises from g(k2), pure speckle, to
    2 g(k2 / 2), so one bisection finds a. Sample noise puts half of all pure speckle below that range; it
    gets texture inf.

    Source: Nicolas 2002, Traitement du Signal 19(3), log-cumulants of the K law.
    """
    k1, k2, k3 = cumulants.k1, cumulants.k2, cumulants.k3
    low, high = np.zeros_like(k2), k2 / 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        short = _tetragamma_of(middle) + _tetragamma_of(k2 - middle) < k3
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    pure = k3 <= polygamma(2, inverse_trigamma(k2))
    impossible = k3 > 2 * _tetragamma_of(k2 / 2)
    small = np.where(pure, k2 / 2, (low + high) / 2)
    looks = inverse_trigamma(np.where(pure, k2, small))
    texture = inverse_trigamma(k2 - small)
    log_mean = k1 - psi(looks) + np.log(looks)
    log_mean = np.where(pure, log_mean, log_mean - psi(texture) + np.log(texture))
    # The smaller trigamma belongs to the larger order, here called looks.
    texture = np.where(pure, np.inf, np.where(impossible, np.nan, texture))
    return KFit(np.where(impossible, np.nan, looks), texture, np.exp(np.where(impossible, np.nan, log_mean)))


def ks_distance(area: LnArea, law: GammaFit | KFit | LogNormalFit) -> Measure:
    """Kolmogorov-Smirnov distance of each area to its law, at 64 quantiles: max |F(q_p) - p|.

    At most 1/64 below the distance over all pixels. No p-value follows from it where the law was fitted to
    the same pixels; see :func:`gamma_p_value` for such.
    """
    difference = np.abs(law.cdf(area.quantiles(LEVELS)) - LEVELS).max(axis=1)
    return area.chips.measure(difference, np.isnan(difference), NOT_K)


def known_law_p_value(area: LnArea, law: GammaFit | KFit | LogNormalFit) -> Measure:
    """Kolmogorov's p-value for a law whose parameters come from other data (a reference set, theory).

    For independent pixels: thin correlated speckle first. Conservative, as the distance is taken at 64
    quantiles. Not valid for a law fitted to the same pixels, for which it is far too large.
    """
    distance = np.abs(law.cdf(area.quantiles(LEVELS)) - LEVELS).max(axis=1)
    n = area.count_px.astype(np.float64)
    # Stephens 1970: the factor that brings finite samples to the limiting law.
    p_value = kolmogorov(distance * (np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n)))
    return area.chips.measure(p_value, np.isnan(p_value), NOT_K)


def gamma_p_value(cumulants: LogCumulants, correlated_px: Values | float = 1.0) -> Measure:
    """p-value of fully developed speckle of any looks and mean, both unknown: is k3 what k2 asks for?

    Speckle has k3 = g(k2) with g(psi'(L)) = psi''(L). k3 - g(k2) over its standard error is standard normal
    for many independent pixels; two-sided. The error follows from the variances and covariance of the
    k-statistics (Kendall and Stuart 1958, chapter 12) with Gamma's own cumulants kappa_r = psi^(r-1)(L), so
    that fitting L on the same pixels is accounted for. Sees only
    skewness of ln intensity: other departures show in :func:`ks_distance`. The tail is long in small areas:
    of 1,024 px chips of pure speckle 1.2 % are below 0.01 and 0.2 to 0.4 % below 0.001, by simulation.

    Args:
        cumulants: of the areas.
        correlated_px: pixels that count as one, (m,) or for all: the sum of squared correlations over all
            lags is conservative, as k3 - g(k2) hardly sees the degree of ln I that correlates most.
    """
    n, looks = cumulants.area.count_px / correlated_px, inverse_trigamma(cumulants.k2)
    c2, c3, c4, c5, c6 = (polygamma(order, looks) for order in range(1, 6))
    slope = c4 / c3  # dg/dk2 = psi'''(L) / psi''(L)
    var_k2 = c4 + 2 * c2**2
    var_k3 = c6 + 9 * c4 * c2 + 9 * c3**2 + 6 * c2**3
    covariance = c5 + 6 * c3 * c2
    error = np.sqrt((var_k3 + slope**2 * var_k2 - 2 * slope * covariance) / n)
    return cumulants.area.chips.measure(erfc(np.abs(cumulants.k3 - c3) / error / np.sqrt(2)))


def wasserstein_ln(area: LnArea, target_quantiles: Values) -> Measure:
    """Wasserstein distance (order 1) of ln intensity to a pooled law, in nepers of intensity (4.34 dB).

    The area between the two quantile functions, by the trapezoid rule over ``QUANTILE_LEVELS``.

    Args:
        area: the chips' ln intensity.
        target_quantiles: (512,) from :func:`sarcurate.core.marginal.pooled_quantiles` of ln intensity.

    Raises:
        DataError: for quantiles at other levels.
    """
    if target_quantiles.shape != QUANTILE_LEVELS.shape:
        raise DataError(
            f"Wasserstein: target quantiles have shape {target_quantiles.shape}, "
            f"expected {QUANTILE_LEVELS.shape}",
            fix="take them from pooled_quantiles",
        )
    gap = np.abs(area.quantiles(QUANTILE_LEVELS) - target_quantiles)
    return area.chips.measure(np.trapezoid(gap, QUANTILE_LEVELS, axis=1))


@cache
def _texture_nodes() -> tuple[Values, Values]:
    nodes, weights = np.polynomial.legendre.leggauss(_TEXTURE_NODES)
    return nodes, weights


@cache
def _tetragamma_table() -> tuple[Values, Values]:
    """Ln psi'(x) and ln -psi''(x) for x from 1e8 down to 1e-3, rising."""
    order = np.geomspace(1e8, 1e-3, 32768)
    return np.log(polygamma(1, order)), np.log(-polygamma(2, order))


def _tetragamma_of(trigamma: Values) -> Values:
    """psi''(x) where psi'(x) is ``trigamma``; from a table, good to a relative 1e-7."""
    known, wanted = _tetragamma_table()
    return np.asarray(-np.exp(np.interp(np.log(np.maximum(trigamma, np.exp(known[0]))), known, wanted)))
