"""GeoTIFF, PNG and JPEG scenes: opened with bounds on what a header may claim, read by window."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from sarcurate.errors import DataError
from sarcurate.io.scenes.scene import Window


@dataclass(frozen=True)
class SceneLimits:
    """Largest scene that is opened, by what its header claims; only windows are ever decoded.

    ``max_block_bytes`` bounds what one tile or strip decodes to, so a compression bomb has no room, and
    ``max_window_bytes`` what one window does. A picture (PNG, JPEG) may be decoded whole by its codec.
    """

    max_side_px: int
    max_blocks: int
    max_block_bytes: int
    max_window_bytes: int
    max_picture_px: int


SCENE_LIMITS = SceneLimits(
    max_side_px=250_000,
    max_blocks=4_000_000,
    max_block_bytes=128 << 20,
    max_window_bytes=4 << 30,
    max_picture_px=1 << 28,
)

_TYPES = {
    "uint8": 1, "int16": 2, "uint16": 2, "float32": 4, "float64": 8,
    "complex_int16": 4, "complex64": 8, "complex128": 16,
}  # fmt: skip
# GDAL's own errors come through where rasterio does not wrap them, as when a property reads a damaged header.
GDAL_ERRORS = (RasterioError, CPLE_BaseError, CRSError)
_WORDS = {"complex_int16": "complex int16", "complex64": "complex float32", "complex128": "complex float64"}
_DRIVERS = {b"II": "GTiff", b"MM": "GTiff", b"\x89P": "PNG", b"\xff\xd8": "JPEG"}
# Neither siblings (.aux.xml, .ovr, .msk, world files) nor anything remote: the file alone says what it is.
_ENVIRONMENT = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GDAL_HTTP_MAX_RETRY": 0,
}


@dataclass(frozen=True)
class RasterFile:
    """An open raster file of one or two bands.

    Attributes:
        driver: ``GTiff``, ``PNG`` or ``JPEG``.
        data_type: GDAL's name of the type of all bands, such as ``complex_int16``.
        bands: 1, or 2 where the file may hold I and Q.
        transform: pixel to map coordinates, None where the file has none; ``crs`` its WKT.
        nodata: the value that the header declares, or None.
    """

    path: Path
    driver: str
    shape: tuple[int, int]
    data_type: str
    bands: int
    transform: Affine | None
    crs: str | None
    nodata: float | None
    dataset: rasterio.io.DatasetReader

    @property
    def is_complex(self) -> bool:
        """True where a band holds complex samples."""
        return self.data_type.startswith("complex")

    @property
    def pixel_type(self) -> str:
        """In words, such as ``complex int16`` or ``uint16``."""
        return _WORDS.get(self.data_type, self.data_type)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dataset.close()


class RasterPixels:
    """Samples of a raster file by window, the file kept open."""

    def __init__(self, file: RasterFile, *, iq_bands: bool, limits: SceneLimits = SCENE_LIMITS) -> None:
        self._file, self._iq = file, iq_bands
        self._most_px = limits.max_window_bytes // (_TYPES[file.data_type] * file.bands)

    def read(self, window: Window) -> NDArray[Any]:
        """Samples (rows, cols): complex64, also from two bands I and Q, or real of the file's type."""
        if window.rows * window.cols > self._most_px:
            raise DataError(
                f"{self._file.path}: window of {window.rows} x {window.cols} px is too much to hold at once, "
                f"expected at most {self._most_px} px",
                fix="read smaller windows",
            )
        place = RasterWindow(window.col, window.row, window.cols, window.rows)
        try:
            if self._iq:
                both = self._file.dataset.read((1, 2), window=place)
                return _complex(both[0], both[1])
            samples: NDArray[Any] = self._file.dataset.read(1, window=place)
        except GDAL_ERRORS as error:
            raise DataError(
                f"{self._file.path}: the window at row {window.row}, column {window.col} cannot be decoded: "
                f"{error.__cause__ or error}",
                fix="the file is truncated or damaged: copy it again",
            ) from error
        return samples.astype(np.complex64) if samples.dtype == np.complex128 else samples

    def close(self) -> None:
        """Release the file."""
        self._file.dataset.close()


