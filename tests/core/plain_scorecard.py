"""The scorecard written plainly: one chip after another, scipy and scikit-image where they have the measure.

Slow on purpose. It holds the formulas once more, so that the batched one can be checked and timed against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage, optimize, signal, special, stats
from skimage.feature import graycomatrix, graycoprops

from sarcurate.core.marginal import QUANTILE_LEVELS, ln_floor, ln_intensity
from sarcurate.core.scorecard import ChipContext, Yardstick

NAN = float("nan")
LAGS = 3


def plain_scorecard(chip: np.ndarray, context: ChipContext, yardstick: Yardstick) -> dict[str, float]:
    """Measures of one fit chip (rows, cols) of 32 px or more; NaN where there is none."""
    chip = np.asarray(chip, dtype=np.float64)
    area = Area(chip)
    return {
        **looks(area),
        **whole_chip(chip, context, yardstick),
        **fits(area),
        **spectrum(chip, yardstick),
        **spikes(chip),
        **correlation(chip, yardstick),
        **points(chip, context),
        **textures(chip, yardstick),
        **target(chip, context),
    }


# --- homogeneous area and looks


@dataclass
class Window:
    mean: float
    cv2: float
    log_variance: float
    peak: float
    lagged: np.ndarray
    usable: bool


def window(w: np.ndarray, top: float, shared: int) -> Window:
    good = bool((w > 0).all() and w.max() > w.min() and not (shared >= 4 and (w == top).any()))
    mean = w.mean()
    lagged = [
        [(w[d:] * w[:-d]).mean() for d in (1, 2, 3)],
        [(w[:, d:] * w[:, :-d]).mean() for d in (1, 2, 3)],
    ]
    ln = np.log(w) if good else np.zeros(1)
    return Window(mean, w.var() / mean**2, ln.var(), w.max() / mean, np.array(lagged) / mean**2 - 1, good)


def mean_rho(rho: np.ndarray, power: int = 1) -> float:
    share = 1 - np.arange(1, LAGS + 1) / 8
    base = rho if power == 1 else np.maximum(rho, 0)
    along = [(1 + 2 * (share * axis**power).sum()) / 8 for axis in base]
    return float(np.clip(along[0] * along[1], 1 / 256, 0.9))


def sum_rho(rho: np.ndarray, power: int) -> float:
    along = [1 + 2 * (np.maximum(axis, 0) ** power).sum() for axis in rho]
    return float(along[0] * along[1])


class Area:
    """Windows of speckle alone, 8 px every 4 (docs/enl.md)."""

    def __init__(self, chip: np.ndarray) -> None:
        self.chip = chip
        self.found = False
        self.mask = np.zeros(chip.shape, dtype=bool)
        relative = chip / chip[chip > 0].mean()
        top = relative.max()
        shared = int((relative == top).sum())
        down, across = ((side - 8) // 4 + 1 for side in chip.shape)
        self.windows = {
            (i, j): window(relative[4 * i : 4 * i + 8, 4 * j : 4 * j + 8], top, shared)
            for i in range(down)
            for j in range(across)
        }
        usable = {place: w for place, w in self.windows.items() if w.usable}
        if not usable:
            return
        middle = sorted(w.cv2 for w in usable.values())[(len(usable) - 1) // 2]
        rho = self.correlations([w for w in usable.values() if w.cv2 <= middle])
        m = mean_rho(rho)
        ell = max((1 - m) / middle - m, 1.0)
        self.choose(usable, ell, rho, m)
        kept = [self.windows[place] for place in self.kept]
        for i, j in self.kept:
            self.mask[4 * i : 4 * i + 8, 4 * j : 4 * j + 8] = True
        cv2 = np.mean([w.cv2 for w in kept]) if kept else 1.0
        self.found = self.mask.sum() >= 128 and (1 - 1 / 64) / cv2 - 1 / 64 >= 0.5
        self.rho = self.correlations(kept) if self.found else rho

    @staticmethod
    def correlations(windows: list[Window]) -> np.ndarray:
        power = np.mean([w.cv2 for w in windows])
        seen = np.mean([w.lagged for w in windows], axis=0) / power
        rho = np.clip(seen, 0, 1)
        for _ in range(6):
            m = mean_rho(rho)
            rho = np.clip(seen * (1 - m) + m, -0.5, 0.98)
        return rho

    def choose(self, usable: dict[tuple[int, int], Window], ell: float, rho: np.ndarray, m: float) -> None:
        bright = special.gammainccinv(ell, 1e-3 / self.chip.size) / ell
        dim = {place for place, w in usable.items() if w.peak <= bright}
        spread = np.sqrt(2 * (1 + 1 / ell) * sum_rho(rho, 2)) / 8
        limit = (1 - m) / (ell + m) * np.exp(4 * spread)
        squares = (self.chip.shape[0] // 4 - 3) * (self.chip.shape[1] // 4 - 3)
        step = special.ndtri(1 - 1e-2 / (4 * squares)) * np.sqrt(sum_rho(rho, 1) / (ell * 64))
        near = set()
        for i, j in self.windows:
            corners = [(i, j), (i, j + 2), (i + 2, j), (i + 2, j + 2)]
            if not all(corner in dim for corner in corners):
                continue
            a, b, c, d = (self.windows[corner].mean for corner in corners)
            if max(abs(np.log((a + b) / (c + d))), abs(np.log((a + c) / (b + d)))) > step:
                near |= {(i + k, j + n) for k in range(3) for n in range(3)}
        self.kept = [place for place in dim if usable[place].cv2 <= limit and place not in near]

    def coverage_px(self) -> float:
        blocks = np.zeros([side // 4 for side in self.chip.shape])
        for i, j in self.kept:
            blocks[i : i + 2, j : j + 2] += 1
        return float(blocks.sum() ** 2 / (blocks**2).sum() * 16)


def looks(area: Area) -> dict[str, float]:
    names = ("enl", "enl_stderr", "enl_low", "enl_high", "enl_median", "enl_log_variance")
    if not area.found:
        return {**dict.fromkeys(names, NAN), "homogeneous_fraction": 0.0}
    kept = [area.windows[place] for place in area.kept]
    rho, m, n_px = area.rho, mean_rho(area.rho), area.coverage_px()
    raw = (1 - m) / np.mean([w.cv2 for w in kept]) - m
    relative = 2 * (1 + 1 / raw) * sum_rho(rho, 2) / n_px
    enl = raw / (1 + relative)
    half = np.exp(1.959964 * np.sqrt(relative))
    middle = (1 - m) / np.median([w.cv2 for w in kept]) - m
    median = middle / (1 + 2 * (1 + 1 / enl) * sum_rho(rho, 2) / 64 / 2)
    values = (
        enl,
        enl * np.sqrt(relative),
        enl / half,
        enl * half,
        median,
        log_variance_looks(kept, rho, n_px),
    )
    return {**dict(zip(names, values, strict=True)), "homogeneous_fraction": area.mask.mean()}


def laguerre_norm(ell: float, k: int) -> float:
    return float(np.exp(special.gammaln(k + ell) - special.gammaln(ell) - special.gammaln(k + 1)))


def log_variance_looks(kept: list[Window], rho: np.ndarray, n_px: float) -> float:
    seen = np.mean([w.log_variance for w in kept])
    ell = orders(seen)
    for _ in range(6):
        parts = {k: 1 / k**2 / laguerre_norm(ell, k) for k in range(1, 7)}
        rest = max(special.polygamma(1, ell) - sum(parts.values()), 0) / 64
        ell = orders(seen + rest + sum(part * mean_rho(rho, k) for k, part in parts.items()))
    full = special.polygamma(3, ell) + 2 * special.polygamma(1, ell) ** 2
    terms = {k: (2 * sum(1 / n for n in range(1, k)) / k) ** 2 / laguerre_norm(ell, k) for k in range(2, 7)}
    error = max(full - sum(terms.values()), 0) + sum(part * sum_rho(rho, k) for k, part in terms.items())
    slope = special.polygamma(2, ell)
    return float(
        ell * (1 + 0.5 * special.polygamma(3, ell) / slope * error / n_px / (slope * ell) ** 2 * ell)
    )


def orders(trigamma: float) -> float:
    """x with psi'(x) = trigamma."""
    found = optimize.brentq(
        lambda ln: np.log(special.polygamma(1, np.exp(ln)) / trigamma), -12, 20, xtol=1e-13
    )
    return float(np.exp(found))


