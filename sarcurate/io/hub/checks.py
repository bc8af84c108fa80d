"""What must hold before a release may leave: whole, current, validated, allowed, clean, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io.hub import records, release
from sarcurate.io.hub.leaks import TrainChip, refuse_leaks
from sarcurate.io.hub.licences import LicenceRule
from sarcurate.io.hub.reading import read_batches, shards
from sarcurate.io.hub.release import GateNote, Release
from sarcurate.io.hub.secret_scan import refuse_secrets
from sarcurate.io.hub.verifying import verify

MEMORISATION = "memorisation_ratio"
SHOWN = 3
_KIN = ["chip_id", "pixels_sha256", "parents", "style_ids"]


@dataclass(frozen=True)
class Current:
    """The state of the workspace that a release must be of.

    Args:
        dataset_revision: of the newest evaluation; sets: revisions by name; selection: its revision.
        validation_passed: of the newest validation; rules: of params; version: of params.
    """

    dataset_revision: str
    sets: Mapping[str, str]
    selection: str
    validation_passed: bool
    rules: tuple[LicenceRule, ...]
    version: str


def check_release(folder: Path, current: Current | None) -> tuple[Release, list[str]]:
    """Check a release for publishing; what it says of itself, and a line per check that it passed.

    Args:
        current: of the workspace it was made in; None checks the folder alone.

    Raises:
        DataError: (LeakageError for leaks) for the first check that fails.
    """
    verified = verify(folder)
    told = verified.release
    if not told.configs:
        raise DataError(
            f"{folder} holds no chips: no source may be released",
            fix="say in package.licences of params.yaml what each source's licence allows, where it does",
        )
    passed = [verified.line()]
    if current is not None:
        _check_current(folder, told, current)
        passed.append("the workspace: same chips, selection, evaluation, rules and version")
    _check_validated(folder, told)
    passed.append("validation: passed by both train sets of this revision")
    passed.append(_check_licences(folder, told))
    tests = release.read_test_chips(folder)
    refuse_leaks(_train_chips(folder, told), tests, str(folder))
    passed.append(f"leakage: no train chip is, shows or comes from one of {len(tests)} held-out chips")
    passed.append(_check_memorisation(folder, told))
    passed.append(f"secrets: none in {refuse_secrets(folder)} texts")
    return told, passed


def _check_current(folder: Path, told: Release, current: Current) -> None:
    sets = {name: note.revision for name, note in told.sets.items()}
    differing = [f"set {name}" for name in sets if current.sets.get(name) != sets[name]]
    pairs = {
        "selection": (told.selection, current.selection),
        "evaluation": (told.dataset_revision, current.dataset_revision),
        "package.licences": (told.licences, current.rules),
        "package.version": (told.version, current.version),
    }
    differing += [name for name, (one, other) in pairs.items() if one != other]
    if differing:
        raise DataError(
            f"{folder} is of another state than the workspace; different: {', '.join(differing)}",
            fix="run `dvc repro` first",
        )
    if not current.validation_passed:
        raise DataError(
            "the newest validation did not pass", fix="see metrics/validation.html, then `dvc repro`"
        )


def _check_validated(folder: Path, told: Release) -> None:
    expected = {side: told.sets[f"{side}-train"].revision for side in ("source", "target")}
    if dict(told.validated) != expected:
        raise DataError(
            f"{folder}: what passed validation is not what is in it", fix="run `dvc repro validate package`"
        )


def _check_licences(folder: Path, told: Release) -> str:
    rules = {rule.source: rule for rule in told.licences}
    used: set[str] = set()
    refused: dict[str, str] = {}
    for row in _rows(folder, told, ["chip_id", records.IS_MADE, records.LICENCES]):
        for source in row[records.LICENCES] or ["unknown licence"]:
            rule = rules.get(source)
            allowed = rule is not None and (rule.made if row[records.IS_MADE] else rule.chips)
            used.add(source)
            if not allowed:
                refused.setdefault(source, row["chip_id"])
    if refused:
        told_of = "; ".join(f"{source!r} (chip {chip})" for source, chip in list(refused.items())[:SHOWN])
        raise DataError(f"{folder}: no rule allows to release chips of {told_of}", fix=release.PACK_AGAIN)
    return f"licences: {len(used)} sources, each allows it"


def _check_memorisation(folder: Path, told: Release) -> str:
    held_to = {(name, gate.measure): gate for gate in told.gates for name in gate.sets}
    columns = list(dict.fromkeys(records.SCORE + gate.measure for gate in told.gates))
    n_made = 0
    for row in _rows(folder, told, ["chip_id", records.IS_MADE, records.SET, *columns]):
        if not row[records.IS_MADE]:
            continue
        n_made += 1
        name = row[records.SET]
        if (name, MEMORISATION) not in held_to:
            raise DataError(
                f"{folder}: made chips of {name} were held to no gate on {MEMORISATION}",
                fix=f"add a gate on {MEMORISATION} to package.gates in params.yaml, then `dvc repro package`",
            )
        for gate in told.gates:
            if name in gate.sets and not _passes(row[records.SCORE + gate.measure], gate):
                raise DataError(
                    f"{folder}: chip {row['chip_id']} of {name} breaks the gate on {gate.measure}",
                    fix=release.PACK_AGAIN,
                )
    return f"memorisation: {n_made} made chips in configs, each inside {len(columns)} gates"


def _passes(value: float | None, gate: GateNote) -> bool:
    if value is None:
        return gate.keeps_missing
    return (gate.low is None or value >= gate.low) and (gate.high is None or value <= gate.high)


def _train_chips(folder: Path, told: Release) -> Iterator[TrainChip]:
    for row in _rows(folder, told, _KIN, only="train"):
        yield TrainChip(
            row["chip_id"], row["pixels_sha256"], tuple(row["parents"] or ()), tuple(row["style_ids"] or ())
        )


def _rows(
    folder: Path, told: Release, columns: list[str], only: str | None = None
) -> Iterator[dict[str, Any]]:
    for config, splits in told.configs.items():
        for split in splits:
            if only in (None, split):
                for path in shards(folder, config, split):
                    for batch in read_batches(path, columns):
                        yield from batch.to_pylist()
