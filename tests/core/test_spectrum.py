from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sarcurate.core.speckle import correlated_speckle, gamma_speckle
from sarcurate.core.spectrum import (
    binned_log_psd,
    correlation_transfer,
    log_psd_distance,
    mean_power_spectrum,
    missing_correlation,
    radial_log_psd,
    transfer_spectrum,
)
from sarcurate.errors import DataError


def test_white_noise_has_its_variance_in_every_bin() -> None:
    rng = np.random.default_rng(0)
    images = [rng.normal(5, 2, shape) for shape in [(64, 64), (48, 96), (100, 40)] * 20]
    psd = mean_power_spectrum(images)
    assert psd.shape == (32, 32)
    ring = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32))) > 0.1
    assert psd[ring].mean() == pytest.approx(4, rel=0.03)
    np.testing.assert_allclose(psd[ring], 4, rtol=0.3)


def test_segments_are_those_of_a_plain_loop() -> None:
    image = np.random.default_rng(1).normal(size=(20, 13))
    window = np.outer(*[0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, 9) / 9)] * 2)
    powers = []
    for row in (0, 4, 8, 12):
        for col in (0, 4, 5):
            part = image[row : row + 8, col : col + 8]
            powers.append(np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2 / (window**2).sum())
    np.testing.assert_allclose(mean_power_spectrum([image], 8), np.mean(powers, axis=0))


def test_small_images_are_padded() -> None:
    rng = np.random.default_rng(2)
    psd = mean_power_spectrum([rng.normal(size=(12, 20)) for _ in range(300)])
    assert psd[8:24, 8:24].mean() == pytest.approx(1, rel=0.05)


def test_same_law_is_near_and_blurred_is_far() -> None:
    rng = np.random.default_rng(0)
    chips = [gamma_speckle((128, 128), 3, rng) for _ in range(2)]
    one, two = (mean_power_spectrum([chip]) for chip in chips)
    blurred = mean_power_spectrum([gaussian_filter(chips[1], 2)])

    def rms_log10(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(np.mean((radial_log_psd(a) - radial_log_psd(b)) ** 2)) / np.log(10))

    assert rms_log10(one, two) < 0.06
    assert rms_log10(one, blurred) > 2
    assert log_psd_distance(one, two) < 0.1 < 3 < log_psd_distance(one, blurred)


def test_erased_high_band_is_farther_than_a_second_draw() -> None:
    # A difference of complex spectra has it the other way round, by 1/sqrt(2).
    rng = np.random.default_rng(3)
    first, second = gamma_speckle((128, 128), 1, rng), gamma_speckle((128, 128), 1, rng)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    high = (radius >= 0.25) & (radius <= 0.5)
    spectra = [np.fft.fft2(image, norm="ortho") for image in (first, second)]
    erased = np.where(high, 0, spectra[1])
    complex_second = np.abs(spectra[0] - spectra[1])[high].mean()
    complex_erased = np.abs(spectra[0] - erased)[high].mean()
    assert complex_erased / complex_second == pytest.approx(1 / np.sqrt(2), abs=0.02)
    psds = [
        mean_power_spectrum([image]) for image in (first, second, np.fft.ifft2(erased, norm="ortho").real)
    ]
    assert log_psd_distance(psds[0], psds[2]) > 10 * log_psd_distance(psds[0], psds[1])


def test_distance_is_blind_to_gain_and_sees_axes_apart() -> None:
    rng = np.random.default_rng(4)
    images = [gaussian_filter(rng.normal(size=(64, 64)), (1, 0)) for _ in range(20)]
    psd, turned = mean_power_spectrum(images), mean_power_spectrum([image.T for image in images])
    assert log_psd_distance(psd, 1e6 * psd) == pytest.approx(0, abs=1e-9)
    assert log_psd_distance(psd, turned) < 0.05
    assert log_psd_distance(psd, turned, angular_bins=2) > 1


