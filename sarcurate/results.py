"""Results: run files collected from workspaces, and the page of arms tables assembled from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from sarcurate.adapter_results import adapter_lines
from sarcurate.errors import DataError
from sarcurate.io import arms_table, evidence, lineage, set_quality
from sarcurate.io.added_sets import CURATED, MATCHED, MIGRATED, ORACLE, whole
from sarcurate.io.run_files import RunFile, read_run, write_run
from sarcurate.models.arm_runs import code_key
from sarcurate.params import Params, read_params
from sarcurate.stages import evaluate
from sarcurate.variants import Variant, differences

VARIANT = "variant.json"
QUALITY = "quality.json"
NOTES = "notes.md"
ADAPTERS = "adapters"
# Sections that made chips of a set, beside those that hold for all.
_MADE_BY: dict[str, set[str]] = {
    "generated": {"tune", "generate"},
    MIGRATED: {"migrate"},
    "migrated-generated": {"tune", "generate", "migrate"},
}
STALE = "run the variant again and collect it (see docs/results.md), or delete these run files"


def collect(workspace: Path, params_file: Path, runs_root: Path) -> list[Path]:
    """Write a run file for every run that a workspace has finished, and how its params differ from a file.

    Raises:
        DataError: when the workspace has no predictions yet.
    """
    params = read_params(workspace / "params.yaml")
    try:
        metrics = json.loads((workspace / "metrics/evaluation.json").read_text(encoding="utf-8"))
        table = pd.read_parquet(workspace / "metrics/predictions.parquet")
    except OSError as error:
        raise DataError(
            f"{workspace} has no finished evaluation: {error}", fix="run `dvc repro` there first"
        ) from error
    folder = runs_root / workspace.name
    folder.mkdir(parents=True, exist_ok=True)
    variant = Variant(params_file.name, differences(read_params(params_file), params))
    (folder / VARIANT).write_text(json.dumps(asdict(variant), indent=2) + "\n", encoding="utf-8")
    _keep_quality(workspace, params, folder / QUALITY)
    written = []
    own = table[table["test_set"] == evaluate.OWN_TEST]
    # By arm: a curated arm shares the run of another one where curation kept none of its chips, or all.
    for _, rows in own.groupby(["arm", "seed"], sort=False):
        arm, seed, run_key = (rows[name].iloc[0] for name in ("arm", "seed", "run_key"))
        facts = {
            **_expected(params),
            "arm": str(arm),
            "seed": int(seed),
            "run_key": str(run_key),
            "n_train": metrics["arms"][arm]["n_train"],
            "dataset_revision": metrics["dataset_revision"],
        }
        written.append(folder / f"{arm}.seed{seed}.parquet")
        write_run(written[-1], RunFile(facts, rows))
    return written


def _keep_quality(workspace: Path, params: Params, path: Path) -> None:
    """How near the made sets are, and what curation kept, with the params that decide both."""
    found = {
        name: json.loads((workspace / f"metrics/{name}.json").read_text(encoding="utf-8"))
        for name in ("quality", "curation")
    }
    made_with = _judged_with(params, found["quality"]["sets"])
    path.write_text(json.dumps({"made_with": made_with, **found}) + "\n", encoding="utf-8")


def _judged_with(params: Params, sets: Iterable[str]) -> dict[str, Any]:
    return {**_expected(params)["data"], **_curation(params), **_made_by(params, sets)}


def _expected(params: Params) -> dict[str, Any]:
    """What a run must have been made with to count: code, data params and evaluate settings."""
    data = params.model_dump(mode="json", include={"dataset", "acquire", "ingest", "split", "translate"})
    settings = asdict(evaluate.training_settings(params))
    arms = {arm.name: arm.model_dump(mode="json") for arm in params.evaluate.arms}
    for arm in params.evaluate.arms:
        arms[arm.name] |= _made_by(params, [whole(name) for name in arm.add])
        if any(name.endswith(MATCHED) for name in arm.add):
            arms[arm.name] |= _made_by(params, [MIGRATED])
        # No gate touches the other arms.
        if any(name.endswith(CURATED) for name in arm.add):
            arms[arm.name] |= _curation(params)
        if ORACLE in arm.add:
            arms[arm.name]["oracle_per_class"] = params.evaluate.oracle_per_class
    return {"code_key": code_key(), "data": data, "settings": settings, "arms": arms}


def _made_by(params: Params, sets: Iterable[str]) -> dict[str, Any]:
    """The params that decide the chips of some made sets; a translation's stand among the data's."""
    sections = set[str]().union(*(_MADE_BY.get(name, ()) for name in sets))
    return params.model_dump(mode="json", include=sections)


def _curation(params: Params) -> dict[str, Any]:
    return params.model_dump(mode="json", include={"reference", "score", "curate"})


def assemble(runs_root: Path, params_folder: Path, workspaces: Path | None) -> str:
    """The text of docs/results.md.

    Args:
        runs_root: one folder of run files per variant.
        params_folder: where the params files named in the variants lie.
        workspaces: where present, cache keys are also recomputed from the chips of each variant found there.

    Raises:
        DataError: naming run files whose code, params or chips are not today's.
    """
    folders = sorted(path.parent for path in runs_root.glob(f"*/{VARIANT}"))
    sections = [_section(folder, params_folder, workspaces) for folder in folders]
    notes = (runs_root.parent / NOTES).read_text(encoding="utf-8")
    adapters = adapter_lines(runs_root.parent / ADAPTERS, params_folder)
    return "\n".join(["# Results", "", notes, *sections, *adapters])


def _section(folder: Path, params_folder: Path, workspaces: Path | None) -> str:
    data = json.loads((folder / VARIANT).read_text(encoding="utf-8"))
    variant = Variant(data["params"], data["replaced"])
    params = variant.load(params_folder)
    runs = [read_run(path) for path in sorted(folder.glob("*.parquet"))]
    _refuse_stale(folder, params, runs)
    if workspaces is not None and (workspaces / folder.name / "data/real/target-train").is_dir():
        _refuse_other_chips(folder, params, runs, workspaces / folder.name)
    arms = _arms(params, runs)
    seeds = max(numbers["n_seeds"] for numbers in arms.values())
    n_test = next(iter(arms.values()))["n_test"]
    how = {
        "interval_level": params.evaluate.interval_level,
        "seeds": seeds,
        "updates": params.evaluate.updates,
    }
    return "\n".join(
        [
            f"## {folder.name}",
            "",
            f"{_EVIDENCE[params.dataset.evidence]} Data set revision `{runs[0].facts['dataset_revision']}`, "
            f"{params.split.target.train_per_class} target train chips per class, "
            f"{n_test} target test chips in {runs[0].predictions['group_id'].nunique()} groups.",
            "",
            arms_table.markdown(arms),
            "",
            arms_table.caption(how),
            "",
            arms_table.detectable(evidence.detectable_differences(n_test)),
            "",
            *_as_many_lines(params, runs, arms),
            *_quality_lines(folder, params),
            f"Again: `{variant.command(folder.name)}`",
            "",
        ]
    )


def _as_many_lines(params: Params, runs: list[RunFile], arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Arms of exactly as many chips as the one of migrated chips, held against that one."""
    base = next(
        (arm.name for arm in params.evaluate.arms if arm.add == [MIGRATED] and arm.name in arms), None
    )
    alike = [
        name for name in arms if base and arms[name]["n_train"] == arms[base]["n_train"] and name != base
    ]
    if base is None or not alike:
        return []
    some = [run for run in runs if run.facts["arm"] in (base, *alike)]
    found = _arms(params, some, first=base)
    told = "; ".join(f"`{name}` {arms_table.difference(found[name])}" for name in alike)
    level = round(100 * params.evaluate.interval_level)
    return [f"Arms of as many chips, in points over `{base}` ({level} % intervals): {told}.", ""]


