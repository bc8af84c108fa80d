"""Sensor profiles: what is known of a sensor, from where, and how surely."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sarcurate.core.impulse_response import Weighting
from sarcurate.core.sensor_model import SensorModel
from sarcurate.errors import ParamsError

CONFIDENCES = ("measured", "published", "inferred", "assumed")
_ASSETS = "assets/sensors"
_TEXTS = ("name", "description")
T = TypeVar("T")


@dataclass(frozen=True)
class SensorProfile:
    """A sensor's values; None where unknown. ``provenance`` gives (source, confidence) of each value.

    Units stand in the names; ``display_db`` is the sigma0 window of previews, ``looks_nominal`` may be a
    fraction for real products.
    """

    name: str
    description: str
    notes: tuple[str, ...]
    band: str
    centre_frequency_hz: float
    range_bandwidth_hz: float | None
    sampling_frequency_hz: float | None
    range_spacing_m: float
    azimuth_spacing_m: float
    range_resolution_m: float | None
    azimuth_resolution_m: float | None
    looks_nominal: float | None
    range_weighting: Weighting | None
    azimuth_weighting: Weighting | None
    nesz_db: float | None
    incidence_deg: tuple[float, float] | None
    display_db: tuple[float, float] | None
    provenance: Mapping[str, tuple[str, str]]

    def sensor_model(self) -> SensorModel:
        """The numbers that a simulation needs.

        Raises:
            ParamsError: where one of them is unknown, or looks are not whole.
        """
        return SensorModel(
            centre_frequency_hz=self.centre_frequency_hz,
            range_spacing_m=self.range_spacing_m,
            azimuth_spacing_m=self.azimuth_spacing_m,
            range_resolution_m=self._known("range_resolution_m", self.range_resolution_m),
            azimuth_resolution_m=self._known("azimuth_resolution_m", self.azimuth_resolution_m),
            looks=self._whole_looks(),
            range_weighting=self._known("range_weighting", self.range_weighting),
            azimuth_weighting=self._known("azimuth_weighting", self.azimuth_weighting),
            nesz_db=self._known("nesz_db", self.nesz_db),
        )

    def _known(self, field: str, value: T | None) -> T:
        if value is None:
            raise ParamsError(
                f"sensor profile {self.name}: {field} is unknown (null), expected a value to simulate with",
                fix=f"simulate with a profile that has {field}, or add it to a profile of your own",
            )
        return value

    def _whole_looks(self) -> int:
        looks = self._known("looks_nominal", self.looks_nominal)
        if looks != round(looks):
            raise ParamsError(
                f"sensor profile {self.name}: looks_nominal is {looks}, expected a whole number "
                "to simulate with",
                fix="round looks_nominal in a profile of your own",
            )
        return round(looks)


def list_profiles() -> list[str]:
    """Names of the packaged profiles, sorted."""
    folder = files("sarcurate").joinpath(_ASSETS)
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_profile(name_or_path: str) -> SensorProfile:
    """A packaged profile by its name, or a profile from a YAML file.

    Args:
        name_or_path: such as ``terrasarx-sim``; anything ending in .yaml or .yml is a path.

    Raises:
        ParamsError: where the profile or its file is missing, a field is missing or unknown, or a value,
            source or confidence is not what it should be.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not path.is_file():
            raise ParamsError(
                f"there is no sensor profile {name_or_path}, expected a YAML file",
                fix=f"correct the path, or use a packaged profile: {', '.join(list_profiles())}",
            )
        return _parse(path.read_text(encoding="utf-8"), name_or_path)
    if name_or_path not in list_profiles():
        raise ParamsError(
            f"no packaged sensor profile is called {name_or_path!r}; "
            f"expected one of {', '.join(list_profiles())}",
            fix="use one of these names, or the path of a .yaml file",
        )
    file = f"{name_or_path}.yaml"
    return _parse(files("sarcurate").joinpath(_ASSETS, file).read_text(encoding="utf-8"), file)


