"""Quality of sets on simulated score tables whose truth is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from sarcurate.core.scorecard_columns import RING_COLUMNS, VECTOR
from sarcurate.core.set_metrics import frechet_distance, kid, mmd2_rbf, neighbours, signed_root
from sarcurate.errors import DataError, ParamsError
from sarcurate.io import set_quality as module
from sarcurate.io.set_quality import lines, set_quality

DISTANCES = (
    *("mmd_physics", "log_psd_distance", "median_enl_ln_ratio"),
    *("log_cumulant_2_ln_ratio", "wasserstein_ln"),
)
SHIFT = 0.8  # of the source in every measure, in standard deviations of the real chips


def scores(n: int, shift: float, seed: int, groups: int = 0, side: str = "made") -> pd.DataFrame:
    """Measures ``shift`` deviations off the real ones, enl e^(.3 shift), wasserstein_ln .1 + .5 shift."""
    rng = np.random.default_rng([seed, n])
    table = pd.DataFrame(rng.normal(shift, 1, (n, len(VECTOR))), columns=list(VECTOR))
    table["log_cumulant_2"] = np.exp(0.1 * table["log_cumulant_2"] + 0.2 * shift)
    table["enl"] = np.exp(rng.normal(0.3 * shift, 0.1, n))
    table["wasserstein_ln"] = 0.1 + 0.5 * shift + 0.02 * rng.random(n)
    table["chip_id"] = [f"{side}-{seed}-{i}" for i in range(n)]
    table["group_id"] = [f"{side}-{i % groups}" if groups else "" for i in range(n)]
    return table


def quality(real: pd.DataFrame, **sets: pd.DataFrame) -> dict[str, Any]:
    return set_quality(real, sets, None, level=0.95, draws=300, seed=5)


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """Real law, source, a set of the real law, and a half-and-half mixture."""
    half = pd.concat([scores(150, 0, 4), scores(150, SHIFT, 5)], ignore_index=True)
    sets = {"source": scores(300, SHIFT, 2), "alike": scores(300, 0, 3), "half": half}
    return set_quality(scores(400, 0, 1), sets, None, level=0.95, draws=400, seed=5)


def test_source_closes_nothing(known: dict[str, Any]) -> None:
    for name in DISTANCES:
        entry = known["sets"]["source"]
        ends = [entry[f"gap_closed_{name}{end}"] for end in ("", "_low", "_high")]
        assert ends == pytest.approx([0, 0, 0], abs=1e-12)


@pytest.mark.parametrize("name", DISTANCES)
def test_chips_of_the_real_law_close_the_gap(known: dict[str, Any], name: str) -> None:
    entry = known["sets"]["alike"]
    assert entry[f"gap_closed_{name}"] == pytest.approx(1, abs=0.15)
    assert entry[f"gap_closed_{name}_low"] - 0.05 <= 1.0 <= entry[f"gap_closed_{name}_high"] + 0.05


@pytest.mark.parametrize("name", DISTANCES)
def test_mixture_closes_half(known: dict[str, Any], name: str) -> None:
    entry = known["sets"]["half"]
    assert entry[f"gap_closed_{name}"] == pytest.approx(0.5, abs=0.15)
    assert entry[f"gap_closed_{name}_low"] <= 0.5 <= entry[f"gap_closed_{name}_high"]


@pytest.mark.parametrize("name", DISTANCES)
def test_estimates_lie_in_their_intervals(known: dict[str, Any], name: str) -> None:
    for entry in known["sets"].values():
        for one in (name, f"gap_closed_{name}"):
            assert entry[f"{one}_low"] <= entry[one] <= entry[f"{one}_high"]


def test_distances_are_those_the_simulation_has(known: dict[str, Any]) -> None:
    source = known["sets"]["source"]
    assert source["log_psd_distance"] == pytest.approx(SHIFT, abs=0.05)
    assert source["median_enl_ln_ratio"] == pytest.approx(0.3 * SHIFT, abs=0.02)
    # ln of the mean of a log-normal: .1 shift + .2 shift.
    assert source["log_cumulant_2_ln_ratio"] == pytest.approx(0.3 * SHIFT, abs=0.03)
    assert source["wasserstein_ln"] == pytest.approx(0.11 + 0.5 * SHIFT, abs=0.005)
    assert source["median_enl"] == pytest.approx(np.exp(0.3 * SHIFT), rel=0.02)
    assert known["real"]["median_enl_low"] <= 1.0 <= known["real"]["median_enl_high"]


def test_floor_is_real_against_real(known: dict[str, Any]) -> None:
    floor = known["floor"]
    assert floor["mmd_physics_low"] < 0 < floor["mmd_physics_high"]
    assert abs(floor["mmd_physics"]) < 0.1 * known["sets"]["source"]["mmd_physics"]
    # Means of halves of 200 differ by sqrt(2/200) = .1 per ring; a folded normal has .8 of that.
    assert floor["log_psd_distance"] == pytest.approx(0.08, abs=0.03)
    assert floor["wasserstein_ln"] == pytest.approx(0.11, abs=0.003)
    assert floor["precision"] == pytest.approx(floor["recall"], abs=0.06)
    assert known["sets"]["alike"]["coverage"] > 0.8 > known["sets"]["source"]["coverage"]


def test_numbers_are_those_of_the_core_measures() -> None:
    real, made = scores(40, 0, 1), scores(30, 0.5, 2)
    names = list(VECTOR)
    mean, std = real[names].mean().to_numpy(), real[names].std(ddof=0).to_numpy()
    x, y = ((one[names].to_numpy() - mean) / std for one in (real, made))
    rng = np.random.default_rng(0)
    features = {"target": rng.normal(size=(40, 6)), "source": rng.normal(size=(30, 6)) + 0.3}
    found = set_quality(real, {"source": made}, features, level=0.9, draws=20, seed=0)
    entry = found["sets"]["source"]
    assert entry["mmd_physics"] == pytest.approx(signed_root(mmd2_rbf(x, y, found["bandwidth_physics"])))
    assert entry["kid_features"] == pytest.approx(kid(features["target"], features["source"]))
    assert entry["recall"] == neighbours(x, y).recall
    assert entry["density_features"] == neighbours(features["target"], features["source"]).density
    frechet = frechet_distance(features["target"], features["source"])
    assert entry["frechet_features"] == pytest.approx(frechet.value)
    assert "fewer than 2,048" in entry["frechet_features_warning"]
    rings = list(RING_COLUMNS)
    assert entry["log_psd_distance"] == pytest.approx((real[rings].mean() - made[rings].mean()).abs().mean())
    assert entry["median_enl"] == pytest.approx(made["enl"].median())
    assert {"kid_features", "precision_features"} <= set(found["floor"])


def test_result_is_json_and_follows_the_seed() -> None:
    real, made = scores(60, 0, 1), scores(40, 1.0, 2)
    first, again = quality(real, source=made), quality(real, source=made)
    assert first == again
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    other = set_quality(real, {"source": made}, None, level=0.95, draws=300, seed=6)
    assert other["sets"]["source"]["mmd_physics"] == first["sets"]["source"]["mmd_physics"]
    assert other["sets"]["source"]["mmd_physics_low"] != first["sets"]["source"]["mmd_physics_low"]


def test_without_the_source_as_it_is_no_gap_is_spoken_of(known: dict[str, Any]) -> None:
    alone = set_quality(scores(400, 0, 1), {"alike": scores(300, 0, 3)}, None, level=0.95, draws=400, seed=5)
    entry = alone["sets"]["alike"]
    assert not [name for name in entry if name.startswith("gap_closed")]
    assert entry["log_psd_distance"] == known["sets"]["alike"]["log_psd_distance"]
    assert alone["floor"] == known["floor"]


def test_gap_of_squared_distances_is_told_on_their_roots() -> None:
    """Half the features real, half source: a quarter of the source's KID, but half of the gap."""
    rng = np.random.default_rng(1)
    features = {name: rng.normal(shift, 1, (200, 4)) for name, shift in (("target", 0), ("source", 1.5))}
    features["half"] = np.vstack([rng.normal(0, 1, (100, 4)), rng.normal(1.5, 1, (100, 4))])
    sets = {"source": scores(200, SHIFT, 2), "half": scores(200, 0, 3)}
    found = set_quality(scores(200, 0, 1), sets, features, level=0.95, draws=200, seed=0)["sets"]
    assert found["half"]["kid_features"] == pytest.approx(found["source"]["kid_features"] / 4, rel=0.25)
    assert found["half"]["gap_closed_kid_features"] == pytest.approx(0.5, abs=0.08)
    assert (
        found["half"]["gap_closed_kid_features_low"] <= 0.5 <= found["half"]["gap_closed_kid_features_high"]
    )


