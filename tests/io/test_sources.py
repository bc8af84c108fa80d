from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sarcurate.errors import DataError
from sarcurate.io.sources import did_you_mean, read_class_folders, read_manifest

CLASSES = ["ship", "tank"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in ("tank/b.png", "tank/a.npy", "ship/c.TIF"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def _manifest(root: Path, rows: list[dict[str, Any]], name: str = "chips.csv") -> Path:
    path = root.parent / name
    table = pd.DataFrame(rows)
    if name.endswith("parquet"):
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return path


def _rows(**extra: Any) -> list[dict[str, Any]]:
    pairs = [("tank/b.png", "tank"), ("ship/c.TIF", "ship"), ("tank/a.npy", "tank")]
    return [{"path": path, "label": label, **extra} for path, label in pairs]


def test_class_folders_give_sorted_rows(root: Path) -> None:
    (root / "tank/.hidden").mkdir()
    (root / "ship/.DS_Store").write_bytes(b"")
    (root / ".git").mkdir()
    (root / "README.md").write_bytes(b"")
    found = read_class_folders(root, ["tank", "ship"])
    assert list(found.columns) == ["path", "label"]
    assert found.to_numpy().tolist() == [
        ["ship/c.TIF", "ship"],
        ["tank/a.npy", "tank"],
        ["tank/b.png", "tank"],
    ]


@pytest.mark.parametrize(
    ("classes", "message", "fix"),
    [
        (["ship", "tanks"], "class 'tank' is unknown, expected one of .*'tanks'", "did you mean 'tanks'"),
        (["ship"], "class 'tank' is unknown", "add it to dataset.classes"),
        (["ship", "tank", "plane"], "folder of class 'plane' is missing", "remove the class"),
        ([], "must be non-empty", "dataset.classes"),
        (["ship", "ship", "tank"], "must be non-empty and differ", "dataset.classes"),
    ],
)
def test_classes_and_folders_must_agree(root: Path, classes: list[str], message: str, fix: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_class_folders(root, classes)
    assert fix in caught.value.fix


def test_an_empty_class_is_named(root: Path) -> None:
    (root / "ship/c.TIF").rename(root / "ship/.c.TIF")
    with pytest.raises(DataError, match="class 'ship' is empty"):
        read_class_folders(root, CLASSES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stray.png", "belongs to no class"),
        ("ship/notes.txt", "expected pictures only"),
        ("ship/deeper/x.png", "found a folder, expected pictures only"),
    ],
)
def test_what_is_in_the_wrong_place_is_named(root: Path, name: str, message: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(b"")
    with pytest.raises(DataError, match=message):
        read_class_folders(root, CLASSES)


@pytest.mark.parametrize("name", ["ship/link.png", "plane"])
def test_links_are_refused(root: Path, name: str) -> None:
    (root / name).symlink_to(root / "tank")
    with pytest.raises(DataError, match="is a symbolic link"):
        read_class_folders(root, CLASSES)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be listed"):
        read_class_folders(tmp_path / "none", CLASSES)


FULL = {
    "group_id": "007",
    "scene_id": "NA",
    "sensor": "terrasarx",
    "band": "X",
    "mode": "spotlight",
    "polarisation": "HH",
    "acquired_utc": "2024-05-31T12:34:56Z",
    "licence": "own",
    "incidence_deg": 35.5,
    "azimuth_deg": 181.0,
    "range_spacing_m": 0.9,
    "azimuth_spacing_m": 1.2,
    "looks_nominal": 1.0,
    "first_row_px": 12,
    "first_col_px": 0,
}


@pytest.mark.parametrize("name", ["chips.csv", "chips.parquet"])
def test_a_manifest_keeps_every_value(root: Path, name: str) -> None:
    found = read_manifest(root, _manifest(root, _rows(**FULL), name), CLASSES)
    assert found["path"].tolist() == ["ship/c.TIF", "tank/a.npy", "tank/b.png"]
    assert found["label"].tolist() == ["ship", "tank", "tank"]
    assert list(found.columns) == ["path", "label", *FULL]
    assert {key: found[key].tolist() for key in FULL} == {key: [value] * 3 for key, value in FULL.items()}
    assert (found["incidence_deg"].dtype, found["first_row_px"].dtype) == ("float64", "Int64")


def test_csv_and_parquet_give_the_same_table_and_empty_cells_stay_missing(root: Path) -> None:
    rows = _rows(**FULL)
    for key in set(FULL) - {"sensor"}:
        rows[1][key] = None
    by_csv = read_manifest(root, _manifest(root, rows), CLASSES)
    pd.testing.assert_frame_equal(
        by_csv, read_manifest(root, _manifest(root, rows, "chips.parquet"), CLASSES)
    )
    assert by_csv.loc[0, list(set(FULL) - {"sensor"})].isna().all()
    assert by_csv.loc[1:].notna().all().all()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("label", "Tank", "class 'Tank' is unknown"),
        ("label", None, "label is empty in data row 1"),
        ("path", None, "path is empty in data row 1"),
        ("path", "ship/c.TIF", "'ship/c.TIF' is repeated in data row 2"),
        ("path", "../x.png", "must be relative"),
        ("path", "tank/./b.png", "must be relative"),
        ("path", "/etc/passwd", "must be relative"),
        ("path", "tank/B.png", "file 'tank/B.png' of data row 1 is missing"),
        ("path", "tank", "file 'tank' of data row 1 is missing"),
        ("sensor", "sentinel1", "more than one sensor: .*sentinel1"),
        ("sensor", None, "more than one sensor"),
        ("incidence_deg", 91, r"incidence_deg is .91.* in data row 1, expected a number from 0 to 90"),
        ("incidence_deg", "steep", "incidence_deg is 'steep'"),
        ("incidence_deg", "inf", "incidence_deg is 'inf'"),
        ("incidence_deg", "nan", "incidence_deg is 'nan'"),
        ("range_spacing_m", 0, "range_spacing_m is"),
        ("first_row_px", 1.5, "first_row_px is .1.5.*, expected a whole number"),
        ("first_col_px", -1, "first_col_px is"),
        ("acquired_utc", "31.5.2024", "acquired_utc is '31.5.2024' in data row"),
        ("acquired_utc", "2024-05-31T12:34:56+02:00", "expected ISO 8601 in UTC"),
    ],
)
def test_each_wrong_cell_is_named(root: Path, field: str, value: Any, message: str) -> None:
    rows: list[dict[str, Any]] = [{key: str(cell) for key, cell in row.items()} for row in _rows(**FULL)]
    rows[0][field] = value
    with pytest.raises(DataError, match=message):
        read_manifest(root, _manifest(root, rows), CLASSES)


def test_a_class_without_rows_is_named_with_its_near_spelling(root: Path) -> None:
    with pytest.raises(DataError, match="class 'plane' has no chips"):
        read_manifest(root, _manifest(root, _rows()), [*CLASSES, "plane"])


@pytest.mark.parametrize(
    ("rename", "message", "fix"),
    [
        ({"label": "labels"}, "column 'labels' is unknown", "did you mean 'label'"),
        ({"band": "Band"}, "column 'Band' is unknown", "did you mean 'band'"),
        ({"band": "colour"}, "column 'colour' is unknown", "rename or remove"),
    ],
)
def test_columns_are_checked(root: Path, rename: dict[str, str], message: str, fix: str) -> None:
    table = pd.DataFrame(_rows(band="X")).rename(columns=rename)
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(root, _manifest(root, table.to_dict("records")), CLASSES)
    assert fix in caught.value.fix


@pytest.mark.parametrize("column", ["path", "label"])
def test_both_columns_are_needed(root: Path, column: str) -> None:
    table = pd.DataFrame(_rows()).drop(columns=column)
    with pytest.raises(DataError, match=f"column '{column}' is missing"):
        read_manifest(root, _manifest(root, table.to_dict("records")), CLASSES)


def test_a_number_in_a_text_column_of_parquet_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match="group_id is 7 in data row 1, expected text"):
        read_manifest(root, _manifest(root, _rows(group_id=7), "chips.parquet"), CLASSES)


