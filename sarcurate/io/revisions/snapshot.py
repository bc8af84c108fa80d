"""What a revision of a workspace holds, as far as it can be read without its chips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sarcurate.errors import DataError
from sarcurate.io.manifest import MANIFEST
from sarcurate.io.revisions.revision_files import RevisionFiles
from sarcurate.io.verdicts import Verdict, read_verdicts

SELECTION, PREDICTIONS, VERDICTS = (
    "data/selection.parquet",
    "metrics/predictions.parquet",
    "data/verdicts.csv",
)
CHIP_COLUMNS = ("chip_id", "label", "pixels_sha256", "preview_file_name")
FATE_COLUMNS = ("chip_id", "kept", "label", "reason")
RUN_COLUMNS = ("test_set", "arm", "seed", "chip_id", "group_id", "label", "predicted")
FOLDER = "folder"
_SET = re.compile(r"data/(real|translated)/[^/]+|data/(?!raw|chips|reference|real|translated)[^/.]+")
_NO_SET = ("data/hub",)  # an output folder that holds chips in another form
FETCH = "`dvc fetch --all-commits`, or `git checkout REV` and `dvc pull`, brings it from a remote"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One revision.

    Args:
        metrics: content of metrics/*.json by name.
        chips: rows of all manifests that can be read: ``FOLDER`` and ``CHIP_COLUMNS``.
        folders: sets whose manifests were read.
        fates: the Selection, ``FATE_COLUMNS``; None where it cannot be read.
        runs: predictions, ``RUN_COLUMNS``; None where they cannot be read.
        verdicts: lines of data/verdicts.csv.
        gaps: what could not be read, in sentences.
    """

    files: RevisionFiles
    metrics: Mapping[str, Any]
    chips: pd.DataFrame
    folders: tuple[str, ...]
    fates: pd.DataFrame | None
    runs: pd.DataFrame | None
    verdicts: tuple[Verdict, ...]
    gaps: tuple[str, ...]

    @property
    def name(self) -> str:
        """As people call the revision."""
        return self.files.name

    @property
    def dataset_revision(self) -> str:
        """As evaluate wrote it, or a dash."""
        return str((self.metrics.get("evaluation") or {}).get("dataset_revision") or "–")


def read_snapshot(files: RevisionFiles) -> Snapshot:
    """Read a revision's metadata; what DVC's cache lacks is a gap, not an error.

    Raises:
        DataError: for files that are there and cannot be understood.
    """
    gaps: list[str] = []
    chips = _chips(files, gaps)
    return Snapshot(
        files=files,
        metrics=files.metrics(),
        chips=chips,
        folders=tuple(sorted(set(chips[FOLDER]))),
        fates=_table(files, SELECTION, FATE_COLUMNS, gaps),
        runs=_table(files, PREDICTIONS, RUN_COLUMNS, gaps),
        verdicts=tuple(_verdicts(files, gaps)),
        gaps=tuple(gaps),
    )


def _chips(files: RevisionFiles, gaps: list[str]) -> pd.DataFrame:
    parts = []
    for folder in _sets(files, gaps):
        path = files.data(f"{folder}/{MANIFEST}")
        if path is None:
            gaps.append(f"{files.name}: the manifest of {folder} is not in DVC's cache; {FETCH}")
            continue
        table = _read(path, CHIP_COLUMNS, files.where(f"{folder}/{MANIFEST}"))
        parts.append(table.assign(**{FOLDER: folder}))
    empty = pd.DataFrame({name: pd.Series(dtype="str") for name in (*CHIP_COLUMNS, FOLDER)})
    return pd.concat(parts, ignore_index=True) if parts else empty


def _sets(files: RevisionFiles, gaps: list[str]) -> Iterator[str]:
    """Folders of the sets after the split: those of dvc.lock, and on disk those that are there."""
    found = {path for path, md5 in files.outs.items() if md5.endswith(".dir")}
    if files.commit is None:
        manifests = [*files.root.glob(f"data/*/{MANIFEST}"), *files.root.glob(f"data/*/*/{MANIFEST}")]
        found |= {path.parent.relative_to(files.root).as_posix() for path in manifests}
    for folder in sorted(found):
        if not _SET.fullmatch(folder) or folder in _NO_SET:
            continue
        if files.has_listing(folder):
            yield folder
        else:
            gaps.append(f"{files.name}: {folder} is not in DVC's cache; {FETCH}")


def _table(files: RevisionFiles, path: str, columns: tuple[str, ...], gaps: list[str]) -> pd.DataFrame | None:
    found = files.data(path)
    if found is not None:
        return _read(found, columns, files.where(path))
    known = path in files.outs
    why = f"is not in DVC's cache; {FETCH}" if known else "is not written yet"
    gaps.append(f"{files.name}: {path} {why}")
    return None


def _read(path: Path, columns: tuple[str, ...], where: str) -> pd.DataFrame:
    try:
        found: pd.DataFrame = pq.read_table(path, columns=list(columns)).to_pandas()
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(
            f"cannot read {where}: {str(error)[:200]}", fix="restore it with `dvc checkout`, or rebuild it"
        ) from error
    lacking = [name for name in columns if name not in found]
    if lacking:
        raise DataError(
            f"{where} has no columns {', '.join(lacking)}",
            fix="compare revisions of one version of sarcurate",
        )
    return found


def cells(table: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Values of some columns row by row, as plain Python values."""
    return list(zip(*(table[name].tolist() for name in columns), strict=True))


def _verdicts(files: RevisionFiles, gaps: list[str]) -> Iterator[Verdict]:
    data = files.tracked(VERDICTS)
    if data is None:
        return
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "verdicts.csv"
        path.write_bytes(data)
        try:
            yield from read_verdicts(path).rows
        except DataError as error:
            gaps.append(f"verdicts left out, {error.problem.replace(str(path), files.where(VERDICTS))}")
