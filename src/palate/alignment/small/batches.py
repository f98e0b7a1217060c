"""Documents as token ids, in batches of alike length whose order follows from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from palate.alignment.small.corpus import Document

#: Batches that are sorted by length together.
SORTED = 16
#: What the loss leaves out: the prompt, and what fills a row.
UNREAD = -100


@dataclass(frozen=True)
class Ids:
    """Token ids of a document: up to where the answer begins, and the answer with its end."""

    opening: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.opening) + len(self.answer)


def tokenize(tokenizer: Any, documents: Sequence[Document]) -> list[Ids]:  # noqa: ANN401
    """Ids of documents, rendered as the chat template renders them."""
    openings, answers = [], []
    for document in documents:
        turns = [{"role": "user", "content": document.prompt}]
        if document.system is not None:
            turns.insert(0, {"role": "system", "content": document.system})
        options = {"tokenize": False, "add_generation_prompt": True}
        openings.append(tokenizer.apply_chat_template(turns, **options))
        answers.append(f" {document.answer}{tokenizer.eos_token}")
    read = [
        tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (openings, answers)
    ]
    return [Ids(opening, answer) for opening, answer in zip(*read, strict=True)]


def order(lengths: Tensor, size: int, steps: int, seed: int) -> list[Tensor]:
    """The documents (size,) of each step, from their lengths (N,); all are seen equally often."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    while len(found) < steps:
        drawn = torch.randperm(len(lengths), generator=generator)
        for chunk in torch.split(drawn, size * SORTED):
            alike = list(torch.split(chunk[lengths[chunk].argsort(stable=True)], size))
            found += [alike[i] for i in torch.randperm(len(alike), generator=generator).tolist()]
    return found[:steps]


def collate(rows: Sequence[Ids], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids (n, L) padded behind, and the tokens to be predicted (n, L)."""
    most = max(map(len, rows))
    ids = torch.full((len(rows), most), pad)
    wanted = torch.full_like(ids, UNREAD)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row.opening + row.answer)
        wanted[i, len(row.opening) : len(row)] = torch.tensor(row.answer)
    return ids, wanted
