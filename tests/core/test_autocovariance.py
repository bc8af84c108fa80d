from __future__ import annotations

import numpy as np
import pytest

from sarcurate.core.autocovariance import autocovariance, band_limited_autocovariance
from sarcurate.core.impulse_response import Weighting, spectral_weights
from sarcurate.core.speckle import correlated_speckle
from sarcurate.errors import DataError


def white(n: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).gamma(3, 1 / 3, (n, size, size))


def plain(chip: np.ndarray, mask: np.ndarray, lag: int) -> float:
    """Along the rows' axis, one pair after another."""
    mean, variance = chip[mask].mean(), chip[mask].var()
    products = [
        (chip[r, c] - mean) * (chip[r + lag, c] - mean)
        for r in range(chip.shape[0] - lag)
        for c in range(chip.shape[1])
        if mask[r, c] and mask[r + lag, c]
    ]
    return float(np.mean(products) / variance)


@pytest.mark.parametrize("masked", [False, True])
def test_lags_are_those_of_a_plain_loop(masked: bool) -> None:
    chips = np.random.default_rng(1).gamma(2, 1, (3, 20, 17))
    mask = np.ones(chips.shape, bool)
    if masked:
        mask = np.random.default_rng(2).random(chips.shape) < 0.7
    got = autocovariance(chips, mask if masked else None)
    for index in range(3):
        for lag in range(5):
            azimuth, range_ = (measure.values[index] for measure in got.at_lag(lag))
            assert azimuth == pytest.approx(plain(chips[index], mask[index], lag), abs=1e-9)
            assert range_ == pytest.approx(plain(chips[index].T, mask[index].T, lag), abs=1e-9)


def test_theory_without_weighting_is_sinc_squared() -> None:
    lags = np.arange(5)
    for share in (0.3, 0.7, 1.0):
        theory = band_limited_autocovariance(share, Weighting.NONE)
        np.testing.assert_allclose(theory, np.sinc(share * lags) ** 2, atol=1e-12)


@pytest.mark.parametrize("weighting", list(Weighting))
def test_speckle_has_the_autocovariance_of_theory_in_each_axis(weighting: Weighting) -> None:
    widths = {Weighting.NONE: 0.886, Weighting.HAMMING: 1.303, Weighting.TAYLOR: 1.14}
    azimuth, range_ = (spectral_weights(128, 1.0, widths[weighting] / band, weighting) for band in (0.5, 0.8))
    rng = np.random.default_rng(3)
    chips = [correlated_speckle((128, 128), 3, np.outer(azimuth, range_), rng) for _ in range(40)]
    got = autocovariance(np.stack(chips))
    np.testing.assert_allclose(
        got.azimuth.mean(axis=0), band_limited_autocovariance(0.5, weighting), atol=0.02
    )
    np.testing.assert_allclose(
        got.range_.mean(axis=0), band_limited_autocovariance(0.8, weighting), atol=0.02
    )
    gaps = got.distances(*(band_limited_autocovariance(band, weighting) for band in (0.5, 0.8)))
    swapped = got.distances(*(band_limited_autocovariance(band, weighting) for band in (0.8, 0.5)))
    assert all(np.median(g.values) < 0.05 < np.median(s.values) for g, s in zip(gaps, swapped, strict=True))


def test_half_width_of_white_and_of_band_limited_speckle() -> None:
    for measure in autocovariance(white(20)).half_widths_px():
        # From 1 at lag 0 to 0 at lag 1: half way.
        np.testing.assert_allclose(measure.values, 0.5, atol=0.03)
    got = autocovariance(white(1))
    line = np.array([[1, 0.9, 0.6, 0.3, 0.0]])
    narrow = np.array([[1, 0.4, 0.6, 0.3, 0.0]])
    azimuth, range_ = type(got)(line, narrow, got.chips).half_widths_px()
    assert azimuth.values[0] == pytest.approx(2 + 1 / 3)
    assert range_.values[0] == pytest.approx(0.5 / 0.6)


def test_chips_without_correlation_say_why() -> None:
    chips = white(6)
    mask = np.ones(chips.shape, bool)
    chips[0, 1, 1] = np.inf
    chips[1] = 1.0
    mask[2, 7:] = False
    mask[2, :, 7:] = False
    mask[3, 3:] = False  # long but thinner than the largest lag
    chips[4, :32] = 2.0
    mask[4, 32:] = False
    chips[5] = np.linspace(1, 2, 64)[:, None]
    got = autocovariance(chips, mask)
    azimuth, range_ = got.half_widths_px()
    assert list(azimuth.reasons) == [
        "non-finite pixels",
        "constant chip",
        "area below 64 px or too thin",
        "area below 64 px or too thin",
        "constant area",
        "correlation above 0.5 up to 4 px",
    ]
    assert list(range_.reasons) == list(azimuth.reasons)
    assert got.at_lag(1)[0].reasons[5] == ""
    assert set(autocovariance(white(2, 8)).half_widths_px()[0].reasons) == {"smaller than 16 px"}
    assert (
        autocovariance(np.zeros((2, 64, 64)), np.zeros((2, 64, 64), bool)).at_lag(1)[0].column() == [None] * 2
    )


@pytest.mark.parametrize("gain", [1e-200, 3.0, 1e200])
def test_gain_does_not_matter(gain: float) -> None:
    one, two = autocovariance(white(2)), autocovariance(gain * white(2))
    np.testing.assert_allclose(one.azimuth, two.azimuth, atol=1e-12)


def test_unfit_arguments_are_refused() -> None:
    with pytest.raises(DataError, match="the mask has shape"):
        autocovariance(white(2), np.ones((2, 8, 8), bool))
    for band in (0.0, 1.1, np.nan):
        with pytest.raises(DataError, match="the band is"):
            band_limited_autocovariance(band, Weighting.NONE)
