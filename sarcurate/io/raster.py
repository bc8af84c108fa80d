"""Single pictures: any user's file in, detected pixels out; our own lossless TIFF chips and PNG previews."""

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
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from sarcurate.errors import DataError
from sarcurate.io.safe import IMAGE_LIMITS, ImageLimits, atomic_write, check_image_bounds, read_bounded

PICTURE_SUFFIXES = (".npy", ".tif", ".tiff", ".png", ".jpg", ".jpeg")

_DETECTED = ("uint8", "uint16", "float16", "float32", "float64")
_COMPLEX = ("complex64", "complex128")
_IQ = ("int8", "int16", "int32", "float16", "float32", "float64")
_SAVE_AGAIN = (
    "save it again as .npy, 8 or 16 bit grey PNG, or one-band TIFF (uint8, uint16, float32, complex)"
)
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
class Pixels:
    """One detected picture.

    Attributes:
        values: (rows, cols), finite; uint8, uint16 or float32.
        was_complex: the file held complex samples s, so ``values`` are intensity abs(s)^2.
        source_dtype: element type in the file, "iq:<type>" for I and Q on a last axis.
    """

    values: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
    was_complex: bool
    source_dtype: str


def read_chip(path: Path, limits: ImageLimits = IMAGE_LIMITS) -> Pixels:
    """Detected pixels of one file: NPY, TIFF, PNG or JPEG, told apart by its suffix.

    NPY and TIFF may be complex, NPY also real of shape (rows, cols, 2) with I then Q: both become intensity.
    Values keep their meaning; floats come out as float32. Negative values are left to the radiometry.

    Raises:
        DataError: unreadable or truncated file, larger than ``limits``, several bands or pages, colour,
            another element type, NaN or infinity.
    """
    readers = {".npy": _read_npy, ".tif": _read_any_tiff, ".tiff": _read_any_tiff}
    suffix = path.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise DataError(f"{path}: expected one of {', '.join(PICTURE_SUFFIXES)}", fix=_SAVE_AGAIN)
    data = read_bounded(path, limits.max_bytes)
    return _detect(readers.get(suffix, _read_picture)(data, path, limits), path)


def read_tiff(path: Path, limits: ImageLimits = IMAGE_LIMITS) -> NDArray[np.float32] | NDArray[np.uint16]:
    """A chip written by :func:`write_tiff`, (rows, cols) float32 or uint16, bit for bit.

    Raises:
        DataError: as :func:`read_chip`, and for another element type.
    """
    array = _read_any_tiff(read_bounded(path, limits.max_bytes), path, limits)
    if array.dtype not in (np.float32, np.uint16):
        raise _wrong(
            path, f"{array.dtype} pixels", "float32 or uint16", "make the chip again from its source"
        )
    if not np.isfinite(array).all():
        raise _wrong(path, "NaN or infinite pixels", "finite ones", "make the chip again from its source")
    return array


def storable(array: NDArray[Any], source: str) -> NDArray[np.float32] | NDArray[np.uint16]:
    """The array as a chip file holds it, values unchanged: uint8 as uint16, float32 and uint16 as they are.

    Args:
        array: (rows, cols) uint8, uint16 or float32, finite.
        source: file or chip, for the message.

    Raises:
        DataError: for any other array.
    """
    if array.dtype.name not in ("uint8", "uint16", "float32") or array.ndim != 2:
        raise DataError(
            f"{source}: found {array.dtype} of shape {array.shape}, expected (rows, cols) of uint8, uint16 "
            "or float32",
            fix="detect complex samples first, convert other types knowingly",
        )
    check_image_bounds((array.shape[0], array.shape[1]), array.itemsize, IMAGE_LIMITS, source)
    if not np.isfinite(array).all():
        raise DataError(
            f"{source}: found NaN or infinite pixels, expected finite ones",
            fix="crop the valid part or drop the chip",
        )
    return array if array.dtype.name == "float32" else array.astype(np.uint16, copy=False)


def write_tiff(path: Path, array: NDArray[Any]) -> None:
    """Write a one-band lossless TIFF (deflate), readable by Pillow, ``datasets`` and GDAL.

    Pillow writes it: faster than GDAL for small chips, and without a warning on missing georeference.
    The file holds no clock, name or position, so equal arrays give equal bytes for one version of Pillow.

    Args:
        path: the final place; the file appears complete or not at all.
        array: as :func:`storable` takes it.

    Raises:
        DataError: as :func:`storable`.
    """
    _save(path, storable(array, str(path)), "TIFF", compression="tiff_adobe_deflate")


