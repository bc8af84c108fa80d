from __future__ import annotations

import pytest

from sarcurate.models.spectral_room import SpectralRoom


@pytest.mark.parametrize(("gap", "floor", "warns"), [(0.3, 0.1, False), (0.3, 0.16, True), (0.02, 0.4, True)])
def test_an_autoencoder_worse_than_half_the_gap_is_warned_of(gap: float, floor: float, warns: bool) -> None:
    line = SpectralRoom(gap, floor).line()
    assert f"{gap:.3f}" in line
    assert f"{floor:.3f}" in line
    assert ("warning" in line) is warns


def test_a_floor_that_cannot_be_measured_is_said_so() -> None:
    assert "not known" in SpectralRoom(0.2, None).line()
