"""Sensor profiles: what is known of a sensor, from where, and how surely."""

from __future__ import annotations

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
from sarcurate.io.product_mapping import ProductMapping, parse_mapping
from sarcurate.io.profile_checks import CONFIDENCES, check_keys, entry, number, positive, text, wrong

__all__ = ["CONFIDENCES", "SensorProfile", "list_profiles", "load_profile"]

_ASSETS = "assets/sensors"
_TEXTS = ("name", "description")
T = TypeVar("T")


@dataclass(frozen=True)
class SensorProfile:
    """A sensor's values; None where unknown. ``provenance`` gives (source, confidence) of each value.

    Units stand in the names; ``display_db`` is the sigma0 window of previews, ``looks_nominal`` may be a
    fraction for real products. ``calibration`` says in words how stored numbers become beta0 or sigma0;
    ``product`` is how the operator's GeoTIFF and its side file are read.
    A profile may leave out the last four.
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
    mode: str | None = None
    calibration: str | None = None
    radiometric_accuracy_db: float | None = None
    product: ProductMapping | None = None

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


def _parse(written: str, file: str) -> SensorProfile:
    try:
        content = YAML(typ="safe", pure=True).load(written)
    except YAMLError as error:
        raise ParamsError(
            f"sensor profile {file} is not valid YAML: {error}", fix="correct the YAML"
        ) from error
    if not isinstance(content, dict):
        raise wrong(file, "the file", f"a {type(content).__name__}", "a mapping of fields")
    readers, extra = _readers(), _optional_readers()
    check_keys(file, "the profile", content, {*_TEXTS, "notes", *readers}, frozenset({*extra, "product"}))
    values: dict[str, Any] = {field: text(file, field, content[field]) for field in _TEXTS}
    notes = content["notes"]
    if not isinstance(notes, list):
        raise wrong(file, "notes", repr(notes), "a list of sentences")
    values["notes"] = tuple(text(file, "notes", note) for note in notes)
    provenance: dict[str, tuple[str, str]] = {}
    for field, read in (readers | {name: extra[name] for name in extra if name in content}).items():
        value, provenance[field] = entry(file, field, content[field])
        values[field] = read(file, field, value)
    if "product" in content:
        values["product"] = parse_mapping(file, content["product"])
    return SensorProfile(**values, provenance=provenance)


Reader = Callable[[str, str, Any], Any]


def _readers() -> dict[str, Reader]:
    """How each value is read; null is let through where a value may be unknown."""
    return {
        "band": text,
        "centre_frequency_hz": positive,
        "range_bandwidth_hz": _optional(positive),
        "sampling_frequency_hz": _optional(positive),
        "range_spacing_m": positive,
        "azimuth_spacing_m": positive,
        "range_resolution_m": _optional(positive),
        "azimuth_resolution_m": _optional(positive),
        "looks_nominal": _optional(positive),
        "range_weighting": _optional(_weighting),
        "azimuth_weighting": _optional(_weighting),
        "nesz_db": _optional(number),
        "incidence_deg": _optional(_incidence),
        "display_db": _optional(_window),
    }


def _optional_readers() -> dict[str, Reader]:
    """How the values that a profile may leave out are read."""
    return {
        "mode": _optional(text),
        "calibration": _optional(text),
        "radiometric_accuracy_db": _optional(positive),
    }


def _optional(read: Reader) -> Reader:
    return lambda file, field, value: None if value is None else read(file, field, value)


def _weighting(file: str, field: str, value: object) -> Weighting:
    names = [weighting.value for weighting in Weighting]
    if value not in names:
        raise wrong(file, field, repr(value), f"one of {', '.join(names)}, or null where none of them")
    return Weighting(value)


def _window(file: str, field: str, value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise wrong(file, field, repr(value), "a list of two numbers, the lower first")
    low, high = (number(file, field, item) for item in value)
    if low > high:
        raise wrong(file, field, repr(value), "the lower number first")
    return low, high


def _incidence(file: str, field: str, value: object) -> tuple[float, float]:
    low, high = _window(file, field, value)
    if not (low > 0 and high < 90):
        raise wrong(file, field, repr(value), "angles above 0 and below 90 degrees")
    return low, high
