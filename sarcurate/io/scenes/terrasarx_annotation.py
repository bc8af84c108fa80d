"""The main annotation of a TerraSAR-X product: which image, what frame, which calibration."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from sarcurate.errors import DataError
from sarcurate.io import xml
from sarcurate.io.safe import resolve_inside
from sarcurate.io.scenes.scene import Geometry
from sarcurate.io.scenes.terrasarx_geometry import (
    Frame,
    MapToPixel,
    TieGrids,
    parse_utc,
    read_corners,
    read_georef,
    tie_grids,
)

PRODUCTS = ("SSC", "MGD", "GEC", "EEC")
GEOMETRIES = {"SLANTRANGE": Geometry.SLANT, "GROUNDRANGE": Geometry.GROUND, "MAP": Geometry.MAP}

_ANNOTATION = re.compile(r"(TSX1|TDX1)_SAR__.*\.xml", re.IGNORECASE)
_MAX_SIDE_PX = 250_000
_LIGHT_M_PER_S = 299_792_458.0
_AGAIN = "get the product again"


@dataclass(frozen=True)
class Product:
    """The parsed annotation of one polarisation layer; ``name`` names it in messages."""

    folder: Path
    annotation: Path
    root: Element
    variant: str
    geometry: Geometry
    shape: tuple[int, int]
    polarisation: str
    image: Path

    @property
    def name(self) -> str:
        """The annotation's path."""
        return str(self.annotation)


def is_terrasarx(path: Path) -> bool:
    """Whether a folder holds, or a file is, the main annotation of a product, by its name alone."""
    if path.is_dir():
        return any(_ANNOTATION.fullmatch(entry.name) for entry in path.iterdir())
    return _ANNOTATION.fullmatch(path.name) is not None


def read_product(path: Path, polarisation: str | None) -> Product:
    """The annotation of a product's folder or main XML file, and the image of one polarisation layer.

    Raises:
        DataError: missing or broken annotation, an unknown or contradictory kind of product, several
            polarisations and none chosen, an image reference out of the folder.
    """
    annotation = _main_annotation(path)
    folder, name = annotation.parent, str(annotation)
    root = xml.parse_xml(annotation, name)
    if root.tag.rpartition("}")[2] != "level1Product":
        raise DataError(f"{name}: root element is {root.tag[:60]}, expected level1Product", fix=_AGAIN)
    variant = xml.required_text(root, "productInfo/productVariantInfo/productVariant", name)
    projection = xml.required_text(root, "productInfo/productVariantInfo/projection", name)
    image_format = xml.required_text(root, "productInfo/imageDataInfo/imageDataFormat", name)
    if variant not in PRODUCTS:
        raise DataError(f"{name}: productVariant is {variant!r}, expected {', '.join(PRODUCTS)}", fix=_AGAIN)
    expected = {"SSC": ("SLANTRANGE", "COSAR"), "MGD": ("GROUNDRANGE", "GEOTIFF")}.get(
        variant, ("MAP", "GEOTIFF")
    )
    if (projection, image_format) != expected:
        raise DataError(
            f"{name}: a {variant} product in {projection} and {image_format}, "
            f"expected {expected[0]} and {expected[1]}",
            fix=_AGAIN,
        )
    raster = "productInfo/imageDataInfo/imageRaster"
    shape = tuple(
        xml.required_int(root, f"{raster}/{side}", name) for side in ("numberOfRows", "numberOfColumns")
    )
    if not all(0 < side <= _MAX_SIDE_PX for side in shape):
        raise DataError(
            f"{name}: image of {shape[0]} x {shape[1]} px, expected 1 to {_MAX_SIDE_PX} a side", fix=_AGAIN
        )
    layer, image = _choose_layer(root, folder, polarisation, name)
    return Product(
        folder, annotation, root, variant, GEOMETRIES[projection], (shape[0], shape[1]), layer, image
    )


