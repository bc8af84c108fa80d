"""Generation: so many chips of every class, or as many as it takes until enough pass the source's gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.model_space import ModelSpace
from sarcurate.core.radiometry import Radiometry, from_intensity, to_intensity
from sarcurate.errors import DataError, ParamsError
from sarcurate.execution import in_batches
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSetWriter
from sarcurate.io.gates import judge
from sarcurate.io.generated import Plan, Recipe
from sarcurate.io.generation_yield import ClassYield
from sarcurate.io.manifest import Header
from sarcurate.io.work_cache import WorkCache
from sarcurate.models.sampling import refuse_broken
from sarcurate.models.source_judge import SourceJudge

CHIP_FILE = "intensity.npy"
# Relative float32 steps around a limit of model space: what was clipped lies there.
_AT_LIMIT = 1e-6

Draw = Callable[[Sequence[Recipe]], NDArray[np.float32]]


@dataclass(frozen=True)
class Quota:
    """How many chips per class.

    Args:
        per_class: chips of every class in the set.
        until_pass: count only those that pass the gates.
        max_tries_per_class: chips drawn at most where they have to pass.

    Raises:
        ParamsError: for a number under 1, or fewer tries than chips.
    """

    per_class: int
    until_pass: bool
    max_tries_per_class: int

    def __post_init__(self) -> None:
        if self.per_class < 1:
            raise ParamsError(
                f"generate.per_class is {self.per_class}, expected 1 or more", fix="ask for 1 or more chips"
            )
        if self.until_pass and self.max_tries_per_class < self.per_class:
            raise ParamsError(
                f"{self.max_tries_per_class} tries for {self.per_class} chips that pass",
                fix="set generate.max_tries_per_class to generate.per_class or more",
            )

    @property
    def most(self) -> int:
        """Chips per class that may be drawn."""
        return self.max_tries_per_class if self.until_pass else self.per_class


@dataclass(frozen=True, eq=False)
class Maker:
    """Draws chips that the work cache does not hold yet, and keeps every batch as soon as it is drawn.

    Args:
        draw: recipes to linear intensity (n, rows, cols).
        cache: of finished chips.
        cache_key: hash of what decides the pixels beside the recipe: code, batch size, kind of device.
        batch_size: chips drawn at a time.
        space: model space that chips come from; chip_px: (rows, cols) they have to have.
        radiometry: of the ChipSet.
        on_chips: told how many chips have become ready, cached ones included.
    """

    draw: Draw
    cache: WorkCache
    cache_key: str
    batch_size: int
    space: ModelSpace
    chip_px: tuple[int, int]
    radiometry: Radiometry
    on_chips: Callable[[int], None]

    def make(self, recipes: Sequence[Recipe]) -> None:
        """Have all these chips in the cache.

        Raises:
            DataError: for a broken chip (not finite, black, constant, of another size), or a full disk;
                chips of earlier batches are kept.
        """
        missing = [recipe for recipe in recipes if self.cache.entry(self._key(recipe)) is None]
        self.on_chips(len(recipes) - len(missing))
        for batch in in_batches(missing, self.batch_size):
            drawn = self.draw(batch)
            if drawn.shape != (len(batch), *self.chip_px):
                raise DataError(
                    f"{len(batch)} chips from {batch[0].chip_id} on were drawn with shape {drawn.shape}, "
                    f"expected {(len(batch), *self.chip_px)}",
                    fix="generate with the chip size that the adapter was trained at",
                )
            refuse_broken(self.space.to_model(drawn), [recipe.chip_id for recipe in batch])
            for recipe, chip in zip(batch, drawn, strict=True):
                self._keep(recipe, chip)
            self.on_chips(len(batch))

    def drawn(self, recipe: Recipe) -> NDArray[np.float32]:
        """Linear intensity (rows, cols) of a chip that was made, as it was drawn.

        Raises:
            DataError: where it was not made or its file is damaged.
        """
        folder = self.cache.entry(self._key(recipe))
        if folder is None:
            raise DataError(f"chip {recipe.chip_id} was not drawn yet", fix="run `dvc repro generate` again")
        try:
            chip: NDArray[np.float32] = np.load(folder / CHIP_FILE, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"chip {recipe.chip_id}: {folder / CHIP_FILE} cannot be read: {error}",
                fix=f"remove {folder} and run again: this chip is drawn anew",
            ) from error
        return chip

    def pixels(self, recipe: Recipe) -> NDArray[np.float32]:
        """Pixels (rows, cols) of a chip that was made, in the ChipSet's radiometry."""
        return from_intensity(self.drawn(recipe), self.radiometry)

    def as_opened(self, chip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Linear intensity of a drawn chip as whoever opens the ChipSet gets it, 8-bit levels rounded."""
        return to_intensity(from_intensity(chip, self.radiometry), self.radiometry)

    def _key(self, recipe: Recipe) -> str:
        return lineage.sha256_text(lineage.canonical_json([recipe.sha256, self.cache_key]))

    def _keep(self, recipe: Recipe, chip: NDArray[np.float32]) -> None:
        try:
            with self.cache.making(self._key(recipe)) as folder:
                np.save(folder / CHIP_FILE, np.asarray(chip, dtype=np.float32), allow_pickle=False)
        except OSError as error:
            raise DataError(
                f"cannot keep chip {recipe.chip_id} in {self.cache.root}: {error.strerror}",
                fix="make room on this disk and run again: finished chips are kept",
            ) from error


@dataclass(frozen=True, eq=False)
class Generated:
    """Recipes of the chips to keep, by class in the order asked for, and each class's yield."""

    kept: tuple[Recipe, ...]
    yields: tuple[ClassYield, ...]


def generate(
    plan: Plan, classes: Sequence[str], quota: Quota, maker: Maker, judged_by: SourceJudge
) -> Generated:
    """Make chips of every class and judge them.

    Chips of a class are drawn in the order of their index. Where they have to pass, they are drawn in
    rounds of a batch until enough pass or the tries are used up; the first that pass are kept, and the yield
    counts whole rounds, as the round that fills the quota would else be counted up to a success.

    Raises:
        ParamsError: for gates that cannot be applied, before a chip is drawn; for ``until_pass`` without any.
        DataError: as :meth:`Maker.make`; where no chip at all passes.
    """
    judged_by.check()
    if quota.until_pass and not judged_by.gates:
        raise ParamsError(
            "chips are to be drawn until they pass, but there is no gate",
            fix="name gates in generate.gates",
        )
    if not quota.until_pass:
        maker.make([recipe for label in classes for recipe in plan.recipes(label, range(quota.per_class))])
    rounds = _until_passed if quota.until_pass else _all
    done = [rounds(plan, label, quota, maker, judged_by) for label in classes]
    kept = tuple(recipe for recipes, _ in done for recipe in recipes)
    yields = tuple(one for _, one in done)
    if not kept:
        raise DataError(
            f"no generated chip passes: {_why(yields)}", fix="look at generate.gates, or tune longer"
        )
    return Generated(kept, yields)


def write_generated(out: Path, header: Header, plan: Plan, generated: Generated, maker: Maker) -> None:
    """Write the ChipSet of the kept chips.

    Args:
        out: empty or missing folder.
        header: of the source's train set, whose sensor, radiometry and window hold here too.
    """
    with ChipSetWriter(out, replace(header, split="train")) as writer:
        for recipe in generated.kept:
            writer.add(plan.row(recipe), maker.pixels(recipe))


def _all(
    plan: Plan, label: str, quota: Quota, maker: Maker, judged_by: SourceJudge
) -> tuple[list[Recipe], ClassYield]:
    recipes = plan.recipes(label, range(quota.per_class))
    parts = [_judge(batch, maker, judged_by) for batch in in_batches(recipes, judged_by.chips_at_a_time)]
    return recipes, _class_yield(label, pd.concat(parts), len(recipes))


def _until_passed(
    plan: Plan, label: str, quota: Quota, maker: Maker, judged_by: SourceJudge
) -> tuple[list[Recipe], ClassYield]:
    passed: list[Recipe] = []
    parts: list[pd.DataFrame] = []
    for start in range(0, quota.max_tries_per_class, maker.batch_size):
        end = min(start + maker.batch_size, quota.max_tries_per_class)
        batch = plan.recipes(label, range(start, end))
        maker.make(batch)
        parts.append(_judge(batch, maker, judged_by))
        passed += [recipe for recipe, fine in zip(batch, parts[-1]["passed"], strict=True) if fine]
        if len(passed) >= quota.per_class:
            break
    kept = passed[: quota.per_class]
    return kept, _class_yield(label, pd.concat(parts), len(kept))


def _judge(recipes: Sequence[Recipe], maker: Maker, judged_by: SourceJudge) -> pd.DataFrame:
    """A row per chip: one column of booleans per gate (True: broken), and what the yield counts."""
    drawn = [maker.drawn(recipe) for recipe in recipes]
    images = [maker.as_opened(chip) for chip in drawn]
    table = judged_by.scores(images, [r.label for r in recipes], [r.chip_id for r in recipes])
    objections = judge(table, judged_by.gates, judged_by.reference.limits)
    broken = pd.DataFrame(
        {f"gate.{name}": [bool(why) for why in said] for name, said in objections.items()},
        index=range(len(recipes)),
    )
    limits = [_at_limits(chip, maker.space) for chip in drawn]
    return broken.assign(
        passed=~broken.any(axis=1),
        recognised=table["recognised"].to_numpy(),
        shown=table["shown"].to_numpy(),
        pixels=[image.size for image in images],
        at_low=[low for low, _ in limits],
        at_high=[high for _, high in limits],
    )


def _at_limits(chip: NDArray[np.float32], space: ModelSpace) -> tuple[int, int]:
    """Pixels at the lower and at the upper limit of model space, where clipping leaves them."""
    low, high = (10.0 ** (limit / 10.0) for limit in (space.low_db, space.high_db))
    linear = chip.astype(np.float64)
    return int((linear <= low * (1 + _AT_LIMIT)).sum()), int((linear >= high * (1 - _AT_LIMIT)).sum())


def _class_yield(label: str, judged: pd.DataFrame, kept: int) -> ClassYield:
    gates = [name for name in judged.columns if name.startswith("gate.")]
    sums: Mapping[str, int] = {
        name: int(judged[name].sum())
        for name in ("passed", "recognised", "shown", "pixels", "at_low", "at_high")
    }
    rejected = {name.removeprefix("gate."): int(judged[name].sum()) for name in gates}
    return ClassYield(label=label, made=len(judged), kept=kept, rejected_by=rejected, **sums)


def _why(yields: Sequence[ClassYield]) -> str:
    made = sum(one.made for one in yields)
    counts: dict[str, int] = {}
    for one in yields:
        for gate, n in one.rejected_by.items():
            counts[gate] = counts.get(gate, 0) + n
    worst = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    return f"{made} made, rejected by " + ", ".join(f"{gate} ({n})" for gate, n in worst)
