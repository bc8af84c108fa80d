from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from sarcurate.cli import app
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.score_table import read_scores
from sarcurate.io.selection import read_selection
from sarcurate.io.verdict_log import PENDING, Journal, Ruled
from sarcurate.io.verdicts import Ruling, read_verdicts

SHEET = Path("gallery/verdicts-sheet.csv")
LOG = Path("data/verdicts.csv")


@pytest.fixture(autouse=True)
def workspace(own_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(own_workspace)
    return own_workspace


def call(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def _fill(verdicts: dict[int, tuple[str, str, str]]) -> pd.DataFrame:
    """Write verdict, new label and reason into rows of the gallery's sheet."""
    table = pd.read_csv(SHEET, dtype=str, keep_default_na=False)
    for row, cells in verdicts.items():
        table.loc[row, ["verdict", "new_label", "reason"]] = list(cells)
    table.to_csv(SHEET, index=False)
    return table


def _kept() -> list[str]:
    return sorted(read_selection(Path("data/selection.parquet")).kept)


def _wait(*said: tuple[str, str]) -> None:
    known = read_scores(Path("data/scores.parquet")).set_index("chip_id")["pixels_sha256"]
    ruled = [
        Ruled(chip_id, known.get(chip_id, "0" * 64), Ruling(word), "", "", "Ann") for chip_id, word in said
    ]
    Journal(PENDING).add(ruled)


def test_a_gallery_filled_in_ends_in_the_log() -> None:
    said = call("gallery")
    n = len(read_scores(Path("data/scores.parquet")))
    assert said == [
        f"{n} chips: open gallery/index.html in a browser, or fill in {SHEET}",
        f"then: sarcurate verdicts add {SHEET}",
    ]
    table = _fill({0: ("reject", "", 'two noses, "odd"'), 2: ("unsure", "", ""), 3: ("keep", "", "")})
    labels = [table.loc[row, "label"] for row in (3, 0, 2)]
    assert call("verdicts", "add", str(SHEET), "--reviewer", "Ann") == [
        "3 verdicts to save (3 by Ann)",
        f"  keep         1   {labels[0]} 1",
        f"  reject       1   {labels[1]} 1",
        f"  unsure       1   {labels[2]} 1",
        "3 verdicts saved (1 keep, 1 reject, 1 unsure)",
        "commit data/verdicts.csv, then `dvc repro` rebuilds the selection and what follows",
    ]
    rows = read_verdicts(LOG).rows
    assert [(row.chip_id, row.ruling.value, row.reason, row.reviewer) for row in rows] == [
        (table.loc[0, "chip_id"], "reject", 'two noses, "odd"', "Ann"),
        (table.loc[2, "chip_id"], "unsure", "", "Ann"),
        (table.loc[3, "chip_id"], "keep", "", "Ann"),
    ]
    before = LOG.read_bytes()
    assert "no verdict to save" in call("verdicts", "add", str(SHEET), "--reviewer", "Ann")
    assert LOG.read_bytes() == before


def test_the_reviewer_is_gits_user_where_none_is_named(workspace: Path) -> None:
    call("gallery")
    _fill({0: ("keep", "", "")})
    with pytest.raises(ParamsError, match="give --reviewer NAME"):
        call("verdicts", "add", str(SHEET))
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "config", "user.name", "Bob Roe"], check=True)
    call("verdicts", "add", str(SHEET))
    assert [row.reviewer for row in read_verdicts(LOG).rows] == ["Bob Roe"]


