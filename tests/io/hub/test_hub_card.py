"""The card with names and licences of strangers, rendered as a browser would: nothing of theirs acts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from sarcurate.io.hub import card
from sarcurate.io.hub.licences import LicenceRule
from sarcurate.stages import package

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b | c",
    "[click](javascript:alert(1))",
    "![pic](http://evil.example/p.png)",
    "`code`",
    "**bold** __bold__ ~~gone~~",
    "http://evil.example www.evil.example",
    "=HYPERLINK(1)",
    "license: mit # no",
    "{{ 7*7 }}",
    "&lt;b&gt;",
)


@pytest.fixture(scope="module")
def facts(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path_factory: pytest.TempPathFactory
) -> card.Facts:
    """The facts that the package stage writes its card from."""
    seen: list[card.Facts] = []
    with pytest.MonkeyPatch.context() as patch:
        render = card.render
        patch.setattr(card, "render", lambda found: (seen.append(found), render(found))[1])
        package.run(tiny_params(), package_inputs, tmp_path_factory.mktemp("card") / "hub")
    return seen[0]


def _hostile(facts: card.Facts, text: str) -> card.Facts:
    """The facts with the text wherever people may write one."""
    rule = LicenceRule(text, "other", chips=True, made=True)
    evaluation = facts.numbers["evaluation"]
    arms = {text if name == "real-only" else name: arm for name, arm in evaluation["arms"].items()}
    far = {text: {"n_also_in_training": 2, "arms": arms}}
    chips = facts.contents.sets["target-train"]
    manifest = chips.manifest.assign(sensor=text, mode=text, polarisation=text, licence=text)
    sets = {**facts.contents.sets, "target-train": replace(chips, manifest=manifest)}
    return replace(
        facts,
        release=replace(facts.release, classes=(text, "F-16"), licences=(*facts.release.licences, rule)),
        packed=replace(facts.packed, left_out={"target-test": {text: 3}}, withheld={text: 1}),
        contents=replace(facts.contents, sets=sets),
        numbers={**facts.numbers, "evaluation": evaluation | {"arms": arms, "external_tests": far}},
    )


def _parts(text: str) -> tuple[Any, str]:
    """Front matter as data, body as HTML that keeps raw HTML, as the Hub may."""
    start, front, body = text.split("---\n", 2)
    assert start == ""
    html = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table").enable("strikethrough")
    return YAML(typ="safe", pure=True).load(front), html.render(body)


def _tags(html: str) -> list[str]:
    return re.findall(r"<[^>]+>", html)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_licences_change_no_markup(facts: card.Facts, text: str) -> None:
    front, html = _parts(card.render(_hostile(facts, text)))
    plain_front, plain = _parts(card.render(_hostile(facts, "harmless")))
    assert front == plain_front
    assert _tags(html) == _tags(plain)
    shown = re.sub(r"<[^>]+>", "", html).replace("&lt;", "<").replace("&gt;", ">")
    shown = shown.replace("&quot;", '"').replace("&amp;", "&")
    assert text in shown


def test_a_name_of_a_repository_stands_in_the_example(facts: card.Facts) -> None:
    text = card.render(replace(facts, repo_id="ann/pair_of-two.1"))
    assert 'load_dataset("ann/pair_of-two.1", "curated", revision="v0.1.0")' in text
    assert card.NOWHERE in card.render(replace(facts, repo_id=None))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (("mit", "mit"), {"license": "mit"}),
        (("mit", "apache-2.0"), {"license": ["apache-2.0", "mit"]}),
        (("other", "other"), {"license": "other", "license_name": "see-the-card"}),
    ],
)
def test_the_licences_of_what_is_in_it_stand_in_front(
    facts: card.Facts, ids: tuple[str, str], expected: dict[str, Any]
) -> None:
    rules = tuple(
        replace(rule, licence_id=one) for rule, one in zip(facts.release.licences, ids, strict=True)
    )
    unused = LicenceRule("of another set", "gpl-3.0", chips=True, made=True)
    told = replace(facts, release=replace(facts.release, licences=(*rules, unused)))
    front, _ = _parts(card.render(told))
    assert {name: front[name] for name in front if name.startswith("license")} == expected


def test_the_hubs_own_reader_accepts_the_front_matter(tiny_release: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    loaded = hub.DatasetCard.load(tiny_release / "README.md")
    assert loaded.data.license == "apache-2.0"
    assert loaded.data.task_categories == ["image-classification"]
    from datasets import DatasetInfo
    from datasets.utils.metadata import MetadataConfigs

    configs = MetadataConfigs.from_dataset_card_data(loaded.data)
    assert configs.get_default_config_name() == "curated"
    assert DatasetInfo._from_yaml_dict(loaded.data.dataset_info[0]).splits["train"].num_examples > 0
