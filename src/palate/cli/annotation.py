"""`palate data annotate`: comparisons that language models write and judge in people's roles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palate.cli.output import JsonOption, note, print_json, print_table, progress
from palate.cli.upstream import (
    ENDPOINT,
    BudgetOption,
    ConcurrencyOption,
    PatienceOption,
    PriceInOption,
    PriceOutOption,
    RequestOption,
    Upstream,
    print_account,
)


def annotate(
    prompts: Annotated[
        Path, typer.Argument(help="Prompts: .txt (one a line), .json, or rows of prompt, response.")
    ],
    out: Annotated[Path, typer.Option(help="Folder; a stopped run goes on from it.")],
    upstream: Annotated[str, typer.Option(help=ENDPOINT)],
    model: Annotated[str, typer.Option(help="Its model, which writes the responses.")],
    judge: Annotated[
        str | None, typer.Option(help="The model that judges.", show_default="--model")
    ] = None,
    protocol: Annotated[str, typer.Option(help="attributes or prism.")] = "attributes",
    people: Annotated[
        Path | None, typer.Option(help="PRISM's survey, for the protocol prism.")
    ] = None,
    judges: Annotated[int, typer.Option(min=1, help="People for each pair (prism).")] = 50,
    seed: Annotated[int, typer.Option(help="Of people, traits and sampling.")] = 0,
    price_in: PriceInOption = 0.0,
    price_out: PriceOutOption = 0.0,
    budget: BudgetOption = None,
    patience: PatienceOption = 120.0,
    request: RequestOption = None,
    concurrency: ConcurrencyOption = 8,
    dry: Annotated[bool, typer.Option("--dry", help="Print the cost and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have language models write pairs of responses and judge them in the role of people.

    attributes: 84 users of two traits each judge contrasting responses. prism: people of the survey
    judge a response and its revision for one of them. Both orders are asked. The folder receives
    comparisons.jsonl to train on and judgements.jsonl. What it costs is printed before it starts.

    Example: palate data annotate prompts.txt --upstream http://127.0.0.1:8000/v1 --model qwen
    --out runs/annotated
    """
    from palate.alignment.annotators import AnnotationSettings, Annotators
    from palate.alignment.annotators_prompts import read_asked
    from palate.data.benchmarks.record_files import rows_of_file
    from palate.data.benchmarks.role_play import read_people
    from palate.settings import build

    settings = build(
        AnnotationSettings,
        {"protocol": protocol, "judges": judges, "seed": seed, "concurrency": concurrency},
    )
    up = Upstream(upstream, price_in, price_out, budget, patience, request, concurrency)
    writer = up.endpoint(model)
    known = None if people is None else read_people(rows_of_file(people))
    asked = read_asked(prompts)
    decides = writer if judge is None else up.endpoint(judge)
    annotators = Annotators(writer, decides, out, settings, known)
    announced = annotators.announce(asked)
    note(str(announced))
    if dry:
        return
    annotated = annotators.run(asked, progress())
    written = annotators.write(annotated)
    up.tell_spent()
    if as_json:
        print_json({"files": written, **annotated.to_json()})
        return
    print_table(str(out), ("file", "what"), list(written.items()), words=("what",))
    for reason, count in annotated.left_out.items():
        if count:
            note(f"left out: {count} {reason}")
    print_account(annotated.judged.to_json())
