"""Users' tastes in the store: answers come in, posteriors come out, and one follows the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from palate.adaptation.profile import UserProfile
from palate.adaptation.profiles import Profiles
from palate.service.drafts import Draft
from palate.service.forgetting import forget_features
from palate.service.making import Made, Making, Rows
from palate.service.posteriors import Posteriors, Seen
from palate.service.store import log
from palate.service.store.entries import Entry, NewAnswer
from palate.service.store.errors import QuotaReached, StoreUnavailable
from palate.service.store.log import Held
from palate.service.store.store import Store
from palate.service.store.users import Erased

#: Attempts that look first and write then; later ones lock the user before they look.
OPTIMISTIC = 3
ATTEMPTS = 12
#: Answers of one user, unless told otherwise: the state grows with them.
MOST_ANSWERS = 10_000


@dataclass(frozen=True)
class Receipt:
    """What is in the store now.

    numbers: of the entries, in the order given: an answer's number is its id among its user's.
    repeated: whether it was there already. profile: the user with it.
    """

    numbers: tuple[int, ...]
    repeated: bool
    profile: UserProfile


@dataclass(frozen=True)
class Step:
    """Entries to append to the log that was seen, their numbers, and what is made of it then.

    Without entries there is nothing to append: the numbers are those of a repetition.
    """

    held: Held
    entries: Sequence[Entry]
    numbers: tuple[int, ...]
    made: Made


class Tastes:
    """The users of a store under one model.

    A posterior is a function of the set of answers that stand: it does not depend on the order of
    their arrival, on repetitions, or on which process wrote what. An answer and the posterior with
    it are committed together. Two that write one user at once find out by the number of entries
    (an optimistic lock), and the later one does it again; after some attempts it locks the user
    first. Posteriors of other models follow when they are next asked for.

    `Tastes(store, model.users)` for a `PersonalRewardModel`. Threads may share one.
    """

    def __init__(
        self,
        store: Store,
        profiles: Profiles,
        *,
        half_life: float | None = None,
        most_answers: int = MOST_ANSWERS,
    ) -> None:
        """half_life: seconds, or None; see `Making`. most_answers: of one user."""
        self.store = store
        self.making = Making(profiles, half_life)
        self.posteriors = Posteriors(store, self.making)
        self.model = self.posteriors.model
        self.most_answers = most_answers

    def profile(self, tenant: int, user: str) -> UserProfile:
        """What is known of a user now; the population's for one who is not there."""
        with self.store.database.read() as connection:
            seen = self.posteriors.look(connection, tenant, user)
        made = self.posteriors.made_of(seen)
        if seen.missing:
            self.posteriors.keep(seen.held, made)
        return made.profile

    def add(
        self, tenant: int, user: str, answers: Sequence[NewAnswer], idempotency: str | None = None
    ) -> Receipt:
        """Keep answers, all or none; a user who is not there is made.

        What this user gave before under the same idempotency key is not kept again; raises
        `Conflict` where it was something else, `QuotaReached` for a user who has too many.
        """
        return self._append(tenant, user, Draft(tuple(answers), None, idempotency))

    def withdraw(
        self, tenant: int, user: str, number: int, idempotency: str | None = None
    ) -> Receipt:
        """Take an answer back, by its number: the posterior is as if it had never been given.

        One that was taken back already stays so. Raises `NotFound` where the user has it not.
        """
        return self._append(tenant, user, Draft((), number, idempotency))

    def erase(self, tenant: int, user: str, *, wipe: bool = True) -> Erased:
        """A user's answers, posteriors and completions, and the cached features of their texts.

        See `Users.erase`.
        """
        erased = self.store.users.erase(tenant, user, wipe=wipe)
        forget_features(self.making.profiles.reader, erased.texts)
        return erased

    # -- writing ------------------------------------------------------------------------------

    def _append(self, tenant: int, user: str, draft: Draft) -> Receipt:
        evidence = self.making.evidence(draft.answers) if draft.answers else []
        for attempt in range(ATTEMPTS):
            write = self._look_and_write if attempt < OPTIMISTIC else self._lock_and_write
            step = write(tenant, user, draft, evidence)
            if step is not None:
                return Receipt(step.numbers, not step.entries, step.made.profile)
        raise StoreUnavailable("too many write this user at once")

    def _look_and_write(
        self, tenant: int, user: str, draft: Draft, evidence: Sequence[Rows]
    ) -> Step | None:
        with self.store.database.read() as connection:
            seen = self.posteriors.look(connection, tenant, user, draft.idempotency)
        step = self._step(seen, draft, evidence)
        if not step.entries:
            return step
        with self.store.database.write() as connection:
            return self._write(connection, tenant, user, step)

    def _lock_and_write(
        self, tenant: int, user: str, draft: Draft, evidence: Sequence[Rows]
    ) -> Step | None:
        with self.store.database.write() as connection:
            seen = self.posteriors.look(connection, tenant, user, draft.idempotency, lock=True)
            step = self._step(seen, draft, evidence)
            return self._write(connection, tenant, user, step) if step.entries else step

    def _step(self, seen: Seen, draft: Draft, evidence: Sequence[Rows]) -> Step:
        """What to append to the log that was seen, and what follows from it then."""
        made = self.posteriors.made_of(seen)
        if seen.stored:
            return Step(seen.held, (), draft.repeats(seen.stored), made)
        if draft.withdrawn_before(made):
            return Step(seen.held, (), (), made)
        if draft.answers and len(made.statements) + len(draft.answers) > self.most_answers:
            raise QuotaReached(
                f"the user has {self.most_answers} answers already, as many as may be"
            )
        entries = draft.entries(seen.held.entries + 1, self.store.clock())
        numbers = tuple(entry.number for entry in entries)
        known = dict(zip(numbers, evidence, strict=False))
        after = self.making.more(made, entries, known)
        _ = after.profile  # nothing is written that leaves no posterior
        return Step(seen.held, entries, numbers, after)

    def _write(self, connection: Connection, tenant: int, user: str, step: Step) -> Step | None:
        """The step itself once it is written, None where others were quicker."""
        now = self.store.clock()
        row = log.append(connection, tenant, user, step.held, step.entries, now)
        if row is None:
            return None
        self.posteriors.keep_in(connection, replace(step.held, user=row), step.made)
        return step