# --- groups


def test_sets_of_common_groups_share_their_draws() -> None:
    """A copy of the source under other chip ids closes nothing, in every draw, when groups tie the two."""
    real, source = scores(80, 0, 1, 20, "real"), scores(60, 1.0, 2, 12)
    copy = source.assign(chip_id=[f"copy-{i}" for i in range(60)])
    entry = quality(real, source=source, copy=copy)["sets"]["copy"]
    assert (entry["drawn_by"], entry["n_units"]) == ("groups", 12)
    assert [entry[f"gap_closed_mmd_physics{end}"] for end in ("_low", "_high")] == pytest.approx(
        [0, 0], abs=1e-9
    )
    apart = quality(real, source=source, copy=copy.assign(group_id=copy["group_id"] + "x"))["sets"]["copy"]
    assert apart["gap_closed_mmd_physics_low"] < 0 < apart["gap_closed_mmd_physics_high"]


def test_like_chips_of_a_group_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    real, source = scores(120, 0, 1), scores(80, 1.0, 2)
    vectors = rng.normal(1.0, 1.0, (8, len(VECTOR)))[np.arange(80) % 8]
    source[list(VECTOR)] = vectors + 0.05 * rng.normal(size=vectors.shape)
    source["log_cumulant_2"] = 1.0
    grouped = source.assign(group_id=[f"g{i % 8}" for i in range(80)])
    widths = []
    for table in (source, grouped):
        entry = quality(real, source=table)["sets"]["source"]
        widths.append(entry["log_psd_distance_high"] - entry["log_psd_distance_low"])
    # 8 groups of 10 copies: sqrt(10) times as wide in theory, less what the real chips add.
    assert widths[1] > 1.8 * widths[0]


