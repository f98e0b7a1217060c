"""Options of commands that ask a language model: which one, what it costs, what may be spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palate.cli.output import note, percent, progress

if TYPE_CHECKING:
    from palate.alignment.endpoint import Endpoint
    from palate.alignment.policy import Policy

#: Reasons of failures that are printed, the most frequent ones.
FAILURES_SHOWN = 5
ENDPOINT = (
    "An OpenAI-compatible endpoint, as http://127.0.0.1:8000/v1; its key is read from "
    "PALATE_UPSTREAM_KEY."
)
UpstreamOption = Annotated[str | None, typer.Option(help=ENDPOINT)]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="Its model, which answers.", show_default="the small policy of the Attributes world"
    ),
]
PriceInOption = Annotated[float, typer.Option(help="Cost of a million tokens read.")]
PriceOutOption = Annotated[float, typer.Option(help="Cost of a million tokens written.")]
BudgetOption = Annotated[
    float | None, typer.Option(help="What may be spent; more is not begun.", show_default="any")
]
PatienceOption = Annotated[
    float, typer.Option(help="Seconds for one try of a request; five times as many in all.")
]
RequestOption = Annotated[
    list[str] | None,
    typer.Option(
        "--request", help="A field of all requests, as reasoning_effort=low; null leaves one out."
    ),
]
ConcurrencyOption = Annotated[int, typer.Option(min=1, help="Requests at once.")]


class Upstream:
    """The endpoint of a command, as its options say; one budget for all models asked there."""

    def __init__(
        self,
        url: str | None,
        price_in: float,
        price_out: float,
        budget: float | None,
        patience: float,
        request: list[str] | None,
        concurrency: int = 8,
    ) -> None:
        from palate.alignment.spending import Prices, Spending
        from palate.settings import parse_assignments

        self.url = url
        self.patience = patience
        self.parameters = parse_assignments(request or [])
        self.concurrency = concurrency
        self.spending = Spending(Prices(price_in, price_out), budget)

    def endpoint(self, model: str | None, cache: Path | None = None) -> Endpoint:
        """A model there, with a cache or without. Raises `SettingsError` where it is not named."""
        from palate.alignment.endpoint import Endpoint
        from palate.alignment.endpoint_settings import EndpointSettings
        from palate.alignment.request_cache import RequestCache
        from palate.errors import SettingsError

        if self.url is None or model is None:
            raise SettingsError("an endpoint needs both --upstream URL and the name of a model")
        return Endpoint(
            EndpointSettings(
                self.url,
                model,
                concurrency=self.concurrency,
                patience=self.patience,
                deadline=5 * self.patience,
                parameters=self.parameters,
            ),
            spending=self.spending,
            cache=None if cache is None else RequestCache(cache),
        )

    def policy(self, model: str | None, cache: Path | None) -> Policy:
        """A model there, whose answers are cached, or the small policy where no model is named."""
        if model is None:
            from palate.alignment.small import small_policy

            return small_policy(cache, progress())
        from palate.features.cache import default_cache_folder

        return self.endpoint(model, (cache or default_cache_folder()) / "requests.sqlite")

    def tell_spent(self) -> None:
        """What was spent, where anything was sent."""
        spent = self.spending
        if not spent.attempts:
            return
        untold = spent.untold_attempts
        most = f" (at most {spent.cost_at_most:.4f}: {untold} told no cost)" if untold else ""
        note(
            f"{self.url}: {spent.attempts:,} requests, {spent.billed.prompt:,} tokens read, "
            f"{spent.billed.completion:,} written, cost {spent.cost:.4f}{most}"
        )
        if spent.excessive:
            note(f"warning: {spent.excessive} answers were billed above their announced bound")


def print_account(judging: dict[str, Any]) -> None:
    """Where the questions went; nothing for a judge that asks none."""
    if not judging:
        return
    counts = judging["account"]
    typer.echo(", ".join(f"{count:,} {name}" for name, count in counts.items()) + " (questions)")
    for one in judging["position"]:
        typer.echo(
            f"{one['judge']}: {percent(one['first'])} of verdicts for the response shown first; "
            f"{percent(one['agreement'])} of pairs alike either way round"
        )
    failures = list(judging["failures"].items())
    for reason, count in failures[:FAILURES_SHOWN]:
        note(f"failed: {count} questions: {reason}")
    if len(failures) > FAILURES_SHOWN:
        note(f"... and {len(failures) - FAILURES_SHOWN} other reasons; --json lists them all")
