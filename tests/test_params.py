from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sarcurate.errors import ParamsError
from sarcurate.params import Params, Section, check_params, read_params, read_yaml

ROOT = Path(__file__).parents[1]
FILES = sorted([ROOT / "params.yaml", *(ROOT / "params").glob("*.yaml")])
# together they hold every kind of source
KINDS = ("params.yaml", "params/paper.yaml", "params/tsx-s1-slc.yaml", "params/tsx-s1-scaled.yaml")
HERE = Path("my.yaml")
BY_NAME = ("chips_per_class", "severities")  # mappings with names of the user
Loc = tuple[str | int, ...]


@cache
def _read(name: str) -> Any:
    return read_yaml(ROOT / name)


def _data(name: str = "params.yaml") -> Any:
    data = copy.deepcopy(_read(name))
    data["validate"] |= {"expectations": ["own.yaml"], "severities": {"licence-present": "error"}}
    data["evaluate"]["external_tests"] = [{"name": "other", "path": "incoming/other"}]
    return data


def _mappings(node: Any, loc: Loc = ()) -> Iterator[Loc]:
    """Where the sections of plain data lie; mappings by name are no section."""
    if isinstance(node, dict):
        yield loc
    entries = enumerate(node) if isinstance(node, list) else node.items()
    for key, value in entries:
        if isinstance(value, dict | list) and key not in BY_NAME:
            yield from _mappings(value, (*loc, key))


def _at(data: Any, loc: Loc) -> Any:
    for key in loc:
        data = data[key]
    return data


def _dotted(loc: Loc) -> str:
    return ".".join(map(str, loc))


def _fields() -> list[tuple[str, Loc]]:
    return [
        (name, (*loc, key))
        for name in KINDS
        for loc in _mappings(_data(name))
        for key in _at(_data(name), loc)
    ]


def _problem(data: Any) -> str:
    with pytest.raises(ParamsError) as caught:
        check_params(data, HERE)
    assert "my.yaml has" in caught.value.problem
    assert "docs/params.md" in caught.value.fix
    return caught.value.problem


def _sections(kind: type[Section] = Section) -> Iterator[type[Section]]:
    for child in kind.__subclasses__():
        yield child
        yield from _sections(child)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_params_file_is_valid(path: Path) -> None:
    params = read_params(path)
    assert params.evaluate.arms[0].name == "real-only"


def test_the_five_variants_are_there() -> None:
    variants = {"quick", "table1", "tsx-s1-slc", "mstar-simshift", "paper"}
    assert variants <= {path.stem for path in FILES}


def test_no_field_has_a_default() -> None:
    sections = list(_sections())
    assert Params in sections
    assert len(sections) > 15
    defaults = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not field.is_required()
    ]
    assert defaults == []


def test_every_section_is_frozen_and_refuses_what_it_does_not_know() -> None:
    for section in _sections():
        assert section.model_config["frozen"]
        assert section.model_config["extra"] == "forbid"
    params = check_params(_data(), HERE)
    with pytest.raises(ValidationError, match="frozen"):
        params.evaluate.updates = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "loc"), _fields(), ids=lambda item: _dotted(item) if isinstance(item, tuple) else ""
)
def test_a_missing_field_is_named(name: str, loc: Loc) -> None:
    data = _data(name)
    del _at(data, loc[:-1])[loc[-1]]
    if loc[-1] == "kind":
        expected = f"{_dotted(loc[:-1])}: Unable to extract tag using discriminator 'kind'"
    else:
        expected = f"{_dotted(loc)}: missing; every field must be given"
    assert expected in _problem(data)


@pytest.mark.parametrize(("name", "loc"), [(name, loc) for name in KINDS for loc in _mappings(_data(name))])
def test_an_unknown_field_is_named(name: str, loc: Loc) -> None:
    data = _data(name)
    _at(data, loc)["odd"] = 1
    assert f"{_dotted((*loc, 'odd'))}: unknown field" in _problem(data)


@pytest.mark.parametrize(
    ("name", "loc"), _fields(), ids=lambda item: _dotted(item) if isinstance(item, tuple) else ""
)
def test_a_value_of_another_type_is_named(name: str, loc: Loc) -> None:
    data = _data(name)
    _at(data, loc[:-1])[loc[-1]] = {"odd": 3.5} if loc[-1] not in BY_NAME else 3.5
    problem = _problem(data)
    place = _dotted(loc[:-1] if loc[-1] == "kind" else loc)
    assert f"  {place}" in problem


