"""Migrating sets of chips: everything between the ChipSets that go in and the one that comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core import translation
from sarcurate.core.bright_target import bright_target_mask
from sarcurate.core.model_space import ModelSpace
from sarcurate.core.radiometry import from_intensity
from sarcurate.errors import DataError, HardwareError
from sarcurate.execution import in_batches, progress
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter
from sarcurate.io.migrated import (
    Recipe,
    StylePolicy,
    chosen_contents,
    extractor_text,
    manifest_row,
)
from sarcurate.io.pair_fit import PairFit
from sarcurate.io.work_cache import WorkCache
from sarcurate.models.attention_losses import StyleMemory
from sarcurate.models.extractor import Extractor, ExtractorRef, load_extractor, resolve_extractor
from sarcurate.models.migration import (
    TERMS,
    Content,
    Migrated,
    MigrationSettings,
    Migrator,
    Style,
)
from sarcurate.models.no_memory import is_no_memory
from sarcurate.models.pipeline_folder import PipelineFolder
from sarcurate.models.sampling import refuse_broken
from sarcurate.models.speckle_losses import Pool, fit_pool
from sarcurate.models.spectral_room import SpectralRoom, spectral_room

PHYSICS = "physics"
_CHIP, _TRACE = "intensity.npy", "trace.npy"
_STYLE_MEMORY_BYTES = 1 << 30

Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MigrationJob:
    """What is migrated to which sensor, and how.

    Args:
        fitted: statistics of both sensors' train chips; styles are chips of its target set.
        extractor: asked for; precision: of its UNet.
        source_space, target_space: model spaces of the two sensors.
        start: ``physics`` starts at the chip that physics translates, ``resampled`` at the content on the
            target's grid.
        model_px: longer side that chips are resampled to for the extractor; None keeps the target's grid.
        styles: policy.
        settings: of the optimisation.
        threads: of the processor.
        root_seed: of the data set.
    """

    fitted: PairFit
    extractor: ExtractorRef
    precision: str
    source_space: ModelSpace
    target_space: ModelSpace
    start: str
    model_px: int | None
    styles: StylePolicy
    settings: MigrationSettings
    threads: int
    root_seed: int


@dataclass(frozen=True, eq=False)
class MigratedSet:
    """What became of a set: its chips' losses, how many were made anew, and the batch that fitted.

    Args:
        traces: a row per chip and update: chip_id, update, and ``TERMS``.
        n_chips: in the set; n_new: of them not found in the work cache.
        batch_size: chips at once in the end; lower than asked for where memory ran out.
    """

    traces: pd.DataFrame
    n_chips: int
    n_new: int
    batch_size: int


class Migration:
    """An opened job: extractor loaded, target statistics measured, once for all sets that are migrated."""

    def __init__(self, job: MigrationJob, cache: Path) -> None:
        import torch

        torch.set_num_threads(job.threads)
        self._job, self._cache = job, WorkCache(cache)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._folder = resolve_extractor(job.extractor)
        self._extractor: Extractor = load_extractor(
            self._folder, job.extractor.layers, job.precision, self._device
        )
        target = job.fitted.like
        self._pool: Pool = fit_pool(
            [target.intensity(chip) for chip in target.manifest["chip_id"]],
            needs_speckle=job.settings.mode == "robust" and job.settings.speckle_weight > 0,
        )
        self._batch_size = job.settings.batch_size
        self._shared = _shared(job, self._folder, self._extractor)
        self._code = lineage.code_sha256(__name__)

    def room(self) -> SpectralRoom:
        """How far the sensors are apart, and what the extractor's autoencoder alone costs."""
        job = self._job
        return spectral_room(
            self._extractor.latent_space, job.fitted, job.target_space, job.model_px, self._batch_size
        )

    def run(self, contents: ChipSet, per_class: int | None, what: str, out: Path) -> MigratedSet:
        """Migrate what the work cache lacks and write the ChipSet.

        Args:
            contents: source chips, real or generated, opened as train chips.
            per_class: contents of each class; None takes all.
            what: to call it in the progress bar.
            out: empty or missing folder.

        Raises:
            DataError: for too few styles, a chip that comes out broken, or a full disk; finished chips stay.
            HardwareError: where a single chip does not fit into memory.
        """
        rows = {str(row["chip_id"]): row for row in chosen_contents(contents, per_class)}
        recipes = [self._recipe(row) for row in rows.values()]
        missing = [recipe for recipe in recipes if self._cache.entry(self._key(recipe)) is None]
        with progress(what, len(recipes)) as advance:
            advance(len(recipes) - len(missing))
            for alike in _by_shape(missing, contents):
                for batch in in_batches(alike, self._job.settings.batch_size):
                    self._make(batch, contents)
                    advance(len(batch))
        self._write(out, recipes, rows)
        return MigratedSet(self._traces(recipes), len(recipes), len(missing), self._batch_size)

    def start_of(self, recipe: Recipe, contents: ChipSet) -> tuple[Image, Image]:
        """Model space and linear intensity (rows, cols) of where a chip starts, on the target's grid."""
        job, fitted = self._job, self._job.fitted
        chip = contents.intensity(recipe.content)
        if job.start == PHYSICS:
            rng = np.random.default_rng(recipe.seed)
            moved = translation.physics(chip, fitted.source, fitted.target, rng)
            return job.target_space.to_model(moved), moved
        moved = translation.regridded(chip, fitted.source, fitted.target)
        return job.source_space.to_model(moved), moved

    def _recipe(self, row: Mapping[str, Any]) -> Recipe:
        chip_id, label = str(row["chip_id"]), str(row["label"])
        styles = self._job.styles.draw(chip_id, label, self._job.fitted.like, self._job.root_seed)
        return Recipe(chip_id, label, str(row["pixels_sha256"]), styles, self._shared)

    def _key(self, recipe: Recipe) -> str:
        job = self._job
        other = [self._code, job.settings.batch_size, job.threads, self._device]
        return lineage.sha256_text(lineage.canonical_json([recipe.sha256, *other]))

    def _make(self, batch: Sequence[Recipe], contents: ChipSet) -> None:
        """Migrate a batch and keep it; in halves from where memory runs out on."""
        starts = [self.start_of(recipe, contents) for recipe in batch]
        while True:
            try:
                made = self._migrate(batch, starts)
                break
            except RuntimeError as error:
                if not is_no_memory(error):
                    raise
                told = str(error).splitlines()[0]
            if self._batch_size == 1:
                raise HardwareError(
                    f"migrating {batch[0].content}: one chip does not fit into memory: {told}",
                    fix="lower migrate.model_px, take a smaller migrate.extractor, or a larger device",
                )
            self._batch_size //= 2
        refuse_broken(
            np.stack([one.values for one in made]),
            [recipe.content for recipe in batch],
            what="what was migrated of",
            fix="lower migrate.learning_rate, or set migrate.precision: fp32",
        )
        for recipe, one in zip(batch, made, strict=True):
            self._keep(recipe, one)

    def _migrate(self, batch: Sequence[Recipe], starts: Sequence[tuple[Image, Image]]) -> list[Migrated]:
        rows, cols = starts[0][0].shape
        migrator = self._migrator(batch, (rows, cols))
        contents = [
            Content(recipe.content, values, intensity, recipe.style_ids)
            for recipe, (values, intensity) in zip(batch, starts, strict=True)
        ]
        targets = bright_target_mask(np.stack([intensity for _, intensity in starts]))
        made: list[Migrated] = []
        for first in range(0, len(contents), self._batch_size):
            part = slice(first, first + self._batch_size)
            made += migrator(contents[part], list(targets[part]))
        return made

    def _migrator(self, batch: Sequence[Recipe], shape: tuple[int, int]) -> Migrator:
        """For a batch's styles alone, so that memory does not grow with the set."""
        canvas = self._extractor.latent_space.canvas(shape, self._job.model_px)
        wanted = sorted({style for recipe in batch for style in recipe.style_ids})
        styles = {style: self._style(style, shape) for style in wanted}
        latents = {
            name: self._extractor.latent_space.encode(style.values[None], canvas)[0].to(self._device)
            for name, style in styles.items()
        }
        return Migrator(
            extractor=self._extractor,
            canvas=canvas,
            space=self._job.target_space,
            styles=styles,
            memory=StyleMemory(self._extractor, latents, _STYLE_MEMORY_BYTES),
            pool=self._pool,
            settings=replace(self._job.settings, batch_size=self._batch_size),
        )

    def _style(self, chip_id: str, shape: tuple[int, int]) -> Style:
        chip = _centre(self._job.fitted.like.intensity(chip_id), shape, chip_id)
        return Style(self._job.target_space.to_model(chip), chip, bright_target_mask(chip[None])[0])

    def _keep(self, recipe: Recipe, made: Migrated) -> None:
        try:
            with self._cache.making(self._key(recipe)) as folder:
                intensity = self._job.target_space.to_intensity(made.values)
                np.save(folder / _CHIP, intensity, allow_pickle=False)
                np.save(folder / _TRACE, made.trace, allow_pickle=False)
        except OSError as error:
            raise DataError(
                f"cannot keep migrated chip {recipe.chip_id} in {self._cache.root}: {error.strerror}",
                fix="make room on this disk and run again: finished chips are kept",
            ) from error

    def _kept(self, recipe: Recipe, file: str) -> NDArray[np.float32]:
        folder = self._cache.entry(self._key(recipe))
        try:
            found: NDArray[np.float32] = np.load((folder or Path()) / file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"migrated chip {recipe.chip_id}: {file} in {folder} cannot be read: {error}",
                fix=f"remove {folder} and run again: this chip is migrated anew",
            ) from error
        return found

    def _write(self, out: Path, recipes: Sequence[Recipe], rows: Mapping[str, Mapping[str, Any]]) -> None:
        fitted = self._job.fitted
        told = extractor_text(self._folder.name, self._folder.sha256)
        with ChipSetWriter(out, replace(fitted.like.header, split="train")) as writer:
            for recipe in recipes:
                row = manifest_row(
                    recipe, rows[recipe.content], fitted.like, fitted.target.grid, fitted.profile, told
                )
                pixels = from_intensity(self._kept(recipe, _CHIP), fitted.like.header.radiometry)
                writer.add(row, pixels)

    def _traces(self, recipes: Sequence[Recipe]) -> pd.DataFrame:
        parts = []
        for recipe in recipes:
            trace = pd.DataFrame(self._kept(recipe, _TRACE), columns=list(TERMS))
            parts.append(trace.assign(chip_id=recipe.chip_id, update=np.arange(1, len(trace) + 1)))
        return pd.concat(parts, ignore_index=True).dropna(subset=["total"])


