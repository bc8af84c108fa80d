"""Single-chip measures of a whole ChipSet as one table: one row per chip, one column per measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.measure import Measure
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import COLUMNS, ChipContext, Yardstick, scorecard
from sarcurate.execution import run_map
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet
from sarcurate.io.score_table import IDENTITY, REASONS
from sarcurate.io.sensors import SensorProfile

# Chips that a worker takes at a time, and pixels that it holds at most: 32 MB of intensity.
BLOCK_CHIPS = 128
BLOCK_PX = 1 << 23


@dataclass(frozen=True, eq=False)
class _Block:
    """A part of a ChipSet that one worker reads and measures."""

    chips: ChipSet
    context: ChipContext
    yardstick: Yardstick | None


def measure_chips(
    chips: ChipSet, context: ChipContext, yardstick: Yardstick | None, workers: int = 1
) -> pd.DataFrame:
    """Scorecard of every chip, in the manifest's order.

    The same bits for any number of workers; in other company a chip's values may differ by rounding (1e-12).

    Columns: who the chip is (``score_table.IDENTITY``), then one float64 column per measure with NaN where
    there is none, then ``reasons``: JSON {"measure": "why"} with sorted keys, "" where nothing is missing.

    Args:
        chips: the set; its pixels are read and verified block by block inside the workers.
        context: what is known of the chips, as from :func:`context_of`.
        yardstick: pooled statistics that they are measured against.
        workers: processes.

    Raises:
        DataError: for a missing, broken or changed chip file.
    """
    # A worker needs no more of the manifest; whole rows would travel to it and back in memory.
    files = chips.manifest[["chip_id", "file_name", "pixels_sha256"]]
    starts = range(0, len(files), BLOCK_CHIPS)
    parts = [files.iloc[start : start + BLOCK_CHIPS] for start in starts]
    blocks = [_Block(replace(chips, manifest=part), context, yardstick) for part in parts]
    measured = run_map(_measure_block, blocks, f"measuring {chips.root.name}", workers)
    identity = chips.manifest[list(IDENTITY)].reset_index(drop=True)
    return pd.concat([identity, pd.concat(measured, ignore_index=True)], axis=1)


def context_of(chips: ChipSet, profile: SensorProfile | None) -> ChipContext:
    """What is known of a set's chips: spacings where the manifest has one alone, NESZ from the profile.

    Amplitude is declared as intensity: a ChipSet hands out its square.
    """
    nesz_db = profile.nesz_db if profile is not None else None
    return ChipContext(
        domain_of_intensity(chips.header.radiometry),
        _only(chips.manifest["azimuth_spacing_m"]),
        _only(chips.manifest["range_spacing_m"]),
        nesz_db,
    )


def domain_of_intensity(radiometry: Radiometry) -> Radiometry:
    """What pixels of ``radiometry`` are once :func:`sarcurate.core.radiometry.to_intensity` took them."""
    return Radiometry.INTENSITY if radiometry is Radiometry.AMPLITUDE else radiometry


def measure_images(
    images: Iterable[NDArray[np.floating]], context: ChipContext, yardstick: Yardstick | None
) -> pd.DataFrame:
    """Scorecards of linear intensity images of any sizes, in their order: ``COLUMNS``, then ``reasons``.

    Images are held until ``BLOCK_PX`` pixels are there, then measured in stacks of one shape.
    """
    parts = [_measure_held(held, context, yardstick) for held in _held(images)]
    if not parts:
        return pd.DataFrame(columns=[*COLUMNS, REASONS])
    return pd.concat(parts, ignore_index=True)


def _measure_block(block: _Block) -> pd.DataFrame:
    images = (block.chips.intensity(chip_id) for chip_id in block.chips.manifest["chip_id"])
    return measure_images(images, block.context, block.yardstick)


def _held(images: Iterable[NDArray[np.floating]]) -> Iterator[list[NDArray[np.floating]]]:
    held: list[NDArray[np.floating]] = []
    for image in images:
        if held and sum(one.size for one in held) + image.size > BLOCK_PX:
            yield held
            held = []
        held.append(image)
    if held:
        yield held


def _measure_held(
    images: list[NDArray[np.floating]], context: ChipContext, yardstick: Yardstick | None
) -> pd.DataFrame:
    places: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(image.shape, []).append(place)
    parts = []
    for same in places.values():
        card = scorecard(np.stack([images[place] for place in same]), context, yardstick)
        parts.append(_table(card).set_axis(same))
    return pd.concat(parts).sort_index()


def _table(card: Mapping[str, Measure]) -> pd.DataFrame:
    table = pd.DataFrame({name: card[name].values for name in COLUMNS})
    why: list[dict[str, str]] = [{} for _ in range(len(table))]
    for name in COLUMNS:
        reasons = card[name].reasons
        for place in np.flatnonzero(reasons != ""):
            why[place][name] = str(reasons[place])
    return table.assign(**{REASONS: [lineage.canonical_json(one) if one else "" for one in why]})


def _only(values: pd.Series) -> float | None:
    """The one value of a column, None where there are several or a chip has none."""
    found = values.unique()
    return float(found[0]) if len(found) == 1 and not pd.isna(found[0]) else None
