from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sarcurate.core.speckle import (
    add_noise,
    correlated_speckle,
    gamma_speckle,
    looks_to_add,
    speckle_band,
    window_enl,
    window_levels,
)
from sarcurate.errors import DataError


def band(n: int, share: float) -> np.ndarray:
    """A square band filling ``share`` of the sampling rate of both axes."""
    inside = (np.abs(np.fft.fftfreq(n)) <= share / 2).astype(float)
    return np.outer(inside, inside)


@pytest.mark.parametrize("looks", [1, 2, 3, 4, 2.7])
def test_gamma_speckle_has_its_moments(looks: float) -> None:
    draws = gamma_speckle((300, 300), looks, np.random.default_rng(0))
    assert draws.mean() == pytest.approx(1, abs=4 / np.sqrt(looks * draws.size))
    assert 1 / draws.var() == pytest.approx(looks, rel=0.04)


@pytest.mark.parametrize("looks", [0.6, 1, 2.5, 4, 40.0])
def test_correlated_speckle_is_gamma(looks: float) -> None:
    rng = np.random.default_rng(1)
    draws = [correlated_speckle((64, 64), looks, band(64, 0.5), rng) for _ in range(20)]
    # Every fourth pixel of a band filling half the rate is nearly independent.
    thin = np.concatenate([draw[::4, ::4].ravel() for draw in draws])
    assert stats.kstest(thin, stats.gamma(looks, scale=1 / looks).cdf).pvalue > 0.001
    assert stats.kstest(thin, stats.gamma(looks * 1.3, scale=1 / looks / 1.3).cdf).pvalue < 0.001


@pytest.mark.parametrize("looks", [1, 3])
def test_correlation_is_that_of_the_band(looks: int) -> None:
    # Intensity correlation at one pixel: sinc(b)^2, for any number of looks.
    rng = np.random.default_rng(2)
    draws = np.stack([correlated_speckle((64, 64), looks, band(64, 0.5), rng) for _ in range(60)]) - 1
    measured = (draws[:, 1:] * draws[:, :-1]).mean() / (draws**2).mean()
    share = np.count_nonzero(np.abs(np.fft.fftfreq(64)) <= 0.25) / 64
    assert measured == pytest.approx(np.sinc(share) ** 2, abs=0.03)


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_window_enl_ladder(looks: int) -> None:
    rng = np.random.default_rng(looks)
    chips = [gamma_speckle((64, 48), looks, rng) for _ in range(60)]
    # Delta method for Gamma(L): var(CV^2) = (2 + 2/L) / (n L^2), with 0.3 * 60 * 48 windows of n = 32 pixels.
    error = math.sqrt((2 + 2 / looks) / 32 / (0.3 * 60 * 48))
    assert window_enl(chips) == pytest.approx(looks, rel=3 * error)


def test_window_enl_looks_past_edges_and_targets() -> None:
    rng = np.random.default_rng(3)
    chips = [gamma_speckle((64, 64), 3, rng) for _ in range(40)]
    for chip in chips:
        chip[20:36, 20:36] *= 30 * gamma_speckle((16, 16), 0.3, rng)
        chip[:, 51:] *= 4
    whole = np.mean([chip.mean() ** 2 / chip.var() for chip in chips])
    assert whole < 0.5
    assert window_enl(chips) == pytest.approx(3, rel=0.08)


@pytest.mark.parametrize("share", [0.5, 0.625, 0.75])
def test_speckle_band_is_found(share: float) -> None:
    rng = np.random.default_rng(4)
    chips = [correlated_speckle((64, 64), 1, band(64, share), rng) for _ in range(60)]
    filled = np.count_nonzero(np.abs(np.fft.fftfreq(64)) <= share / 2) / 64
    np.testing.assert_allclose(speckle_band(chips), filled, atol=0.05)


@pytest.mark.parametrize(("present", "wanted"), [(9.0, 1.0), (4.0, 3.0), (30.0, 2.0)])
def test_product_of_speckles_has_the_wanted_looks(present: float, wanted: float) -> None:
    rng = np.random.default_rng(5)
    added = looks_to_add(present, wanted)
    product = gamma_speckle((700, 700), present, rng) * gamma_speckle((700, 700), added, rng)
    assert 1 / product.var() == pytest.approx(wanted, rel=0.03)


def test_nothing_to_add_where_speckled_enough() -> None:
    assert math.isinf(looks_to_add(2.0, 2.0))
    assert math.isinf(looks_to_add(1.0, 4.0))


@pytest.mark.parametrize("looks", [1, 4])
def test_noise_adds_its_mean_and_is_speckle_where_nothing_is(looks: int) -> None:
    rng = np.random.default_rng(6)
    dark = add_noise(np.zeros((400, 400)), 0.5, looks, np.ones((400, 400)), rng)
    assert dark.mean() == pytest.approx(0.5, rel=0.02)
    assert dark.mean() ** 2 / dark.var() == pytest.approx(looks, rel=0.03)
    bright = add_noise(np.full((400, 400), 100.0), 0.5, looks, np.ones((400, 400)), rng)
    assert bright.mean() == pytest.approx(100.5, abs=0.15)
    # Cross term: variance 2 I N / looks.
    assert bright.var() == pytest.approx((2 * 100 * 0.5 + 0.25) / looks, rel=0.03)


def test_window_levels() -> None:
    chip = np.ones((8, 80))
    chip[:, :8] = 0.01
    dark, median = window_levels([chip], 8, 0.0)
    assert (dark, median) == (pytest.approx(0.01), pytest.approx(1.0))


def test_same_seed_same_bytes() -> None:
    one, two = (correlated_speckle((16, 24), 1.7, np.ones((16, 24)), np.random.default_rng(9)) for _ in "ab")
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    ("chips", "message"),
    [
        ([], "none of 0 chips"),
        ([np.ones((7, 50))], "none of 1 chips"),
        ([np.zeros((16, 16))], "none of 1 chips"),
        ([np.ones((16, 16))], "constant"),
    ],
)
def test_unfit_chips_are_refused(chips: list[np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        window_enl(chips)


def test_unfit_arguments_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="looks is 0"):
        gamma_speckle((4, 4), 0, rng)
    with pytest.raises(DataError, match="transfer function of shape"):
        correlated_speckle((4, 4), 1, np.ones((4, 5)), rng)
    with pytest.raises(DataError, match="power 0"):
        correlated_speckle((4, 4), 1, np.zeros((4, 4)), rng)
    with pytest.raises(DataError, match="window_px is 7"):
        window_enl([np.ones((16, 16))], window_px=7)
    with pytest.raises(DataError, match="noise"):
        add_noise(np.ones((4, 4)), -1.0, 1, np.ones((4, 4)), rng)
