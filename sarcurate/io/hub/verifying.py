"""A release held against its own lists: every file, every chip's pixels, every set's revision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.decoding import read_any_tiff
from sarcurate.io.hub import records, release
from sarcurate.io.hub.reading import read_batches, set_revision, shards
from sarcurate.io.hub.release import ListedChip, Release
from sarcurate.io.plain_tiff import read_plain_tiff
from sarcurate.io.safe import IMAGE_LIMITS, sha256_file

MOST_SHOWN = 20
_NEEDED = ["image", records.SET, "split", records.IS_MADE, "chip_id", "pixels_sha256"]


@dataclass(frozen=True)
class Verified:
    """What was found to be as listed: files, records (chips in configs), and sets whose revision follows."""

    release: Release
    n_files: int
    n_records: int
    whole_sets: tuple[str, ...]

    def line(self) -> str:
        """In one sentence."""
        sets = f"; sets whole and of their revision: {', '.join(self.whole_sets)}" if self.whole_sets else ""
        return (
            f"{self.release.name} v{self.release.version}, revision {self.release.dataset_revision}: "
            f"{self.n_files} files and {self.n_records} chips are as listed{sets}"
        )


def verify(folder: Path) -> Verified:
    """Compare a release with its lists.

    Raises:
        DataError: saying what differs, or that the folder is no release.
    """
    told = release.read_release(folder)
    files = release.read_files(folder)
    differences = list(_file_differences(folder, files))
    _refuse(folder, differences)  # records of a damaged file would be noise
    listed = {(chip.config, chip.split, chip.chip_id): chip for chip in release.read_chips(folder)}
    n_records = len(listed)
    sets: dict[str, list[pa.Table]] = {}
    for config, splits in told.configs.items():
        for split in splits:
            differences += _record_differences(folder, config, split, listed, sets)
    differences += [f"{'/'.join(key)}: chip is listed in chips.csv, but no shard has it" for key in listed]
    whole = [name for name, note in told.sets.items() if 0 < note.n_chips == note.n_released]
    for name in whole:
        found = set_revision(pa.concat_tables(sets[name])) if name in sets else "none"
        if found != told.sets[name].revision:
            differences.append(f"set {name}: revision {found[:16]}, expected {told.sets[name].revision[:16]}")
    if told.revision_of_parts != told.dataset_revision:
        differences.append(
            f"revision.json: revision {told.dataset_revision}, its parts give {told.revision_of_parts}"
        )
    _refuse(folder, differences)
    return Verified(told, len(files), n_records, tuple(whole))


def _refuse(folder: Path, differences: list[str]) -> None:
    if not differences:
        return
    shown = differences[:MOST_SHOWN]
    more = len(differences) - len(shown)
    lines = [*shown, f"and {more} more"] if more else shown
    raise DataError(
        f"{folder} is not as its lists say, {len(differences)} differences:\n  " + "\n  ".join(lines),
        fix="download the release again; where it is yours, rebuild it with `dvc repro package`",
    )


def _file_differences(folder: Path, files: dict[str, str]) -> Iterator[str]:
    found = set(release.files_below(folder)) - {release.FILES}
    for name in sorted(set(files) - found):
        yield f"{name}: missing"
    for name in sorted(found - set(files)):
        yield f"{name}: not listed"
    for name in sorted(found & set(files)):
        digest = sha256_file(folder / name)
        if digest != files[name]:
            yield f"{name}: SHA-256 {digest[:16]}, expected {files[name][:16]}"


def _record_differences(
    folder: Path,
    config: str,
    split: str,
    listed: dict[tuple[str, str, str], ListedChip],
    sets: dict[str, list[pa.Table]],
) -> Iterator[str]:
    """Differences of a split; takes its chips out of ``listed``, and keeps manifest columns in ``sets``."""
    paths = shards(folder, config, split)
    if not paths:
        yield f"{config}/{split}: no shard"
    for path in paths:
        for batch in read_batches(path, None):
            table = pa.Table.from_batches([batch])
            for row in table.select(_NEEDED).to_pylist():
                listing = listed.pop((config, split, str(row["chip_id"])), None)
                problem = _problem(row, split, listing)
                if problem:
                    yield f"{config}/{split}/{row['chip_id']} in {path.name}: {problem}"
            if config != "curated":
                _keep(table, split, sets)


def _keep(table: pa.Table, split: str, sets: dict[str, list[pa.Table]]) -> None:
    names = table[records.SET].to_pylist()
    for name in dict.fromkeys(names):
        own = table.filter(pa.array([found == name for found in names]))
        key = f"{name}-{split}" if name in ("source", "target") else name
        sets.setdefault(key, []).append(own.select([*records.OF_MANIFEST, records.MANIFEST_LABEL]))


def _pixels(picture: dict[str, Any] | None, chip_id: str) -> NDArray[Any]:
    """Pixels (rows, cols) of a record's TIFF; DataError where there is none or it cannot be read."""
    data = picture["bytes"] if picture else None
    if not data:
        raise DataError("the record has no picture", fix="download the release again")
    pixels = read_plain_tiff(data, IMAGE_LIMITS, chip_id)
    return read_any_tiff(data, Path(f"{chip_id}.tif"), IMAGE_LIMITS).array if pixels is None else pixels


def _problem(row: dict[str, Any], split: str, listing: ListedChip | None) -> str:
    """What is wrong with a record; empty where nothing is."""
    if listing is None:
        return "chip is not listed in chips.csv, or twice in the shards"
    try:
        digest = lineage.pixels_sha256(_pixels(row["image"], str(row["chip_id"])))
    except DataError as error:
        return error.problem
    if digest != listing.pixels_sha256:
        return f"pixels {digest[:16]}, listed {listing.pixels_sha256[:16]}"
    if row["pixels_sha256"] != digest:
        return f"pixels {digest[:16]}, its column says {str(row['pixels_sha256'])[:16]}"
    if row["split"] != split:
        return f"the record says split {row['split']}"
    if row[records.IS_MADE] is not listing.is_made:
        return f"is_made is {row[records.IS_MADE]}, listed {listing.is_made}"
    return "a made chip in a test split" if listing.is_made and split == "test" else ""
