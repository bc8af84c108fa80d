"""ChipSet: a folder of chips with one manifest row per chip, and the guard that keeps test chips apart."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sarcurate.core.display import to_uint8_db
from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.errors import DataError, LeakageError
from sarcurate.io import lineage, raster
from sarcurate.io.manifest import (
    MANIFEST,
    SCHEMA,
    Header,
    check_manifest,
    manifest_revision,
    read_manifest,
)
from sarcurate.io.safe import resolve_inside

FORMAT = 1
HEADER = "chipset.json"
# Names that lead nowhere but down: neither dots nor anything empty where a folder is expected.
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


@dataclass(frozen=True)
class ChipSet:
    """An opened ChipSet: its header, its manifest (one row per chip, sorted by chip_id), its revision."""

    root: Path
    header: Header
    manifest: pd.DataFrame
    revision: str

    def pixels(self, chip_id: str) -> NDArray[np.generic]:
        """Pixels (rows, cols) of one chip as stored: float32 or uint16.

        Raises:
            DataError: when the chip is unknown, its file is missing or its pixels changed.
        """
        file_name, digest = self._file(chip_id)
        array = raster.read_tiff(self._path(file_name))
        if lineage.pixels_sha256(array) != digest:
            raise DataError(
                f"{self.root}: the pixels of {file_name} are not those of the manifest",
                fix="restore the set with `dvc checkout --force`, or rebuild it with `dvc repro`",
            )
        return array

    def intensity(self, chip_id: str) -> NDArray[np.float32]:
        """Linear intensity (rows, cols) of one chip; relative where the radiometry is."""
        return to_intensity(self.pixels(chip_id), self.header.radiometry)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Manifest rows as plain dictionaries, in order of chip_id."""
        for record in self.manifest.to_dict("records"):
            yield {str(key): lineage.plain(value) for key, value in record.items()}

    def _file(self, chip_id: str) -> tuple[str, str]:
        """File name and pixel hash of one chip."""
        try:
            return self._files[chip_id]
        except KeyError:
            raise DataError(
                f"{self.root} holds no chip {chip_id}", fix="take ids from its metadata.parquet"
            ) from None

    def _path(self, file_name: str) -> Path:
        """As :func:`resolve_inside`, which looks at every folder above, too, and so takes far longer."""
        if not file_name.isascii() or not _NAME.fullmatch(file_name):
            return resolve_inside(self.root, file_name)
        place = self._base
        for part in file_name.split("/"):
            place /= part
            if place.is_symlink():
                return resolve_inside(self.root, file_name)
        return place

    @cached_property
    def _base(self) -> Path:
        return self.root.resolve()

    @cached_property
    def _files(self) -> dict[str, tuple[str, str]]:
        # Searching the manifest for each chip would take longer than reading the chip.
        columns = (self.manifest[name].astype(str) for name in ("chip_id", "file_name", "pixels_sha256"))
        return {chip_id: (file, digest) for chip_id, file, digest in zip(*columns, strict=True)}


def open_chipset(root: Path, splits: Collection[str]) -> ChipSet:
    """Open a ChipSet, naming the splits the caller may see; this is the guard against test leakage.

    Args:
        root: the ChipSet's folder.
        splits: any of ``all``, ``train``, ``test``; only validate, evaluate and package may name ``test``.

    Raises:
        LeakageError: when the set, or a chip in it, belongs to another split.
        DataError: when the folder is no ChipSet, or its manifest is broken or does not fit its revision.
    """
    header, revision = _read_header(root)
    manifest = read_manifest(root)
    found = {header.split, *manifest["split"]}
    if not found <= set(splits):
        odd = sorted(map(str, found - set(splits)))
        raise LeakageError(
            f"{root} holds {odd} chips, but only {sorted(splits)} may be read here",
            fix="give a set of that split; test chips are for validate, evaluate and package alone",
        )
    check_manifest(root, header, manifest)
    if revision != manifest_revision(manifest):
        raise DataError(
            f"{root}: the manifest does not fit its revision id {revision[:16]}",
            fix="restore the set with `dvc checkout --force`, or rebuild it with `dvc repro`",
        )
    return ChipSet(root, header, manifest, revision)


