"""Whether chips look like their class to a network that knows the target's real train chips alone.

Run on a workspace whose score has run: `.venv/bin/python benchmarks/class_agreement.py WORKSPACE`, the
repository's default without one. For every set and class the mean probability that the reference network
gives a chip's own class; real chips by the network that they were held back from. Where the source as it is
has next to none, its contents are others, and no change of style will help. The last line is JSON.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from sarcurate.io.collection import SOURCE, TARGET, Layout
from sarcurate.io.reference import open_reference
from sarcurate.io.score_table import SET, read_scores

MEASURE = "class_probability"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("workspace", type=Path, nargs="?", default=Path())
    layout = Layout(options.parse_args().workspace / "data")
    real = open_reference(layout.reference).train_scores.assign(**{SET: TARGET})
    source = read_scores(layout.data / f"{SOURCE}_scores.parquet")
    tables = (real, source, read_scores(layout.scores))
    chips = pd.concat([table[[SET, "label", MEASURE]] for table in tables], ignore_index=True)
    found = chips.groupby([SET, "label"])[MEASURE].mean().unstack()
    found.insert(0, "all", chips.groupby(SET)[MEASURE].mean())
    print(found.round(2).to_string())
    print(json.dumps(found.round(3).T.to_dict()))


if __name__ == "__main__":
    main()
