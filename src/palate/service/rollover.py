"""From one model to the next: posteriors made anew from the answers, then one row is switched."""

from __future__ import annotations

from collections.abc import Callable

from palate.progress import Progress, Silent
from palate.service.store.errors import Conflict
from palate.service.tastes import Tastes

#: Users whose answers are encoded together.
BATCH = 200


def rebuild(
    tastes: Tastes,
    *,
    batch: int = BATCH,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Bring the posteriors of all users under a model up to date; how many were made.

    What is done is in the store: when it is stopped, killed, or run by two processes at once, the
    next run goes on with the users who are left. Answers that come meanwhile are theirs to add who
    write them; whoever is still behind when the model serves is brought up to date when asked for.
    `stop` is asked between batches.
    """
    models = tastes.store.models
    made, last = 0, 0
    left = models.behind(tastes.model.identity)
    with (progress or Silent()).track("making posteriors anew", left) as advance:
        while not stop() and (users := models.users_behind(tastes.model, last, batch)):
            made += _make(tastes, users)
            advance(len(users))
            last = users[-1]
    return made


def roll_over(tastes: Tastes, *, batch: int = BATCH, progress: Progress | None = None) -> None:
    """Let a model serve once all users' posteriors under it are made."""
    rebuild(tastes, batch=batch, progress=progress)
    tastes.store.models.switch(tastes.model.identity)


def _make(tastes: Tastes, users: list[int]) -> int:
    """Make the posteriors of some users, their texts encoded together; how many are kept."""
    database, posteriors = tastes.store.database, tastes.posteriors
    with database.read() as connection:
        found = posteriors.look_at_rows(connection, users)
    made = posteriors.made_of_all(found)
    pairs = [(seen.held, each) for seen, each in zip(found, made, strict=True)]
    try:
        with database.write() as connection:
            for held, each in pairs:
                posteriors.keep_in(connection, held, each)
    except Conflict:  # one of them was erased meanwhile: the others one by one
        return sum(posteriors.keep(held, each) for held, each in pairs)
    return len(pairs)
