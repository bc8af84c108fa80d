from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from sarcurate.core.near_duplicates import (
    NEIGHBOURS,
    SAME_PICTURE,
    Pairs,
    near_duplicate_groups,
    near_duplicate_pairs,
    picture_codes,
    similarities,
)
from sarcurate.core.picture_code import frequencies, picture_code
from sarcurate.errors import DataError

SIDE_PX, MARGIN_PX, ORIGINALS = 64, 4, 40


def _scene(rng: np.random.Generator) -> np.ndarray:
    """Amplitude of one-look band-limited speckle with some bright points, wider than a chip."""
    side = SIDE_PX + 2 * MARGIN_PX
    field = rng.normal(size=(side, side)) + 1j * rng.normal(size=(side, side))
    field[rng.integers(20, 50, 12), rng.integers(20, 50, 12)] *= 12
    return np.abs(gaussian_filter(field.real, 0.7) + 1j * gaussian_filter(field.imag, 0.7))


def _cut(scene: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
    top, left = MARGIN_PX + down, MARGIN_PX + right
    return scene[top : top + SIDE_PX, left : left + SIDE_PX]


def _grey(amplitude: np.ndarray, exponent: float = 1.0, median: float = 30.0) -> np.ndarray:
    curve = amplitude**exponent
    return np.clip(np.rint(median * curve / np.median(curve)), 0, 255).astype(np.uint8)


def _jpeg(grey: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _speckled(amplitude: np.ndarray, looks: float) -> np.ndarray:
    rng = np.random.default_rng(8)
    return amplitude * np.sqrt(rng.gamma(looks, 1 / looks, amplitude.shape))


def _resized(amplitude: np.ndarray, side_px: int) -> np.ndarray:
    picture = Image.fromarray(amplitude.astype(np.float32))
    return np.maximum(np.asarray(picture.resize((side_px, side_px), Image.Resampling.BICUBIC)), 0)


SCENES = [_scene(np.random.default_rng(seed)) for seed in range(ORIGINALS)]
ORIGINAL_CODES = picture_codes([_grey(_cut(scene)) for scene in SCENES])
DISTURBED = {
    "gain": lambda scene: _cut(scene) * 37.0,
    "decibels": lambda scene: 20 * np.log10(_cut(scene)),
    "saturated": lambda scene: _grey(_cut(scene), median=120),
    "curve": lambda scene: _grey(_cut(scene), exponent=0.4),
    "jpeg": lambda scene: _jpeg(_grey(_cut(scene)), 50),
    "speckle": lambda scene: _speckled(_cut(scene), 4),
    "shift": lambda scene: _cut(scene, 4, -3),
    "turn": lambda scene: np.rot90(_cut(scene)),
    "flip": lambda scene: _cut(scene)[::-1],
    "smaller": lambda scene: _resized(_cut(scene), 50),
    "larger": lambda scene: _resized(_cut(scene), 80),
    "all": lambda scene: _jpeg(_grey(_resized(_speckled(_cut(scene, -2, 3), 8), 72).T[::-1], 0.6), 75),
}


@pytest.mark.parametrize("name", DISTURBED)
def test_a_disturbed_copy_is_found_and_nothing_else(name: str) -> None:
    copies = picture_codes([DISTURBED[name](scene) for scene in SCENES])
    pairs = near_duplicate_pairs(np.concatenate([ORIGINAL_CODES, copies]))
    assert sorted(zip(pairs.first, pairs.second, strict=True)) == [
        (index, ORIGINALS + index) for index in range(ORIGINALS)
    ]
    assert (pairs.similarity >= SAME_PICTURE).all()


def test_a_larger_shift_than_promised_is_another_picture() -> None:
    wide = np.pad(SCENES[0], 8, mode="reflect")
    codes = picture_codes([wide[4:68, 4:68], wide[16:, 16:][:64, :64]])
    assert len(near_duplicate_pairs(codes)) == 0


def test_the_same_target_on_other_speckle_is_no_duplicate() -> None:
    """A sensor that passes twice draws clutter and speckle anew: two chips of a class, not one picture."""
    points = np.random.default_rng(0).integers(24, 40, (2, 10))

    def chip(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        field = rng.normal(size=(64, 64)) + 1j * rng.normal(size=(64, 64))
        field[tuple(points)] += 12 * np.exp(2j * np.pi * rng.random(10))
        return np.abs(gaussian_filter(field.real, 0.7) + 1j * gaussian_filter(field.imag, 0.7))

    assert len(near_duplicate_pairs(picture_codes([chip(seed) for seed in range(60)]))) == 0


@pytest.mark.parametrize("coherence", [0.5, 0.8])
def test_passes_that_share_part_of_their_speckle_are_no_duplicates(coherence: float) -> None:
    """Intensities of circular Gaussian fields correlate with coherence squared: 0.64 at most here."""

    def passes(seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        first, new = rng.normal(size=(2, 64, 64)) + 1j * rng.normal(size=(2, 64, 64))
        return [np.abs(first), np.abs(coherence * first + np.sqrt(1 - coherence**2) * new)]

    codes = picture_codes([chip for seed in range(30) for chip in passes(seed)])
    assert len(near_duplicate_pairs(codes)) == 0
    expected = pytest.approx(coherence**2, abs=0.1)
    assert np.median(similarities(codes[::2], codes[1::2])) == expected


def test_chance_makes_no_duplicates_of_the_smallest_chips() -> None:
    rng = np.random.default_rng(6)
    codes = picture_codes([rng.exponential(size=(16, 16)) for _ in range(300)])
    assert len(near_duplicate_pairs(codes, min_similarity=0.6)) == 0


# --- similarity


def _picture(code: np.ndarray, side: int) -> np.ndarray:
    """The band-limited picture of a code on a grid."""
    place = (np.arange(side) + 0.5) / side - 0.5
    total = np.zeros((side, side))
    for (row, col), value in zip(frequencies(), code, strict=True):
        wave = np.exp(2j * np.pi * (row * place[:, None] + col * place))
        total += 2 * (value * wave).real
    return total


def test_similarity_is_the_largest_correlation_of_the_turned_and_rolled_pictures() -> None:
    side = 96  # a grid on which every shift of the search is whole
    rng = np.random.default_rng(2)
    codes = np.stack([picture_code(rng.exponential(size=(40, 40))) for _ in range(2)])
    one, other = (_picture(code, side) for code in codes)
    correlations = []
    for flipped in (other, other.T):
        for turns in range(4):
            turned = np.rot90(flipped, turns)
            for down in range(-6, 7):
                for right in range(-6, 7):
                    rolled = np.roll(turned, (down, right), axis=(0, 1))
                    correlations.append((one * rolled).sum() / np.sqrt((one**2).sum() * (rolled**2).sum()))
    assert similarities(codes[:1], codes[1:])[0] == pytest.approx(max(correlations), abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(first=st.integers(0, ORIGINALS - 1), second=st.integers(0, ORIGINALS - 1))
def test_similarity_is_symmetric_and_one_with_itself(first: int, second: int) -> None:
    one, other = ORIGINAL_CODES[[first]], ORIGINAL_CODES[[second]]
    assert similarities(one, other)[0] == pytest.approx(similarities(other, one)[0], abs=2e-4)
    assert similarities(one, one)[0] == pytest.approx(1.0, abs=1e-4)


# --- the search


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_picture_copied_more_often_than_there_are_neighbours_stays_whole(noise: float) -> None:
    rng = np.random.default_rng(3)
    chip = _cut(SCENES[0])
    family = [chip * (1 + noise * rng.random(chip.shape)) for _ in range(4 * NEIGHBOURS)]
    codes = np.concatenate([ORIGINAL_CODES[1:], picture_codes(family)])
    groups = near_duplicate_groups(near_duplicate_pairs(codes), len(codes))
    assert len(set(groups[: ORIGINALS - 1])) == ORIGINALS - 1
    assert len(set(groups[ORIGINALS - 1 :])) == 1
    assert not set(groups[: ORIGINALS - 1]) & set(groups[ORIGINALS - 1 :])


def test_order_of_the_chips_and_workers_change_nothing() -> None:
    chips = [_grey(_cut(scene)) for scene in SCENES[:12]] + [_cut(scene, 1, 2) for scene in SCENES[:6]]
    codes = picture_codes(chips, workers=2)
    np.testing.assert_array_equal(codes, picture_codes(chips))
    order = np.random.default_rng(0).permutation(len(chips))
    plain, mixed = near_duplicate_pairs(codes), near_duplicate_pairs(codes[order], workers=2)
    found = {frozenset((order[i], order[j])) for i, j in zip(mixed.first, mixed.second, strict=True)}
    assert found == {frozenset(pair) for pair in zip(plain.first, plain.second, strict=True)}
    assert len(found) == 6


def test_pairs_are_sorted_and_listed_once() -> None:
    codes = picture_codes([_cut(scene, *shift) for shift in ((0, 0), (1, 0), (0, 2)) for scene in SCENES[:5]])
    pairs = near_duplicate_pairs(codes)
    listed = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert listed == sorted(set(listed))
    assert all(first < second for first, second in listed)
    assert len(listed) == 15


def test_chips_without_a_code_are_like_no_other() -> None:
    small, plain = np.ones((8, 8)), np.ones((64, 64))
    codes = picture_codes([small, plain, small, plain, _cut(SCENES[0]), _cut(SCENES[0])])
    pairs = near_duplicate_pairs(codes)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([4], [5])


@pytest.mark.parametrize("count", [0, 1])
def test_no_chip_and_one_chip_have_no_pairs(count: int) -> None:
    codes = picture_codes([_cut(SCENES[0])] * count)
    assert codes.shape == (count, len(frequencies()))
    pairs = near_duplicate_pairs(codes)
    assert len(pairs) == 0
    assert near_duplicate_groups(pairs, count).tolist() == list(range(count))


@pytest.mark.parametrize("value", [0.0, -1.0, 1.01, float("nan")])
def test_a_threshold_must_be_a_correlation(value: float) -> None:
    with pytest.raises(DataError, match=r"min_similarity is .*expected 0 < it <= 1"):
        near_duplicate_pairs(ORIGINAL_CODES, value)


LINKS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda pair: pair[0] < pair[1]))


@given(links=LINKS)
def test_groups_are_what_links_reach(links: list[tuple[int, int]]) -> None:
    first, second = np.array([i for i, _ in links], dtype=int), np.array([j for _, j in links], dtype=int)
    groups = near_duplicate_groups(Pairs(first, second, np.ones(len(links))), 12)
    reached = [{chip} for chip in range(12)]
    for _ in range(12):
        for i, j in links:
            together = reached[i] | reached[j]
            for chip in together:
                reached[chip] = together
    for i in range(12):
        assert {j for j in range(12) if groups[j] == groups[i]} == reached[i]
