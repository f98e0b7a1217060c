"""Training a causal model's reward: palate's steps against TRL's RewardTrainer, in one run.

    python experiments/training_step.py opinions.parquet

Both train the same Qwen3-architecture model (random weights, made on the spot) from the same start
by the Bradley-Terry loss on the same comparisons, in as many updates at the same learning rate. TRL
reads both texts of every comparison; palate reads the distinct texts of a step once, their common
prompt once a row. Needs the extras train and test.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palate.data import PreferenceData, SplitSettings
from palate.data.splits import Split, make_split
from palate.features import FeatureSource, resolve_backbone
from palate.finetuning import BackboneTraining
from palate.finetuning.learn import BackboneJob, Texts
from palate.methods.bt import BT, BTSettings

#: Sizes of the model; `--wide` takes those of Qwen3-0.6B.
SMALL = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
WIDE = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28}
WIDE |= {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
VOCABULARY = 4096
MOST_TOKENS = 256


@dataclass(frozen=True)
class Run:
    """One training: seconds of the steps, tokens that the model read, and losses of the updates."""

    name: str
    comparisons: int
    seconds: float
    tokens: int
    losses: list[float]

    @property
    def speed(self) -> float:
        """Comparisons a second."""
        return self.comparisons / self.seconds


def make_model(folder: Path, texts: list[str], sizes: dict[str, Any]) -> None:
    """A random model and a tokenizer trained on the texts."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<pad>", "<end>"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<end>",
        pad_token="<pad>",
        model_max_length=MOST_TOKENS,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        **sizes,
        vocab_size=VOCABULARY,
        max_position_embeddings=MOST_TOKENS,
        pad_token_id=0,
        eos_token_id=1,
    )
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)


def by_palate(
    folder: Path, data: PreferenceData, split: Split, texts_per_step: int, rate: float
) -> Run:
    """One epoch of palate's training under `bt`, from an untrained head."""
    source = FeatureSource(resolve_backbone(str(folder)), folder / "cache")
    features = source.encode(data.item_texts()).features
    job = BackboneJob(
        *(BT, BTSettings(steps=1, weight_decay=0.0), Texts(data, features, source), split),
        BackboneTraining(
            epochs=1,
            texts_per_step=texts_per_step,
            learning_rate=rate,
            head_learning_rate=rate,
            save_every=1_000_000,
        ),
        seed=0,
        folder=folder / "work",
    )
    read = 0
    forward = job.loop.job.backbone.forward

    def counted(tokens: Any) -> torch.Tensor:  # noqa: ANN401
        nonlocal read
        read += sum(map(len, tokens.ids))
        return forward(tokens)

    job.loop.job.backbone.forward = counted  # type: ignore[method-assign]
    started = time.perf_counter()
    job.loop.train_epoch()
    seconds = time.perf_counter() - started
    return Run("palate", len(job.loop.job.pairs), seconds, read, job.loop.losses)


def by_trl(folder: Path, data: PreferenceData, split: Split, updates: int, rate: float) -> Run:
    """As many updates of TRL's RewardTrainer over the same comparisons."""
    import datasets
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    texts = data.item_texts()
    rows = [
        {
            "prompt": texts[data.chosen_item[row]][0],
            "chosen": texts[data.chosen_item[row]][1],
            "rejected": texts[data.rejected_item[row]][1],
        }
        for row in split.train
    ]
    size = math.ceil(len(rows) / updates)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    losses: list[float] = []
    clock = {"begin": 0.0, "end": 0.0}

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
            clock["begin"] = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
            clock["end"] = time.perf_counter()

        def on_log(self, *_: Any, **values: Any) -> None:  # noqa: ANN401
            if "loss" in values["logs"]:
                losses.append(values["logs"]["loss"])

    trainer = RewardTrainer(
        model=AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1),
        args=RewardConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=min(size, 32),
            gradient_accumulation_steps=max(round(size / 32), 1),
            num_train_epochs=1,
            learning_rate=rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            max_length=MOST_TOKENS,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            bf16=torch.cpu.get_capabilities().get("amx_bf16", False) or torch.cuda.is_available(),
            gradient_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            disable_tqdm=True,
            seed=0,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[Watch()],
    )
    trainer.train()
    ids: Any = trainer.train_dataset
    tokens = sum(len(row[name]) for row in ids for name in ("chosen_ids", "rejected_ids"))
    return Run("TRL", len(rows), clock["end"] - clock["begin"], tokens, losses)


def main() -> None:
    """Print both in one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--comparisons", type=int, default=6000, help="of the training ones")
    parser.add_argument("--texts-per-step", type=int, default=96)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--wide", action="store_true", help="Qwen3-0.6B's shape (wants a GPU)")
    chosen = parser.parse_args()
    data = PreferenceData.load(chosen.file)
    split = _smaller(make_split(data, SplitSettings(seed=0)), chosen.comparisons)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder, [str(text) for text in data.responses], WIDE if chosen.wide else SMALL)
        ours = by_palate(folder, data, split, chosen.texts_per_step, chosen.learning_rate)
        theirs = by_trl(folder, data, split, len(ours.losses), chosen.learning_rate)
    for run in (ours, theirs):
        fifths = [np.mean(part) for part in np.array_split(run.losses, 5)]
        print(
            f"{run.name:<8}{run.comparisons:>7,} comparisons in {len(run.losses)} updates, "
            f"{run.tokens:>10,} tokens, {run.seconds:7.1f} s, {run.speed:7.1f} comparisons/s, "
            f"loss by fifths {' '.join(f'{value:.3f}' for value in fifths)}"
        )
    print(f"palate / TRL: {ours.speed / theirs.speed:.2f} times the comparisons a second")


def _smaller(split: Split, most: int) -> Split:
    """The training comparisons of the first users that have so many together."""
    from dataclasses import replace

    users = split.data.user[split.train]
    order = np.argsort(users, kind="stable")[:most]
    return replace(split, train=np.sort(split.train[order]))


if __name__ == "__main__":
    main()