WRONG = [
    ("code.version", 1, "valid string"),
    ("dataset.name", "Has Space", "match pattern"),
    ("dataset.name", "../up", "match pattern"),
    ("dataset.evidence", "proof", "'smoke', 'simulated_target' or 'real'"),
    ("dataset.classes", ["B-52"], "at least 2 items"),
    ("dataset.classes.0", "a/b", "match pattern"),
    ("dataset.classes.0", "", "at least 1 character"),
    ("dataset.footprint_m", 0.0, "greater than 0"),
    ("dataset.footprint_m", float("inf"), "finite number"),
    ("dataset.footprint_m", float("nan"), "finite number"),
    ("dataset.root_seed", -1, "greater than or equal to 0"),
    ("dataset.root_seed", 2**63, "less than 9223372036854775808"),
    ("dataset.source.profile", "", "at least 1 character"),
    ("dataset.target.display_db.0", None, "valid number"),
    ("dataset.target.display_db.0", "-25", "valid number"),
    ("acquire.source.chips_per_class.B-52", 0, "greater than or equal to 1"),
    ("acquire.source.scenes", 1, "greater than or equal to 2"),
    ("acquire.source.incidence_deg", [25.0], "at least 2 items"),
    ("acquire.source.incidence_deg.1", float("inf"), "finite number"),
    ("ingest.size", "stretch", "'exact', 'centre_crop' or 'keep'"),
    ("split.target.train_per_class", 0, "greater than or equal to 1"),
    ("split.target.train_per_class", 37.0, "valid integer"),
    ("split.source.test_fraction", 0.0, "greater than 0"),
    ("split.source.test_fraction", 1.0, "less than 1"),
    ("split.folds", 1, "greater than or equal to 2"),
    ("split.folds", 21, "less than or equal to 20"),
    ("validate.expectations.0", "", "at least 1 character"),
    ("validate.severities.licence-present", "off", "'error' or 'warning'"),
    ("validate.min_train_per_class", 0, "greater than or equal to 1"),
    ("validate.max_class_ratio", 0.5, "greater than or equal to 1"),
    ("validate.min_dynamic_range_db", -1.0, "greater than or equal to 0"),
    ("validate.max_nodata_fraction", 1.5, "less than or equal to 1"),
    ("reference.content", 0.5, "greater than 0.5"),
    ("reference.content", 1.0, "less than 1"),
    ("reference.confidence", 0.4, "greater than 0.5"),
    ("reference.null_references", 4, "greater than or equal to 5"),
    ("reference.null_references", 201, "less than or equal to 200"),
    ("reference.network.updates", 0, "greater than or equal to 1"),
    ("reference.network.batch_size", 1, "greater than or equal to 2"),
    ("reference.network.learning_rate", 0.0, "greater than 0"),
    ("reference.network.threads", 0, "greater than or equal to 1"),
    ("score.interval_level", 1.0, "less than 1"),
    ("score.bootstrap_draws", 99, "greater than or equal to 100"),
    ("curate.gates.0.measure", "ENL", "match pattern"),
    ("curate.gates.0.side", "above", "'lower', 'upper' or 'both'"),
    ("curate.gates.0.high", float("inf"), "finite number"),
    ("curate.gates.0.low", "3", "valid number"),
    ("curate.gates.0.if_missing", "drop", "'keep' or 'reject'"),
    ("curate.max_per_class", 0, "greater than or equal to 1"),
    ("translate.same_pixels", "on", "valid boolean"),
    ("translate.same_pixels", 1, "valid boolean"),
    ("evaluate.arms.1.name", "Real", "match pattern"),
    ("evaluate.seeds", 0, "greater than or equal to 1"),
    ("evaluate.seeds", True, "valid integer"),
    ("evaluate.image_px", 31, "greater than or equal to 32"),
    ("evaluate.image_px", 513, "less than or equal to 512"),
    ("evaluate.updates", 0, "greater than or equal to 1"),
    ("evaluate.batch_size", 1, "greater than or equal to 2"),
    ("evaluate.learning_rate", 0, "greater than 0"),
    ("evaluate.learning_rate", "1e-4", "valid number"),
    ("evaluate.weight_decay", -0.1, "greater than or equal to 0"),
    ("evaluate.weight_decay", float("inf"), "finite number"),
    ("evaluate.label_smoothing", 1.0, "less than 1"),
    ("evaluate.warmup_fraction", 1.1, "less than or equal to 1"),
    ("evaluate.crop_jitter", 0.31, "less than or equal to 0.3"),
    ("evaluate.real_fraction", 1.0, "less than 1"),
    ("evaluate.gain_jitter_db", -1.0, "greater than or equal to 0"),
    ("evaluate.speckle_jitter_looks", float("nan"), "finite number"),
    ("evaluate.precision", "fp16", "'bf16' or 'fp32'"),
    ("evaluate.threads", 0, "greater than or equal to 1"),
    ("evaluate.interval_level", 0.5, "greater than 0.5"),
    ("evaluate.interval_level", 1.0, "less than 1"),
    ("evaluate.bootstrap_draws", 199, "greater than or equal to 200"),
    ("evaluate.external_tests.0.path", "", "at least 1 character"),
    ("report.grid_chips", 0, "greater than or equal to 1"),
    ("report.grid_chips", 13, "less than or equal to 12"),
    ("package.version", "1.0", "match pattern"),
    ("package.version", "v1.0.0", "match pattern"),
    ("package.version", 1.0, "valid string"),
    ("package.repo_id", "name", "match pattern"),
    ("package.repo_id", "https://host/a/b", "match pattern"),
    ("package.configs", [], "at least 1 item"),
    ("package.configs.0", "all", "'real', 'generated', 'migrated'"),
    ("package.licences.0.source", "", "at least 1 character"),
    ("package.licences.0.id", "Apache 2", "match pattern"),
    ("package.licences.0.redistribute", 1, "valid boolean"),
    ("package.licences.0.redistribute_made", "yes", "valid boolean"),
    ("package.gates.0.side", "above", "'lower', 'upper' or 'both'"),
    ("package.reasons", "no", "valid boolean"),
    ("package.shard_mb", 0, "greater than or equal to 1"),
    ("package.shard_mb", 5001, "less than or equal to 5000"),
]


