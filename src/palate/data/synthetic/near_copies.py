"""How much of its wording one text shares with another."""

import re

Shingles = frozenset[tuple[str, ...]]


def shingles(text: str, size: int = 5) -> Shingles:
    """All runs of `size` words; a shorter text is one run."""
    words = re.findall(r"[\w']+", text.lower())
    starts = range(max(1, len(words) - size + 1))
    return frozenset(tuple(words[start : start + size]) for start in starts)


def jaccard(one: Shingles, other: Shingles) -> float:
    """Shared runs over all runs: 0 for nothing in common, 1 for the same wording."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
