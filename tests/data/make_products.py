"""Small products, structurally true, with simulated speckle: ``make_products.py [--check]``.

Every ``make_x(folder, seed)`` writes one product below ``folder`` and gives its path. Without an option all
of them are written below ``products/`` beside this file; ``--check`` compares what is there.
The folder layout, element names and byte layout are those of TX-GS-DD-3307; the scenes are invented.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.util
import inspect
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import rasterio
import rasterio.warp
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

HERE = Path(__file__).resolve().parent
SEED = 20080131
LIGHT_M_PER_S = 299_792_458.0
CAL_FACTOR = {"HH": 1.05e-5, "VV": 0.98e-5, "HV": 1.2e-5, "VH": 1.1e-5}
NOISE_DN2 = (420.0, -1.5e8)  # noise power in DN^2: constant, and per second of range time from the reference
NEAR_S, RANGE_STEP_S, LINE_S = 4.1e-3, 6.0665e-9, 2.9e-4
NEAR_DEG, FAR_DEG = 34.0, 36.0
UTM_ZONE_32 = 32632


@dataclass(frozen=True)
class TsxSpec:
    """What is written into a TerraSAR-X product; change one field for a variant."""

    variant: str = "SSC"
    version: int = 1
    rows: int = 160
    cols: int = 128
    polarisations: tuple[str, ...] = ("HH",)
    mission: str = "TSX-1"
    georef: bool = True

    @property
    def name(self) -> str:
        """Folder name, and stem of the main annotation."""
        short = self.mission.replace("-", "")
        kind = "SSC_____" if self.variant == "SSC" else f"{self.variant}_SE__"
        return f"{short}_SAR__{kind}_SM_S_SRA_20080131T170523_20080131T170524"

    @property
    def far_s(self) -> float:
        """Two-way range time of the last column."""
        return NEAR_S + (self.cols - 1) * RANGE_STEP_S

    @property
    def suffix(self) -> str:
        """Of the image files."""
        return "cos" if self.variant == "SSC" else "tif"


# --- pixels


def speckle(rows: int, cols: int, seed: int) -> NDArray[np.complex64]:
    """Complex speckle (rows, cols) of rms 100 with a darker stripe and three bright targets."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((2, rows + 2, cols + 2))
    # a short kernel each way: samples of a real product are not independent either
    along = 0.4 * white[:, :-2] + white[:, 1:-1] + 0.4 * white[:, 2:]
    both = 0.4 * along[:, :, :-2] + along[:, :, 1:-1] + 0.4 * along[:, :, 2:]
    field = (both[0] + 1j * both[1]) * (100 / (2**0.5 * 1.32))
    field[:, cols // 2 : cols // 2 + cols // 8] *= 0.4
    for row, col in ((rows // 4, cols // 5), (rows // 2, 4 * cols // 5), (3 * rows // 4, cols // 3)):
        field[row - 1 : row + 2, col - 1 : col + 2] += np.outer((0.4, 1, 0.4), (0.4, 1, 0.4)) * (3000 - 2000j)
    return field.astype(np.complex64)


def detected(rows: int, cols: int, seed: int) -> NDArray[np.uint16]:
    """Amplitude (rows, cols) of :func:`speckle`."""
    return np.abs(speckle(rows, cols, seed)).round().astype(np.uint16)


def write_cosar(
    path: Path,
    samples: NDArray[np.complex64],
    version: int = 1,
    valid: tuple[int, int] | None = None,
    bursts: int = 1,
) -> None:
    """A COSAR file holding ``samples`` in each of its bursts.

    Args:
        samples: (rows, cols).
        version: 1 for integers, 2 for half floats.
        valid: first and last valid range sample of every line, from 1; all of them by default.
    """
    rows, cols = samples.shape
    line_bytes, lines = 4 * (cols + 2), rows + 4
    burst = np.full((lines, cols + 2), 0x7F7F7F7F, dtype=">u4")
    burst[0] = 0
    burst[0, :10] = (line_bytes * lines, 1, cols, rows, 1, line_bytes, lines * bursts, 0, version, 1)
    burst[0, 7] = int.from_bytes(b"CSAR", "big")
    if version == 2:
        burst[0, 12:15] = (1, 5, 10)
    burst[1, 2:], burst[2, 2:], burst[3, 2:] = 1, 1, rows
    burst[4:, :2] = valid or (1, cols)
    parts = np.stack([samples.real, samples.imag], axis=-1)
    words = parts.astype(">f2") if version == 2 else parts.round().clip(-32768, 32767).astype(">i2")
    burst[4:, 2:] = words.view(">u4")[..., 0]
    with path.open("wb") as file:
        for index in range(bursts):
            burst[0, 4] = index + 1
            file.write(burst.tobytes())


def write_tiff(path: Path, pixels: NDArray[np.uint16], *, mapped: bool) -> None:
    """A GeoTIFF of amplitude; ``mapped`` puts it on a UTM grid of 1.25 m."""
    east, north = map_origin()
    grid = {"crs": f"EPSG:{UTM_ZONE_32}", "transform": Affine(1.25, 0.0, east, 0.0, -1.25, north)}
    rows, cols = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=rows,
            width=cols,
            count=1,
            dtype="uint16",
            **(grid if mapped else {}),
        ) as file:
            file.write(pixels, 1)


def map_origin() -> tuple[float, float]:
    """Easting and northing of the map products' upper left corner."""
    return 650_000.0, 5_320_000.0


# --- annotation


def position(spec: TsxSpec, row: float, col: float) -> tuple[float, float, float]:
    """Latitude, longitude and incidence in degrees at a pixel (from 0) of a product."""
    share = col / (spec.cols - 1)
    if spec.variant in ("GEC", "EEC"):
        east, north = map_origin()
        x, y = east + (col + 0.5) * 1.25, north - (row + 0.5) * 1.25
        longitude, latitude = rasterio.warp.transform(f"EPSG:{UTM_ZONE_32}", "EPSG:4326", [x], [y])
        return latitude[0], longitude[0], NEAR_DEG + (FAR_DEG - NEAR_DEG) * share
    # ascending, looking right: later is further north, further range is further east
    latitude_deg = 48.0 + 1.8e-5 * row - 1.0e-6 * col
    return latitude_deg, 11.0 + 1.2e-5 * col + 2.0e-6 * row, NEAR_DEG + (FAR_DEG - NEAR_DEG) * share


def range_time_s(col: float) -> float:
    """Two-way range time of a column."""
    return NEAR_S + col * RANGE_STEP_S


def _time(seconds: float) -> str:
    return f"2008-01-31T17:05:{23 + seconds:09.6f}Z"


def _corner(spec: TsxSpec, tag: str, row: int, col: int) -> str:
    latitude, longitude, incidence = position(spec, row, col)
    pixel = f"<refRow>{row + 1}</refRow><refColumn>{col + 1}</refColumn>" if spec.variant == "SSC" else ""
    return (
        f"<{tag}>{pixel}<lat>{latitude:.9f}</lat><lon>{longitude:.9f}</lon>"
        f"<azimuthTimeUTC>{_time(row * LINE_S)}</azimuthTimeUTC>"
        f"<rangeTime>{range_time_s(col):.12e}</rangeTime>"
        f"<incidenceAngle>{incidence:.9f}</incidenceAngle></{tag}>"
    )


def _component(spec: TsxSpec, index: int, polarisation: str) -> str:
    return (
        f'<imageData layerIndex="{index}"><polLayer>{polarisation}</polLayer><beamID>strip_007</beamID>'
        f"<file><location><host>.</host><path>IMAGEDATA</path><filename>IMAGE_{polarisation}_SRA_strip_007.{spec.suffix}</filename>"
        f"</location></file></imageData>"
    )


def _noise(spec: TsxSpec, index: int, polarisation: str) -> str:
    return (
        f'<noise layerIndex="{index}"><polLayer>{polarisation}</polLayer>'
        f"<numberOfNoiseRecords>1</numberOfNoiseRecords><imageNoise><timeUTC>{_time(0)}</timeUTC><noiseEstimateConfidence>1.0</noiseEstimateConfidence>"
        f"<noiseEstimate><validityRangeMin>{NEAR_S:.12e}</validityRangeMin>"
        f"<validityRangeMax>{spec.far_s:.12e}</validityRangeMax><referencePoint>{NEAR_S:.12e}</referencePoint>"
        f'<polynomialDegree>1</polynomialDegree><coefficient exponent="0">{NOISE_DN2[0]:.6e}</coefficient>'
        f'<coefficient exponent="1">{NOISE_DN2[1]:.6e}</coefficient></noiseEstimate></imageNoise></noise>'
    )


def _specific(spec: TsxSpec) -> str:
    if spec.variant == "SSC":
        return (
            "<complexImageInfo><projectedSpacingAzimuth>1.9</projectedSpacingAzimuth><projectedSpacingRange>"
            f"<slantRange>{RANGE_STEP_S * LIGHT_M_PER_S / 2:.9f}</slantRange></projectedSpacingRange>"
            "<imageCoordinateType>ZERODOPPLER</imageCoordinateType>"
            "<imageDataStartWith>EARLYAZNEARRG</imageDataStartWith></complexImageInfo>"
        )
    if spec.variant == "MGD":
        return "<projectedImageInfo/>"
    projection = "<mapProjection><projectionID>UTM</projectionID></mapProjection>"
    return f"<geocodedImageInfo>{projection}</geocodedImageInfo>"


def annotation(spec: TsxSpec) -> str:
    """The main annotation's text."""
    complex_image = spec.variant == "SSC"
    projection = {"SSC": "SLANTRANGE", "MGD": "GROUNDRANGE"}.get(spec.variant, "MAP")
    looks = 1 if complex_image else 2
    spacing = (
        f'<rowSpacing units="s">{RANGE_STEP_S:.12e}</rowSpacing>'
        f'<columnSpacing units="s">{LINE_S:.12e}</columnSpacing>'
        if complex_image
        else '<rowSpacing units="m">1.25</rowSpacing><columnSpacing units="m">1.25</columnSpacing>'
    )
    last = spec.rows - 1, spec.cols - 1
    corners = "".join(
        _corner(spec, "sceneCornerCoord", row, col) for row in (0, last[0]) for col in (0, last[1])
    )
    layers = list(enumerate(spec.polarisations, start=1))
    georef = (
        "<annotation><type>GEOREF</type><file><location><host>.</host><path>ANNOTATION</path>"
        "<filename>GEOREF.xml</filename></location></file></annotation>"
        if spec.georef
        else ""
    )
    factors = "".join(
        f'<calibrationConstant layerIndex="{index}"><polLayer>{layer}</polLayer><beamID>strip_007</beamID>'
        f"<calFactor>{CAL_FACTOR[layer]:.6e}</calFactor></calibrationConstant>"
        for index, layer in layers
    )
    return f"""<level1Product>
<generalHeader><itemName>LEVEL 1B PRODUCT</itemName><mission>{spec.mission}</mission></generalHeader>
<productComponents>{georef}{"".join(_component(spec, *layer) for layer in layers)}</productComponents>
<productInfo>
<missionInfo><mission>{spec.mission}</mission><orbitDirection>ASCENDING</orbitDirection></missionInfo>
<acquisitionInfo><sensor>SAR</sensor><imagingMode>SM</imagingMode><lookDirection>RIGHT</lookDirection>
<polarisationMode>{"SINGLE" if len(layers) == 1 else "DUAL"}</polarisationMode></acquisitionInfo>
<productVariantInfo><productVariant>{spec.variant}</productVariant><projection>{projection}</projection>
<radiometricCorrection>CALIBRATED</radiometricCorrection></productVariantInfo>
<imageDataInfo><imageDataType>{"COMPLEX" if complex_image else "DETECTED"}</imageDataType>
<imageDataFormat>{"COSAR" if complex_image else "GEOTIFF"}</imageDataFormat>
<numberOfLayers>{len(layers)}</numberOfLayers><imageDataDepth>{32 if complex_image else 16}</imageDataDepth>
<imageRaster><numberOfRows>{spec.rows}</numberOfRows><numberOfColumns>{spec.cols}</numberOfColumns>
{spacing}<azimuthLooks>{looks}.0</azimuthLooks><rangeLooks>1.0</rangeLooks></imageRaster></imageDataInfo>
<sceneInfo><sceneID>C004_N020_A_SM_strip_007_R_2008-01-31T17:05:23.000000Z</sceneID>
<start><timeUTC>{_time(0)}</timeUTC></start><stop><timeUTC>{_time((spec.rows - 1) * LINE_S)}</timeUTC></stop>
<rangeTime><firstPixel>{NEAR_S:.12e}</firstPixel><lastPixel>{spec.far_s:.12e}</lastPixel></rangeTime>
{_corner(spec, "sceneCenterCoord", last[0] // 2, last[1] // 2)}{corners}
<headingAngle>349.5</headingAngle></sceneInfo>
</productInfo>
<productSpecific>{_specific(spec)}</productSpecific>
{"".join(_noise(spec, *layer) for layer in layers)}
<calibration>{factors}</calibration>
</level1Product>
"""


def georeference(spec: TsxSpec, counts: tuple[int, int] = (5, 6)) -> str:
    """GEOREF.xml: a grid of points in azimuth and range, rows and columns only in that of SSC."""
    points = []
    for i, row in enumerate(np.linspace(0, spec.rows - 1, counts[0]).round().astype(int).tolist()):
        for j, col in enumerate(np.linspace(0, spec.cols - 1, counts[1]).round().astype(int).tolist()):
            latitude, longitude, incidence = position(spec, row, col)
            pixel = f"<row>{row + 1}</row><col>{col + 1}</col>" if spec.variant == "SSC" else ""
            points.append(
                f'<gridPoint iaz="{i + 1}" irg="{j + 1}"><t>{row * LINE_S:.12e}</t>'
                f"<tau>{col * RANGE_STEP_S:.12e}</tau>"
                f"<lat>{latitude:.9f}</lat><lon>{longitude:.9f}</lon>{pixel}<height>500.0</height>"
                f"<inc>{incidence:.9f}</inc><elev>30.0</elev></gridPoint>"
            )
    return f"""<geoReference>
<geolocationGrid>
<numberOfGridPoints><azimuth>{counts[0]}</azimuth><range>{counts[1]}</range></numberOfGridPoints>
<gridReferenceTime><tReferenceTimeUTC>{_time(0)}</tReferenceTimeUTC>
<tauReferenceTime>{NEAR_S:.12e}</tauReferenceTime></gridReferenceTime>
{chr(10).join(points)}
</geolocationGrid>
</geoReference>
"""


# --- products


def make_tsx(folder: Path, seed: int, spec: TsxSpec) -> Path:
    """A TerraSAR-X product: its folder below ``folder``."""
    product = folder / spec.name
    (product / "IMAGEDATA").mkdir(parents=True)
    (product / f"{spec.name}.xml").write_text(annotation(spec), encoding="utf-8")
    if spec.georef:
        (product / "ANNOTATION").mkdir()
        (product / "ANNOTATION" / "GEOREF.xml").write_text(georeference(spec), encoding="utf-8")
    for index, polarisation in enumerate(spec.polarisations):
        image = product / "IMAGEDATA" / f"IMAGE_{polarisation}_SRA_strip_007.{spec.suffix}"
        if spec.variant == "SSC":
            write_cosar(image, speckle(spec.rows, spec.cols, seed + index), spec.version)
        else:
            pixels = detected(spec.rows, spec.cols, seed + index)
            write_tiff(image, pixels, mapped=spec.variant in ("GEC", "EEC"))
    return product


SMALL = TsxSpec(rows=96, cols=96)  # a picture in the repository stays below 20 kB


def make_ssc_v1(folder: Path, seed: int) -> Path:
    """SSC, COSAR version 1."""
    return make_tsx(folder / "ssc_v1", seed, TsxSpec())


def make_ssc_v2(folder: Path, seed: int) -> Path:
    """SSC of TanDEM-X, COSAR version 2: half floats."""
    return make_tsx(folder / "ssc_v2", seed, TsxSpec(version=2, mission="TDX-1"))


def make_mgd(folder: Path, seed: int) -> Path:
    """MGD: ground range, GeoTIFF without a map."""
    return make_tsx(folder / "mgd", seed, replace(SMALL, variant="MGD"))


def make_gec(folder: Path, seed: int) -> Path:
    """GEC: UTM GeoTIFF."""
    return make_tsx(folder / "gec", seed, replace(SMALL, variant="GEC"))


def make_eec(folder: Path, seed: int) -> Path:
    """EEC: UTM GeoTIFF."""
    return make_tsx(folder / "eec", seed, replace(SMALL, variant="EEC"))


def makers() -> Iterator[Callable[[Path, int], Path]]:
    """Every ``make_x(folder, seed)`` of this file and of make_other_products.py beside it."""
    yield from (make_ssc_v1, make_ssc_v2, make_mgd, make_gec, make_eec)
    other = HERE / "make_other_products.py"
    if other.is_file():
        for name, make in vars(_load(other)).items():
            if name.startswith("make_") and list(inspect.signature(make).parameters) == ["folder", "seed"]:
                yield make


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def make_all(folder: Path, seed: int = SEED) -> list[Path]:
    """Every product, below ``folder``."""
    return [make(folder, seed) for make in makers()]


def differences(made: Path, held: Path) -> list[str]:
    """Files that differ, or that only one of two folders has."""
    found = [{p.relative_to(root) for p in root.rglob("*") if p.is_file()} for root in (made, held)]
    odd = {path.as_posix() for path in found[0] ^ found[1]}
    same = found[0] & found[1]
    odd |= {p.as_posix() for p in same if not filecmp.cmp(made / p, held / p, shallow=False)}
    return sorted(odd)


def main(arguments: list[str] | None = None) -> int:
    """Write the products, or check those that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args(arguments).check
    held = HERE / "products"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "products"
        made.mkdir()
        make_all(made)
        odd = differences(made, held)
        if not check:
            for path in sorted(made.rglob("*")):
                if path.is_file():
                    target = held / path.relative_to(made)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(path.read_bytes())
    for name in odd:
        print(f"{'differs' if check else 'written'}: {name}")
    return 1 if check and odd else 0


if __name__ == "__main__":
    sys.exit(main())
