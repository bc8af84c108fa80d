from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scene_plan import plan_chips, plan_scenes
from sarcurate.errors import DataError, LeakageError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, Header, open_chipset
from sarcurate.io.selection import read_selection
from sarcurate.params import Params, SimulatedSource, read_params
from sarcurate.stages import split

NAMES = ("source-train", "source-test", "target-train", "target-test")

SIDES = ("source", "target")


def _parts(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in NAMES}


def _open(parts: dict[str, Path], name: str) -> ChipSet:
    return open_chipset(parts[name], splits=(name.rpartition("-")[2],))


def _ids(chips: ChipSet) -> set[str]:
    return set(chips.manifest["chip_id"])


def _groups(chips: ChipSet) -> set[str]:
    return set(chips.manifest["group_id"])


def _write_set(
    root: Path, labels: list[str], groups: list[str], pixels: list[NDArray[np.float32]] | None = None
) -> Path:
    rng = np.random.default_rng(sum(root.name.encode()))
    header = Header("toy", Radiometry.INTENSITY, "all", (-20.0, 10.0))
    with ChipSetWriter(root, header) as writer:
        for index, (label, group) in enumerate(zip(labels, groups, strict=True)):
            chip = rng.exponential(size=(4, 4)).astype(np.float32) if pixels is None else pixels[index]
            row = {
                "chip_id": lineage.sha256_text(f"{root.name} {index}")[:24],
                "origin": "simulated",
                "label": label,
                "group_id": group,
                "source_path": str(index),
            }
            writer.add(row, chip)
    return root


# --- the tiny sets


@pytest.mark.parametrize("sensor", ["source", "target"])
def test_train_and_test_share_no_chip_no_group_and_no_picture(sensor: str, tiny_sets: Any) -> None:
    train, test = (_open(tiny_sets.parts(), f"{sensor}-{part}") for part in ("train", "test"))
    assert not _ids(train) & _ids(test)
    assert not _groups(train) & _groups(test)
    assert not set(train.manifest["pixels_sha256"]) & set(test.manifest["pixels_sha256"])
    assert set(train.manifest["split"]) == {"train"}
    assert set(test.manifest["split"]) == {"test"}


def test_every_chip_is_accounted_for(tiny_sets: Any) -> None:
    chips = {side: open_chipset(path, splits=("all",)) for side, path in tiny_sets.chips().items()}
    parts = {name: _open(tiny_sets.parts(), name) for name in NAMES}
    selection = read_selection(tiny_sets.selection())
    kept = {choice.chip_id for choice in selection.choices if choice.kept}
    assert {choice.chip_id for choice in selection.choices} == _ids(chips["source"]) | _ids(chips["target"])
    assert kept == set().union(*(_ids(part) for part in parts.values()))
    assert all(choice.reason for choice in selection.choices if not choice.kept)


def test_chips_are_taken_over_unchanged(tiny_sets: Any) -> None:
    whole = open_chipset(tiny_sets.chips()["target"], splits=("all",))
    for name in ("target-train", "target-test"):
        part = _open(tiny_sets.parts(), name)
        for row in part.rows():
            original = whole.manifest[whole.manifest["chip_id"] == row["chip_id"]].iloc[0]
            assert (part.root / row["file_name"]).read_bytes() == (
                whole.root / original["file_name"]
            ).read_bytes()
            assert row["pixels_sha256"] == original["pixels_sha256"]


def test_folds_are_whole_groups_and_only_in_train(tiny_sets: Any, tiny_params: Callable[..., Any]) -> None:
    for sensor in ("source", "target"):
        train = _open(tiny_sets.parts(), f"{sensor}-train").manifest
        assert set(train["fold"]) == set(range(tiny_params().split.folds))
        assert (train.groupby("group_id")["fold"].nunique() == 1).all()
        assert _open(tiny_sets.parts(), f"{sensor}-test").manifest["fold"].isna().all()


