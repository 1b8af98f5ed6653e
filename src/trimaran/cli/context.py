"""`trimaran context set|use|list|delete`: clusters by name.

Does not: connect anywhere.
"""

from typing import Annotated

import typer

from trimaran.cli.contexts import (
    ClusterContext,
    Contexts,
    load_contexts,
    named,
    save_contexts,
)
from trimaran.cli.output import Format, FormatOption, show

contexts = typer.Typer(no_args_is_help=True, help="Name clusters, and choose one.")

NameArgument = Annotated[str, typer.Argument(help="of the context", metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.add_typer(contexts, name="context")


@contexts.command(name="set")
def set_(
    name: NameArgument,
    bootstrap: Annotated[str | None, typer.Option("--bootstrap", "-b")] = None,
    http: Annotated[str | None, typer.Option("--http")] = None,
) -> None:
    """Make a context or change its addresses; the first one is used from then on."""
    known = load_contexts()
    before = known.contexts.get(name, ClusterContext())
    known.contexts[name] = ClusterContext(
        bootstrap=bootstrap or before.bootstrap, http=http or before.http
    )
    known.current = known.current or name
    save_contexts(known)
    _show(known, Format.TABLE)


@contexts.command()
def use(
    name: Annotated[
        str | None, typer.Argument(help="of the context; none: 127.0.0.1 again")
    ] = None,
) -> None:
    """Choose the cluster that commands talk to."""
    known = load_contexts()
    if name is not None:
        named(known, name)
    known.current = name
    save_contexts(known)
    _show(known, Format.TABLE)


@contexts.command(name="list")
def list_(output: FormatOption = Format.TABLE) -> None:
    """Show all contexts; the star marks the one in use."""
    _show(load_contexts(), output)


@contexts.command()
def delete(name: NameArgument) -> None:
    """Forget a context."""
    known = load_contexts()
    named(known, name)
    del known.contexts[name]
    if known.current == name:
        known.current = None
    save_contexts(known)
    _show(known, Format.TABLE)


def _show(known: Contexts, form: Format) -> None:
    rows = [
        {"": "*" if name == known.current else "", "name": name, **one.model_dump()}
        for name, one in known.contexts.items()
    ]
    if form is not Format.TABLE:
        rows = [{**row, "current": row.pop("") == "*"} for row in rows]
    show(rows, columns=["", "name", "bootstrap", "http"], form=form)
