"""What packing and publishing cost: time of 2,600 chips, and peak memory of packing 2,600 and 50,000.

Run: `make bench NAME=publish`; other counts: `python benchmarks/publish.py 2600 10000`. Chips are speckle
of 64 x 64 px float32, a few hundred different pictures under as many ids as asked for. Half are real
train chips, a tenth held out, the rest made, of which curation kept half; 80 measures. Packing runs in
a process of its own, its peak memory is that of the whole process. Publishing goes to the test server of
tests/hub in this process, and contains all checks, the upload, the download and its verification. The
last line is one JSON object.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sarcurate.core.radiometry import Radiometry
from sarcurate.io import lineage, raster
from sarcurate.io.chipset import HEADER
from sarcurate.io.manifest import MANIFEST, SCHEMA, manifest_revision, read_manifest
from sarcurate.io.selection import Choice, make_selection

ROOT = Path(__file__).parents[1]
COUNTS = (2_600, 50_000)
PICTURES = 200
SIDE_PX = 64
MEASURES = 80
LICENCE = "Apache-2.0 (benchmark)"
SHARES = {  # of all chips
    "source-train": 0.30,
    "source-test": 0.05,
    "target-train": 0.20,
    "target-test": 0.05,
    "generated": 0.10,
    "physics": 0.10,
    "psd": 0.05,
    "migrated": 0.10,
    "migrated-generated": 0.05,
}
CLASSES = tuple(f"class {number}" for number in range(7))


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or list(COUNTS)
    result: dict[str, float] = {}
    for count in counts:
        with TemporaryDirectory() as scratch:
            root = Path(scratch)
            make_sets(root / "sets", count)
            seconds, mebibytes = packed(root / "sets", root / "hub")
            suffix = "" if count == counts[0] else f"_{count}"
            result[f"package_s{suffix}"] = round(seconds, 1)
            result[f"package_peak_mib_{count}"] = round(mebibytes)
            size = sum(path.stat().st_size for path in (root / "hub").rglob("*") if path.is_file())
            print(
                f"{count} chips packed in {seconds:.1f} s, peak {mebibytes:.0f} MiB, {size / 2**20:.0f} MiB"
            )
            if count == counts[0]:
                result["publish_s"] = round(published(root / "hub"), 1)
                print(f"{count} chips published to the test server in {result['publish_s']} s")
    print(json.dumps(result))


def make_sets(root: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    for name, share in SHARES.items():
        make_set(root / name, name, max(1, round(share * count)), rng)


def make_set(root: Path, name: str, count: int, rng: np.random.Generator) -> None:
    """A ChipSet whose files are links to a few different pictures."""
    hashes = []
    for number in range(PICTURES):
        pixels = rng.gamma(1.0, 1.0, (SIDE_PX, SIDE_PX)).astype(np.float32)
        (root / "chips").mkdir(parents=True, exist_ok=True)
        (root / "previews").mkdir(exist_ok=True)
        raster.write_tiff(root / "chips" / f"{number}.tif", pixels)
        raster.write_preview(root / "previews" / f"{number}.png", (pixels * 20).clip(0, 255).astype(np.uint8))
        hashes.append(lineage.pixels_sha256(pixels))
    is_made = name.partition("-")[0] not in ("source", "target")
    rows = [row(name, number, hashes[number % PICTURES], is_made) for number in range(count)]
    rows.sort(key=lambda one: one["chip_id"])
    for one in rows:
        number = one.pop("picture")
        one["file_name"], one["preview_file_name"] = f"chips/{number}.tif", f"previews/{number}.png"
    table = pa.Table.from_pylist([{key: one.get(key) for key in SCHEMA.names} for one in rows], schema=SCHEMA)
    pq.write_table(table, root / MANIFEST)
    header = {"format": 1, "sensor": rows[0]["sensor"], "radiometry": "intensity", "split": rows[0]["split"]}
    header |= {
        "display_db": [-25.0, 10.0],
        "n_chips": count,
        "revision": manifest_revision(read_manifest(root)),
    }
    (root / HEADER).write_text(json.dumps(header), encoding="utf-8")


def row(name: str, number: int, pixels: str, is_made: bool) -> dict[str, object]:
    origin = {"physics": "translated", "psd": "translated", "migrated-generated": "migrated"}.get(name, name)
    return {
        "picture": number % PICTURES,
        "chip_id": lineage.sha256_text(f"{name}{number}")[: lineage.CHIP_ID_LENGTH],
        "origin": origin if is_made else "real",
        "label": CLASSES[number % len(CLASSES)],
        "split": "test" if name.endswith("test") else "train",
        "group_id": f"{name}-{number // 20}",
        "sensor": "sensor-x",
        "radiometry": Radiometry.INTENSITY.value,
        "range_spacing_m": 1.0,
        "azimuth_spacing_m": 1.0,
        "parents": [lineage.sha256_text(f"source-train{number % 7}")[: lineage.CHIP_ID_LENGTH]] * is_made,
        "style_ids": [],
        "prompt": "SAR image, class" if is_made else None,
        "seed": number,
        "pixels_sha256": pixels,
        "licence": f"derived from {LICENCE}; see also the licence of the base b" if is_made else LICENCE,
    }


def packed(sets: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of packing in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "pack", str(sets), str(out)], check=True, capture_output=True, text=True
    )
    seconds, mebibytes = done.stdout.split()[-2:]
    return float(seconds), float(mebibytes)


def pack_here(sets_root: Path, out: Path) -> None:
    import resource

    import pandas as pd

    from sarcurate.io.chipset import open_chipset
    from sarcurate.io.gates import Gate
    from sarcurate.io.hub import release
    from sarcurate.io.hub.licences import LicenceRule
    from sarcurate.io.hub.packing import CONFIGS, Contents, Judged, pack
    from sarcurate.io.hub.release_record import About, release_of

    start = time.perf_counter()
    train = {
        name: open_chipset(sets_root / name, splits=("train",))
        for name in SHARES
        if not name.endswith("test")
    }
    tests = {
        name: open_chipset(sets_root / name, splits=("test",)) for name in SHARES if name.endswith("test")
    }
    sets = train | tests
    measures = [f"measure_{number:02d}" for number in range(MEASURES - 1)] + ["memorisation_ratio"]
    judged, choices = {}, []
    for name, chips in train.items():
        own = chips.manifest[["chip_id", "pixels_sha256", "label", "origin", "group_id", "fold"]]
        values = np.random.default_rng(2).normal(3, 0.1, (len(own), MEASURES))
        table = pd.concat([own, pd.DataFrame(values, columns=measures)], axis=1).assign(set=name, reasons="")
        is_made = name.partition("-")[0] not in ("source", "target")
        judged[name] = Judged(table, {} if is_made else None)
        if is_made and name != "generated":
            ids = chips.manifest[["chip_id", "label"]].itertuples(index=False)
            choices += [
                Choice(i, k % 2 == 0, label, "" if k % 2 == 0 else "no") for k, (i, label) in enumerate(ids)
            ]
    rules = tuple(LicenceRule(source, "apache-2.0", True, True) for source in (LICENCE, "base b"))
    gates = (Gate("memorisation_ratio", "lower", 1.0, None, "keep"),)
    contents = Contents(sets, judged, make_selection(choices), rules, gates, CLASSES, False, (), {})
    done = pack(contents, CONFIGS, 200, out)
    revisions = {side: sets[f"{side}-train"].revision for side in ("source", "target")}
    about = About("benchmark", "0.1.0", "smoke", revisions, None)
    release.write_release(out, release_of(about, contents, done))
    (out / release.CARD).write_text("# benchmark\n", encoding="utf-8")
    release.write_files(out)
    print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def published(folder: Path) -> float:
    """Seconds of `sarcurate publish` to the test server, start of the command included."""
    sys.path.insert(0, str(ROOT / "tests" / "hub"))
    from server import running_hub  # type: ignore[import-not-found]

    with running_hub() as hub, TemporaryDirectory() as home:
        quiet = {"HF_HOME": home, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        quiet |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_testwriter", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-c", "from sarcurate.cli import main; main()", "publish", "ann/benchmark"]
        start = time.perf_counter()
        subprocess.run([*command, "--folder", str(folder)], check=True, cwd=home, env={**os.environ, **quiet})
        return time.perf_counter() - start


if __name__ == "__main__":
    pack_here(Path(sys.argv[2]), Path(sys.argv[3])) if sys.argv[1:2] == ["pack"] else main()
