"""Errors raised on purpose: a problem, and what to do about it."""

from __future__ import annotations

from functools import partial
from typing import Any


class SarcurateError(Exception):
    """A problem a person can act on.

    Args:
        problem: what was being done, which file or chip, the value found and the value expected.
        fix: what to do about it.
    """

    exit_code = 1

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(f"{problem}\nFix: {fix}")
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:
        # Without this an error raised in a worker process breaks the pool: `fix` is no positional argument.
        return partial(type(self), fix=self.fix), (self.problem,)


class ParamsError(SarcurateError):
    """A parameter, a version or an installed extra is wrong or missing."""

    exit_code = 2


class DataError(SarcurateError):
    """Data is broken, inconsistent or where it must not be."""

    exit_code = 3


class RadiometryError(DataError):
    """Pixels are not in the physical unit that was declared or is needed."""


class LeakageError(DataError):
    """Test chips were about to touch something other than evaluation."""


class HardwareError(SarcurateError):
    """Model weights or the hardware to run them are missing."""

    exit_code = 4


class HubError(SarcurateError):
    """The Hugging Face Hub refused or could not be reached."""

    exit_code = 5
