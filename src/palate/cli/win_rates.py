"""`palate bench win-rates`: how often users prefer answers that were chosen for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palate.cli.output import JsonOption, note, percent, print_json, print_table, progress
from palate.cli.upstream import (
    BudgetOption,
    ModelOption,
    PatienceOption,
    PriceInOption,
    PriceOutOption,
    RequestOption,
    Upstream,
    UpstreamOption,
    print_account,
)
from palate.cli.users import CacheOption, RunArgument

if TYPE_CHECKING:
    from palate.alignment.win_rate import PairJudge
    from palate.alignment.win_rate_users import Profile


def win_rates(
    run: RunArgument,
    answers: Annotated[Path, typer.Argument(help="Comparisons of the users to measure on.")],
    prompts: Annotated[
        Path, typer.Option(help="Prompts: .txt (one a line), .json, or rows of prompt.")
    ],
    truth: Annotated[
        Path | None, typer.Option(help="truth.json of an Attributes world: its rewards judge.")
    ] = None,
    judge: Annotated[
        list[str] | None, typer.Option("--judge", help="A model of --upstream; may repeat.")
    ] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="user_id, profile, system: users in words for --judge.")
    ] = None,
    bt: Annotated[Path | None, typer.Option(help="A run of the method bt, to compare.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, name=value, such as candidates=8."),
    ] = None,
    upstream: UpstreamOption = None,
    model: ModelOption = None,
    price_in: PriceInOption = 0.0,
    price_out: PriceOutOption = 0.0,
    budget: BudgetOption = None,
    patience: PatienceOption = 120.0,
    request: RequestOption = None,
    journal: Annotated[
        Path | None, typer.Option(help="File of verdicts: a stopped run goes on from it.")
    ] = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """How often users prefer best-of-N for them to a plain answer, a system prompt, and BT's.

    --truth lets the true rewards of an Attributes world judge; --judge asks models of --upstream,
    which are told the users' profiles and see both orders. Settings with --set: answers=[5,10,20],
    candidates=16, choose=mean, prompts=10 (of each user), users=0 (all), temperature, max_tokens,
    seed, concurrency. Without --model the small policy of the Attributes world answers.

    Example: palate bench win-rates runs/first new.parquet --prompts prompts.txt --truth truth.json
    """
    from palate.alignment.annotators_prompts import read_asked
    from palate.alignment.win_rate_run import WinRateExperiment, WinRateSettings
    from palate.alignment.win_rate_users import users_of
    from palate.data import PreferenceData
    from palate.model import PersonalRewardModel
    from palate.settings import build, parse_assignments

    settings = build(WinRateSettings, parse_assignments(setting or []))
    up = Upstream(upstream, price_in, price_out, budget, patience, request, settings.concurrency)
    people, decides = _judging(up, judge or [], truth, profiles, journal)
    experiment = WinRateExperiment(
        PersonalRewardModel.load(run, cache=cache),
        up.policy(model, cache),
        users_of(PreferenceData.load(answers), people),
        [one.prompt for one in read_asked(prompts)],
        settings,
        None if bt is None else PersonalRewardModel.load(bt, cache=cache),
    )
    bound, cost = experiment.announce()
    if bound.completion:
        note(
            f"sampling: at most {bound.prompt:,} tokens read, {bound.completion:,} written, cost "
            f"at most {cost:.4f}"
        )
    found = experiment.run(decides, progress())
    up.tell_spent()
    if experiment.too_few:
        note(f"note: {experiment.too_few} users gave too few answers and are left out")
    if as_json:
        print_json({**found.to_json(), "users_left_out": experiment.too_few})
        return
    for reason, count in found.unanswered.items():
        note(f"note: {count} answers were not given: {reason}")
    missing = any(rate.missing for rate in found.rates)
    rows = [
        (
            rate.contender,
            rate.against,
            percent(rate.mean if rate.users else None),
            f"{percent(rate.low)} to {percent(rate.high)}",
            str(rate.pairs),
            str(rate.ties),
            *([str(rate.missing)] if missing else []),
        )
        for rate in found.rates
    ]
    columns = ("who", "against", "win rate", "95%", "pairs", "ties", *["not judged"] * missing)
    title = f"win rates by {found.judge}: {len(experiment.users)} users"
    print_table(title, columns, rows, words=("against",))
    print_account(found.judging)


def _judging(
    up: Upstream,
    judges: list[str],
    truth: Path | None,
    profiles: Path | None,
    journal: Path | None,
) -> tuple[dict[str, Profile], PairJudge]:
    """What is known of users in words, and who decides."""
    from palate.alignment.judge import Panel
    from palate.alignment.judge_questions import JudgeSettings
    from palate.alignment.request_cache import RequestCache
    from palate.alignment.rule_world import RuleWorldJudge
    from palate.alignment.win_rate_judges import PanelOfModels, TrueRewards
    from palate.alignment.win_rate_users import profiles_of_tastes, read_profiles, read_tastes
    from palate.errors import SettingsError

    if not judges and truth is None:
        raise SettingsError("who judges? give --truth truth.json, or --judge MODEL")
    tastes = {} if truth is None else read_tastes(truth)
    people = profiles_of_tastes(tastes) if profiles is None else read_profiles(profiles)
    if not judges:
        return people, TrueRewards(RuleWorldJudge(tastes))
    panel = Panel(
        [up.endpoint(name) for name in judges],
        JudgeSettings(concurrency=up.concurrency),
        None if journal is None else RequestCache(journal),
    )
    return people, PanelOfModels(panel, note)
