"""Guards for who loads a published data set: made chips never in a test split, pixels as listed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sarcurate.errors import LeakageError
from sarcurate.io.hub.licences import MADE
from sarcurate.io.hub.records import IS_MADE
from sarcurate.io.hub.release import REVISION, Release, read_release
from sarcurate.io.hub.remote import KIND, client, hub_errors


def refuse_made_in_test(chips: Any, split: str | None = None) -> Any:
    """The same data set, once no made chip was found in a test split.

    Args:
        chips: what ``datasets.load_dataset`` returns: a data set of one split, or one per split by name.
        split: what a single one is used as; None takes the name it was loaded under.

    Raises:
        LeakageError: for a made chip in a split ``test``, and a data set that does not say what is made.
    """
    parts: dict[str, Any] = dict(chips) if isinstance(chips, Mapping) else {split or str(chips.split): chips}
    for name, part in parts.items():
        if name.partition("[")[0] == "test":
            _check(name, part)
    return chips


def _check(name: str, part: Any) -> None:
    if not {IS_MADE, "origin"} <= set(part.column_names):
        raise LeakageError(
            f"split {name}: no columns {IS_MADE} and origin, so made chips cannot be told from real ones",
            fix="load the data set as it was published, and drop columns later",
        )
    flags = zip(part[IS_MADE], part["origin"], strict=True)
    n_made = sum(bool(is_made) or origin in MADE for is_made, origin in flags)
    if n_made:
        raise LeakageError(
            f"split {name} holds {n_made} made chips; a classifier must be measured on real ones alone",
            fix="measure on the test split of config `real`",
        )


def load_checked(release: str, config: str, revision: str | None) -> Any:
    """``datasets.load_dataset`` of one config at a tag or commit, with the guard on its test split.

    Args:
        release: owner/name on the Hub, or a folder, then without a revision.
    """
    from datasets import load_dataset

    return refuse_made_in_test(load_dataset(release, config, revision=revision))


def load_release(release: str, revision: str | None) -> Release:
    """What a release says of itself; arguments as of :func:`load_checked`.

    Raises:
        DataError: where it is none.
        HubError: where repository or revision is not there, or the line breaks.
    """
    if Path(release).is_dir():
        return read_release(Path(release))
    api = client(needs_token=False)
    with hub_errors(f"reading {REVISION} of {release}"):
        found = api.hf_hub_download(release, REVISION, repo_type=KIND, revision=revision)
    return read_release(Path(found).parent)
