"""Texts to features: hidden states, or likelihoods, of one backbone behind its cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from palate.features.backbone import Backbone
from palate.features.cache import FeatureCache, default_cache_folder, prompt_key, text_key
from palate.features.likelihood import Likelihood, check_causal
from palate.features.once import Compute, Encoded, Lookup
from palate.features.rendering import TextPair
from palate.features.spec import LocalBackbone
from palate.progress import Progress, Silent
from palate.types import Text


class FeatureSource:
    """A backbone behind its cache. The backbone is loaded when a text is not in the cache."""

    def __init__(
        self,
        local: LocalBackbone,
        cache_folder: Path | None = None,
        reference: FeatureSource | None = None,
    ) -> None:
        self.local = local
        self.cache_folder = cache_folder
        if reference is None and local.reference is not None:
            reference = FeatureSource(local.reference, cache_folder)
        self.reference = reference
        self.folder = (cache_folder or default_cache_folder()) / "features"
        self.cache = FeatureCache(self.folder, local.spec.fingerprint)

    @cached_property
    def backbone(self) -> Backbone:
        """The loaded model."""
        return Backbone(self.local)

    @cached_property
    def likelihood(self) -> Likelihood:
        """The loaded model with its head."""
        return Likelihood(self.local)

    @cached_property
    def likelihood_cache(self) -> FeatureCache:
        """Where log-likelihoods are kept."""
        return FeatureCache(self.folder, self.local.spec.likelihood_fingerprint)

    def encode(self, texts: Sequence[TextPair], progress: Progress | None = None) -> Encoded:
        """Features (N, D) of prompts with responses, in their order; equal ones computed once.

        (N, 2 D) with those of the backbone before its training behind, where that is kept.
        """
        lookup = Lookup(self.cache, [text_key(prompt, response) for prompt, response in texts])
        encoded = self._encode(
            "encoding texts",
            lookup,
            lambda places: self.backbone.encode([texts[i] for i in places]),
            progress,
        )
        return (
            encoded if self.reference is None else encoded + self.reference.encode(texts, progress)
        )

    def encode_prompts(self, prompts: Sequence[Text], progress: Progress | None = None) -> Encoded:
        """Features (P, D) of prompts by themselves, in their order; equal ones computed once.

        A causal model reads a prompt up to where its answer would begin.
        """
        lookup = Lookup(self.cache, [prompt_key(prompt) for prompt in prompts])
        encoded = self._encode(
            "encoding prompts",
            lookup,
            lambda places: self.backbone.encode_prompts([prompts[i] for i in places]),
            progress,
        )
        if self.reference is None:
            return encoded
        return encoded + self.reference.encode_prompts(prompts, progress)

    def log_likelihoods(
        self, texts: Sequence[TextPair], progress: Progress | None = None
    ) -> Encoded:
        """log p(y | x) / |y| of responses y to prompts x, in nats a token: features (N, 1).

        |y| counts what the model reads after the prompt: the response and the mark that ends it.
        Raises `CannotRunError` where the backbone has no likelihood of a text, as an encoder.
        """
        check_causal(self.local.spec)
        keys = [text_key(prompt, response) for prompt, response in texts]
        lookup = Lookup(self.likelihood_cache, keys)
        encoded = self._encode(
            "scoring texts",
            lookup,
            lambda places: self.likelihood.score([texts[i] for i in places]),
            progress,
        )
        return replace(encoded, features=encoded.features.reshape(-1, 1))

    def forget(self, texts: Sequence[TextPair]) -> None:
        """Drop what is cached of prompts with responses, and of the prompts by themselves."""
        keys = [text_key(prompt, response) for prompt, response in texts]
        self.cache.forget([*keys, *{prompt_key(prompt) for prompt, _ in texts}])
        if self.local.spec.kind == "causal":
            self.likelihood_cache.forget(keys)

    def _encode(
        self, step: str, lookup: Lookup, compute: Compute, progress: Progress | None
    ) -> Encoded:
        most = self.local.spec.max_tokens
        shown = (progress if lookup.missing else None) or Silent()  # no bar for what is known
        with shown.track(step, len(lookup.missing)) as advance:
            return lookup.encode(compute, advance, max_tokens=most)