# --- levels and laws


def whole_chip(chip: np.ndarray, context: ChipContext, yardstick: Yardstick) -> dict[str, float]:
    positive = chip[chip > 0]
    low, high = np.percentile(positive, [1, 99.9])
    shared = (chip == chip.max()).sum()
    ln = ln_intensity(chip, yardstick.ln_floor if yardstick else ln_floor([chip])).ravel()
    gap = np.abs(np.quantile(ln, QUANTILE_LEVELS) - yardstick.ln_quantiles)
    calibrated = context.domain in ("sigma0", "beta0") and context.nesz_db is not None
    return {
        "zero_fraction": (chip == 0).mean(),
        "dynamic_range_db": 10 * np.log10(high / low),
        "saturated_fraction": shared / chip.size if shared >= 4 else 0.0,
        "noise_floor_db": 10 * np.log10(low),
        "noise_over_nesz_db": 10 * np.log10(low) - context.nesz_db if calibrated else NAN,
        "mean_db": 10 * ln.mean() / np.log(10),
        "log_cumulant_2": stats.kstat(ln, 2),
        "log_cumulant_3": stats.kstat(ln, 3),
        "wasserstein_ln": np.trapezoid(gap, QUANTILE_LEVELS),
    }


def fits(area: Area) -> dict[str, float]:
    names = ("gamma_looks", "k_looks", "k_texture", "ks_gamma", "ks_k", "ks_log_normal", "gamma_p_value")
    if not area.found:
        return dict.fromkeys(names, NAN)
    ln = np.log(area.chip[area.mask])
    k1, k2, k3 = (stats.kstat(ln, order) for order in (1, 2, 3))
    p = (np.arange(64) + 0.5) / 64
    seen = np.exp(np.quantile(ln, p))
    ell = orders(k2)
    gamma = stats.gamma(ell, scale=np.exp(k1 - special.psi(ell)))
    k_ell, texture, k_mean = k_law(k1, k2, k3)
    normal = stats.lognorm(np.sqrt(k2), scale=np.exp(k1))
    k_distance = NAN if np.isnan(texture) else np.abs(k_cdf(seen, k_ell, texture, k_mean) - p).max()
    return {
        "gamma_looks": ell,
        "k_looks": k_ell,
        "k_texture": texture if np.isfinite(texture) else NAN,
        "ks_gamma": np.abs(gamma.cdf(seen) - p).max(),
        "ks_k": k_distance,
        "ks_log_normal": np.abs(normal.cdf(seen) - p).max(),
        "gamma_p_value": skewness_p_value(k2, k3, ell, ln.size / sum_rho(area.rho, 2)),
    }


