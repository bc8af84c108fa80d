"""Publishing to the test server: plan, commit, conflict, interruption, resume, tag, verification."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sarcurate.errors import DataError, HubError
from sarcurate.io.hub import release, upload
from sarcurate.io.hub.checks import check_release
from sarcurate.io.hub.remote import client, redacted

# Of the client's own upload.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NAME = "ann/pair"
Call = Callable[..., tuple[int, str]]


def _publish(folder: Path, *, private: bool = True, allow_replace: bool = False) -> str:
    told, _ = check_release(folder, None)
    api = client(needs_token=True)
    plan = upload.make_plan(api, folder, told, NAME, private=private, allow_replace=allow_replace)
    return upload.push(api, plan, lambda _: None)


def _next_version(folder: Path) -> None:
    """The release under another version: three files differ."""
    for name in (release.REVISION, release.CARD):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("0.1.0", "0.2.0"), encoding="utf-8")
    (folder / release.FILES).unlink()
    release.write_files(folder)


def test_a_dry_run_shows_every_file_and_changes_nothing(hub: Any, call: Call, tiny_release: Path) -> None:
    code, said = call("publish", NAME, "--folder", str(tiny_release), "--dry-run")
    assert code == 0
    for name in release.files_below(tiny_release):
        assert f"+ {name}  {(tiny_release / name).stat().st_size} bytes" in said
    assert "a new repository" in said
    assert "tag v0.1.0 will be made" in said
    assert "no workspace here" in said
    assert hub.repositories == {}
    assert {method for method, _ in hub.requests} == {"GET"}


def test_publishing_makes_a_private_repository_with_all_files_and_a_tag(
    hub: Any, call: Call, tiny_release: Path
) -> None:
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 0, said
    assert "checked: " in said
    repository = hub.repositories[NAME]
    assert repository.private
    assert repository.tags == {"v0.1.0": repository.branches["main"]}
    assert set(repository.files) - {".gitattributes"} == set(release.files_below(tiny_release))
    for name in release.files_below(tiny_release):
        assert hub.blobs[repository.files[name].sha256] == (tiny_release / name).read_bytes()
    assert "hf_testwriter" not in said


def test_public_only_where_asked_for(hub: Any, call: Call, tiny_release: Path) -> None:
    assert call("publish", NAME, "--folder", str(tiny_release), "--public")[0] == 0
    assert not hub.repositories[NAME].private
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 5
    assert "is public, and private was asked for" in said


def test_a_second_call_changes_nothing_and_verifies(hub: Any, call: Call, tiny_release: Path) -> None:
    commit = _publish(tiny_release)
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 0
    assert "0 bytes to send" in said
    assert "on this content already" in said
    assert hub.repositories[NAME].branches["main"] == commit


def test_the_next_version_sends_only_what_differs_and_removes_what_is_gone(
    hub: Any, own_release: Path
) -> None:
    first = _publish(own_release)
    hub.add(NAME, "data/real/train-00007-of-00009.parquet", b"old")
    sent = len(hub.uploads)
    _next_version(own_release)
    second = _publish(own_release)
    assert hub.uploads[sent:] == []  # shards are the same; card, record and lists go with the commit
    assert "data/real/train-00007-of-00009.parquet" not in hub.repositories[NAME].files
    assert hub.repositories[NAME].tags == {"v0.1.0": first, "v0.2.0": second}


def test_a_tag_is_never_moved(hub: Any, own_release: Path) -> None:
    first = _publish(own_release)
    with (own_release / release.CARD).open("a", encoding="utf-8") as file:
        file.write("\nMore.\n")
    (own_release / release.FILES).unlink()
    release.write_files(own_release)
    with pytest.raises(HubError, match=r"tag v0\.1\.0 is on other content") as caught:
        _publish(own_release)
    assert "raise package.version" in caught.value.fix
    assert hub.repositories[NAME].tags == {"v0.1.0": first}


def test_a_change_by_someone_else_between_plan_and_commit_is_refused(hub: Any, own_release: Path) -> None:
    _publish(own_release)
    _next_version(own_release)
    hub.before_commit = lambda _: hub.add(NAME, "notes.txt", b"mine")
    with pytest.raises(HubError, match="the Hub answered 412") as caught:
        _publish(own_release)
    assert caught.value.exit_code == 5
    assert "someone else changed the repository" in caught.value.fix
    assert "notes.txt" in hub.repositories[NAME].files
    assert list(hub.repositories[NAME].tags) == ["v0.1.0"]


@pytest.mark.parametrize("path", ["model.safetensors", "README.md", release.REVISION])
def test_a_repository_with_other_content_is_refused_unless_asked_for(
    hub: Any, call: Call, tiny_release: Path, path: str
) -> None:
    hub.make(NAME)
    hub.add(NAME, path, b"something else")
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 5
    assert "holds files of no release of sarcurate" in said
    assert hub.repositories[NAME].files.keys() == {".gitattributes", path}
    assert call("publish", NAME, "--folder", str(tiny_release), "--allow-replace")[0] == 0
    assert set(hub.repositories[NAME].files) - {".gitattributes"} == set(release.files_below(tiny_release))


def test_another_data_set_is_refused(hub: Any, own_release: Path) -> None:
    hub.make(NAME)
    text = (own_release / release.REVISION).read_text(encoding="utf-8")
    name = release.read_release(own_release).name
    hub.add(NAME, release.REVISION, text.replace(f'"{name}"', '"another"').encode())
    with pytest.raises(HubError, match="holds the data set 'another'"):
        _publish(own_release)


def test_an_upload_that_was_cut_goes_on_where_it_was(hub: Any, call: Call, tiny_release: Path) -> None:
    hub.refuse_uploads_after = 3
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 5
    assert "the line was cut" in said
    assert "what was uploaded is not uploaded twice" in said
    assert hub.repositories[NAME].tags == {}
    arrived = set(hub.uploads)
    assert len(arrived) == 3
    hub.refuse_uploads_after = None
    assert call("publish", NAME, "--folder", str(tiny_release))[0] == 0
    assert len(hub.uploads) == len(set(hub.uploads))
    assert "v0.1.0" in hub.repositories[NAME].tags


def test_a_line_that_breaks_is_told_and_the_next_call_goes_on(
    hub: Any, call: Call, tiny_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    hub.drop_uploads_after = 2
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 5
    assert "cannot be reached" in said
    assert "run the same command again" in said
    hub.drop_uploads_after = None
    assert call("publish", NAME, "--folder", str(tiny_release))[0] == 0
    assert len(hub.uploads) == len(set(hub.uploads))


@pytest.mark.slow
def test_a_killed_publish_goes_on_where_it_was(hub: Any, call: Call, tiny_release: Path) -> None:
    hub.hang_uploads_after = 2
    code = "from sarcurate.cli import main; main()"
    command = [sys.executable, "-c", code, "publish", NAME, "--folder", str(tiny_release)]
    child = subprocess.Popen(command, env=os.environ.copy(), stdout=subprocess.DEVNULL)
    assert hub.hanging.wait(60)
    child.send_signal(signal.SIGKILL)
    child.wait()
    hub.hang_uploads_after = None
    arrived = list(hub.uploads)
    assert call("publish", NAME, "--folder", str(tiny_release))[0] == 0
    assert not set(arrived) & set(hub.uploads[len(arrived) :])
    assert "v0.1.0" in hub.repositories[NAME].tags


def test_after_a_commit_without_its_tag_only_the_tag_is_made(hub: Any, tiny_release: Path) -> None:
    commit = _publish(tiny_release)
    hub.repositories[NAME].tags.clear()
    assert _publish(tiny_release) == commit
    assert hub.repositories[NAME].tags == {"v0.1.0": commit}


@pytest.mark.parametrize("name", ["chips.csv", "data/curated/train-00000-of-00001.parquet"])
def test_a_file_that_changed_since_the_plan_is_refused(hub: Any, own_release: Path, name: str) -> None:
    told, _ = check_release(own_release, None)
    api = client(needs_token=True)
    plan = upload.make_plan(api, own_release, told, NAME, private=True, allow_replace=False)
    data = bytearray((own_release / name).read_bytes())
    data[len(data) // 2] ^= 1
    (own_release / name).write_bytes(bytes(data))
    with pytest.raises(DataError, match="changed since the plan was made"):
        upload.push(api, plan, lambda _: None)
    assert hub.uploads == []
    assert hub.repositories[NAME].tags == {}


def test_what_arrived_wrong_is_found_and_not_tagged(hub: Any, tiny_release: Path) -> None:
    name = "data/generated/train-00000-of-00001.parquet"
    data = bytearray((tiny_release / name).read_bytes())
    oid = hashlib.sha256(data).hexdigest()
    data[1000] ^= 1
    hub.spoil[oid] = bytes(data)
    with pytest.raises((DataError, HubError), match=r"not as its lists say|Consistency"):
        _publish(tiny_release)
    assert hub.repositories[NAME].tags == {}


# --- tokens and the line


def test_without_a_token_nothing_is_asked(
    hub: Any, call: Call, tiny_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 5
    assert "there is none" in said
    assert "hf auth login" in said
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_testreader", "may only read"),
        ("hf_oldandexpiredtoken0000000000000000", "the Hub answered 401"),
        ("of-another-form.0000", "the Hub answered 401"),
    ],
)
def test_a_token_that_may_not_write_is_refused_and_never_shown(
    hub: Any, call: Call, tiny_release: Path, monkeypatch: pytest.MonkeyPatch, token: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 5
    assert message in said
    assert "hf auth login" in said
    assert token not in said
    assert hub.repositories == {}


def test_a_token_that_loses_its_rights_later_is_told_without_it(hub: Any, tiny_release: Path) -> None:
    told, _ = check_release(tiny_release, None)
    api = client(needs_token=True)
    plan = upload.make_plan(api, tiny_release, told, NAME, private=True, allow_replace=False)
    hub.tokens.clear()
    with pytest.raises(HubError, match="the Hub answered 401") as caught:
        upload.push(api, plan, lambda _: None)
    assert "hf_testwriter" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_token_is_taken_out_of_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "of-another-form.0000")
    said = redacted("Bearer abc.def, hf_0123 and of-another-form.0000\nin two lines")
    assert said == "(token) (token) and (token) in two lines"


def test_no_network_is_told(
    hub: Any, call: Call, tiny_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, said = call("publish", NAME, "--folder", str(tiny_release))
    assert code == 5
    assert "cannot be reached" in said


@pytest.mark.parametrize("name", ["pair", "a/b/c", "a b/c", ""])
def test_a_name_that_is_no_repository_is_refused(hub: Any, call: Call, tiny_release: Path, name: str) -> None:
    code, said = call("publish", name, "--folder", str(tiny_release))
    assert code == 2, said
    assert "OWNER/NAME" in said


# --- verify


def test_verify_of_a_tag_of_a_folder_and_of_nothing(hub: Any, call: Call, tiny_release: Path) -> None:
    _publish(tiny_release)
    revision = release.read_release(tiny_release).dataset_revision
    for arguments in ([NAME, "--revision", "v0.1.0"], [NAME], [str(tiny_release)]):
        code, said = call("verify", *arguments)
        assert code == 0, said
        assert revision in said
    for arguments, message in (([NAME, "--revision", "v7"], "404"), (["ann/other"], "404")):
        code, said = call("verify", *arguments)
        assert code == 5
        assert message in said


def test_a_private_release_needs_a_token_to_be_verified(
    hub: Any, call: Call, tiny_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(tiny_release)
    monkeypatch.setenv("HF_TOKEN", "hf_testreader")
    assert call("verify", NAME, "--revision", "v0.1.0")[0] == 0
    monkeypatch.delenv("HF_TOKEN")
    code, said = call("verify", NAME, "--revision", "v0.1.0")
    assert code == 5
    assert "hf auth login" in said


def test_verify_finds_what_was_changed_on_the_hub(hub: Any, call: Call, tiny_release: Path) -> None:
    _publish(tiny_release)
    hub.add(NAME, "README.md", b"# other\n")
    code, said = call("verify", NAME)
    assert code == 3
    assert "README.md: SHA-256" in said
    assert call("verify", NAME, "--revision", "v0.1.0")[0] == 0


# --- in a workspace


@pytest.fixture
def workspace(
    hub: Any,
    tiny_data: Callable[..., dict[str, Any]],
    package_inputs: Any,
    tiny_release: Path,
    tmp_path: Path,
) -> Path:
    """What publish reads of the workspace that the tiny release is of."""
    made = package_inputs.made
    folders = {f"real/{side}-train": path for side, path in package_inputs.train.items()}
    folders |= {f"real/{side}-test": path for side, path in package_inputs.test.items()}
    folders |= {f"translated/{name}": made[name] for name in ("physics", "psd")}
    folders |= {name: made[name] for name in ("migrated", "migrated-generated")}
    for name, path in {**folders, "generated": package_inputs.generated}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        shutil.copy(path / "chipset.json", tmp_path / "data" / name)
    shutil.copy(package_inputs.judgements.selection, tmp_path / "data" / "selection.parquet")
    (tmp_path / "metrics").mkdir()
    shutil.copy(package_inputs.metrics.evaluation, tmp_path / "metrics" / "evaluation.json")
    (tmp_path / "metrics" / "validation.json").write_text('{"passed": true}')
    shutil.copytree(tiny_release, tmp_path / "data" / "hub")
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(tiny_data({"package.repo_id": NAME}), file)
    return tmp_path


def test_in_a_workspace_folder_and_repository_need_no_naming(hub: Any, call: Call, workspace: Path) -> None:
    code, said = call("publish")
    assert code == 0, said
    assert "the workspace: same chips, selection, evaluation, rules and version" in said
    assert list(hub.repositories) == [NAME]


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        ("params.yaml", "version: 0.1.0", "version: 0.1.1", "package.version"),
        ("params.yaml", "redistribute_made: true", "redistribute_made: false", "package.licences"),
        ("metrics/validation.json", "true", "false", "newest validation did not pass"),
        ("data/real/target-test/chipset.json", '"revision": "', '"revision": "0', "set target-test"),
        ("metrics/evaluation.json", '"dataset_revision": "', '"dataset_revision": "0', "evaluation"),
        ("metrics/evaluation.json", '"dataset_revision"', '"other"', "no dataset_revision"),
    ],
)
def test_a_release_of_an_older_workspace_is_refused_before_the_hub_is_asked(
    hub: Any, call: Call, workspace: Path, path: str, old: str, new: str, message: str
) -> None:
    text = (workspace / path).read_text(encoding="utf-8")
    assert old in text
    head, _, tail = text.rpartition(old) if path == "params.yaml" else text.partition(old)
    (workspace / path).write_text(head + new + tail, encoding="utf-8")
    code, said = call("publish")
    assert code == 3, said
    assert message in said
    assert hub.requests == []
