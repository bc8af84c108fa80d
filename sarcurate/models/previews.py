"""Previews of an adapter in training: a chip per class at fixed seeds, its looks, spectrum and neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.model_space import ModelSpace
from sarcurate.models.prompt_encoding import PromptEmbeddings
from sarcurate.models.sampling import SampleSettings, sample_latents
from sarcurate.models.source_judge import SourceJudge

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PreviewRow:
    """One validation: medians over the previews; None where no preview has the measure.

    Args:
        step: updates behind the weights.
        validation_loss: on held-back chips.
        enl, log_psd_distance: of the previews, the distance to the source's real chips.
        memorisation_ratio: distance to the nearest train chip; 0 is a copy, about 1 a new chip.
        recognised: previews that the source's reference network takes for their class; shown: of how many.
        broken: previews that are not finite.
    """

    step: int
    validation_loss: float
    enl: float | None
    log_psd_distance: float | None
    memorisation_ratio: float | None
    recognised: int
    shown: int
    broken: int


@dataclass(frozen=True, eq=False)
class Previewer:
    """Draws and measures previews; what is drawn lies in ``work`` until the stage writes its pictures.

    Args:
        labels: a class per preview; embeddings: their prompts'; negative: of the empty prompt, (1, ...).
        seeds: fixed, one per preview.
        latent_shape: (c, h, w).
        decode: latents to model space (n, rows, cols).
        space: to linear intensity.
        judge: the source's reference.
        work: folder of this training alone.
    """

    labels: Sequence[str]
    embeddings: PromptEmbeddings
    negative: PromptEmbeddings
    seeds: Sequence[int]
    latent_shape: tuple[int, int, int]
    settings: SampleSettings
    scheduler: Any
    decode: Callable[[Tensor], NDArray[np.float32]]
    space: ModelSpace
    judge: SourceJudge
    work: Path

    def __call__(self, step: int, validation_loss: float, transformer: Any) -> None:
        """Preview the weights that the transformer bears; a step that was previewed is left as it is."""
        if self._row_path(step).exists():
            return
        latents = sample_latents(
            transformer,
            self.scheduler,
            self.embeddings,
            self.negative,
            self.seeds,
            self.latent_shape,
            self.settings,
        )
        values = self.decode(latents)
        finite = np.array([bool(np.isfinite(chip).all()) for chip in values])
        images = self.space.to_intensity(np.where(np.isfinite(values), values, -1.0))
        row = self._measure(step, validation_loss, images, finite)
        self.work.mkdir(parents=True, exist_ok=True)
        np.save(self._image_path(step), images)
        self._row_path(step).write_text(json.dumps(asdict(row)))

    def rows(self) -> list[PreviewRow]:
        """All previewed validations, first to last."""
        return [
            PreviewRow(**json.loads(path.read_text())) for path in sorted(self.work.glob("preview-*.json"))
        ]

    def images(self, step: int) -> NDArray[np.float32]:
        """Linear intensity (n, rows, cols) of a step's previews."""
        found: NDArray[np.float32] = np.load(self._image_path(step), allow_pickle=False)
        return found

    def _measure(
        self, step: int, loss: float, images: NDArray[np.float32], finite: NDArray[np.bool_]
    ) -> PreviewRow:
        good = [image for image, fine in zip(images, finite, strict=True) if fine]
        labels = [label for label, fine in zip(self.labels, finite, strict=True) if fine]
        if not good:
            return PreviewRow(step, loss, None, None, None, 0, 0, len(images))
        table = self.judge.scores(good, labels, [str(place) for place in range(len(good))])
        enl, spectrum, memory = (
            _median(table[name].to_numpy(np.float64))
            for name in ("enl", "log_psd_distance", "memorisation_ratio")
        )
        return PreviewRow(
            step,
            loss,
            enl,
            spectrum,
            memory,
            int((table["recognised"] & table["shown"]).sum()),
            int(table["shown"].sum()),
            int((~finite).sum()),
        )

    def _row_path(self, step: int) -> Path:
        return self.work / f"preview-{step:08d}.json"

    def _image_path(self, step: int) -> Path:
        return self.work / f"preview-{step:08d}.npy"


def _median(values: NDArray[np.float64]) -> float | None:
    found = values[np.isfinite(values)]
    return float(np.median(found)) if found.size else None