def test_few_groups_are_drawn_chip_by_chip_and_said() -> None:
    found = quality(scores(40, 0, 1, 3, "real"), source=scores(30, 1.0, 2, 1))
    assert (found["real"]["drawn_by"], found["real"]["n_units"]) == ("chips", 40)
    assert (found["sets"]["source"]["drawn_by"], found["sets"]["source"]["n_units"]) == ("chips", 30)
    assert quality(scores(40, 0, 1, 4, "real"), source=scores(30, 1.0, 2, 2))["real"]["drawn_by"] == "groups"


# --- missing values


def test_chips_without_a_vector_are_counted_and_left_out() -> None:
    real, source, made = scores(60, 0, 1), scores(40, 1.0, 2), scores(40, 0.3, 3)
    holes = made.copy()
    holes.loc[:9, "texture_energy_1px"] = np.nan
    with_holes, without = (
        quality(real, source=source, made=one)["sets"]["made"] for one in (holes, made[10:])
    )
    assert (with_holes["n_chips"], with_holes["n_without_vector"]) == (40, 10)
    for name in ("mmd_physics", "precision", "density"):
        assert with_holes[name] == pytest.approx(without[name])
    assert with_holes["log_psd_distance"] != pytest.approx(without["log_psd_distance"])


def test_set_without_values_has_reasons() -> None:
    made = scores(30, 0.3, 3)
    made[["enl", *VECTOR, "wasserstein_ln"]] = np.nan
    entry = quality(scores(60, 0, 1), source=scores(40, 1.0, 2), made=made)["sets"]["made"]
    for name in DISTANCES:
        assert entry[name] is None
        assert entry[f"{name}_low"] is None
        assert "with a value" in entry[f"{name}_reason"]
        assert entry[f"gap_closed_{name}"] is None
        assert "no value" in entry[f"gap_closed_{name}_reason"]
    assert entry["median_enl_reason"] == "no chip has an ENL"
    assert entry["precision"] is None
    assert entry["precision_reason"] == "fewer than 6 chips to compare"
    assert (entry["n_without_vector"], entry["n_without_enl"]) == (30, 30)


