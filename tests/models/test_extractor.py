"""Extractors: which folders are taken, what they are told, and what they see."""

from __future__ import annotations

import json
import shutil
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import HardwareError, ParamsError
from sarcurate.models import extractor as module
from sarcurate.models import pipeline_folder
from sarcurate.models.extractor import BUNDLED, Extractor, ExtractorRef, load_extractor, resolve_extractor
from sarcurate.models.pretrain import write_extractor
from sarcurate.models.tiny_base import PROMPT_TOKENS, TEXT_WIDTHS, new_tokenizer, new_vae
from sarcurate.models.tiny_unet import new_schedule, new_unet

COMMIT = "0123456789abcdef0123456789abcdef01234567"
XL_WIDTHS, XL_POOLED = (16, 32), 24
LAYER = "up_blocks.1.attentions.0.transformer_blocks.0.attn1"
PARTS = ("unet", "vae", "scheduler", "text_encoder", "tokenizer")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def text_encoder(width: int, projection: int | None = None) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=384,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=projection or width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=PROMPT_TOKENS,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tiny extractor, never changed by a test."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("extractors") / "tiny"
    write_extractor(new_unet(), new_vae(), text_encoder(TEXT_WIDTHS[0]), folder)
    return folder


@pytest.fixture(scope="module")
def xl_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small extractor in the layout of Stable Diffusion XL."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

    torch.manual_seed(6)
    unet = UNet2DConditionModel(
        sample_size=16,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
        up_block_types=(*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        transformer_layers_per_block=[1, 1, 2],
        attention_head_dim=[1, 2, 4],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + XL_POOLED,
        cross_attention_dim=sum(XL_WIDTHS),
        norm_num_groups=4,
    )
    folder = tmp_path_factory.mktemp("extractors") / "xl"
    StableDiffusionXLPipeline(
        vae=new_vae(),
        text_encoder=text_encoder(XL_WIDTHS[0]),
        text_encoder_2=text_encoder(XL_WIDTHS[1], XL_POOLED),
        tokenizer=new_tokenizer(),
        tokenizer_2=new_tokenizer(),
        unet=unet,
        scheduler=new_schedule(),
    ).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def copied(path: Path, tmp_path: Path) -> Path:
    return shutil.copytree(path, tmp_path / "copied")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def ref(where: object, revision: str | None = None) -> ExtractorRef:
    return ExtractorRef(str(where), revision, "paper")


def loaded(where: Path, layers: Any = "paper", precision: str = "fp32") -> Extractor:
    return load_extractor(resolve_extractor(ref(where)), layers, precision, "cpu")


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


# --- which folders


def test_a_folder_is_named_by_itself_and_hashed(path: Path, copied: Path) -> None:
    found = resolve_extractor(ref(path))
    assert (found.path, found.name, len(found.sha256)) == (path, "tiny", 64)
    (copied / "README.md").write_text("a card")
    assert resolve_extractor(ref(copied)).sha256 == found.sha256


@pytest.mark.parametrize("file", ["unet/config.json", "scheduler/scheduler_config.json", "model_index.json"])
def test_whatever_is_read_is_in_the_hash(path: Path, copied: Path, file: str) -> None:
    edit(copied / file, note="changed")
    assert resolve_extractor(ref(copied)).sha256 != resolve_extractor(ref(path)).sha256


def test_the_weights_of_every_part_are_in_the_hash(path: Path, copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    before = resolve_extractor(ref(path)).sha256
    for file in sorted(copied.glob("*/*.safetensors")):
        plain = file.read_bytes()
        tensors = load_file(file)
        name = min(tensors)
        save_file(tensors | {name: tensors[name] + 1}, file, metadata={"format": "pt"})
        assert resolve_extractor(ref(copied)).sha256 != before
        file.write_bytes(plain)
    assert len(list(copied.glob("*/*.safetensors"))) == 3
    assert resolve_extractor(ref(copied)).sha256 == before


def test_the_bundled_extractor(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_folder, "_bundled", lambda name: path if name == BUNDLED else Path("no"))
    found = resolve_extractor(ref(BUNDLED))
    assert (found.path, found.name) == (path, "sarcurate-tiny-unet")
    assert found.sha256 == resolve_extractor(ref(path)).sha256


def test_a_folder_that_is_not_there_names_the_field_and_the_offline_way(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match=r"there is no folder .*nowhere") as caught:
        resolve_extractor(ref(tmp_path / "nowhere"))
    assert "migrate.extractor" in caught.value.fix
    assert "sarcurate-tiny-unet" in caught.value.fix


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:7], COMMIT.upper()])
def test_a_hub_id_without_a_commit(revision: str | None) -> None:
    with pytest.raises(ParamsError, match=f"extractor owner/name .* revision {revision}, expected") as caught:
        resolve_extractor(ref("owner/name", revision))
    assert caught.value.exit_code == 2


