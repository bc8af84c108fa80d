"""Seconds that trace and diff take at 50,000 chips, imports apart, and what their answers hold.

Run: `make bench NAME=lineage`; another count: `python benchmarks/lineage.py --chips 10000`. The workspace is
on paper (tests/paper_workspace.py): manifests, Selection, predictions of 1,000 test chips, git, and DVC's
cache with the listing of every set as if chips and previews were there, but no pixels. Two in ten chips are
real source train chips, one in ten target train, three generated, one migrated and three translated. Between
the revisions a tenth of the generated chips is drawn under other ids, a hundred chips are relabelled and the
Selection rejects other chips. Each is timed in this process after its imports, three times, the middle one
counts: `trace_s` the tree of a chip, `trace_down_s` all that comes of a scene of the source train set (every
generated chip among it), `diff_s` one revision against the other, both from git and the cache, `diff_page_s`
its page without thumbnails. `_cpu_s` is the processor's time, which other work on the machine does not
lengthen as much; git's own processes are not in it. The last line is one JSON object.
"""

import argparse
import importlib.util
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SHARES = {"source-train": 0.2, "target-train": 0.1, "generated": 0.3, "migrated": 0.1, "physics": 0.3}
TEST_CHIPS = 1_000
SCENES = 50
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=50_000)
    count = parser.parse_args().chips
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ |= {
        f"GIT_{who}_{what}": "bench@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        write_workspace(root, count)
        print(f"{count} chips written")
        print(json.dumps({"chips": count} | measured(root)))


def paper() -> Any:
    path = REPOSITORY / "tests" / "paper_workspace.py"
    spec = importlib.util.spec_from_file_location("paper_workspace", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["paper_workspace"] = module
    spec.loader.exec_module(module)
    return module


def sets_of(kit: Any, count: int, adapter: str) -> dict[str, list[dict[str, Any]]]:
    n = {name: int(share * count) for name, share in SHARES.items()}
    label = kit.CLASSES
    scene = [f"scene-{k % SCENES}" for k in range(n["source-train"])]
    source = [
        kit.row(
            f"s{k}", label[k % 2], fold=k % 5, scene_id=scene[k], group_id=scene[k], source_path=f"{k}.tif"
        )
        for k in range(n["source-train"])
    ]
    target = [kit.row(f"t{k}", label[k % 2], fold=k % 5) for k in range(n["target-train"])]
    test = [
        kit.row(f"x{k}", label[k % 2], split="test", group_id=f"pass-{k % 40}") for k in range(TEST_CHIPS)
    ]
    generated = [
        kit.made(f"g{k}", label[k % 2], "generated", adapter_sha256=adapter) for k in range(n["generated"])
    ]
    migrated = [
        kit.made(
            f"m{k}", label[k % 2], "migrated", [f"g{k}"], style_ids=[kit.chip_id(f"t{k % n['target-train']}")]
        )
        for k in range(n["migrated"])
    ]
    physics = [
        kit.made(f"p{k}", label[k % 2], "translated", [f"s{k % n['source-train']}"])
        for k in range(n["physics"])
    ]
    return {
        "data/real/source-train": source,
        "data/real/target-train": target,
        "data/real/target-test": test,
        "data/generated": generated,
        "data/migrated": migrated,
        "data/migrated-generated": migrated[:1],
        "data/translated/physics": physics,
    }


def write_workspace(root: Path, count: int) -> None:
    """Two revisions, v1 and v2, of which the second is on disk."""
    kit = paper()
    root.mkdir()
    sets = sets_of(kit, count, kit.write_adapter(root))
    sets["data/migrated-generated"] = [kit.made("mg0", kit.CLASSES[0], "migrated", ["g0"])]
    kit.begin(root)
    test = sets["data/real/target-test"]
    judged = [*sets["data/migrated"], *sets["data/migrated-generated"], *sets["data/translated/physics"]]
    for tag, wrong in (("v1", 7), ("v2", 9)):
        if tag == "v2":
            generated = sets["data/generated"]
            for k in range(len(generated) // 10):
                generated[10 * k] = kit.made(f"new{k}", kit.CLASSES[k % 2], "generated")
            for each in sets["data/translated/physics"][:100]:
                each["label"] = kit.CLASSES[1 - kit.CLASSES.index(each["label"])]
        for folder, rows in sets.items():
            kit.write_set(root, folder, rows)
        kit.write_fates(root, judged, {f"p{k}": "too bright" for k in range(0, len(judged), wrong)})
        missed = [f"x{k}" for k in range(0, TEST_CHIPS, wrong)]
        runs = kit.predictions(
            {"real-only": missed[:40], "real+physics": missed, "real+source": missed[3:]}, test
        )
        kit.write_metrics(root, runs, tag[1] * 16, {})
        header = "chip_id,pixels_sha256,verdict,new_label,reason,reviewer,utc\n"
        (root / "data" / "verdicts.csv").write_text(header)
        kit.commit(root, tag, chip_files=True)


def measured(root: Path) -> dict[str, Any]:
    import dvc.repo  # noqa: F401 (its import is not timed)

    from sarcurate.io.revisions import changes, changes_page
    from sarcurate.io.tracing import trace

    kit = sys.modules["paper_workspace"]
    up_s, up_cpu_s, lines = timed(lambda: trace.up_lines(trace.trace_up(root, kit.chip_id("m1"))))
    down_s, down_cpu_s, down = timed(lambda: trace.trace_down(root, "scene-7"))
    diff_s, diff_cpu_s, told = timed(lambda: changes.change_lines(changes.read_changes(root, "v1", "v2")))
    found = changes.read_changes(root, "v1", "v2")
    page_s, _, page = timed(lambda: changes_page.changes_page(found))
    print("\n".join(told))
    return {
        "trace_s": round(up_s, 3),
        "trace_cpu_s": round(up_cpu_s, 3),
        "trace_lines": len(lines),
        "trace_down_s": round(down_s, 3),
        "trace_down_cpu_s": round(down_cpu_s, 3),
        "trace_down_chips": len(down.found.made),
        "diff_s": round(diff_s, 3),
        "diff_cpu_s": round(diff_cpu_s, 3),
        "diff_page_s": round(page_s, 3),
        "diff_page_kib": round(len(page) / 1024),
        "changed_chips": len(found.chips.changes),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Middle of some times by the wall and by the processor, in seconds, and the last answer."""
    times, processor = [], []
    for _ in range(REPEATS):
        started, cpu = time.perf_counter(), time.process_time()
        answer = work()
        times.append(time.perf_counter() - started)
        processor.append(time.process_time() - cpu)
    return sorted(times)[REPEATS // 2], sorted(processor)[REPEATS // 2], answer


if __name__ == "__main__":
    main()
