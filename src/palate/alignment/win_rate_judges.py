"""Who decides a win: a panel of language models, or the Attributes world's true rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from palate.alignment.judge import Judged, Panel
from palate.alignment.rule_world import RuleWorldJudge
from palate.data.benchmarks.role_play import RolePlay
from palate.errors import DataError
from palate.progress import Progress


class PanelOfModels:
    """A panel that is told users' profiles; `tell` hears what it will cost before it starts."""

    def __init__(self, panel: Panel, tell: Callable[[str], None] = lambda words: None) -> None:
        self.panel = panel
        self.name = ", ".join(judge.name for judge in panel.judges)
        self._tell = tell
        self._judged: Judged | None = None

    def preferences(
        self, plays: Sequence[RolePlay], progress: Progress | None = None
    ) -> list[float | None]:
        """The majority's. Raises `DataError` for a user of whom there is nothing to read."""
        if unknown := sorted({p.person.user_id for p in plays if not p.person.description.strip()}):
            raise DataError(
                f"{len(unknown)} users have no profile that a judge could read, such as "
                f"{unknown[0]!r}: give one for each"
            )
        self._tell(f"judging: {self.panel.announce(plays)}")
        self._judged = self.panel.judge(plays, progress)
        return [judgement.preference for judgement in self._judged.judgements]

    def report(self) -> dict[str, Any]:
        """Where the questions went, and what the judges grant to places."""
        return {} if self._judged is None else self._judged.to_json()


class TrueRewards:
    """The user's own true rewards of the texts: no model is asked."""

    def __init__(self, judge: RuleWorldJudge) -> None:
        self.judge = judge
        self.name = judge.name

    def preferences(
        self, plays: Sequence[RolePlay], progress: Progress | None = None
    ) -> list[float | None]:
        """By the higher true reward; 1/2 for equal ones."""
        del progress
        return [
            self.judge.prefers_first(p.person.user_id, p.prompt, p.response_a, p.response_b)
            for p in plays
        ]

    def report(self) -> dict[str, Any]:
        """Nothing: no question is asked."""
        return {}
