"""A model that serves: its users in the store, and the profiles that were asked for last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch

from palate.adaptation.profile import UserProfile
from palate.errors import ModelError, PalateError
from palate.model import PersonalRewardModel
from palate.service.http.encoding import ServingSource, served
from palate.service.store import Store
from palate.service.tastes import Tastes
from palate.storage import CONFIG
from palate.types import Ranking, RewardDistribution, Text

#: Profiles that are kept ready.
MOST = 10_000


class Serving:
    """A model and its users. Threads may share one."""

    def __init__(
        self, run: Path, model: PersonalRewardModel, store: Store, half_life: float | None
    ) -> None:
        self.run = run
        self.model = model
        self.tastes = Tastes(store, model.users, half_life=half_life)
        self.identity = self.tastes.model.identity
        self._ready: OrderedDict[tuple[int, str], tuple[int, int, UserProfile]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def source(self) -> ServingSource:
        """Where its texts are read."""
        source = self.model.reader.source()
        assert isinstance(source, ServingSource)
        return source

    def warm(self) -> None:
        """Load the backbone and read a text, so that no request waits for it."""
        texts = [("What is tea?", "A drink."), ("What is tea?", "A leaf.")]
        likelihood = self.model.method.reads == "likelihood"
        reader = self.source.likelihood.score if likelihood else self.source.backbone.encode
        list(reader(texts))
        self.rank(*texts[0][:1], [answer for _, answer in texts], self.model.new_user())

    @torch.no_grad()
    def profile(self, tenant: int, user: str) -> UserProfile:
        """A user as the store has it now; it is made anew only where the log has grown."""
        tastes = self.tastes
        with tastes.store.database.read() as connection:
            seen = tastes.posteriors.look(connection, tenant, user)
        if seen.held.user is None:
            return seen.before.profile
        version = seen.held.user, seen.held.entries
        with self._lock:
            *known, profile = self._ready.get((tenant, user), (0, 0, None))
        if profile is not None and tuple(known) == version:
            return profile
        made = tastes.posteriors.made_of(seen)
        if seen.missing:
            tastes.posteriors.keep(seen.held, made)
        self._keep(tenant, user, (*version, made.profile))
        return made.profile

    def _keep(self, tenant: int, user: str, entry: tuple[int, int, UserProfile]) -> None:
        with self._lock:
            self._ready.pop((tenant, user), None)
            self._ready[tenant, user] = entry
            while len(self._ready) > MOST:
                self._ready.popitem(last=False)

    def forget(self, tenant: int, user: str) -> None:
        """Let go of an erased user's profile."""
        with self._lock:
            self._ready.pop((tenant, user), None)

    @torch.no_grad()
    def rank(self, prompt: Text, texts: Sequence[Text], profile: UserProfile) -> Ranking:
        """Texts in the order of a user's expected reward."""
        return self.model.rank(prompt, list(texts), profile)

    @torch.no_grad()
    def reward(
        self, prompt: Text, texts: Sequence[Text], profile: UserProfile
    ) -> RewardDistribution:
        """A user's rewards of texts, in their order."""
        return self.model.reward(prompt, list(texts), profile)


class Runs:
    """The folder of models that may serve."""

    def __init__(
        self, folder: Path, store: Store, cache: str | None, half_life: float | None
    ) -> None:
        self.folder = folder
        self._store = store
        self._cache = cache
        self._half_life = half_life

    def named(self, name: str) -> Serving:
        """A model of the folder, loaded; raises `ModelError` for a name that is none there."""
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\x00" in name:
            raise ModelError("a model is named by its folder's name alone, beside the others")
        return self.at(self.folder / name)

    def at(self, run: Path) -> Serving:
        """The model of a folder, loaded and warm; raises `PalateError`."""
        model = PersonalRewardModel.load(run, cache=self._cache)
        serving = Serving(run, served(model), self._store, self._half_life)
        serving.warm()
        return serving

    def of_identity(self, identity: str) -> Serving | None:
        """The model that the store knows by an identity; None where the folder has it not."""
        for folder in sorted(self.folder.iterdir()):
            if not (folder / CONFIG).is_file():
                continue
            try:
                if identity.startswith(PersonalRewardModel.load(folder).identity):
                    found = self.at(folder)
                    if found.identity == identity:
                        return found
            except (PalateError, OSError):  # another model's damage is no reason to stop
                continue
        return None
