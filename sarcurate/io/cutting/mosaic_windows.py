"""Chips larger than those of a public set: windows of its mosaics, one about each chip of the set."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from sarcurate.core.windows import connected_sets
from sarcurate.errors import DataError
from sarcurate.execution import track
from sarcurate.io.scenes.mosaic import MosaicReader, open_mosaic
from sarcurate.io.scenes.scene import Window


@dataclass(frozen=True)
class MosaicCut:
    """What was cut.

    Attributes:
        table: one row per window, with the columns of the set's table; path, first row and column, and group
            are the window's own.
        mirrored: share of the windows' pixels that no chip of the set holds.
    """

    table: pd.DataFrame
    mirrored: float


def cut_mosaic(
    root: Path, table: pd.DataFrame, classes: Sequence[str], shape: tuple[int, int], covered: float, out: Path
) -> MosaicCut:
    """Write the window about each chip of some classes to ``out``/<class>/, as I and Q or as amplitudes.

    A window has the class of the chip at its centre. Pixels that no chip of the set holds are mirrored about
    the nearest one that some chip does, so that they carry the speckle of their neighbourhood. Windows that
    overlap, of whatever class, are one group.

    Args:
        root: folder that the table's paths start at.
        table: chips of one domain as :func:`sarcurate.io.public_sets.read_set` gives them, of all classes, so
            that neighbours fill in; each with scene, row and column.
        classes: those that windows are cut for.
        shape: (rows, cols) of a window in pixels.
        covered: least share of a window's pixels that chips hold, in 0..1.

    Raises:
        DataError: where a class is left without a window, or chips make no mosaic.
    """
    rows, shares = [], []
    known = table[["scene_id", "polarisation"]].drop_duplicates().sort_values("scene_id")
    scenes = list(known.itertuples(index=False))
    for scene_id, polarisation in track(scenes, "cutting windows of scenes", len(scenes)):
        pol = None if pd.isna(polarisation) else str(polarisation)
        scene = open_mosaic(root, table, str(scene_id), pol)
        assert isinstance(scene.pixels, MosaicReader)
        chips = table[table["path"].isin(scene.pixels.names) & table["label"].isin(classes)]
        for row, samples, seen in _windows(scene.pixels, chips, shape):
            if seen.mean() >= covered:
                _save(out / str(row["path"]), mirrored(samples, seen))
                rows.append(row)
                shares.append(1.0 - seen.mean())
    made = pd.DataFrame(rows, columns=table.columns).astype(table.dtypes)
    for name in sorted(set(classes) - set(made["label"])):
        raise DataError(
            f"{root}: no window of {shape[0]} x {shape[1]} px about a chip of class {name} is covered to "
            f"{covered:.0%} by chips of the set",
            fix="lower acquire's covered or window_px",
        )
    return MosaicCut(_grouped(made, shape).sort_values("path", ignore_index=True), float(np.mean(shares)))


def mirrored(samples: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[Any]:
    """Samples (rows, cols) with the unseen ones taken from beyond their nearest seen one, at equal distance.

    Where that place is unseen or outside, the nearest seen sample itself is taken.
    """
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    beyond = 2 * nearest - np.indices(seen.shape)
    inside = np.all((beyond >= 0) & (beyond < np.array(seen.shape)[:, None, None]), axis=0)
    beyond = np.where(inside, beyond, nearest)
    taken = np.where(seen[tuple(beyond)], beyond, nearest)
    filled: NDArray[Any] = samples[tuple(taken)]
    return filled


def _windows(
    reader: MosaicReader, chips: pd.DataFrame, shape: tuple[int, int]
) -> Iterator[tuple[dict[Hashable, Any], NDArray[Any], NDArray[np.bool_]]]:
    """For each chip its row as that of the window about it, the samples, and where a chip holds some."""
    edge = dict(zip(reader.names, reader.windows[:, 2:], strict=True))
    for old in chips.to_dict("records"):
        rows, cols = edge[old["path"]]
        row = int(old["first_row_px"] + (rows - shape[0]) // 2)
        col = int(old["first_col_px"] + (cols - shape[1]) // 2)
        if min(row, col) < 0:
            continue
        path = f"{old['label']}/{Path(old['path']).stem}.npy"
        moved = old | {"path": path, "first_row_px": row, "first_col_px": col}
        yield moved, *reader.gather(Window(row, col, *shape))


def _save(path: Path, samples: NDArray[Any]) -> None:
    """Complex samples as I and Q on a last axis, in the whole numbers that they came in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if np.iscomplexobj(samples):
        samples = np.stack([samples.real, samples.imag], axis=-1).astype(np.int16)
    np.save(path, samples)


def _grouped(made: pd.DataFrame, shape: tuple[int, int]) -> pd.DataFrame:
    """The windows with the first of those they hang together with, within a scene, as their group."""
    groups = pd.Series("", index=made.index, dtype="str")
    for _, part in made.groupby("scene_id"):
        corners = part[["first_row_px", "first_col_px"]].to_numpy(dtype=np.int64)
        sets = connected_sets(np.hstack([corners, np.broadcast_to(shape, corners.shape)]))
        groups[part.index] = part["path"].to_numpy()[sets]
    return made.assign(group_id=groups)
