"""Recipe files: the packaged one reads, and each wrong field is refused by file and name."""

from __future__ import annotations

import copy
import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sarcurate.errors import ParamsError
from sarcurate.io.recipe_file import PACKAGED, RecipeValues, read_recipe_file
from sarcurate.io.sensors import load_profile

TRAINED = ("vae", "polish", "flow", "unet")
DENOISERS = ("flow", "unet")
WHOLES = ("seed", *(f"{part}.warmup" for part in TRAINED))
COUNTS = (
    *("threads", "pool.sensors", "pool.chip_px", "vae.crop_px", "polish.crop_px"),
    *(f"{part}.{name}" for part in TRAINED for name in ("updates", "batch_size", "save_every")),
)
# field: least, largest, whether the least itself is one too many
NUMBERS = {
    **{f"{part}.learning_rate": (0.0, 1.0, True) for part in TRAINED},
    "vae.spectrum_weight": (0.0, 1000.0, False),
    "vae.checkerboard_weight": (0.0, 1000.0, False),
    "vae.kl_weight": (0.0, 1000.0, False),
    "polish.most_contrast": (0.6, 10.0, True),
    **{f"{part}.{name}": (0.0, 1.0, False) for part in DENOISERS for name in ("decay_fraction", "ema_decay")},
    "times.mean": (-10.0, 10.0, False),
    "times.std": (0.0, 10.0, True),
    "times.shift": (0.0, 100.0, True),
}
LISTS = ("pool.kept_away", *(f"{part}.crop_latents" for part in DENOISERS))
FIELDS = (*WHOLES, *COUNTS, *NUMBERS, *LISTS)
NO_WHOLES = ("3", True, None, [3], 1.0, math.nan)


