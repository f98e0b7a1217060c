"""A causal language model of transformers on this machine, as a policy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from palate.alignment.drawing import Drawing
from palate.alignment.policy import Request, Sampled
from palate.errors import PolicyError
from palate.features.spec import Dtype
from palate.progress import Progress, Silent
from palate.types import Message, Text

#: Answers that are written at once.
BATCH = 64


class Guide(Protocol):
    """Something that moves what a policy writes, such as a user's values."""

    def over(self, model: Any, rows: Tensor) -> AbstractContextManager[Any]:  # noqa: ANN401
        """A `LogitsProcessor` over a batch whose rows (n,) are places in the list of requests."""
        ...


@dataclass(frozen=True)
class Written:
    """Token ids of a prompt and of each of its answers, with the end mark where it came."""

    prompt: list[int]
    answers: list[list[int]]


class LocalPolicy:
    """A tokenizer and a causal model. Equal requests give equal answers, whatever is beside them.

    name: what people call it. identity: of its weights, so that what was learned of one model is
    never used with another. Sampling draws from each request's own seed and from no global stream.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        *,
        name: str,
        identity: str,
        batch: int = BATCH,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.identity = identity
        self.batch = batch
        self.ends = _ends(model, tokenizer)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.ends[0]

    @classmethod
    def load(
        cls,
        name: str,
        *,
        device: str | None = None,
        dtype: Dtype | None = None,
        batch: int = BATCH,
    ) -> Self:
        """A folder, or a hub id with an optional @revision.

        Raises `BackboneError` for what is no model or is damaged, `CannotRunError` for an encoder
        or a model that was saved without its language-model head.
        """
        from palate.features.likelihood import check_causal
        from palate.features.loading import best_device, load
        from palate.features.spec import resolve_backbone

        local = resolve_backbone(name, dtype=dtype)
        check_causal(local.spec)
        tokenizer, model = load(local, device or best_device(), head=True)
        return cls(model, tokenizer, name=name, identity=local.spec.identity, batch=batch)

    def sample(self, request: Request) -> Sampled:
        """Answers to one prompt; raises `PolicyError` where the model cannot read or write it."""
        return self.sample_many([request])[0]

    def sample_many(
        self,
        requests: Sequence[Request],
        guide: Guide | None = None,
        progress: Progress | None = None,
    ) -> list[Sampled]:
        """Answers to many prompts, batched over them."""
        return [
            Sampled(
                texts=tuple(map(self.text, written.answers)),
                prompt_tokens=len(written.prompt),
                completion_tokens=sum(map(len, written.answers)),
            )
            for written in self.write(requests, guide, progress)
        ]

    def write(
        self,
        requests: Sequence[Request],
        guide: Guide | None = None,
        progress: Progress | None = None,
    ) -> list[Written]:
        """The token ids of answers to many prompts; raises `PolicyError` as `sample` does."""
        prompts = [self._read(request) for request in requests]
        owner = [i for i, request in enumerate(requests) for _ in range(request.count)]
        draws = [draw for request in requests for draw in Drawing.of(request)]
        answers: list[list[int]] = [[] for _ in owner]
        order = sorted(range(len(owner)), key=lambda row: len(prompts[owner[row]]))
        with (progress or Silent()).track("writing answers", len(owner)) as advance:
            for start in range(0, len(order), self.batch):
                rows = order[start : start + self.batch]
                owners = [owner[row] for row in rows]
                batch = [prompts[i] for i in owners]
                for row, ids in zip(
                    rows, self._write(batch, [draws[r] for r in rows], owners, guide), strict=True
                ):
                    answers[row] = ids
                advance(len(rows))
        ends = list(accumulate(request.count for request in requests))
        spans = zip(prompts, requests, ends, strict=True)
        return [Written(ids, answers[end - one.count : end]) for ids, one, end in spans]

    def tokens(self, prompt: Text, system: str | None = None) -> list[int]:
        """The token ids of a prompt up to where its answer begins."""
        turns = [Message("user", prompt)] if isinstance(prompt, str) else list(prompt)
        if system is not None:
            turns = [Message("system", system), *turns]
        if not self.tokenizer.chat_template:
            plain = "".join(f"{turn.content}\n\n" for turn in turns)
            return list(self.tokenizer(plain, verbose=False)["input_ids"])
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        opening = {"add_generation_prompt": True, "enable_thinking": False}
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, **opening)
        except Exception as error:  # a template is a program: whatever it raises, it refuses
            roles = ", ".join(turn.role for turn in turns)
            raise PolicyError(
                f"the chat template of {self.name!r} refuses turns of {roles}: {error}"
            ) from error
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an answer's token ids, without special tokens."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def _read(self, request: Request) -> list[int]:
        ids = self.tokens(request.prompt, request.system)
        room = self._positions - len(ids)
        if not ids or room < request.max_tokens:
            raise PolicyError(
                f"a prompt of {len(ids)} tokens with an answer of up to {request.max_tokens} is "
                f"more than the {self._positions} that {self.name!r} reads: shorten the prompt or "
                "lower max_tokens"
            )
        return ids

    @property
    def _positions(self) -> int:
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2**31)

    @torch.inference_mode()
    def _write(
        self,
        prompts: list[list[int]],
        draws: list[Drawing],
        owners: list[int],
        guide: Guide | None,
    ) -> list[list[int]]:
        """Token ids of an answer to each prompt, with the mark that ends it where it came."""
        from transformers import GenerationConfig, LogitsProcessorList

        ids, mask = pad_left(prompts, self.pad, self.model.device)
        length = ids.shape[1]
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            max_new_tokens=max(draw.max_tokens for draw in draws),
            eos_token_id=self.ends,
            pad_token_id=self.pad,
        )
        guided = nullcontext() if guide is None else guide.over(self.model, torch.tensor(owners))
        with guided as processor:
            moved = [] if processor is None else [processor]
            processors = LogitsProcessorList([*moved, Drawing.processor(draws, length)])
            try:
                out = self.model.generate(
                    ids, attention_mask=mask, generation_config=config, logits_processor=processors
                )
            except (RuntimeError, ValueError, IndexError) as error:
                raise PolicyError(f"{self.name!r} cannot write: {error}") from error
        answers = out[:, length:].tolist()
        return [
            self._until_end(answer)[: draw.max_tokens]
            for answer, draw in zip(answers, draws, strict=True)
        ]

    def _until_end(self, answer: list[int]) -> list[int]:
        ended = (i + 1 for i, token in enumerate(answer) if token in self.ends)
        return answer[: next(ended, len(answer))]


def pad_left(rows: list[list[int]], pad: int, device: Any = "cpu") -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Token ids and attention mask (n, L), padded before so that all rows end together."""
    most = max(map(len, rows))
    ids = torch.full((len(rows), most), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, most - len(row) :] = torch.tensor(row)
        mask[i, most - len(row) :] = 1
    return ids.to(device), mask.to(device)


def _ends(model: Any, tokenizer: Any) -> list[int]:  # noqa: ANN401
    """The ids that end an answer, by the model's own configuration or the tokenizer's."""
    declared = getattr(model, "generation_config", None)
    ends = getattr(declared, "eos_token_id", None)
    ends = tokenizer.eos_token_id if ends is None else ends
    if ends is None:
        raise PolicyError(
            "the model declares no token that ends an answer: give its tokenizer an eos_token"
        )
    return [ends] if isinstance(ends, int) else list(ends)
