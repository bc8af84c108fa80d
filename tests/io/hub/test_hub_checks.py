from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sarcurate.errors import DataError, LeakageError
from sarcurate.io.hub import release
from sarcurate.io.hub.checks import Current, check_release
from sarcurate.io.hub.leaks import TrainChip, refuse_leaks


def _list_again(folder: Path) -> None:
    (folder / release.FILES).unlink()
    release.write_files(folder)


def _record(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / release.REVISION
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    _list_again(folder)


def _rows(folder: Path, config: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = next((folder / "data" / config).glob("train-*"))
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows[0])
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    _list_again(folder)


def _current(folder: Path, **changes: Any) -> Current:
    told = release.read_release(folder)
    state = {
        "dataset_revision": told.dataset_revision,
        "sets": {name: note.revision for name, note in told.sets.items()},
        "selection": told.selection,
        "validation_passed": True,
        "rules": told.licences,
        "version": told.version,
    }
    return Current(**(state | changes))


def test_a_good_release_passes_every_check(tiny_release: Path) -> None:
    _, passed = check_release(tiny_release, _current(tiny_release))
    words = ("as listed", "workspace", "validation", "licences", "leakage", "memorisation", "secrets")
    assert len(passed) == len(words)
    for word, line in zip(words, passed, strict=True):
        assert word in line


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dataset_revision": "0" * 16}, "evaluation"),
        ({"selection": "0"}, "selection"),
        ({"sets": {}}, "set source-train"),
        ({"rules": ()}, "package.licences"),
        ({"version": "9.9.9"}, "package.version"),
    ],
)
def test_a_release_of_another_state_is_refused(
    tiny_release: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(DataError, match="of another state than the workspace") as caught:
        check_release(tiny_release, _current(tiny_release, **changes))
    assert named in caught.value.problem
    assert "dvc repro" in caught.value.fix


def test_a_failed_validation_is_refused(tiny_release: Path) -> None:
    with pytest.raises(DataError, match="newest validation did not pass"):
        check_release(tiny_release, _current(tiny_release, validation_passed=False))


def test_a_release_of_unvalidated_chips_is_refused(own_release: Path) -> None:
    _record(own_release, lambda data: data["validated"].update(source="0"))
    with pytest.raises(DataError, match="what passed validation is not what is in it"):
        check_release(own_release, None)


def test_records_that_no_rule_allows_are_refused(own_release: Path) -> None:
    def forbid(data: dict[str, Any]) -> None:
        data["licences"][0]["made"] = False

    _record(own_release, forbid)
    with pytest.raises(DataError, match="no rule allows to release chips of 'Apache"):
        check_release(own_release, None)


@pytest.mark.parametrize("column", ["parents", "style_ids"])
def test_a_train_chip_made_from_a_held_out_chip_is_refused(own_release: Path, column: str) -> None:
    held_out = release.read_test_chips(own_release)[0][0]
    _rows(own_release, "curated", lambda row: row.update({column: [held_out]}))
    with pytest.raises(LeakageError, match="have a held-out chip as"):
        check_release(own_release, None)


def test_a_held_out_chip_among_train_chips_is_refused(own_release: Path) -> None:
    listed = next(chip for chip in release.read_chips(own_release) if chip.config == "curated")
    with (own_release / release.TEST_CHIPS).open("a") as file:
        file.write(f"{'a' * 24},{listed.pixels_sha256}\n")
    _list_again(own_release)
    with pytest.raises(LeakageError, match="have a held-out chip's pixels"):
        check_release(own_release, None)


def test_made_chips_without_a_gate_on_memorisation_are_refused(own_release: Path) -> None:
    _record(own_release, lambda data: data.update(gates=[]))
    with pytest.raises(DataError, match="held to no gate on memorisation_ratio"):
        check_release(own_release, None)


def test_a_made_chip_outside_a_gate_is_refused(own_release: Path) -> None:
    def tighten(data: dict[str, Any]) -> None:
        for gate in data["gates"]:
            if gate["measure"] == "memorisation_ratio":
                gate["low"] = 1e6

    _record(own_release, tighten)
    with pytest.raises(DataError, match="breaks the gate on memorisation_ratio"):
        check_release(own_release, None)


def test_a_release_without_chips_is_refused(own_release: Path) -> None:
    shutil.rmtree(own_release / "data")

    def empty(data: dict[str, Any]) -> None:
        data["configs"] = {}
        for note in data["sets"].values():
            note["n_released"] = 0

    (own_release / release.CHIPS).write_text(",".join(release.CHIP_COLUMNS) + "\n")
    _record(own_release, empty)
    with pytest.raises(DataError, match="no source may be released"):
        check_release(own_release, None)


def test_all_ways_of_leaking_are_told_at_once() -> None:
    train = [
        TrainChip("t", "p", (), ()),
        TrainChip("a", "q", (), ()),
        TrainChip("b", "p", ("t",), ("t",)),
        TrainChip("c", "r", ("x",), ()),
    ]
    with pytest.raises(LeakageError) as caught:
        refuse_leaks(train, [("t", "q")], "these")
    said = caught.value.problem
    assert "1 are held-out chips (t)" in said
    assert "1 have a held-out chip's pixels (a)" in said
    assert "1 have a held-out chip as parent (b)" in said
    assert "1 have a held-out chip as style (b)" in said
    refuse_leaks(train, [("z", "z")], "these")
