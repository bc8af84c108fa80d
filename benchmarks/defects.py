"""Defects that a generator may leave in a chip, put into real single-look complex chips.

Each defect takes complex samples and gives linear intensity. Where physics asks for it, it works on the
complex spectrum: a coarser resolution cuts the band, looks are sub-bands averaged incoherently.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.special import gammainccinv

SMOOTH_PX = 2.0  # smoothing that parts a chip into content and fine residual
LATENT_PX = 8
EMPTY = 1e-3  # share of the mean below which a frequency is outside of the sensor's band


@dataclass(frozen=True, eq=False)
class Chip:
    """Complex samples, those of another real chip, a seed, and the sensor's mean power spectrum."""

    field: np.ndarray
    other: np.ndarray
    seed: int
    spectrum: np.ndarray

    @property
    def intensity(self) -> np.ndarray:
        return detected(self.field)


@dataclass(frozen=True)
class Defect:
    """``required``: 95 % are to be found. ``copied``: the other chip is the style reference."""

    name: str
    strength: str
    make: Callable[[Chip], np.ndarray]
    required: bool = False
    copied: bool = False


def detected(field: np.ndarray) -> np.ndarray:
    """I^2 + Q^2 in double precision, where it is exact for 16 bit samples."""
    return field.real.astype(np.float64) ** 2 + field.imag.astype(np.float64) ** 2


def all_defects() -> list[Defect]:
    return [*smoothing(), *patterns(), *noise(), *storage(), *levels(), *copies()]


def smoothing() -> list[Defect]:
    sigmas = (0.5, 0.75, 1.0, 1.5, 2.0)
    made = [Defect("blur of intensity", f"sigma {s} px", blur(s), s >= 1) for s in sigmas]
    made += [Defect("blur of amplitude", f"sigma {s} px", amplitude_blur(s), s >= 1) for s in sigmas]
    made += [Defect("resolution, both axes", f"x{f}", coarser(f), f >= 2) for f in (1.5, 2.0)]
    made += [
        Defect("looks, sub-bands", "x2 (azimuth)", sub_looks(2, 1)),
        Defect("looks, sub-bands", "x2 (range)", sub_looks(1, 2)),
        Defect("looks, sub-bands", "x4 (2 x 2)", sub_looks(2, 2), True),
    ]
    return made + [
        Defect("looks, resolution kept", f"x{looks}", calmer(looks), looks >= 4) for looks in (2, 4)
    ]


def patterns() -> list[Defect]:
    made = [
        Defect("checkerboard", f"{100 * a:g} % of amplitude", tiled(board(), a), a >= 0.05)
        for a in (0.01, 0.02, 0.05, 0.1)
    ]
    return made + [
        Defect("latent grid, 8 px", f"{100 * a:g} % of amplitude", tiled(latent_tile(), a))
        for a in (0.02, 0.05, 0.1, 0.2)
    ]


def noise() -> list[Defect]:
    return [
        Defect("Gaussian noise of equal ENL", "white", gaussian_noise(correlated=False)),
        Defect("Gaussian noise of equal ENL", "correlated as speckle", gaussian_noise(correlated=True)),
    ]


def storage() -> list[Defect]:
    made = [
        Defect("8 bit dB and back", f"{p:g} to {100 - p:g} %", lambda chip, p=p: stretched(chip, p))  # type: ignore[misc]
        for p in (0.1, 1.0, 2.0)
    ]
    return made + [
        Defect("JPEG of the 8 bit dB image", f"quality {q}", lambda chip, q=q: jpeg(chip, q))  # type: ignore[misc]
        for q in (95, 75, 50)
    ]


def levels() -> list[Defect]:
    return [
        Defect("gain", f"{db:+g} dB", lambda chip, g=10 ** (db / 10): chip.intensity * g)  # type: ignore[misc]
        for db in (-6, -3, 3, 6)
    ]


def copies() -> list[Defect]:
    return [
        Defect("copied style", f"{100 * b:g} % of the residual", copied(b), b >= 0.5, copied=True)
        for b in (0.25, 0.5, 0.75, 1.0)
    ]


def blur(sigma_px: float) -> Callable[[Chip], np.ndarray]:
    return lambda chip: gaussian_filter(chip.intensity, sigma_px, mode="reflect")


def amplitude_blur(sigma_px: float) -> Callable[[Chip], np.ndarray]:
    return lambda chip: gaussian_filter(np.sqrt(chip.intensity), sigma_px, mode="reflect") ** 2


def coarser(factor: float) -> Callable[[Chip], np.ndarray]:
    """Both axes' impulse response ``factor`` times as wide and of the same shape, on the same grid."""

    def make(chip: Chip) -> np.ndarray:
        rows, cols = (narrowing(chip.spectrum, axis, factor) for axis in (0, 1))
        return detected(np.fft.ifft2(np.fft.fft2(chip.field) * np.outer(rows, cols)))

    return make


def narrowing(spectrum: np.ndarray, axis: int, factor: float) -> np.ndarray:
    """Transfer function along an axis that turns the sensor's weighting W(f) into W(factor f)."""
    offset, power = offsets(spectrum, axis)
    order = np.argsort(offset)
    wanted = np.interp(factor * offset, offset[order], power[order], left=0.0, right=0.0)
    return np.asarray(np.sqrt(wanted / np.maximum(power, EMPTY * power.max())))


