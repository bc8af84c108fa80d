from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import ParamsError
from sarcurate.models.prompt_encoding import clip_embeddings, refuse_alike, refuse_long
from sarcurate.models.tiny_base import PROMPT_TOKENS, new_text_encoders, new_tokenizer

TOKENIZER = new_tokenizer()
PLAIN = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="<>"), max_size=20)


class _LowerCase:
    """A tokenizer that gives a token a letter, upper case lost."""

    def __call__(self, text: str, truncation: bool = False) -> _LowerCase:
        self.input_ids = [ord(letter) for letter in text.lower()]
        return self


def test_a_prompt_as_long_as_the_limit_passes() -> None:
    refuse_long(["a" * 9, ""], TOKENIZER, 10)
    with pytest.raises(ParamsError, match="prompt 'aaaaaaaaab' takes 11 tokens, this base reads 10"):
        refuse_long(["a" * 9, "aaaaaaaaab"], TOKENIZER, 10)


@given(PLAIN, PLAIN)
def test_bytes_tell_any_two_names_apart(one: str, other: str) -> None:
    refuse_alike([one, other, one], [TOKENIZER])


def test_prompts_alike_to_all_tokenizers_are_refused() -> None:
    refuse_alike(["Su-27", "SU-27"], [_LowerCase(), TOKENIZER])
    with pytest.raises(ParamsError, match=r"prompts 'Su-27' and 'SU-27' are the same tokens"):
        refuse_alike(["F-16", "Su-27", "SU-27"], [_LowerCase(), _LowerCase()])


def test_embeddings_of_an_encoder_are_those_of_a_prompt_alone() -> None:
    torch.manual_seed(1)
    encoders = new_text_encoders()
    both = clip_embeddings(["F-15", "a longer name"], TOKENIZER, encoders)
    alone = clip_embeddings(["F-15"], TOKENIZER, encoders)
    assert both.tokens.shape == (2, PROMPT_TOKENS, 80)
    torch.testing.assert_close(both.tokens[:1], alone.tokens, atol=1e-6, rtol=0)
    torch.testing.assert_close(both.pooled[:1], alone.pooled, atol=1e-6, rtol=0)


def test_gradients_reach_both_encoders() -> None:
    encoders = new_text_encoders()
    told = clip_embeddings(["F-15"], TOKENIZER, encoders)
    (told.tokens.square().sum() + told.pooled.square().sum()).backward()  # type: ignore[no-untyped-call]
    for encoder in encoders:
        assert encoder.text_projection.weight.grad.abs().sum() > 0
