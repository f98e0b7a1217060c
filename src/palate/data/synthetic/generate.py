"""Generates an Attributes world from its config, with one generator for every draw."""

import numpy as np
from numpy.typing import NDArray

from palate.data.synthetic.asking import ask
from palate.data.synthetic.attributes import ATTRIBUTES
from palate.data.synthetic.config import AttributesConfig
from palate.data.synthetic.content import Subject, load_content
from palate.data.synthetic.near_copies import Shingles, jaccard, shingles
from palate.data.synthetic.users import draw_users
from palate.data.synthetic.world import AttributesWorld, Response
from palate.data.synthetic.writer import Writer

EXPRESSED = (1, 2)  # fewest and most attributes in which the responses of a pair contrast
NEAR_COPY = 0.5  # two responses to a prompt share less than this of their runs of five words
ATTEMPTS = 200  # draws of a text before the subject counts as exhausted; the first mostly does


def make_attributes_world(config: AttributesConfig) -> AttributesWorld:
    """The world of this config; the same config gives the same bytes."""
    rng = np.random.default_rng(config.seed)
    subjects = load_content().subjects
    prompts = tuple(subject.prompts[rng.integers(len(subject.prompts))] for subject in subjects)
    responses = tuple(
        response
        for number, subject in enumerate(subjects)
        for response in _write_pairs(number, subject, config.pairs, rng)
    )
    weights = draw_users(config.users, rng)
    return AttributesWorld(
        config=config,
        prompts=prompts,
        groups=tuple(subject.slug for subject in subjects),
        responses=responses,
        user_ids=tuple(f"user-{number:04d}" for number in range(config.users)),
        weights=weights,
        answers=_ask_users(config, responses, weights, rng),
    )


def draw_attributes(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Attributes (count, 7): which ones are expressed, and in which direction, is random."""
    shape = (count, len(ATTRIBUTES))
    expressed = rng.integers(*EXPRESSED, size=(count, 1), endpoint=True)
    ranks = rng.permuted(np.broadcast_to(np.arange(shape[1]), shape), axis=1)
    return np.where(ranks < expressed, rng.choice([-1, 1], shape), 0)


def _write_pairs(
    prompt: int, subject: Subject, count: int, rng: np.random.Generator
) -> list[Response]:
    """Pairs one after the other: a response, and one that expresses the opposite traits."""
    writer = Writer(load_content(), subject, rng)
    written: list[Shingles] = []
    responses = []
    for row in np.repeat(draw_attributes(count, rng), 2, axis=0) * np.tile([[1], [-1]], (count, 1)):
        text = _write_distinct(writer, row.tolist(), written)
        responses.append(Response(prompt, text, tuple(row.tolist())))
    return responses


def _write_distinct(writer: Writer, attributes: list[int], written: list[Shingles]) -> str:
    """A text that is no near copy of those written so far, to which it is added."""
    for _ in range(ATTEMPTS):
        text = writer.write(attributes)
        runs = shingles(text)
        if all(jaccard(runs, other) < NEAR_COPY for other in written):
            written.append(runs)
            return text
    raise ValueError(
        f"no new response with attributes {attributes} after {len(written)} to its prompt: "
        "lower pairs"
    )


def _ask_users(
    config: AttributesConfig,
    responses: tuple[Response, ...],
    weights: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The answers (N, 3) of all users: user, chosen response, rejected response."""
    pairs = np.arange(len(responses)).reshape(-1, 2)
    rewards = weights @ np.array([response.attributes for response in responses]).T
    answers = [
        np.insert(ask(row, pairs, config.comparisons, config.scale, rng), 0, user, axis=1)
        for user, row in enumerate(rewards)
    ]
    return np.concatenate(answers)
