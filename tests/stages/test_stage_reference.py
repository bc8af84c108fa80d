from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.physics_vector import fit_standard, physics_distance
from sarcurate.core.scorecard import VECTOR, fit_yardstick, scorecard
from sarcurate.errors import LeakageError
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.reference import NETWORK, Reference, open_reference
from sarcurate.io.score_table import IDENTITY
from sarcurate.io.scoring import context_of
from sarcurate.io.sensors import load_profile
from sarcurate.models.reference_network import load_network
from sarcurate.stages import reference

SIDES = ("source", "target")


def _train(tiny_sets: Any, side: str) -> ChipSet:
    return open_chipset(tiny_sets.parts()[f"{side}-train"], splits=("train",))


def _outputs(folder: Path) -> dict[str, Path]:
    return {side: folder / side for side in SIDES}


def _train_paths(tiny_sets: Any, **swapped: Path) -> dict[str, Path]:
    return {side: tiny_sets.parts()[f"{side}-train"] for side in SIDES} | swapped


@pytest.fixture(scope="module")
def target(tiny_judged: Any) -> Reference:
    return open_reference(tiny_judged.references()["target"])


@pytest.mark.parametrize("side", SIDES)
def test_a_reference_describes_the_train_chips_it_was_fitted_on(
    side: str, tiny_sets: Any, tiny_judged: Any
) -> None:
    chips, folder = _train(tiny_sets, side), tiny_judged.references()[side]
    found = open_reference(folder)
    assert (found.sensor, found.radiometry) == (chips.header.sensor, chips.header.radiometry)
    assert (found.chipset_revision, found.n_chips) == (chips.revision, len(chips.manifest))
    for name in IDENTITY:
        assert found.train_scores[name].tolist() == chips.manifest[name].tolist(), name
    network = load_network(folder / NETWORK)
    assert found.network_accuracy == (network.held_back.k, network.held_back.n)
    assert network.held_back.n == (chips.manifest["fold"] == 0).sum()


def test_a_second_run_writes_the_same_bytes_for_any_number_of_workers(
    tiny_sets: Any,
    tiny_judged: Any,
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reference, "cpu_count", lambda: 1)
    said = reference.run(tiny_params(), _train_paths(tiny_sets), _outputs(tmp_path))
    for side, first in tiny_judged.references().items():
        names = sorted(path.name for path in first.iterdir())
        assert names == sorted(path.name for path in (tmp_path / side).iterdir())
        assert NETWORK in names
        for name in names:
            assert (tmp_path / side / name).read_bytes() == (first / name).read_bytes(), (side, name)
    assert any("16 train chips" in line for line in said)


def test_content_and_confidence_of_the_params_are_those_of_the_limits(
    target: Reference, tiny_params: Callable[..., Any]
) -> None:
    section = tiny_params().reference
    assert (target.content, target.confidence) == (section.content, section.confidence)
    for limits in target.limits.values():
        for limit in (limits.lower, limits.upper, limits.both_low, limits.both_high):
            assert limit is None or limit.content == section.content


def test_every_chip_is_measured_by_the_chips_of_the_other_folds(
    target: Reference, tiny_sets: Any, tiny_params: Callable[..., Any]
) -> None:
    chips = _train(tiny_sets, "target")
    profile = load_profile(tiny_params().dataset.target.profile)
    table = target.train_scores
    for fold in (0, 1):
        ids = chips.manifest["chip_id"][chips.manifest["fold"] != fold]
        others = fit_yardstick([chips.intensity(chip_id) for chip_id in ids])
        standard = fit_standard(table.loc[table["fold"] != fold, list(VECTOR)])
        for _, row in table[table["fold"] == fold].head(3).iterrows():
            card = scorecard(chips.intensity(row["chip_id"])[None], context_of(chips, profile), others)
            for name in ("log_psd_distance", "polar_psd_distance", "wasserstein_ln", "correlation_distance"):
                assert row[name] == pytest.approx(card[name].values[0], rel=1e-9), name
            vector = row[list(VECTOR)].to_numpy(np.float64)
            expected = physics_distance(vector[None], standard)[0]
            assert row["physics_distance"] == pytest.approx(expected, rel=1e-9)


def test_distances_to_ones_own_pool_would_be_smaller(target: Reference) -> None:
    vectors = target.train_scores[list(VECTOR)].to_numpy(np.float64)
    inside = physics_distance(vectors, target.standard)
    assert np.median(inside) < target.floors["physics_distance"]


def test_limits_are_the_extremes_of_the_table_where_chips_are_few(target: Reference) -> None:
    """Of 16 chips the extreme one is a limit of 99 % with confidence 1 - .99^16; two-sided is weaker."""
    n, content = target.n_chips, 0.99
    one, two = 1 - content**n, 1 - n * content ** (n - 1) + (n - 1) * content**n
    for name in ("mean_db", "enl", "log_psd_distance", "physics_distance", "ghost_z", "memorisation_ratio"):
        values, limits = target.train_scores[name], target.limits[name]
        assert values.notna().all()
        ends = (limits.lower, limits.upper, limits.both_low, limits.both_high)
        assert all(end is not None for end in ends), name
        found = [(end.value, end.n) for end in ends if end is not None]
        assert found == [(extreme, n) for extreme in [values.min(), values.max()] * 2], name
        sure = [end.confidence for end in ends if end is not None]
        assert sure == pytest.approx([one, one, two, two], abs=1e-12)


def test_floors_are_medians_of_left_out_chips(target: Reference) -> None:
    names = {"log_psd_distance", "polar_psd_distance", "wasserstein_ln", "correlation_distance"}
    assert set(target.floors) == names | {"physics_distance"}
    for name, floor in target.floors.items():
        assert floor == np.median(target.train_scores[name])


def test_typical_memorisation_is_one(target: Reference) -> None:
    assert target.train_scores["memorisation_ratio"].median() == pytest.approx(1.0)


def test_the_classes_probability_is_told_of_held_back_chips_alone(target: Reference) -> None:
    table = target.train_scores
    assert table["class_probability"].notna().tolist() == (table["fold"] == 0).tolist()
    assert table["class_probability"].dropna().between(0, 1).all()


def test_another_root_seed_draws_other_ghosts_and_leaves_the_measures(
    target: Reference, tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params = tiny_params({"dataset.root_seed": 3})
    reference.run(params, {"target": tiny_sets.parts()["target-train"]}, {"target": tmp_path / "target"})
    again = open_reference(tmp_path / "target")
    assert again.train_scores["enl"].equals(target.train_scores["enl"])
    assert not again.train_scores["ghost_z"].equals(target.train_scores["ghost_z"])
    assert not np.array_equal(again.features, target.features)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("split", ["test", "all"])
def test_nothing_but_train_chips_is_fitted_on(
    side: str, split: str, tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    known = tiny_sets.parts() | {f"{name}-all": path for name, path in tiny_sets.chips().items()}
    train = _train_paths(tiny_sets, **{side: known[f"{side}-{split}"]})
    with pytest.raises(LeakageError, match=r"only \['train'\] may be read here"):
        reference.run(tiny_params(), train, _outputs(tmp_path))
    assert list(tmp_path.iterdir()) == []
