from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from sarcurate.core.measure import Measure
from sarcurate.core.resampling import occupied_band
from sarcurate.core.speckle import correlated_speckle
from sarcurate.core.spectral_measures import (
    Periodograms,
    flat_periodograms,
    grid_spikes,
    high_frequency_ratio,
    log_psds,
    occupied_bands,
    out_of_band_ratio,
    periodograms,
    target_distance,
)
from sarcurate.core.spectrum import binned_log_psd, log_psd_distance, mean_power_spectrum
from sarcurate.errors import DataError


def speckle(n: int, size: int = 64, seed: int = 0, looks: float = 3) -> np.ndarray:
    return np.random.default_rng(seed).gamma(looks, 1 / looks, (n, size, size))


@pytest.mark.parametrize("shape", [(64, 64), (33, 48), (40, 35)])
def test_periodograms_are_those_of_a_plain_loop(shape: tuple[int, int]) -> None:
    chips = np.random.default_rng(1).gamma(2, 3.0, (4, *shape))
    power = periodograms(chips).power
    for chip, got in zip(chips, power, strict=True):
        window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, n + 1) / (n + 1)) for n in shape))
        plain = np.abs(np.fft.fft2((chip / chip.mean() - 1) * window)) ** 2 / (window**2).sum()
        np.testing.assert_allclose(got, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bins", [(0.05, 12, 1), (0.1, 8, 4)])
def test_batched_bins_are_the_plain_ones(bins: tuple[float, int, int]) -> None:
    spectra = periodograms(speckle(3))
    plain = [binned_log_psd(power, *bins) for power in spectra.power]
    np.testing.assert_allclose(log_psds(spectra, *bins), plain, rtol=1e-9)
    target = mean_power_spectrum(list(speckle(5, seed=9)))
    if bins[1] == 12:
        distance = target_distance(spectra, target, *bins).values
        np.testing.assert_allclose(distance, [log_psd_distance(p, target, *bins) for p in spectra.power])


def test_a_second_draw_is_near_and_a_blurred_one_far() -> None:
    target = mean_power_spectrum(list(speckle(50)))
    near = target_distance(periodograms(speckle(20, seed=1)), target).values
    far = target_distance(periodograms(np.stack([gaussian_filter(c, 1) for c in speckle(20)])), target).values
    assert near.max() < 0.3 < 1 < far.min()


def test_white_noise_has_the_ring_s_share_of_power() -> None:
    spectra = periodograms(speckle(100))
    ratio = high_frequency_ratio(spectra).values
    assert ratio.mean() == pytest.approx(np.pi * (0.25 - 0.0625), abs=0.01)
    flat = Periodograms(np.ones((100, 64, 64)), spectra.chips)
    bins = sum(
        0.25 <= np.hypot(i, j) / 64 <= 0.5 for i in range(-32, 32) for j in range(-32, 32)
    )  # bins at half the rate have one side
    np.testing.assert_allclose(high_frequency_ratio(flat).values, bins / (64**2 - 1))


def test_power_out_of_band_is_that_of_the_noise() -> None:
    inside = (np.abs(np.fft.fftfreq(64)) <= 0.15).astype(float)
    rng = np.random.default_rng(2)
    chips = np.stack([correlated_speckle((64, 64), 1, np.outer(inside, np.ones(64)), rng) for _ in range(20)])
    # The field fills 0.3 of the azimuth rate, intensity twice that.
    clean = out_of_band_ratio(periodograms(chips), (0.62, 2.0)).values
    assert clean.max() < 1e-3
    noisy = out_of_band_ratio(periodograms(chips + rng.normal(10, 0.5, chips.shape)), (0.62, 2.0)).values
    # Noise of variance .25 beside speckle of variance 1; 0.38 - 4/64 of it lies outside.
    assert noisy.mean() == pytest.approx(0.25 / 1.25 * (0.38 - 4 / 64), rel=0.1)
    full = out_of_band_ratio(periodograms(chips), (1.0, 2.0))
    assert set(full.reasons) == {"the band fills the sampling"}
    with pytest.raises(DataError, match="band is"):
        out_of_band_ratio(periodograms(chips), (0.0, 1.0))


def test_occupied_bands_are_those_of_each_chip() -> None:
    chips = np.stack([speckle(1)[0], zoom(speckle(1, 32, seed=5)[0], 2, order=1)])
    azimuth, range_ = occupied_bands(chips)
    plain = np.array([occupied_band(chip) for chip in chips], dtype=float)
    np.testing.assert_array_equal(np.stack([azimuth.values, range_.values], axis=1), plain)


@pytest.mark.parametrize("period", [8, 2])
def test_false_alarms_of_grid_spikes_are_as_promised(period: int) -> None:
    inside = (np.abs(np.fft.fftfreq(64)) <= 0.35).astype(float)
    rng = np.random.default_rng(3)
    band = np.outer(inside, inside)
    smooth = np.stack([correlated_speckle((64, 64), 2, band, rng) for _ in range(500)])
    for chips in (speckle(1000, looks=1), smooth):
        p_values = grid_spikes(flat_periodograms(chips), period).p_value.values
        assert 0.02 < np.mean(p_values < 0.05) < 0.09
        assert np.mean(p_values < 0.001) < 0.008


@pytest.mark.parametrize("period", [8, 2])
def test_grids_are_found_and_each_at_its_own_period(period: int) -> None:
    place = np.arange(64) % period
    grid = {8: np.cos(2 * np.pi * place / 8), 2: np.where(place == 0, 1.0, -1.0)}[period]
    chips = speckle(40) * (1 + 0.3 * np.outer(grid, grid))
    spectra = flat_periodograms(chips)
    found, other = grid_spikes(spectra, period), grid_spikes(spectra, 10 - period)
    assert np.mean(found.p_value.values < 0.01) > 0.9
    assert np.mean(other.p_value.values < 0.01) < 0.1
    assert np.median(found.peak_over_median.values) > 10


def test_bright_points_and_edges_do_not_hide_a_checkerboard_nor_make_one() -> None:
    chips = speckle(60, looks=1)
    chips[:, 20, 31] += 3000.0
    chips[:, 50, 7] += 800.0
    chips[:, :, 40:] *= 30.0
    board = np.where(np.add.outer(np.arange(64), np.arange(64)) % 2 == 0, 1.0, -1.0)
    with_board = chips * (1 + 0.06 * board) ** 2
    found, none = (grid_spikes(flat_periodograms(part), 2).p_value.values for part in (with_board, chips))
    assert np.mean(found < 0.01) > 0.95
    assert np.mean(none < 0.01) < 0.1
    # The reason for the detour by flat amplitude: intensity's own spectrum shows the points alone.
    assert np.mean(grid_spikes(periodograms(with_board), 2).p_value.values < 0.01) < 0.3


def test_flat_periodogram_of_white_amplitude_is_its_variance() -> None:
    chips = speckle(30, looks=4)
    amplitude = np.sqrt(chips)
    variance = (amplitude / amplitude.mean(axis=(1, 2), keepdims=True)).var()
    power = flat_periodograms(chips).power
    far = (
        np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64))) > 0.2
    )  # beyond the local mean's reach
    assert power[:, far].mean() == pytest.approx(variance, rel=0.05)
    zeros = np.where(np.arange(64) < 30, 0.0, chips)
    assert np.isfinite(flat_periodograms(zeros).power).all()


