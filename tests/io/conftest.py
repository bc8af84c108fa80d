"""Shared: scenes over arrays, and everything known of the tiny workspace's chips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.tie_grid import TieGrid
from sarcurate.io.collection import Collection, Layout, collect
from sarcurate.io.gates import Gate
from sarcurate.io.scenes.scene import Facts, Geometry, Scene, Window


@dataclass
class ArrayPixels:
    array: np.ndarray

    def read(self, window: Window) -> np.ndarray:
        return self.array[window.row : window.row + window.rows, window.col : window.col + window.cols].copy()

    def close(self) -> None:
        pass


ArrayScene = Callable[..., Scene]


@pytest.fixture
def array_scene() -> ArrayScene:
    """``array_scene(array, path="a.tif", **facts)``: 2 m azimuth and 1 m range spacing unless told."""

    def make(array: np.ndarray, path: str = "a.tif", **facts: Any) -> Scene:
        is_complex = np.iscomplexobj(array)
        known = {
            "kind": "array",
            "scene_id": Path(path).stem,
            "pixel_type": "complex float32" if is_complex else array.dtype.name,
            "geometry": Geometry.SLANT,
            "radiometry": Radiometry.INTENSITY if is_complex else Radiometry.AMPLITUDE,
            "azimuth_spacing_m": 2.0,
            "range_spacing_m": 1.0,
        }
        return Scene(Path(path), array.shape, Facts(**(known | facts)), ArrayPixels(array))

    return make


@pytest.fixture
def positions() -> dict[str, TieGrid]:
    """Latitude falls by 0.001 degrees a row from 50, longitude grows by 0.002 a column from 8."""
    nodes = np.array([0.0, 100.0])
    return {
        "latitude_deg": TieGrid(nodes, np.zeros(1), np.array([[50.0], [49.9]])),
        "longitude_deg": TieGrid(np.zeros(1), nodes, np.array([[8.0, 8.2]])),
    }


@pytest.fixture(scope="module")
def collection(tiny_workspace: Path, tiny_params: Callable[..., Any]) -> Collection:
    params = tiny_params()
    gates = [Gate(**gate.model_dump()) for gate in params.curate.gates]
    return collect(Layout(tiny_workspace / "data"), gates, params.dataset.classes)