def _parse(text: str, file: str) -> SensorProfile:
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ParamsError(
            f"sensor profile {file} is not valid YAML: {error}", fix="correct the YAML"
        ) from error
    if not isinstance(content, dict):
        raise _wrong(file, "the file", f"a {type(content).__name__}", "a mapping of fields")
    readers = _readers()
    _check_keys(file, "the profile", content, {*_TEXTS, "notes", *readers})
    values: dict[str, Any] = {field: _text(file, field, content[field]) for field in _TEXTS}
    notes = content["notes"]
    if not isinstance(notes, list):
        raise _wrong(file, "notes", repr(notes), "a list of sentences")
    values["notes"] = tuple(_text(file, "notes", note) for note in notes)
    provenance: dict[str, tuple[str, str]] = {}
    for field, read in readers.items():
        value, provenance[field] = _entry(file, field, content[field])
        values[field] = read(file, field, value)
    return SensorProfile(**values, provenance=provenance)


Reader = Callable[[str, str, Any], Any]


def _readers() -> dict[str, Reader]:
    """How each value is read; null is let through where a value may be unknown."""
    return {
        "band": _text,
        "centre_frequency_hz": _positive,
        "range_bandwidth_hz": _optional(_positive),
        "sampling_frequency_hz": _optional(_positive),
        "range_spacing_m": _positive,
        "azimuth_spacing_m": _positive,
        "range_resolution_m": _optional(_positive),
        "azimuth_resolution_m": _optional(_positive),
        "looks_nominal": _optional(_positive),
        "range_weighting": _optional(_weighting),
        "azimuth_weighting": _optional(_weighting),
        "nesz_db": _optional(_number),
        "incidence_deg": _optional(_incidence),
        "display_db": _optional(_window),
    }


def _wrong(file: str, field: str, found: str, expected: str) -> ParamsError:
    return ParamsError(
        f"sensor profile {file}: {field} is {found}, expected {expected}", fix=f"correct {field} in {file}"
    )


def _check_keys(file: str, where: str, found: Mapping[Any, Any], expected: set[str]) -> None:
    missing = sorted(expected - set(found))
    unknown = sorted(str(key) for key in found if key not in expected)
    for kind, keys in (("missing", missing), ("unknown", unknown)):
        if keys:
            raise ParamsError(
                f"sensor profile {file}: {where} has {kind} fields: {', '.join(keys)}; "
                f"expected exactly {', '.join(sorted(expected))}",
                fix=f"{'add' if kind == 'missing' else 'remove or rename'} {', '.join(keys)} in {file}",
            )


def _entry(file: str, field: str, entry: object) -> tuple[object, tuple[str, str]]:
    if not isinstance(entry, dict):
        raise _wrong(file, field, repr(entry), "a mapping with value, source and confidence")
    _check_keys(file, field, entry, {"value", "source", "confidence"})
    source = _text(file, f"{field}.source", entry["source"])
    confidence = entry["confidence"]
    if confidence not in CONFIDENCES:
        raise _wrong(file, f"{field}.confidence", repr(confidence), f"one of {', '.join(CONFIDENCES)}")
    return entry["value"], (source, confidence)


def _optional(read: Reader) -> Reader:
    return lambda file, field, value: None if value is None else read(file, field, value)


def _text(file: str, field: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(file, field, repr(value), "a text")
    return value


def _number(file: str, field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(file, field, repr(value), "a finite number")
    return float(value)


def _positive(file: str, field: str, value: object) -> float:
    number = _number(file, field, value)
    if number <= 0:
        raise _wrong(file, field, repr(value), "a number > 0")
    return number


def _weighting(file: str, field: str, value: object) -> Weighting:
    names = [weighting.value for weighting in Weighting]
    if value not in names:
        raise _wrong(file, field, repr(value), f"one of {', '.join(names)}, or null where none of them")
    return Weighting(value)


def _window(file: str, field: str, value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise _wrong(file, field, repr(value), "a list of two numbers, the lower first")
    low, high = (_number(file, field, item) for item in value)
    if low > high:
        raise _wrong(file, field, repr(value), "the lower number first")
    return low, high


def _incidence(file: str, field: str, value: object) -> tuple[float, float]:
    low, high = _window(file, field, value)
    if not (low > 0 and high < 90):
        raise _wrong(file, field, repr(value), "angles above 0 and below 90 degrees")
    return low, high
