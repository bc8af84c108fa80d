"""Migration by attention distillation: latents of contents optimised until they look like a sensor's style.

After Zhou et al. (2025), arXiv:2502.20235, with the speckle and spectrum terms of arXiv:2606.28922, eq. 22.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.model_space import ModelSpace
from sarcurate.errors import DataError, ParamsError
from sarcurate.models.attention_losses import (
    Mask,
    StyleMemory,
    allowed_reads,
    content_loss,
    distillation_loss,
    token_grid,
)
from sarcurate.models.extractor import Extractor
from sarcurate.models.latent import Canvas
from sarcurate.models.speckle_losses import (
    Pool,
    SpeckleTerms,
    homogeneous_windows,
    paper_terms,
    robust_terms,
    style_windows,
)

if TYPE_CHECKING:
    from torch import Tensor

TERMS = ("distillation", "content", "speckle", "spectrum", "total")
# A block of iterations has to lower a chip's loss by this share to count as progress.
_PROGRESS = 1e-3


@dataclass(frozen=True)
class MigrationSettings:
    """How chips are migrated.

    Args:
        mode: of the speckle and spectrum terms, ``paper`` or ``robust``.
        content_weight, speckle_weight, spectrum_weight: beside a weight of 1 of the distillation.
        timesteps: of the extractor, from noisy to clean; iterations: updates at each.
        learning_rate: of one Adam over all of them.
        pixel_every: the terms that need pixels count at each so-maniest update, as many times as much.
        patience: times without progress after which a chip is finished; None for never.
        batch_size: chips at once; the last bits of a chip depend on it.
        masks: targets read styles' targets, clutter reads clutter.

    Raises:
        ParamsError: for a value out of its bounds.
    """

    mode: str
    content_weight: float
    speckle_weight: float
    spectrum_weight: float
    timesteps: int
    iterations: int
    learning_rate: float
    pixel_every: int
    patience: int | None
    batch_size: int
    masks: bool

    def __post_init__(self) -> None:
        if self.mode not in ("paper", "robust"):
            raise ParamsError(f"migration: mode is {self.mode}", fix="take paper or robust")
        for name in ("timesteps", "iterations", "pixel_every", "batch_size", "patience"):
            found = getattr(self, name)
            if found is not None and found < 1:
                raise ParamsError(f"migration: {name} is {found}", fix="take 1 or more")
        for name in ("learning_rate", "content_weight", "speckle_weight", "spectrum_weight"):
            found, least = getattr(self, name), name == "learning_rate"
            if not (math.isfinite(found) and (found > 0 if least else found >= 0)):
                raise ParamsError(
                    f"migration: {name} is {found}", fix=f"take a number {'above' if least else 'from'} 0"
                )

    @property
    def uses_pixels(self) -> bool:
        """Whether chips have to be decoded on the way."""
        return self.speckle_weight > 0 or self.spectrum_weight > 0


@dataclass(frozen=True, eq=False)
class Content:
    """A chip to migrate.

    Args:
        name: for messages.
        start: (rows, cols) model space, where the optimisation starts and what queries are kept of.
        intensity: (rows, cols) linear, whose homogeneous windows and target are taken.
        style_ids: chips of the target sensor.
    """

    name: str
    start: NDArray[np.float32]
    intensity: NDArray[np.floating]
    style_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Style:
    """A real train chip of the target sensor: model space, linear intensity, and where its target is."""

    values: NDArray[np.float32]
    intensity: NDArray[np.floating]
    target: Mask


@dataclass(frozen=True, eq=False)
class Migrated:
    """A chip in model space (rows, cols), and its losses (updates, ``TERMS``), NaN where not taken."""

    values: NDArray[np.float32]
    trace: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Migrator:
    """Migrates batches of contents of one size.

    Args:
        extractor: whose attention is distilled.
        canvas: of the chips.
        space: model space of the target sensor.
        styles: by chip id, of the canvas' size; memory: of their keys and values.
        pool: what the robust terms are held against.
        settings: how.
    """

    extractor: Extractor
    canvas: Canvas
    space: ModelSpace
    styles: dict[str, Style]
    memory: StyleMemory
    pool: Pool
    settings: MigrationSettings

    def __call__(self, contents: Sequence[Content], targets: Sequence[Mask]) -> list[Migrated]:
        """Migrate a batch, filled up to its full size so that a chip does not depend on its neighbours.

        Args:
            contents: 1 to ``batch_size`` of them.
            targets: (rows, cols) of each, true on its target; not read without masks.

        Raises:
            DataError: where a chip's loss stops being finite, naming it.
        """
        import torch

        size = self.settings.batch_size
        places = [*range(len(contents)), *[len(contents) - 1] * (size - len(contents))]
        batch = _Batch(self, [contents[place] for place in places], [targets[place] for place in places])
        latents, traces = batch.optimise()
        with torch.no_grad():
            values = self.extractor.latent_space.decode(latents, self.canvas)
        return [Migrated(values[place], traces[place]) for place in range(len(contents))]


class _Batch:
    """One optimisation of a full batch."""

    def __init__(self, migrator: Migrator, contents: Sequence[Content], targets: Sequence[Mask]) -> None:
        import torch

        self._m, self._contents = migrator, contents
        space, device = migrator.extractor.latent_space, migrator.extractor.unet.device
        starts = np.stack([content.start for content in contents])
        self._content_latents = space.encode(starts, migrator.canvas).to(device)
        self._style_ids = [content.style_ids for content in contents]
        self._allowed = self._masks(targets) if migrator.settings.masks else None
        self._windows = self._measured_windows(device)
        self._style_intensity = torch.from_numpy(
            np.stack([migrator.styles[own[0]].intensity for own in self._style_ids]).astype(np.float32)
        ).to(device)

    def optimise(self) -> tuple[Tensor, NDArray[np.float32]]:
        """Latents (n, channels, h, w) where each chip stopped, and losses (n, updates, terms)."""
        import torch

        settings, extractor = self._m.settings, self._m.extractor
        latents = self._content_latents.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([latents], lr=settings.learning_rate)
        watch = _Watch(len(self._contents), settings.patience)
        result = latents.detach().clone()
        traces: list[NDArray[np.float32]] = []
        for time in extractor.times(settings.timesteps):
            styles = self._m.memory.at(self._style_ids, time)
            with torch.no_grad():
                seen = extractor.see(self._content_latents, time)
                queries = [layer.query for layer in seen]
            for _ in range(settings.iterations):
                terms = self._terms(latents, time, styles, queries, with_pixels=self._is_pixel_turn(traces))
                optimizer.zero_grad()
                terms[:, -1].sum().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                traces.append(terms.detach().cpu().numpy())
                self._refuse_not_finite(traces[-1], watch.going)
            going = torch.from_numpy(watch.going).to(latents.device)
            result[going] = latents.detach()[going]
            if not watch.look(self._without_pixels(traces[-settings.iterations :])):
                break
        return result.cpu(), _told(traces, watch.stopped, settings.iterations)

    def _is_pixel_turn(self, traces: Sequence[Any]) -> bool:
        settings = self._m.settings
        return settings.uses_pixels and len(traces) % settings.pixel_every == 0

    def _terms(
        self, latents: Tensor, time: int, styles: Any, queries: Sequence[Tensor], *, with_pixels: bool
    ) -> Tensor:
        """(n, terms) losses of each chip, the weighted total last."""
        import torch

        settings = self._m.settings
        seen = self._m.extractor.see(latents, time)
        distillation = distillation_loss(seen, styles, self._allowed)
        content = content_loss(seen, queries)
        total = distillation + settings.content_weight * content
        missing = torch.full_like(total, math.nan)
        speckle = spectrum = missing
        if with_pixels:
            found = self._speckle_terms(latents)
            speckle, spectrum = found.speckle, found.spectrum
            weighted = settings.speckle_weight * speckle + settings.spectrum_weight * spectrum
            total = total + settings.pixel_every * weighted
        return torch.stack([distillation, content, speckle, spectrum, total], dim=1)

    def _speckle_terms(self, latents: Tensor) -> SpeckleTerms:
        space = self._m.space
        values = self._m.extractor.latent_space.pixels(latents, self._m.canvas)
        intensity = 10.0 ** ((space.low_db + (values + 1.0) * space.db_per_unit) / 10.0)
        if self._m.settings.mode == "paper":
            return paper_terms(intensity, self._style_intensity, self._windows)
        return robust_terms(intensity, self._windows, self._m.pool)

    def _measured_windows(self, device: Any) -> Tensor:
        """Where speckle is measured: where the style is homogeneous in paper's mode, else the content."""
        import torch

        if self._m.settings.mode == "paper":
            corners = [style_windows(self._m.styles[own[0]].intensity) for own in self._style_ids]
            return torch.from_numpy(np.stack(corners)).to(device)
        kept = homogeneous_windows(np.stack([content.intensity for content in self._contents]))
        return torch.from_numpy(kept).to(device)

    def _masks(self, targets: Sequence[Mask]) -> list[Tensor]:
        import torch

        extractor, canvas = self._m.extractor, self._m.canvas
        with torch.no_grad():
            seen = extractor.see(self._content_latents[:1], extractor.times(1)[0])
        factor = extractor.latent_space.factor
        grids = [token_grid(canvas, factor, layer.query.shape[2]) for layer in seen]
        styles = [[self._m.styles[style].target for style in own] for own in self._style_ids]
        found = allowed_reads(targets, styles, canvas, grids)
        return [mask.to(self._content_latents.device) for mask in found]

    def _without_pixels(self, traces: Sequence[NDArray[np.float32]]) -> NDArray[np.floating]:
        """(n,) mean over some updates of the terms that every update has, weighted."""
        distillation, content = np.mean(traces, axis=0)[:, :2].T
        weighted: NDArray[np.floating] = distillation + self._m.settings.content_weight * content
        return weighted

    def _refuse_not_finite(self, losses: NDArray[np.float32], going: NDArray[np.bool_]) -> None:
        bad = np.flatnonzero(~np.isfinite(losses[:, -1]) & going)
        if len(bad):
            raise DataError(
                f"migrating {self._contents[bad[0]].name}: the loss is {losses[bad[0], -1]}",
                fix="lower migrate.learning_rate, or set migrate.precision: fp32; finished chips are kept",
            )


class _Watch:
    """Which chips are still getting better."""

    def __init__(self, n: int, patience: int | None) -> None:
        self._best, self._idle, self._patience = np.full(n, math.inf), np.zeros(n, dtype=int), patience
        self.going = np.ones(n, dtype=np.bool_)
        self.stopped = np.zeros(n, dtype=int)

    def look(self, losses: NDArray[np.floating]) -> bool:
        """Take a time's losses (n,); whether any chip goes on."""
        better = losses < self._best * (1 - _PROGRESS)
        self._idle = np.where(better, 0, self._idle + 1)
        self._best = np.minimum(self._best, losses)
        self.stopped += self.going
        if self._patience is not None:
            self.going = self.going & (self._idle < self._patience)
        return bool(self.going.any())


def _told(
    traces: Sequence[NDArray[np.float32]], stopped: NDArray[np.int_], iterations: int
) -> NDArray[np.float32]:
    """(n, updates, terms), NaN after a chip has stopped."""
    whole = np.stack(traces, axis=1)
    for place, times in enumerate(stopped):
        whole[place, times * iterations :] = math.nan
    return np.asarray(whole, dtype=np.float32)
