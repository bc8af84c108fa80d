"""The autoencoder's training: its crops, the terms of its loss, and a decoder polished alone."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sarcurate.models import pretrain_vae
from sarcurate.models.pretrain_vae import (
    PolishSettings,
    VaeSettings,
    draw_crops,
    polish_decoder,
    rate,
    reconstruction_loss,
    train_vae,
)
from sarcurate.models.tiny_base import new_vae

VAE = VaeSettings(
    updates=5,
    batch_size=2,
    crop_px=8,
    learning_rate=3e-3,
    warmup=2,
    spectrum_weight=0.02,
    checkerboard_weight=0.5,
    kl_weight=1e-3,
    save_every=5,
)
POLISH = PolishSettings(
    updates=5, batch_size=2, crop_px=8, most_contrast=2.0, learning_rate=3e-3, warmup=2, save_every=5
)


def encoded(vae: Any, chips: NDArray[np.floating]) -> torch.Tensor:
    with torch.no_grad():
        latents: torch.Tensor = vae.encode(torch.from_numpy(chips.astype(np.float32))).latent_dist.mean
    return latents


def chips() -> list[NDArray[np.float16]]:
    """Two shards of three chips of 16 px."""
    values = np.random.default_rng(0).normal(-0.3, 0.3, (2, 3, 16, 16))
    return list(np.clip(values, -1, 1).astype(np.float16))


def untrained_vae() -> Any:
    torch.manual_seed(11)
    return new_vae()


def quiet(made: int, loss: float) -> None:
    pass


def test_polishing_changes_no_latent(tmp_path: Path) -> None:
    vae, stored = untrained_vae(), untrained_vae()
    stored.encoder.to(torch.bfloat16).to(torch.float32)
    polish_decoder(vae, chips(), POLISH, VAE, 5, tmp_path, quiet)
    every = np.concatenate(chips())[:, None]
    assert torch.equal(encoded(vae, every), encoded(stored, every))
    for name, weights in vae.encoder.state_dict().items():
        assert torch.equal(weights, stored.encoder.state_dict()[name]), name
    for name, weights in vae.decoder.state_dict().items():
        assert not torch.equal(weights, stored.decoder.state_dict()[name]), name


def test_every_update_draws_other_crops_and_other_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bytes] = []

    def spy(*given: Any) -> NDArray[np.float32]:
        drawn.append(draw_crops(*given).tobytes())
        return np.zeros((2, 1, 8, 8), np.float32)

    monkeypatch.setattr(pretrain_vae, "draw_crops", spy)
    monkeypatch.setattr(pretrain_vae, "_declare_spread", lambda *_: None)
    still, losses = replace(VAE, learning_rate=1e-12), []
    train_vae(chips(), still, 5, tmp_path / "vae", lambda _, loss: losses.append(loss))
    polish_decoder(untrained_vae(), chips(), POLISH, VAE, 5, tmp_path / "polish", quiet)
    assert len(set(drawn)) == len(drawn) == VAE.updates + POLISH.updates
    assert len(set(losses)) == VAE.updates


def test_declared_mean_and_spread_are_those_of_the_latents(tmp_path: Path) -> None:
    vae: Any = train_vae(chips(), VAE, 5, tmp_path, quiet)
    crops = draw_crops(chips(), 400, 16, (0.6, 1.3), np.random.default_rng(1))
    scaled = (encoded(vae, crops) - vae.config.shift_factor) * vae.config.scaling_factor
    assert float(scaled.mean()) == pytest.approx(0.0, abs=0.03)
    assert float(scaled.std()) == pytest.approx(1.0, rel=0.03)


def test_learning_rate_rises_over_the_warmup_and_falls_along_half_a_cosine() -> None:
    rates = [rate(step, 1000, 10, 2.0) for step in range(1000)]
    assert rates[:10] == pytest.approx(np.arange(0.2, 2.1, 0.2), rel=1e-3)
    assert all(later < earlier for earlier, later in pairwise(rates[9:]))
    assert rates[250] == pytest.approx(1.0 + math.sqrt(0.5))
    assert rates[500] == pytest.approx(1.0)
    assert 0.0 < rates[-1] < 1e-5
    assert rate(0, 1000, 0, 2.0) == 2.0


def numbered_chips() -> list[NDArray[np.float16]]:
    """Two shards of two chips of 8 px whose values tell shard, chip, row and column, exactly in float16."""
    shard, chip, row, col = np.indices((2, 2, 8, 8))
    return list((shard / 4 + chip / 8 + row / 64 + col / 512).astype(np.float16))


def test_crops_are_pieces_of_any_chip_in_all_eight_orientations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain_vae, "_OFFSET", (0.0, 0.0))
    pool, n, crop_px = numbered_chips(), 2000, 4
    crops = draw_crops(pool, n, crop_px, (1.0, 1.0), np.random.default_rng(0))
    assert crops.shape == (n, 1, crop_px, crop_px)
    assert crops.dtype == np.float32
    piece = np.add.outer(np.arange(crop_px) / 64, np.arange(crop_px) / 512)
    turned = {np.rot90(side, k).tobytes() for k in range(4) for side in (piece, piece[::-1])}
    drawn = [(float(crop.min()), (crop - crop.min()).astype(float).tobytes()) for crop in crops[:, 0]]
    assert {turn for _, turn in drawn} == turned
    assert len(turned) == 8
    places = {
        float(shard[chip, row, col]) for shard in pool for chip in range(2) for row, col in np.ndindex(5, 5)
    }
    assert {corner for corner, _ in drawn} == places
    assert len(places) == 2 * 2 * 5 * 5


def test_crops_change_in_contrast_and_level_by_their_laws() -> None:
    pool = [(np.indices((8, 8))[0] / 64)[None].astype(np.float16)]
    crops = draw_crops(pool, 3000, 8, (0.6, 1.3), np.random.default_rng(0)).astype(float)
    gains = (crops.max((1, 2, 3)) - crops.min((1, 2, 3))) * 64 / 7
    levels = crops.mean((1, 2, 3)) - gains * 3.5 / 64
    for values, low, high in ((gains, 0.6, 1.3), (levels, -0.2, 0.2)):
        assert low - 1e-6 < values.min() < values.max() < high + 1e-6
        assert abs(values.mean() - (low + high) / 2) < 4.5 * (high - low) / math.sqrt(12 * len(values))


def test_crops_stay_in_model_space() -> None:
    ends = np.where(np.indices((1, 8, 8)).sum(0) % 2, 1.0, -1.0).astype(np.float16)
    crops = draw_crops([ends], 200, 4, (1.2, 2.0), np.random.default_rng(0))
    assert (crops.min(), crops.max()) == (-1.0, 1.0)


def speckle(n: int = 8, size: int = 16, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


def weighted(spectrum: float = 0.0, checkerboard: float = 0.0) -> VaeSettings:
    return replace(VAE, spectrum_weight=spectrum, checkerboard_weight=checkerboard)


def loss_of(again: torch.Tensor, chips: torch.Tensor, terms: VaeSettings) -> float:
    return float(reconstruction_loss(again, chips, terms))


def period(rows: int, cols: int, size: int = 16) -> torch.Tensor:
    """+1 and -1 by turns, with these periods along rows and columns; 0 is constant."""
    row, col = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    signs = [1 - 2 * (place * 2 // length % 2) for place, length in ((row, rows), (col, cols)) if length]
    return torch.stack(signs).prod(0).float()


def test_an_equal_picture_costs_nothing() -> None:
    assert loss_of(speckle(), speckle(), weighted(1.0, 1.0)) == 0.0


def test_a_level_costs_itself_alone() -> None:
    assert loss_of(speckle() + 0.1, speckle(), weighted(1.0, 1.0)) == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize(("rows", "cols"), [(2, 2), (2, 0), (0, 2)])
def test_what_repeats_every_two_pixels_costs_more(rows: int, cols: int) -> None:
    again = speckle() + 0.1 * period(rows, cols)
    assert loss_of(again, speckle(), weighted()) == pytest.approx(0.1)
    assert loss_of(again, speckle(), weighted(checkerboard=0.5)) == pytest.approx(0.1 + 0.5 * 0.1)


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (4, 0), (0, 8)])
def test_what_repeats_more_slowly_does_not(rows: int, cols: int) -> None:
    again = speckle() + 0.1 * period(rows, cols)
    assert loss_of(again, speckle(), weighted(checkerboard=0.5)) == pytest.approx(0.1)


def test_checkerboards_of_two_crops_do_not_cancel() -> None:
    signs = torch.tensor([1.0, -1.0]).repeat(4)[:, None, None, None]
    again = speckle() + 0.1 * signs * period(2, 2)
    assert loss_of(again, speckle(), weighted(checkerboard=1.0)) == pytest.approx(0.2)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_gain_costs_the_logarithm_of_its_power(gain: float) -> None:
    chips = speckle()
    spectrum = loss_of(gain * chips, chips, weighted(spectrum=1.0)) - loss_of(gain * chips, chips, weighted())
    assert spectrum == pytest.approx(2 * math.log(2), rel=1e-3)


def test_an_erased_half_of_the_spectrum_costs_its_share() -> None:
    """Speckle without its high columns frequencies: half of the bins fall by more than e^4."""
    chips = speckle(n=32)
    bins = torch.fft.rfft2(chips)
    bins[..., 5:] = 0
    blurred = torch.fft.irfft2(bins)
    assert loss_of(blurred, chips, weighted(spectrum=1.0)) > 0.4 * 4
    other = speckle(n=32, seed=1)
    assert loss_of(other, chips, weighted()) > loss_of(blurred, chips, weighted())
    assert loss_of(other, chips, weighted(1.0)) < loss_of(blurred, chips, weighted(1.0))


def test_a_picture_on_its_head_keeps_its_spectrum() -> None:
    turned = speckle().flip((-1, -2))
    plain = loss_of(turned, speckle(), weighted())
    assert plain > 0.2
    assert loss_of(turned, speckle(), weighted(spectrum=1.0)) == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("border", [(0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1)])
def test_spectra_are_those_of_windowed_pictures(border: Any) -> None:
    """The Hann window is 0 along the borders, so that what stands there belongs to no spectrum."""
    again = speckle()
    again[(..., *border)] += period(2, 0)[:, 0]
    plain = loss_of(again, speckle(), weighted())
    assert plain > 0.05
    assert loss_of(again, speckle(), weighted(spectrum=1.0)) == pytest.approx(plain, abs=1e-4)


def test_divergence_is_that_of_a_unit_gaussian() -> None:
    mean, logvar = speckle(seed=2), speckle(seed=3)
    law = torch.distributions.Normal(mean, torch.exp(0.5 * logvar))
    expected = torch.distributions.kl_divergence(law, torch.distributions.Normal(0.0, 1.0)).mean()
    found = pretrain_vae._divergence(SimpleNamespace(mean=mean, logvar=logvar))
    torch.testing.assert_close(found, expected)
