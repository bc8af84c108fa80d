from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.public_sets import (
    NoGroups,
    NumberBlocks,
    SetDescriptor,
    load_set,
    packaged_lists,
    read_descriptor,
    read_set,
    read_sums,
    read_table,
    set_names,
)
from sarcurate.io.raster import read_chip

NAMES = ["mstar-simshift", "sar-acd", "ships-s1-slc", "tsx-s1-slc"]
MANIFEST = """path,domain,class,polarisation,scene,row,col,family
near/ship/hb012.npy,near,ship,HH,A1,10,20,f1
near/ship/hb019.npy,near,ship,HH,A1,30,20,f1
near/tank/hb020.npy,near,tank,VV,A2,0,5,f2
far/ship/hb012.npy,far,ship,VV,B1,7,8,f1
"""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _made_up_set(server: Path) -> dict[str, Any]:
    """A set of four small files below ``server``, and its raw descriptor."""
    files = {line.split(",")[0]: line.encode() for line in MANIFEST.splitlines()[1:]}
    files = {"manifest.csv": MANIFEST.encode(), **files}
    for name, data in files.items():
        (server / name).parent.mkdir(parents=True, exist_ok=True)
        (server / name).write_bytes(data)
    sums = "".join(f"{_sha256(data)}  {name}\n" for name, data in files.items())
    (server / "SHA256SUMS").write_text(sums)
    domain = {"band": "X", "polarisation": None, "classes": ["ship", "tank"], "origin": None}
    return {
        "name": "toy",
        "title": "A toy",
        "citation": "none",
        "licence": "CC0",
        "terms": "free",
        "source_url": "https://example.org",
        "manifest": "manifest.csv",
        "sums": "SHA256SUMS",
        "sums_sha256": _sha256(sums.encode()),
        "base_url": None,
        "fetch_note": "the source has another layout",
        "domains": {
            "near": {"sensor": "s1", "measured": True, **domain},
            "far": {"sensor": "s2", "measured": True, **domain},
        },
        "pixels": "iq",
        "radiometry": "intensity",
        "groups": {"column": "family"},
        "traps": ["it is made up"],
    }


def _descriptor(folder: Path, raw: dict[str, Any]) -> SetDescriptor:
    path = folder / "toy.yaml"
    YAML(typ="safe", pure=True).dump(raw, path)
    return read_descriptor(path)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


@pytest.fixture
def toy(tmp_path: Path, mirror: Path) -> SetDescriptor:
    """A set that is mirrored already."""
    return _descriptor(tmp_path, _made_up_set(mirror / "toy"))


def test_the_packaged_sets_are_complete() -> None:
    assert set_names() == NAMES
    sensors = {d.sensor for name in NAMES for d in load_set(name).domains.values()}
    assert sensors == {
        "terrasarx",
        "sentinel1-stripmap",
        "mstar",
        "mstar-sim-coarse",
        "gaofen3-spotlight",
        "sentinel1-iw",
    }
    for name in NAMES:
        found = load_set(name)
        assert found.traps
        assert found.terms
        assert found.source_url.startswith("https://github.com/")
        assert (found.pixels == "iq") == (found.radiometry is Radiometry.INTENSITY)
    assert load_set("mstar-simshift").domains["sim-coarse"].origin is None
    assert load_set("mstar-simshift").groups == NumberBlocks(pattern=r"hb(\d+)", size=10)
    assert isinstance(load_set("sar-acd").groups, NoGroups)


def test_an_unknown_set_is_answered_with_the_near_one() -> None:
    with pytest.raises(DataError, match="public set 'mstar-shift' is unknown") as caught:
        load_set("mstar-shift")
    assert "did you mean 'mstar-simshift'" in caught.value.fix
    with pytest.raises(DataError, match="is unknown"):
        load_set("../sensors/mstar")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("extra", 1),
        ("radiometry", "decibels"),
        ("pixels", "png"),
        ("name", "other"),
        ("sums_sha256", "abc"),
        ("title", 3),
        ("traps", "one"),
        ("groups", {"column": "a", "size": 3}),
        ("groups", {"pattern": "x", "size": "10"}),
        ("domains", {"near": {"sensor": "s"}}),
        ("origin", {"base_url": "https://example.org"}),
    ],
)
def test_a_descriptor_is_strict(tmp_path: Path, key: str, value: Any) -> None:
    raw = _made_up_set(tmp_path / "toy")
    _descriptor(tmp_path, raw)
    with pytest.raises(DataError, match=r"toy\.yaml") as caught:
        _descriptor(tmp_path, raw | {key: value})
    assert key in caught.value.problem
    with pytest.raises(DataError, match="title"):
        _descriptor(tmp_path, {k: v for k, v in raw.items() if k != "title"})