def _quality_lines(folder: Path, params: Params) -> list[str]:
    """Distances of the made sets to the real train chips, and how many chips curation kept.

    Raises:
        DataError: for numbers made with other params than today's.
    """
    path = folder / QUALITY
    if not path.is_file():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["made_with"] != json.loads(json.dumps(_judged_with(params, kept["quality"]["sets"]))):
        raise DataError(f"{path} is stale: its params are not today's", fix=STALE)
    curation = kept["curation"]
    counts = ", ".join(
        f"{name} {steps['kept']} of {steps['made']}" for name, steps in curation["funnel"].items()
    )
    share = curation["real_chips_inside_all_gates"]
    passing = "" if share is None else f"; of left-out real train chips {100 * share:.1f} % pass all gates"
    return [
        "Made sets against the real train chips (no test chip is looked at):",
        "",
        "```",
        *set_quality.lines(kept["quality"]),
        "```",
        "",
        f"Kept by curation: {counts}{passing}.",
        "",
    ]


_EVIDENCE = {
    "smoke": "A smoke run, not evidence.",
    "simulated_target": "**The target sensor is simulated: no cross-sensor result.**",
    "real": "Both sensors are real.",
}


def _refuse_stale(folder: Path, params: Params, runs: list[RunFile]) -> None:
    expected = json.loads(json.dumps(_expected(params)))
    for run in runs:
        for name in ("code_key", "data", "settings"):
            if run.facts[name] != expected[name]:
                raise DataError(f"{folder}: run {_name(run)} is stale: its {name} is not today's", fix=STALE)
        if run.facts["arms"][run.facts["arm"]] != expected["arms"].get(run.facts["arm"]):
            raise DataError(f"{folder}: run {_name(run)} is stale: its arm is not today's", fix=STALE)


