"""Sections that tell what the real chips are and where they come from, up to the split."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sarcurate.params.section import Count, Label, Name, Positive, Section


class Code(Section):
    """Which package the workspace was made for."""

    version: str = Field(description="package version")
    source_sha256: str = Field(description="hash of the package sources, or 'deps' where dvc.yaml lists them")


class Sensor(Section):
    """One of the two sensors."""

    profile: str = Field(min_length=1, description="packaged sensor profile, or path of a YAML file")
    display_db: tuple[float, float] = Field(description="dB window of previews and grids; for eyes only")

    @model_validator(mode="before")
    @classmethod
    def _window_is_a_pair(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("display_db"), list):
            return {**data, "display_db": tuple(data["display_db"])}
        return data

    @model_validator(mode="after")
    def _window_is_ordered(self) -> Sensor:
        low, high = self.display_db
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError("display_db must be [low, high] with low < high, in dB")
        return self


class Dataset(Section):
    """What the data set is; read by every stage."""

    name: Name = Field(description="name of the data set")
    evidence: Literal["smoke", "simulated_target", "real"] = Field(
        description="what a result on it may be called in reports"
    )
    classes: Annotated[list[Label], Field(min_length=2)] = Field(description="class names, in index order")
    footprint_m: Positive | None = Field(
        description="side of every chip in metres; null where sensors differ"
    )
    root_seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(description="every seed derives from it")
    source: Sensor
    target: Sensor

    @model_validator(mode="after")
    def _classes_are_distinct(self) -> Dataset:
        if len({name.casefold() for name in self.classes}) < len(self.classes):
            raise ValueError("classes must be distinct, also without regard to case")
        return self


class SimulatedSource(Section):
    """Chips rendered by the coherent simulator."""

    kind: Literal["simulated"]
    chips_per_class: dict[Label, Count]
    scenes: Annotated[int, Field(ge=2)] = Field(description="passes that the chips are spread over")
    incidence_deg: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(
        description="range over passes"
    )


class PublicSetSource(Section):
    """One domain of a public set that `sarcurate fetch` brought."""

    kind: Literal["public_set"]
    set: Name
    domain: Name
    max_per_class: Count | None = Field(description="seeded cut, for trials; null takes all")


class MosaicSource(Section):
    """Windows about the chips of a public set whose chips overlap, put together from their neighbours."""

    kind: Literal["mosaic"]
    set: Name
    domain: Name
    window_px: Annotated[list[Count], Field(min_length=2, max_length=2)] = Field(
        description="rows and columns of a window"
    )
    covered: Annotated[float, Field(gt=0, le=1)] = Field(
        description="least share of a window that chips hold; the rest is mirrored in"
    )


class FolderSource(Section):
    """The user's own chips: class folders, or a manifest beside the files."""

    kind: Literal["folder"]
    path: str = Field(
        min_length=1, description="class folders, or the folder that the manifest's paths start at"
    )
    manifest: str | None = Field(
        description="CSV or parquet with at least path and label; null for class folders"
    )
    radiometry: Literal["intensity", "amplitude", "beta0", "sigma0", "uint8_relative", "unknown"]
    licence: str = Field(min_length=1, description="licence of the chips, carried into every manifest")


class ProductsSource(Section):
    """Chips cut about boxes from the operators' own products."""

    kind: Literal["products"]
    path: str = Field(min_length=1, description="one product (file or folder), or the folder of several")
    scenes: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = Field(
        description="products below path, as names or patterns; null where path is the one product"
    )
    polarisation: str | None = Field(description="which one where products hold several; null where one")
    boxes: str = Field(min_length=1, description="CSV or GeoJSON of targets")
    labels: dict[str, Label | None] | None = Field(
        description="label in boxes to class, null leaves its boxes out; null takes labels as they are"
    )
    footprint_m: Positive | None = Field(description="side of a square about each box's centre")
    margin_m: Annotated[float, Field(ge=0)] | None = Field(description="or: added around each box")
    margin_share: Annotated[float, Field(ge=0)] | None = Field(
        description="or: added around each box, as a share of its sides"
    )
    border: Literal["skip", "error"] = Field(
        description="chips that leave their scene, or hold no samples: left out and counted, or an error"
    )
    radiometry: Literal["intensity", "amplitude", "beta0", "sigma0", "uint8_relative", "unknown"] = Field(
        description="of the chips; every scene must reach it"
    )
    licence: str = Field(min_length=1, description="licence of the chips, carried into every manifest")

    @model_validator(mode="after")
    def _one_size(self) -> ProductsSource:
        if [self.footprint_m, self.margin_m, self.margin_share].count(None) != 2:
            raise ValueError("give exactly one of footprint_m, margin_m and margin_share, the others null")
        return self


Source = Annotated[
    SimulatedSource | PublicSetSource | MosaicSource | FolderSource | ProductsSource,
    Field(discriminator="kind"),
]


class Acquire(Section):
    """Where raw chips come from."""

    source: Source
    target: Source


class Ingest(Section):
    """How raw chips become a ChipSet."""

    size: Literal["exact", "centre_crop", "keep"] = Field(
        description="chip size against footprint_m: must agree, cut larger ones to it, or leave as they are"
    )


class SideSplit(Section):
    """Split of one sensor's chips."""

    train_per_class: Count | None = Field(description="train chips drawn per class; null takes all")
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="share of chips held out, by groups"
    )


class Split(Section):
    """Grouped, stratified split."""

    source: SideSplit
    target: SideSplit
    folds: Annotated[int, Field(ge=2, le=20)] = Field(description="grouped folds in the train manifests")
    near_duplicates: bool = Field(
        description="true keeps chips of nearly the same picture in one group, and out of the other sensor"
    )
