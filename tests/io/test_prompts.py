from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import ParamsError
from sarcurate.io.prompts import PromptField, prompt_of

ROW = {
    "sensor": "terrasarx-sim", "band": "X", "azimuth_spacing_m": 1.0, "range_spacing_m": 1.0,
    "polarisation": "HH", "incidence_deg": 35.4, "azimuth_deg": 270.0,
}  # fmt: skip
TOLD = ["terrasarx-sim", "X band", "1 m", "HH", "incidence 35", "azimuth 270"]
COLUMNS = {
    PromptField.SENSOR: "sensor",
    PromptField.BAND: "band",
    PromptField.SPACING: "range_spacing_m",
    PromptField.POLARISATION: "polarisation",
    PromptField.INCIDENCE: "incidence_deg",
    PromptField.AZIMUTH: "azimuth_deg",
}


def test_the_paper_s_prompt():
    assert prompt_of("F-16", ROW, []) == "SAR image, F-16"


def test_the_order_is_fixed_whatever_is_asked_for_in_whatever_order():
    told = ", ".join(["SAR image", "F-16", *TOLD])
    for fields in itertools.islice(itertools.permutations(PromptField), 0, 720, 97):
        assert prompt_of("F-16", ROW, fields) == told
    assert prompt_of("F-16", ROW, [PromptField.AZIMUTH, PromptField.BAND]) == (
        "SAR image, F-16, X band, azimuth 270"
    )


@pytest.mark.parametrize("unknown", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "", "  "])
@pytest.mark.parametrize("field", PromptField)
def test_an_unknown_value_is_dropped_and_the_others_stay(field, unknown):
    place = list(PromptField).index(field)
    left = TOLD[:place] + TOLD[place + 1 :]
    told = ", ".join(["SAR image", "F-16", *left])
    assert prompt_of("F-16", {**ROW, COLUMNS[field]: unknown}, list(PromptField)) == told
    without = {name: value for name, value in ROW.items() if name != COLUMNS[field]}
    assert prompt_of("F-16", without, list(PromptField)) == told


def test_rows_of_a_table_are_read_as_they_are():
    table = pd.DataFrame([ROW]).astype({"incidence_deg": "Float64", "azimuth_deg": "Int64"})
    assert prompt_of("F-16", table.to_dict("records")[0], list(PromptField)).endswith("35, azimuth 270")
    table.loc[0, ["incidence_deg", "azimuth_deg"]] = pd.NA
    assert prompt_of("F-16", table.to_dict("records")[0], list(PromptField)).endswith("1 m, HH")


@pytest.mark.parametrize(
    ("azimuth", "range_", "told"),
    [
        (0.604, 0.6, "0.6 m"),
        (2.0, 3.06, "2 x 3.1 m"),
        (12.0, 12.0, "12 m"),
        (100.0, 100.0, "100 m"),
        (np.float32(1.5), np.int64(2), "1.5 x 2 m"),
    ],
)
def test_spacings_have_two_digits(azimuth, range_, told):
    row = {"azimuth_spacing_m": azimuth, "range_spacing_m": range_}
    assert prompt_of("A", row, [PromptField.SPACING]) == f"SAR image, A, {told}"


@pytest.mark.parametrize("label", ["", " ", "\t"])
def test_an_empty_class_is_refused(label):
    with pytest.raises(ParamsError, match="a prompt needs a class, found an empty one"):
        prompt_of(label, ROW, [])


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_classes_have_prompts_of_their_own(one, other):
    same = prompt_of(one, ROW, list(PromptField)) == prompt_of(other, ROW, list(PromptField))
    assert same is (one == other)
