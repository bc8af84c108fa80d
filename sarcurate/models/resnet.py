"""ResNet50 scene classifier: the same training for every arm, from which the evidence is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError, HardwareError

if TYPE_CHECKING:
    import torch

FloatImages = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSettings:
    """How every arm is trained; equal updates, not equal epochs."""

    image_px: int
    updates: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    warmup_fraction: float
    crop_jitter: float
    real_fraction: float | None
    flips: bool
    gain_jitter_db: float
    speckle_jitter_looks: float
    precision: str
    threads: int
    initial_weights: str | None


@dataclass(frozen=True)
class TrainingSet:
    """Model-space images of one arm.

    Args:
        images: (n, 1, image_px, image_px), 0 at the middle and +-1 at the ends of the sensor's dB range.
        labels: (n,) class indices.
        is_real: (n,) False for made or source-sensor chips; steers ``real_fraction``.
        db_per_unit: dB that one unit of model space spans, per image (n,).
    """

    images: FloatImages
    labels: Labels
    is_real: NDArray[np.bool_]
    db_per_unit: FloatImages


def to_model_space(
    intensity: NDArray[np.float32], limits_db: tuple[float, float], image_px: int
) -> NDArray[np.float32]:
    """Chip of linear intensity (rows, cols) as (image_px, image_px) in -1..1 over ``limits_db``.

    The log image is clipped to the limits and resampled by antialiased bilinear interpolation.
    """
    import torch

    low, high = limits_db
    floor = 10.0 ** (low / 10.0)
    decibel = 10.0 * np.log10(np.maximum(intensity, floor))
    unit = np.clip((decibel - low) / (high - low), 0.0, 1.0) * 2.0 - 1.0
    single: FloatImages = unit.astype(np.float32)
    if single.shape == (image_px, image_px):
        return single
    image = torch.from_numpy(single)[None, None]
    resized = torch.nn.functional.interpolate(
        image, size=(image_px, image_px), mode="bilinear", antialias=True, align_corners=False
    )
    result: NDArray[np.float32] = resized[0, 0].numpy()
    return result


def build(n_classes: int, seed: int, initial_weights: str | None) -> torch.nn.Module:
    """ResNet50 (He et al. 2016, v1.5 strides) with one input channel and ``n_classes`` outputs.

    Raises:
        HardwareError: when ``initial_weights`` names no safetensors file that fits the backbone.
    """
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(seed)
    model: torch.nn.Module = ResNetForImageClassification(
        ResNetConfig.from_dict({"num_channels": 1, "num_labels": n_classes})
    )
    if initial_weights is not None:
        _load_backbone(model, Path(initial_weights))
    return model


def _load_backbone(model: torch.nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    fix = "save a one-channel transformers ResNet50 as safetensors, or set evaluate.initial_weights: null"
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise HardwareError(f"cannot read initial weights {path}: {error}", fix=fix) from error
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    backbone = {name: value for name, value in weights.items() if not name.startswith("classifier.")}
    wanted = {name for name in expected if not name.startswith("classifier.")}
    misfits = sorted(
        name
        for name in wanted | set(backbone)
        if name not in backbone or name not in expected or tuple(backbone[name].shape) != expected[name]
    )
    if misfits:
        raise HardwareError(
            f"initial weights {path} do not fit ResNet50 with one channel: {len(misfits)} tensors differ, "
            f"first {misfits[0]}",
            fix=fix,
        )
    model.load_state_dict(backbone, strict=False)


def batch_indices(
    is_real: NDArray[np.bool_], batch_size: int, updates: int, real_fraction: float | None, seed: int
) -> NDArray[np.int64]:
    """Chip indices of every update, (updates, batch_size).

    Each pool (real, other) is walked in fresh shuffles, so that every chip of a pool is seen equally
    often; with ``real_fraction`` set and both pools present, that share of each batch is real.
    """
    rng = np.random.default_rng(seed)
    everything = np.arange(len(is_real))
    if real_fraction is None or is_real.all() or not is_real.any():
        return _walk(everything, updates, batch_size, rng)
    n_real = round(batch_size * real_fraction)
    real = _walk(everything[is_real], updates, n_real, rng)
    other = _walk(everything[~is_real], updates, batch_size - n_real, rng)
    return np.concatenate([real, other], axis=1)


def _walk(
    pool: NDArray[np.int64], updates: int, per_batch: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    needed = updates * per_batch
    shuffles = [rng.permutation(pool) for _ in range(-(-needed // max(len(pool), 1)))]
    walk = np.concatenate(shuffles) if shuffles else np.empty(0, dtype=np.int64)
    return walk[:needed].reshape(updates, per_batch)


def augment(
    images: FloatImages,
    db_per_unit: FloatImages,
    settings: TrainingSettings,
    classical: bool,
    rng: np.random.Generator,
) -> FloatImages:
    """Position jitter for every arm; gain, speckle and (if allowed) azimuth flips for the classical arm.

    Args:
        images: (n, 1, rows, cols) in model space; db_per_unit: (n,).
    """
    shift = round(settings.image_px * settings.crop_jitter)
    result = _jitter(images, shift, rng)
    if not classical:
        return result
    per_unit = db_per_unit[:, None, None, None]
    if settings.flips:
        flipped = rng.random(len(result)) < 0.5
        result[flipped] = result[flipped, :, ::-1, :]
    if settings.gain_jitter_db > 0:
        result += rng.uniform(-1, 1, (len(result), 1, 1, 1)) * settings.gain_jitter_db / per_unit
    if settings.speckle_jitter_looks > 0:
        looks = settings.speckle_jitter_looks
        result += 10.0 * np.log10(rng.gamma(looks, 1.0 / looks, result.shape)) / per_unit
    return np.clip(result, -1.0, 1.0).astype(np.float32)


def _jitter(images: FloatImages, shift: int, rng: np.random.Generator) -> FloatImages:
    if shift == 0:
        return images.copy()
    rows, cols = images.shape[-2:]
    padded = np.pad(images, ((0, 0), (0, 0), (shift, shift), (shift, shift)), mode="reflect")
    corners = rng.integers(0, 2 * shift + 1, size=(len(images), 2))
    return np.stack(
        [image[:, r : r + rows, c : c + cols] for image, (r, c) in zip(padded, corners, strict=True)]
    )


def train(
    settings: TrainingSettings,
    data: TrainingSet,
    n_classes: int,
    seed: int,
    classical: bool,
    on_update: Callable[[int, float], None],
) -> tuple[torch.nn.Module, list[float]]:
    """Train one ResNet50 from ``seed``; the model and its loss per update.

    AdamW with linear warm-up and cosine decay, label smoothing, the last state (no model selection).

    Raises:
        DataError: when there is nothing to train on or the loss stops being finite.
    """
    import torch

    if len(data.images) == 0:
        raise DataError("the arm has no training chips", fix="check evaluate.arms and the made sets")
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    model = build(n_classes, seed, settings.initial_weights).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmup_cosine(settings))
    loss_function = torch.nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    rng = np.random.default_rng(seed + 1)
    losses: list[float] = []
    plan = batch_indices(data.is_real, settings.batch_size, settings.updates, settings.real_fraction, seed)
    for update, picked in enumerate(plan):
        batch = augment(data.images[picked], data.db_per_unit[picked], settings, classical, rng)
        labels = torch.from_numpy(data.labels[picked])
        logits = _forward(model, batch, settings.precision)
        loss = loss_function(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise DataError(
                f"training loss became {losses[-1]} at update {update}",
                fix="lower evaluate.learning_rate or set evaluate.precision: fp32",
            )
        on_update(update, losses[-1])
    return model, losses


def _warmup_cosine(settings: TrainingSettings) -> Callable[[int], float]:
    warmup = max(1, round(settings.updates * settings.warmup_fraction))

    def factor(update: int) -> float:
        if update < warmup:
            return (update + 1) / warmup
        progress = (update - warmup) / max(1, settings.updates - warmup)
        return float(0.5 * (1.0 + np.cos(np.pi * progress)))

    return factor


def _forward(model: torch.nn.Module, batch: FloatImages, precision: str) -> torch.Tensor:
    import torch

    images = torch.from_numpy(batch).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits: torch.Tensor = model(images).logits
    return logits.float()


def predict(model: torch.nn.Module, images: FloatImages, settings: TrainingSettings) -> NDArray[np.float32]:
    """Class probabilities (n, n_classes) of model-space images (n, 1, rows, cols), in single precision."""
    import torch

    torch.set_num_threads(settings.threads)
    model.eval()
    step = 64
    with torch.no_grad():
        parts = [
            torch.softmax(_forward(model, images[start : start + step], "fp32"), dim=1)
            for start in range(0, len(images), step)
        ]
    probabilities: NDArray[np.float32] = torch.cat(parts).numpy()
    return probabilities


def half_precision(model: torch.nn.Module) -> dict[str, Any]:
    """The model's state with floating tensors in float16, for keeping."""
    return {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }


def restore(state: dict[str, Any], n_classes: int) -> torch.nn.Module:
    """A model from a state kept by :func:`half_precision`."""
    model = build(n_classes, seed=0, initial_weights=None)
    model.load_state_dict(state)
    return model
