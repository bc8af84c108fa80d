from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from sarcurate.errors import DataError
from sarcurate.models import reference_network, small_cnn
from sarcurate.models.reference_network import NetworkSettings, ReferenceNetwork

CLASSES = ("ridge", "tank", "ship")
SETTINGS = NetworkSettings(updates=30, batch_size=12, learning_rate=3e-3, threads=1)
SIZES = ((32, 32), (20, 24))


def _chip(label: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One-look speckle with a bright line along rows, a bright block or nothing."""
    mean = np.ones(shape)
    if label == "ridge":
        mean[:, 9:12] = 60
    if label == "tank":
        mean[6:14, 6:14] = 60
    return (mean * rng.exponential(size=shape) * 1e-3).astype(np.float32)


def _set(per_class: int, seed: int = 0) -> tuple[list[np.ndarray], list[str], list[int]]:
    rng = np.random.default_rng(seed)
    labels = [name for name in CLASSES for _ in range(per_class)]
    images = [_chip(name, SIZES[place % 2], rng) for place, name in enumerate(labels)]
    return images, labels, [place % 5 for place in range(len(labels))]


def _quiet(_update: int, _loss: float) -> None:
    pass


def _train(settings: NetworkSettings = SETTINGS, seed: int = 1, **changes: Any) -> ReferenceNetwork:
    images, labels, folds = _set(15)
    given_ = {"images": images, "labels": labels, "folds": folds, "classes": CLASSES} | changes
    return reference_network.train_network(**given_, settings=settings, seed=seed, on_update=_quiet)


@pytest.fixture(scope="module")
def network() -> ReferenceNetwork:
    return _train()


SHORT = replace(SETTINGS, updates=2)


# --- normalisation


def test_normalised_train_chips_have_mean_0_and_spread_1() -> None:
    chips = [np.random.default_rng(i).exponential(size=(20, 30 + i)) for i in range(4)]
    scale = reference_network.fit_normalisation(chips)
    seen = np.concatenate([scale.apply(chip).ravel() for chip in chips])
    assert seen.mean() == pytest.approx(0, abs=1e-5)
    assert seen.std() == pytest.approx(1, abs=1e-5)


def test_the_floor_is_the_0_1_percentile_of_pixels_above_zero() -> None:
    positive = np.linspace(1, 1001, 1001)
    chip = np.concatenate([positive, np.zeros(1001)]).reshape(2, -1)
    scale = reference_network.fit_normalisation([chip])
    assert scale.floor == pytest.approx(2)
    assert scale.apply(np.zeros((1, 1)))[0, 0] == scale.apply(np.full((1, 1), 2.0))[0, 0]


@given(st.floats(-40, 40))
def test_normalised_pixels_do_not_follow_a_gain_of_the_sensor(gain_db: float) -> None:
    chip = np.random.default_rng(0).exponential(size=(20, 20))
    louder = chip * 10 ** (gain_db / 10)
    one, other = (reference_network.fit_normalisation([image]).apply(image) for image in (chip, louder))
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_train_chips_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="constant"):
        reference_network.fit_normalisation([np.full((20, 20), value)])


def test_held_back_chips_do_not_touch_the_normalisation() -> None:
    images, _, folds = _set(15)
    louder = [image * (1000 if fold == 0 else 1) for image, fold in zip(images, folds, strict=True)]
    one = _train(SHORT)
    other = _train(SHORT, images=louder)
    assert one.normalisation == other.normalisation
    for name in one.state:
        np.testing.assert_array_equal(one.state[name], other.state[name])


# --- batches


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 9), st.integers()
)
def test_classes_and_chips_of_a_class_are_drawn_alike(
    labels: list[int], updates: int, batch_size: int, seed: int
) -> None:
    truth = np.array(labels)
    rng = np.random.default_rng(abs(seed))
    plan = small_cnn.balanced_plan(truth, updates, batch_size, rng)
    assert plan.shape == (updates, batch_size)
    chips = Counter(plan.ravel().tolist())
    per_class = [sum(chips[i] for i in np.flatnonzero(truth == name)) for name in set(labels)]
    assert max(per_class) - min(per_class) <= 1
    for name in set(labels):
        counts = [chips[i] for i in np.flatnonzero(truth == name)]
        assert max(counts) - min(counts) <= 1


@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 99))
def test_jitter_moves_a_chip_by_a_sixteenth_at_most_and_changes_its_gain(
    rows: int, cols: int, seed: int
) -> None:
    image = np.random.default_rng(seed).normal(size=(rows, cols)).astype(np.float32)
    moved = small_cnn.jitter(image, 0.5, np.random.default_rng(seed))
    assert moved.shape == image.shape
    assert moved.dtype == np.float32
    most = round(min(rows, cols) / 16)
    fits = []
    for row in range(-most, most + 1):
        for col in range(-most, most + 1):
            inner = moved[most:-most, most:-most]
            source = image[most + row : rows - most + row, most + col : cols - most + col]
            fits.append(np.ptp(inner - source) < 1e-5 and abs((inner - source).mean()) <= 0.5)
    assert sum(fits) == 1


def test_jitter_reaches_every_shift_and_both_signs_of_gain() -> None:
    image = np.arange(32 * 32, dtype=np.float32).reshape(32, 32)
    rng = np.random.default_rng(0)
    moved = [small_cnn.jitter(image, 0.4, rng) for _ in range(400)]
    steps = [np.float32(one[16, 16] - image[16, 16]) for one in moved]
    shifts = {round(float(step)) for step in steps}
    assert shifts == {32 * row + col for row in range(-2, 3) for col in range(-2, 3)}
    gains = [float(step) - round(float(step)) for step in steps]
    assert min(gains) < -0.35
    assert max(gains) > 0.35


def test_the_learning_rate_warms_up_over_a_tenth_and_falls_to_nothing() -> None:
    factor = small_cnn.warmup_cosine(100)
    assert [factor(update) for update in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert factor(55) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0.0)
    assert all(factor(update) > factor(update + 1) for update in range(10, 100))


def test_schedule_and_gain_jitter_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _train(SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(small_cnn, "warmup_cosine", lambda _updates: lambda update: 1.0 - 0.5 * (update > 0))
        halved = _train(SHORT)
        patch.setattr(small_cnn, "warmup_cosine", lambda _updates: lambda _update: 1.0)
        assert not _same(halved, _train(SHORT))
    monkeypatch.setattr(reference_network, "GAIN_JITTER_DB", 2.0)
    assert not _same(plain, _train(SHORT))


# --- what it learns


def test_it_learns_shapes_and_says_how_well_on_fold_0(network: ReferenceNetwork) -> None:
    assert network.held_back.n == 9
    assert network.held_back.k >= 8
    assert network.held_back.classes_without_chip == ()
    images, labels, _ = _set(10, seed=9)
    _, probabilities = reference_network.outputs(network, images)
    right = [network.classes[i] for i in probabilities.argmax(axis=1)] == np.array(labels)
    assert right.mean() > 0.9


def test_held_back_accuracy_counts_chips_of_fold_0_alone(network: ReferenceNetwork) -> None:
    images, labels, folds = _set(15)
    held = [i for i, fold in enumerate(folds) if fold == 0]
    _, probabilities = reference_network.outputs(network, [images[i] for i in held])
    guesses = [CLASSES[i] for i in probabilities.argmax(axis=1)]
    assert network.held_back.k == sum(guess == labels[i] for guess, i in zip(guesses, held, strict=True))


def test_wrong_labels_in_fold_0_show_in_its_accuracy_and_in_nothing_else() -> None:
    _, labels, folds = _set(15)
    turned = {"ridge": "tank", "tank": "ship", "ship": "ridge"}
    wrong = [turned[name] if fold == 0 else name for name, fold in zip(labels, folds, strict=True)]
    other = _train(labels=wrong)
    assert other.held_back.k <= 1
    assert other.held_back.n == 9


def test_the_loss_is_told_and_falls() -> None:
    losses: list[float] = []
    images, labels, folds = _set(15)
    reference_network.train_network(
        images, labels, folds, CLASSES, SETTINGS, 1, lambda update, loss: losses.append(loss)
    )
    assert len(losses) == SETTINGS.updates
    assert losses[0] == pytest.approx(np.log(3), rel=0.2)
    assert np.mean(losses[-5:]) < 0.5


def test_a_class_missing_in_fold_0_is_said() -> None:
    _, labels, folds = _set(15)
    moved = [1 if name == "tank" else fold for name, fold in zip(labels, folds, strict=True)]
    network = _train(SHORT, folds=moved)
    assert network.held_back.classes_without_chip == ("tank",)
    assert network.held_back.n == 6


def test_without_fold_0_there_is_no_accuracy() -> None:
    held = _train(SHORT, folds=[1] * 45).held_back
    assert (held.k, held.n, held.classes_without_chip) == (0, 0, CLASSES)


def test_a_class_without_chips_to_train_on_is_said_and_never_predicted() -> None:
    _, labels, folds = _set(15)
    moved = [0 if name == "tank" else fold for name, fold in zip(labels, folds, strict=True)]
    network = _train(SHORT, folds=moved)
    assert network.classes == ("ridge", "ship")
    assert network.classes_untrained == ("tank",)
    assert network.held_back.n == 15 + 6
    assert network.held_back.k <= 6
    assert reference_network.outputs(network, _set(2)[0])[1].shape == (6, 2)


# --- determinism


def _same(one: ReferenceNetwork, other: ReferenceNetwork) -> bool:
    return all(np.array_equal(one.state[name], other.state[name]) for name in one.state)


def test_training_repeats_bit_by_bit_and_follows_the_seed() -> None:
    first = _train(SHORT)
    assert _same(first, _train(SHORT))
    assert not _same(first, _train(SHORT, seed=2))


def test_weights_move_and_are_plain_single_precision(network: ReferenceNetwork) -> None:
    assert not _same(network, _train(SHORT))
    assert {value.dtype for value in network.state.values()} == {np.dtype(np.float32)}
    assert sum(value.size for value in network.state.values()) <= 300_000


def test_a_chip_does_not_feel_its_batch(network: ReferenceNetwork) -> None:
    images, _, _ = _set(30)  # 45 of each size: one whole batch and a padded one
    features, probabilities = reference_network.outputs(network, images)
    assert features.shape == (90, small_cnn.FEATURES)
    assert features.dtype == probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    turned = np.random.default_rng(0).permutation(90)
    again = reference_network.outputs(network, [images[i] for i in turned])
    np.testing.assert_array_equal(again[0], features[turned])
    np.testing.assert_array_equal(again[1], probabilities[turned])
    alone = reference_network.outputs(network, images[7:8])
    np.testing.assert_array_equal(alone[0], features[7:8])


def test_images_may_come_one_by_one(network: ReferenceNetwork) -> None:
    images, _, _ = _set(5)
    one, other = (reference_network.outputs(network, source) for source in (images, iter(images)))
    np.testing.assert_array_equal(one[0], other[0])
    none = reference_network.outputs(network, [])
    assert none[0].shape == (0, small_cnn.FEATURES)
    assert none[1].shape == (0, 3)


def test_features_tell_classes_apart(network: ReferenceNetwork) -> None:
    images, labels, _ = _set(10, seed=5)
    features, _ = reference_network.outputs(network, images)
    means = {name: features[np.array(labels) == name].mean(axis=0) for name in CLASSES}
    spread = np.mean([np.linalg.norm(row - means[name]) for row, name in zip(features, labels, strict=True)])
    assert np.linalg.norm(means["ridge"] - means["tank"]) > spread


def test_probabilities_are_the_softmax_of_the_head_on_the_features(network: ReferenceNetwork) -> None:
    features, probabilities = reference_network.outputs(network, _set(3)[0])
    weight, bias = network.state["head.1.weight"], network.state["head.1.bias"]
    logits = np.maximum(features, 0).astype(np.float64) @ weight.T + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (16, 40), (97, 33)])
def test_any_size_from_16_px_works(shape: tuple[int, int], network: ReferenceNetwork) -> None:
    chip = np.random.default_rng(0).exponential(size=shape)
    features, _ = reference_network.outputs(network, [chip])
    assert np.isfinite(features).all()


def test_constant_and_empty_chips_have_features(network: ReferenceNetwork) -> None:
    features, probabilities = reference_network.outputs(network, [np.zeros((32, 32)), np.full((32, 32), 5.0)])
    assert np.isfinite(features).all()
    assert np.isfinite(probabilities).all()


# --- bad input


GOOD = np.ones((16, 16), np.float32)


def _with(value: float) -> np.ndarray:
    chip = GOOD.copy()
    chip[3, 4] = value
    return chip


BAD = {
    "non-finite": _with(np.nan),
    "non-finite pixels": _with(np.inf),
    "negative": _with(-1e-9),
    "smaller than 16 px": GOOD[:, :15],
    r"expected \(rows, cols\)": GOOD[None],
    "complex64": GOOD.astype(np.complex64),
}


def test_a_fit_chip_has_no_reason() -> None:
    assert reference_network.why_unfit(GOOD) == ""
    assert reference_network.why_unfit(GOOD.astype(np.uint16)) == ""


@pytest.mark.parametrize("said", BAD)
def test_chips_it_cannot_look_at_are_named(said: str, network: ReferenceNetwork) -> None:
    with pytest.raises(DataError, match=said) as caught:
        reference_network.outputs(network, [GOOD, BAD[said]])
    assert "chip 1 " in str(caught.value)
    images, _, _ = _set(15)
    with pytest.raises(DataError, match=said):
        _train(SHORT, images=[*images[:44], BAD[said]])


def test_unknown_classes_and_uneven_lists_are_refused() -> None:
    with pytest.raises(DataError, match="'ship'"):
        _train(SHORT, classes=CLASSES[:2])
    with pytest.raises(DataError, match="45 chips, 45 labels and 44 folds"):
        _train(SHORT, folds=[1] * 44)


@pytest.mark.parametrize("fold", [0, 1])
def test_fewer_than_two_classes_to_train_on_are_refused(fold: int) -> None:
    _, labels, _ = _set(15)
    with pytest.raises(DataError, match=r"are of [01] classes, expected 2 or more"):
        _train(SHORT, labels=["tank"] * len(labels), folds=[fold] * len(labels))


def test_a_diverging_loss_is_an_error() -> None:
    with pytest.raises(DataError, match=r"loss became .* at update"):
        _train(replace(SHORT, updates=8, learning_rate=1e30))


# --- files


def test_a_file_holds_the_whole_network(network: ReferenceNetwork, tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "network.safetensors"
    reference_network.save_network(network, path)
    back = reference_network.load_network(path)
    assert _same(network, back)
    assert asdict(replace(back, state={})) == asdict(replace(network, state={}))
    images, _, _ = _set(2)
    np.testing.assert_array_equal(
        reference_network.outputs(back, images)[0], reference_network.outputs(network, images)[0]
    )


def test_the_same_network_gives_the_same_bytes(network: ReferenceNetwork, tmp_path: Path) -> None:
    turned = replace(network, state=dict(reversed(list(network.state.items()))))
    for name, one in (("a", network), ("b", turned)):
        reference_network.save_network(one, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


Tensors = dict[str, np.ndarray]


def _no_bias(tensors: Tensors, _facts: Any) -> None:
    del tensors["head.1.bias"]


def _extra(tensors: Tensors, _facts: Any) -> None:
    tensors["extra"] = np.zeros(3, np.float32)


def _shape(tensors: Tensors, _facts: Any) -> None:
    tensors["head.1.bias"] = np.zeros(4, np.float32)


def _half(tensors: Tensors, _facts: Any) -> None:
    tensors["head.1.bias"] = tensors["head.1.bias"].astype(np.float16)


def _nan(tensors: Tensors, _facts: Any) -> None:
    tensors["head.1.bias"][0] = np.nan


def _setting(key: str, value: Any) -> Callable[[Tensors, Any], None]:
    return lambda _tensors, facts: facts.update({key: value})


BROKEN = {
    "1 tensors differ, first head.1.bias: None": _no_bias,
    "1 tensors differ, first extra": _extra,
    r"first head.1.bias: \('F32', 4\), expected \('F32', 3\)": _shape,
    "first head.1.bias: .'F16'": _half,
    "weights that are not finite": _nan,
    "format 2, expected 1": _setting("format", 2),
    "std above 0": _setting("normalisation", {"floor": 1.0, "mean": 0.0, "std": 0.0}),
    "expected finite numbers": _setting("normalisation", {"floor": 1.0, "mean": float("nan"), "std": 1.0}),
    "floor and std": _setting("normalisation", {"floor": 0.0, "mean": 0.0, "std": 1.0}),
    "TypeError": _setting("normalisation", {"floor": 1.0}),
    "KeyError: 'n'": _setting("held_back", {"k": 1}),
    "classes": _setting("classes", "abc"),
}


@pytest.fixture
def saved(network: ReferenceNetwork, tmp_path: Path) -> Path:
    reference_network.save_network(network, tmp_path / "network.safetensors")
    return tmp_path / "network.safetensors"


@pytest.mark.parametrize("said", BROKEN)
def test_files_of_other_content_are_refused(said: str, saved: Path, network: ReferenceNetwork) -> None:
    tensors = load_file(saved)
    length = int.from_bytes(saved.read_bytes()[:8], "little")
    header = json.loads(saved.read_bytes()[8 : 8 + length])
    facts = json.loads(header["__metadata__"][reference_network.METADATA])
    BROKEN[said](tensors, facts)
    save_file(tensors, saved, {reference_network.METADATA: json.dumps(facts)})
    with pytest.raises(DataError, match=said) as caught:
        reference_network.load_network(saved)
    assert str(saved) in str(caught.value)
    assert "dvc repro reference" in caught.value.fix


@pytest.mark.parametrize("cut", [None, 0, 7, 200, -4])
def test_missing_and_cut_files_are_refused(cut: int | None, saved: Path) -> None:
    content = saved.read_bytes()
    saved.unlink() if cut is None else saved.write_bytes(content[:cut])
    with pytest.raises(DataError, match="is no reference network"):
        reference_network.load_network(saved)


@pytest.mark.parametrize("metadata", [None, {"other": "x"}, {reference_network.METADATA: "[]"}])
def test_other_safetensors_files_are_refused(metadata: dict[str, str] | None, saved: Path) -> None:
    save_file(load_file(saved), saved, metadata)
    with pytest.raises(DataError, match="is no reference network"):
        reference_network.load_network(saved)