def test_a_split_repeats_and_follows_the_root_seed(
    tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    made = {}
    for name, seed in (("again", 2606), ("other", 1)):
        parts = _parts(tmp_path / name)
        params = tiny_params({"dataset.root_seed": seed})
        split.run(params, tiny_sets.chips(), parts, tmp_path / f"{name}.parquet")
        made[name] = [_open(parts, part).revision for part in NAMES]
    assert made["again"] == [_open(tiny_sets.parts(), part).revision for part in NAMES]
    assert made["other"] != made["again"]


# --- the default split


def _default_target(params: Params, root: Path) -> Path:
    """The chips that the default acquires of the target, with noise for pixels: same classes and passes."""
    source = params.acquire.target
    assert isinstance(source, SimulatedSource)
    seed = lineage.seed_from(params.dataset.root_seed, "scenes", "target")
    low_deg, high_deg = source.incidence_deg
    plan = plan_chips(source.chips_per_class, plan_scenes(source.scenes, (low_deg, high_deg), seed))
    return _write_set(
        root, [recipe.label for recipe in plan], [f"target-{recipe.scene.scene_id}" for recipe in plan]
    )


@pytest.fixture(scope="module")
def default_splits(
    repository: Path, tiny_sets: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, dict[str, Path]]:
    """Parts by train chips per class: the default 37, and 10."""
    folder = tmp_path_factory.mktemp("default")
    params = read_params(repository / "params.yaml")
    target = _default_target(params, folder / "target")
    classes, per_class = params.dataset.classes, 4
    source = _write_set(
        folder / "source", classes * per_class, [str(i) for i in range(per_class * len(classes))]
    )
    made = {}
    for count in (37, 10):
        parts = _parts(folder / str(count))
        side = params.split.target.model_copy(update={"train_per_class": count})
        changed = params.model_copy(update={"split": params.split.model_copy(update={"target": side})})
        split.run(changed, {"source": source, "target": target}, parts, folder / f"{count}.parquet")
        made[count] = parts
    return made


@pytest.mark.parametrize("count", [37, 10])
def test_the_default_gives_exactly_37_and_13(count: int, default_splits: dict[int, dict[str, Path]]) -> None:
    train, test = (_open(default_splits[count], f"target-{part}") for part in ("train", "test"))
    assert set(Counter(train.manifest["label"]).values()) == {count}
    assert set(Counter(test.manifest["label"]).values()) == {13}
    assert train.manifest["label"].nunique() == test.manifest["label"].nunique() == 7
    assert not _groups(train) & _groups(test)


def test_smaller_draws_lie_in_larger_ones_with_the_same_test_set(
    default_splits: dict[int, dict[str, Path]],
) -> None:
    small, large = (_open(default_splits[count], "target-train") for count in (10, 37))
    assert _ids(small) < _ids(large)
    one, other = (_open(default_splits[count], "target-test") for count in (10, 37))
    assert one.revision == other.revision


# --- duplicates


def test_a_turned_copy_stays_on_the_side_of_its_original(
    tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    labels = ["B-52", "F-16"] * 12
    groups = [f"g{index:02d}" for index in range(24)]
    pixels = [rng.exponential(size=(4, 4)).astype(np.float32) for _ in labels]
    for original, copy, turn in ((0, 2, 1), (1, 3, 2), (4, 6, 3), (5, 7, 0), (8, 10, 1), (9, 11, 2)):
        pixels[copy] = np.rot90(pixels[original].T if turn % 2 else pixels[original], turn).copy()
    both = {
        side: _write_set(tmp_path / side, labels, groups, pixels if side == "target" else None)
        for side in SIDES
    }
    params = tiny_params({"split.target.train_per_class": None, "split.target.test_fraction": 0.5})
    parts = _parts(tmp_path / "parts")
    split.run(params, both, parts, tmp_path / "split.parquet")
    where = {}
    for name in ("target-train", "target-test"):
        for row in _open(parts, name).rows():
            where[row["source_path"]] = (name, row["fold"], row["group_id"])
    for original, copy in ((0, 2), (1, 3), (4, 6), (5, 7), (8, 10), (9, 11)):
        assert where[str(original)] == where[str(copy)]


def _near_copy(chip: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same picture with another brightness curve, whole grey levels, and turned."""
    return np.ascontiguousarray(np.rot90(np.rint(60 * chip**0.4))).astype(np.float32)


def _large_chips(count: int, seed: int) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [rng.exponential(size=(24, 24)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("near", [True, False])
def test_a_near_copy_stays_with_its_original_where_params_say_so(
    near: bool, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    labels, groups = ["B-52", "F-16"] * 12, [f"g{index:02d}" for index in range(24)]
    pixels = _large_chips(24, 1)
    copies = {0: 2, 1: 3, 4: 6, 5: 7, 8: 10, 9: 11}
    for original, copy in copies.items():
        pixels[copy] = _near_copy(pixels[original])
    both = {
        side: _write_set(tmp_path / side, labels, groups, pixels if side == "target" else _large_chips(24, 2))
        for side in SIDES
    }
    settings = {
        "split.near_duplicates": near,
        "split.target.train_per_class": None,
        "split.target.test_fraction": 0.5,
    }
    parts = _parts(tmp_path / "parts")
    split.run(tiny_params(settings), both, parts, tmp_path / "split.parquet")
    group_of = {
        int(row["source_path"]): row["group_id"]
        for name in ("target-train", "target-test")
        for row in _open(parts, name).rows()
    }
    joined = dict(zip(range(24), groups, strict=True))
    if near:
        joined |= {copy: groups[original] for original, copy in copies.items()}
    assert group_of == joined


# --- what is refused


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_split_set_is_not_split_again(
    part: str, tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    chips = tiny_sets.chips() | {"target": tiny_sets.parts()[f"target-{part}"]}
    with pytest.raises(LeakageError, match=rf"holds \[?'{part}'\]? chips"):
        split.run(tiny_params(), chips, _parts(tmp_path / "parts"), tmp_path / "split.parquet")


def test_both_sensors_need_every_class(
    tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params = tiny_params()
    more = _with_classes(params, ["B-52", "F-15"])
    with pytest.raises(DataError, match=r"missing \['F-15'\], unknown \['F-16'\]"):
        split.run(more, tiny_sets.chips(), _parts(tmp_path / "parts"), tmp_path / "split.parquet")


def _with_classes(params: Params, classes: list[str]) -> Params:
    return params.model_copy(update={"dataset": params.dataset.model_copy(update={"classes": classes})})


def test_too_few_chips_to_train_on_is_an_error_naming_the_class(
    tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params = tiny_params({"split.target.train_per_class": 12})
    with pytest.raises(DataError, match=r"class (B-52|F-16): .*expected at least 12"):
        split.run(params, tiny_sets.chips(), _parts(tmp_path / "parts"), tmp_path / "split.parquet")


def test_a_class_in_one_group_is_an_error(tiny_params: Callable[..., Any], tmp_path: Path) -> None:
    labels = ["B-52", "F-16"] * 6
    groups = ["only" if label == "F-16" else f"g{index}" for index, label in enumerate(labels)]
    both = {side: _write_set(tmp_path / side, labels, groups) for side in SIDES}
    with pytest.raises(DataError, match="class F-16 lies in a single group"):
        split.run(tiny_params(), both, _parts(tmp_path / "parts"), tmp_path / "split.parquet")


def test_a_picture_of_both_sensors_is_refused(tiny_params: Callable[..., Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels, groups = ["B-52", "F-16"] * 6, [f"g{index}" for index in range(12)]
    pixels = {side: [rng.exponential(size=(4, 4)).astype(np.float32) for _ in labels] for side in SIDES}
    pixels["target"][5] = np.rot90(pixels["source"][2].T).copy()
    both = {side: _write_set(tmp_path / side, labels, groups, pixels[side]) for side in SIDES}
    with pytest.raises(
        LeakageError, match=r"share 1 pictures, for example 2 of the source and 5 of the target"
    ):
        split.run(tiny_params(), both, _parts(tmp_path / "parts"), tmp_path / "split.parquet")
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("near", [True, False])
def test_a_near_copy_in_the_other_sensor_is_refused_where_params_say_so(
    near: bool, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    labels, groups = ["B-52", "F-16"] * 12, [f"g{index}" for index in range(24)]
    pixels = {"source": _large_chips(24, 4), "target": _large_chips(24, 5)}
    pixels["target"][5] = _near_copy(pixels["source"][2])
    both = {side: _write_set(tmp_path / side, labels, groups, pixels[side]) for side in SIDES}
    params = tiny_params({"split.near_duplicates": near, "split.target.train_per_class": None})
    arguments = (params, both, _parts(tmp_path / "parts"), tmp_path / "split.parquet")
    if not near:
        assert split.run(*arguments)
        return
    expected = r"share 1 pictures, for example 2 of the source and 5 of the target \(near duplicates\)"
    with pytest.raises(LeakageError, match=expected) as refused:
        split.run(*arguments)
    assert "or set split.near_duplicates: false" in refused.value.fix
    assert not (tmp_path / "parts").exists()


def test_header_of_a_part_is_that_of_the_whole(tiny_sets: Any) -> None:
    whole = open_chipset(tiny_sets.chips()["target"], splits=("all",)).header
    assert _open(tiny_sets.parts(), "target-test").header == replace(whole, split="test")
