"""Prompts as the embeddings that the transformer of a Stable Diffusion 3 pipeline reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sarcurate.errors import ParamsError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class PromptEmbeddings:
    """Embeddings of n prompts: one vector a token (n, tokens, width), and one for the whole (n, width)."""

    tokens: Tensor
    pooled: Tensor


def refuse_long(prompts: Sequence[str], tokenizer: Any) -> None:
    """Refuse prompts that a tokenizer would cut.

    Raises:
        ParamsError: naming the first prompt that is too long, its tokens and the limit.
    """
    limit = int(tokenizer.model_max_length)
    for prompt in prompts:
        n = len(tokenizer(prompt, truncation=False).input_ids)
        if n > limit:
            raise ParamsError(
                f"prompt {prompt!r} takes {n} tokens, this base reads {limit}",
                fix="ask for fewer fields in tune.prompt_fields, or shorten the class names",
            )


def clip_embeddings(prompts: Sequence[str], tokenizer: Any, encoders: Sequence[Any]) -> PromptEmbeddings:
    """Embeddings by CLIP text encoders that share a tokenizer, put together as the pipeline does without T5.

    Gradients flow; the pipeline's own ``encode_prompt`` gives the same numbers (a test says so).
    """
    import torch

    ids = tokenizer(
        list(prompts), padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids.to(encoders[0].device)
    read = [encoder(ids, output_hidden_states=True) for encoder in encoders]
    return PromptEmbeddings(
        torch.cat([out.hidden_states[-2] for out in read], dim=-1),
        torch.cat([out.text_embeds for out in read], dim=-1),
    )
