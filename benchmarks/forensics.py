"""What the forensics of a chip find: on clean chips, on chips with a defect put in, and on public sets.

Run: `make bench NAME=forensics`, with the mirror in SARCURATE_MIRROR. Chips are real complex ones of 64 px
(TerraSAR-X and Sentinel-1 of tsx-s1-slc) and simulated speckle. Limits of the occupied band were chosen
while looking at chips of these real sets, so their rates there are no held-out ones; the simulated chips
are fresh draws. The last line is one JSON object.
"""

import io
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import zoom

from sarcurate.core.forensics import Finding, examine
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.resampling import occupied_band
from sarcurate.core.speckle import correlated_speckle
from sarcurate.io.raster import read_chip

CHIPS = 300
CLEAN = 800
FIRST_SEED = 100_000
FOUND = tuple(Finding)
Defect = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    root = os.environ.get("SARCURATE_MIRROR")
    if not root:
        sys.exit("SARCURATE_MIRROR names no mirror; run `sarcurate fetch` and set it")
    mirror = Path(root)
    result: dict[str, object] = {}
    real = {name: samples(mirror / "tsx-s1-slc" / name, CLEAN) for name in ("tsx-x", "s1-c")}
    result["median_occupied_band"] = {name: median_band(chips) for name, chips in real.items()}
    print(f"median occupied band of complex samples (azimuth, range): {result['median_occupied_band']}")
    result["false_alarms"] = table("clean chips", clean_sets(real, mirror))
    result["found_where_put_in"] = table(f"defects, {CHIPS} chips each", defects(real))
    result["found_in_sets"] = table("public sets as they are", public_sets(mirror))
    result["chips_per_second"] = round(speed(real["tsx-x"]), 0)
    print(f"{result['chips_per_second']} chips of 64 x 64 px a second on one core")
    print(json.dumps(result))


def table(title: str, rows: Iterable[tuple[str, list[tuple[Finding, ...]]]]) -> dict[str, dict[str, object]]:
    """Print and return the share of chips with each finding, and its Wilson 95 % interval."""
    print(f"\n{title}: share of chips in %, 95 % interval")
    found = {}
    for name, findings in rows:
        counts = Counter(finding for chip in findings for finding in chip)
        shares = {key.value: wilson(counts[key], len(findings)) for key in FOUND if counts[key]}
        told = "  ".join(f"{key} {s[0]:.1f} ({s[1]:.1f} to {s[2]:.1f})" for key, s in shares.items())
        print(f"  {name} (n = {len(findings)}): {told or f'none (0.0 to {wilson(0, len(findings))[2]:.1f})'}")
        found[name] = {"n": len(findings), **shares}
    return found


def wilson(count: int, total: int, z: float = 1.96) -> tuple[float, float, float]:
    """Share in percent and its 95 % interval (Wilson 1927)."""
    share, scale = count / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total**2)) / scale
    return tuple(round(100 * value, 2) for value in (share, max(0.0, middle - half), middle + half))  # type: ignore[return-value]


def chosen(folder: Path, suffixes: tuple[str, ...], count: int) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    order = np.random.default_rng(1).permutation(len(files))[:count]
    return [files[k] for k in sorted(order)]


def samples(folder: Path, count: int) -> list[np.ndarray]:
    pixels = [read_chip(path).samples for path in chosen(folder, (".npy",), count)]
    return [one for one in pixels if one is not None]


def median_band(chips: list[np.ndarray]) -> list[float]:
    return [round(float(share), 2) for share in np.median([occupied_band(chip) for chip in chips], axis=0)]


def amplitudes(chips: list[np.ndarray]) -> list[np.ndarray]:
    return [np.abs(chip) for chip in chips]


def look(chips: Iterable[np.ndarray], radiometry: Radiometry) -> list[tuple[Finding, ...]]:
    return [examine(chip, radiometry).findings for chip in chips]


def whole(chip: np.ndarray, median: float) -> np.ndarray:
    """Whole amplitude levels, as a detected 16 bit product holds them, nothing clipped."""
    return np.minimum(np.rint(chip * median / np.median(chip)), 65534).astype(np.uint16)


