"""PRISM (Kirk et al., 2024): people all over the world who scored responses in conversations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from palate.data.benchmarks.cards import DataCard
from palate.data.benchmarks.origin import Origin
from palate.data.benchmarks.prepared import Benchmark, Prepared, prepare
from palate.data.benchmarks.utterances import Pair, make_pairs, read_utterances
from palate.data.protocols import Use
from palate.data.splits import hash_order
from palate.errors import SettingsError, SplitError

#: The utterances hold all that is needed: turns, chosen responses and scores.
ORIGIN = Origin("HannahRoseKirk/prism-alignment", "utterances", ("train",))


@dataclass(frozen=True)
class PrismOptions:
    """What VRF has, by default.

    balanced: whether the demographically balanced subset alone is taken. seen: share of the users
    who are seen. training: share of each user's conversations that are learned from.
    """

    balanced: bool = True
    seen: float = 0.5
    training: float = 0.5

    def __post_init__(self) -> None:
        for name in ("seen", "training"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected 0 to 1")


def load(source: str | Path | None, seed: int, options: PrismOptions) -> Prepared:
    """Read the utterances, pair them, and divide users and each user's conversations."""
    read = read_utterances(ORIGIN.read("train", source))
    used = [one for one in read if one.balanced] if options.balanced else read
    left_out = Counter({"utterances outside of the balanced subset": len(read) - len(used)})
    pairs = make_pairs(used, left_out)
    kept = _of_users_with_two_conversations(pairs)
    left_out["pairs of users with one conversation"] = len(pairs) - len(kept)
    use = _divide(kept, seed, options)
    counts = {"utterances_read": len(read)}
    card = replace(_card(source, options), counts=counts, left_out=left_out)
    return prepare(card, [_row(pair) for pair in kept], use, seed, options)


def _card(source: str | Path | None, options: PrismOptions) -> DataCard:
    return DataCard(
        name="prism",
        title="PRISM",
        source=str(source or ORIGIN.hub_id),
        hub_id=ORIGIN.hub_id,
        licence="human texts CC-BY-4.0, model responses CC-BY-NC-4.0; see its page on the hub",
        citation="Kirk et al., The PRISM Alignment Dataset, 2024, arXiv:2404.16019",
        prepared=(
            ("The demographically balanced subset. " if options.balanced else "")
            + "One pair an interaction: the response with the highest score against the one with "
            "the lowest. The prompt is the conversation so far, with the responses that the user "
            "chose. Users are divided at random, and so are each user's conversations: of the "
            "first part a seen user's train and an unseen user's are reference, the second part "
            "is evaluated."
        ),
        notes=(
            "Conversations are kept whole, as the prompt of a turn holds responses of the turns "
            "before it.",
        ),
    )


def _row(pair: Pair) -> dict[str, Any]:
    return {
        "user_id": pair.user,
        "prompt": list(pair.prompt),
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "group": pair.conversation,
    }


def _conversations(pairs: Sequence[Pair]) -> dict[str, set[str]]:
    """Each user's conversations."""
    conversations: dict[str, set[str]] = {}
    for pair in pairs:
        conversations.setdefault(pair.user, set()).add(pair.conversation)
    return conversations


def _of_users_with_two_conversations(pairs: Sequence[Pair]) -> list[Pair]:
    """The others have none to learn from or none to be evaluated on."""
    of_user = _conversations(pairs)
    return [pair for pair in pairs if len(of_user[pair.user]) > 1]


def _divide(pairs: Sequence[Pair], seed: int, options: PrismOptions) -> list[Use]:
    """What each pair is for."""
    of_user = _conversations(pairs)
    users = sorted(of_user)
    if len(users) < 2:
        raise SplitError(
            f"{len(users)} users have pairs in two conversations; two users are needed, one seen "
            "and one unseen"
        )
    seen = _first_share(users, options.seen, seed, "users")
    learned: set[str] = set()
    for user in users:
        learned |= _first_share(sorted(of_user[user]), options.training, seed, user)
    return [
        "evaluation"
        if pair.conversation not in learned
        else ("train" if pair.user in seen else "reference")
        for pair in pairs
    ]


def _first_share(names: Sequence[str], share: float, seed: int, purpose: str) -> set[str]:
    """A random share of the names, at least one of them and never all."""
    cut = min(max(round(share * len(names)), 1), len(names) - 1)
    return {names[i] for i in hash_order(seed, purpose, names)[:cut]}


BENCHMARK = Benchmark("PRISM", PrismOptions, load)
