"""Which candidate a user gets, and what is said of the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from palate.errors import PalateError
from palate.service.http import batching
from palate.service.http.batching import BusyError
from palate.service.http.serving import Serving
from palate.service.http.upstream import Candidate
from palate.service.store import StoreUnavailable
from palate.types import RankedCandidate, Text


@dataclass(frozen=True)
class Chosen:
    """Candidates, the best first; as they came where nothing was scored, and why.

    encoding: seconds that were spent in waiting for the backbone.
    """

    candidates: tuple[Candidate, ...]
    scores: tuple[RankedCandidate, ...] = ()
    reason: str | None = None
    answers: int | None = None
    model: str = ""
    encoding: float = field(default=0.0, compare=False)

    def as_json(self, kept: bool) -> dict[str, Any]:
        """The `personalization` of an answer: of its first choice, then of all considered."""
        best = self.scores[0] if self.scores else None
        return {
            "personalized": self.reason is None,
            "reason": self.reason,
            "reward": best and best.reward,
            "sd": best and best.sd,
            "p_best": best and best.p_best,
            "candidates": len(self.candidates),
            "considered": [
                {"index": place, "reward": one.reward, "sd": one.sd, "p_best": one.p_best}
                for place, one in enumerate(self.scores)
            ],
            "answers": self.answers,
            "model": self.model or None,
            "feedback": kept,
        }


def choose(
    serving: Serving, tenant: int, user: str, prompt: Text, candidates: Sequence[Candidate]
) -> Chosen:
    """Candidates in the order of a user's expected reward; plain where that fails, saying why."""
    came = tuple(candidates)
    batching.SPENT.seconds = 0.0
    try:
        profile = serving.profile(tenant, user)
        ranking = serving.rank(prompt, [one.text or "" for one in came], profile)
    except StoreUnavailable:
        return Chosen(came, reason="store_unavailable")
    except BusyError:
        return Chosen(came, reason="busy")
    except (PalateError, RuntimeError, ValueError) as error:
        return Chosen(came, reason=f"scoring_failed: {type(error).__name__}")
    return Chosen(
        tuple(came[one.index] for one in ranking.candidates),
        ranking.candidates,
        answers=int(profile.posterior.answers[0]),
        model=serving.model.identity,
        encoding=batching.SPENT.seconds,
    )
