"""An arm of an evaluation, trained again on a published release alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.errors import DataError, ParamsError
from sarcurate.io import lineage
from sarcurate.io.added_sets import CURATED, whole
from sarcurate.io.hub.release import ArmNote, Release, Training
from sarcurate.io.work_cache import WorkCache
from sarcurate.models import arm_data
from sarcurate.models.arm_data import LabelledChips
from sarcurate.models.arm_runs import ArmRun, FinishedRun, finish
from sarcurate.models.resnet import TrainingSettings

TARGET = "target"  # value of the column `set` of the target's real chips
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Retrained:
    """What the release states of an arm, and what was found.

    Args:
        predictions: a row per seed (its number) and test chip: ``seed, chip_id, label, predicted,
            confidence, run_key``.
    """

    stated: ArmNote
    predictions: pd.DataFrame

    @property
    def n_correct(self) -> tuple[int, ...]:
        """Test chips recognised, per seed."""
        right = self.predictions["label"] == self.predictions["predicted"]
        return tuple(int(n) for n in right.groupby(self.predictions["seed"]).sum())

    @property
    def is_same(self) -> bool:
        """Whether every seed recognised as many chips as stated."""
        return self.n_correct == self.stated.n_correct

    def lines(self) -> list[str]:
        """Found beside stated, for a terminal."""
        n_test, stated = self.stated.n_test, self.stated.n_correct
        accuracies = [sum(found) / (n_test * len(found)) for found in (self.n_correct, stated)]
        return [
            f"{self.stated.name}: accuracy {accuracies[0]:.6f}, stated {accuracies[1]:.6f}",
            *(
                f"  seed {seed}: {found} of {n_test} recognised, stated {told}"
                for seed, (found, told) in enumerate(zip(self.n_correct, stated, strict=True))
            ),
        ]


def retrain(
    told: Release,
    arm: str,
    curated: Iterable[Record],
    test: Iterable[Record],
    cache: WorkCache,
    on_update: Callable[[], None] = lambda: None,
) -> Retrained:
    """Train an arm of real and curated chips as evaluate did, and score it on the target's test chips.

    Args:
        curated, test: records as ``datasets`` loads them, of config `curated`, split train, and of config
            `real`, split test.
        cache: for finished runs; on_update: called once per optimiser update.

    Raises:
        ParamsError: for an arm that the evaluation did not have, or of chips that curation did not pass.
        DataError: for pixels or counts of chips that are not as the release states.
    """
    training = _training(told)
    note = _arm(training, arm)
    settings = TrainingSettings(**training.settings)
    sets = _by_set(curated)
    real, limits = _target(sets, None, settings.image_px)
    names = [whole(name) for name in note.add]
    added = [_images(sets[name], limits, settings.image_px, False) for name in names if name in sets]
    _check_count("train", len(real.labels) + sum(len(part.labels) for part in added), note.n_train, told)
    held_out = _by_set(test)
    tests, _ = _target(held_out, limits, settings.image_px)
    _check_count("test", len(tests.labels), note.n_test, told)
    largest = max(one.n_chips for name, one in told.sets.items() if not name.endswith("-test"))
    repeat_to = largest if note.oversample else None
    parts = []
    for number, seed in enumerate(training.seeds):
        run = ArmRun(settings, real, added, repeat_to, note.classical, len(told.classes), seed)
        done = finish(run, cache, on_update)
        parts.append(_predictions(done, number, held_out[TARGET], tests, told.classes, cache))
    return Retrained(note, pd.concat(parts, ignore_index=True))


def _training(told: Release) -> Training:
    if told.training is None:
        raise DataError(
            f"{told.name} v{told.version}: its classifiers began from weights that are not in the release",
            fix="ask its authors for them, and train on config curated with your own code",
        )
    return told.training


def _arm(training: Training, name: str) -> ArmNote:
    able = [arm for arm in training.arms if all(added.endswith(CURATED) for added in arm.add)]
    found = next((arm for arm in able if arm.name == name), None)
    if found is None:
        raise ParamsError(
            f"{name!r} is no arm of real and curated chips; there are {[arm.name for arm in able]}",
            fix="name one of them",
        )
    return found


@dataclass(frozen=True)
class _Chip:
    chip_id: str
    label: int
    pixels_sha256: str
    intensity: NDArray[np.float32]


def _by_set(records: Iterable[Record]) -> dict[str, list[_Chip]]:
    """Chips of each set in order of chip_id, their pixels checked."""
    found: dict[str, list[_Chip]] = {}
    for row in records:
        pixels, chip_id = np.asarray(row["image"]), str(row["chip_id"])
        digest = lineage.pixels_sha256(pixels)
        if digest != row["pixels_sha256"]:
            raise DataError(
                f"chip {chip_id}: pixels {digest[:16]}, its record says {str(row['pixels_sha256'])[:16]}",
                fix="load the release as it was published; `sarcurate verify` compares all of it",
            )
        intensity = to_intensity(pixels, Radiometry(row["radiometry"]))
        found.setdefault(str(row["set"]), []).append(_Chip(chip_id, int(row["label"]), digest, intensity))
    return {name: sorted(chips, key=lambda chip: chip.chip_id) for name, chips in found.items()}


def _target(
    sets: Mapping[str, list[_Chip]], limits: tuple[float, float] | None, image_px: int
) -> tuple[LabelledChips, tuple[float, float]]:
    """Real chips of the target, over the dB range given or, None, their own."""
    chips = sets.get(TARGET)
    if not chips:
        raise DataError(
            f"no records of set {TARGET!r}; found {sorted(sets)}",
            fix="give config curated, split train, and config real, split test",
        )
    own = limits or arm_data.limits_db([chip.intensity for chip in chips])
    return _images(chips, own, image_px, is_real=True), own


def _images(
    chips: Sequence[_Chip], limits: tuple[float, float], image_px: int, is_real: bool
) -> LabelledChips:
    return arm_data.prepare(
        [chip.intensity for chip in chips],
        [chip.label for chip in chips],
        [chip.pixels_sha256 for chip in chips],
        limits,
        image_px,
        is_real,
    )


def _check_count(split: str, found: int, stated: int, told: Release) -> None:
    if found != stated:
        raise DataError(
            f"{told.name} v{told.version}: found {found} {split} chips, its evaluation had {stated}",
            fix="give whole splits; an arm that lost chips to a licence or a gate cannot be trained again",
        )


def _predictions(
    run: FinishedRun,
    number: int,
    chips: Sequence[_Chip],
    test: LabelledChips,
    classes: Sequence[str],
    cache: WorkCache,
) -> pd.DataFrame:
    probabilities = run.probabilities(test, cache)
    return pd.DataFrame(
        {
            "seed": number,
            "chip_id": [chip.chip_id for chip in chips],
            "label": [classes[chip.label] for chip in chips],
            "predicted": [classes[place] for place in probabilities.argmax(axis=1)],
            "confidence": np.round(probabilities.max(axis=1), 4),
            "run_key": run.key,
        }
    )
