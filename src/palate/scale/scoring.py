"""`score`: rewards of responses, each for the user whose row it is."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.errors import DataError, Problem, ScaleError
from palate.features.cache import prompt_key, text_key
from palate.methods import Method
from palate.model import PersonalRewardModel
from palate.scale.adapting import rows_of_part
from palate.scale.features import FeatureFolder, check_features, open_features
from palate.scale.folder import part_path, piece_path, read_manifest
from palate.scale.job import Job
from palate.scale.loaded import features_of, model_of
from palate.scale.partition import KEY, keys_of_texts, parts_of_users
from palate.scale.rewards import Asked, rewards
from palate.scale.rows import CANDIDATE, candidates, needed
from palate.scale.shuffle import Sorted, read_part, write_piece
from palate.scale.source import Source, open_source
from palate.scale.users import COMMAND as ADAPT
from palate.scale.users import KIND as USERS
from palate.scale.users import read_users
from palate.scale.whole import write_table
from palate.types import Evidence, PairBatch, UserPosterior


@dataclass(frozen=True)
class ScoreJob(Job):
    """users: folder of posteriors, of which part p // `fold` holds those of part p here.
    users_identity: hash of its manifest. schema: of the rows that travel."""

    kind: ClassVar[str] = "rewards"
    steps: ClassVar[tuple[str, str]] = ("sorting candidates by user", "scoring parts")

    run: Path
    model: str
    users: Path
    users_identity: str
    fold: int
    features: FeatureFolder
    schema: pa.Schema

    @property
    def manifest(self) -> dict[str, Any]:
        """Whatever decides a reward."""
        features = self.features.identity
        return {"model": self.model, "users": self.users_identity, "features": features}

    def scatter(self, number: int) -> None:
        """The rows of a piece, by user."""
        write_piece(piece_path(self.out, number), self.schema, self._rows(number), self.parts,
                    Counter(left_out=0))  # fmt: skip

    def _rows(self, number: int) -> Iterator[Sorted]:
        columns = needed(self.source, CANDIDATE, users=True)
        for batch in candidates(self.source.pieces[number], columns):
            table = {
                "row": pa.array(batch.first + np.arange(len(batch.item))),
                "user_id": pa.array(batch.user_ids, pa.string()).take(pa.array(batch.user)),
                **{name: self._given(batch.table, name) for name in CANDIDATE},
                "key": keys_of_texts(text_key(*p) for p in batch.item_texts()).take(batch.item),
            }
            if "prompt_key" in self.schema.names:
                alone = keys_of_texts(map(prompt_key, batch.prompts))
                table["prompt_key"] = alone.take(batch.prompt)
            part = parts_of_users(batch.user_ids, self.parts)[batch.user]
            yield pa.table(table, schema=self.schema), part

    def _given(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        """A column of texts as it was given, in the type of the first file."""
        kind = self.schema.field(name).type
        try:
            return table[name].cast(kind)
        except pa.ArrowException as error:
            message = f"column is {table[name].type}, the first file's {kind}: write them alike"
            raise DataError([Problem(self.source.path, None, name, message)]) from error

    def gather(self, part: int) -> None:
        """The rewards of a part's rows, in the order of the input."""
        rows = read_part(self.pieces, part, self.parts)
        rows = rows.take(pc.sort_indices(rows, [("row", "ascending")]))
        model = model_of(self.run, self.model)
        posterior, user = self._posteriors(model.method, rows["user_id"], part // self.fold)
        mean, sd = torch.zeros(0), None
        if len(rows):
            features, item = features_of(self.features).find(rows["key"])
            prompts, prompt = None, None
            if "prompt_key" in rows.column_names:
                prompts, prompt = features_of(self.features).find(rows["prompt_key"])
            asked = Asked(posterior, user, model.reader.states(features), item, prompts, prompt)
            mean, sd = rewards(model.method, asked)
        answers = posterior.answers[torch.from_numpy(user)].numpy()
        kept = rows.select(["row", "user_id", "prompt", "response"])
        kept = kept.append_column("reward", _numbers(mean, len(rows)))
        kept = kept.append_column("sd", _numbers(sd, len(rows)))
        kept = kept.append_column("answers", pa.array(answers, pa.int64()))
        counts = {"rows": len(rows), "of_unknown_users": int((answers == 0).sum())}
        write_table(part_path(self.out, part), kept, counts)

    def _posteriors(
        self, method: Method, user_ids: pa.ChunkedArray, part: int
    ) -> tuple[UserPosterior, NDArray[np.int64]]:
        """Posteriors of the distinct users of rows, and which of them each row has.

        A user who is not in the folder has the population's, with no answers.
        """
        known, posterior = read_users(self.users, part)
        coded = user_ids.combine_chunks().dictionary_encode()
        place = pc.fill_null(pc.index_in(coded.dictionary, value_set=known), len(known))
        nobody = method.posterior(Evidence(_nothing(method), torch.zeros(2).long()))
        everyone = _joined(posterior, nobody)
        found = everyone[torch.from_numpy(place.to_numpy().astype(np.int64))]
        return found, coded.indices.to_numpy().astype(np.int64)


def score_job(
    run: Path, users: Path, input_path: Path, out: Path, features: Path, *, parts: int | None = None
) -> ScoreJob:
    """The job for a model's folder, and the folders of its users and features.

    parts: a multiple of the users' is taken, since a part's rows have their users in one of theirs.
    """
    source = open_source(input_path)
    columns = needed(source, CANDIDATE, users=True)
    model = PersonalRewardModel.load(run)
    manifest = read_manifest(users, USERS, ADAPT)
    if manifest["model"] != model.identity:
        raise ScaleError(
            f"the users in {users} are of model {manifest['model'][:12]}, {run} is "
            f"{model.identity[:12]}: run `{ADAPT}` with this model"
        )
    folder = open_features(features.absolute())
    check_features(folder, model)
    parts = parts or -(-source.rows // rows_of_part(model.method.width))
    fold = -(-parts // manifest["parts"])
    identity = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:32]
    return ScoreJob(
        *(out.absolute(), source, fold * manifest["parts"], run.absolute(), model.identity),
        *(users.absolute(), identity, fold, folder),
        schema=_schema(source, columns, prompts=model.method.settings.reads_prompts),
    )


def _schema(source: Source, columns: Sequence[str], *, prompts: bool) -> pa.Schema:
    """Of rows as they travel: the texts are of the input's own types."""
    given = pq.read_schema(source.pieces[0].path)
    texts = [(name, given.field(name).type) for name in columns if name in CANDIDATE]
    keys = [("key", KEY), ("prompt_key", KEY)] if prompts else [("key", KEY)]
    return pa.schema([("row", pa.int64()), ("user_id", pa.string()), *texts, *keys])


def _numbers(values: Tensor | None, rows: int) -> pa.Array:
    """A column of float32; of nulls for what is not measured."""
    return pa.nulls(rows, pa.float32()) if values is None else pa.array(values.numpy())


def _nothing(method: Method) -> Tensor:
    """(0, E) evidence of no answers."""
    nothing = torch.zeros(0, method.width)
    with torch.no_grad():
        return method.evidence(PairBatch.of_pairs(nothing, nothing, nothing))


def _joined(some: UserPosterior, others: UserPosterior) -> UserPosterior:
    def both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
        return None if one is None or other is None else torch.cat([one, other])

    return UserPosterior(
        torch.cat([some.mean, others.mean]),
        both(some.variance, others.variance),
        torch.cat([some.answers, others.answers]),
        both(some.covariance, others.covariance),
    )
