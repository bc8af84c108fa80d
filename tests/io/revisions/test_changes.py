from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.bootstrap import paired_difference
from sarcurate.core.interval_difference import difference_of_intervals
from sarcurate.core.statistics import Interval
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.lineage import seed_from
from sarcurate.io.revisions.changes import Changes, change_lines, read_changes
from sarcurate.io.revisions.changes_page import changes_page
from sarcurate.io.revisions.metric_shifts import COMBINED, PAIRED

HEADER = "chip_id,pixels_sha256,verdict,new_label,reason,reviewer,utc\n"
Sets = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def first(paper: Any, tmp_path_factory: pytest.TempPathFactory, quiet_environment: None) -> Path:
    """The small workspace, committed as v1; not to be written to."""
    root: Path = tmp_path_factory.mktemp("first")
    paper.write_small(root, previews=True)
    paper.begin(root)
    paper.commit(root, "v1")
    return root


@pytest.fixture
def root(first: Path, tmp_path: Path) -> Path:
    """A copy of it to write to."""
    return Path(shutil.copytree(first, tmp_path / "workspace"))


@pytest.fixture
def sets(paper: Any, root: Path) -> Sets:
    found: Sets = paper.small_sets(paper.write_adapter(root))
    return found


def changed(found: Changes, kind: str) -> list[tuple[str, ...]]:
    names = ["folder", "chip_id", "label", "to_folder", "to_chip_id", "to_label"]
    return [tuple(row) for row in found.chips.changes.query("kind == @kind")[names].to_numpy()]


def test_nothing_changed_says_so(root: Path) -> None:
    found = read_changes(root, "v1", None)
    assert found.gaps == ()
    lines = change_lines(found)
    assert lines[0] == f"v1 (data set {'1' * 16}) -> working tree (data set {'1' * 16})"
    parts = ("chips", "selection", "verdicts", "params", "stages in dvc.lock")
    assert [line for line in lines if line.endswith("no change")] == [f"{part}: no change" for part in parts]
    assert lines[-4:] == ["physics:", "  1 unchanged", "accuracy:", "  2 unchanged"]


def test_chips_added_removed_relabelled_redrawn_and_moved(paper: Any, root: Path, sets: Sets) -> None:
    generated, source = sets["data/generated"], sets["data/real/source-train"]
    target, test = sets["data/real/target-train"], sets["data/real/target-test"]
    new = paper.made("new", "F-16", "generated")
    generated[0] |= {"pixels_sha256": "9" * 64}  # g0: drawn anew
    generated[1] = new  # g1 gone, new came
    source[0] |= {"label": "F-16"}  # s0: another label under the same id
    renamed = source[2] | {"chip_id": paper.chip_id("s2 of F-16"), "label": "F-16"}  # its path changed
    source[2] = renamed
    moved = target.pop(3)
    test.append(moved | {"split": "test"})
    for folder in ("data/generated", "data/real/source-train", "data/real/target-train"):
        paper.write_set(root, folder, sets[folder])
    paper.write_set(root, "data/real/target-test", test)
    found = read_changes(root, "v1", None)
    ids = {name: paper.chip_id(name) for name in ("s0", "s2", "g0", "g1", "t3")}
    trains = "data/real/source-train"
    assert changed(found, "added") == [("", "", "", "data/generated", new["chip_id"], "F-16")]
    assert changed(found, "removed") == [("data/generated", ids["g1"], "F-16", "", "", "")]
    assert changed(found, "other pixels") == [
        ("data/generated", ids["g0"], "B-52", "data/generated", ids["g0"], "B-52")
    ]
    assert sorted(changed(found, "relabelled")) == sorted(
        [
            (trains, ids["s0"], "B-52", trains, ids["s0"], "F-16"),
            (trains, ids["s2"], "B-52", trains, renamed["chip_id"], "F-16"),
        ]
    )
    assert changed(found, "moved") == [
        ("data/real/target-train", ids["t3"], "F-16", "data/real/target-test", ids["t3"], "F-16")
    ]
    lines = change_lines(found)
    assert "  data/generated: 2 -> 2 chips" in lines
    assert "    added: 1 (F-16 1)" in lines
    assert f"  {ids['s2']}, now {renamed['chip_id']}: B-52 -> F-16" in lines
    counts = found.chips.counts.set_index(["folder", "label"])
    assert list(counts.loc[(trains, "B-52")]) == [3, 1]
    page = changes_page(found)
    assert page.count("data:image/png;base64,") == 1  # the removed one; those of today have no preview


