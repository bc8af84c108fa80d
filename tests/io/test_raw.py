from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.raw import RawSet, read_raw, write_raw


@pytest.fixture
def raw(tmp_path: Path) -> RawSet:
    rows = {"path": ["b/2.npy", "a/1.npy"], "label": ["b", "a"], "incidence_deg": [None, 33.5]}
    return RawSet(tmp_path, pd.DataFrame(rows), Radiometry.BETA0, "real")


def test_a_raw_folder_is_read_back_sorted_by_path(raw: RawSet) -> None:
    write_raw(raw)
    found = read_raw(raw.root)
    assert (found.root, found.radiometry, found.origin) == (raw.root, Radiometry.BETA0, "real")
    assert found.table["path"].tolist() == ["a/1.npy", "b/2.npy"]
    assert found.table["label"].tolist() == ["a", "b"]
    assert found.table["incidence_deg"].tolist()[0] == 33.5
    assert found.table["incidence_deg"].isna().tolist() == [False, True]


def test_the_order_of_rows_does_not_change_a_byte(raw: RawSet) -> None:
    written = []
    for table in (raw.table, raw.table[::-1]):
        write_raw(RawSet(raw.root, table, raw.radiometry, raw.origin))
        written.append([(raw.root / name).read_bytes() for name in ("raw.json", "manifest.parquet")])
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("raw.json", None),
        ("raw.json", b"{"),
        ("raw.json", b'{"radiometry": "db", "origin": "real"}'),
        ("raw.json", b'{"radiometry": "beta0"}'),
        ("raw.json", b'{"radiometry": "beta0", "origin": "real", "odd": 1}'),
        ("raw.json", b"[]"),
        ("manifest.parquet", None),
        ("manifest.parquet", b"path,label\n"),
    ],
)
def test_a_broken_raw_folder_is_an_error(raw: RawSet, name: str, content: bytes | None) -> None:
    write_raw(raw)
    if content is None:
        (raw.root / name).unlink()
    else:
        (raw.root / name).write_bytes(content)
    with pytest.raises(DataError, match=r"is not a raw folder: .*\nFix: run `dvc repro acquire`"):
        read_raw(raw.root)
