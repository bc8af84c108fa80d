"""Statistics of a pair of sensors: those of their train chips, known by pixels alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core import translation
from sarcurate.core.grid import SensorGrid
from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.manifest import Header
from sarcurate.io.pair_fit import PairFit, fit_pair
from sarcurate.io.sensors import load_profile

PROFILES = load_profile("terrasarx-sim"), load_profile("fucheng1-sim")


def chips(seed: int, looks: float, px: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.gamma(looks, 1 / looks, (px, px)).astype(np.float32) * (1 + k) for k in range(5)]


SOURCE, TARGET = chips(1, 3, 32), chips(2, 1, 24)


def chipset(root: Path, images: list[np.ndarray], spacing_m: float, **changes: Any) -> ChipSet:
    with ChipSetWriter(root, Header("s", Radiometry.AMPLITUDE, "train", (-25.0, 10.0))) as writer:
        for k, image in enumerate(images):
            row = {
                "chip_id": f"{k:024d}",
                "origin": "real",
                "label": "a",
                "group_id": "g",
                "source_path": f"{k}",
                "azimuth_spacing_m": spacing_m,
                "range_spacing_m": spacing_m,
            }
            writer.add(row | changes, np.sqrt(image))
    return open_chipset(root, splits=("train",))


def fitted(source: ChipSet, target: ChipSet, *, same_pixels: bool = False) -> PairFit:
    return fit_pair(source, target, *PROFILES, same_pixels=same_pixels, seed=4)


def same(one: Any, other: Any) -> bool:
    """Of two statistics; amplitudes cost a digit."""
    left, right = (dataclasses.asdict(each) for each in (one, other))
    return left.keys() == right.keys() and all(
        left[name] == right[name]
        if isinstance(left[name], dict)
        else np.allclose(left[name], right[name], rtol=1e-3)
        for name in left
    )


@pytest.mark.parametrize("same_pixels", [False, True])
def test_statistics_are_those_of_all_chips_in_order_of_their_ids(tmp_path: Path, same_pixels: bool) -> None:
    source, target = chipset(tmp_path / "s", SOURCE, 1.5), chipset(tmp_path / "t", TARGET, 2.0)
    found = fitted(source, target, same_pixels=same_pixels)
    resolutions = [(one.azimuth_resolution_m, one.range_resolution_m) for one in PROFILES]
    expected = translation.fit_target(TARGET, SensorGrid(2.0, 2.0, *resolutions[1]))  # type: ignore[arg-type]
    assert same(found.target, expected)
    assert same(
        found.source,
        translation.fit_source(
            SOURCE,
            SensorGrid(1.5, 1.5, *resolutions[0]),  # type: ignore[arg-type]
            expected,
            same_pixels=same_pixels,
            seed=4,
        ),
    )
    assert found.like is target
    assert found.profile is PROFILES[1]


def test_what_it_was_fitted_on_is_known_by_pixels_alone(tmp_path: Path) -> None:
    source, target = chipset(tmp_path / "s", SOURCE, 1.5), chipset(tmp_path / "t", TARGET, 2.0)
    found = fitted(source, target).fitted_on
    hashes = [sorted(chips_.manifest["pixels_sha256"]) for chips_ in (source, target)]
    assert found == tuple(lineage.merkle_root(own) for own in hashes)
    told = chipset(tmp_path / "told", SOURCE, 1.5, incidence_deg=30.0, licence="CC0-1.0")
    assert fitted(told, target).fitted_on == found
    fewer = fitted(chipset(tmp_path / "fewer", SOURCE[:4], 1.5), target).fitted_on
    assert fewer[0] != found[0]
    assert fewer[1] == found[1]


def test_chips_of_several_spacings_are_refused(tmp_path: Path) -> None:
    source = chipset(tmp_path / "s", SOURCE, 1.5)
    with ChipSetWriter(tmp_path / "t", source.header) as writer:
        for k, image in enumerate(TARGET):
            row = next(source.rows()) | {
                "chip_id": f"{k:024d}",
                "azimuth_spacing_m": 1.0 + k,
                "range_spacing_m": 1.0,
            }
            writer.add(row, np.sqrt(image))
    with pytest.raises(DataError, match="5 pixel spacings"):
        fitted(source, open_chipset(tmp_path / "t", splits=("train",)))
