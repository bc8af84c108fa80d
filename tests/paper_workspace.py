"""A workspace on paper: manifests, Selection, adapter, metrics, dvc.lock and DVC's cache, without a pipeline.

Chips have rows and, where asked for, previews; no pixels. Used by tests and by benchmarks/lineage.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from ruamel.yaml import YAML

from sarcurate.io.evidence import Resampling, arm_scores
from sarcurate.io.lineage import sha256_text
from sarcurate.io.manifest import SCHEMA
from sarcurate.io.selection import Choice, make_selection, write_selection

Row = dict[str, Any]
CLASSES = ["B-52", "F-16"]
TRAIN_REVISION = "a" * 64
STAGES = {  # outputs of each stage
    "split": ["data/real/source-train", "data/real/target-train", "data/real/target-test"],
    "tune": ["models/adapter"],
    "generate": ["data/generated"],
    "migrate": ["data/migrated", "data/migrated-generated"],
    "translate": ["data/translated/physics"],
    "curate": ["data/selection.parquet"],
    "evaluate": ["metrics/predictions.parquet", "metrics/evaluation.json"],
}
PARAMS: dict[str, Any] = {
    "code": {"version": "0.1.0", "source_sha256": "c" * 64},
    "dataset": {"root_seed": 7, "classes": CLASSES},
    "acquire": {"source": {"kind": "folder"}},
    "ingest": {"size": "exact"},
    "split": {"folds": 5},
    "tune": {"rank": 2, "learning_rate": 1e-4},
    "generate": {"per_class": 2},
    "migrate": {"timesteps": 3},
    "translate": {"same_pixels": False},
    "curate": {"gates": []},
    "evaluate": {
        "arms": [
            {"name": "real-only", "add": []},
            {"name": "real+source", "add": ["source"]},
            {"name": "real+generated", "add": ["generated"]},
            {"name": "real+physics", "add": ["physics"]},
            {"name": "real+physics-curated", "add": ["physics-curated"]},
        ],
        "bootstrap_draws": 200,
        "interval_level": 0.95,
    },
}


def chip_id(name: str) -> str:
    return sha256_text(name)[:24]


def row(name: str, label: str, **facts: Any) -> Row:
    """A manifest row; whatever is not given is empty, or follows from the name."""
    own = chip_id(name)
    known: Row = dict.fromkeys(SCHEMA.names) | {
        "chip_id": own,
        "file_name": f"chips/{own[:2]}/{own}.tif",
        "preview_file_name": f"previews/{own[:2]}/{own}.png",
        "origin": "real",
        "label": label,
        "split": "train",
        "group_id": f"group-{name}",
        "sensor": "x",
        "radiometry": "sigma0",
        "pixels_sha256": sha256_text(f"pixels {name}"),
        "parents": [],
        "style_ids": [],
    }
    return known | facts


def made(name: str, label: str, origin: str, parents: Iterable[str] = (), **facts: Any) -> Row:
    """A made chip's row, its parents by name."""
    recipe = sha256_text(name)
    named = {"parents": [chip_id(parent) for parent in parents], "recipe_sha256": recipe, "seed": 11}
    return row(name, label, origin=origin, **named, **facts)


