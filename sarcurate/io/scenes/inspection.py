"""What a file, product, chip or ChipSet is, without taking it in: one flat record, and a table of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core import calibration
from sarcurate.core.tie_grid import TieGrid
from sarcurate.errors import DataError
from sarcurate.io.safe import read_bounded
from sarcurate.io.scenes.products import Kind, open_scene, polarisations, sniff
from sarcurate.io.scenes.scene import Facts, Scene, Window
from sarcurate.io.sensors import SensorProfile

STATISTICS_PX = 512
Record = dict[str, Any]


def examine(path: Path, profile: SensorProfile | None = None, polarisation: str | None = None) -> Record:
    """What ``path`` is, as plain values for JSON; units stand in the names, None means not known.

    Scenes are read in one central window of at most ``STATISTICS_PX`` a side. Nothing is written.

    Raises:
        DataError: as :func:`open_scene`, or for a broken chip or ChipSet.
    """
    kind = sniff(path)
    if kind is Kind.CHIPSET:
        return _chipset(path)
    if kind is Kind.NPY:
        return _array(path)
    choices = polarisations(path, profile)
    notes = []
    if polarisation is None and len(choices) > 1:
        polarisation = choices[0]
        notes.append(f"several polarisations: shown is {polarisation}; choose with --polarisation")
    with open_scene(path, profile, polarisation) as scene:
        return _scene(scene, choices, notes, profile)


def as_table(record: Record) -> list[str]:
    """Lines for a terminal: one per known value, warnings last."""
    lines = [
        f"{name.replace('_', ' '):<24} {_words(value)}"
        for name, value in _flat(record).items()
        if name != "warnings" and value not in (None, [], {})
    ]
    unknown = [name for name, value in record.items() if value is None]
    if unknown:
        lines.append(f"{'not known':<24} {', '.join(name.replace('_', ' ') for name in unknown)}")
    return lines + [f"warning: {sentence}" for sentence in record.get("warnings", [])]


def _scene(scene: Scene, choices: tuple[str, ...], notes: list[str], profile: SensorProfile | None) -> Record:
    facts = scene.facts
    window, odd = _window(scene)
    named = choices or ((facts.polarisation,) if facts.polarisation else ())
    return {
        "what": "scene",
        "kind": facts.kind,
        "path": str(scene.path),
        "sensor": facts.sensor,
        "profile": profile.name if profile else None,
        "mode": facts.mode,
        "band": facts.band,
        "polarisation": facts.polarisation,
        "polarisations": list(named),
        "scene_id": facts.scene_id,
        "rows": scene.shape[0],
        "cols": scene.shape[1],
        "pixel_type": facts.pixel_type,
        "geometry": facts.geometry.value,
        "azimuth_spacing_m": facts.azimuth_spacing_m,
        "range_spacing_m": facts.range_spacing_m,
        "azimuth_resolution_m": facts.azimuth_resolution_m,
        "range_resolution_m": facts.range_resolution_m,
        "incidence_deg": _ends(facts.incidence_deg, scene.shape),
        "looks_nominal": facts.looks_nominal,
        "radiometry_stored": facts.radiometry.value,
        "radiometry_reachable": [found.value for found in scene.available_radiometries()],
        "beta0_factor": facts.beta0_factor,
        "sigma0_factor": facts.sigma0_factor,
        "noise_beta0_db": _db(facts.noise_beta0),
        "acquired_utc": facts.acquired_utc,
        "orbit_direction": facts.orbit_direction,
        "look_direction": facts.look_direction,
        "azimuth_deg": facts.azimuth_deg,
        "centre": _centre(facts, scene.shape),
        "window": window,
        "files": [str(file) for file in scene.files],
        "warnings": [*notes, *facts.warnings, *odd],
    }


def _window(scene: Scene) -> tuple[Record, list[str]]:
    """Statistics of the detected samples of the central window, and what is odd about them."""
    rows, cols = (min(STATISTICS_PX, side) for side in scene.shape)
    place = Window((scene.shape[0] - rows) // 2, (scene.shape[1] - cols) // 2, rows, cols)
    samples = scene.samples(place)
    detected = calibration.detect(samples) if np.iscomplexobj(samples) else samples
    record = {
        "row": place.row,
        "col": place.col,
        "rows": rows,
        "cols": cols,
        "of": "intensity |sample|^2" if np.iscomplexobj(samples) else "stored values",
        **_statistics(detected),
    }
    return record, _oddities(samples)


def _oddities(samples: NDArray[Any]) -> list[str]:
    if not _any(samples):
        return ["the central window holds nothing but zeros"]
    if np.iscomplexobj(samples) and not (_any(samples.real) and _any(samples.imag)):
        return ["I or Q is zero throughout the central window: damaged, or not of the type its header says"]
    return [] if np.isfinite(samples).all() else ["NaN or infinite samples in the central window"]


def _any(values: NDArray[Any]) -> bool:
    with np.errstate(invalid="ignore"):  # a signalling NaN is not zero either
        return bool(np.any(values))


def _statistics(values: NDArray[Any]) -> Record:
    finite = values[np.isfinite(values)].astype(np.float64)
    some = finite.size > 0
    return {
        "min": float(finite.min()) if some else None,
        "mean": float(finite.mean()) if some else None,
        "max": float(finite.max()) if some else None,
        "zero_fraction": float(np.mean(values == 0)),
        "not_finite_fraction": 1.0 - finite.size / values.size,
    }


def _ends(grid: TieGrid | None, shape: tuple[int, int]) -> list[float] | None:
    """Least and greatest value within the scene."""
    if grid is None:
        return None
    values = grid.at(np.linspace(0, shape[0] - 1, 17), np.linspace(0, shape[1] - 1, 65))
    return [float(values.min()), float(values.max())]


def _centre(facts: Facts, shape: tuple[int, int]) -> Record | None:
    if facts.latitude_deg is None or facts.longitude_deg is None:
        return None
    middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    latitude, longitude = facts.latitude_deg.at_point(*middle), facts.longitude_deg.at_point(*middle)
    return {"latitude_deg": latitude, "longitude_deg": (longitude + 180) % 360 - 180}


def _db(linear: float | None) -> float | None:
    return float(10 * np.log10(linear)) if linear is not None and linear > 0 else None


def _array(path: Path) -> Record:
    from sarcurate.io.raster import read_chip

    pixels = read_chip(path)
    notes = ["an array alone says nothing of sensor, spacing or radiometry"]
    return {
        "what": "chip",
        "kind": "NumPy array",
        "path": str(path),
        "rows": pixels.values.shape[0],
        "cols": pixels.values.shape[1],
        "pixel_type": pixels.source_dtype,
        "radiometry_stored": "intensity" if pixels.was_complex else "unknown",
        "window": {"of": "intensity" if pixels.was_complex else "stored values"} | _statistics(pixels.values),
        "files": [str(path)],
        "warnings": notes,
    }


def _chipset(path: Path) -> Record:
    from sarcurate.io.manifest import manifest_revision, read_manifest

    # By the manifest alone: no chip is opened, so a test set stays unseen.
    manifest = read_manifest(path)
    header = _chipset_header(path)
    revision = manifest_revision(manifest)
    notes = [] if len(manifest) else ["the set holds no chips"]
    if header["revision"] != revision:
        notes.append(f"the manifest does not fit the revision id of chipset.json, {header['revision']}")
    incidence = manifest["incidence_deg"].dropna()
    return {
        "what": "ChipSet",
        "kind": "ChipSet",
        "path": str(path),
        "revision": revision,
        "sensor": header["sensor"],
        "split": header["split"],
        "radiometry_stored": header["radiometry"],
        "chips": len(manifest),
        "classes": {
            str(name): int(count) for name, count in sorted(manifest["label"].value_counts().items())
        },
        "groups": int(manifest["group_id"].nunique()),
        "scenes": int(manifest["scene_id"].nunique()),
        "polarisations": sorted(str(name) for name in manifest["polarisation"].dropna().unique()),
        "azimuth_spacing_m": _column_ends(manifest["azimuth_spacing_m"].dropna().to_list()),
        "range_spacing_m": _column_ends(manifest["range_spacing_m"].dropna().to_list()),
        "incidence_deg": _column_ends(incidence.to_list()),
        "licences": sorted(str(name) for name in manifest["licence"].dropna().unique()),
        "files": [str(path / "chipset.json"), str(path / "metadata.parquet")],
        "warnings": notes,
    }


def _chipset_header(path: Path) -> dict[str, str]:
    file = path / "chipset.json"
    try:
        content = json.loads(read_bounded(file, 1 << 20))
        return {name: str(content[name]) for name in ("sensor", "radiometry", "split", "revision")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{file}: is no ChipSet header: {error!r}", fix="rebuild the set") from error


def _column_ends(values: list[float]) -> list[float] | None:
    return [float(min(values)), float(max(values))] if values else None


def _flat(record: Record) -> Record:
    flat: Record = {}
    for name, value in record.items():
        if isinstance(value, dict) and name != "classes":
            flat |= {f"{name} {part}": item for part, item in value.items()}
        else:
            flat[name] = value
    return flat


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    if isinstance(value, list):
        is_range = len(value) == 2 and all(isinstance(item, float) for item in value)
        return (" to " if is_range else ", ").join(_words(item) for item in value)
    return str(value)