def k_law(k1: float, k2: float, k3: float) -> tuple[float, float, float]:
    def third(trigamma: float) -> float:
        return float(special.polygamma(2, orders(trigamma)))

    if k3 <= third(k2):
        ell = orders(k2)
        return ell, np.inf, float(np.exp(k1 - special.psi(ell)) * ell)
    if k3 > 2 * third(k2 / 2):
        return NAN, NAN, NAN
    part = optimize.brentq(lambda a: third(a) + third(k2 - a) - k3, k2 * 1e-7, k2 / 2, xtol=1e-12)
    ell, texture = orders(part), orders(k2 - part)
    return ell, texture, float(np.exp(k1 - special.psi(ell) - special.psi(texture)) * ell * texture)


def k_cdf(x: np.ndarray, ell: float, texture: float, mean: float) -> np.ndarray:
    if np.isinf(texture):
        return np.asarray(stats.gamma(ell, scale=mean / ell).cdf(x))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    total = np.zeros(x.shape)
    for node, weight in zip(nodes, weights, strict=True):
        brightness = mean * special.gammaincinv(texture, (node + 1) / 2) / texture
        total += weight / 2 * stats.gamma(ell, scale=brightness / ell).cdf(x)
    return total


def skewness_p_value(k2: float, k3: float, ell: float, n: float) -> float:
    c = [special.polygamma(order, ell) for order in range(6)]
    slope = c[3] / c[2]
    var_k3 = c[5] + 9 * c[3] * c[1] + 9 * c[2] ** 2 + 6 * c[1] ** 3
    variance = var_k3 + slope**2 * (c[3] + 2 * c[1] ** 2) - 2 * slope * (c[4] + 6 * c[2] * c[1])
    return float(2 * stats.norm.sf(abs(k3 - c[2]) / np.sqrt(variance / n)))