def small_sets(adapter_sha256: str) -> dict[str, list[Row]]:
    """Six source chips of two scenes, four target chips, four test chips, and what was made of them."""
    scenes = ("scene-a", "scene-b")
    source = [
        row(
            f"s{k}",
            CLASSES[k % 2],
            fold=k % 3,
            scene_id=scenes[k // 3],
            group_id=f"group-{scenes[k // 3]}",
            source_path=f"{CLASSES[k % 2]}/{k}.tif",
            first_row_px=10 * k,
            first_col_px=5 * k,
            acquired_utc="2024-01-02T03:04:05Z",
            licence="mine",
        )
        for k in range(6)
    ]
    target = [
        row(f"t{k}", CLASSES[k % 2], fold=k, source_path=f"t/{k}.tif", licence="theirs") for k in range(4)
    ]
    test = [row(f"x{k}", CLASSES[k % 2], split="test", group_id=f"pass-{k // 2}") for k in range(8)]
    drawn = {"adapter_sha256": adapter_sha256, "source_path": "base tiny@1234, adapter 5678"}
    generated = [
        made(f"g{k}", CLASSES[k], "generated", prompt=f"SAR image, {CLASSES[k]}", **drawn) for k in range(2)
    ]
    style = {"style_ids": [chip_id("t0")], "source_path": "extractor unet@abcd"}
    return {
        "data/real/source-train": source,
        "data/real/target-train": target,
        "data/real/target-test": test,
        "data/generated": generated,
        "data/migrated": [made("m1", CLASSES[1], "migrated", ["s1"], **style)],
        "data/migrated-generated": [
            made("mg0", CLASSES[0], "migrated", ["g0"], **style, adapter_sha256=adapter_sha256)
        ],
        "data/translated/physics": [
            made(f"p{k}", CLASSES[k % 2], "translated", [f"s{k}"], scene_id=scenes[k // 3]) for k in range(6)
        ],
    }


def write_set(root: Path, folder: str, rows: list[Row], *, previews: bool = False) -> None:
    place = root / folder
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), place / "metadata.parquet")
    header = {"format": 1, "split": "train", "n_chips": len(rows), "revision": TRAIN_REVISION}
    (place / "chipset.json").write_text(json.dumps(header))
    for number, each in enumerate(rows if previews else []):
        path = place / each["preview_file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 8), 20 * number % 256).save(path)


def write_fates(root: Path, rows: Iterable[Row], rejected: Mapping[str, str]) -> None:
    """A Selection of some chips; ``rejected`` gives reasons by chip's name."""
    reasons = {chip_id(name): why for name, why in rejected.items()}
    choices = [
        Choice(
            each["chip_id"], each["chip_id"] not in reasons, each["label"], reasons.get(each["chip_id"], "")
        )
        for each in rows
    ]
    write_selection(root / "data" / "selection.parquet", make_selection(choices))


def write_adapter(root: Path) -> str:
    """An adapter of one pair of matrices; its hash as made chips name it."""
    folder = root / "models" / "adapter"
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"base_name": "tiny", "base_sha256": "b" * 64, "rank": 2, "steps": 9}
    (folder / "adapter.json").write_text(json.dumps(facts | {"train_revision": TRAIN_REVISION}))
    shapes = {"a.lora_A.weight": [2, 8], "a.lora_B.weight": [8, 2]}
    header = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [64 * k, 64 * k + 64]}
        for k, (name, shape) in enumerate(shapes.items())
    }
    text = json.dumps({"__metadata__": {"format": "pt"}} | header).encode()
    (folder / "pytorch_lora_weights.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + bytes(128)
    )
    names = ("adapter.json", "pytorch_lora_weights.safetensors")
    lines = [f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in names]
    return sha256_text("".join(lines))


def predictions(wrong: Mapping[str, Iterable[str]], test: list[Row], seeds: int = 2) -> pd.DataFrame:
    """Predictions of every arm in ``wrong``, right but for the chips named, as ``x0:1`` for seed 1 alone."""
    rows = []
    for arm, names in wrong.items():
        asked = set(names)
        for seed in range(seeds):
            for k, each in enumerate(test):
                missed = bool({f"x{k}", f"x{k}:{seed}"} & asked)
                other = CLASSES[1 - CLASSES.index(each["label"])]
                rows.append(
                    {
                        "test_set": "target-test",
                        "arm": arm,
                        "seed": seed,
                        "chip_id": each["chip_id"],
                        "group_id": each["group_id"],
                        "label": each["label"],
                        "predicted": other if missed else each["label"],
                    }
                )
    return pd.DataFrame(rows)


def write_metrics(root: Path, runs: pd.DataFrame, revision: str, quality: Mapping[str, Any]) -> None:
    (root / "metrics").mkdir(exist_ok=True)
    runs.to_parquet(root / "metrics" / "predictions.parquet", index=False)
    arms = arm_scores(runs, CLASSES, Resampling(0.95, 200, 3))
    evaluation = {"dataset_revision": revision, "evidence": "smoke", "interval_level": 0.95, "arms": arms}
    (root / "metrics" / "evaluation.json").write_text(json.dumps(evaluation))
    (root / "metrics" / "quality.json").write_text(json.dumps(quality))


