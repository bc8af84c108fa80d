"""Reference network: a small classifier of one sensor's real train chips, by which chips are judged.

It sees folds 1 and up; fold 0 is held back to say how good it is. It is never evaluate's network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError
from sarcurate.models.small_cnn import FEATURES, FloatImages, fit, small_cnn
from sarcurate.models.small_cnn import NetworkSettings as NetworkSettings

FORMAT = 1
METADATA = "sarcurate_reference_network"
LEAST_PX = 16
HELD_BACK_FOLD = 0
BATCH = 32
# Of the pixels above zero: empty and single deep pixels would own the scale of a logarithm.
FLOOR_PERCENTILE = 0.1
GAIN_JITTER_DB = 1.0


@dataclass(frozen=True)
class Normalisation:
    """Way from linear intensity to what the network sees: (ln max(intensity, floor) - mean) / std."""

    floor: float
    mean: float
    std: float

    def apply(self, intensity: NDArray[np.floating]) -> FloatImages:
        """Standardised ln intensity, in single precision, of any shape."""
        log = np.log(np.maximum(np.asarray(intensity, dtype=np.float64), self.floor))
        return ((log - self.mean) / self.std).astype(np.float32)


@dataclass(frozen=True)
class HeldBack:
    """Accuracy on fold 0: ``k`` right of ``n``, and the known classes of which fold 0 holds no chip."""

    k: int
    n: int
    classes_without_chip: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ReferenceNetwork:
    """A trained network as plain arrays.

    Args:
        state: weights by name, float32.
        normalisation: fitted on the chips trained on.
        classes: those of the training chips, in the order of the probabilities.
        classes_untrained: those asked for of which there was no chip to train on; never predicted.
        held_back: accuracy on fold 0.
        threads: CPU threads, which are part of what decides the last bits.
    """

    state: Mapping[str, FloatImages]
    normalisation: Normalisation
    classes: tuple[str, ...]
    classes_untrained: tuple[str, ...]
    held_back: HeldBack
    threads: int


def why_unfit(image: NDArray[np.generic]) -> str:
    """Reason why the network cannot look at a chip (rows, cols) of linear intensity; empty where it can."""
    if image.ndim != 2 or image.dtype.kind not in "fiu":
        return f"shape {image.shape} of {image.dtype}, expected (rows, cols) of real numbers"
    if min(image.shape) < LEAST_PX:
        return f"smaller than {LEAST_PX} px"
    # A sum would overflow or cancel; the extremes tell both rules without a mask of the chip's size.
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return "non-finite pixels"
    return "negative intensity" if low < 0 else ""


def train_network(
    images: Sequence[NDArray[np.floating]],
    labels: Sequence[str],
    folds: Sequence[int],
    classes: Sequence[str],
    settings: NetworkSettings,
    seed: int,
    on_update: Callable[[int, float], None],
) -> ReferenceNetwork:
    """Train on the chips of folds other than 0; measure on those of fold 0.

    As :func:`sarcurate.models.small_cnn.fit` does, with a gain jitter of +-1 dB.

    Args:
        images: n chips (rows, cols) of linear intensity, of 16 px or more; sizes may differ.
        labels: n class names; folds: n fold numbers; classes: all class names, in index order.
        on_update: told the update's number and its loss.

    Raises:
        DataError: for chips it cannot look at, unknown classes, fewer than two classes to train on, or
            when the loss stops being finite.
    """
    _check_input(images, labels, folds, classes)
    train = [place for place, fold in enumerate(folds) if int(fold) != HELD_BACK_FOLD]
    held = [place for place, fold in enumerate(folds) if int(fold) == HELD_BACK_FOLD]
    present = {labels[place] for place in train}
    known = tuple(name for name in classes if name in present)
    if len(known) < 2:
        raise DataError(
            f"reference network: the {len(train)} train chips outside fold {HELD_BACK_FOLD} are of "
            f"{len(known)} classes, expected 2 or more",
            fix="take more train chips, of more groups, so that every fold holds some of every class",
        )
    scale = fit_normalisation([images[place] for place in train])
    seen = [scale.apply(images[place]) for place in train]
    truth = np.array([known.index(labels[place]) for place in train], dtype=np.int64)
    gain = GAIN_JITTER_DB * np.log(10.0) / 10.0 / scale.std
    state = fit(seen, truth, settings, gain, seed, on_update)
    untrained = tuple(name for name in classes if name not in present)
    network = ReferenceNetwork(state, scale, known, untrained, HeldBack(0, 0, ()), settings.threads)
    _, found = outputs(network, [images[place] for place in held])
    return replace(network, held_back=_held_back(known, found, [labels[place] for place in held], classes))


def fit_normalisation(images: Sequence[NDArray[np.floating]]) -> Normalisation:
    """Floor, mean and standard deviation of ln intensity over all pixels of the chips.

    Raises:
        DataError: when no pixel is positive, or all are the same.
    """
    pooled = np.concatenate([np.ravel(image) for image in images]).astype(np.float64)
    positive = pooled[pooled > 0]
    floor = float(np.percentile(positive, FLOOR_PERCENTILE)) if positive.size else 0.0
    log = np.log(np.maximum(pooled, floor)) if floor > 0 else np.zeros(1)
    if log.min() == log.max():
        raise DataError(
            "reference network: the train chips are constant, so there is nothing to learn from",
            fix="check the chips and their radiometry",
        )
    return Normalisation(floor, float(log.mean()), float(log.std()))


def outputs(
    network: ReferenceNetwork, images: Iterable[NDArray[np.floating]]
) -> tuple[FloatImages, FloatImages]:
    """Features (n, 64) and class probabilities (n, len(network.classes)) of chips of linear intensity.

    Images are taken one by one, so that a generator keeps memory flat. Batches hold one size, and the
    last ones are padded, so that a chip's numbers do not depend on how many others there are.

    Raises:
        DataError: for a chip that the network cannot look at; ask :func:`why_unfit` first.
    """
    import torch

    torch.set_num_threads(network.threads)
    model = small_cnn(len(network.classes))
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in network.state.items()})
    places: list[int] = []
    features = [np.empty((0, FEATURES), dtype=np.float32)]
    odds = [np.empty((0, len(network.classes)), dtype=np.float32)]
    with torch.no_grad():
        for own, batch in _blocks(network.normalisation, images):
            padded = np.pad(batch, ((0, BATCH - len(batch)), (0, 0), (0, 0)))
            found = model["features"](torch.from_numpy(padded[:, None]))
            features.append(found.numpy()[: len(own)])
            odds.append(torch.softmax(model["head"](found), dim=1).numpy()[: len(own)])
            places += own
    order = np.argsort(places)
    return np.concatenate(features)[order], np.concatenate(odds)[order]


def _blocks(
    normalisation: Normalisation, images: Iterable[NDArray[np.floating]]
) -> Iterator[tuple[list[int], FloatImages]]:
    """Places and standardised pixels of up to ``BATCH`` images of one size at a time."""
    waiting: dict[tuple[int, ...], dict[int, FloatImages]] = {}
    for place, image in enumerate(images):
        _refuse_unfit(place, image)
        same = waiting.setdefault(image.shape, {})
        same[place] = normalisation.apply(image)
        if len(same) == BATCH:
            yield list(same), np.stack(list(same.values()))
            del waiting[image.shape]
    for same in waiting.values():
        yield list(same), np.stack(list(same.values()))


def save_network(network: ReferenceNetwork, path: Path) -> None:
    """Write weights and what belongs to them as one safetensors file; same bytes for the same network."""
    from safetensors.numpy import save

    facts = {
        "format": FORMAT,
        "normalisation": asdict(network.normalisation),
        "classes": network.classes,
        "classes_untrained": network.classes_untrained,
        "held_back": asdict(network.held_back),
        "threads": network.threads,
    }
    # One key alone: safetensors writes several in random order (its issue 584).
    metadata = {METADATA: json.dumps(facts, sort_keys=True, allow_nan=False)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(dict(network.state), metadata))


def load_network(path: Path) -> ReferenceNetwork:
    """Read what :func:`save_network` wrote.

    Raises:
        DataError: when the file is missing, broken, no reference network or holds other tensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[METADATA])
            slices = {name: file.get_slice(name) for name in sorted(file.keys())}
            found = {name: (one.get_dtype(), *one.get_shape()) for name, one in slices.items()}
            _check_tensors(found, len(facts["classes"]))
            return _network(facts, {name: file.get_tensor(name) for name in slices})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no reference network: {type(error).__name__}: {error}",
            fix="rebuild it with `dvc repro reference`",
        ) from error