def test_an_origin_has_a_folder_for_each_class(tmp_path: Path) -> None:
    raw = _made_up_set(tmp_path / "toy")
    origin = {"base_url": "https://example.org", "suffix": ".npy", "conversion": "none"}
    for folders, good in (({"ship": "Ships", "tank": "Tanks"}, True), ({"ship": "Ships"}, False)):
        raw["domains"]["near"]["origin"] = {**origin, "folders": folders}
        if good:
            assert _descriptor(tmp_path, raw).domains["near"].origin is not None
            continue
        with pytest.raises(DataError, match=r"domain near has origin folders \['ship'\]"):
            _descriptor(tmp_path, raw)


@pytest.mark.parametrize("name", NAMES)
def test_the_packaged_lists_are_the_descriptors_and_name_every_chip(tmp_path: Path, name: str) -> None:
    descriptor = load_set(name)
    for file in (descriptor.sums, descriptor.manifest):
        (tmp_path / file).write_bytes(gzip.decompress((packaged_lists(name) / f"{file}.gz").read_bytes()))
    sums = read_sums(descriptor, tmp_path)
    table = read_table(descriptor, tmp_path, sums)
    assert set(sums) - set(table["path"]) == {"README.md", descriptor.manifest}
    assert set(table["path"]) <= set(sums)
    for domain, rows in table.groupby("domain"):
        assert set(rows["class"]) == set(descriptor.domains[str(domain)].classes)


def test_a_descriptor_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    for text in ("a: [", "a: 1\na: 2", "- 1", "\x00"):
        (tmp_path / "toy.yaml").write_text(text)
        with pytest.raises(DataError, match="not a set descriptor"):
            read_descriptor(tmp_path / "toy.yaml")


def test_rows_of_a_domain(toy: SetDescriptor, mirror: Path) -> None:
    found = read_set(toy, mirror, "near", ["tank", "ship"])
    assert found.to_dict("list") == {
        "path": ["near/ship/hb012.npy", "near/ship/hb019.npy", "near/tank/hb020.npy"],
        "label": ["ship", "ship", "tank"],
        "group_id": ["near/f1", "near/f1", "near/f2"],
        "scene_id": ["A1", "A1", "A2"],
        "sensor": ["s1"] * 3,
        "band": ["X"] * 3,
        "polarisation": ["HH", "HH", "VV"],
        "first_row_px": [10, 30, 0],
        "first_col_px": [20, 20, 5],
        "licence": ["CC0"] * 3,
    }
    assert read_set(toy, mirror, "near", ["tank"])["path"].tolist() == ["near/tank/hb020.npy"]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"pattern": r"hb(\d+)", "size": 10}, ["near/10", "near/10", "near/20"]),
        ({"warning": "w"}, ["near/ship/hb012.npy", "near/ship/hb019.npy", "near/tank/hb020.npy"]),
    ],
)
def test_other_group_rules(tmp_path: Path, mirror: Path, groups: dict[str, Any], expected: list[str]) -> None:
    toy = _descriptor(tmp_path, _made_up_set(mirror / "toy") | {"groups": groups})
    assert read_set(toy, mirror, "near", ["ship", "tank"])["group_id"].tolist() == expected


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"pattern": r"x(\d+)", "size": 10}, "does not match"),
        ({"column": "pass"}, r"lacks columns \['pass'\]"),
    ],
)
def test_a_group_rule_that_does_not_fit_is_an_error(
    tmp_path: Path, mirror: Path, groups: dict[str, Any], message: str
) -> None:
    toy = _descriptor(tmp_path, _made_up_set(mirror / "toy") | {"groups": groups})
    with pytest.raises(DataError, match=message):
        read_set(toy, mirror, "near", ["ship", "tank"])


def test_wrong_domain_or_class(toy: SetDescriptor, mirror: Path) -> None:
    with pytest.raises(DataError, match="no domain 'nera'") as caught:
        read_set(toy, mirror, "nera", ["ship"])
    assert "did you mean 'near'" in caught.value.fix
    with pytest.raises(DataError, match="class 'tank' has no chips"):
        read_set(toy, mirror, "far", ["ship", "tank"])


