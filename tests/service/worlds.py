"""Models that read texts without a backbone, answers by number, and what a refit gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palate.adaptation.profile import UserProfile
from palate.adaptation.profiles import Profiles
from palate.adaptation.reader import Reader
from palate.features.cache import text_key
from palate.methods import METHODS, Method
from palate.progress import Progress
from palate.service.store import Completion, Entry, NewAnswer, Store
from palate.settings import build
from palate.types import Comparison, Evidence, Text, UserPosterior, canonical

WIDTH = 8
#: Methods with all ways of keeping a posterior, and settings that make them small.
SMALL: dict[str, dict[str, Any]] = {
    "vrf": {"bases": 4, "dimensions": 3, "hidden": 8},
    "brf": {"bases": 4, "dimensions": 3, "hidden": 8},
    "pref": {"bases": 3},
    "lore": {"bases": 3},
    "vpl": {"dimensions": 2, "hidden": 6},
    "per_user": {"ridge": 2.0},
}


class Hashed(Reader):
    """Texts whose hidden states, from N(0, I), are drawn by a seed that the texts decide."""

    def __init__(self, method: Method) -> None:
        super().__init__(method, None, None)

    def encode(
        self, texts: Sequence[tuple[Text, Text]], progress: Progress | None = None
    ) -> Tensor:
        """(n, WIDTH)."""
        del progress
        seeds = [int.from_bytes(text_key(*pair), "little") for pair in texts]
        rows = [np.random.default_rng(seed).standard_normal(WIDTH) for seed in seeds]
        return torch.from_numpy(np.array(rows, dtype=np.float32).reshape(-1, WIDTH))


def made(name: str = "vrf", seed: int = 0) -> Profiles:
    """The users of a model that nobody trained: its bases are as they were drawn."""
    kind = METHODS[name]
    method = kind(build(kind.settings_class, SMALL[name]), WIDTH)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    method.requires_grad_(False).eval()
    return Profiles(Hashed(method), f"{name} {seed}")


def comparison(i: int) -> Comparison:
    """The i-th comparison; none is repeated."""
    return Comparison(f"prompt {i % 7}", f"chosen answer {i}", f"rejected answer {i}")


def answer(i: int, **more: Any) -> NewAnswer:
    """The i-th answer, given at second i; every fifth is a tie, every third counts less."""
    weight = 0.25 if i % 3 == 2 else 1.0
    given = {"weight": weight, "tie": i % 5 == 4, "time": float(i)} | more
    return NewAnswer(comparison(i), **given)


def log_of(store: Store, tenant: int, user: str) -> list[Entry]:
    """All of a user's log, page after page."""

    def pages() -> Iterator[Entry]:
        last = 0
        while page := store.users.entries(tenant, user, last, 1000):
            yield from page
            last = page[-1].number

    return list(pages())


def refit(store: Store, profiles: Profiles, tenant: int, user: str) -> UserPosterior:
    """The posterior from a user's answers alone, without any of the service's own arithmetic."""
    log = log_of(store, tenant, user)
    gone = {entry.target for entry in log if entry.kind == "withdrawal"}
    counted: dict[tuple[str, ...], tuple[Comparison, float]] = {}
    for entry in log:
        given = entry.answer
        if given is None or entry.number in gone:
            continue
        own = given.comparison
        ways = [own]
        if given.tie:
            ways.append(Comparison(own.prompt, own.rejected, own.chosen))
        for way in ways:
            key = tuple(canonical(text) for text in (way.prompt, way.chosen, way.rejected))
            weight = given.weight / len(ways)
            counted[key] = (way, max(weight, counted.get(key, (way, 0.0))[1]))
    rows = profiles.reader.evidence([way for way, _ in counted.values()])
    if not counted:
        rows = profiles.new().evidence
    weights = torch.tensor([weight for _, weight in counted.values()])
    evidence = Evidence(rows, torch.tensor([0, len(counted)]), weights)
    return profiles.method.posterior(evidence)


def assert_same(profile: UserProfile, fitted: UserPosterior, atol: float = 1e-5) -> None:
    """A profile has the posterior that a refit gives, within a float's rounding."""
    own = profile.posterior
    assert torch.equal(own.answers, fitted.answers)
    for name in ("mean", "variance", "covariance"):
        one, other = getattr(own, name), getattr(fitted, name)
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=atol)


#: What a user was served, of a model that is none of ours.
SERVED = Completion("c-1", "prompt", ("one", "two"), 1, "model")
