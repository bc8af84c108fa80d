"""Every chip of a workspace in one table, found by id, prefix, file, scene or group, and its kin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sarcurate.errors import DataError, ParamsError
from sarcurate.io import lineage, raster
from sarcurate.io.manifest import MANIFEST, SCHEMA

COLUMNS = (
    *("chip_id", "file_name", "preview_file_name", "origin", "label", "split", "fold", "group_id", "sensor"),
    *("band", "mode", "polarisation", "radiometry", "acquired_utc", "scene_id", "first_row_px"),
    *("first_col_px", "parents", "style_ids", "adapter_sha256", "prompt", "seed", "recipe_sha256"),
    *("pixels_sha256", "source_path", "licence"),
)
FOLDER = "folder"  # of the set, relative to the workspace: the column beside the manifest's
RELATIONS = {"content": "parents", "style": "style_ids"}
NAMED = 10
# The same chips before the split come last, so that a chip is found where it is used.
_PLACES = ("data/real/*", "data/*", "data/translated/*", "data/chips/*")


@dataclass(frozen=True, eq=False)
class ChipIndex:
    """Chips of all sets of a workspace, each once; ``table`` has ``COLUMNS`` and ``FOLDER``."""

    root: Path
    table: pa.Table

    def row(self, chip_id: str) -> dict[str, Any] | None:
        """Manifest facts of one chip; None where it is in no set."""
        place = pc.index(self.table["chip_id"], chip_id).as_py()
        if place < 0:
            return None
        found: dict[str, Any] = self.table.slice(place, 1).to_pylist()[0]
        return found

    def rows(self, mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
        """Manifest facts of the chips that a mask of shape (n,) picks."""
        found: list[dict[str, Any]] = self.table.filter(pa.array(mask)).to_pylist()
        return found

    def is_any(self, column: str, values: Iterable[str]) -> NDArray[np.bool_]:
        """Which chips have one of some values in a column, shape (n,)."""
        asked = pa.array(sorted(values), type=pa.string())
        return _mask(pc.is_in(self.table[column], value_set=asked))

    def made_of(self, relation: str, ids: Iterable[str]) -> NDArray[np.bool_]:
        """Which chips name one of some ids as their content or style, shape (n,)."""
        lists = self.table[RELATIONS[relation]].combine_chunks()
        hit = _mask(pc.is_in(pc.list_flatten(lists), value_set=pa.array(sorted(ids), type=pa.string())))
        mask = np.zeros(self.table.num_rows, dtype=np.bool_)
        mask[pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)[hit]] = True
        return mask


def read_index(root: Path) -> ChipIndex:
    """Read the manifests of a workspace's sets; chips before the split count where no later set has them.

    Raises:
        DataError: where there is no set, or a manifest cannot be read.
    """
    folders = list(dict.fromkeys(path.parent for place in _PLACES for path in _manifests(root, place)))
    if not folders:
        raise DataError(
            f"{root / 'data'} holds no ChipSet",
            fix="run in a workspace after `dvc repro`, or restore its data with `dvc checkout`",
        )
    tables = [_read(folder, folder.relative_to(root).as_posix()) for folder in folders]
    whole = pa.concat_tables(tables).combine_chunks()
    ids = whole["chip_id"].to_numpy(zero_copy_only=False).astype(str)
    first = np.unique(ids, return_index=True)[1]
    return ChipIndex(root, whole if len(first) == len(ids) else whole.take(pa.array(np.sort(first))))


def _manifests(root: Path, place: str) -> list[Path]:
    found = sorted(root.glob(f"{place}/{MANIFEST}"))
    return [path for path in found if (path.parent / "chipset.json").is_file()]


def _read(folder: Path, name: str) -> pa.Table:
    path = folder / MANIFEST
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
        table = table.cast(pa.schema([SCHEMA.field(column) for column in COLUMNS]))
    except (OSError, KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(
            f"cannot read {path}: {str(error)[:200]}", fix="rebuild the set with `dvc repro`"
        ) from error
    return table.append_column(FOLDER, pa.array([name] * table.num_rows, type=pa.string()))


def find_chip(index: ChipIndex, asked: str) -> dict[str, Any]:
    """The chip that an id, a unique prefix of one or a chip's file names.

    A file of another name counts by its pixels.

    Raises:
        ParamsError: where no chip or more than one is meant.
        DataError: for a file that is no chip and cannot be read.
    """
    path = Path(asked)
    if path.is_file():
        return _of_file(index, path)
    stem = path.stem if path.suffix in (".tif", ".png") else asked
    found = _with_prefix(index, stem)
    if len(found) == 1:
        return found[0]
    if not found:
        hint = ", or add --down for a scene or group" if asked in _names(index) else ""
        raise ParamsError(
            f"no chip of this workspace has an id that begins with {asked!r}",
            fix=f"take ids from a metadata.parquet or the report{hint}",
        )
    ids = [str(row["chip_id"]) for row in found]
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    raise ParamsError(
        f"{asked!r} is the beginning of {len(ids)} ids: {', '.join(ids[:NAMED])}{more}",
        fix="give more digits of the id",
    )


def _of_file(index: ChipIndex, path: Path) -> dict[str, Any]:
    row = index.row(path.stem)
    if row is not None:
        return row
    digest = lineage.pixels_sha256(raster.read_tiff(path))
    found = index.rows(index.is_any("pixels_sha256", [digest]))
    if len(found) != 1:
        ids = ", ".join(str(row["chip_id"]) for row in found[:NAMED])
        raise ParamsError(
            f"{path}: {len(found)} chips of this workspace have its pixels {ids}".rstrip(),
            fix="give one id" if found else "name a chip file of this workspace, or a chip's id",
        )
    return found[0]


def _with_prefix(index: ChipIndex, prefix: str) -> list[dict[str, Any]]:
    row = index.row(prefix)
    if row is not None:
        return [row]
    return index.rows(_mask(pc.starts_with(index.table["chip_id"], prefix))) if prefix else []


def _names(index: ChipIndex) -> set[str]:
    columns = (pc.unique(index.table[name]).to_pylist() for name in ("scene_id", "group_id"))
    return {str(name) for column in columns for name in column if name is not None}


def find_start(index: ChipIndex, asked: str) -> tuple[str, list[dict[str, Any]]]:
    """What to follow down: a scene's or group's real chips by its exact name, else one chip.

    Returns:
        What was meant in words, and the chips' rows.

    Raises:
        ParamsError, DataError: as :func:`find_chip`.
    """
    if index.row(asked) is None:
        for column, word in (("scene_id", "scene"), ("group_id", "group")):
            mask = index.is_any(column, [asked])
            if mask.any():
                found = index.rows(mask)
                real = [row for row in found if not row["parents"] and not row["adapter_sha256"]]
                return f"{word} {asked}", real or found
    row = find_chip(index, asked)
    return f"chip {row['chip_id']}", [row]


def _mask(found: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = found.fill_null(False).to_numpy(zero_copy_only=False)
    return flags
