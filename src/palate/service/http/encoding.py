"""The backbone as requests use it: features in memory first, then batches in one thread."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from palate.features import FeatureSource
from palate.features.backbone import Backbone
from palate.features.batches import EncodedChunk
from palate.features.cache import FeatureCache, prompt_key, text_key
from palate.features.likelihood import Likelihood
from palate.features.rendering import TextPair
from palate.features.spec import LocalBackbone
from palate.model import PersonalRewardModel
from palate.service.http.batching import Batcher
from palate.service.http.vectors import QuickCache
from palate.types import Text


class BatchedBackbone(Backbone):
    """A backbone that many threads may ask; it is loaded when a first text has to be read."""

    def __init__(self, local: LocalBackbone) -> None:
        super().__init__(local)
        self.responses = Batcher(super().encode)
        self.prompts = Batcher(super().encode_prompts)

    def encode(self, texts: Sequence[TextPair]) -> Iterator[EncodedChunk]:
        """Hidden states of prompts with responses, together with those of other threads."""
        return self.responses(texts)

    def encode_prompts(self, prompts: Sequence[Text]) -> Iterator[EncodedChunk]:
        """The same of prompts by themselves."""
        return self.prompts(prompts)


class BatchedLikelihood(Likelihood):
    """The same for likelihoods."""

    def __init__(self, local: LocalBackbone) -> None:
        super().__init__(local)
        self.batcher = Batcher(super().score)

    def score(self, texts: Sequence[TextPair]) -> Iterator[EncodedChunk]:
        """Log-likelihoods, together with those of other threads."""
        return self.batcher(texts)


class ServingSource(FeatureSource):
    """A feature source for many threads at once."""

    def __init__(self, source: FeatureSource) -> None:
        super().__init__(source.local, source.cache_folder)
        self.cache: QuickCache = QuickCache(self.folder, self.local.spec.fingerprint)
        if source.reference is not None:
            self.reference = ServingSource(source.reference)
        self._loading = threading.Lock()

    @cached_property
    def _backbone(self) -> Backbone:
        return BatchedBackbone(self.local)

    @cached_property
    def _likelihood(self) -> Likelihood:
        return BatchedLikelihood(self.local)

    @property
    def backbone(self) -> Backbone:
        """The loaded model, once for all threads."""
        with self._loading:
            return self._backbone

    @property
    def likelihood(self) -> Likelihood:
        """The loaded model with its head, once for all threads."""
        with self._loading:
            return self._likelihood

    def forget_everywhere(self, texts: Collection[TextPair]) -> None:
        """Drop texts from this cache and from those of all other backbones beside it.

        Models before and after this one may have read them too.
        """
        if not texts:
            return
        self.forget(sorted(texts, key=repr))
        keys = [text_key(*pair) for pair in texts]
        keys += {prompt_key(prompt) for prompt, _ in texts}
        for path in sorted(self.folder.glob("*.sqlite")):
            if path != self.cache.path:
                FeatureCache(self.folder, path.stem).forget(keys)


def served(model: PersonalRewardModel) -> PersonalRewardModel:
    """A loaded model whose texts are read so; raises `ModelError` for a model of features."""
    source = ServingSource(model.reader.source())
    return PersonalRewardModel(
        *(model.method, source, model.seen, model.report), own_backbone=model.own_backbone
    )
