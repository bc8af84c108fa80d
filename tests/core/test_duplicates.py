from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarcurate.core.duplicates import join_groups, orientation_free_key

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=5)
FLOATS = st.floats(0, 1e6, width=32)
CHIPS = hnp.arrays(np.float32, SHAPES, elements=FLOATS) | hnp.arrays(np.uint16, SHAPES)


def _eight(chip: np.ndarray) -> list[np.ndarray]:
    """All flips and quarter turns, spelled out."""
    quarter = chip.T[::-1]
    return [
        chip,
        chip[::-1],
        chip[:, ::-1],
        chip[::-1, ::-1],
        chip.T,
        quarter,
        chip.T[:, ::-1],
        chip.T[::-1, ::-1],
    ]


@given(chip=CHIPS)
def test_all_eight_orientations_share_one_key(chip: np.ndarray) -> None:
    assert {orientation_free_key(view) for view in _eight(chip)} == {orientation_free_key(chip)}


SMALL = hnp.arrays(np.uint16, st.sampled_from([(2, 2), (2, 3), (3, 2)]), elements=st.integers(0, 2))


@given(one=SMALL, other=SMALL)
def test_keys_agree_exactly_where_some_orientation_does(one: np.ndarray, other: np.ndarray) -> None:
    same = any(np.array_equal(one, view) for view in _eight(other))
    assert (orientation_free_key(one) == orientation_free_key(other)) is same


def test_one_pixel_the_type_or_the_shape_makes_another_picture() -> None:
    chip = np.arange(12, dtype=np.float32).reshape(3, 4)
    changed = chip.copy()
    changed[1, 2] = np.nextafter(changed[1, 2], np.float32(99))
    others = [changed, chip.astype(np.uint16), chip.reshape(2, 6), chip[:, :3]]
    keys = [orientation_free_key(view) for view in (chip, *others)]
    assert len(set(keys)) == len(keys)


def _joined_slowly(groups: list[str], keys: list[int]) -> list[str]:
    """Merge sets of groups that share a key until nothing changes."""
    parts = [{group} for group in sorted(set(groups))]
    shared = [{g for g, k in zip(groups, keys, strict=True) if k == key} for key in set(keys)]
    for together in shared:
        touched = [part for part in parts if part & together]
        parts = [part for part in parts if not part & together] + [set().union(*touched)]
    return [min(next(part for part in parts if group in part)) for group in groups]


PAIRS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), max_size=20)


@given(pairs=PAIRS)
def test_groups_join_as_in_the_slow_version(pairs: list[tuple[str, int]]) -> None:
    groups, keys = [group for group, _ in pairs], [key for _, key in pairs]
    assert join_groups(groups, keys) == _joined_slowly(groups, keys)


@given(pairs=PAIRS, shuffle=st.randoms(use_true_random=False))
def test_joined_names_do_not_depend_on_order(pairs: list[tuple[str, int]], shuffle: object) -> None:
    order = list(range(len(pairs)))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    plain = join_groups([group for group, _ in pairs], [key for _, key in pairs])
    turned = join_groups([pairs[i][0] for i in order], [pairs[i][1] for i in order])
    assert [plain[i] for i in order] == turned


def test_groups_join_over_several_steps() -> None:
    groups = ["d", "c", "c", "b", "b", "a", "e"]
    keys = [1, 1, 2, 2, 3, 3, 4]
    assert join_groups(groups, keys) == ["a"] * 6 + ["e"]


def test_a_key_that_is_spelled_like_a_group_joins_nothing() -> None:
    assert join_groups(["a", "b"], ["b", "a"]) == ["a", "b"]


def test_one_key_is_needed_for_each_chip() -> None:
    with pytest.raises(ValueError, match="zip"):
        join_groups(["a", "b"], ["x"])
