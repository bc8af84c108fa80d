from __future__ import annotations

import pandas as pd
import pytest

from sarcurate.errors import DataError
from sarcurate.io.verdict_log import Ruled, extended
from sarcurate.io.verdict_stats import FEWEST_FOR_KAPPA, progress_lines, reviewer_lines
from sarcurate.io.verdicts import Ruling, Verdicts

TODAY, BEFORE = "1" * 64, "0" * 64
SCORES = pd.DataFrame(
    {
        "set": ["migrated"] * 6 + ["psd"],
        "chip_id": [f"a{number}" for number in range(6)] + ["b1"],
        "pixels_sha256": TODAY,
        "label": ["B-52"] + ["F-16"] * 6,
    }
)


def _log(*said: tuple[str, str, str], pixels: str = TODAY) -> Verdicts:
    """Lines of reviewer, chip and ruling; ``relabel:X`` relabels to X."""
    ruled = []
    for reviewer, chip_id, word in said:
        kind, _, label = word.partition(":")
        ruled.append(Ruled(chip_id, pixels, Ruling(kind), label, "", reviewer))
    return extended(Verdicts(()), ruled)


def test_progress_counts_every_chip_once() -> None:
    log = _log(
        ("Ann", "a0", "keep"),
        ("Ann", "a1", "reject"),
        ("Ann", "a2", "relabel:B-52"),
        ("Ann", "a3", "unsure"),
        ("Ann", "a4", "keep"),
        ("Bob", "a4", "reject"),
    )
    old = _log(("Ann", "a5", "keep"), pixels=BEFORE)
    lines = progress_lines(SCORES, Verdicts((*log.rows, *old.rows)))
    assert [line.split() for line in lines] == [
        *[
            [
                "set",
                "class",
                "chips",
                "looked",
                "at",
                "keep",
                "reject",
                "relabel",
                "unsure",
                "disputed",
                "stale",
            ]
        ],
        ["migrated", "B-52", "1", "1", "1", "0", "0", "0", "0", "0"],
        ["migrated", "F-16", "5", "4", "0", "1", "1", "1", "1", "1"],
        ["migrated", "all", "6", "5", "1", "1", "1", "1", "1", "1"],
        ["psd", "F-16", "1", "0", "0", "0", "0", "0", "0", "0"],
        ["psd", "all", "1", "0", "0", "0", "0", "0", "0", "0"],
    ]
    assert len({len(line) for line in lines}) == 1  # columns line up


def test_a_verdict_on_a_chip_of_no_set_is_refused() -> None:
    with pytest.raises(DataError, match="in no made set"):
        progress_lines(SCORES, _log(("Ann", "gone", "keep")))


def test_reviewers_are_counted_by_their_last_word() -> None:
    log = _log(("Bob", "a1", "reject"), ("Ann", "a1", "keep"), ("Ann", "a2", "unsure"))
    rows = (
        *log.rows,
        *_log(("Ann", "a1", "relabel:B-52")).rows,
        *_log(("Ann", "a3", "keep"), pixels=BEFORE).rows,
    )
    lines = reviewer_lines(SCORES, Verdicts(rows))
    assert [line.split() for line in lines[:3]] == [
        ["reviewer", "chips", "keep", "reject", "unsure", "relabel", "on", "other", "pixels"],
        ["Ann", "3", "1", "0", "1", "1", "1"],
        ["Bob", "1", "0", "1", "0", "0", "0"],
    ]
    assert lines[3:] == [
        f"Ann and Bob: 1 chips decided by both, agreed on 0 (0 %), "
        f"kappa n/a (fewer than {FEWEST_FOR_KAPPA} chips)"
    ]


def test_nobody_has_said_anything() -> None:
    assert reviewer_lines(SCORES, Verdicts(())) == ["no verdict was given yet"]


def _many(answers: list[tuple[str, str]]) -> tuple[pd.DataFrame, Verdicts]:
    ids = [f"{number:02x}" for number in range(len(answers))]
    scores = pd.DataFrame({"set": "psd", "chip_id": ids, "pixels_sha256": TODAY, "label": "F-16"})
    said = [
        (name, ids[k], pair[who]) for k, pair in enumerate(answers) for who, name in enumerate(("Ann", "Bob"))
    ]
    return scores, _log(*said)


def test_agreement_of_a_pair_is_that_of_the_textbook() -> None:
    """20, 5, 10 and 15 of 50: 70 % agree, 50 % would by chance, kappa 0.4."""
    counts = {("keep", "keep"): 20, ("keep", "reject"): 5, ("reject", "keep"): 10, ("reject", "reject"): 15}
    answers = [pair for pair, count in counts.items() for _ in range(count)]
    scores, log = _many([*answers, ("keep", "unsure"), ("unsure", "unsure")])
    assert reviewer_lines(scores, log)[3:] == [
        "Ann and Bob: 50 chips decided by both, agreed on 35 (70 %), kappa 0.40"
    ]


def test_relabels_to_two_classes_do_not_agree() -> None:
    scores, log = _many([("relabel:B-52", "relabel:F-15")] * 6 + [("keep", "keep")] * 4)
    assert "10 chips decided by both, agreed on 4 (40 %)" in reviewer_lines(scores, log)[3]


def test_agreement_on_one_word_has_no_kappa() -> None:
    scores, log = _many([("keep", "keep")] * FEWEST_FOR_KAPPA)
    assert reviewer_lines(scores, log)[3].endswith(
        "agreed on 10 (100 %), kappa n/a (both say the same of all)"
    )


def test_a_pair_with_nothing_in_common_is_told_so() -> None:
    lines = reviewer_lines(SCORES, _log(("Ann", "a1", "keep"), ("Bob", "a2", "keep")))
    assert lines[3:] == ["Ann and Bob: 0 chips decided by both"]
