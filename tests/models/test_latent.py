"""Chips to latents and back: canvas, mirror padding, resampling, scale, mask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from sarcurate.core.band_limited import resample
from sarcurate.errors import DataError, HardwareError, ParamsError
from sarcurate.models.latent import Canvas, LatentSpace, canvas_of
from sarcurate.models.tiny_base import new_vae

Shape = tuple[int, int]


class PlainVae:
    """Latents are the pixels themselves, ``factor`` x ``factor`` of them in as many channels."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, factor: int = 2, channels: int = 1, shift: float | None = 0.5) -> None:
        blocks = (8,) * (factor.bit_length())
        self.config = SimpleNamespace(
            in_channels=channels, block_out_channels=blocks, shift_factor=shift, scaling_factor=4.0
        )
        self.factor, self.seen = factor, torch.empty(0)

    def encode(self, pixels: torch.Tensor) -> Any:
        self.seen = pixels
        mean = torch.nn.functional.pixel_unshuffle(pixels, self.factor)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean))

    def decode(self, latents: torch.Tensor) -> Any:
        return SimpleNamespace(sample=torch.nn.functional.pixel_shuffle(latents, self.factor))


def _space(vae: Any, patch: int = 6) -> LatentSpace:
    return LatentSpace(vae, patch)


def _chips(shape: Shape, n: int = 2) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1, 1, (n, *shape)).astype(np.float32)


def test_the_default_chip_fills_its_canvas() -> None:
    canvas = canvas_of((96, 96), None, factor=2, patch=6)
    assert canvas == Canvas((96, 96), (96, 96), (96, 96))
    assert canvas.latent_shape(2) == (48, 48)


def test_sizes_are_rounded_up_to_whole_tokens() -> None:
    assert canvas_of((50, 97), None, factor=2, patch=6).padded_px == (60, 108)


def test_the_longer_side_becomes_model_px_and_the_other_keeps_the_proportion() -> None:
    canvas = canvas_of((60, 96), 512, factor=8, patch=2)
    assert canvas == Canvas((60, 96), (320, 512), (320, 512))
    assert canvas_of((96, 61), 512, factor=8, patch=2).model_px == (512, 325)
    assert canvas_of((96, 61), 512, factor=8, patch=2).padded_px == (512, 336)


def test_fewer_pixels_than_the_chip_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"model_px is 95 px, the chips are 60 x 96 px.*lose detail"):
        canvas_of((60, 96), 95, factor=2, patch=6)
    assert canvas_of((60, 96), 96, factor=2, patch=6).model_px == (60, 96)


def test_tiny_chips_are_refused() -> None:
    with pytest.raises(DataError, match="15 x 40 px, expected 16 px"):
        canvas_of((15, 40), None, factor=2, patch=6)


@given(
    shape=st.tuples(st.integers(16, 70), st.integers(16, 70)),
    enlarged=st.one_of(st.none(), st.integers(0, 90)),
    factor=st.sampled_from([1, 2, 4, 8]),
    patch=st.sampled_from([1, 2, 3, 6]),
    channels=st.sampled_from([1, 3]),
    shift=st.sampled_from([None, 0.0609]),
)
def test_a_chip_of_any_size_comes_back(
    shape: Shape, enlarged: int | None, factor: int, patch: int, channels: int, shift: float | None
) -> None:
    latent = _space(PlainVae(factor, channels, shift), patch)
    canvas = latent.canvas(shape, None if enlarged is None else max(shape) + enlarged)
    chips = _chips(shape)
    latents = latent.encode(chips, canvas)
    assert latents.shape == (2, channels * factor**2, *canvas.latent_shape(factor))
    assert all(size % patch == 0 for size in canvas.latent_shape(factor))
    assert latents.dtype == torch.float32
    again = latent.decode(latents, canvas)
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, chips, atol=1e-5)


