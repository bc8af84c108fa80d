"""Names of the library's face for type checkers; ``__init__.py`` loads each when it is first asked for."""

from sarcurate.core.autocovariance import Autocovariance, autocovariance
from sarcurate.core.bright_target import bright_target_mask, target_measures
from sarcurate.core.enl import EnlMethod, EnlResult, enl
from sarcurate.core.homogeneous import HomogeneousAreas, homogeneous_areas
from sarcurate.core.log_cumulants import ln_area, log_cumulants
from sarcurate.core.marginal_fit import fit_gamma, fit_k, fit_log_normal
from sarcurate.core.measure import Measure
from sarcurate.core.point_response import PointResponses, point_responses
from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.core.scorecard import ChipContext, scorecard
from sarcurate.core.spectral_measures import high_frequency_ratio, log_psds, periodograms
from sarcurate.core.texture import texture
from sarcurate.core.yardstick import Yardstick, fit_yardstick

__all__ = [
    "Autocovariance",
    "ChipContext",
    "EnlMethod",
    "EnlResult",
    "HomogeneousAreas",
    "Measure",
    "PointResponses",
    "Radiometry",
    "Yardstick",
    "autocovariance",
    "bright_target_mask",
    "enl",
    "fit_gamma",
    "fit_k",
    "fit_log_normal",
    "fit_yardstick",
    "high_frequency_ratio",
    "homogeneous_areas",
    "ln_area",
    "log_cumulants",
    "log_psds",
    "periodograms",
    "point_responses",
    "scorecard",
    "target_measures",
    "texture",
    "to_intensity",
]
