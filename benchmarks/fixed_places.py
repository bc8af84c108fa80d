"""Whether migration leaves a mark at one fixed place of every chip, such as a bright or a dark spot.

Run on a workspace whose migrate has run: `.venv/bin/python benchmarks/fixed_places.py WORKSPACE`, the
repository's default without one. Migrated chips are compared with physics translations of the same contents:
the difference in dB, over 3 x 3 px and without its mean, is averaged over all chips at every pixel and
divided by its standard error, z. Beside the largest |z| stands what it would be were there no fixed place:
the 99th percentile of many draws in which each chip's difference is shifted, around the borders, by a random
number of rows and columns. Where objects lie in the middle of chips, a mark there is theirs, and the frame
(the outer 8 px) tells more. The last line is JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from sarcurate.io.chipset import ChipSet, open_chipset

MIGRATED, PHYSICS = Path("data/migrated"), Path("data/translated/physics")
FRAME_PX, WINDOW_PX = 8, 3
LEVEL = 0.99
# Below this share of a chip's mean intensity, differences in dB say nothing.
DARKEST = 1e-4


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("workspace", type=Path, nargs="?", default=Path())
    options.add_argument("--draws", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    migrated, physics = (
        open_chipset(asked.workspace / path, splits=("train",)) for path in (MIGRATED, PHYSICS)
    )
    maps = differences_db(migrated, physics)
    z = standard_scores(maps)
    rng = np.random.default_rng(asked.seed)
    drawn = [standard_scores(shifted(maps, rng)) for _ in range(asked.draws)]
    row, column = np.unravel_index(np.abs(z).argmax(), z.shape)
    found = {
        "n_chips": len(maps),
        "largest_z": round(float(np.abs(z).max()), 2),
        "at_row_px": int(row),
        "at_column_px": int(column),
        "mean_db": round(float(maps.mean(axis=0)[row, column]), 2),
        "largest_z_by_chance": round(float(np.quantile([np.abs(one).max() for one in drawn], LEVEL)), 2),
        "largest_z_frame": round(float(np.abs(frame(z)).max()), 2),
        "largest_z_frame_by_chance": round(
            float(np.quantile([np.abs(frame(one)).max() for one in drawn], LEVEL)), 2
        ),
    }
    for name, value in found.items():
        print(f"{name:28}{value}")
    print(json.dumps(found))


def differences_db(migrated: ChipSet, physics: ChipSet) -> NDArray[np.float64]:
    """(n, rows, cols): each migrated chip over its content by physics, smoothed and without its mean."""
    by_content = {row["parents"][0]: row["chip_id"] for row in physics.rows()}
    maps = []
    for row in migrated.rows():
        difference = in_db(migrated, row["chip_id"]) - in_db(physics, by_content[row["parents"][0]])
        maps.append(uniform_filter(difference - difference.mean(), WINDOW_PX))
    return np.stack(maps)


def in_db(chips: ChipSet, chip_id: str) -> NDArray[np.float64]:
    intensity = chips.intensity(chip_id).astype(np.float64)
    return 10.0 * np.log10(np.maximum(intensity, DARKEST * intensity.mean()))


def standard_scores(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over chips by pixel, over its standard error."""
    error = maps.std(axis=0, ddof=1) / np.sqrt(len(maps))
    return np.divide(maps.mean(axis=0), error, out=np.zeros_like(error), where=error > 0)


def shifted(maps: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    by = rng.integers(0, maps.shape[1:], size=(len(maps), 2))
    return np.stack([np.roll(one, tuple(step), (0, 1)) for one, step in zip(maps, by, strict=True)])


def frame(z: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.zeros(z.shape, dtype=bool)
    inside[FRAME_PX:-FRAME_PX, FRAME_PX:-FRAME_PX] = True
    return z[~inside]


if __name__ == "__main__":
    main()
