from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, LeakageError, ParamsError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSetWriter, Header, open_chipset
from sarcurate.stages import validate

NAMES = ("source-train", "source-test", "target-train", "target-test")
CLASSES = ("B-52", "F-16")
SPACING_M = {"source": 1.0, "target": 3.0}


@dataclass
class Draft:
    """A set before it is written: what its header says, and its rows with their pixels."""

    sensor: str
    radiometry: Radiometry
    rows: list[dict[str, Any]]


Drafts = dict[str, Draft]
Broken = set[str]  # source paths of the chips that must be named


def _draft(name: str) -> Draft:
    side, _, split = name.partition("-")
    rng = np.random.default_rng(sum(name.encode()))
    rows = []
    for index in range(8 if split == "train" else 4):
        spacing_m = SPACING_M[side]
        rows.append(
            {
                "chip_id": lineage.sha256_text(f"{name} {index}")[:24],
                "origin": "real",
                "label": CLASSES[index % 2],
                "group_id": f"{name} group {index // 2}",
                "fold": index // 4 if split == "train" else None,
                "polarisation": "HH",
                "range_spacing_m": spacing_m,
                "azimuth_spacing_m": spacing_m,
                "incidence_deg": 35.0,
                "looks_nominal": 1.0,
                "nodata_fraction": 0.0,
                "source_path": f"{name}/{index}.tif",
                "licence": "CC0-1.0",
                "pixels": rng.exponential(size=(8, 8)).astype(np.float32),
            }
        )
    return Draft(side, Radiometry.SIGMA0, rows)


def _write(drafts: Drafts, folder: Path) -> dict[str, Path]:
    for name, draft in drafts.items():
        header = Header(draft.sensor, draft.radiometry, name.partition("-")[2], (-20.0, 10.0))
        with ChipSetWriter(folder / name, header) as writer:
            for row in draft.rows:
                writer.add({key: value for key, value in row.items() if key != "pixels"}, row["pixels"])
    return {name: folder / name for name in drafts}


def _outputs(folder: Path, data_docs: Path | None = None) -> validate.Outputs:
    return validate.Outputs(
        folder / "data" / "validated.json",
        folder / "metrics" / "validation.json",
        folder / "metrics" / "validation.html",
        data_docs,
    )


@pytest.fixture(scope="module")
def good() -> Drafts:
    return {name: _draft(name) for name in NAMES}


