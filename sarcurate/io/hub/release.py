"""A release: the folder that goes to the Hub, its list of files, of chips, and what it says of itself."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.hub.licences import LicenceRule
from sarcurate.io.safe import resolve_inside, sha256_file

FORMAT = "sarcurate-release/1"
CARD, REVISION, FILES = "README.md", "revision.json", "MANIFEST.sha256"
CHIPS, TEST_CHIPS = "chips.csv", "test_chips.csv"
CHIP_COLUMNS = ("config", "split", "chip_id", "pixels_sha256", "is_made")
TEST_COLUMNS = ("chip_id", "pixels_sha256")
PACK_AGAIN = "rebuild the folder with `dvc repro package`"
_SPLITS = ("train", "test")
_CONFIG = re.compile(r"[a-z][a-z0-9-]*")
HEXADECIMAL = re.compile(r"[0-9a-f]+")
_LINE = re.compile(r"([0-9a-f]{64})  ([!-~]+)")


@dataclass(frozen=True)
class SetNote:
    """One set of the data set: its revision, its chips, and how many of them are in the release."""

    revision: str
    n_chips: int
    n_released: int


@dataclass(frozen=True)
class GateNote:
    """Bounds (None for none) that a measure of made chips was held to, and in which sets."""

    measure: str
    low: float | None
    high: float | None
    keeps_missing: bool
    sets: tuple[str, ...]


@dataclass(frozen=True)
class ArmNote:
    """An arm of the evaluation: sets added to the real chips, how, and test chips recognised per seed."""

    name: str
    add: tuple[str, ...]
    oversample: bool
    classical: bool
    n_train: int
    n_test: int
    n_correct: tuple[int, ...]


@dataclass(frozen=True)
class Training:
    """How the evaluation's classifiers were trained: settings that all arms share, and seeds of the runs."""

    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    arms: tuple[ArmNote, ...]


@dataclass(frozen=True)
class Release:
    """What ``revision.json`` says.

    Args:
        dataset_revision: of the sets and the Selection; version: of the data set, the tag on the Hub.
        sets: by name, ``source-train`` and so on; selection: revision of the Selection.
        validated: train revisions that passed validation, by side.
        configs: chips by config and split.
        licences: the rules that were applied.
        withheld: made chips left out because they break a gate, by set; gates: those gates.
        left_out: real chips' licences and models whose rule, or lack of one, left chips out.
        training: of the evaluation; None where it began from weights that are not in the release.
    """

    name: str
    version: str
    dataset_revision: str
    evidence: str
    classes: tuple[str, ...]
    sets: Mapping[str, SetNote]
    selection: str
    validated: Mapping[str, str]
    configs: Mapping[str, Mapping[str, int]]
    licences: tuple[LicenceRule, ...]
    gates: tuple[GateNote, ...]
    withheld: Mapping[str, int]
    left_out: tuple[str, ...]
    training: Training | None

    @property
    def revision_of_parts(self) -> str:
        """The data set's revision as it follows from those of its parts; source test chips are no part."""
        sets = [note.revision for name, note in self.sets.items() if name != "source-test"]
        return lineage.dataset_revision([*sets, self.selection])


def with_revision(release: Release) -> Release:
    """The same with the revision that follows from its parts."""
    return replace(release, dataset_revision=release.revision_of_parts)


def write_release(folder: Path, release: Release) -> None:
    """Write ``revision.json``."""
    text = json.dumps({"format": FORMAT, **asdict(release)}, indent=2, ensure_ascii=False)
    (folder / REVISION).write_text(text + "\n", encoding="utf-8")


def read_release(folder: Path) -> Release:
    """Read what :func:`write_release` wrote.

    Raises:
        DataError: where the folder is no release, or of another format.
    """
    path = folder / REVISION
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        return Release(
            **{
                **data,
                "classes": tuple(data["classes"]),
                "sets": {name: SetNote(**note) for name, note in data["sets"].items()},
                "licences": tuple(LicenceRule(**rule) for rule in data["licences"]),
                "gates": tuple(GateNote(**{**note, "sets": tuple(note["sets"])}) for note in data["gates"]),
                "left_out": tuple(data["left_out"]),
                "training": _training(data["training"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder} is no release of sarcurate: {path.name}: {error}",
            fix="name the folder that the package stage wrote (data/hub), or a downloaded one",
        ) from error


def _training(data: Any) -> Training | None:
    if data is None:
        return None
    arms = [{**arm, "add": tuple(arm["add"]), "n_correct": tuple(arm["n_correct"])} for arm in data["arms"]]
    return Training(dict(data["settings"]), tuple(data["seeds"]), tuple(ArmNote(**arm) for arm in arms))


def files_below(folder: Path) -> list[str]:
    """Relative POSIX paths of all files of a folder, sorted, but for what Git and the Hub's client keep."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
    own = [path.as_posix() for path in found if path.parts[0] not in (".git", ".cache", ".gitattributes")]
    return sorted(own)


def write_files(folder: Path) -> None:
    """Write ``MANIFEST.sha256``: every other file with its SHA-256, as ``sha256sum -c`` reads it."""
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in files_below(folder) if name != FILES]
    (folder / FILES).write_text("".join(lines), encoding="utf-8")


def read_files(folder: Path) -> dict[str, str]:
    """SHA-256 by path, of ``MANIFEST.sha256``.

    Raises:
        DataError: where it is missing, a line is none, or a path leads out of the folder.
    """
    path = folder / FILES
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", fix="download the release again") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        parts = _LINE.fullmatch(line)
        if parts is None or parts[2] in found:
            raise DataError(
                f"{path}, line {number}: found {line[:80]!r}, expected a SHA-256 and a path, each path once",
                fix="download the release again",
            )
        resolve_inside(folder, parts[2])
        found[parts[2]] = parts[1]
    return found


@dataclass(frozen=True, order=True)
class ListedChip:
    """A line of ``chips.csv``: where a chip is, and the hash of its decoded pixels."""

    config: str
    split: str
    chip_id: str
    pixels_sha256: str
    is_made: bool


def read_chips(folder: Path) -> Iterator[ListedChip]:
    """The chips that the release lists, one at a time.

    Raises:
        DataError: for a line that is none.
    """
    for number, row in enumerate(_rows(folder / CHIPS, CHIP_COLUMNS), start=2):
        config, split, chip_id, pixels, is_made = row
        sound = _CONFIG.fullmatch(config) and split in _SPLITS and is_made in ("true", "false")
        if not sound or not HEXADECIMAL.fullmatch(chip_id) or not HEXADECIMAL.fullmatch(pixels):
            raise DataError(
                f"{folder / CHIPS}, line {number}: found {','.join(row)[:80]!r}, expected {CHIP_COLUMNS}",
                fix="download the release again",
            )
        yield ListedChip(config, split, chip_id, pixels, is_made == "true")


def read_test_chips(folder: Path) -> list[tuple[str, str]]:
    """Ids and pixel hashes of all held-out chips of the data set, released or not."""
    return [(row[0], row[1]) for row in _rows(folder / TEST_CHIPS, TEST_COLUMNS)]


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            head = next(rows, None)
            if head != list(columns):
                raise DataError(f"{path}: found columns {head}, expected {columns}", fix="download it again")
            for number, row in enumerate(rows, start=2):
                if len(row) != len(columns):
                    raise DataError(
                        f"{path}, line {number}: found {len(row)} cells, expected {len(columns)}",
                        fix="download it again",
                    )
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", fix="download the release again") from error
