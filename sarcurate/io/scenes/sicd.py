"""SICD in NITF: complex images whose rows are range and columns azimuth, given here as (azimuth, range)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.scenes import sicd_geometry
from sarcurate.io.scenes.nitf import ImageSegment, read_nitf
from sarcurate.io.scenes.scene import Facts, Geometry, Scene, Window
from sarcurate.io.xml import (
    find,
    find_all,
    optional_float,
    optional_text,
    parse_xml,
    required_int,
    required_text,
    to_float,
    to_int,
)

PIXEL_TYPES = {
    "RE32F_IM32F": (np.dtype(">c8"), "complex float32"),
    "RE16I_IM16I": (np.dtype([("real", ">i2"), ("imag", ">i2")]), "complex int16"),
    "AMP8I_PHS8I": (np.dtype([("amp", "u1"), ("phase", "u1")]), "complex uint8 amplitude and phase"),
}
_MAX_SIDE_PX = 250_000
_MAX_XML_BYTES = 64 << 20
# IEEE Std 521-2019, table 1
_BANDS = (
    ("VHF", 0.03e9, 0.3e9), ("UHF", 0.3e9, 1e9), ("L", 1e9, 2e9), ("S", 2e9, 4e9), ("C", 4e9, 8e9),
    ("X", 8e9, 12e9), ("Ku", 12e9, 18e9), ("K", 18e9, 27e9), ("Ka", 27e9, 40e9),
)  # fmt: skip


class SicdPixels:
    """Windows of one image that lies, its rows being range, in one or more uncompressed NITF segments."""

    def __init__(self, path: Path, segments: list[ImageSegment], dtype: np.dtype[Any], table: Element | None):
        self._dtype = dtype
        self._maps = [
            np.memmap(path, dtype, "r", offset=part.offset, shape=(part.rows, part.cols)) for part in segments
        ]
        self._ends = np.cumsum([part.rows for part in segments]).tolist()
        self._amplitudes = _amplitude_table(table, str(path))

    def read(self, window: Window) -> NDArray[np.complex64]:
        """Samples (rows, cols) = (azimuth, range), complex64."""
        first, last = window.col, window.col + window.cols
        across = slice(window.row, window.row + window.rows)
        parts, start = [], 0
        for stored, end in zip(self._maps, self._ends, strict=True):
            if first < end and start < last:
                parts.append(stored[max(first - start, 0) : last - start, across])
            start = end
        together = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return np.ascontiguousarray(self._complex(together).T)

    def close(self) -> None:
        """Release the file."""
        self._maps = []

    def _complex(self, stored: NDArray[Any]) -> NDArray[np.complex64]:
        if self._dtype.names is None:
            return stored.astype(np.complex64)
        samples = np.empty(stored.shape, np.complex64)
        if "real" in self._dtype.names:
            samples.real, samples.imag = stored["real"], stored["imag"]
            return samples
        # SICD volume 1, PixelType: phase in steps of 1/256 turn, amplitude by AmpTable where there is one
        turns = stored["phase"] * (2 * np.pi / 256)
        amplitude = self._amplitudes[stored["amp"]]
        samples.real, samples.imag = amplitude * np.cos(turns), amplitude * np.sin(turns)
        return samples


def open_sicd(path: Path, polarisation: str | None = None) -> Scene:
    """The complex image of a SICD NITF file, transposed by window to (rows, cols) = (azimuth, range).

    The XML goes through the hardened parser, and no other. Columns rise with range. Rows rise with SICD
    columns, which run along the flight for a right-looking sensor and against it for a left-looking one.

    Raises:
        DataError: no NITF 2.1, a SIDD or another NITF, compression or masks, truncation, XML that is broken
            or contradicts the segments, another polarisation than asked for.
    """
    name = str(path)
    nitf = read_nitf(path)
    found = [part for part in nitf.texts if part.kind.startswith("urn:SICD") or part.name.startswith("SICD")]
    if not found:
        kinds = ", ".join(segment.kind or segment.name for segment in nitf.texts) or "none"
        sidd = any("SIDD" in segment.kind for segment in nitf.texts)
        raise DataError(
            f"{name}: no SICD in this NITF file; its data extensions are: {kinds}"
            + ("; a SIDD is a remapped 8 or 16 bit view without calibration" if sidd else ""),
            fix="get the SICD of the same collect" if sidd else "convert the image to GeoTIFF or SICD",
        )
    if found[0].size > _MAX_XML_BYTES:
        raise DataError(
            f"{name}: {found[0].size} bytes of SICD XML", fix=f"at most {_MAX_XML_BYTES} are read"
        )
    with path.open("rb") as file:
        file.seek(found[0].offset)
        root = parse_xml(file.read(found[0].size), f"{name}, SICD XML")
    where = f"{name}, SICD XML"
    dtype, words = _pixel_type(root, where)
    shape = _sicd_shape(root, where)
    segments = _segments(nitf.images, shape, dtype.itemsize, name)
    facts = _facts(root, where, shape, words)
    if polarisation and facts.polarisation != polarisation.upper():
        raise DataError(
            f"{name}: polarisation {polarisation.upper()} was asked for, the file holds {facts.polarisation}",
            fix="a SICD file holds one polarisation; name the file of the other",
        )
    pixels = SicdPixels(path, segments, dtype, find(root, "ImageData/AmpTable"))
    return Scene(path, (shape[1], shape[0]), facts, pixels, (path,))


def _pixel_type(root: Element, where: str) -> tuple[np.dtype[Any], str]:
    name = required_text(root, "ImageData/PixelType", where)
    if name not in PIXEL_TYPES:
        raise DataError(
            f"{where}: ImageData/PixelType is {name[:40]!r}, expected one of {', '.join(PIXEL_TYPES)}",
            fix="get the product again",
        )
    return PIXEL_TYPES[name]


def _sicd_shape(root: Element, where: str) -> tuple[int, int]:
    rows, cols = (required_int(root, f"ImageData/Num{axis}", where) for axis in ("Rows", "Cols"))
    if not (0 < rows <= _MAX_SIDE_PX and 0 < cols <= _MAX_SIDE_PX):
        raise DataError(
            f"{where}: {rows} x {cols} px, expected 1 to {_MAX_SIDE_PX} a side", fix="get the product again"
        )
    return rows, cols


def _segments(
    images: list[ImageSegment], shape: tuple[int, int], bytes_per_px: int, name: str
) -> list[ImageSegment]:
    """The image's segments, top to bottom; DataError where they are not what the XML says."""
    found = sorted((image for image in images if image.name.startswith("SICD")), key=lambda i: i.name)
    for part in found:
        if part.compression != "NC" or part.blocks != 1:
            raise DataError(
                f"{name}: image segment {part.name} is compressed, masked or tiled ({part.compression}, "
                f"{part.blocks} blocks), expected plain samples",
                fix="convert it to an uncompressed SICD",
            )
        if part.size != part.rows * part.cols * bytes_per_px or part.cols != shape[1]:
            raise DataError(
                f"{name}: image segment {part.name} has {part.size} bytes and {part.rows} x {part.cols} px, "
                f"expected {shape[1]} columns of {bytes_per_px} bytes a sample as the XML says",
                fix="get the product again",
            )
    if sum(part.rows for part in found) != shape[0]:
        raise DataError(
            f"{name}: image segments named SICD hold {sum(part.rows for part in found)} rows, the XML says "
            f"{shape[0]}",
            fix="get the product again",
        )
    return found


