"""The note that train chips passed validation, without which no later stage runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sarcurate.errors import DataError
from sarcurate.io.chipset import open_chipset


def write_validated(path: Path, train_revisions: Mapping[str, str]) -> None:
    """Note that train sets of these revisions passed, by side.

    Nothing about test chips stands in it, so that other test chips change nothing that trains.
    """
    note = {"passed": True, "train_revisions": dict(sorted(train_revisions.items()))}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def require_validated(path: Path, train_sets: Mapping[str, Path]) -> None:
    """Refuse train sets (``source``, ``target``) that did not pass as they are.

    Raises:
        DataError: when the note is missing or is none, or a set has another revision.
        LeakageError: when a set is no train set.
    """
    found = {side: open_chipset(root, splits=("train",)).revision for side, root in train_sets.items()}
    require_validated_revisions(path, found)


def require_validated_revisions(path: Path, train_revisions: Mapping[str, str]) -> None:
    """Refuse train revisions (of ``source``, ``target``) that are not those that passed.

    Raises:
        DataError: when the note is missing or is none, or holds another revision.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        passed, expected = note["passed"] is True, dict(note["train_revisions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: no note of a passed validation: {error}", fix="run `dvc repro validate` first"
        ) from error
    for side, revision in train_revisions.items():
        if not passed or expected.get(side) != revision:
            raise DataError(
                f"the {side} train set has revision {revision[:16]}, but what passed validation ({path}) is "
                f"{str(expected.get(side))[:16]}",
                fix="run `dvc repro validate` on these chips first",
            )
