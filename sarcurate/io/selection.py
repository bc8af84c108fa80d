"""Selection: which chips are kept or rejected, under which label, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sarcurate.errors import DataError
from sarcurate.io import lineage

SCHEMA = pa.schema(
    [("chip_id", pa.string()), ("kept", pa.bool_()), ("label", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True)
class Choice:
    """One chip's fate; ``reason`` is a sentence, empty where nothing spoke against the chip."""

    chip_id: str
    kept: bool
    label: str
    reason: str


@dataclass(frozen=True)
class Selection:
    """Choices sorted by chip_id, one per chip."""

    choices: tuple[Choice, ...]

    @property
    def kept(self) -> dict[str, str]:
        """Labels of the chips that are kept, by chip_id."""
        return {item.chip_id: item.label for item in self.choices if item.kept}

    @property
    def revision(self) -> str:
        """Merkle root over the choices."""
        return lineage.merkle_root(
            lineage.canonical_json([item.chip_id, item.kept, item.label, item.reason])
            for item in self.choices
        )


def make_selection(choices: Iterable[Choice]) -> Selection:
    """A Selection from choices in any order.

    Raises:
        DataError: when a chip is chosen twice, or a rejected one has no reason.
    """
    ordered = sorted(choices, key=lambda item: item.chip_id)
    for one, other in pairwise(ordered):
        if one.chip_id == other.chip_id:
            raise DataError(f"chip {one.chip_id} is chosen twice", fix="give one choice per chip")
    for item in ordered:
        if not item.kept and not item.reason:
            raise DataError(f"chip {item.chip_id} is rejected without a reason", fix="say why in a sentence")
    return Selection(tuple(ordered))


def write_selection(path: Path, selection: Selection) -> None:
    """Write a Selection as parquet, the same bytes for the same choices."""
    rows = [vars(item) for item in selection.choices]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd")


def read_selection(path: Path) -> Selection:
    """Read what :func:`write_selection` wrote.

    Raises:
        DataError: when the file is missing or is no Selection.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"cannot read the selection {path}: {error}", fix="rebuild it with `dvc repro`"
        ) from error
    if not table.schema.equals(SCHEMA):
        raise DataError(
            f"{path}: columns {_columns(table.schema)}, expected {_columns(SCHEMA)}",
            fix="rebuild it with `dvc repro`",
        )
    return make_selection(Choice(**row) for row in table.to_pylist())


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