def _facts(root: Element, where: str, shape: tuple[int, int], pixel_type: str) -> Facts:
    plane = required_text(root, "Grid/ImagePlane", where)
    frame = sicd_geometry.read_frame(root, where, shape)
    band, notes = _band(root, where)
    beta0, beta0_notes = _factor(root, "BetaZeroSFPoly", frame, where)
    sigma0, sigma0_notes = _factor(root, "SigmaZeroSFPoly", frame, where)
    if sigma0_notes and beta0 is not None and not beta0_notes:
        # beta0 is exact everywhere, and sigma0 = beta0 sin(incidence) follows the incidence of each pixel
        sigma0, sigma0_notes = None, []
    incidence, incidence_notes = sicd_geometry.incidence(root, where, frame, plane)
    latitude, longitude = sicd_geometry.positions(root, where, shape)
    side = required_text(root, "SCPCOA/SideOfTrack", where)
    heading, orbit = sicd_geometry.heading(root, where)
    warnings = [*notes, *beta0_notes, *sigma0_notes, *incidence_notes]
    warnings += _notes(root, plane, side, beta0 is None and sigma0 is None)
    return Facts(
        kind=f"SICD {root.tag.rpartition('}')[0].rpartition(':')[2]} (NITF)",
        scene_id=required_text(root, "CollectionInfo/CoreName", where),
        pixel_type=pixel_type,
        geometry=Geometry.GROUND if plane == "GROUND" else Geometry.SLANT,
        radiometry=Radiometry.INTENSITY,
        sensor=required_text(root, "CollectionInfo/CollectorName", where),
        band=band,
        mode=_mode(root),
        polarisation=_polarisation(root),
        range_spacing_m=frame.row_spacing_m,
        azimuth_spacing_m=frame.col_spacing_m,
        range_resolution_m=optional_float(root, "Grid/Row/ImpRespWid", where),
        azimuth_resolution_m=optional_float(root, "Grid/Col/ImpRespWid", where),
        beta0_factor=beta0,
        sigma0_factor=sigma0,
        incidence_deg=incidence,
        latitude_deg=latitude,
        longitude_deg=longitude,
        azimuth_deg=heading,
        look_direction={"R": "right", "L": "left"}.get(side),
        orbit_direction=orbit,
        acquired_utc=optional_text(root, "Timeline/CollectStart"),
        looks_nominal=1.0,
        warnings=tuple(warnings),
    )