def write_small(root: Path, *, previews: bool = False) -> dict[str, list[Row]]:
    """The whole small workspace, without git and DVC; its sets by folder."""
    root.mkdir(parents=True, exist_ok=True)
    sets = small_sets(write_adapter(root))
    for folder, rows in sets.items():
        write_set(root, folder, rows, previews=previews)
    judged = [*sets["data/migrated"], *sets["data/migrated-generated"], *sets["data/translated/physics"]]
    write_fates(root, judged, {"p0": "physics distance 2 > 1", "mg0": "rejected by Ann"})
    wrong = {"real-only": ["x0", "x4:1"], "real+physics": ["x1"]}
    quality = {"interval_level": 0.95, "bandwidth_physics": 2.0, "sets": {"physics": _numbers(0.3)}}
    write_metrics(root, predictions(wrong, sets["data/real/target-test"]), "1" * 16, quality)
    write_params(root, PARAMS)
    header = "chip_id,pixels_sha256,verdict,new_label,reason,reviewer,utc\n"
    (root / "data" / "verdicts.csv").write_text(header)
    return sets


def _numbers(mmd: float) -> dict[str, float]:
    return {"mmd_physics": mmd, "mmd_physics_low": mmd - 0.1, "mmd_physics_high": mmd + 0.1}


def write_params(root: Path, params: Mapping[str, Any]) -> None:
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(dict(params), file)


def write_lock(root: Path, params: Mapping[str, Any], *, chip_files: bool = False) -> None:
    """dvc.lock of ``STAGES`` as DVC writes it, and every output in DVC's cache.

    ``chip_files`` also lists chips and previews that are not there, as a pipeline's sets would.
    """
    stages = {}
    for name, outs in STAGES.items():
        held = {"code": params["code"], "dataset": params["dataset"], name: params[name]}
        entries = [{"path": out, "hash": "md5", "md5": _cached(root, out, chip_files)} for out in outs]
        stages[name] = {"cmd": f"sarcurate {name}", "params": {"params.yaml": held}, "outs": entries}
    with (root / "dvc.lock").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump({"schema": "2.0", "stages": stages}, file)


def _cached(root: Path, out: str, chip_files: bool) -> str:
    path = root / out
    if path.is_file():
        return _store(root, path.read_bytes(), "")
    files = sorted(each for each in path.rglob("*") if each.is_file())
    listing = [
        {"md5": _store(root, each.read_bytes(), ""), "relpath": each.relative_to(path).as_posix()}
        for each in files
    ]
    if chip_files and (path / "metadata.parquet").is_file():
        table = pq.read_table(path / "metadata.parquet", columns=["file_name", "preview_file_name"])
        names = [name for column in table.columns for name in column.to_pylist()]
        listing += [{"md5": sha256_text(name)[:32], "relpath": name} for name in names]
    return _store(root, json.dumps(listing).encode(), ".dir")


def _store(root: Path, data: bytes, ending: str) -> str:
    md5 = hashlib.md5(data).hexdigest() + ending
    place = root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return md5


def begin(root: Path) -> None:
    """Git and DVC in the folder, as `sarcurate init` makes them, written out by hand for speed."""
    git(root, "init", "-q", "-b", "main")
    (root / ".dvc" / "tmp").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    ignored = ["/data/*", "!/data/verdicts.csv", "/models", "/metrics/predictions.parquet"]
    (root / ".gitignore").write_text("\n".join(ignored) + "\n")


def commit(root: Path, tag: str, params: Mapping[str, Any] = PARAMS, *, chip_files: bool = False) -> None:
    """What is on disk as a revision: outputs to the cache, the rest to git."""
    write_params(root, params)
    write_lock(root, params, chip_files=chip_files)
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", f"revision {tag}")
    git(root, "tag", tag)


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout
