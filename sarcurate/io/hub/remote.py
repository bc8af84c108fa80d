"""The Hub as this package talks to it: the token, errors in plain words, the state of a repository."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sarcurate.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

KIND = "dataset"
BRANCH = "main"
OF_THE_HUB = (".gitattributes",)  # files that the Hub makes itself
_TOKEN = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9_]+|(?i:bearer)\s+\S+")
_MOST = 300
_AGAIN = "check free disk space, then run the same command again"
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN, to a token that may write to the repository"


@dataclass(frozen=True)
class RemoteFile:
    """A file on the Hub: size in bytes, SHA-256 where it is stored apart (LFS), else Git's own hash."""

    size: int
    sha256: str | None
    git_sha1: str


@dataclass(frozen=True)
class Remote:
    """A repository: whether it exists and is private, the commit of its branch, files there, and its tags."""

    exists: bool
    private: bool
    head: str | None
    files: Mapping[str, RemoteFile]
    tags: Mapping[str, str]


def client(*, needs_token: bool) -> HfApi:
    """The Hub's client, with the token of the environment or of `hf auth login`.

    Raises:
        HubError: where a token is needed, and there is none or an expired or read-only one.
    """
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if needs_token and token is None:
        raise HubError("publishing needs a token of the Hugging Face Hub, and there is none", fix=_LOG_IN)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    if needs_token:
        with hub_errors("asking the Hub whose token this is"):
            role = api.whoami().get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise HubError("the token may only read, and publishing writes", fix=_LOG_IN)
    return api


@contextmanager
def hub_errors(doing: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a HubError that says what was being done, without any token."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # of the client's HTTP library

    try:
        yield
    except (HTTPError, RuntimeError, OSError, ValueError) as error:
        # A failed upload comes wrapped in a RuntimeError, what the client itself refuses as a ValueError.
        raise _as_hub_error(doing, error) from None


def _as_hub_error(doing: str, error: Exception) -> HubError:
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # of the client's HTTP library

    found = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
    if isinstance(found, errors.HfHubHTTPError):
        return HubError(f"{doing}: {_told(found)}", fix=_fix(found.response.status_code))
    if isinstance(found, errors.HFValidationError):
        return HubError(
            f"{doing}: {redacted(str(found))}", fix="give OWNER/NAME of letters, digits, - _ and ."
        )
    unreached = (HTTPError, ConnectionError, TimeoutError, errors.LocalEntryNotFoundError)
    if isinstance(found, unreached):
        return HubError(
            f"{doing}: the Hub cannot be reached: {redacted(str(found))}",
            fix="check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run the same command again",
        )
    fix = "correct what it names; see docs/publish.md" if isinstance(found, ValueError) else _AGAIN
    return HubError(f"{doing}: {redacted(str(found))}", fix=fix)


def redacted(text: str) -> str:
    """A text of the Hub's client in one short line, anything like a token taken out."""
    from huggingface_hub import get_token

    text = text.replace(get_token() or "(token)", "(token)")
    return " ".join(_TOKEN.sub("(token)", text).split())[:_MOST]


def _told(error: Exception) -> str:
    status = error.response.status_code  # type: ignore[attr-defined]
    return f"the Hub answered {status}: {redacted(str(getattr(error, 'server_message', None) or error))}"


def _fix(status: int) -> str:
    if status in (401, 403):
        return f"the token is expired, wrong or not allowed to do this: {_LOG_IN}"
    if status == 404:
        return "check owner, name and revision; a private repository also needs a token that may read it"
    if status in (409, 412):
        return "someone else changed the repository meanwhile: look at what, then publish again"
    return "run the same command again; what was uploaded is not uploaded twice"


def look(api: HfApi, repo_id: str) -> Remote:
    """The state of a repository's branch; one that is not there yet holds nothing.

    Raises:
        HubError: where the Hub does not tell.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_errors(f"looking at {repo_id}"):
        try:
            info = api.repo_info(repo_id, repo_type=KIND, revision=BRANCH)
        except RepositoryNotFoundError as error:
            if error.response.status_code != 404:
                raise
            return Remote(exists=False, private=True, head=None, files={}, tags={})
        refs = api.list_repo_refs(repo_id, repo_type=KIND)
    tags = {tag.name: tag.target_commit for tag in refs.tags}
    head = str(info.sha)
    return Remote(True, bool(info.private), head, files_at(api, repo_id, head), tags)


def files_at(api: HfApi, repo_id: str, revision: str) -> dict[str, RemoteFile]:
    """Files of a revision by path, but for those that the Hub makes itself."""
    from huggingface_hub.hf_api import RepoFile

    with hub_errors(f"listing {repo_id} at {revision[:12]}"):
        entries = list(api.list_repo_tree(repo_id, repo_type=KIND, revision=revision, recursive=True))
    return {
        entry.path: RemoteFile(entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
        for entry in entries
        if isinstance(entry, RepoFile) and entry.path not in OF_THE_HUB
    }


def download(api: HfApi, repo_id: str, revision: str | None, folder: Path) -> None:
    """Fetch all files of a revision into an empty folder, past every cache.

    Raises:
        HubError: where repository or revision is not there, or the line breaks.
    """
    with hub_errors(f"downloading {repo_id} at {revision or BRANCH}"):
        api.snapshot_download(repo_id, repo_type=KIND, revision=revision, local_dir=folder)
