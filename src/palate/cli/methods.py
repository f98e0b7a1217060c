"""`palate methods`: what there is, what it can, and how it is set."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from palate.cli.output import JsonOption, print_json, print_table


def methods(
    name: Annotated[str | None, typer.Argument(help="A method, to see its settings.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the methods with their papers and abilities, or one method with its settings.

    Example: palate methods vrf
    """
    from palate.bench.catalogue import describe_method
    from palate.methods import METHODS, method_named

    chosen = [method_named(name)] if name else list(METHODS.values())
    described = [describe_method(method) for method in chosen]
    if as_json:
        print_json({one["name"]: one for one in described})
    elif name:
        _print_one(described[0])
    else:
        columns = ("method", "what it does", "paper")
        rows = [(one["name"], ", ".join(_able(one)) or "-", one["paper"]) for one in described]
        print_table("Methods", columns, rows, words=columns)
        typer.echo("palate methods NAME lists its settings.")


def _able(one: dict[str, Any], yes: bool = True) -> list[str]:
    return [name.replace("_", " ") for name, can in one["can"].items() if can == yes]


def _print_one(one: dict[str, Any]) -> None:
    typer.echo(f"{one['name']}: {one['paper']}\n\n{one['description']}\n")
    able, unable = _able(one), _able(one, yes=False)
    typer.echo(f"it does:  {', '.join(able) or '-'}\nnot:      {', '.join(unable) or '-'}\n")
    rows = [(s["name"], s["type"], _cell(s["default"]), s["meaning"]) for s in one["settings"]]
    columns = ("setting", "type", "default", "meaning")
    print_table("Settings", columns, rows, words=columns)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
