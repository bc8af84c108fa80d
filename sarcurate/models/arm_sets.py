"""ChipSets as the training and test images of arms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.errors import DataError, LeakageError
from sarcurate.io.added_sets import CURATED, MATCHED, MIGRATED, ORACLE, content, drawn
from sarcurate.io.chipset import ChipSet
from sarcurate.io.selection import Selection
from sarcurate.io.work_cache import WorkCache
from sarcurate.models import arm_data
from sarcurate.models.arm_data import LabelledChips
from sarcurate.models.arm_runs import FinishedRun

REAL = "real"


@dataclass(frozen=True)
class TestSet:
    """A test set in model space, with the ids and groups that its statistics need."""

    name: str
    chips: ChipSet
    data: LabelledChips


@dataclass(frozen=True)
class ModelSpace:
    """How chips become images: class order and image side."""

    classes: Sequence[str]
    image_px: int

    def images(self, chips: ChipSet, limits_db: tuple[float, float], is_real: bool) -> LabelledChips:
        """All chips of a set, in order of chip_id.

        Raises:
            DataError: for a class that is not one of ``classes``.
        """
        rows = list(chips.rows())
        index = {name: position for position, name in enumerate(self.classes)}
        unknown = sorted({row["label"] for row in rows} - set(index))
        if unknown:
            raise DataError(
                f"{chips.root} holds classes {unknown} that dataset.classes does not name",
                fix="correct dataset.classes or the set",
            )
        return arm_data.prepare(
            [chips.intensity(row["chip_id"]) for row in rows],
            [index[row["label"]] for row in rows],
            [row["pixels_sha256"] for row in rows],
            limits_db,
            self.image_px,
            is_real,
        )


def own_limits(chips: ChipSet) -> tuple[float, float]:
    """DB range of a sensor, from its train chips."""
    return arm_data.limits_db([chips.intensity(row["chip_id"]) for row in chips.rows()])


def curated(
    space: ModelSpace, chips: ChipSet, images: LabelledChips, selection: Selection
) -> LabelledChips | None:
    """The kept chips of a made set under the Selection's labels; None where none is kept.

    Raises:
        DataError: where the Selection does not know a chip, or relabels one to an unknown class.
    """
    fate = {choice.chip_id: choice for choice in selection.choices}
    ids = list(chips.manifest["chip_id"])
    unknown = [chip_id for chip_id in ids if chip_id not in fate]
    if unknown:
        raise DataError(
            f"{chips.root}: the selection knows nothing of {len(unknown)} chips, such as {unknown[0]}",
            fix="rebuild scores and selection with `dvc repro`",
        )
    kept = np.array([fate[chip_id].kept for chip_id in ids], dtype=np.bool_)
    if not kept.any():
        return None
    index = {name: position for position, name in enumerate(space.classes)}
    labels = [fate[chip_id].label for chip_id, keep in zip(ids, kept, strict=True) if keep]
    odd = sorted(set(labels) - set(index))
    if odd:
        raise DataError(
            f"the selection has labels {odd} that dataset.classes does not name", fix="correct the verdicts"
        )
    return replace(_part(images, kept), labels=np.array([index[name] for name in labels], dtype=np.int64))


def matched(chips: ChipSet, images: LabelledChips, contents: Collection[str]) -> LabelledChips | None:
    """The chips of a set that show one of ``contents``, ids of source chips; None where none does."""
    shown = np.array([content(row) in contents for row in chips.rows()], dtype=np.bool_)
    return _part(images, shown) if shown.any() else None


def _part(images: LabelledChips, taken: NDArray[np.bool_]) -> LabelledChips:
    return replace(
        images,
        images=images.images[taken],
        labels=images.labels[taken],
        pixels_sha256=tuple(p for p, take in zip(images.pixels_sha256, taken, strict=True) if take),
    )


def left_over(chips: ChipSet, split: Selection, test: ChipSet, per_class: int | None) -> ChipSet:
    """Real chips that the split drew for nothing, to say what as many real chips are worth.

    Args:
        chips: all chips of the target sensor; split: what became of each.
        test: its test chips, whose groups nothing may be trained on.
        per_class: chips taken of each class, by the hash of their ids; None for all.

    Raises:
        LeakageError: where one of them is of a group of test chips.
        DataError: where a class has fewer, or none is left.
    """
    free = chips.manifest[~chips.manifest["chip_id"].isin(split.kept)]
    tested = chips.manifest["chip_id"].isin(test.manifest["chip_id"])
    shared = sorted(set(free["group_id"]) & set(chips.manifest.loc[tested, "group_id"]))
    if shared:
        raise LeakageError(
            f"group {shared[0]} has chips in {test.root} and others that the split drew for nothing",
            fix="make the split again: `dvc repro --force split`",
        )
    counts = free.groupby("label").size().reindex(sorted(set(chips.manifest["label"])), fill_value=0)
    if counts.min() < (per_class or 1):
        raise DataError(
            f"the split left {counts.min()} chips of class {counts.idxmin()} for the set {ORACLE}",
            fix="lower evaluate.oracle_per_class or split.target.train_per_class, or drop the arm",
        )
    ids = drawn(dict(zip(free["chip_id"], free["label"], strict=True)), per_class)
    return replace(chips, manifest=free[free["chip_id"].isin(ids)].reset_index(drop=True))


def training_images(
    space: ModelSpace,
    target: ChipSet,
    source: tuple[str, ChipSet],
    like_source: Mapping[str, ChipSet],
    made: Mapping[str, ChipSet],
    selection: Selection,
) -> dict[str, LabelledChips]:
    """Images of every set that an arm can be made of: ``real``, the source sets and the made sets.

    The kept chips of a made set stand as ``<set>-curated``, where it kept any; the chips of a made set or
    of the source whose content is that of a migrated chip as ``<set>-matched``, where there are any.

    Source chips, real or generated, are shown over their own sensor's dB range, as pooling them naively
    does; made chips claim to be the target's, so they are shown over the target's.
    """
    limits = own_limits(target)
    images = {REAL: space.images(target, limits, is_real=True)}
    source_limits = own_limits(source[1])
    for name, chips in {source[0]: source[1], **like_source}.items():
        images[name] = space.images(chips, source_limits, is_real=False)
    for name, chips in made.items():
        images[name] = space.images(chips, limits, is_real=False)
        kept = curated(space, chips, images[name], selection)
        if kept is not None:
            images[name + CURATED] = kept
    contents = {content(row) for row in made[MIGRATED].rows()} if MIGRATED in made else set()
    for name, chips in {source[0]: source[1], **made}.items():
        same = matched(chips, images[name], contents)
        if same is not None:
            images[name + MATCHED] = same
    return images


def predictions(
    finished: Mapping[tuple[str, int], FinishedRun],
    tests: Sequence[TestSet],
    classes: Sequence[str],
    cache: WorkCache,
) -> pd.DataFrame:
    """One row per test set, run (arm, seed) and chip; columns as ``sarcurate.io.evidence.COLUMNS``."""
    names = np.asarray(classes, dtype=object)
    parts: list[pd.DataFrame] = []
    for test in tests:
        known = test.chips.manifest[["chip_id", "group_id", "label"]]
        for (arm, seed), run in finished.items():
            probabilities = run.probabilities(test.data, cache)
            part = known.assign(
                test_set=test.name,
                arm=arm,
                seed=seed,
                predicted=names[probabilities.argmax(axis=1)],
                confidence=np.round(probabilities.max(axis=1), 4),
                run_key=run.key,
            )
            parts.append(part)
    return pd.concat(parts, ignore_index=True)