def _check_tensors(found: Mapping[str, tuple[Any, ...]], n_classes: int) -> None:
    state = small_cnn(n_classes).state_dict()
    expected = {name: ("F32", *value.shape) for name, value in state.items()}
    misfits = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if misfits:
        pair = f"{found.get(misfits[0])}, expected {expected.get(misfits[0])}"
        raise ValueError(f"{len(misfits)} tensors differ, first {misfits[0]}: {pair}")


def _network(facts: Mapping[str, Any], state: Mapping[str, FloatImages]) -> ReferenceNetwork:
    scale, held = Normalisation(**facts["normalisation"]), facts["held_back"]
    if facts["format"] != FORMAT:
        raise ValueError(f"format {facts['format']}, expected {FORMAT}")
    if not (0 < scale.floor < np.inf and np.isfinite(scale.mean) and 0 < scale.std < np.inf):
        raise ValueError(f"{scale}: expected finite numbers, floor and std above 0")
    if not isinstance(facts["classes"], list):
        raise ValueError(f"classes {facts['classes']!r}, expected a list")
    if not all(np.isfinite(value).all() for value in state.values()):
        raise ValueError("weights that are not finite")
    return ReferenceNetwork(
        state,
        scale,
        tuple(facts["classes"]),
        tuple(facts["classes_untrained"]),
        HeldBack(int(held["k"]), int(held["n"]), tuple(held["classes_without_chip"])),
        int(facts["threads"]),
    )


def _held_back(
    known: Sequence[str], probabilities: FloatImages, labels: Sequence[str], classes: Sequence[str]
) -> HeldBack:
    guesses = [known[place] for place in probabilities.argmax(axis=1)]
    right = sum(guess == label for guess, label in zip(guesses, labels, strict=True))
    return HeldBack(right, len(labels), tuple(name for name in classes if name not in labels))


def _check_input(
    images: Sequence[NDArray[np.floating]],
    labels: Sequence[str],
    folds: Sequence[int],
    classes: Sequence[str],
) -> None:
    if not len(images) == len(labels) == len(folds):
        raise DataError(
            f"reference network: {len(images)} chips, {len(labels)} labels and {len(folds)} folds",
            fix="give one label and one fold per chip",
        )
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise DataError(
            f"reference network: chips of classes {unknown}, expected some of {list(classes)}",
            fix="correct dataset.classes or the set",
        )
    for place, image in enumerate(images):
        _refuse_unfit(place, image)


def _refuse_unfit(place: int, image: NDArray[np.generic]) -> None:
    reason = why_unfit(image)
    if reason:
        raise DataError(
            f"reference network: chip {place} (counted from 0): {reason}",
            fix="leave such chips out, and say so beside the numbers",
        )
