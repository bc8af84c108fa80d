from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sarcurate.errors import DataError, LeakageError
from sarcurate.io.chipset import open_chipset
from sarcurate.io.validated import require_validated, require_validated_revisions, write_validated


@pytest.fixture
def train(tiny_sets: Any) -> dict[str, Path]:
    return {side: tiny_sets.parts()[f"{side}-train"] for side in ("source", "target")}


@pytest.fixture
def note(train: dict[str, Path], tmp_path: Path) -> Path:
    revisions = {side: open_chipset(root, splits=("train",)).revision for side, root in train.items()}
    write_validated(tmp_path / "data" / "validated.json", revisions)
    return tmp_path / "data" / "validated.json"


def test_sets_that_passed_are_let_through(note: Path, train: dict[str, Path]) -> None:
    require_validated(note, train)


def _edit(note: Path, **values: Any) -> None:
    note.write_text(json.dumps(json.loads(note.read_text()) | values))


@pytest.mark.parametrize(
    "values",
    [{"passed": False}, {"passed": 1}, {"train_revisions": {}}, {"train_revisions": {"source": 64 * "0"}}],
)
def test_other_or_failed_sets_are_refused(values: dict[str, Any], note: Path, train: dict[str, Path]) -> None:
    _edit(note, **values)
    with pytest.raises(
        DataError, match=r"the source train set has revision [0-9a-f]{16}, but what passed"
    ) as caught:
        require_validated(note, train)
    assert "dvc repro validate" in caught.value.fix


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"passed": true, "train_revisions": 3}'])
def test_without_a_note_nothing_runs(text: str | None, note: Path, train: dict[str, Path]) -> None:
    note.unlink() if text is None else note.write_text(text)
    with pytest.raises(DataError, match="no note of a passed validation"):
        require_validated(note, train)


def test_test_chips_are_refused_first(note: Path, train: dict[str, Path], tiny_sets: Any) -> None:
    with pytest.raises(LeakageError, match="may be read here"):
        require_validated(note, train | {"target": tiny_sets.parts()["target-test"]})


def test_one_side_alone_can_be_asked_for_by_its_revision(note: Path, train: dict[str, Path]) -> None:
    target = open_chipset(train["target"], splits=("train",)).revision
    require_validated_revisions(note, {"target": target})
    with pytest.raises(
        DataError, match=rf"the target train set has revision {16 * '0'}, .* is {target[:16]}"
    ):
        require_validated_revisions(note, {"target": 64 * "0"})
    with pytest.raises(DataError, match="the source train set has revision"):
        require_validated_revisions(note, {"source": target})
