"""Score tables: one row per chip, one column per measure; how they are kept, and pooled laws beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from sarcurate.core.marginal import QUANTILE_LEVELS, ln_floor, ln_intensity, pooled_quantiles
from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet

IDENTITY = ("chip_id", "pixels_sha256", "label", "origin", "group_id", "fold")
SET = "set"
REASONS = "reasons"
# The pooled law of more chips than this does not change; taken evenly from the set.
LAW_CHIPS = 512
DB_PER_NEPER = 10 / np.log(10)


def write_scores(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the made sets' tables as one, with the set's name first, in order of set and chip_id."""
    parts = [table.assign(**{SET: name}).sort_values("chip_id") for name, table in sorted(tables.items())]
    whole = pd.concat(parts, ignore_index=True)
    names = [SET, *(name for name in whole.columns if name != SET)]
    path.parent.mkdir(parents=True, exist_ok=True)
    whole[names].to_parquet(path, index=False, compression="zstd")


def read_scores(path: Path) -> pd.DataFrame:
    """Read what :func:`write_scores` wrote.

    Raises:
        DataError: when the file is missing or no table of scores.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"cannot read the scores {path}: {error}", fix="run `dvc repro score`") from error
    missing = {SET, *IDENTITY, REASONS} - set(table.columns)
    if missing:
        raise DataError(f"{path}: no columns {sorted(missing)}", fix="run `dvc repro score`")
    return table


def with_measures(
    table: pd.DataFrame, values: Mapping[str, ArrayLike], reasons: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """The table with further measures before its reasons; every gap needs one.

    Args:
        values: (n,) per measure, NaN where a chip has none.
        reasons: (n,) texts per measure, "" where there is a value.
    """
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in values.items()}
    told = []
    for k, text in enumerate(table[REASONS]):
        why: dict[str, str] = json.loads(text) if text else {}
        why |= {name: reasons[name][k] for name in columns if np.isnan(columns[name][k])}
        told.append(lineage.canonical_json(why) if why else "")
    return table.drop(columns=REASONS).assign(**columns, **{REASONS: told})


def measure_names(table: pd.DataFrame) -> list[str]:
    """The columns of a score table that hold measures."""
    return [name for name in table.columns if name not in {SET, *IDENTITY, REASONS}]


def pooled_law(name: str, chips: ChipSet) -> pd.DataFrame:
    """Quantiles of the pixels' intensity of a set, in dB: columns set, probability, intensity_db.

    Of up to 512 chips, evenly from the set; empty pixels held at a floor below all others.
    """
    ids = chips.manifest["chip_id"].to_numpy()
    picked = ids[np.linspace(0, len(ids) - 1, min(len(ids), LAW_CHIPS)).round().astype(int)]
    images = [chips.intensity(chip_id) for chip_id in picked]
    floor = ln_floor(images)
    quantiles = pooled_quantiles([ln_intensity(image, floor) for image in images])
    law = {"set": name, "probability": QUANTILE_LEVELS, "intensity_db": np.round(quantiles * DB_PER_NEPER, 4)}
    return pd.DataFrame(law)
