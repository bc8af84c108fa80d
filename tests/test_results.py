"""Run files and the results page: what is collected comes back, and what is stale is refused."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from sarcurate import results
from sarcurate.errors import DataError
from sarcurate.io.run_files import RunFile, read_run, write_run
from sarcurate.variants import Variant

ROOT = Path(__file__).parents[1]
LABELS = ["B-52", "B-52", "C-130", "C-130", "F-16", "F-16"]
# seed 0 and 1 of two arms: 3 and 4 of 6 right, then 6 and 5 of 6
PREDICTED = {
    ("real-only", 0): ["B-52", "C-130", "C-130", "F-16", "F-16", "B-52"],
    ("real-only", 1): ["B-52", "B-52", "C-130", "F-16", "F-16", "B-52"],
    ("real+source", 0): LABELS,
    ("real+source", 1): ["B-52", "B-52", "C-130", "C-130", "F-16", "B-52"],
}


def _entry(chips: int, mmd: float, closed: float) -> dict[str, float]:
    ends = {"mmd_physics": mmd, "gap_closed_mmd_physics": closed}
    intervals = {f"{name}_{end}": value for name, value in ends.items() for end in ("low", "high")}
    others = {"log_psd_distance": 0.25, "gap_closed_log_psd_distance": 0.5, "median_enl": 3.25}
    return {"n_chips": chips} | ends | intervals | others


QUALITY = {
    "real": {"n_chips": 6, "median_enl": 3.125},
    "floor": _entry(6, 0.0, 0.0),
    "sets": {"source": _entry(9, 0.8, 0.0), "psd": _entry(9, 0.2, 0.75)},
}
CURATION = {"funnel": {"psd": {"made": 9, "enl": 8, "kept": 7}}, "real_chips_inside_all_gates": 0.875}


@pytest.fixture
def params_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "params"
    folder.mkdir()
    shutil.copy(ROOT / "params/quick.yaml", folder / "quick.yaml")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, params_folder: Path) -> Path:
    folder = tmp_path / "workspaces" / "quick-2"
    (folder / "metrics").mkdir(parents=True)
    text = (params_folder / "quick.yaml").read_text().replace("train_per_class: 8", "train_per_class: 2")
    (folder / "params.yaml").write_text(text)
    rows = [
        {
            "test_set": "target-test",
            "arm": arm,
            "seed": seed,
            "chip_id": f"chip{index}",
            "group_id": f"pass{index % 3}",
            "label": label,
            "predicted": predicted,
            "confidence": 0.5,
            "run_key": f"key-{arm}-{seed}",
        }
        for (arm, seed), run in PREDICTED.items()
        for index, (label, predicted) in enumerate(zip(LABELS, run, strict=True))
    ]
    pd.DataFrame(rows).to_parquet(folder / "metrics/predictions.parquet")
    arms = {"real-only": {"n_train": 6}, "real+source": {"n_train": 24}}
    (folder / "metrics/evaluation.json").write_text(json.dumps({"dataset_revision": "abc", "arms": arms}))
    (folder / "metrics/quality.json").write_text(json.dumps(QUALITY))
    (folder / "metrics/curation.json").write_text(json.dumps(CURATION))
    return folder


@pytest.fixture
def runs(tmp_path: Path, params_folder: Path, workspace: Path) -> Path:
    folder = tmp_path / "results" / "runs"
    results.collect(workspace, params_folder / "quick.yaml", folder)
    (tmp_path / "results" / "notes.md").write_text("Read with care.\n")
    return folder


def test_run_file_comes_back_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "chip_id": ["b", "a"],
            "group_id": ["g", "g"],
            "label": ["x", "y"],
            "predicted": ["x", "x"],
            "confidence": [1.0, 0.5],
        }
    )
    for name in ("one", "two"):
        write_run(tmp_path / f"{name}.parquet", RunFile({"arm": "real-only", "seed": 0}, rows))
    back = read_run(tmp_path / "one.parquet")
    assert back.facts == {"arm": "real-only", "seed": 0}
    assert back.predictions["chip_id"].tolist() == ["a", "b"]
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_another_parquet_is_no_run_file(tmp_path: Path) -> None:
    pd.DataFrame({"chip_id": ["a"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="is no run file"):
        read_run(tmp_path / "x.parquet")


def test_collect_keeps_every_run_and_what_differs_from_the_params_file(runs: Path) -> None:
    folder = runs / "quick-2"
    variant = json.loads((folder / "variant.json").read_text())
    assert variant == {"params": "quick.yaml", "replaced": {"split.target.train_per_class": 2}}
    assert {path.name for path in folder.glob("*.parquet")} == {
        f"{arm}.seed{seed}.parquet" for arm, seed in PREDICTED
    }


def test_a_variants_command_has_no_quotes_inside_its_quotes() -> None:
    variant = Variant("quick.yaml", {"migrate.mode": "paper", "evaluate.seeds": 3, "migrate.patience": None})
    expected = 'SET="migrate.mode=paper evaluate.seeds=3 migrate.patience=null"'
    assert variant.command("two") == f"make repro PARAMS=params/quick.yaml NAME=two {expected}"


def test_page_holds_the_numbers_worked_by_hand(runs: Path, params_folder: Path) -> None:
    page = results.assemble(runs, params_folder, workspaces=None)
    baseline, added = [line for line in page.splitlines() if line.startswith("| real")]
    assert "| 6 | 58.3 |" in baseline
    assert "3/6, 4/6" in baseline
    assert "| 24 | 91.7 |" in added
    assert "6/6, 5/6" in added
    assert "+33.3" in added
    assert "Read with care." in page
    assert 'make repro PARAMS=params/quick.yaml NAME=quick-2 SET="split.target.train_per_class=2"' in page
    assert "A smoke run, not evidence." in page


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("learning_rate: 3.0e-4", "learning_rate: 1.0e-4", "settings"),
        ("root_seed: 2606", "root_seed: 1", "data"),
    ],
)
def test_changed_params_make_runs_stale(
    runs: Path, params_folder: Path, before: str, after: str, what: str
) -> None:
    path = params_folder / "quick.yaml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(DataError, match=f"stale: its {what} is not today's"):
        results.assemble(runs, params_folder, workspaces=None)


CURATED_ARM = """arms:
  - {name: real-only, add: [], oversample: false, classical: false}
  - {name: kept, add: [psd-curated], oversample: false, classical: false}