def open_raster(path: Path, limits: SceneLimits = SCENE_LIMITS) -> RasterFile:
    """Open a GeoTIFF, PNG or JPEG; nothing is decoded.

    Only these drivers are tried, on this one file: no VRT, no archive or network path, no file beside it.

    Raises:
        DataError: not such a file, damaged header, dimensions, tiles or types past ``limits``, colour or
            palette, several pages, or scale and offset in the header.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file", fix="check the path")
    try:
        with path.open("rb") as file:
            driver = _DRIVERS.get(file.read(2))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", fix="check its permissions") from error
    if driver is None:
        raise DataError(f"{path}: not a GeoTIFF, PNG or JPEG by its first bytes", fix=_SAVE_AGAIN)
    with warnings.catch_warnings(), rasterio.Env(**_ENVIRONMENT):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = rasterio.open(path.resolve(), driver=driver)
        except GDAL_ERRORS as error:
            raise _unreadable(path, error) from error
        try:
            _check(dataset, path, limits)
            return _described(dataset, path)
        except GDAL_ERRORS as error:
            dataset.close()
            raise _unreadable(path, error) from error
        except DataError:
            dataset.close()
            raise


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a readable GeoTIFF, PNG or JPEG: {error}", fix="copy or export it again")


def _described(dataset: rasterio.io.DatasetReader, path: Path) -> RasterFile:
    placed = dataset.transform != Affine.identity()
    return RasterFile(
        path=path,
        driver=dataset.driver,
        shape=(dataset.height, dataset.width),
        data_type=dataset.dtypes[0],
        bands=dataset.count,
        transform=dataset.transform if placed else None,
        crs=dataset.crs.to_wkt() if dataset.crs else None,
        nodata=dataset.nodata,
        dataset=dataset,
    )


def _check(dataset: rasterio.io.DatasetReader, path: Path, limits: SceneLimits) -> None:
    rows, cols = dataset.height, dataset.width
    block = f"{dataset.block_shapes[0][0]} x {dataset.block_shapes[0][1]}" if dataset.count else "no"
    problems = (
        (not (0 < rows <= limits.max_side_px and 0 < cols <= limits.max_side_px),
         f"{rows} x {cols} pixels", f"1 to {limits.max_side_px} a side"),
        (dataset.driver != "GTiff" and rows * cols > limits.max_picture_px,
         f"a picture of {rows} x {cols} pixels", f"at most {limits.max_picture_px} in all"),
        (bool(dataset.subdatasets), "several pages", "one image a file"),
        (dataset.count not in (1, 2), f"{dataset.count} bands", "one band, or two holding I and Q"),
        (any(name not in _TYPES for name in dataset.dtypes) or len(set(dataset.dtypes)) != 1,
         f"samples of {', '.join(dataset.dtypes[:4])}", f"one of {', '.join(_TYPES)}"),
        (any(c in (ColorInterp.palette, ColorInterp.alpha) for c in dataset.colorinterp[:2]),
         "a palette or transparency", "plain grey samples"),
        (set(dataset.scales[:2]) - {1.0} or set(dataset.offsets[:2]) - {0.0},
         f"scale {dataset.scales[0]} and offset {dataset.offsets[0]} in the header", "plain samples"),
        (not _is_place(dataset.transform),
         f"pixels placed by {tuple(dataset.transform)[:6]}", "an invertible transform to map coordinates"),
    )  # fmt: skip
    for bad, found, expected in problems:
        if bad:
            raise DataError(f"{path}: found {found}, expected {expected}", fix=_SAVE_AGAIN)
    height, width = dataset.block_shapes[0]
    blocks = -(-rows // height) * -(-cols // width)
    if blocks > limits.max_blocks or height * width * _TYPES[dataset.dtypes[0]] > limits.max_block_bytes:
        raise DataError(
            f"{path}: found {blocks} tiles or strips of {block} px, expected at most {limits.max_blocks} of "
            f"{limits.max_block_bytes} bytes each",
            fix="write the file again in tiles of 512 x 512 px",
        )


def _is_place(transform: Affine) -> bool:
    """Whether positions can be had both ways, in metres or degrees of any map; identity stands for none."""
    a, b, c, d, e, f = transform[:6]
    bounded = all(abs(value) < most for value, most in zip((a, b, c, d, e, f), _MOST_PLACE, strict=True))
    return bounded and abs(a * e - b * d) > _LEAST_PIXEL_AREA


_MOST_PLACE = (1e6, 1e6, 1e9, 1e6, 1e6, 1e9)
_LEAST_PIXEL_AREA = 1e-24
_SAVE_AGAIN = "export the scene as a GeoTIFF of one grey band (uint8, uint16, float32 or complex)"


def _complex(i: NDArray[Any], q: NDArray[Any]) -> NDArray[np.complex64]:
    samples = np.empty(i.shape, dtype=np.complex64)
    samples.real, samples.imag = i, q
    return samples