def test_chip_changes_are_those_of_a_plain_comparison(paper: Any, root: Path, sets: Sets) -> None:
    rng = np.random.default_rng(2)
    old = [paper.row(f"c{k}", "B-52") for k in range(60)]
    new = [dict(each) for each in old if rng.random() < 0.7]
    for each in new:
        if rng.random() < 0.2:
            each["label"] = "F-16"
        elif rng.random() < 0.2:
            each["pixels_sha256"] = "8" * 64
    new += [paper.row(f"d{k}", "F-16") for k in range(7)]
    paper.write_set(root, "data/generated", old)
    paper.commit(root, "old")
    paper.write_set(root, "data/generated", new)
    before, after = ({each["chip_id"]: each for each in rows} for rows in (old, new))
    both = sorted(before.keys() & after.keys())
    found = read_changes(root, "old", None)
    by_kind = {kind: [row[4] or row[1] for row in changed(found, kind)] for kind in ("added", "removed")}
    assert by_kind == {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
    }
    relabelled = [own for own in both if before[own]["label"] != after[own]["label"]]
    assert [row[1] for row in changed(found, "relabelled")] == relabelled
    redrawn = [own for own in both if before[own]["pixels_sha256"] != after[own]["pixels_sha256"]]
    assert [row[1] for row in changed(found, "other pixels")] == redrawn


def test_fates_verdicts_params_and_stages(paper: Any, root: Path, sets: Sets) -> None:
    judged = [*sets["data/migrated"], *sets["data/migrated-generated"], *sets["data/translated/physics"]]
    judged[-1] |= {"label": "B-52"}  # p5 is of F-16, people said otherwise
    paper.write_fates(root, judged, {"p1": "ENL 9 > 5", "mg0": "rejected by Ann"})
    line = f"{paper.chip_id('p1')},{'7' * 64},reject,,'two noses',Ann,2026-01-31T13:05:00Z\n"
    (root / "data" / "verdicts.csv").write_text(HEADER + line)
    params = paper.PARAMS | {"migrate": {"timesteps": 4}, "curate": {"gates": [{"measure": "enl"}]}}
    paper.commit(root, "v2", params)
    found = read_changes(root, "v1", "v2")
    assert found.fates is not None
    told = {
        fate: list(found.fates.changes.query("fate == @fate")[["chip_id", "reason"]].itertuples(index=False))
        for fate in ("now kept", "now rejected", "other label")
    }
    assert [tuple(row) for row in told["now kept"]] == [(paper.chip_id("p0"), "physics distance 2 > 1")]
    assert [tuple(row) for row in told["now rejected"]] == [(paper.chip_id("p1"), "ENL 9 > 5")]
    assert [row.chip_id for row in told["other label"]] == [paper.chip_id("p5")]
    kept = found.fates.kept.set_index(["folder", "label"])
    assert list(kept.loc[("data/translated/physics", "B-52")]) == [2, 4]  # p2, p4; then p0 and p5 too
    assert [verdict.chip_id for verdict in found.verdicts.given] == [paper.chip_id("p1")]
    assert [(one.path, one.earlier, one.later) for one in found.params] == [
        ("curate.gates", [], [{"measure": "enl"}]),
        ("migrate.timesteps", 3, 4),
    ]
    assert {one.stage: one.what for one in found.stages} == {
        "migrate": ("params",),
        "curate": ("params", "outputs"),
    }
    back = read_changes(root, "v2", "v1")
    assert [verdict.chip_id for verdict in back.verdicts.lost] == [paper.chip_id("p1")]
    assert any("taken out of the log, which only grows" in line for line in change_lines(back))
    assert "  given by Ann: reject 1" in change_lines(found)


# --- numbers


