from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from sarcurate.cli import app
from sarcurate.core.near_duplicates import SAME_PICTURE, similarities
from sarcurate.core.picture_code import picture_code
from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.duplicate_report import find_duplicates, list_chips, summary, write_csv
from sarcurate.io.manifest import Header
from sarcurate.io.pictures import picture_keys
from sarcurate.io.raster import read_chip


def _grey(seed: int, side_px: int = 48) -> np.ndarray:
    speckle = np.random.default_rng(seed).rayleigh(size=(side_px, side_px))
    return np.clip(np.rint(40 * speckle), 0, 255).astype(np.uint8)


def _darker_and_turned(grey: np.ndarray) -> np.ndarray:
    return np.rot90((255 * (grey / 255.0) ** 1.5).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes; b.png and c.png of tank are one picture, d.png of truck is it again; two are small."""
    chips = {
        "tank/a.png": _grey(0),
        "tank/b.png": _grey(1),
        "tank/c.png": _darker_and_turned(_grey(1)),
        "tank/s.png": _grey(5, 12),
        "truck/d.png": _grey(1)[::-1],
        "truck/e.png": _grey(2),
        "truck/f.png": _darker_and_turned(_grey(2)),
        "truck/s.png": _grey(5, 12),
    }
    for name, grey in chips.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(grey)).save(tmp_path / "set" / name)
    return tmp_path / "set"


def test_groups_and_label_conflicts_of_class_folders(folder: Path) -> None:
    found = find_duplicates(list_chips(folder))
    named = [[found.chips.paths[i] for i in group] for group in found.groups]
    assert named == [["tank/b.png", "tank/c.png", "truck/d.png"], ["truck/e.png", "truck/f.png"]]
    numbers = found.numbers()
    assert numbers["label_conflicts"] == named[:1]
    counts = {name: value for name, value in numbers.items() if name.startswith("n_")}
    assert counts == {
        "n_chips": 8,
        "n_not_compared": 2,
        "n_groups": 2,
        "n_chips_in_groups": 5,
        "n_pictures": 5,
        "n_label_conflicts": 1,
        "n_chips_in_label_conflicts": 3,
    }
    assert numbers["largest_group"] == 3


def test_the_summary_says_what_was_found_and_what_was_not_compared(folder: Path) -> None:
    assert summary(find_duplicates(list_chips(folder))) == [
        "8 chips, 5 pictures: 5 chips in 2 groups of near duplicates, the largest of 3",
        "label conflicts: 1 groups (3 chips) hold one picture under more than one label",
        "not compared: 2 chips under 16 px a side or without contrast",
        "  tank/b.png, truck/d.png (group of 3)",
    ]


def test_a_chipset_is_searched_by_its_own_labels(tmp_path: Path) -> None:
    root = _write_set(tmp_path / "set", [_grey(1), _grey(2), _darker_and_turned(_grey(1))], ["x", "x", "y"])
    found = find_duplicates(list_chips(root))
    assert [sorted(found.chips.labels[i] for i in group) for group in found.conflicts] == [["x", "y"]]


def test_the_csv_lists_every_chip_of_a_group(folder: Path, tmp_path: Path) -> None:
    write_csv(find_duplicates(list_chips(folder)), tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table["group"]) == [1, 1, 1, 2, 2]
    assert list(table["label_conflict"]) == [True, True, True, False, False]
    assert list(table["path"][:3]) == ["tank/b.png", "tank/c.png", "truck/d.png"]
    assert table["highest_similarity"].between(0.78, 1.0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "is not a folder"),
        (lambda path: path.mkdir(), "holds neither chipset.json nor class folders"),
    ],
)
def test_another_folder_is_refused(make: object, message: str, tmp_path: Path) -> None:
    make(tmp_path / "set")  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        list_chips(tmp_path / "set")


def test_the_command_prints_json_and_writes_the_csv(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["duplicates", str(folder), "--json", "--csv", str(tmp_path / "out.csv")])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["n_groups"] == 2
    assert (tmp_path / "out.csv").is_file()


def test_the_command_prints_the_summary(folder: Path) -> None:
    done = CliRunner().invoke(app, ["duplicates", str(folder)])
    assert done.exit_code == 0
    assert done.stdout.startswith("8 chips, 5 pictures: ")


# --- keys of ChipSets


def _write_set(
    root: Path, pictures: list[np.ndarray], labels: list[str], radiometry: Radiometry = Radiometry.AMPLITUDE
) -> Path:
    with ChipSetWriter(root, Header("toy", radiometry, "all", (-20.0, 10.0))) as writer:
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            row = {"chip_id": f"{index:024d}", "origin": "real", "label": label, "group_id": str(index)}
            writer.add(row, picture.astype(np.float32))
    return root


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, ChipSet]:
    one = _write_set(tmp_path / "one", [_grey(1), _grey(2), _grey(2)[::-1]], ["x"] * 3)
    darker = _darker_and_turned(_grey(1)).astype(np.float64) ** 2
    other = _write_set(tmp_path / "other", [darker, _grey(3)], ["x"] * 2, Radiometry.INTENSITY)
    return {root.name: open_chipset(root, splits=("all",)) for root in (one, other)}


def test_keys_agree_across_sets_of_another_radiometry(sets: dict[str, ChipSet]) -> None:
    keys = picture_keys(sets, near=True)
    assert [len(found) for found in keys.values()] == [3, 2]
    near = [key.near for found in keys.values() for key in found]
    exact = [key.exact for found in keys.values() for key in found]
    assert [near.index(key) for key in near] == [0, 1, 1, 0, 4]
    assert [exact.index(key) for key in exact] == [0, 1, 1, 3, 4]


def test_without_near_duplicates_both_keys_are_exact(sets: dict[str, ChipSet]) -> None:
    keys = picture_keys(sets, near=False)
    assert all(key.exact == key.near for found in keys.values() for key in found)


# --- real chips


def _needs(name: str) -> Path:
    mirror = os.environ.get("SARCURATE_MIRROR")
    if not mirror or not (Path(mirror) / name).is_dir():
        pytest.skip(f"needs {name} in the mirror folder SARCURATE_MIRROR")
    return Path(mirror) / name


@pytest.mark.real
def test_two_renderings_of_a_measurement_are_one_picture() -> None:
    folder = _needs("mstar-twins")
    table = pd.read_csv(folder / "pairs.csv")
    codes = [
        np.stack([picture_code(read_chip(folder / path).values) for path in table[side]])
        for side in ("rendering_a", "rendering_b")
    ]
    same = similarities(*codes) >= SAME_PICTURE
    other = similarities(codes[0], np.roll(codes[1], 1, axis=0)) >= SAME_PICTURE
    assert same.mean() >= 0.98
    assert not other.any()


@pytest.mark.real
def test_measurements_of_neighbouring_azimuths_are_not() -> None:
    folder = _needs("mstar-simshift")
    paths = sorted((folder / "mstar-x" / "t72").glob("*.png"))
    codes = np.stack([picture_code(read_chip(path).values) for path in paths])
    first, second = np.triu_indices(len(paths), 1)
    near = second - first <= 5
    assert similarities(codes[first[near]], codes[second[near]]).max() < SAME_PICTURE
