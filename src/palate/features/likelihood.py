"""A causal language model as a function from (prompt, response) to the response's likelihood.

    log p(y | x) / |y| = 1/|y| sum_t log p(y_t | x, y_<t)

with |y| the tokens of the response: the reward of a model that no preference has trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from palate.errors import BackboneError, CannotRunError
from palate.features.backbone import check_finite, hidden_states
from palate.features.batches import Batches, EncodedChunk, pad
from palate.features.loading import best_device, load
from palate.features.rendering import Renderer, TextPair
from palate.features.spec import BackboneSpec, LocalBackbone

#: Logits that are held at once: 64 MB of float32 a thread of a processor, a gigabyte of a GPU.
LOGIT_BUDGET = {"cpu": 2**24, "cuda": 2**28}
#: How far our logits may be from the model's own, as a share of its largest.
LOGIT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Continuation:
    """Token ids of a prompt with its response; the last `scored` of them are the response's."""

    ids: list[int]
    scored: int

    def __len__(self) -> int:
        return len(self.ids)


def check_causal(spec: BackboneSpec) -> None:
    """Refuse an encoder, which reads a text in both directions."""
    if spec.kind != "causal":
        raise CannotRunError(
            f"backbone {spec.name!r} is an encoder and has no likelihood of a text: "
            "a causal language model is needed"
        )


class Likelihood:
    """A loaded tokenizer and causal language model. Raises `CannotRunError` for an encoder."""

    def __init__(self, local: LocalBackbone, device: str | None = None) -> None:
        check_causal(local.spec)
        self.spec = local.spec
        self.device = device or best_device()
        self.batches = Batches(self.device)
        self.logit_budget = LOGIT_BUDGET["cpu" if self.device == "cpu" else "cuda"]
        tokenizer, self.model = load(local, self.device, head=True)
        self.renderer = Renderer(local.spec, tokenizer)
        self._check_logits()

    def score(self, texts: Sequence[TextPair]) -> Iterator[EncodedChunk]:
        """log p(y | x) / |y|, in nats, (n, 1) of each text once, longest texts first."""
        divided = [self.renderer.divide(*pair) for pair in texts]
        for places in self.batches.chunks([len(first) + len(second) for first, second in divided]):
            parts = self.renderer.tokenize_divided([divided[i] for i in places])
            tokens = np.array([len(x) + len(y) for x, y in parts], dtype=np.int64)
            rows = [self.join(x, y) for x, y in parts]
            means = self.batches.run(rows, self._forward)
            check_finite(means, self.spec, "likelihoods")
            yield EncodedChunk(places, means.numpy(), tokens)

    def join(self, prompt: list[int], response: list[int]) -> Continuation:
        """The token ids that are read, and how many of them are scored.

        Over the limit the prompt loses its beginning; once it is gone, so does the response. A
        token that is left with nothing before it is read, but not scored.
        """
        ids = self.renderer.cut(prompt + response)
        scored = min(len(response), len(ids) - 1)
        if scored == 0:
            raise BackboneError(
                f"backbone {self.spec.name!r} puts nothing before the text {response} (token ids): "
                "with no prompt, a response of one token has no likelihood"
            )
        return Continuation(ids, scored)

    @torch.inference_mode()
    def _forward(self, batch: list[Continuation]) -> Tensor:
        ids, mask = pad([row.ids for row in batch], most=self.spec.max_tokens)
        ids, mask = ids.to(self.device), mask.to(self.device)
        hidden = hidden_states(self.model.base_model, self.spec, ids, mask)
        lengths = torch.tensor([len(row) for row in batch], device=self.device)[:, None]
        scored = torch.tensor([row.scored for row in batch], device=self.device)
        place = torch.arange(ids.shape[1], device=self.device)
        read = (place >= lengths - scored[:, None]) & (place < lengths)
        # what stands at t - 1 tells the token at t
        losses = self._losses(hidden[:, :-1][read[:, 1:]], ids[read])
        rows = read.nonzero()[:, 0]
        sums = torch.zeros(len(batch), dtype=torch.float64, device=self.device)
        return (-sums.index_add(0, rows, losses.double()) / scored).float().cpu()[:, None]

    def _losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """-log p (T,) of target tokens (T,) from the states before them (T, D), in float32."""
        vocabulary = self.model.get_output_embeddings().weight.shape[0]
        size = max(self.logit_budget // vocabulary, 1)
        parts = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
        losses = [
            F.cross_entropy(logits(self.model, states).float(), ids, reduction="none")
            for states, ids in parts
        ]
        return torch.cat(losses)

    def _check_logits(self) -> None:
        """Refuse a model that makes its logits from hidden states in a way we do not know."""
        if not self._logits_are_known():
            raise CannotRunError(
                f"the likelihood of a text is not known for backbone {self.spec.name!r}: its "
                f"family, {self.model.config.model_type!r}, makes logits in a way of its own"
            )

    @torch.inference_mode()
    def _logits_are_known(self) -> bool:
        body = self.model.base_model
        if body is self.model or self.model.get_output_embeddings() is None:
            return False
        ids = torch.arange(4, device=self.device)[None]
        mask = torch.ones_like(ids)
        own = self.model(input_ids=ids, attention_mask=mask).logits
        ours = logits(self.model, hidden_states(body, self.spec, ids, mask))
        if own.shape != ours.shape:
            return False
        # weights that are no numbers are told where a text is scored
        return not bool((own - ours).abs().max() > LOGIT_TOLERANCE * own.abs().max())


def logits(model: Any, hidden: Tensor) -> Tensor:  # noqa: ANN401
    """Logits (..., V) from hidden states (..., D).

    By the model's parts, since as a whole it gives those of every place of a batch at once; some
    families scale them, and Gemma bounds them by c tanh(z / c).
    """
    config = model.config
    found: Tensor = model.get_output_embeddings()(hidden)
    found = found * (getattr(config, "logit_scale", None) or 1.0)
    found = found / (getattr(config, "logits_scaling", None) or 1.0)
    bound = getattr(config, "final_logit_softcapping", None)
    return found if bound is None else bound * torch.tanh(found / bound)
