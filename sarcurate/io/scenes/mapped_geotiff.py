"""An operator's product of GeoTIFF and side file, read through the mapping in a sensor profile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.tie_grid import TieGrid
from sarcurate.errors import DataError
from sarcurate.io.product_mapping import CALIBRATIONS, CORNERS, ProductMapping, side_values
from sarcurate.io.scenes.map_positions import map_positions
from sarcurate.io.scenes.product_files import (
    choose_image,
    image_polarisations,
    mapping_of,
    product_root,
    side_file,
)
from sarcurate.io.scenes.scene import Facts, Geometry, Scene
from sarcurate.io.scenes.scene_raster import RasterFile, RasterPixels, open_raster
from sarcurate.io.sensors import SensorProfile

Values = Mapping[str, str | float]


def open_mapped(path: Path, profile: SensorProfile, polarisation: str | None = None) -> Scene:
    """A product of GeoTIFF and side file, read as the profile's section ``product`` says.

    Args:
        path: product folder, one of its images, or its side file.
        profile: names patterns, paths, units and calibration; values that it does not map come from the
            profile itself, with a warning.
        polarisation: which image, where there are several.

    Raises:
        DataError: missing or ambiguous files, links out of the folder, an absent or wrong value (it names
            profile, field, file and path), an image of another size or type than said.
    """
    mapping = mapping_of(profile)
    images = image_polarisations(path, profile)
    chosen = choose_image(images, polarisation, path)
    image = images[chosen]
    side = side_file(product_root(path, mapping, profile.name), image, chosen, mapping, profile.name)
    values = side_values(mapping, side, chosen or polarisation, profile.name)
    _check_polarisation(values, chosen or polarisation, path)
    raster = open_raster(image)
    try:
        iq_bands = _iq_bands(raster, mapping.samples, profile.name)
        _check_size(raster, values)
        facts = _mapped_facts(raster, iq_bands, mapping, values, profile, chosen or polarisation)
    except DataError:
        raster.dataset.close()
        raise
    files = (image,) if side is None else (image, side)
    return Scene(path, raster.shape, facts, RasterPixels(raster, iq_bands=iq_bands), files)


def _check_polarisation(values: Values, wanted: str | None, path: Path) -> None:
    found = values.get("polarisation")
    if wanted and found and found != wanted.upper():
        raise DataError(
            f"{path}: the side file says polarisation {found}, but name or request say {wanted.upper()}",
            fix="check product.side and the path of polarisation in the profile",
        )


def _iq_bands(raster: RasterFile, samples: str, profile: str) -> bool:
    """Whether two bands are I and Q; DataError where the file is not what the mapping says."""
    kind = "complex" if raster.is_complex else "detected"
    kind = "iq_bands" if raster.bands == 2 and not raster.is_complex else kind
    fits = (raster.bands == 2) == (kind == "iq_bands") and samples in (kind, "any")
    if not fits:
        raise DataError(
            f"{raster.path}: found {raster.bands} band(s) of {raster.data_type}, expected {samples} samples "
            f"(sensor profile: {profile})",
            fix="two bands holding I and Q need product.samples iq_bands in the profile, see docs/products",
        )
    return kind == "iq_bands"


def _check_size(raster: RasterFile, values: Values) -> None:
    said = (values.get("rows", raster.shape[0]), values.get("cols", raster.shape[1]))
    if said != raster.shape:
        raise DataError(
            f"{raster.path}: {raster.shape[0]} x {raster.shape[1]} px, but the side file says "
            f"{said[0]:g} x {said[1]:g}",
            fix="check that image and side file belong together; rows are azimuth, columns range",
        )


def _mapped_facts(
    raster: RasterFile,
    iq_bands: bool,
    mapping: ProductMapping,
    values: Values,
    profile: SensorProfile,
    polarisation: str | None,
) -> Facts:
    where = f"{raster.path}: profile {profile.name}"
    is_complex = iq_bands or raster.is_complex
    spacing = {
        name: _bounded(values, name, 1e-3, 1e4, where) or getattr(profile, name)
        for name in ("range_spacing_m", "azimuth_spacing_m")
    }
    noise_db = _bounded(values, "noise_beta0_db", -100, 50, where)
    latitude, longitude = _positions(raster, values, where)
    return Facts(
        kind=f"{mapping.kind} ({'SLC' if is_complex else 'detected'})",
        scene_id=_text(values, "scene_id") or raster.path.stem,
        pixel_type=f"complex {raster.pixel_type} (I and Q bands)" if iq_bands else raster.pixel_type,
        geometry=Geometry(str(values["geometry"])),
        radiometry=Radiometry.INTENSITY if is_complex else Radiometry(str(values["radiometry"])),
        sensor=_text(values, "sensor") or profile.name,
        band=profile.band,
        mode=_text(values, "mode") or profile.mode,
        polarisation=_text(values, "polarisation") or (polarisation.upper() if polarisation else None),
        **spacing,
        beta0_factor=_factor(values, "beta0", where),
        sigma0_factor=_factor(values, "sigma0", where),
        incidence_deg=_incidence(values, raster.shape, where),
        latitude_deg=latitude,
        longitude_deg=longitude,
        noise_beta0=None if noise_db is None else 10 ** (noise_db / 10),
        azimuth_deg=_bounded(values, "azimuth_deg", -360, 360, where),
        look_direction=_text(values, "look_direction"),
        orbit_direction=_text(values, "orbit_direction"),
        acquired_utc=_utc(values, where),
        looks_nominal=_bounded(values, "looks_nominal", 0.1, 1e4, where) or (1.0 if is_complex else None),
        warnings=tuple(_warnings(mapping, values, profile)),
    )


def _warnings(mapping: ProductMapping, values: Values, profile: SensorProfile) -> list[str]:
    assumed, missing = (
        mapping.assumed(),
        [n for n in ("range_spacing_m", "azimuth_spacing_m") if n not in values],
    )
    said = [f"profile {profile.name}: assumed, confirmed by nobody: {', '.join(assumed)}"] if assumed else []
    said += [f"{name} is the profile's {getattr(profile, name):g}: it is not mapped" for name in missing]
    if not any(name in values for name in CALIBRATIONS):
        said.append("no calibration is mapped: beta0 and sigma0 cannot be reached")
    if "scene_id" not in values:
        said.append("scene_id is the file name, as it is not mapped: images of one pass do not share it")
    return said


def _positions(raster: RasterFile, values: Values, where: str) -> tuple[TieGrid, TieGrid] | tuple[None, None]:
    if CORNERS[0] not in values:
        return map_positions(raster) if raster.transform is not None and raster.crs else (None, None)
    latitude = _corner_grid(values, raster.shape, "latitude", 90.0, where)
    longitude = _corner_grid(values, raster.shape, "longitude", 180.0, where)
    return (latitude, longitude) if latitude and longitude else (None, None)


def _text(values: Values, name: str) -> str | None:
    return str(values[name]) if name in values else None


def _bounded(values: Values, name: str, low: float, high: float, where: str) -> float | None:
    if name not in values:
        return None
    value = float(values[name])
    if not low <= value <= high:
        raise DataError(
            f"{where}: {name} is {value:g}, expected {low:g} to {high:g}",
            fix=f"check path and factor of product.fields.{name} in the profile",
        )
    return value


def _factor(values: Values, quantity: str, where: str) -> float | None:
    """Linear factor on |DN|^2: as given, or 10^(-K/10) of a constant K in dB, times amplitude_scale^2."""
    names = [name for name in CALIBRATIONS if name.startswith(quantity) and name in values]
    if not names:
        return None
    given = float(values[names[0]])
    scale = float(values.get("amplitude_scale", 1.0))
    is_constant = names[0].endswith("_constant_db")
    factor = np.nan if is_constant and abs(given) > 300 else 10 ** (-given / 10) if is_constant else given
    result = factor * scale * scale
    if not (np.isfinite(result) and result > 0):
        raise DataError(
            f"{where}: {names[0]} is {given:g} and amplitude_scale {scale:g}, which is no calibration",
            fix=f"check path and unit of product.fields.{names[0]}; take it out where products have none",
        )
    return float(result)


def _incidence(values: Values, shape: tuple[int, int], where: str) -> TieGrid | None:
    middle = _bounded(values, "incidence_deg", 1, 89, where)
    if middle is not None:
        return TieGrid.constant(middle)
    ends = [_bounded(values, f"incidence_{end}_col_deg", 1, 89, where) for end in ("first", "last")]
    if None in ends or shape[1] < 2:
        return None
    return TieGrid(np.zeros(1), np.array([0.0, shape[1] - 1.0]), np.array([ends], dtype=np.float64))


def _corner_grid(
    values: Values, shape: tuple[int, int], axis: str, most: float, where: str
) -> TieGrid | None:
    names = [name for name in CORNERS if f"_{axis}_" in name]
    corners = [_bounded(values, name, -most, most, where) for name in names]
    if None in corners or min(shape) < 2:
        return None
    grid = np.array(corners, dtype=np.float64).reshape(2, 2)
    if np.ptp(grid) > 180:  # across the date line: counted on past 180
        grid = np.where(grid < 0, grid + 360, grid)
    return TieGrid(np.array([0.0, shape[0] - 1.0]), np.array([0.0, shape[1] - 1.0]), grid)


def _utc(values: Values, where: str) -> str | None:
    if "acquired_utc" not in values:
        return None
    found = str(values["acquired_utc"])
    try:
        time = datetime.fromisoformat(found)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # overflow: beside year 1 or 9999 in another zone
        raise DataError(
            f"{where}: acquired_utc is {found[:40]!r}, expected ISO 8601 such as 2024-05-31T12:34:56Z",
            fix="check the path of product.fields.acquired_utc",
        ) from error
    return time.isoformat().replace("+00:00", "Z")
