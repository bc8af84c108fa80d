from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sarcurate.core.homogeneous import HomogeneousAreas, correlations, coverage, homogeneous_areas
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.speckle import correlated_speckle
from sarcurate.core.window_statistics import GROUP_PX, LAGS, window_statistics
from sarcurate.errors import DataError, ParamsError, RadiometryError

INTENSITY = Radiometry.INTENSITY
PIXELS = st.floats(0, float(np.finfo(np.float32).max), width=32) | st.sampled_from([np.nan, np.inf])


def speckle(n: int, px: int, looks: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(looks, 1 / looks, (n, px, px)).astype(np.float32)


def areas_of(chips: np.ndarray) -> HomogeneousAreas:
    return homogeneous_areas(chips, INTENSITY)


def touched(row: int, col: int, across: int) -> np.ndarray:
    """Windows of 8 px every 4 that hold the pixel."""
    first = 4 * np.arange(across)
    return np.outer((first <= row) & (row < first + 8), (first <= col) & (col < first + 8))


@pytest.mark.parametrize("shape", [(20, 27), (16, 16), (33, 24)])
def test_window_statistics_are_those_of_a_plain_loop(shape: tuple[int, int]) -> None:
    chips = np.random.default_rng(1).gamma(2, 3, (3, *shape))
    got, whole = window_statistics(chips, 8)
    np.testing.assert_allclose(whole, chips.mean(axis=(1, 2)))
    assert got.mean.shape == (3, (shape[0] - 8) // 4 + 1, (shape[1] - 8) // 4 + 1)
    for k, i, j in np.ndindex(got.mean.shape):
        w = chips[k, 4 * i : 4 * i + 8, 4 * j : 4 * j + 8]
        assert got.mean[k, i, j] == pytest.approx(w.mean() / chips[k].mean(), rel=1e-5)
        assert got.cv2[k, i, j] == pytest.approx(w.var() / w.mean() ** 2, rel=1e-4)
        assert got.log_gap[k, i, j] == pytest.approx(np.log(w.mean()) - np.log(w).mean(), rel=1e-4)
        assert got.log_variance[k, i, j] == pytest.approx(np.log(w).var(), rel=1e-4)
        assert got.peak[k, i, j] == pytest.approx(w.max() / w.mean(), rel=1e-5)
        for d in range(1, LAGS + 1):
            rows = (w[d:] * w[:-d]).mean() / w.mean() ** 2 - 1
            cols = (w[:, d:] * w[:, :-d]).mean() / w.mean() ** 2 - 1
            assert got.lagged[0, d - 1, k, i, j] == pytest.approx(rows, rel=1e-3, abs=1e-5)
            assert got.lagged[1, d - 1, k, i, j] == pytest.approx(cols, rel=1e-3, abs=1e-5)
    assert got.usable.all()


def test_a_batch_of_any_size_gives_what_its_chips_give() -> None:
    chips = speckle(GROUP_PX // 32**2 + 3, 32, 3)
    whole = areas_of(chips)
    for k in (0, len(chips) - 1):
        alone = areas_of(chips[k : k + 1])
        np.testing.assert_array_equal(alone.kept[0], whole.kept[k])
        np.testing.assert_allclose(alone.windows.cv2[0], whole.windows.cv2[k], rtol=1e-5)


@pytest.mark.parametrize("looks", [1, 3, 8])
def test_pure_speckle_loses_next_to_nothing(looks: int) -> None:
    areas = areas_of(speckle(300, 64, looks))
    assert areas.kept.mean() > 0.995
    assert (areas.reasons == "").all()
    assert np.median(areas.n_px) == 64 * 64


def test_a_scatterer_takes_the_windows_that_hold_it_and_no_others() -> None:
    chips = speckle(50, 32, 3)
    chips[:, 13, 18] = 30
    areas = areas_of(chips)
    held = touched(13, 18, 7)
    assert not areas.kept[:, held].any()
    assert areas.kept[:, ~held].mean() > 0.97


@pytest.mark.parametrize("axis", [1, 2])
def test_a_3_db_edge_takes_the_windows_across_it(axis: int) -> None:
    chips = np.moveaxis(speckle(50, 64, 3), 1, axis)
    np.moveaxis(chips, axis, 0)[32:] *= 2
    kept = np.moveaxis(areas_of(chips).kept, axis, 1)
    assert not kept[:, 7].any()
    assert kept[:, [0, 1, 2, 3, 11, 12, 13, 14]].mean() > 0.98


def test_a_3_db_edge_in_16_px_leaves_no_area() -> None:
    chips = speckle(50, 16, 3)
    chips[:, :, 8:] *= 2
    assert (areas_of(chips).reasons == "no homogeneous area").mean() > 0.95


def test_a_target_in_the_middle_is_left_out() -> None:
    chips = speckle(50, 64, 3)
    chips[:, 28:36, 28:36] *= 20
    kept = areas_of(chips).kept
    assert not kept[:, 6:9, 6:9].any()
    assert kept[:, 0].mean() > 0.98


def test_a_target_that_fills_the_chip_gives_a_reason() -> None:
    chips = speckle(50, 16, 3)
    chips[:, 6:10, 6:10] *= 50
    assert set(areas_of(chips).reasons) <= {"more varied than speckle", "no homogeneous area"}


def constant(chip: np.ndarray) -> None:
    chip[:] = 2.5


def zero(chip: np.ndarray) -> None:
    chip[:] = 0


def holes(chip: np.ndarray) -> None:
    chip[:] = np.nan


def saturated(chip: np.ndarray) -> None:
    chip[::3, ::3] = 40


def sprinkled(chip: np.ndarray) -> None:
    chip[::3, ::3] = 0


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (constant, "constant"),
        (zero, "all zero"),
        (holes, "no valid pixels"),
        (saturated, "saturated"),
        (sprinkled, "zeros, holes or noise everywhere"),
    ],
)
def test_exactly_the_broken_chip_has_its_reason(break_it: object, reason: str) -> None:
    chips = speckle(3, 32, 3)
    break_it(chips[1])  # type: ignore[operator]
    areas = areas_of(chips)
    assert list(areas.reasons) == ["", reason, ""]
    assert areas.n_px[1] == 0
    assert not areas.kept[1].any()
    assert np.isnan(areas.correlation[:, :, 1]).all()
    assert np.isfinite(areas.correlation[:, :, ::2]).all()


@pytest.mark.parametrize("px", [1, 8, 15])
def test_chips_below_two_windows_are_too_small(px: int) -> None:
    assert list(areas_of(speckle(2, px, 3)).reasons) == ["too small: below 16 px"] * 2


def test_no_chips_give_no_areas() -> None:
    assert areas_of(np.zeros((0, 32, 32), dtype=np.float32)).reasons.shape == (0,)


def test_holes_cost_the_windows_that_touch_them_and_nothing_travels() -> None:
    chips = speckle(1, 32, 3)
    chips[0, 5, 20] = np.nan
    areas = areas_of(chips)
    np.testing.assert_array_equal(areas.kept[0], ~touched(5, 20, 7))
    assert np.isfinite(areas.correlation).all()


def test_a_noise_floor_takes_the_dark_half() -> None:
    chips = speckle(20, 64, 3)
    chips[:, :, :32] *= 0.01
    kept = homogeneous_areas(chips, INTENSITY, noise_floor=0.1).kept
    assert not kept[:, :, :7].any()
    assert kept[:, :, 12:].mean() > 0.95


@given(st.floats(1e-20, 1e20))
@settings(max_examples=20, deadline=None)
def test_the_unit_of_intensity_does_not_matter(unit: float) -> None:
    chips = speckle(4, 32, 2).astype(np.float64)
    chips[:, 10:14, 10:14] *= 30
    np.testing.assert_array_equal(areas_of(chips * unit).kept, areas_of(chips).kept)


@given(arrays(np.float32, (2, 17, 21), elements=PIXELS))
@settings(max_examples=60, deadline=None)
def test_any_pixels_give_windows_or_a_reason(chips: np.ndarray) -> None:
    areas = areas_of(chips)
    np.testing.assert_array_equal(areas.reasons == "", areas.kept.any(axis=(1, 2)))
    np.testing.assert_array_equal(areas.reasons == "", areas.n_px >= 128)


def test_correlation_of_a_band_is_the_squared_sinc() -> None:
    inside = (np.abs(np.fft.fftfreq(128)) < 0.3).astype(float)
    transfer = np.outer(inside, np.ones(128))
    rng = np.random.default_rng(0)
    chips = np.stack([correlated_speckle((128, 128), 2, transfer, rng) for _ in range(20)])
    rho = areas_of(chips).correlation.mean(axis=2)
    share = inside.mean()
    np.testing.assert_allclose(rho[0], np.sinc(share * np.arange(1, 4)) ** 2, atol=0.02)
    np.testing.assert_allclose(rho[1], 0, atol=0.02)


def test_one_window_counts_its_own_pixels_and_overlap_counts_less() -> None:
    kept = np.zeros((3, 3, 3), dtype=bool)
    kept[0, 1, 1] = kept[1, 0, 0] = kept[1, 2, 2] = True
    kept[2, :2, 0] = True
    # Two overlapping windows: weights 1 1, 2 2, 1 1 on 6 blocks.
    np.testing.assert_allclose(coverage(kept), [4, 8, 64 / 12])


def test_correlations_without_any_window_are_zero_not_nan() -> None:
    windows, _ = window_statistics(speckle(2, 32, 1), 8)
    assert np.isfinite(correlations(windows, np.zeros((2, 7, 7), dtype=bool))).all()


@pytest.mark.parametrize("domain", [Radiometry.AMPLITUDE, "amplitude", "db"])
def test_other_domains_than_intensity_are_refused(domain: str) -> None:
    with pytest.raises(RadiometryError, match="expected linear intensity"):
        homogeneous_areas(speckle(1, 32, 3), domain)  # type: ignore[arg-type]


def test_negative_pixels_name_their_chip() -> None:
    chips = speckle(3, 32, 3)
    chips[2, 0, 0] = -7
    with pytest.raises(RadiometryError, match=r"chip 2 \(of 3\) has pixels down to -7"):
        areas_of(chips)


@pytest.mark.parametrize("bad", [np.ones((16, 16)), np.ones((1, 16, 16), dtype=np.uint8)])
def test_arrays_of_another_kind_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected float32 or float64"):
        areas_of(bad)


@pytest.mark.parametrize("wrong", [{"window_px": 6}, {"window_px": 4}, {"noise_floor": np.nan}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParamsError, match="multiple of 4"):
        homogeneous_areas(speckle(1, 32, 3), INTENSITY, **wrong)  # type: ignore[arg-type]


def test_a_rough_window_without_bright_pixels_is_left_out() -> None:
    chips = speckle(50, 64, 8)
    chips[:, 24:40:2, 24:40] *= 3.5
    chips[:, 25:40:2, 24:40] *= 0.5
    areas = areas_of(chips)
    limit = 3.5 / 2 * 1.6  # brighter than most of these pixels, and far from what 8 looks show in 4096
    assert np.median(areas.windows.peak[:, 7, 7]) < limit * 1.4
    assert not areas.kept[:, 6:9, 6:9].any()


def test_a_constant_half_is_no_area() -> None:
    chips = speckle(20, 64, 3)
    chips[:, :, :32] = 1.0
    kept = areas_of(chips).kept
    assert not kept[:, :, :7].any()
