"""Chips per second of the scorecard from files, of the pairwise scores, the gain over plain code, and memory.

Run: `make bench NAME=scorecard`. Simulated speckle of 1 to 4 looks with a target or a bright point. Chips are
read from a ChipSet on disk by two processes; memory is that of this process and of its largest worker, after
few chips and after many, each in a process of its own; rates include the start of the workers. Where other
work shares the cores, processor time per chip says more than the rate. The last line is one JSON object.

`--chips N` sets how many chips of 64 px the many are (each costs about a millisecond to write).
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from sarcurate.core.pairs import pair_measures
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import COLUMNS, ChipContext, fit_yardstick, scorecard
from sarcurate.io.chipset import ChipSetWriter, open_chipset
from sarcurate.io.manifest import Header
from sarcurate.io.scoring import measure_chips

CONTEXT = ChipContext(Radiometry.SIGMA0, 0.8, 1.2, -30.0)
WORKERS = 2
EVERYONE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
FEW = 1_000
N_NULL = 20
N_PLAIN = 64
PLAIN = Path(__file__).resolve().parents[1] / "tests" / "core" / "plain_scorecard.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=20_000)
    many = parser.parse_args().chips
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, count in ((64, FEW), (64, many), (128, 4_000)):
            root = Path(folder) / f"{size}-{count}"
            write_chips(root, size, count)
            rate, cpu_ms, peak_mib, worker_mib = in_own_process(from_disk, root)
            found |= {f"chips_per_s_{size}": round(rate, 1), f"cpu_ms_per_chip_{size}": round(cpu_ms, 2)}
            which = "few" if count == FEW else "many" if size == 64 else "128_px"
            found |= {f"peak_mib_{which}": round(peak_mib), f"peak_mib_worker_{which}": round(worker_mib)}
            print(
                f"{count} chips of {size} px: {rate:.0f}/s, {peak_mib:.0f} MiB, workers {worker_mib:.0f} MiB"
            )
    found |= {"pairwise_per_s": round(pairwise_per_s(), 1)}
    found |= against_plain()
    print(json.dumps(found))


def chips_of(n: int, size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chips = rng.gamma(1 + np.arange(n)[:, None, None] % 4, 1.0, (n, size, size))
    chips *= rng.gamma(4, 0.25, (n, size // 8, size // 8)).repeat(8, axis=1).repeat(8, axis=2)
    middle = size // 2
    chips[::2, middle - 3 : middle + 4, middle - 8 : middle + 9] *= 20
    chips[::5, 20, 21] = 300
    return chips.astype(np.float32)


def write_chips(root: Path, size: int, count: int) -> None:
    header = Header("bench", Radiometry.SIGMA0, "train", (-20.0, 20.0))
    with ChipSetWriter(root, header) as writer:
        for start in range(0, count, 500):
            for place, chip in enumerate(chips_of(min(500, count - start), size, start)):
                row = {
                    "chip_id": f"{start + place:064x}",
                    "origin": "simulated",
                    "label": "a",
                    "group_id": "g",
                }
                writer.add(row, chip)


def from_disk(root: Path, pipe: Connection) -> None:
    """Sends chips per second, processor ms per chip, and memory of this process and a worker in MiB."""
    yardstick = fit_yardstick(list(chips_of(64, 64, 9)))
    chips = open_chipset(root, {"train"})
    busy, start = processor_s(), time.perf_counter()
    table = measure_chips(chips, CONTEXT, yardstick, WORKERS)
    rate, busy = len(table) / (time.perf_counter() - start), processor_s() - busy
    worker_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    pipe.send((rate, busy / len(table) * 1e3, peak_mib(), worker_mib))


def peak_mib() -> float:
    """Of this process since it began; ru_maxrss would count what the one that started it had taken, too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def processor_s() -> float:
    return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in EVERYONE)


def in_own_process(work, root: Path) -> tuple[float, float, float, float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(root, there))
    process.start()
    there.close()
    found = here.recv()
    process.join()
    return found


def pairwise_per_s() -> float:
    """Made chips of 64 px a second on one core: content and ghost, each with 20 null references."""
    made, parents, styles = chips_of(200, 64, 1), chips_of(200, 64, 2), chips_of(200, 64, 3)
    null = chips_of(N_NULL, 64, 4)
    pair_measures(made[:2], parents[:2], styles[:2], null, null)
    start = time.perf_counter()
    pair_measures(made, parents, styles, null, null)
    return len(made) / (time.perf_counter() - start)


def against_plain() -> dict[str, float]:
    """Batched scorecard over the plain one, one core, the same chips; and their largest difference."""
    spec = importlib.util.spec_from_file_location("plain_scorecard", PLAIN)
    plain = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = plain
    spec.loader.exec_module(plain)
    found: dict[str, float] = {}
    for size in (64, 128):
        chips, yardstick = chips_of(N_PLAIN, size, 5), fit_yardstick(list(chips_of(64, 64, 9)))
        scorecard(chips, CONTEXT, yardstick)
        start = time.perf_counter()
        fast = scorecard(chips, CONTEXT, yardstick)
        middle = time.perf_counter()
        slow = [plain.plain_scorecard(chip, CONTEXT, yardstick) for chip in chips]
        end = time.perf_counter()
        name = "speedup" if size == 64 else f"speedup_{size}"
        found[name] = round((end - middle) / (middle - start), 1)
        expected = np.array([[row[name] for row in slow] for name in COLUMNS])
        got = np.array([fast[name].values for name in COLUMNS])
        assert np.array_equal(np.isnan(got), np.isnan(expected))
        error = np.abs(got - expected) / np.maximum(np.abs(expected), 1)
        found[f"largest_difference_{size}"] = float(np.nanmax(error))
        found[f"ms_per_chip_{size}"] = round((middle - start) / len(chips) * 1e3, 2)
        found[f"plain_ms_per_chip_{size}"] = round((end - middle) / len(chips) * 1e3, 1)
    return found


if __name__ == "__main__":
    main()
