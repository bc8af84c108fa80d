"""Commands of the release: published to the Hub, verified and trained on by who takes it from there."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from sarcurate.cli.common import say

if TYPE_CHECKING:
    from sarcurate.io.hub.checks import Current

app = typer.Typer()


@app.command(epilog="Example: sarcurate publish OWNER/NAME --dry-run")
def publish(
    repo_id: Annotated[
        str | None, typer.Argument(help="owner/name on the Hub; package.repo_id where not given")
    ] = None,
    folder: Annotated[Path, typer.Option(help="what the package stage wrote")] = Path("data/hub"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check and show the plan, change nothing")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="for everyone to see; private where not given")
    ] = False,
    allow_replace: Annotated[
        bool, typer.Option("--allow-replace", help="also where the repository holds something else")
    ] = False,
) -> None:
    """Publish the release to the Hub: checked, private, tagged with its version, verified after."""
    from sarcurate.io.hub.checks import check_release
    from sarcurate.io.hub.remote import client
    from sarcurate.io.hub.upload import make_plan, push

    current, named = _workspace()
    told, passed = check_release(folder, current)
    if current is None:
        passed.append("no workspace here: whether the release is of its newest state was not looked at")
    say(["checks:", *(f"  {line}" for line in passed)])
    api = client(needs_token=True)
    where = _repo_id(repo_id or named)
    plan = make_plan(api, folder, told, where, private=not public, allow_replace=allow_replace)
    say(plan.lines())
    if dry_run:
        say(["dry run: nothing was changed"])
        return
    commit = push(api, plan, typer.echo)
    say([f"published {where} at {plan.tag}, commit {commit[:12]}"])


@app.command(epilog="Example: sarcurate verify OWNER/NAME --revision v0.1.0")
def verify(
    release: Annotated[str, typer.Argument(help="folder, or owner/name on the Hub", show_default=False)],
    revision: Annotated[str | None, typer.Option(help="tag or commit on the Hub")] = None,
) -> None:
    """Compare a release with its lists: every file, the pixels of every chip, the revisions of sets."""
    from sarcurate.io.hub import verifying

    if Path(release).is_dir() and revision is None:
        say([verifying.verify(Path(release)).line()])
        return
    from sarcurate.io.hub.remote import client, download

    with TemporaryDirectory(prefix="sarcurate-verify-") as scratch:
        folder = Path(scratch) / "release"
        download(client(needs_token=False), _repo_id(release), revision, folder)
        say([verifying.verify(folder).line()])


@app.command(epilog="Example: sarcurate retrain OWNER/NAME --revision v0.1.0 --arm real+physics-curated")
def retrain(
    release: Annotated[str, typer.Argument(help="folder, or owner/name on the Hub", show_default=False)],
    arm: Annotated[str, typer.Option(help="arm of real and curated chips, by its name in the card")],
    revision: Annotated[str | None, typer.Option(help="tag or commit on the Hub")] = None,
) -> None:
    """Train an arm's ResNet50 again on a release alone, and compare with the scores that it states."""
    from sarcurate.errors import DataError
    from sarcurate.io.hub.loading import load_checked, load_release
    from sarcurate.io.hub.remote import hub_errors
    from sarcurate.io.work_cache import WorkCache
    from sarcurate.models import retraining

    if not Path(release).is_dir():
        _repo_id(release)
    told = load_release(release, revision)
    if "curated" not in told.configs or "test" not in told.configs.get("real", {}):
        raise DataError(
            f"{release} holds {sorted(told.configs)}; training needs curated and the test chips of real",
            fix="ask its authors for a release of both",
        )
    with hub_errors(f"loading {release}"):
        curated = load_checked(release, "curated", revision)["train"]
        test = load_checked(release, "real", revision)["test"]
    with TemporaryDirectory(prefix="sarcurate-retrain-") as scratch:
        found = retraining.retrain(told, arm, curated, test, WorkCache(Path(scratch)))
    say(found.lines())
    if not found.is_same:
        raise DataError(
            "the classifiers trained here recognise other chips than the release states",
            fix="train with the same versions of torch and sarcurate on the same kind of processor: sums "
            "depend on them",
        )


def _repo_id(text: str | None) -> str:
    import re

    from sarcurate.errors import ParamsError

    if text is None or not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise ParamsError(
            f"{text!r} is no repository of the Hub and no folder" if text else "no repository is named",
            fix="give OWNER/NAME, or set package.repo_id in params.yaml",
        )
    return text


def _workspace() -> tuple[Current | None, str | None]:
    """The state of the workspace here and the repository that its params name; None outside of one."""
    from sarcurate.io.hub.licences import LicenceRule
    from sarcurate.io.hub.workspace_state import current_state
    from sarcurate.params import read_params

    path = Path("params.yaml")
    if not path.exists():
        return None, None
    package = read_params(path).package
    rules = tuple(
        LicenceRule(rule.source, rule.id, rule.redistribute, rule.redistribute_made)
        for rule in package.licences
    )
    return current_state(Path("data"), Path("metrics"), rules, package.version), package.repo_id
