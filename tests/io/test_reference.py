from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.physics_vector import VectorStandard
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import VECTOR, Yardstick, fit_yardstick
from sarcurate.core.statistics import Interval
from sarcurate.core.tolerance import Limit
from sarcurate.errors import DataError
from sarcurate.io import reference as module
from sarcurate.io.measure_limits import limit_line, limits_from
from sarcurate.io.reference import MeasureLimits, PassRates, Reference, open_reference, write_reference

N = 6


def _yardstick(rng: np.random.Generator) -> Yardstick:
    shapes = module.YARDSTICK_SHAPES
    return Yardstick(ln_floor=1e-7 / 3, **{name: rng.normal(size=shape) for name, shape in shapes.items()})


def _limit(value: float, confidence: float = 0.926, n: int = N) -> Limit:
    return Limit(value, 0.99, confidence, n)


def _limits() -> dict[str, MeasureLimits]:
    rates = PassRates(Interval(1.0, 0.9, 1.0), Interval(0.988, 0.967, 0.9964), None)
    return {
        "enl": MeasureLimits(_limit(2.1), _limit(4.81234), _limit(2.0, 0.7), _limit(4.9, 0.7), rates),
        "hf_energy_ratio": MeasureLimits(_limit(0.1, n=5), _limit(1 / 3, n=5), None, None, None),
    }


def _scores(rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chip_id": [f"{i:02d}" for i in range(N)],
            "pixels_sha256": [64 * f"{i}" for i in range(N)],
            "label": ["a", "b"] * (N // 2),
            "origin": "real",
            "group_id": [f"g{i // 2}" for i in range(N)],
            "fold": np.arange(N, dtype=np.int64) % 3,
            "enl": np.where(np.arange(N) == 2, np.nan, rng.gamma(3, size=N)),
            "mean_db": rng.normal(size=N),
            "reasons": ['{"enl": "no homogeneous area"}' if i == 2 else "" for i in range(N)],
        }
    )


def _reference() -> Reference:
    rng = np.random.default_rng(5)
    d = len(VECTOR)
    return Reference(
        sensor="fucheng1-sim",
        radiometry=Radiometry.SIGMA0,
        chipset_revision="ab" * 32,
        n_chips=N,
        yardstick=_yardstick(rng),
        standard=VectorStandard(rng.normal(size=d), rng.gamma(2, size=d), rng.normal(size=(d, d))),
        intensity_limits_db=(-31.4159, 8.1),
        content=0.99,
        confidence=0.9,
        limits=_limits(),
        floors={"mmd": 0.01, "kid": 1 / 7},
        network_accuracy=(4, 5),
        train_scores=_scores(rng),
        features=rng.normal(size=(N, 64)).astype(np.float32),
    )


@pytest.fixture
def good() -> Reference:
    return _reference()


@pytest.fixture
def folder(good: Reference, tmp_path: Path) -> Path:
    write_reference(tmp_path / "data" / "target", good)
    return tmp_path / "data" / "target"


# --- round trip


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and np.array_equal(one, other))
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
        return True
    if isinstance(one, Yardstick | VectorStandard):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(one == other and type(one) is type(other))


def test_a_reference_comes_back_bit_by_bit(good: Reference, folder: Path) -> None:
    back = open_reference(folder)
    for field in fields(Reference):
        assert _same(getattr(good, field.name), getattr(back, field.name)), field.name


def test_the_same_content_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_reference(tmp_path / "again", open_reference(folder))
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_all_arrays_of_a_yardstick_and_a_standard_are_kept() -> None:
    floats = {"ln_floor"}
    assert {f.name for f in fields(Yardstick)} == set(module.YARDSTICK_SHAPES) | floats
    assert {f.name for f in fields(VectorStandard)} == set(module.STANDARD_SHAPES)


