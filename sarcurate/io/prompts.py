"""The grammar of prompts: what a chip's manifest row says, in fixed words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from numbers import Real
from typing import Any

from sarcurate.errors import ParamsError

LEAD = "SAR image"


class PromptField(StrEnum):
    """What a prompt may tell after the class, in this order."""

    SENSOR = "sensor"
    BAND = "band"
    SPACING = "spacing"
    POLARISATION = "polarisation"
    INCIDENCE = "incidence"
    AZIMUTH = "azimuth"


def prompt_of(label: str, row: Mapping[str, Any], fields: Sequence[PromptField]) -> str:
    """The prompt of a chip: "SAR image, {class}" as in arXiv:2606.28922, then the fields asked for.

    Unknown values are dropped, never invented. The order is that of :class:`PromptField`.

    Args:
        label: the class.
        row: manifest columns of the chip, or of what is to be drawn.
        fields: which optional parts to tell.

    Raises:
        ParamsError: for an empty class.
    """
    if not label.strip():
        raise ParamsError(
            "a prompt needs a class, found an empty one", fix="give every chip a label and every class a name"
        )
    asked = [_WORDS[field](row) for field in PromptField if field in fields]
    return ", ".join([LEAD, label, *(words for words in asked if words)])


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""


def _number(row: Mapping[str, Any], column: str) -> float | None:
    value = row.get(column)
    # Not a Real: None, a text, or the missing value of pandas, which no comparison survives.
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def _band(row: Mapping[str, Any]) -> str:
    band = _text(row, "band")
    return f"{band} band" if band else ""


def _spacing(row: Mapping[str, Any]) -> str:
    azimuth, range_ = _number(row, "azimuth_spacing_m"), _number(row, "range_spacing_m")
    if azimuth is None or range_ is None:
        return ""
    one, other = _two_digits(azimuth), _two_digits(range_)
    return f"{one} m" if one == other else f"{one} x {other} m"


def _two_digits(value: float) -> str:
    # Rounded first: two digits alone would write 100 as 1e+02.
    return f"{float(f'{value:.2g}'):g}"


def _degrees(column: str, word: str) -> Callable[[Mapping[str, Any]], str]:
    def words(row: Mapping[str, Any]) -> str:
        value = _number(row, column)
        return "" if value is None else f"{word} {value:.0f}"

    return words


_WORDS: dict[PromptField, Callable[[Mapping[str, Any]], str]] = {
    PromptField.SENSOR: lambda row: _text(row, "sensor"),
    PromptField.BAND: _band,
    PromptField.SPACING: _spacing,
    PromptField.POLARISATION: lambda row: _text(row, "polarisation"),
    PromptField.INCIDENCE: _degrees("incidence_deg", "incidence"),
    PromptField.AZIMUTH: _degrees("azimuth_deg", "azimuth"),
}
