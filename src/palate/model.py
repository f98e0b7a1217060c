"""PersonalRewardModel: train on many users, adapt to one, rank for that one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from palate.adaptation.profile import UserProfile, read_profile
from palate.card import CARD, EVALUATION, model_card
from palate.data.comparisons import PreferenceData
from palate.data.pairs import pairs_of_users
from palate.data.splits import Split, SplitSettings, describe, divide_new, make_split
from palate.errors import DataError, ModelError, PosteriorError, SettingsError
from palate.evaluation.evaluate import Evaluation, evaluate, evaluate_new
from palate.features import BackboneSpec, FeatureSource, resolve_backbone
from palate.features.spec import locate_again
from palate.files import new_folder, refuse_existing, write_atomically
from palate.keys import answer_key, keys_of, rows_of_keys
from palate.methods import Method, method_named
from palate.progress import Progress
from palate.ranking import rank
from palate.reading import check_table, read_texts
from palate.settings import build
from palate.storage import SeenUsers, identity_of, method_bytes, read_model, write_model
from palate.tuning import learn
from palate.types import (
    Comparison,
    Evidence,
    Message,
    PairBatch,
    Ranking,
    RewardDistribution,
    Text,
    as_text,
    canonical,
)

#: Hidden states are of the order of 1; larger ones than this are a mistake, and overflow squares.
LARGEST_STATE = 1e8

TextLike = str | Sequence[Message | dict[str, str]]
Prompt = TextLike | Tensor | None
Responses = Sequence[TextLike] | Tensor
Answers = PreferenceData | Iterable[Comparison] | tuple[Tensor, ...]


class PersonalRewardModel:
    """A reward model for every user: r_u(x, y) = w_u . R(x, y), w_u known as a distribution.

    Texts are strings or conversations; where the caller holds hidden states, tensors (n, D) of
    them stand in for texts.
    """

    def __init__(
        self,
        method: Method,
        source: FeatureSource | None,
        seen: SeenUsers,
        report: dict[str, Any],
        *,
        backbone: BackboneSpec | None = None,
    ) -> None:
        self.method = method
        self.source = source
        self.seen = seen
        self.report = report
        self.backbone = source.local.spec if source else backbone
        self.identity = identity_of(method_bytes(method), self.backbone)

    # -- training and keeping -----------------------------------------------------------------

    @classmethod
    def train(
        cls,
        data: PreferenceData,
        *,
        method: str = "vrf",
        backbone: str = "minilm",
        features: Tensor | None = None,
        split: Literal["users", "groups"] | SplitSettings = "users",
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> PersonalRewardModel:
        """Learn bases and users from comparisons.

        `seed` decides split and initialisation. `settings` are the method's own, by name.
        `features` (N, D) of `data.items` takes the place of a backbone; (N + P, D) with the prompts
        by themselves behind them for a method that reads prompts. Raises `SplitError` where the
        data cannot be divided, `SettingsError` and `BackboneError` for what does not exist.
        """
        started = time.monotonic()
        method_class = method_named(method)
        chosen = build(method_class.settings_class, settings or {})
        if isinstance(split, str):
            split = SplitSettings(kind=split, seed=seed)
        if not 0 <= seed < 2**63:
            raise SettingsError(f"seed is {seed}; expected 0 or more, below 2^63")
        if features is not None:
            check_table(features, data, chosen)
        divided = make_split(data, split)
        source = None
        encoding: dict[str, Any] = {}
        if features is None:
            source = FeatureSource(resolve_backbone(backbone), Path(cache) if cache else None)
            encoded = read_texts(source, data, method_class, chosen, progress)
            features = encoded.features
            encoding = {"texts": len(features), "truncated": encoded.truncated}
            encoding |= {"encoded_now": encoded.computed}
        encoded_at = time.monotonic()
        learned = learn(method_class, chosen, features, divided, seed=seed, progress=progress)
        fitted = learned.fitted.method
        seen = _remember(fitted, features, divided)
        report = {
            "data": _describe_data(data),
            "split": describe(divided),
            "split_settings": vars(split),
            "seed": seed,
            "encoding": encoding,
            "training": learned.report,
            "diagnostics": fitted.diagnostics(seen.posterior),
            "seconds": {
                "encoding": round(encoded_at - started, 2),
                "training": round(time.monotonic() - encoded_at, 2),
            },
            "versions": _versions(),
        }
        return cls(fitted, source, seen, report)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model as a folder of safetensors and JSON with a model card.

        Raises `OutputError` where a model stands there already, unless `overwrite`.
        """
        refuse_existing(Path(folder), overwrite=overwrite)
        with new_folder(Path(folder), overwrite=overwrite) as temporary:
            write_model(temporary, self.method, self.backbone, self.seen, self.report)
            (temporary / CARD).write_text(self._card(None), encoding="utf-8")

    def write_figures(self, folder: str | os.PathLike[str], figures: dict[str, Any]) -> None:
        """Put an evaluation beside the saved model and into its card."""
        write_atomically(Path(folder) / EVALUATION, json.dumps(figures, indent=1) + "\n")
        write_atomically(Path(folder) / CARD, self._card(figures))

    def _card(self, figures: dict[str, Any] | None) -> str:
        return model_card(self.identity, self.method, self.backbone, self.report, figures)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, cache: str | os.PathLike[str] | None = None
    ) -> PersonalRewardModel:
        """Read a saved model. Its backbone is looked for when a text has to be read."""
        stored = read_model(Path(folder))
        model = cls(stored.method, None, stored.seen, stored.report, backbone=stored.backbone)
        model._cache = Path(cache) if cache else None
        return model

    _cache: Path | None = None

    # -- one user -----------------------------------------------------------------------------

    def new_user(self) -> UserProfile:
        """A user of whom nothing is known: the population."""
        return self._profile(self._evidence_of(_no_pairs(self.method.width)))

    def adapt(
        self,
        answers: Answers,
        user: UserProfile | None = None,
        progress: Progress | None = None,
    ) -> UserProfile:
        """A user's posterior after some answers, continuing `user` where given.

        An answer that the profile holds already is evidence once: it is not taken in again.
        Raises `PosteriorError` for a profile of another model.
        """
        user = self.new_user() if user is None else self.check(user)
        if isinstance(answers, tuple):
            pairs = PairBatch.of_pairs(*(tensor.float() for tensor in answers))
            self._check_width(pairs.features)
            rows = torch.cat([user.evidence, self._evidence_of(pairs)])
            return self._profile(rows, user.answers, user.contradictory)
        comparisons = list(answers)
        known = set(user.answers)
        fresh = {
            key: comparison
            for comparison in comparisons
            if (key := answer_key(comparison)) not in known
        }
        texts = [(c.prompt, text) for c in fresh.values() for text in (c.chosen, c.rejected)]
        features = self._encode(texts, progress)
        prompts = self._encode_prompts([c.prompt for c in fresh.values()])
        pairs = PairBatch.of_pairs(features[0::2], features[1::2], prompts)
        keys = (*user.answers, *fresh)
        opposite = sum(answer_key(c, swapped=True) in keys for c in fresh.values())
        rows = torch.cat([user.evidence, self._evidence_of(pairs)])
        return self._profile(rows, keys, user.contradictory + opposite)

    def reward(
        self, prompt: Prompt, responses: Responses, user: UserProfile | None = None
    ) -> RewardDistribution:
        """A user's rewards of responses to a prompt (the population's where no user is given).

        Where `responses` are hidden states (n, D) the prompt is read by a method that reads prompts
        by themselves alone, and may be a hidden state (D,) too.
        """
        posterior = (self.new_user() if user is None else self.check(user)).posterior
        if isinstance(responses, Tensor):
            self._check_width(responses)
            return self.method.reward(posterior, responses.float(), self._state_of(prompt))
        if prompt is None or isinstance(prompt, Tensor):
            raise DataError("a prompt's text is needed to read responses")
        question = as_text(prompt)
        features = self._encode([(question, as_text(response)) for response in responses])
        return self.method.reward(posterior, features, self._state_of(question))

    def rank(
        self, prompt: Prompt, candidates: Responses, user: UserProfile | None = None
    ) -> Ranking:
        """Candidate responses to a prompt in the order of a user's expected reward."""
        if len(candidates) == 0:
            raise DataError("there is no candidate to rank")
        texts = None if isinstance(candidates, Tensor) else [as_text(text) for text in candidates]
        return rank(self.reward(prompt, candidates, user), texts)

    def load_user(self, path: str | os.PathLike[str]) -> UserProfile:
        """Read a user's file; raises `PosteriorError` where it is of another model or damaged."""
        saved = read_profile(path)
        if saved.model != self.identity:
            raise PosteriorError(
                f"the user file {path} belongs to model {saved.model[:12]}, this is "
                f"{self.identity[:12]}: adapt again from the user's answers"
            )
        expected = self.new_user().evidence.shape[1]
        if saved.evidence.shape[1] != expected:
            raise PosteriorError(
                f"the user file {path} is damaged: its evidence has {saved.evidence.shape[1]} "
                f"columns, not {expected}"
            )
        try:
            return self._profile(saved.evidence, saved.answers, saved.contradictory)
        except PosteriorError as error:
            raise PosteriorError(f"the user file {path} is damaged: {error}") from error

    def check(self, user: UserProfile) -> UserProfile:
        """The profile itself; raises `PosteriorError` where it is of another model."""
        if user.model != self.identity:
            raise PosteriorError("the user's posterior belongs to another model")
        return user

    # -- evaluation ---------------------------------------------------------------------------

    def evaluate(
        self,
        data: PreferenceData,
        progress: Progress | None = None,
        *,
        features: Tensor | None = None,
    ) -> Evaluation:
        """Accuracy and calibration for seen and unseen users on texts never trained on.

        On the training data the split of training is made again; on other data every text that
        was trained on is left out and every user who was trained on counts as seen. `features`
        of `data.items` take the place of reading the texts, as in `train`.
        """
        if features is None:
            features = read_texts(
                self._source(), data, type(self.method), self.method.settings, progress
            ).features
        self._check_width(features)
        if self.is_training_data(data):
            return evaluate(self.method, features, self._training_split(data))
        user_rows = rows_of_keys(self._user_keys(data.user_ids), self.seen.user_keys)
        known_user = user_rows >= 0
        known_text = rows_of_keys(_text_keys(data), self.seen.text_keys) >= 0
        seed = self.report["seed"]
        divided = divide_new(data, known_text, known_user, SplitSettings(seed=seed))
        posterior = self.seen.posterior[torch.from_numpy(user_rows[divided.seen])]
        return evaluate_new(self.method, features, divided, posterior)

    def is_training_data(self, data: PreferenceData) -> bool:
        """Whether the model was trained on this very data."""
        return bool(data.digest == self.report["data"]["digest"])

    def training_file(self) -> Path:
        """The file that was trained on; raises `ModelError` where it is no longer there."""
        path = Path(self.report["data"]["source"])
        if not path.is_file():
            raise ModelError(
                f"the comparisons that were trained on are not in {path}: name them with --data"
            )
        return path

    def _training_split(self, data: PreferenceData) -> Split:
        return make_split(data, build(SplitSettings, self.report["split_settings"]))

    def _user_keys(self, user_ids: Sequence[str]) -> Tensor:
        return keys_of(user_ids, self.report["data"]["digest"])

    # -- inside -------------------------------------------------------------------------------

    def _encode(
        self, texts: Sequence[tuple[Text, Text]], progress: Progress | None = None
    ) -> Tensor:
        if not texts:
            return torch.zeros(0, self.method.width)
        source = self._source()
        if self.method.reads == "likelihood":
            return source.log_likelihoods(texts, progress).features
        return source.encode(texts, progress).features

    def _encode_prompts(
        self, prompts: Sequence[Text], progress: Progress | None = None
    ) -> Tensor | None:
        """(n, D) of prompts by themselves, for a method that reads them."""
        if not self.method.settings.reads_prompts:
            return None
        if not prompts:
            return torch.zeros(0, self.method.width)
        return self._source().encode_prompts(prompts, progress).features

    def _state_of(self, prompt: Prompt) -> Tensor | None:
        """(D,) of one prompt by itself, for a method that reads it."""
        if prompt is None or isinstance(prompt, Tensor):
            return prompt
        states = self._encode_prompts([as_text(prompt)])
        return None if states is None else states[0]

    def _source(self) -> FeatureSource:
        if self.source is None:
            if self.backbone is None:
                raise ModelError("this model was trained on features: give hidden states, no texts")
            self.source = FeatureSource(locate_again(self.backbone), self._cache)
        return self.source

    def _check_width(self, features: Tensor) -> None:
        if features.ndim != 2 or features.shape[1] != self.method.width:
            raise DataError(
                f"hidden states are {tuple(features.shape)}; expected (n, {self.method.width})"
            )
        if not bool((features.abs() <= LARGEST_STATE).all()):
            raise DataError(
                f"hidden states hold numbers that are not finite, or beyond {LARGEST_STATE:g}"
            )

    @torch.no_grad()
    def _evidence_of(self, pairs: PairBatch) -> Tensor:
        return self.method.evidence(pairs)

    def _profile(
        self, rows: Tensor, answers: Sequence[str] = (), contradictory: int = 0
    ) -> UserProfile:
        posterior = self.method.posterior(Evidence(rows, torch.tensor([0, len(rows)])))
        return UserProfile(
            model=self.identity,
            method=self.method.name,
            evidence=rows,
            posterior=posterior,
            weights=self.method.weights(posterior),
            answers=tuple(answers),
            contradictory=contradictory,
        )


