"""What migration can gain at most: how far the sensors are apart, and what the autoencoder alone costs."""

from __future__ import annotations

from dataclasses import dataclass

from sarcurate.core.model_space import ModelSpace
from sarcurate.core.spectrum import log_psd_distance
from sarcurate.io.pair_fit import PairFit
from sarcurate.models.latent import LatentSpace
from sarcurate.models.vae_floor import audit_chipset

_CHIPS = 64
# An autoencoder that costs more than this share of the gap leaves migration little to win.
_MOST_SHARE = 0.5


@dataclass(frozen=True)
class SpectralRoom:
    """Log-PSD distances of ln intensity between mean spectra of train chips, in nepers.

    Args:
        gap: between the source, on the target's grid, and the target.
        floor: between target chips and the same after the autoencoder; None where no chip has a spectrum.
    """

    gap: float
    floor: float | None

    def line(self) -> str:
        """For the terminal, before any chip is made."""
        if self.floor is None:
            return f"log-PSD distance of source to target {self.gap:.3f}; of the autoencoder not known"
        told = (
            f"log-PSD distance of source to target {self.gap:.3f}, of the autoencoder alone {self.floor:.3f}"
        )
        if self.floor > _MOST_SHARE * self.gap:
            told += ": warning, a migrated spectrum cannot be trusted below that; take a better autoencoder"
        return told


def spectral_room(
    latent: LatentSpace, fitted: PairFit, space: ModelSpace, model_px: int | None, batch_size: int
) -> SpectralRoom:
    """Measured on the pair's statistics and on some of the target's train chips, spread evenly."""
    floor = audit_chipset(
        latent, fitted.like, space, model_px=model_px, most_chips=_CHIPS, batch_size=batch_size
    )
    gap = log_psd_distance(fitted.source.ln_psd, fitted.target.ln_psd)
    return SpectralRoom(gap, floor.vae.ln_log_psd_distance)