def clean_sets(
    real: dict[str, list[np.ndarray]], mirror: Path
) -> Iterator[tuple[str, list[tuple[Finding, ...]]]]:
    for name, chips in real.items():
        intensity = [np.abs(chip) ** 2 for chip in chips]
        pairs = zip(intensity, chips, strict=True)
        yield f"{name} complex", [examine(i, Radiometry.INTENSITY, c).findings for i, c in pairs]
        yield f"{name} intensity", look(intensity, Radiometry.INTENSITY)
        yield f"{name} amplitude", look(amplitudes(chips), Radiometry.AMPLITUDE)
        sixteen = [np.rint(chip).astype(np.uint16) for chip in amplitudes(chips)]
        yield f"{name} amplitude 16 bit", look(sixteen, Radiometry.AMPLITUDE)
        for size in (32, 16, 8):
            small = [chip[:size, :size] for chip in sixteen]
            yield f"{name} amplitude 16 bit {size} px", look(small, Radiometry.AMPLITUDE)
    ships = [np.abs(chip) for chip in samples(mirror / "ships-s1-slc", CLEAN)]
    yield "ships-s1-slc amplitude", look(ships, Radiometry.AMPLITUDE)
    for looks in (1, 4, 16):
        made = [np.sqrt(simulated(looks, FIRST_SEED + index)) for index in range(CLEAN)]
        yield f"simulated {looks} looks", look(made, Radiometry.AMPLITUDE)
        yield (
            f"simulated {looks} looks 16 bit",
            look([whole(chip, 80) for chip in made], Radiometry.AMPLITUDE),
        )


def simulated(looks: int, seed: int) -> np.ndarray:
    """Intensity speckle of a band between 0.6 and 1, on smooth texture, every second with a point target."""
    rng = np.random.default_rng([seed, looks])
    band = rng.uniform(0.6, 1.0)
    frequency = np.fft.fftfreq(64)
    weight = np.where(np.abs(frequency) < band / 2, 0.7 + 0.3 * np.cos(2 * np.pi * frequency / band), 0)
    transfer = np.outer(weight, weight)
    smooth = np.exp(-20 * np.add.outer(frequency**2, frequency**2) * rng.uniform(1, 9))
    texture = np.fft.ifft2(np.fft.fft2(rng.standard_normal((64, 64))) * smooth).real
    chip = correlated_speckle((64, 64), looks, transfer, rng) * np.exp(0.6 * texture / texture.std())
    if seed % 2:
        response = np.roll(np.fft.ifft2(transfer).real, rng.integers(0, 64, 2), (0, 1))
        chip += 10 ** rng.uniform(1, 3) * (response / response.max()) ** 2
    return chip


