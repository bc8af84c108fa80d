"""SAR physics and statistics: arrays in, numbers or arrays out.

The names below are the library's face: ``from sarcurate.core import scorecard`` and so on, each loaded when
it is first asked for. ``__init__.pyi`` tells type checkers about them.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

# Module names are text, not imports: what one of them needs is not needed by all that touch this package.
_HOMES = {
    "Autocovariance": "autocovariance",
    "ChipContext": "scorecard",
    "EnlMethod": "enl",
    "EnlResult": "enl",
    "HomogeneousAreas": "homogeneous",
    "Measure": "measure",
    "PointResponses": "point_response",
    "Radiometry": "radiometry",
    "Yardstick": "yardstick",
    "autocovariance": "autocovariance",
    "bright_target_mask": "bright_target",
    "enl": "enl",
    "fit_gamma": "marginal_fit",
    "fit_k": "marginal_fit",
    "fit_log_normal": "marginal_fit",
    "fit_yardstick": "yardstick",
    "high_frequency_ratio": "spectral_measures",
    "homogeneous_areas": "homogeneous",
    "ln_area": "log_cumulants",
    "log_cumulants": "log_cumulants",
    "log_psds": "spectral_measures",
    "periodograms": "spectral_measures",
    "point_responses": "point_response",
    "scorecard": "scorecard",
    "target_measures": "bright_target",
    "texture": "texture",
    "to_intensity": "radiometry",
}

__all__ = sorted(_HOMES)


class _Face(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Importing a submodule binds it here under its own name, which is also that of a function: of
        # sarcurate.core.enl and `enl` the function is meant.
        if not (isinstance(value, ModuleType) and name in _HOMES):
            super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


sys.modules[__name__].__class__ = _Face
