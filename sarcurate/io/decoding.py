"""Decoding: what a picture file of any user holds, told apart by its suffix, bounded and never converted."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageFile
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from sarcurate.errors import DataError
from sarcurate.io.safe import IMAGE_LIMITS, ImageLimits, check_image_bounds, read_bounded

PICTURE_SUFFIXES = (".npy", ".tif", ".tiff", ".png", ".jpg", ".jpeg")
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
SAVE_AGAIN = "save it again as .npy, 8 or 16 bit grey PNG, or one-band TIFF (uint8, uint16, float32, complex)"
# what NumPy raises on a damaged header, which it parses as Python text
_NPY_ERRORS = (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError)
# what Pillow and its codecs raise on damaged files; anything else is a bug of ours
_PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Stored:
    """What a file holds, and how: ``array`` is (rows, cols), or (rows, cols, 2) with I then Q."""

    array: NDArray[Any]
    was_rgb: bool = False
    was_jpeg: bool = False


def read_stored(path: Path, limits: ImageLimits = IMAGE_LIMITS) -> Stored:
    """What one NPY, TIFF, PNG or JPEG file holds.

    Raises:
        DataError: unreadable or truncated file, larger than ``limits``, several bands or pages, colour.
    """
    readers = {".npy": _read_npy, ".tif": read_any_tiff, ".tiff": read_any_tiff}
    suffix = path.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise DataError(f"{path}: expected one of {', '.join(PICTURE_SUFFIXES)}", fix=SAVE_AGAIN)
    data = read_bounded(path, limits.max_bytes)
    return readers.get(suffix, _read_picture)(data, path, limits)


def wrong(path: Path, found: str, expected: str, fix: str) -> DataError:
    """The error for a file that holds something else."""
    return DataError(f"{path}: found {found}, expected {expected}", fix=fix)


def _read_npy(data: bytes, path: Path, limits: ImageLimits) -> Stored:
    stream = io.BytesIO(data)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        if version not in headers:
            raise ValueError(f"NPY version {version}")
        shape, fortran, dtype = headers[version](stream)
    except _NPY_ERRORS as error:
        raise DataError(f"{path}: not a readable NPY file: {error}", fix=SAVE_AGAIN) from error
    if dtype.hasobject or dtype.names or dtype.kind not in "iufc" or len(shape) not in (2, 3):
        raise wrong(
            path, f"{dtype} of shape {shape}", "a plain array (rows, cols) or (rows, cols, 2)", SAVE_AGAIN
        )
    check_image_bounds((shape[0], shape[1]), dtype.itemsize * math.prod(shape[2:]), limits, str(path))
    found, expected = len(data) - stream.tell(), math.prod(shape) * dtype.itemsize
    if found != expected:
        raise wrong(
            path,
            f"{found} bytes of samples",
            f"{expected} for {dtype} {shape}",
            "copy or export the file again",
        )
    flat = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    return Stored(flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("=")))


def read_any_tiff(data: bytes, path: Path, limits: ImageLimits) -> Stored:
    """A TIFF from anywhere, by GDAL: Pillow misreads some (compressed big-endian float32) without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # an empty MemoryFile would be opened for writing
            with MemoryFile(data or b"empty") as memory, memory.open(driver="GTiff") as file:
                _check_tiff(file, path, limits)
                array: NDArray[Any] = file.read(1) if file.count == 1 else np.moveaxis(file.read(), 0, -1)
                was_jpeg = "JPEG" in file.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "")
        except (RasterioError, CPLE_BaseError) as error:  # GDAL's own where a property reads the header
            raise DataError(f"{path}: not a readable TIFF file: {error}", fix=SAVE_AGAIN) from error
    return Stored(array if array.ndim == 2 else _one_channel(array, path), array.ndim == 3, was_jpeg)


def _check_tiff(file: rasterio.io.DatasetReader, path: Path, limits: ImageLimits) -> None:
    grey = file.count == 1 and file.colorinterp[0] not in (ColorInterp.palette, ColorInterp.alpha)
    grey |= file.colorinterp == _RGB and set(file.dtypes) <= {"uint8", "uint16"}
    inverted = file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
    if not grey or inverted or file.subdatasets:
        found = "white is zero" if inverted else f"{file.count} bands {[c.name for c in file.colorinterp]}"
        raise wrong(path, found if not file.subdatasets else "several pages", "one grey band", SAVE_AGAIN)
    if set(file.scales) != {1.0} or set(file.offsets) != {0.0}:
        raise wrong(
            path,
            f"scale {file.scales[0]} and offset {file.offsets[0]} in the header",
            "values in their physical unit",
            "apply them and save float32",
        )
    bytes_per_px = 8 if "complex" in file.dtypes[0] else np.dtype(file.dtypes[0]).itemsize
    check_image_bounds((file.height, file.width), bytes_per_px * file.count, limits, str(path))


def _read_picture(data: bytes, path: Path, limits: ImageLimits) -> Stored:
    """An 8 or 16 bit grey PNG, or an 8 bit grey JPEG; both also with three equal 8 bit channels."""
    kind, layouts = (
        ("PNG", ("L", "I;16B", "RGB")) if path.suffix.lower() == ".png" else ("JPEG", ("L", "RGB"))
    )
    with warnings.catch_warnings():
        # some damage is only warned about; a picture with a warning is not one to trust
        warnings.simplefilter("error")
        try:
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                check_image_bounds((image.height, image.width), 4, limits, str(path))
                _check_grey(image, path, layouts)
                array = np.array(image)
        except (*_PILLOW_ERRORS, Warning) as error:
            raise DataError(f"{path}: not a readable {kind} file: {error}", fix=SAVE_AGAIN) from error
    is_rgb = array.ndim == 3
    return Stored(_one_channel(array, path) if is_rgb else array, is_rgb, kind == "JPEG")


def _one_channel(bands: NDArray[Any], path: Path) -> NDArray[Any]:
    """One of three channels (rows, cols, 3), all exactly equal."""
    if (bands[..., 0] == bands[..., 1]).all() and (bands[..., 0] == bands[..., 2]).all():
        return np.ascontiguousarray(bands[..., 0])
    fix = "export the grey SAR picture, not a colour view of it"
    raise wrong(path, "RGB with different colour channels", "one grey channel, or three equal ones", fix)


def _check_grey(image: ImageFile.ImageFile, path: Path, layouts: tuple[str, ...]) -> None:
    """Refuse what Pillow would convert on its way: colour, palettes, few bits, white as zero, pages."""
    args = image.tile[0].args if image.tile else None
    layout = args[0] if isinstance(args, tuple) else args
    if getattr(image, "n_frames", 1) == 1 and layout in layouts:
        return
    found = f"mode {image.mode} (layout {layout}, {getattr(image, 'n_frames', 1)} frames)"
    raise wrong(path, found, "one 8 or 16 bit grey picture", SAVE_AGAIN)
