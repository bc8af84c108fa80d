"""Records of a published data set: their columns, as Arrow and as the `datasets` library reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from sarcurate.io.manifest import SCHEMA, WHERE_KEPT

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TEXTS = pa.list_(pa.string())
SCORE = "score_"
LABEL, MANIFEST_LABEL, IS_MADE, SET = "label", "manifest_label", "is_made", "set"
KEPT, KEPT_REASON, LICENCES, REASONS = "kept", "kept_reason", "licences", "score_reasons"
# The manifest's columns but where files lie, which is here the picture's own path, and the label.
OF_MANIFEST = tuple(name for name in SCHEMA.names if name not in (*WHERE_KEPT, LABEL))


@dataclass(frozen=True)
class Columns:
    """Columns of every record.

    ``image`` is the chip as it is stored, lossless; ``preview`` an 8 bit PNG for eyes; ``label`` the class,
    under which curation kept the chip; ``is_made`` whether it is generated, migrated or translated.

    Args:
        classes: in index order; measures: of the score tables.
    """

    classes: tuple[str, ...]
    measures: tuple[str, ...]

    @cached_property
    def types(self) -> dict[str, pa.DataType]:
        """Arrow type of every column, in order."""
        return {
            "image": IMAGE,
            "preview": IMAGE,
            LABEL: pa.int64(),
            IS_MADE: pa.bool_(),
            SET: pa.string(),
            **{name: SCHEMA.field(name).type for name in OF_MANIFEST},
            MANIFEST_LABEL: pa.string(),
            KEPT: pa.bool_(),
            KEPT_REASON: pa.string(),
            LICENCES: TEXTS,
            **{SCORE + name: pa.float64() for name in self.measures},
            REASONS: pa.string(),
        }

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema with the features that `datasets` looks for in its metadata."""
        info = {"info": {"features": {name: self._feature(name, kind) for name, kind in self.types.items()}}}
        return pa.schema(list(self.types.items()), metadata={"huggingface": json.dumps(info)})

    def _feature(self, name: str, kind: pa.DataType) -> dict[str, Any]:
        if name == LABEL:
            return {"names": list(self.classes), "_type": "ClassLabel"}
        if kind == IMAGE:
            return {"_type": "Image"}
        if kind == TEXTS:
            return {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
        return {"dtype": _word(kind), "_type": "Value"}


def _word(kind: pa.DataType) -> str:
    return {pa.float64(): "float64", pa.bool_(): "bool"}.get(kind, str(kind))


def text_columns(schema: pa.Schema) -> Sequence[str]:
    """Names of the columns that hold texts or lists of them."""
    return [field.name for field in schema if field.type in (pa.string(), TEXTS)]
