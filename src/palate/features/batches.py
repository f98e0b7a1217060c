"""Many texts of unlike length through a model: chunks of texts, batches of tokens, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Tokens in one forward pass: they fit into a processor's cache, or fill a GPU.
TOKEN_BUDGET = {"cpu": 2048, "cuda": 65536}
#: Rows are padded to a multiple of it: attention on a processor is up to twice as fast there.
LENGTH_MULTIPLE = 16
#: Such passes in a chunk, which is tokenised together: the step by which progress shows and the
#: cache fills. It is cut by characters, since tokens are not known before; four are about a token.
#: It depends on nothing else, so that the same texts make the same batches whatever the threads.
CHUNK_BATCHES = {"cpu": 32, "cuda": 8}
CHARACTERS_A_TOKEN = 4

Row = TypeVar("Row", bound=Sized)


@dataclass(frozen=True)
class EncodedChunk:
    """Features of some of the texts: their places (n,), vectors (n, D), token counts (n,)."""

    places: NDArray[np.int64]
    vectors: NDArray[np.float32]
    tokens: NDArray[np.int64]


class Batches:
    """How much a device takes at once."""

    def __init__(self, device: str) -> None:
        processor = "cpu" if device == "cpu" else "cuda"
        self.token_budget = TOKEN_BUDGET[processor]
        self.chunk_batches = CHUNK_BATCHES[processor]
        self.workers = torch.get_num_threads() if device == "cpu" else 1

    def chunks(self, characters: Sequence[int]) -> Iterator[NDArray[np.int64]]:
        """Places of texts with so many characters, chunk by chunk, the longest texts first."""
        if not characters:
            return
        lengths = np.array(characters, dtype=np.int64)
        order = np.argsort(-lengths, kind="stable")
        size = CHARACTERS_A_TOKEN * self.token_budget * self.chunk_batches
        chunk = lengths[order].cumsum() // size
        yield from np.split(order, np.flatnonzero(np.diff(chunk)) + 1)

    def run(self, rows: Sequence[Row], forward: Callable[[list[Row]], Tensor]) -> Tensor:
        """What `forward` gives for rows of tokens, in their order.

        It takes batches of like length, which keep under the token budget, and gives (n, ...).
        """
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        batches: list[list[Row]] = []
        start = 0
        while start < len(order):
            size = max(self.token_budget // len(rows[order[start]]), 1)
            batches.append([rows[i] for i in order[start : start + size]])
            start += size
        stacked = torch.cat(self._forward_all(batches, forward))
        result = torch.empty_like(stacked)
        result[order] = stacked
        return result

    def _forward_all(
        self, batches: list[list[Row]], forward: Callable[[list[Row]], Tensor]
    ) -> list[Tensor]:
        """On a processor every thread takes whole batches: threads that share one wait at each
        operation for the slowest, several times over where other programs run.
        """
        workers = min(self.workers, len(batches) // 2)
        if workers <= 1:
            return [forward(batch) for batch in batches]
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(workers, "encode", torch.set_num_threads, (1,)) as pool:
                return list(pool.map(forward, batches))
        finally:
            torch.set_num_threads(threads)


def pad(batch: Sequence[Sequence[int]], *, most: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (n, L) each, padded on the right whatever the tokenizer says.

    So positions start at 0 and a causal model never reads padding. The pad id is 0: the mask alone
    tells padding.
    """
    longest = max(len(row) for row in batch)
    width = max(min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, most), longest)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for i, row in enumerate(batch):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask
