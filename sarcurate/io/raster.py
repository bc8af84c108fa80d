"""Single pictures: any user's file in, detected pixels out; our own lossless TIFF chips and PNG previews."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sarcurate.errors import DataError
from sarcurate.io.decoding import PICTURE_SUFFIXES, SAVE_AGAIN, Stored, read_any_tiff, read_stored, wrong
from sarcurate.io.plain_tiff import read_plain_tiff
from sarcurate.io.safe import IMAGE_LIMITS, ImageLimits, atomic_write, check_image_bounds, read_bounded

__all__ = [
    "PICTURE_SUFFIXES",
    "Pixels",
    "read_chip",
    "read_samples",
    "read_tiff",
    "storable",
    "write_preview",
    "write_tiff",
]

_DETECTED = ("uint8", "uint16", "float16", "float32", "float64")
_COMPLEX = ("complex64", "complex128")
_IQ = ("int8", "int16", "int32", "float16", "float32", "float64")


@dataclass(frozen=True)
class Pixels:
    """One detected picture.

    Attributes:
        values: (rows, cols), finite; uint8, uint16 or float32.
        was_complex: the file held complex samples s, so ``values`` are intensity abs(s)^2.
        source_dtype: element type in the file, "iq:<type>" for I and Q on a last axis.
        was_rgb: the file held three exactly equal channels; one of them is kept.
        was_jpeg: the file was compressed by JPEG.
        samples: the complex samples themselves where there were any, (rows, cols) complex64.
    """

    values: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
    was_complex: bool
    source_dtype: str
    was_rgb: bool = False
    was_jpeg: bool = False
    samples: NDArray[np.complex64] | None = None


def read_chip(path: Path, limits: ImageLimits = IMAGE_LIMITS) -> Pixels:
    """Detected pixels of one file: NPY, TIFF, PNG or JPEG, told apart by its suffix.

    NPY and TIFF may be complex, NPY also real of shape (rows, cols, 2) with I then Q: both become intensity.
    Values keep their meaning; floats come out as float32. Negative values are left to the radiometry.
    PNG, JPEG and TIFF may hold grey as three channels, exactly equal after decoding.

    Raises:
        DataError: unreadable or truncated file, larger than ``limits``, several bands or pages, colour,
            another element type, NaN or infinity.
    """
    return _detect(read_stored(path, limits), path)


def read_samples(path: Path, limits: ImageLimits = IMAGE_LIMITS) -> NDArray[Any]:
    """The array of one file as stored: complex, or with I and Q on a last axis, too.

    Raises:
        DataError: as :func:`read_chip`, element type and finiteness aside.
    """
    return read_stored(path, limits).array


def read_tiff(path: Path, limits: ImageLimits = IMAGE_LIMITS) -> NDArray[np.float32] | NDArray[np.uint16]:
    """A chip written by :func:`write_tiff`, (rows, cols) float32 or uint16, bit for bit.

    Raises:
        DataError: as :func:`read_chip`, and for another element type.
    """
    data = read_bounded(path, limits.max_bytes)
    array = read_plain_tiff(data, limits, str(path))
    if array is None:
        array = read_any_tiff(data, path, limits).array
    if array.dtype not in (np.float32, np.uint16):
        raise wrong(path, f"{array.dtype} pixels", "float32 or uint16", "make the chip again from its source")
    if not np.isfinite(array).all():
        raise wrong(path, "NaN or infinite pixels", "finite ones", "make the chip again from its source")
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
        raise wrong(path, f"{array.dtype} {array.shape}", "2-D uint8", "scale to 0..255 in decibels first")
    _save(path, array, "PNG")


def _save(path: Path, array: NDArray[Any], kind: str, **options: str) -> None:
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    buffer = io.BytesIO()
    Image.fromarray(native).save(buffer, kind, **options)
    with atomic_write(path, durable=False) as file:
        file.write(buffer.getbuffer())


def _detect(stored: Stored, path: Path) -> Pixels:
    """Detected float32 or integer pixels from what a file held."""
    array = stored.array
    name = array.dtype.name
    is_iq = array.ndim == 3 and array.shape[-1] == 2 and name in _IQ
    if not is_iq and (array.ndim != 2 or name not in _DETECTED + _COMPLEX):
        raise wrong(
            path,
            f"{name} of shape {array.shape}",
            f"(rows, cols) of {', '.join(_DETECTED + _COMPLEX)}, or (rows, cols, 2) of {', '.join(_IQ)}",
            SAVE_AGAIN,
        )
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise wrong(
            path, f"{bad} NaN or infinite values", "finite ones", "crop the valid part or drop the chip"
        )
    samples = _samples(array) if is_iq or name in _COMPLEX else None
    if is_iq:
        values = _intensity(array[..., 0], array[..., 1])
    elif name in _COMPLEX:
        values = _intensity(array.real, array.imag)
    else:
        with np.errstate(over="ignore"):
            values = array.astype(np.float32) if array.dtype.kind == "f" else array
    if not np.isfinite(values).all():
        raise wrong(
            path, "values whose intensity overflows float32", "smaller ones", "scale the samples down"
        )
    return Pixels(
        np.ascontiguousarray(values),
        samples is not None,
        f"iq:{name}" if is_iq else name,
        stored.was_rgb,
        stored.was_jpeg,
        samples,
    )


def _samples(array: NDArray[Any]) -> NDArray[np.complex64]:
    with np.errstate(over="ignore"):  # what overflows here does so in intensity, and is refused there
        if np.iscomplexobj(array):
            return array.astype(np.complex64)
        parts = np.ascontiguousarray(array, dtype=np.float32)
        return parts.view(np.complex64)[..., 0]


def _intensity(i: NDArray[Any], q: NDArray[Any]) -> NDArray[np.float32]:
    # in float64, where the squares of 16 bit samples are exact, so float32 rounds once
    with np.errstate(over="ignore"):
        return (i.astype(np.float64) ** 2 + q.astype(np.float64) ** 2).astype(np.float32)
