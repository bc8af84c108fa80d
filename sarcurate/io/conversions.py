"""Conversions: from the bytes of a public set's original file to the bytes of the mirror's file."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Callable

import numpy as np
from PIL import Image

from sarcurate.errors import DataError
from sarcurate.io.public_sets import Conversion
from sarcurate.io.safe import IMAGE_LIMITS, check_image_bounds

_CROP_PX = 128
# what NumPy raises on damaged files, whose header it parses as Python text
_NPY_ERRORS = (ValueError, TypeError, SyntaxError, EOFError, tokenize.TokenError, MemoryError)
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def convert(conversion: Conversion, data: bytes, source: str) -> bytes:
    """The mirror's bytes made from the original ``data``; the caller checks their SHA-256.

    Args:
        conversion: ``none`` keeps the bytes. ``complex_npy_to_iq_int16``: a complex .npy (rows, cols) of
            integer values becomes int16 (rows, cols, 2), I then Q, little endian, .npy format 1.0.
            ``jpeg_to_centre_crop_128_png``: an 8 bit grey JPEG becomes its central 128 x 128 pixels as PNG.
        data: the original file.
        source: address or path, for messages.

    Raises:
        DataError: not such a file, or one that cannot be converted without loss.
    """
    return _CONVERSIONS[conversion](data, source)


def _keep(data: bytes, source: str) -> bytes:
    return data


def _complex_npy_to_iq_int16(data: bytes, source: str) -> bytes:
    try:
        samples = np.load(io.BytesIO(data), allow_pickle=False)
    except _NPY_ERRORS as error:
        raise _not_convertible(source, f"unreadable ({error})", "a .npy file without pickles") from error
    if not isinstance(samples, np.ndarray) or samples.ndim != 2 or not np.iscomplexobj(samples):
        found = f"{getattr(samples, 'dtype', type(samples).__name__)} of shape {np.shape(samples)}"
        raise _not_convertible(source, found, "complex samples of shape (rows, cols)")
    parts = np.stack([samples.real, samples.imag], axis=-1)
    limits = np.iinfo(np.int16)
    exact = (parts == np.rint(parts)) & (parts >= limits.min) & (parts <= limits.max)
    if not exact.all():  # NaN and infinity fail here too
        raise _not_convertible(source, f"the value {parts[~exact][0]}", "integers that fit int16")
    out = io.BytesIO()
    np.lib.format.write_array(out, parts.astype("<i2"), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def _jpeg_to_centre_crop_128_png(data: bytes, source: str) -> bytes:
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            check_image_bounds((picture.height, picture.width), 1, IMAGE_LIMITS, source)
            if picture.mode != "L" or min(picture.size) < _CROP_PX:
                found = f"mode {picture.mode}, {picture.height} x {picture.width} pixels"
                raise _not_convertible(source, found, f"8 bit grey, at least {_CROP_PX} pixels a side")
            left, top = (picture.width - _CROP_PX) // 2, (picture.height - _CROP_PX) // 2
            # optimize: the mirror's bytes were written so; another deflate library may write others
            picture.crop((left, top, left + _CROP_PX, top + _CROP_PX)).save(out, "PNG", optimize=True)
    except _PILLOW_ERRORS as error:
        raise _not_convertible(source, f"unreadable ({error})", "a JPEG file") from error
    return out.getvalue()


_CONVERSIONS: dict[Conversion, Callable[[bytes, str], bytes]] = {
    "none": _keep,
    "complex_npy_to_iq_int16": _complex_npy_to_iq_int16,
    "jpeg_to_centre_crop_128_png": _jpeg_to_centre_crop_128_png,
}


def _not_convertible(source: str, found: str, expected: str) -> DataError:
    return DataError(
        f"{source}: cannot be converted: found {found}, expected {expected}",
        fix="the original repository has changed: fetch with --from URL from a server of the mirror folder",
    )
