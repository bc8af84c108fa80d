from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.grid import SensorGrid, resample_intensity
from sarcurate.errors import DataError

FINE = SensorGrid(1.0, 1.0, 1.0, 1.0)
COARSE = SensorGrid(2.0, 2.0, 3.0, 3.0)


def centres_m(n: int, spacing_m: float) -> np.ndarray:
    """Pixel centres in metres from the chip's centre."""
    return (np.arange(n) - (n - 1) / 2) * spacing_m


def test_same_grid_is_identity() -> None:
    chip = np.random.default_rng(0).exponential(size=(20, 31)).astype(np.float32)
    np.testing.assert_array_equal(resample_intensity(chip, FINE, FINE), chip)


def test_block_mean_where_the_new_pixel_is_the_new_resolution() -> None:
    # sqrt((k^2 - 1) 8 ln 2 / 12) px of resolution are the variance of the k-pixel mean: no Gaussian is left.
    k, rho = 3, np.sqrt(1 + 8 * np.log(2) * (9 - 1) / 12)
    chip = np.random.default_rng(1).exponential(size=(12, 18)).astype(np.float32)
    plain = chip.reshape(4, k, 6, k).mean(axis=(1, 3))
    new = resample_intensity(chip, FINE, SensorGrid(3.0, 3.0, rho, rho))
    np.testing.assert_allclose(new, plain, rtol=1e-5)


@given(
    rows=st.integers(4, 40),
    cols=st.integers(4, 40),
    factor=st.sampled_from([0.25, 0.5, 1.0]),
    resolution=st.floats(0.5, 6.0),
    seed=st.integers(0, 99),
)
def test_mean_is_kept_and_nothing_is_negative(
    rows: int, cols: int, factor: float, resolution: float, seed: int
) -> None:
    chip = np.random.default_rng(seed).exponential(size=(rows, cols))
    new = resample_intensity(chip, FINE, SensorGrid(factor, factor, resolution, resolution))
    assert new.shape == (round(rows / factor), round(cols / factor))
    assert new.min() >= 0
    assert new.mean() == pytest.approx(chip.mean(), rel=1e-5)


@given(spacing=st.floats(0.4, 5.0), n=st.integers(16, 70))
def test_footprint_and_constant(spacing: float, n: int) -> None:
    new = resample_intensity(np.full((n, n), 7.0), FINE, SensorGrid(spacing, spacing, 3.0, 3.0))
    assert new.shape == (round(n / spacing),) * 2
    np.testing.assert_allclose(new, 7.0, rtol=1e-6)


@pytest.mark.parametrize(("row", "col"), [(20, 30), (31, 17), (40, 40)])
@pytest.mark.parametrize("spacing_m", [2.0, 1.7, 0.8])
def test_point_target_stays_at_its_place_in_metres(row: int, col: int, spacing_m: float) -> None:
    chip = np.zeros((60, 61))
    chip[row, col] = 1.0
    new = resample_intensity(chip, FINE, SensorGrid(spacing_m, spacing_m, 4.0, 4.0)).astype(float)
    place = [(new.sum(axis=1 - axis) @ centres_m(new.shape[axis], spacing_m)) / new.sum() for axis in (0, 1)]
    expected = [centres_m(60, 1.0)[row], centres_m(61, 1.0)[col]]
    np.testing.assert_allclose(place, expected, atol=0.05)


def test_point_response_has_the_target_resolution() -> None:
    # A point of the source, a Gaussian of 1.5 m, must become one of 4 m: variances are additive.
    fine, coarse = SensorGrid(0.5, 0.5, 1.5, 1.5), SensorGrid(1.0, 1.0, 4.0, 4.0)
    x = centres_m(121, 0.5)
    point = np.exp(-4 * np.log(2) * x**2 / 1.5**2)
    new = resample_intensity(np.outer(point, point), fine, coarse).astype(float)
    y, profile = centres_m(new.shape[0], 1.0), new.sum(axis=1)
    variance = (profile @ y**2) / profile.sum()
    assert np.sqrt(8 * np.log(2) * variance) == pytest.approx(4.0, rel=0.02)


def test_what_the_new_spacing_cannot_carry_is_gone() -> None:
    # 0.4 cycles/m would come back at 0.1 cycles/m on 2 m pixels.
    wave = 1 + np.cos(2 * np.pi * 0.4 * np.arange(120))
    new = resample_intensity(np.outer(wave, np.ones(40)), FINE, COARSE)
    # Gaussian of (9 - 1)/(8 ln 2) - 3/12 m^2 times the two-pixel mean, at 0.4 cycles/m.
    variance = 8 / (8 * np.log(2)) - 3 / 12
    left = np.exp(-2 * np.pi**2 * variance * 0.4**2) * np.cos(np.pi * 0.4)
    assert left < 0.01
    assert np.abs(new[5:-5] - 1).max() == pytest.approx(left, rel=0.2)


def test_resolution_is_never_sharpened() -> None:
    chip = np.random.default_rng(2).exponential(size=(16, 16)).astype(np.float32)
    np.testing.assert_array_equal(resample_intensity(chip, FINE, SensorGrid(1.0, 1.0, 0.5, 0.5)), chip)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_lengths_are_named(bad: float) -> None:
    with pytest.raises(DataError, match="range_spacing_m is"):
        SensorGrid(1.0, bad, 1.0, 1.0)


def test_too_small_a_footprint_and_wrong_shape() -> None:
    with pytest.raises(DataError, match=r"0\.40 px of the new grid"):
        resample_intensity(np.ones((4, 40)), FINE, SensorGrid(10.0, 1.0, 10.0, 1.0))
    with pytest.raises(DataError, match="2-D"):
        resample_intensity(np.ones((4, 4, 2)), FINE, COARSE)
