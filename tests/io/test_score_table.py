"""Score tables: order and bytes on disk, gaps with their reasons, pooled laws against plain quantiles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.marginal import QUANTILE_LEVELS
from sarcurate.errors import DataError
from sarcurate.io import score_table
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.score_table import (
    IDENTITY,
    measure_names,
    pooled_law,
    read_scores,
    with_measures,
    write_scores,
)


def _table(*ids: str) -> pd.DataFrame:
    n = len(ids)
    facts = {"pixels_sha256": 64 * "0", "label": "a", "origin": "translated", "group_id": "g", "fold": 0}
    values = np.arange(n, dtype=np.float64)
    values[:1] = np.nan
    reasons = ['{"enl":"no area"}'] * min(n, 1) + [""] * (n - 1)
    return pd.DataFrame({"chip_id": ids}).assign(**facts, enl=values, reasons=reasons)


# --- on disk


def test_sets_come_back_as_one_table_in_order_of_set_and_chip(tmp_path: Path) -> None:
    write_scores(tmp_path / "deep" / "s.parquet", {"psd": _table("c", "b"), "physics": _table("d", "a")})
    table = read_scores(tmp_path / "deep" / "s.parquet")
    assert list(table.columns) == ["set", *IDENTITY, "enl", "reasons"]
    rows = table[["set", "chip_id"]].to_numpy().tolist()
    assert rows == [["physics", "a"], ["physics", "d"], ["psd", "b"], ["psd", "c"]]
    assert table["enl"].isna().tolist() == [False, True, False, True]
    assert table["reasons"].tolist() == ["", '{"enl":"no area"}', "", '{"enl":"no area"}']


def test_bytes_do_not_depend_on_the_order_of_sets_and_rows(tmp_path: Path) -> None:
    one, other = _table("a", "b", "c"), _table("d", "e")
    write_scores(tmp_path / "1", {"x": one, "y": other})
    write_scores(tmp_path / "2", {"y": other[::-1], "x": one.sample(frac=1, random_state=1)})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize("name", ["set", "chip_id", "fold", "reasons"])
def test_a_table_without_a_column_is_refused(name: str, tmp_path: Path) -> None:
    _table("a").assign(set="x").drop(columns=name).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(DataError, match=rf"no columns \['{name}'\]") as caught:
        read_scores(tmp_path / "s.parquet")
    assert "dvc repro score" in caught.value.fix


@pytest.mark.parametrize("content", [None, b"", b"chip_id,set\n"])
def test_what_is_no_table_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "s.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read the scores .*s\.parquet"):
        read_scores(tmp_path / "s.parquet")


# --- further measures


def test_measures_are_all_columns_but_who_the_chip_is_and_why() -> None:
    assert measure_names(_table("a").assign(set="x", ghost_z=1.0)) == ["enl", "ghost_z"]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_every_gap_of_a_further_measure_has_its_reason(there: list[tuple[bool, bool]]) -> None:
    table = _table(*(f"{place:02d}" for place in range(len(there))))
    values = {name: [1.0 if row[k] else np.nan for row in there] for k, name in enumerate(("b_db", "a_m"))}
    reasons = {name: [f"{name} {place}" for place in range(len(there))] for name in values}
    found = with_measures(table, values, reasons)
    assert list(found.columns) == [*table.columns[:-1], "b_db", "a_m", "reasons"]
    for place, row in found.iterrows():
        expected = {"enl": "no area"} if place == 0 else {}
        expected |= {name: f"{name} {place}" for name in values if np.isnan(row[name])}
        told = json.loads(row["reasons"]) if row["reasons"] else {}
        assert told == expected
        assert list(told) == sorted(told)
        assert (row["reasons"] == "") is (not expected)
    assert list(table.columns)[-1] == "reasons"  # the table given is left alone


# --- pooled laws


@pytest.fixture
def chips(tiny_sets: Any) -> ChipSet:
    return open_chipset(tiny_sets.parts()["target-train"], splits=("train",))


def _law(chips: ChipSet, ids: list[str]) -> np.ndarray[Any, Any]:
    pooled = np.concatenate([chips.intensity(chip_id).ravel() for chip_id in ids]).astype(np.float64)
    assert (pooled > 0).all()
    return np.quantile(10 * np.log10(pooled), QUANTILE_LEVELS)


def test_a_law_is_the_quantiles_of_all_pixels_in_db(chips: ChipSet) -> None:
    law = pooled_law("target", chips)
    assert list(law.columns) == ["set", "probability", "intensity_db"]
    assert set(law["set"]) == {"target"}
    np.testing.assert_array_equal(law["probability"], QUANTILE_LEVELS)
    inside = slice(40, None)  # the deepest pixels may be held at the floor
    np.testing.assert_allclose(
        law["intensity_db"][inside], _law(chips, list(chips.manifest["chip_id"]))[inside], atol=6e-5
    )


def test_of_many_chips_some_are_taken_evenly(chips: ChipSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_table, "LAW_CHIPS", 4)
    ids = list(chips.manifest["chip_id"])
    found = pooled_law("target", chips)["intensity_db"]
    np.testing.assert_allclose(found[40:], _law(chips, [ids[k] for k in (0, 5, 10, 15)])[40:], atol=6e-5)
    few = replace(chips, manifest=chips.manifest.head(3))
    np.testing.assert_allclose(
        pooled_law("x", few)["intensity_db"][40:], _law(chips, ids[:3])[40:], atol=6e-5
    )
