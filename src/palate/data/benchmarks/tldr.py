"""TL;DR (Stiennon et al., 2020): people who judged many summaries of Reddit posts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from palate.data.benchmarks.cards import DataCard
from palate.data.benchmarks.origin import Origin
from palate.data.benchmarks.prepared import Benchmark, Prepared, prepare
from palate.data.benchmarks.rows import Row, parse_rows, require_columns
from palate.data.protocols import Use
from palate.data.splits import hash_order
from palate.errors import SettingsError, SplitError

ORIGIN = Origin("openai/summarize_from_feedback", "comparisons", ("train", "validation"))

NEWS = "summaries of news articles (CNN/DM)"
EMPTY = "comparisons with an empty text"
SAME = "comparisons of a summary with itself"


@dataclass(frozen=True)
class TLDROptions:
    """What VRF's table 3 has, by default; training=150 is its other setting.

    training: comparisons of a seen user that are learned from, out of `reserved` ones that are
    never evaluated, so that either setting is evaluated on the same. reference: of an unseen
    user. seen, unseen: workers drawn among those with min_annotations.
    """

    training: int = 100
    reserved: int = 150
    reference: int = 50
    seen: int = 20
    unseen: int = 20
    min_annotations: int = 50

    def __post_init__(self) -> None:
        for name in ("training", "reference", "seen", "unseen", "min_annotations"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.training > self.reserved:
            raise SettingsError(
                f"training is {self.training}, more than the {self.reserved} reserved for it; "
                "raise reserved"
            )


@dataclass(frozen=True)
class Annotation:
    """A worker's choice; `flaw` says why it is no comparison, None if it is one."""

    worker: str
    post: str
    prompt: str
    chosen: str
    rejected: str
    flaw: str | None

    @property
    def taught(self) -> tuple[str, str, str]:
        """What a model knows that has learned from it: the post and two summaries."""
        return self.post, self.chosen, self.rejected


def load(source: str | Path | None, seed: int, options: TLDROptions) -> Prepared:
    """Read both parts, draw the workers, and give each worker's comparisons their use."""
    read = [row for part in ORIGIN.parts for row in ORIGIN.read(part, source)]
    require_columns(read, ("info", "summaries", "choice", "worker"))
    annotations = parse_rows(read, _annotation)
    usable = [one for one in annotations if one.flaw is None]
    workers = _by_worker(usable, seed)
    seen, unseen = _draw(workers, seed, options)
    used = [
        *_uses(workers, seen, "train", options.training, options.reserved),
        *_uses(workers, unseen, "reference", options.reference, options.reference),
    ]
    learned = {text for one, use in used if use != "evaluation" for text in one.taught}
    kept = [
        (one, use)
        for one, use in used
        if use in ("train", "reference") or learned.isdisjoint(one.taught)
    ]
    flaws = Counter(one.flaw for one in annotations)
    reserved = sum(use == "reserved" for _, use in used)
    left_out = {flaw: flaws[flaw] for flaw in (NEWS, EMPTY, SAME)} | {
        "comparisons of workers not drawn": len(usable) - len(used),
        "comparisons reserved for training and not used": reserved,
        "comparisons on posts or of texts that are learned from": len(used) - len(kept) - reserved,
    }
    card = _card(source, options, left_out)
    counts = {"annotations_read": len(read), "workers_read": len({a.worker for a in annotations})}
    uses: list[Use] = [use for _, use in kept if use != "reserved"]
    rows = [_row(one) for one, _ in kept]
    return prepare(replace(card, counts=counts), rows, uses, seed, options)


def _uses(
    workers: dict[str, list[Annotation]], names: list[str], use: Use, learned: int, reserved: int
) -> Iterator[tuple[Annotation, Use | Literal["reserved"]]]:
    """The first comparisons of each worker are learned from, the last ones evaluated."""
    for name in names:
        for place, one in enumerate(workers[name]):
            first = use if place < learned else "reserved"
            yield one, first if place < reserved else "evaluation"


