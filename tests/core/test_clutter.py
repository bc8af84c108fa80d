from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sarcurate.core.clutter import equivalent_looks, gamma_texture, texture_variance_seen
from sarcurate.errors import ParamsError


@pytest.mark.parametrize("order", [0.5, 3.0, 7.5])
def test_texture_is_gamma_distributed(order):
    rng = np.random.default_rng(5)
    # Samples four correlation lengths apart are independent (rho^2 = exp(-32)).
    samples = np.concatenate([gamma_texture((80, 80), (8.0, 8.0), order, 2.0, rng).ravel() for _ in range(2)])
    assert stats.kstest(samples, stats.gamma(order, scale=1.0 / order).cdf).pvalue > 1e-3


def test_texture_correlation_falls_as_stated():
    rng = np.random.default_rng(6)
    fields = np.stack([gamma_texture((24, 24), (1.0, 2.0), 2.0, 6.0, rng) for _ in range(4000)])
    centre = fields[:, 12, 12] - 1.0
    for row, col, distance_m in ((12, 12, 0.0), (15, 12, 3.0), (12, 14, 4.0)):
        products = centre * (fields[:, row, col] - 1.0)
        expected = np.exp(-2.0 * (distance_m / 6.0) ** 2) / 2.0
        assert products.mean() == pytest.approx(expected, abs=4.0 * products.std() / np.sqrt(len(products)))


def test_infinite_order_is_uniform():
    assert (gamma_texture((3, 4), (1.0, 1.0), np.inf, 8.0, np.random.default_rng(0)) == 1.0).all()


@pytest.mark.parametrize("order", [0.0, -1.0, 2.3])
def test_order_must_be_a_multiple_of_one_half(order):
    with pytest.raises(ParamsError, match=r"positive multiple of 0\.5"):
        gamma_texture((3, 4), (1.0, 1.0), order, 8.0, np.random.default_rng(0))


def test_equivalent_looks_in_its_limits():
    assert equivalent_looks(3, 1.0, 0.1, 0.0) == pytest.approx(3.0)
    # K distributed intensity of one look and order nu: E[I^2] = 2 (1 + 1/nu) (Jakeman and Pusey 1976).
    assert equivalent_looks(1, 1.0, 0.0, 1 / 4.0) == pytest.approx(1.0 / (2 * 1.25 - 1))
    assert equivalent_looks(1, 1e-9, 1.0, 0.5) == pytest.approx(1.0)


def test_a_sharp_response_keeps_the_texture_and_a_wide_one_averages_it():
    sharp, flat = np.eye(1, 64)[0], np.ones(64)
    assert texture_variance_seen(sharp, sharp, (1.0, 1.0), 4.0, 8.0) == pytest.approx(0.25)
    lag = np.minimum(np.arange(64), 64 - np.arange(64))
    kept = np.mean(np.exp(-2 * (lag / 8.0) ** 2))
    assert texture_variance_seen(flat, sharp, (1.0, 1.0), 4.0, 8.0) == pytest.approx(0.25 * kept)
