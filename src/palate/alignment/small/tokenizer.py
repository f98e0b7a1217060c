"""The small policy's own tokenizer: words, runs of words that recur, bytes; and a chat template.

The world's phrases recur word for word. With frequent beginnings and ends of sentences as tokens of
their own an answer is some twenty tokens instead of eighty, so that training takes minutes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

PAD, SYSTEM, USER, ASSISTANT, END = SPECIAL = (
    "<|pad|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)
#: The space before each content is the one before each sentence: they are the same tokens anywhere.
TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|' + message['role'] + '|> ' + message['content'] }}"
    "{%- if message['role'] == 'assistant' -%}{{ '<|end|>' }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)
#: A sentence, and a word or sign, each with the space before it.
SENTENCE = r"\s*[^.!?]+[.!?]*"
WORD = r"\s*(?:[\w'-]+|[^\w\s])"
#: A run is a token where it stands in so many sentences, and not mostly within the same longer run.
LEAST, WITHIN = 12, 0.6
#: Share of the vocabulary that single words may take.
WORDS = 0.5


def train_tokenizer(texts: Iterable[str], size: int) -> Any:  # noqa: ANN401
    """A fast tokenizer of transformers with up to `size` tokens; any text has ids.

    A text is read in the fewest tokens that it can be: a unigram model whose pieces cost alike,
    bytes more.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    into_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = _pieces(texts, size - len(SPECIAL) - len(alphabet))
    as_bytes = [into_bytes.pre_tokenize_str(piece)[0][0] for piece in pieces]
    costs = dict.fromkeys(SPECIAL, 0.0) | dict.fromkeys(alphabet, -3.0)
    costs |= {piece: -1.0 for piece in as_bytes if piece not in costs}
    tokenizer = Tokenizer(models.Unigram(list(costs.items()), unk_id=0, byte_fallback=False))
    split = pre_tokenizers.Split(Regex(SENTENCE), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, into_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=TEMPLATE,
        padding_side="left",
    )


def _pieces(texts: Iterable[str], count: int) -> list[str]:
    """The most frequent words, and the runs of words that save the most tokens."""
    words: Counter[str] = Counter()
    heads: Counter[str] = Counter()
    tails: Counter[str] = Counter()
    length: dict[str, int] = {}
    for sentence, times in Counter(s for t in texts for s in re.findall(SENTENCE, " " + t)).items():
        parts = re.findall(WORD, sentence)
        for number in range(1, len(parts)):
            head, tail = "".join(parts[: number + 1]), "".join(parts[number - 1 :])
            heads[head] += times
            tails[tail] += times
            length |= {head: number + 1, tail: len(parts) - number + 1}
        words.update(dict.fromkeys(parts, times))
    runs = _closed(heads, at_end=True) | _closed(tails, at_end=False)
    saved = {run: times * (length[run] - 1) for run, times in runs.items() if times >= LEAST}
    chosen = [word for word, _ in _first(words, int(WORDS * count))]
    return chosen + [run for run, _ in _first(saved, count - len(chosen))]


def _closed(runs: Mapping[str, int], *, at_end: bool) -> dict[str, int]:
    """Runs that no run of one word more, at the end or at the beginning, mostly stands for."""
    longest: Counter[str] = Counter()
    for run, times in runs.items():
        parts = re.findall(WORD, run)
        inner = "".join(parts[:-1] if at_end else parts[1:])
        longest[inner] = max(longest[inner], times)
    return {run: times for run, times in runs.items() if longest[run] < WITHIN * times}


def _first(counted: Mapping[str, int], count: int) -> list[tuple[str, int]]:
    """The largest entries; equal ones in the order of the alphabet."""
    return sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))[:count]