def test_accuracy_is_compared_pair_by_pair_where_predictions_are_there(
    paper: Any, root: Path, sets: Sets
) -> None:
    test = sets["data/real/target-test"]
    old = paper.predictions({"real-only": ["x0", "x4:1"], "real+physics": ["x1"]}, test)
    new = paper.predictions({"real-only": ["x0", "x4:1"], "real+physics": ["x1", "x2", "x5:0"]}, test)
    paper.write_metrics(root, new, "2" * 16, {})
    found = {shift.name: shift for shift in read_changes(root, "v1", None).arms}
    assert (found["real-only"].verdict, found["real-only"].comparison) == (
        "unchanged",
        "the same predictions",
    )
    shift = found["real+physics"]
    assert shift.comparison == PAIRED
    arms = [
        runs[runs["arm"] == "real+physics"].sort_values(["seed", "chip_id"])["predicted"].to_numpy()
        for runs in (new, old)
    ]
    one = old[(old["arm"] == "real+physics") & (old["seed"] == 0)].sort_values("chip_id")
    expected = paired_difference(
        one["label"].to_numpy(str),
        *(predicted.astype(str).reshape(2, 8) for predicted in arms),
        one["group_id"].to_numpy(str),
        seeds_paired=True,
        draws=200,
        seed=seed_from(7, "bootstrap"),
        level=0.95,
    )
    assert shift.difference is not None
    assert shift.difference == Interval(expected.estimate, expected.low, expected.high)
    assert shift.difference.estimate == pytest.approx(-3 / 16)
    assert shift.verdict == "no significant change"
    worse = paper.predictions(
        {"real-only": ["x0", "x4:1"], "real+physics": [*(f"x{k}" for k in range(7)), "x7:0"]}, test
    )
    paper.write_metrics(root, worse, "3" * 16, {})
    assert read_changes(root, "v1", None).arms[1].verdict == "significant change"


def _without_predictions(root: Path) -> None:
    (root / "metrics" / "predictions.parquet").unlink()
    md5s = [path for path in (root / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
    for path in md5s:
        if path.read_bytes()[:4] == b"PAR1" and b"predicted" in path.read_bytes():
            path.unlink()


def test_without_predictions_intervals_are_combined_and_it_is_said(
    paper: Any, root: Path, sets: Sets
) -> None:
    test = sets["data/real/target-test"]
    paper.write_metrics(root, paper.predictions({"real-only": ["x1"], "more": ["x1"]}, test), "2" * 16, {})
    _without_predictions(root)
    found = read_changes(root, "v1", None)
    assert any("v1: metrics/predictions.parquet is not in DVC's cache" in gap for gap in found.gaps)
    shifts = {shift.name: shift for shift in found.arms}
    shift = shifts["real-only"]
    assert shift.comparison == COMBINED
    assert shift.earlier is not None
    assert shift.later is not None
    assert shift.difference == difference_of_intervals(shift.later, shift.earlier)
    assert shifts["more"].comparison == "only the later revision has it"
    assert shifts["real+physics"].comparison == "only the earlier revision has it"


def test_other_test_chips_are_not_paired(paper: Any, root: Path, sets: Sets) -> None:
    test = sets["data/real/target-test"]
    fewer = paper.predictions({"real-only": ["x0", "x2"]}, test[:6])
    paper.write_metrics(root, fewer, "2" * 16, {})
    assert read_changes(root, "v1", None).arms[0].comparison == COMBINED


def _quality(mmd: float, half: float, **other: Any) -> dict[str, Any]:
    numbers = {"mmd_physics": mmd, "mmd_physics_low": mmd - half, "mmd_physics_high": mmd + half}
    return {"interval_level": 0.95, "bandwidth_physics": 2.0, "sets": {"physics": numbers}} | other


@pytest.mark.parametrize(
    ("quality", "verdict", "comparison"),
    [
        (_quality(0.3, 0.1), "unchanged", "the same numbers"),
        (_quality(0.35, 0.1), "no significant change", COMBINED),
        (_quality(0.7, 0.1), "significant change", COMBINED),
        (_quality(0.7, 0.1, bandwidth_physics=3.0), "cannot tell", "the kernel's bandwidth is another one"),
        (_quality(0.7, 0.1, interval_level=0.8), "cannot tell", "intervals are of other levels"),
        ({}, "cannot tell", "only the earlier revision has it"),
    ],
)
def test_physics_shifts(root: Path, quality: dict[str, Any], verdict: str, comparison: str) -> None:
    (root / "metrics" / "quality.json").write_text(json.dumps(quality))
    (shift,) = read_changes(root, "v1", None).physics
    assert (shift.name, shift.measure, shift.verdict) == ("physics", "mmd_physics", verdict)
    assert shift.comparison == comparison


# --- what is missing or broken


def test_what_the_cache_lacks_is_said_and_the_rest_compared(paper: Any, root: Path, sets: Sets) -> None:
    paper.write_set(root, "data/generated", sets["data/generated"][:1])
    shutil.rmtree(root / ".dvc" / "cache")
    (root / "data" / "verdicts.csv").write_text(HEADER)
    paper.write_params(root, paper.PARAMS | {"tune": {"rank": 4, "learning_rate": 1e-4}})
    found = read_changes(root, "v1", None)
    assert found.chips.changes.empty
    assert found.fates is None
    assert [change.path for change in found.params] == ["tune.rank"]
    lines = change_lines(found)
    assert any("v1: data/generated is not in DVC's cache; `dvc fetch" in line for line in lines)
    assert "  chips of data/generated were not compared" in lines
    assert lines[1:5] == [
        "chips:",
        "  cannot be compared, see below",
        "selection:",
        "  cannot be compared, see below",
    ]
    assert "The chips cannot be compared; see the last section." in changes_page(found)


def test_one_set_missing_leaves_the_others(paper: Any, root: Path, sets: Sets) -> None:
    paper.commit(root, "v2")
    shutil.rmtree(root / "data" / "migrated")
    paper.write_set(root, "data/generated", sets["data/generated"][:1])
    found = read_changes(root, "v1", None)  # on disk it is gone, and dvc.lock and cache still have it
    assert found.gaps == ()
    assert [row[0] for row in changed(found, "removed")] == ["data/generated"]


def test_outside_git_without_a_commit_and_unknown_revisions(
    paper: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("v9", "", "--upload-pack=x", "HEAD:params.yaml", "v1 v1"):
        with pytest.raises(ParamsError, match="git knows no revision"):
            read_changes(root, name, None)
    with pytest.raises(ParamsError, match="git knows no revision 'later'"):
        read_changes(root, "v1", "later")
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(ParamsError, match="in no git repository"):
        read_changes(outside, "HEAD", None)
    paper.git(outside, "init", "-q")
    with pytest.raises(ParamsError, match="no commit yet"):
        read_changes(outside, "HEAD", None)
    monkeypatch.setenv("PATH", str(outside))
    with pytest.raises(ParamsError, match="git is not on PATH"):
        read_changes(root, "v1", None)


def test_a_folder_that_is_no_workspace_says_so(root: Path) -> None:
    with pytest.raises(ParamsError, match="it is no workspace"):
        read_changes(root / "metrics", "v1", None)


def _tracked(path: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / path).write_text(text) and None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_tracked("metrics/quality.json", "{"), "quality.json is no JSON"),
        (_tracked("params.yaml", "- a\n- b\n"), "params.yaml holds no mapping"),
        (_tracked("dvc.lock", "a: [\n"), "dvc.lock is not valid YAML"),
        (_tracked("data/selection.parquet", "PAR1"), "cannot read"),
    ],
)
def test_broken_files_name_themselves(root: Path, damage: Callable[[Path], None], told: str) -> None:
    damage(root)
    with pytest.raises(DataError, match=re.escape(told)):
        read_changes(root, "v1", None)


def test_a_broken_verdict_file_at_a_revision_is_a_gap(paper: Any, root: Path) -> None:
    (root / "data" / "verdicts.csv").write_text(HEADER + "a,b\n")
    paper.commit(root, "v2")
    found = read_changes(root, "v1", "v2")
    assert found.gaps == ("verdicts left out, v2:data/verdicts.csv line 2: 2 cells, expected 7",)


# --- the page


def test_hostile_names_are_shown_and_not_obeyed(paper: Any, root: Path, sets: Sets) -> None:
    evil = "<script>alert(1)</script>"
    rows = sets["data/generated"]
    rows[0] |= {"label": evil}
    paper.write_set(root, "data/generated", rows, previews=True)
    reason = '"><img src=x onerror=alert(2)>'
    judged = [*sets["data/migrated"], *sets["data/migrated-generated"], *sets["data/translated/physics"]]
    paper.write_fates(root, judged, {"p1": reason, "p0": "x", "mg0": "x"})
    found = read_changes(root, "v1", None)
    page = changes_page(found)
    assert evil not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert reason not in page
    assert "<script" not in page
    assert not re.search(r"<(img|link|iframe)[^>]+(src|href)=\"(?!data:)", page)
    assert page.count("data:image/png;base64,") == 2  # the relabelled chip, and p1 that is rejected now


def test_no_picture_of_a_test_chip_is_shown(paper: Any, root: Path, sets: Sets) -> None:
    rows = sets["data/real/target-test"]
    rows[0] |= {"label": "F-16"}
    paper.write_set(root, "data/real/target-test", rows, previews=True)
    found = read_changes(root, "v1", None)
    assert len(changed(found, "relabelled")) == 1
    assert "data:image" not in changes_page(found)


def test_thumbnails_of_removed_chips_come_from_dvcs_cache(paper: Any, root: Path, sets: Sets) -> None:
    paper.write_set(root, "data/generated", sets["data/generated"][:1])
    page = changes_page(read_changes(root, "v1", None))
    assert page.count("data:image/png;base64,") == 1
    assert f"Chips removed (v1), 1 of 1: {paper.chip_id('g1')}." in page
