"""A method learned together with its backbone: warm start, how long to train, then on everything.

The method is first fitted to the frozen backbone's features, which takes seconds, since from a cold
start the backbone stays at the population's reward for hundreds of steps. On the validation
division the backbone is then trained until validation gains no more; that many epochs, on the same
schedule, train it on all comparisons.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palate.data.comparisons import PreferenceData
from palate.data.splits import Split
from palate.errors import CannotRunError
from palate.features import FeatureSource, resolve_backbone
from palate.features.live import LiveBackbone, LowRank
from palate.features.spec import LocalBackbone
from palate.files import write_atomically
from palate.finetuning.loop import Job, Loop
from palate.finetuning.settings import BackboneTraining
from palate.methods import Method, MethodSettings
from palate.methods.calibration import Calibration, calibrate
from palate.methods.settings import TrainingSettings
from palate.progress import Progress, Silent
from palate.reading import read_texts
from palate.training import Fitted, descend, finish, one_thread
from palate.tuning import Learned, learn, training_pairs, validation_margins
from palate.types import canonical

#: The name that a backbone trained here has in its specification.
OWN = "trained here"


@dataclass(frozen=True)
class LearnedBackbone:
    """A method with the backbone that was trained for it, and features (N, D or 2 D) of the data.

    source: reads further texts. folder: of the trained weights, None where training did not help on
    validation, as the report says, and the frozen backbone stayed.
    """

    learned: Learned
    source: FeatureSource
    features: Tensor
    folder: Path | None


@dataclass(frozen=True)
class Texts:
    """The data with what the frozen backbone made of it.

    cache: where the trained backbone's features are kept; beside the frozen one's unless named.
    """

    data: PreferenceData
    features: Tensor
    source: FeatureSource
    cache: Path | None = None


def learn_with_backbone(
    method_class: type[Method],
    settings: MethodSettings,
    texts: Texts,
    split: Split,
    training: BackboneTraining,
    *,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
) -> LearnedBackbone:
    """Train method and backbone; checkpoints and the trained backbone are kept in `folder`.

    Raises `CannotRunError` for a method that no gradient trains, or data without a validation.
    """
    settings = settings.by_gradient()
    if not isinstance(settings, TrainingSettings) or method_class.reads != "hidden states":
        raise CannotRunError(f"{method_class.name} trains no backbone: it is not trained itself")
    validation = split.validation()
    if validation is None:
        raise CannotRunError(
            "training a backbone needs a validation division: users are too few for one"
        )
    start = learn(method_class, settings, texts.features, split, seed=seed, progress=progress)
    assert isinstance(start.settings, TrainingSettings)
    trial = BackboneJob(
        method_class, start.settings, texts, validation, training, seed, folder / "1"
    )
    best = trial.until_best(validation, progress)
    report = {**start.report, "backbone": {**asdict(training), **best.describe()}}
    if best.epoch == 0:
        trial.discard()
        learned = Learned(start.fitted, start.settings, report)
        return LearnedBackbone(learned, texts.source, texts.features, None)
    final = BackboneJob(method_class, start.settings, texts, split, training, seed, folder / "2")
    while final.loop.epoch < best.epoch:
        final.loop.train_epoch(progress)
    source = final.keep(folder / "backbone")
    features = read_texts(source, texts.data, method_class, start.settings, progress).features
    method = final.loop.job.method
    finish(method, training_pairs(features, split))
    method.temperature.mul_(best.calibration.temperature)
    method.spread.mul_(best.calibration.spread)
    tenths = torch.tensor(final.loop.losses).tensor_split(10)
    losses = tuple(float(part.mean()) for part in tenths if len(part))
    report |= {"losses": losses, "temperature": float(method.temperature)}
    report |= {"spread": float(method.spread)}
    trial.discard()
    final.discard()
    learned = Learned(Fitted(method, losses), start.settings, report)
    return LearnedBackbone(learned, source, features, folder / "backbone")


@dataclass(frozen=True)
class Best:
    """How validation went: its log-loss after each check, the epochs that were best, 0 for none."""

    epoch: int
    calibration: Calibration
    log_losses: tuple[float, ...]
    truncated: int

    def describe(self) -> dict[str, Any]:
        """For a report."""
        return {
            "epochs_taken": self.epoch,
            "validation_log_losses": self.log_losses,
            "truncated_on_the_left": self.truncated,
        }


class BackboneJob:
    """One training on a split's comparisons, warm-started, in a folder of its own."""

    def __init__(
        self,
        method_class: type[Method],
        settings: TrainingSettings,
        texts: Texts,
        split: Split,
        training: BackboneTraining,
        seed: int,
        folder: Path,
    ) -> None:
        self.texts, self.training, self.folder = texts, training, folder
        pairs = training_pairs(texts.features, split)
        with one_thread():
            method, _ = descend(method_class, settings, pairs, seed, Silent())
        local = texts.source.local
        backbone = LiveBackbone(
            local,
            lora=_low_rank(training, seed),
            dropout=training.dropout,
            checkpointing=training.checkpointing,
            packing=training.packing,
            precision=training.precision,
            tokens_per_batch=training.tokens_per_batch,
        )
        data = texts.data
        prompts = data.prompts if settings.reads_prompts else ()
        tokens = backbone.tokenize(data.item_texts(), prompts)
        folder.mkdir(parents=True, exist_ok=True)
        self.loop = Loop(
            Job(
                *(method, backbone, pairs, tokens, training, seed, folder),
                describe=lambda row: _texts_of(
                    data, int(pairs.chosen[row]), int(pairs.rejected[row])
                ),
                identity={"data": data.digest, "split": split.settings.kind},
            )
        )
        self.loop.resume()

    def until_best(self, validation: Split, progress: Progress | None = None) -> Best:
        """Train until validation has not gained for `patience` epochs, also over a stop."""
        loop = self.loop
        checks = self._checks()[: loop.epoch + 1] or [self._calibration(validation)]
        while True:
            self._keep_checks(checks)
            best = int(np.argmin([check.log_loss for check in checks]))
            if loop.epoch >= self.training.epochs or loop.epoch - best >= self.training.patience:
                break
            loop.train_epoch(progress)
            checks.append(self._calibration(validation))
        log_losses = tuple(check.log_loss for check in checks)
        return Best(best, checks[best], log_losses, loop.job.tokens.truncated)

    def _checks(self) -> list[Calibration]:
        """Those that were made before a stop: at the start and after each epoch."""
        if self.loop.epoch == self.loop.place == 0 or not self._checks_file.is_file():
            return []
        return [Calibration(**check) for check in json.loads(self._checks_file.read_text())]

    def _keep_checks(self, checks: list[Calibration]) -> None:
        if self.loop.engine.is_main:
            content = json.dumps([asdict(check) for check in checks])
            write_atomically(self._checks_file, content + "\n")

    @property
    def _checks_file(self) -> Path:
        return self.folder / "checks.json"

    def _calibration(self, validation: Split) -> Calibration:
        method, table = deepcopy(self.loop.job.method), self._table(validation)
        finish(method, training_pairs(table, validation))
        return calibrate(validation_margins(method, table, validation))

    def _table(self, split: Split) -> Tensor:
        """Hidden states of what a validation reads, in the rows of all items; others are zero."""
        data, frozen = split.data, self.texts.features
        job, rows = self.loop.job, split.evaluation
        if not (job.keeps_frozen and job.method.infers_from == "reference"):
            rows = np.concatenate([split.train, split.reference, rows])
        items = [data.chosen_item[rows], data.rejected_item[rows]]
        if len(frozen) > len(data.items):
            items.append(len(data.items) + data.prompt[rows])
        used = np.unique(np.concatenate(items))
        table = torch.zeros_like(frozen)
        table[torch.from_numpy(used)] = self.loop.encode_still(used)
        return torch.cat([table, frozen], dim=-1) if job.keeps_frozen else table

    def keep(self, folder: Path) -> FeatureSource:
        """Write the trained backbone as a transformers folder; what reads texts with it."""
        before = self.texts.source.local
        self.loop.engine.save(folder)
        spec = before.spec
        trained = resolve_backbone(
            str(folder), pooling=spec.pooling, max_tokens=spec.max_tokens, dtype=spec.dtype
        )
        own = replace(trained.spec, name=OWN, kind=spec.kind, normalise=spec.normalise)
        local, cache = (
            LocalBackbone(own, folder),
            self.texts.cache or self.texts.source.cache_folder,
        )
        if not self.loop.job.keeps_frozen:
            return FeatureSource(local, cache)
        return FeatureSource(local.beside(before), cache, self.texts.source)

    def discard(self) -> None:
        """Remove the checkpoint of a training that is done."""
        if self.loop.engine.is_main:
            shutil.rmtree(self.folder, ignore_errors=True)


def _low_rank(training: BackboneTraining, seed: int) -> LowRank | None:
    if training.mode == "full":
        return None
    return LowRank(training.rank, training.alpha, training.lora_dropout, seed)


def _texts_of(data: PreferenceData, chosen: int, rejected: int) -> Mapping[str, Any]:
    """A comparison's texts by its items."""
    texts = data.item_texts()
    prompt, answer = texts[chosen]
    other = texts[rejected][1]
    return {
        name: canonical(t)
        for name, t in (("prompt", prompt), ("chosen", answer), ("rejected", other))
    }
