"""A GeoTIFF, PNG or JPEG without a side file."""

from __future__ import annotations

from pathlib import Path

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.scenes.map_positions import map_positions, map_spacing
from sarcurate.io.scenes.scene import Facts, Geometry, Scene
from sarcurate.io.scenes.scene_raster import RasterFile, RasterPixels, open_raster
from sarcurate.io.sensors import SensorProfile


def open_plain(path: Path, profile: SensorProfile | None = None, polarisation: str | None = None) -> Scene:
    """A GeoTIFF, PNG or JPEG without a side file: what it does not hold is the profile's, or unknown.

    Raises:
        DataError: as :func:`open_raster`, and for two bands, whose meaning only a mapping can say.
    """
    raster = open_raster(path)
    try:
        if raster.bands != 1:
            raise DataError(
                f"{path}: found {raster.bands} bands of {raster.data_type}, expected one",
                fix="where they are I and Q, say so by product.samples iq_bands in a sensor profile",
            )
        facts = _plain_facts(raster, profile, polarisation)
    except DataError:
        raster.dataset.close()
        raise
    return Scene(path, raster.shape, facts, RasterPixels(raster, iq_bands=False), (path,))


def _plain_facts(raster: RasterFile, profile: SensorProfile | None, polarisation: str | None) -> Facts:
    on_map = raster.transform is not None and raster.crs is not None
    spacing = map_spacing(raster) if on_map else None
    latitude, longitude = map_positions(raster) if on_map else (None, None)
    warnings = ["no side file: calibration, incidence, time and directions are not known"]
    if not on_map:
        warnings.append("the file has no map projection; slant range is assumed, rows azimuth, columns range")
    if spacing is None and profile is not None:
        spacing = (profile.azimuth_spacing_m, profile.range_spacing_m)
        warnings.append(f"spacing is that of profile {profile.name}")
    if spacing is None:
        warnings.append("spacing is not known: name a sensor profile")
    if raster.nodata is not None:
        warnings.append(f"the header declares {raster.nodata:g} as nodata; it is read like any other value")
    radiometry = _plain_radiometry(raster)
    if radiometry.is_relative:
        warnings.append("what a pixel value means is not known: statistics of it are relative")
    return Facts(
        kind={"GTiff": "plain GeoTIFF"}.get(raster.driver, f"{raster.driver} picture"),
        scene_id=raster.path.stem,
        pixel_type=raster.pixel_type,
        geometry=Geometry.MAP if on_map else Geometry.SLANT,
        radiometry=radiometry,
        sensor=profile.name if profile else None,
        band=profile.band if profile else None,
        mode=profile.mode if profile else None,
        polarisation=polarisation.upper() if polarisation else None,
        range_spacing_m=spacing[1] if spacing else None,
        azimuth_spacing_m=spacing[0] if spacing else None,
        latitude_deg=latitude,
        longitude_deg=longitude,
        looks_nominal=1.0 if raster.is_complex else (profile.looks_nominal if profile else None),
        warnings=tuple(warnings),
    )


def _plain_radiometry(raster: RasterFile) -> Radiometry:
    if raster.is_complex:
        return Radiometry.INTENSITY
    return Radiometry.UINT8_RELATIVE if raster.data_type == "uint8" else Radiometry.UNKNOWN
