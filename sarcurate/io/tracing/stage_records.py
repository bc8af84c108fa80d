"""What a workspace's dvc.lock and params.yaml say of the stage that wrote a path: code, params, inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sarcurate.errors import DataError
from sarcurate.io import lineage

LOCK, PARAMS = "dvc.lock", "params.yaml"
# Who writes what, for a workspace whose dvc.lock does not say so.
_WRITERS = (
    ("data/raw/", "acquire"),
    ("data/chips/", "ingest"),
    ("data/real/", "split"),
    ("data/translated/", "translate"),
    ("data/migrated", "migrate"),
    ("data/generated", "generate"),
    ("models/adapter", "tune"),
    ("data/selection.parquet", "curate"),
    ("metrics/evaluation.json", "evaluate"),
)
_BEFORE = {"split": "ingest", "ingest": "acquire"}
_SHARED = ("code", "dataset")
_MODULES = "sarcurate/"
_SHORT = 12


@dataclass(frozen=True)
class StageRecord:
    """One stage as it ran last.

    Args:
        code: version, and the hash of the sources that ran.
        params: those of the stage alone, by section or dotted path.
        dataset: the section that all stages share.
        md5s: content hash of inputs and outputs by path, modules left out.
        recorded: True where dvc.lock says so, False where only params.yaml does, as it reads today.
    """

    stage: str
    code: str
    params: Mapping[str, Any]
    dataset: Mapping[str, Any]
    md5s: Mapping[str, str]
    recorded: bool


@dataclass(frozen=True)
class StageBook:
    """All stages of a workspace: the content of dvc.lock and params.yaml, empty where there is none."""

    lock: Mapping[str, Any]
    params: Mapping[str, Any]

    def writer_of(self, path: str) -> StageRecord | None:
        """The stage that wrote a path; None where neither file knows."""
        for name, stage in self.lock.items():
            if any(out.get("path") == path for out in stage.get("outs") or []):
                return _recorded(name, stage)
        for start, name in _WRITERS:
            if path.startswith(start) and name in self.params:
                return self._of_params(name)
        return None

    def chain_of(self, path: str) -> list[StageRecord]:
        """The writer of real chips and those before it, last first: split, ingest, acquire."""
        record = self.writer_of(path)
        chain = [record] if record else []
        while chain and chain[-1].stage in _BEFORE:
            name = _BEFORE[chain[-1].stage]
            if name in self.lock:
                chain.append(_recorded(name, self.lock[name]))
            elif name in self.params:
                chain.append(self._of_params(name))
            else:
                break
        return chain

    def section(self, name: str) -> Mapping[str, Any]:
        """A stage's own section as it ran last, or as params.yaml reads where it never ran."""
        held = self.lock.get(name, {}).get("params", {}).get(PARAMS, {}).get(name)
        found = held if isinstance(held, Mapping) else self.params.get(name)
        return found if isinstance(found, Mapping) else {}

    def _of_params(self, name: str) -> StageRecord:
        sections = {name: self.params[name]}
        shared = {key: self.params.get(key) or {} for key in _SHARED}
        return StageRecord(name, _code(shared["code"], {}), sections, shared["dataset"], {}, recorded=False)


def read_stage_book(root: Path) -> StageBook:
    """The stages of a workspace; files that are missing leave gaps.

    Raises:
        DataError: for a file that is no YAML mapping.
    """
    lock = read_mapping(root / LOCK)
    return StageBook(lock.get("stages") or {}, read_mapping(root / PARAMS))


def read_mapping(path: Path) -> Mapping[str, Any]:
    """A YAML mapping as DVC reads it; empty where there is no file.

    Raises:
        DataError: for anything else than a mapping.
    """
    return mapping_of(path.read_bytes(), str(path)) if path.is_file() else {}


def mapping_of(data: bytes, where: str) -> Mapping[str, Any]:
    """A YAML mapping of a file's bytes; ``where`` is named in errors.

    Raises:
        DataError: for anything else than a mapping.
    """
    try:
        content = YAML(typ="safe", pure=True).load(data.decode("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{where} is not valid YAML: {error}", fix="restore it from git") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DataError(f"{where} holds no mapping", fix="restore it from git")
    return content


def _recorded(name: str, stage: Mapping[str, Any]) -> StageRecord:
    held = dict((stage.get("params") or {}).get(PARAMS) or {})
    shared = {key: held.pop(key, None) or {} for key in _SHARED}
    entries = [*(stage.get("deps") or []), *(stage.get("outs") or [])]
    md5s = {str(entry["path"]): str(entry.get("md5", "")) for entry in entries}
    modules = {path: md5 for path, md5 in md5s.items() if path.startswith(_MODULES)}
    data = {path: md5 for path, md5 in md5s.items() if path not in modules}
    return StageRecord(name, _code(shared["code"], modules), held, shared["dataset"], data, recorded=True)


def _code(code: Mapping[str, Any], modules: Mapping[str, str]) -> str:
    """Version and hash; where the sources are deps of the stage, a hash of these."""
    version, sources = str(code.get("version", "unknown")), str(code.get("source_sha256", "unknown"))
    if modules:
        sources = lineage.sha256_text(lineage.canonical_json(dict(modules)))
    return f"{version}, sources {sources[:_SHORT]}"
