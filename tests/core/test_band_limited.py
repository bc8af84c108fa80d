"""Band-limited resampling: exact on cosines, undone exactly, no wrap-around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.band_limited import resample

Shape = tuple[int, int]


def _cosine(shape: Shape, waves: tuple[float, float]) -> np.ndarray:
    """Half waves along each axis, sampled at the centres of pixels over the unit square."""
    row, col = ((np.arange(n) + 0.5) / n for n in shape)
    return np.outer(np.cos(np.pi * waves[0] * row), np.cos(np.pi * waves[1] * col))


@pytest.mark.parametrize("waves", [(0, 0), (3, 5), (15, 0), (7, 11)])
@pytest.mark.parametrize("shape", [(40, 31), (17, 12), (64, 24)])
def test_a_band_limited_image_is_the_same_function_on_the_new_grid(waves: Shape, shape: Shape) -> None:
    found = resample(_cosine((16, 12), waves), shape)
    np.testing.assert_allclose(found, _cosine(shape, waves), atol=1e-12)


def test_detail_that_a_coarser_grid_cannot_hold_is_gone_and_not_folded() -> None:
    np.testing.assert_allclose(resample(_cosine((64, 64), (40, 3)), (32, 32)), 0.0, atol=1e-12)


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    more=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    seed=st.integers(0, 2**31),
)
def test_up_and_back_down_is_the_image(size: Shape, more: Shape, seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(2, *size)).astype(np.float32)
    wide = resample(image, (size[0] + more[0], size[1] + more[1]))
    assert wide.dtype == np.float32
    np.testing.assert_allclose(resample(wide, size), image, atol=1e-5)


def test_opposite_edges_do_not_meet() -> None:
    """A ramp stays a ramp: periodic interpolation would ring by half of its height at both edges."""
    ramp = np.repeat(np.linspace(0.0, 1.0, 32)[:, None], 8, axis=1)
    found = resample(ramp, (64, 8))[:, 0]
    wanted = np.interp((np.arange(64) + 0.5) / 2 - 0.5, np.arange(32), ramp[:, 0])
    assert np.abs(found - wanted).max() < 0.01


def test_the_same_shape_is_left_alone() -> None:
    image = np.ones((4, 6), dtype=np.float32)
    assert resample(image, (4, 6)) is image
