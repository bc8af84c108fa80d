"""Shared by the tests of models, stages, workspace and pipeline: tiny params and the sets made from them."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[1]
MADE = ("physics", "psd")
TINY = {
    "code.source_sha256": "deps",
    "dataset.classes": ["B-52", "F-16"],
    "acquire.source.chips_per_class": {"B-52": 6, "F-16": 6},
    "acquire.target.chips_per_class": {"B-52": 12, "F-16": 12},
    "reference.network.updates": 2,
    "reference.network.threads": 1,
    "tune.targets": "paper",
    "tune.rank": 2,
    "tune.steps": 2,
    "tune.batch_size": 2,
    "tune.micro_batch": 2,
    "tune.validate_every": 2,
    "tune.save_every": 2,
    "tune.preview_steps": 1,
    "tune.threads": 1,
    "generate.per_class": 2,
    "generate.max_tries_per_class": 2,
    "generate.steps": 2,
    "generate.batch_size": 4,
    "generate.threads": 1,
    "migrate.source_per_class": 2,
    "migrate.generated_per_class": 1,
    "migrate.timesteps": 2,
    "migrate.iterations": 2,
    "migrate.pixel_every": 2,
    "migrate.batch_size": 4,
    "migrate.threads": 1,
    "evaluate.arms": [
        {"name": "real-only", "add": [], "oversample": False, "classical": False},
        {"name": "real+physics", "add": ["physics"], "oversample": False, "classical": False},
    ],
    "evaluate.updates": 1,
    "evaluate.batch_size": 4,
    "evaluate.threads": 1,
    "evaluate.bootstrap_draws": 200,
}
QUIET_ENVIRONMENT = {
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_OFFLINE": "1",
    "GIT_AUTHOR_NAME": "nobody",
    "GIT_AUTHOR_EMAIL": "nobody@example.org",
    "GIT_COMMITTER_NAME": "nobody",
    "GIT_COMMITTER_EMAIL": "nobody@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


@pytest.fixture(scope="session", autouse=True)
def quiet_environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Offline, no telemetry, this environment's commands first, nothing of the user's settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET_ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("dvc-site-cache")))
        patch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        mirror = os.environ.get("SARCURATE_MIRROR")
        if mirror:  # a relative path means the folder that pytest was called in
            patch.setenv("SARCURATE_MIRROR", str(request.config.invocation_params.dir / mirror))
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


def _set(data: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        data = data[key]
    data[last] = value


@pytest.fixture(scope="session")
def tiny_data() -> Callable[..., dict[str, Any]]:
    """``tiny_data({"evaluate.seeds": 1})``: params/quick.yaml, made tinier, as plain data."""
    quick = YAML(typ="safe", pure=True).load(REPOSITORY / "params" / "quick.yaml")

    def make(settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data: dict[str, Any] = copy.deepcopy(quick)
        for path, value in (TINY | dict(settings or {})).items():
            _set(data, path, copy.deepcopy(value))
        return data

    return make


@pytest.fixture(scope="session")
def tiny_params(tiny_data: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """As ``tiny_data``, checked: a Params."""
    from sarcurate.params import check_params

    return lambda settings=None: check_params(tiny_data(settings), Path("params.yaml"))


@dataclass(frozen=True)
class TinySets:
    """ChipSets of the tiny params, made by the stages in this process; not to be written to."""

    root: Path

    def raw(self) -> dict[str, Path]:
        return {side: self.root / "raw" / side for side in ("source", "target")}

    def chips(self) -> dict[str, Path]:
        return {side: self.root / "chips" / side for side in ("source", "target")}

    def parts(self) -> dict[str, Path]:
        names = ("source-train", "source-test", "target-train", "target-test")
        return {name: self.root / "real" / name for name in names}

    def made(self) -> dict[str, Path]:
        return {name: self.root / "translated" / name for name in MADE}

    def selection(self) -> Path:
        return self.root / "split.parquet"


@pytest.fixture(scope="session")
def tiny_sets(
    tiny_params: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, quiet_environment: None
) -> TinySets:
    from sarcurate.stages import acquire, ingest, split, translate

    sets, params = TinySets(tmp_path_factory.mktemp("tiny")), tiny_params()
    acquire.run(params, sets.raw(), None)
    ingest.run(params, sets.raw(), sets.chips())
    split.run(params, sets.chips(), sets.parts(), sets.selection())
    parts = sets.parts()
    translate.run(params, parts["source-train"], parts["target-train"], sets.made())
    return sets


@dataclass(frozen=True)
class TinyJudged:
    """What reference, tune, generate, migrate, score and curate made of the tiny sets; not to be written to.

    Args:
        root: of it all; translated: sets of translate by name.
    """

    root: Path
    translated: Mapping[str, Path]

    def references(self) -> dict[str, Path]:
        return {side: self.root / "reference" / side for side in ("source", "target")}

    def validated(self) -> Path:
        return self.root / "validated.json"

    def scores(self) -> Any:
        """Outputs of score."""
        from sarcurate.stages import score

        tables = ("scores.parquet", "source_scores.parquet", "generated_scores.parquet")
        numbers = ("quality.json", "generated_quality.json", "marginal.csv")
        return score.Outputs(*(self.root / name for name in (*tables, *numbers)))

    def tuned(self) -> Any:
        """Outputs of tune."""
        from sarcurate.stages import tune

        names = ("adapter", "tune.json", "tune_curve.csv", "tune")
        return tune.Outputs(*(self.root / name for name in names))

    def generated(self) -> Path:
        return self.root / "generated"

    def generation(self) -> Path:
        return self.root / "generation.json"

    def migration(self) -> Any:
        """Outputs of migrate."""
        from sarcurate.stages import migrate

        sets = ("migrated", "migrated-generated")
        numbers = ("migration.json", "migration_losses.parquet", "migration_losses.csv")
        return migrate.Outputs(*(self.root / name for name in (*sets, *numbers)))

    def made(self) -> dict[str, Path]:
        """All sets that claim to be the target's, by name."""
        moved = self.migration()
        return {
            **self.translated,
            "migrated": moved.migrated,
            "migrated-generated": moved.migrated_generated,
        }

    def verdicts(self) -> Path:
        return self.root / "verdicts.csv"

    def selection(self) -> Path:
        return self.root / "selection.parquet"

    def curation(self) -> Path:
        return self.root / "curation.json"