# --- spectrum


def periodogram(chip: np.ndarray) -> np.ndarray:
    w = np.outer(*(signal.windows.hann(side + 2)[1:-1] for side in chip.shape))
    return np.asarray(np.abs(np.fft.fft2((chip / chip.mean() - 1) * w)) ** 2 / (w**2).sum())


def polar(power: np.ndarray, rings: int, sectors: int) -> np.ndarray:
    row, col = np.meshgrid(*(np.fft.fftfreq(side) for side in power.shape), indexing="ij")
    radius = np.hypot(row, col)
    sector = np.mod(np.floor(np.arctan2(col, row) / np.pi * sectors + 0.5), sectors)
    edges = np.linspace(0.05, 0.5, rings + 1)
    found = np.empty((rings, sectors))
    mean = (power.sum() - power[0, 0]) / (power.size - 1)
    for ring, k in np.ndindex(found.shape):
        last = radius <= edges[-1] if ring == rings - 1 else radius < edges[ring + 1]
        found[ring, k] = np.log(power[(radius >= edges[ring]) & last & (sector == k)].mean() / mean)
    return found


def spectrum(chip: np.ndarray, yardstick: Yardstick) -> dict[str, float]:
    power = periodogram(chip)
    total = power.sum() - power[0, 0]
    row, col = np.meshgrid(*(np.fft.fftfreq(side) for side in chip.shape), indexing="ij")
    radius = np.hypot(row, col)
    rings = polar(power, 12, 1)[:, 0]
    edge = [band / 2 + 2 / side for band, side in zip(yardstick.band, chip.shape, strict=True)]
    outside = (np.abs(row) > edge[0]) | (np.abs(col) > edge[1])
    return {
        **{f"log_psd_{ring:02d}": value for ring, value in enumerate(rings)},
        "log_psd_distance": np.abs(rings - yardstick.rings).mean(),
        "polar_psd_distance": np.abs(polar(power, 6, 4) - yardstick.polar).mean(),
        "hf_energy_ratio": power[(radius >= 0.25) & (radius <= 0.5)].sum() / total,
        "out_of_band_ratio": power[outside].sum() / total if outside.any() else NAN,
        "occupied_band_azimuth": occupied(chip.T - chip.mean()),
        "occupied_band_range": occupied(chip - chip.mean()),
    }


