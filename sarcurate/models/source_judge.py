"""Scores of generated chips against the reference of the sensor that they imitate, before they are a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.memorisation import memorisation_ratio
from sarcurate.core.physics_vector import physics_distance
from sarcurate.core.scorecard import COLUMNS, VECTOR, ChipContext
from sarcurate.errors import ParamsError
from sarcurate.io.gates import Gate, bounds
from sarcurate.io.reference import Reference
from sarcurate.io.score_table import with_measures
from sarcurate.io.scoring import BLOCK_CHIPS, BLOCK_PX, measure_images
from sarcurate.models.made_scores import NO_LENGTH, NO_VECTOR, NOT_TRAINED, length_over_class, own_class
from sarcurate.models.reference_network import ReferenceNetwork, outputs

AGAINST_REFERENCE = (
    "physics_distance",
    "memorisation_ratio",
    "class_probability",
    "target_length_over_class",
)


@dataclass(frozen=True, eq=False)
class SourceJudge:
    """The source's reference and the gates that generated chips are held to.

    Args:
        reference, network: fitted on the source's train chips.
        context: of these chips, as from ``scoring.context_of``.
        gates: one per measure; may be empty.
        chip_px: (rows, cols) of the chips.
    """

    reference: Reference
    network: ReferenceNetwork
    context: ChipContext
    gates: tuple[Gate, ...]
    chip_px: tuple[int, int]

    @property
    def chips_at_a_time(self) -> int:
        """How many chips to hold in memory at once."""
        return max(1, min(BLOCK_CHIPS, BLOCK_PX // (self.chip_px[0] * self.chip_px[1])))

    def check(self) -> None:
        """Refuse gates that cannot be applied to generated chips, before the first one is drawn.

        Raises:
            ParamsError: for a measure that they do not have, as those of pairs, or a limit that is unknown.
        """
        measures = (*COLUMNS, *AGAINST_REFERENCE)
        for gate in self.gates:
            if gate.measure not in measures:
                raise ParamsError(
                    f"a gate on {gate.measure}, which generated chips do not have",
                    fix=f"name some of {', '.join(measures)} in generate.gates",
                )
            try:
                bounds(gate, self.reference.limits)
            except ParamsError as error:
                raise ParamsError(
                    error.problem, fix=error.fix.replace("curate.gates", "generate.gates")
                ) from error

    def scores(
        self, images: Sequence[NDArray[np.floating]], labels: Sequence[str], chip_ids: Sequence[str]
    ) -> pd.DataFrame:
        """The scores that :class:`sarcurate.models.made_scores.Judge` gives a set without pairs.

        Args:
            images: n chips (rows, cols) of linear intensity; labels, chip_ids: theirs.

        Returns:
            ``chip_id, label``, a column per measure, ``reasons``, then ``shown`` (the network knows the
            class) and ``recognised`` (it takes the chip for it).
        """
        train = self.reference
        alone = measure_images(images, self.context, train.yardstick)
        alone.insert(0, "label", list(labels))
        alone.insert(0, "chip_id", list(chip_ids))
        features, probabilities = self._outputs(images)
        memory = memorisation_ratio(features, train.features, train.train_scores["fold"].to_numpy(np.int64))
        n = len(alone)
        values = {
            "physics_distance": physics_distance(alone[list(VECTOR)], train.standard),
            "memorisation_ratio": memory.ratio.values,
            "class_probability": own_class(probabilities, alone["label"], self.network.classes),
            "target_length_over_class": length_over_class(alone, train.train_scores),
        }
        reasons = {
            "physics_distance": [NO_VECTOR] * n,
            "memorisation_ratio": memory.ratio.reasons.tolist(),
            "class_probability": [NOT_TRAINED] * n,
            "target_length_over_class": [NO_LENGTH] * n,
        }
        seen_as = [self.network.classes[place] for place in probabilities.argmax(axis=1)]
        return with_measures(alone, values, reasons).assign(
            shown=[label in self.network.classes for label in labels],
            recognised=[seen == label for seen, label in zip(seen_as, labels, strict=True)],
        )

    def _outputs(
        self, images: Sequence[NDArray[np.floating]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features and probabilities; the threads that chips are drawn with stay as they were."""
        import torch

        threads = torch.get_num_threads()
        try:
            return outputs(self.network, images)
        finally:
            torch.set_num_threads(threads)