def test_empty_set_has_reasons() -> None:
    features = {"target": np.ones((60, 2)), "source": np.zeros((40, 2)), "made": np.zeros((0, 2))}
    sets = {"source": scores(40, 1.0, 2), "made": scores(30, 0, 3)[:0]}
    found = set_quality(scores(60, 0, 1), sets, features, level=0.95, draws=50, seed=0)
    entry = found["sets"]["made"]
    assert entry["n_chips"] == 0
    assert entry["mmd_physics"] is None
    assert entry["kid_features"] is None
    assert entry["frechet_features_reason"] == "fewer than 2 chips"
    json.dumps(found, allow_nan=False)


def test_gap_needs_a_source_beyond_the_floor() -> None:
    entry = quality(scores(60, 0, 1), source=scores(60, 0, 2), made=scores(60, 0, 3))["sets"]["made"]
    assert entry["gap_closed_mmd_physics"] is None
    assert entry["gap_closed_mmd_physics_high"] is None
    assert "is not beyond the range of real halves (up to" in entry["gap_closed_mmd_physics_reason"]
    assert entry["mmd_physics"] is not None


# --- size


def test_large_sets_are_sampled_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAP_CHIPS", 50)
    rng = np.random.default_rng(0)
    features = {"target": rng.normal(size=(120, 3)), "source": rng.normal(size=(20, 3))}
    made = scores(20, 1.0, 2)
    found = set_quality(scores(120, 0, 1), {"source": made}, features, level=0.9, draws=50, seed=0)
    assert (found["cap_chips"], found["real"]["n_chips"], found["real"]["n_compared"]) == (50, 120, 50)
    assert found["sets"]["source"]["n_compared"] == 20
    # The Frechet distance needs no pairs of chips and takes them all.
    assert found["sets"]["source"]["frechet_features"] == pytest.approx(
        frechet_distance(features["target"], features["source"]).value
    )


# --- refusals


def features_of(**rows: int) -> dict[str, NDArray[np.float64]]:
    return {name: np.zeros((n, 2)) for name, n in rows.items()}


@pytest.mark.parametrize(
    ("sets", "features", "match"),
    [
        ({"source": 0, "target": 0}, None, "target means the real chips"),
        ({"source": 0}, features_of(source=30), r"features of \['source'\], expected \['source', 'target'\]"),
        (
            {"source": 0},
            features_of(source=29, target=30),
            r"features \(29, 2\) of source, which has 30 chips",
        ),
    ],
)
def test_inputs_are_refused(
    sets: dict[str, float], features: dict[str, NDArray[np.float64]] | None, match: str
) -> None:
    tables = {name: scores(30, shift, 2) for name, shift in sets.items()}
    with pytest.raises(DataError, match=match):
        set_quality(scores(30, 0, 1), tables, features, level=0.95, draws=10, seed=0)


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match="score table of source has no columns enl"):
        quality(scores(30, 0, 1), source=scores(30, 1, 2).drop(columns="enl"))


def test_too_few_real_chips_are_refused() -> None:
    real = scores(30, 0, 1)
    real.loc[7:, "mean_db"] = np.nan
    with pytest.raises(DataError, match="7 of 30 real train chips have a whole physics vector, expected 8"):
        quality(real, source=scores(30, 1, 2))


@pytest.mark.parametrize(("level", "draws", "match"), [(1.0, 10, "level 1.0"), (0.9, 0, "draws=0")])
def test_settings_are_refused(level: float, draws: int, match: str) -> None:
    with pytest.raises(ParamsError, match=match):
        set_quality(scores(20, 0, 1), {"source": scores(20, 1, 2)}, None, level=level, draws=draws, seed=0)


# --- lines


def test_lines_are_an_aligned_table(known: dict[str, Any]) -> None:
    said = lines(known)
    assert [line.split("  ")[0] for line in said] == ["set", "real halves", "source", "alike", "half"]
    assert len({len(line) for line in said}) == 1
    half = known["sets"]["half"]
    assert f"{half['mmd_physics']:.3f}" in said[4]
    assert f"{half['gap_closed_mmd_physics']:.0%}" in said[4]
    assert f"{half['median_enl']:.2f}" in said[4]


def test_lines_say_where_there_is_no_number() -> None:
    said = lines(quality(scores(60, 0, 1), source=scores(60, 0, 2)))
    assert "n/a" in said[2]
