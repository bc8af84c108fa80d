"""Checks on the fields of a sensor profile; each error names file, field, value found and value expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sarcurate.errors import ParamsError

CONFIDENCES = ("measured", "published", "inferred", "assumed")


def wrong(file: str, field: str, found: str, expected: str) -> ParamsError:
    """The error for one field."""
    return ParamsError(
        f"sensor profile {file}: {field} is {found}, expected {expected}", fix=f"correct {field} in {file}"
    )


def check_keys(
    file: str, where: str, found: object, expected: set[str], optional: frozenset[str] = frozenset()
) -> Mapping[str, Any]:
    """The mapping itself; ParamsError unless it has all ``expected`` keys and no others but ``optional``."""
    if not isinstance(found, dict):
        raise wrong(file, where, f"a {type(found).__name__}", "a mapping of fields")
    missing = sorted(expected - set(found))
    unknown = sorted(str(key) for key in found if key not in expected | optional)
    for kind, keys in (("missing", missing), ("unknown", unknown)):
        if keys:
            also = f", and if wanted {', '.join(sorted(optional))}" if optional else ""
            raise ParamsError(
                f"sensor profile {file}: {where} has {kind} fields: {', '.join(keys)}; "
                f"expected exactly {', '.join(sorted(expected))}{also}",
                fix=f"{'add' if kind == 'missing' else 'remove or rename'} {', '.join(keys)} in {file}",
            )
    return found


def entry(file: str, field: str, found: object) -> tuple[object, tuple[str, str]]:
    """Value and (source, confidence) of an entry."""
    if not isinstance(found, dict):
        raise wrong(file, field, repr(found), "a mapping with value, source and confidence")
    check_keys(file, field, found, {"value", "source", "confidence"})
    return found["value"], provenance(file, field, found)


def provenance(file: str, field: str, found: Mapping[str, Any]) -> tuple[str, str]:
    """(source, confidence) of an entry."""
    source = text(file, f"{field}.source", found["source"])
    confidence = found["confidence"]
    if confidence not in CONFIDENCES:
        raise wrong(file, f"{field}.confidence", repr(confidence), f"one of {', '.join(CONFIDENCES)}")
    return source, confidence


def text(file: str, field: str, value: object) -> str:
    """A text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise wrong(file, field, repr(value), "a text")
    return value


def number(file: str, field: str, value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise wrong(file, field, repr(value), "a finite number")
    return float(value)


def positive(file: str, field: str, value: object) -> float:
    """A finite number above 0."""
    found = number(file, field, value)
    if found <= 0:
        raise wrong(file, field, repr(value), "a number > 0")
    return found
