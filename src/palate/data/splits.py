"""The only divider: users seen and unseen, texts of evaluation never in training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from palate.data.comparisons import IntArray, PreferenceData
from palate.errors import Problem, SettingsError, SplitError
from palate.types import canonical

BoolArray = NDArray[np.bool_]

#: Fewest training comparisons of an evaluated user, tried in this order when none is asked for.
MINIMUM_LADDER = (20, 10, 5, 2)
#: So many users must be left for a rung of the ladder to be taken (or half of them).
ENOUGH_USERS = 40
#: References that an unseen user is adapted on when evaluated, at most.
ANSWERS = 20
#: Connected texts up to this number move together; a larger set is divided text by text.
LARGEST_COMPONENT = 16


@dataclass(frozen=True)
class SplitSettings:
    """How comparisons are divided.

    kind: "users" holds out users and texts, "groups" users and whole groups. seed decides who.
    seen: share of the evaluated users whose training comparisons train. training: share of the
    texts (or groups) that train. min_comparisons: fewest training comparisons of a user who is
    evaluated; None takes the largest of 20, 10, 5, 2 that leaves 40 users or half of them.
    """

    kind: Literal["users", "groups"] = "users"
    seed: int = 0
    seen: float = 0.5
    training: float = 0.65
    min_comparisons: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("users", "groups"):
            raise SettingsError(f"split kind is {self.kind!r}; expected 'users' or 'groups'")
        for name in ("seen", "training"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"split share {name} is {getattr(self, name)}; expected 0 to 1")
        if self.min_comparisons is not None and self.min_comparisons < 1:
            raise SettingsError("min_comparisons must be at least 1")


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of `data` by their use, disjoint at birth.

    train: comparisons that are learned from: of seen users and of those too few to be evaluated.
    reference: unseen users' comparisons on training texts, what they are adapted on, in the order
    (random by the seed) in which they are taken where only some are.
    evaluation: comparisons of seen and unseen users on texts that no other row here holds.
    seen, unseen: the evaluated users. counts: every row of the data by what became of it.
    answers: most references that an unseen user is adapted on when evaluated.
    """

    data: PreferenceData
    settings: SplitSettings
    train: IntArray
    reference: IntArray
    evaluation: IntArray
    seen: IntArray
    unseen: IntArray
    min_comparisons: int
    counts: dict[str, int]
    answers: int = ANSWERS

    def __post_init__(self) -> None:
        data = self.data
        learned = _texts_of(data, np.concatenate([self.train, self.reference]))
        if np.intersect1d(learned, _texts_of(data, self.evaluation)).size:
            raise AssertionError("a text of evaluation is also in training")
        if np.intersect1d(data.user[self.train], self.unseen).size:
            raise AssertionError("an unseen user has comparisons in training")
        if np.setdiff1d(data.user[self.reference], self.unseen).size:
            raise AssertionError("a reference comparison is not an unseen user's")
        used = np.concatenate([self.train, self.reference, self.evaluation])
        if len(np.unique(used)) != len(used):
            raise AssertionError("a comparison has two uses")

    def validation(self) -> Split | None:
        """The training rows divided again by the same rules, for tuning; None if too few.

        Nothing of `reference` or `evaluation` is in it. Its users and texts held out stand for
        the unseen users and texts to come.
        """
        settings = replace(self.settings, kind="users", seen=0.75, training=0.75)
        settings = replace(settings, min_comparisons=None)
        try:
            return make_split(self.data.select(self.train), settings)
        except SplitError:
            return None


