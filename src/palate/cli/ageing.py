"""The options by which old answers count less."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from palate.adaptation import UserProfile
    from palate.model import PersonalRewardModel

DAY = 24 * 60 * 60.0

HalfLifeOption = Annotated[
    float | None,
    typer.Option(help="Days after which an answer counts half.", show_default="all count whole"),
]
NowOption = Annotated[
    str | None,
    typer.Option(
        help="Until when an answer ages: a date, or UTC seconds.", show_default="the present"
    ),
]
Profile = TypeVar("Profile", "UserProfile", "UserProfile | None")


def aged(
    model: PersonalRewardModel, profile: Profile, half_life: float | None, now: str | None
) -> Profile:
    """The profile with its answers aged as the options say, or as it is where they say nothing.

    A profile that ages already keeps its half-life unless another is given. Raises `DataError` for
    options that make no sense.
    """
    if half_life is None and now is None:
        return profile
    moment = time.time() if now is None else _moment(now)
    if half_life is not None and not half_life > 0:
        raise _fault("--half-life", f"{half_life:g} days; expected more than 0")
    if profile is None:
        raise _fault("--half-life", "the population does not age; name a user with --user")
    if half_life is not None:
        return model.age(profile, half_life * DAY, moment)
    if profile.ageing is None:
        raise _fault("--now", "nothing ages; give --half-life too")
    return model.age(profile, profile.ageing.half_life, moment)


def _moment(text: str) -> float:
    from palate.data.validation import FaultError, parse_timestamp

    try:
        return parse_timestamp(text)
    except FaultError as error:
        raise _fault("--now", str(error)) from error


def _fault(option: str, message: str) -> Exception:
    from palate.errors import DataError, Problem

    return DataError([Problem(option, None, None, message)])
