"""Public sets: what each one is, and reading a verified local mirror of it."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.safe import read_bounded, resolve_inside, sha256_file
from sarcurate.io.sources import check_labels, did_you_mean

_STRICT = ConfigDict(extra="forbid", strict=True)
_MAX_TEXT_BYTES = 64 << 20
Conversion = Literal["none", "complex_npy_to_iq_int16", "jpeg_to_centre_crop_128_png"]
# manifest column -> ours; a set's manifest has some of them
_COLUMNS = {"scene": "scene_id", "polarisation": "polarisation", "row": "first_row_px", "col": "first_col_px"}


@dataclass(frozen=True)
class ColumnGroups:
    """Chips with the same value in ``column`` of the set's manifest belong together."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    column: str


@dataclass(frozen=True)
class NumberBlocks:
    """Chips whose number in the file name (group 1 of ``pattern``) falls in one block of ``size`` do."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    pattern: str
    size: int


@dataclass(frozen=True)
class NoGroups:
    """Nothing says which chips belong together: each is its own group, and ``warning`` says the danger."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    warning: str


@dataclass(frozen=True)
class Origin:
    """Where the original files of a domain are, and how the mirror's files are made from them.

    The original of ``<domain>/<class>/<name>.<any>`` is ``<base_url>/<folders[class]>/<name><suffix>``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    base_url: str
    folders: dict[str, str]
    suffix: str
    conversion: Conversion


@dataclass(frozen=True)
class Domain:
    """One sensor's part of a set; ``sensor`` names a sensor profile.

    ``measured`` is False where a sensor model made the chips; their origin is then ``simulated``.
    ``polarisation`` is for manifests without that column; None where it is not known.
    ``origin`` is None where no public repository holds the chips.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    sensor: str
    measured: bool
    band: str
    polarisation: str | None
    classes: tuple[str, ...]
    origin: Origin | None


@dataclass(frozen=True)
class SetDescriptor:
    """What there is to know about a public set before reading it.

    ``base_url`` is a place that serves the mirror's layout, None where no public one is known; then chips
    come from the domains' origins. ``fetch_note`` says what of that was tried and what cannot be had.
    ``traps`` are sentences a user must know.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: str
    title: str
    citation: str
    licence: str
    terms: str
    source_url: str
    manifest: str
    sums: str
    sums_sha256: str
    base_url: str | None
    fetch_note: str
    domains: dict[str, Domain]
    pixels: Literal["iq", "amplitude_uint8"]
    radiometry: Radiometry
    groups: ColumnGroups | NumberBlocks | NoGroups
    traps: tuple[str, ...]


def set_names() -> list[str]:
    """Names of the sets that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _assets().iterdir() if entry.is_file())


def load_set(name: str) -> SetDescriptor:
    """The descriptor of a set by name; DataError with the nearest spelling where there is none."""
    if name not in set_names():
        fix = f"{did_you_mean(name, set_names())}choose one of {', '.join(set_names())}"
        raise DataError(f"public set {name!r} is unknown", fix=fix)
    with resources.as_file(_assets() / f"{name}.yaml") as path:
        return read_descriptor(path)


def read_descriptor(path: Path) -> SetDescriptor:
    """A descriptor from its YAML file; DataError naming the field for anything missing, unknown or odd."""
    try:
        raw = YAML(typ="safe", pure=True).load(read_bounded(path, _MAX_TEXT_BYTES).decode())
        # through JSON: only there does pydantic's strict mode take a list for a tuple
        found = TypeAdapter(SetDescriptor).validate_json(json.dumps(raw))
    except (YAMLError, UnicodeDecodeError, TypeError, ValidationError) as error:
        raise DataError(
            f"{path}: not a set descriptor: {error}", fix="compare with a set of the package"
        ) from error
    if found.name != path.stem or not re.fullmatch("[0-9a-f]{64}", found.sums_sha256):
        fix = "name the file after the set, and give sums_sha256 as 64 hexadecimal digits"
        raise DataError(f"{path}: found name {found.name!r} and sums_sha256 {found.sums_sha256!r}", fix=fix)
    for name, domain in found.domains.items():
        if domain.origin is not None and set(domain.origin.folders) != set(domain.classes):
            fix = f"give one folder for each of {list(domain.classes)}"
            raise DataError(
                f"{path}: domain {name} has origin folders {list(domain.origin.folders)}", fix=fix
            )
    return found


def read_set(descriptor: SetDescriptor, mirror: Path, domain: str, classes: Sequence[str]) -> pd.DataFrame:
    """One row per chip of ``domain`` with a label in ``classes``, every file's SHA-256 verified.

    Returns:
        Columns path (below ``mirror/<set>``), label, group_id, scene_id, sensor (profile name), band,
        polarisation, first_row_px, first_col_px, licence; sorted by path; missing where not known.

    Raises:
        DataError: no mirror, another domain or class, a file missing, changed or in no sums file.
    """
    root = mirror / descriptor.name
    if domain not in descriptor.domains:
        fix = f"{did_you_mean(domain, list(descriptor.domains))}choose one of {list(descriptor.domains)}"
        raise DataError(f"set {descriptor.name} has no domain {domain!r}", fix=fix)
    sums = read_sums(descriptor, root)
    table = read_table(descriptor, root, sums)
    table = table[(table["domain"] == domain) & table["class"].isin(classes)]
    table = table.sort_values("path", ignore_index=True)
    check_labels(table["class"].tolist(), classes, f"set {descriptor.name}, domain {domain}")
    _check_presence(descriptor, root, domain, table["path"].tolist())
    for path in table["path"]:
        verify(root, path, sums)
    return _rows(descriptor, domain, table)


