"""A release published: a plan of what changes, one commit on top of what was looked at, a check, a tag."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sarcurate.errors import DataError, HubError
from sarcurate.io.hub import release
from sarcurate.io.hub.release import Release
from sarcurate.io.hub.remote import BRANCH, KIND, Remote, RemoteFile, download, files_at, hub_errors, look
from sarcurate.io.hub.verifying import verify
from sarcurate.io.safe import sha256_file

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Say = Callable[[str], None]


@dataclass(frozen=True)
class Local:
    """Files of a release: SHA-256 by path, ``MANIFEST.sha256`` itself included, and sizes in bytes."""

    folder: Path
    sha256: Mapping[str, str]
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """What publishing will do.

    Args:
        head: commit that it builds on, None where the repository will be made.
        tag_at: commit that the tag is on already, None where it will be made.
        added, changed, removed, same: paths, sorted.
    """

    repo_id: str
    private: bool
    tag: str
    head: str | None
    tag_at: str | None
    local: Local
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    same: tuple[str, ...]

    def lines(self) -> list[str]:
        """The plan for a terminal: every file with its size."""
        where = "private" if self.private else "public"
        state = f"on top of commit {self.head[:12]}" if self.head else "a new repository"
        said = [f"to {self.repo_id} ({where}), {state}:"]
        for sign, paths in (("+", self.added), ("~", self.changed)):
            said += [f"  {sign} {path}  {self.local.sizes[path]} bytes" for path in paths]
        said += [f"  - {path}" for path in self.removed]
        n_bytes = sum(self.local.sizes[path] for path in (*self.added, *self.changed))
        said.append(f"  {len(self.same)} files stay as they are; {n_bytes} bytes to send at most")
        tag = f"tag {self.tag} is on this content already" if self.tag_at else f"tag {self.tag} will be made"
        return [*said, f"  {tag}"]


def local_files(folder: Path) -> Local:
    """The files of a release, as its lists name them."""
    sha256 = release.read_files(folder)
    sha256[release.FILES] = sha256_file(folder / release.FILES)
    return Local(folder, sha256, {name: (folder / name).stat().st_size for name in sha256})


def make_plan(
    api: HfApi, folder: Path, told: Release, repo_id: str, *, private: bool, allow_replace: bool
) -> Plan:
    """Compare a release with the Hub; nothing is changed there.

    Raises:
        HubError: for a repository of other content or visibility, and a tag that is on other content.
    """
    remote, local, tag = look(api, repo_id), local_files(folder), f"v{told.version}"
    if remote.exists and remote.private != private:
        is_now, asked = ("private", "public") if remote.private else ("public", "private")
        raise HubError(
            f"{repo_id} is {is_now}, and {asked} was asked for",
            fix="publish with --public to a public one; who may see a repository is changed in its settings",
        )
    if remote.files and not allow_replace:
        _refuse_other_content(api, repo_id, remote, told)
    tag_at = remote.tags.get(tag)
    if tag_at is not None and not _is_same(local, files_at(api, repo_id, tag_at)):
        raise HubError(
            f"{repo_id}: tag {tag} is on other content (commit {tag_at[:12]}); a tag is never moved",
            fix="raise package.version in params.yaml, then `dvc repro package`",
        )
    here, there = set(local.sha256), set(remote.files)
    same = {path for path in here & there if _holds(local, path, remote.files[path])}
    if tag_at is not None:  # published before: nothing to change, whatever stands on the branch now
        here, there, same = set(), set(), set(local.sha256)
    return Plan(
        repo_id,
        private,
        tag,
        remote.head,
        tag_at,
        local,
        added=tuple(sorted(here - there)),
        changed=tuple(sorted((here & there) - same)),
        removed=tuple(sorted(there - here)),
        same=tuple(sorted(same)),
    )


def _refuse_other_content(api: HfApi, repo_id: str, remote: Remote, told: Release) -> None:
    other = "files of no release of sarcurate"
    if release.REVISION in remote.files:
        with TemporaryDirectory() as scratch, hub_errors(f"reading {release.REVISION} of {repo_id}"):
            api.hf_hub_download(
                repo_id, release.REVISION, repo_type=KIND, revision=remote.head, local_dir=scratch
            )
            try:
                found = release.read_release(Path(scratch)).name
            except DataError:
                found = ""
        if found == told.name:
            return
        other = f"the data set {found!r}" if found else other
    raise HubError(
        f"{repo_id} holds {other} ({len(remote.files)} files, such as {min(remote.files)})",
        fix="name another repository; or give --allow-replace, which removes all that is there",
    )


def _is_same(local: Local, files: Mapping[str, RemoteFile]) -> bool:
    return set(files) == set(local.sha256) and all(
        _holds(local, path, found) for path, found in files.items()
    )


def _holds(local: Local, path: str, found: RemoteFile) -> bool:
    """Whether the Hub's file has the same bytes; by Git's hash where it is not stored apart."""
    if found.size != local.sizes[path]:
        return False
    if found.sha256 is not None:
        return found.sha256 == local.sha256[path]
    data = (local.folder / path).read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == found.git_sha1


def push(api: HfApi, plan: Plan, say: Say) -> str:
    """Carry a plan out, check what arrived, and tag it; the commit.

    Files already on the Hub are not sent again, so an interrupted call goes on where it was.

    Raises:
        DataError: for a file that changed since the plan, and a download that is not as listed.
        HubError: where the Hub refuses, also when someone else committed since the plan.
    """
    commit = plan.tag_at or _commit(api, plan, say)
    say(f"downloading {plan.repo_id} at {commit[:12]} to check it")
    _check_download(api, plan, commit, say)
    if plan.tag_at is None:
        with hub_errors(f"tagging {plan.repo_id} as {plan.tag}"):
            api.create_tag(plan.repo_id, tag=plan.tag, revision=commit, repo_type=KIND)
    return commit


def _commit(api: HfApi, plan: Plan, say: Say) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    head = plan.head or _create(api, plan)
    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    for path in (*plan.added, *plan.changed):
        operation = CommitOperationAdd(path, plan.local.folder / path)
        if operation.upload_info.sha256.hex() != plan.local.sha256[path]:
            raise DataError(
                f"{plan.local.folder / path} changed since the plan was made; nothing was published",
                fix="rebuild the folder with `dvc repro package`, then publish again",
            )
        operations.append(operation)
    operations += [CommitOperationDelete(path) for path in plan.removed]
    if not operations:
        return head
    say(f"sending {len(operations)} changes to {plan.repo_id}")
    with hub_errors(f"publishing to {plan.repo_id}"):
        done = api.create_commit(
            plan.repo_id,
            operations,
            commit_message=f"Data set {plan.tag}",
            repo_type=KIND,
            revision=BRANCH,
            parent_commit=head,
        )
    return str(done.oid)


def _create(api: HfApi, plan: Plan) -> str:
    with hub_errors(f"making {plan.repo_id}"):
        api.create_repo(plan.repo_id, repo_type=KIND, private=plan.private, exist_ok=False)
        return str(api.repo_info(plan.repo_id, repo_type=KIND, revision=BRANCH).sha)


def _check_download(api: HfApi, plan: Plan, commit: str, say: Say) -> None:
    with TemporaryDirectory(prefix="sarcurate-check-") as scratch:
        folder = Path(scratch) / "release"
        download(api, plan.repo_id, commit, folder)
        arrived = verify(folder)
        if release.read_files(folder) != release.read_files(plan.local.folder):
            raise DataError(
                f"{plan.repo_id} at {commit[:12]} holds another release than {plan.local.folder}",
                fix="publish again; the tag was not made",
            )
    say(f"checked: {arrived.line()}")
