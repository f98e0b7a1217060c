"""The Attributes world: users and responses whose true rewards are known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from palate.data.synthetic.attributes import ATTRIBUTES
from palate.data.synthetic.config import AttributesConfig


@dataclass(frozen=True)
class Response:
    """An answer to the prompt of that number; attributes (7,), each -1, 0 or +1."""

    prompt: int
    text: str
    attributes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AttributesWorld:
    """Prompts, responses, users and what the users answered.

    prompts, groups  one a subject: the question, and the slug that names it
    responses        contrasting pairs one after the other: 2i and 2i + 1 are asked together
    weights          (U, 7), two entries +-1 a user; the true reward is weights . attributes
    answers          (N, 3) of (user, chosen, rejected), numbers of users and responses
    """

    config: AttributesConfig
    prompts: tuple[str, ...]
    groups: tuple[str, ...]
    responses: tuple[Response, ...]
    user_ids: tuple[str, ...]
    weights: NDArray[np.int64]
    answers: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.weights.setflags(write=False)
        self.answers.setflags(write=False)

    def columns(self) -> dict[str, list[str]]:
        """The comparisons by column: user_id, prompt, chosen, rejected, group."""
        users, chosen, rejected = self.answers.T.tolist()
        prompts = [self.responses[index].prompt for index in chosen]
        return {
            "user_id": [self.user_ids[user] for user in users],
            "prompt": [self.prompts[prompt] for prompt in prompts],
            "chosen": [self.responses[index].text for index in chosen],
            "rejected": [self.responses[index].text for index in rejected],
            "group": [self.groups[prompt] for prompt in prompts],
        }

    @property
    def rows(self) -> list[dict[str, str]]:
        """The comparisons one by one, with the keys of `columns`."""
        columns = self.columns()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def response(self, text: str) -> Response:
        """The response with exactly this text."""
        if text not in self._by_text:
            raise KeyError(f"{text[:60]!r} is not a response of this world")
        return self._by_text[text]

    def attributes_of(self, text: str) -> tuple[int, ...]:
        """The true attributes (7,) of the response with exactly this text."""
        return self.response(text).attributes

    def true_reward(self, user_id: str, prompt: str, response: str) -> float:
        """The user's true reward, an integer from -2 to +2."""
        answer = self.response(response)
        if self.prompts[answer.prompt] != prompt:
            raise ValueError(f"the response {response[:60]!r} does not answer {prompt!r}")
        return float(self.weights_of(user_id) @ np.array(answer.attributes))

    def weights_of(self, user_id: str) -> NDArray[np.int64]:
        """The user's true weights (7,)."""
        if user_id not in self._user_rows:
            raise KeyError(f"{user_id!r} is not a user of this world")
        weights: NDArray[np.int64] = self.weights[self._user_rows[user_id]]
        return weights

    def describe(self, user_id: str) -> str:
        """The user's taste in words, such as "likes formal and concise answers"."""
        weights = self.weights_of(user_id)
        liked = [ATTRIBUTES[index].direction(weights[index]) for index in np.flatnonzero(weights)]
        return f"likes {' and '.join(liked)} answers"

    @cached_property
    def _by_text(self) -> dict[str, Response]:
        return {response.text: response for response in self.responses}

    @cached_property
    def _user_rows(self) -> dict[str, int]:
        return {user_id: row for row, user_id in enumerate(self.user_ids)}
