"""What a user gives, texts or hidden states, as the features that a method reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from palate.data.comparisons import PreferenceData
from palate.errors import DataError, ModelError
from palate.features import BackboneSpec, FeatureSource
from palate.features.spec import locate_again
from palate.methods import Method
from palate.progress import Progress
from palate.types import Comparison, Message, PairBatch, Text, as_text

#: Hidden states are of the order of 1; larger ones than this are a mistake, and overflow squares.
LARGEST_STATE = 1e8

TextLike = str | Sequence[Message | dict[str, str]]
Prompt = TextLike | Tensor | None
Responses = Sequence[TextLike] | Tensor
Answers = PreferenceData | Iterable[Comparison] | tuple[Tensor, ...]


class Reader:
    """A method's eyes: the backbone is looked for when the first text has to be read."""

    def __init__(
        self,
        method: Method,
        backbone: BackboneSpec | None,
        source: FeatureSource | None,
        cache: Path | None = None,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self._source = source
        self._cache = cache

    @property
    def width(self) -> int:
        """D of the features (n, D): those of the backbone, or of it and of what it was before."""
        beside = self.backbone is not None and self.backbone.reference is not None
        return self.method.width * (2 if beside else 1)

    def source(self) -> FeatureSource:
        """The backbone; raises `ModelError` for a model of features."""
        if self._source is None:
            if self.backbone is None:
                raise ModelError("this model was trained on features: give hidden states, no texts")
            self._source = FeatureSource(locate_again(self.backbone), self._cache)
        return self._source

    def encode(
        self, texts: Sequence[tuple[Text, Text]], progress: Progress | None = None
    ) -> Tensor:
        """(n, D) of prompts with responses."""
        if not texts:
            return torch.zeros(0, self.width)
        source = self.source()
        if self.method.reads == "likelihood":
            return source.log_likelihoods(texts, progress).features
        return source.encode(texts, progress).features

    def encode_prompts(
        self, prompts: Sequence[Text], progress: Progress | None = None
    ) -> Tensor | None:
        """(n, D) of prompts by themselves, for a method that reads them."""
        if not self.method.settings.reads_prompts:
            return None
        if not prompts:
            return torch.zeros(0, self.width)
        return self.source().encode_prompts(prompts, progress).features

    def state_of(self, prompt: Prompt) -> Tensor | None:
        """(D,) of one prompt by itself, for a method that reads it."""
        if prompt is None or isinstance(prompt, Tensor):
            return prompt
        states = self.encode_prompts([as_text(prompt)])
        return None if states is None else states[0]

    def responses(self, prompt: Prompt, responses: Responses) -> Tensor:
        """(n, D) of responses to a prompt, which may be hidden states already."""
        if isinstance(responses, Tensor):
            return self.states(responses)
        if prompt is None or isinstance(prompt, Tensor):
            raise DataError("a prompt's text is needed to read responses")
        question = as_text(prompt)
        return self.encode([(question, as_text(response)) for response in responses])

    @torch.no_grad()
    def evidence(
        self, comparisons: Sequence[Comparison], progress: Progress | None = None
    ) -> Tensor:
        """(n, E) evidence of comparisons of texts."""
        return self.method.evidence(self.pairs(comparisons, progress))

    def pairs(
        self, comparisons: Sequence[Comparison], progress: Progress | None = None
    ) -> PairBatch:
        """One user's comparisons of texts as features."""
        texts = [(c.prompt, text) for c in comparisons for text in (c.chosen, c.rejected)]
        features = self.encode(texts, progress)
        prompts = self.encode_prompts([c.prompt for c in comparisons], progress)
        return PairBatch.of_pairs(features[0::2], features[1::2], prompts)

    @torch.no_grad()
    def evidence_of_states(self, tables: tuple[Tensor, ...]) -> Tensor:
        """(n, E) evidence of comparisons of hidden states: chosen, rejected, maybe prompts."""
        pairs = PairBatch.of_pairs(*(table.float() for table in tables))
        self.states(pairs.features)
        return self.method.evidence(pairs)

    def states(self, features: Tensor) -> Tensor:
        """Hidden states (n, D) themselves; raises `DataError` where they cannot be any."""
        if features.ndim != 2 or features.shape[1] != self.width:
            raise DataError(
                f"hidden states are {tuple(features.shape)}; expected (n, {self.width})"
            )
        if not bool((features.abs() <= LARGEST_STATE).all()):
            raise DataError(
                f"hidden states hold numbers that are not finite, or beyond {LARGEST_STATE:g}"
            )
        return features.float()
