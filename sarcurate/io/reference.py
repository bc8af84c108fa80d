"""Reference: what one sensor's real train chips are like, as limits, floors and pooled statistics on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sarcurate.core.physics_vector import VectorStandard
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import VECTOR, Yardstick
from sarcurate.core.tolerance import Side
from sarcurate.errors import DataError
from sarcurate.io.measure_limits import MeasureLimits as MeasureLimits
from sarcurate.io.measure_limits import PassRates as PassRates
from sarcurate.io.measure_limits import limit_line, limits_from
from sarcurate.io.safe import read_bounded
from sarcurate.io.score_table import IDENTITY, REASONS, measure_names

FORMAT = 1
HEADER = "reference.json"
NETWORK = "network.safetensors"
TRAIN_SCORES = "train_scores.parquet"
FEATURES = "features"
YARDSTICK_SHAPES = {
    "rings": (12,),
    "polar": (6, 4),
    "ln_quantiles": (512,),
    "correlation": (2, 5),
    "grey_window_db": (2,),
    "band": (2,),
}
STANDARD_SHAPES = {
    "mean": (len(VECTOR),),
    "std": (len(VECTOR),),
    "inverse_covariance": (len(VECTOR), len(VECTOR)),
}
FEATURE_WIDTH = 64
MOST_HEADER_BYTES = 4 << 20
REBUILD = "rebuild it with `dvc repro reference`"


@dataclass(frozen=True, eq=False)
class Reference:
    """What chips of one sensor are judged by, drawn from its real train chips alone.

    Args:
        chipset_revision: of the train ChipSet; n_chips: its chips.
        intensity_limits_db: 0.1 and 99.9 percentile of all pixels above zero, for model space.
        content: share of real chips that limits are to let through; confidence: asked for.
        limits: by measure; floors: real-versus-real values of set metrics, by name.
        network_accuracy: chips of fold 0 that the reference network names right, and their number.
        train_scores: score table of the train chips; features: (n_chips, 64) in its order.
    """

    sensor: str
    radiometry: Radiometry
    chipset_revision: str
    n_chips: int
    yardstick: Yardstick
    standard: VectorStandard
    intensity_limits_db: tuple[float, float]
    content: float
    confidence: float
    limits: Mapping[str, MeasureLimits]
    floors: Mapping[str, float]
    network_accuracy: tuple[int, int]
    train_scores: pd.DataFrame
    features: NDArray[np.float32]


def write_reference(folder: Path, reference: Reference) -> None:
    """Write a reference, all but its network, into an empty or missing folder; same content, same bytes.

    The header comes last, so that a killed writer leaves no valid reference behind.

    Raises:
        DataError: when the folder is in use, a number is not finite or the parts do not fit each other.
    """
    source = f"{folder}: reference of {reference.sensor}"
    arrays, text = _arrays_of(reference), _header_text(source, reference)
    shapes = _shapes(reference.n_chips)
    for name, array in arrays.items():
        _check_array(source, name, array, shapes[name])
    _check_scores(source, reference.train_scores, reference.n_chips)
    if folder.exists() and any(path.name != NETWORK for path in folder.iterdir()):
        raise DataError(f"{folder} is not empty", fix="remove it, or let `dvc repro` do so")
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    table = pa.Table.from_pandas(reference.train_scores, preserve_index=False)
    pq.write_table(table, folder / TRAIN_SCORES, compression="zstd")
    (folder / HEADER).write_text(text, encoding="utf-8")


def open_reference(folder: Path) -> Reference:
    """Read what :func:`write_reference` wrote; the network stays in its file, ``folder / NETWORK``.

    Raises:
        DataError: when a file is missing, broken, of another format or does not fit the others.
    """
    path = folder / HEADER
    try:
        header = json.loads(read_bounded(path, MOST_HEADER_BYTES), parse_constant=_no_constant)
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}, expected {FORMAT}")
        plain = _from_header(header)
        ln_floor = float(header["yardstick_ln_floor"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: {type(error).__name__}: {error}", fix=REBUILD) from error
    shapes = _shapes(plain["n_chips"])
    arrays: dict[str, NDArray[Any]] = {
        name: _read_array(folder, name, shape) for name, shape in shapes.items()
    }
    return Reference(
        yardstick=Yardstick(
            ln_floor=ln_floor, **{key: arrays[f"yardstick_{key}"] for key in YARDSTICK_SHAPES}
        ),
        standard=VectorStandard(**{key: arrays[f"standard_{key}"] for key in STANDARD_SHAPES}),
        train_scores=_read_scores(folder / TRAIN_SCORES, plain["n_chips"]),
        features=arrays[FEATURES].astype(np.float32, copy=False),
        **plain,
    )


def summary_lines(reference: Reference, sides: Mapping[str, Side] | None = None) -> list[str]:
    """The limits with their origin, a line per measure.

    Args:
        sides: measures to tell and the side of each; None tells both limits of every measure.

    Raises:
        DataError: for a measure without limits.
    """
    asked: dict[str, Side] = dict.fromkeys(reference.limits, "both") if sides is None else dict(sides)
    unknown = sorted(set(asked) - set(reference.limits))
    if unknown:
        raise DataError(
            f"reference of {reference.sensor}: no limits of {unknown}",
            fix=f"name some of {sorted(reference.limits)}",
        )
    return [
        limit_line(
            name, reference.limits[name], side, reference.sensor, reference.n_chips, reference.confidence
        )
        for name, side in asked.items()
    ]


def _shapes(n_chips: int) -> dict[str, tuple[int, ...]]:
    yardstick = {f"yardstick_{key}": shape for key, shape in YARDSTICK_SHAPES.items()}
    standard = {f"standard_{key}": shape for key, shape in STANDARD_SHAPES.items()}
    return yardstick | standard | {FEATURES: (n_chips, FEATURE_WIDTH)}


def _arrays_of(reference: Reference) -> dict[str, NDArray[np.floating]]:
    yardstick = {f"yardstick_{key}": getattr(reference.yardstick, key) for key in YARDSTICK_SHAPES}
    standard = {f"standard_{key}": getattr(reference.standard, key) for key in STANDARD_SHAPES}
    return yardstick | standard | {FEATURES: reference.features}


def _header_text(source: str, reference: Reference) -> str:
    header = {
        "format": FORMAT,
        "sensor": reference.sensor,
        "radiometry": reference.radiometry.value,
        "chipset_revision": reference.chipset_revision,
        "n_chips": reference.n_chips,
        "yardstick_ln_floor": reference.yardstick.ln_floor,
        "intensity_limits_db": reference.intensity_limits_db,
        "content": reference.content,
        "confidence": reference.confidence,
        "limits": {name: asdict(limits) for name, limits in reference.limits.items()},
        "floors": dict(reference.floors),
        "network_accuracy": reference.network_accuracy,
    }
    try:
        return json.dumps(header, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except ValueError as error:
        raise DataError(
            f"{source}: {error}", fix="leave out what has no value; a reference holds finite numbers"
        ) from error


def _from_header(header: Mapping[str, Any]) -> dict[str, Any]:
    low, high = header["intensity_limits_db"]
    right, shown = header["network_accuracy"]
    n_chips = int(header["n_chips"])
    if n_chips < 1 or not 0 <= int(right) <= int(shown):
        raise ValueError(f"n_chips {n_chips}, network_accuracy {right} of {shown}")
    return {
        "sensor": str(header["sensor"]),
        "radiometry": Radiometry(header["radiometry"]),
        "chipset_revision": str(header["chipset_revision"]),
        "n_chips": n_chips,
        "intensity_limits_db": (float(low), float(high)),
        "content": float(header["content"]),
        "confidence": float(header["confidence"]),
        "limits": {name: limits_from(facts) for name, facts in header["limits"].items()},
        "floors": {name: float(value) for name, value in header["floors"].items()},
        "network_accuracy": (int(right), int(shown)),
    }


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


def _read_array(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    try:
        # Mapped first: a broken header that claims a huge array is refused before memory is taken.
        array = np.array(np.lib.format.open_memmap(path, mode="r"))
    except (OSError, ValueError, OverflowError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}", fix=REBUILD) from error
    _check_array(str(folder), name, array, shape)
    return array


def _check_array(source: str, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.dtype.kind != "f" or array.shape != shape or not np.isfinite(array).all():
        found = f"{array.dtype} {array.shape}"
        raise DataError(f"{source}: {name} is {found}, expected finite numbers {shape}", fix=REBUILD)


def _read_scores(path: Path, n_chips: int) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read: {error}", fix=REBUILD) from error
    _check_scores(str(path), table, n_chips)
    return table


def _check_scores(source: str, table: pd.DataFrame, n_chips: int) -> None:
    missing = sorted({*IDENTITY, REASONS} - set(table.columns))
    if missing or len(table) != n_chips:
        raise DataError(
            f"{source}: train scores: {len(table)} rows, no columns {missing}, expected {n_chips} rows",
            fix=REBUILD,
        )
    odd = [name for name in measure_names(table) if table[name].dtype != np.float64]
    odd += [name for name in measure_names(table) if name not in odd and np.isinf(table[name]).any()]
    if odd:
        raise DataError(
            f"{source}: train scores of {odd[0]} are no finite float64 numbers or gaps", fix=REBUILD
        )
