"""A work folder that remembers what it holds, so that another recipe does not go on from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError, ParamsError

_FILE = "made-by.json"


def claim_folder(folder: Path, made_by: Mapping[str, Any]) -> None:
    """Make a folder for what ``made_by`` decides, or see that it is one; an unmarked folder is taken over.

    Args:
        folder: of unfinished work.
        made_by: plain values; equal ones may go on from the folder's content.

    Raises:
        ParamsError: where the folder was filled with other values, naming the first that differs.
        DataError: where its mark is damaged, or it cannot be written.
    """
    mark, asked = folder / _FILE, json.loads(json.dumps(made_by))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            part = mark.with_suffix(".part")
            part.write_text(json.dumps(asked, indent=1))
            part.replace(mark)
            return
    except OSError as error:
        raise DataError(
            f"work folder {folder} cannot be written: {error.strerror}",
            fix="give a folder that is writable, on a disk with room",
        ) from error
    found = _flat(_read(mark))
    wanted = _flat(asked)
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise ParamsError(
                f"{folder} holds work with {name} {found.get(name)!r}, this recipe has {wanted.get(name)!r}",
                fix=f"give another work folder, remove {folder}, or go back to the recipe that filled it",
            )


def _read(mark: Path) -> Any:
    try:
        return json.loads(mark.read_text())
    except ValueError as error:
        raise DataError(f"{mark} is damaged: {error}", fix=f"remove {mark.parent} and run again") from error


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Leaves of nested mappings and lists by their dotted names."""
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {name: value}
    return {
        leaf: found
        for key, item in items
        for leaf, found in _flat(item, f"{name}.{key}" if name else key).items()
    }
