from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sarcurate.core.bright_target import _extents_m, bright_target_mask, target_measures
from sarcurate.errors import DataError

NAMES = ["target_to_clutter_db", "target_length_m", "target_width_m", "target_fraction"]


def speckle(n: int, size: int = 64, looks: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(looks, 1 / looks, (n, size, size))


def oversampled_speckle(n: int, size: int, looks: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    total = np.zeros((n, size, size))
    for _ in range(looks):
        field = rng.standard_normal((n, size, size)) + 1j * rng.standard_normal((n, size, size))
        inside = np.abs(np.fft.fftfreq(size)) < 0.25
        total += np.abs(np.fft.ifft2(np.fft.fft2(field) * inside[:, None] * inside)) ** 2
    return total


def bar(
    length_m: float, width_m: float, angle_deg: float, spacing_m: tuple[float, float], contrast: float = 100.0
) -> np.ndarray:
    """One chip of 96 x 80 px speckle with a brighter bar; the angle is from azimuth to range."""
    chip = np.random.default_rng(2).gamma(3, 1 / 3, (96, 80))
    row, col = np.indices(chip.shape)
    azimuth, range_ = (row - 47.5) * spacing_m[0], (col - 39.5) * spacing_m[1]
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    along, across = azimuth * cos + range_ * sin, range_ * cos - azimuth * sin
    chip[(np.abs(along) <= length_m / 2) & (np.abs(across) <= width_m / 2)] *= contrast
    return chip


@pytest.mark.parametrize("looks", [1, 2, 4])
@pytest.mark.parametrize("oversampled", [False, True])
def test_pure_speckle_holds_no_target_but_for_one_chip_in_a_hundred(looks: int, oversampled: bool) -> None:
    chips = oversampled_speckle(300, 64, looks) if oversampled else speckle(300, looks=looks)
    # 9 of 300 would be a chance of 0.4 % at one in a hundred
    assert np.count_nonzero(bright_target_mask(chips).any(axis=(1, 2))) <= 8


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, 45.0, 90.0, 120.0])
@pytest.mark.parametrize("spacing_m", [(1.0, 1.0), (1.5, 0.9)])
def test_a_bar_has_its_length_and_width(angle_deg: float, spacing_m: tuple[float, float]) -> None:
    chip = bar(32.0, 10.0, angle_deg, spacing_m)
    got = target_measures(chip[None], *spacing_m)
    # smoothing moves each edge by one to two pixels
    pixel_m = max(spacing_m)
    assert -pixel_m <= got["target_length_m"].values[0] - 32.0 <= 4.0 * pixel_m
    assert -pixel_m <= got["target_width_m"].values[0] - 10.0 <= 4.0 * pixel_m
    wider = (32.0 + 2 * pixel_m) * (10.0 + 2 * pixel_m) / 320.0
    assert -10 * math.log10(wider) - 0.5 <= got["target_to_clutter_db"].values[0] - 20.0 <= 0.5
    pixels = 320.0 / spacing_m[0] / spacing_m[1]
    assert 0.95 <= got["target_fraction"].values[0] / (pixels / chip.size) <= wider * 1.1


def test_ratio_is_that_of_mask_and_what_is_beyond_three_pixels_of_it() -> None:
    chips = speckle(2)
    chips[0, 20:40, 28:36] *= 30
    chips[1, 20:40, 28:36] *= 3000  # whose spread lies close by
    chips[:, 17:20, 28:36] *= 2
    ratio_db = target_measures(chips, 1.0, 1.0)["target_to_clutter_db"].values
    for chip, mask, found in zip(chips, bright_target_mask(chips), ratio_db, strict=True):
        beyond = ~ndimage.binary_dilation(mask, np.ones((7, 7)))
        assert found == pytest.approx(10 * math.log10(chip[mask].mean() / chip[beyond].mean()), abs=1e-9)


def test_extent_of_a_mask_counts_whole_pixels() -> None:
    masks = np.zeros((3, 32, 32), dtype=bool)
    masks[0, 10:15, 7:10] = True  # 5 m by 6 m: range is the longer axis
    masks[1, 3, 4:8] = True
    length_m, width_m = _extents_m(masks, 1.0, 2.0)
    np.testing.assert_allclose(length_m, [6.0, 8.0, 0.0])
    np.testing.assert_allclose(width_m, [5.0, 1.0, 0.0])


def test_spacing_scales_lengths_alone() -> None:
    chips = np.stack([bar(30.0, 8.0, 20.0, (1.0, 1.0)), bar(16.0, 6.0, 70.0, (1.0, 1.0))])
    one, five = target_measures(chips, 1.0, 1.0), target_measures(chips, 5.0, 5.0)
    for name in NAMES:
        factor = 5 if name.endswith("_m") else 1
        np.testing.assert_allclose(five[name].values, factor * one[name].values, rtol=1e-12)


def test_a_body_seen_as_scattered_points_is_one_target() -> None:
    chip = speckle(1)[0]
    for row in range(14, 55, 8):  # a pixel of spread each: 4 dark ones between
        chip[row : row + 2, 31:33] += 100.0
    assert target_measures(chip[None], 1.0, 1.0)["target_length_m"].values[0] == pytest.approx(42, abs=3)