def occupied(lines: np.ndarray) -> float:
    count = lines.shape[1]
    spectra = np.abs(np.fft.fft(lines * signal.windows.hann(count + 2)[1:-1], axis=1)) ** 2
    power = np.sort(spectra, axis=0)[len(lines) // 2]
    frequency = np.abs(np.fft.fftfreq(count))
    plateau = np.median(power[(frequency >= 0.04) & (frequency <= 0.16)])
    return float((ndimage.uniform_filter1d(power, 5, mode="wrap") > 0.02 * plateau).mean())


def spikes(chip: np.ndarray) -> dict[str, float]:
    rows, cols = (side // 8 * 8 for side in chip.shape)
    amplitude = np.sqrt(chip[:rows, :cols])
    local = ndimage.gaussian_filter(amplitude, 4, mode="reflect")
    ratio = np.minimum(amplitude / local, 4)
    power = np.abs(np.fft.fft2(ratio - ratio.mean())) ** 2 / ratio.size
    found = {}
    for name, period in (("checkerboard", 2), ("latent_grid", 8)):
        ratios, chances, places = [], [], set()
        for i, j in np.ndindex(period, period):
            half_rate = (2 * i) % period == 0 and (2 * j) % period == 0
            mirror = ((-i) % period, (-j) % period)
            if (i, j) == (0, 0) or mirror in places or (period == 8 and half_rate):
                continue
            places.add((i, j))
            row, col = i * rows // period, j * cols // period
            around = [
                power[(row + a) % rows, (col + b) % cols]
                for a in range(-5, 6)
                for b in range(-5, 6)
                if max(abs(a), abs(b)) > 1
            ]
            ratio = power[row, col] / np.median(around)
            freedom = 1 if mirror == (i, j) else 2
            bins = 112 / 2.08
            ratios.append(ratio)
            chances.append(stats.f.sf(ratio * np.log(2), freedom, freedom * bins))
        least = int(np.argmin(chances))
        found[f"{name}_ratio"] = ratios[least]
        found[f"{name}_p_value"] = 1 - (1 - chances[least]) ** len(chances)
    return found


# --- correlation and responses


def correlation(chip: np.ndarray, yardstick: Yardstick) -> dict[str, float]:
    centred, found, gaps = chip - chip.mean(), {}, []
    for place, (axis, lines) in enumerate((("azimuth", centred), ("range", centred.T))):
        rho = [1.0] + [(lines[lag:] * lines[:-lag]).mean() / chip.var() for lag in (1, 2, 3, 4)]
        found |= {f"correlation_{axis}_{lag}": rho[lag] for lag in (1, 2, 3, 4)}
        gaps.append(np.abs(np.array(rho) - yardstick.correlation[place])[1:].mean())
        first = next((lag for lag in (1, 2, 3, 4) if rho[lag] < 0.5), None)
        width = NAN if first is None else first - 1 + (rho[first - 1] - 0.5) / (rho[first - 1] - rho[first])
        found[f"correlation_width_{axis}_px"] = width
    return {**found, "correlation_distance": float(np.mean(gaps))}


def points(chip: np.ndarray, context: ChipContext) -> dict[str, float]:
    rows = []
    bright = np.quantile(chip, 0.999)
    for row, col in np.argwhere(chip >= bright):
        if not (16 <= row < chip.shape[0] - 16 and 16 <= col < chip.shape[1] - 16):
            continue
        around = chip[row - 16 : row + 17, col - 16 : col + 17]
        inner = around[13:20, 13:20]
        outer = around.copy()
        outer[13:20, 13:20] = 0
        if inner.argmax() == 24 and outer.max() < chip[row, col] / 4:
            cuts = fine_cuts(chip[row - 16 : row + 16, col - 16 : col + 16])
            rows.append([value for cut in cuts for value in cut_shape(cut)])
    medians = np.median(rows, axis=0) if rows else np.full(6, NAN)
    spacing = (context.azimuth_spacing_m, context.range_spacing_m)
    found = {"bright_points": float(len(rows))}
    for place, axis in enumerate(("azimuth", "range")):
        found[f"irw_{axis}_m"] = medians[3 * place] * (spacing[place] or NAN)
        found[f"pslr_{axis}_db"] = medians[3 * place + 1]
        found[f"islr_{axis}_db"] = medians[3 * place + 2]
    return found


@cache
def waves() -> np.ndarray:
    """(512, 32) inverse DFT at sixteenths of a pixel; half of the half rate on either side."""
    frequency = np.fft.fftfreq(32)
    basis = np.exp(2j * np.pi * np.outer(np.arange(512) / 16, frequency))
    basis[:, 16] = np.cos(np.pi * np.arange(512) / 16)
    return basis


def fine_cuts(crop: np.ndarray) -> list[np.ndarray]:
    fine = np.maximum((waves() @ np.fft.fft2(crop) @ waves().T).real / 32**2, 0)
    near = fine[240:273, 240:273]
    row, col = (place + 240 for place in np.unravel_index(near.argmax(), near.shape))
    return [np.roll(fine[:, col], 256 - row), np.roll(fine[row], 256 - col)]


def cut_shape(line: np.ndarray) -> tuple[float, float, float]:
    ends, minima = [], []
    for step in (1, -1):
        place = 256
        while line[place] >= line[256] / 2:
            place += step
        inner, outer = line[place - step], line[place]
        ends.append(abs(place - step - 256) + (inner - line[256] / 2) / (inner - outer))
        place = 256
        while line[place + step] <= line[place]:
            place += step
        minima.append(place)
    main = line[minima[1] : minima[0] + 1]
    beyond = np.concatenate([line[: minima[1]], line[minima[0] + 1 :]])
    ratios = (max(beyond.max() / line[256], 1e-12), max(beyond.sum() / main.sum(), 1e-12))
    return sum(ends) / 16, 10 * np.log10(ratios[0]), 10 * np.log10(ratios[1])


# --- texture and target


def textures(chip: np.ndarray, yardstick: Yardstick) -> dict[str, float]:
    low, high = yardstick.grey_window_db
    db = 10 * np.log10(np.clip(chip, 10 ** (low / 10), 10 ** (high / 10)))
    levels = np.clip(((db - low) / (high - low) * 32).astype(int), 0, 31).astype(np.uint8)
    found = {}
    for px in (1, 2, 4):
        # scikit-image rounds a diagonal step to the circle; ours goes the distance along both axes.
        cases = [(px, 0.0), (px, np.pi / 2), (px * np.sqrt(2), np.pi / 4), (px * np.sqrt(2), 3 * np.pi / 4)]
        matrices = [graycomatrix(levels, [d], [turn], 32, symmetric=True, normed=True) for d, turn in cases]
        for kind in ("contrast", "homogeneity", "energy", "correlation"):
            values = [graycoprops(matrix, kind)[0, 0] for matrix in matrices]
            found[f"texture_{kind}_{px}px"] = float(np.mean(values))
    return found


def target(chip: np.ndarray, context: ChipContext) -> dict[str, float]:
    names = ("target_to_clutter_db", "target_length_m", "target_width_m", "target_fraction")
    ring = np.ones(chip.shape, dtype=bool)
    rows, cols = (side // 8 for side in chip.shape)
    ring[rows:-rows, cols:-cols] = False
    level = np.median(chip[ring])
    ln = np.log(np.clip(chip / level, 1e-3, 1e12))
    smooth = ndimage.gaussian_filter(ln, 1.0, mode="nearest")
    spread = 1.482602 * np.median(np.abs(smooth[ring] - np.median(smooth[ring])))
    mask = central(smooth > np.median(smooth[ring]) + 3.5 * spread)
    if not mask.any():
        return dict.fromkeys(names, NAN)
    clutter = chip[~ndimage.binary_dilation(mask, np.ones((7, 7)))]
    place = np.argwhere(mask) * np.array([context.azimuth_spacing_m or NAN, context.range_spacing_m or NAN])
    extents = (NAN, NAN)
    if np.isfinite(place).all():
        _, axes = np.linalg.eigh(np.cov(place.T, bias=True))
        along = [np.ptp(place @ axes[:, k]) + pixel_m(axes[:, k], context) for k in (1, 0)]
        extents = (float(along[0]), float(along[1]))
    return dict(
        zip(names, (10 * np.log10(chip[mask].mean() / clutter.mean()), *extents, mask.mean()), strict=True)
    )


def pixel_m(axis: np.ndarray, context: ChipContext) -> float:
    return float(
        np.hypot(axis[0] * (context.azimuth_spacing_m or NAN), axis[1] * (context.range_spacing_m or NAN))
    )


def central(bright: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(ndimage.binary_dilation(bright, np.ones((7, 7))), np.ones((3, 3)))
    labels = labels * bright
    best, choice = (np.inf, 0), 0
    for area in range(1, count + 1):
        places = np.argwhere(labels == area)
        if len(places) >= 4:
            off = np.abs(places - (np.array(bright.shape) - 1) / 2) - (np.array(bright.shape) - 1) / 4
            rank = (np.hypot(*np.maximum(off, 0).T).min(), -len(places))
            if rank < best:
                best, choice = rank, area
    return np.asarray(labels == choice) & bool(choice)
