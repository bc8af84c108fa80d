"""Documentation says what the code has: params, commands, formats, modules, links, references."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer

from sarcurate import params
from sarcurate.cli import app
from sarcurate.io import manifest, public_sets
from sarcurate.io.sensors import list_profiles
from sarcurate.params import chips, evaluation, judging, making, publishing

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")])
# heading of the table in docs/params.md that describes each section
SECTIONS: dict[type[params.Section], str] = {
    chips.Code: "`code`",
    chips.Dataset: "`dataset`",
    chips.Sensor: "`dataset.source`, `dataset.target`",
    chips.Acquire: "`acquire`",
    chips.SimulatedSource: "`acquire.*` with `kind: simulated`",
    chips.PublicSetSource: "`acquire.*` with `kind: public_set`",
    chips.MosaicSource: "`acquire.*` with `kind: mosaic`",
    chips.FolderSource: "`acquire.*` with `kind: folder`",
    chips.ProductsSource: "`acquire.*` with `kind: products`",
    chips.Ingest: "`ingest`",
    chips.Split: "`split`",
    chips.SideSplit: "`split.source`, `split.target`",
    judging.Validate: "`validate`",
    judging.Reference: "`reference`",
    judging.ReferenceNetwork: "`reference.network`",
    making.Tune: "`tune`",
    making.Generate: "`generate`",
    making.Migrate: "`migrate`",
    making.Translate: "`translate`",
    judging.Score: "`score`",
    judging.Curate: "`curate`",
    judging.Gate: "`curate.gates`",
    evaluation.Evaluate: "`evaluate`",
    evaluation.Arm: "`evaluate.arms`",
    evaluation.ExternalTest: "`evaluate.external_tests`",
    evaluation.Report: "`report`",
    publishing.Package: "`package`",
    publishing.Licence: "`package.licences`",
}
BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minItems")


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def tables(text: str) -> dict[str, list[list[str]]]:
    """Rows of the tables under each heading, header and rule left out."""
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    found = {}
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        rows = [line.strip("|").split(" | ") for line in body.splitlines() if line.startswith("|")]
        found[heading] = [[cell.strip() for cell in row] for row in rows if not row[0].startswith("-")][1:]
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


PARAMS_TABLES = tables(text_of("docs/params.md"))


def field_rows(section: type[params.Section]) -> dict[str, list[str]]:
    return {names(row[0])[0]: row for row in PARAMS_TABLES[SECTIONS[section]]}


def test_every_section_of_params_is_described() -> None:
    assert set(SECTIONS) == set(params.Section.__subclasses__()) - {params.Params}
    assert {f"`{name}`" for name in params.Params.model_fields} <= set(PARAMS_TABLES)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_of_params_is_described_and_no_other(section: type[params.Section]) -> None:
    assert list(field_rows(section)) == list(section.model_fields)
    for row in field_rows(section).values():
        assert len(row) == 4
        assert all(row)


def limits(schema: dict[str, Any]) -> list[float]:
    """Bounds and allowed words of a field, of its alternatives and items too."""
    inner = [*schema.get("anyOf", []), *([schema["items"]] if isinstance(schema.get("items"), dict) else [])]
    own = [schema[name] for name in BOUNDS if name in schema] + schema.get("enum", [])
    return own + [limit for part in inner for limit in limits(part)]


@pytest.mark.parametrize("section", SECTIONS)
def test_bounds_of_params_are_stated(section: type[params.Section]) -> None:
    for name, schema in section.model_json_schema()["properties"].items():
        stated = field_rows(section)[name][2]
        for limit in limits(schema):
            shown = "2^63" if limit == 2**63 else f"{limit:g}" if isinstance(limit, (int, float)) else limit
            assert re.search(rf"(?<![\w.]){re.escape(shown)}(?![\w.])", stated), (section, name, limit)
        nullable = {"type": "null"} in schema.get("anyOf", [])
        assert ("null" in stated) == nullable, (section, name)


def commands() -> set[str]:
    def walk(group: typer.Typer, prefix: str) -> set[str]:
        own = {f"{prefix} {found.name or found.callback.__name__}" for found in group.registered_commands}
        inner = [walk(found.typer_instance, f"{prefix} {found.name}") for found in group.registered_groups]
        return own.union(*inner)

    return walk(app, "sarcurate")


def listed(prefix: str) -> list[str]:
    rows = tables(text_of("README.md"))["Commands"]
    return [name for row in rows for name in names(row[0]) if name.startswith(prefix)]


def test_readme_lists_every_command_once() -> None:
    assert sorted(listed("sarcurate ")) == sorted(commands())


def test_readme_lists_every_make_target_once() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), flags=re.MULTILINE)
    assert sorted(listed("make ")) == sorted(f"make {target}" for target in targets)


def test_readme_lists_every_params_file() -> None:
    shown = {names(row[0])[0] for row in tables(text_of("README.md"))["Variants"]}
    assert shown == {"params.yaml", *(f"params/{path.name}" for path in REPOSITORY.glob("params/*.yaml"))}


def test_chipset_format_lists_every_column_with_its_type() -> None:
    rows = tables(text_of("docs/chipset-format.md"))["metadata.parquet"]
    shown = [(names(row[0])[0], row[1], "*" in row[0]) for row in rows]
    words = {pa.list_(pa.string()): "list<string>"}
    schema = [(field.name, words.get(field.type, str(field.type))) for field in manifest.SCHEMA]
    assert shown == [(name, kind, name in manifest.REQUIRED) for name, kind in schema]


def test_glossary_is_sorted_and_names_nothing_twice() -> None:
    words = [word.casefold() for word in re.findall(r"^\* \*\*(.+?)\*\*:", text_of("docs/glossary.md"), re.M)]
    assert len(words) > 30
    assert words == sorted(set(words))


def test_architecture_names_every_module_of_each_layer() -> None:
    text = text_of("docs/architecture.md").partition("## Modules")[2]
    stages = text.partition("one module per stage, ")[2].partition(":")[0]
    stated = set(re.findall(r"^\| `(\w+)` \|", text, re.M)) | set(names(stages))
    package = REPOSITORY / "sarcurate"
    assert stated == {path.stem for path in package.rglob("*.py") if path.stem != "__init__"}


@pytest.mark.parametrize("name", public_sets.set_names())
def test_public_sets_page_has_the_facts_of_the_descriptor(name: str) -> None:
    described = public_sets.load_set(name)
    section = text_of("docs/public-sets.md").partition(f"## `{name}`")[2].partition("\n## ")[0]
    flat = " ".join(section.split())
    assert described.licence in flat
    assert described.source_url in flat
    assert "**Traps.**" in flat
    row = next(
        row for row in tables(text_of("docs/public-sets.md"))["Fetching and the mirror"] if name in row[0]
    )
    assert names(row[1]) == list(described.domains)


def test_own_data_page_lists_the_packaged_profiles() -> None:
    assert "    " + "  ".join(list_profiles()) + "\n" in text_of("docs/your-own-data.md")


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_relative_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, part = link.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        linked = page.parent / path if path else page
        assert linked.exists(), link
        if part:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.M)
            assert part in map(anchor, headings), link


def test_every_decision_has_its_four_parts_and_its_number() -> None:
    pages = sorted((DOCS / "adr").glob("*.md"))
    assert pages
    for number, page in enumerate(pages, start=1):
        text = page.read_text(encoding="utf-8")
        assert page.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^(Status|## Context|## Decision|## Consequences)", text, re.M) == [
            "Status",
            "## Context",
            "## Decision",
            "## Consequences",
        ]


def references() -> list[tuple[str, str]]:
    entries = re.split(r"^@", text_of("docs/references.bib"), flags=re.MULTILINE)[1:]
    first = re.compile(r"author = \{(\w+).*?year = \{(\d{4})", re.DOTALL)
    return [found.groups() for entry in entries if (found := first.search(entry))]  # type: ignore[misc]


@pytest.mark.parametrize(("author", "year"), references())
def test_every_reference_is_cited(author: str, year: str) -> None:
    package = REPOSITORY / "sarcurate"
    sources = [*PAGES, *package.rglob("*.py"), *package.rglob("*.yaml")]
    cited = re.compile(rf"\b{author}\b.{{0,260}}\b{year}\b", re.DOTALL)
    assert any(cited.search(path.read_text(encoding="utf-8")) for path in sources)


def test_docs_say_nothing_of_one_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(work|home|root|tmp)/", page.read_text(encoding="utf-8")), page


@pytest.mark.parametrize("page", sorted((DOCS / "products").glob("*.md")), ids=lambda page: page.stem)
def test_chip_commands_of_product_pages_say_how_large_a_chip_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [line.strip() for line in text.splitlines() if line.startswith("    sarcurate chip ")]
    assert commands
    for command in commands:
        words = shlex.split(command)
        assert "--licence" in words
        assert "--sensor" in words
        if "--boxes" in words:
            assert len({"--footprint", "--margin", "--margin-share"} & set(words)) == 1, command
        else:
            assert {"--grid", "--footprint", "--step", "--label"} <= set(words), command
