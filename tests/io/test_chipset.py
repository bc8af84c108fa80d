from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, LeakageError, RadiometryError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.manifest import SCHEMA, WHERE_KEPT, Header, manifest_revision
from sarcurate.io.raster import write_tiff

HEADER = Header("terrasarx", Radiometry.SIGMA0, "train", (-25.0, 10.0))
N = 5


def _row(index: int) -> dict[str, Any]:
    return {
        "chip_id": lineage.sha256_text(str(index))[:24],
        "origin": "real",
        "label": "ab"[index % 2],
        "group_id": f"pass{index % 3}",
        "fold": index % 2,
        "incidence_deg": 30.0 + index if index else None,
        "seed": 2**62 + index if index else None,
        "first_row_px": 64 * index,
        "parents": [f"p{index}", "q"],
        "source_path": f"{index}.npy",
    }


def _pixels(index: int, header: Header = HEADER) -> np.ndarray:
    drawn = np.random.default_rng(index).gamma(1.0, 50.0, (4 + index, 6))
    return drawn.astype(np.float32 if header.radiometry.is_power else np.uint16)


def _write(root: Path, header: Header = HEADER, order: Iterable[int] = range(N)) -> Path:
    with ChipSetWriter(root, header) as writer:
        for index in order:
            writer.add(_row(index), _pixels(index, header))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return _write(tmp_path / "set")


Rows = list[dict[str, Any]]


def _edit(root: Path, change: Callable[[Rows], object]) -> None:
    """Change the manifest behind the back of the revision."""
    rows = pq.read_table(root / "metadata.parquet").to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), root / "metadata.parquet")


def _set(column: str, value: object, row: int = 1) -> Callable[[Rows], object]:
    return lambda rows: rows[row].update({column: value})


def _bytes(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("kind", [Radiometry.SIGMA0, Radiometry.AMPLITUDE, Radiometry.UINT8_RELATIVE])
def test_what_is_written_is_read_back(tmp_path: Path, kind: Radiometry) -> None:
    header = replace(HEADER, radiometry=kind)
    chips = open_chipset(_write(tmp_path / "set", header), splits=("train",))
    assert chips.header == header
    assert list(chips.manifest.columns) == SCHEMA.names
    assert list(chips.manifest["chip_id"]) == sorted(_row(i)["chip_id"] for i in range(N))
    rows = {row["chip_id"]: row for row in chips.rows()}
    for index in range(N):
        given_row, pixels = _row(index), _pixels(index, header)
        row = rows[given_row["chip_id"]]
        assert {name: row[name] for name in given_row} == given_row
        assert type(row["first_row_px"]) is int
        assert (row["sensor"], row["radiometry"], row["split"]) == ("terrasarx", kind.value, "train")
        assert row["style_ids"] == []
        assert row["prompt"] is None
        assert row["pixels_sha256"] == lineage.pixels_sha256(pixels)
        found = chips.pixels(row["chip_id"])
        assert found.dtype == pixels.dtype
        np.testing.assert_array_equal(found, pixels)
        power = pixels.astype(np.float32) if kind.is_power else pixels.astype(np.float32) ** 2
        np.testing.assert_array_equal(chips.intensity(row["chip_id"]), power)


def test_a_preview_is_the_fixed_window_in_8_bits(tmp_path: Path) -> None:
    with ChipSetWriter(tmp_path / "set", HEADER) as writer:
        # -25 dB, the middle of the window, 10 dB, and beyond both ends
        writer.add(_row(1), np.array([[10**-2.5, 10**-0.75, 10.0, 0.0, 1e6]], np.float32))
    row = next(open_chipset(tmp_path / "set", splits=("train",)).rows())
    with Image.open(tmp_path / "set" / row["preview_file_name"]) as image:
        assert np.asarray(image).tolist() == [[0, 128, 255, 0, 255]]


@pytest.mark.parametrize("folder", ["target-train", "target-test"])
@pytest.mark.parametrize("kind", [Radiometry.SIGMA0, Radiometry.AMPLITUDE])
def test_the_datasets_library_loads_every_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Radiometry, folder: str
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    datasets = pytest.importorskip("datasets")
    header = replace(HEADER, radiometry=kind)
    root = _write(tmp_path / folder, header)
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(root), split="train", cache_dir=str(tmp_path / "cache")
    )
    chips = open_chipset(root, splits=("train",))
    # the two file columns become pictures, all others keep name and type
    others = [name for name in SCHEMA.names if name not in WHERE_KEPT]
    assert set(loaded.column_names) == {"image", "preview", *others}
    assert len(loaded) == N
    for row, expected in zip(loaded, chips.rows(), strict=True):
        assert {name: row[name] for name in others} == {name: expected[name] for name in others}
        found, pixels = np.asarray(row["image"]), chips.pixels(row["chip_id"])
        assert found.dtype == pixels.dtype == (np.float32 if kind.is_power else np.uint16)
        np.testing.assert_array_equal(found, pixels)
        with Image.open(root / expected["preview_file_name"]) as preview:
            np.testing.assert_array_equal(np.asarray(row["preview"]), np.asarray(preview))