def test_a_commit_without_a_hub_id(path: Path) -> None:
    with pytest.raises(ParamsError, match=f"is no hub id, revision {COMMIT} means nothing"):
        resolve_extractor(ref(path, COMMIT))


def test_a_hub_id_that_is_not_here_says_what_to_put_where(cache: Path) -> None:
    with pytest.raises(HardwareError, match=f"owner/name at revision {COMMIT} is not in") as caught:
        resolve_extractor(ref("owner/name", COMMIT))
    assert caught.value.exit_code == 4
    for said in (
        f"`hf download owner/name --revision {COMMIT}`",
        "give its path in migrate.extractor",
        "migrate.extractor: sarcurate-tiny-unet",
    ):
        assert said in caught.value.fix


def test_a_hub_id_from_the_cache(path: Path, cache: Path) -> None:
    snapshot = cache / "models--owner--name" / "snapshots" / COMMIT
    shutil.copytree(path, snapshot)
    found = resolve_extractor(ref("owner/name", COMMIT))
    assert (found.path, found.name) == (snapshot, f"owner/name@{COMMIT}")


@pytest.mark.parametrize("pipeline", ["StableDiffusion3Pipeline", "StableDiffusionInpaintPipeline", None])
def test_another_pipeline_is_refused(copied: Path, pipeline: str | None) -> None:
    edit(copied / "model_index.json", _class_name=pipeline)
    with pytest.raises(HardwareError, match=rf"is of class {pipeline}, expected StableDiffusionP") as caught:
        resolve_extractor(ref(copied))
    assert "sarcurate-tiny-unet" in caught.value.fix


def test_a_base_is_no_extractor(tmp_path: Path) -> None:
    from diffusers import StableDiffusion3Pipeline

    StableDiffusion3Pipeline(
        *(None, new_schedule(), new_vae(), None, None, None, None, None, None)
    ).save_pretrained(tmp_path / "base")
    with pytest.raises(HardwareError, match="is of class StableDiffusion3Pipeline"):
        resolve_extractor(ref(tmp_path / "base"))


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_another_class_or_none_is_refused(copied: Path, part: str) -> None:
    for entry, said in ((["diffusers", "Other"], "Other"), ([None, None], "None")):
        edit(copied / "model_index.json", **{part: entry})
        with pytest.raises(HardwareError, match=rf"copied: {part} is of class {said}, expected"):
            resolve_extractor(ref(copied))


def test_a_single_file_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v1-5-pruned.safetensors").write_bytes(b"")
    with pytest.raises(HardwareError, match=r"holds no model_index\.json"):
        resolve_extractor(ref(tmp_path))


