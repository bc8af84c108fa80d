"""Sections of the arms, their training and the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sarcurate.params.section import Count, Fraction, Name, Positive, Section

OWN_TEST = "target-test"  # name of the target's own test chips beside the external tests


class ExternalTest(Section):
    """A further test set, scored by the same classifiers and reported apart."""

    name: Name
    path: str = Field(min_length=1, description="ChipSet or class folders, in the target's radiometry")


class Arm(Section):
    """One training set to compare."""

    name: Name
    add: list[Name] = Field(
        description="sets beside the real chips: source, a made set's folder name, these with -curated or "
        "-matched, oracle"
    )
    oversample: bool = Field(description="repeat the real chips to the count of the largest added set")
    classical: bool = Field(description="gain, speckle and flip augmentation")


class Evaluate(Section):
    """ResNet50, trained alike for every arm, scored on held-out target test chips."""

    arms: Annotated[list[Arm], Field(min_length=1)] = Field(
        description="the first is the one others are compared to"
    )
    oracle_per_class: Count | None = Field(
        description="real target chips of each class, of those that split left over, in the set oracle: "
        "what as many real chips are worth; null takes all"
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