def test_chips_are_to_be_multiples_of_the_period() -> None:
    with pytest.raises(DataError, match="expected multiples of 8"):
        grid_spikes(flat_periodograms(speckle(1, 36)), 8)


MEASURES: list[Callable[[np.ndarray], Measure]] = [
    lambda chips: high_frequency_ratio(periodograms(chips)),
    lambda chips: target_distance(periodograms(chips), np.ones((32, 32))),
    lambda chips: out_of_band_ratio(periodograms(chips), (0.5, 0.5)),
    lambda chips: grid_spikes(flat_periodograms(chips), 8).p_value,
    lambda chips: occupied_bands(chips)[0],
]


@pytest.mark.parametrize("measure", MEASURES)
def test_unfit_chips_have_reasons(measure: Callable[[np.ndarray], Measure]) -> None:
    chips = speckle(4)
    chips[0], chips[1], chips[2, 3, 3] = 0, 4.0, np.nan
    assert list(measure(chips).reasons) == ["constant chip", "constant chip", "non-finite pixels", ""]
    assert set(measure(speckle(2, 40)[:, :32, :32]).reasons) == {""}
    assert measure(np.zeros((2, 64, 64))).column() == [None, None]


@pytest.mark.parametrize("measure", MEASURES)
def test_small_chips_have_reasons(measure: Callable[[np.ndarray], Measure]) -> None:
    assert list(measure(speckle(2, 8)).reasons) == ["smaller than 32 px"] * 2
