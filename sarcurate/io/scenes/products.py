"""The opener: what a path holds, told by content, and the scene in it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from sarcurate.errors import DataError
from sarcurate.io.safe import extract_tar, extract_zip
from sarcurate.io.scenes.mapped_geotiff import open_mapped
from sarcurate.io.scenes.plain_image import open_plain
from sarcurate.io.scenes.product_files import has_side_file, image_polarisations
from sarcurate.io.scenes.scene import Scene
from sarcurate.io.sensors import SensorProfile
from sarcurate.io.xml import find_all, parse_xml


class Kind(StrEnum):
    """What a path holds, as far as its first bytes or its folder's files tell."""

    TERRASARX = "TerraSAR-X product"
    COSAR = "COSAR file"
    NITF = "NITF file"
    TIFF = "TIFF file"
    PICTURE = "PNG or JPEG picture"
    NPY = "NumPy array"
    XML = "XML file"
    JSON = "JSON file"
    ARCHIVE = "archive"
    CHIPSET = "ChipSet"
    FOLDER = "folder"
    HDF5 = "HDF5 file"
    UNKNOWN = "unknown"


KNOWN = (
    "TerraSAR-X product folder or annotation, COSAR (.cos), SICD NITF, GeoTIFF, PNG or JPEG, "
    "and with a profile that maps it the folder or side file of another GeoTIFF product"
)
_LAYERS = "productComponents/imageData/polLayer"
_HEAD_BYTES = 4096
_MOST_ENTRIES = 10_000
_MAGIC = (
    (b"II*\0", Kind.TIFF),
    (b"MM\0*", Kind.TIFF),
    (b"II+\0", Kind.TIFF),
    (b"MM\0+", Kind.TIFF),
    (b"NITF", Kind.NITF),
    (b"NSIF", Kind.NITF),
    (b"\x89PNG\r\n\x1a\n", Kind.PICTURE),
    (b"\xff\xd8\xff", Kind.PICTURE),
    (b"\x93NUMPY", Kind.NPY),
    (b"\x89HDF\r\n\x1a\n", Kind.HDF5),
    (b"PK\x03\x04", Kind.ARCHIVE),
    (b"PK\x05\x06", Kind.ARCHIVE),
    (b"\x1f\x8b", Kind.ARCHIVE),
    (b"BZh", Kind.ARCHIVE),
    (b"\xfd7zXZ\0", Kind.ARCHIVE),
    (b"7z\xbc\xaf", Kind.ARCHIVE),
)


def sniff(path: Path) -> Kind:
    """What ``path`` holds, by content alone; the whole file is not read.

    Raises:
        DataError: where there is nothing, or it is neither file nor folder, or cannot be read.
    """
    if path.is_dir():
        return _sniff_folder(path)
    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file or folder", fix="check the path; known kinds: " + KNOWN
        )
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", fix="check its permissions") from error
    return _sniff_head(head)


def open_scene(path: Path, profile: SensorProfile | None = None, polarisation: str | None = None) -> Scene:
    """The scene of a product, file or folder; use it as a context manager.

    Args:
        path: see ``KNOWN``; told apart by content, not by suffix.
        profile: fills in what a plain image does not say, and maps other operators' products. Products that
            describe themselves (TerraSAR-X, SICD) are read without it.
        polarisation: HH, HV, VH or VV, where a product has several.

    Raises:
        DataError: nothing that is known, an archive, or whatever the reader of its kind finds wrong.
    """
    kind = sniff(path)
    if kind is Kind.TERRASARX:
        from sarcurate.io.scenes.terrasarx import open_terrasarx

        return open_terrasarx(path, polarisation)
    if kind is Kind.COSAR:
        from sarcurate.io.scenes.cosar import open_cosar

        return _completed(open_cosar(path), profile, polarisation)
    if kind is Kind.NITF:
        from sarcurate.io.scenes.sicd import open_sicd

        return open_sicd(path, polarisation)
    if kind in (Kind.TIFF, Kind.PICTURE):
        return _open_image(path, profile, polarisation)
    if kind in (Kind.FOLDER, Kind.XML, Kind.JSON) and profile is not None and profile.product is not None:
        return open_mapped(path, profile, polarisation)
    raise _refused(path, kind, profile)


