from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarcurate.io import lineage

TEXTS = st.text(max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
RECIPES = st.dictionaries(TEXTS, PLAIN, max_size=5)
CHIPS = hnp.arrays(
    st.sampled_from([np.float32, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=5)
)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@given(value=PLAIN)
def test_canonical_json_is_read_back_and_stable(value: object) -> None:
    text = lineage.canonical_json(value)
    assert json.loads(text) == value
    assert lineage.canonical_json(json.loads(text)) == text


def test_canonical_json_by_hand() -> None:
    assert lineage.canonical_json({"b": [1, 2.5, None], "a": "Größe"}) == '{"a":"Größe","b":[1,2.5,null]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        lineage.canonical_json([float("nan")])


@given(recipe=RECIPES, shuffle=st.randoms(use_true_random=False))
def test_a_recipe_is_the_same_in_any_order(recipe: dict[str, object], shuffle: object) -> None:
    keys = list(recipe)
    shuffle.shuffle(keys)  # type: ignore[attr-defined]
    digest = lineage.recipe_sha256({key: recipe[key] for key in keys})
    assert digest == lineage.recipe_sha256(recipe)
    assert lineage.made_chip_id(digest) == digest[:24]


@given(recipe=RECIPES, index=st.integers(0, 1000))
def test_another_recipe_is_another_chip(recipe: dict[str, object], index: int) -> None:
    one, other = ({**recipe, "index": i} for i in (index, index + 1))
    assert lineage.recipe_sha256(one) != lineage.recipe_sha256(other)


@given(jobs=st.lists(st.tuples(TEXTS, st.integers()), unique=True, max_size=10))
def test_seeds_do_not_depend_on_the_order_of_work(jobs: list[tuple[str, int]]) -> None:
    forward = {job: lineage.seed_from(*job) for job in jobs}
    backward = {job: lineage.seed_from(*job) for job in reversed(jobs)}
    assert forward == backward
    assert len(set(forward.values())) == len(jobs)
    assert all(0 <= seed < 2**63 for seed in forward.values())


def test_seeds_tell_parts_apart() -> None:
    seeds = [lineage.seed_from(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), ())]
    assert len(set(seeds)) == len(seeds)
    assert lineage.seed_from("x", 1) == int(_sha('["x","1"]')[:16], 16) // 2


@given(chip=CHIPS)
def test_pixels_have_one_hash_in_any_memory_layout(chip: np.ndarray) -> None:
    wide = np.zeros((chip.shape[0] * 2, chip.shape[1] * 3), chip.dtype)
    wide[::2, ::3] = chip
    layouts = [chip.copy(order="F"), wide[::2, ::3], chip.astype(chip.dtype.newbyteorder(">"))]
    assert {lineage.pixels_sha256(view) for view in layouts} == {lineage.pixels_sha256(chip)}


def test_pixels_hash_counts_type_shape_and_every_value() -> None:
    chip = np.arange(6, dtype=np.uint16).reshape(2, 3)
    head = hashlib.sha256(b"<u2(2, 3)" + bytes([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0]))
    assert lineage.pixels_sha256(chip) == head.hexdigest()
    changed = chip.copy()
    changed[1, 2] = 6
    others = [chip, changed, chip.reshape(3, 2), chip.T, chip.astype(np.float32), chip.astype(np.int16)]
    assert len({lineage.pixels_sha256(other) for other in others}) == len(others)


def test_a_real_chip_is_its_pixels_path_and_window() -> None:
    window = (0, 64, 32, 32)
    chip_id = lineage.real_chip_id("ab" * 32, "tank/1.tif", window)
    assert chip_id == lineage.real_chip_id("ab" * 32, "tank/1.tif", window)
    assert len(chip_id) == 24
    others = [
        lineage.real_chip_id("cd" * 32, "tank/1.tif", window),
        lineage.real_chip_id("ab" * 32, "ship/1.tif", window),
        lineage.real_chip_id("ab" * 32, "tank/1.tif", (0, 65, 32, 32)),
        lineage.real_chip_id("ab" * 32, "tank/1.tif", None),
    ]
    assert len({chip_id, *others}) == 5


LEAVES = st.lists(TEXTS, max_size=20)


@given(leaves=LEAVES, shuffle=st.randoms(use_true_random=False))
def test_the_merkle_root_does_not_depend_on_order(leaves: list[str], shuffle: object) -> None:
    turned = list(leaves)
    shuffle.shuffle(turned)  # type: ignore[attr-defined]
    assert lineage.merkle_root(iter(turned)) == lineage.merkle_root(leaves)


@given(leaves=st.lists(TEXTS, min_size=1, max_size=12), data=st.data())
def test_the_merkle_root_tells_any_change(leaves: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(leaves) - 1))
    root = lineage.merkle_root(leaves)
    assert lineage.merkle_root(leaves[:place] + leaves[place + 1 :]) != root
    assert lineage.merkle_root([*leaves, leaves[place]]) != root
    assert lineage.merkle_root([*leaves[:place], leaves[place] + "x", *leaves[place + 1 :]]) != root


