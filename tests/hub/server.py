"""A Hub for tests: data set repositories in memory, served to the unmodified clients over HTTP.

Routes are those that `huggingface_hub` 2.4 and `datasets` 5.2 ask for without the xet transfer. What a
test may turn: tokens and their roles, failing or hanging uploads, a hook before each commit.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BIG = 100_000  # bytes from which a file is stored apart (LFS), as are all parquet and picture files
APART = (".parquet", ".png", ".tif")
NEVER = "1970-01-01T00:00:00.000Z"


def sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Stored:
    """A file of a commit; its bytes are in the hub's store under their SHA-256."""

    sha256: str
    size: int
    apart: bool
    git_sha1: str

    def entry(self, path: str) -> dict[str, Any]:
        told: dict[str, Any] = {"type": "file", "path": path, "size": self.size, "oid": self.git_sha1}
        return told | (
            {"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": 130}} if self.apart else {}
        )


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, Stored]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, Stored], branch: str = "main") -> str:
        told = json.dumps([len(self.commits), sorted((path, one.sha256) for path, one in files.items())])
        oid = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        self.commits[oid], self.branches[branch] = files, oid
        self.log.insert(0, oid)
        return oid

    def find(self, revision: str) -> str | None:
        known = self.branches.get(revision) or self.tags.get(revision)
        return known or (revision if revision in self.commits else None)

    @property
    def files(self) -> dict[str, Stored]:
        return self.commits[self.branches["main"]]


@dataclass
class Hub:
    """State of the server, and the knobs of tests.

    ``uploads`` lists the SHA-256 of every file that was sent (LFS), ``requests`` method and path of all.
    The limits of uploads count those that began: clients send several at a time.
    """

    tokens: dict[str, str] = field(
        default_factory=lambda: {"hf_testwriter": "write", "hf_testreader": "read"}
    )
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuse_uploads_after: int | None = None
    drop_uploads_after: int | None = None
    hang_uploads_after: int | None = None
    hanging: threading.Event = field(default_factory=threading.Event)
    before_commit: Callable[[Repository], None] | None = None
    spoil: dict[str, bytes] = field(default_factory=dict)
    begun: Iterator[int] = field(default_factory=itertools.count)
    url: str = ""

    def put(self, data: bytes, *, apart: bool) -> Stored:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        if apart:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n"
            return Stored(digest, len(data), True, sha1(pointer.encode()))
        return Stored(digest, len(data), False, sha1(data))

    def make(self, name: str, *, private: bool = True) -> Repository:
        repository = self.repositories[name] = Repository(private)
        repository.commit({".gitattributes": self.put(b"*.parquet filter=lfs\n", apart=False)})
        return repository

    def add(self, name: str, path: str, data: bytes) -> str:
        """Commit one file, as another person would."""
        repository = self.repositories[name]
        return repository.commit(repository.files | {path: self.put(data, apart=False)})


class RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


