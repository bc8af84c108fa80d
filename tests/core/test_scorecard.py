from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import COLUMNS, VECTOR, ChipContext, Yardstick, fit_yardstick, scorecard
from sarcurate.core.scorecard_columns import STRUCTURE
from sarcurate.core.speckle import correlated_speckle
from sarcurate.errors import DataError, RadiometryError

CONTEXT = ChipContext(Radiometry.SIGMA0, 0.8, 1.2, -30.0)


def speckle(n: int, shape: tuple[int, int] = (64, 64), looks: float = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(looks, 1 / looks, (n, *shape)).astype(np.float32)


def scenes(n: int, shape: tuple[int, int], seed: int = 1) -> np.ndarray:
    """Correlated speckle of 1 to 4 looks: some with texture, a target, a bright point, a rim of zeros."""
    rng = np.random.default_rng(seed)
    inside = [np.abs(np.fft.fftfreq(side)) < share for side, share in zip(shape, (0.35, 0.3), strict=True)]
    chips = []
    for k in range(n):
        chip = correlated_speckle(shape, 1 + k % 4, np.outer(*inside).astype(float), rng)
        chip = chip * (rng.gamma(3, 1 / 3, shape) if k % 5 == 1 else 1) + 0.01 * rng.gamma(1, 1, shape)
        if k % 3 == 0:
            chip[shape[0] // 2 - 3 : shape[0] // 2 + 4, shape[1] // 2 - 8 : shape[1] // 2 + 9] *= 25
        if k % 4 == 1:
            chip[19, 18] = 200
        if k % 6 == 5:
            chip[:4] = 0
        chips.append(chip)
    return np.array(chips, dtype=np.float32)


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    # A band of less than the sampling, so that there is something outside of it.
    return replace(fit_yardstick(list(scenes(16, (64, 64), 7))), band=np.array([0.6, 0.8]))


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    pytest.importorskip("skimage", reason="the plain scorecard takes its texture from scikit-image")
    spec = importlib.util.spec_from_file_location(
        "plain_scorecard", Path(__file__).with_name("plain_scorecard.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# --- names


def test_names_are_one_each_and_the_vector_is_part_of_them() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS) == 79
    assert len(set(VECTOR)) == len(VECTOR) == 26
    assert set(VECTOR) | set(STRUCTURE) <= set(COLUMNS)


# --- the plain one


@pytest.mark.parametrize("shape", [(64, 64), (40, 52), (72, 35)])
def test_every_column_is_that_of_the_plain_scorecard(
    shape: tuple[int, int], yardstick: Yardstick, plain: ModuleType
) -> None:
    chips = scenes(18, shape)
    found = scorecard(chips, CONTEXT, yardstick)
    rows = [plain.plain_scorecard(chip, CONTEXT, yardstick) for chip in chips]
    for name in COLUMNS:
        expected = np.array([row[name] for row in rows])
        np.testing.assert_allclose(found[name].values, expected, rtol=1e-5, atol=1e-5, err_msg=name)
        few_points = name.startswith(("irw", "pslr", "islr")) and shape != (64, 64)
        assert np.isfinite(expected).any() or few_points, name


# --- theory


def test_three_look_speckle_reads_as_such() -> None:
    chips = speckle(200)
    found = scorecard(chips, ChipContext(Radiometry.INTENSITY, 1.0, 1.0, None), fit_yardstick(list(chips)))
    mean = {n: float(np.nanmean(m.values)) for n, m in found.items() if np.isfinite(m.values).any()}
    # psi(3) - ln 3, psi'(3), psi''(3)
    assert mean["mean_db"] == pytest.approx(4.343 * -0.1758, abs=0.01)
    assert mean["log_cumulant_2"] == pytest.approx(0.3949, rel=0.01)
    assert mean["log_cumulant_3"] == pytest.approx(-0.1541, rel=0.05)
    for name in ("enl", "enl_median", "enl_log_variance", "gamma_looks"):
        assert mean[name] == pytest.approx(3, rel=0.02), name
    assert mean["hf_energy_ratio"] == pytest.approx(np.pi * (0.25 - 0.0625), abs=0.01)
    assert np.mean(found["gamma_p_value"].values < 0.05) < 0.1
    assert mean["homogeneous_fraction"] > 0.99
    assert all(abs(mean[f"correlation_range_{lag}"]) < 0.01 for lag in (1, 2, 3, 4))
    assert all(abs(mean[f"log_psd_{ring:02d}"]) < 0.15 for ring in range(12))


def test_p_values_of_correlated_speckle_are_honest() -> None:
    inside = (np.abs(np.fft.fftfreq(64)) < 0.35).astype(float)
    rng = np.random.default_rng(3)
    chips = np.stack([correlated_speckle((64, 64), 2, np.outer(inside, inside), rng) for _ in range(400)])
    p_values = scorecard(chips, CONTEXT, None)["gamma_p_value"].values
    assert 0.01 < np.mean(p_values < 0.05) < 0.09  # 0.37 with every pixel counted as independent
    assert 0.35 < np.mean(p_values < 0.5) < 0.6


def test_units_follow_the_spacing_and_the_nesz(yardstick: Yardstick) -> None:
    chips = scenes(6, (64, 64))
    near = scorecard(chips, CONTEXT, yardstick)
    far = scorecard(
        chips, replace(CONTEXT, azimuth_spacing_m=1.6, range_spacing_m=2.4, nesz_db=-20.0), yardstick
    )
    for name in ("irw_azimuth_m", "irw_range_m", "target_length_m", "target_width_m"):
        np.testing.assert_allclose(far[name].values, 2 * near[name].values)
        assert np.isfinite(near[name].values).any()
    np.testing.assert_allclose(
        far["noise_over_nesz_db"].values, near["noise_over_nesz_db"].values - 10, rtol=1e-9
    )


@pytest.mark.parametrize("gain", [1e-12, 0.5, 1e12])
def test_gain_moves_levels_alone(gain: float) -> None:
    chips = scenes(6, (64, 64))
    one, other = scorecard(chips, CONTEXT, None), scorecard(chips.astype(float) * gain, CONTEXT, None)
    moved = {"mean_db", "noise_floor_db", "noise_over_nesz_db"}
    for name in COLUMNS:
        shift = 10 * np.log10(gain) if name in moved else 0.0
        np.testing.assert_allclose(
            other[name].values, one[name].values + shift, rtol=2e-4, atol=2e-4, err_msg=name
        )


# --- a chip's values are its own


def test_values_do_not_depend_on_the_other_chips_of_the_stack(yardstick: Yardstick) -> None:
    chips = scenes(140, (64, 64))
    chips[3], chips[4, 2, 2] = 1.0, np.nan
    whole = scorecard(chips, CONTEXT, yardstick)
    order = np.random.default_rng(0).permutation(len(chips))
    pieces = [
        scorecard(chips[part], CONTEXT, yardstick) for part in np.split(order, [1, 2, 4, 7, 12, 29, 131])
    ]
    for name in COLUMNS:
        again = np.concatenate([piece[name].values for piece in pieces])
        np.testing.assert_array_equal(again, whole[name].values[order], err_msg=name)
        reasons = np.concatenate([piece[name].reasons for piece in pieces])
        np.testing.assert_array_equal(reasons, whole[name].reasons[order], err_msg=name)


def test_chips_are_not_changed(yardstick: Yardstick) -> None:
    chips = scenes(3, (32, 32)).astype(np.float64)
    before = chips.copy()
    scorecard(chips, CONTEXT, yardstick)
    np.testing.assert_array_equal(chips, before)


# --- reasons


def test_without_yardstick_spacing_or_nesz_exactly_their_columns_are_missing(yardstick: Yardstick) -> None:
    chips = scenes(18, (64, 64))
    full = scorecard(chips, CONTEXT, yardstick)

    def lost(context: ChipContext, by: Yardstick | None) -> set[str]:
        found = scorecard(chips, context, by)
        return {n for n in COLUMNS if not np.array_equal(found[n].values, full[n].values, equal_nan=True)}

    held = {"mean_db", "log_cumulant_2", "log_cumulant_3"}  # zeros are held at each chip's own floor
    texture = {name for name in COLUMNS if name.startswith("texture_")}
    distances = {name for name in COLUMNS if name.endswith("_distance")}
    assert lost(CONTEXT, None) == texture | distances | held | {"wasserstein_ln", "out_of_band_ratio"}
    targets = {"target_length_m", "target_width_m"}
    assert lost(replace(CONTEXT, azimuth_spacing_m=None), yardstick) == {"irw_azimuth_m"} | targets
    assert lost(replace(CONTEXT, range_spacing_m=None), yardstick) == {"irw_range_m"} | targets
    assert lost(replace(CONTEXT, nesz_db=None), yardstick) == {"noise_over_nesz_db"}
    assert lost(replace(CONTEXT, domain=Radiometry.INTENSITY), yardstick) == {"noise_over_nesz_db"}


def test_undeclared_radiometry_leaves_structure_alone(yardstick: Yardstick) -> None:
    found = scorecard(scenes(6, (64, 64)), replace(CONTEXT, domain=Radiometry.UNKNOWN), yardstick)
    for name in COLUMNS:
        if name in STRUCTURE:
            assert set(found[name].reasons) == {""}
        else:
            assert set(found[name].reasons) == {"undeclared radiometry"}, name


def test_amplitude_is_refused() -> None:
    with pytest.raises(RadiometryError, match="declared amplitude"):
        scorecard(speckle(1), replace(CONTEXT, domain=Radiometry.AMPLITUDE), None)


@pytest.mark.parametrize("bad", [np.ones((4, 4)), np.ones((2, 4, 4), complex), np.full((1, 2, 2), "a")])
def test_anything_but_a_stack_of_real_chips_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected \\(n, rows, cols\\) real"):
        scorecard(bad, CONTEXT, None)


def constant(chip: np.ndarray) -> None:
    chip[:] = 4


def zero(chip: np.ndarray) -> None:
    chip[:] = 0


def islands(chip: np.ndarray) -> None:
    chip[3:6, 9:14] = np.nan


def infinite(chip: np.ndarray) -> None:
    chip[5, 5] = np.inf


def negative(chip: np.ndarray) -> None:
    chip[5, 5] = -1e-6


def huge(chip: np.ndarray) -> None:
    chip[5, 5] = 1e300


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (constant, "constant"),
        (zero, "constant chip"),
        (islands, "non-finite pixels"),
        (infinite, "non-finite pixels"),
        (negative, "negative intensity"),
        (huge, "intensity beyond the range of float32"),
    ],
)
@pytest.mark.parametrize("measured", [True, False])
def test_exactly_the_broken_chip_has_its_reason(
    break_it: object, reason: str, measured: bool, yardstick: Yardstick
) -> None:
    chips = speckle(3).astype(np.float64)
    good = scorecard(chips, CONTEXT, yardstick if measured else None)
    break_it(chips[1])  # type: ignore[operator]
    found = scorecard(chips, CONTEXT, yardstick if measured else None)
    for name in COLUMNS:
        np.testing.assert_array_equal(found[name].values[[0, 2]], good[name].values[[0, 2]], err_msg=name)
        if name not in {"zero_fraction"} or break_it not in (constant, zero):
            assert found[name].reasons[1] != "", name
    for name in ("mean_db", "log_psd_05", "correlation_range_1", "dynamic_range_db", "bright_points"):
        assert found[name].reasons[1].startswith(reason)


def few_levels(chip: np.ndarray) -> None:
    chip[:] = np.where(chip > 1, 2, 1)


def saturated(chip: np.ndarray) -> None:
    np.minimum(chip, np.median(chip), out=chip)


def one_pixel(chip: np.ndarray) -> None:
    chip[:] = 0
    chip[chip.shape[0] // 2, chip.shape[1] // 2] = 5


def half_zero(chip: np.ndarray) -> None:
    chip[: chip.shape[0] // 2] = 0


def lines(chip: np.ndarray) -> None:
    chip[:] = 1 + np.arange(chip.shape[1]) % 2


def faint(chip: np.ndarray) -> None:
    chip *= 1e-38


def ramp(chip: np.ndarray) -> None:
    chip[:] = np.geomspace(1e-30, 1e30, chip.size).reshape(chip.shape)


ODD = [
    few_levels,
    saturated,
    one_pixel,
    half_zero,
    lines,
    faint,
    ramp,
    zero,
    constant,
    islands,
    negative,
    huge,
]


@pytest.mark.parametrize("break_it", ODD)
@pytest.mark.parametrize("shape", [(64, 64), (8, 8), (33, 47), (16, 200), (1, 1)])
def test_any_chip_has_a_value_or_a_reason_in_every_column(
    break_it: object, shape: tuple[int, int], yardstick: Yardstick
) -> None:
    chips = speckle(2, shape).astype(np.float64)
    if min(shape) > 10 or break_it not in (islands, infinite, negative, huge):
        break_it(chips[1])  # type: ignore[operator]
    for by in (yardstick, None):
        found = scorecard(chips, CONTEXT, by)  # Measure refuses a NaN without a reason; warnings are errors
        assert tuple(found) == COLUMNS
        assert all(measure.values.shape == (2,) for measure in found.values())


@pytest.mark.parametrize("shape", [(0, 64, 64), (0, 0, 0), (2, 0, 5)])
def test_no_chips_or_no_pixels_have_an_answer(shape: tuple[int, int, int], yardstick: Yardstick) -> None:
    found = scorecard(np.empty(shape), CONTEXT, yardstick)
    assert all(len(measure.values) == shape[0] for measure in found.values())
    assert all((measure.reasons != "").all() for measure in found.values())


def test_chips_below_32_px_have_no_vector_and_others_a_whole_one(yardstick: Yardstick) -> None:
    small, fit = (scorecard(speckle(4, shape), CONTEXT, yardstick) for shape in ((31, 40), (32, 32)))
    assert set(small["log_psd_00"].reasons) == {"smaller than 32 px"}
    for name in VECTOR:
        assert np.isfinite(fit[name].values).all(), name


def test_zeros_are_held_at_the_yardstick_s_floor_and_counted(yardstick: Yardstick) -> None:
    chips = speckle(1)
    held = chips.copy()
    chips[0, :16], held[0, :16] = 0, yardstick.ln_floor
    found, other = scorecard(chips, CONTEXT, yardstick), scorecard(held, CONTEXT, yardstick)
    for name in ("mean_db", "log_cumulant_2", "log_cumulant_3", "wasserstein_ln"):
        assert found[name].values[0] == pytest.approx(other[name].values[0], rel=1e-5)
    assert found["zero_fraction"].values[0] == 0.25
    assert other["zero_fraction"].values[0] == 0


# --- the yardstick


def test_a_yardstick_of_white_speckle_is_flat_and_of_any_sizes() -> None:
    chips = [*speckle(80), *speckle(80, (40, 96), seed=2)]
    found = fit_yardstick(chips)
    assert found.rings.shape == (12,)
    assert found.polar.shape == (6, 4)
    np.testing.assert_allclose(found.rings, 0, atol=0.12)  # ln of a mean of few bins lies below 0
    np.testing.assert_allclose(found.correlation, [[1, 0, 0, 0, 0]] * 2, atol=0.01)
    np.testing.assert_allclose(found.band, 1)
    pooled = np.concatenate([chip.ravel() for chip in chips])
    assert found.ln_quantiles[256] == pytest.approx(np.log(np.median(pooled)), abs=0.01)
    for end, share in zip(found.grey_window_db, (0.001, 0.999), strict=True):
        assert np.mean(10 * np.log10(pooled) < end) == pytest.approx(share, abs=1e-4)
    order = np.random.default_rng(1).permutation(len(chips))
    again = fit_yardstick([chips[k] for k in order])
    np.testing.assert_allclose(again.rings, found.rings, rtol=1e-12)


def test_own_chips_are_nearer_than_others() -> None:
    inside = (np.abs(np.fft.fftfreq(64)) < 0.35).astype(float)
    rng = np.random.default_rng(3)
    chips = np.stack([correlated_speckle((64, 64), 2, np.outer(inside, inside), rng) for _ in range(24)])
    own, other = fit_yardstick(list(chips)), fit_yardstick(list(speckle(24)))
    near, far = scorecard(chips, CONTEXT, own), scorecard(chips, CONTEXT, other)
    for name in ("wasserstein_ln", "log_psd_distance", "polar_psd_distance", "correlation_distance"):
        assert np.quantile(near[name].values, 0.9) < np.quantile(far[name].values, 0.1), name


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [(constant, "constant chip"), (islands, "non-finite pixels"), (negative, "negative intensity")],
)
def test_a_yardstick_names_the_chip_it_cannot_take(break_it: object, reason: str) -> None:
    chips = speckle(5)
    break_it(chips[3])  # type: ignore[operator]
    with pytest.raises(DataError, match=f"chip 3 of 5 \\(64 x 64 px\\): {reason}"):
        fit_yardstick(list(chips))


def test_a_yardstick_needs_chips_of_32_px() -> None:
    with pytest.raises(DataError, match="no chips"):
        fit_yardstick([])
    with pytest.raises(DataError, match=r"chip 1 of 2 .*smaller than 32 px"):
        fit_yardstick([speckle(1)[0], speckle(1, (31, 40))[0]])
    with pytest.raises(DataError, match="chip 0 has shape"):
        fit_yardstick([speckle(1)])
