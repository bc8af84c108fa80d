"""Sections that say what real chips must be like, and what made ones are held against."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sarcurate.params.section import Count, Finite, Fraction, Positive, Section


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
