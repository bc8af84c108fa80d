"""Bias and interval coverage of ENL on simulated speckle, what contamination does, and chips per second.

Run: `make bench NAME=enl`. Every line of a table holds 2,000 chips. Looks of one size and band are sums of
the same fields, so lines of one block are not independent of each other. The last line is one JSON object.
"""

import json
import time
from collections.abc import Iterator

import numpy as np
from scipy import fft

from sarcurate.core.enl import EnlMethod, EnlResult, enl
from sarcurate.core.homogeneous import homogeneous_areas
from sarcurate.core.radiometry import Radiometry

DRAWS = 2000
LOOKS = (1, 2, 3, 4, 8)
CASES = [(size, 1.0) for size in (16, 32, 64, 128)] + [
    (size, band) for size in (32, 64, 128) for band in (0.6, 0.75, 0.9)
]
GROUP = {16: 500, 32: 500, 64: 100, 128: 50}


def main() -> None:
    print("| px | band | looks | n/a % |" + "".join(f" {method} |" for method in EnlMethod))
    print("|---|---|---|---|" + "---|" * len(EnlMethod))
    rows = [row for size, band in CASES for row in accuracy(size, band)]
    worst = {
        method.value: {
            "bias_percent": max((row[method]["bias_percent"] for row in rows), key=abs),
            "coverage_percent": [
                min(row[method]["coverage_percent"] for row in rows),
                max(row[method]["coverage_percent"] for row in rows),
            ],
        }
        for method in EnlMethod
    }
    found = {"worst": worst, "contamination": contamination(), "chips_per_s": speed()}
    print(json.dumps({"rows": rows, **found}))


def accuracy(size: int, band: float) -> Iterator[dict[str, object]]:
    rng = np.random.default_rng([size, round(100 * band)])
    results: dict[tuple[int, EnlMethod], list[EnlResult]] = {
        (looks, m): [] for looks in LOOKS for m in EnlMethod
    }
    for _ in range(DRAWS // GROUP[size]):
        total = np.zeros((GROUP[size], size, size), dtype=np.float32)
        for look in range(1, max(LOOKS) + 1):
            total += one_look(GROUP[size], size, band, rng)
            if look in LOOKS:
                areas = homogeneous_areas(total / look, Radiometry.INTENSITY)
                for method in EnlMethod:
                    results[look, method].append(enl(areas, method))
    for looks in LOOKS:
        row: dict[str, object] = {"px": size, "band": band, "looks": looks}
        row |= {method: summary(results[looks, method], looks) for method in EnlMethod}
        told = "".join(f" {cell(row[method])} |" for method in EnlMethod)
        print(
            f"| {size} | {band} | {looks} | {row[EnlMethod.HARMONIC]['missing_percent']} |{told}", flush=True
        )
        yield row


def one_look(count: int, size: int, band: float, rng: np.random.Generator) -> np.ndarray:
    """Single-look speckle of mean 1 whose field fills ``band`` of both axes (as core.speckle, in batches)."""
    parts = rng.standard_normal((2, count, size, size), dtype=np.float32)
    field = parts[0] + 1j * parts[1]
    if band < 1:
        inside = np.abs(np.fft.fftfreq(size)) < band / 2
        transfer = np.outer(inside, inside).astype(np.float32)
        field = fft.ifft2(field * transfer / np.sqrt(np.mean(transfer)), norm="ortho")
    return (np.abs(field) ** 2 / 2).astype(np.float32)


def summary(results: list[EnlResult], looks: float) -> dict[str, float]:
    values, low, high, stderr = (
        np.concatenate([getattr(result, name).values for result in results])
        for name in ("enl", "low", "high", "stderr")
    )
    there = np.isfinite(values)
    inside = (low[there] <= looks) & (looks <= high[there])
    return {
        "bias_percent": round(100 * (float(values[there].mean()) / looks - 1), 2),
        "coverage_percent": round(100 * float(inside.mean()), 1),
        "stderr_over_sd": round(float(stderr[there].mean() / values[there].std()), 3),
        "missing_percent": round(100 * float(1 - there.mean()), 2),
    }


def cell(entry: dict[str, float]) -> str:
    return f"{entry['bias_percent']:+.1f} / {entry['coverage_percent']:.1f}"


def contamination() -> dict[str, dict[str, float]]:
    """True looks 1 and 3 with a defect: what the plain ratio reads, and ENL."""
    print("\n| defect | px | looks | mean^2 / variance | ENL, harmonic | coverage % | n/a % |")
    print("|---|---|---|---|---|---|---|")
    found = {}
    for size in (16, 32, 64):
        for looks in (1, 3):
            for name, where, factor in defects(size):
                rng = np.random.default_rng([size, looks])
                chips = rng.gamma(looks, 1 / looks, (DRAWS, size, size)).astype(np.float32)
                # A point scatterer has its own brightness; edges and targets keep their speckle.
                chips[where] = 30 if name == "scatterer" else chips[where] * factor
                found[f"{name}_{size}_{looks}"] = line(name, size, looks, chips)
    return found


def defects(size: int) -> list[tuple[str, tuple[slice | int, ...], float]]:
    middle, part = size // 2, slice(size // 2 - size // 8, size // 2 + size // 8)
    every = slice(None)
    return [
        ("none", (every, slice(0, 0), every), 1.0),
        ("scatterer", (every, middle, middle), 30.0),
        ("edge", (every, every, slice(middle, None)), 2.0),
        ("edge off grid", (every, every, slice(middle + 2, None)), 2.0),
        ("target", (every, part, part), 20.0),
    ]


def line(name: str, size: int, looks: int, chips: np.ndarray) -> dict[str, float]:
    plain = float((chips.mean((1, 2)) ** 2 / chips.var((1, 2))).mean())
    result = enl(homogeneous_areas(chips, Radiometry.INTENSITY))
    there = np.isfinite(result.enl.values)
    entry = {"plain": round(plain, 3), "missing_percent": round(100 * float(1 - there.mean()), 2)}
    told = "none | none"
    if there.any():
        numbers = summary([result], looks)
        entry |= {"enl": round(float(result.enl.values[there].mean()), 3), **numbers}
        told = f"{entry['enl']:.3f} | {numbers['coverage_percent']}"
    print(f"| {name} | {size} | {looks} | {plain:.2f} | {told} | {entry['missing_percent']} |")
    return entry


def speed() -> dict[str, int]:
    rates = {}
    for size in (64, 128):
        chips = np.random.default_rng(0).gamma(3, 1 / 3, (500, size, size)).astype(np.float32)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            enl(homogeneous_areas(chips, Radiometry.INTENSITY))
            times.append(time.perf_counter() - start)
        rates[f"px_{size}"] = round(len(chips) / min(times))
    print(f"\nareas and harmonic ENL, chips per second: {rates}")
    return rates


if __name__ == "__main__":
    main()
