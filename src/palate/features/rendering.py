"""Prompts and responses as a backbone reads them: strings by its template, token ids, the cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palate.errors import BackboneError
from palate.features.spec import BackboneSpec
from palate.types import Message, Text

TextPair = tuple[Text, Text]


class Renderer:
    """A backbone's tokenizer, with its chat template where it is a causal model that has one."""

    def __init__(self, spec: BackboneSpec, tokenizer: Any) -> None:  # noqa: ANN401
        self.spec = spec
        self.tokenizer = tokenizer

    @property
    def templated(self) -> bool:
        """Whether texts are rendered by a chat template, which writes the special tokens itself."""
        return self.spec.kind == "causal" and bool(self.tokenizer.chat_template)

    def render(self, prompt: Text, response: Text) -> str:
        """The string that is read: by the chat template where there is one, else joined."""
        if self.templated:
            return self._render_turns((*_turns(prompt, "user"), *_turns(response, "assistant")))
        return f"{_plain(prompt)}\n\n{_plain(response)}{self._end}"

    def render_prompt(self, prompt: Text) -> str:
        """A prompt by itself: with the template's opening of the answer, else its plain text."""
        return self._render_opening(prompt) if self.templated else _plain(prompt)

    def divide(self, prompt: Text, response: Text) -> tuple[str, str]:
        """What stands before a response, and the response with the mark that ends it.

        Together they are `render(prompt, response)`, except under a template that opens an answer
        otherwise than it renders a given one: there the response is its plain text and the end.
        """
        if not self.templated:
            return f"{_plain(prompt)}\n\n", f"{_plain(response)}{self._end}"
        opening, whole = self._render_opening(prompt), self.render(prompt, response)
        if whole.startswith(opening):
            return opening, whole[len(opening) :]
        return opening, f"{_plain(response)}{self._end}"

    def tokenize(self, rendered: Sequence[str]) -> list[list[int]]:
        """Token ids of whole texts, with the model's special tokens. Each has one at least."""
        ids = self._ids(rendered, special=not self.templated)
        self._check(rendered, ids)
        return ids

    def tokenize_divided(
        self, divided: Sequence[tuple[str, str]]
    ) -> list[tuple[list[int], list[int]]]:
        """Token ids of what `divide` gives, each part by itself.

        So the ids of a response are the same after every prompt, and no token lies across the
        boundary. The model's special tokens for a beginning stand before; those for an end, none.
        """
        before = [first for first, _ in divided]
        after = [second for _, second in divided]
        responses = self._ids(after, special=False)
        self._check(after, responses)
        leading = [] if self.templated else self._leading()
        prefixes = [leading + ids for ids in self._ids(before, special=False)]
        return list(zip(prefixes, responses, strict=True))

    def cut(self, ids: list[int]) -> list[int]:
        """The last `max_tokens`, so that the response stays; a leading special token stays too."""
        excess = len(ids) - self.spec.max_tokens
        if excess <= 0:
            return ids
        leading = int(ids[0] in self.tokenizer.all_special_ids)
        return ids[:leading] + ids[leading + excess :]

    @property
    def _end(self) -> str:
        return self.tokenizer.eos_token or "" if self.spec.kind == "causal" else ""

    def _leading(self) -> list[int]:
        """The special tokens that the tokenizer puts before a text."""
        encoded = self.tokenizer("a", return_special_tokens_mask=True)
        text = encoded["special_tokens_mask"].index(0)
        ids: list[int] = encoded["input_ids"][:text]
        return ids

    def _ids(self, rendered: Sequence[str], *, special: bool) -> list[list[int]]:
        if not rendered:
            return []
        encoded = self.tokenizer(
            list(rendered),
            add_special_tokens=special,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _check(self, rendered: Sequence[str], ids: list[list[int]]) -> None:
        if not all(ids):
            text = rendered[ids.index([])][:60]
            raise BackboneError(f"backbone {self.spec.name!r} has no token for any of {text!r}")

    def _render_opening(self, prompt: Text) -> str:
        # a response is no chain of thought: templates that know of one are told to leave it out,
        # as they do where they render a given response
        opening = {"add_generation_prompt": True, "enable_thinking": False}
        return self._render_turns(_turns(prompt, "user"), **opening)

    def _render_turns(self, turns: Sequence[Message], **options: bool) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, **options))
        except Exception as error:  # a template is a program: whatever it raises, it refuses
            roles = ", ".join(turn.role for turn in turns)
            raise BackboneError(
                f"the chat template of {self.spec.name!r} refuses turns of {roles}: {error}"
            ) from error


def _turns(text: Text, role: str) -> tuple[Message, ...]:
    return (Message(role, text),) if isinstance(text, str) else text


def _plain(text: Text) -> str:
    if isinstance(text, str):
        return text
    if len(text) == 1:
        return text[0].content
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in text)
