"""The floor of an autoencoder, with stubs whose damage is known from theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sarcurate.core.model_space import ModelSpace
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import ChipContext, scorecard
from sarcurate.errors import DataError, HardwareError
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.manifest import Header
from sarcurate.models.latent import LatentSpace
from sarcurate.models.vae_floor import (
    VaeFloor,
    audit_chipset,
    failures,
    floor_numbers,
    floor_table,
    round_trip,
    vae_floor,
)

CONTEXT = ChipContext(Radiometry.SIGMA0, 2.0, 2.0, None)
SPACE = ModelSpace(-60.0, 40.0)
PER_NEPER = 4.342944819032518

Damage = Callable[[torch.Tensor], torch.Tensor]


class DamagingVae:
    """Its latents are the pixels; decoding does to them what the test says."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, damage: Damage) -> None:
        self.config = SimpleNamespace(
            in_channels=1, block_out_channels=(8,), shift_factor=None, scaling_factor=1.0
        )
        self.damage = damage

    def encode(self, pixels: torch.Tensor) -> Any:
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=pixels))

    def decode(self, latents: torch.Tensor) -> Any:
        return SimpleNamespace(sample=self.damage(latents))


def _latent(damage: Damage) -> LatentSpace:
    return LatentSpace(DamagingVae(damage), 1)  # type: ignore[arg-type]


def _speckle(n: int = 12, side: int = 48) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.gamma(4.0, 0.25, (side, side)).astype(np.float32) for _ in range(n)]


def _floor(damage: Damage, images: list[np.ndarray] | None = None, space: ModelSpace = SPACE) -> VaeFloor:
    images = _speckle() if images is None else images
    return vae_floor(_latent(damage), space, images, CONTEXT, model_px=None, batch_size=5)


@pytest.fixture(scope="module")
def perfect() -> VaeFloor:
    return _floor(lambda z: z)


def test_a_perfect_autoencoder_costs_nothing(perfect: VaeFloor) -> None:
    for trip in (perfect.map_alone, perfect.vae):
        assert trip.log_psd_distance == pytest.approx(0.0, abs=1e-5)
        assert trip.ln_log_psd_distance == pytest.approx(0.0, abs=1e-5)
        assert trip.log_variance_ratio == pytest.approx(1.0, abs=1e-5)
        assert trip.enl_ratio == pytest.approx(1.0, abs=1e-4)
        assert trip.mean_abs_error_db == pytest.approx(0.0, abs=1e-4)
        assert trip.wasserstein_ln == pytest.approx(0.0, abs=1e-5)
    assert (perfect.clipped_low_fraction, perfect.clipped_high_fraction) == (0.0, 0.0)
    assert failures(perfect) == []


def test_halved_contrast_is_a_quarter_of_the_variance() -> None:
    floor = _floor(lambda z: z / 2)
    assert floor.vae.log_variance_ratio == pytest.approx(0.25, rel=1e-4)
    assert floor.map_alone.log_variance_ratio == pytest.approx(1.0, abs=1e-5)
    # ln of Gamma(4) at half its contrast: psi1(4) / 4 = 0.071, the variance that Gamma(14.5) has.
    assert floor.vae.enl_ratio == pytest.approx(14.5 / 4, rel=0.1)
    assert any(
        line.startswith("log_variance_ratio is 0.250, expected 1 within 5%") for line in failures(floor)
    )
    assert any(line.startswith("enl_ratio is") for line in failures(floor))


def test_a_gain_moves_the_law_and_nothing_else() -> None:
    floor = _floor(lambda z: z + 0.02).vae
    assert floor.mean_abs_error_db == pytest.approx(1.0, rel=1e-4)  # 0.02 of 50 dB
    assert floor.wasserstein_ln == pytest.approx(1.0 / PER_NEPER, rel=1e-3)
    assert floor.log_variance_ratio == pytest.approx(1.0, abs=1e-4)
    assert floor.log_psd_distance == pytest.approx(0.0, abs=1e-5)


def test_smoothing_is_seen_in_the_rings_as_quality_json_counts_them() -> None:
    def smooth(z: torch.Tensor) -> torch.Tensor:
        return (z + z.roll(1, 2) + z.roll(1, 3) + z.roll((1, 1), (2, 3))) / 4

    images = _speckle()
    floor = _floor(smooth, images)
    again = [
        SPACE.to_intensity(smooth(torch.from_numpy(SPACE.to_model(i))[None, None])[0, 0]) for i in images
    ]
    rings = [
        np.array([scorecard(np.stack(each), CONTEXT, None)[f"log_psd_{k:02d}"].values for k in range(12)])
        for each in (images, again)
    ]
    plain = np.abs(rings[0].mean(axis=1) - rings[1].mean(axis=1)).mean()
    assert floor.vae.log_psd_distance == pytest.approx(plain, rel=1e-6)
    # White power times cos^2 cos^2 over its mean 1/4: about 2 in the middle of the rings' own mean of 0.7.
    assert floor.vae.log_psd_distance > 0.5
    assert floor.vae.ln_log_psd_distance is not None
    assert floor.vae.ln_log_psd_distance > 0.5
    assert any("expected at most 0.05" in line for line in failures(floor))


def test_a_checkerboard_is_named() -> None:
    rows, cols = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    floor = _floor(lambda z: z + 0.012 * (-1.0) ** (rows + cols))
    assert floor.grid.checkerboard_fraction is not None
    assert floor.grid.checkerboard_fraction < 0.2
    assert floor.vae.grid.checkerboard_fraction == 1.0
    assert floor.vae.grid.checkerboard_ratio is not None
    assert floor.vae.grid.checkerboard_ratio > 20
    found = failures(floor)
    assert found[-1].startswith("checkerboard_fraction is 1.00, expected at most 0.05 above the chips'")


