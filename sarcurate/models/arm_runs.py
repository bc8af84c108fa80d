"""One training run of one arm, from the work cache where it was finished before."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sarcurate.io import lineage
from sarcurate.io.safe import sha256_file
from sarcurate.io.work_cache import WorkCache
from sarcurate.models import resnet
from sarcurate.models.arm_data import LabelledChips, compose

WEIGHTS = "weights.safetensors"
LOSSES = "losses.json"
PROBABILITIES = "probabilities.npy"


@dataclass(frozen=True)
class ArmRun:
    """What one run is made of; its key says whether a finished one may be served instead."""

    settings: resnet.TrainingSettings
    real: LabelledChips
    added: Sequence[LabelledChips]
    repeat_to: int | None
    classical: bool
    n_classes: int
    seed: int

    def key(self) -> str:
        """Hash of the training code, the settings and every training chip."""
        settings = asdict(self.settings)
        if self.settings.initial_weights is not None:
            settings["initial_weights"] = sha256_file(Path(self.settings.initial_weights))
        identity = [self.real.identity(), *(part.identity() for part in self.added)]
        recipe = [code_key(), settings, identity, self.repeat_to, self.classical, self.n_classes, self.seed]
        return lineage.sha256_text(lineage.canonical_json(recipe))


def code_key() -> str:
    """Hash of the code that decides what a run predicts."""
    return lineage.own_code_sha256("sarcurate.models.resnet", "sarcurate.models.arm_data")


@dataclass(frozen=True)
class FinishedRun:
    """A trained classifier on disk, and what it predicts."""

    key: str
    losses: tuple[float, ...]
    folder: Path
    n_classes: int
    settings: resnet.TrainingSettings

    def probabilities(self, test: LabelledChips, cache: WorkCache) -> NDArray[np.float32]:
        """Class probabilities (n_test, n_classes), from the cache where these chips were scored before."""
        test_key = lineage.sha256_text(lineage.canonical_json([self.key, test.identity()]))
        found = cache.entry(test_key)
        if found is None:
            from safetensors.torch import load_file

            model = resnet.restore(load_file(self.folder / WEIGHTS), self.n_classes)
            with cache.making(test_key) as folder:
                np.save(folder / PROBABILITIES, resnet.predict(model, test.images[:, None], self.settings))
            found = cache.entry(test_key)
        assert found is not None
        result: NDArray[np.float32] = np.load(found / PROBABILITIES, allow_pickle=False)
        return result


def finish(run: ArmRun, cache: WorkCache, on_update: Callable[[], None]) -> FinishedRun:
    """Train the run, or take it from the cache; ``on_update`` is called once per optimiser update."""
    key = run.key()
    if cache.entry(key) is None:
        from safetensors.torch import save_file

        data = compose(run.real, run.added, run.repeat_to)
        model, losses = resnet.train(
            run.settings, data, run.n_classes, run.seed, run.classical, lambda _update, _loss: on_update()
        )
        with cache.making(key) as folder:
            save_file(resnet.half_precision(model), folder / WEIGHTS)
            (folder / LOSSES).write_text(json.dumps(losses))
    else:
        for _ in range(run.settings.updates):
            on_update()
    found = cache.entry(key)
    assert found is not None
    losses = json.loads((found / LOSSES).read_text())
    return FinishedRun(key, tuple(losses), found, run.n_classes, run.settings)
