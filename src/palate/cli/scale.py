"""`palate scale`: encode, adapt and score any number of rows, on Ray Data or in this process."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palate.cli.output import JsonOption, print_json, print_table, progress

if TYPE_CHECKING:
    from palate.scale.job import Engine, Job

RunArgument = Annotated[Path, typer.Argument(help="A model's folder.")]
ComparisonsArgument = Annotated[
    Path, typer.Argument(help="Comparisons: a Parquet file, or a folder of them.")
]
OutOption = Annotated[Path, typer.Option(help="Folder to write; a job begun there goes on.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Workers on Ray; 0 works in this process, without Ray.",
        show_default="one a processor; one less on a cluster",
    ),
]
AddressOption = Annotated[
    str | None, typer.Option(help="A Ray cluster's host:port, or auto; it sees the same paths.")
]
PartsOption = Annotated[
    int | None, typer.Option(min=1, help="Parts of the output.", show_default="by memory")
]
GpusOption = Annotated[float, typer.Option(min=0, help="GPUs of a worker that encodes.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of cached features.")]


class Dtype(StrEnum):
    """How vectors are kept."""

    float32 = "float32"
    bfloat16 = "bfloat16"


def encode(
    model: Annotated[str, typer.Argument(help="A model's folder, or a backbone.")],
    comparisons: Annotated[
        Path, typer.Argument(help="Comparisons or candidates: a Parquet file, or a folder of them.")
    ],
    out: OutOption,
    dtype: Annotated[Dtype, typer.Option(help="Of the vectors.")] = Dtype.float32,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = 0.0,
    parts: PartsOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode every distinct text once, into a folder that `adapt` and `score` read.

    Stopped, it goes on where it was.

    Example: palate scale encode runs/first comparisons.parquet --out runs/features
    """
    from palate.scale.encoding import encode_job

    job = encode_job(model, comparisons, out, cache=cache, dtype=dtype.value, parts=parts)
    with _engine(workers, address, gpus) as engine:
        _run(job, engine, as_json)


def adapt(
    run: RunArgument,
    comparisons: ComparisonsArgument,
    out: OutOption,
    features: Annotated[
        Path | None,
        typer.Option(help="What `palate scale encode` wrote.", show_default="OUT/features, made"),
    ] = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = 0.0,
    parts: PartsOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn the taste of every user, one row each, as `palate adapt` learns one's.

    An answer counts once, however often it stands. Stopped, it goes on where it was.

    Example: palate scale adapt runs/first comparisons.parquet --out runs/users
    """
    from palate.scale.adapting import adapt_job
    from palate.scale.rows import COMPARISON, check_columns

    check_columns(comparisons, COMPARISON)
    with _engine(workers, address, gpus) as engine:
        encoded = features or _encoded(run, comparisons, out, engine, cache)
        _run(adapt_job(run, comparisons, out, encoded, parts=parts), engine, as_json)


def score(
    run: RunArgument,
    candidates: Annotated[
        Path, typer.Argument(help="Rows (user_id, prompt, response): Parquet, or a folder of it.")
    ],
    users: Annotated[Path, typer.Option(help="What `palate scale adapt` wrote.")],
    out: OutOption,
    features: Annotated[
        Path | None,
        typer.Option(help="What `palate scale encode` wrote.", show_default="OUT/features, made"),
    ] = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = 0.0,
    parts: PartsOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """The reward of every row for its user: mean, sd, and the answers that it is known from.

    A user without answers has the population's reward. Stopped, it goes on where it was.

    Example: palate scale score runs/first candidates.parquet --users runs/users --out runs/rewards
    """
    from palate.scale.rows import CANDIDATE, check_columns
    from palate.scale.scoring import score_job

    check_columns(candidates, CANDIDATE)
    with _engine(workers, address, gpus) as engine:
        encoded = features or _encoded(run, candidates, out, engine, cache)
        _run(score_job(run, users, candidates, out, encoded, parts=parts), engine, as_json)


def _encoded(run: Path, rows: Path, out: Path, engine: Engine, cache: Path | None) -> Path:
    """The features beside a job's parts, encoded first."""
    from palate.scale.encoding import encode_job
    from palate.scale.folder import FEATURES, check_ours
    from palate.scale.job import run_job

    check_ours(out)
    run_job(encode_job(str(run), rows, out / FEATURES, cache=cache), engine, progress())
    return out / FEATURES


def _engine(
    workers: int | None, address: str | None, gpus: float
) -> AbstractContextManager[Engine]:
    from palate.scale.job import Here
    from palate.scale.on_ray import OnRay

    if workers == 0:
        return nullcontext(Here())
    return OnRay(workers, address, gpus)


def _run(job: Job, engine: Engine, as_json: bool) -> None:
    """Run a job and say what is in its folder."""
    from palate.scale.job import run_job

    outcome = run_job(job, engine, progress())
    if as_json:
        print_json({"out": str(job.out), "kind": job.kind, **vars(outcome)})
        return
    rows = [(name.replace("_", " "), f"{count:,}") for name, count in outcome.counts.items()]
    rows += [("parts, there already", f"{outcome.parts:,}, {outcome.already:,}")]
    rows += [("seconds", f"{outcome.seconds:.1f}")]
    print_table(f"{job.kind} in {job.out}", ("", ""), rows)
