from __future__ import annotations

import pytest

from sarcurate.app import fields
from sarcurate.core.scorecard import COLUMNS


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ("enl", "ENL [1]"),
        ("mean_db", "mean level [dB]"),
        ("irw_azimuth_m", "azimuth width at -3 dB [m]"),
        ("texture_contrast_2px", "texture contrast at 2 px [1]"),
        ("log_psd_distance", "log-PSD distance [nepers]"),
        ("log_cumulant_3", "log-cumulant 3 [nepers^3]"),
        ("correlation_width_azimuth_px", "correlation width azimuth [px]"),
    ],
)
def test_a_measure_is_described_with_its_unit(measure: str, words: str) -> None:
    assert fields.description(measure) == words


def test_every_field_stands_in_one_group_of_the_sidebar() -> None:
    shown = [name for group in fields.sidebar(COLUMNS) for name in group.fields]
    assert len(shown) == len(set(shown))
    assert {*COLUMNS, *fields.IDENTITY, *fields.JUDGEMENT, *fields.RANKS, *fields.MEDIA} <= set(shown)
