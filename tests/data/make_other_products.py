"""Small products of other kinds: Fucheng-1 as its profile guesses it, SICD NITF, plain map GeoTIFF.

Every ``make_x(folder, seed)`` writes one below ``folder`` and gives its path; the scenes are invented.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

EARTH_M = 6_378_137.0
FIXED_FDT = b"20240531120000"  # the writer stamps the time of writing into NITF headers
FIXED_DESSHDT = b"2024-05-31T12:00:00Z"


def speckle(shape: tuple[int, int], seed: int, rms: float = 200.0) -> NDArray[np.complex64]:
    """Circular Gaussian clutter of mean power ``rms``^2 with one bright point, (rows, cols)."""
    rng = np.random.default_rng(seed)
    field_ = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * rms / math.sqrt(2)
    field_[shape[0] // 2, shape[1] // 3] = 20 * rms * (1 + 1j)
    return field_.astype(np.complex64)


def write_tiff(path: Path, bands: NDArray, dtype: str, **options: object) -> Path:
    """A GeoTIFF of ``bands`` (bands, rows, cols)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2],
            dtype=dtype, **options,
        ) as file:  # fmt: skip
            file.write(bands)
    return path


@dataclass(frozen=True)
class FuchengSpec:
    """What is written into a product as fucheng1.yaml guesses it; change one field for a variant."""

    rows: int = 72
    cols: int = 64
    polarisations: tuple[str, ...] = ("VV",)
    samples: str = "complex_int16"  # complex_int16, complex64, iq_int16, iq_float32, uint16 or float32
    constant_db: float = 42.5
    side: str = "xml"
    name: str = "FC1_SM_20240531T120000"
    texts: dict[str, str] = field(default_factory=dict)

    def side_values(self, polarisation: str) -> dict[str, dict[str, str]]:
        """Texts of the side file by section and element."""
        image = {
            "projection": "Slant Range",
            "numberOfLines": str(self.rows),
            "numberOfSamples": str(self.cols),
            "rangePixelSpacing": "1.25",
            "azimuthPixelSpacing": "2.1",
            "looks": "1",
            "incidenceAngleNear": "30.0",
            "incidenceAngleFar": "33.0",
        }
        header = {
            "sceneId": self.name,
            "mode": "SM",
            "polarisation": polarisation,
            "startTime": "2024-05-31T12:00:00.5",
            "pass": "D",
            "lookSide": "R",
            "platformHeading": "190.5",
        }
        found = {"header": header, "imageInformation": image}
        return {name: {k: self.texts.get(k, v) for k, v in part.items()} for name, part in found.items()}


def make_fucheng(folder: Path, seed: int, spec: FuchengSpec) -> Path:
    """A product folder: per polarisation a GeoTIFF and an XML (or JSON) side file of the same stem."""
    root = folder / spec.name
    root.mkdir(parents=True)
    for number, polarisation in enumerate(spec.polarisations):
        stem = f"{spec.name}_{polarisation}"
        _fucheng_image(root / f"{stem}.tif", speckle((spec.rows, spec.cols), seed + number), spec.samples)
        values = spec.side_values(polarisation)
        if spec.side == "json":
            content = values | {"calibration": {"constant": [{"value": spec.constant_db}]}}
            (root / f"{stem}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        else:
            parts = "".join(
                f"<{part}>" + "".join(f"<{k}>{v}</{k}>" for k, v in texts.items()) + f"</{part}>\n"
                for part, texts in values.items()
            )
            calibration = f'<calibration><constant value="{spec.constant_db}"/></calibration>\n'
            (root / f"{stem}.xml").write_text(
                f'<?xml version="1.0"?>\n<product>\n{parts}{calibration}</product>\n', encoding="utf-8"
            )
    return root


def _fucheng_image(path: Path, scene: NDArray[np.complex64], samples: str) -> None:
    if samples.startswith("complex"):
        whole = np.round(scene.real) + 1j * np.round(scene.imag)
        write_tiff(path, whole[None].astype(np.complex64), samples)
    elif samples.startswith("iq_"):
        write_tiff(path, np.round([scene.real, scene.imag]).astype(samples[3:]), samples[3:])
    else:
        write_tiff(path, np.round(np.abs(scene))[None].astype(samples), samples)


def make_fucheng1_slc(folder: Path, seed: int) -> Path:
    """Complex int16, polarisations VV and VH."""
    return make_fucheng(folder / "fucheng1", seed, FuchengSpec(polarisations=("VV", "VH")))


def make_fucheng1_detected(folder: Path, seed: int) -> Path:
    """Detected amplitude, uint16, ground range."""
    spec = FuchengSpec(samples="uint16", name="FC1_SM_20240602T120000", texts={"projection": "Ground Range"})
    return make_fucheng(folder / "fucheng1", seed, spec)


def make_map_geotiff(folder: Path, seed: int) -> Path:
    """Float32 intensity at 3 m in UTM zone 32 north, no side file."""
    (folder / "geotiff").mkdir(parents=True, exist_ok=True)
    power = np.abs(speckle((60, 50), seed)) ** 2
    place = Affine(3.0, 0.0, 600_000.0, 0.0, -3.0, 5_300_000.0)
    path = folder / "geotiff" / "clutter_utm32.tif"
    return write_tiff(path, power[None].astype(np.float32), "float32", crs="EPSG:32632", transform=place)


@dataclass(frozen=True)
class SicdSpec:
    """What is written into a SICD; rows are range and columns azimuth. Change one field for a variant."""

    rows: int = 96
    cols: int = 80
    pixel_type: str = "RE16I_IM16I"
    incidence_deg: float = 35.0
    height_m: float = 514_000.0
    side: str = "R"
    beta0: tuple[tuple[int, int, float], ...] = ((0, 0, 2.5e-5),)
    sigma0: tuple[tuple[int, int, float], ...] = ()
    extra: str = ""

    @property
    def geometry(self) -> tuple[tuple[float, float], float]:
        """(x, z) of the sensor, for a scene centre point at latitude and longitude 0, and the slant range."""
        sensor = EARTH_M + self.height_m
        angle = math.radians(self.incidence_deg)
        slant = -EARTH_M * math.cos(angle) + math.sqrt(sensor**2 - (EARTH_M * math.sin(angle)) ** 2)
        return (EARTH_M + slant * math.cos(angle), slant * math.sin(angle)), slant


def sicd_xml(spec: SicdSpec) -> bytes:
    """SICD 1.2.1 XML of a flight to the north over the equator, looking east (right) or west."""
    (x, away), slant = spec.geometry
    y, along = (-away, 1.0) if spec.side == "R" else (away, -1.0)
    polys = "".join(
        f'<{name} order1="2" order2="2">'
        + "".join(f'<Coef exponent1="{m}" exponent2="{n}">{c!r}</Coef>' for m, n, c in terms)
        + f"</{name}>"
        for name, terms in (("SigmaZeroSFPoly", spec.sigma0), ("BetaZeroSFPoly", spec.beta0))
        if terms
    )
    radiometric = f"<Radiometric>{polys}</Radiometric>" if polys else ""
    corners = "".join(
        f'<ICP index="{index}"><Lat>{lat}</Lat><Lon>{lon}</Lon></ICP>'
        for index, lat, lon in (
            ("1:FRFC", -0.001, -0.002), ("2:FRLC", 0.001, -0.002),
            ("3:LRLC", 0.001, 0.002), ("4:LRFC", -0.001, 0.002),
        )
    )  # fmt: skip
    return f"""<SICD xmlns="urn:SICD:1.2.1">
<CollectionInfo><CollectorName>Invented-1</CollectorName><CoreName>INVENTED_0001</CoreName>
<RadarMode><ModeType>STRIPMAP</ModeType><ModeID>SM</ModeID></RadarMode></CollectionInfo>
<ImageData><PixelType>{spec.pixel_type}</PixelType><NumRows>{spec.rows}</NumRows><NumCols>{spec.cols}</NumCols>
<FirstRow>10</FirstRow><FirstCol>20</FirstCol>
<FullImage><NumRows>{spec.rows + 20}</NumRows><NumCols>{spec.cols + 40}</NumCols></FullImage>
<SCPPixel><Row>{10 + spec.rows // 2}</Row><Col>{20 + spec.cols // 2}</Col></SCPPixel>{spec.extra}</ImageData>
<GeoData><SCP><ECF><X>{EARTH_M}</X><Y>0.0</Y><Z>0.0</Z></ECF>
<LLH><Lat>0.0</Lat><Lon>0.0</Lon><HAE>0.0</HAE></LLH></SCP><ImageCorners>{corners}</ImageCorners></GeoData>
<Grid><ImagePlane>SLANT</ImagePlane><Type>RGZERO</Type>
<Row><UVectECF><X>{(EARTH_M - x) / slant!r}</X><Y>{-y / slant!r}</Y><Z>0.0</Z></UVectECF>
<SS>1.2</SS><ImpRespWid>1.7</ImpRespWid></Row>
<Col><UVectECF><X>0.0</X><Y>0.0</Y><Z>{along}</Z></UVectECF><SS>2.4</SS><ImpRespWid>3.1</ImpRespWid></Col></Grid>
<Timeline><CollectStart>2024-05-31T12:00:00.000000Z</CollectStart></Timeline>
<RadarCollection><TxFrequency><Min>5.35e9</Min><Max>5.45e9</Max></TxFrequency></RadarCollection>
<ImageFormation><TxRcvPolarizationProc>V:H</TxRcvPolarizationProc>
<TxFrequencyProc><MinProc>5.35e9</MinProc><MaxProc>5.45e9</MaxProc></TxFrequencyProc></ImageFormation>
<SCPCOA><ARPPos><X>{x!r}</X><Y>{y!r}</Y><Z>0.0</Z></ARPPos><ARPVel><X>0.0</X><Y>0.0</Y><Z>7500.0</Z></ARPVel>
<SideOfTrack>{spec.side}</SideOfTrack><SlantRange>{slant!r}</SlantRange>
<IncidenceAng>{spec.incidence_deg}</IncidenceAng></SCPCOA>
{radiometric}</SICD>
""".encode()


def sicd_samples(spec: SicdSpec, seed: int) -> NDArray:
    """Samples (SICD rows, columns) in the type that the file stores."""
    scene = speckle((spec.rows, spec.cols), seed)
    if spec.pixel_type == "RE32F_IM32F":
        return scene
    if spec.pixel_type == "AMP8I_PHS8I":
        rng = np.random.default_rng(seed)
        stored = np.empty(scene.shape, [("amp", "u1"), ("phase", "u1")])
        stored["amp"], stored["phase"] = rng.integers(0, 256, (2, *scene.shape))
        return stored
    stored = np.empty(scene.shape, [("real", "i2"), ("imag", "i2")])
    stored["real"], stored["imag"] = np.round(scene.real), np.round(scene.imag)
    return stored


def write_sicd(path: Path, spec: SicdSpec, seed: int) -> Path:
    """A SICD NITF by sarkit's writer, the time of writing taken out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # sarkit reads its schema by an old function
        warnings.simplefilter("ignore", UserWarning)  # our XML has only what a reader of images needs
        _write(path, spec, seed)
    data = bytearray(path.read_bytes())
    stamp = data.index(b"99999XML     ") + 13  # DESSHDT of the data extension
    data[25:39], data[stamp : stamp + 20] = FIXED_FDT, FIXED_DESSHDT
    path.write_bytes(data)
    return path


def _write(path: Path, spec: SicdSpec, seed: int) -> None:
    import lxml.etree
    import sarkit.sicd

    part = {"security": {"clas": "U"}}
    metadata = sarkit.sicd.NitfMetadata(
        xmltree=lxml.etree.ElementTree(lxml.etree.fromstring(sicd_xml(spec))),
        file_header_part={"ostaid": "invented", "ftitle": "invented scene"} | part,
        im_subheader_part={"isorce": "invented"} | part,
        de_subheader_part=part,
    )
    with path.open("wb") as file, sarkit.sicd.NitfWriter(file, metadata) as writer:
        writer.write_image(sicd_samples(spec, seed))


def make_sicd(folder: Path, seed: int) -> Path:
    """SICD of int16 samples with a constant beta0 factor."""
    return write_sicd(folder / "sicd" / "invented.nitf", SicdSpec(), seed)