def packaged_lists(name: str) -> resources.abc.Traversable:
    """The package's folder with a set's manifest and sums file, each as ``<file>.gz``."""
    return _assets() / name


def read_sums(descriptor: SetDescriptor, root: Path) -> dict[str, str]:
    """Path -> SHA-256 of the sums file below ``root``, which itself must be the descriptor's."""
    name = descriptor.name
    if not (root / descriptor.sums).is_file():
        fix = f"set SARCURATE_MIRROR or run `sarcurate fetch {name}`"
        raise DataError(f"public set {name} is not mirrored: {root / descriptor.sums} is missing", fix=fix)
    verify(root, descriptor.sums, {descriptor.sums: descriptor.sums_sha256})
    sums: dict[str, str] = {}
    for line in read_bounded(root / descriptor.sums, _MAX_TEXT_BYTES).decode().splitlines():
        match = re.fullmatch("([0-9a-f]{64})  (.+)", line)
        if match is None or match[2] in sums:
            fix = "make the file with sha256sum"
            raise DataError(f"{root / descriptor.sums}: line {line!r} is odd or repeated", fix=fix)
        resolve_inside(root, match[2])
        sums[match[2]] = match[1]
    return sums


def read_table(descriptor: SetDescriptor, root: Path, sums: dict[str, str]) -> pd.DataFrame:
    """The set's manifest as text columns, verified; DataError where a needed column is missing."""
    verify(root, descriptor.manifest, sums)
    table = pd.read_csv(root / descriptor.manifest, dtype="str", keep_default_na=False, na_values=[""])
    wanted = {"path", "domain", "class"} | {getattr(descriptor.groups, "column", "path")}
    if not wanted <= set(table.columns):
        lacking = sorted(wanted - set(table.columns))
        fix = "correct the manifest or the descriptor's groups"
        raise DataError(f"{root / descriptor.manifest} lacks columns {lacking}", fix=fix)
    return table


def verify(root: Path, path: str, sums: dict[str, str]) -> None:
    """Raise DataError unless the file ``path`` below ``root`` is listed and has its SHA-256."""
    if path not in sums:
        raise DataError(f"{root / path} is in no sums file", fix="remove it or fetch the set again")
    found = sha256_file(resolve_inside(root, path))
    if found != sums[path]:
        fix = f"the file was changed or damaged: remove it and run `sarcurate fetch {root.name}`"
        raise DataError(f"{root / path}: found SHA-256 {found}, expected {sums[path]}", fix=fix)


def _assets() -> resources.abc.Traversable:
    return resources.files("sarcurate") / "assets" / "sets"


def _check_presence(descriptor: SetDescriptor, root: Path, domain: str, paths: list[str]) -> None:
    missing = [path for path in paths if not resolve_inside(root, path).is_file()]
    if missing:
        fix = f"run `sarcurate fetch {descriptor.name}`"
        if descriptor.domains[domain].origin is None:
            fix = f"copy them from another mirror: {descriptor.fetch_note}"
        problem = f"{len(missing)} of {len(paths)} chips of domain {domain} are missing, first {missing[0]}"
        raise DataError(f"{root}: {problem}", fix=fix)


def _rows(descriptor: SetDescriptor, domain: str, table: pd.DataFrame) -> pd.DataFrame:
    part = descriptor.domains[domain]
    text = pd.Series([None] * len(table), dtype="str")
    known = {ours: table[theirs] for theirs, ours in _COLUMNS.items() if theirs in table.columns}
    return pd.DataFrame(
        {
            "path": table["path"],
            "label": table["class"],
            "group_id": [_group(descriptor, domain, row) for row in table.to_dict("records")],
            "scene_id": known.get("scene_id", text),
            "sensor": part.sensor,
            "band": part.band,
            "polarisation": known.get(
                "polarisation", text.fillna(part.polarisation) if part.polarisation else text
            ),
            "first_row_px": pd.to_numeric(known.get("first_row_px", text)).astype("Int64"),
            "first_col_px": pd.to_numeric(known.get("first_col_px", text)).astype("Int64"),
            "licence": descriptor.licence,
        }
    )


def _group(descriptor: SetDescriptor, domain: str, row: dict[Hashable, str]) -> str:
    match descriptor.groups:
        case ColumnGroups(column):
            return f"{domain}/{row[column]}"
        case NumberBlocks(pattern, size):
            found = re.fullmatch(pattern, Path(row["path"]).stem)
            if found is None:
                fix = "correct the pattern in the set's descriptor"
                raise DataError(f"{row['path']}: the name does not match {pattern!r}", fix=fix)
            return f"{domain}/{int(found[1]) // size * size}"
        case NoGroups():
            return row["path"]
