from __future__ import annotations

import numpy as np
import pytest

from sarcurate.core.calibration import beta0, detect, sigma0


def test_detection_is_the_squared_modulus_exactly_for_16_bit_samples() -> None:
    values = np.array([[3 + 4j, -32768 + 32767j, 0]], dtype=np.complex64)
    expected = np.array([[25, 32768**2 + 32767**2, 0]], dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(detect(values), expected)
    np.testing.assert_array_equal(
        detect(np.array([[0, 65535]], dtype=np.uint16)), np.float32([[0, 65535.0**2]])
    )


def test_detection_leaves_its_input_and_its_shape_alone() -> None:
    field = np.asfortranarray(np.arange(12).reshape(3, 4) * (1 - 2j)).astype(np.complex64, order="F")
    before = field.copy()
    np.testing.assert_array_equal(detect(field), np.arange(12).reshape(3, 4) ** 2 * 5.0)
    np.testing.assert_array_equal(field, before)
    assert np.isinf(detect(np.float32([3e30])))


def test_beta0_scales_the_squared_modulus_by_the_factor() -> None:
    np.testing.assert_allclose(beta0(np.complex64([[6 + 8j, 2j]]), 1e-5), [[1e-3, 4e-5]], rtol=1e-6)
    np.testing.assert_allclose(beta0(np.uint16([[10, 65535]]), 1e-5), [[1e-3, 65535**2 * 1e-5]], rtol=1e-6)


def test_beta0_leaves_its_input_and_its_shape_alone() -> None:
    field = (np.arange(24).reshape(4, 6)[:, ::2] * (1 - 2j)).astype(np.complex64)
    before = field.copy()
    np.testing.assert_allclose(beta0(field, 0.2), np.abs(before) ** 2 * 0.2, rtol=1e-6)
    np.testing.assert_array_equal(field, before)


def test_sigma0_is_half_of_beta0_at_thirty_degrees_and_each_pixel_has_its_own_angle() -> None:
    angles = np.array([[30.0, 45.0]])
    np.testing.assert_allclose(
        sigma0(np.ones((2, 2), np.float32), angles), [[0.5, np.sqrt(0.5)]] * 2, rtol=1e-6
    )


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf])
def test_a_factor_that_is_no_factor_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="calibration factor"):
        beta0(np.ones((1, 1), np.float32), factor)


@pytest.mark.parametrize("angle", [0.0, 90.0, -30.0, np.nan])
def test_an_angle_that_is_no_incidence_is_refused(angle: float) -> None:
    with pytest.raises(ValueError, match="incidence"):
        sigma0(np.ones((1, 1), np.float32), angle)