def test_the_padding_is_the_mirror_image_beyond_the_last_row_and_column() -> None:
    vae = PlainVae()
    chips = _chips((22, 20))
    latent = _space(vae)
    latent.encode(chips, latent.canvas((22, 20), None))
    seen = vae.seen[:, 0].numpy()
    assert seen.shape == (2, 24, 24)
    np.testing.assert_array_equal(seen[:, :22, :20], chips)
    np.testing.assert_array_equal(seen[:, 22:, :20], chips[:, [20, 19]])
    np.testing.assert_array_equal(seen[:, :22, 20:], chips[:, :, [18, 17, 16, 15]])


def test_padding_wider_than_the_chip_goes_on_mirroring() -> None:
    vae = PlainVae(factor=8)
    latent = _space(vae, patch=6)
    chips = _chips((16, 16), n=1)
    latent.encode(chips, latent.canvas((16, 16), None))
    there_and_back = [*range(16), *range(14, 0, -1), *range(16), *range(14, 12, -1)]
    np.testing.assert_array_equal(vae.seen[0, 0, :, 0].numpy(), chips[0, there_and_back[:48], 0])


def test_latents_are_shifted_then_scaled() -> None:
    latent = _space(PlainVae(factor=1), patch=1)
    chips = _chips((16, 16))
    latents = latent.encode(chips, latent.canvas((16, 16), None))
    np.testing.assert_allclose(latents[:, 0].numpy(), (chips - 0.5) * 4.0, atol=1e-6)


def test_colour_autoencoders_see_the_chip_three_times_and_answer_with_the_mean() -> None:
    vae = PlainVae(factor=1, channels=3)
    latent = _space(vae, patch=1)
    canvas = latent.canvas((16, 16), None)
    chips = _chips((16, 16), n=1)
    latents = latent.encode(chips, canvas)
    for channel in range(3):
        np.testing.assert_array_equal(vae.seen[:, channel].numpy(), chips)
    tinted = latents + 4.0 * torch.tensor([0.3, 0.0, 0.0])[:, None, None]
    np.testing.assert_allclose(latent.decode(tinted, canvas), chips + 0.1, atol=1e-6)


def test_other_channels_are_refused() -> None:
    with pytest.raises(HardwareError, match="reads 2 channels"):
        _space(PlainVae(channels=2))


@pytest.mark.parametrize(("shape", "model_px"), [((22, 21), None), ((16, 30), 40), ((24, 24), None)])
def test_the_mask_marks_latents_that_hold_a_pixel_of_the_chip(shape: Shape, model_px: int | None) -> None:
    latent = _space(PlainVae(factor=4), patch=3)
    canvas = latent.canvas(shape, model_px)
    pixels = torch.zeros(1, 1, *canvas.padded_px)
    pixels[:, :, : canvas.model_px[0], : canvas.model_px[1]] = 1
    share = interpolate(pixels, scale_factor=0.25, mode="area")[0, 0]
    assert torch.equal(latent.mask(canvas), (share > 0).float())


def test_upsampled_pixels_are_those_of_a_smooth_wave() -> None:
    vae = PlainVae()
    latent = _space(vae)
    wave = np.cos(np.pi * 3 * (np.arange(24) + 0.5) / 24)
    latent.encode(np.broadcast_to(wave, (1, 24, 24)).astype(np.float32), latent.canvas((24, 24), 48))
    wanted = np.cos(np.pi * 3 * (np.arange(48) + 0.5) / 48)
    np.testing.assert_allclose(vae.seen[0, 0, 5].numpy(), wanted, atol=1e-6)


def test_chips_of_another_size_are_refused() -> None:
    latent = _space(PlainVae())
    canvas = latent.canvas((24, 30), None)
    for wrong in (_chips((30, 24)), _chips((24, 30))[0]):
        with pytest.raises(DataError, match=r"expected \(n, 24, 30\)"):
            latent.encode(wrong, canvas)


