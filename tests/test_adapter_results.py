"""Adapters measured in a workspace, and what the results page says of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from sarcurate import adapter_results
from sarcurate.errors import DataError
from sarcurate.io.chipset import open_chipset
from sarcurate.models.adapter_evidence import kid_draws, silence
from sarcurate.models.base import load_transformer, resolve_base
from sarcurate.models.lora import load_adapter, lora_parameters
from sarcurate.stages.tune import base_ref

PER_CLASS = 3

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def params_folder(tiny_data: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("params")
    YAML().dump(tiny_data(), folder / "quick.yaml")
    return folder


@pytest.fixture(scope="module")
def workspace(
    params_folder: Path, tiny_sets: Any, tiny_judged: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """As a workspace is laid out, in which everything up to tune has finished."""
    made = tmp_path_factory.mktemp("workspace") / "quick-1"
    shutil.copytree(tiny_sets.root / "real", made / "data/real")
    shutil.copytree(tiny_judged.references()["source"], made / "data/reference/source")
    shutil.copytree(tiny_judged.tuned().adapter, made / "models/adapter")
    shutil.copy(params_folder / "quick.yaml", made / "params.yaml")
    return made


@pytest.fixture(scope="module")
def kept(workspace: Path, params_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    return adapter_results.collect_adapter(workspace, params_folder / "quick.yaml", folder, PER_CLASS)


def test_three_sets_are_measured(kept: Path, workspace: Path) -> None:
    numbers = json.loads(kept.read_text())["numbers"]
    held_back = open_chipset(workspace / "data/real/source-test", splits=("test",))
    assert numbers["held_back"]["n_chips"] == len(held_back.manifest)
    assert numbers["held_back"]["n_groups"] == held_back.manifest["group_id"].nunique()
    for name in ("adapter", "base"):
        assert numbers[name]["n_chips"] == 2 * PER_CLASS
        # The few chips held back are one group: nothing can be said of how they scatter.
        assert numbers["held_back"]["n_groups"] == 1
        assert numbers[name]["kid_groups"] is numbers[name]["kid_groups_low"] is None
        assert numbers[name]["kid_low"] < numbers[name]["kid_high"]
    base, adapter = numbers["base"], numbers["adapter"]
    assert base["kid_groups_above_adapter"] is None
    assert base["kid_above_adapter"] == pytest.approx(base["kid"] - adapter["kid"])
    for name in ("adapter", "base"):
        assert 0 <= numbers[name]["nearer_than_95_percent_held_back"] <= 1
    assert all(0 <= entry["recognised_low"] <= entry["recognised_high"] <= 1 for entry in numbers.values())


def test_a_silent_adapter_leaves_the_base_as_it_is(
    workspace: Path, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    silence(workspace / "models/adapter", tmp_path / "silent")
    folder = resolve_base(base_ref(tiny_params().tune))
    transformer = load_transformer(folder, "fp32")
    config, generator = transformer.config, torch.Generator().manual_seed(3)
    given = {
        "hidden_states": torch.randn(1, config.in_channels, 24, 24, generator=generator),
        "encoder_hidden_states": torch.randn(1, 8, config.joint_attention_dim, generator=generator),
        "pooled_projections": torch.randn(1, config.pooled_projection_dim, generator=generator),
        "timestep": torch.tensor([500.0]),
    }
    with torch.no_grad():
        alone = transformer(**given, return_dict=False)[0]
        load_adapter(transformer, tmp_path / "silent", folder)
        assert all(
            bool((value == 0).all())
            for name, value in lora_parameters(transformer).items()
            if "lora_B" in name
        )
        assert torch.equal(transformer(**given, return_dict=False)[0], alone)


def test_kid_of_equal_laws_is_zero_and_of_others_is_not() -> None:
    """200 real ones in 40 groups; a shift of half a deviation in 4 dimensions is told apart, none is not."""
    rng = np.random.default_rng(0)
    real, groups = rng.normal(size=(200, 4)), np.arange(200) % 40
    found = {shift: kid_draws(real, groups, rng.normal(shift, 1, (150, 4)), 500, 1) for shift in (0.0, 0.5)}
    for shift, apart in ((0.0, False), (0.5, True)):
        kid = found[shift]
        assert kid is not None
        low, high = kid.interval(0.95)
        assert low < kid.value < high
        assert (low > 0) is apart
    assert kid_draws(real, np.zeros(200, np.intp), real, 500, 1) is None


def test_an_excess_is_taken_draw_by_draw() -> None:
    """Few groups scatter the KID of both sets alike; what is between them is known far better."""
    rng = np.random.default_rng(3)
    groups = np.arange(200) % 8
    real = rng.normal(size=(8, 4))[groups] + rng.normal(size=(200, 4))
    near, far = (kid_draws(real, groups, rng.normal(shift, 1.4, (150, 4)), 500, 1) for shift in (0.0, 2.0))
    assert near is not None
    assert far is not None
    excess = far.less(near)
    assert excess.value == pytest.approx(far.value - near.value)
    low, high = excess.interval(0.95)
    assert low > 0
    assert high - low < np.subtract(*far.interval(0.95)[::-1])


def test_the_page_tells_what_was_measured(kept: Path, params_folder: Path) -> None:
    numbers = json.loads(kept.read_text())["numbers"]
    page = "\n".join(adapter_results.adapter_lines(kept.parent, params_folder))
    assert "## Adapter of quick-1" in page
    assert f"{PER_CLASS} chips per class" in page
    for entry in numbers.values():
        assert f"{100 * entry['recognised']:.1f} ({100 * entry['recognised_low']:.1f} to " in page
    assert page.count("| n/a (n/a to n/a) |") == 2
    assert "`make repro PARAMS=params/quick.yaml NAME=quick-1`" in page


def test_numbers_of_other_params_are_refused(kept: Path, params_folder: Path, tmp_path: Path) -> None:
    data = YAML(typ="safe", pure=True).load(params_folder / "quick.yaml")
    data["tune"]["rank"] += 1
    YAML().dump(data, tmp_path / "quick.yaml")
    with pytest.raises(DataError, match=r"quick-1\.json is stale: its params"):
        adapter_results.adapter_lines(kept.parent, tmp_path)


def test_no_files_no_lines(tmp_path: Path, params_folder: Path) -> None:
    assert adapter_results.adapter_lines(tmp_path / "missing", params_folder) == []


def test_the_same_workspace_gives_the_same_numbers(kept: Path, workspace: Path, params_folder: Path) -> None:
    folder = kept.parent.parent / f"{kept.parent.name}-again"
    again = adapter_results.collect_adapter(workspace, params_folder / "quick.yaml", folder, PER_CLASS)
    assert again.read_bytes() == kept.read_bytes()