"""
JUDGEMENT = [  # a value each of reference, score and curate
    ("null_references: 20", "null_references: 21"),
    ("\n  bootstrap_draws: 200", "\n  bootstrap_draws: 300"),
    ("max_per_class: null                # chips kept", "max_per_class: 3                   # chips kept"),
]


@pytest.fixture
def curated_runs(workspace: Path, params_folder: Path, tmp_path: Path) -> Path:
    """As ``runs``, where the second arm is one of curated chips."""
    return _runs_with_second_arm(CURATED_ARM, workspace, params_folder, tmp_path)


def _runs_with_second_arm(
    arms_text: str, workspace: Path, params_folder: Path, tmp_path: Path, n_train: int = 7
) -> Path:
    """As ``runs``, where the second arm is another, named ``kept``."""
    for path in (workspace / "params.yaml", params_folder / "quick.yaml"):
        head, _, rest = path.read_text().partition("arms:\n")
        path.write_text(head + arms_text + rest[rest.index("  oracle_per_class:") :])
    table = pd.read_parquet(workspace / "metrics/predictions.parquet")
    table.replace({"arm": {"real+source": "kept"}}).to_parquet(workspace / "metrics/predictions.parquet")
    arms = {"real-only": {"n_train": 6}, "kept": {"n_train": n_train}}
    numbers = {"dataset_revision": "abc", "arms": arms}
    (workspace / "metrics/evaluation.json").write_text(json.dumps(numbers))
    results.collect(workspace, params_folder / "quick.yaml", tmp_path / "results" / "runs")
    (tmp_path / "results" / "notes.md").write_text("Read with care.\n")
    return tmp_path / "results" / "runs"


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize(("before", "after"), JUDGEMENT, ids=["reference", "score", "curate"])
def test_other_gates_make_arms_of_curated_chips_stale(
    before: str, after: str, curated_runs: Path, params_folder: Path
) -> None:
    assert "| kept | 7 |" in results.assemble(curated_runs, params_folder, workspaces=None)
    _edit(params_folder / "quick.yaml", before, after)
    with pytest.raises(DataError, match="run kept seed 0 is stale: its arm is not today's"):
        results.assemble(curated_runs, params_folder, workspaces=None)


@pytest.mark.parametrize(("before", "after"), JUDGEMENT, ids=["reference", "score", "curate"])
def test_other_gates_leave_arms_of_whole_sets_alone(
    before: str, after: str, runs: Path, params_folder: Path
) -> None:
    (runs / "quick-2" / "quality.json").unlink()
    page = results.assemble(runs, params_folder, workspaces=None)
    assert "Kept by curation" not in page
    _edit(params_folder / "quick.yaml", before, after)
    assert results.assemble(runs, params_folder, workspaces=None) == page


@pytest.mark.parametrize(("before", "after"), JUDGEMENT, ids=["reference", "score", "curate"])
def test_other_gates_make_the_numbers_of_the_made_sets_stale(
    before: str, after: str, runs: Path, params_folder: Path
) -> None:
    _edit(params_folder / "quick.yaml", before, after)
    with pytest.raises(DataError, match=r"quality\.json is stale: its params are not today's"):
        results.assemble(runs, params_folder, workspaces=None)


@pytest.mark.parametrize(
    ("name", "before", "after", "stale"),
    [
        ("migrated", "  references: 1\n", "  references: 2\n", True),
        ("migrated-curated", "  references: 1\n", "  references: 2\n", True),
        ("migrated-generated", "  guidance: 2.0\n", "  guidance: 3.0\n", True),
        ("generated", "  guidance: 2.0\n", "  guidance: 3.0\n", True),
        ("migrated", "  guidance: 2.0\n", "  guidance: 3.0\n", False),
        ("generated", "  references: 1\n", "  references: 2\n", False),
        ("physics-matched", "  references: 1\n", "  references: 2\n", True),
        ("physics", "  references: 1\n", "  references: 2\n", False),
    ],
)
def test_other_making_makes_arms_of_made_chips_stale(
    name: str, before: str, after: str, stale: bool, workspace: Path, params_folder: Path, tmp_path: Path
) -> None:
    arms_text = CURATED_ARM.replace("psd-curated", name)
    assert name in arms_text
    runs = _runs_with_second_arm(arms_text, workspace, params_folder, tmp_path)
    page = results.assemble(runs, params_folder, workspaces=None)
    _edit(params_folder / "quick.yaml", before, after)
    if not stale:
        assert results.assemble(runs, params_folder, workspaces=None) == page
        return
    with pytest.raises(DataError, match="run kept seed 0 is stale: its arm is not today's"):
        results.assemble(runs, params_folder, workspaces=None)


@pytest.mark.parametrize(("n_train", "told"), [(6, True), (7, False)])
def test_arms_of_as_many_chips_are_held_against_the_migrated_one(
    n_train: int, told: bool, workspace: Path, params_folder: Path, tmp_path: Path
) -> None:
    arms_text = CURATED_ARM.replace("psd-curated", "migrated")
    runs = _runs_with_second_arm(arms_text, workspace, params_folder, tmp_path, n_train)
    page = results.assemble(runs, params_folder, workspaces=None)
    # 3 and 4 of 6 right, against 6 and 5
    line = "Arms of as many chips, in points over `kept` (95 % intervals): `real-only` -33.3 ("
    assert (line in page) is told


def test_other_migration_makes_the_numbers_of_migrated_sets_stale(
    workspace: Path, params_folder: Path, tmp_path: Path
) -> None:
    numbers = QUALITY | {"sets": QUALITY["sets"] | {"migrated": QUALITY["sets"]["psd"]}}
    (workspace / "metrics/quality.json").write_text(json.dumps(numbers))
    runs = tmp_path / "results" / "runs"
    results.collect(workspace, params_folder / "quick.yaml", runs)
    (tmp_path / "results" / "notes.md").write_text("Read with care.\n")
    assert "migrated" in results.assemble(runs, params_folder, workspaces=None)
    _edit(params_folder / "quick.yaml", "  references: 1\n", "  references: 2\n")
    with pytest.raises(DataError, match=r"quality\.json is stale: its params are not today's"):
        results.assemble(runs, params_folder, workspaces=None)


def test_page_says_how_near_the_made_sets_are_and_what_was_kept(runs: Path, params_folder: Path) -> None:
    lines = results.assemble(runs, params_folder, workspaces=None).splitlines()
    psd = next(line.split() for line in lines if line.startswith("psd"))
    assert psd[:3] == ["psd", "9", "0.200"]
    assert "75%" in psd
    assert "Kept by curation: psd 7 of 9; of left-out real train chips 87.5 % pass all gates." in lines


def test_arms_that_share_their_runs_have_a_run_file_each(
    workspace: Path, params_folder: Path, tmp_path: Path
) -> None:
    """Where curation keeps no chip, its arm has the baseline's training set, hence its run."""
    path = workspace / "metrics/predictions.parquet"
    table = pd.read_parquet(path)
    baseline = table[table["arm"] == "real-only"]
    pd.concat([baseline, baseline.assign(arm="real+source")]).to_parquet(path)
    written = results.collect(workspace, params_folder / "quick.yaml", tmp_path / "again")
    assert sorted(file.name for file in written) == sorted(f"{a}.seed{n}.parquet" for a, n in PREDICTED)
    shared = read_run(tmp_path / "again" / "quick-2" / "real+source.seed1.parquet")
    assert (shared.facts["arm"], shared.facts["run_key"]) == ("real+source", "key-real-only-1")


