from __future__ import annotations

import base64
import io
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sarcurate.errors import DataError, ParamsError
from sarcurate.io import git_guard
from sarcurate.io.git_hook import has_hook, hook_path, install_hook


def _bytes(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "npy":
        np.save(file, np.zeros((4, 4)))
    else:
        Image.new("L", (8, 8)).save(file, kind)
    return file.getvalue()


def _parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


TEXT = b"chip_id,verdict\n"
PICTURE = base64.b64encode(bytes(range(256)) * 8)
PASS = {
    "params.yaml": TEXT,
    "docs/figures/overview.png": _bytes("png"),
    "tests/data/products/a.tif": _bytes("tiff"),
    "sarcurate/assets/tiny/model.safetensors": bytes(1_500_000),
    "notes/figures.md": b"![](data:image/png;base64,iVBORw0KGgo=)",
    "docs/runs/one.parquet": _parquet(chip_id=["a"], confidence=[0.5]),
    "empty": b"",
    "exactly.bin": bytes(1_000_000),
}
REFUSED = {
    "a.TIF": (TEXT, "imagery, arrays or products"),
    "chips/a.npy": (_bytes("npy"), "imagery, arrays or products"),
    "IMAGE_HH.cos": (TEXT, "imagery, arrays or products"),
    "scene.nitf": (TEXT, "imagery, arrays or products"),
    "docs/figure.png": (_bytes("png"), "imagery, arrays or products"),
    "docs/figures-of-mine/a.png": (_bytes("png"), "imagery, arrays or products"),
    "product.zip": (TEXT, "imagery, arrays or products"),
    "adapter.safetensors": (bytes(1_000_001), "1.0 MB, more than the 1 MB"),
    "large.txt": (b"x" * 2_000_000, "2.0 MB"),
    "chip.txt": (_bytes("tiff"), "its content is a TIFF"),
    "chip": (_bytes("png"), "its content is a PNG"),
    "photo.dat": (_bytes("jpeg"), "its content is a JPEG"),
    "array.bin": (_bytes("npy"), "its content is a NumPy array"),
    "product.dat": (b"NITF02.10" + bytes(64), "its content is a NITF"),
    "slc.dat": (bytes(28) + b"CSAR" + bytes(64), "its content is a COSAR product"),
    "shard.parquet": (_parquet(image=[{"bytes": b"1", "path": "a"}]), "a column holds bytes"),
    "flat.parquet": (_parquet(pixels=[b"1"]), "a column holds bytes"),
    "gallery.html": (b"<img src='data:image/png;base64," + PICTURE + b"'>", "pictures as base64"),
    "look.ipynb": (b'{"image/png": "' + PICTURE + b'"}', "pictures as base64"),
    "with space\n.tif": (TEXT, "imagery, arrays or products"),
}


@pytest.fixture
def root(paper: Any, tmp_path: Path) -> Path:
    paper.git(tmp_path, "init", "-q")
    return tmp_path


def _put(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def test_what_may_be_in_git_passes_and_all_else_is_named(paper: Any, root: Path) -> None:
    _put(root, PASS | {name: data for name, (data, _) in REFUSED.items()})
    (root / "link.tif").symlink_to("params.yaml")
    assert git_guard.staged_offences(root) == []  # nothing is staged yet
    paper.git(root, "add", "-A")
    found = {offence.path: offence.why for offence in git_guard.staged_offences(root)}
    assert set(found) == set(REFUSED)
    for name, (_, why) in REFUSED.items():
        assert why in found[name], name
    paper.git(root, "commit", "-q", "--no-verify", "-m", "all of it")
    assert git_guard.staged_offences(root) == []
    assert {offence.path for offence in git_guard.tracked_offences(root)} == set(REFUSED)


def test_what_is_staged_counts_and_not_what_lies_on_disk(paper: Any, root: Path) -> None:
    _put(root, {"a.txt": _bytes("tiff")})
    paper.git(root, "add", "a.txt")
    _put(root, {"a.txt": TEXT})
    assert [offence.path for offence in git_guard.staged_offences(root)] == ["a.txt"]
    paper.git(root, "add", "a.txt")
    _put(root, {"a.txt": _bytes("tiff")})
    assert git_guard.staged_offences(root) == []


def test_a_changed_and_a_renamed_file_are_looked_at_and_a_removed_one_is_not(paper: Any, root: Path) -> None:
    _put(root, {"a.txt": TEXT, "docs/figures/a.png": _bytes("png"), "b.tif": TEXT})
    paper.git(root, "add", "-A")
    paper.git(root, "commit", "-q", "-m", "first")
    _put(root, {"a.txt": _bytes("png")})
    paper.git(root, "mv", "docs/figures/a.png", "a.png")
    paper.git(root, "rm", "-q", "b.tif")
    paper.git(root, "add", "-A")
    assert {offence.path for offence in git_guard.staged_offences(root)} == {"a.txt", "a.png"}


def test_the_allow_file_names_further_places(paper: Any, root: Path) -> None:
    _put(root, {"docs/pictures/a.png": _bytes("png"), "logo.png": _bytes("png"), "logo.png.d/a.png": TEXT})
    (root / ".sarcurateallow").write_text("# may be public\n\ndocs/pictures/\nlogo.png\n")
    paper.git(root, "add", "-A")
    assert [offence.path for offence in git_guard.staged_offences(root)] == ["logo.png.d/a.png"]


@pytest.mark.parametrize("line", ["/", ".", "..", "docs/../..", "/etc", "./docs", "docs//a"])
def test_an_allow_line_that_opens_too_much_is_refused(root: Path, line: str) -> None:
    (root / ".sarcurateallow").write_text(f"{line}\n")
    with pytest.raises(ParamsError, match="is no file or folder below"):
        git_guard.read_allowed(root)


def test_the_refusal_names_every_file_and_what_to_do(root: Path) -> None:
    offences = [git_guard.Offence("a\x1b.tif", "why"), git_guard.Offence("b.npy", "because")]
    with pytest.raises(DataError, match="this commit holds 2 files") as caught:
        git_guard.refuse(offences, "this commit")
    assert "  a\ufffd.tif: why\n  b.npy: because" in caught.value.problem
    assert "git restore --staged" in caught.value.fix
    assert "dvc add" in caught.value.fix
    git_guard.refuse([], "this commit")


# --- the hook


def test_the_hook_stops_a_commit_and_lets_another_pass(paper: Any, root: Path) -> None:
    assert not has_hook(root)
    assert install_hook(root) == f"wrote {hook_path(root)}: commits are guarded"
    assert has_hook(root)
    _put(root, {"chips/a.tif": _bytes("tiff"), "notes.txt": TEXT})
    paper.git(root, "add", "-A")
    done = subprocess.run(["git", "commit", "-m", "x"], cwd=root, capture_output=True, text=True)
    assert done.returncode != 0
    assert "chips/a.tif: .tif files are imagery" in done.stderr
    assert "Fix: take them out" in done.stderr
    paper.git(root, "rm", "-q", "--cached", "chips/a.tif")
    paper.git(root, "commit", "-q", "-m", "notes alone")
    assert paper.git(root, "ls-files").split() == ["notes.txt"]


def test_a_hook_of_the_user_stays(root: Path) -> None:
    path = hook_path(root)
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\necho mine\n")
    with pytest.raises(ParamsError, match="a hook of yours") as caught:
        install_hook(root)
    assert "sarcurate guard || exit $?" in caught.value.fix
    assert path.read_text() == "#!/bin/sh\necho mine\n"
    path.write_text("#!/bin/sh\necho mine\nsarcurate guard || exit $?\n")
    assert not has_hook(root)  # git runs no hook that cannot be executed
    path.chmod(0o755)
    assert install_hook(root) == f"{path} guards commits already"


def test_a_hook_of_pre_commit_counts_where_its_config_names_the_guard(root: Path) -> None:
    path = hook_path(root)
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/usr/bin/env bash\n# File generated by pre-commit\n")
    path.chmod(0o755)
    assert not has_hook(root)
    (root / ".pre-commit-config.yaml").write_text("repos:\n- hooks:\n  - id: sarcurate-guard\n")
    assert has_hook(root)


def test_hooks_go_where_git_looks_for_them(paper: Any, root: Path, tmp_path: Path) -> None:
    paper.git(root, "config", "core.hooksPath", "tools/hooks")
    install_hook(root)
    assert os.access(root / "tools" / "hooks" / "pre-commit", os.X_OK)


def test_this_repository_holds_nothing_that_it_must_not(repository: Path) -> None:
    assert git_guard.tracked_offences(repository) == []


def test_runs_and_score_tables_are_no_pictures() -> None:
    file = io.BytesIO()
    pd.DataFrame({"a": [[1.0], [2.0]], "b": ["x", "y"]}).to_parquet(file)
    assert not git_guard._by_content("a.parquet", file.getvalue())