@pytest.fixture(scope="session")
def tiny_judged(
    tiny_params: Callable[..., Any], tiny_sets: TinySets, tmp_path_factory: pytest.TempPathFactory
) -> TinyJudged:
    from sarcurate.io.chipset import open_chipset
    from sarcurate.io.validated import write_validated
    from sarcurate.io.verdicts import HEADER
    from sarcurate.stages import curate, generate, migrate, reference, score, tune

    judged = TinyJudged(tmp_path_factory.mktemp("judged"), tiny_sets.made())
    params, parts = tiny_params(), tiny_sets.parts()
    train = {side: parts[f"{side}-train"] for side in ("source", "target")}
    reference.run(params, train, judged.references())
    revisions = {side: open_chipset(path, splits=("train",)).revision for side, path in train.items()}
    write_validated(judged.validated(), revisions)
    source_reference, target_reference = (judged.references()[side] for side in ("source", "target"))
    cache = tmp_path_factory.mktemp("judged-cache")
    learnt = tune.Inputs(judged.validated(), train["source"], source_reference)
    tune.run(params, learnt, judged.tuned(), cache / "tune")
    drawn = generate.Inputs(judged.validated(), train["source"], source_reference, judged.tuned().adapter)
    generate.run(params, drawn, judged.generated(), judged.generation(), cache / "generate")
    contents = migrate.Inputs(
        judged.validated(),
        train["source"],
        train["target"],
        judged.generated(),
        source_reference,
        target_reference,
    )
    migrate.run(params, contents, judged.migration(), cache / "migrate")
    inputs = score.Inputs(
        train["source"],
        train["target"],
        source_reference,
        target_reference,
        judged.generated(),
        judged.made(),
    )
    score.run(params, inputs, judged.scores())
    judged.verdicts().write_text(HEADER + "\n", encoding="utf-8")
    asked = curate.Inputs(judged.validated(), target_reference, judged.scores().scores, judged.verdicts())
    curate.run(params, asked, judged.selection(), judged.curation())
    return judged


