"""PersonalRewardModel: train on many users, adapt to one, rank for that one."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from palate.adaptation.profile import UserProfile
from palate.adaptation.profiles import Profiles, Times
from palate.adaptation.reader import Answers, Prompt, Reader, Responses
from palate.card import CARD, EVALUATION, export_card, model_card
from palate.data.comparisons import PreferenceData
from palate.data.pairs import pairs_of_users
from palate.data.splits import Split, SplitSettings, describe, divide_new, make_split
from palate.errors import CannotRunError, DataError, ModelError, SettingsError
from palate.evaluation.evaluate import Evaluation, evaluate, evaluate_new
from palate.features import BackboneSpec, FeatureSource, resolve_backbone
from palate.features.export import export_classifier
from palate.features.hub import fetch, push
from palate.files import new_folder, refuse_existing, write_atomically
from palate.finetuning import BackboneTraining
from palate.finetuning.learn import Texts, learn_with_backbone
from palate.keys import keys_of, rows_of_keys
from palate.methods import Method, method_named
from palate.methods.factorised import Factorised
from palate.progress import Progress
from palate.questions.ask import Asked, ask
from palate.ranking import rank
from palate.reading import check_table, read_texts
from palate.settings import build
from palate.storage import SeenUsers, identity_of, method_bytes, read_model, write_model
from palate.tuning import learn
from palate.types import Comparison, Ranking, RewardDistribution, as_text, canonical


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
        cache: Path | None = None,
        own_backbone: Path | None = None,
    ) -> None:
        self.method = method
        self.seen = seen
        self.report = report
        self.backbone = source.local.spec if source else backbone
        self.own_backbone = own_backbone
        self.identity = identity_of(method_bytes(method), self.backbone)
        self.reader = Reader(method, self.backbone, source, cache)
        self.users = Profiles(self.reader, self.identity)

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
        train_backbone: BackboneTraining | None = None,
        work: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> PersonalRewardModel:
        """Learn bases and users from comparisons.

        `seed` decides split and initialisation. `settings` are the method's own, by name.
        `features` (N, D) of `data.items` takes the place of a backbone; (N + P, D) with the prompts
        by themselves behind them for a method that reads prompts. `train_backbone` trains the
        backbone too; `work` is the folder of its checkpoints, from which an interrupted training
        goes on, and of the trained weights, which must stay until the model is saved. Raises
        `SplitError` where the data cannot be divided, `SettingsError` and `BackboneError` for what
        does not exist.
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
        if train_backbone is not None and (features is not None or work is None):
            raise SettingsError("training a backbone needs texts to read and a folder to work in")
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
        own_backbone = None
        if train_backbone is None:
            learned = learn(method_class, chosen, features, divided, seed=seed, progress=progress)
        else:
            assert source is not None
            assert work is not None
            together = learn_with_backbone(
                *(method_class, chosen, Texts(data, features, source), divided, train_backbone),
                seed=seed,
                folder=Path(work),
                progress=progress,
            )
            learned, source, features = together.learned, together.source, together.features
            own_backbone = together.folder
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
        return cls(fitted, source, seen, report, own_backbone=own_backbone)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model as a folder of safetensors and JSON with a model card.

        Raises `OutputError` where a model stands there already, unless `overwrite`.
        """
        refuse_existing(Path(folder), overwrite=overwrite)
        with new_folder(Path(folder), overwrite=overwrite) as temporary:
            write_model(
                *(temporary, self.method, self.backbone, self.seen, self.report),
                own_backbone=self.own_backbone,
            )
            (temporary / CARD).write_text(self._card(None), encoding="utf-8")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """`save` by the hub's name, over a model that stands there already."""
        self.save(folder, overwrite=True)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> PersonalRewardModel:
        """`load` from a folder, or from a repository of the hub."""
        folder = Path(name)
        return cls.load(folder if folder.is_dir() else fetch(str(name), revision), cache=cache)

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the model with its card; the commit's address."""
        with tempfile.TemporaryDirectory() as temporary:
            self.save(Path(temporary) / "model")
            return push(Path(temporary) / "model", name, private=private, token=token)

    def export(self, folder: str | os.PathLike[str]) -> None:
        """Write backbone and bases as a stock sequence classifier with K labels, for servers.

        Raises `CannotRunError` where bases are not linear, or the backbone is no causal model.
        """
        method = self.method
        head = method.linear_head() if isinstance(method, Factorised) else None
        if head is None:
            raise CannotRunError(
                f"{method.name} cannot be exported: its bases are not linear in the hidden state; "
                "train with --set head=linear, or another method"
            )
        local, names = self.reader.source().local, [f"basis {k}" for k in range(len(head))]
        refuse_existing(Path(folder))
        with new_folder(Path(folder)) as temporary:
            export_classifier(local, head, names, temporary)
            (temporary / CARD).write_text(export_card(self.identity, method, local.spec))

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
        where = Path(cache) if cache else None
        return cls(
            *(stored.method, None, stored.seen, stored.report),
            backbone=stored.backbone,
            cache=where,
            own_backbone=stored.own_backbone,
        )

    # -- one user -----------------------------------------------------------------------------

    def new_user(self) -> UserProfile:
        """A user of whom nothing is known: the population."""
        return self.users.new()

    def adapt(
        self,
        answers: Answers,
        user: UserProfile | None = None,
        progress: Progress | None = None,
        *,
        times: Times | None = None,
    ) -> UserProfile:
        """A user's posterior after some answers, continuing `user` where given.

        An answer that the profile holds already is evidence once: it is not taken in again. `times`
        are when they were given, UTC seconds since 1970, one for each or one for all; data with
        timestamps has them. Raises `PosteriorError` for a profile of another model.
        """
        return self.users.add(self.new_user() if user is None else user, answers, times, progress)

    def withdraw(
        self, user: UserProfile, answers: PreferenceData | Iterable[Comparison | str]
    ) -> UserProfile:
        """The posterior as if some answers had never been given.

        They are comparisons, or the keys of `user.answers`. Raises `PosteriorError` for one that
        does not stand. Combining with another device does not bring them back; giving them does.
        """
        return self.users.withdraw(user, answers)

    def age(
        self, user: UserProfile, half_life: float | None, now: float | None = None
    ) -> UserProfile:
        """The posterior where an answer counts 2^(-age / half_life), in seconds, from now on.

        now: UTC seconds since 1970; without it, the time of the newest answer. A half-life of None
        lets all answers count whole again. Raises `PosteriorError` where an answer has no time.
        """
        return self.users.age(user, half_life, now)

    def combine(self, one: UserProfile, other: UserProfile) -> UserProfile:
        """The posterior of all answers that one user gave on two devices, each once.

        Raises `PosteriorError` for a profile of another model.
        """
        return self.users.combine(one, other)

    def reward(
        self, prompt: Prompt, responses: Responses, user: UserProfile | None = None
    ) -> RewardDistribution:
        """A user's rewards of responses to a prompt (the population's where no user is given).

        Where `responses` are hidden states (n, D) the prompt is read by a method that reads prompts
        by themselves alone, and may be a hidden state (D,) too.
        """
        posterior = (self.new_user() if user is None else self.check(user)).posterior
        features = self.reader.responses(prompt, responses)
        return self.method.reward(posterior, features, self.reader.state_of(prompt))

    def rank(
        self, prompt: Prompt, candidates: Responses, user: UserProfile | None = None
    ) -> Ranking:
        """Candidate responses to a prompt in the order of a user's expected reward."""
        if len(candidates) == 0:
            raise DataError("there is no candidate to rank")
        texts = None if isinstance(candidates, Tensor) else [as_text(text) for text in candidates]
        return rank(self.reward(prompt, candidates, user), texts)

    def questions(
        self,
        pool: Sequence[Comparison],
        user: UserProfile | None = None,
        *,
        rule: str = "information",
        count: int = 1,
        prompt: Prompt = None,
        candidates: Responses | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Asked:
        """The pairs of a pool whose answers would teach most about a user, by their places there.

        Pairs that the user has answered are left out. `candidates` to `prompt` are the responses
        whose ranking is at stake; without them it is the predictions for the pool. `seed` is of
        the rule "random". Raises `DataError` where nothing is left to ask, and `CannotRunError`
        for a method without weights over bases.
        """
        profile = self.new_user() if user is None else self.check(user)
        place = [i for i, pair in enumerate(pool) if not profile.has_answered(pair)]
        if not place:
            raise DataError("there is nothing left to ask: the user has answered every pair")
        at_stake = None if candidates is None else self.reader.responses(prompt, candidates)
        asked = ask(
            self.method,
            profile.said,
            self.reader.pairs([pool[i] for i in place], progress),
            rule=rule,
            count=count,
            candidates=at_stake,
            generator=torch.Generator().manual_seed(seed),
        )
        choices = [replace(choice, index=place[choice.index]) for choice in asked.choices]
        return replace(asked, choices=choices)

    def load_user(self, path: str | os.PathLike[str]) -> UserProfile:
        """Read a user's file; raises `PosteriorError` where it is of another model or damaged."""
        return self.users.load(path)

    def user_from_json(self, content: Mapping[str, Any]) -> UserProfile:
        """A user from what `UserProfile.to_json` gave; raises as `load_user` does."""
        return self.users.from_json(content)

    def check(self, user: UserProfile) -> UserProfile:
        """The profile itself; raises `PosteriorError` where it is of another model."""
        return self.users.check(user)

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
                self.reader.source(), data, type(self.method), self.method.settings, progress
            ).features
        features = self.reader.states(features)
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