def _main_annotation(path: Path) -> Path:
    if not path.is_dir():
        if not _ANNOTATION.fullmatch(path.name):
            raise DataError(
                f"{path}: not the main annotation of a TerraSAR-X product, "
                "TSX1_SAR__*.xml or TDX1_SAR__*.xml",
                fix="name the product's folder or this file",
            )
        return resolve_inside(path.parent, path.name)
    names = sorted(
        entry.name for entry in path.iterdir() if _ANNOTATION.fullmatch(entry.name) and entry.is_file()
    )
    if len(names) != 1:
        raise DataError(
            f"{path}: {len(names)} main annotations (TSX1_SAR__*.xml or TDX1_SAR__*.xml), expected 1",
            fix="name the folder of one product; a TanDEM-X pair holds two such folders",
        )
    return resolve_inside(path, names[0])


def _choose_layer(root: Element, folder: Path, polarisation: str | None, name: str) -> tuple[str, Path]:
    nodes = xml.find_all(root, "productComponents/imageData")
    layers = [xml.required_text(node, "polLayer", name) for node in nodes]
    if not layers or len(set(layers)) != len(layers):
        raise DataError(
            f"{name}: images of polarisation {layers}, expected one or more, all different", fix=_AGAIN
        )
    wanted = layers[0] if polarisation is None and len(layers) == 1 else polarisation
    if wanted not in layers:
        asked = "none was chosen" if wanted is None else f"{wanted} was asked for"
        raise DataError(
            f"{name}: the product has polarisations {', '.join(layers)}; {asked}",
            fix=f"choose one of {', '.join(layers)}",
        )
    return wanted, _referenced(nodes[layers.index(wanted)], folder, name)


def _referenced(node: Element, folder: Path, name: str) -> Path:
    """The file that a component names, inside the product's folder."""
    filename = xml.required_text(node, "file/location/filename", name)
    path = xml.optional_text(node, "file/location/path") or "."
    return resolve_inside(folder, (PurePosixPath(path) / filename).as_posix())


def check_shape(product: Product, shape: tuple[int, int]) -> None:
    """Raise DataError unless the image has the rows and columns that its annotation tells."""
    if shape != product.shape:
        raise DataError(
            f"{product.image}: image of {shape[0]} x {shape[1]} px, its annotation says "
            f"{product.shape[0]} x {product.shape[1]}",
            fix="check that annotation and image are of one product",
        )


def read_frame(product: Product, to_pixel: MapToPixel | None) -> Frame:
    """Times of the image's edges; DataError where they are missing or do not rise."""
    root, name = product.root, product.name
    scene = xml.required(root, "productInfo/sceneInfo", name)
    start, stop = (
        parse_utc(xml.required_text(scene, f"{end}/timeUTC", name), name) for end in ("start", "stop")
    )
    near, far = (xml.required_float(scene, f"rangeTime/{end}Pixel", name) for end in ("first", "last"))
    if stop <= start or not 0 < near < far:
        raise DataError(
            f"{name}: scene from {start} to {stop}, range time {near} to {far} s, expected rising ones",
            fix=_AGAIN,
        )
    return Frame(product.shape, start, stop, near, far, product.geometry is Geometry.GROUND, to_pixel)


def read_tie_grids(product: Product, frame: Frame) -> tuple[TieGrids, tuple[Path, ...], tuple[str, ...]]:
    """Incidence and position from GEOREF.xml, else from the scene's corners; the files read; warnings."""
    for node in xml.find_all(product.root, "productComponents/annotation"):
        if xml.optional_text(node, "type") != "GEOREF":
            continue
        path = _referenced(node, product.folder, product.name)
        if path.is_file():
            root = xml.parse_xml(path, str(path))
            return tie_grids(read_georef(root, frame, str(path)), frame, str(path)), (path,), ()
    points = read_corners(product.root, frame, product.name)
    missing = "no GEOREF.xml: incidence and position are interpolated from the scene's corners and centre"
    return tie_grids(points, frame, product.name), (), (missing,)


