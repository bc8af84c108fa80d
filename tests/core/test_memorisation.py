from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core import memorisation
from sarcurate.core.memorisation import NON_FINITE, memorisation_ratio, train_ratios
from sarcurate.errors import DataError

Numbers = list[float]


def _plain(made: np.ndarray, train: np.ndarray, folds: np.ndarray) -> tuple[Numbers, list[int], Numbers]:
    """Every distance, one after another."""
    to_others = [
        min(float(np.linalg.norm(one - train[k])) for k in range(len(train)) if folds[k] != fold)
        for one, fold in zip(train, folds, strict=True)
    ]
    typical = float(np.median(to_others))
    distances = [[float(np.linalg.norm(one - other)) for other in train] for one in made]
    nearest = [int(np.argmin(row)) for row in distances]
    return [min(row) / typical for row in distances], nearest, [value / typical for value in to_others]


def _features(seed: int, n: int, d: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("cells", [1, 100, 10**6])
def test_equal_to_plain_distances_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(memorisation, "_CELLS_PER_BLOCK", cells)
    made, train, folds = _features(1, 17), _features(2, 31), np.arange(31) % 5
    ratios, nearest, null = _plain(made, train, folds)
    found = memorisation_ratio(made, train, folds)
    np.testing.assert_allclose(found.ratio.values, ratios, rtol=1e-12)
    assert list(found.nearest) == nearest
    np.testing.assert_allclose(train_ratios(train, folds), null, rtol=1e-12)


def test_a_copy_reads_zero_and_names_its_original() -> None:
    train, folds = _features(3, 40), np.arange(40) % 4
    found = memorisation_ratio(train[[7, 31]], train, folds)
    assert found.ratio.column() == [0.0, 0.0]
    assert list(found.nearest) == [7, 31]


def test_new_chips_of_the_same_law_read_what_theory_says() -> None:
    """On a ring of n even points the nearest neighbour of a new one is half as far in the mean."""
    n = 400
    angle = 2 * np.pi * np.arange(n) / n
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    new = angle + np.random.default_rng(4).uniform(0, 2 * np.pi / n, n)
    made = np.stack([np.cos(new), np.sin(new)], axis=1)
    found = memorisation_ratio(made, ring, np.arange(n) % 2)
    # uniform between 0 and one half of the spacing: mean a quarter, standard error 0.5 / sqrt(12 n)
    assert found.ratio.values.mean() == pytest.approx(0.25, abs=4 * 0.5 / np.sqrt(12 * n))
    np.testing.assert_allclose(train_ratios(ring, np.arange(n) % 2), 1.0)


def test_the_null_has_median_one_and_leaves_the_own_fold_out() -> None:
    train, folds = _features(5, 60), np.repeat(np.arange(5), 12)
    null = train_ratios(train, folds)
    assert np.median(null) == pytest.approx(1)
    twins = train.copy()
    twins[1] = twins[0]  # of one fold: overlapping chips of one scene
    assert train_ratios(twins, folds)[0] > 0.3
    twins[59] = twins[0]
    assert train_ratios(twins, folds)[0] == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.permutations(range(20)))
def test_scale_and_order_change_nothing(seed: int, scale: float, order: list[int]) -> None:
    made, train, folds = _features(seed, 5), _features(seed + 1, 20), np.arange(20) % 3
    one = memorisation_ratio(made, train, folds)
    other = memorisation_ratio(scale * made, scale * train[order], folds[order])
    np.testing.assert_allclose(other.ratio.values, one.ratio.values, rtol=1e-9)
    assert list(np.array(order)[other.nearest]) == list(one.nearest)


def test_missing_features_are_a_reason_or_left_out() -> None:
    made, train, folds = _features(6, 3), _features(7, 20), np.arange(20) % 4
    made[1, 2], train[5, 0] = np.nan, np.inf
    found = memorisation_ratio(made, train, folds)
    assert list(found.ratio.reasons) == ["", NON_FINITE, ""]
    assert found.nearest[1] == -1
    kept = np.delete(np.arange(20), 5)
    plain = memorisation_ratio(made, train[kept], folds[kept])
    np.testing.assert_array_equal(found.ratio.values, plain.ratio.values)
    assert list(found.nearest[[0, 2]]) == list(kept[plain.nearest[[0, 2]]])
    null = train_ratios(train, folds)
    assert np.isnan(null[5])
    np.testing.assert_array_equal(null[kept], train_ratios(train[kept], folds[kept]))


def test_no_made_chips_give_no_rows() -> None:
    found = memorisation_ratio(np.zeros((0, 8)), _features(8, 10), np.arange(10) % 2)
    assert found.ratio.column() == []
    assert found.nearest.shape == (0,)


def test_bad_input_is_refused() -> None:
    train, folds = _features(9, 10), np.arange(10) % 2
    with pytest.raises(DataError, match=r"features of shape \(4, 7\), train \(10, 8\), folds \(10,\)"):
        memorisation_ratio(_features(1, 4, 7), train, folds)
    with pytest.raises(DataError, match=r"folds \(9,\)"):
        train_ratios(train, folds[:9])
    with pytest.raises(DataError, match=r"folds \(10,\)"):
        train_ratios(np.zeros((10, 0)), folds)
    with pytest.raises(DataError, match=r"10 train chips .* fewer than two folds"):
        train_ratios(train, np.zeros(10))
    with pytest.raises(DataError, match="equal one in another fold"):
        train_ratios(np.repeat(train[:5], 2, axis=0), folds)
