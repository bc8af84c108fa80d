"""Small convolutional network on images of any size, and its training with class-balanced batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError

if TYPE_CHECKING:
    import torch

FloatImages = NDArray[np.float32]

FEATURES = 64
CHANNELS, KERNELS = (16, 32, 64, 96), (5, 3, 3, 3)
CHANNELS_PER_GROUP = 8
SHIFT_FRACTION = 1 / 16
WEIGHT_DECAY = 0.05
WARMUP_FRACTION = 0.1


@dataclass(frozen=True)
class NetworkSettings:
    """How the network is trained: number of updates, chips per update, peak learning rate, CPU threads."""

    updates: int
    batch_size: int
    learning_rate: float
    threads: int


def small_cnn(n_classes: int) -> torch.nn.ModuleDict:
    """Parts ``features``, (n, 1, rows, cols) to (n, 64), and ``head``, to (n, n_classes) logits.

    Strided convolutions with group norm, so that no image sees its batch, and the mean over positions.
    Source: Wu and He (2018), ECCV, "Group normalization".
    """
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for before, after, kernel in zip((1, *CHANNELS[:-1]), CHANNELS, KERNELS, strict=True):
        layers.append(nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False))
        layers += [nn.GroupNorm(after // CHANNELS_PER_GROUP, after), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS[-1], FEATURES)]
    head = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, n_classes))
    model = nn.ModuleDict({"features": nn.Sequential(*layers), "head": head})
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def balanced_plan(
    labels: NDArray[np.int64], updates: int, batch_size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Chip indices of every update, (updates, batch_size): classes in turn, each walked in fresh shuffles.

    Over all updates the classes differ by one draw at most, and so do the chips of one class.
    """
    draws = updates * batch_size
    classes = np.unique(labels)
    rounds = [rng.permutation(classes) for _ in range(-(-draws // len(classes)))]
    turn = np.concatenate(rounds)[:draws]
    plan = np.empty(draws, dtype=np.int64)
    for name in classes:
        pool, slots = np.flatnonzero(labels == name), np.flatnonzero(turn == name)
        walks = [rng.permutation(pool) for _ in range(1 + len(slots) // len(pool))]
        plan[slots] = np.concatenate(walks)[: len(slots)]
    return plan.reshape(updates, batch_size)


def fit(
    images: Sequence[FloatImages],
    labels: NDArray[np.int64],
    settings: NetworkSettings,
    gain: float,
    seed: int,
    on_update: Callable[[int, float], None],
) -> dict[str, FloatImages]:
    """Weights by name after training on standardised images (rows, cols), whose sizes may differ.

    Cross entropy, AdamW (Loshchilov and Hutter, 2019, ICLR) with warm-up and cosine decay, class-balanced
    batches, shifts by up to 1/16 of the side; the last state, no model selection.

    Args:
        labels: (n,) class indices, 0 to the number of classes - 1, each occurring.
        gain: half width of the brightness jitter, in the unit of the images.
        on_update: told the update's number and its loss.

    Raises:
        DataError: when the loss stops being finite.
    """
    import torch

    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    model = small_cnn(int(labels.max()) + 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warmup_cosine(settings.updates))
    rng = np.random.default_rng(seed + 1)
    for update, picked in enumerate(balanced_plan(labels, settings.updates, settings.batch_size, rng)):
        optimiser.zero_grad(set_to_none=True)
        loss = 0.0
        for places in _batches([images[i] for i in picked], settings.batch_size):
            batch = np.stack([jitter(images[i], gain, rng) for i in picked[places]])
            logits = model["head"](model["features"](torch.from_numpy(batch[:, None])))
            truth = torch.from_numpy(labels[picked[places]])
            part = torch.nn.functional.cross_entropy(logits, truth, reduction="sum") / len(picked)
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
        if not np.isfinite(loss):
            raise DataError(
                f"reference network: loss became {loss} at update {update}",
                fix="lower reference.network.learning_rate",
            )
        optimiser.step()
        schedule.step()
        on_update(update, loss)
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def _batches(images: Sequence[NDArray[Any]], batch_size: int) -> Iterator[NDArray[np.intp]]:
    """Places of up to ``batch_size`` images of one shape at a time, in order of shape, then of place."""
    shapes = [image.shape for image in images]
    for shape in sorted(set(shapes)):
        same = np.array([place for place, found in enumerate(shapes) if found == shape], dtype=np.intp)
        for start in range(0, len(same), batch_size):
            yield same[start : start + batch_size]


def warmup_cosine(updates: int) -> Callable[[int], float]:
    """Share of the peak learning rate: linear warm-up over a tenth, then half a cosine to 0."""
    warmup = max(1, round(updates * WARMUP_FRACTION))

    def factor(update: int) -> float:
        if update < warmup:
            return (update + 1) / warmup
        return float(0.5 * (1.0 + np.cos(np.pi * (update - warmup) / max(1, updates - warmup))))

    return factor


def jitter(image: FloatImages, gain: float, rng: np.random.Generator) -> FloatImages:
    """The image moved a little (edges mirrored), and a little brighter or darker."""
    rows, cols = image.shape
    most = max(1, round(min(rows, cols) * SHIFT_FRACTION))
    row, col = rng.integers(0, 2 * most + 1, size=2)
    moved = np.pad(image, most, mode="reflect")[row : row + rows, col : col + cols]
    return moved + np.float32(rng.uniform(-gain, gain))