@pytest.mark.parametrize(("dotted", "value", "message"), WRONG)
def test_a_value_out_of_bounds_is_named_with_what_was_found(dotted: str, value: Any, message: str) -> None:
    data = _data()
    *loc, last = [int(part) if part.isdigit() else part for part in dotted.split(".")]
    _at(data, tuple(loc))[last] = value
    problem = _problem(data)
    assert f"  {dotted}: " in problem
    assert message in problem
    assert f"found {str(value)[:80]!r}" in problem
    assert "has 1 wrong value" in problem


def _gate(measure: str, **values: Any) -> dict[str, Any]:
    return {"measure": measure, "side": "both", "low": None, "high": None, "if_missing": "keep"} | values


def test_gates_may_have_no_limits_one_or_two_and_there_may_be_none() -> None:
    data = _data()
    good = [_gate("enl"), _gate("mean_db", low=3.0, high=3.0), _gate("ghost_z", side="upper", high=2.5)]
    for gates in (good, []):
        data["curate"]["gates"] = gates
        assert len(check_params(data, HERE).curate.gates) == len(gates)


def test_several_wrong_values_are_all_named() -> None:
    data = _data()
    data["evaluate"]["seeds"] = 0
    del data["split"]["folds"]
    problem = _problem(data)
    assert "has 2 wrong value(s)" in problem
    assert "evaluate.seeds" in problem
    assert "split.folds: missing" in problem


@pytest.mark.parametrize(
    ("dotted", "value", "message"),
    [
        ("dataset.source.display_db", [10.0, -25.0], "low < high"),
        ("dataset.source.display_db", [5.0, 5.0], "low < high"),
        ("dataset.classes", ["ship", "Ship"], "distinct, also without regard to case"),
        (
            "evaluate.external_tests",
            [{"name": "x", "path": "a"}, {"name": "x", "path": "b"}],
            "distinct names",
        ),
        ("evaluate.external_tests", [{"name": "target-test", "path": "a"}], "must not be named target-test"),
        ("evaluate.arms.1.name", "real-only", "arms must have distinct names"),
        ("evaluate.arms.0.add", ["source"], "first arm is the baseline"),
        ("evaluate.arms.0.oversample", True, "first arm is the baseline"),
        ("evaluate.arms.0.classical", True, "first arm is the baseline"),
        ("evaluate.arms", [], "at least 1 item"),
        ("acquire.source.kind", "simulatd", "'simulated', 'public_set', 'mosaic', 'folder'"),
        ("curate.gates", [_gate("enl"), _gate("enl", side="upper")], "gates must name distinct measures"),
        ("curate.gates.0", _gate("enl", side="lower", high=3.0), "side lower has no high"),
        ("curate.gates.0", _gate("enl", side="upper", low=3.0), "side upper has no low"),
        ("curate.gates.0", _gate("enl", low=3.5, high=3.0), "low 3.5 is above high 3"),
    ],
)
def test_rules_over_several_values(dotted: str, value: Any, message: str) -> None:
    data = _data()
    *loc, last = [int(part) if part.isdigit() else part for part in dotted.split(".")]
    _at(data, tuple(loc))[last] = value
    problem = _problem(data)
    assert loc[0] in problem
    assert message in problem