def plain(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture(scope="module")
def packaged() -> dict[str, Any]:
    content: dict[str, Any] = plain(files("sarcurate").joinpath(PACKAGED).read_text(encoding="utf-8"))
    return content


@pytest.fixture
def content(packaged: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(packaged)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def section_of(content: dict[str, Any], field: str) -> tuple[dict[str, Any], str]:
    """The mapping that a field stands in, and its name there."""
    section, _, name = field.rpartition(".")
    return (content[section] if section else content), name


def put(content: dict[str, Any], field: str, value: object) -> None:
    section, name = section_of(content, field)
    section[name] = value


def read(content: object, file: Path) -> RecipeValues:
    YAML(typ="safe", pure=True).dump(content, file)
    return read_recipe_file(file)


def found(values: RecipeValues, field: str) -> Any:
    section, _, name = field.rpartition(".")
    return getattr(values, section)[name] if section else getattr(values, name)


def refused(content: object, file: Path, message: str) -> ParamsError:
    with pytest.raises(ParamsError, match=f"^{re.escape(f'recipe {file}: {message}')}") as caught:
        read(content, file)
    return caught.value


def test_the_packaged_recipe_reads_as_it_is_written(content: dict[str, Any]) -> None:
    values = read_recipe_file(None)
    kept_away = content["pool"].pop("kept_away")
    for part in DENOISERS:
        content[part]["crop_latents"] = tuple(content[part]["crop_latents"])
    for section, fields in content.items():
        assert getattr(values, section) == fields, section
    assert kept_away == ["terrasarx-sim", "fucheng1-sim"]
    assert values.kept_away == tuple(load_profile(name).sensor_model() for name in kept_away)


def test_a_file_reads_as_the_packaged_recipe_does(content: dict[str, Any], file: Path) -> None:
    assert read(content, file) == read_recipe_file(None)


def test_these_tests_name_every_field(content: dict[str, Any]) -> None:
    named = {
        f"{section}.{name}" if isinstance(fields, dict) else section
        for section, fields in content.items()
        for name in (fields if isinstance(fields, dict) else [""])
    }
    assert named == set(FIELDS)
    assert len(FIELDS) == len(named)


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(content: dict[str, Any], file: Path, field: str) -> None:
    section, name = section_of(content, field)
    expected = ", ".join(sorted(section))
    del section[name]
    where = field.rpartition(".")[0] or "the recipe"
    error = refused(content, file, f"{where} lacks {name}; expected exactly {expected}")
    assert PACKAGED in error.fix


@pytest.mark.parametrize("section", ["pool", *TRAINED, "times"])
def test_a_missing_section_is_named(content: dict[str, Any], file: Path, section: str) -> None:
    del content[section]
    refused(content, file, f"the recipe lacks {section}; expected exactly flow, polish, pool, seed, ")


@pytest.mark.parametrize("field", ["updates", "pool.updates", "vae.polish", "polish.kl_weight", "times.most"])
def test_an_unknown_field_is_named(content: dict[str, Any], file: Path, field: str) -> None:
    put(content, field, 1)
    section, _, name = field.rpartition(".")
    refused(content, file, f"{section or 'the recipe'} has unknown {name}; expected exactly ")


def test_a_field_under_a_wrong_name_is_missing_first(content: dict[str, Any], file: Path) -> None:
    content["vae"]["updatez"] = content["vae"].pop("updates")
    refused(content, file, "vae lacks updates; ")


def test_a_key_that_is_no_text_is_named(content: dict[str, Any], file: Path) -> None:
    mixed: dict[Any, Any] = {**content, 3: 1, None: 1}
    refused(mixed, file, "the recipe has unknown 3, None; ")


@pytest.mark.parametrize("value", [[1], "updates", 3, None])
def test_a_section_that_is_no_mapping_is_named(content: dict[str, Any], file: Path, value: object) -> None:
    content["flow"] = value
    refused(content, file, f"flow is a {type(value).__name__}, expected a mapping of fields")


@pytest.mark.parametrize(("written", "kind"), [("", "NoneType"), ("- 1\n", "list"), ("seed\n", "str")])
def test_a_file_that_is_no_mapping_is_named(file: Path, written: str, kind: str) -> None:
    file.write_text(written)
    with pytest.raises(
        ParamsError, match=rf"mine\.yaml: the recipe is a {kind}, expected a mapping"
    ) as caught:
        read_recipe_file(file)
    assert caught.value.fix == f"correct the recipe in {file}"


@pytest.mark.parametrize("field", WHOLES)
def test_whole_numbers_from_zero_are_read(content: dict[str, Any], file: Path, field: str) -> None:
    for value in (0, 1):
        put(content, field, value)
        assert found(read(content, file), field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [*((field, value) for field in WHOLES for value in (-1, 1.5)), *(("seed", value) for value in NO_WHOLES)],
)
def test_what_is_no_whole_number_is_refused(
    content: dict[str, Any], file: Path, field: str, value: object
) -> None:
    put(content, field, value)
    error = refused(content, file, f"{field} is {value!r}, expected a whole number >= 0")
    assert error.fix == f"correct {field} in {file}"


@pytest.mark.parametrize("field", COUNTS)
def test_counts_from_one_are_read(content: dict[str, Any], file: Path, field: str) -> None:
    put(content, field, 1)
    assert found(read(content, file), field) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, value) for field in COUNTS for value in (0, 1.5)),
        *(("threads", value) for value in (-1, *NO_WHOLES)),
    ],
)
def test_what_is_no_count_is_refused(content: dict[str, Any], file: Path, field: str, value: object) -> None:
    put(content, field, value)
    error = refused(content, file, f"{field} is {value!r}, expected a whole number >")
    assert error.fix == f"correct {field} in {file}"


@pytest.mark.parametrize("field", NUMBERS)
def test_numbers_within_their_bounds_are_read(content: dict[str, Any], file: Path, field: str) -> None:
    low, high, above = NUMBERS[field]
    for value in (math.nextafter(low, high) if above else low, 1, high):
        put(content, field, value)
        read_back = found(read(content, file), field)
        assert (read_back, type(read_back)) == (value, float)


