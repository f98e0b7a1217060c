"""Posteriors of many users in Parquet, one row a user, by part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from palate.scale.folder import part_path
from palate.scale.vectors import lists_of, tensor_of
from palate.types import UserPosterior

KIND = "users"
COMMAND = "palate scale adapt"


def table_of_users(user_ids: Sequence[str], posterior: UserPosterior, model: str) -> pa.Table:
    """Columns user_id, mean, variance or null, covariance (row by row) or null, answers, model."""
    users = len(posterior)
    columns = {
        "user_id": pa.array(user_ids, pa.string()),
        "mean": lists_of(posterior.mean),
        "variance": pa.nulls(users),
        "covariance": pa.nulls(users),
        "answers": pa.array(posterior.answers.numpy(), pa.int64()),
        "model": pa.array([model], pa.string()).take(pa.array([0] * users, pa.int64())),
    }
    if posterior.variance is not None:
        columns["variance"] = lists_of(posterior.variance)
    if posterior.covariance is not None:
        columns["covariance"] = lists_of(posterior.covariance.flatten(1))
    return pa.table(columns)


def read_users(folder: Path, part: int) -> tuple[pa.Array, UserPosterior]:
    """The ids and the posteriors of a part."""
    table = pq.read_table(part_path(folder, part))
    mean = tensor_of(table["mean"])
    known = [name for name in ("variance", "covariance") if not pa.types.is_null(table[name].type)]
    found = {name: tensor_of(table[name]) for name in known}
    covariance = found.get("covariance")
    if covariance is not None:
        covariance = covariance.reshape(len(mean), mean.shape[1], mean.shape[1])
    answers = torch.from_numpy(table["answers"].to_numpy().copy())
    posterior = UserPosterior(mean, found.get("variance"), answers, covariance)
    return table["user_id"].combine_chunks(), posterior
