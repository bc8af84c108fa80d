from __future__ import annotations

import pytest

from sarcurate import errors
from sarcurate.errors import SarcurateError


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("ParamsError", 2),
        ("DataError", 3),
        ("RadiometryError", 3),
        ("LeakageError", 3),
        ("HardwareError", 4),
        ("HubError", 5),
    ],
)
def test_each_kind_has_its_exit_code_and_says_problem_and_fix(name: str, exit_code: int) -> None:
    error = getattr(errors, name)("chip x.tif is blue", fix="paint it grey")
    assert isinstance(error, SarcurateError)
    assert error.exit_code == exit_code
    assert (error.problem, error.fix) == ("chip x.tif is blue", "paint it grey")
    assert str(error) == "chip x.tif is blue\nFix: paint it grey"


def test_no_kind_shares_the_exit_code_of_a_bug_or_of_success() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) >= 7
    assert all(kind.exit_code >= 2 for kind in kinds if kind is not SarcurateError)


def test_an_error_without_a_fix_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="fix"):
        SarcurateError("something is wrong")  # type: ignore[call-arg]
