"""Pixel grid of a ChipSet: spacing of the chips themselves, resolution of their sensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.grid import SensorGrid, resample_intensity
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.chipset import ChipSet
from sarcurate.io.sensors import SensorProfile


def chip_grid(chips: ChipSet, profile: SensorProfile) -> SensorGrid:
    """Spacing from the manifest, resolution from the profile.

    Raises:
        ParamsError: where the profile does not know the resolution.
        DataError: for chips of several spacings.
    """
    rows_m, cols_m = profile.azimuth_resolution_m, profile.range_resolution_m
    if rows_m is None or cols_m is None:
        raise ParamsError(
            f"sensor profile {profile.name}: its resolution is unknown, and translation needs it",
            fix="copy the profile, add range_ and azimuth_resolution_m, and name the copy in params",
        )
    spacings = chips.manifest[["azimuth_spacing_m", "range_spacing_m"]].drop_duplicates()
    if len(spacings) > 1:
        raise DataError(
            f"{chips.root}: chips of {len(spacings)} pixel spacings: {spacings.to_numpy().tolist()[:4]}",
            fix="bring the chips of one sensor to one spacing before you add them",
        )
    azimuth_m, range_m = (float(value) for value in spacings.iloc[0])
    return SensorGrid(azimuth_m, range_m, rows_m, cols_m)


class ParentsOnGrid(Mapping[str, NDArray[np.float32]]):
    """Intensity of each parent on the target's grid and resolution, by chip_id, read when asked for.

    Args:
        parents: sets of the source's grid, real and generated.
        grids: of the source and of the target.
        same_pixels: one source pixel stands for one target pixel, and nothing is resampled.
    """

    def __init__(
        self, parents: Sequence[ChipSet], grids: tuple[SensorGrid, SensorGrid], same_pixels: bool
    ) -> None:
        self._grids, self._same_pixels = grids, same_pixels
        self._home = {str(chip_id): chips for chips in parents for chip_id in chips.manifest["chip_id"]}

    def __getitem__(self, chip_id: str) -> NDArray[np.float32]:
        chip = self._home[chip_id].intensity(chip_id)
        return chip if self._same_pixels else resample_intensity(chip, *self._grids)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._home))

    def __len__(self) -> int:
        return len(self._home)
