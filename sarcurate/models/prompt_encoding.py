"""Prompts as the embeddings that the transformer of a Stable Diffusion 3 pipeline reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sarcurate.errors import ParamsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BATCH = 8


@dataclass(frozen=True, eq=False)
class PromptEmbeddings:
    """Embeddings of n prompts: one vector a token (n, tokens, width), and one for the whole (n, width)."""

    tokens: Tensor
    pooled: Tensor


def refuse_long(prompts: Sequence[str], tokenizer: Any, limit: int) -> None:
    """Refuse prompts of more than ``limit`` tokens, marks of beginning and end included: they would be cut.

    Raises:
        ParamsError: naming the first prompt that is too long, its tokens and the limit.
    """
    for prompt in prompts:
        n = len(tokenizer(prompt, truncation=False).input_ids)
        if n > limit:
            raise ParamsError(
                f"prompt {prompt!r} takes {n} tokens, this base reads {limit}",
                fix="ask for fewer fields in tune.prompt_fields, or shorten the class names",
            )


def refuse_alike(prompts: Sequence[str], tokenizers: Sequence[Any]) -> None:
    """Refuse different prompts that all tokenizers turn into the same tokens, as CLIP's do with upper case.

    Raises:
        ParamsError: naming the first two.
    """
    seen: dict[tuple[tuple[int, ...], ...], str] = {}
    for prompt in dict.fromkeys(prompts):
        ids = tuple(tuple(tokenizer(prompt).input_ids) for tokenizer in tokenizers)
        if seen.setdefault(ids, prompt) != prompt:
            raise ParamsError(
                f"prompts {seen[ids]!r} and {prompt!r} are the same tokens to this base",
                fix="give the classes names that differ in letters or digits, not in case or blanks alone",
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


def last_states(prompts: Sequence[str], tokenizer: Any, encoder: Any) -> Tensor:
    """(n, tokens, width) as a Stable Diffusion 1.5 pipeline reads prompts: the last layer, normalised."""
    ids = tokenizer(
        list(prompts), padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids.to(encoder.device)
    told: Tensor = encoder(ids).last_hidden_state
    return told


def pipeline_embeddings(
    pipeline: Any, prompts: Sequence[str], t5_tokens: int, device: str | torch.device
) -> PromptEmbeddings:
    """Embeddings by a pipeline's ``encode_prompt``, T5's part ``t5_tokens`` long; float32 on the CPU."""
    import torch

    tokens, pooled = [], []
    with torch.no_grad():
        for start in range(0, len(prompts), _BATCH):
            batch = list(prompts[start : start + _BATCH])
            # Always full: the last digits of a prompt's numbers must not depend on how many others there are.
            full = batch + [""] * (_BATCH - len(batch))
            told, _, whole, _ = pipeline.encode_prompt(
                full,
                full,
                full,
                device=device,
                do_classifier_free_guidance=False,
                max_sequence_length=t5_tokens,
            )
            tokens.append(told[: len(batch)].float().cpu())
            pooled.append(whole[: len(batch)].float().cpu())
    return PromptEmbeddings(torch.cat(tokens), torch.cat(pooled))