def _refuse_other_chips(folder: Path, params: Params, runs: list[RunFile], workspace: Path) -> None:
    data = workspace / "data"
    inputs = evaluate.Inputs(
        data / "chips/target",
        data / "split.parquet",
        data / "real/source-train",
        data / "real/target-train",
        data / "real/target-test",
        data / "generated",
        {path.name: path for path in _set_folders(data)},
        data / "selection.parquet",
    )
    keys = evaluate.run_keys(params, inputs)
    for run in runs:
        if keys[run.facts["arm"], run.facts["seed"]] != run.facts["run_key"]:
            raise DataError(f"{folder}: run {_name(run)} is stale: {workspace} holds other chips", fix=STALE)


def _set_folders(data: Path) -> list[Path]:
    """Folders of the made sets that claim to be the target's."""
    return [*sorted((data / "translated").iterdir()), *sorted(data.glob("migrated*"))]


def _name(run: RunFile) -> str:
    return f"{run.facts['arm']} seed {run.facts['seed']}"


def _arms(params: Params, runs: list[RunFile], first: str | None = None) -> dict[str, dict[str, Any]]:
    """Scores of every arm; the baseline is ``first``, or the first arm of the params."""
    order = {arm.name: position for position, arm in enumerate(params.evaluate.arms)} | {first: -1}
    runs = sorted(runs, key=lambda run: (order[run.facts["arm"]], run.facts["seed"]))
    table = pd.concat([run.predictions.assign(arm=run.facts["arm"], seed=run.facts["seed"]) for run in runs])
    seed = lineage.seed_from(params.dataset.root_seed, "bootstrap")
    resampling = evidence.Resampling(params.evaluate.interval_level, params.evaluate.bootstrap_draws, seed)
    n_train = {run.facts["arm"]: run.facts["n_train"] for run in runs}
    scores = evidence.arm_scores(table, params.dataset.classes, resampling)
    return {arm: {"n_train": n_train[arm]} | numbers for arm, numbers in scores.items()}