def cal_factor(product: Product) -> tuple[float | None, tuple[str, ...]]:
    """The layer's factor from DN^2 to beta0; None and a warning for a product said to be uncalibrated."""
    state = xml.optional_text(product.root, "productInfo/productVariantInfo/radiometricCorrection")
    if state not in (None, "CALIBRATED"):
        return None, (f"radiometricCorrection is {state}: no beta0 and no sigma0",)
    factors = {
        xml.required_float(node, "calFactor", product.name)
        for node in xml.find_all(product.root, "calibration/calibrationConstant")
        if xml.optional_text(node, "polLayer") == product.polarisation
    }
    if len(factors) != 1 or min(factors) <= 0:
        found = ", ".join(f"{factor:g}" for factor in sorted(factors)) or "none"
        raise DataError(
            f"{product.name}: element calibration/calibrationConstant/calFactor of {product.polarisation} is "
            f"{found}, expected one number > 0",
            fix="get the product again: without this factor pixels have no physical unit",
        )
    return factors.pop(), ()


def noise_beta0(product: Product, frame: Frame, factor: float | None) -> tuple[float | None, tuple[str, ...]]:
    """Noise equivalent beta0 in mid swath: calFactor times the noise polynomial in range time; warnings."""
    records = [
        record
        for node in xml.find_all(product.root, "noise")
        if xml.optional_text(node, "polLayer") == product.polarisation
        for record in xml.find_all(node, "imageNoise/noiseEstimate")
    ]
    if factor is None or not records:
        return None, ("no noise record: the noise floor is unknown",)
    record, name = records[len(records) // 2], product.name
    middle_s = (frame.near_s + frame.far_s) / 2 - xml.required_float(record, "referencePoint", name)
    terms = [
        xml.to_float((node.text or "").strip(), f"{name}: noise coefficient")
        * middle_s ** _exponent(node, name)
        for node in xml.find_all(record, "coefficient")
    ]
    noise = factor * math.fsum(terms)
    if not (math.isfinite(noise) and noise > 0):
        return None, (f"noise polynomial gives {noise:g} in mid swath: the noise floor is unknown",)
    return noise, ()


def _exponent(node: Element, name: str) -> int:
    exponent = xml.to_int(node.get("exponent", ""), f"{name}: exponent of a noise coefficient")
    if not 0 <= exponent <= 16:
        raise DataError(f"{name}: exponent {exponent} of a noise coefficient, expected 0 to 16", fix=_AGAIN)
    return exponent


def spacings(product: Product) -> tuple[float, float]:
    """Range and azimuth spacing in metres; of map products along columns and rows.

    The annotation's rowSpacing is the step within a row, along range: time in SSC, metres elsewhere.
    """
    root, name = product.root, product.name
    if product.variant == "SSC":
        step_s = xml.required_float(root, "productInfo/imageDataInfo/imageRaster/rowSpacing", name)
        azimuth = "productSpecific/complexImageInfo/projectedSpacingAzimuth"
        found = step_s * _LIGHT_M_PER_S / 2, xml.required_float(root, azimuth, name)
    else:
        path = "productInfo/imageDataInfo/imageRaster"
        found = (
            xml.required_float(root, f"{path}/rowSpacing", name),
            xml.required_float(root, f"{path}/columnSpacing", name),
        )
    if not all(0 < spacing < 1000 for spacing in found):
        raise DataError(
            f"{name}: spacing of {found[0]} and {found[1]} m, expected inside 0 to 1000", fix=_AGAIN
        )
    return found


def choice(info: Element, path: str, choices: tuple[str, ...], name: str) -> str | None:
    """Text of an element in lower case; None where it is missing, DataError where it is none of these."""
    text = xml.optional_text(info, path)
    if text is None:
        return None
    if text.lower() not in choices:
        raise DataError(
            f"{name}: element {path} is {text[:40]!r}, expected one of {', '.join(choices)}", fix=_AGAIN
        )
    return text.lower()
