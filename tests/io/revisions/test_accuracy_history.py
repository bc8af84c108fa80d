from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.revisions.accuracy_history import (
    arms_of,
    history_figure,
    history_lines,
    history_page,
    read_history,
)

EVIL = "<script>alert(1)</script>"


def _write(root: Path, arms: dict[str, float], revision: str, **other: Any) -> None:
    told = {
        name: {"accuracy": value, "accuracy_low": value - 0.1, "accuracy_high": value + 0.05}
        for name, value in arms.items()
    }
    content = {"dataset_revision": revision, "evidence": "smoke", "interval_level": 0.95, "arms": told}
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics" / "evaluation.json").write_text(json.dumps(content | other))


def _commit(paper: Any, root: Path, subject: str, date: str) -> None:
    paper.git(root, "add", "-A")
    paper.git(root, "-c", f"user.name={subject[:3]}", "commit", "-q", "-m", subject, "--date", date)


@pytest.fixture
def root(paper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    paper.git(tmp_path, "init", "-q")
    for day, (subject, arms, revision) in enumerate(
        [
            ("first", {"real-only": 0.5}, "1" * 16),
            ("more", {"real-only": 0.6, EVIL: 0.7}, "2" * 16),
            (EVIL, {"real-only": 0.65}, "3" * 16),
        ],
        start=1,
    ):
        date = f"2025-03-0{day}T12:00:00+00:00"
        monkeypatch.setenv("GIT_COMMITTER_DATE", date)
        _write(tmp_path, arms, revision)
        _commit(paper, tmp_path, subject, date)
        (tmp_path / "notes.txt").write_text(subject)
        _commit(paper, tmp_path, "not of metrics", date)
    return tmp_path


def test_a_line_for_every_commit_and_arm_oldest_first(root: Path) -> None:
    found = read_history(root)
    assert [point.dataset_revision for point in found.points] == [digit * 16 for digit in "123"]
    assert arms_of(found) == ["real-only", EVIL]
    lines = history_lines(found)
    assert re.fullmatch(r"2025-03-01 [0-9a-f]{8} data set 1{16} \(smoke\): first", lines[0])
    assert re.fullmatch(r"  real-only +50\.0 % \(40\.0 to 55\.0\)", lines[1])
    assert len(lines) == 3 + 4


def test_the_figure_repeats_byte_for_byte_and_the_page_escapes(root: Path) -> None:
    found = read_history(root)
    assert history_figure(found) == history_figure(found)
    with Image.open(BytesIO(history_figure(found))) as image:
        assert image.format == "PNG"
    page = history_page(found)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("data:image/png;base64,") == 1
    assert "60.0 % (50.0 to 65.0)" in page


def test_commits_that_are_not_understood_are_left_out_and_told(paper: Any, root: Path) -> None:
    for content in ("{", "[]", '{"arms": {"a": {}}, "dataset_revision": "x"}', '{"arms": 3}'):
        (root / "metrics" / "evaluation.json").write_text(content)
        _commit(paper, root, "odd", "2025-04-01T00:00:00+00:00")
    (root / "metrics" / "evaluation.json").unlink()
    _commit(paper, root, "gone", "2025-04-01T00:00:00+00:00")
    found = read_history(root)
    assert (len(found.points), len(found.skipped)) == (3, 4)
    assert history_lines(found)[-1].startswith("left out: ")
    assert "Left out" in history_page(found)


def test_without_scores_or_git_it_says_so(
    paper: Any, root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(other.parent))
    with pytest.raises(ParamsError, match="in no git repository"):
        read_history(other)
    paper.git(other, "init", "-q")
    paper.git(other, "commit", "-q", "--allow-empty", "-m", "nothing")
    with pytest.raises(DataError, match="has readable scores in metrics"):
        read_history(other)


def test_a_workspace_below_the_repositorys_root_has_its_own_history(paper: Any, root: Path) -> None:
    below = root / "studies" / "one"
    below.mkdir(parents=True)
    _write(below, {"real-only": 0.9}, "9" * 16)
    _commit(paper, root, "below", "2025-05-01T00:00:00+00:00")
    assert [point.dataset_revision for point in read_history(below).points] == ["9" * 16]
    assert len(read_history(root).points) == 3
