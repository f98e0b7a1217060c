"""The users on whom win rates are measured, from files: answers, profiles, true tastes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palate.alignment.annotators_pairs import traits
from palate.alignment.baselines import TestedUser
from palate.alignment.judge_prompts import prompt_named
from palate.data.benchmarks.record_files import rows_of_file
from palate.data.benchmarks.rows import Row, parse_rows, require_columns
from palate.data.comparisons import PreferenceData
from palate.data.synthetic.attributes import ATTRIBUTES
from palate.errors import DataError, Problem

#: Keys of a world's truth that hold tastes.
USERS, ALICE = "users", "alice"


@dataclass(frozen=True)
class Profile:
    """A user in words, and the system prompt that the user wrote."""

    profile: str
    system: str | None = None


def read_profiles(path: Path) -> dict[str, Profile]:
    """Profiles from a Parquet or JSON Lines file: user_id, profile, and system where there is one.

    Raises `DataError` for a bad row, and for a user who is there twice.
    """
    rows = rows_of_file(path)
    require_columns(rows, ("user_id", "profile"))
    found: dict[str, Profile] = {}

    def parse(row: Row) -> None:
        user = row.name("user_id")
        if user in found:
            raise row.fault("user_id", f"{user!r} has a profile already")
        system = None if row.absent("system") else row.text("system")
        found[user] = Profile(row.text("profile"), system)

    parse_rows(rows, parse)
    return found


def read_tastes(path: Path) -> dict[str, list[float]]:
    """True weights (7,) by user, from the truth.json of an Attributes world. Raises `DataError`."""
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
        tastes: dict[str, Any] = dict(truth[USERS])
        tastes[ALICE] = truth[ALICE]["weights"]
        if any(
            np.shape(np.array(one, dtype=float)) != (len(ATTRIBUTES),) for one in tastes.values()
        ):
            raise ValueError(f"a taste has not {len(ATTRIBUTES)} weights")
    except (OSError, ValueError, KeyError, TypeError) as error:
        fault = (
            f"holds no tastes ({error}): give the truth.json that `palate data attributes` writes"
        )
        raise DataError([Problem(str(path), None, None, fault)]) from error
    return tastes


def profiles_of_tastes(tastes: Mapping[str, Sequence[float]]) -> dict[str, Profile]:
    """Each taste in words, and the system prompt that such a user would write."""
    found = {}
    for user, weights in tastes.items():
        words = traits(np.sign(np.array(weights)).astype(np.int64))
        if len(words) != 2:
            raise DataError(f"the taste of {user!r} is {words}; expected two traits")
        system = prompt_named("attributes_response_v1").substitute(first=words[0], second=words[1])
        found[user] = Profile(f"Likes answers that are {' and '.join(words)}.", system)
    return found


def users_of(answers: PreferenceData, profiles: Mapping[str, Profile]) -> list[TestedUser]:
    """The users of some comparisons, with what is known of each."""
    by_user: dict[int, list[int]] = {}
    for row, user in enumerate(answers.user.tolist()):
        by_user.setdefault(user, []).append(row)
    return [_user(answers, user, rows, profiles) for user, rows in by_user.items()]


def _user(
    answers: PreferenceData, user: int, rows: Sequence[int], profiles: Mapping[str, Profile]
) -> TestedUser:
    name = answers.user_ids[user]
    known = profiles.get(name, Profile(""))
    own = tuple(answers.select(np.array(rows, dtype=np.int64)))
    return TestedUser(name, own, known.profile, known.system)