@pytest.mark.parametrize("radiometry", ["db", "", "Sigma0"])
def test_radiometry_must_be_one_that_is_known(radiometry: str) -> None:
    data = _data("params/paper.yaml")
    data["acquire"]["source"]["radiometry"] = radiometry
    assert "acquire.source.radiometry: " in _problem(data)


def test_yaml_is_read_as_dvc_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("a: 1e-4\nb: on\nc: yes\nd: 0o17\ne: true\nf: 3.0e-4\n")
    assert read_yaml(path) == {"a": 1e-4, "b": "on", "c": "yes", "d": 15, "e": True, "f": 3e-4}


def test_a_number_without_a_point_is_taken(tmp_path: Path) -> None:
    text = (ROOT / "params/quick.yaml").read_text()
    assert "learning_rate: 3.0e-4" in text
    path = tmp_path / "p.yaml"
    path.write_text(text.replace("learning_rate: 3.0e-4", "learning_rate: 3e-4"))
    assert read_params(path) == read_params(ROOT / "params/quick.yaml")


@pytest.mark.parametrize(
    "text", [b"a: [1", b"a: 1\na: 2", b"a: !!python/object:os.system 1", b"a: \xff\xfe\xfa"]
)
def test_broken_yaml_is_an_error_naming_the_file(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(text)
    with pytest.raises(ParamsError, match=r"p\.yaml is not valid YAML"):
        read_yaml(path)


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"there is no .*p\.yaml\nFix: .*sarcurate init DIR --params FILE"):
        read_params(tmp_path / "p.yaml")
    with pytest.raises(ParamsError, match="cannot be read"):
        read_params(tmp_path)


@pytest.mark.parametrize("text", ["", "- 1\n", "word\n"])
def test_a_file_without_sections_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=r"\(top level\)"):
        read_params(path)


def test_checking_does_not_change_the_data() -> None:
    data = _data()
    before = copy.deepcopy(data)
    check_params(data, HERE)
    assert data == before


PRODUCTS = {
    "kind": "products",
    "path": "incoming/products",
    "scenes": ["*.tif"],
    "polarisation": "HH",
    "boxes": "incoming/boxes.csv",
    "labels": {"bomber": "B-52", "other": None},
    "footprint_m": 96.0,
    "margin_m": None,
    "margin_share": None,
    "border": "skip",
    "radiometry": "sigma0",
    "licence": "mine",
}


def _with_products(**changes: Any) -> Any:
    data = _data()
    data["acquire"]["target"] = PRODUCTS | changes
    return data


def test_products_are_a_source() -> None:
    found = check_params(_with_products(), HERE).acquire.target
    assert found.model_dump() == PRODUCTS


@pytest.mark.parametrize("name", [name for name in PRODUCTS if name != "kind"])
def test_every_field_of_products_is_required_and_typed(name: str) -> None:
    data = _with_products()
    del data["acquire"]["target"][name]
    assert f"acquire.target.{name}: missing; every field must be given" in _problem(data)
    assert f"  acquire.target.{name}" in _problem(_with_products(**{name: {"odd": 3.5}}))


@pytest.mark.parametrize(
    "sizes",
    [{"footprint_m": None}, {"margin_m": 1.0}, {"footprint_m": None, "margin_m": 1.0, "margin_share": 0.1}],
    ids=str,
)
def test_products_have_exactly_one_size(sizes: dict[str, float | None]) -> None:
    check_params(_with_products(footprint_m=None, margin_share=0.1), HERE)
    assert "exactly one of footprint_m, margin_m and margin_share" in _problem(_with_products(**sizes))


@pytest.mark.parametrize("field", ["configs", "licences", "gates"])
def test_a_release_names_each_config_licence_and_gate_once(field: str) -> None:
    data = _data()
    data["package"][field] = data["package"][field][:1] * 2
    assert f"{field} must be distinct" in _problem(data)
