"""TerraSAR-X and TanDEM-X level 1b products: SSC in COSAR; MGD, GEC and EEC in GeoTIFF.

Elements and file layout as public readers know them (GDAL, SNAP, OTB, sarpy); their format is specified in
TX-GS-DD-3307, which was not at hand. Calibration: beta0 = calFactor DN^2, sigma0 = beta0 sin(incidence).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as warp

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io import xml
from sarcurate.io.scenes.cosar import PIXEL_TYPES, CosarReader, refuse_bursts
from sarcurate.io.scenes.map_positions import map_positions, map_spacing
from sarcurate.io.scenes.scene import Facts, Geometry, Scene
from sarcurate.io.scenes.scene_raster import GDAL_ERRORS, RasterFile, RasterPixels, open_raster
from sarcurate.io.scenes.terrasarx_annotation import (
    Product,
    cal_factor,
    check_shape,
    choice,
    is_terrasarx,
    noise_beta0,
    read_frame,
    read_product,
    read_tie_grids,
    spacings,
)
from sarcurate.io.scenes.terrasarx_geometry import FloatArray, MapToPixel, parse_utc

__all__ = ["is_terrasarx", "open_terrasarx"]

MISSIONS = {"TSX-1": "TerraSAR-X", "TDX-1": "TanDEM-X"}
_UNCONFIRMED = "near range is taken to be the first column and early azimuth the first row: unconfirmed"
_ELLIPSOID = "incidence is against the ellipsoid; the incidence mask (GIM) of terrain is not read"


def open_terrasarx(path: Path, polarisation: str | None = None) -> Scene:
    """A TerraSAR-X or TanDEM-X product: one polarisation is one scene.

    SSC: rows are azimuth lines in the order of time, columns grow with slant range.

    Args:
        path: the product's folder, or its main annotation TSX1_SAR__*.xml or TDX1_SAR__*.xml.
        polarisation: HH, HV, VH or VV; needed where the product has several.

    Raises:
        DataError: missing or broken annotation or image, an image that contradicts the annotation, references
            out of the folder, several polarisations and none chosen, calibration factor missing or not > 0.
    """
    product = read_product(path, polarisation)
    if product.variant == "SSC":
        return _open_complex(product)
    return _open_detected(product)


def _open_complex(product: Product) -> Scene:
    order = xml.optional_text(product.root, "productSpecific/complexImageInfo/imageDataStartWith")
    if order not in (None, "EARLYAZNEARRG"):
        raise DataError(
            f"{product.name}: image begins with {order}, expected EARLYAZNEARRG (early azimuth, near range)",
            fix="flip the image and its annotation, or report the product: none like it was seen",
        )
    reader = CosarReader(product.image)
    refuse_bursts(reader)
    check_shape(product, reader.shape)
    version = reader.header.version
    form = f"COSAR version {version}", PIXEL_TYPES[version]
    facts, files = _facts(product, form, Radiometry.INTENSITY, None)
    facts = replace(facts, warnings=(*facts.warnings, *reader.warnings))
    return Scene(product.folder, product.shape, facts, reader, files)


def _open_detected(product: Product) -> Scene:
    raster = open_raster(product.image)
    try:
        facts, files = _detected_facts(product, raster)
    except BaseException:
        raster.dataset.close()
        raise
    return Scene(product.folder, product.shape, facts, RasterPixels(raster, iq_bands=False), files)


def _detected_facts(product: Product, raster: RasterFile) -> tuple[Facts, tuple[Path, ...]]:
    found = raster.driver, raster.data_type, raster.bands
    if found != ("GTiff", "uint16", 1):
        raise DataError(
            f"{product.image}: {raster.driver} of {raster.bands} bands of {raster.data_type}, expected a "
            "GeoTIFF of one band of uint16",
            fix="get the product again",
        )
    check_shape(product, raster.shape)
    form = "GeoTIFF", "uint16"
    if product.geometry is not Geometry.MAP:
        facts, files = _facts(product, form, Radiometry.AMPLITUDE, None)
        return replace(facts, warnings=(_UNCONFIRMED, *facts.warnings)), files
    facts, files = _facts(product, form, Radiometry.AMPLITUDE, _map_to_pixel(raster))
    row_spacing_m, col_spacing_m = map_spacing(raster)
    latitude_deg, longitude_deg = map_positions(raster)
    mapped = replace(
        facts,
        range_spacing_m=col_spacing_m,
        azimuth_spacing_m=row_spacing_m,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        warnings=((_ELLIPSOID, *facts.warnings) if product.variant == "EEC" else facts.warnings),
    )
    return mapped, files


def _map_to_pixel(raster: RasterFile) -> MapToPixel:
    """Latitudes and longitudes to rows and columns of pixel centres."""
    if raster.transform is None or raster.crs is None:
        raise DataError(f"{raster.path}: a map product without map coordinates", fix="get the product again")
    inverse = ~raster.transform
    try:
        crs = CRS.from_wkt(raster.crs)
    except CRSError as error:
        raise DataError(
            f"{raster.path}: unknown map projection: {error}", fix="get the product again"
        ) from error

    def to_pixel(latitude_deg: FloatArray, longitude_deg: FloatArray) -> tuple[FloatArray, FloatArray]:
        outside = DataError(
            f"{raster.path}: positions of the annotation lie outside the image's map projection",
            fix="check that annotation and image are of one product",
        )
        try:
            xs, ys = warp(CRS.from_epsg(4326), crs, longitude_deg.tolist(), latitude_deg.tolist())
        except GDAL_ERRORS as error:
            raise outside from error
        x, y = np.asarray(xs), np.asarray(ys)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise outside
        cols = inverse.a * x + inverse.b * y + inverse.c - 0.5
        return inverse.d * x + inverse.e * y + inverse.f - 0.5, cols

    return to_pixel


def _facts(
    product: Product, form: tuple[str, str], radiometry: Radiometry, to_pixel: MapToPixel | None
) -> tuple[Facts, tuple[Path, ...]]:
    """Facts of the scene, and every file they come from."""
    root, name = product.root, product.name
    info = xml.required(root, "productInfo", name)
    mission = xml.required_text(info, "missionInfo/mission", name)
    start = xml.required_text(info, "sceneInfo/start/timeUTC", name)
    frame = read_frame(product, to_pixel)
    grids, georef, georef_warnings = read_tie_grids(product, frame)
    factor, factor_warnings = cal_factor(product)
    noise, noise_warnings = noise_beta0(product, frame, factor)
    range_spacing_m, azimuth_spacing_m = spacings(product)
    looks = [
        xml.optional_float(info, f"imageDataInfo/imageRaster/{axis}Looks", name)
        for axis in ("azimuth", "range")
    ]
    facts = Facts(
        kind=f"{MISSIONS.get(mission, mission)} {product.variant} ({form[0]})",
        scene_id=xml.required_text(info, "sceneInfo/sceneID", name),
        pixel_type=form[1],
        geometry=product.geometry,
        radiometry=radiometry,
        sensor="terrasarx",
        band="X",
        mode=xml.optional_text(info, "acquisitionInfo/imagingMode"),
        polarisation=product.polarisation,
        range_spacing_m=range_spacing_m,
        azimuth_spacing_m=azimuth_spacing_m,
        beta0_factor=factor,
        incidence_deg=grids.incidence_deg,
        latitude_deg=grids.latitude_deg,
        longitude_deg=grids.longitude_deg,
        noise_beta0=noise,
        azimuth_deg=xml.optional_float(info, "sceneInfo/headingAngle", name),
        look_direction=choice(info, "acquisitionInfo/lookDirection", ("left", "right"), name),
        orbit_direction=choice(info, "missionInfo/orbitDirection", ("ascending", "descending"), name),
        acquired_utc=parse_utc(start, name).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        looks_nominal=None if looks[0] is None or looks[1] is None else looks[0] * looks[1],
        warnings=(*georef_warnings, *factor_warnings, *noise_warnings),
    )
    return facts, (product.annotation, product.image, *georef)