def _notes(root: Element, plane: str, side: str, uncalibrated: bool) -> list[str]:
    notes = ["SICD rows are range: samples are transposed to rows = azimuth, columns = range"]
    if side == "L":
        notes.append("left-looking: rows run against the flight, the picture is as seen from above")
    if plane not in ("SLANT", "GROUND"):
        notes.append(f"the image plane is {plane}; range and azimuth spacing are those within that plane")
    if uncalibrated:
        notes.append("no beta0 or sigma0 scale factor: samples are uncalibrated")
    if find(root, "ImageData/ValidData") is not None:
        notes.append("the file declares a polygon of valid pixels; those outside of it are no data")
    return notes


def _mode(root: Element) -> str | None:
    words = [optional_text(root, f"CollectionInfo/RadarMode/{part}") for part in ("ModeID", "ModeType")]
    return " ".join(word for word in words if word) or None


def _polarisation(root: Element) -> str | None:
    found = optional_text(root, "ImageFormation/TxRcvPolarizationProc")
    return found.replace(":", "") if found and found in ("H:H", "H:V", "V:H", "V:V") else found


def _band(root: Element, where: str) -> tuple[str | None, list[str]]:
    paths = ("ImageFormation/TxFrequencyProc/MinProc", "ImageFormation/TxFrequencyProc/MaxProc")
    low, high = (optional_float(root, path, where) for path in paths)
    if low is None or high is None:
        return None, ["no processed frequencies: the band is not known"]
    centre = (low + high) / 2
    names = [name for name, start, stop in _BANDS if start <= centre < stop]
    if not names or (optional_text(root, "RadarCollection/RefFreqIndex") or "0") != "0":
        return None, [f"a centre frequency of {centre:.4g} Hz (or an offset from one) names no band"]
    return names[0], []


def _factor(
    root: Element, name: str, frame: sicd_geometry.Frame, where: str
) -> tuple[float | None, list[str]]:
    """Scale factor of |sample|^2, and what to say where it varies over the image.

    SICD volume 1, Radiometric: the factor is a polynomial in metres from the scene centre point.
    """
    polynomial = find(root, f"Radiometric/{name}")
    if polynomial is None:
        return None, []
    terms = []
    for number, item in enumerate(find_all(polynomial, "Coef"), 1):
        what = f"{where}: {name}/Coef[{number}]"
        powers = [to_int(item.get(f"exponent{axis}", ""), f"{what} exponent{axis}") for axis in (1, 2)]
        if not all(0 <= power <= 32 for power in powers):
            raise DataError(f"{what}: exponents {powers}, expected 0 to 32", fix="get the product again")
        terms.append((*powers, to_float((item.text or "").strip(), what)))
    middle, *corners = [sum(c * x**m * y**n for m, n, c in terms) for x, y in frame.centre_and_corners_m()]
    if not all(np.isfinite(value) and value > 0 for value in (middle, *corners)):
        raise DataError(
            f"{where}: Radiometric/{name} is {min(middle, *corners):g} within the image, expected > 0",
            fix="get the product again, or take the polynomial out and go without calibration",
        )
    spread_db = max(abs(10 * np.log10(value / middle)) for value in corners)
    if all(c == 0 for m, n, c in terms if m or n):
        return float(middle), []
    return float(middle), [
        f"{name} varies: its value at the image's centre is used, off by up to {spread_db:.2g} dB at corners"
    ]


def _amplitude_table(table: Element | None, where: str) -> NDArray[np.float32]:
    if table is None:
        return np.arange(256, dtype=np.float32)
    amplitudes = np.full(256, np.nan, np.float32)
    for item in find_all(table, "Amplitude"):
        index = to_int(item.get("index", ""), f"{where}: ImageData/AmpTable index")
        if 0 <= index < 256:
            amplitudes[index] = to_float((item.text or "").strip(), f"{where}: ImageData/AmpTable[{index}]")
    if not np.isfinite(amplitudes).all():
        raise DataError(f"{where}: ImageData/AmpTable lacks entries of 0 to 255", fix="get the product again")
    return amplitudes
