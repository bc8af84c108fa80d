"""Grid of a ChipSet: spacing from its manifest, resolution from the profile; parents on the target's grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from sarcurate.core.grid import SensorGrid, resample_intensity
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.chip_grid import ParentsOnGrid, chip_grid
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.sensors import SensorProfile, load_profile


@pytest.fixture(scope="module")
def source(tiny_sets: Any) -> ChipSet:
    return open_chipset(tiny_sets.parts()["source-train"], splits=("train",))


@pytest.fixture(scope="module")
def target(tiny_sets: Any) -> ChipSet:
    return open_chipset(tiny_sets.parts()["target-train"], splits=("train",))


@pytest.fixture(scope="module")
def profile() -> SensorProfile:
    return load_profile("fucheng1-sim")


def test_spacing_is_the_chips_and_resolution_the_sensors(target: ChipSet, profile: SensorProfile) -> None:
    odd = target.manifest.assign(azimuth_spacing_m=1.25, range_spacing_m=0.75)
    found = chip_grid(replace(target, manifest=odd), profile)
    assert (found.azimuth_spacing_m, found.range_spacing_m) == (1.25, 0.75)
    resolution = found.azimuth_resolution_m, found.range_resolution_m
    assert resolution == (profile.azimuth_resolution_m, profile.range_resolution_m)


def test_chips_of_several_spacings_are_refused(target: ChipSet, profile: SensorProfile) -> None:
    odd = target.manifest.copy()
    odd.iloc[0, odd.columns.get_loc("range_spacing_m")] = 7.5
    with pytest.raises(DataError, match=r"chips of 2 pixel spacings: .*7\.5"):
        chip_grid(replace(target, manifest=odd), profile)


@pytest.mark.parametrize("axis", ["range", "azimuth"])
def test_an_unknown_resolution_is_refused(
    axis: str, target: ChipSet, repository: Path, tmp_path: Path
) -> None:
    yaml = YAML(typ="safe", pure=True)
    known = yaml.load(repository / "sarcurate/assets/sensors/fucheng1-sim.yaml")
    known[f"{axis}_resolution_m"]["value"] = None
    with (tmp_path / "blurred.yaml").open("w") as file:
        yaml.dump(known, file)
    with pytest.raises(ParamsError, match="resolution is unknown"):
        chip_grid(target, load_profile(str(tmp_path / "blurred.yaml")))


@pytest.fixture(scope="module")
def grids(source: ChipSet, target: ChipSet, profile: SensorProfile) -> tuple[SensorGrid, SensorGrid]:
    return chip_grid(source, load_profile("terrasarx-sim")), chip_grid(target, profile)


def test_parents_come_on_the_targets_grid(
    source: ChipSet, target: ChipSet, grids: tuple[SensorGrid, SensorGrid]
) -> None:
    parents = ParentsOnGrid([source], grids, same_pixels=False)
    shape = target.pixels(target.manifest["chip_id"].iloc[0]).shape
    for chip_id in source.manifest["chip_id"].iloc[:3]:
        chip = source.intensity(chip_id)
        assert chip.shape != shape
        assert parents[chip_id].shape == shape
        np.testing.assert_array_equal(parents[chip_id], resample_intensity(chip, *grids))
        assert parents[chip_id].mean() == pytest.approx(chip.mean(), rel=0.1)  # power is kept


def test_with_same_pixels_nothing_is_resampled(source: ChipSet, grids: tuple[SensorGrid, SensorGrid]) -> None:
    parents = ParentsOnGrid([source], grids, same_pixels=True)
    for chip_id in source.manifest["chip_id"].iloc[:2]:
        np.testing.assert_array_equal(parents[chip_id], source.intensity(chip_id))


def test_parents_are_a_mapping_of_the_sources_chips(
    source: ChipSet, target: ChipSet, grids: tuple[SensorGrid, SensorGrid]
) -> None:
    parents = ParentsOnGrid([source], grids, same_pixels=True)
    assert list(parents) == sorted(source.manifest["chip_id"])
    assert len(parents) == len(source.manifest)
    stranger = target.manifest["chip_id"].iloc[0]
    assert stranger not in parents
    with pytest.raises(KeyError):
        parents[stranger]
