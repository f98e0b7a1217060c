"""Protocols of the papers as a `Split`: rows whose use is given, and PReF's four parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from palate.data.comparisons import IntArray, PreferenceData
from palate.data.splits import BoolArray, Split, SplitSettings, in_random_order, make_split
from palate.errors import Problem, SplitError
from palate.types import canonical

#: What a row is there for; see `Split`.
Use = Literal["train", "reference", "evaluation"]


def split_by_use(data: PreferenceData, use: Sequence[Use], seed: int) -> Split:
    """A split of rows whose use a protocol decides, (B,) in `use`.

    Who has train rows is seen, who has reference rows unseen; a user without evaluation rows is
    not evaluated. Evaluation rows with a text that is learned from are left out and counted.
    Raises `SplitError` where no seen or no unseen user is left.
    """
    if len(use) != len(data):
        raise ValueError(f"{len(use)} uses for {len(data)} comparisons")
    wanted = {name: np.array([one == name for one in use]) for name in ("train", "reference")}
    learned = wanted["train"] | wanted["reference"]
    fresh = ~_with_text_of(data, learned)
    evaluation = ~learned & fresh
    seen = _users_of_both(data, wanted["train"], evaluation)
    unseen = _users_of_both(data, wanted["reference"], evaluation)
    _refuse_nobody(data, seen, unseen)
    of_evaluated = np.isin(data.user, np.concatenate([seen, unseen]))
    reference = wanted["reference"] & of_evaluated
    used = wanted["train"] | reference | (evaluation & of_evaluated)
    counts = {
        "train": int(wanted["train"].sum()),
        "reference": int(reference.sum()),
        "evaluation": int((evaluation & of_evaluated).sum()),
        "straddling": int((~learned & ~fresh).sum()),
        "of_users_with_too_few": int((~used & (learned | fresh)).sum()),
        "users": len(np.unique(data.user)),
        "users_with_too_few": len(np.unique(data.user)) - len(seen) - len(unseen),
    }
    per_user = np.bincount(data.user[wanted["train"] | reference], minlength=len(data.user_ids))
    minimum = int(per_user[np.concatenate([seen, unseen])].min())
    return Split(
        data=data,
        settings=SplitSettings(seed=seed, min_comparisons=minimum),
        train=np.flatnonzero(wanted["train"]),
        reference=in_random_order(data, np.flatnonzero(reference), seed),
        evaluation=np.flatnonzero(evaluation & of_evaluated),
        seen=seen,
        unseen=unseen,
        min_comparisons=minimum,
        counts=counts,
        answers=int(np.bincount(data.user[reference]).max()),
    )


def pref_split(
    data: PreferenceData, seed: int, *, users: float = 0.8, prompts: float = 0.8
) -> Split:
    """PReF's four parts: users and prompts are divided separately, each 80 to 20.

    train is their train set; reference their calibration set (other users, the training prompts);
    evaluation their validation set (seen users) and their test set (unseen users), both on other
    prompts. It is `make_split` by groups, the prompt being the group. Raises `SplitError`.
    """
    by_prompt = replace(data, group=data.prompt, group_names=tuple(map(canonical, data.prompts)))
    settings = SplitSettings("groups", seed, seen=users, training=prompts, min_comparisons=1)
    return replace(make_split(by_prompt, settings), data=data)


def _with_text_of(data: PreferenceData, rows: BoolArray) -> BoolArray:
    """(B,) whether a row holds a text that one of `rows` holds."""
    text = np.zeros(len(data.responses), dtype=bool)
    text[data.chosen[rows]] = True
    text[data.rejected[rows]] = True
    return text[data.chosen] | text[data.rejected]


def _users_of_both(data: PreferenceData, one: BoolArray, other: BoolArray) -> IntArray:
    return np.intersect1d(data.user[one], data.user[other])


def _refuse_nobody(data: PreferenceData, seen: IntArray, unseen: IntArray) -> None:
    for name, users in (("seen", seen), ("unseen", unseen)):
        if not len(users):
            message = (
                f"no {name} user has comparisons to learn from and, on other texts, to be "
                "evaluated on; bring more data or ask for fewer comparisons"
            )
            raise SplitError([Problem(data.source, None, "user_id", message)])
