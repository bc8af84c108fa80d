from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma

from sarcurate.core.enl import EnlMethod, EnlResult, _degrees, enl, inverse_trigamma
from sarcurate.core.homogeneous import homogeneous_areas
from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.core.speckle import correlated_speckle

METHODS = list(EnlMethod)


def white(n: int, px: int, looks: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(looks, 1 / looks, (n, px, px)).astype(np.float32)


def banded(n: int, px: int, looks: int, band: float) -> np.ndarray:
    inside = (np.abs(np.fft.fftfreq(px)) < band / 2).astype(float)
    rng = np.random.default_rng(2)
    return np.stack([correlated_speckle((px, px), looks, np.outer(inside, inside), rng) for _ in range(n)])


def measured(chips: np.ndarray, method: EnlMethod, domain: Radiometry = Radiometry.INTENSITY) -> EnlResult:
    return enl(homogeneous_areas(chips, domain), method)


def assert_honest(result: EnlResult, looks: float) -> None:
    """Mean within 2 % and its own error, standard error as large as the scatter, intervals that cover."""
    values, n = result.enl.values, len(result.enl.values)
    assert (result.enl.reasons == "").mean() > 0.98
    there = np.isfinite(values)
    scatter = values[there].std()
    assert abs(values[there].mean() - looks) < 0.02 * looks + 3 * scatter / np.sqrt(n)
    assert np.mean(result.stderr.values[there]) == pytest.approx(scatter, rel=0.15)
    covered = (result.low.values <= looks) & (looks <= result.high.values)
    # 400 draws at 95 % scatter by 1.1 points.
    assert 0.915 < covered[there].mean() < 0.985


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("px", "looks"), [(16, 1), (16, 4), (48, 1), (48, 2.5)])
def test_white_speckle_has_its_looks(method: EnlMethod, px: int, looks: float) -> None:
    assert_honest(measured(white(400, px, looks, seed=3), method), looks)


@pytest.fixture(scope="module", params=[(0.6, 1), (0.75, 3)], ids=str)
def correlated(request: pytest.FixtureRequest) -> tuple[np.ndarray, int]:
    band, looks = request.param
    return banded(400, 32, looks, band), looks


@pytest.mark.parametrize("method", METHODS)
def test_correlated_speckle_has_its_looks(method: EnlMethod, correlated: tuple[np.ndarray, int]) -> None:
    chips, looks = correlated
    assert_honest(measured(chips, method), looks)


@pytest.mark.parametrize("method", METHODS)
def test_a_scatterer_and_a_step_do_not_change_the_looks(method: EnlMethod) -> None:
    chips = white(300, 64, 3)
    chips[:, 20, 20] = 30
    chips[:, :, 40:] *= 2
    values = measured(chips, method).enl.values
    # The plain ratio over the whole chip reads 1.7 here.
    assert (chips.mean((1, 2)) ** 2 / chips.var((1, 2))).mean() < 2
    assert values.mean() == pytest.approx(3, rel=0.03)


def test_one_scatterer_in_16_px_does_not_count() -> None:
    chips = white(400, 16, 3)
    chips[:, 5, 9] = 30
    assert np.nanmean(measured(chips, EnlMethod.HARMONIC).enl.values) == pytest.approx(3, rel=0.05)


def test_amplitude_squared_back_has_the_looks_of_intensity() -> None:
    amplitude = np.sqrt(white(100, 32, 3))
    intensity = to_intensity(amplitude, Radiometry.AMPLITUDE)
    assert measured(intensity, EnlMethod.HARMONIC).enl.values.mean() == pytest.approx(3, rel=0.03)


def test_the_declared_domain_and_method_stay_with_the_numbers() -> None:
    result = measured(white(2, 32, 3), EnlMethod.MEDIAN, Radiometry.UINT8_RELATIVE)
    assert (result.domain, result.method) == (Radiometry.UINT8_RELATIVE, EnlMethod.MEDIAN)
    assert result.domain.is_relative


@pytest.mark.parametrize("method", METHODS)
def test_a_chip_without_an_area_keeps_its_reason_in_every_number(method: EnlMethod) -> None:
    chips = white(4, 32, 3)
    chips[1], chips[3] = 0, 5
    result = measured(chips, method)
    for number in (result.enl, result.stderr, result.low, result.high):
        assert list(number.reasons) == ["", "all zero", "", "constant"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(2, 8, 8), (0, 32, 32)])
def test_too_small_chips_and_no_chips_have_an_answer(method: EnlMethod, shape: tuple[int, ...]) -> None:
    result = measured(np.ones(shape, dtype=np.float32), method)
    assert list(result.enl.reasons) == ["too small: below 16 px"] * shape[0]


def test_nearly_flat_chips_have_many_looks() -> None:
    values = measured(white(50, 32, 2000).astype(np.float64), EnlMethod.HARMONIC).enl.values
    assert values.mean() == pytest.approx(2000, rel=0.05)


def test_a_smaller_chip_has_the_larger_error() -> None:
    small, large = (measured(white(20, px, 3), EnlMethod.HARMONIC).stderr.values for px in (16, 128))
    # Errors go with the root of the number of pixels, and overlapping windows use 0.81 and 0.97 of them.
    assert small.mean() / large.mean() == pytest.approx(8 * np.sqrt(0.97 / 0.81), rel=0.1)


def test_laguerre_terms_sum_to_the_known_variances_where_nothing_correlates() -> None:
    looks, none = np.array([1.0, 3.0, 8.0]), np.zeros((2, 3, 3))
    full = polygamma(1, looks) - 1 / looks
    got = _degrees(looks, none, lambda k: np.full(3, 1 / k**2), full)
    np.testing.assert_allclose(got, full)


def test_fully_correlated_lines_multiply_the_variance_of_every_degree() -> None:
    looks, same = np.array([1.0]), np.ones((2, 3, 1))
    full = polygamma(1, looks) - 1 / looks
    got = _degrees(looks, same, lambda k: np.full(1, 1 / k**2), full)
    followed = sum(1 / k**2 for k in range(2, 7))  # one look: all norms are 1
    np.testing.assert_allclose(got, followed * 49 + (full - followed))


def test_trigamma_is_inverted() -> None:
    looks = np.geomspace(0.3, 1e4, 50)
    np.testing.assert_allclose(inverse_trigamma(polygamma(1, looks)), looks, rtol=1e-8)


def test_few_pixels_do_not_raise_the_looks() -> None:
    # 1 / mean(CV^2) of one look in 16 px reads 2 % high; 2,000 draws see that to 0.3 %.
    values = measured(white(2000, 16, 1, seed=5), EnlMethod.HARMONIC).enl.values
    assert np.nanmean(values) == pytest.approx(1, abs=0.012)


def test_correlation_enlarges_the_error_by_the_sum_of_its_squares() -> None:
    result = measured(banded(20, 64, 2, 0.6), EnlMethod.HARMONIC)
    share = (np.abs(np.fft.fftfreq(64)) < 0.3).mean()
    along = np.sum(np.sinc(share * np.arange(-20, 21)) ** 4)
    expected = np.sqrt(2 * (1 + 1 / 2) * along**2 / (64**2 * 0.97**2))
    np.testing.assert_allclose(np.mean(result.stderr.values / result.enl.values), expected, rtol=0.04)
