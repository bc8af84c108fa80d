"""How long it takes to cut 1,000 windows from a complex scene, against plain rasterio reads of the same ones.

`make bench NAME=chipping`. Generated scenes of 4000 x 4000 px: a COSAR and a complex int16 GeoTIFF, in tiles
and in strips. Windows of 64 and 128 px at random places, in the order of their rows. In each round rasterio
reads all windows, `Scene.samples` reads them, `Scene.detected` makes beta0 of them, and so does the chipper's
`read_windows`, each on a file opened anew; rasterio has a turn before and after ours. Seconds are of the
processor, which other work on the machine disturbs less, with all files in the system's cache. Detection and
calibration are part of our time and no part of rasterio's. The last line is one JSON object: medians over
rounds of our time over rasterio's; `ratio` is the largest of the chipper's, `ratio_cosar` that
on COSAR, `ratio_samples` the largest of reading alone.
"""

import importlib.util
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from sarcurate.core.radiometry import Radiometry
from sarcurate.io.cutting.chipper import read_windows
from sarcurate.io.scenes.products import open_scene
from sarcurate.io.scenes.scene import Scene, Window

SIDE_PX = 4000
WINDOWS = 1000
ROUNDS = 7
MAKE_PRODUCTS = Path(__file__).resolve().parents[1] / "tests" / "data" / "make_products.py"


def speckle() -> np.ndarray:
    parts = np.random.default_rng(0).normal(0, 300, (2, SIDE_PX, SIDE_PX)).astype(np.float32)
    return np.rint(parts[0]) + np.complex64(1j) * np.rint(parts[1])


def write_scenes(folder: Path) -> dict[str, Path]:
    spec = importlib.util.spec_from_file_location("make_products", MAKE_PRODUCTS)
    assert spec is not None
    assert spec.loader is not None
    make_products = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_products)
    samples = speckle()
    paths = {"cosar": folder / "scene.cos", "tiled": folder / "tiled.tif", "striped": folder / "striped.tif"}
    make_products.write_cosar(paths["cosar"], samples, 1)
    layouts = {"tiled": {"tiled": True, "blockxsize": 256, "blockysize": 256}, "striped": {}}
    for name, layout in layouts.items():
        options = {
            "driver": "GTiff",
            "height": SIDE_PX,
            "width": SIDE_PX,
            "count": 1,
            "dtype": "complex_int16",
        }
        with rasterio.open(paths[name], "w", **options, **layout) as file:
            file.write(samples, 1)
    return paths


def windows(side_px: int) -> list[Window]:
    corners = np.random.default_rng(side_px).integers(0, SIDE_PX - side_px, (WINDOWS, 2))
    ordered = corners[np.lexsort((corners[:, 1], corners[:, 0]))]
    return [Window(int(row), int(col), side_px, side_px) for row, col in ordered]


def calibrated(path: Path) -> Scene:
    scene = open_scene(path)
    return replace(scene, facts=replace(scene.facts, beta0_factor=1e-5))


def by_rasterio(path: Path, places: list[Window]) -> float:
    with rasterio.open(path) as file:
        start = time.process_time()
        for place in places:
            file.read(1, window=RasterWindow(place.col, place.row, place.cols, place.rows))
        return time.process_time() - start


def by_samples(path: Path, places: list[Window]) -> float:
    with open_scene(path) as scene:
        start = time.process_time()
        for place in places:
            scene.samples(place)
        return time.process_time() - start


def by_scene(path: Path, places: list[Window]) -> float:
    with calibrated(path) as scene:
        start = time.process_time()
        for place in places:
            scene.detected(place, Radiometry.BETA0)
        return time.process_time() - start


def by_chipper(path: Path, places: list[Window]) -> float:
    with calibrated(path) as scene:
        start = time.process_time()
        for _ in read_windows(scene, places, Radiometry.BETA0, "error"):
            pass
        return time.process_time() - start


def measure(path: Path, places: list[Window]) -> tuple[float, dict[str, float]]:
    """Milliseconds of rasterio, and the median over rounds of each of our ways over it."""
    ways: dict[str, Callable[[Path, list[Window]], float]] = {
        "samples": by_samples,
        "detected": by_scene,
        "chipper": by_chipper,
    }
    plain, ratios = [], {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        first = by_rasterio(path, places)
        ours = {name: way(path, places) for name, way in ways.items()}
        reference = (first + by_rasterio(path, places)) / 2
        if turn:  # the first round warms the system's file cache
            plain.append(reference)
            for name, taken in ours.items():
                ratios[name].append(taken / reference)
    return 1e3 * statistics.median(plain), {name: statistics.median(found) for name, found in ratios.items()}


def main() -> None:
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    found: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        for name, path in write_scenes(Path(folder)).items():
            for side_px in (64, 128):
                plain_ms, ratios = measure(path, windows(side_px))
                print(
                    f"{name:8s} {side_px:4d} px: rasterio {plain_ms:7.1f} ms for {WINDOWS}, "
                    + ", ".join(f"{way} {ratio:.2f} times that" for way, ratio in ratios.items())
                )
                found |= {f"{name}_{side_px}_{way}": round(ratio, 3) for way, ratio in ratios.items()}
    print(
        json.dumps(
            {
                "ratio": max(found[name] for name in found if name.endswith("chipper")),
                "ratio_cosar": max(
                    found[name] for name in found if name.endswith("chipper") and "cosar" in name
                ),
                "ratio_samples": max(found[name] for name in found if name.endswith("samples")),
                **found,
            }
        )
    )


if __name__ == "__main__":
    main()
