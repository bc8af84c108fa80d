"""Section of the release: what is packed for others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sarcurate.params.judging import Gate
from sarcurate.params.section import Section

Config = Literal["real", "generated", "migrated", "migrated-generated", "translated", "curated"]


class Licence(Section):
    """What the licence of one source allows."""

    source: Annotated[str, Field(min_length=1, max_length=300)] = Field(
        description="licence as the real chips' manifests have it, or 'base <name>' of the generating model"
    )
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=40)] = Field(
        description="of the Hub's list of licences; other for one that is not in it"
    )
    redistribute: bool = Field(description="the chips themselves may be given to others")
    redistribute_made: bool = Field(description="chips made from them may be given to others")


class Package(Section):
    """The folder that goes to the Hub."""

    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+([.-][a-z0-9.-]+)?$", max_length=40)] = (
        Field(description="of the data set, raised by you; its tag on the Hub is v<version>")
    )
    repo_id: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", max_length=96)] | None = Field(
        description="owner/name on the Hub; null where it is given when publishing"
    )
    configs: Annotated[list[Config], Field(min_length=1)] = Field(description="what is packed")
    licences: list[Licence] = Field(description="a source without a rule leaves its chips out")
    gates: list[Gate] = Field(description="a made chip that breaks one is left out of every config")
    reasons: bool = Field(
        description="say in every record why curation kept or rejected it; such sentences name reviewers"
    )
    shard_mb: Annotated[int, Field(ge=1, le=5000)] = Field(description="MiB of chips in a parquet file")

    @model_validator(mode="after")
    def _named_once(self) -> Package:
        for what, names in (
            ("configs", list(self.configs)),
            ("licences", [rule.source for rule in self.licences]),
            ("gates", [gate.measure for gate in self.gates]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} must be distinct")
        return self
