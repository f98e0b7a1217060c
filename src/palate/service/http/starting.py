"""What is done once before workers start: a first key, the model that serves, the small policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palate.model import PersonalRewardModel
from palate.progress import Progress
from palate.service.http.settings import ServeSettings
from palate.service.http.upstream import upstream_of
from palate.service.store import Store
from palate.service.tastes import Tastes


@contextmanager
def _opened(settings: ServeSettings) -> Iterator[Store]:
    store = Store.open(settings.database)
    try:
        yield store
    finally:
        store.close()


def first_key(settings: ServeSettings) -> str | None:
    """The text of an admin key on a first start."""
    with _opened(settings) as store:
        return store.keys.first()


def prefer(settings: ServeSettings, *, switch: bool) -> str | None:
    """Let the named run serve, where the database has not seen it yet, or `switch` says so.

    One that served before was rolled over from: a restart must not undo that. The identity of the
    model that serves instead, None where it is this one. Raises `ModelError` for a run that is none
    or reads no texts.
    """
    model = PersonalRewardModel.load(settings.run, cache=settings.cache)
    model.reader.source()
    with _opened(settings) as store:
        known = {one.identity for one in store.models.all()}
        own = Tastes(store, model.users, half_life=settings.half_life).model.identity
        row = store.models.serving()
        if row is None or switch or own not in known:
            store.models.switch(own)
        elif row.identity != own:
            return row.identity[:12]
    return None


def ready_upstream(settings: ServeSettings, progress: Progress) -> None:
    """See that the upstream can be asked; the embedded model is trained here, once."""
    if settings.upstream == "small":
        from palate.alignment.small import small_policy

        small_policy(Path(settings.cache) if settings.cache else None, progress)
    else:
        upstream_of(settings)