def test_the_largest_area_at_the_centre_is_the_target_and_the_nearest_where_none_is() -> None:
    chips = speckle(2)
    chips[:, 2:14, 50:62] *= 100  # largest, in a corner
    chips[0, 28:35, 20:27] *= 100
    chips[0, 40:43, 40:43] *= 100
    masks = bright_target_mask(chips)
    assert masks[0, 31, 23]
    assert not masks[0, 41, 41]
    assert not masks[0, 8, 56]
    assert masks[1, 8, 56]


def test_masks_are_those_of_the_plain_way() -> None:
    chips = np.concatenate([speckle(4), speckle(4, looks=1, seed=3)])
    chips[::2, 20:40, 28:36] *= 30
    chips[1::4, 8:12, 9:12] *= 300
    for chip, mask in zip(chips, bright_target_mask(chips), strict=True):
        np.testing.assert_array_equal(mask, plain_mask(chip))


def plain_mask(chip: np.ndarray) -> np.ndarray:
    """One chip after the docstring, with SciPy's single-image functions."""
    ring = np.ones(chip.shape, dtype=bool)
    ring[8:-8, 8:-8] = False
    ln = np.log(np.maximum(chip, 1e-3 * np.median(chip[ring])))
    smooth = ndimage.gaussian_filter(ln, 1.0, mode="nearest")
    middle = np.median(smooth[ring])
    bright = smooth > middle + 3.5 * 1.482602 * np.median(np.abs(smooth[ring] - middle))
    areas, n = ndimage.label(ndimage.binary_dilation(bright, np.ones((7, 7))), np.ones((3, 3)))
    candidates = []
    for area in range(1, n + 1):
        rows, cols = np.nonzero(bright & (areas == area))
        gaps = [np.maximum(np.abs(place - 31.5) - 15.75, 0) for place in (rows, cols)]
        if len(rows) >= 4:
            candidates.append((np.hypot(*gaps).min(), -len(rows), area))
    return bright & (areas == min(candidates)[2]) if candidates else np.zeros_like(bright)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-9, 1e9), turn=st.sampled_from([0, 1, 2, 3]))
def test_scale_and_quarter_turns_change_nothing(scale: float, turn: int) -> None:
    chip = speckle(1)
    chip[0, 20:40, 28:36] *= 30
    mask = bright_target_mask(chip)
    turned = np.rot90(chip * scale, turn, (1, 2))
    np.testing.assert_array_equal(bright_target_mask(turned), np.rot90(mask, turn, (1, 2)))


def test_a_chip_has_the_same_measures_in_any_stack() -> None:
    chips = speckle(5)
    chips[:, 20:40, 28:36] *= np.array([1, 10, 30, 100, 1000])[:, None, None]
    together = target_measures(chips, 1.0, 2.0)
    for place in range(len(chips)):
        alone = target_measures(chips[place : place + 1], 1.0, 2.0)
        for name in NAMES:
            np.testing.assert_array_equal(alone[name].values[0], together[name].values[place])
            assert alone[name].reasons[0] == together[name].reasons[place]


def reasons_of(chip: np.ndarray, spacing_m: float | None = 1.0) -> list[str]:
    got = target_measures(chip[None], spacing_m, spacing_m)
    assert list(got) == NAMES
    return [str(measure.reasons[0]) for measure in got.values()]


def test_each_missing_measure_has_its_reason() -> None:
    good = bar(30.0, 8.0, 0.0, (1.0, 1.0))
    assert reasons_of(good) == [""] * 4
    unknown = "pixel spacing is not known"
    assert reasons_of(good, None) == ["", unknown, unknown, ""]
    assert reasons_of(np.ones((64, 64))) == ["constant chip"] * 4
    assert reasons_of(np.zeros((64, 64))) == ["constant chip"] * 4
    assert reasons_of(speckle(1, 8)[0]) == ["smaller than 32 px"] * 4
    assert reasons_of(speckle(1)[0]) == ["no bright target"] * 4
    hole = good.copy()
    hole[3, 4] = np.nan
    assert reasons_of(hole) == ["non-finite pixels"] * 4
    assert reasons_of(np.where(hole > 0, -hole, 1.0)) == ["negative intensity"] * 4
    framed = np.zeros((64, 64))
    framed[16:-16, 16:-16] = speckle(1, 32)[0]
    assert reasons_of(framed) == ["no clutter at the border"] * 4


def test_saturated_and_extreme_chips_have_defined_answers() -> None:
    chips = speckle(3).astype(np.float32)
    chips[0] = np.minimum(chips[0], 1.0)
    chips[1, 20:40, 20:40] = 3e38
    chips[2] *= np.float32(1e-38)
    for measure in target_measures(chips, 1.0, 1.0).values():
        assert np.array_equal(np.isfinite(measure.values), measure.reasons == "")
    assert bright_target_mask(chips)[1, 30, 30]


def test_no_chips_have_no_measures() -> None:
    assert all(len(measure.values) == 0 for measure in target_measures(speckle(0), 1.0, 1.0).values())
    with pytest.raises(DataError, match=r"expected \(n, rows, cols\) real"):
        target_measures(speckle(1)[0], 1.0, 1.0)