@pytest.mark.parametrize(
    "file",
    [
        *("unet/config.json", "unet/diffusion_pytorch_model.safetensors"),
        *("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
        *("text_encoder/config.json", "text_encoder/model.safetensors", "scheduler/scheduler_config.json"),
    ],
)
def test_a_missing_file_is_named(copied: Path, file: str) -> None:
    (copied / file).unlink()
    with pytest.raises(HardwareError, match=rf"{file} is missing"):
        resolve_extractor(ref(copied))


def test_a_missing_tokenizer_is_named(copied: Path) -> None:
    for file in (copied / "tokenizer").iterdir():
        file.unlink()
    with pytest.raises(HardwareError, match="tokenizer holds no tokenizer files"):
        resolve_extractor(ref(copied))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_are_only_a_pickle_are_refused(copied: Path, part: str) -> None:
    (weights,) = (copied / part).glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(HardwareError, match=rf"{part} holds its weights only as a pickle, .*\.bin"):
        resolve_extractor(ref(copied))


def test_weights_that_were_cut_short_are_refused(copied: Path) -> None:
    file = copied / "unet/diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(HardwareError, match="cut short or broken"):
        resolve_extractor(ref(copied))


def test_a_tensor_that_is_missing_is_not_drawn_at_random(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = copied / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors.pop(f"{LAYER}.to_q.weight")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(HardwareError, match=rf"unet: .*no weights for {LAYER}"):
        loaded(copied)


# --- what is loaded


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_the_unet_is_frozen_in_the_precision_asked_for(
    path: Path, precision: str, dtype: torch.dtype
) -> None:
    found = loaded(path, precision=precision)
    for part, own in ((found.unet, dtype), (found.latent_space.vae, torch.float32)):
        assert {weight.dtype for weight in part.parameters()} == {own}
        assert not any(weight.requires_grad for weight in part.parameters())
        assert not part.training
    assert found.empty_prompt.dtype == dtype
    z = torch.zeros(2, 4, 12, 8, requires_grad=True)
    (*_, last) = found.see(z, 5)
    assert last.output.dtype == dtype
    last.output.float().square().sum().backward()
    assert z.grad is not None
    assert z.grad.dtype == torch.float32
    assert torch.isfinite(z.grad).all()
    assert z.grad.any()


def test_layers_are_a_preset_or_names(path: Path) -> None:
    assert loaded(path, "texture").capture.layers == (
        "up_blocks.2.attentions.0.transformer_blocks.0.attn1",
        "up_blocks.2.attentions.1.transformer_blocks.0.attn1",
    )
    other = "mid_block.attentions.0.transformer_blocks.0.attn1"
    for named in ([LAYER, other], (other, LAYER)):
        assert loaded(path, named).capture.layers == (other, LAYER)
    assert loaded(path, LAYER).capture.layers == (LAYER,)


@pytest.mark.parametrize("layers", ["deep", ["paper"], ["down_blocks.9.attn1"], []])
def test_layers_it_lacks_are_refused_with_those_it_has(path: Path, layers: Any) -> None:
    with pytest.raises(ParamsError, match=r"it has no layers|no layers are named") as caught:
        loaded(path, layers)
    assert LAYER in caught.value.fix


def test_what_it_sees_is_what_the_plain_pipeline_sees(path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    plain = StableDiffusionPipeline.from_pretrained(path, safety_checker=None, dtype=torch.float32)
    told: list[torch.Tensor] = []
    plain.unet.get_submodule(LAYER).to_out[0].register_forward_pre_hook(lambda _m, got: told.append(got[0]))
    z = torch.randn(3, 4, 8, 12, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        prompt, _ = plain.encode_prompt("", "cpu", 1, do_classifier_free_guidance=False)
        plain.unet(z, 601, prompt.expand(3, -1, -1))
        (seen,) = loaded(path, LAYER).see(z, 601)
    torch.testing.assert_close(seen.output.transpose(1, 2).flatten(2), told[0], atol=1e-5, rtol=1e-5)


def test_the_empty_prompt_is_that_of_plain_diffusers(path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    plain = StableDiffusionPipeline.from_pretrained(path, safety_checker=None, dtype=torch.float32)
    with torch.no_grad():
        expected, _ = plain.encode_prompt("", "cpu", 1, do_classifier_free_guidance=False)
    found = loaded(path)
    assert found.empty_prompt.shape == (1, PROMPT_TOKENS, TEXT_WIDTHS[0])
    assert found.pooled_prompt is None
    assert found.empty_prompt.abs().max() > 0.1  # encoded, no zeros
    torch.testing.assert_close(found.empty_prompt, expected, atol=1e-6, rtol=0)


def test_the_empty_prompt_of_xl_is_that_of_plain_diffusers(xl_path: Path) -> None:
    from diffusers import StableDiffusionXLPipeline

    plain = StableDiffusionXLPipeline.from_pretrained(xl_path, dtype=torch.float32)
    with torch.no_grad():
        tokens, _, pooled, _ = plain.encode_prompt("", device="cpu", do_classifier_free_guidance=False)
    found = loaded(xl_path)
    assert found.pooled_prompt is not None
    assert found.empty_prompt.shape == (1, PROMPT_TOKENS, sum(XL_WIDTHS))
    assert found.pooled_prompt.shape == (1, XL_POOLED)
    torch.testing.assert_close(found.empty_prompt, tokens, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.pooled_prompt, pooled, atol=1e-6, rtol=0)


def test_xl_is_told_its_pooled_prompt_and_the_size_of_the_picture(
    xl_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = loaded(xl_path, "ad_default")
    given_to: list[dict[str, Any]] = []
    plain = found.unet.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        given_to.append(kwargs["added_cond_kwargs"])
        return plain(*args, **kwargs)

    monkeypatch.setattr(found.unet, "forward", forward)
    assert len(found.see(torch.zeros(3, 4, 8, 12), 21)) == 2
    (added,) = given_to
    # Rows and columns of the picture, nothing cut off, and rows and columns wanted; 2 px a latent.
    assert added["time_ids"].tolist() == [[16.0, 24.0, 0.0, 0.0, 16.0, 24.0]] * 3
    assert found.pooled_prompt is not None
    assert torch.equal(added["text_embeds"], found.pooled_prompt.expand(3, -1))
    assert torch.equal(plain_sizes(xl_path, (16, 24)), added["time_ids"][:1])


def plain_sizes(xl_path: Path, shape: tuple[int, int]) -> torch.Tensor:
    from diffusers import StableDiffusionXLPipeline

    plain = StableDiffusionXLPipeline.from_pretrained(xl_path, dtype=torch.float32)
    sizes: torch.Tensor = plain._get_add_time_ids(
        shape, (0, 0), shape, dtype=torch.float32, text_encoder_projection_dim=XL_POOLED
    )
    return sizes


def test_an_xl_folder_without_its_second_encoder_is_refused(xl_path: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(xl_path, tmp_path / "copied")
    (copied / "text_encoder_2/model.safetensors").unlink()
    with pytest.raises(HardwareError, match=r"text_encoder_2/model\.safetensors is missing"):
        resolve_extractor(ref(copied))
    edit(copied / "model_index.json", text_encoder_2=[None, None])
    with pytest.raises(HardwareError, match="text_encoder_2"):
        loaded(copied)


def test_text_encoders_leave_memory(xl_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: dict[str, weakref.ref[Any]] = {}

    def spy(model_class: Any, where: Path, dtype: str) -> Any:
        part = plain(model_class, where, dtype)
        alive[where.name] = weakref.ref(part)
        return part

    plain = module.load_part
    monkeypatch.setattr(module, "load_part", spy)
    found = loaded(xl_path)
    assert {name for name, part in alive.items() if part() is not None} == {"unet", "vae"}
    assert set(alive) == {"unet", "vae", "text_encoder", "text_encoder_2"}
    assert found.unet is alive["unet"]()


@pytest.mark.parametrize("shape", [(32, 32), (35, 50), (16, 97)])
def test_a_chip_of_any_size_fits_the_unet(path: Path, xl_path: Path, shape: tuple[int, int]) -> None:
    for where, halvings in ((path, 2), (xl_path, 2)):
        found = loaded(where, "texture")
        rows, cols = found.latent_space.canvas(shape, None).latent_shape(2)
        assert rows % 2**halvings == cols % 2**halvings == 0
        tokens = {seen.query.shape[2] for seen in found.see(torch.zeros(1, 4, rows, cols), 1)}
        assert tokens == {rows * cols // (1 if where == path else 4)}


# --- times


def of_times(train_times: int) -> Extractor:
    nothing: Any = None
    return Extractor(nothing, nothing, nothing, nothing, None, train_times)


def test_times_of_the_authors() -> None:
    assert of_times(1000).times(200) == list(range(996, 0, -5))


@given(n=st.integers(1, 1000))
def test_times_are_those_of_the_sampler_of_song(n: int) -> None:
    schedule = new_schedule()
    schedule.set_timesteps(n)
    assert of_times(1000).times(n) == schedule.timesteps.tolist()


def test_times_follow_the_schedule_of_the_folder(copied: Path) -> None:
    edit(copied / "scheduler/scheduler_config.json", num_train_timesteps=500)
    found = loaded(copied, "texture")
    assert found.train_times == 500
    assert found.times(5) == [401, 301, 201, 101, 1]


def test_more_times_than_it_was_trained_on_are_refused() -> None:
    with pytest.raises(ParamsError, match="1001"):
        of_times(1000).times(1001)
