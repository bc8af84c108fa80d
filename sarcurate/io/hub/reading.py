"""Records of a release read back from its shards, some columns and some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sarcurate.errors import DataError
from sarcurate.io.hub import records
from sarcurate.io.manifest import SCHEMA, WHERE_KEPT, manifest_revision

BATCH_CHIPS = 256


def shards(folder: Path, config: str, split: str) -> list[Path]:
    """Parquet files of a split, in order."""
    return sorted((folder / "data" / config).glob(f"{split}-*.parquet"))


def read_batches(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Batches of a shard with some of its columns, None for all.

    Raises:
        DataError: where the file is no parquet file or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            lacking = sorted(set(columns or ()) - set(file.schema_arrow.names))
            if lacking:
                raise DataError(f"{path}: no columns {lacking}", fix="package or download the release again")
            yield from file.iter_batches(batch_size=BATCH_CHIPS, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read: {error}", fix="download the release again") from error


def text_columns_of(path: Path) -> list[str]:
    """Columns of a shard that hold text."""
    return list(records.text_columns(pq.read_schema(path)))


def set_revision(table: pa.Table) -> str:
    """Revision of a whole set, from the manifest columns of its records."""
    names = [*records.OF_MANIFEST, records.MANIFEST_LABEL]
    own = table.select(names).rename_columns([*records.OF_MANIFEST, records.LABEL])
    for name in WHERE_KEPT:
        own = own.append_column(name, pa.nulls(len(own), pa.string()))
    own = own.select(SCHEMA.names).cast(SCHEMA)
    whole = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}
    return manifest_revision(own.to_pandas(types_mapper=whole.get))
