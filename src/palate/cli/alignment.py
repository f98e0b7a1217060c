"""`palate align`: answers of a language model, and the one that a user likes best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palate.cli.output import (
    JsonOption,
    decimal,
    note,
    percent,
    print_json,
    print_table,
    short,
)
from palate.cli.upstream import (
    BudgetOption,
    ModelOption,
    PatienceOption,
    PriceInOption,
    PriceOutOption,
    RequestOption,
    Upstream,
    UpstreamOption,
)
from palate.cli.users import CacheOption, RunArgument

if TYPE_CHECKING:
    from palate.alignment.best_of_n import Best
    from palate.alignment.policy import Policy, Request

CandidatesOption = Annotated[int, typer.Option(min=1, help="Answers to choose from.")]
ChooseOption = Annotated[str, typer.Option(help="mean, lower or best, as said above.")]
TemperatureOption = Annotated[float, typer.Option(help="Of the sampling.")]
MaxTokensOption = Annotated[int, typer.Option(min=1, help="Of one answer.")]
StyleOption = Annotated[
    list[str] | None,
    typer.Option("--style", help="A system prompt that candidates take turns with; may repeat."),
]


def align(
    run: RunArgument,
    prompt: Annotated[str, typer.Option(help="What is to be answered.")],
    user: Annotated[
        Path | None, typer.Option(help="The user's posterior.", show_default="the population")
    ] = None,
    upstream: UpstreamOption = None,
    model: ModelOption = None,
    candidates: CandidatesOption = 8,
    choose: ChooseOption = "mean",
    style: StyleOption = None,
    temperature: TemperatureOption = 1.0,
    max_tokens: MaxTokensOption = 512,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    price_in: PriceInOption = 0.0,
    price_out: PriceOutOption = 0.0,
    budget: BudgetOption = None,
    patience: PatienceOption = 120.0,
    request: RequestOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a prompt for one user: sample candidates, choose the one that the user likes best.

    --choose mean takes the highest expected reward, lower the highest reward that is undercut with
    probability 5%, best the likeliest to have the highest. Prints every candidate, what the choice
    gains over the first one (the plain answer), and whether more candidates would pay.

    Example: palate align runs/first --user alice.json --prompt "Why is the sky blue?"
    """
    from typing import get_args

    from palate.alignment.best_of_n import Rule, best_of_n
    from palate.alignment.policy import Request
    from palate.data.candidates import read_prompt
    from palate.errors import SettingsError
    from palate.model import PersonalRewardModel

    if choose not in get_args(Rule):
        raise SettingsError(f"--choose is {choose!r}; expected {', '.join(get_args(Rule))}")
    if not 0 <= temperature <= 2:
        raise SettingsError(f"--temperature is {temperature}; expected 0 to 2")
    question = read_prompt(prompt)
    loaded = PersonalRewardModel.load(run, cache=cache)
    profile = None if user is None else loaded.load_user(user)
    up = Upstream(upstream, price_in, price_out, budget, patience, request)
    if upstream is not None and model is None:
        raise SettingsError("--upstream needs --model, the name of the model there")
    policy = up.policy(model, cache)
    asked = Request(question, candidates, temperature=temperature, max_tokens=max_tokens, seed=seed)
    _announce(policy, asked, style or [])
    rule: Any = choose
    best = best_of_n(loaded, policy, asked, profile, styles=style or [], rule=rule)
    up.tell_spent()
    if as_json:
        print_json(
            {"prompt": prompt, "model": loaded.identity, "policy": policy.name, **_told(best)}
        )
    else:
        _print_best(prompt, best)


def _announce(policy: Policy, request: Request, styles: list[str]) -> None:
    """Say what a request costs at most; raises `PolicyError` where it is above the budget."""
    from palate.alignment.spending import ROOM, Billed

    if not isinstance(policy, Billed):
        return
    longest = max(styles, key=lambda text: len(text.encode()), default=None)
    alone = [
        replace(request, count=1, system=longest, seed=request.seed + place)
        for place in range(request.count)
    ]
    bound = policy.bound(alone).times(ROOM)
    cost = policy.spending.announce(bound)
    note(
        f"{policy.name}: at most {bound.prompt:,} tokens read and {bound.completion:,} written, "
        f"cost at most {cost:.4f}"
    )


def _told(best: Best) -> dict[str, Any]:
    """A choice for programs; candidates best first."""
    from palate.ranking import rank

    return {
        "candidates": [
            {
                "index": one.index,
                "reward": one.reward,
                "sd": one.sd,
                "p_best": one.p_best,
                "style": best.candidates[one.index].style,
                "text": best.candidates[one.index].text,
            }
            for one in rank(best.rewards).candidates
        ],
        "chosen": best.chosen,
        "rule": best.rule,
        "gain": best.gain,
        "p_over_first": best.p_over_first,
        "more": best.more,
        "improvement": best.improvement,
        "pays": best.pays,
        "removed": best.removed,
    }


def _print_best(prompt: str, best: Best) -> None:
    told = _told(best)
    styled = any(one["style"] for one in told["candidates"])
    rows = [
        (
            f"{'*' if one['index'] == best.chosen else ''}{one['index']}",
            decimal(one["reward"]),
            decimal(one["sd"]),
            percent(one["p_best"]),
            *([short(one["style"] or "-", 20)] if styled else []),
            short(one["text"]),
        )
        for one in told["candidates"]
    ]
    words = ("style", "text") if styled else ("text",)
    print_table(prompt, ("candidate", "reward", "sd", "p_best", *words), rows, words=words)
    if best.removed:
        note(f"note: {best.removed} candidates were empty or near copies of others")
    typer.echo(f"chosen by {best.rule}: candidate {best.chosen}\n\n{best.text}\n")
    typer.echo(
        f"expected reward over the first candidate: {best.gain:+.3f}; preferred to it with "
        f"probability {percent(best.p_over_first)}"
    )
    advice = "they would pay" if best.pays else "not worth it"
    typer.echo(f"{best.more} more candidates are expected to add {best.improvement:.3f}: {advice}")
