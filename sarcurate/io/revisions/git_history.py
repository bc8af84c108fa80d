"""Files and commits of a git repository, read by git itself."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sarcurate.errors import ParamsError

_FIELD, _ROW = "\x1f", "\x1e"


@dataclass(frozen=True)
class Commit:
    """A commit: full hash, the committer's time (ISO 8601), the first line of its message."""

    sha: str
    time: str
    subject: str


@dataclass(frozen=True)
class History:
    """A folder in a git working tree; paths are relative to it."""

    folder: Path

    def commit(self, revision: str) -> str:
        """Full hash of the commit that a name stands for.

        Raises:
            ParamsError: where git knows no such commit.
        """
        asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
        done = run_git(self.folder, asked)
        if done.returncode != 0 or not revision.strip():
            raise ParamsError(
                f"git knows no revision {revision!r} in {self.folder}",
                fix="name a commit, tag or branch (`git log --oneline`, `git tag`); in a shallow clone run "
                "`git fetch --unshallow --tags` first",
            )
        return done.stdout.decode().strip()

    def file(self, commit: str, path: str) -> bytes | None:
        """Content of a file at a commit; None where the commit has no such file."""
        done = run_git(self.folder, ["cat-file", "blob", f"{commit}:./{path}"])
        return done.stdout if done.returncode == 0 else None

    def names(self, commit: str, folder: str) -> list[str]:
        """Paths of the files right below a folder at a commit."""
        done = run_git(self.folder, ["ls-tree", "-z", "--name-only", commit, f"./{folder}/"])
        return [name for name in done.stdout.decode("utf-8", "replace").split("\0") if name]

    def commits_of(self, path: str) -> list[Commit]:
        """Commits of the current branch that changed a file, oldest first; none before the first commit."""
        form = _FIELD.join(("%H", "%cI", "%s")) + _ROW
        done = run_git(self.folder, ["log", "--reverse", f"--format={form}", "--", f"./{path}"])
        rows = [row.strip("\n") for row in done.stdout.decode("utf-8", "replace").split(_ROW)]
        return [Commit(*row.split(_FIELD)) for row in rows if row]


def open_history(folder: Path) -> History:
    """The history of a folder.

    Raises:
        ParamsError: where it is in no git repository, or has no commit yet.
    """
    inside = run_git(folder, ["rev-parse", "--is-inside-work-tree"])
    if inside.stdout.strip() != b"true":
        raise ParamsError(
            f"{folder} is in no git repository, so it has no revisions",
            fix="run in a workspace; `sarcurate init` begins a git repository in each",
        )
    if run_git(folder, ["rev-parse", "--verify", "--quiet", "HEAD"]).returncode != 0:
        raise ParamsError(
            f"{folder} has no commit yet", fix="commit a first revision: git add -A && git commit"
        )
    return History(folder)


def run_git(
    folder: Path, arguments: Sequence[str], data: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder; its exit code is for the caller to look at.

    Raises:
        ParamsError: where there is no git.
    """
    command = ["git", *arguments]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=False, input=data)
    except FileNotFoundError as error:
        raise ParamsError("git is not on PATH", fix="install git") from error