def make_split(data: PreferenceData, settings: SplitSettings) -> Split:
    """Divide comparisons; the same data and settings give the same split on any machine.

    Raises `SplitError` where no seen or no unseen user is left, or no groups to hold out.
    """
    if len(data.user_ids) < 2 or len(np.unique(data.user)) < 2:
        raise _refusal(data, "user_id", "one user only; a split needs seen and unseen users")
    evaluation_text, evaluation_side = _hold_out(data, settings)
    chosen, rejected = evaluation_text[data.chosen], evaluation_text[data.rejected]
    in_training = ~evaluation_side & ~chosen & ~rejected
    in_evaluation = evaluation_side & chosen & rejected
    minimum, eligible = _eligible_users(data, in_training, in_evaluation, settings)
    seen, unseen = _seen_and_unseen(data, eligible, minimum, settings)
    is_unseen = np.isin(data.user, unseen)
    is_evaluated = is_unseen | np.isin(data.user, seen)
    rows = {
        "train": in_training & ~is_unseen,
        "reference": in_training & is_unseen,
        "evaluation": in_evaluation & is_evaluated,
        "straddling": ~in_training & ~in_evaluation,
        "of_users_with_too_few": in_evaluation & ~is_evaluated,
    }
    counts = {name: int(mask.sum()) for name, mask in rows.items()}
    users = len(np.unique(data.user))
    counts |= {"users": users, "users_with_too_few": users - len(seen) - len(unseen)}
    return Split(
        data=data,
        settings=settings,
        train=np.flatnonzero(rows["train"]),
        reference=in_random_order(data, np.flatnonzero(rows["reference"]), settings.seed),
        evaluation=np.flatnonzero(rows["evaluation"]),
        seen=seen,
        unseen=unseen,
        min_comparisons=minimum,
        counts=counts,
    )


def _refusal(data: PreferenceData, field: str, message: str) -> SplitError:
    return SplitError([Problem(data.source, None, field, message)])


def hash_order(seed: int, purpose: str, names: Iterable[str]) -> IntArray:
    """The names' places in an order that only the seed, the purpose and the names decide."""
    prefix = f"{seed}\x1f{purpose}\x1f".encode()
    keys = [hashlib.blake2b(prefix + name.encode(), digest_size=16).digest() for name in names]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def in_random_order(data: PreferenceData, rows: IntArray, seed: int) -> IntArray:
    """Rows ordered by their content alone, blind to which response was chosen."""
    names = [
        "\x1f".join([data.user_ids[user], *sorted((one, other))])
        for user, one, other in zip(
            data.user[rows],
            (canonical(data.responses[i]) for i in data.chosen[rows]),
            (canonical(data.responses[i]) for i in data.rejected[rows]),
            strict=True,
        )
    ]
    return rows[hash_order(seed, "reference", names)]


def _texts_of(data: PreferenceData, rows: IntArray) -> IntArray:
    return np.unique(np.concatenate([data.chosen[rows], data.rejected[rows]]))


def _hold_out(data: PreferenceData, settings: SplitSettings) -> tuple[BoolArray, BoolArray]:
    """Which responses (M,) and which rows (B,) are on the side of evaluation."""
    if settings.kind == "groups":
        return _hold_out_groups(data, settings)
    present = _texts_of(data, np.arange(len(data)))
    _, unit = np.unique(_text_units(data)[present], return_inverse=True)
    names = _unit_names([canonical(data.responses[i]) for i in present], unit)
    held_out = _last_share(hash_order(settings.seed, "texts", names), np.bincount(unit), settings)
    text = np.zeros(len(data.responses), dtype=bool)
    text[present] = held_out[unit]
    # A row of one text each side belongs to neither; its side does not matter.
    return text, text[data.chosen] & text[data.rejected]


def _hold_out_groups(data: PreferenceData, settings: SplitSettings) -> tuple[BoolArray, BoolArray]:
    if data.group is None:
        raise _refusal(data, "group", "column is missing, which a split by groups needs")
    present = np.unique(data.group)
    if len(present) < 2:
        raise _refusal(data, "group", "one group only; a split by groups needs two or more")
    order = hash_order(settings.seed, "groups", [data.group_names[i] for i in present])
    held_out = np.zeros(len(data.group_names), dtype=bool)
    held_out[present] = _last_share(order, np.ones(len(present), dtype=np.int64), settings)
    row = held_out[data.group]
    text = np.zeros(len(data.responses), dtype=bool)
    text[_texts_of(data, np.flatnonzero(row))] = True
    return text, row


def _unit_names(texts: Sequence[str], unit: IntArray) -> list[str]:
    """Every unit by the first of its texts in the alphabet, whatever the order of the rows."""
    names: dict[int, str] = {}
    for text, number in zip(texts, unit.tolist(), strict=True):
        names[number] = min(text, names.get(number, text))
    return [names[number] for number in range(len(names))]


