from __future__ import annotations

import numpy as np
import pytest

from sarcurate.core.chip_stack import chip_stack
from sarcurate.core.levels import floors_of_sorted, levels, noise_over_nesz, sorted_pixels
from sarcurate.core.marginal import ln_floor
from sarcurate.core.radiometry import Radiometry, dynamic_range_db
from sarcurate.errors import DataError


def speckle(n: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).gamma(1, 1, (n, size, size))


def test_levels_are_those_of_plain_percentiles_above_zero() -> None:
    chips = speckle(4, 20)
    chips[1, :7], chips[2, 3, 3] = 0, 0
    found = levels(chips)
    for k, chip in enumerate(chips):
        assert found.dynamic_range_db.values[k] == pytest.approx(dynamic_range_db(chip), rel=1e-12)
        low = np.percentile(chip[chip > 0], 1)
        assert found.noise_floor_db.values[k] == pytest.approx(10 * np.log10(low), rel=1e-12)


def test_single_look_speckle_has_the_levels_of_theory() -> None:
    found = levels(speckle(300))
    # quantiles of an exponential law: -ln(1 - p)
    low, high = (10 * np.log10(-np.log(1 - p)) for p in (0.01, 0.999))
    assert found.noise_floor_db.values.mean() == pytest.approx(low, abs=0.1)
    assert found.dynamic_range_db.values.mean() == pytest.approx(high - low, abs=0.15)
    assert not found.saturated_fraction.values.any()


@pytest.mark.parametrize(("n_px", "fraction"), [(1, 0.0), (3, 0.0), (4, 4 / 4096), (400, 400 / 4096)])
def test_saturation_starts_with_four_equal_largest_pixels(n_px: int, fraction: float) -> None:
    chips = speckle(2)
    chips[0].ravel()[:n_px] = 100
    assert list(levels(chips).saturated_fraction.values) == [fraction, 0]


@pytest.mark.parametrize("domain", [Radiometry.SIGMA0, Radiometry.BETA0])
def test_calibrated_chips_are_compared_with_the_nesz(domain: Radiometry) -> None:
    chips = speckle(3) * 1e-2
    chips[1] = 0
    floor = levels(chips).noise_floor_db
    found = noise_over_nesz(floor, domain, -23.5)
    assert found.values[0] == floor.values[0] + 23.5
    assert list(found.reasons) == ["", "constant chip", ""]
    assert list(noise_over_nesz(floor, domain, None).reasons[:2]) == [
        "the sensor's NESZ is not known",
        "constant chip",
    ]


@pytest.mark.parametrize("domain", [Radiometry.INTENSITY, Radiometry.UINT8_RELATIVE, Radiometry.UNKNOWN])
def test_uncalibrated_chips_have_no_noise_over_nesz(domain: Radiometry) -> None:
    found = noise_over_nesz(levels(speckle(1)).noise_floor_db, domain, -20.0)
    assert list(found.reasons) == ["not calibrated: neither sigma0 nor beta0"]


@pytest.mark.parametrize("nesz_db", [np.nan, np.inf])
def test_a_nesz_that_is_no_number_is_refused(nesz_db: float) -> None:
    with pytest.raises(DataError, match="expected finite"):
        noise_over_nesz(levels(speckle(1)).noise_floor_db, Radiometry.SIGMA0, nesz_db)


def test_floors_are_those_of_each_chip_alone() -> None:
    chips = speckle(4, 16)
    chips[1, :5], chips[2, :7], chips[3] = 0, 0, 0
    chips[2, 9, 9] = 1e-20  # far below the median of what is above zero
    chips[3, 4, 4] = 3
    got = floors_of_sorted(sorted_pixels(chip_stack(chips)))
    np.testing.assert_allclose(got, [ln_floor([chip]) for chip in chips], rtol=1e-12)


def test_unfit_chips_have_reasons() -> None:
    chips = speckle(4, 8)
    chips[0], chips[1, 2, 2], chips[2, 0, 0] = 2, np.nan, -1
    for measure in vars(levels(chips)).values():
        assert list(measure.reasons) == ["constant chip", "non-finite pixels", "negative intensity", ""]
    assert levels(np.zeros((2, 0, 3))).noise_floor_db.reasons[0] == "smaller than 1 px"
