"""The models that posteriors are of; one row says which of them serves."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, not_, select

from palate.service.store.clock import Clock
from palate.service.store.database import Database
from palate.service.store.errors import Conflict, NotFound
from palate.service.store.schema import MODELS, POSTERIORS, SERVING, USERS
from palate.service.store.texts import checked_name
from palate.service.store.upsert import upsert


@dataclass(frozen=True)
class KnownModel:
    """A model that the database has posteriors of: its number and its identity."""

    id: int
    identity: str


class Models:
    """The models of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def ensure(self, identity: str) -> KnownModel:
        """A model by its identity, made known where it is not."""
        checked_name("the model's identity", identity)
        query = select(MODELS.c.id).where(MODELS.c.identity == identity)
        with self._database.read() as connection:
            found = connection.execute(query).scalar_one_or_none()
        if found is None:
            with self._database.write() as connection:
                row = {"identity": identity, "created": self._clock()}
                connection.execute(
                    upsert(connection.dialect.name, MODELS).on_conflict_do_nothing(), row
                )
                found = connection.execute(query).scalar_one()
        return KnownModel(int(found), identity)

    def all(self) -> list[KnownModel]:
        """Every known model, the oldest first."""
        with self._database.read() as connection:
            query = select(MODELS.c.id, MODELS.c.identity).order_by(MODELS.c.id)
            return [KnownModel(*row) for row in connection.execute(query)]

    def serving(self) -> KnownModel | None:
        """The model that serves; None before the first does."""
        query = select(MODELS.c.id, MODELS.c.identity).join_from(SERVING, MODELS)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else KnownModel(*row)

    def switch(self, identity: str) -> KnownModel:
        """Let a model serve, for every process that asks from now on: one row is written."""
        model = self.ensure(identity)
        row = {"id": 1, "model_id": model.id, "since": self._clock()}
        with self._database.write() as connection:
            made = upsert(connection.dialect.name, SERVING)
            new = {"model_id": made.excluded.model_id, "since": made.excluded.since}
            connection.execute(made.on_conflict_do_update(index_elements=["id"], set_=new), row)
        return model

    def behind(self, identity: str) -> int:
        """How many users' posteriors under a model are not made from all their entries."""
        query = select(func.count()).select_from(USERS).where(_behind(self.ensure(identity)))
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def users_behind(self, model: KnownModel, after: int, limit: int) -> list[int]:
        """Some of them by the numbers of their rows, in order: those above `after`."""
        query = select(USERS.c.id).where(_behind(model), USERS.c.id > after)
        with self._database.read() as connection:
            return list(connection.scalars(query.order_by(USERS.c.id).limit(limit)))

    def forget(self, identity: str) -> None:
        """Drop a model and its posteriors; raises `NotFound`, and `Conflict` while it serves."""
        try:
            with self._database.write() as connection:
                gone = connection.execute(delete(MODELS).where(MODELS.c.identity == identity))
        except Conflict:
            raise Conflict(f"model {identity[:12]} serves; switch to another one first") from None
        if not gone.rowcount:
            raise NotFound(f"there is no model {identity[:12]}")


def _behind(model: KnownModel) -> ColumnElement[bool]:
    made = select(POSTERIORS.c.user_id).where(
        POSTERIORS.c.user_id == USERS.c.id,
        POSTERIORS.c.model_id == model.id,
        POSTERIORS.c.through == USERS.c.entries,
    )
    return and_(USERS.c.entries > 0, not_(made.exists()))
