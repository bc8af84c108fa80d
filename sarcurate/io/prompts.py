"""The grammar of prompts: what a chip's manifest row says, in fixed words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
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
    if value is None or isinstance(value, str) or not math.isfinite(float(value)):
        return None
    return float(value)


def _band(row: Mapping[str, Any]) -> str:
    band = _text(row, "band")
    return f"{band} band" if band else ""


def _spacing(row: Mapping[str, Any]) -> str:
    azimuth, range_ = _number(row, "azimuth_spacing_m"), _number(row, "range_spacing_m")
    if azimuth is None or range_ is None:
        return ""
    one, other = f"{azimuth:.2g}", f"{range_:.2g}"
    return f"{one} m" if one == other else f"{one} x {other} m"


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