@pytest.fixture(scope="session")
def tiny_workspace(
    tiny_data: Callable[..., dict[str, Any]],
    tiny_sets: TinySets,
    tiny_judged: TinyJudged,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A workspace after curate, without test chips; not to be written to, see ``own_workspace``."""
    root = tmp_path_factory.mktemp("workspace")
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(tiny_data(), file)
    made = tiny_judged.made()
    folders = {
        **{f"real/{name}": path for name, path in tiny_sets.parts().items() if "test" not in name},
        **{f"translated/{name}": made[name] for name in MADE},
        **{name: path for name, path in made.items() if name not in MADE},
        "generated": tiny_judged.generated(),
        "reference": tiny_judged.root / "reference",
    }
    for name, path in folders.items():
        shutil.copytree(path, root / "data" / name)
    tables = tiny_judged.scores()
    files = (tables.scores, tables.source_scores, tables.generated_scores)
    for path in (*files, tiny_judged.selection(), tiny_judged.verdicts(), tiny_judged.validated()):
        shutil.copy(path, root / "data")
    (root / "metrics").mkdir()
    shutil.copy(tiny_judged.curation(), root / "metrics")
    return root


@pytest.fixture
def own_workspace(tiny_workspace: Path, tmp_path: Path) -> Path:
    """A copy of ``tiny_workspace`` to write to."""
    return Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))


@dataclass(frozen=True)
class TinyEvaluation:
    """Where an evaluate of the tiny sets wrote; not to be written to."""

    inputs: Any
    outputs: Any
    cache: Path


@pytest.fixture(scope="session")
def evaluate_paths(tiny_sets: TinySets, tiny_judged: TinyJudged) -> Callable[[Path], Any]:
    """Inputs and outputs of evaluate on the tiny sets, the outputs below a folder."""
    from sarcurate.stages import evaluate

    parts = tiny_sets.parts()
    inputs = evaluate.Inputs(
        tiny_sets.chips()["target"],
        tiny_sets.selection(),
        parts["source-train"],
        parts["target-train"],
        parts["target-test"],
        tiny_judged.generated(),
        tiny_judged.made(),
        tiny_judged.selection(),
    )

    def make(folder: Path) -> TinyEvaluation:
        outputs = evaluate.Outputs(
            folder / "evaluation.json",
            folder / "predictions.parquet",
            folder / "training_loss.csv",
            folder / "confusion",
        )
        return TinyEvaluation(inputs, outputs, folder / "cache")

    return make


@pytest.fixture(scope="session")
def tiny_evaluation(
    tiny_params: Callable[..., Any],
    evaluate_paths: Callable[[Path], TinyEvaluation],
    tmp_path_factory: pytest.TempPathFactory,
) -> TinyEvaluation:
    from sarcurate.stages import evaluate

    made = evaluate_paths(tmp_path_factory.mktemp("tiny-evaluation"))
    evaluate.run(tiny_params(), made.inputs, made.outputs, made.cache)
    return made


@pytest.fixture(scope="session")
def paper() -> Any:
    """The module tests/paper_workspace.py: workspaces on paper, without a pipeline."""
    path = REPOSITORY / "tests" / "paper_workspace.py"
    spec = importlib.util.spec_from_file_location("paper_workspace", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def package_inputs(tiny_sets: TinySets, tiny_judged: TinyJudged, tiny_evaluation: TinyEvaluation) -> Any:
    """Inputs of package on the tiny sets."""
    from sarcurate.stages import package

    parts, scores, references = tiny_sets.parts(), tiny_judged.scores(), tiny_judged.references()
    judgements = package.Judgements(
        scores.scores,
        scores.source_scores,
        scores.generated_scores,
        tiny_judged.selection(),
        references["source"],
        references["target"],
    )
    return package.Inputs(
        validated=tiny_judged.validated(),
        metrics=package.Metrics(tiny_evaluation.outputs.metrics, tiny_judged.curation()),
        judgements=judgements,
        train={side: parts[f"{side}-train"] for side in ("source", "target")},
        test={side: parts[f"{side}-test"] for side in ("source", "target")},
        generated=tiny_judged.generated(),
        made=tiny_judged.made(),
    )


@pytest.fixture(scope="session")
def tiny_release(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What package made of the tiny sets; not to be written to."""
    from sarcurate.stages import package

    out = tmp_path_factory.mktemp("release") / "hub"
    package.run(tiny_params(), package_inputs, out)
    return out


@pytest.fixture
def own_release(tiny_release: Path, tmp_path: Path) -> Path:
    """A copy of ``tiny_release`` to write to."""
    return Path(shutil.copytree(tiny_release, tmp_path / "hub"))
