"""How long the pipeline takes where nothing changed, and the command line takes to answer.

Run after `make repro`: `make bench NAME=pipeline`. The last line is one JSON object.
"""

import json
import statistics
import subprocess
import sys
import time

RUNS = 5


def seconds(command: list[str]) -> float:
    """Median wall seconds of a command over a few runs."""
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    unchanged = seconds(["dvc", "repro"])
    bare = seconds([sys.executable, "-c", "pass"])
    answer = seconds(["sarcurate", "--help"])
    print(f"dvc repro with nothing changed: {unchanged:.2f} s")
    print(f"sarcurate --help: {answer:.2f} s, {answer / bare:.1f} times a bare interpreter")
    print(
        json.dumps(
            {
                "repro_unchanged_s": round(unchanged, 3),
                "help_s": round(answer, 3),
                "help_over_bare_python": round(answer / bare, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