def test_a_latent_grid_is_named() -> None:
    wave = torch.cos(2 * torch.pi * torch.arange(48) / 8)
    found = failures(_floor(lambda z: z + 0.006 * wave[:, None] * wave))
    assert [line.split(" is ")[0] for line in found] == ["latent_grid_fraction"]


def test_what_the_limits_cost_is_told_apart() -> None:
    """Zeros and bright pixels are clipped by the map alone, and counted."""
    images = _speckle()
    for image in images:
        image[0, :24] = 0.0
        image[1, 0] = 100.0
    space = ModelSpace(-30.0, 10.0)
    floor = _floor(lambda z: z, images, space)
    total = sum(image.size for image in images)
    assert floor.clipped_low_fraction == pytest.approx(
        sum(int((image < 0.001).sum()) for image in images) / total
    )
    assert floor.clipped_high_fraction == pytest.approx(12 / total)
    assert floor.vae == floor.map_alone
    held = min(float(image[image > 0].min()) for image in images) / 4
    before = [np.log(np.maximum(image.astype(float), held)) for image in images]
    after = [np.log(np.maximum(np.clip(image.astype(float), 1e-3, 10.0), held)) for image in images]
    ratio = np.mean([a.var() for a in after]) / np.mean([b.var() for b in before])
    assert floor.map_alone.log_variance_ratio == pytest.approx(ratio, rel=1e-4)
    error = np.mean([np.abs(a - b).mean() for a, b in zip(after, before, strict=True)])
    assert floor.map_alone.mean_abs_error_db == pytest.approx(error * PER_NEPER, rel=1e-3)


def test_images_of_several_sizes_come_back_in_order() -> None:
    images = [
        np.full(shape, k + 1.0, np.float32) for k, shape in enumerate([(20, 16), (16, 20), (20, 16)] * 3)
    ]
    again = round_trip(_latent(lambda z: z), SPACE, images, model_px=32, batch_size=2)
    for image, back in zip(images, again, strict=True):
        np.testing.assert_allclose(back, image, rtol=1e-4)


def test_chips_too_small_for_a_measure_leave_it_out() -> None:
    floor = _floor(lambda z: z, [image[:20, :20] for image in _speckle(4)])
    assert floor.vae.log_psd_distance is None
    assert floor.vae.log_variance_ratio == pytest.approx(1.0, abs=1e-5)
    assert "log_psd_distance                 -            -" in floor_table(floor)


def test_images_that_come_back_constant_have_no_variance_left() -> None:
    floor = _floor(torch.zeros_like)
    assert floor.vae.log_variance_ratio == pytest.approx(0.0, abs=1e-12)
    assert floor.vae.log_psd_distance is None
    assert any("log_variance_ratio is 0.000" in line for line in failures(floor))


def test_a_failing_autoencoder_is_an_error() -> None:
    with pytest.raises(HardwareError, match="gave back 5 of 5 chips with values that are not finite"):
        _floor(lambda z: z / 0)


def test_no_chips_are_refused() -> None:
    with pytest.raises(DataError, match="no chips"):
        _floor(lambda z: z, [])


def test_numbers_and_table_hold_every_measure(perfect: VaeFloor) -> None:
    numbers = floor_numbers(perfect)
    assert numbers["n_chips"] == 12
    assert numbers["vae_log_variance_ratio"] == perfect.vae.log_variance_ratio
    assert numbers["map_checkerboard_ratio"] == perfect.map_alone.grid.checkerboard_ratio
    assert numbers["checkerboard_ratio"] == perfect.grid.checkerboard_ratio
    assert all(value is None or isinstance(value, int | float) for value in numbers.values())
    table = floor_table(perfect)
    assert table.startswith("12 chips; model space -60.00 to 40.00 dB, clipped below 0.000%, above 0.000%")
    for name in (key.removeprefix("vae_") for key in numbers if key.startswith("vae_")):
        assert f"\n{name} " in table


def _chipset(root: Path) -> ChipSet:
    with ChipSetWriter(root, Header("sensor", Radiometry.SIGMA0, "train", (-25.0, 10.0))) as writer:
        for index, image in enumerate(_speckle(10, 32)):
            row = {
                "chip_id": f"{index:024x}",
                "origin": "real",
                "label": "a",
                "group_id": "g",
                "source_path": f"{index}",
            }
            writer.add({**row, "azimuth_spacing_m": 2.0, "range_spacing_m": 2.0}, image * (index + 1))
    return open_chipset(root, splits=("train",))


def test_a_chipset_is_audited_by_chips_spread_over_it(tmp_path: Path) -> None:
    chips = _chipset(tmp_path / "set")
    settings: dict[str, Any] = {"model_px": None, "batch_size": 2}
    found = audit_chipset(_latent(lambda z: z / 2), chips, SPACE, most_chips=4, **settings)
    chosen = [chips.intensity(f"{index:024x}") for index in (0, 2, 5, 7)]
    assert found == vae_floor(_latent(lambda z: z / 2), SPACE, chosen, CONTEXT, **settings)
    everything = audit_chipset(_latent(lambda z: z), chips, SPACE, most_chips=11, **settings)
    assert everything.n_chips == 10


def test_a_figure_at_its_limit_passes_and_one_beyond_fails(perfect: VaeFloor) -> None:
    def with_psd(value: float) -> list[str]:
        return failures(replace(perfect, vae=replace(perfect.vae, log_psd_distance=value)))

    assert with_psd(0.05) == []
    assert with_psd(0.051) == ["log_psd_distance is 0.051, expected at most 0.05"]
