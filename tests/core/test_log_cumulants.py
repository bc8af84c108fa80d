from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import polygamma, psi
from scipy.stats import kstat

from sarcurate.core.log_cumulants import ln_area, log_cumulants
from sarcurate.errors import DataError


@pytest.mark.parametrize("looks", [1, 3, 8])
def test_speckle_has_the_log_cumulants_of_theory(looks: int) -> None:
    chips = 5 * np.random.default_rng(looks).gamma(looks, 1 / looks, (200, 32, 32))
    got = log_cumulants(ln_area(chips))
    wanted = [psi(looks) - np.log(looks) + np.log(5), polygamma(1, looks), polygamma(2, looks)]
    for values, expected in zip((got.k1, got.k2, got.k3), wanted, strict=True):
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(200)


def test_masked_areas_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    chips = rng.gamma(2, 1, (6, 20, 30))
    mask = rng.random(chips.shape) < 0.4
    measures = log_cumulants(ln_area(chips, mask)).measures()
    for order, measure in enumerate(measures, start=1):
        plain = [kstat(np.log(chip[area]), order) for chip, area in zip(chips, mask, strict=True)]
        np.testing.assert_allclose(measure.values, plain, rtol=1e-9)


def test_quantiles_are_numpy_s() -> None:
    chips = np.random.default_rng(2).gamma(2, 1, (3, 9, 9))
    mask = np.ones(chips.shape, bool)
    mask[1, :1] = False
    levels = np.array([0.0, 0.1, 0.37, 1.0])
    got = ln_area(chips, mask).quantiles(levels)
    plain = [np.quantile(np.log(c[m]), levels) for c, m in zip(chips, mask, strict=True)]
    np.testing.assert_allclose(got, plain, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_gain_shifts_the_mean_alone(gain: float, seed: int) -> None:
    chips = np.random.default_rng(seed).gamma(3, 1, (2, 8, 8))
    one, two = log_cumulants(ln_area(chips)), log_cumulants(ln_area(gain * chips))
    np.testing.assert_allclose(two.k1, one.k1 + np.log(gain), atol=1e-9)
    np.testing.assert_allclose(two.k2, one.k2, rtol=1e-8)
    np.testing.assert_allclose(two.k3, one.k3, rtol=1e-6, atol=1e-9)


def test_areas_without_cumulants_say_why() -> None:
    chips = np.random.default_rng(3).gamma(3, 1, (7, 16, 16))
    mask = np.ones(chips.shape, bool)
    chips[0, 0, 0] = np.nan
    chips[1] = 0.0
    chips[2, 5, 5] = 0.0
    mask[3, 4:] = False
    mask[3, 0, 0] = False  # 63 px left
    mask[4, :5] = False
    chips[4, 5:] = 2.0
    mask[5] = False
    measure = log_cumulants(ln_area(chips, mask)).measures()[1]
    assert list(measure.reasons) == [
        "non-finite pixels",
        "constant chip",
        "pixels of zero in the area",
        "area below 64 px",
        "constant area",
        "area below 64 px",
        "",
    ]


def test_a_zero_outside_of_the_area_does_not_matter() -> None:
    chips = np.random.default_rng(4).gamma(3, 1, (1, 16, 16))
    chips[0, 0, 0] = 0.0
    mask = np.ones(chips.shape, bool)
    mask[0, 0] = False
    assert log_cumulants(ln_area(chips, mask)).measures()[0].reasons[0] == ""


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match="the mask has shape"):
        ln_area(np.ones((2, 8, 8)), np.ones((8, 8), bool))
