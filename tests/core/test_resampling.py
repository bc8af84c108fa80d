from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import zoom

from sarcurate.core.resampling import (
    LEAST_BAND_COMPLEX,
    LEAST_BAND_DETECTED,
    BandLimits,
    band_limits,
    occupied_band,
    repeated_lines,
)


def field(seed: int, rows_share: float, cols_share: float, size: int = 64) -> np.ndarray:
    """Circular Gaussian samples whose spectrum fills a rectangle of the band, around its centre."""
    rng = np.random.default_rng(seed)
    frequency = np.abs(np.fft.fftfreq(2 * size))
    spectrum = rng.normal(size=(2 * size, 2 * size)) + 1j * rng.normal(size=(2 * size, 2 * size))
    kept = np.outer(frequency < rows_share / 2, frequency < cols_share / 2)
    return np.fft.ifft2(spectrum * kept)[:size, :size] * 2 * size


@pytest.mark.parametrize("share", [0.4, 0.62, 0.9])
def test_the_band_of_complex_samples_is_the_share_filled(share: float) -> None:
    for seed in range(5):
        rows, cols = occupied_band(field(seed, 1.0, share))
        assert rows == 1.0
        assert cols == pytest.approx(share, abs=0.09)  # a Hann window and 5 bins widen it


@pytest.mark.parametrize("share", [0.62, 0.8, 1.0])
def test_detection_fills_the_band_of_an_oversampled_sensor(share: float) -> None:
    for seed in range(20):
        for chip in (np.abs(field(seed, share, share)), np.abs(field(seed, share, share)) ** 2):
            assert min(occupied_band(chip)) >= LEAST_BAND_DETECTED  # type: ignore[type-var]


def linear_twice(rows: np.ndarray) -> np.ndarray:
    """Twice the rows by linear interpolation, new ones a quarter of a pixel on either side of the old."""
    wide = np.pad(rows, ((1, 1), (0, 0)), mode="edge")
    pair = (0.75 * rows + 0.25 * wide[:-2], 0.75 * rows + 0.25 * wide[2:])
    return np.stack(pair, axis=1).reshape(-1, rows.shape[1])


def cubic_twice(rows: np.ndarray) -> np.ndarray:
    return zoom(rows, (2, 1), order=3)


@pytest.mark.parametrize("twice", [linear_twice, cubic_twice])
def test_interpolation_after_detection_leaves_the_band_empty(
    twice: Callable[[np.ndarray], np.ndarray],
) -> None:
    for seed in range(20):
        chip = np.abs(field(seed, 0.8, 0.8))
        rows, cols = occupied_band(twice(chip))
        assert rows is not None
        assert rows < LEAST_BAND_DETECTED
        assert cols == occupied_band(chip)[1] == 1.0


def test_interpolation_of_complex_samples_shows_in_them_but_not_in_their_intensity() -> None:
    for seed in range(10):
        twice = field(seed, 0.4, 0.4)  # a band of 0.8, sampled twice as finely
        assert max(occupied_band(twice)) < 0.5  # type: ignore[type-var]
        # detection doubles 0.4 to 0.8: all of the information, properly sampled
        assert min(occupied_band(np.abs(twice) ** 2)) > 0.65  # type: ignore[type-var]


def test_a_bright_target_does_not_empty_the_band() -> None:
    frequency = np.fft.fftfreq(64)
    weight = np.where(np.abs(frequency) < 0.31, 0.6 + 0.4 * np.cos(2 * np.pi * frequency / 0.62), 0)
    response = np.roll(np.fft.ifft(weight).real, 20) / weight.mean()
    for seed in range(10):
        # 4 looks, so that the target's 30 dB outweigh the speckle of the whole chip
        intensity = np.mean([np.abs(field(10 * seed + look, 0.62, 0.62)) ** 2 for look in range(4)], axis=0)
        chip = np.sqrt(intensity / intensity.mean() + 1000 * np.outer(response, response) ** 2)
        assert min(occupied_band(chip)) >= LEAST_BAND_DETECTED  # type: ignore[type-var]


def test_white_noise_fills_the_band() -> None:
    assert occupied_band(np.random.default_rng(1).normal(10, 1, (33, 64))) == (1.0, 1.0)


def test_short_axes_and_constant_chips_cannot_tell() -> None:
    rng = np.random.default_rng(2)
    assert occupied_band(rng.normal(size=(8, 8))) == (None, None)
    assert occupied_band(rng.normal(size=(31, 32))) == (None, 1.0)
    assert occupied_band(np.ones((64, 64))) == (None, None)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_repeated_pixels_repeat_lines(factor: int) -> None:
    chip = np.kron(np.random.default_rng(3).rayleigh(size=(16, 16)), np.ones((1, factor)))
    lines = 16 * factor
    assert repeated_lines(chip) == pytest.approx(16 * (factor - 1) / (lines - 1))
    assert repeated_lines(np.random.default_rng(3).rayleigh(size=(16, 16))) == 0


def test_constant_lines_do_not_repeat() -> None:
    assert repeated_lines(np.zeros((8, 8))) == 0
    chip = np.random.default_rng(4).rayleigh(size=(8, 8))
    chip[:5] = 0
    assert repeated_lines(chip) == 0


def test_an_unknown_sensor_has_the_usual_limits() -> None:
    assert band_limits((1.0, 1.0), (None, None), None) == BandLimits()
    assert band_limits((1.0, 1.0), (1.0, 1.0), None) == BandLimits()


def test_fine_sampling_lowers_the_limits_of_its_axis() -> None:
    limits = band_limits((0.3, 1.0), (1.0, 1.0), None)
    assert limits.complex_least == pytest.approx((0.75 * 0.886 * 0.3, LEAST_BAND_COMPLEX))
    assert limits.detected_least == pytest.approx((1.1 * 0.886 * 0.3, LEAST_BAND_DETECTED))


@pytest.mark.parametrize("ratio", [0.4, 0.83])
def test_a_stated_bandwidth_sets_the_limit_of_complex_range(ratio: float) -> None:
    limits = band_limits((1.0, 1.0), (1.0, 1.0), ratio)
    assert limits.complex_least == pytest.approx((LEAST_BAND_COMPLEX, 0.75 * ratio))
    assert limits.detected_least == BandLimits().detected_least