def test_bins_of_a_hand_made_spectrum() -> None:
    # Power e^2 on the row axis, 1 elsewhere: only the sector of the row axis sees it.
    psd = np.ones((32, 32))
    psd[:, 0] = np.e**2
    bins = binned_log_psd(psd, 0.05, 3, 2)
    assert (bins[:, 0] > bins[:, 1] + 0.2).all()
    np.testing.assert_allclose(bins[:, 1], bins[0, 1])


def test_transfer_gives_the_wanted_spectrum() -> None:
    rng = np.random.default_rng(5)
    source = [rng.normal(3, 1, (48, 40)) for _ in range(100)]
    target = [gaussian_filter(rng.normal(0, 1, (48, 40)), (0.7, 0.3), mode="wrap") for _ in range(100)]
    p_source, p_target = mean_power_spectrum(source), mean_power_spectrum(target)
    moved = [transfer_spectrum(image, p_source, p_target, 4.0) for image in source]
    assert moved[0].shape == (48, 40)
    after = log_psd_distance(mean_power_spectrum(moved), p_target, angular_bins=4)
    assert after < 0.1 < log_psd_distance(p_source, p_target, angular_bins=4)
    np.testing.assert_allclose([m.mean() for m in moved], [s.mean() for s in source], atol=0.02)


def test_transfer_with_equal_spectra_is_identity_and_gain_is_limited() -> None:
    rng = np.random.default_rng(6)
    image, psd = rng.normal(size=(20, 30)), 1 + rng.random((32, 32))
    np.testing.assert_allclose(transfer_spectrum(image, psd, psd, 4.0), image, atol=1e-12)
    louder = transfer_spectrum(image, psd, 1e6 * psd, 4.0)
    np.testing.assert_allclose(louder - image.mean(), 4 * (image - image.mean()), atol=1e-9)


def test_missing_correlation_finds_a_low_pass_and_white() -> None:
    zeros = np.zeros((32, 32))
    white = np.outer(*[np.arange(7) == 3] * 2)
    np.testing.assert_allclose(missing_correlation(zeros, np.ones((32, 32))), white, atol=1e-12)
    np.testing.assert_array_equal(missing_correlation(np.ones((32, 32)), zeros), white)
    # Speckle of an unweighted band filling half the rate: ln spectrum in, field correlation ~sinc out.
    rng = np.random.default_rng(7)
    inside = np.abs(np.fft.fftfreq(64)) <= 0.25
    band = np.outer(inside, inside).astype(float)
    speckle = [np.log(correlated_speckle((64, 64), 4, band, rng)) for _ in range(60)]
    found = missing_correlation(zeros, mean_power_spectrum(speckle))
    taper = np.cos(np.pi / 8)
    np.testing.assert_allclose(found[[2, 4], 3], np.sinc(inside.mean()) * taper, atol=0.06)
    assert found[3, 3] == pytest.approx(1)


def test_correlation_transfer_inverts() -> None:
    correlation = np.outer([0.25, 0.5, 1, 0.5, 0.25], [0.0, 0.3, 1.0, 0.3, 0.0])
    power = correlation_transfer((12, 15), correlation) ** 2
    back = np.fft.ifft2(power).real[np.ix_([-2, -1, 0, 1, 2], [-2, -1, 0, 1, 2])]
    np.testing.assert_allclose(back, correlation, atol=1e-12)


def test_unfit_input_is_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        mean_power_spectrum([])
    with pytest.raises(DataError, match=r"image 1 .* 1 non-finite"):
        mean_power_spectrum([np.ones((8, 8)), np.where(np.eye(8) * np.arange(8) == 7, np.nan, 1.0)])
    with pytest.raises(DataError, match="no power"):
        radial_log_psd(mean_power_spectrum([np.ones((32, 32))]))
    with pytest.raises(DataError, match="hold no frequency"):
        radial_log_psd(np.ones((8, 8)), radial_bins=12)