def defects(real: dict[str, list[np.ndarray]]) -> Iterator[tuple[str, list[tuple[Finding, ...]]]]:
    for sensor, chips in real.items():
        some = amplitudes(chips[:CHIPS])
        for name, put_in in (stretches() | compressions() | resamplings() | edges()).items():
            yield f"{sensor} {name}", look([put_in(chip) for chip in some], Radiometry.AMPLITUDE)
        gained = [np.abs(chip) for chip in chips[:CHIPS]]
        yield (
            f"{sensor} amplitude of coarse I and Q, gain to median 80",
            look([whole(chip, 80) for chip in gained], Radiometry.AMPLITUDE),
        )
        for size in (32, 16):
            for quality in (75, 90, 95):
                cut = [compressed(quality)(chip)[:size, :size] for chip in some]
                yield f"{sensor} jpeg {quality}, {size} px", look(cut, Radiometry.AMPLITUDE)
        twice = [fourier_twice(chip) for chip in chips[: CHIPS // 2]]
        pairs = [(np.abs(chip) ** 2, chip) for chip in twice]
        yield (
            f"{sensor} complex x2 fourier",
            [examine(i, Radiometry.INTENSITY, c).findings for i, c in pairs],
        )
        yield f"{sensor} complex x2 fourier, then detected", look([i for i, _ in pairs], Radiometry.INTENSITY)


def stretches() -> dict[str, Defect]:
    made: dict[str, Defect] = {}
    for percent in (0.1, 0.5, 1.0, 2.0, 5.0):
        made[f"top {percent} % clipped"] = lambda chip, p=percent: np.minimum(  # type: ignore[misc]
            chip, np.quantile(chip, 1 - p / 100)
        ).astype(np.float32)
    made["clean, kept in 8 bit by its own range"] = lambda chip: to_range(chip, 0, chip.max())
    made["0.5 % clipped, 8 bit"] = lambda chip: to_range(chip, 0, np.quantile(chip, 0.995))
    made["dB, 1 % clipped at each end, 8 bit"] = decibels
    for gain in (0.7, 0.9, 1.1, 1.3, 2.0):
        made[f"whole levels times {gain}"] = lambda chip, g=gain: np.rint(  # type: ignore[misc]
            whole(chip, 60) * g
        ).astype(np.uint16)
    made["whole levels to the power 0.8"] = lambda chip: np.rint(whole(chip, 60) ** 0.8 * 2.5).astype(
        np.uint16
    )
    return made


def to_range(chip: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((chip - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def decibels(chip: np.ndarray) -> np.ndarray:
    level = 20 * np.log10(np.maximum(chip, 1))
    return to_range(level, *np.quantile(level, [0.01, 0.99]))


def compressions() -> dict[str, Defect]:
    return {f"jpeg {quality}": compressed(quality) for quality in (30, 50, 75, 85, 90, 95, 98, 100)}


def compressed(quality: int) -> Defect:
    """Through JPEG, then cut, so that the grid starts anywhere."""

    def through(chip: np.ndarray) -> np.ndarray:
        levels = np.clip(np.rint(chip * 60 / np.median(chip)), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(levels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))[3:, 5:]

    return through


def resamplings() -> dict[str, Defect]:
    kinds = {
        "nearest": Image.Resampling.NEAREST,
        "linear": Image.Resampling.BILINEAR,
        "cubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }
    made: dict[str, Defect] = {
        f"x{factor} {name}": lambda chip, f=factor, k=kind: resized(chip, f, k)  # type: ignore[misc]
        for factor in (1.25, 1.5, 2.0, 3.0)
        for name, kind in kinds.items()
    }
    made["x2.0 spline"] = lambda chip: zoom(chip[:32, :32], 2, order=3)
    made["x2.0 fourier"] = fourier_twice
    return made


def resized(chip: np.ndarray, factor: float, kind: Image.Resampling) -> np.ndarray:
    sides = (round(chip.shape[1] * factor), round(chip.shape[0] * factor))
    return np.asarray(Image.fromarray(chip.astype(np.float32)).resize(sides, kind))[:64, :64]


def fourier_twice(chip: np.ndarray) -> np.ndarray:
    rows, cols = chip.shape
    spectrum = np.pad(np.fft.fftshift(np.fft.fft2(chip)), ((rows // 2, rows // 2), (cols // 2, cols // 2)))
    twice = 4 * np.fft.ifft2(np.fft.ifftshift(spectrum))
    return (twice if np.iscomplexobj(chip) else twice.real)[:64, :64]


def edges() -> dict[str, Defect]:
    def frame(chip: np.ndarray) -> np.ndarray:
        return np.pad(chip, ((0, 0), (1, 0)))

    def wedge(chip: np.ndarray, legs: tuple[int, int]) -> np.ndarray:
        row, col = np.indices(chip.shape)
        return np.where(row / legs[0] + col / legs[1] < 1, 0, chip)

    return {
        "frame of 1 px": frame,
        "wedge of 64 x 4 px": lambda chip: wedge(chip, (64, 4)),
        "wedge of 10 x 10 px": lambda chip: wedge(chip, (10, 10)),
        "wedge of 5 x 5 px": lambda chip: wedge(chip, (5, 5)),
    }


def public_sets(mirror: Path) -> Iterator[tuple[str, list[tuple[Finding, ...]]]]:
    """As stored; the file's own word on JPEG and RGB is left out, so that pixels alone speak."""
    folders = (
        "mstar-simshift/mstar-x",
        "mstar-simshift/sim-coarse",
        "sar-acd",
        "mstar-twins/rendering-a",
        "mstar-twins/rendering-b",
        "gf3-airport-scenes",
    )
    for folder in folders:
        paths = chosen(mirror / folder, (".png", ".jpg", ".jpeg"), CHIPS)
        yield folder, look((read_chip(path).values for path in paths), Radiometry.UINT8_RELATIVE)


def speed(chips: list[np.ndarray]) -> float:
    some = amplitudes(chips[:200])
    start = time.process_time()
    look(some, Radiometry.AMPLITUDE)
    return len(some) / (time.process_time() - start)


if __name__ == "__main__":
    main()
