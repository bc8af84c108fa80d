"""The hook that calls the guard before each commit, written and recognised."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from sarcurate.errors import ParamsError
from sarcurate.io.revisions.git_history import run_git

CALL = "sarcurate guard"
_ID = "sarcurate-guard"  # in .pre-commit-config.yaml
_CONFIG = ".pre-commit-config.yaml"


def hook_path(root: Path) -> Path:
    """Where git looks for the hook of this repository, also where core.hooksPath says so."""
    done = run_git(root, ["rev-parse", "--git-path", "hooks"])
    return root / done.stdout.decode("utf-8", "surrogateescape").strip() / "pre-commit"


def has_hook(root: Path) -> bool:
    """Whether commits are guarded: by a hook that calls the guard, or by pre-commit that does."""
    path = hook_path(root)
    if not path.is_file() or not os.access(path, os.X_OK):
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    config = root / _CONFIG
    by_framework = config.is_file() and _ID in config.read_text(encoding="utf-8", errors="replace")
    return CALL in text or (by_framework and "pre-commit" in text)


def install_hook(root: Path) -> str:
    """Write the hook; the line to say.

    Raises:
        ParamsError: where another hook is there, which stays as it is.
    """
    path = hook_path(root)
    if path.exists() or path.is_symlink():
        if has_hook(root):
            return f"{path} guards commits already"
        raise ParamsError(
            f"{path} is a hook of yours, and stays as it is",
            fix=f"add this line to it: {CALL} || exit $?",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(_text())
    path.chmod(0o755)
    return f"wrote {path}: commits are guarded"


def _text() -> str:
    """The hook calls the environment that wrote it, or where that is gone the one on PATH."""
    python = shlex.quote(sys.executable)
    return (
        "#!/bin/sh\n"
        f"# {CALL}: keeps imagery, products and large files out of git.\n"
        f"if [ -x {python} ]; then\n"
        f"    exec {python} -c 'from sarcurate.cli import main; main()' guard\n"
        "fi\n"
        f"exec {CALL}\n"
    )