def _read_header(root: Path) -> tuple[Header, str]:
    path = root / HEADER
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        header = Header(
            sensor=data["sensor"],
            radiometry=Radiometry(data["radiometry"]),
            split=data["split"],
            display_db=(float(data["display_db"][0]), float(data["display_db"][1])),
        )
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, expected {FORMAT}")
        return header, str(data["revision"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{root} is not a ChipSet: {path.name}: {error}",
            fix="point to a ChipSet folder (see docs/chipset-format.md)",
        ) from error


class ChipSetWriter:
    """Writes a ChipSet into an empty or missing folder; it becomes one only when the block ends well.

    The header is written last, so that a killed writer leaves no valid set behind.
    """

    def __init__(self, root: Path, header: Header) -> None:
        self._root = root
        self._header = header
        self._rows: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> ChipSetWriter:
        if self._root.exists() and any(self._root.iterdir()):
            raise DataError(f"{self._root} is not empty", fix="remove it, or let `dvc repro` do so")
        self._root.mkdir(parents=True, exist_ok=True)
        return self

    def add(self, row: Mapping[str, Any], pixels: NDArray[np.generic]) -> None:
        """Write one chip and remember its row; path columns, radiometry, sensor and hashes are filled in.

        Raises:
            DataError: for an id given twice, an unknown column or pixels that no ChipSet can hold.
        """
        chip_id = self._new_id(row)
        stem = f"{chip_id[:2]}/{chip_id}"
        chip_file, preview_file = f"chips/{stem}.tif", f"previews/{stem}.png"
        array = raster.storable(pixels, chip_id)
        low_db, high_db = self._header.display_db
        for name in (chip_file, preview_file):
            (self._root / name).parent.mkdir(parents=True, exist_ok=True)
        raster.write_tiff(self._root / chip_file, array)
        intensity = to_intensity(array, self._header.radiometry)
        raster.write_preview(self._root / preview_file, to_uint8_db(intensity, low_db, high_db))
        self._remember(row, chip_id, chip_file, preview_file, lineage.pixels_sha256(array))

    def copy(self, chips: ChipSet, row: Mapping[str, Any]) -> None:
        """Take one chip over from another ChipSet, byte for byte, with ``row`` as its new row.

        Raises:
            DataError: for an id given twice, an unknown column or a missing file.
        """
        chip_id = self._new_id(row)
        for name in (row["file_name"], row["preview_file_name"]):
            source = resolve_inside(chips.root, str(name))
            if not source.is_file():
                raise DataError(
                    f"{chips.root}: {name} of chip {chip_id} is missing",
                    fix="restore the set with `dvc checkout --force`, or rebuild it with `dvc repro`",
                )
            (self._root / str(name)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, self._root / str(name))
        self._remember(
            row, chip_id, str(row["file_name"]), str(row["preview_file_name"]), str(row["pixels_sha256"])
        )

    def _new_id(self, row: Mapping[str, Any]) -> str:
        chip_id = str(row["chip_id"])
        if chip_id in self._rows:
            raise DataError(
                f"chip {chip_id} ({row.get('source_path')}) was added twice to {self._root}",
                fix="the same pixels at the same path are one chip; remove the repeated row",
            )
        unknown = set(row) - set(SCHEMA.names)
        if unknown:
            raise DataError(
                f"chip {chip_id} has unknown columns {sorted(unknown)}", fix="see docs/chipset-format.md"
            )
        return chip_id

    def _remember(self, row: Mapping[str, Any], chip_id: str, chip: str, preview: str, pixels: str) -> None:
        self._rows[chip_id] = {
            **row,
            "file_name": chip,
            "preview_file_name": preview,
            "split": self._header.split,
            "sensor": self._header.sensor,
            "radiometry": self._header.radiometry.value,
            "pixels_sha256": pixels,
            "parents": list(row.get("parents") or []),
            "style_ids": list(row.get("style_ids") or []),
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if not self._rows:
            raise DataError(
                f"no chip was written to {self._root}", fix="check the inputs: a ChipSet is never empty"
            )
        rows = [self._rows[chip_id] for chip_id in sorted(self._rows)]
        table = pa.Table.from_pylist(
            [{name: row.get(name) for name in SCHEMA.names} for row in rows], schema=SCHEMA
        )
        pq.write_table(table, self._root / MANIFEST, compression="zstd")
        manifest = read_manifest(self._root)
        check_manifest(self._root, self._header, manifest)
        header = {
            "format": FORMAT,
            **asdict(self._header),
            "n_chips": len(rows),
            "revision": manifest_revision(manifest),
        }
        (self._root / HEADER).write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
