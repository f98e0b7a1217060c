"""The users of the Attributes world: every pair of traits of two different attributes."""

from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from palate.data.synthetic.attributes import ATTRIBUTES

KINDS = 84  # 7 * 6 / 2 pairs of attributes, two directions each


def kinds_of_user() -> NDArray[np.int64]:
    """The weights (84, 7) of all kinds: two entries are +1 or -1, the others 0."""
    pairs = combinations(range(len(ATTRIBUTES)), 2)
    signs = product((1, -1), repeat=2)
    kinds = list(product(pairs, signs))
    weights = np.zeros((len(kinds), len(ATTRIBUTES)), dtype=np.int64)
    for row, (pair, sign) in enumerate(kinds):
        weights[row, list(pair)] = sign
    return weights


def draw_users(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The weights (U, 7) of `count` users in random order, the kinds as evenly as possible."""
    kinds = kinds_of_user()
    rounds = -(-count // len(kinds))
    rows = np.concatenate([rng.permutation(len(kinds)) for _ in range(rounds)])[:count]
    weights: NDArray[np.int64] = kinds[rng.permutation(rows)]
    return weights
