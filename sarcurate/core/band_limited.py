"""Band-limited resampling of whole images: undone exactly, nothing wrapping around at the edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

_AXES = (-2, -1)


def resample(images: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.floating]:
    """Images on another grid of pixels over the same area, by zeros after, or a cut of, their DCT-II.

    That is Fourier interpolation of the image continued by its mirror image, so opposite edges do not meet.
    Upwards no content is lost and none is added; back down is its inverse. Single points overshoot, so values
    may leave the range they had. Unchanged where the shape is already that.

    Args:
        images: (..., rows, cols).
        shape: (rows, cols) wanted.

    Returns:
        (..., rows, cols) wanted, of the same type.
    """
    own = images.shape[-2:]
    if own == shape:
        return images
    spectrum = dctn(np.asarray(images, dtype=np.float64), axes=_AXES, norm="ortho")
    rows, cols = (min(have, wanted) for have, wanted in zip(own, shape, strict=True))
    wide = np.zeros((*images.shape[:-2], *shape))
    # An orthonormal transform keeps the energy; a finer grid holds the same values more often.
    gain = np.sqrt(shape[0] * shape[1] / (own[0] * own[1]))
    wide[..., :rows, :cols] = spectrum[..., :rows, :cols] * gain
    return np.asarray(idctn(wide, axes=_AXES, norm="ortho"), dtype=images.dtype)
