"""Rectified flow: a straight line from data to noise, and the loss of predicting its velocity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# The transformers of Stable Diffusion 3 count time from 0 to 1000.
STEPS_PER_UNIT = 1000.0


class LossWeighting(StrEnum):
    """What is held equal over time: the error of velocity, of noise (eq. 2 of arXiv:2606.28922) or of data.

    With z = (1 - s) x + s e and v = e - x, an error d of the velocity is (1 - s) d of the noise and s d of
    the data, so the weights are 1, (1 - s)^2 and s^2.
    """

    VELOCITY = "velocity"
    NOISE = "noise"
    DATA = "data"

    def of(self, sigmas: Tensor) -> Tensor:
        """Weight of the squared velocity error at each noise level."""
        import torch

        if self is LossWeighting.NOISE:
            return (1.0 - sigmas) ** 2
        return sigmas**2 if self is LossWeighting.DATA else torch.ones_like(sigmas)


@dataclass(frozen=True)
class TimeLaw:
    """Which noise levels are trained: logit-normal, then shifted to noisier ones.

    Args:
        mean: of the logit.
        std: of the logit.
        shift: 1 leaves the law as it is; Stable Diffusion 3 publishes 3 for large pictures.
    """

    mean: float
    std: float
    shift: float

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) noise levels between 0 and 1; after Esser et al. 2024, arXiv:2403.03206, eqs. 19 and 23."""
        import torch

        return self.shifted(torch.sigmoid(self.mean + self.std * torch.randn(n, generator=generator)))

    def shifted(self, sigmas: Tensor) -> Tensor:
        """Noise levels moved by the shift; 0 and 1 stay."""
        return self.shift * sigmas / (1.0 + (self.shift - 1.0) * sigmas)


def flow_losses(
    velocity: Callable[[Tensor, Tensor], Tensor],
    latents: Tensor,
    noise: Tensor,
    sigmas: Tensor,
    weighting: LossWeighting,
    mask: Tensor | None = None,
) -> Tensor:
    """Weighted mean squared velocity error of each sample, shape (n,).

    Args:
        velocity: predicts the velocity from noisy latents (n, c, h, w) and noise levels (n,).
        latents: (n, c, h, w), data.
        noise: of the same shape, unit Gaussian.
        sigmas: (n,) noise levels.
        weighting: over the noise levels.
        mask: (h, w), 1 where the chip is and 0 where it was padded; None is 1 everywhere.
    """
    level = sigmas[:, None, None, None]
    noisy = (1.0 - level) * latents + level * noise
    error = (velocity(noisy, sigmas).float() - (noise - latents)) ** 2
    per_place = error.mean(1)
    if mask is None:
        return weighting.of(sigmas) * per_place.mean((1, 2))
    return weighting.of(sigmas) * (per_place * mask).sum((1, 2)) / mask.sum()