def _no_pairs(width: int) -> PairBatch:
    nothing = torch.zeros(0, width)
    return PairBatch.of_pairs(nothing, nothing, nothing)


def _remember(method: Method, features: Tensor, split: Split) -> SeenUsers:
    """Posteriors of the evaluated seen users, and which users and texts were trained on."""
    data = split.data
    users = np.unique(data.user[split.train])
    pairs = pairs_of_users(data, features, split.train, users)
    trained = np.unique(np.concatenate([data.chosen[split.train], data.rejected[split.train]]))
    return SeenUsers(
        user_keys=keys_of([data.user_ids[i] for i in users], data.digest),
        posterior=method.infer(pairs),
        text_keys=_text_keys(data)[torch.from_numpy(trained)],
    )


def _text_keys(data: PreferenceData) -> Tensor:
    return keys_of(map(canonical, data.responses))


def _describe_data(data: PreferenceData) -> dict[str, Any]:
    path = Path(data.source)
    name = str(path.resolve()) if path.is_file() else data.source
    return {
        "source": name.encode(errors="backslashreplace").decode(),  # a file's name may be no text
        "digest": data.digest,
        "comparisons": len(data),
        "users": len(data.user_ids),
        "responses": len(data.responses),
        "left_out": len(data.left_out),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("palate", "torch", "numpy")}
