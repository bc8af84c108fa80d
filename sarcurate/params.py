"""params.yaml as frozen typed sections; every field is required, so that DVC sees every change."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sarcurate.errors import ParamsError

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._+-]*$", max_length=60)]
Label = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^/\\\x00-\x1f]+$")]
OWN_TEST = "target-test"  # name of the target's own test chips beside the external tests


class Section(BaseModel):
    """One section of params.yaml: unknown keys are errors, values cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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
    SimulatedSource | PublicSetSource | FolderSource | ProductsSource, Field(discriminator="kind")
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


class Validate(Section):
    """What the real chips must be like before anything is learnt from them."""

    expectations: list[Annotated[str, Field(min_length=1)]] = Field(
        description="your own YAML files of expectations, beside the packaged ones"
    )
    severities: dict[str, Literal["error", "warning"]] = Field(
        description="another severity for a rule, by its name"
    )
    min_train_per_class: Count = Field(description="train chips that each class of each sensor needs")
    max_class_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        description="train chips of a sensor's largest class over those of any other; more is a warning"
    )
    min_dynamic_range_db: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        description="from the 1st to the 99.9th percentile of a chip's intensity, zeros aside"
    )
    max_nodata_fraction: Fraction = Field(description="share of zero pixels in a chip")


class Translate(Section):
    """Comparison methods that need no network."""

    same_pixels: bool = Field(
        description="true takes a source pixel as a target pixel; false resamples so that metres stay true"
    )


class ReferenceNetwork(Section):
    """Small network on the train chips of one sensor: features for set metrics, class agreement."""

    updates: Count = Field(description="optimiser updates")
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    threads: Count = Field(description="CPU threads; part of the result, since sums depend on it")


class Reference(Section):
    """What real train chips are like: the limits and floors that made chips are held against."""

    content: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        description="share of real chips that a gate's limit is to let through"
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        description="confidence that it does; where chips are too few, the extreme chip and its confidence"
    )
    null_references: Annotated[int, Field(ge=5, le=200)] = Field(
        description="unrelated chips that each ghost score is compared with; score uses as many"
    )
    network: ReferenceNetwork


class Score(Section):
    """Measures of every made chip and set."""

    interval_level: Annotated[float, Field(gt=0.5, lt=1)]
    bootstrap_draws: Annotated[int, Field(ge=100)]


class Gate(Section):
    """One rule that a made chip has to pass."""

    measure: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = Field(
        description="a column of data/scores.parquet"
    )
    side: Literal["lower", "upper", "both"] = Field(description="which limits hold")
    low: Finite | None = Field(description="own lower limit; null takes the reference's")
    high: Finite | None = Field(description="own upper limit; null takes the reference's")
    if_missing: Literal["keep", "reject"] = Field(description="fate of a chip that has no such value")

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Gate:
        if self.side == "lower" and self.high is not None:
            raise ValueError("a gate with side lower has no high")
        if self.side == "upper" and self.low is not None:
            raise ValueError("a gate with side upper has no low")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class Curate(Section):
    """Which made chips are kept."""

    gates: list[Gate]
    max_per_class: Count | None = Field(description="chips kept per made set and class; null for all")

    @model_validator(mode="after")
    def _one_gate_per_measure(self) -> Curate:
        names = [gate.measure for gate in self.gates]
        if len(set(names)) < len(names):
            raise ValueError("gates must name distinct measures")
        return self


class ExternalTest(Section):
    """A further test set, scored by the same classifiers and reported apart."""

    name: Name
    path: str = Field(min_length=1, description="ChipSet or class folders, in the target's radiometry")


class Arm(Section):
    """One training set to compare."""

    name: Name
    add: list[Name] = Field(
        description="sets beside the real chips: source, a made set's folder name, or that with -curated"
    )
    oversample: bool = Field(description="repeat the real chips to the count of the largest added set")
    classical: bool = Field(description="gain, speckle and flip augmentation")


