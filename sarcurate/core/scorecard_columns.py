"""Names of the scorecard's columns: one per measure, units in the names."""

from __future__ import annotations

from sarcurate.core.texture import DISTANCES_PX

RINGS = 12
LAGS_PX = (1, 2, 3, 4)
TEXTURE_KINDS = ("contrast", "homogeneity", "energy", "correlation")

RING_COLUMNS = tuple(f"log_psd_{ring:02d}" for ring in range(RINGS))
CORRELATION_COLUMNS = tuple(f"correlation_{axis}_{lag}" for axis in ("azimuth", "range") for lag in LAGS_PX)
TEXTURE_COLUMNS = tuple(f"texture_{kind}_{px}px" for px in DISTANCES_PX for kind in TEXTURE_KINDS)
TARGET_COLUMNS = ("target_to_clutter_db", "target_length_m", "target_width_m", "target_fraction")
SPIKE_COLUMNS = ("checkerboard_ratio", "checkerboard_p_value", "latent_grid_ratio", "latent_grid_p_value")
POINT_COLUMNS = (
    *("bright_points", "irw_azimuth_m", "irw_range_m"),
    *("pslr_azimuth_db", "pslr_range_db", "islr_azimuth_db", "islr_range_db"),
)

COLUMNS: tuple[str, ...] = (
    *("enl", "enl_stderr", "enl_low", "enl_high", "enl_median", "enl_log_variance", "homogeneous_fraction"),
    *("zero_fraction", "mean_db", "log_cumulant_2", "log_cumulant_3", "wasserstein_ln"),
    *("gamma_looks", "k_looks", "k_texture", "ks_gamma", "ks_k", "ks_log_normal", "gamma_p_value"),
    *RING_COLUMNS,
    *("log_psd_distance", "polar_psd_distance", "hf_energy_ratio", "out_of_band_ratio"),
    *("occupied_band_azimuth", "occupied_band_range"),
    *SPIKE_COLUMNS,
    *CORRELATION_COLUMNS,
    *("correlation_width_azimuth_px", "correlation_width_range_px", "correlation_distance"),
    *POINT_COLUMNS,
    *("dynamic_range_db", "saturated_fraction", "noise_floor_db", "noise_over_nesz_db"),
    *TEXTURE_COLUMNS,
    *TARGET_COLUMNS,
)

# Defined for every fit chip of 32 px or more, given a yardstick: the space of set-level metrics.
VECTOR: tuple[str, ...] = (
    *("mean_db", "log_cumulant_2", "log_cumulant_3"),
    *RING_COLUMNS,
    *(name for name in CORRELATION_COLUMNS if not name.endswith("_4")),
    *(f"texture_{kind}_1px" for kind in TEXTURE_KINDS),
    "dynamic_range_db",
)

# What the pixels' law leaves alone: defined also for pixels of which nobody said what they mean.
STRUCTURE: tuple[str, ...] = (
    *("zero_fraction", "saturated_fraction", "occupied_band_azimuth", "occupied_band_range"),
    *SPIKE_COLUMNS,
)
