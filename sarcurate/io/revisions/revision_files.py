"""Files of a workspace at one revision: git's from git, DVC's from its cache, or all from the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io.revisions.git_history import History
from sarcurate.io.tracing.stage_records import LOCK, StageBook, mapping_of

WORKING_TREE = "working tree"


@dataclass(frozen=True)
class DvcCache:
    """The folder where DVC keeps files by their md5; None for a workspace without DVC."""

    folder: Path | None

    def path(self, md5: str) -> Path | None:
        """The file of a hash; None where the cache lacks it."""
        if self.folder is None or not md5:
            return None
        found = self.folder / md5[:2] / md5[2:]
        return found if found.is_file() else None

    def listing(self, md5: str) -> dict[str, str] | None:
        """Hashes of the files of a cached folder by their path in it; None where the cache lacks it."""
        path = self.path(md5)
        if path is None:
            return None
        try:
            entries = json.loads(path.read_bytes())
            return {str(entry["relpath"]): str(entry["md5"]) for entry in entries}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: DVC's cache is damaged: {error}", fix="run `dvc fetch`") from error


def open_cache(root: Path) -> DvcCache:
    """The cache that a workspace's DVC settings name.

    Raises:
        ModuleNotFoundError: without DVC, which the command line says how to get.
    """
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return DvcCache(Path(repo.cache.local.path))
    except NotDvcRepoError:
        return DvcCache(None)


@dataclass(frozen=True, eq=False)
class RevisionFiles:
    """Files of one revision.

    Args:
        root: of the workspace.
        name: as people call the revision.
        commit: full hash, or None for the working tree.
    """

    root: Path
    name: str
    commit: str | None
    history: History
    cache: DvcCache

    def tracked(self, path: str) -> bytes | None:
        """Content of a file that git keeps; None where it is missing."""
        if self.commit is not None:
            return self.history.file(self.commit, path)
        place = self.root / path
        return place.read_bytes() if place.is_file() else None

    def metrics(self) -> dict[str, Any]:
        """Content of every metrics/*.json, by the name without its ending.

        Raises:
            DataError: for one that is no JSON.
        """
        if self.commit is not None:
            names = self.history.names(self.commit, "metrics")
        else:
            names = [f"metrics/{path.name}" for path in sorted((self.root / "metrics").glob("*.json"))]
        wanted = [name.rpartition("/")[2] for name in names if name.endswith(".json")]
        return {name.removesuffix(".json"): self._json(f"metrics/{name}") for name in wanted}

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self.tracked(path) or b"null")
        except ValueError as error:
            raise DataError(
                f"{self.where(path)} is no JSON: {error}", fix="compare another revision, or repair the file"
            ) from error

    def mapping(self, path: str) -> Mapping[str, Any]:
        """A YAML mapping that git keeps; empty where it is missing.

        Raises:
            DataError: for anything else.
        """
        data = self.tracked(path)
        return {} if data is None else mapping_of(data, self.where(path))

    @cached_property
    def book(self) -> StageBook:
        """Stages and params of the revision."""
        return StageBook(self.mapping(LOCK).get("stages") or {}, self.mapping("params.yaml"))

    @cached_property
    def outs(self) -> dict[str, str]:
        """Hash of every output that dvc.lock names, by path."""
        stages = self.book.lock.values()
        entries = [out for stage in stages for out in stage.get("outs") or []]
        return {str(out["path"]): str(out.get("md5") or "") for out in entries}

    def data(self, path: str) -> Path | None:
        """Where a file that DVC keeps can be read; None where it is neither on disk nor in the cache.

        The disk counts for the working tree alone, and there the cache only for outputs that the disk lacks
        as a whole: what is left of others is not what dvc.lock names.
        """
        on_disk = self.commit is None
        if on_disk and (self.root / path).is_file():
            return self.root / path
        if path in self.outs:
            return self.cache.path(self.outs[path])
        for out in self.outs:
            if path.startswith(f"{out}/") and not (on_disk and (self.root / out).is_dir()):
                return self.cache.path((self._listing(out) or {}).get(path.removeprefix(f"{out}/"), ""))
        return None

    def has_listing(self, out: str) -> bool:
        """Whether it is known which files an output folder holds."""
        return (self.commit is None and (self.root / out).is_dir()) or self._listing(out) is not None

    def _listing(self, out: str) -> dict[str, str] | None:
        if out not in self._listings:
            self._listings[out] = self.cache.listing(self.outs[out]) if out in self.outs else None
        return self._listings[out]

    @cached_property
    def _listings(self) -> dict[str, dict[str, str] | None]:
        return {}

    def where(self, path: str) -> str:
        """A file as messages name it."""
        return str(self.root / path) if self.commit is None else f"{self.name}:{path}"
