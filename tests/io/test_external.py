from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, LeakageError, RadiometryError
from sarcurate.io.chipset import ChipSet, ChipSetWriter, Header, open_chipset
from sarcurate.io.external import open_external
from sarcurate.io.sensors import load_profile

CLASSES = ["a", "b", "c"]
LIKE = Header("fucheng1-sim", Radiometry.SIGMA0, "test", (-20.0, 5.0))
Open = Callable[[Path], ChipSet]


def _set(root: Path, header: Header = LIKE, origin: str = "real") -> Path:
    with ChipSetWriter(root, header) as writer:
        for index, label in enumerate("ab"):
            row = {"chip_id": f"{index:024x}", "origin": origin, "label": label, "group_id": "pass1"}
            writer.add(row, np.full((3, 3), 1 + index, np.float32))
    return root


@pytest.fixture
def external(tmp_path: Path) -> Open:
    like = open_chipset(_set(tmp_path / "like"), splits=("test",))
    profile = load_profile("fucheng1-sim")
    return lambda path: open_external(path, CLASSES, profile, like, tmp_path / "scratch")


def _folders(root: Path, **chips: np.ndarray) -> Path:
    for label, chip in chips.items():
        (root / label).mkdir(parents=True)
        np.save(root / label / "0.npy", chip)
    return root


@pytest.mark.parametrize("labels", ["abc", "c", "ca"])
def test_class_folders_are_taken_in_as_the_target_is(tmp_path: Path, external: Open, labels: str) -> None:
    shapes = {label: np.full((2 + i, 5), 1 + i, np.float32) for i, label in enumerate(labels)}
    chips = external(_folders(tmp_path / "mine", **shapes))
    assert set(chips.manifest["label"]) == set(labels)
    assert (chips.header.sensor, chips.header.radiometry) == (LIKE.sensor, LIKE.radiometry)
    assert chips.header.display_db == LIKE.display_db
    found = {row["label"]: chips.pixels(row["chip_id"]) for row in chips.rows()}
    assert set(chips.manifest["group_id"]) == {f"{label}/0.npy" for label in labels}
    for label in labels:
        np.testing.assert_array_equal(found[label], shapes[label])
    # the user's folder is only read
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(labels)


@pytest.mark.parametrize("split", ["all", "train", "test"])
def test_a_chipset_of_any_split_is_opened_in_place(tmp_path: Path, external: Open, split: str) -> None:
    root = _set(tmp_path / "mine", replace(LIKE, split=split, sensor="other"))
    chips = external(root)
    assert chips.root == root
    assert chips.revision == open_chipset(root, splits=(split,)).revision
    assert not (tmp_path / "scratch").exists()


def test_another_radiometry_is_refused(tmp_path: Path, external: Open) -> None:
    root = _set(tmp_path / "mine", replace(LIKE, radiometry=Radiometry.INTENSITY))
    with pytest.raises(
        RadiometryError, match="mine: radiometry intensity, expected sigma0\nFix: give external"
    ):
        external(root)


@pytest.mark.parametrize("origin", ["generated", "migrated", "translated"])
def test_made_chips_are_refused(tmp_path: Path, external: Open, origin: str) -> None:
    with pytest.raises(LeakageError, match=rf"mine holds \['{origin}'\] chips\nFix: test on real chips only"):
        external(_set(tmp_path / "mine", origin=origin))


def test_simulated_chips_stand_for_a_simulated_sensor(tmp_path: Path, external: Open) -> None:
    assert set(external(_set(tmp_path / "mine", origin="simulated")).manifest["origin"]) == {"simulated"}


def test_pixels_that_contradict_the_target_are_refused(tmp_path: Path, external: Open) -> None:
    with pytest.raises(RadiometryError, match=r"0\.npy: sigma0 pixels must be finite and >= 0"):
        external(_folders(tmp_path / "mine", a=np.full((3, 3), -7.0, np.float32)))


def test_folders_that_are_no_class_or_missing_are_errors(tmp_path: Path, external: Open) -> None:
    chip = np.ones((3, 3), np.float32)
    with pytest.raises(DataError, match="class 'z' is unknown"):
        external(_folders(tmp_path / "mine", a=chip, z=chip))
    with pytest.raises(DataError, match="nowhere: cannot be listed"):
        external(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="folder of class 'a' is missing"):
        external(tmp_path / "empty")


def test_a_broken_chipset_is_not_read_as_class_folders(tmp_path: Path, external: Open) -> None:
    root = _set(tmp_path / "mine")
    (root / "chipset.json").write_text("{}")
    with pytest.raises(DataError, match="mine is not a ChipSet"):
        external(root)