def test_a_sheet_that_rejects_much_needs_force() -> None:
    call("gallery")
    n = len(_fill({}))
    _fill(dict.fromkeys(range(n // 4 + 1), ("reject", "", "")))
    before = LOG.read_bytes()
    with pytest.raises(DataError, match="judged chips would be newly rejected"):
        call("verdicts", "add", str(SHEET), "--reviewer", "Ann")
    assert LOG.read_bytes() == before
    assert f"{n // 4 + 1} verdicts saved ({n // 4 + 1} reject)" in call(
        "verdicts", "add", str(SHEET), "--reviewer", "Ann", "--force"
    )


def test_an_odd_sheet_leaves_the_log_alone() -> None:
    call("gallery")
    _fill({0: ("keep", "", ""), 1: ("rejekt", "", "")})
    before = LOG.read_bytes()
    with pytest.raises(DataError, match=r"verdicts-sheet\.csv line 3, column verdict: found 'rejekt'"):
        call("verdicts", "add", str(SHEET), "--reviewer", "Ann")
    assert LOG.read_bytes() == before


def test_what_waits_is_compared_and_saved() -> None:
    kept = _kept()
    sets = read_scores(Path("data/scores.parquet")).set_index("chip_id")[["set", "label"]]
    assert call("verdicts", "diff") == ["no verdict that is not saved already", "no chip's fate changes"]
    _wait((kept[0], "reject"), ("ff00", "keep"))
    name, label = sets.loc[kept[0]]
    of_set = [chip for chip in kept if sets.loc[chip, "set"] == name]
    of_class = [chip for chip in of_set if sets.loc[chip, "label"] == label]
    change = [
        f"{name}: kept {len(of_set)} -> {len(of_set) - 1} ({label} {len(of_class)} -> {len(of_class) - 1})",
        f"  rejected: 1 ({kept[0]})",
    ]
    before = LOG.read_bytes()
    assert call("verdicts", "diff") == [
        "1 verdicts to save (1 by Ann)",
        f"  reject       1   {label} 1",
        "on chips that are in no set today: ff00",
        *change,
    ]
    assert LOG.read_bytes() == before
    assert "1 verdicts saved (1 reject); 1 chips are in no set today and keep waiting: ff00" in call(
        "verdicts", "save"
    )
    assert [row.chip_id for row in read_verdicts(LOG).rows] == [kept[0]]
    assert [item.chip_id for item in Journal(PENDING).ruled()] == ["ff00"]
    # Saved, and not yet curated: the Selection is still the old one.
    assert call("verdicts", "diff")[-2:] == change


def test_saving_nothing_says_so() -> None:
    assert call("verdicts", "save")[:2] == ["no verdict that is not saved already", "no verdict to save"]


def test_counts_of_an_untouched_workspace() -> None:
    lines = call("verdicts", "stats")
    scores = read_scores(Path("data/scores.parquet"))
    totals = {line.split()[0]: line.split()[2:4] for line in lines if " all " in line}
    assert totals == {name: [str(len(rows)), "0"] for name, rows in scores.groupby("set")}
    assert lines[-1] == "no verdict was given yet"


def test_counts_after_a_verdict() -> None:
    chip_id = _kept()[0]
    _wait((chip_id, "keep"))
    call("verdicts", "save")
    assert any(line.split() == ["Ann", "1", "1", "0", "0", "0", "0"] for line in call("verdicts", "stats"))


def test_a_gallery_tells_saved_verdicts() -> None:
    chip_id = _kept()[0]
    _wait((chip_id, "unsure"))
    call("verdicts", "save")
    call("gallery", "other")
    assert '"verdict":"unsure"' in Path("other/index.html").read_text(encoding="utf-8")
    with Path("other/verdicts-sheet.csv").open(encoding="utf-8", newline="") as file:
        assert {row["verdict"] for row in csv.DictReader(file)} == {""}


@pytest.mark.parametrize(
    "words", [["gallery"], *(["verdicts", name] for name in ("add", "save", "diff", "stats"))]
)
def test_help_has_an_example(words: list[str]) -> None:
    said = " ".join(" ".join(call(*words, "--help")).split())
    assert f"Example: sarcurate {' '.join(words)}" in said


def test_outside_of_a_workspace_the_way_in_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["gallery"], ["verdicts", "stats"]):
        with pytest.raises(ParamsError, match="sarcurate init"):
            call(*words)
