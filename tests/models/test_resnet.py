from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from sarcurate.errors import DataError, HardwareError
from sarcurate.models import resnet

PLAIN = resnet.TrainingSettings(
    image_px=32,
    updates=2,
    batch_size=4,
    learning_rate=3e-4,
    weight_decay=0.05,
    label_smoothing=0.1,
    warmup_fraction=0.1,
    crop_jitter=0.1,
    real_fraction=0.5,
    flips=False,
    gain_jitter_db=1.5,
    speckle_jitter_looks=8.0,
    precision="bf16",
    threads=1,
    initial_weights=None,
)


def _toy(n_per_class: int = 4, px: int = 32) -> resnet.TrainingSet:
    """Two classes: bright above or bright below, with a little noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(2 * n_per_class) % 2
    images = rng.uniform(-0.9, -0.5, (len(labels), 1, px, px)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[0, : px // 2] += 1.2 * label
        image[0, px // 2 :] += 1.2 * (1 - label)
    ones = np.ones(len(labels))
    return resnet.TrainingSet(images, labels.astype(np.int64), ones.astype(bool), ones.astype(np.float32))


def _train(
    changes: resnet.TrainingSettings = PLAIN, data: resnet.TrainingSet | None = None, seed: int = 1
) -> tuple[torch.nn.Module, list[float]]:
    return resnet.train(changes, data or _toy(), 2, seed, False, lambda _update, _loss: None)


@pytest.fixture(scope="module")
def trained() -> tuple[torch.nn.Module, list[float]]:
    return _train()


# --- model space


def test_model_space_spans_the_limits() -> None:
    decibel = np.array([-30.0, -20.0, -10.0, 0.0, 10.0])
    chip = np.tile(10 ** (decibel / 10), (5, 1)).astype(np.float32)
    image = resnet.to_model_space(chip, (-20.0, 0.0), 5)
    np.testing.assert_allclose(image[0], [-1, -1, 0, 1, 1], atol=1e-6)
    assert image.dtype == np.float32


def test_zero_pixels_are_the_lower_limit() -> None:
    image = resnet.to_model_space(np.zeros((4, 4), np.float32), (-20.0, 0.0), 4)
    np.testing.assert_array_equal(image, -1)


@given(st.integers(8, 50), st.integers(8, 50), st.floats(-19, -1))
def test_resampling_keeps_a_constant(rows: int, cols: int, decibel: float) -> None:
    chip = np.full((rows, cols), 10 ** (decibel / 10), np.float32)
    image = resnet.to_model_space(chip, (-20.0, 0.0), 32)
    assert image.shape == (32, 32)
    np.testing.assert_allclose(image, (decibel + 20) / 10 - 1, atol=1e-5)


def test_resampling_averages_before_it_drops_pixels() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2
    image = resnet.to_model_space(np.where(board, 1.0, 0.01).astype(np.float32), (-20.0, 0.0), 32)
    assert np.abs(image[2:-2, 2:-2]).max() < 0.05  # plain subsampling would leave -1 or 1


# --- batches


@given(
    n_real=st.integers(1, 30),
    n_other=st.integers(0, 30),
    updates=st.integers(1, 20),
    batch=st.integers(2, 16),
    fraction=st.one_of(st.none(), st.floats(0.1, 0.9)),
    seed=st.integers(0, 2**31),
)
def test_every_chip_of_a_pool_is_seen_equally_often(
    n_real: int, n_other: int, updates: int, batch: int, fraction: float | None, seed: int
) -> None:
    is_real = np.arange(n_real + n_other) < n_real
    plan = resnet.batch_indices(is_real, batch, updates, fraction, seed)
    assert plan.shape == (updates, batch)
    pools = [is_real, ~is_real] if fraction is not None and n_other else [np.ones_like(is_real)]
    for pool in pools:
        seen = Counter(plan[np.isin(plan, np.flatnonzero(pool))].tolist())
        times = [seen[index] for index in np.flatnonzero(pool).tolist()]
        assert max(times) - min(times) <= 1


@given(st.integers(2, 40), st.floats(0.05, 0.95), st.integers(0, 2**31))
def test_the_share_of_real_chips_holds_in_every_batch(batch: int, fraction: float, seed: int) -> None:
    is_real = np.arange(20) < 5
    plan = resnet.batch_indices(is_real, batch, 4, fraction, seed)
    np.testing.assert_array_equal(is_real[plan].sum(axis=1), round(batch * fraction))


def test_batches_follow_the_seed() -> None:
    is_real = np.ones(50, dtype=bool)
    one, again, other = (resnet.batch_indices(is_real, 8, 5, None, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


# --- augmentation


def test_jitter_moves_a_chip_by_whole_pixels_within_its_share() -> None:
    image = np.full((200, 1, 32, 32), -1, np.float32)
    image[:, 0, 16, 16] = 1
    moved = resnet.augment(image, np.ones(200, np.float32), PLAIN, False, np.random.default_rng(0))
    rows, cols = np.array([np.argwhere(one[0] == 1)[0] for one in moved]).T
    assert set(rows - 16) == set(cols - 16) == set(range(-3, 4))  # 10 % of 32 px
    assert (image[:, 0, 16, 16] == 1).all()


def test_without_jitter_and_classical_nothing_changes() -> None:
    images = _toy().images
    still = replace(PLAIN, crop_jitter=0.0)
    same = resnet.augment(images, np.ones(len(images), np.float32), still, False, np.random.default_rng(0))
    np.testing.assert_array_equal(same, images)


def test_gain_is_one_number_per_chip_in_decibel() -> None:
    only_gain = replace(PLAIN, crop_jitter=0.0, speckle_jitter_looks=0.0, gain_jitter_db=3.0)
    zero = np.zeros((500, 1, 8, 8), np.float32)
    per_unit = np.full(500, 12.5, np.float32)
    gained = resnet.augment(zero, per_unit, only_gain, True, np.random.default_rng(0)) * 12.5
    assert np.ptp(gained, axis=(1, 2, 3)).max() == 0
    assert 2.9 < np.abs(gained).max() <= 3.0
    assert gained.std() == pytest.approx(3 / np.sqrt(3), rel=0.1)  # uniform on +-3


def test_added_speckle_has_the_asked_looks() -> None:
    only_speckle = replace(PLAIN, crop_jitter=0.0, gain_jitter_db=0.0, speckle_jitter_looks=8.0)
    zero = np.zeros((50, 1, 32, 32), np.float32)
    noisy = resnet.augment(zero, np.full(50, 30.0, np.float32), only_speckle, True, np.random.default_rng(0))
    intensity = 10 ** (noisy.astype(float) * 30 / 10)
    assert intensity.mean() == pytest.approx(1, abs=0.01)
    assert intensity.mean() ** 2 / intensity.var() == pytest.approx(8, rel=0.05)


def test_flips_are_along_azimuth_and_only_where_allowed() -> None:
    ramp = np.broadcast_to(np.linspace(-1, 1, 8, dtype=np.float32)[:, None], (64, 1, 8, 8)).copy()
    quiet = replace(PLAIN, crop_jitter=0.0, gain_jitter_db=0.0, speckle_jitter_looks=0.0)
    ones, rng = np.ones(64, np.float32), np.random.default_rng(0)
    flipped = resnet.augment(ramp, ones, replace(quiet, flips=True), True, rng)
    is_flipped = flipped[:, 0, 0, 0] == 1
    assert 10 < is_flipped.sum() < 54
    np.testing.assert_array_equal(flipped[is_flipped], ramp[is_flipped][:, :, ::-1])
    np.testing.assert_array_equal(resnet.augment(ramp, ones, quiet, True, rng), ramp)


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_augmented_images_stay_in_model_space(seed: int) -> None:
    data = _toy()
    images = resnet.augment(data.images, data.db_per_unit, PLAIN, True, np.random.default_rng(seed))
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1


# --- schedule


def test_warm_up_rises_to_one_and_the_cosine_falls_to_zero() -> None:
    factor = resnet._warmup_cosine(replace(PLAIN, updates=100, warmup_fraction=0.1))
    np.testing.assert_allclose([factor(update) for update in range(10)], np.arange(1, 11) / 10)
    assert factor(10) == 1
    assert factor(55) == pytest.approx(0.5)
    assert factor(99) == pytest.approx(0.5 * (1 + np.cos(np.pi * 89 / 90)))


# --- training


def test_resnet50_has_its_published_size() -> None:
    model = resnet.build(1000, 0, None)
    # He et al. 2016, torchvision's ResNet50: 25 557 032 parameters with three input channels.
    assert sum(value.numel() for value in model.parameters()) == 25_557_032 - 2 * 64 * 7 * 7


def test_same_seed_gives_the_same_weights_and_predictions(
    trained: tuple[torch.nn.Module, list[float]],
) -> None:
    again, losses = _train()
    assert losses == trained[1]
    for name, value in again.state_dict().items():
        assert torch.equal(value, trained[0].state_dict()[name]), name
    images = _toy().images
    np.testing.assert_array_equal(
        resnet.predict(again, images, PLAIN), resnet.predict(trained[0], images, PLAIN)
    )


def test_another_seed_gives_other_weights(trained: tuple[torch.nn.Module, list[float]]) -> None:
    other, _ = _train(seed=2)
    one, two = (model.state_dict()["classifier.1.weight"] for model in (trained[0], other))
    assert not torch.equal(one, two)


def test_loss_falls_on_a_separable_set() -> None:
    easy = replace(PLAIN, updates=12, batch_size=8, learning_rate=1e-3, crop_jitter=0.0, label_smoothing=0.0)
    model, losses = _train(easy)
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    assert model.training


def test_every_update_is_told() -> None:
    told: list[tuple[int, float]] = []
    _, losses = resnet.train(PLAIN, _toy(), 2, 1, False, lambda update, loss: told.append((update, loss)))
    assert told == list(enumerate(losses))
    assert len(told) == PLAIN.updates


def test_predictions_are_probabilities_and_do_not_depend_on_the_rest_of_the_batch(
    trained: tuple[torch.nn.Module, list[float]],
) -> None:
    images = np.concatenate([_toy().images] * 9)  # 72, more than one batch
    together = resnet.predict(trained[0], images, PLAIN)
    assert together.shape == (72, 2)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(together[-1:], resnet.predict(trained[0], images[-1:], PLAIN), rtol=1e-4)


def test_a_model_survives_half_precision(trained: tuple[torch.nn.Module, list[float]]) -> None:
    kept = resnet.half_precision(trained[0])
    assert {value.dtype for value in kept.values()} == {torch.float16, torch.int64}
    restored = resnet.restore(kept, 2)
    for name, value in trained[0].state_dict().items():
        # float16 holds 11 bits; weights below its smallest normal number lose more
        assert torch.allclose(restored.state_dict()[name].float(), value.float(), rtol=2**-11, atol=2**-25)


def test_no_chips_is_a_data_error() -> None:
    none = resnet.TrainingSet(
        np.empty((0, 1, 32, 32), np.float32),
        np.empty(0, np.int64),
        np.empty(0, bool),
        np.empty(0, np.float32),
    )
    with pytest.raises(DataError, match="no training chips"):
        _train(data=none)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    data = _toy()
    data.images[:, :, 0, 0] = np.nan
    with pytest.raises(DataError, match="training loss became nan at update 0") as caught:
        _train(replace(PLAIN, crop_jitter=0.0), data)
    assert "learning_rate" in caught.value.fix


# --- initial weights


def test_initial_weights_start_every_class_count(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    given_model = resnet.build(5, 7, None)
    save_file(given_model.state_dict(), path)
    started = resnet.build(2, 8, str(path)).state_dict()
    fresh = resnet.build(2, 8, None).state_dict()
    for name, value in given_model.state_dict().items():
        if name.startswith("classifier."):
            assert torch.equal(started[name], fresh[name])
        else:
            assert torch.equal(started[name], value), name


@pytest.mark.parametrize("misfit", ["missing", "shape", "surplus"])
def test_weights_that_do_not_fit_are_refused(misfit: str, tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    state = dict(resnet.build(2, 0, None).state_dict())
    name = next(iter(state))
    if misfit == "missing":
        del state[name]
    elif misfit == "shape":
        state[name] = torch.zeros(64, 3, 7, 7)
    else:
        name = "resnet.extra"
        state[name] = torch.zeros(1)
    save_file(state, path)
    with pytest.raises(HardwareError, match=f"1 tensors differ, first {name}") as caught:
        resnet.build(2, 0, str(path))
    assert caught.value.exit_code == 4
    assert "initial_weights: null" in caught.value.fix


def test_weights_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("text.safetensors", "absent.safetensors"):
        with pytest.raises(HardwareError, match=name):
            resnet.build(2, 0, str(tmp_path / name))