@given(order=st.permutations(range(N)))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_chips_in_any_order_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, root: Path, order: list[int]
) -> None:
    again = _write(tmp_path_factory.mktemp("other") / "set", order=order)
    assert _bytes(again) == _bytes(root)


@given(order=st.permutations(range(N)))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_revision_does_not_depend_on_the_order_of_rows(root: Path, order: list[int]) -> None:
    chips = open_chipset(root, splits=("train",))
    assert manifest_revision(chips.manifest) == chips.revision
    assert manifest_revision(chips.manifest.iloc[order]) == chips.revision


def test_the_revision_does_not_depend_on_where_files_lie_but_on_everything_else(root: Path) -> None:
    chips = open_chipset(root, splits=("train",))
    for column in SCHEMA.names:
        rows = chips.manifest.astype(object)
        rows.at[2, column] = ["x"] if column in ("parents", "style_ids") else "x"
        assert (manifest_revision(rows) == chips.revision) is (column in WHERE_KEPT), column
    assert manifest_revision(chips.manifest.iloc[1:]) != chips.revision


def test_one_changed_pixel_is_another_revision(root: Path, tmp_path: Path) -> None:
    with ChipSetWriter(tmp_path / "other", HEADER) as writer:
        for index in range(N):
            pixels = _pixels(index)
            pixels[0, 0] += index == 3
            writer.add(_row(index), pixels)
    revisions = [open_chipset(each, splits=("train",)).revision for each in (root, tmp_path / "other")]
    assert revisions[0] != revisions[1]


@pytest.mark.parametrize("allowed", [(), ("train",), ("all", "train")])
def test_a_test_set_opens_only_where_test_is_named(tmp_path: Path, allowed: tuple[str, ...]) -> None:
    root = _write(tmp_path / "set", replace(HEADER, split="test"))
    with pytest.raises(LeakageError, match=r"set holds \['test'\] chips, but only \[.*\] may be read here"):
        open_chipset(root, splits=allowed)
    assert open_chipset(root, splits=("test",)).header.split == "test"


def test_one_test_row_in_a_train_set_is_leakage(root: Path) -> None:
    _edit(root, _set("split", "test"))
    with pytest.raises(
        LeakageError, match=r"holds \['test'\] chips.*\nFix: .*validate, evaluate and package"
    ):
        open_chipset(root, splits=("train",))


def test_a_test_set_under_a_train_header_is_leakage(tmp_path: Path) -> None:
    root = _write(tmp_path / "set", replace(HEADER, split="test"))
    header = json.loads((root / "chipset.json").read_text())
    (root / "chipset.json").write_text(json.dumps({**header, "split": "train"}))
    with pytest.raises(LeakageError, match=r"holds \['test'\] chips"):
        open_chipset(root, splits=("train",))


def test_a_row_without_split_is_not_let_through(root: Path) -> None:
    _edit(root, _set("split", None))
    with pytest.raises(LeakageError, match="chips, but only"):
        open_chipset(root, splits=("train",))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("label", "b2"),
        ("group_id", "elsewhere"),
        ("incidence_deg", 31.25),
        ("fold", None),
        ("parents", ["p"]),
    ],
)
def test_a_changed_manifest_does_not_fit_its_revision(root: Path, column: str, value: object) -> None:
    _edit(root, _set(column, value))
    with pytest.raises(DataError, match=r"manifest does not fit its revision id [0-9a-f]{16}\nFix: .*dvc"):
        open_chipset(root, splits=("train",))


def test_a_removed_row_does_not_fit_the_revision(root: Path) -> None:
    _edit(root, lambda rows: rows.pop(0))
    with pytest.raises(DataError, match="does not fit its revision"):
        open_chipset(root, splits=("train",))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", None, "column label has empty cells"),
        ("group_id", None, "column group_id has empty cells"),
        ("pixels_sha256", None, "column pixels_sha256 has empty cells"),
        ("radiometry", "amplitude", r"mixed radiometry: found \['amplitude', 'sigma0'\], expected only"),
        ("sensor", "fucheng1", r"mixed sensor: found \['fucheng1', 'terrasarx'\]"),
        ("origin", "dreamt", r"unknown origin \['dreamt'\]\nFix: use one of real, simulated"),
    ],
)
def test_a_broken_manifest_is_named(root: Path, column: str, value: object, message: str) -> None:
    _edit(root, _set(column, value))
    with pytest.raises(DataError, match=message):
        open_chipset(root, splits=("train",))


