"""Pictures of chips for the App, kept by what they show: drawn once, and again only for other pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from sarcurate.core import eye_views
from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.io import lineage, raster
from sarcurate.io.collection import Collection
from sarcurate.io.scoring import domain_of_intensity

KINDS = ("linear", "spectrum", "homogeneous", "beside")
FORMAT = 1  # raised when pictures are drawn in another way


@dataclass(frozen=True)
class Picture:
    """All pictures of one chip that are to be drawn: where each goes, and what they are made of."""

    file: str
    radiometry: Radiometry
    window_db: tuple[float, float]
    beside: tuple[str, ...]
    paths: Mapping[str, Path]

    def draw(self) -> None:
        """Draw those that are not there yet."""
        missing = {kind: path for kind, path in self.paths.items() if not path.is_file()}
        if not missing:
            return
        intensity = to_intensity(raster.read_tiff(Path(self.file)), self.radiometry)
        for kind, path in missing.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            raster.write_preview(path, self._view(kind, intensity))

    def _view(self, kind: str, intensity: NDArray[np.float32]) -> eye_views.Grey:
        if kind == "linear":
            return eye_views.linear_view(intensity, self.window_db)
        if kind == "spectrum":
            return eye_views.spectrum_view(intensity)
        if kind == "homogeneous":
            return eye_views.homogeneous_view(intensity, domain_of_intensity(self.radiometry), self.window_db)
        return eye_views.side_by_side([_grey(Path(name)) for name in self.beside])


def pictures(collection: Collection, folder: Path) -> list[Picture]:
    """The pictures of every chip, in the collection's order."""
    chips = collection.chips
    shown = {
        chip_id: (preview, pixels)
        for chip_id, preview, pixels in zip(
            chips["chip_id"], chips["preview"], chips["pixels_sha256"], strict=True
        )
    }
    return [_picture(row, collection, shown, folder) for row in _rows(chips)]


def draw_all(wanted: Iterable[Picture]) -> Iterator[None]:
    """Draw one after the other; yields after each."""
    for picture in wanted:
        picture.draw()
        yield


def _rows(chips: pd.DataFrame) -> Iterator[dict[str, str]]:
    names = ["chip_id", "pixels_sha256", "set", "file", "content", "style", "peer"]
    for values in zip(*(chips[name] for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


def _picture(
    row: Mapping[str, str], collection: Collection, shown: Mapping[str, tuple[str, str]], folder: Path
) -> Picture:
    kin = [shown[row[name]] for name in ("chip_id", "content", "style", "peer") if row[name] in shown]
    window = collection.windows_db[row["set"]]
    radiometry = collection.radiometries[row["set"]]
    own = lineage.sha256_text(
        lineage.canonical_json([FORMAT, row["pixels_sha256"], window, radiometry.value])
    )
    strip = lineage.sha256_text(lineage.canonical_json([FORMAT, own, [pixels for _, pixels in kin]]))
    names = dict.fromkeys(KINDS[:-1], own) | {KINDS[-1]: strip}
    paths = {kind: folder / kind / name[:2] / f"{name[:32]}.png" for kind, name in names.items()}
    return Picture(row["file"], radiometry, window, tuple(preview for preview, _ in kin), paths)


def _grey(path: Path) -> eye_views.Grey:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=np.uint8)
