"""Work cache: finished pieces of long stages, kept outside DVC's outputs so that a killed run resumes."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkCache:
    """Entries (folders) by key; an entry exists whole or not at all."""

    root: Path

    def entry(self, key: str) -> Path | None:
        """Folder of a finished entry, or None."""
        folder = self.root / key[:2] / key
        return folder if folder.is_dir() else None

    @contextmanager
    def making(self, key: str) -> Iterator[Path]:
        """A folder to fill; it becomes the entry when the block ends well and vanishes otherwise."""
        final = self.root / key[:2] / key
        final.parent.mkdir(parents=True, exist_ok=True)
        unfinished = final.parent / f".{key}.{uuid.uuid4().hex}"
        unfinished.mkdir()
        try:
            yield unfinished
            if not final.exists():
                unfinished.replace(final)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
