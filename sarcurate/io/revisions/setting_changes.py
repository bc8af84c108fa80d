"""Params, and what dvc.lock records of stages, where two revisions differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sarcurate.io.revisions.snapshot import Snapshot

ABSENT = "absent"
_MODULES = "sarcurate/"


@dataclass(frozen=True)
class ParamChange:
    """A value of params.yaml by its dotted path; ``ABSENT`` where a revision has none."""

    path: str
    earlier: Any
    later: Any


@dataclass(frozen=True)
class StageChange:
    """A stage that ran otherwise: what of code, params, inputs and outputs is not the same."""

    stage: str
    what: tuple[str, ...]


def param_changes(earlier: Snapshot, later: Snapshot) -> list[ParamChange]:
    """Values that differ, in order of their path."""
    old, new = (dict(_flat(snapshot.files.book.params)) for snapshot in (earlier, later))
    paths = sorted({*old, *new})
    pairs = [ParamChange(path, old.get(path, ABSENT), new.get(path, ABSENT)) for path in paths]
    return [pair for pair in pairs if pair.earlier != pair.later]


def _flat(params: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def stage_changes(earlier: Snapshot, later: Snapshot) -> list[StageChange]:
    """Stages whose record in dvc.lock differs, in the order of the later revision."""
    old, new = earlier.files.book.lock, later.files.book.lock
    found = [StageChange(name, _what(old.get(name), new.get(name))) for name in dict.fromkeys([*new, *old])]
    return [change for change in found if change.what]


def _what(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[str, ...]:
    if old is None or new is None:
        return ("only in the later one",) if old is None else ("only in the earlier one",)
    before, after = _parts(old), _parts(new)
    return tuple(name for name in before if before[name] != after[name])


def _parts(stage: Mapping[str, Any]) -> dict[str, Any]:
    deps = {str(dep["path"]): dep.get("md5") for dep in stage.get("deps") or []}
    params = dict(next(iter((stage.get("params") or {}).values()), None) or {})
    code = params.pop("code", None)
    modules = {path: md5 for path, md5 in deps.items() if path.startswith(_MODULES)}
    return {
        "code": [code, modules],
        "params": params,
        "inputs": {path: md5 for path, md5 in deps.items() if path not in modules},
        "outputs": {str(out["path"]): out.get("md5") for out in stage.get("outs") or []},
    }