def test_a_manifest_path_through_a_link_is_refused(root: Path) -> None:
    (root / "also").symlink_to(root / "tank")
    rows = _rows()
    rows[0]["path"] = "also/b.png"
    with pytest.raises(DataError, match="goes through a symbolic link"):
        read_manifest(root, _manifest(root, rows), CLASSES)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"path,label\ntank/a.npy,tank,surplus\n",
        b"path,label\n\xff\xfe,tank\n",
        b'path,label\n"open,tank\n',
    ],
)
def test_a_broken_csv_is_an_error(root: Path, text: bytes) -> None:
    (root.parent / "chips.csv").write_bytes(text)
    with pytest.raises(DataError, match=r"chips\.csv: cannot be read"):
        read_manifest(root, root.parent / "chips.csv", CLASSES)


def test_other_manifests_are_refused(root: Path) -> None:
    (root.parent / "chips.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"chips\.parquet: cannot be read"):
        read_manifest(root, root.parent / "chips.parquet", CLASSES)
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(root, root.parent / "none.csv", CLASSES)
    with pytest.raises(DataError, match=r"expected a \.csv or \.parquet"):
        read_manifest(root, root.parent / "chips.xlsx", CLASSES)


def test_labels_that_look_like_missing_values_are_kept(root: Path) -> None:
    rows = [{"path": "tank/b.png", "label": "NA"}, {"path": "ship/c.TIF", "label": "null"}]
    assert read_manifest(root, _manifest(root, rows), ["NA", "null"])["label"].tolist() == ["null", "NA"]


def test_near_spellings() -> None:
    assert did_you_mean("Terrasar", ["TerraSARX", "ship"]) == "did you mean 'TerraSARX'? "
    assert did_you_mean("zzz", ["TerraSARX", "ship"]) == ""
