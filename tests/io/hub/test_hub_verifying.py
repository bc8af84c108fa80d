from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sarcurate.errors import DataError
from sarcurate.io.hub import release
from sarcurate.io.hub.verifying import verify


def _shard(folder: Path, config: str, split: str = "train") -> Path:
    return next((folder / "data" / config).glob(f"{split}-*"))


def _change(
    folder: Path, config: str, change: Callable[[dict[str, Any]], None], split: str = "train"
) -> None:
    """Change the first record of a shard, and list the file as it then is: a forger's work."""
    path = _shard(folder, config, split)
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows[0])
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    _list_again(folder)


def _list_again(folder: Path) -> None:
    (folder / release.FILES).unlink()
    release.write_files(folder)


def test_an_untouched_release_is_as_listed(tiny_release: Path) -> None:
    found = verify(tiny_release)
    assert found.n_files == len(release.files_below(tiny_release)) - 1
    assert found.n_records == sum(sum(splits.values()) for splits in found.release.configs.values())
    assert {"source-train", "target-train", "source-test", "target-test"} <= set(found.whole_sets)


def test_files_of_git_and_of_the_hub_do_not_count(own_release: Path) -> None:
    before = verify(own_release).n_files
    (own_release / ".gitattributes").write_text("x")
    (own_release / ".cache" / "huggingface").mkdir(parents=True)
    (own_release / ".cache" / "huggingface" / "x").write_text("x")
    assert verify(own_release).n_files == before


def test_each_missing_changed_and_foreign_file_is_named(own_release: Path) -> None:
    _shard(own_release, "migrated").unlink()
    (own_release / "README.md").write_text("other")
    (own_release / "data" / "more.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match="3 differences") as caught:
        verify(own_release)
    said = caught.value.problem
    assert "data/migrated/train-00000-of-00001.parquet: missing" in said
    assert "README.md: SHA-256" in said
    assert "data/more.parquet: not listed" in said


def test_a_chip_with_other_pixels_is_named(own_release: Path) -> None:
    other = pq.read_table(_shard(own_release, "translated")).to_pylist()[1]["image"]
    _change(own_release, "translated", lambda row: row.update(image=other))
    with pytest.raises(DataError, match=r"translated/train/[0-9a-f]{24} in .*: pixels [0-9a-f]+, listed"):
        verify(own_release)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("pixels_sha256", "0" * 64, "its column says 0000"),
        ("split", "test", "the record says split test"),
        ("is_made", False, "is_made is False, listed True"),
        ("chip_id", "f" * 24, "not listed in chips.csv"),
        ("image", None, "the record has no picture"),
        ("image", {"bytes": b"II*\0nothing", "path": "x.tif"}, "TIFF"),
    ],
)
def test_a_record_that_was_changed_is_named(own_release: Path, column: str, value: Any, message: str) -> None:
    _change(own_release, "translated", lambda row: row.update({column: value}))
    with pytest.raises(DataError, match="translated/train/") as caught:
        verify(own_release)
    assert message in caught.value.problem


def test_provenance_that_was_changed_is_found_by_the_revision_of_its_set(own_release: Path) -> None:
    _change(own_release, "real", lambda row: row.update(incidence_deg=12.5))
    with pytest.raises(DataError, match="set source-train: revision"):
        verify(own_release)


def test_a_chip_that_is_listed_but_gone_is_named(own_release: Path) -> None:
    path = _shard(own_release, "generated")
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    _list_again(own_release)
    with pytest.raises(DataError, match=r"listed in chips\.csv, but no shard has it"):
        verify(own_release)


def test_a_changed_revision_is_found(own_release: Path) -> None:
    path = own_release / release.REVISION
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"dataset_revision": "0" * 16}))
    _list_again(own_release)
    with pytest.raises(DataError, match=r"revision 0000000000000000, its parts give"):
        verify(own_release)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (release.REVISION, "{", "is no release of sarcurate"),
        (release.REVISION, '{"format": "other/1"}', "is no release of sarcurate"),
        (release.REVISION, "[]", "is no release of sarcurate"),
        (release.FILES, "what\n", "line 1"),
        (release.FILES, f"{'0' * 64}  ../up\n", "must be relative"),
        (release.FILES, f"{'0' * 64}  /etc/passwd\n", "must be relative"),
    ],
)
def test_broken_lists_are_told(own_release: Path, name: str, text: str, message: str) -> None:
    (own_release / name).write_text(text)
    with pytest.raises(DataError, match=message):
        verify(own_release)


@pytest.mark.parametrize(
    "line", ["x,y\n", "real,train,=1+1,00,true\n", "real,up,ab,ab,true\n", "Real,train,ab,ab,no\n"]
)
def test_a_line_of_chips_that_is_none_is_told(own_release: Path, line: str) -> None:
    with (own_release / release.CHIPS).open("a") as file:
        file.write(line)
    _list_again(own_release)
    with pytest.raises(DataError, match=r"chips\.csv, line"):
        verify(own_release)


def test_a_folder_without_a_release_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no release of sarcurate"):
        verify(tmp_path)


def test_chips_of_several_strips_are_read(tmp_path: Path) -> None:
    import numpy as np

    from sarcurate.io import lineage, raster
    from sarcurate.io.hub.verifying import _pixels

    for kind in (np.float32, np.uint16):
        pixels = np.random.default_rng(1).integers(0, 60_000, (300, 280)).astype(kind)
        raster.write_tiff(tmp_path / "chip.tif", pixels)
        found = _pixels({"bytes": (tmp_path / "chip.tif").read_bytes(), "path": "chip.tif"}, "chip")
        assert lineage.pixels_sha256(found) == lineage.pixels_sha256(pixels)