def sub_looks(azimuth: int, range_: int) -> Callable[[Chip], np.ndarray]:
    """Intensity summed over sub-bands of equal energy that do not overlap: looks paid for with resolution."""

    def make(chip: Chip) -> np.ndarray:
        samples = np.fft.fft2(chip.field)
        rows, cols = sub_band(chip.spectrum, 0, azimuth), sub_band(chip.spectrum, 1, range_)
        total = np.zeros(chip.field.shape)
        for i in range(azimuth):
            for j in range(range_):
                total += detected(np.fft.ifft2(samples * np.logical_and.outer(rows == i, cols == j)))
        return total

    return make


def sub_band(spectrum: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Sub-band, 0 to count - 1, of each frequency bin of an axis: each holds its share of the mean energy."""
    offset, power = offsets(spectrum, axis)
    order = np.argsort(offset)
    below = np.empty(len(power))
    below[order] = (np.cumsum(power[order]) - power[order] / 2) / power.sum()
    return np.asarray(np.floor(below * count))


def offsets(spectrum: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequency of each bin from the band's centre of gravity, -0.5 to 0.5 cycles/px, and its mean power."""
    power = spectrum.mean(axis=1 - axis)
    frequency = np.fft.fftfreq(len(power))
    centre = np.angle((power * np.exp(2j * np.pi * frequency)).sum()) / (2 * np.pi)
    return (frequency - centre + 0.5) % 1 - 0.5, power


def calmer(looks: int) -> Callable[[Chip], np.ndarray]:
    """Ratio to the local mean mapped from the law of one look to that of more, pixel by pixel.

    What a despeckling generator does: less speckle, no coarser band. It is no sensor's multilooking.
    """

    def make(chip: Chip) -> np.ndarray:
        mean = local_mean(chip.intensity)
        ratio = chip.intensity / mean
        # The survival function of one look is exp(-ratio); beyond double precision the map is a line.
        mapped = gammainccinv(looks, np.exp(-np.minimum(ratio, 600.0))) / looks
        return np.asarray(mean * mapped)

    return make


def local_mean(intensity: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(gaussian_filter(intensity, SMOOTH_PX, mode="reflect"), 1e-300))


def board() -> np.ndarray:
    return np.array([[1.0, -1.0], [-1.0, 1.0]])


def latent_tile() -> np.ndarray:
    """8 x 8 px of random amplitude of mean 0 and rms 1, the same in every chip: a decoder's footprint."""
    tile = np.random.default_rng(8).standard_normal((LATENT_PX, LATENT_PX))
    tile -= tile.mean()
    return np.asarray(tile / tile.std())


def tiled(tile: np.ndarray, strength: float) -> Callable[[Chip], np.ndarray]:
    """Amplitude times 1 + strength * tile, over and over."""

    def make(chip: Chip) -> np.ndarray:
        repeats = [-(-size // part) for size, part in zip(chip.field.shape, tile.shape, strict=True)]
        whole = np.tile(tile, repeats)[: chip.field.shape[0], : chip.field.shape[1]]
        return np.asarray(chip.intensity * (1 + strength * whole) ** 2)

    return make


def gaussian_noise(correlated: bool) -> Callable[[Chip], np.ndarray]:
    """Local mean times 1 + Gaussian noise of the chip's own variation around it, clipped at 0."""

    def make(chip: Chip) -> np.ndarray:
        mean = local_mean(chip.intensity)
        white = np.random.default_rng([chip.seed, 1]).standard_normal(mean.shape)
        drawn = as_speckle(white, chip.spectrum) if correlated else white
        return np.asarray(mean * np.maximum(1 + drawn * (chip.intensity / mean).std(), 0))

    return make


def as_speckle(white: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """White noise with the correlation of the sensor's intensity speckle, |that of its field|^2."""
    correlation = np.fft.ifft2(spectrum)
    power = np.maximum(np.fft.fft2(np.abs(correlation / correlation[0, 0]) ** 2).real, 0)
    return np.asarray(np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power / power.mean())).real)


def to_8_bit(intensity: np.ndarray, percent: float) -> tuple[np.ndarray, float, float]:
    """dB levels between two percentiles of the chip itself, and those percentiles."""
    level = 10 * np.log10(np.maximum(intensity, intensity[intensity > 0].min()))
    low, high = np.percentile(level, [percent, 100 - percent])
    share = np.clip((level - low) / (high - low), 0, 1)
    return np.rint(share * 255).astype(np.uint8), float(low), float(high)


def from_8_bit(levels_: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.asarray(10 ** ((low + levels_ / 255 * (high - low)) / 10))


def stretched(chip: Chip, percent: float) -> np.ndarray:
    return from_8_bit(*to_8_bit(chip.intensity, percent))


def jpeg(chip: Chip, quality: int) -> np.ndarray:
    grey, low, high = to_8_bit(chip.intensity, 0.1)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return from_8_bit(np.asarray(Image.open(buffer), dtype=np.float64), low, high)


def copied(share: float) -> Callable[[Chip], np.ndarray]:
    """Fine residual of ln intensity mixed with another chip's; its power stays, so only the copy tells."""

    def make(chip: Chip) -> np.ndarray:
        smooth, fine = parts_of(chip.intensity)
        _, style = parts_of(detected(chip.other))
        return np.asarray(np.exp(smooth + np.sqrt(1 - share**2) * fine + share * style))

    return make


def parts_of(intensity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ln = np.log(np.maximum(intensity, intensity[intensity > 0].min() / 4))
    smooth = gaussian_filter(ln, SMOOTH_PX, mode="reflect")
    return smooth, ln - smooth