def test_the_merkle_root_of_three_by_hand() -> None:
    a, b, c = (_sha(f"leaf:{leaf}") for leaf in "abc")
    assert lineage.merkle_root(["a"]) == a
    assert lineage.merkle_root(["c", "a", "b"]) == _sha("node:" + _sha(f"node:{a}{b}") + _sha(f"node:{c}"))
    assert lineage.merkle_root([]) == _sha("empty")


def test_an_inner_node_cannot_pass_for_a_leaf() -> None:
    a, b = (_sha(f"leaf:{leaf}") for leaf in "ab")
    assert lineage.merkle_root([f"{a}{b}"]) != lineage.merkle_root(["a", "b"])


@given(ids=st.lists(TEXTS, max_size=6), shuffle=st.randoms(use_true_random=False))
def test_the_dataset_revision_does_not_depend_on_order(ids: list[str], shuffle: object) -> None:
    turned = list(ids)
    shuffle.shuffle(turned)  # type: ignore[attr-defined]
    revision = lineage.dataset_revision(turned)
    assert revision == lineage.dataset_revision(ids)
    assert len(revision) == 16
    assert revision != lineage.dataset_revision([*ids, "one more"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (float("nan"), None),
        (np.float64("nan"), None),
        (None, None),
        ("x", "x"),
        (2**62 + 1, 2**62 + 1),
        (np.array(["a", "b"], dtype=object), ["a", "b"]),
        (("a", [np.float64("nan")]), ["a", [None]]),
        (pd.Timestamp("2024-05-31"), "2024-05-31 00:00:00"),
    ],
)
def test_manifest_values_become_plain(value: object, expected: object) -> None:
    found = lineage.plain(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """A package ``toy_lineage`` of modules one, two and three, and a function that writes a module anew."""
    folder = tmp_path / "toy_lineage"
    (folder / "inner").mkdir(parents=True)

    def write(name: str, text: str) -> None:
        (folder / f"{name}.py").write_text(text)
        for cached in (lineage._meaning, lineage._imports, lineage._module_path):
            cached.cache_clear()

    write("__init__", '__version__ = "1"\n')
    write(
        "one", '"""One."""\nimport json\n\nfrom toy_lineage import two\n\n\ndef f():\n    return two.VALUE\n'
    )
    write("two", "VALUE = 2\n\n\ndef g():\n    from toy_lineage.inner.three import deep\n    return deep\n")
    write("inner/__init__", "")
    write("inner/three", "deep = 3\n")
    write("alone", "X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "toy_lineage"]:
        del sys.modules[name]  # finding a submodule imports its packages
    for cached in (lineage._meaning, lineage._imports, lineage._module_path):
        cached.cache_clear()


@pytest.mark.usefixtures("package")
def test_the_closure_follows_imports_to_any_depth(tmp_path: Path) -> None:
    folder = tmp_path / "toy_lineage"
    found = lineage.module_closure("toy_lineage.one")
    expected = [folder / name for name in ("inner/__init__.py", "inner/three.py", "one.py", "two.py")]
    assert found == expected
    assert lineage.module_closure("toy_lineage.alone") == [folder / "alone.py"]


COMMENTED = (
    '"""Two, explained."""\n# why\nVALUE  =  2\n\ndef g():\n    """Go."""\n'
    "    from toy_lineage.inner.three import deep\n    return deep\n"
)


def test_comments_and_docstrings_do_not_change_the_code_hash(package: Callable[[str, str], None]) -> None:
    before = lineage.code_sha256("toy_lineage.one")
    package("two", COMMENTED)
    assert lineage.code_sha256("toy_lineage.one") == before


@pytest.mark.parametrize(
    ("name", "seen"), [("one", True), ("two", True), ("inner/three", True), ("alone", False)]
)
def test_the_code_hash_sees_what_is_imported_and_nothing_else(
    package: Callable[[str, str], None], tmp_path: Path, name: str, seen: bool
) -> None:
    before, own = (f("toy_lineage.one") for f in (lineage.code_sha256, lineage.own_code_sha256))
    package(name, (tmp_path / "toy_lineage" / f"{name}.py").read_text() + "\nmore = 1\n")
    assert (lineage.code_sha256("toy_lineage.one") != before) is seen
    assert (lineage.own_code_sha256("toy_lineage.one") != own) is (name == "one")


def test_the_code_hash_takes_several_modules() -> None:
    one, other = "sarcurate.core.duplicates", "sarcurate.core.display"
    assert lineage.code_sha256(one, other) == lineage.code_sha256(other, one)
    assert lineage.code_sha256(one, other) != lineage.code_sha256(one)