def test_an_id_that_stands_twice_is_an_error(root: Path) -> None:
    first = open_chipset(root, splits=("train",)).manifest["chip_id"][0]
    _edit(root, _set("chip_id", first))
    with pytest.raises(DataError, match=f"chip_id {first} stands twice"):
        open_chipset(root, splits=("train",))


def _first(root: Path) -> tuple[ChipSet, str, Path]:
    chips = open_chipset(root, splits=("train",))
    row = next(chips.rows())
    return chips, row["chip_id"], root / row["file_name"]


def test_changed_pixels_are_an_error(root: Path) -> None:
    chips, chip_id, path = _first(root)
    pixels = chips.pixels(chip_id).copy()
    pixels[0, 0] = np.nextafter(pixels[0, 0], np.float32(np.inf))
    write_tiff(path, pixels)
    with pytest.raises(DataError, match=rf"pixels of chips/.*{chip_id}\.tif are not those of the manifest"):
        chips.intensity(chip_id)


def test_swapped_files_are_an_error(root: Path) -> None:
    chips, chip_id, path = _first(root)
    other = next(file for file in (root / "chips").rglob("*.tif") if file != path)
    path.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="are not those of the manifest"):
        chips.pixels(chip_id)


def test_a_missing_or_truncated_file_is_an_error(root: Path) -> None:
    chips, chip_id, path = _first(root)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=rf"{chip_id}\.tif"):
        chips.pixels(chip_id)
    path.unlink()
    with pytest.raises(DataError, match=rf"{chip_id}\.tif: cannot be read"):
        chips.pixels(chip_id)


@pytest.mark.parametrize("outside", ["../x.tif", "chips/../../x.tif", "{here}/x.tif", "link.tif"])
def test_no_path_leads_out_of_the_folder(root: Path, outside: str) -> None:
    _, chip_id, path = _first(root)
    # the very pixels of the manifest, so that only the path is wrong
    (root.parent / "x.tif").write_bytes(path.read_bytes())
    (root / "link.tif").symlink_to(root.parent / "x.tif")
    _edit(root, _set("file_name", outside.format(here=root.parent), row=0))
    with pytest.raises(DataError, match=r"must be relative to|leads out of"):
        open_chipset(root, splits=("train",)).pixels(chip_id)
    with pytest.raises(DataError, match=r"must be relative to|leads out of"):
        _copy_all(open_chipset(root, splits=("train",)), root.parent / "copy")


def test_an_unknown_chip_is_named(root: Path) -> None:
    with pytest.raises(DataError, match="set holds no chip nobody"):
        open_chipset(root, splits=("train",)).pixels("nobody")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, expected 1"),
        ({"radiometry": "db"}, "'db' is not a valid Radiometry"),
        ({"display_db": [1.0]}, "index out of range"),
        ({"revision": None}, "does not fit its revision"),
    ],
)
def test_a_header_that_is_none_is_an_error(root: Path, change: dict[str, Any], message: str) -> None:
    header = json.loads((root / "chipset.json").read_text())
    (root / "chipset.json").write_text(json.dumps({**header, **change}))
    with pytest.raises(DataError, match=message):
        open_chipset(root, splits=("train",))


@pytest.mark.parametrize("text", [b"{}", b"[]", b"{", b"\xff\xfe\xfa"])
def test_a_folder_without_a_header_is_no_set(root: Path, text: bytes) -> None:
    (root / "chipset.json").write_bytes(text)
    with pytest.raises(DataError, match=r"set is not a ChipSet: chipset\.json: .*\nFix: point to a ChipSet"):
        open_chipset(root, splits=("train",))


def test_a_manifest_of_other_columns_or_types_is_an_error(root: Path) -> None:
    path = root / "metadata.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["licence"]), path)
    with pytest.raises(DataError, match=r"columns differ from the ChipSet format: \['licence'\]"):
        open_chipset(root, splits=("train",))
    words = pa.array(["many"] * len(table))
    pq.write_table(table.set_column(table.schema.get_field_index("fold"), "fold", words), path)
    with pytest.raises(DataError, match=r"metadata\.parquet: a column has another type"):
        open_chipset(root, splits=("train",))
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"cannot read .*metadata\.parquet"):
        open_chipset(root, splits=("train",))
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*metadata\.parquet"):
        open_chipset(root, splits=("train",))


