"""Whether COSAR samples were decoded rightly: a test on their histogram."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError

WORDS = {1: np.dtype(">i2"), 2: np.dtype(">f2")}

_FEWEST = 4096
_KURTOSIS_ERROR, _KURTOSIS_WARNING = 2.0, 2.7
_QUANTISED_POWER = 4.0  # below, without the zeros, even good samples have a low kurtosis
_MOST_ODD_HALVES = 0.01


def check_decoding(words: NDArray[np.uint32], version: int, name: str) -> tuple[str, ...]:
    """Whether samples look like focused SAR, so that a wrong version word or byte order is noticed.

    Speckle makes I and Q a mixture of zero-mean Gaussians, whose kurtosis is at least 3 whatever the scene
    (Jensen's inequality); half floats read as integers are two far lumps, with 1.2 to 1.9. A smooth density
    puts less entropy in the upper byte of an integer than in the lower; swapped bytes turn that round. Half
    floats of an image are neither NaN nor below 2^-14; integers read as half floats, and swapped half floats,
    often are.

    Args:
        words: any shape, one 32-bit sample each in this machine's order: I in the upper half, Q in the lower.
        version: 1 or 2.
        name: file, for the messages.

    Returns:
        Warnings, for samples too few to tell or odd ones.

    Raises:
        DataError: where the samples cannot have been decoded rightly.
    """
    some = np.asarray(words, np.uint32)[np.asarray(words) != 0].astype(">u4")
    if some.size < _FEWEST:
        return (f"only {some.size} of the samples tried are not zero: too few to test their decoding",)
    halves = some.view(WORDS[version])
    if version == 2:
        size = np.abs(halves.astype(np.float32))
        odd = float(np.mean(~np.isfinite(size) | ((size > 0) & (size < 2.0**-14))))
        if odd > _MOST_ODD_HALVES:
            raise _wrong_decoding(name, version, f"{odd:.1%} of them are NaN, infinite or below 2^-14")
        values = halves.astype(np.float64)[np.isfinite(size)]
    else:
        octets = some.view(np.uint8)
        upper, lower = _entropy_bits(octets[0::2]), _entropy_bits(octets[1::2])
        if upper > lower:
            raise _wrong_decoding(
                name, version, f"upper bytes vary more than lower ones ({upper:.1f} > {lower:.1f} bits)"
            )
        values = halves.astype(np.float64)
    power = float(np.mean(values**2))
    if version == 1 and power < _QUANTISED_POWER:
        return (f"I and Q have a root mean square of {power**0.5:.1f}: a few integer levels carry the image",)
    kurtosis = float(np.mean(values**4)) / power**2
    if kurtosis < _KURTOSIS_ERROR:
        raise _wrong_decoding(
            name, version, f"the kurtosis of I and Q is {kurtosis:.2f}, speckle has at least 3"
        )
    if kurtosis < _KURTOSIS_WARNING:
        return (
            f"the kurtosis of I and Q is {kurtosis:.2f}, below the 3 of speckle: saturated or not focused?",
        )
    return ()


def _entropy_bits(octets: NDArray[np.uint8]) -> float:
    share = np.bincount(octets, minlength=256) / octets.size
    return float(-np.sum(share * np.log2(share, where=share > 0, out=np.zeros(256))))


def _wrong_decoding(name: str, version: int, found: str) -> DataError:
    return DataError(
        f"{name}: decoded as COSAR version {version}, the samples are no SAR image: {found}",
        fix="check the version word and byte order of the file; a converter may have written it wrongly",
    )
