from __future__ import annotations

import math

import numpy as np
import pytest

from sarcurate.core.stretch import NO_STRETCH, comb_strength, find_stretch, levels_of, missing_levels


def rayleigh(seed: int, scale: float = 30.0, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(seed).rayleigh(scale, shape)


def levels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.uint16)


def test_clean_chips_are_not_stretched() -> None:
    # four tests of 3e-4 each: 1.2e-3 in theory, so more than 4 of 400 would have chance 2e-4
    makers = (lambda seed: levels(rayleigh(seed)), lambda seed: rayleigh(seed).astype(np.float32))
    for make in makers:
        found = [find_stretch(make(seed), test_levels=True) for seed in range(200)]
        assert sum(one.found for one in found) <= 2
        assert all(one.saturated_fraction is not None for one in found)


def test_a_clip_at_the_top_is_measured_as_its_share() -> None:
    values = rayleigh(1)
    top = np.quantile(values, 0.97)
    found = find_stretch(np.minimum(values, top).astype(np.float32), test_levels=True)
    assert found.found
    # 3 % of the pixels lie above, all but one of them beyond what a continuous law puts on one value
    assert found.saturated_fraction == pytest.approx(0.03, abs=0.001)


def test_a_clip_at_the_bottom_is_measured_as_its_share() -> None:
    values = rayleigh(2)
    bottom = np.quantile(values, 0.05)
    found = find_stretch(np.maximum(values, bottom).astype(np.float32), test_levels=True)
    assert found.found
    assert found.saturated_fraction == pytest.approx(0.05, abs=0.001)


@pytest.mark.parametrize("mean", [0.5, 1.0, 3.0])
def test_dark_exponential_intensities_are_heaped_by_nature(mean: float) -> None:
    chips = [np.random.default_rng(seed).exponential(mean, (64, 64)) for seed in range(40)]
    assert not any(find_stretch(np.floor(chip).astype(np.uint16), test_levels=False).found for chip in chips)


@pytest.mark.parametrize("gain", [1.25, 1.5, 2.5])
def test_a_gain_above_one_leaves_levels_missing(gain: float) -> None:
    stretched = levels(np.rint(rayleigh(3)) * gain)
    share, found = missing_levels(levels_of(stretched))
    assert found
    assert share == pytest.approx(1 - 1 / gain, abs=0.06)
    assert find_stretch(stretched, test_levels=True).found


def test_the_flanks_of_a_narrow_histogram_miss_no_levels() -> None:
    # many looks: the levels beside a narrow peak hold fewer pixels than their neighbours let expect
    chips = [np.random.default_rng(seed).normal(40, 2.5, (64, 64)) for seed in range(200)]
    assert sum(find_stretch(levels(chip), test_levels=True).found for chip in chips) <= 2


@pytest.mark.parametrize("gain", [1.25, 0.8, 0.6])
def test_a_gain_makes_a_comb(gain: float) -> None:
    plain, stretched = np.rint(rayleigh(4, 50)), np.rint(np.rint(rayleigh(4, 50)) * gain)
    assert not comb_strength(levels_of(levels(plain)))[1]
    strength, found = comb_strength(levels_of(levels(stretched)))
    assert found
    assert strength is not None
    assert strength > 30


def test_a_comb_follows_its_definition() -> None:
    # every third level doubled in an otherwise flat histogram: a pure line at a period of 3 levels
    counts = np.full(122, 30)
    counts[::3] = 60
    strength, found = comb_strength(levels_of(np.repeat(np.arange(122), counts).astype(np.uint16)))
    assert found
    weights = np.array([-0.12209, 0.0814, 0.22674, 0.31395])
    kernel = np.concatenate([weights, [0], weights[::-1]])
    inner = range(4, 118)
    residual = [
        (counts[k] - counts[k - 4 : k + 5] @ kernel) / np.sqrt((counts[k - 4 : k + 5].sum() - counts[k]) / 8)
        for k in inner
    ]
    line = abs(residual @ np.exp(2j * np.pi * np.array(inner) / 3)) ** 2 / len(inner)
    passed = 1 - 2 * sum(w * math.cos(2 * math.pi * (4 - k) / 3) for k, w in enumerate(weights))
    # the run of the code has all 120 levels but the ends
    assert strength == pytest.approx(line / passed**2 * 120 / len(inner), rel=0.1)


def test_whole_steps_count_as_missing_levels() -> None:
    # 8 bits written as 16: 255 of 256 in 257 levels lie between, none of them used
    found = find_stretch(levels(rayleigh(5)) * np.uint16(257), test_levels=True)
    assert found.found
    assert found.missing_levels_fraction == pytest.approx(256 / 257)


@pytest.mark.parametrize("top", [255.0, 65535.0])
def test_a_full_range_is_found(top: float) -> None:
    values = rayleigh(6)
    full = np.rint((values - values.min()) / np.ptp(values) * top).astype(np.uint16)
    assert find_stretch(full, test_levels=True).full_range
    assert not find_stretch(full // 2 + 1, test_levels=True).full_range


def test_floats_from_zero_to_one_are_a_full_range_but_whole_numbers_are_not() -> None:
    values = rayleigh(7)
    unit = ((values - values.min()) / np.ptp(values)).astype(np.float32)
    assert find_stretch(unit, test_levels=True).found
    bits = (values > 30).astype(np.uint16)
    assert not find_stretch(bits, test_levels=True).full_range


def test_levels_are_found_in_floats_on_a_grid() -> None:
    eight_bit = np.minimum(levels(rayleigh(8)), 255)
    grid = levels_of((eight_bit / np.float32(255)).astype(np.float32))
    assert grid is not None
    assert grid.step == pytest.approx(1 / 255, rel=1e-3)
    np.testing.assert_array_equal(grid.counts, np.bincount((eight_bit - eight_bit.min()).ravel()))
    assert levels_of(rayleigh(8).astype(np.float32)) is None
    # the square of 8 bit levels lies on no regular grid
    assert levels_of((eight_bit / np.float32(7)) ** 2) is None


def test_sums_of_two_squares_are_no_stretch() -> None:
    rng = np.random.default_rng(9)
    i, q = np.rint(rng.normal(0, 8, (2, 64, 64)))
    intensity = (i**2 + q**2).astype(np.float32)
    assert missing_levels(levels_of(intensity))[1]  # as 3, 6, 7, 11 are no such sum
    assert not find_stretch(intensity, test_levels=False).found


@pytest.mark.parametrize("values", [np.full((8, 8), 3, np.uint16), np.arange(9, dtype=np.float32)])
def test_constant_or_tiny_chips_cannot_tell(values: np.ndarray) -> None:
    assert find_stretch(values, test_levels=True) == NO_STRETCH


def test_a_rail_of_16_bit_samples_is_one_value() -> None:
    values = np.concatenate([rayleigh(10).ravel(), [32767.0] * 10, [32768.0] * 10])
    found = find_stretch(values, test_levels=False)
    assert found.saturated_fraction == pytest.approx(19 / values.size)
