from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.errors import DataError, ParamsError
from sarcurate.io import lineage, raster
from sarcurate.io.tracing import trace
from sarcurate.io.tracing.adapter_facts import AdapterFacts, read_adapter, weight_shapes
from sarcurate.io.tracing.ancestry import Node, training_set
from sarcurate.io.tracing.chip_index import find_chip, find_start, read_index
from sarcurate.io.tracing.descent import Usage, descent


@pytest.fixture
def small(paper: Any, tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """The small workspace, with dvc.lock, in ``tmp_path``."""
    sets: dict[str, list[dict[str, Any]]] = paper.write_small(tmp_path)
    paper.write_lock(tmp_path, paper.PARAMS)
    return sets


def rewrite(paper: Any, root: Path, folder: str, rows: list[dict[str, Any]]) -> None:
    paper.write_set(root, folder, rows)


def roles(node: Node) -> list[tuple[str, str]]:
    return [(each.role, each.name.split()[0]) for each in node.nodes()]


# --- up


def test_a_migrated_generated_chip_leads_to_style_adapter_and_training_set(
    paper: Any, small: Any, tmp_path: Path
) -> None:
    up = trace.trace_up(tmp_path, paper.chip_id("mg0"))
    adapter = paper.write_adapter(tmp_path)
    assert roles(up.tree) == [
        ("chip", paper.chip_id("mg0")),
        ("content", paper.chip_id("g0")),
        ("adapter", adapter[:12]),
        ("training set", "data/real/source-train:"),
        ("style", paper.chip_id("t0")),
    ]
    chip, content, told, taught, style = up.tree.nodes()
    assert chip.facts["extractor"] == "unet@abcd"
    assert [record.stage for record in chip.made_by] == ["migrate"]
    assert chip.made_by[0].params == {"migrate": {"timesteps": 3}}
    assert chip.made_by[0].code == f"0.1.0, sources {'c' * 12}"
    assert content.facts["prompt"] == "SAR image, B-52"
    assert content.facts["base"] == "tiny@1234, adapter 5678"
    assert (told.facts["sha256"], told.facts["base"]) == (adapter, f"tiny@{'b' * 12}")
    assert (told.facts["parameters"], told.facts["tensors"]) == (32, 2)
    assert told.made_by[0].params == {"tune": {"rank": 2, "learning_rate": 1e-4}}
    assert taught.facts["learnt"] == sorted(paper.chip_id(f"s{k}") for k in (1, 2, 4, 5))
    assert taught.facts["held_back"] == sorted(paper.chip_id(f"s{k}") for k in (0, 3))
    assert style.facts["source_path"] == "t/0.tif"
    assert any("depends on all source train chips" in note for note in up.notes)


def test_a_translated_chip_leads_to_the_real_chips_file_window_and_scene(
    paper: Any, small: Any, tmp_path: Path
) -> None:
    tree = trace.trace_up(tmp_path, paper.chip_id("p4")).tree
    (real,) = tree.sources
    assert (real.role, real.facts["source_path"]) == ("content", "B-52/4.tif")
    assert real.facts["window"] == "from row 40, column 20 of its source"
    facts = {"scene_id": "scene-b", "acquired_utc": "2024-01-02T03:04:05Z", "licence": "mine"}
    assert facts.items() <= real.facts.items()
    # Of the stages before split only params.yaml knows here.
    assert [(record.stage, record.recorded) for record in real.made_by] == [
        ("split", True),
        ("ingest", False),
        ("acquire", False),
    ]


def test_without_a_lock_params_are_told_as_of_today(paper: Any, tmp_path: Path) -> None:
    paper.write_small(tmp_path)
    up = trace.trace_up(tmp_path, paper.chip_id("p0"))
    assert not up.tree.made_by[0].recorded
    assert any("no dvc.lock record of translate, split, ingest, acquire" in note for note in up.notes)
    assert "stage translate: code 0.1.0, sources cccccccccccc (of params.yaml)" in trace.up_lines(up)


def test_params_edited_since_are_told(paper: Any, small: Any, tmp_path: Path) -> None:
    paper.write_params(tmp_path, paper.PARAMS | {"migrate": {"timesteps": 99}})
    up = trace.trace_up(tmp_path, paper.chip_id("m1"))
    assert up.tree.made_by[0].params == {"migrate": {"timesteps": 3}}
    assert any(note.startswith("params.yaml has changed since: migrate ran") for note in up.notes)


def test_chips_on_disk_that_dvc_did_not_record_are_told(paper: Any, small: Any, tmp_path: Path) -> None:
    def told(name: str) -> list[str]:
        notes = trace.trace_up(tmp_path, paper.chip_id(name)).notes
        return [note for note in notes if "is not what dvc.lock records" in note]

    assert told("mg0") == []
    rewrite(paper, tmp_path, "data/generated", [small["data/generated"][0] | {"prompt": "other"}])
    assert [note.split(" on disk")[0] for note in told("mg0")] == ["data/generated"]
    assert told("m1") == []


def test_another_adapter_and_another_training_set_are_told(paper: Any, small: Any, tmp_path: Path) -> None:
    header = tmp_path / "data" / "real" / "source-train" / "chipset.json"
    header.write_text(json.dumps({"revision": "f" * 64}))
    told = trace.trace_up(tmp_path, paper.chip_id("g1")).tree.sources[0].sources[0]
    assert "which are not those in data/real/source-train" in told.name
    down = trace.trace_down(tmp_path, paper.chip_id("s1"))
    assert down.found.training_unknown
    assert any("is not known" in note for note in down.notes)
    (tmp_path / "models" / "adapter" / "adapter.json").write_text("{}")
    assert (
        "which is not the one in models/adapter"
        in trace.trace_up(tmp_path, paper.chip_id("g1")).tree.sources[0].name
    )
    shutil.rmtree(tmp_path / "models")
    assert "there is none" in trace.trace_up(tmp_path, paper.chip_id("g1")).tree.sources[0].name


def test_a_parent_that_is_gone_is_told(paper: Any, small: Any, tmp_path: Path) -> None:
    rewrite(paper, tmp_path, "data/real/source-train", small["data/real/source-train"][:4])
    (parent,) = trace.trace_up(tmp_path, paper.chip_id("p5")).tree.sources
    assert parent.name == f"{paper.chip_id('s5')}, which is in no set of this workspace"


def test_a_chip_that_is_its_own_ancestor_is_an_error(paper: Any, small: Any, tmp_path: Path) -> None:
    rows = [paper.made("a", "B-52", "translated", ["b"]), paper.made("b", "B-52", "translated", ["a"])]
    rewrite(paper, tmp_path, "data/translated/physics", rows)
    with pytest.raises(DataError, match="is its own ancestor"):
        trace.trace_up(tmp_path, paper.chip_id("a"))
    found = trace.trace_down(tmp_path, paper.chip_id("a")).found  # and no endless loop
    assert [chip.chip_id for chip in found.made] == [paper.chip_id("b")]


def test_json_holds_every_node_and_every_stage(paper: Any, small: Any, tmp_path: Path) -> None:
    up = trace.trace_up(tmp_path, paper.chip_id("mg0"))
    told = json.loads(trace.up_json(up))
    assert set(told["stages"]) == {"migrate", "generate", "tune", "split", "ingest", "acquire"}
    assert told["tree"]["sources"][0]["sources"][0]["role"] == "adapter"
    assert told["stages"]["tune"]["params"]["tune"]["learning_rate"] == 1e-4


def test_hostile_text_cannot_move_the_terminals_cursor(paper: Any, small: Any, tmp_path: Path) -> None:
    rows = small["data/generated"]
    rows[0] |= {"prompt": "evil\x1b[2J\nprompt"}
    rewrite(paper, tmp_path, "data/generated", rows)
    lines = trace.up_lines(trace.trace_up(tmp_path, rows[0]["chip_id"]))
    assert any("evil\ufffd[2J\ufffdprompt" in line for line in lines)


# --- finding


def test_a_chip_is_found_by_id_prefix_name_and_pixels(paper: Any, small: Any, tmp_path: Path) -> None:
    index = read_index(tmp_path)
    own = paper.chip_id("m1")
    place = tmp_path / "data" / "migrated" / "chips" / own[:2] / f"{own}.tif"
    for asked in (own, own[:10], str(place)):
        assert find_chip(index, asked)["chip_id"] == own
    pixels = np.full((3, 4), 2.5, np.float32)
    rows = small["data/migrated"]
    rows[0]["pixels_sha256"] = lineage.pixels_sha256(pixels)
    rewrite(paper, tmp_path, "data/migrated", rows)
    raster.write_tiff(tmp_path / "renamed.tif", pixels)
    assert find_chip(read_index(tmp_path), str(tmp_path / "renamed.tif"))["chip_id"] == own
    raster.write_tiff(tmp_path / "other.tif", pixels + 1)
    with pytest.raises(ParamsError, match="0 chips of this workspace have its pixels"):
        find_chip(read_index(tmp_path), str(tmp_path / "other.tif"))


def test_what_names_no_chip_or_many_is_refused(paper: Any, small: Any, tmp_path: Path) -> None:
    index = read_index(tmp_path)
    with pytest.raises(ParamsError, match="no chip of this workspace has an id that begins with 'zz'"):
        find_chip(index, "zz")
    with pytest.raises(ParamsError, match="add --down for a scene or group"):
        find_chip(index, "scene-a")
    with pytest.raises(ParamsError, match="no chip"):
        find_chip(index, "")
    twins = [paper.row("a", "B-52", chip_id="feed01"), paper.row("b", "B-52", chip_id="feed02")]
    rewrite(paper, tmp_path, "data/migrated", twins)
    with pytest.raises(ParamsError, match="'feed' is the beginning of 2 ids: feed01, feed02"):
        find_chip(read_index(tmp_path), "feed")


def test_a_chip_before_the_split_is_found_where_it_is_used(paper: Any, small: Any, tmp_path: Path) -> None:
    dropped = paper.row("dropped", "B-52", split="all")
    rewrite(paper, tmp_path, "data/chips/source", [*small["data/real/source-train"], dropped])
    index = read_index(tmp_path)
    assert find_chip(index, paper.chip_id("s0"))["folder"] == "data/real/source-train"
    assert find_chip(index, dropped["chip_id"])["folder"] == "data/chips/source"
    assert len(set(index.table["chip_id"].to_pylist())) == index.table.num_rows


def test_outside_of_a_workspace_and_on_broken_manifests_it_says_so(
    paper: Any, small: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="holds no ChipSet"):
        read_index(tmp_path / "nowhere")
    (tmp_path / "data" / "generated" / "metadata.parquet").write_bytes(b"PAR1 not quite")
    with pytest.raises(DataError, match="cannot read"):
        read_index(tmp_path)


# --- down


def plain_descent(
    sets: dict[str, list[dict[str, Any]]], start: set[str], adapter: str, learnt: set[str]
) -> dict[str, int]:
    """Steps down to every chip made of some, the slow way."""
    rows = [each for chips in sets.values() for each in chips]
    steps: dict[str, int] = {}
    level, waiting = 0, set(start)
    while waiting:
        level += 1
        found = set()
        for each in rows:
            drawn = each["origin"] == "generated" and each["adapter_sha256"] == adapter
            if (
                {*each["parents"], *each["style_ids"]} & waiting
                or (drawn and level == 1 and learnt & waiting)
            ) and each["chip_id"] not in steps.keys() | start:
                found.add(each["chip_id"])
        steps |= dict.fromkeys(found, level)
        waiting = found
    return steps


def test_everything_made_of_a_scene_with_its_use(paper: Any, small: Any, tmp_path: Path) -> None:
    down = trace.trace_down(tmp_path, "scene-a")
    assert down.asked == "scene scene-a"
    assert {chip.chip_id for chip in down.found.start} == {paper.chip_id(f"s{k}") for k in range(3)}
    assert (down.found.learnt, down.found.held_back) == (2, 1)
    made = {chip.chip_id: chip for chip in down.found.made}
    assert set(made) == {paper.chip_id(name) for name in ("p0", "p1", "p2", "m1", "g0", "g1", "mg0")}
    told = {name: made[paper.chip_id(name)] for name in ("p0", "p1", "g0", "mg0")}
    assert (told["p0"].kept, told["p0"].arms) == (False, ("real+physics",))
    assert (told["p1"].kept, told["p1"].arms) == (True, ("real+physics", "real+physics-curated"))
    assert (told["g0"].relation, told["g0"].through, told["g0"].kept) == ("learnt", ("adapter",), None)
    assert (told["g0"].arms, told["mg0"].steps, told["mg0"].arms) == (("real+generated",), 2, ())
    assert {chip.arms for chip in down.found.start} == {("real+source",)}
    lines = trace.down_lines(down)
    assert lines[0] == "scene scene-a: 3 chips, 7 made of them"
    physics = "data/translated/physics, by content: 3 chips, 2 kept, 1 rejected; trained on by"
    assert any(line.startswith(physics) for line in lines)
    assert len(json.loads(trace.down_json(down))["made"]) == 7


def test_a_style_a_held_back_chip_and_a_test_chip(paper: Any, small: Any, tmp_path: Path) -> None:
    style = trace.trace_down(tmp_path, paper.chip_id("t0")).found
    assert [(chip.chip_id, chip.relation) for chip in style.made] == [
        (paper.chip_id(name), "style") for name in ("m1", "mg0")
    ]
    assert len(style.start[0].arms) == 5  # target train chips are in every arm
    held = trace.trace_down(tmp_path, paper.chip_id("s0")).found
    assert {chip.relation for chip in held.made if chip.folder == "data/generated"} == {"held back"}
    test = trace.trace_down(tmp_path, paper.chip_id("x0"))
    assert (test.found.made, test.found.start[0].arms) == ((), ())
    assert any(note.startswith("test chips") for note in test.notes)


def test_a_chip_that_the_split_left_over_was_trained_on_where_the_oracle_drew_it(
    paper: Any, small: Any, tmp_path: Path
) -> None:
    known = small["data/real/target-train"][0]
    free = [
        known | {"chip_id": paper.chip_id(f"u{k}"), "file_name": f"chips/u{k}.tif", "split": "all"}
        for k in range(4)
    ]
    rewrite(paper, tmp_path, "data/chips/target", [known | {"split": "all"}, *free])
    arms = [{"name": "real-only", "add": []}, {"name": "real+oracle", "add": ["oracle"]}]
    params = paper.PARAMS | {"evaluate": {"arms": arms, "oracle_per_class": 3}}
    paper.write_lock(tmp_path, params)
    drawn = sorted((row["chip_id"] for row in free), key=lineage.sha256_text)[:3]
    for row in free:
        (start,) = trace.trace_down(tmp_path, row["chip_id"]).found.start
        assert start.arms == (("real+oracle",) if row["chip_id"] in drawn else ())
    (train,) = trace.trace_down(tmp_path, known["chip_id"]).found.start
    assert train.arms == ("real-only", "real+oracle")


def test_chips_of_migrated_contents_were_trained_on_by_the_arms_of_matched_sets(
    paper: Any, small: Any, tmp_path: Path
) -> None:
    sets = ("source", "physics", "migrated")
    arms = [{"name": name, "add": [f"{name}-matched"]} for name in sets]
    paper.write_lock(tmp_path, paper.PARAMS | {"evaluate": {"arms": arms}})
    (m1,) = (row for row in small["data/migrated"] if row["chip_id"] == paper.chip_id("m1"))
    (content,) = m1["parents"]
    found = trace.trace_down(tmp_path, "scene-a").found
    assert {chip.chip_id: chip.arms for chip in found.start} == {
        chip.chip_id: (("source",) if chip.chip_id == content else ()) for chip in found.start
    }
    assert content in {chip.chip_id for chip in found.start}
    matched = {chip.chip_id: chip.arms for chip in found.made if chip.arms}
    (physics,) = (row["chip_id"] for row in small["data/translated/physics"] if content in row["parents"])
    assert matched == {physics: ("physics",), m1["chip_id"]: ("migrated",)}


def test_descent_is_that_of_a_plain_search_in_random_families(paper: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    adapter = paper.write_adapter(tmp_path)
    names = [f"s{k}" for k in range(12)]
    sets = {"data/real/source-train": [paper.row(name, "B-52", fold=k % 4) for k, name in enumerate(names)]}
    for part, origin in (("generated", "generated"), ("one", "migrated"), ("two", "translated")):
        rows = []
        for k in range(15):
            parents = (
                list(rng.choice(names, rng.integers(0, 3), replace=False)) if part != "generated" else []
            )
            styles = [paper.chip_id(name) for name in rng.choice(names, rng.integers(0, 2))]
            drawn = adapter if part == "generated" and k % 3 else None
            facts = {"style_ids": styles if parents else [], "adapter_sha256": drawn}
            rows.append(paper.made(f"{part}{k}", "B-52", origin, parents, **facts))
        names += [f"{part}{k}" for k in range(15)]
        sets[f"data/{part}"] = rows
    for folder, rows in sets.items():
        rewrite(paper, tmp_path, folder, rows)
    index, facts_of = read_index(tmp_path), read_adapter(tmp_path)
    chips = training_set(index, facts_of)
    assert chips is not None
    for name in names:
        row = index.row(paper.chip_id(name))
        assert row is not None
        found = descent(index, [row], facts_of, Usage({}, {}))
        taught = {*chips.learnt, *chips.held_back}
        expected = plain_descent(sets, {row["chip_id"]}, adapter, taught)
        assert {chip.chip_id: chip.steps for chip in found.made} == expected


def test_a_group_of_made_chips_alone_is_followed_too(paper: Any, small: Any, tmp_path: Path) -> None:
    meant, rows = find_start(read_index(tmp_path), "group-g0")
    assert (meant, [each["chip_id"] for each in rows]) == ("group group-g0", [paper.chip_id("g0")])


# --- adapters


def test_an_adapters_hash_is_the_models_own(paper: Any, tmp_path: Path) -> None:
    from sarcurate.models.lora import adapter_sha256

    paper.write_small(tmp_path)
    facts = read_adapter(tmp_path)
    assert isinstance(facts, AdapterFacts)
    assert facts.sha256 == adapter_sha256(tmp_path / "models" / "adapter")


def test_broken_adapters_are_data_errors(paper: Any, tmp_path: Path) -> None:
    paper.write_small(tmp_path)
    weights = tmp_path / "models" / "adapter" / "pytorch_lora_weights.safetensors"
    for data in (b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x08\0\0\0\0\0\0\0" + b'{"a": 1}'):
        weights.write_bytes(data)
        with pytest.raises(DataError, match="no readable safetensors header"):
            weight_shapes(weights)
    (weights.parent / "adapter.json").write_text("[")
    with pytest.raises(DataError, match="not readable JSON"):
        read_adapter(tmp_path)


def test_a_pipelines_chips_are_traced(own_workspace: Path, tiny_judged: Any) -> None:
    """As the stages write them: every made chip leads to real chips, every parent back to its children."""
    shutil.copytree(tiny_judged.tuned().adapter, own_workspace / "models" / "adapter")
    index = read_index(own_workspace)
    selection = pd.read_parquet(own_workspace / "data" / "selection.parquet")
    source = {row["chip_id"] for row in index.rows(index.is_any("folder", ["data/real/source-train"]))}
    roots: dict[str, set[str]] = {}
    for own in selection["chip_id"]:
        nodes = list(trace.trace_up(own_workspace, own).tree.nodes())
        assert not [node.name for node in nodes if "which is" in node.name or "which are" in node.name]
        assert {node.role for node in nodes if not node.sources} <= {"content", "style", "training set"}
        taught = [chip_id for node in nodes for chip_id in node.facts.get("learnt", [])]
        roots[own] = {*taught, *(node.name.split()[0] for node in nodes)} & source
        assert roots[own]
    for chip_id in sorted(source):
        found = trace.trace_down(own_workspace, chip_id).found
        down = {chip.chip_id for chip in found.made} & roots.keys()
        if (
            found.held_back
        ):  # it judged the adapter, and so stands behind generated chips without being taught
            assert down >= {own for own, above in roots.items() if chip_id in above}
        else:
            assert down == {own for own, above in roots.items() if chip_id in above}
