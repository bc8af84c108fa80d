from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.signal import correlate
from scipy.stats import binom, chisquare

from sarcurate.core.chip_stack import CONSTANT, NEGATIVE, NON_FINITE
from sarcurate.core.pairs import (
    ALIKE,
    CONTENT,
    FEW,
    FLAT,
    GHOST,
    Comparison,
    against_null,
    correlations,
    pair_measures,
    reference_bank,
)
from sarcurate.errors import DataError

NULLS = 20


def _speckle(seed: int, n: int, side: int | tuple[int, int] = 64, looks: float = 1.0) -> np.ndarray:
    rows, cols = (side, side) if isinstance(side, int) else side
    return np.random.default_rng(seed).gamma(looks, 1 / looks, (n, rows, cols))


def _plain_pattern(chip: np.ndarray, comparison: Comparison) -> np.ndarray:
    positive = chip[chip > 0]
    ln = np.log(np.maximum(chip, max(positive.min() / 4, 1e-6 * np.median(positive))))
    smooth = gaussian_filter(ln, comparison.sigma_px, mode="reflect")
    if not comparison.fine:
        return np.asarray(smooth - smooth.mean())
    rows, cols = (np.sin(np.pi * np.arange(1, side + 1) / (side + 1)) ** 2 for side in chip.shape)
    return np.asarray((ln - smooth) * np.outer(rows, cols))


def _plain(made: np.ndarray, reference: np.ndarray, comparison: Comparison) -> float:
    """One pair, by correlating every flip at every shift."""
    one, other = _plain_pattern(made, comparison), _plain_pattern(reference, comparison)
    flips = (1, -1) if comparison.flipped else (1,)
    s, best = comparison.most_shift_px, -np.inf
    for down in flips:
        for across in flips:
            surface = correlate(one, other[::down, ::across], method="direct")
            row, col = (side - 1 for side in one.shape)
            best = max(best, surface[row - s : row + s + 1, col - s : col + s + 1].max())
    return float(best / np.linalg.norm(one) / np.linalg.norm(other))


def _pair(made: np.ndarray, reference: np.ndarray, comparison: Comparison) -> float:
    banks = (reference_bank(chip[None], comparison) for chip in (made, reference))
    return float(correlations(*banks)[0, 0])


# --- equal to the slow version


@pytest.mark.parametrize("comparison", [CONTENT, GHOST])
@pytest.mark.parametrize("shape", [(32, 32), (33, 40), (37, 35)])
def test_equal_to_a_plain_correlation(comparison: Comparison, shape: tuple[int, int]) -> None:
    made, references = _speckle(1, 2, shape), _speckle(2, 3, shape)
    made[0, 4:9, 5:8] = 0
    references[1] = np.roll(made[1], (2, -1), axis=(0, 1))[::-1]
    references[2, :, :6] = 0
    found = correlations(reference_bank(made, comparison), reference_bank(references, comparison))
    plain = [[_plain(one, other, comparison) for other in references] for one in made]
    np.testing.assert_allclose(found, plain, atol=1e-6)


def test_many_references_are_taken_in_blocks_without_a_change() -> None:
    made, references = (
        reference_bank(_speckle(1, 2, 32), CONTENT),
        reference_bank(_speckle(2, 300, 32), CONTENT),
    )
    few = np.array([0, 255, 256, 299])
    found = correlations(made, references)
    np.testing.assert_allclose(found[:, few], correlations(made, references.take(few)), atol=1e-6)


def test_a_chip_does_not_depend_on_the_others_of_its_batch() -> None:
    made, references = reference_bank(_speckle(1, 5, 32), GHOST), reference_bank(_speckle(2, 4, 32), GHOST)
    together = correlations(made, references)
    alone = np.concatenate([correlations(made.take(np.array([k])), references) for k in range(5)])
    assert np.array_equal(together, alone)


# --- what the scores see, and what they do not


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 1000),
    st.floats(-60, 60),
    st.tuples(st.integers(-8, 8), st.integers(-8, 8)),
    st.sampled_from([(1, 1), (-1, 1), (1, -1), (-1, -1)]),
)
def test_a_copy_is_found_whatever_its_gain_shift_and_flip(
    seed: int, gain_db: float, shift: tuple[int, int], flip: tuple[int, int]
) -> None:
    field = _speckle(seed, 1, 80)[0]
    row, col = 8 + shift[0], 8 + shift[1]
    style = field[8:72, 8:72]
    made = 10 ** (gain_db / 10) * field[row : row + 64, col : col + 64][:: flip[0], :: flip[1]]
    # Overlap of two Hann windows of 64 px 8 px apart is 0.90 an axis; unrelated speckle reads about 0.1.
    least = 0.999 if shift == (0, 0) else 0.7
    assert least < _pair(made, style, GHOST) <= 1 + 1e-6


def test_gain_changes_nothing() -> None:
    made, other = _speckle(3, 2, 32)
    for comparison in (CONTENT, GHOST):
        score = _pair(made, other, comparison)
        assert _pair(made * 1e4, other * 1e-7, comparison) == pytest.approx(score, abs=1e-6)


def test_a_shift_beyond_the_search_is_not_found() -> None:
    field = _speckle(4, 1, 96)[0]
    style = field[16:80, 16:80]
    assert _pair(field[24:88, 16:80], style, GHOST) > 0.7
    assert _pair(field[25:89, 16:80], style, GHOST) < 0.2


def test_a_quarter_turn_is_no_flip() -> None:
    style = _speckle(5, 1)[0]
    assert _pair(np.rot90(style), style, GHOST) < 0.2
    assert _pair(style[::-1], style, CONTENT) < 0.5


def test_a_ghost_is_fine_detail_and_not_layout() -> None:
    """A common layout under independent speckle is content, not a ghost."""
    layout = np.exp(gaussian_filter(np.random.default_rng(6).normal(size=(64, 64)), 6) * 15)
    speckle = _speckle(6, 2 + NULLS, looks=4)
    one, other = layout * speckle[:2]
    nulls = speckle[2:]
    found = pair_measures(one[None], other[None], other[None], nulls, nulls)
    assert found["content_retention"].values[0] > 0.8
    assert found["content_z"].values[0] > 10
    assert found["ghost_z"].values[0] < 5


# --- false alarms and power


def _measured(made: np.ndarray, own: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = pair_measures(made, own, own, null, null)
    return found["content_z"].values, found["ghost_z"].values


def test_ranks_of_independent_speckle_are_those_of_chance() -> None:
    """Own and null scores have one law, so each of 1 + 20 ranks has the same chance."""
    n = 300
    made, own, null = _speckle(7, n, 48), _speckle(8, n, 48), _speckle(9, NULLS, 48)
    for comparison in (CONTENT, GHOST):
        ready, references = reference_bank(made, comparison), reference_bank(own, comparison)
        score = np.array(
            [correlations(ready.take(k), references.take(k))[0, 0] for k in np.arange(n)[:, None]]
        )
        rank = (correlations(ready, reference_bank(null, comparison)) > score[:, None]).sum(axis=1)
        first = int((rank == 0).sum())
        assert binom.ppf(1e-4, n, 1 / (1 + NULLS)) <= first <= binom.ppf(1 - 1e-4, n, 1 / (1 + NULLS))
        assert chisquare(np.bincount(rank // 3, minlength=7)).pvalue > 1e-4


def test_power_rises_with_the_share_of_a_blended_copy() -> None:
    n = 60
    base, style, null = _speckle(10, n), _speckle(11, n), _speckle(12, NULLS)
    copies = np.roll(style, (3, -5), axis=(1, 2))[:, :, ::-1]
    detected = []
    for share in (0.0, 0.1, 0.3, 0.5):
        _, z = _measured((1 - share) * base + share * copies, style, null)
        detected.append((z > 5).mean())
    assert detected[0] < 0.05 < detected[1]
    assert detected[2:] == [1.0, 1.0]


def test_a_copy_with_added_noise_is_found() -> None:
    style, null = _speckle(13, 30), _speckle(14, NULLS)
    noisy = style * _speckle(15, 30, looks=2)
    assert (_measured(noisy, style, null)[1] > 5).all()


def test_new_speckle_on_the_parents_scatterers_is_kept_content() -> None:
    """Chips of one class, a bright body in the middle: the null shares the body, not the scatterers."""
    rng = np.random.default_rng(16)
    n = 20
    body = np.zeros((64, 64))
    body[26:38, 16:48] = 4.0
    points = np.zeros((n + NULLS, 64, 64))
    for chip in points:
        chip[rng.integers(20, 44, 12), rng.integers(14, 50, 12)] = 300.0
    scenes = 1 + body + gaussian_filter(points, (0, 0.8, 0.8))
    parents = scenes * _speckle(17, n + NULLS, looks=3)
    made = np.roll(scenes[:n], (1, -2), axis=(1, 2)) * _speckle(18, n, looks=1)
    kept, _ = _measured(made, parents[:n], parents[n:])
    lost, _ = _measured(made, np.roll(parents[:n], 1, axis=0), parents[n:])
    assert (kept > 3).all()
    assert np.median(kept) > 4.5
    assert (lost > 3).sum() <= 1
    assert abs(np.median(lost)) < 1


# --- the null


def test_z_is_the_distance_from_the_null_in_its_own_deviations() -> None:
    null = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, np.nan], [0.2] * 6, [0.1, 0.2, 0.3, 0.4, np.nan, np.nan]])
    score, z = against_null(np.array([0.6, 0.6, 0.6]), null, np.array(["", "", ""]))
    assert score.column() == [0.6, 0.6, 0.6]
    assert z.values[0] == pytest.approx(0.3 / np.sqrt(0.025))
    assert list(z.reasons) == ["", ALIKE, FEW]


