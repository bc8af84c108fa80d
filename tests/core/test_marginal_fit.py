from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import gammainc, kve, loggamma, polygamma

from sarcurate.core import marginal_fit
from sarcurate.core.log_cumulants import LnArea, LogCumulants, ln_area, log_cumulants
from sarcurate.core.marginal import QUANTILE_LEVELS, pooled_quantiles
from sarcurate.core.marginal_fit import (
    LEVELS,
    GammaFit,
    KFit,
    LogNormalFit,
    fit_gamma,
    fit_k,
    fit_log_normal,
    gamma_p_value,
    inverse_trigamma,
    known_law_p_value,
    ks_distance,
    wasserstein_ln,
)
from sarcurate.errors import DataError


def speckle(looks: float, n: int, size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(looks, 1 / looks, (n, size, size))


def given_cumulants(k1: float, k2: float, k3: float, area: LnArea) -> LogCumulants:
    return LogCumulants(*(np.full(len(area.ln), k) for k in (k1, k2, k3)), area)


def k_density(intensity: float, looks: float, texture: float) -> float:
    """Jakeman and Pusey's K law of mean 1, written out."""
    z = looks * texture * intensity
    ln = (looks + texture) / 2 * np.log(looks * texture) - loggamma(looks) - loggamma(texture)
    ln += (looks + texture - 2) / 2 * np.log(intensity) - 2 * np.sqrt(z)
    return float(2 * np.exp(ln) * kve(texture - looks, 2 * np.sqrt(z)))


def test_inverse_trigamma_inverts() -> None:
    orders = np.geomspace(1e-3, 1e6, 200)
    np.testing.assert_allclose(inverse_trigamma(polygamma(1, orders)), orders, rtol=1e-8)


@pytest.mark.parametrize("looks", [1, 3, 20])
def test_gamma_fit_finds_looks_and_mean(looks: int) -> None:
    fit = fit_gamma(log_cumulants(ln_area(7 * speckle(looks, 100))))
    assert abs(fit.looks.mean() - looks) < 4 * fit.looks.std() / 10
    assert fit.mean.mean() == pytest.approx(7, rel=0.005)


@pytest.mark.parametrize(("looks", "texture"), [(3, 1.5), (16, 4), (4, 3.5)])
def test_k_fit_finds_the_law_of_exact_cumulants(looks: float, texture: float) -> None:
    area = ln_area(speckle(3, 1))
    k1 = np.log(2.0) + sum(polygamma(0, x) - np.log(x) for x in (looks, texture))
    exact = given_cumulants(
        k1,
        polygamma(1, looks) + polygamma(1, texture),
        polygamma(2, looks) + polygamma(2, texture),
        area,
    )
    fit = fit_k(exact)
    assert (fit.looks[0], fit.texture[0]) == (
        pytest.approx(looks, rel=1e-3),
        pytest.approx(texture, rel=1e-3),
    )
    assert fit.mean[0] == pytest.approx(2.0, rel=1e-5)


def test_k_cdf_is_the_integral_of_its_density() -> None:
    law = KFit(np.array([4.0]), np.array([1.5]), np.array([1.0]))
    points = np.array([0.05, 0.4, 1.0, 3.0])
    plain = [integrate.quad(k_density, 0, x, args=(4.0, 1.5))[0] for x in points]
    np.testing.assert_allclose(law.cdf(np.log(points)[None])[0], plain, atol=3e-4)


def test_k_of_pure_speckle_and_of_no_k_law() -> None:
    area = ln_area(speckle(3, 1))
    pure = fit_k(given_cumulants(0.0, polygamma(1, 3), polygamma(2, 3) * 1.01, area))
    assert np.isinf(pure.texture[0])
    assert pure.looks[0] == pytest.approx(3)
    gamma = fit_gamma(given_cumulants(0.0, polygamma(1, 3), 0.0, area))
    points = np.linspace(-2, 2, 9)[None]
    np.testing.assert_allclose(pure.cdf(points), gamma.cdf(points), atol=1e-9)
    none = fit_k(given_cumulants(0.0, 0.4, 0.0, area))
    assert list(ks_distance(area, none).reasons) == ["ln intensity is less skewed than any K law"]
    assert list(known_law_p_value(area, none).reasons) == ["ln intensity is less skewed than any K law"]


def test_distances_are_those_of_a_plain_loop_and_near_the_full_one() -> None:
    np.testing.assert_allclose(LEVELS, np.arange(1, 128, 2) / 128)
    chips = speckle(3, 5, 32)
    area = ln_area(chips)
    fit, normal = fit_gamma(log_cumulants(area)), fit_log_normal(log_cumulants(area))
    distances, normals = ks_distance(area, fit).values, ks_distance(area, normal).values
    for index, chip in enumerate(chips):
        law = stats.gamma(fit.looks[index], scale=fit.mean[index] / fit.looks[index])
        plain = np.abs(law.cdf(np.exp(np.quantile(np.log(chip), LEVELS))) - LEVELS).max()
        assert distances[index] == pytest.approx(plain, abs=1e-9)
        full = stats.kstest(chip.ravel(), law.cdf).statistic
        assert full - 1 / 64 <= distances[index] <= full
        assert normals[index] > distances[index]


def test_each_law_fits_its_own_draws_best() -> None:
    rng = np.random.default_rng(5)
    texture = rng.gamma(1.2, 1 / 1.2, (10, 64, 64))
    draws = {
        "gamma": speckle(2, 10),
        "k": texture * speckle(4, 10, seed=6),
        "normal": np.exp(rng.normal(0, 1, (10, 64, 64))),
    }
    for name, chips in draws.items():
        area = ln_area(chips)
        cumulants = log_cumulants(area)
        laws = {"gamma": fit_gamma(cumulants), "normal": fit_log_normal(cumulants)}
        if name == "k":
            laws["k"] = fit_k(cumulants)
        mean = {law: ks_distance(area, fit).values.mean() for law, fit in laws.items()}
        assert min(mean, key=lambda law: mean[law]) == name
        assert mean[name] < 0.02


def test_gamma_p_value_is_uniform_for_speckle_whose_looks_are_fitted() -> None:
    for looks in (1, 3, 10):
        p_values = gamma_p_value(log_cumulants(ln_area(speckle(looks, 600, seed=looks)))).values
        # Binomial: 600 at 5 % is 30 +- 5.3.
        assert 14 <= np.count_nonzero(p_values < 0.05) <= 46
        assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_gaussian_noise_of_three_looks_fails_and_gamma_passes() -> None:
    rng = np.random.default_rng(0)
    gaussian = rng.normal(1, np.sqrt(1 / 3), (20, 64, 64))
    assert set(ln_area(gaussian).chips.reasons) == {"negative intensity"}
    for held in (np.abs(gaussian), np.maximum(gaussian, 0.01)):
        area = ln_area(held)
        assert gamma_p_value(log_cumulants(area)).values.max() < 1e-6
        assert known_law_p_value(area, GammaFit(np.full(20, 3.0), np.ones(20))).values.max() < 1e-6
    area = ln_area(speckle(3, 20))
    assert np.median(gamma_p_value(log_cumulants(area)).values) > 0.2
    assert known_law_p_value(area, GammaFit(np.full(20, 3.0), np.ones(20))).values.min() > 0.01 / 20


def test_known_law_p_value_is_kolmogorov_s() -> None:
    area = ln_area(speckle(3, 400, 32, seed=3))
    p_values = known_law_p_value(area, GammaFit(np.full(400, 3.0), np.ones(400))).values
    assert np.count_nonzero(p_values < 0.05) <= 36  # 20 +- 4.4, conservative
    assert np.count_nonzero(p_values < 0.5) > 120
    wrong = known_law_p_value(area, GammaFit(np.full(400, 5.0), np.ones(400))).values
    assert np.median(wrong) < 1e-4


def test_wasserstein_of_a_gain_is_its_logarithm() -> None:
    chips = speckle(3, 4)
    target = pooled_quantiles([np.log(chips[0])])
    distance = wasserstein_ln(ln_area(np.stack([chips[0], 2 * chips[0], chips[1]])), target).values
    np.testing.assert_allclose(distance[:2], [0, np.log(2)], atol=1e-4)
    plain = stats.wasserstein_distance(np.log(chips[1]).ravel(), np.log(chips[0]).ravel())
    assert distance[2] == pytest.approx(plain, abs=5e-4)
    with pytest.raises(DataError, match="target quantiles have shape"):
        wasserstein_ln(ln_area(chips), QUANTILE_LEVELS[1:])


def test_no_fit_chip_gives_reasons_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        area = ln_area(np.zeros((2, 16, 16)))
        cumulants = log_cumulants(area)
        for law in (fit_gamma(cumulants), fit_k(cumulants), fit_log_normal(cumulants)):
            assert isinstance(law, (GammaFit, KFit, LogNormalFit))
            assert list(ks_distance(area, law).reasons) == ["constant chip"] * 2
        assert gamma_p_value(cumulants).column() == [None, None]


@pytest.mark.parametrize("looks", [0.3, 0.99, 1.0, 1.3, 4.0, 60.0, 1e4, 1e5])
def test_the_gamma_law_from_a_table_is_that_of_scipy(looks: float) -> None:
    ratio = np.concatenate([[1e-12], 1 + np.linspace(-8, 12, 4001) / np.sqrt(looks)])
    roots = np.cbrt(np.maximum(ratio, 1e-12))
    found = marginal_fit._speckle_cdf(np.array([2.0, looks]), np.stack([roots, roots])[:, None])
    np.testing.assert_allclose(found[1, 0], gammainc(looks, looks * roots**3), rtol=0, atol=1e-7)
    np.testing.assert_allclose(found[0, 0], gammainc(2, 2 * roots**3), rtol=0, atol=1e-7)