@pytest.mark.parametrize("field", NUMBERS)
def test_numbers_out_of_their_bounds_are_refused(content: dict[str, Any], file: Path, field: str) -> None:
    low, high, above = NUMBERS[field]
    for value in (low if above else math.nextafter(low, -math.inf), math.nextafter(high, math.inf)):
        put(content, field, value)
        expected = f"a number {'above' if above else 'from'} {low:g} to {high:g}"
        error = refused(content, file, f"{field} is {value!r}, expected {expected}\n")
        assert error.fix == f"correct {field} in {file}"


@pytest.mark.parametrize("value", ["3", True, None, [3], math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_refused(content: dict[str, Any], file: Path, value: object) -> None:
    put(content, "times.shift", value)
    refused(content, file, f"times.shift is {value!r}, expected a number above 0 to 100")


@pytest.mark.parametrize("part", DENOISERS)
def test_crop_sizes_keep_their_order_and_their_share(content: dict[str, Any], file: Path, part: str) -> None:
    content[part]["crop_latents"] = [8, 4, 8]
    assert found(read(content, file), f"{part}.crop_latents") == (8, 4, 8)


@pytest.mark.parametrize("value", [[], 48, "48", {48: 1}, None])
def test_what_is_no_list_of_crop_sizes_is_refused(content: dict[str, Any], file: Path, value: object) -> None:
    content["flow"]["crop_latents"] = value
    refused(content, file, f"flow.crop_latents is {value!r}, expected a list of whole numbers > 0")


@pytest.mark.parametrize("item", [0, -4, 4.0, True, "4", None, [4]])
@pytest.mark.parametrize("part", DENOISERS)
def test_a_crop_size_that_is_no_count_is_refused(
    content: dict[str, Any], file: Path, part: str, item: object
) -> None:
    content[part]["crop_latents"] = [48, item]
    refused(content, file, f"{part}.crop_latents is {item!r}, expected a whole number >")


def test_no_sensor_need_be_kept_away(content: dict[str, Any], file: Path) -> None:
    content["pool"]["kept_away"] = []
    assert read(content, file).kept_away == ()


@pytest.mark.parametrize("value", ["terrasarx-sim", ["terrasarx-sim", 3], [None], {"terrasarx-sim": 1}, None])
def test_what_is_no_list_of_sensors_is_refused(content: dict[str, Any], file: Path, value: object) -> None:
    content["pool"]["kept_away"] = value
    refused(content, file, f"pool.kept_away is {value!r}, expected a list of names of sensor profiles")


def test_a_sensor_without_a_profile_is_named(content: dict[str, Any], file: Path) -> None:
    content["pool"]["kept_away"] = ["terrasarx-sim", "nosuch-sim"]
    with pytest.raises(ParamsError, match="nosuch-sim"):
        read(content, file)


@pytest.mark.parametrize(
    "written", ["seed: [1", "seed: 1\nseed: 2\n", "a: 1\n---\nb: 1\n", "seed: !!nosuch 1"]
)
def test_what_is_not_yaml_is_refused(file: Path, written: str) -> None:
    file.write_text(written)
    with pytest.raises(ParamsError, match=r"^recipe .*mine\.yaml is not valid YAML: ") as caught:
        read_recipe_file(file)
    assert caught.value.fix == "correct the YAML"


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    unreadable = r"^recipe .*mine\.yaml cannot be read: .*"
    with pytest.raises(ParamsError, match=unreadable + "No such file"):
        read_recipe_file(file)
    file.write_bytes(b"seed: \xff\xfe")
    with pytest.raises(ParamsError, match=unreadable + "decode"):
        read_recipe_file(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(ParamsError, match=unreadable + "directory") as caught:
        read_recipe_file(file)
    assert caught.value.fix == "name a recipe file"