def test_a_fitted_yardstick_has_the_shapes_that_are_kept(good: Reference, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fitted = fit_yardstick([rng.exponential(size=(40, 32 + 2 * (i % 2))) for i in range(4)])
    write_reference(tmp_path / "out", replace(good, yardstick=fitted))
    assert _same(fitted, open_reference(tmp_path / "out").yardstick)


def test_the_header_is_sorted_and_its_numbers_finite(folder: Path) -> None:
    text = (folder / module.HEADER).read_text()
    header = json.loads(text)
    assert text == json.dumps(header, indent=2, sort_keys=True, allow_nan=False) + "\n"
    assert header["limits"]["enl"]["upper"] == {
        "confidence": 0.926,
        "content": 0.99,
        "n": N,
        "value": 4.81234,
    }


def test_no_pickle_is_written(folder: Path) -> None:
    kept = {path.name: np.load(path, allow_pickle=False) for path in folder.glob("*.npy")}
    assert len(kept) == len(module.YARDSTICK_SHAPES) + len(module.STANDARD_SHAPES) + 1
    assert kept["features.npy"].dtype == np.float32


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 10**6))
def test_limits_come_back_from_plain_form(value: float, n: int) -> None:
    whole = {"value": value, "content": 0.9, "confidence": 0.5, "n": n}
    facts = {"lower": whole, "upper": None, "both_low": None, "both_high": None, "left_out_pass_rate": None}
    expected = MeasureLimits(Limit(value, 0.9, 0.5, n), None, None, None, None)
    assert limits_from(json.loads(json.dumps(facts))) == expected


# --- writing what must not be written


def test_a_folder_in_use_is_refused(good: Reference, folder: Path, tmp_path: Path) -> None:
    before = (folder / module.HEADER).read_bytes()
    with pytest.raises(DataError, match="is not empty"):
        write_reference(folder, good)
    assert (folder / module.HEADER).read_bytes() == before


def test_the_network_may_be_there_first(good: Reference, tmp_path: Path) -> None:
    (tmp_path / module.NETWORK).write_bytes(b"x")
    write_reference(tmp_path, good)
    assert open_reference(tmp_path).sensor == good.sensor


def _scores_with(**columns: Any) -> Callable[[Reference], dict[str, Any]]:
    return lambda good: {"train_scores": good.train_scores.assign(**columns)}


BAD: dict[str, Callable[[Reference], dict[str, Any]]] = {
    "Out of range float values": lambda good: {"floors": {"mmd": float("nan")}},
    "not JSON compliant: inf": lambda good: {"intensity_limits_db": (0.0, float("inf"))},
    r"yardstick_rings is float64 \(11,\), expected finite numbers \(12,\)": lambda good: {
        "yardstick": replace(good.yardstick, rings=np.zeros(11))
    },
    "yardstick_band is": lambda good: {"yardstick": replace(good.yardstick, band=np.full(2, np.nan))},
    "standard_mean is int64": lambda good: {
        "standard": replace(good.standard, mean=np.zeros(len(VECTOR), np.int64))
    },
    r"features is float32 \(5, 64\)": lambda good: {"features": good.features[:5]},
    "train scores: 5 rows": lambda good: {"train_scores": good.train_scores[:5]},
    r"no columns \['group_id'\]": lambda good: {"train_scores": good.train_scores.drop(columns="group_id")},
    "train scores of mean_db are no finite": _scores_with(mean_db=np.inf),
    "train scores of enl are no finite": _scores_with(enl="3.1"),
}