def _shared(job: MigrationJob, folder: PipelineFolder, extractor: Extractor) -> dict[str, Any]:
    """What decides every chip of a run."""
    settings = asdict(job.settings)
    del settings["batch_size"]
    return {
        "extractor_sha256": folder.sha256,
        "layers": list(extractor.capture.layers),
        "precision": job.precision,
        "model_spaces_db": [[space.low_db, space.high_db] for space in (job.source_space, job.target_space)],
        "start": job.start,
        "model_px": job.model_px,
        "styles": asdict(job.styles),
        "settings": settings,
        # Only the physics start depends on what all source chips are like.
        "fitted_on": list(job.fitted.fitted_on if job.start == PHYSICS else job.fitted.fitted_on[1:]),
        "grids": [asdict(job.fitted.source.grid), asdict(job.fitted.target.grid)],
        "same_pixels": job.fitted.source.same_pixels,
        "root_seed": job.root_seed,
    }


def _by_shape(recipes: Sequence[Recipe], contents: ChipSet) -> list[list[Recipe]]:
    """Recipes in groups whose contents are of one size, which a batch needs."""
    found: dict[tuple[int, ...], list[Recipe]] = {}
    for recipe in recipes:
        found.setdefault(contents.intensity(recipe.content).shape, []).append(recipe)
    return list(found.values())


def _centre(chip: Image, shape: tuple[int, int], chip_id: str) -> Image:
    """The middle (rows, cols) of a style chip."""
    if chip.shape[0] < shape[0] or chip.shape[1] < shape[1]:
        raise DataError(
            f"style chip {chip_id} is {chip.shape[0]} x {chip.shape[1]} px, the chips to be migrated "
            f"{shape[0]} x {shape[1]} px on the target's grid",
            fix="cut target chips that cover the source chips' ground (dataset.footprint_m)",
        )
    row, col = ((have - wanted) // 2 for have, wanted in zip(chip.shape, shape, strict=True))
    return chip[row : row + shape[0], col : col + shape[1]]
