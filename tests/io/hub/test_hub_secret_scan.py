from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sarcurate.errors import DataError
from sarcurate.io.hub.secret_scan import refuse_secrets, secrets_in

# Put together here, so that no scanner of this repository takes them for real ones.
SECRETS = {
    "a Hugging Face token": "hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "an AWS access key": "AK" + "IA" + "IOSFODNN7EXAMPLE",
    "an AWS secret key": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "a GitHub token": "gh" + "p_" + "a" * 36,
    "a GitLab token": "gl" + "pat-" + "a" * 20,
    "a Google key": "AI" + "za" + "b" * 35,
    "a Slack token": "xo" + "xb-" + "1234567890-abc",
    "an API key": "s" + "k-" + "a" * 24,
    "a bearer token": "Authorization: Bearer " + "abcdef0123456789abcdef",
    "a JSON web token": "ey" + "JhbGciOiJIUzI1." + "ey" + "JzdWIiOiIxMjM0." + "sig",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "an address with a password": "https://ann:secret@host.example/data",
    "the path of a person's folder": "/ho" + "me/ann/chips/B-52",
}
INNOCENT = [
    "",
    "hf_energy_ratio",
    "score_hf_energy_ratio_of_the_whole_chip",
    "SAR image, B-52",
    "https://host.example/a@b",
    "base sarcurate-tiny@ea1340e3f873, adapter 366dc9b8d5a1",
    "0423c67f749d2ca1f0ba82302e2a7933911276de17df064ebc656e27cfbf112c",
    "task-oriented, risk-based",
    "s3://bucket/key",
    "home/ann",
]


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
def test_every_kind_is_found_in_the_middle_of_a_text(kind: str, secret: str) -> None:
    assert kind in secrets_in(f"seen by Ann: {secret} and more")


@pytest.mark.parametrize("text", INNOCENT)
def test_ordinary_texts_hold_none(text: str) -> None:
    assert secrets_in(text) == []


@pytest.mark.parametrize("column", ["kept_reason", "prompt", "source_path", "licences"])
def test_a_secret_in_a_column_is_refused_without_being_shown(own_release: Path, column: str) -> None:
    path = next((own_release / "data" / "migrated").glob("*.parquet"))
    table = pq.read_table(path)
    secret = SECRETS["a Hugging Face token"]
    kind = table.schema.field(column).type
    values = [[secret]] * len(table) if kind == pa.list_(pa.string()) else [f"see {secret}"] * len(table)
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, pa.array(values, kind)), path)
    with pytest.raises(DataError, match=f"column {column}: a Hugging Face token") as caught:
        refuse_secrets(own_release)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("name", ["README.md", "revision.json", "extra.txt", "arms.png"])
def test_a_secret_in_a_file_is_refused(own_release: Path, name: str) -> None:
    with (own_release / name).open("ab") as file:
        file.write(b"\n" + SECRETS["an AWS access key"].encode() + b"\n")
    with pytest.raises(DataError, match=f"{name}: an AWS access key"):
        refuse_secrets(own_release)


def test_a_clean_release_passes(tiny_release: Path) -> None:
    assert refuse_secrets(tiny_release) > 100
