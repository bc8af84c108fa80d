from __future__ import annotations

import pickle

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
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in found if issubclass(kind, SarcurateError)]
    assert len(kinds) >= 7
    assert all(kind.exit_code >= 2 for kind in kinds if kind is not SarcurateError)


def test_an_error_without_a_fix_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="fix"):
        SarcurateError("something is wrong")  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [errors.DataError, errors.LeakageError, errors.ParamsError])
def test_an_error_crosses_process_borders(kind: type[SarcurateError]) -> None:
    error = pickle.loads(pickle.dumps(kind("bad", fix="mend")))
    assert (type(error), error.problem, error.fix) == (kind, "bad", "mend")
    assert str(error) == "bad\nFix: mend"
