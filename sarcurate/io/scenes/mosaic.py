"""A scene put together from overlapping chips that carry their row and column, and its GeoTIFF."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.windows import Windows, overlapping_pairs
from sarcurate.errors import DataError
from sarcurate.execution import track
from sarcurate.io.raster import read_samples
from sarcurate.io.safe import resolve_inside
from sarcurate.io.scenes.scene import Facts, Geometry, NoSamplesError, Scene, Window

MAX_BYTES = 4 << 30
MAX_SIDE_PX = 1 << 24
TILE_PX = 256


@dataclass(frozen=True)
class MosaicReader:
    """Samples of chips in one scene's pixels; only what some chip holds can be read.

    Args:
        names: of the chips, for messages.
        windows: (n, 4) where each lies: row, col, rows, cols.
        chips: samples of each, (rows, cols), all of one type.

    Raises:
        DataError: where two chips differ in a sample that both hold.
    """

    names: tuple[str, ...]
    windows: Windows
    chips: tuple[NDArray[Any], ...]

    def __post_init__(self) -> None:
        for first, second in overlapping_pairs(self.windows):
            self._check_overlap(int(first), int(second))

    def read(self, window: Window) -> NDArray[Any]:
        """Samples (rows, cols) of a window; NoSamplesError where a pixel of it is in no chip."""
        samples, seen = self.gather(window)
        if not seen.all():
            raise NoSamplesError(
                f"window of {window.rows} x {window.cols} px at row {window.row}, column {window.col}: "
                f"{int((~seen).sum())} of its pixels are in none of the {len(self.chips)} chips",
                fix="move or shrink the window; the chipper skips or refuses such windows",
            )
        return samples

    def gather(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Samples (rows, cols) of a window, zero where no chip has any, and where one has."""
        wanted = np.array([[window.row, window.col, window.rows, window.cols]])
        samples = np.zeros((window.rows, window.cols), dtype=self.chips[0].dtype)
        seen = np.zeros(samples.shape, dtype=bool)
        for index in np.flatnonzero(_meets(self.windows, wanted[0])):
            here, there = _shared(wanted[0], self.windows[index])
            samples[here] = self.chips[index][there]
            seen[here] = True
        return samples, seen

    def close(self) -> None:
        """Nothing to release: the chips are in memory."""

    def _check_overlap(self, first: int, second: int) -> None:
        in_first, in_second = _shared(self.windows[first], self.windows[second])
        differs = self.chips[first][in_first] != self.chips[second][in_second]
        if differs.any():
            row, col = np.argwhere(differs)[0]
            raise DataError(
                f"{self.names[first]} and {self.names[second]} differ in {int(differs.sum())} of "
                f"{differs.size} samples that both hold, the first at row "
                f"{in_first[0].start + row + self.windows[first][0]}, column "
                f"{in_first[1].start + col + self.windows[first][1]} of the scene",
                fix="check row, col and scene of both: they are not cut from one image on one grid",
            )


