"""Records written as parquet shards, a few chips at a time, the same bytes for the same chips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sarcurate.errors import DataError
from sarcurate.io.chipset import ChipSet
from sarcurate.io.hub import records
from sarcurate.io.hub.licences import MADE
from sarcurate.io.hub.records import Columns
from sarcurate.io.safe import resolve_inside
from sarcurate.io.score_table import REASONS
from sarcurate.io.selection import Choice

GROUP_CHIPS = 128  # of a row group: what is in memory at once
MEBIBYTE = 1 << 20


@dataclass(frozen=True, eq=False)
class Part:
    """The chips of one set that go into one split.

    Args:
        set_name: as in the records; rows: positions in the set's manifest, in order.
        scores: its score table by chip_id; empty where the set is not scored.
        choices: of the Selection by chip_id; relabel: whether the Selection's label is the record's.
        licences: sources of every chip by chip_id.
    """

    set_name: str
    chips: ChipSet
    rows: Sequence[int]
    scores: pd.DataFrame
    choices: Mapping[str, Choice]
    relabel: bool
    licences: Mapping[str, tuple[str, ...]]

    @property
    def n_made(self) -> int:
        """Chips that were generated, migrated or translated."""
        return int(self.chips.manifest["origin"].iloc[list(self.rows)].isin(MADE).sum())


@dataclass(frozen=True)
class WrittenSplit:
    """What was written: chips, those of them that are made, bytes in memory and on disk."""

    n_chips: int
    n_made: int
    n_bytes: int
    file_bytes: int
    files: tuple[str, ...]


def write_split(
    root: Path, config: str, split: str, parts: Sequence[Part], columns: Columns, shard_mb: int
) -> WrittenSplit:
    """Write ``data/<config>/<split>-*.parquet`` below ``root``; chips in the order of parts.

    Raises:
        DataError: for a chip whose file is missing or changed, and a label that is no class.
    """
    sizes = [_file_bytes(part, row) for part in parts for row in part.rows]
    n_shards = max(1, math.ceil(sum(sizes) / (shard_mb * MEBIBYTE)))
    ends = [round(len(sizes) * (number + 1) / n_shards) for number in range(n_shards)]
    names = [f"data/{config}/{split}-{number:05d}-of-{n_shards:05d}.parquet" for number in range(n_shards)]
    (root / "data" / config).mkdir(parents=True, exist_ok=True)
    groups, n_bytes, start = _groups(parts, ends), 0, 0
    for name, end in zip(names, ends, strict=True):
        with pq.ParquetWriter(
            root / name,
            columns.schema,
            compression="zstd",
            write_statistics=False,
            use_dictionary=_texts(columns),
        ) as writer:
            while start < end:
                part, rows = next(groups)
                table = _table(part, rows, columns)
                writer.write_table(table, row_group_size=len(rows))
                n_bytes, start = n_bytes + table.nbytes, start + len(rows)
    file_bytes = sum((root / name).stat().st_size for name in names)
    n_made = sum(part.n_made for part in parts)
    return WrittenSplit(len(sizes), n_made, n_bytes, file_bytes, tuple(names))


def _texts(columns: Columns) -> list[str]:
    return [name for name, kind in columns.types.items() if kind == pa.string()]


def _groups(parts: Sequence[Part], ends: Sequence[int]) -> Iterator[tuple[Part, Sequence[int]]]:
    """Rows of one part at a time, so many that no group spans two shards."""
    done = 0
    for part in parts:
        start = 0
        while start < len(part.rows):
            room = next(end for end in ends if end > done) - done
            rows = part.rows[start : start + min(GROUP_CHIPS, room)]
            yield part, rows
            start, done = start + len(rows), done + len(rows)


def _file_bytes(part: Part, row: int) -> int:
    path = part.chips.root / str(part.chips.manifest["file_name"].iat[row])
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path} of a chip to publish is missing", fix="restore the set with `dvc checkout --force`"
        ) from error


def _table(part: Part, rows: Sequence[int], columns: Columns) -> pa.Table:
    manifest = part.chips.manifest.iloc[list(rows)]
    ids = [str(chip_id) for chip_id in manifest["chip_id"]]
    choices = [part.choices.get(chip_id) for chip_id in ids]
    labels = _labels(part, manifest, choices, columns.classes)
    values: dict[str, Any] = {
        "image": _pictures(part.chips, manifest, "file_name"),
        "preview": _pictures(part.chips, manifest, "preview_file_name"),
        records.LABEL: labels,
        records.IS_MADE: [origin in MADE for origin in manifest["origin"]],
        records.SET: [part.set_name] * len(ids),
        **{name: manifest[name] for name in records.OF_MANIFEST},
        records.MANIFEST_LABEL: manifest["label"],
        records.KEPT: [None if choice is None else choice.kept for choice in choices],
        records.KEPT_REASON: [None if choice is None else choice.reason for choice in choices],
        records.LICENCES: [list(part.licences[chip_id]) for chip_id in ids],
        **_scores(part, ids, columns.measures),
    }
    arrays = [
        pa.array(values[name], type=kind, from_pandas=True if isinstance(values[name], pd.Series) else None)
        for name, kind in columns.types.items()
    ]
    return pa.Table.from_arrays(arrays, schema=columns.schema)


def _pictures(chips: ChipSet, manifest: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """Bytes of the files as they are; of chips only after their pixels were found to be the manifest's."""
    found = []
    for chip_id, name in zip(manifest["chip_id"], manifest[column], strict=True):
        if column == "file_name":
            chips.pixels(str(chip_id))
        path = resolve_inside(chips.root, str(name))
        try:
            found.append({"bytes": path.read_bytes(), "path": path.name})
        except OSError as error:
            raise DataError(
                f"{path} of chip {chip_id} cannot be read: {error.strerror}",
                fix="restore the set with `dvc checkout --force`",
            ) from error
    return found


def _labels(
    part: Part, manifest: pd.DataFrame, choices: Sequence[Choice | None], classes: Sequence[str]
) -> list[int]:
    index = {name: position for position, name in enumerate(classes)}
    labels = [
        choice.label if part.relabel and choice is not None else str(label)
        for label, choice in zip(manifest["label"], choices, strict=True)
    ]
    unknown = sorted({label for label in labels if label not in index})
    if unknown:
        raise DataError(
            f"{part.chips.root}: labels {unknown} are no classes of the data set",
            fix="name them in dataset.classes, or correct the verdicts",
        )
    return [index[label] for label in labels]


def _scores(part: Part, ids: Sequence[str], measures: Sequence[str]) -> dict[str, Any]:
    table = part.scores
    if not len(table):
        gaps = {records.SCORE + name: np.full(len(ids), np.nan) for name in measures}
        return {name: pd.Series(gap) for name, gap in gaps.items()} | {records.REASONS: [None] * len(ids)}
    own = table.reindex(list(ids))
    found = {
        records.SCORE + name: own[name].astype("float64")
        if name in own
        else pd.Series(np.full(len(ids), np.nan))
        for name in measures
    }
    return found | {records.REASONS: own[REASONS]}
