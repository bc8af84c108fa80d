from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sarcurate.errors import LeakageError, ParamsError
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.stages import translate


def _open(path: Path) -> ChipSet:
    return open_chipset(path, splits=("train",))


def _outputs(folder: Path) -> dict[str, Path]:
    return {method: folder / method for method in ("physics", "psd")}


@pytest.mark.parametrize("method", ["physics", "psd"])
def test_every_source_train_chip_is_translated_once(method: str, tiny_sets: Any) -> None:
    source = _open(tiny_sets.parts()["source-train"])
    made = _open(tiny_sets.made()[method])
    parents = {row["chip_id"]: row for row in source.rows()}
    assert sorted(row["parents"][0] for row in made.rows()) == sorted(parents)
    for row in made.rows():
        parent = parents[row["parents"][0]]
        for name in ("label", "group_id", "fold", "incidence_deg", "licence"):
            assert row[name] == parent[name], name
        assert row["origin"] == "translated"
        assert row["chip_id"] == row["recipe_sha256"][:24]


@pytest.mark.parametrize("method", ["physics", "psd"])
def test_translated_chips_lie_on_the_targets_grid_in_its_radiometry(method: str, tiny_sets: Any) -> None:
    target, made = _open(tiny_sets.parts()["target-train"]), _open(tiny_sets.made()[method])
    assert made.header == target.header
    shapes = {
        chips.root: {chips.pixels(name).shape for name in chips.manifest["chip_id"]}
        for chips in (target, made)
    }
    assert shapes[made.root] == shapes[target.root] == {(48, 48)}
    for name in ("range_spacing_m", "azimuth_spacing_m", "band"):
        assert set(made.manifest[name]) == set(target.manifest[name])


def test_methods_make_different_chips(tiny_sets: Any) -> None:
    physics, psd = (_open(path) for path in tiny_sets.made().values())
    assert not set(physics.manifest["chip_id"]) & set(psd.manifest["chip_id"])
    assert not set(physics.manifest["pixels_sha256"]) & set(psd.manifest["pixels_sha256"])


def test_translation_repeats_byte_for_byte(
    tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    parts = tiny_sets.parts()
    translate.run(tiny_params(), parts["source-train"], parts["target-train"], _outputs(tmp_path))
    for method, again in _outputs(tmp_path).items():
        first = tiny_sets.made()[method]
        names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
        assert len(names) > 10
        assert all((again / name).read_bytes() == (first / name).read_bytes() for name in names)


def test_the_root_seed_changes_every_physics_chip(
    tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    parts, params = tiny_sets.parts(), tiny_params({"dataset.root_seed": 3})
    translate.run(params, parts["source-train"], parts["target-train"], {"physics": tmp_path / "physics"})
    again, first = _open(tmp_path / "physics"), _open(tiny_sets.made()["physics"])
    assert not set(again.manifest["pixels_sha256"]) & set(first.manifest["pixels_sha256"])


def test_an_unknown_resolution_is_refused(
    tiny_sets: Any, tiny_params: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    profile = YAML(typ="safe", pure=True).load(repository / "sarcurate/assets/sensors/fucheng1-sim.yaml")
    profile["range_resolution_m"]["value"] = None
    with (tmp_path / "blurred.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(profile, file)
    params = tiny_params({"dataset.target.profile": str(tmp_path / "blurred.yaml")})
    parts = tiny_sets.parts()
    with pytest.raises(ParamsError, match="resolution is unknown") as caught:
        translate.run(params, parts["source-train"], parts["target-train"], _outputs(tmp_path / "out"))
    assert "azimuth_resolution_m" in caught.value.fix


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("source-train", "target-test"),
        ("source-test", "target-train"),
        ("source-train", "target-all"),
        ("source-all", "target-train"),
    ],
)
def test_nothing_but_train_chips_is_translated(
    source: str, target: str, tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    known = tiny_sets.parts() | {f"{side}-all": path for side, path in tiny_sets.chips().items()}
    outputs = _outputs(tmp_path)
    with pytest.raises(LeakageError, match=r"only \['train'\] may be read here") as caught:
        translate.run(tiny_params(), known[source], known[target], outputs)
    assert caught.value.exit_code == 3
    assert not any(path.exists() for path in outputs.values())