def test_other_code_makes_runs_stale(
    runs: Path, params_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "code_key", lambda: "other")
    with pytest.raises(DataError, match="stale: its code_key"):
        results.assemble(runs, params_folder, workspaces=None)


def test_other_chips_make_runs_stale(
    runs: Path, params_folder: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("real/target-train", "translated/physics"):
        (workspace / "data" / name).mkdir(parents=True)
    keys = {name: f"key-{name[0]}-{name[1]}" for name in PREDICTED}
    monkeypatch.setattr(results.evaluate, "run_keys", lambda *_: keys)
    assert "## quick-2" in results.assemble(runs, params_folder, workspace.parent)
    monkeypatch.setattr(results.evaluate, "run_keys", lambda *_: keys | {("real-only", 1): "changed"})
    with pytest.raises(DataError, match=r"run real-only seed 1 is stale: .* holds other chips"):
        results.assemble(runs, params_folder, workspace.parent)


def test_collecting_an_unfinished_workspace_says_what_to_do(tmp_path: Path, params_folder: Path) -> None:
    workspace = tmp_path / "new"
    workspace.mkdir()
    shutil.copy(params_folder / "quick.yaml", workspace / "params.yaml")
    with pytest.raises(DataError, match="no finished evaluation"):
        results.collect(workspace, params_folder / "quick.yaml", tmp_path / "runs")
