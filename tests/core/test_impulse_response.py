from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.impulse_response import (
    Weighting,
    bandwidth_per_m,
    response,
    spectral_weights,
    width_factor,
)
from sarcurate.errors import ParamsError


def highest_sidelobe_db(weighting: Weighting, first_null: float) -> float:
    offset = np.linspace(first_null, 20.0, 40001)
    return float(20.0 * np.log10(np.abs(response(offset, weighting)).max()))


def minus_3_db_width_m(weights: np.ndarray, spacing_m: float) -> float:
    """Width of the response on a 64 times finer grid, by zero padding."""
    n, fine = weights.size, 64
    padded = np.zeros(n * fine)
    frequency = np.fft.fftfreq(n, 1.0 / n).astype(int)
    padded[frequency] = weights
    power = np.abs(np.fft.ifft(padded)) ** 2
    return float((power >= power.max() / 2.0).sum() * spacing_m / fine)


def test_unweighted_response_is_a_sinc():
    offset = np.linspace(-5.3, 5.3, 100)
    assert response(offset, Weighting.NONE) == pytest.approx(
        np.sin(np.pi * offset) / (np.pi * offset), abs=1e-12
    )
    assert width_factor(Weighting.NONE) == pytest.approx(0.8859, abs=1e-4)
    assert highest_sidelobe_db(Weighting.NONE, 1.0) == pytest.approx(-13.26, abs=0.01)


def test_hamming_and_taylor_have_their_textbook_width_and_sidelobes():
    # Harris 1978, table I: Hamming is 1.30 bins wide at -3 dB, highest sidelobe -43 dB (periodic window).
    assert width_factor(Weighting.HAMMING) == pytest.approx(1.30, abs=0.01)
    assert highest_sidelobe_db(Weighting.HAMMING, 2.0) == pytest.approx(-42.7, abs=0.5)
    assert highest_sidelobe_db(Weighting.TAYLOR, 1.6) == pytest.approx(-30.0, abs=0.5)


def test_response_is_the_transform_of_the_weights():
    u = (np.arange(4000) + 0.5) / 4000 - 0.5
    weight = 0.54 + 0.46 * np.cos(2 * np.pi * u)
    for offset in (0.0, 0.4, 1.7):
        plain = np.mean(weight * np.cos(2 * np.pi * u * offset)) / np.mean(weight)
        assert float(response(np.array(offset), Weighting.HAMMING)) == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize(
    ("weighting", "spacing_m", "resolution_m"),
    [
        (Weighting.TAYLOR, 1.0, 1.15),
        (Weighting.HAMMING, 2.0, 3.0),
        (Weighting.NONE, 2.0, 3.0),
        (Weighting.NONE, 1.0, 1.0),
    ],
)
def test_focused_width_is_the_resolution(weighting, spacing_m, resolution_m):
    weights = spectral_weights(round(128 / spacing_m), spacing_m, resolution_m, weighting)
    assert minus_3_db_width_m(weights, spacing_m) == pytest.approx(resolution_m, rel=0.03)


@given(
    n_samples=st.integers(32, 200),
    resolution_m=st.floats(1.4, 6.0),
    weighting=st.sampled_from(list(Weighting)),
)
def test_white_power_is_kept_and_nothing_is_left_outside_the_band(n_samples, resolution_m, weighting):
    weights = spectral_weights(n_samples, 1.0, resolution_m, weighting)
    assert np.mean(weights**2) == pytest.approx(1.0)
    outside = (
        np.abs(np.fft.fftfreq(n_samples)) > bandwidth_per_m(resolution_m, weighting) / 2 + 0.5 / n_samples
    )
    assert (weights[outside] == 0).all()


def test_undersampled_band_is_refused():
    with pytest.raises(ParamsError, match=r"spacing of 1\.0 m undersamples a hamming"):
        spectral_weights(128, 1.0, 1.0, Weighting.HAMMING)