def test_pixels_that_are_not_finite_are_refused() -> None:
    latent = _space(PlainVae())
    chips = _chips((24, 24), n=3)
    chips[1, 2, 3:5] = np.nan
    with pytest.raises(DataError, match="chip 1 of 3 has 2 pixels that are not finite"):
        latent.encode(chips, latent.canvas((24, 24), None))


def test_latents_of_another_canvas_are_refused() -> None:
    latent = _space(PlainVae())
    with pytest.raises(DataError, match=r"\(1, 4, 12, 6\), expected \(n, channels, 12, 12\)"):
        latent.decode(torch.zeros(1, 4, 12, 6), latent.canvas((24, 24), None))


def test_a_real_autoencoder_is_read_as_its_pipeline_reads_it() -> None:
    """Means, no draw: the same twice; (mean - shift) * scale; and no graph is kept."""
    torch.manual_seed(3)
    vae = new_vae().eval()
    vae.register_to_config(shift_factor=0.1, scaling_factor=2.0)
    latent = _space(vae)
    canvas = latent.canvas((24, 36), None)
    chips = _chips((24, 36))
    latents = latent.encode(chips, canvas)
    with torch.no_grad():
        mean = vae.encode(torch.from_numpy(chips)[:, None]).latent_dist.mean
        sample = vae.decode(mean).sample
    assert latent.factor == 2
    assert not latents.requires_grad
    torch.testing.assert_close(latents, (mean - 0.1) * 2.0)
    np.testing.assert_allclose(latent.decode(latents, canvas), sample[:, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "model_px"), [((24, 36), None), ((22, 21), None), ((18, 25), 40), ((20, 20), 21)]
)
def test_pixels_are_the_decoded_chips_on_their_own_grid(shape: Shape, model_px: int | None) -> None:
    for vae in (PlainVae(), PlainVae(channels=3)):
        latent = _space(vae)
        canvas = latent.canvas(shape, model_px)
        noise = torch.randn(2, vae.config.in_channels * 4, *canvas.latent_shape(2), dtype=torch.float32)
        found = latent.pixels(noise, canvas)
        assert found.shape == (2, *shape)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), latent.decode(noise, canvas), atol=2e-5)
        chips = _chips(shape)
        np.testing.assert_allclose(latent.pixels(latent.encode(chips, canvas), canvas), chips, atol=2e-5)


@pytest.mark.parametrize(("shape", "model_px"), [((22, 21), None), ((18, 25), 40)])
def test_gradients_of_pixels_reach_the_latents_and_none_comes_from_the_padding(
    shape: Shape, model_px: int | None
) -> None:
    latent = _space(PlainVae())
    canvas = latent.canvas(shape, model_px)
    latents = torch.zeros(2, 4, *canvas.latent_shape(2), requires_grad=True)
    weights = torch.from_numpy(_chips(shape))
    (latent.pixels(latents, canvas) * weights).sum().backward()
    assert latents.grad is not None
    # Resampling down is linear: what it weighs each pixel by is its answer to that pixel alone.
    pixels = torch.nn.functional.pixel_shuffle(latents.grad * 4.0, 2)[:, 0]  # scale 4: d latent / d pixel
    for row, col in ((0, 0), (5, 7), (canvas.model_px[0] - 1, canvas.model_px[1] - 1)):
        one = np.zeros((1, *canvas.model_px), np.float32)
        one[0, row, col] = 1
        expected = float((resample(one, shape) * weights.numpy()[1]).sum())
        assert float(pixels[1, row, col]) == pytest.approx(expected, abs=1e-5)
    padding = latent.mask(canvas) == 0
    assert padding.any()
    assert not latents.grad[:, :, padding].any()
    assert latents.grad[:, :, ~padding].any()


def test_pixels_of_latents_of_another_canvas_are_refused() -> None:
    latent = _space(PlainVae())
    with pytest.raises(DataError, match=r"\(1, 4, 12, 6\), expected \(n, channels, 12, 12\)"):
        latent.pixels(torch.zeros(1, 4, 12, 6), latent.canvas((24, 24), None))
