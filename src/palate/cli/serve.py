"""`palate serve`: personalisation over HTTP, in front of any language model."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palate.cli.keys import DATABASE, DatabaseOption
from palate.cli.output import note, progress
from palate.cli.users import CacheOption, RunArgument

if TYPE_CHECKING:
    from palate.service.http.settings import ServeSettings

UPSTREAM = "A base URL as http://127.0.0.1:8000/v1; `echo`, or the embedded model `small`."


def serve(
    run: RunArgument,
    upstream: Annotated[str, typer.Option(help=UPSTREAM)] = "echo",
    upstream_key_env: Annotated[
        str, typer.Option(help="The environment variable that holds the upstream's key.")
    ] = "PALATE_UPSTREAM_KEY",
    database: DatabaseOption = DATABASE,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of models to roll over to.", show_default="the run's parent"),
    ] = None,
    candidates: Annotated[
        int, typer.Option(min=1, max=16, help="Asked for where a request does not say.")
    ] = 4,
    deadline: Annotated[float, typer.Option(help="Seconds for any request.")] = 60.0,
    half_life: Annotated[
        float | None, typer.Option(help="Days after which an answer counts half.")
    ] = None,
    retention: Annotated[
        float | None, typer.Option(help="Days after which answers and completions go.")
    ] = None,
    switch: Annotated[
        bool, typer.Option("--switch", help="Serve RUN even where it was rolled over from.")
    ] = False,
    cache: CacheOption = None,
) -> None:
    """Serve a model: chat completions as OpenAI has them, chosen for each user.

    A first start prints one admin key. Set PALATE_SECRET where several machines serve together.

    Example: palate serve runs/first --upstream http://127.0.0.1:8000/v1
    """
    from palate.service.http.settings import ServeSettings

    settings = ServeSettings(
        run=str(run),
        models=str(models or ""),
        upstream=upstream,
        upstream_key_env=upstream_key_env,
        database=database,
        cache=None if cache is None else str(cache),
        half_life=None if half_life is None else 86400 * half_life,
        retention=None if retention is None else 86400 * retention,
        candidates=candidates,
        deadline=deadline,
    )
    _prepare(settings, switch)
    _listen(settings, host, port, workers)


def _prepare(settings: ServeSettings, switch: bool) -> None:
    """Make the tables, a first key and the embedded model; see that all can be opened."""
    from palate.service.http.starting import first_key, prefer, ready_upstream

    ready_upstream(settings, progress())
    other = prefer(settings, switch=switch)
    if other is not None:
        note(f"the database says that another model serves, {other}; --switch serves this one")
    text = first_key(settings)
    if text is not None:
        note("the first key (read, write, admin); it cannot be shown again:")
        typer.echo(text)


def _listen(settings: ServeSettings, host: str, port: int, workers: int) -> None:
    import tempfile

    from palate.service.http.listening import listen

    os.environ.update(settings.in_environment())
    os.environ.setdefault("PALATE_SECRET", secrets.token_hex(32))
    # workers that share two cores are slower with a pool of threads each
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    with tempfile.TemporaryDirectory(prefix="palate-metrics-") as folder:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        listen(host, port, workers)