def _fail_after_two(root: Path, error: BaseException) -> None:
    with ChipSetWriter(root, HEADER) as writer:
        writer.add(_row(0), _pixels(0))
        writer.add(_row(1), _pixels(1))
        raise error


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_killed_writer_leaves_no_set(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        _fail_after_two(tmp_path / "set", error)
    assert len(list((tmp_path / "set").rglob("*.tif"))) == 2
    with pytest.raises(DataError, match="is not a ChipSet"):
        open_chipset(tmp_path / "set", splits=("train",))
    with pytest.raises(DataError, match=r"set is not empty\nFix: remove it"):
        _write(tmp_path / "set")


def test_an_earlier_set_is_never_written_over(root: Path) -> None:
    before = _bytes(root)
    with pytest.raises(DataError, match="is not empty"):
        _write(root)
    assert _bytes(root) == before


def _add(root: Path, *chips: tuple[dict[str, Any], np.ndarray]) -> None:
    with ChipSetWriter(root, HEADER) as writer:
        for row, pixels in chips:
            writer.add(row, pixels)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"no chip was written to .*set\nFix: check the inputs"),
        ([_row(1), _row(1)], rf"chip {_row(1)['chip_id']} \(1\.npy\) was added twice"),
        ([{**_row(1), "colour": "blue"}], r"has unknown columns \['colour'\]"),
        ([{**_row(1), "label": None}], "column label has empty cells"),
        ([{**_row(1), "origin": "dreamt"}], "unknown origin"),
    ],
)
def test_a_bad_row_is_named_and_leaves_no_set(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _add(tmp_path / "set", *((row, _pixels(1)) for row in rows))
    assert not (tmp_path / "set" / "chipset.json").exists()


@pytest.mark.parametrize(
    ("pixels", "kind", "message"),
    [
        (np.ones((3, 3)), DataError, "found float64"),
        (np.ones((3, 3, 2), np.float32), DataError, "expected \\(rows, cols\\)"),
        (np.full((3, 3), np.nan, np.float32), DataError, "NaN"),
        (np.full((3, 3), -1, np.float32), RadiometryError, "9 negative"),
    ],
)
def test_pixels_that_no_set_can_hold_are_refused(
    tmp_path: Path, pixels: np.ndarray, kind: type[DataError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        _add(tmp_path / "set", (_row(1), pixels))
    assert not (tmp_path / "set" / "chipset.json").exists()


def _copy_all(chips: ChipSet, out: Path, **changes: Any) -> None:
    with ChipSetWriter(out, replace(chips.header, split="test")) as writer:
        for row in chips.rows():
            writer.copy(chips, {**row, **changes})


def test_a_copy_takes_files_over_byte_for_byte(root: Path, tmp_path: Path) -> None:
    chips = open_chipset(root, splits=("train",))
    _copy_all(chips, tmp_path / "copy", fold=None)
    copy = open_chipset(tmp_path / "copy", splits=("test",))
    assert set(copy.manifest["split"]) == {"test"}
    assert copy.manifest["fold"].isna().all()
    kept = [name for name in SCHEMA.names if name not in ("split", "fold")]
    pd.testing.assert_frame_equal(copy.manifest[kept], chips.manifest[kept])
    mine, theirs = _bytes(tmp_path / "copy"), _bytes(root)
    pictures = {name for name in theirs if name.endswith((".tif", ".png"))}
    assert len(pictures) == 2 * N
    assert {name: mine[name] for name in pictures} == {name: theirs[name] for name in pictures}


def test_a_copy_is_checked_like_a_new_chip(root: Path, tmp_path: Path) -> None:
    chips = open_chipset(root, splits=("train",))
    row = next(chips.rows())
    with pytest.raises(DataError, match="was added twice"):
        _copy_all(chips, tmp_path / "twice", chip_id=row["chip_id"])
    with pytest.raises(DataError, match=r"unknown columns \['colour'\]"):
        _copy_all(chips, tmp_path / "odd", colour="blue")
    (root / row["preview_file_name"]).unlink()
    with pytest.raises(
        DataError, match=rf"previews/.*\.png of chip {row['chip_id']} is missing\nFix: restore"
    ):
        _copy_all(chips, tmp_path / "gone")


@pytest.mark.parametrize("linked", ["folder", "file"])
def test_a_link_below_the_root_does_not_lead_out(tmp_path: Path, linked: str) -> None:
    root, other = tmp_path / "set", tmp_path / "other"
    pixels = np.ones((4, 4), np.float32)
    pixels[0] = 2
    with ChipSetWriter(root, Header("sensor", Radiometry.SIGMA0, "train", (-20.0, 10.0))) as writer:
        writer.add({"chip_id": "ab" * 12, "origin": "real", "label": "a", "group_id": "g"}, pixels)
    (tmp_path / "way").symlink_to(root)
    chips = open_chipset(tmp_path / "way", {"train"})
    np.testing.assert_array_equal(chips.pixels("ab" * 12), pixels)
    place = root / "chips" / "ab"
    place = place if linked == "folder" else next(place.iterdir())
    place.rename(other)
    place.symlink_to(other)
    with pytest.raises(DataError, match="leads out of"):
        chips.pixels("ab" * 12)
