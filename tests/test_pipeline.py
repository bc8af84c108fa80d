"""The graph as a user runs it: DVC in a workspace of its own, one process per stage."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = [
    *("acquire", "ingest", "split", "validate", "reference", "tune", "generate"),
    *("migrate", "translate", "score", "curate", "evaluate", "report", "package"),
]
JUDGED = ["curate", "evaluate", "report", "package"]  # what a gate or a verdict costs
WEIGHTS = ".sarcurate/cache/evaluate/*/[!.]*/weights.safetensors"  # unfinished entries are hidden folders
PATIENCE_S = 300
# One process per stage: the first test alone waits for a whole graph.
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Workspace:
    root: Path

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """What a command says (both streams as ``stdout``) and its exit code."""
        return subprocess.run(
            command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )

    def say(self, *command: str) -> str:
        done = self.call(*command)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    def repro(self, *arguments: str) -> list[str]:
        """Names of the stages that ran."""
        return re.findall(r"Running stage '(\w+)'", self.say("dvc", "repro", *arguments))

    def change(self, path: str, value: Any) -> None:
        """Edit one value of params.yaml, as a user would."""
        yaml = YAML()
        data = yaml.load(self.root / "params.yaml")
        *parents, last = path.split(".")
        section = data
        for key in parents:
            section = section[key]
        section[last] = value
        yaml.dump(data, self.root / "params.yaml")

    def lock(self) -> dict[str, dict[str, str]]:
        """Content hash of every out by stage and path."""
        data = YAML(typ="safe", pure=True).load(self.root / "dvc.lock")
        return {
            name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in data["stages"].items()
        }

    def metrics(self) -> dict[str, Any]:
        return self.numbers("evaluation")

    def numbers(self, name: str) -> dict[str, Any]:
        """What stands in ``metrics/NAME.json``."""
        found: dict[str, Any] = json.loads((self.root / "metrics" / f"{name}.json").read_text())
        return found

    def trained(self) -> dict[str, tuple[int, int]]:
        """Inode and time of the weights of every finished run."""
        found = {path.parent.name: path.stat() for path in self.root.glob(WEIGHTS)}
        return {key: (stat.st_ino, stat.st_mtime_ns) for key, stat in found.items()}

    def bytes_of(self, *folders: str) -> dict[str, str]:
        """Hash of every file below some folders."""
        files = [path for name in folders for path in sorted((self.root / name).rglob("*")) if path.is_file()]
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


def _init(folder: Path, params: str, **settings: Any) -> Workspace:
    pairs = [f"{path.replace('__', '.')}={json.dumps(value)}" for path, value in settings.items()]
    command = ["sarcurate", "init", str(folder), "--params", str(REPOSITORY / "params" / f"{params}.yaml")]
    subprocess.run([*command, *(word for pair in pairs for word in ("--set", pair))], check=True)
    return Workspace(folder)


def _copy(made: Workspace, folder: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(made.root, folder, symlinks=True)))


def _quick(folder: Path) -> Workspace:
    return _init(folder, "quick", evaluate__threads=1, reference__network__threads=1)


@pytest.fixture(scope="session")
def quick_graph(tmp_path_factory: pytest.TempPathFactory, quiet_environment: None) -> Workspace:
    """The quick variant, run once and committed as v1; not to be changed."""
    made = _quick(tmp_path_factory.mktemp("graph") / "quick")
    assert made.repro() == STAGES
    made.say("git", "add", ".")
    made.say("git", "commit", "-q", "-m", "first revision")
    made.say("git", "tag", "v1")
    return made


@pytest.fixture
def quick(quick_graph: Workspace, tmp_path: Path) -> Workspace:
    return _copy(quick_graph, tmp_path / "quick")


def _pipeline(folder: Path) -> dict[str, Any]:
    stages: dict[str, Any] = YAML(typ="safe", pure=True).load(folder / "dvc.yaml")["stages"]
    return stages


def _outs(folder: Path, stage: str) -> Iterator[str]:
    for kind in ("outs", "metrics", "plots"):
        for entry in _pipeline(folder)[stage].get(kind, []):
            yield next(iter(entry)) if isinstance(entry, dict) else entry


def _command(folder: Path, stage: str) -> list[str]:
    words: list[str] = _pipeline(folder)[stage]["cmd"].split()
    return words


# --- the whole graph


def test_the_graph_writes_every_out(quick_graph: Workspace) -> None:
    outs = [out for stage in STAGES for out in _outs(quick_graph.root, stage)]
    assert len(outs) > 10
    for name in outs:
        path = quick_graph.root / name
        assert path.is_file() or any(path.iterdir()), name
    metrics = quick_graph.metrics()
    assert list(metrics["arms"]) == ["real-only", "real+source", "real+physics", "real+psd"]
    page = (quick_graph.root / "metrics" / "report" / "index.html").read_text()
    assert metrics["dataset_revision"] in page
    assert "Gap closed" in page
    made = ["physics", "psd", "migrated", "migrated-generated"]
    assert list(quick_graph.numbers("quality")["sets"]) == ["source", *made]
    scores = pd.read_parquet(quick_graph.root / "data" / "scores.parquet")
    assert quick_graph.numbers("curation")["n_made"] == len(scores) > 0
    assert "no evidence" in page


def test_git_keeps_small_text_only(quick_graph: Workspace) -> None:
    tracked = quick_graph.say("git", "ls-files").split()
    names = ("curation", "evaluation", "generation", "quality", "tune", "validation")
    numbers = {f"metrics/{name}.json" for name in names}
    assert {"dvc.lock", "dvc.yaml", "params.yaml", "data/verdicts.csv", *numbers} <= set(tracked)
    assert sum((quick_graph.root / name).stat().st_size for name in tracked) < 100_000
    assert quick_graph.say("git", "status", "--porcelain") == ""


def test_nothing_is_out_of_date_and_nothing_runs_twice(quick_graph: Workspace) -> None:
    assert "up to date" in quick_graph.say("dvc", "status")
    before = (quick_graph.root / "dvc.lock").read_bytes()
    assert quick_graph.repro() == []
    assert (quick_graph.root / "dvc.lock").read_bytes() == before


# --- changes


def test_a_value_of_evaluate_costs_evaluate_and_report_alone(quick: Workspace) -> None:
    before, weights = quick.lock(), quick.trained()
    quick.change("evaluate.interval_level", 0.8)
    assert quick.repro() == ["evaluate", "report", "package"]
    after = quick.lock()
    assert all(after[name] == before[name] for name in STAGES[:-3])
    assert quick.trained() == weights
    assert quick.metrics()["interval_level"] == 0.8
    quick.say("git", "commit", "-q", "-a", "-m", "narrower")
    changed = json.loads(quick.say("dvc", "metrics", "diff", "--json", "v1", "HEAD"))
    level = changed["metrics/evaluation.json"]["interval_level"]
    assert (level["old"], level["new"]) == (0.95, 0.8)


def test_an_added_arm_is_the_only_one_trained(quick: Workspace) -> None:
    before = quick.trained()
    assert len(before) == 4 * 2
    arms = YAML(typ="safe", pure=True).load(quick.root / "params.yaml")["evaluate"]["arms"]
    extra = {"name": "both", "add": ["source", "physics"], "oversample": False, "classical": False}
    first = quick.metrics()["arms"]
    quick.change("evaluate.arms", [*arms, extra])
    assert quick.repro() == ["evaluate", "report", "package"]
    after = quick.trained()
    assert len(after) == 5 * 2
    assert {key: after[key] for key in before} == before
    again = quick.metrics()["arms"]
    assert all(again[name]["n_correct"] == numbers["n_correct"] for name, numbers in first.items())


def _level_gate(low_db: float) -> dict[str, Any]:
    """Chips of this mean level or more are kept."""
    return {"measure": "mean_db", "side": "lower", "low": low_db, "high": None, "if_missing": "keep"}


def test_a_gate_costs_curate_and_what_follows_and_trains_arms_of_kept_chips_alone(quick: Workspace) -> None:
    arms = YAML(typ="safe", pure=True).load(quick.root / "params.yaml")["evaluate"]["arms"]
    kept_arm = {"name": "kept", "add": ["psd-curated"], "oversample": False, "classical": False}
    quick.change("evaluate.arms", [*arms, kept_arm])
    quick.change("curate.gates", [_level_gate(-100.0)])
    assert quick.repro() == JUDGED
    before, trained, first = quick.lock(), quick.trained(), quick.metrics()
    assert len(trained) == 4 * 2  # with all chips kept, the arm's training set is that of real+psd
    scores = pd.read_parquet(quick.root / "data" / "scores.parquet")
    psd = scores[scores["set"] == "psd"]
    middle = float(np.sort(psd["mean_db"])[1])
    quick.change("curate.gates", [_level_gate(middle)])
    assert quick.repro() == JUDGED
    after = quick.lock()
    assert [name for name in STAGES if after[name] != before[name]] == JUDGED
    again = quick.trained()
    assert {key: again[key] for key in trained} == trained
    assert len(again) == len(trained) + 2  # the arm of kept chips, two seeds
    metrics = quick.metrics()
    assert metrics["arms"]["kept"]["n_train"] == first["arms"]["kept"]["n_train"] - 1
    for name in ("real-only", "real+physics", "real+psd"):
        assert metrics["arms"][name]["n_correct"] == first["arms"][name]["n_correct"]
    assert metrics["dataset_revision"] != first["dataset_revision"]


def test_a_verdict_rejects_a_chip_and_costs_curate_and_what_follows(quick: Workspace) -> None:
    quick.change("curate.gates", [_level_gate(-100.0)])
    quick.repro()
    trained, first = quick.trained(), quick.metrics()
    chip = pd.read_parquet(quick.root / "data" / "scores.parquet").iloc[0]
    verdicts = quick.root / "data" / "verdicts.csv"
    line = f"{chip['chip_id']},{{}},reject,,two noses,Ann,2026-01-31T13:05:00Z\n"
    verdicts.write_text(verdicts.read_text() + line.format(chip["pixels_sha256"]))
    assert "data/verdicts.csv" in quick.say("dvc", "status")
    assert quick.repro() == JUDGED
    fates = pd.read_parquet(quick.root / "data" / "selection.parquet").set_index("chip_id")
    assert fates.index[~fates["kept"]].tolist() == [chip["chip_id"]]
    assert fates.loc[chip["chip_id"], "reason"] == "rejected by Ann: two noses"
    assert quick.numbers("curation")["n_rejected_by_people"] == 1
    assert quick.metrics()["dataset_revision"] != first["dataset_revision"]
    assert quick.trained() == trained  # no arm is of curated chips
    verdicts.write_text(verdicts.read_text().replace(chip["pixels_sha256"], 64 * "0"))
    # the Selection is the first one again: nothing to evaluate
    assert quick.repro() == ["curate", "report", "package"]
    assert quick.numbers("curation")["n_stale_verdicts"] == 1
    assert quick.metrics()["dataset_revision"] == first["dataset_revision"]


def test_an_external_test_is_scored_apart_without_training(quick: Workspace) -> None:
    before, first = quick.trained(), quick.metrics()
    raw = quick.root / "data" / "raw" / "target"
    far = quick.root / "far"
    for label in ("B-52", "F-16"):
        (far / label).mkdir(parents=True)
        shutil.copy(raw / label / "00000.npy", far / label / "mine.npy")
    quick.change("evaluate.external_tests", [{"name": "far", "path": "far"}])
    quick.say("sarcurate", "init", ".", "--refresh")
    assert quick.repro() == ["evaluate", "report", "package"]
    assert quick.trained() == before
    metrics = quick.metrics()
    far_scores = metrics["external_tests"]["far"]
    assert len(far_scores["content_sha256"]) == 64
    assert {numbers["n_test"] for numbers in far_scores["arms"].values()} == {2}
    assert metrics["arms"] == first["arms"]
    assert metrics["dataset_revision"] == first["dataset_revision"]
    shutil.copy(raw / "F-16" / "00001.npy", far / "F-16" / "mine.npy")
    assert "far" in quick.say("dvc", "status")
    assert quick.repro() == ["evaluate", "report", "package"]
    assert quick.metrics()["external_tests"]["far"]["content_sha256"] != far_scores["content_sha256"]


def test_a_misspelt_param_stops_the_run(quick: Workspace) -> None:
    text = (quick.root / "params.yaml").read_text()
    (quick.root / "params.yaml").write_text(text.replace("label_smoothing:", "label_smothing:"))
    done = quick.call("dvc", "repro")
    assert done.returncode != 0
    assert "evaluate.label_smothing: unknown field" in done.stdout
    assert "evaluate.label_smoothing: missing" in done.stdout
    assert quick.call("sarcurate", "ingest", "a", "b", "c", "d").returncode == 2


def test_same_seed_gives_the_same_bytes(quick_graph: Workspace, tmp_path: Path) -> None:
    again = _quick(tmp_path / "again")
    assert again.repro() == STAGES
    folders = (
        *("data/chips", "data/real", "data/reference", "models/adapter"),
        *("data/generated", "data/translated"),
    )
    chips = quick_graph.bytes_of(*folders)
    assert len(chips) > 200
    assert again.bytes_of(*folders) == chips
    assert again.metrics() == quick_graph.metrics()
    assert again.lock() == quick_graph.lock()


# --- a killed run


def test_a_killed_evaluate_resumes(quick: Workspace, quick_graph: Workspace) -> None:
    shutil.rmtree(quick.root / ".sarcurate")
    for path in (quick.root / "metrics").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    command = ["dvc", "repro", "--force", "--single-item", "--no-run-cache", "evaluate"]
    with subprocess.Popen(
        command, cwd=quick.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as run:
        give_up = time.monotonic() + PATIENCE_S
        while not quick.trained() and run.poll() is None and time.monotonic() < give_up:
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()  # ends only when the last process of the group is gone
    before = quick.trained()
    assert 1 <= len(before) < 8
    assert not (quick.root / "metrics" / "evaluation.json").exists()
    quick.say(*command)
    after = quick.trained()
    assert len(after) == 8
    assert {key: after[key] for key in before} == before
    name = "metrics/predictions.parquet"
    assert (quick.root / name).read_bytes() == (quick_graph.root / name).read_bytes()


# --- own data


def _write_png(path: Path, seed: int, side_px: int) -> None:
    rng = np.random.default_rng(seed)
    amplitude = 40 * rng.rayleigh(size=(side_px, side_px))
    middle = side_px // 2
    amplitude[middle - 2 : middle + 2, 2:-2] += 20 * (1 + len(path.parent.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(amplitude, 1, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def own_graph(
    tmp_path_factory: pytest.TempPathFactory, tiny_data: Callable[..., dict[str, Any]]
) -> Workspace:
    """A user's PNG class folders, the paper's protocol at the smallest numbers; run and committed."""
    baseline = [{"name": "real-only", "add": [], "oversample": False, "classical": False}]
    made = _init(
        tmp_path_factory.mktemp("own") / "my",
        "paper",
        dataset__classes=["ship", "tank"],
        dataset__footprint_m=64.0,
        acquire__source__radiometry="uint8_relative",
        acquire__target__radiometry="uint8_relative",
        split__target__train_per_class=6,
        split__folds=2,
        reference__network__updates=2,
        reference__network__threads=1,
        tune=tiny_data()["tune"],
        generate=tiny_data()["generate"],
        migrate=tiny_data()["migrate"],
        score__bootstrap_draws=100,
        evaluate__arms=baseline,
        evaluate__seeds=1,
        evaluate__image_px=32,
        evaluate__updates=1,
        evaluate__batch_size=4,
        evaluate__threads=1,
        evaluate__bootstrap_draws=200,
    )
    for side, side_px in (("source", 64), ("target", 32)):  # smaller ones have no physics vector
        for label in ("ship", "tank"):
            for index in range(9):
                seed = _seed_of(side, label, index)
                _write_png(made.root / "incoming" / side / label / f"{index}.png", seed, side_px)
    assert made.repro() == STAGES
    made.say("git", "add", "params.yaml", "dvc.yaml", "dvc.lock", ".gitignore", "metrics")
    made.say("git", "commit", "-q", "-m", "my chips")
    return made


def _seed_of(*parts: object) -> int:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16)


@pytest.fixture
def own(own_graph: Workspace, tmp_path: Path) -> Workspace:
    return _copy(own_graph, tmp_path / "my")


def test_own_chips_run_through_and_stay_relative(own_graph: Workspace) -> None:
    for name in ("real/target-train", "translated/physics", "translated/psd"):
        table = pd.read_parquet(own_graph.root / "data" / name / "metadata.parquet")
        assert set(table["radiometry"]) == {"uint8_relative"}
        assert set(table["label"]) == {"ship", "tank"}
        assert set(table["licence"]) == {"not stated"}
    assert len(pd.read_parquet(own_graph.root / "data/real/target-train/metadata.parquet")) == 12


def test_an_added_chip_is_noticed_and_gives_another_revision(own: Workspace) -> None:
    before = own.metrics()["dataset_revision"]
    assert "up to date" in own.say("dvc", "status")
    _write_png(own.root / "incoming" / "source" / "tank" / "new.png", 99, 64)
    assert "incoming/source" in own.say("dvc", "status")
    assert own.repro()[:5] == STAGES[:5]
    assert own.metrics()["dataset_revision"] != before
    table = pd.read_parquet(own.root / "data/chips/source/metadata.parquet")
    assert "tank/new.png" in set(table["source_path"])


def test_a_broken_chip_stops_the_run_and_earlier_outputs_come_back(own: Workspace) -> None:
    folders = ("data/chips", "data/real", "data/translated", "metrics/report")
    before = own.bytes_of(*folders)
    broken = own.root / "incoming" / "target" / "ship" / "broken.png"
    _write_png(broken, 98, 32)
    broken.write_bytes(broken.read_bytes()[:90])
    done = own.call("dvc", "repro")
    assert done.returncode != 0
    assert "broken.png" in done.stdout
    assert "Fix: " in done.stdout
    assert "Traceback" not in done.stdout
    by_hand = own.call(
        "sarcurate", "ingest", "data/raw/source", "data/raw/target", "tried/source", "tried/target"
    )
    assert by_hand.returncode == 3
    assert not (own.root / "tried" / "target" / "chipset.json").exists()
    broken.unlink()
    own.say("git", "checkout", "-q", "dvc.lock")
    own.say("dvc", "checkout", "--force")
    assert own.bytes_of(*folders) == before
    assert own.repro() == []


def test_chips_that_fail_validation_stop_the_run_with_a_report(own: Workspace) -> None:
    own.change("validate.max_class_ratio", 1.0)
    _write_png(own.root / "incoming" / "source" / "tank" / "new.png", 99, 64)
    own.change("validate.severities", {"class-balance": "error"})
    done = own.call("dvc", "repro")
    assert done.returncode != 0
    assert "error     class-balance" in done.stdout
    assert "Fix: " in done.stdout
    assert "Running stage 'translate'" not in done.stdout
    assert "class-balance" in (own.root / "metrics" / "validation.html").read_text()
    numbers = json.loads((own.root / "metrics" / "validation.json").read_text())
    assert (numbers["passed"], numbers["n_failed_errors"]) == (False, 1)
    assert not (own.root / "data" / "validated.json").exists()
    by_hand = "data/validated.json data/real/source-train data/real/target-train out/physics out/psd"
    assert own.call("sarcurate", "translate", *by_hand.split()).returncode == 3
    assert not (own.root / "out").exists()
    own.change("validate.severities", {})
    assert own.repro() == STAGES[3:]
    assert "chips" in (own.root / ".sarcurate" / "data_docs" / "index.html").read_text()


def test_an_own_expectation_is_a_dep_of_validate_alone(own: Workspace) -> None:
    meta = {"rule": "mine", "severity": "warning", "says": "Looks are four", "fix": "take others"}
    kwargs = {"column": "looks_nominal", "min_value": 4}
    entry = {"type": "expect_column_values_to_be_between", "kwargs": kwargs, "meta": meta}
    (own.root / "own.yaml").write_text(json.dumps({"expectations": [entry]}))
    own.change("validate.expectations", ["own.yaml"])
    own.say("sarcurate", "init", ".", "--refresh")
    assert own.repro() == ["validate"]
    (own.root / "own.yaml").write_text(json.dumps({"expectations": []}))
    assert "own.yaml" in own.say("dvc", "status")
    assert own.repro() == ["validate"]


# --- leakage


@pytest.mark.parametrize(
    ("stage", "right", "wrong"),
    [
        ("reference", "data/real/target-train", "data/real/target-test"),
        ("tune", "data/real/source-train", "data/real/target-test"),
        ("tune", "data/real/source-train", "data/chips/source"),
        ("generate", "data/real/source-train", "data/real/target-test"),
        ("translate", "data/real/target-train", "data/real/target-test"),
        ("translate", "data/real/source-train", "data/chips/source"),
        ("score", "data/real/target-train", "data/real/target-test"),
        ("evaluate", "data/real/target-train", "data/real/target-test"),
        ("report", "data/real/target-train", "data/real/target-test"),
        ("package", "data/real/target-train", "data/real/source-test"),
    ],
    ids=lambda part: part.rsplit("/")[-1],
)
def test_test_chips_at_the_wrong_place_are_exit_code_3(
    stage: str, right: str, wrong: str, quick_graph: Workspace
) -> None:
    outs = set(_outs(quick_graph.root, stage))
    command = [
        f"out/{Path(word).name}" if word in outs else wrong if word == right else word
        for word in _command(quick_graph.root, stage)
    ]
    assert wrong in command
    done = quick_graph.call(*command)
    assert done.returncode == 3, done.stdout
    assert "may be read here" in done.stdout
    assert not (quick_graph.root / "out").exists()


# --- real chips


@pytest.fixture
def mirror() -> Path:
    setting = os.environ.get("SARCURATE_MIRROR")
    if not setting or not (Path(setting) / "tsx-s1-slc").is_dir():
        pytest.skip(f"tsx-s1-slc is not here (SARCURATE_MIRROR={setting}): sarcurate fetch tsx-s1-slc")
    return Path(setting)


@pytest.mark.real
def test_a_cut_of_real_chips_runs_through(
    mirror: Path, tmp_path: Path, tiny_data: Callable[..., dict[str, Any]]
) -> None:
    small = {
        f"evaluate__{name}": tiny_data()["evaluate"][name] for name in ("updates", "batch_size", "threads")
    }
    made = _init(
        tmp_path / "real",
        "tsx-s1-slc",
        acquire__source__max_per_class=12,
        acquire__target__max_per_class=12,
        split__target__train_per_class=6,
        split__folds=2,
        reference__network__updates=2,
        reference__network__threads=1,
        tune=tiny_data()["tune"],
        generate=tiny_data()["generate"],
        migrate=tiny_data()["migrate"],
        evaluate__arms=tiny_data()["evaluate"]["arms"],
        evaluate__seeds=1,
        evaluate__image_px=32,
        evaluate__bootstrap_draws=200,
        **small,
    )
    assert made.repro() == STAGES
    metrics = made.metrics()
    assert metrics["evidence"] == "real"
    assert metrics["arms"]["real-only"]["n_train"] == 3 * 6
    manifests = {
        name: pd.read_parquet(made.root / "data" / "real" / name / "metadata.parquet")
        for name in ("target-train", "target-test")
    }
    assert not set.intersection(*(set(table["group_id"]) for table in manifests.values()))
    assert all(set(table["origin"]) == {"real"} for table in manifests.values())