class Evaluate(Section):
    """ResNet50, trained alike for every arm, scored on held-out target test chips."""

    arms: Annotated[list[Arm], Field(min_length=1)] = Field(
        description="the first is the one others are compared to"
    )
    seeds: Count = Field(description="training runs per arm")
    image_px: Annotated[int, Field(ge=32, le=512)]
    updates: Count = Field(description="optimiser updates, the same for every arm")
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    warmup_fraction: Fraction
    crop_jitter: Annotated[float, Field(ge=0, le=0.3)] = Field(
        description="position jitter, share of the image side"
    )
    real_fraction: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        description="share of real chips in each batch of an arm with added chips; null for none set"
    )
    flips: bool = Field(
        description="azimuth flips in the classical arm; only for sets without a look direction"
    )
    gain_jitter_db: Annotated[float, Field(ge=0)] = Field(description="classical arm, +- dB")
    speckle_jitter_looks: Annotated[float, Field(ge=0)] = Field(
        description="classical arm, looks; 0 for none"
    )
    initial_weights: str | None = Field(
        description="safetensors of a one-channel ResNet50; null trains from scratch"
    )
    precision: Literal["bf16", "fp32"]
    threads: Count = Field(description="CPU threads; part of the result, since sums depend on it")
    interval_level: Annotated[float, Field(gt=0.5, lt=1)]
    bootstrap_draws: Annotated[int, Field(ge=200)]
    external_tests: list[ExternalTest]

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Evaluate:
        for what, items in (("arms", self.arms), ("external_tests", self.external_tests)):
            names = [item.name for item in items]
            if len(set(names)) < len(names):
                raise ValueError(f"{what} must have distinct names")
        if OWN_TEST in {item.name for item in self.external_tests}:
            raise ValueError(f"external_tests must not be named {OWN_TEST}, as the target's own test set is")
        if self.arms[0].add or self.arms[0].oversample or self.arms[0].classical:
            raise ValueError(
                "the first arm is the baseline: real chips only (add: [], no oversample, no classical)"
            )
        return self


class Report(Section):
    """The HTML report."""

    grid_chips: Annotated[int, Field(ge=1, le=12)] = Field(description="chips per class and set in the grids")


with warnings.catch_warnings():
    # The section is called as its stage; pydantic's deprecated method of that name is called by nobody.
    warnings.filterwarnings(
        "ignore", message='Field name "validate" in "Params" shadows', category=UserWarning
    )

    class Params(Section):
        """All of params.yaml."""

        code: Code
        dataset: Dataset
        acquire: Acquire
        ingest: Ingest
        split: Split
        validate: Validate  # type: ignore[assignment]
        reference: Reference
        translate: Translate
        score: Score
        curate: Curate
        evaluate: Evaluate
        report: Report


def read_params(path: Path) -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: naming the file and each field that is missing, unknown or out of bounds.
    """
    return check_params(read_yaml(path), path)


def read_yaml(path: Path) -> Any:
    """Plain data of a YAML 1.2 file, as DVC reads it (1e-4 is a number, on is a word).

    Raises:
        ParamsError: when the file is missing, cannot be read or is not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError as error:
        raise ParamsError(
            f"there is no {path}", fix="run in a workspace, or make one: sarcurate init DIR --params FILE"
        ) from error
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}", fix="name a params file") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not valid YAML: {error}", fix="correct the line named above") from error


def check_params(data: Any, path: Path) -> Params:
    """Params from plain data; ``path`` is named in errors."""
    try:
        return Params.model_validate(data)
    except ValidationError as error:
        lines = [_describe(item) for item in error.errors()]
        raise ParamsError(
            f"{path} has {len(lines)} wrong value(s):\n  " + "\n  ".join(lines),
            fix="correct these fields; docs/params.md lists every field with its unit and bounds",
        ) from error


def _describe(item: Any) -> str:
    parts = [str(part) for part in item["loc"]]
    if parts[:1] == ["acquire"]:
        del parts[2:3]  # pydantic's tag of the source kind, which is no field
    field = ".".join(parts) or "(top level)"
    if item["type"] == "missing":
        return f"{field}: missing; every field must be given"
    if item["type"] == "extra_forbidden":
        return f"{field}: unknown field"
    return f"{field}: {item['msg']}; found {str(item['input'])[:80]!r}"
