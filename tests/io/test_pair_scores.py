from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.core.pairs import GHOST
from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import ParamsError
from sarcurate.io import reference_pool
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.manifest import Header
from sarcurate.io.pair_scores import COLUMNS, pair_scores, real_ghosts

HEADER = Header("terrasarx", Radiometry.INTENSITY, "train", (-25.0, 10.0))
SIDE = 40
NULLS = 8


def _speckle(seed: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.0, 1.0, (side, side)).astype(np.float32)


def _row(chip_id: str, group: str, label: str = "a", **more: Any) -> dict[str, Any]:
    return {"chip_id": chip_id, "origin": "real", "label": label, "group_id": group, "fold": 0} | more


def _set(root: Path, rows: Sequence[dict[str, Any]], chips: Sequence[np.ndarray]) -> ChipSet:
    with ChipSetWriter(root, HEADER) as writer:
        for row, chip in zip(rows, chips, strict=True):
            writer.add(row, chip)
    return open_chipset(root, splits=("train",))


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> ChipSet:
    """24 chips: a pair of identical ones in each of 12 groups, as overlapping chips of a scene would be."""
    rows = [_row(f"s{k:02d}", f"scene{k // 2}", "ab"[k // 2 % 2]) for k in range(24)]
    return _set(tmp_path_factory.mktemp("s") / "set", rows, [_speckle(100 + k // 2) for k in range(24)])


@pytest.fixture(scope="module")
def parents() -> dict[str, np.ndarray]:
    return {f"p{k:02d}": _speckle(200 + k) for k in range(16)}


def _made_rows(n: int = 16) -> list[dict[str, Any]]:
    return [
        _row(
            f"m{k:02d}",
            f"pass{k}",
            "ab"[k % 2],
            origin="migrated",
            parents=[f"p{k:02d}"],
            style_ids=[f"s{k:02d}"],
        )
        for k in range(n)
    ]


def _made_chips(n: int = 16) -> list[np.ndarray]:
    """The first copies half of its style, the second keeps its parent, the others are new."""
    ghost = 0.5 * _speckle(300) + 0.5 * np.roll(_speckle(100), 4, axis=0)[::-1]
    kept = _speckle(201) * np.random.default_rng(301).gamma(4, 0.25, (SIDE, SIDE)).astype(np.float32)
    return [ghost, kept, *(_speckle(300 + k) for k in range(2, n))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ChipSet:
    return _set(tmp_path_factory.mktemp("m") / "set", _made_rows(), _made_chips())


@pytest.fixture(scope="module")
def scored(made: ChipSet, parents: dict[str, np.ndarray], styles: ChipSet) -> pd.DataFrame:
    return pair_scores(made, parents, styles, NULLS, seed=5)


def _reasons(table: pd.DataFrame) -> list[dict[str, str]]:
    return [json.loads(text) if text else {} for text in table["pair_reasons"]]


def test_ghost_and_content_stand_out(scored: pd.DataFrame) -> None:
    assert list(scored.columns) == ["chip_id", *COLUMNS, "pair_reasons"]
    assert list(scored["chip_id"]) == [f"m{k:02d}" for k in range(16)]
    assert (scored["pair_reasons"] == "").all()
    ghost, content = scored["ghost_z"].to_numpy(), scored["content_z"].to_numpy()
    # The identical chip of the style's own group would spread the null and take the ghost's z below 3.
    assert ghost[0] > 8 > np.delete(ghost, 0).max()
    assert content[1] > 8 > np.delete(content, 1).max()
    assert scored["content_retention"][1] > 0.7


def test_a_chip_scores_the_same_in_any_order_and_company(
    tmp_path: Path, parents: dict[str, np.ndarray], styles: ChipSet, scored: pd.DataFrame
) -> None:
    """Parents are null references of each other, so only the ghosts are the same in another set."""
    backwards = dict(reversed(parents.items()))
    rows, chips = _made_rows(), _made_chips()
    again = _set(tmp_path / "backwards", rows[::-1], chips[::-1])
    pd.testing.assert_frame_equal(pair_scores(again, backwards, styles, NULLS, seed=5), scored)
    few = pair_scores(_set(tmp_path / "few", rows[:3], chips[:3]), parents, styles, NULLS, seed=5)
    names = ["chip_id", "ghost_ncc", "ghost_z"]
    pd.testing.assert_frame_equal(few[names], scored[names][:3])
    assert not pair_scores(again, parents, styles, NULLS, seed=6)["ghost_z"].equals(scored["ghost_z"])


def test_few_references_of_other_groups_give_a_score_without_z(
    tmp_path: Path, parents: dict[str, np.ndarray], styles: ChipSet, scored: pd.DataFrame
) -> None:
    made = _set(tmp_path / "made", _made_rows(4), _made_chips(4))
    found = pair_scores(made, parents, styles, NULLS, seed=5)
    pd.testing.assert_series_equal(found["content_retention"], scored["content_retention"][:4])
    assert all(why == {"content_z": "fewer than 5 null references"} for why in _reasons(found))


def test_null_is_of_other_groups_and_of_the_same_class_where_there_are_enough(styles: ChipSet) -> None:
    facts = {
        str(row["chip_id"]): reference_pool.Facts(row["chip_id"], row["label"], row["group_id"])
        for row in styles.rows()
    }
    arguments = (styles.intensity, GHOST, [(SIDE, SIDE)], NULLS, 1)
    pool = reference_pool.reference_pool("style reference", facts, *arguments)
    ids = np.array(pool.ids)
    for chip in facts.values():
        same = [facts[i] for i in ids[pool.draw(chip, {chip.group, "scene4"}, 8, seed=1)]]
        assert len({i.chip_id for i in same}) == 8
        assert {i.label for i in same} == {chip.label}
        assert not {i.group for i in same} & {chip.group, "scene4"}
        mixed = [facts[i] for i in ids[pool.draw(chip, {chip.group}, 20, seed=1)]]
        assert len({i.chip_id for i in mixed}) == 20
        assert {i.label for i in mixed} == {"a", "b"}
        assert chip.group not in {i.group for i in mixed}
        assert len(pool.draw(chip, {chip.group}, 50, seed=1)) == 22


def test_a_pool_cut_short_holds_all_classes_and_still_finds_ghosts(
    monkeypatch: pytest.MonkeyPatch, made: ChipSet, parents: dict[str, np.ndarray], styles: ChipSet
) -> None:
    monkeypatch.setattr(reference_pool, "POOL", 1)  # held up by 4 references for each of a null
    found = pair_scores(made, parents, styles, 5, seed=5)
    assert found["ghost_z"][0] > 8 > found["ghost_z"][1:].max()
    facts = {
        f"{k}": reference_pool.Facts(f"{k}", "rare" if k == 77 else "common", f"g{k}") for k in range(100)
    }
    pool = reference_pool.reference_pool(
        "parent", facts, lambda i: _speckle(int(i)), GHOST, [(SIDE, SIDE)], 5, 1
    )
    assert len(pool.ids) == 20
    assert "77" in pool.ids


def test_the_largest_of_several_styles_counts(
    tmp_path: Path, parents: dict[str, np.ndarray], styles: ChipSet, scored: pd.DataFrame
) -> None:
    rows = _made_rows(3)
    rows[0]["style_ids"] = ["s20", "s00", "s22"]
    rows[2]["style_ids"] = ["s05", "s07", "s10"]
    found = pair_scores(_set(tmp_path / "made", rows, _made_chips(3)), parents, styles, 5, seed=5)
    assert found["ghost_ncc"][0] == pytest.approx(scored["ghost_ncc"][0], abs=1e-6)
    assert found["ghost_z"][0] > 5 > abs(found["ghost_z"][2])


def test_a_chip_without_its_references_has_a_reason(
    tmp_path: Path, parents: dict[str, np.ndarray], styles: ChipSet
) -> None:
    rows = _made_rows()
    rows[0] |= {"parents": [], "style_ids": []}
    rows[1] |= {"parents": ["p01", "unheard"], "style_ids": ["s01", "unheard"]}
    found = pair_scores(_set(tmp_path / "made", rows, _made_chips()), parents, styles, NULLS, seed=5)
    gone = dict.fromkeys(COLUMNS[:2], "no parent") | dict.fromkeys(COLUMNS[2:], "no style reference")
    absent = "{} unheard is not at hand".format
    odd = dict.fromkeys(COLUMNS[:2], absent("parent"))
    odd |= dict.fromkeys(COLUMNS[2:], absent("style reference"))
    assert _reasons(found)[:3] == [gone, odd, {}]
    assert found.loc[:1, list(COLUMNS)].isna().all(axis=None)
    assert found["pair_reasons"][0] == json.dumps(gone, sort_keys=True, separators=(",", ":"))


def test_without_any_parent_or_style_every_chip_has_reasons(tmp_path: Path, styles: ChipSet) -> None:
    rows = [row | {"parents": [], "style_ids": []} for row in _made_rows(3)]
    found = pair_scores(_set(tmp_path / "made", rows, _made_chips(3)), {}, styles, NULLS, seed=5)
    assert [sorted(why) for why in _reasons(found)] == [sorted(COLUMNS)] * 3


def test_a_few_more_pixels_are_cropped_and_other_sizes_have_a_reason(
    tmp_path: Path, made: ChipSet, parents: dict[str, np.ndarray], styles: ChipSet, scored: pd.DataFrame
) -> None:
    larger = {chip_id: np.pad(chip, ((2, 3), (3, 2)), mode="wrap") for chip_id, chip in parents.items()}
    found = pair_scores(made, larger, styles, NULLS, seed=5)
    # One of the crops is a pixel off its made chip; the search finds it, less what left the frame.
    assert 0.75 < found["content_retention"][1] <= scored["content_retention"][1]
    odd = _made_chips()
    odd[3], odd[4] = _speckle(1, SIDE + 9), _speckle(1, SIDE - 1)
    table = pair_scores(_set(tmp_path / "odd", _made_rows(), odd), parents, styles, NULLS, seed=5)
    for place, side in ((3, SIDE + 9), (4, SIDE - 1)):
        assert _reasons(table)[place]["ghost_z"] == f"{side} x {side} px, compared are {SIDE} x {SIDE}"
    assert [len(why) for why in _reasons(table)[:5]] == [0, 0, 0, 4, 4]


def test_a_constant_chip_has_a_reason(
    tmp_path: Path, parents: dict[str, np.ndarray], styles: ChipSet
) -> None:
    chips = _made_chips()
    chips[2] = np.zeros_like(chips[2])
    flat = parents | {"p05": np.ones((SIDE, SIDE), dtype=np.float32)}
    found = _reasons(pair_scores(_set(tmp_path / "made", _made_rows(), chips), flat, styles, NULLS, seed=5))
    assert found[2] == dict.fromkeys(COLUMNS, "constant chip")
    assert found[5] == dict.fromkeys(COLUMNS[:2], "parent: constant chip")
    assert found[0] == found[1] == found[3] == {}


def test_parents_of_two_groups_are_no_null(
    tmp_path: Path, parents: dict[str, np.ndarray], styles: ChipSet
) -> None:
    """A parent that two groups claim could be a null of its own ground."""
    rows = _made_rows()
    for row in rows[8:]:
        row["parents"] = ["p00"]
    found = pair_scores(_set(tmp_path / "made", rows, _made_chips()), parents, styles, 7, seed=5)
    for place in (0, 8):
        assert "content_z" not in _reasons(found)[place]  # against p01 to p07
    assert _reasons(found)[1] == {}
    # p01 is left with p02 to p05: the disputed p00, which would be the fifth, is none
    few = _set(tmp_path / "few", rows[:6] + rows[8:], _made_chips(14))
    found = pair_scores(few, parents, styles, 7, seed=5)
    assert _reasons(found)[1] == {"content_z": "fewer than 5 null references"}


# --- real chips


def test_real_chips_are_no_ghosts_of_each_other(styles: ChipSet) -> None:
    """Every chip has an identical one in its group: as pseudo style it would read 1."""
    found = real_ghosts(styles, NULLS, seed=3)
    assert list(found.columns) == ["chip_id", "ghost_ncc", "ghost_z", "pair_reasons"]
    assert list(found["chip_id"]) == [f"s{k:02d}" for k in range(24)]
    assert (found["pair_reasons"] == "").all()
    assert found["ghost_ncc"].max() < 0.5
    assert abs(found["ghost_z"].median()) < 1.5


def test_real_chips_of_one_group_have_no_pseudo_style(tmp_path: Path) -> None:
    chips = _set(
        tmp_path / "one", [_row(f"c{k}", "scene") for k in range(8)], [_speckle(k) for k in range(8)]
    )
    found = real_ghosts(chips, NULLS, seed=3)
    assert found["ghost_ncc"].isna().all()
    assert set(_reasons(found)[0].values()) == {"no chip of another group"}


def test_too_small_a_null_is_refused(made: ChipSet, parents: dict[str, np.ndarray], styles: ChipSet) -> None:
    with pytest.raises(ParamsError, match="4 null references, expected 5 at least"):
        pair_scores(made, parents, styles, 4, seed=5)
    with pytest.raises(ParamsError, match="4 null references"):
        real_ghosts(styles, 4, seed=5)


def test_other_radiometry_gives_the_same_scores(
    tmp_path: Path, made: ChipSet, parents: dict[str, np.ndarray], styles: ChipSet, scored: pd.DataFrame
) -> None:
    header = replace(HEADER, radiometry=Radiometry.AMPLITUDE)
    with ChipSetWriter(tmp_path / "amplitude", header) as writer:
        for row, chip in zip(_made_rows(), _made_chips(), strict=True):
            writer.add(row, np.sqrt(chip))
    amplitude = open_chipset(tmp_path / "amplitude", splits=("train",))
    found = pair_scores(amplitude, parents, styles, NULLS, seed=5)
    np.testing.assert_allclose(found[list(COLUMNS)], scored[list(COLUMNS)], rtol=1e-3, atol=1e-4)
