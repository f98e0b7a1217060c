"""Language models that judge pairs of responses for a person, in both orders, several at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from palate.alignment.endpoint_pool import each
from palate.alignment.endpoint_retry import RefusedError
from palate.alignment.judge_account import Account, Judgement, PositionBias, Verdict
from palate.alignment.judge_questions import JudgeSettings, Question, Questions
from palate.alignment.policy import Policy
from palate.alignment.request_cache import RequestCache
from palate.alignment.spending import ROOM, Billed, Spending, Tokens
from palate.data.benchmarks.role_play import RolePlay
from palate.errors import PolicyError, SettingsError
from palate.progress import Progress, Silent

#: Questions whose texts are in memory at once where their cost is added up.
PIECE = 1000


@dataclass(frozen=True)
class Announced:
    """What a run will ask, before it does: questions, those known already, cost at most."""

    questions: int
    known: int
    tokens: Tokens
    cost: float

    def __str__(self) -> str:
        return (
            f"{self.questions - self.known:,} questions to ask ({self.known:,} are answered); "
            f"at most {self.tokens.prompt:,} tokens read and {self.tokens.completion:,} written, "
            f"cost at most {self.cost:.4f}"
        )


@dataclass(frozen=True)
class Judged:
    """What a panel said: a judgement of every pair in its order, and where all questions went."""

    judgements: tuple[Judgement, ...]
    account: Account
    bias: tuple[PositionBias, ...]
    failures: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """The account for programs."""
        bias = [one.to_json() for one in self.bias]
        return {"account": vars(self.account), "position": bias, "failures": self.failures}


class Panel:
    """One judge or several, of different names; each is asked `samples` times in both orders.

    With a journal every verdict is on disk as soon as it is known: a run that was stopped goes on
    without asking again. Questions that failed for want of an answer are asked anew.
    """

    def __init__(
        self,
        judges: Sequence[Policy],
        settings: JudgeSettings | None = None,
        journal: RequestCache | None = None,
    ) -> None:
        names = [judge.name for judge in judges]
        if not names or len(set(names)) < len(names):
            raise SettingsError(f"a panel needs judges of different names, not {names}")
        self.judges = tuple(judges)
        self.settings = settings or JudgeSettings()
        self.questions = Questions(names, self.settings)
        self.journal = journal

    def announce(self, plays: Sequence[RolePlay]) -> Announced:
        """What judging would ask and cost at most; nothing is sent.

        Raises `PolicyError` where a budget does not hold that much.
        """
        questions = self.questions.about(plays)
        known = self._known(questions)
        return self._announce(questions, known)

    def judge(self, plays: Sequence[RolePlay], progress: Progress | None = None) -> Judged:
        """A judgement of every pair, each by one user once.

        A question ends answered, malformed or failed; Ctrl-C keeps what is in the journal. Raises
        `PolicyError` before anything is sent where a budget is too small, `RefusedError` where an
        endpoint refuses everything, `DataError` for a pair that is there twice.
        """
        questions = self.questions.about(plays)
        verdicts = self._known(questions)
        self._announce(questions, verdicts)
        todo = [question for question in questions if question.key not in verdicts]
        with (progress or Silent()).track("judging", len(questions)) as advance:
            advance(len(questions) - len(todo))
            for place, verdict in each(self._ask, todo, self.settings.concurrency):
                verdicts[todo[place].key] = verdict
                advance(1)
        return self._judged(plays, [verdicts[question.key] for question in questions])

    # -- asking -------------------------------------------------------------------------------

    def _known(self, questions: Sequence[Question]) -> dict[bytes, Verdict]:
        if self.journal is None:
            return {}
        found = self.journal.read_many([question.key for question in questions])
        try:
            return {key: Verdict(**kept, known=True) for key, kept in found.items()}
        except (TypeError, ValueError) as error:
            raise self.journal.damaged() from error

    def _announce(self, questions: Sequence[Question], known: Iterable[bytes]) -> Announced:
        answered = set(known)
        bounds: dict[int, tuple[Spending, Tokens]] = {}
        for number, judge in enumerate(self.judges):
            if isinstance(judge, Billed):  # judges may share one account
                new = [q for q in questions if q.judge == number and q.key not in answered]
                _, before = bounds.get(id(judge.spending), (None, Tokens()))
                bounds[id(judge.spending)] = judge.spending, before + self._bound(judge, new)
        cost = sum(spending.announce(bound) for spending, bound in bounds.values())
        tokens = sum((bound for _, bound in bounds.values()), Tokens())
        return Announced(len(questions), len(answered), tokens, cost)

    def _bound(self, judge: Billed, questions: Sequence[Question]) -> Tokens:
        """What a judge's questions cost at most, their texts made and forgotten by the piece."""
        pieces = (questions[i : i + PIECE] for i in range(0, len(questions), PIECE))
        asked = ([self.questions.requests(question)[0] for question in piece] for piece in pieces)
        return sum((judge.bound(requests) for requests in asked), Tokens()).times(ROOM)

    def _ask(self, question: Question) -> Verdict:
        """Put a question until its answer can be read, and keep what came of it."""
        judge = self.judges[question.judge]
        answer = ""
        for number, request in enumerate(self.questions.requests(question), 1):
            try:
                (answer,) = judge.sample(request).texts
            except RefusedError:
                raise
            except PolicyError as error:
                return Verdict("failed", None, number - 1, str(error))
            first = self.questions.instructions.read(answer)
            if first is not None:
                return self._keep(question, Verdict("answered", first, number))
        return self._keep(question, Verdict("malformed", None, self.settings.tries, answer))

    def _keep(self, question: Question, verdict: Verdict) -> Verdict:
        if self.journal is None:
            return verdict
        content = {name: value for name, value in vars(verdict).items() if name != "known"}
        return replace(verdict, **self.journal.write(question.key, content))

    def _judged(self, plays: Sequence[RolePlay], verdicts: Sequence[Verdict]) -> Judged:
        pairs = list(zip(verdicts[::2], verdicts[1::2], strict=True))
        samples = self.settings.samples
        seats = len(self.judges) * samples
        judgements = tuple(
            Judgement(play, tuple(pairs[number * seats : (number + 1) * seats]))
            for number, play in enumerate(plays)
        )
        bias = (
            PositionBias.of(
                judge.name,
                [pair for i, pair in enumerate(pairs) if i % seats // samples == number],
            )
            for number, judge in enumerate(self.judges)
        )
        failures = Counter(verdict.words for verdict in verdicts if verdict.outcome == "failed")
        return Judged(
            judgements,
            Account.of(verdicts),
            tuple(one for one in bias if one is not None),
            dict(failures.most_common()),
        )