@pytest.fixture(scope="module")
def good_sets(good: Drafts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _write(good, tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def good_run(
    good_sets: dict[str, Path], tiny_params: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, validate.Outputs]:
    """What is said of the good chips, and what was written; not to be changed."""
    outputs = _outputs(tmp_path_factory.mktemp("good-run"))
    return "\n".join(validate.run(tiny_params(), good_sets, outputs)), outputs


Validate = Callable[[Drafts], tuple[str, dict[str, Any], validate.Outputs]]


@pytest.fixture
def judge(tiny_params: Callable[..., Any], tmp_path: Path) -> Validate:
    """What is said of drafts (the error, or the lines), the metrics and where they were written."""

    def run(drafts: Drafts) -> tuple[str, dict[str, Any], validate.Outputs]:
        sets, outputs = _write(drafts, tmp_path / "sets"), _outputs(tmp_path)
        outputs.validated.parent.mkdir()
        outputs.validated.write_text("of an earlier run")
        try:
            said = "\n".join(validate.run(tiny_params({"dataset.evidence": "real"}), sets, outputs))
        except DataError as error:
            said = f"exit code {error.exit_code}: {error}"
        return said, json.loads(outputs.metrics.read_text()), outputs

    return run


# --- good chips


def test_good_chips_pass_and_the_train_revisions_are_noted(
    good_run: tuple[str, validate.Outputs], good_sets: dict[str, Path]
) -> None:
    said, outputs = good_run
    assert "validation passed: 0 errors, 0 warnings" in said
    metrics = json.loads(outputs.metrics.read_text())
    assert metrics["passed"] is True
    assert metrics["n_chips"] == 24
    assert all(metrics["success"].values())
    assert set(metrics["offending_chips"].values()) == {0}
    train = {side: open_chipset(good_sets[f"{side}-train"], splits=("train",)) for side in SPACING_M}
    assert json.loads(outputs.validated.read_text()) == {
        "passed": True,
        "train_revisions": {side: chips.revision for side, chips in train.items()},
    }


def test_nothing_of_test_chips_reaches_what_later_stages_read(
    good: Drafts,
    good_sets: dict[str, Path],
    good_run: tuple[str, validate.Outputs],
    tiny_params: Callable[..., Any],
    tmp_path: Path,
) -> None:
    fewer = {"target-test": copy.deepcopy(good["target-test"])}
    fewer["target-test"].rows[:] = fewer["target-test"].rows[::3]  # still both classes, two groups
    outputs = _outputs(tmp_path)
    validate.run(tiny_params(), good_sets | _write(fewer, tmp_path / "fewer"), outputs)
    assert outputs.validated.read_bytes() == good_run[1].validated.read_bytes()
    assert outputs.metrics.read_bytes() != good_run[1].metrics.read_bytes()


def test_outputs_repeat_byte_for_byte_and_data_docs_are_made_anew(
    good_sets: dict[str, Path],
    good_run: tuple[str, validate.Outputs],
    tiny_params: Callable[..., Any],
    tmp_path: Path,
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "old.html").touch()
    outputs = _outputs(tmp_path, docs)
    validate.run(tiny_params(), good_sets, outputs)
    for name in ("validated", "metrics", "page"):
        assert getattr(outputs, name).read_bytes() == getattr(good_run[1], name).read_bytes()
    assert (docs / "index.html").is_file()
    assert not (docs / "old.html").exists()


# --- broken in one way: that rule fails, no other


def _incidence(drafts: Drafts) -> Broken:
    drafts["source-train"].rows[1]["incidence_deg"] = 95.0
    return {"source-train/1.tif"}


def _spacing_of_one_chip(drafts: Drafts) -> Broken:
    drafts["target-train"].rows[2]["range_spacing_m"] *= 2
    return {"target-train/2.tif"}


def _negative_spacing(drafts: Drafts) -> Broken:
    names = ("target-train", "target-test")
    rows = [row for name in names for row in drafts[name].rows]
    for row in rows:
        row["azimuth_spacing_m"] *= -1
    return {row["source_path"] for row in rows}


def _licence(drafts: Drafts) -> Broken:
    drafts["source-test"].rows[0]["licence"] = None
    return {"source-test/0.tif"}


def _nodata(drafts: Drafts) -> Broken:
    drafts["target-test"].rows[3]["nodata_fraction"] = 0.9
    return {"target-test/3.tif"}


def _blank(drafts: Drafts) -> Broken:
    drafts["source-train"].rows[4]["pixels"] = np.full((8, 8), 7.0, np.float32)
    return {"source-train/4.tif"}


def _two_labels(drafts: Drafts) -> Broken:
    rows = drafts["source-train"].rows
    rows[3]["pixels"] = np.rot90(rows[0]["pixels"]).copy()
    return {"source-train/0.tif", "source-train/3.tif"}


def _turned_copy_in_test(drafts: Drafts) -> Broken:
    train, test = drafts["target-train"].rows[0], drafts["target-test"].rows[2]
    test["pixels"] = train["pixels"].T.copy()
    return {"target-train/0.tif", "target-test/2.tif"}


def _group_on_both_sides(drafts: Drafts) -> Broken:
    for row in drafts["target-test"].rows[:2]:
        row["group_id"] = "target-train group 1"
    return {"target-train/2.tif", "target-train/3.tif", "target-test/0.tif", "target-test/1.tif"}


def _one_test_group(drafts: Drafts) -> Broken:
    for row in drafts["target-test"].rows:
        row["group_id"] = "the only pass"
    return {row["source_path"] for row in drafts["target-test"].rows}


def _two_radiometries(drafts: Drafts) -> Broken:
    drafts["source-test"].radiometry = Radiometry.BETA0
    return {row["source_path"] for row in drafts["source-test"].rows}


def _two_sensors(drafts: Drafts) -> Broken:
    drafts["target-test"].sensor = "another"
    return {row["source_path"] for row in drafts["target-test"].rows}


def _two_look_directions(drafts: Drafts) -> Broken:
    for index, side in enumerate(["right", "right", "left", None, "right"]):
        drafts["source-train"].rows[index]["look_direction"] = side
    return {"source-train/2.tif"}


def _two_geometries(drafts: Drafts) -> Broken:
    for row in drafts["source-train"].rows:
        row["geometry"] = "slant"
    drafts["source-test"].rows[0]["geometry"] = "ground"
    return {"source-test/0.tif"}


def _made_chip_in_test(drafts: Drafts) -> Broken:
    drafts["target-test"].rows[1]["origin"] = "translated"
    return {"target-test/1.tif"}


def _fold_missing(drafts: Drafts) -> Broken:
    drafts["target-train"].rows[0]["fold"] = None
    return {"target-train/0.tif"}


def _fold_in_test(drafts: Drafts) -> Broken:
    drafts["target-test"].rows[0]["fold"] = 1
    return {"target-test/0.tif"}


def _group_in_two_folds(drafts: Drafts) -> Broken:
    drafts["source-train"].rows[0]["fold"] = 1
    return {"source-train/0.tif", "source-train/1.tif"}


def _unknown_label(drafts: Drafts) -> Broken:
    drafts["source-test"].rows[1]["label"] = "B-5"
    return {"source-test/1.tif"}


def _class_without_test_chips(drafts: Drafts) -> Broken:
    drafts["target-test"].rows[:] = drafts["target-test"].rows[::2]
    return set()


def _too_few_of_a_class(drafts: Drafts) -> Broken:
    rows = drafts["target-train"].rows
    rows[:] = [row for index, row in enumerate(rows) if index not in (3, 5, 7)]
    return {"target-train/1.tif"}


def _picture_of_both_sensors(drafts: Drafts) -> Broken:
    drafts["target-train"].rows[3]["pixels"] = drafts["source-train"].rows[2]["pixels"].copy()
    return {"source-train/2.tif", drafts["target-train"].rows[3]["source_path"]}


def _path_as_id(drafts: Drafts) -> Broken:
    drafts["source-train"].rows[7]["chip_id"] = "source-train-7"
    return {"source-train/7.tif"}


ALONE: dict[str, Callable[[Drafts], Broken]] = {
    "incidence-range": _incidence,
    "one-range-spacing": _spacing_of_one_chip,
    "licence-present": _licence,
    "dynamic-range-low": _blank,
    "label-conflict": _two_labels,
    "picture-in-train-and-test": _turned_copy_in_test,
    "group-in-train-and-test": _group_on_both_sides,
    "target-test-groups": _one_test_group,
    "one-radiometry": _two_radiometries,
    "fold-holds-whole-groups": _group_in_two_folds,
    "test-has-every-class": _class_without_test_chips,
}
# Each breaks other chips than the others do, so that one run judges them all.
TOGETHER: dict[str, Callable[[Drafts], Broken]] = {
    "class-minimum": _too_few_of_a_class,
    "origin-is-real": _made_chip_in_test,
    "azimuth-spacing-range": _negative_spacing,
    "nodata-range": _nodata,
    "fold-in-train": _fold_missing,
    "no-fold-in-test": _fold_in_test,
    "label-known": _unknown_label,
    "one-sensor": _two_sensors,
    "one-look-direction": _two_look_directions,
    "one-geometry": _two_geometries,
    "picture-of-both-sensors": _picture_of_both_sensors,
    "chip-id-form": _path_as_id,
}


@pytest.mark.parametrize("rule", ALONE)
def test_one_broken_thing_fails_its_rule_alone(rule: str, judge: Validate, good: Drafts) -> None:
    drafts = copy.deepcopy(good)
    broken = ALONE[rule](drafts)
    said, metrics, outputs = judge(drafts)
    assert [name for name, passed in metrics["success"].items() if not passed] == [rule]
    assert (metrics["passed"], metrics["n_failed_errors"]) == (False, 1)
    assert metrics["offending_chips"][rule] == len(broken) == metrics["n_offending_chips"]
    assert said.startswith("exit code 3: validation failed: 1 errors, 0 warnings")
    assert f"error     {rule} " in said
    ids = {row["source_path"]: row["chip_id"] for draft in drafts.values() for row in draft.rows}
    page = outputs.page.read_text()
    for path in broken:
        assert f"{ids[path]} ({path})" in said
        assert f"<code>{ids[path]}</code></td><td>{path}</td>" in page
    assert {path for path in ids if path in page} == broken
    assert "fix: " in said
    assert not outputs.validated.exists()


def test_several_broken_things_fail_their_rules_and_no_other(judge: Validate, good: Drafts) -> None:
    drafts = copy.deepcopy(good)
    broken = {rule: break_it(drafts) for rule, break_it in TOGETHER.items()}
    said, metrics, _ = judge(drafts)
    assert {name for name, passed in metrics["success"].items() if not passed} == set(TOGETHER)
    assert {rule: metrics["offending_chips"][rule] for rule in TOGETHER} == {
        rule: len(chips) for rule, chips in broken.items()
    }
    for rule, chips in broken.items():
        named = said.partition(f"error     {rule} ")[2].partition("fix: ")[0]
        assert sum(path in named for path in chips) == min(len(chips), 10)


# --- warnings, severities, own expectations

FINDINGS = ["upsampled", "", "", "stretched jpeg", "upsampled border", "", "saturated", None]
WARNED = {  # chips that each names
    "licence-stated": 1,
    "one-polarisation": 1,
    "picture-twice-in-a-set": 2,
    "not-stretched": 1,
    "not-a-picture-file": 1,
    "not-saturated": 1,
    "not-upsampled": 2,
    "no-border": 1,
    "one-kind-of-statistics": 1,
}


def test_warnings_are_shown_and_stop_nothing(judge: Validate, good: Drafts) -> None:
    drafts = copy.deepcopy(good)
    rows = drafts["source-train"].rows
    rows[2]["pixels"] = np.fliplr(rows[0]["pixels"]).copy()
    rows[1]["licence"] = "Not stated"
    rows[5]["polarisation"] = "VV"
    for row, findings in zip(rows, FINDINGS, strict=True):
        row["forensics"] = findings
        row["statistics"] = "relative" if findings == "saturated" else "absolute"
    for name in ("target-train", "target-test"):  # 8-bit relative chips are not told that they are stretched
        drafts[name].radiometry = Radiometry.UINT8_RELATIVE
        for row in drafts[name].rows:
            row["pixels"] = np.rint(40 * np.sqrt(row["pixels"])).astype(np.uint16)
            row["forensics"] = "stretched jpeg grey_as_rgb"
    said, metrics, outputs = judge(drafts)
    assert {name for name, passed in metrics["success"].items() if not passed} == set(WARNED)
    assert {name: metrics["offending_chips"][name] for name in WARNED} == WARNED
    assert "validation passed: 0 errors, 9 warnings" in said
    assert "warning   licence-stated " in said
    assert (metrics["passed"], metrics["n_failed_warnings"], metrics["n_offending_chips"]) == (True, 9, 7)
    assert outputs.validated.exists()


def _own(path: Path, rule: str, **parts: Any) -> str:
    meta = {"rule": rule, "severity": "error", "says": "Looks are four", "fix": "take other chips"}
    kwargs = {"column": "looks_nominal", "min_value": 4}
    entry = {"type": "expect_column_values_to_be_between", "kwargs": kwargs, "meta": meta} | parts
    path.write_text(json.dumps({"expectations": [entry]}))  # JSON is YAML
    return str(path)


def test_an_own_expectation_counts_and_severities_can_be_set(
    good_sets: dict[str, Path], tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    own = [_own(tmp_path / "own.yaml", "mine"), _own(tmp_path / "soft.yaml", "softer")]
    settings = {"validate.expectations": own, "validate.severities": {"softer": "warning"}}
    with pytest.raises(DataError, match=r"(?s)error     mine +24 chips: looks_nominal 1\n.*warning   softer"):
        validate.run(tiny_params(settings), good_sets, _outputs(tmp_path))


def test_a_wrong_own_expectation_is_a_params_error_and_writes_nothing(
    good_sets: dict[str, Path], tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    own = _own(tmp_path / "own.yaml", "mine", type="expect_something_else")
    outputs = _outputs(tmp_path)
    with pytest.raises(ParamsError, match=r"own\.yaml, entry 1 \(mine\): there is no expectation"):
        validate.run(tiny_params({"validate.expectations": [own]}), good_sets, outputs)
    assert not outputs.page.exists()
    assert not outputs.metrics.exists()


# --- what is no set of that split


@pytest.mark.parametrize(("at", "given"), [("source-train", "source-test"), ("target-test", "target-train")])
def test_a_set_at_the_wrong_place_is_refused(
    at: str, given: str, good_sets: dict[str, Path], tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(LeakageError, match="may be read here"):
        validate.run(tiny_params(), good_sets | {at: good_sets[given]}, _outputs(tmp_path))
    assert not (tmp_path / "metrics").exists()
