"""Users' rewards for training a policy itself: callables for TRL's GRPOTrainer and RLOOTrainer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from palate.adaptation.profile import UserProfile
from palate.errors import DataError, SettingsError
from palate.model import PersonalRewardModel
from palate.predictive import lower_bound
from palate.types import Message, Text, as_text

#: What an unknown user gets: an error, or the population's rewards.
Unknown = Literal["error", "population"]
Turns = str | Sequence[Message | dict[str, str]]


class PersonalReward:
    """f(prompts, completions, user_id=..., **columns) -> a reward a completion.

    users: profiles by the id that stands in the data set's column `user_id`. bound: "mean" is the
    expected reward; "lower" what is undercut with probability `level` given what is not known of
    the user, so that nothing is gained by writing what is merely uncertain.

    The KL budget is the trainer's, not the reward's: a reward model is right near the texts that it
    was trained on, and the further the policy moves the more it finds what the model overrates. Set
    `beta` of GRPOConfig or RLOOConfig, stop at a KL that you chose before (both trainers log `kl`),
    and look at the answers. Rewards are logits of preference: one unit more is preferred with
    probability sigmoid(1), and a beta of 0.1 lets a nat of KL cost a tenth of that unit.

    All texts of a call are encoded at once, each distinct one once. With RLOO and GRPO alike a
    user's population level cancels within a prompt's group.
    """

    def __init__(
        self,
        model: PersonalRewardModel,
        users: Mapping[str, UserProfile],
        *,
        bound: Literal["mean", "lower"] = "mean",
        level: float = 0.05,
        unknown: Unknown = "error",
    ) -> None:
        if bound not in ("mean", "lower"):
            raise SettingsError(f"bound is {bound!r}; expected 'mean' or 'lower'")
        if unknown not in ("error", "population"):
            raise SettingsError(f"unknown is {unknown!r}; expected 'error' or 'population'")
        if not 0 < level < 1:
            raise SettingsError(f"level is {level}; expected a probability between 0 and 1")
        self.model = model
        self.users = {name: model.check(user) for name, user in users.items()}
        self.bound = bound
        self.level = level
        self.unknown = unknown
        self._nobody = model.new_user()
        self.__name__ = f"palate_{bound}"  # what the trainers log it under

    def __call__(
        self,
        prompts: Sequence[Turns],
        completions: Sequence[Turns],
        user_id: Sequence[str] | None = None,
        **columns: Any,  # noqa: ANN401
    ) -> list[float | None]:
        """Rewards of completions, in their order; other columns are not read. Never None.

        Raises `DataError` for an unknown user, unless the population was chosen for those.
        """
        del columns
        users = self._users_of(user_id, len(prompts))
        texts = [
            (as_text(prompt), _answer(completion))
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        features = self.model.reader.encode(texts)
        states = self.model.reader.encode_prompts([prompt for prompt, _ in texts])
        rewards = torch.zeros(len(texts))
        for places in _together(users, texts, by_prompt=states is not None):
            user = self.users.get(users[places[0]], self._nobody)
            state = None if states is None else states[places[0]]
            rewards[places] = self._rewards(user, features[places], state)
        return [float(reward) for reward in rewards]

    def _rewards(self, user: UserProfile, features: Tensor, prompt: Tensor | None) -> Tensor:
        found = self.model.method.reward(user.posterior, features, prompt)
        return found.mean if self.bound == "mean" else lower_bound(found, self.level)

    def _users_of(self, user_id: Sequence[str] | None, count: int) -> list[str]:
        """The user of each row; "" for nobody."""
        if user_id is None:
            if self.unknown == "population":
                return [""] * count
            raise DataError(
                "the data set has no column 'user_id': add one, or choose unknown='population'"
            )
        if len(user_id) != count:
            raise DataError(f"{len(user_id)} users for {count} prompts; expected one for each")
        strange = sorted({str(user) for user in user_id if user not in self.users})
        if strange and self.unknown == "error":
            shown = ", ".join(map(repr, strange[:3])) + (", ..." if len(strange) > 3 else "")
            raise DataError(
                f"no profile for user {shown}: adapt one from the user's answers, or choose "
                "unknown='population'"
            )
        return [user if user in self.users else "" for user in user_id]


def _together(
    users: Sequence[str], texts: Sequence[tuple[Text, Text]], *, by_prompt: bool
) -> list[list[int]]:
    """Places of one user's rows, and of one prompt where the method reads prompts."""
    found: dict[tuple[str, Text], list[int]] = defaultdict(list)
    for place, (user, (prompt, _)) in enumerate(zip(users, texts, strict=True)):
        found[user, prompt if by_prompt else ""].append(place)
    return list(found.values())


def _answer(completion: Turns) -> Text:
    """A completion as a response: the text alone where it is one turn of a conversation."""
    text = as_text(completion)
    return text[0].content if not isinstance(text, str) and len(text) == 1 else text