_REPO = re.compile(r"/api/datasets/(?P<name>[^/]+/[^/]+)(?:/(?P<verb>[a-z-]+)(?:/(?P<rest>.*))?)?")
_FILE = re.compile(r"/datasets/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_BATCH = re.compile(r"/datasets/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 (names that the standard library calls)

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.path_only, self.query = unquote(parts.path), parse_qs(parts.query)
        self.body = self._body()
        self.hub.requests.append((self.command, self.path_only))
        try:
            self._route()
        except ConnectionAbortedError:
            self.close_connection = True
        except RefusedError as refusal:
            heads = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self._answer(refusal.status, {"error": refusal.message}, heads)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(
        self, status: int, told: Any = None, heads: dict[str, str] | None = None, data: bytes | None = None
    ) -> None:
        data = json.dumps(told).encode() if data is None else data
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(heads or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _role(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()
        if token and token not in self.hub.tokens:
            raise RefusedError(401, "", f"Invalid credentials in Authorization header {token}")
        return self.hub.tokens.get(token)

    def _must_write(self) -> None:
        role = self._role()
        if role is None:
            raise RefusedError(401, "", "Invalid username or password.")
        if role == "read":
            raise RefusedError(403, "", "Forbidden: you must use a write token")

    def _json(self) -> Any:
        return json.loads(self.body or b"{}")

    def _route(self) -> None:
        path = self.path_only
        if path.startswith("/store/"):
            self._store(path.removeprefix("/store/"))
        elif path == "/api/whoami-v2":
            if (role := self._role()) is None:
                raise RefusedError(401, "", "Invalid username or password.")
            self._answer(
                200, {"type": "user", "name": "ann", "orgs": [], "auth": {"accessToken": {"role": role}}}
            )
        elif path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create()
        elif found := _BATCH.fullmatch(path):
            self._must_write()
            self._batch(self._repository(found["name"]))
        elif found := _FILE.fullmatch(path):
            self._resolve(self._repository(found["name"]), found["revision"], found["path"])
        elif found := _REPO.fullmatch(path):
            verb = (found["verb"] or "revision").replace("-", "_")
            handler = getattr(self, f"_on_{verb}", None)
            if handler is None:
                raise RefusedError(404, "", f"no route {self.command} {path}")
            handler(found["name"], self._repository(found["name"]), found["rest"] or "")
        else:
            raise RefusedError(404, "", f"no route {self.command} {path}")

    def _repository(self, name: str) -> Repository:
        role = self._role()
        found = self.hub.repositories.get(name)
        if found is None or (found.private and role is None):
            raise RefusedError(404 if role else 401, "RepoNotFound", "Repository not found")
        return found

    def _commit_of(self, repository: Repository, revision: str) -> str:
        found = repository.find(revision)
        if found is None:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def _create(self) -> None:
        self._must_write()
        asked = self._json()
        name = f"{asked.get('organization') or 'ann'}/{asked['name']}"
        told = {"url": f"{self.hub.url}/datasets/{name}", "name": name, "id": name}
        if name in self.hub.repositories:
            self._answer(409, told | {"error": "You already created this dataset repo"})
            return
        private = asked.get("private", asked.get("visibility") == "private")
        self.hub.make(name, private=bool(private))
        self._answer(200, told)

    def _batch(self, _: Repository) -> None:
        objects = []
        for asked in self._json()["objects"]:
            told = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.blobs:
                link = {"href": f"{self.hub.url}/store/{asked['oid']}", "header": {}}
                told["actions"] = {"upload": link}
            objects.append(told)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _store(self, oid: str) -> None:
        hub = self.hub
        earlier = next(hub.begun)
        if hub.hang_uploads_after is not None and earlier >= hub.hang_uploads_after:
            hub.hanging.set()
            threading.Event().wait(60)
        if hub.drop_uploads_after is not None and earlier >= hub.drop_uploads_after:
            self.connection.close()
            raise ConnectionAbortedError
        if hub.refuse_uploads_after is not None and earlier >= hub.refuse_uploads_after:
            raise RefusedError(400, "", "the line was cut")
        data = hub.spoil.pop(oid, self.body)
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise RefusedError(422, "", "other bytes than announced")
        hub.uploads.append(oid)
        hub.blobs[oid] = data
        self._answer(200, {})

    def _resolve(self, repository: Repository, revision: str, path: str) -> None:
        commit = self._commit_of(repository, revision)
        found = repository.commits[commit].get(path)
        if found is None:
            heads = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "not there", "X-Repo-Commit": commit}
            self._answer(404, {"error": "not there"}, heads)
            return
        data = self.hub.blobs[found.sha256]
        heads = {"X-Repo-Commit": commit, "ETag": f'"{found.sha256 if found.apart else found.git_sha1}"'}
        if found.apart:
            heads |= {"X-Linked-Etag": f'"{found.sha256}"', "X-Linked-Size": str(len(data))}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            self._answer(200, heads={**heads, "Accept-Ranges": "bytes"}, data=data)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        heads["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._answer(206, heads=heads, data=data[first : last + 1])

    # --- /api/datasets/<name>/<verb>

    def _on_revision(self, name: str, repository: Repository, rest: str) -> None:
        commit = self._commit_of(repository, rest or "main")
        told = {
            "_id": "0" * 24,
            "id": name,
            "author": name.split("/")[0],
            "sha": commit,
            "tags": [],
            "gated": False,
        }
        told |= {"private": repository.private, "disabled": False, "downloads": 0, "likes": 0}
        told |= {"lastModified": NEVER, "createdAt": NEVER}
        told["siblings"] = [{"rfilename": path} for path in sorted(repository.commits[commit])]
        self._answer(200, told)

    def _on_refs(self, _: str, repository: Repository, __: str) -> None:
        def listed(found: dict[str, str], kind: str) -> list[dict[str, str]]:
            return [{"name": k, "ref": f"refs/{kind}/{k}", "targetCommit": v} for k, v in found.items()]

        tags, branches = listed(repository.tags, "tags"), listed(repository.branches, "heads")
        self._answer(200, {"branches": branches, "tags": tags, "converts": []})

    def _on_preupload(self, _: str, repository: Repository, rest: str) -> None:
        self._must_write()
        there = repository.commits[self._commit_of(repository, rest)]
        told = []
        for asked in self._json()["files"]:
            path = asked["path"]
            mode = "lfs" if asked["size"] > BIG or path.endswith(APART) else "regular"
            oid = there[path].git_sha1 if path in there else None
            told.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._answer(200, {"files": told})

    def _on_tag(self, _: str, repository: Repository, rest: str) -> None:
        self._must_write()
        name = self._json()["tag"]
        if name in repository.tags:
            raise RefusedError(409, "", "Tag reference exists already")
        repository.tags[name] = self._commit_of(repository, rest)
        self._answer(200, {})

    def _on_commits(self, _: str, repository: Repository, __: str) -> None:
        self._answer(
            200,
            [{"id": oid, "title": "", "message": "", "date": NEVER, "authors": []} for oid in repository.log],
        )

    def _on_tree(self, _: str, repository: Repository, rest: str) -> None:
        revision, _, below = rest.partition("/")
        files = repository.commits[self._commit_of(repository, revision)]
        start = f"{below}/" if below else ""
        deep = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        told, folders = [], set()
        for path, found in sorted(files.items()):
            if path.startswith(start):
                inner = path.removeprefix(start).split("/")
                folders |= {
                    start + "/".join(inner[:n]) for n in range(1, len(inner) if deep else min(len(inner), 2))
                }
                told += [found.entry(path)] if deep or len(inner) == 1 else []
        if below and not told and not folders:
            raise RefusedError(404, "EntryNotFound", f"{below} does not exist on {revision}")
        self._answer(
            200,
            [{"type": "directory", "path": p, "oid": sha1(p.encode()), "size": 0} for p in sorted(folders)]
            + told,
        )

    def _on_paths_info(self, _: str, repository: Repository, rest: str) -> None:
        files = repository.commits[self._commit_of(repository, rest)]
        asked = self._json() if self.body[:1] == b"{" else parse_qs(self.body.decode())
        self._answer(200, [files[path].entry(path) for path in asked.get("paths", []) if path in files])

    def _on_commit(self, name: str, repository: Repository, branch: str) -> None:
        self._must_write()
        if self.hub.before_commit is not None:
            hook, self.hub.before_commit = self.hub.before_commit, None
            hook(repository)
        files = dict(repository.files)
        for line in filter(bytes.strip, self.body.splitlines()):
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "header":
                    if value.get("parentCommit") not in (None, repository.branches[branch]):
                        raise RefusedError(
                            412, "", "A commit has happened since. Please refresh and try again."
                        )
                case "file":
                    files[value["path"]] = self.hub.put(base64.b64decode(value["content"]), apart=False)
                case "lfsFile":
                    data = self.hub.blobs[value["oid"]]
                    files[value["path"]] = self.hub.put(data, apart=True)
                case "deletedFile":
                    files.pop(value["path"])
        oid = repository.commit(files, branch)
        url = f"{self.hub.url}/datasets/{name}/commit/{oid}"
        self._answer(200, {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub at ``hub.url`` while the block runs."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