def write_preview(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an 8 bit grey PNG of ``array``, (rows, cols) uint8, for eyes only."""
    if array.dtype != np.uint8 or array.ndim != 2:
        raise _wrong(path, f"{array.dtype} {array.shape}", "2-D uint8", "scale to 0..255 in decibels first")
    _save(path, array, "PNG")


def _save(path: Path, array: NDArray[Any], kind: str, **options: str) -> None:
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    buffer = io.BytesIO()
    Image.fromarray(native).save(buffer, kind, **options)
    with atomic_write(path, durable=False) as file:
        file.write(buffer.getbuffer())


def _wrong(path: Path, found: str, expected: str, fix: str) -> DataError:
    return DataError(f"{path}: found {found}, expected {expected}", fix=fix)


def _detect(array: NDArray[Any], path: Path) -> Pixels:
    """Detected float32 or integer pixels from what a file held."""
    name = array.dtype.name
    is_iq = array.ndim == 3 and array.shape[-1] == 2 and name in _IQ
    if not is_iq and (array.ndim != 2 or name not in _DETECTED + _COMPLEX):
        raise _wrong(
            path,
            f"{name} of shape {array.shape}",
            f"(rows, cols) of {', '.join(_DETECTED + _COMPLEX)}, or (rows, cols, 2) of {', '.join(_IQ)}",
            _SAVE_AGAIN,
        )
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise _wrong(
            path, f"{bad} NaN or infinite values", "finite ones", "crop the valid part or drop the chip"
        )
    if is_iq:
        values = _intensity(array[..., 0], array[..., 1])
    elif name in _COMPLEX:
        values = _intensity(array.real, array.imag)
    else:
        with np.errstate(over="ignore"):
            values = array.astype(np.float32) if array.dtype.kind == "f" else array
    if not np.isfinite(values).all():
        raise _wrong(
            path, "values whose intensity overflows float32", "smaller ones", "scale the samples down"
        )
    return Pixels(np.ascontiguousarray(values), is_iq or name in _COMPLEX, f"iq:{name}" if is_iq else name)


def _intensity(i: NDArray[Any], q: NDArray[Any]) -> NDArray[np.float32]:
    # in float64, where the squares of 16 bit samples are exact, so float32 rounds once
    with np.errstate(over="ignore"):
        return (i.astype(np.float64) ** 2 + q.astype(np.float64) ** 2).astype(np.float32)


def _read_npy(data: bytes, path: Path, limits: ImageLimits) -> NDArray[Any]:
    stream = io.BytesIO(data)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        if version not in headers:
            raise ValueError(f"NPY version {version}")
        shape, fortran, dtype = headers[version](stream)
    except _NPY_ERRORS as error:
        raise DataError(f"{path}: not a readable NPY file: {error}", fix=_SAVE_AGAIN) from error
    if dtype.hasobject or dtype.names or dtype.kind not in "iufc" or len(shape) not in (2, 3):
        raise _wrong(
            path, f"{dtype} of shape {shape}", "a plain array (rows, cols) or (rows, cols, 2)", _SAVE_AGAIN
        )
    check_image_bounds((shape[0], shape[1]), dtype.itemsize * math.prod(shape[2:]), limits, str(path))
    found, expected = len(data) - stream.tell(), math.prod(shape) * dtype.itemsize
    if found != expected:
        raise _wrong(
            path,
            f"{found} bytes of samples",
            f"{expected} for {dtype} {shape}",
            "copy or export the file again",
        )
    flat = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))


def _read_any_tiff(data: bytes, path: Path, limits: ImageLimits) -> NDArray[Any]:
    """A TIFF from anywhere, by GDAL: Pillow misreads some (compressed big-endian float32) without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # an empty MemoryFile would be opened for writing
            with MemoryFile(data or b"empty") as memory, memory.open(driver="GTiff") as file:
                _check_tiff(file, path, limits)
                array: NDArray[Any] = file.read(1)
        except RasterioError as error:
            raise DataError(f"{path}: not a readable TIFF file: {error}", fix=_SAVE_AGAIN) from error
    return array


def _check_tiff(file: rasterio.io.DatasetReader, path: Path, limits: ImageLimits) -> None:
    grey = file.count == 1 and file.colorinterp[0] not in (ColorInterp.palette, ColorInterp.alpha)
    inverted = file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
    if not grey or inverted or file.subdatasets:
        found = "white is zero" if inverted else f"{file.count} bands {[c.name for c in file.colorinterp]}"
        raise _wrong(path, found if not file.subdatasets else "several pages", "one grey band", _SAVE_AGAIN)
    if file.scales != (1.0,) or file.offsets != (0.0,):
        raise _wrong(
            path,
            f"scale {file.scales[0]} and offset {file.offsets[0]} in the header",
            "values in their physical unit",
            "apply them and save float32",
        )
    bytes_per_px = 8 if "complex" in file.dtypes[0] else np.dtype(file.dtypes[0]).itemsize
    check_image_bounds((file.height, file.width), bytes_per_px, limits, str(path))


def _read_picture(data: bytes, path: Path, limits: ImageLimits) -> NDArray[Any]:
    """An 8 or 16 bit grey PNG, or an 8 bit grey JPEG."""
    kind, layouts = ("PNG", ("L", "I;16B")) if path.suffix.lower() == ".png" else ("JPEG", ("L",))
    with warnings.catch_warnings():
        # some damage is only warned about; a picture with a warning is not one to trust
        warnings.simplefilter("error")
        try:
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                check_image_bounds((image.height, image.width), 4, limits, str(path))
                _check_grey(image, path, layouts)
                return np.array(image)
        except (*_PILLOW_ERRORS, Warning) as error:
            raise DataError(f"{path}: not a readable {kind} file: {error}", fix=_SAVE_AGAIN) from error


def _check_grey(image: ImageFile.ImageFile, path: Path, layouts: tuple[str, ...]) -> None:
    """Refuse what Pillow would convert on its way: colour, palettes, few bits, white as zero, pages."""
    args = image.tile[0].args if image.tile else None
    layout = args[0] if isinstance(args, tuple) else args
    if getattr(image, "n_frames", 1) == 1 and layout in layouts:
        return
    if image.mode in ("RGB", "RGBA"):
        bands = np.asarray(image)
        equal = (bands[..., 0] == bands[..., 1]).all() and (bands[..., 0] == bands[..., 2]).all()
        found = f"{image.mode} with {'three equal' if equal else 'different'} colour channels"
        fix = "save one channel as grey" if equal else "export the grey SAR picture, not a colour view of it"
        raise _wrong(path, found, "one grey channel", fix)
    found = f"mode {image.mode} (layout {layout}, {getattr(image, 'n_frames', 1)} frames)"
    raise _wrong(path, found, "one 8 or 16 bit grey picture", _SAVE_AGAIN)