def _card(source: str | Path | None, options: TLDROptions, left_out: dict[str, int]) -> DataCard:
    return DataCard(
        name="tldr",
        title="TL;DR summaries",
        source=str(source or ORIGIN.hub_id),
        hub_id=ORIGIN.hub_id,
        licence="as its page on the hub says; not verified here",
        citation="Stiennon et al., Learning to summarize from human feedback, 2020, "
        "arXiv:2009.01325",
        prepared=(
            f"A user is a worker with at least {options.min_annotations} usable annotations. In "
            f"one random order of the posts, a seen user's first {options.reserved} are kept for "
            f"training, of which the first {options.training} train, and an unseen user's first "
            f"{options.reference} are reference. All others are evaluated whose post nobody "
            "learns from. The prompt is the subreddit, the title and the post, then TL;DR:."
        ),
        left_out=left_out,
        notes=(
            "Seen users are drawn among the workers with more comparisons than are reserved, "
            "unseen ones among the others with more than the reference.",
        ),
    )


def _annotation(row: Row) -> Annotation:
    info, summaries = row.inner("info"), row.inner_list("summaries")
    if len(summaries) != 2:
        raise row.fault("summaries", f"expected two summaries, found {len(summaries)}")
    choice, worker = row.whole("choice", 0, 1), row.name("worker")
    chosen, rejected = (summaries[i].string("text") for i in (choice, 1 - choice))
    if not info.absent("article"):
        return Annotation(worker, "", "", chosen, rejected, NEWS)
    title = "" if info.absent("title") else info.string("title")
    subreddit = "" if info.absent("subreddit") else info.string("subreddit")
    post = info.string("post")
    prompt = f"SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:"
    flaw = SAME if chosen == rejected else None
    if not all(text.strip() for text in (post, chosen, rejected)):
        flaw = EMPTY
    return Annotation(worker, info.name("id"), prompt, chosen, rejected, flaw)


def _row(one: Annotation) -> dict[str, str]:
    return {
        "user_id": one.worker,
        "prompt": one.prompt,
        "chosen": one.chosen,
        "rejected": one.rejected,
        "group": one.post,
    }


def _by_worker(annotations: Sequence[Annotation], seed: int) -> dict[str, list[Annotation]]:
    """Each worker's annotations, all in one random order of the posts.

    As everybody learns from the first posts of one order, few others are lost to evaluation.
    """
    posts = sorted({one.post for one in annotations})
    order = hash_order(seed, "posts", posts)
    place = {posts[number]: rank for rank, number in enumerate(order.tolist())}
    workers: dict[str, list[Annotation]] = {}
    for one in annotations:
        workers.setdefault(one.worker, []).append(one)
    for mine in workers.values():
        # Texts sorted, so that neither the rows' order nor the choice decides.
        mine.sort(key=lambda one: (place[one.post], sorted((one.chosen, one.rejected))))
    return workers


def _draw(
    workers: dict[str, list[Annotation]], seed: int, options: TLDROptions
) -> tuple[list[str], list[str]]:
    """The seen and the unseen workers, each with a comparison left to be evaluated on."""
    names = sorted(name for name in workers if len(workers[name]) >= options.min_annotations)
    shuffled = [names[i] for i in hash_order(seed, "workers", names)]
    able = [name for name in shuffled if len(workers[name]) > options.reserved]
    seen = able[: options.seen]
    others = [name for name in shuffled if name not in seen]
    unseen = [name for name in others if len(workers[name]) > options.reference][: options.unseen]
    if len(seen) < options.seen or len(unseen) < options.unseen:
        raise SplitError(
            f"{len(names)} workers have {options.min_annotations} comparisons, of whom "
            f"{len(seen)} can be seen (wanted {options.seen}, with more than {options.reserved}) "
            f"and {len(unseen)} unseen (wanted {options.unseen}, with more than "
            f"{options.reference}); is the copy complete? Otherwise ask for fewer"
        )
    return seen, unseen


BENCHMARK = Benchmark("TL;DR summaries", TLDROptions, load)
