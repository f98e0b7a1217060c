"""Asks a user about pairs of responses: which pairs, and what the user answers."""

import numpy as np
from numpy.typing import NDArray


def preference(margin: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Bradley-Terry: P(A over B) = sigmoid(scale * margin), also for an infinite scale."""
    # tanh does not overflow, unlike exp.
    return 0.5 * (1.0 + np.tanh(0.5 * scale * margin))


def ask(
    rewards: NDArray[np.int64],
    pairs: NDArray[np.int64],
    count: int,
    scale: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The answers (count, 2) as (chosen, rejected) of a user with true rewards (R,).

    The pairs are drawn without replacement from those (P, 2) on which the rewards differ.
    """
    differing = pairs[rewards[pairs[:, 0]] != rewards[pairs[:, 1]]]
    if len(differing) < count:
        raise ValueError(
            f"a user can be asked about {len(differing)} pairs whose true rewards differ, "
            f"but comparisons is {count}: lower comparisons or raise pairs"
        )
    asked = differing[rng.choice(len(differing), count, replace=False)]
    # Which side is A is random before the label is drawn.
    asked = rng.permuted(asked, axis=1)
    margin = (rewards[asked[:, 0]] - rewards[asked[:, 1]]).astype(np.float64)
    chose_first = rng.random(count) < preference(margin, scale)
    return np.where(chose_first[:, None], asked, asked[:, ::-1])