@pytest.mark.parametrize("name", ["near/ship/hb012.npy", "manifest.csv", "SHA256SUMS"])
def test_a_changed_file_is_named(toy: SetDescriptor, mirror: Path, name: str) -> None:
    with (mirror / "toy" / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=f"{name}: found SHA-256"):
        read_set(toy, mirror, "near", ["ship"])


def test_files_of_other_classes_are_not_read(toy: SetDescriptor, mirror: Path) -> None:
    (mirror / "toy/near/tank/hb020.npy").unlink()
    assert len(read_set(toy, mirror, "near", ["ship"])) == 2
    message = r"1 of 3 chips of domain near are missing, first near/tank/hb020\.npy"
    with pytest.raises(DataError, match=message) as caught:
        read_set(toy, mirror, "near", ["ship", "tank"])
    assert caught.value.fix == "copy them from another mirror: the source has another layout"


def test_a_missing_mirror_says_what_to_do(toy: SetDescriptor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not mirrored") as caught:
        read_set(toy, tmp_path / "none", "near", ["ship"])
    assert caught.value.fix == "set SARCURATE_MIRROR or run `sarcurate fetch toy`"


@pytest.mark.parametrize("line", ["odd", f"{'0' * 64}  ../../x", f"{'0' * 64}  manifest.csv"])
def test_an_odd_sums_file_is_refused(tmp_path: Path, mirror: Path, line: str) -> None:
    raw = _made_up_set(mirror / "toy")
    sums = (mirror / "toy/SHA256SUMS").read_bytes() + line.encode() + b"\n"
    (mirror / "toy/SHA256SUMS").write_bytes(sums)
    toy = _descriptor(tmp_path, raw | {"sums_sha256": _sha256(sums)})
    with pytest.raises(DataError, match=r"odd or repeated|must be relative"):
        read_set(toy, mirror, "near", ["ship"])


@pytest.fixture
def real_mirror() -> Path:
    folder = os.environ.get("SARCURATE_MIRROR", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SARCURATE_MIRROR names no folder of fetched public sets")
    return Path(folder)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "domain", "chips", "groups", "shape"),
    [
        # chips: the counts that the sets' own README files state; groups: None where each chip is its own
        ("tsx-s1-slc", "tsx-x", 1613, 48, (64, 64)),
        ("tsx-s1-slc", "s1-c", 1143, 243, (64, 64)),
        ("ships-s1-slc", "s1-c-iw", 842, None, (64, 64)),
        ("sar-acd", "gf3-c", 2113, None, None),
        ("mstar-simshift", "mstar-x", 1500, 75, (128, 128)),
        ("mstar-simshift", "sim-coarse", 1699, 67, (64, 64)),
    ],
)
def test_the_real_sets_verify_and_read(
    real_mirror: Path, name: str, domain: str, chips: int, groups: int | None, shape: tuple[int, int] | None
) -> None:
    descriptor = load_set(name)
    if not (real_mirror / name).is_dir():
        pytest.skip(f"{name} is not in SARCURATE_MIRROR")
    found = read_set(descriptor, real_mirror, domain, descriptor.domains[domain].classes)
    assert len(found) == chips
    assert found["group_id"].nunique() == (groups or chips)
    for path in found["path"][:: chips // 20]:
        pixels = read_chip(real_mirror / name / path)
        assert pixels.was_complex == (descriptor.pixels == "iq")
        assert pixels.values.dtype == (np.float32 if descriptor.pixels == "iq" else np.uint8)
        assert shape is None or pixels.values.shape == shape


@pytest.mark.real
def test_no_overlapping_chips_of_the_real_set_lie_in_two_groups(real_mirror: Path) -> None:
    if not (real_mirror / "tsx-s1-slc").is_dir():
        pytest.skip("tsx-s1-slc is not in SARCURATE_MIRROR")
    descriptor = load_set("tsx-s1-slc")
    for domain, part in descriptor.domains.items():
        table = read_set(descriptor, real_mirror, domain, part.classes)
        for _, scene in table.groupby(["scene_id", "polarisation"]):
            rows = scene["first_row_px"].to_numpy(dtype=np.int64)
            cols = scene["first_col_px"].to_numpy(dtype=np.int64)
            group = scene["group_id"].to_numpy(dtype=object)
            apart = np.maximum(abs(rows[:, None] - rows), abs(cols[:, None] - cols))
            overlap = apart < 64
            assert (group[:, None] == group)[overlap].all()
