from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from sarcurate.core import jpeg_blocks
from sarcurate.core.jpeg_blocks import FOUND, grid_strength


def speckle(seed: int, size: int = 64) -> np.ndarray:
    return np.minimum(np.rint(np.random.default_rng(seed).rayleigh(40, (size, size))), 255).astype(np.uint8)


def jpeg(chip: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(chip).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.sampled_from([50, 75, 90]), st.integers(0, 1000))
def test_the_grid_is_found_after_any_crop(row: int, col: int, quality: int, seed: int) -> None:
    strength = grid_strength(jpeg(speckle(seed, 72), quality)[row : row + 64, col : col + 64], 1.0)
    assert strength is not None
    assert strength > FOUND


def test_independent_speckle_has_no_grid() -> None:
    # top gap of 64 exchangeable normals: chance near exp(-2.9 x) to exceed x
    strengths = np.array([grid_strength(speckle(seed), 1.0) for seed in range(300)], dtype=float)
    assert strengths.max() < FOUND
    assert np.mean(strengths > 1) < 0.12
    assert np.mean(strengths > 1) == pytest.approx(np.exp(-2.9), abs=0.06)


def test_a_scale_changes_nothing() -> None:
    chip = jpeg(speckle(1), 80).astype(np.float64)
    assert grid_strength(chip * 0.01, 0.01) == pytest.approx(grid_strength(chip, 1.0), rel=1e-3)


def test_counts_are_those_of_a_plain_loop() -> None:
    chip = speckle(2, 20).astype(np.float32)
    windows = [(row, col) for row in range(13) for col in range(13)]
    blocks = np.array(
        [dctn(chip[r : r + 8, c : c + 8].astype(float), norm="ortho")[2:, 2:] for r, c in windows]
    )
    sampled = np.abs(blocks.transpose(1, 2, 0).reshape(36, -1))
    deviation = np.median(sampled[:, ::29]) / 0.6745
    expected = (sampled < max(0.5, 0.02 * deviation)).sum(axis=0).reshape(13, 13)
    np.testing.assert_array_equal(jpeg_blocks._near_zero_counts(chip, 1.0), expected)


@pytest.mark.parametrize("size", [8, 16, 24])
def test_a_block_of_one_value_is_no_grid(size: int) -> None:
    for seed in range(10):
        chip = speckle(seed)
        chip[13 : 13 + size, 21 : 21 + size] = 0
        strength = grid_strength(chip, 1.0)
        assert strength is not None
        assert strength < FOUND


@pytest.mark.parametrize("factor", [2, 4])
def test_repeated_pixels_are_no_grid(factor: int) -> None:
    chip = np.kron(speckle(3, 32), np.ones((factor, factor), np.uint8))
    strength = grid_strength(chip, 1.0)
    assert strength is not None
    assert strength < FOUND


@pytest.mark.parametrize("chip", [speckle(4, 15), np.full((64, 64), 7, np.uint8), speckle(4, 8)])
def test_small_or_constant_chips_cannot_tell(chip: np.ndarray) -> None:
    assert grid_strength(chip, 1.0) is None


def test_the_number_of_threads_changes_nothing() -> None:
    # continuous values: some coefficients stand so near the limit that the order of a sum decides
    code = (
        "import numpy as np; from sarcurate.core.jpeg_blocks import grid_strength; "
        "rng = np.random.default_rng(0); "
        "print([grid_strength(rng.rayleigh(1, (227, 144)).astype('f4'), 0.0) for _ in range(40)])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert said[0].count(",") == 39
    assert said[0] == said[1]
