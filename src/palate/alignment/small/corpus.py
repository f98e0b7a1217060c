"""What the small policy learns from: prompts of the Attributes world with freshly written answers.

Half of the answers come with a system prompt that names traits which they have, so that the policy
follows one. Without it the policy writes in every manner of the world, each as often as the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palate.data.synthetic.attributes import ATTRIBUTES
from palate.data.synthetic.content import load_content
from palate.data.synthetic.generate import draw_attributes
from palate.data.synthetic.writer import Writer

#: Share of the documents with a system prompt.
TOLD = 0.5
#: How a system prompt names adjectives; {s} is one of them, or two with "and" between.
SYSTEMS = (
    "Write a {s} answer.",
    "Be {s}.",
    "The user likes {s} answers.",
    "Answer in a {s} way.",
)


@dataclass(frozen=True)
class Document:
    """One conversation: a system prompt or None, a prompt, and the answer."""

    system: str | None
    prompt: str
    answer: str


def write_documents(count: int, seed: int) -> list[Document]:
    """Documents of evenly drawn subjects; the same seed gives the same ones."""
    rng = np.random.default_rng(seed)
    content = load_content()
    writers = [Writer(content, subject, rng) for subject in content.subjects]
    documents = []
    for row in draw_attributes(count, rng).tolist():
        number = int(rng.integers(len(writers)))
        prompts = content.subjects[number].prompts
        prompt = prompts[int(rng.integers(len(prompts)))]
        system = _system(row, rng) if rng.random() < TOLD else None
        documents.append(Document(system, prompt, writers[number].write(row)))
    return documents


def system_prompt(adjectives: Sequence[str], form: int = 0) -> str:
    """A system prompt that the small policy follows, such as "Write a formal answer."."""
    return SYSTEMS[form].replace("{s}", " and ".join(adjectives))


def _system(attributes: list[int], rng: np.random.Generator) -> str:
    """One that names some of the expressed attributes, in any order."""
    expressed = [
        attribute.direction(sign)
        for attribute, sign in zip(ATTRIBUTES, attributes, strict=True)
        if sign
    ]
    named = rng.permutation(expressed)[: rng.integers(1, len(expressed), endpoint=True)]
    return system_prompt(named.tolist(), int(rng.integers(len(SYSTEMS))))
