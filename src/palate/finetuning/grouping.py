"""An epoch's comparisons divided into steps that share texts: a step costs what its texts cost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IntArray = NDArray[np.int64]


def steps_of_epoch(
    chosen: Tensor, rejected: Tensor, texts: int, generator: torch.Generator
) -> list[IntArray]:
    """Comparisons (B,) of items in steps with at most `texts` distinct items, each once.

    A step grows from a random comparison by the item that most comparisons join to it, and begins
    again elsewhere when its neighbourhood is exhausted. Steps come in random order.
    """
    graph = _Graph(chosen.numpy(), rejected.numpy())
    start = torch.randperm(len(chosen), generator=generator).numpy()
    steps = list(graph.steps(start, texts))
    return [steps[i] for i in torch.randperm(len(steps), generator=generator).tolist()]


class _Graph:
    """Items joined by comparisons, and which comparisons are left."""

    def __init__(self, first: IntArray, second: IntArray) -> None:
        self.first, self.second = first, second
        items = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
        end = np.concatenate([first, second])
        order = np.argsort(end, kind="stable")
        self.start = np.searchsorted(end[order], np.arange(items + 1))
        self.neighbour = np.concatenate([second, first])[order]
        self.comparison = np.tile(np.arange(len(first)), 2)[order]
        self.left = np.ones(len(first), dtype=bool)

    def steps(self, start: IntArray, texts: int) -> Iterator[IntArray]:
        step = _Step()
        for comparison in start.tolist():
            if not self.left[comparison]:
                continue
            ends = {int(self.first[comparison]), int(self.second[comparison])}
            if step.inside and len(step.inside | ends) > texts:
                yield np.sort(step.comparisons)
                step = _Step()
            for item in ends:
                self._add(item, step)
            while len(step.inside) < texts and step.joined:
                self._add(max(step.joined, key=step.joined.__getitem__), step)
        if step.inside:
            yield np.sort(step.comparisons)

    def _add(self, item: int, step: _Step) -> None:
        """Take in an item with the comparisons that join it to the step."""
        step.inside.add(item)
        step.joined.pop(item, None)
        own = slice(self.start[item], self.start[item + 1])
        own_left = self.left[self.comparison[own]]
        joins = zip(self.neighbour[own][own_left], self.comparison[own][own_left], strict=True)
        for neighbour, comparison in ((int(n), int(c)) for n, c in joins):
            if neighbour in step.inside:
                step.comparisons.append(comparison)
                self.left[comparison] = False
            else:
                step.joined[neighbour] = step.joined.get(neighbour, 0) + 1


class _Step:
    """A growing step: its items, and how many comparisons join each other item to them."""

    def __init__(self) -> None:
        self.inside: set[int] = set()
        self.joined: dict[int, int] = {}
        self.comparisons: list[int] = []