def polarisations(path: Path, profile: SensorProfile | None = None) -> tuple[str, ...]:
    """Polarisations of a product that holds several images; empty for all else, or where names do not tell.

    Raises:
        DataError: as :func:`sniff`, and for a broken annotation or no image.
    """
    kind = sniff(path)
    if kind is Kind.TERRASARX:
        annotations = sorted(path.glob("T[SD]X1_SAR__*.xml")) if path.is_dir() else [path]
        layers = [node for file in annotations for node in find_all(parse_xml(file, str(file)), _LAYERS)]
        return tuple(sorted({(layer.text or "").strip() for layer in layers} - {""}))
    if profile is None or profile.product is None or kind not in (Kind.FOLDER, Kind.XML, Kind.JSON):
        return ()
    return tuple(sorted(name for name in image_polarisations(path, profile) if name))


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a ZIP or tar product into the new folder ``folder``, and name the product in it.

    Raises:
        DataError: no archive, or one with links, escaping or colliding names, or past the limits.
    """
    if sniff(archive) is not Kind.ARCHIVE:
        raise DataError(f"{archive}: is no ZIP or tar archive", fix="open it as it is")
    with archive.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    (extract_zip if is_zip else extract_tar)(archive, folder)
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return inside[0] if len(inside) == 1 else folder


def _sniff_head(head: bytes) -> Kind:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[28:32] == b"CSAR":
        return Kind.COSAR
    if head[257:262] == b"ustar":
        return Kind.ARCHIVE
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return Kind.TERRASARX if b"<level1Product" in head else Kind.XML
    return Kind.JSON if text.startswith((b"{", b"[")) else Kind.UNKNOWN


def _sniff_folder(path: Path) -> Kind:
    names = set()
    for number, item in enumerate(path.iterdir()):
        if number >= _MOST_ENTRIES:
            break
        names.add(item.name)
    if {"chipset.json", "metadata.parquet"} <= names:
        return Kind.CHIPSET
    annotated = any(name.upper().startswith(("TSX1_SAR__", "TDX1_SAR__")) and name.lower().endswith(".xml")
                    for name in names)  # fmt: skip
    return Kind.TERRASARX if annotated else Kind.FOLDER


def _completed(scene: Scene, profile: SensorProfile | None, polarisation: str | None) -> Scene:
    """A scene that says nothing of its sensor, with what profile and caller say."""
    facts = replace(scene.facts, polarisation=polarisation.upper() if polarisation else None)
    if profile is not None:
        facts = replace(
            facts,
            sensor=profile.name,
            band=profile.band,
            mode=profile.mode,
            range_spacing_m=profile.range_spacing_m,
            azimuth_spacing_m=profile.azimuth_spacing_m,
            warnings=(*facts.warnings, f"sensor and spacing are those of profile {profile.name}"),
        )
    return replace(scene, facts=facts)


def _open_image(path: Path, profile: SensorProfile | None, polarisation: str | None) -> Scene:
    if profile is not None and profile.product is not None and has_side_file(path, profile):
        return open_mapped(path, profile, polarisation)
    return open_plain(path, profile, polarisation)


def _refused(path: Path, kind: Kind, profile: SensorProfile | None) -> DataError:
    fixes = {
        Kind.ARCHIVE: "unpack it first (sarcurate unpack ARCHIVE FOLDER) and name the product that it tells",
        Kind.NPY: "a single array is a chip: `sarcurate inspect` shows it, and class folders take it in",
        Kind.CHIPSET: "it is finished: `sarcurate inspect` shows it",
    }
    mapped = "name a sensor profile with a section product, see docs/products/geotiff.md; known kinds: "
    if profile is not None and profile.product is None:
        mapped = f"profile {profile.name} has no section product; " + mapped
    other = mapped if kind in (Kind.FOLDER, Kind.XML, Kind.JSON) else "known kinds: "
    return DataError(f"{path}: found {kind}, expected a scene", fix=fixes.get(kind, other + KNOWN))
