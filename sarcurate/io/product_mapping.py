"""How a profile says where an operator's product keeps things, and the values found there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io.profile_checks import check_keys, entry, number, provenance, text, wrong
from sarcurate.io.side_file import LookUp, parse_path, read_side_file
from sarcurate.io.xml import to_float

POLARISATIONS = ("HH", "HV", "VH", "VV")
CALIBRATIONS = ("beta0_factor", "sigma0_factor", "beta0_constant_db", "sigma0_constant_db")
CORNERS = tuple(f"{corner}_{axis}_deg" for corner in (
    "first_row_first_col", "first_row_last_col", "last_row_first_col", "last_row_last_col"
) for axis in ("latitude", "longitude"))  # fmt: skip
TEXTS: Mapping[str, tuple[str, ...] | None] = {
    "scene_id": None,
    "sensor": None,
    "mode": None,
    "acquired_utc": None,
    "polarisation": POLARISATIONS,
    "orbit_direction": ("ascending", "descending"),
    "look_direction": ("right", "left"),
    "geometry": ("slant", "ground", "map"),
    "radiometry": ("intensity", "amplitude", "beta0", "sigma0", "uint8_relative", "unknown"),
}
NUMBERS = (
    "rows",
    "cols",
    "range_spacing_m",
    "azimuth_spacing_m",
    "incidence_deg",
    "incidence_first_col_deg",
    "incidence_last_col_deg",
    "azimuth_deg",
    "looks_nominal",
    "noise_beta0_db",
    "amplitude_scale",
    *CALIBRATIONS,
    *CORNERS,
)
SAMPLES = ("complex", "iq_bands", "detected", "any")
REQUIRED = ("geometry", "radiometry")


@dataclass(frozen=True)
class FieldSource:
    """Where one value comes from: a ``path`` in the side file, or a fixed ``value``.

    ``factor`` brings a number to the unit of the field, ``choices`` a text to our word for it.
    """

    path: str | None
    value: str | float | None
    factor: float
    choices: Mapping[str, str] | None
    source: str
    confidence: str


@dataclass(frozen=True)
class ProductMapping:
    """The section ``product`` of a sensor profile.

    Attributes:
        kind: product type in words, for people.
        image, side: file patterns below the product folder; ``{polarisation}`` stands for HH, HV, VH or VV
            in either case, in ``side`` also ``{stem}`` for the image's name without suffix.
        samples: ``complex``, ``iq_bands`` (I and Q as two real bands), ``detected`` or ``any`` of these.
        fields: by name, any of ``TEXTS`` and ``NUMBERS``; at least ``REQUIRED``.
        provenance: (source, confidence) of image, side and samples.
    """

    kind: str
    image: str
    side: str | None
    samples: str
    fields: Mapping[str, FieldSource]
    provenance: Mapping[str, tuple[str, str]]

    def assumed(self) -> list[str]:
        """Names of everything here that is only assumed."""
        stated = {name: sure for name, (_, sure) in self.provenance.items()}
        stated |= {name: field.confidence for name, field in self.fields.items()}
        return [name for name, confidence in stated.items() if confidence == "assumed"]


def parse_mapping(file: str, content: object) -> ProductMapping:
    """The mapping written in a profile ``file``.

    Raises:
        ParamsError: unknown, missing or contradicting keys, and values that cannot be.
    """
    where = "product"
    found = check_keys(file, where, content, {"kind", "image", "side", "samples", "fields"})
    values, provenance_of = {}, {}
    for key in ("image", "side", "samples"):
        values[key], provenance_of[key] = entry(file, f"{where}.{key}", found[key])
    image = _pattern(file, f"{where}.image", values["image"])
    side = None if values["side"] is None else _pattern(file, f"{where}.side", values["side"])
    if values["samples"] not in SAMPLES:
        raise wrong(file, f"{where}.samples", repr(values["samples"]), f"one of {', '.join(SAMPLES)}")
    if not isinstance(found["fields"], dict):
        raise wrong(file, f"{where}.fields", repr(found["fields"]), "a mapping of fields")
    check_keys(file, f"{where}.fields", found["fields"], set(REQUIRED), frozenset({*TEXTS, *NUMBERS}))
    fields = {name: _field(file, name, value, side is None) for name, value in found["fields"].items()}
    _check_together(file, fields)
    kind = text(file, f"{where}.kind", found["kind"])
    return ProductMapping(kind, image, side, str(values["samples"]), fields, provenance_of)


def side_values(
    mapping: ProductMapping, side: Path | None, polarisation: str | None, profile: str
) -> dict[str, str | float]:
    """Every mapped value of a product, in our words and units.

    Args:
        mapping: from the profile called ``profile``.
        side: the XML or JSON side file; None where the mapping needs none.
        polarisation: replaces ``{polarisation}`` in paths.
        profile: its name, for messages.

    Raises:
        DataError: where a path is absent or ambiguous, or a value is not what its field can be; it names
            profile, field, file and path.
    """
    look_up: LookUp = (lambda wanted: []) if side is None else read_side_file(side)
    return {
        name: _value(name, field, look_up, polarisation, f"{side}: profile {profile}, field {name}")
        for name, field in mapping.fields.items()
    }


def _pattern(file: str, field: str, value: object) -> str:
    pattern = text(file, field, value)
    parts = pattern.split("/")
    bad = any(part in ("", ".", "..") or "**" in part for part in parts) or "\\" in pattern
    if bad or set(re.findall(r"\{[^}]*\}", pattern)) - {"{polarisation}", "{stem}"}:
        raise wrong(
            file, field, repr(pattern), "a pattern below the product folder with *, {polarisation} or {stem}"
        )
    return pattern


def _field(file: str, name: str, content: object, no_side: bool) -> FieldSource:
    where = f"product.fields.{name}"
    if not isinstance(content, dict) or ("path" in content) == ("value" in content):
        raise wrong(file, where, repr(content), "a mapping with either path or value, source and confidence")
    key = "path" if "path" in content else "value"
    extra = {"factor"} if name in NUMBERS else {"map"}
    check_keys(file, where, content, {key, "source", "confidence"}, frozenset(extra if key == "path" else ()))
    source, confidence = provenance(file, where, content)
    factor = number(file, f"{where}.factor", content.get("factor", 1.0))
    if factor == 0:
        raise wrong(file, f"{where}.factor", "0", "another number")
    if key == "value":
        return FieldSource(None, _fixed(file, where, name, content[key]), factor, None, source, confidence)
    if no_side:
        raise wrong(file, where, "a path", "a value, since product.side is null")
    path = text(file, f"{where}.path", content["path"])
    if parse_path(path) is None:
        raise wrong(file, f"{where}.path", repr(path), "names joined by /, as in a/b[2]/c or a/b@c")
    return FieldSource(path, None, factor, _choices(file, where, name, content), source, confidence)


def _fixed(file: str, where: str, name: str, value: object) -> str | float:
    if name in NUMBERS:
        return number(file, f"{where}.value", value)
    known = TEXTS[name]
    found = text(file, f"{where}.value", value)
    if known is not None and found not in known:
        raise wrong(file, f"{where}.value", repr(found), f"one of {', '.join(known)}")
    return found


def _choices(file: str, where: str, name: str, content: Mapping[str, Any]) -> Mapping[str, str] | None:
    if "map" not in content:
        return None
    found = content["map"]
    if not isinstance(found, dict) or not found:
        raise wrong(file, f"{where}.map", repr(found), "a mapping from the product's words to ours")
    return {str(theirs): str(_fixed(file, f"{where}.map", name, ours)) for theirs, ours in found.items()}


def _check_together(file: str, fields: Mapping[str, FieldSource]) -> None:
    factors = [name for name in CALIBRATIONS if name in fields]
    if len({name.partition("_")[0] for name in factors}) != len(factors):
        raise wrong(file, "product.fields", " and ".join(factors), "one each for beta0 and sigma0")
    if "amplitude_scale" in fields and not factors:
        raise wrong(file, "product.fields", "amplitude_scale alone", f"one of {', '.join(CALIBRATIONS)} too")
    for group in (("incidence_first_col_deg", "incidence_last_col_deg"), CORNERS):
        there = [name for name in group if name in fields]
        if there and len(there) != len(group):
            raise wrong(file, "product.fields", ", ".join(there), f"all of {', '.join(group)} or none")
    if "incidence_deg" in fields and "incidence_first_col_deg" in fields:
        raise wrong(file, "product.fields", "incidence given twice", "one value, or first and last column")


def _value(
    name: str, field: FieldSource, look_up: LookUp, polarisation: str | None, where: str
) -> str | float:
    if field.path is None:
        assert field.value is not None
        return field.value
    path = field.path.replace("{polarisation}", polarisation or "")
    where = f"{where}, path {path}"
    fix = f"correct product.fields.{name} in the profile, or take it out where the product has no such value"
    wanted = parse_path(path)
    found = look_up(wanted) if wanted else []
    if len(found) != 1:
        what = "is absent or empty" if not found else f"leads to {len(found)} values"
        raise DataError(f"{where}: {what}, expected one value", fix=fix)
    if name in NUMBERS:
        return to_float(found[0], where) * field.factor
    return _word(found[0], name, field.choices, where, fix)


def _word(found: str, name: str, choices: Mapping[str, str] | None, where: str, fix: str) -> str:
    known = tuple(choices) if choices is not None else TEXTS[name]
    if known is not None and found not in known:
        raise DataError(f"{where}: found {found[:80]!r}, expected one of {', '.join(known)}", fix=fix)
    return choices[found] if choices is not None else found