@pytest.mark.parametrize("said", BAD)
def test_what_cannot_be_read_again_is_not_written(said: str, good: Reference, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        write_reference(tmp_path / "out", replace(good, **BAD[said](good)))
    assert not (tmp_path / "out").exists()


# --- reading what is broken


@pytest.mark.parametrize("name", [module.HEADER, module.TRAIN_SCORES, "features.npy", "yardstick_polar.npy"])
@pytest.mark.parametrize("cut", [None, 0, 20])
def test_missing_and_cut_files_are_named(name: str, cut: int | None, folder: Path) -> None:
    path = folder / name
    content = path.read_bytes()
    path.unlink() if cut is None else path.write_bytes(content[:cut])
    with pytest.raises(DataError, match=name) as caught:
        open_reference(folder)
    if not (name == module.HEADER and cut is None):
        assert "dvc repro reference" in caught.value.fix


HEADERS: dict[str, dict[str, Any]] = {
    "format 2, expected 1": {"format": 2},
    "'volts' is not a valid Radiometry": {"radiometry": "volts"},
    "n_chips 0": {"n_chips": 0},
    "network_accuracy 6 of 5": {"network_accuracy": [6, 5]},
    "not enough values": {"intensity_limits_db": [1.0]},
    "KeyError: 'lower'": {"limits": {"enl": {}}},
    "could not convert": {"floors": {"mmd": "low"}},
    "NaN is no finite number": {"content": float("nan")},
    "AttributeError": {"limits": []},
    "train_scores.parquet: train scores: 6 rows|features is float32": {"n_chips": 7},
    "expected finite numbers .1000000000000, 64": {"n_chips": 10**12},
}


@pytest.mark.parametrize("said", HEADERS)
def test_other_headers_are_refused(said: str, folder: Path) -> None:
    path = folder / module.HEADER
    path.write_text(json.dumps(json.loads(path.read_text()) | HEADERS[said]))
    with pytest.raises(DataError, match=said) as caught:
        open_reference(folder)
    assert "dvc repro reference" in caught.value.fix


def test_a_header_without_end_is_refused_before_it_is_parsed(folder: Path) -> None:
    (folder / module.HEADER).write_text("[" * 100_000)
    with pytest.raises(DataError, match=module.HEADER):
        open_reference(folder)
    (folder / module.HEADER).write_text(" " * (module.MOST_HEADER_BYTES + 1))
    with pytest.raises(DataError, match="more than"):
        open_reference(folder)


@pytest.mark.parametrize(
    "array",
    [np.zeros((N, 63), np.float32), np.full((N, 64), np.nan), np.zeros((N, 64), np.int64), np.zeros((0, 64))],
)
def test_other_arrays_are_refused(array: np.ndarray, folder: Path) -> None:
    np.save(folder / "features.npy", array)
    with pytest.raises(DataError, match="features"):
        open_reference(folder)


def test_an_array_that_claims_to_be_huge_takes_no_memory(folder: Path) -> None:
    path = folder / "features.npy"
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**15, 64)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(64))
    with pytest.raises(DataError, match=r"features.npy: cannot be read"):
        open_reference(folder)


def test_pickled_objects_are_refused(folder: Path) -> None:
    np.save(folder / "features.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"features.npy: cannot be read: .*objects"):
        open_reference(folder)


# --- summary


def test_a_limit_is_told_with_its_origin(good: Reference) -> None:
    assert module.summary_lines(good, {"enl": "upper", "hf_energy_ratio": "lower"}) == [
        "enl <= 4.812: 99 % of real fucheng1-sim chips, confidence 0.926 (6 train chips); "
        "left-out chips inside: 98.8 % [96.7, 99.6]",
        "hf_energy_ratio >= 0.1: 99 % of real fucheng1-sim chips, confidence 0.926 (5 of 6 train chips); "
        "left-out chips: not measured",
    ]


def test_confidence_that_chips_do_not_give_is_said(good: Reference) -> None:
    assert module.summary_lines(good) == [
        "2 <= enl <= 4.9: 99 % of real fucheng1-sim chips, confidence 0.700, not the 0.9 asked for "
        "(6 train chips); left-out chips: not measured",
        "hf_energy_ratio: no limit, too few real fucheng1-sim chips have a value",
    ]


def test_confidence_as_asked_needs_no_word() -> None:
    line = limit_line("enl", _limits()["enl"], "upper", "x", N, 0.926)
    assert "asked for" not in line


def test_measures_without_limits_cannot_be_told(good: Reference) -> None:
    with pytest.raises(DataError, match=r"no limits of \['mean_db'\]"):
        module.summary_lines(good, {"mean_db": "both"})