def write_mosaics(root: Path, table: pd.DataFrame, out: Path) -> list[Path]:
    """Write every scene of a table of chips, as :func:`open_mosaic` opens it, to ``out``/<scene>_<pol>.tif.

    Complex or float32 samples, tiled and packed without loss; NaN where no chip has any, so that the chipper
    skips these. Rows and columns are those of the scene.

    Raises:
        DataError: as :func:`open_mosaic`, and where a file to be written exists.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    known = table[["scene_id", "polarisation"]].drop_duplicates().sort_values("scene_id")
    for scene_id, polarisation in known.itertuples(index=False):
        pol = None if pd.isna(polarisation) else str(polarisation)
        scene = open_mosaic(root, table, str(scene_id), pol)
        path = out / ("_".join(filter(None, (str(scene_id), pol))) + ".tif")
        if path.exists():
            raise DataError(f"{path} is there already", fix="name another folder, or remove it")
        _write(scene, path)
        written.append(path)
    return written


def _write(scene: Scene, path: Path) -> None:
    reader = scene.pixels
    assert isinstance(reader, MosaicReader)
    rows, cols = scene.shape
    dtype = np.complex64 if np.iscomplexobj(reader.chips[0]) else np.float32
    options = {"tiled": True, "blockxsize": TILE_PX, "blockysize": TILE_PX, "compress": "deflate"}
    part = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            part, "w", driver="GTiff", height=rows, width=cols, count=1, dtype=dtype, **options
        ) as file:
            starts = range(0, rows, TILE_PX)
            for row in track(starts, f"writing {path.name}", len(starts)):
                height = min(TILE_PX, rows - row)
                samples, seen = reader.gather(Window(row, 0, height, cols))
                samples = samples.astype(dtype, copy=False)
                samples[~seen] = np.nan
                file.write(samples, 1, window=RasterWindow(0, row, cols, height))
    part.replace(path)


def open_mosaic(root: Path, table: pd.DataFrame, scene_id: str, polarisation: str | None) -> Scene:
    """The scene that the chips of one acquisition make up.

    Args:
        root: folder that the table's paths start at.
        table: path, scene_id, polarisation, first_row_px, first_col_px, and band where known, as public sets
            are read (:func:`sarcurate.io.public_sets.read_set`).

    Returns:
        A scene with the rows and columns of the original; what no chip holds cannot be read.

    Raises:
        DataError: where no chip is of that scene, one has no row or column or cannot be read, types differ,
            chips disagree where they overlap, or all together hold more than 4 GiB.
    """
    chosen = table[(table["scene_id"] == scene_id) & _same(table["polarisation"], polarisation)]
    if chosen.empty or chosen[["first_row_px", "first_col_px"]].isna().any(axis=None):
        raise DataError(
            f"{root}: {len(chosen)} chips of scene {scene_id}, polarisation {polarisation}, "
            "expected at least one, each with row and column",
            fix="choose a scene of the manifest whose chips carry row and col",
        )
    names = tuple(str(path) for path in chosen["path"])
    chips = _read_all(root, names)
    corners = chosen[["first_row_px", "first_col_px"]].to_numpy(dtype=np.int64)
    if corners.min() < 0 or corners.max() > MAX_SIDE_PX:
        raise DataError(
            f"{root}: chips of scene {scene_id} at rows and columns {corners.min()} to {corners.max()}, "
            f"expected 0 to {MAX_SIDE_PX}",
            fix="correct the manifest",
        )
    windows = np.hstack([corners, [chip.shape for chip in chips]])
    rows, cols = (windows[:, :2] + windows[:, 2:]).max(axis=0)
    facts = _facts(chosen, scene_id, polarisation, chips)
    return Scene(root, (int(rows), int(cols)), facts, MosaicReader(names, windows, tuple(chips)))


def _facts(chosen: pd.DataFrame, scene_id: str, polarisation: str | None, chips: Sequence[Any]) -> Facts:
    is_complex = np.iscomplexobj(chips[0])
    bands = set(chosen["band"].dropna()) if "band" in chosen else set()
    return Facts(
        kind=f"mosaic of {len(chips)} chips",
        scene_id=scene_id,
        pixel_type="complex float32" if is_complex else chips[0].dtype.name,
        geometry=Geometry.SLANT,
        radiometry=Radiometry.INTENSITY if is_complex else Radiometry.AMPLITUDE,
        band=bands.pop() if len(bands) == 1 else None,
        polarisation=polarisation,
        warnings=("put together from chips: spacing, incidence, times and calibration are unknown",),
    )


def _same(column: pd.Series, value: str | None) -> pd.Series:
    return column.isna() if value is None else column == value


def _read_all(root: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    chips: list[NDArray[Any]] = []
    held = 0
    for name in names:
        chip = _complex(read_samples(resolve_inside(root, name)))
        held += chip.nbytes
        if chip.ndim != 2 or chip.dtype != (chips or [chip])[0].dtype or held > MAX_BYTES:
            raise DataError(
                f"{root / name}: {chip.dtype} samples of shape {chip.shape}, {held} bytes so far; expected "
                f"(rows, cols), one type for all chips, and at most {MAX_BYTES} bytes together",
                fix="put chips of one kind together, a scene at a time",
            )
        chips.append(chip)
    return chips


def _complex(samples: NDArray[Any]) -> NDArray[Any]:
    """I and Q on a last axis as complex samples; whole numbers of 16 bits fit complex64 exactly."""
    if samples.ndim == 3:
        return (samples[..., 0] + np.complex64(1j) * samples[..., 1]).astype(np.complex64)
    return samples


def _meets(windows: Windows, window: NDArray[np.int64]) -> NDArray[np.bool_]:
    low = windows[:, :2] < window[:2] + window[2:]
    high = windows[:, :2] + windows[:, 2:] > window[:2]
    meets: NDArray[np.bool_] = np.all(low & high, axis=1)
    return meets


def _shared(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where two windows overlap, in the pixels of each."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    in_first, in_second = (
        (slice(*map(int, (low[0] - w[0], high[0] - w[0]))), slice(*map(int, (low[1] - w[1], high[1] - w[1]))))
        for w in (first, second)
    )
    return in_first, in_second