def _last_share(order: IntArray, size: IntArray, settings: SplitSettings) -> BoolArray:
    """The units past the training share in `order`, by size; at least one on either side."""
    reached = np.cumsum(size[order]) - size[order] / 2
    past = reached > settings.training * size.sum()
    past[0], past[-1] = False, True
    held_out = np.zeros(len(order), dtype=bool)
    held_out[order[past]] = True
    return held_out


def _text_units(data: PreferenceData) -> IntArray:
    """(M,) a number of the unit that each response moves with.

    A few texts connected by comparisons move together, so that no comparison is lost; the texts
    of a larger component move alone, and its comparisons that straddle are lost to the split.
    """
    label = np.arange(len(data.responses))
    while True:
        lowest = np.minimum(label[data.chosen], label[data.rejected])
        new = label.copy()
        np.minimum.at(new, data.chosen, lowest)
        np.minimum.at(new, data.rejected, lowest)
        new = new[new]
        if (new == label).all():
            break
        label = new
    alone = np.bincount(label, minlength=len(label))[label] > LARGEST_COMPONENT
    return np.where(alone, np.arange(len(label)), label)


def _eligible_users(
    data: PreferenceData, training: BoolArray, evaluation: BoolArray, settings: SplitSettings
) -> tuple[int, IntArray]:
    """Users with enough training comparisons and one to evaluate, and what "enough" came to."""
    users = len(data.user_ids)
    trained = np.bincount(data.user[training], minlength=users)
    evaluated = np.bincount(data.user[evaluation], minlength=users) > 0
    present = len(np.unique(data.user))
    if settings.min_comparisons is not None:
        minimum = settings.min_comparisons
        return minimum, np.flatnonzero(evaluated & (trained >= minimum))
    for minimum in MINIMUM_LADDER:
        eligible = np.flatnonzero(evaluated & (trained >= minimum))
        if len(eligible) >= min(ENOUGH_USERS, present / 2):
            break
    return minimum, eligible


def _seen_and_unseen(
    data: PreferenceData, eligible: IntArray, minimum: int, settings: SplitSettings
) -> tuple[IntArray, IntArray]:
    if len(eligible) < 2:
        raise _refusal(
            data,
            "user_id",
            f"no unseen users possible: {len(eligible)} of the {len(np.unique(data.user))} users "
            f"have {minimum} comparisons on training texts and one on evaluation texts; two are "
            "needed (lower min_comparisons, or bring more data)",
        )
    order = hash_order(settings.seed, "users", [data.user_ids[i] for i in eligible])
    cut = min(max(round(settings.seen * len(eligible)), 1), len(eligible) - 1)
    return np.sort(eligible[order[:cut]]), np.sort(eligible[order[cut:]])


@dataclass(frozen=True, eq=False)
class NewSplit:
    """Data that a model was not trained on, divided for evaluation; rows of `data`.

    evaluation_of_seen: comparisons of users known to the model. reference, evaluation: of the
    others. No evaluated text was trained on, and none of `evaluation` stands in `reference`.
    """

    data: PreferenceData
    seen: IntArray
    unseen: IntArray
    evaluation_of_seen: IntArray
    reference: IntArray
    evaluation: IntArray


def divide_new(
    data: PreferenceData, known_text: BoolArray, known_user: BoolArray, settings: SplitSettings
) -> NewSplit:
    """Divide data that may share users (U,) and texts (M,) with what a model was trained on."""
    text, side = _hold_out(data, settings)
    fresh = ~known_text[data.chosen] & ~known_text[data.rejected]
    of_known = known_user[data.user]
    in_reference = ~side & ~text[data.chosen] & ~text[data.rejected]
    evaluation = np.flatnonzero(~of_known & fresh & side)
    reference = np.flatnonzero(~of_known & in_reference)
    of_seen = np.flatnonzero(of_known & fresh)
    return NewSplit(
        data=data,
        seen=np.unique(data.user[of_seen]),
        unseen=np.unique(data.user[evaluation]),
        evaluation_of_seen=of_seen,
        reference=in_random_order(data, reference, settings.seed),
        evaluation=evaluation,
    )


def describe(split: Split) -> dict[str, Any]:
    """The split in numbers, for people and for the model card."""
    return {
        "kind": split.settings.kind,
        "seed": split.settings.seed,
        "min_comparisons": split.min_comparisons,
        "seen_users": len(split.seen),
        "unseen_users": len(split.unseen),
        **split.counts,
    }
