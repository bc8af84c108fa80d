"""What an adapter says about itself: the base it belongs to and how its pictures become intensities again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io.safe import read_bounded

FORMAT = 1
METADATA_NAME = "adapter.json"
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class AdapterMetadata:
    """The side file of an adapter.

    Args:
        format: of this file, ``FORMAT``.
        base_name: of the base it was trained on, for people.
        base_sha256: of that base's weights and configurations.
        rank: of every pair of matrices.
        alpha: the pair's product is scaled by ``alpha / rank``.
        targets: suffixes of the names of the adapted layers.
        low_db: intensity that is -1 in model space.
        high_db: intensity that is 1.
        radiometry: of the chips trained on, and so of those it draws.
        sensor: whose chips it draws.
        chip_px: (rows, cols) of those chips.
        model_px: (rows, cols) that the model sees, after resampling.
        classes: names it was taught.
        prompt_fields: told in the prompts after the class.
        train_revision: revision id of the ChipSet trained on.
        settings: of the training, plain values.
        steps: updates behind these weights.
        clipped_low: training pixels below ``low_db``.
        clipped_high: training pixels above ``high_db``.
        pixels: training pixels in all.
    """

    format: int
    base_name: str
    base_sha256: str
    rank: int
    alpha: float
    targets: tuple[str, ...]
    low_db: float
    high_db: float
    radiometry: str
    sensor: str
    chip_px: tuple[int, int]
    model_px: tuple[int, int]
    classes: tuple[str, ...]
    prompt_fields: tuple[str, ...]
    train_revision: str
    settings: dict[str, Any]
    steps: int
    clipped_low: int
    clipped_high: int
    pixels: int


def metadata_text(metadata: AdapterMetadata) -> str:
    """The side file's text: JSON, keys sorted, the same for the same metadata."""
    return json.dumps(asdict(metadata), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def read_metadata(folder: Path) -> AdapterMetadata:
    """The side file of the adapter in a folder.

    Raises:
        DataError: where it is missing, no JSON, of another format, or lacks or has too much of anything.
    """
    path = folder / METADATA_NAME
    if not path.is_file():
        raise DataError(
            f"{folder}: has no {METADATA_NAME}, so its base and its decibel limits are unknown",
            fix="name a folder written by the stage tune; an adapter of other make cannot give intensities",
        )
    try:
        content = json.loads(read_bounded(path, _MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise _broken(path, f"holds a {type(content).__name__}, expected an object")
    if content.get("format") != FORMAT:
        raise DataError(
            f"{path}: format is {content.get('format')!r}, this version reads {FORMAT}",
            fix="use the version of sarcurate that wrote the adapter, or tune again",
        )
    return _metadata(path, content)


def _metadata(path: Path, content: dict[str, Any]) -> AdapterMetadata:
    kinds = {field.name: str(field.type) for field in fields(AdapterMetadata)}
    for what, names in (("lacks", kinds.keys() - content), ("has the unknown", content.keys() - kinds)):
        if names:
            raise _broken(path, f"{what} {', '.join(sorted(names))}")
    for name, kind in kinds.items():
        if not _IS[kind](content[name]):
            raise _broken(path, f"{name} is {content[name]!r}, expected {kind}")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    return AdapterMetadata(**values)


def _broken(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: {problem}", fix="restore the adapter with dvc checkout, or tune again")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_two(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_whole, value))


_IS: dict[str, Callable[[Any], bool]] = {
    "int": _is_whole,
    "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "tuple[str, ...]": lambda value: isinstance(value, list) and all(isinstance(x, str) for x in value),
    "tuple[int, int]": lambda value: (
        isinstance(value, list) and len(value) == 2 and all(map(_is_whole, value))
    ),
    "dict[str, Any]": lambda value: isinstance(value, dict),
}
