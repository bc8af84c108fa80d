"""Doctor: what this machine and workspace have, what is missing, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sarcurate import __version__
from sarcurate.errors import SarcurateError
from sarcurate.io import git_guard, git_hook, public_sets
from sarcurate.params import read_params
from sarcurate.workspace import check_code

EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "diffusers": "train",
    "peft": "train",
    "accelerate": "train",
    "safetensors": "train",
    "dvc": "dvc",
    "datasets": "hub",
    "huggingface_hub": "hub",
    "great_expectations": "validate",
    "fiftyone": "app",
}
ENOUGH_DISK_GIB = 6.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``needed`` things make doctor fail when they are not ok."""

    what: str
    found: str
    ok: bool
    needed: bool
    fix: str


def examine(folder: Path, mirror: Path | None) -> list[Finding]:
    """Look at interpreter, packages, tools, disk, the workspace in ``folder`` and the mirror."""
    return [
        Finding("sarcurate", f"{__version__} on Python {sys.version.split()[0]}", True, True, ""),
        *_packages(),
        *_tools(),
        _disk(folder),
        _writable(folder),
        _workspace(folder),
        *_git(folder),
        *_mirror(mirror),
    ]


def _packages() -> Iterator[Finding]:
    for package, extra in EXTRAS.items():
        try:
            yield Finding(package, version(package), True, True, "")
        except PackageNotFoundError:
            yield Finding(
                package, "not installed", False, True, f"pip install 'sarcurate[{extra}]', or `make env`"
            )
    try:
        broken = f"{version('torchvision')} is installed but not used"
        fix = "pip uninstall torchvision: a build that does not match torch breaks transformers"
        yield Finding("torchvision", broken, _imports("torchvision"), True, fix)
    except PackageNotFoundError:
        yield Finding("torchvision", "absent, as it should be", True, True, "")


def _imports(name: str) -> bool:
    from importlib import import_module

    try:
        import_module(name)
    except (ImportError, RuntimeError):
        return False
    return True


def _tools() -> Iterator[Finding]:
    for tool in ("git", "dvc"):
        path = shutil.which(tool)
        yield Finding(
            f"command {tool}",
            path or "not on PATH",
            path is not None,
            True,
            f"install {tool}, or activate .venv",
        )


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 2**30
    fix = "free some space: data, DVC cache and work cache lie in the workspace"
    return Finding("disk", f"{free:.1f} GiB free in {folder}", free >= ENOUGH_DISK_GIB, True, fix)


def _writable(folder: Path) -> Finding:
    return Finding(
        "permissions", f"{folder} writable", os.access(folder, os.W_OK), True, "run in a folder that you own"
    )


def _workspace(folder: Path) -> Finding:
    if not (folder / "params.yaml").exists():
        fix = "cd into a workspace, or make one: sarcurate init DIR --params FILE"
        return Finding("workspace", "no params.yaml here", False, False, fix)
    try:
        params = read_params(folder / "params.yaml")
        check_code(params)
    except SarcurateError as error:
        return Finding("workspace", error.problem, False, True, error.fix)
    return Finding("workspace", f"params.yaml of {params.dataset.name} is valid", True, True, "")


def _git(folder: Path) -> Iterator[Finding]:
    """Whether commits are guarded, and whether git holds what it must not; nothing outside of git."""
    root = git_guard.root_of(folder) if shutil.which("git") else None
    if root is None:
        return
    guarded = git_hook.has_hook(root)
    yield Finding(
        "guard of commits",
        "a hook refuses imagery and large files" if guarded else "no pre-commit hook calls it",
        guarded,
        False,
        "sarcurate guard --install",
    )
    try:
        git_guard.refuse(git_guard.tracked_offences(root), "git")
    except SarcurateError as error:
        yield Finding("imagery in git", error.problem, False, True, error.fix)
        return
    yield Finding("imagery in git", "none", True, True, "")


def _mirror(mirror: Path | None) -> Iterator[Finding]:
    if mirror is None:
        fix = "only for public sets: sarcurate fetch SET --mirror DIR, then set SARCURATE_MIRROR=DIR"
        yield Finding("mirror", "SARCURATE_MIRROR is not set", False, False, fix)
        return
    for name in public_sets.set_names():
        here = (mirror / name).is_dir()
        yield Finding(
            f"public set {name}", "present" if here else "absent", here, False, f"sarcurate fetch {name}"
        )
