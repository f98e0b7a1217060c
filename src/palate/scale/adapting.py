"""`adapt`: a posterior for every user, from all answers of hers, wherever they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import torch

from palate.adaptation.saved import MOST
from palate.errors import PosteriorError
from palate.features.cache import prompt_key, text_key
from palate.model import PersonalRewardModel
from palate.scale.answers import Answers
from palate.scale.features import FeatureFolder, check_features, open_features
from palate.scale.folder import part_path, piece_path
from palate.scale.job import Job
from palate.scale.loaded import features_of, model_of
from palate.scale.partition import KEY, keys_of_texts, parts_of_users
from palate.scale.rows import COMPARISON, comparisons, needed
from palate.scale.shuffle import Sorted, read_part, write_piece
from palate.scale.source import open_source
from palate.scale.users import KIND, table_of_users
from palate.scale.whole import write_table
from palate.types import Evidence, UserPosterior

#: Bytes of a part's features where all its texts are distinct; and most rows of a part.
PART_BYTES = 128 * 2**20
PART_ROWS = 100_000


@dataclass(frozen=True)
class AdaptJob(Job):
    """run: the model's folder. model: its identity."""

    kind: ClassVar[str] = KIND
    steps: ClassVar[tuple[str, str]] = ("sorting answers by user", "adapting parts")

    run: Path
    model: str
    method: str
    features: FeatureFolder
    reads_prompts: bool

    @property
    def manifest(self) -> dict[str, Any]:
        """Whatever decides a posterior."""
        return {"model": self.model, "method": self.method, "features": self.features.identity}

    @property
    def schema(self) -> pa.Schema:
        """A comparison as it travels: its user, and its texts by key."""
        keys = ("chosen", "rejected", "prompt") if self.reads_prompts else ("chosen", "rejected")
        return pa.schema([("user_id", pa.string()), *((name, KEY) for name in keys)])

    def scatter(self, number: int) -> None:
        """The comparisons of a piece, by user."""
        counts = Counter[str]()
        write_piece(piece_path(self.out, number), self.schema, self._rows(number, counts),
                    self.parts, counts)  # fmt: skip

    def _rows(self, number: int, counts: Counter[str]) -> Iterator[Sorted]:
        columns = needed(self.source, COMPARISON, users=True)
        piece = self.source.pieces[number]
        for data in comparisons(piece, columns, lambda n: counts.update(left_out=n)):
            keys = keys_of_texts(text_key(*pair) for pair in data.item_texts())
            table = {
                "user_id": pa.array(data.user_ids, pa.string()).take(data.user),
                "chosen": keys.take(data.chosen_item),
                "rejected": keys.take(data.rejected_item),
            }
            if self.reads_prompts:
                prompts = keys_of_texts(map(prompt_key, data.prompts))
                table["prompt"] = prompts.take(data.prompt)
            part = parts_of_users(data.user_ids, self.parts)[data.user]
            yield pa.table(table, schema=self.schema), part

    def gather(self, part: int) -> None:
        """The posteriors of a part's users, in the order of their ids."""
        rows = read_part(self.pieces, part, self.parts)
        model = model_of(self.run, self.model)
        answers = Answers.of(rows, features_of(self.features))
        with torch.no_grad():
            evidence = answers.evidence(model)
            posterior = model.method.posterior(evidence)
        if not _sound(evidence, posterior):
            raise PosteriorError(
                f"answers in part {part} leave no posterior (numbers beyond {MOST:g}): look at the "
                f"features in {self.features.path}"
            )
        counts = {"users": len(posterior), "answers": len(answers.chosen)}
        counts["repeated"] = len(rows) - len(answers.chosen)
        table = table_of_users(answers.user_ids, posterior, self.model)
        write_table(part_path(self.out, part), table, counts)


def adapt_job(
    run: Path, input_path: Path, out: Path, features: Path, *, parts: int | None = None
) -> AdaptJob:
    """The job for a model's folder and a folder of features that belong to it."""
    source = open_source(input_path)
    needed(source, COMPARISON, users=True)
    model = PersonalRewardModel.load(run)
    folder = open_features(features.absolute())
    check_features(folder, model)
    parts = parts or -(-source.rows // rows_of_part(2 * model.method.width))
    method = model.method
    return AdaptJob(
        *(out.absolute(), source, parts, run.absolute(), model.identity, method.name, folder),
        reads_prompts=method.settings.reads_prompts,
    )


def rows_of_part(numbers: int) -> int:
    """Rows of a part where each may need so many numbers of features."""
    return min(max(PART_BYTES // (4 * numbers), 1024), PART_ROWS)


def _sound(evidence: Evidence, posterior: UserPosterior) -> bool:
    """Whether numbers are within bounds and variances above zero, as a profile's have to be."""
    sound = [(evidence.rows.abs() <= MOST).all(), posterior.mean.isfinite().all()]
    if posterior.variance is not None:
        sound.append((posterior.variance.isfinite() & (posterior.variance > 0)).all())
    return all(map(bool, sound))