def test_a_score_without_reason_is_the_only_one_with_a_value() -> None:
    score, z = against_null(np.array([np.nan, 0.5]), np.full((2, 5), np.nan), np.array(["gone", ""]))
    assert score.column() == [None, 0.5]
    assert list(z.reasons) == ["gone", FEW]


# --- bad chips


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, NON_FINITE), (np.inf, NON_FINITE), (-1.0, NEGATIVE), (None, CONSTANT)]
)
def test_a_bad_chip_has_a_reason_and_leaves_the_others_alone(value: float | None, reason: str) -> None:
    made, own, null = _speckle(19, 2, 32), _speckle(20, 2, 32), _speckle(21, NULLS, 32)
    good = pair_measures(made, own, own, null, null)

    def spoil(chips: np.ndarray) -> np.ndarray:
        bad = chips.copy()
        bad[0] = 1.0 if value is None else np.where(np.arange(32) == 7, value, bad[0])
        return bad

    for name, found in pair_measures(spoil(made), own, own, null, null).items():
        assert list(found.reasons) == [reason, ""]
        assert found.values[1] == good[name].values[1]
    for name, found in pair_measures(made, spoil(own), spoil(own), null, null).items():
        kind = "parent" if name.startswith("content") else "style reference"
        assert list(found.reasons) == [f"{kind}: {reason}", ""]
    for name, found in pair_measures(made, own, own, spoil(null), spoil(null)).items():
        assert list(found.reasons) == ["", ""]
        assert found.values == pytest.approx(good[name].values, abs=3.0)


def test_small_chips_have_a_reason() -> None:
    for size in ((8, 8), (31, 64)):
        chips = _speckle(22, 5, size)
        for found in pair_measures(chips[:1], chips[:1], chips[:1], chips, chips).values():
            assert list(found.reasons) == ["smaller than 32 px"]


def test_a_chip_that_varies_by_rounding_alone_has_a_reason() -> None:
    chips = np.full((1, 32, 32), 1e10)
    chips[0, 16, 16] = np.nextafter(1e10, np.inf)
    null = _speckle(26, NULLS, 32)
    for found in pair_measures(chips, null[:1], null[:1], null[1:], null[1:]).values():
        assert list(found.reasons) == [FLAT]
    least = np.ones((1, 32, 32), dtype=np.float32)
    least[0, 16, 16] = np.nextafter(np.float32(1), np.float32(2))
    for comparison in (CONTENT, GHOST):
        assert list(reference_bank(least, comparison).reasons) == [""]


def test_a_null_of_bad_chips_is_no_null() -> None:
    made, null = _speckle(23, 1, 32), np.ones((NULLS, 32, 32))
    found = pair_measures(made, made, made, null, null)
    assert found["ghost_ncc"].values[0] == pytest.approx(1, abs=1e-6)
    assert list(found["ghost_z"].reasons) == list(found["content_z"].reasons) == [FEW]


def test_no_chips_give_no_rows() -> None:
    none, null = np.zeros((0, 32, 32)), _speckle(24, NULLS, 32)
    assert all(len(found.values) == 0 for found in pair_measures(none, none, none, null, null).values())


def test_sizes_and_counts_must_agree() -> None:
    chips, smaller = _speckle(25, 6, 40), _speckle(25, 6, 32)
    with pytest.raises(DataError, match=r"made chips of \(40, 40\) px .* references of \(32, 32\) px"):
        pair_measures(chips, smaller, chips, chips, chips)
    with pytest.raises(DataError, match="6 made chips, 5 parents, 6 styles"):
        pair_measures(chips, chips[:5], chips, chips, chips)
    with pytest.raises(DataError, match="for one comparison"):
        correlations(reference_bank(chips, CONTENT), reference_bank(chips, GHOST))
    with pytest.raises(DataError, match="expected \\(n, rows, cols\\) real"):
        reference_bank(chips[0], CONTENT)
