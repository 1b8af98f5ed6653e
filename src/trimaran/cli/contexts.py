"""Named clusters: where `--bootstrap` and `--http` point when nobody says.

One YAML file in the user's configuration directory:

    current: NAME or null
    contexts: {NAME: {bootstrap: HOST:PORT[,...], http: HOST:PORT}}

What is typed wins over the environment, that over the context, that over 127.0.0.1. The context is
the one that TRIMARAN_CONTEXT names, else the current one. Does not: hold secrets.
"""

import os
from pathlib import Path

import typer
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from trimaran.cli.exits import USAGE, CommandError

ENVIRONMENT = "TRIMARAN_CONTEXT"


class ClusterContext(BaseModel):
    """The addresses of one cluster; None: the default."""

    model_config = ConfigDict(extra="forbid")

    bootstrap: str | None = None
    http: str | None = None


class Contexts(BaseModel):
    """All that the file holds."""

    model_config = ConfigDict(extra="forbid")

    current: str | None = None
    contexts: dict[str, ClusterContext] = {}


def path_of_contexts() -> Path:
    """Return where the contexts are kept."""
    return Path(typer.get_app_dir("trimaran")) / "contexts.yaml"


def load_contexts() -> Contexts:
    """Return the contexts; none if there is no file.

    Raises:
        CommandError: the file cannot be read or is not what it should be.
    """
    path = path_of_contexts()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}", code=USAGE) from error
    try:
        return Contexts.model_validate(yaml.safe_load(text) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise CommandError(
            f"{path} is not a file of contexts: {error}\nmend it, or delete it", code=USAGE
        ) from error


def save_contexts(contexts: Contexts) -> None:
    """Write the file anew, whole or not at all."""
    path = path_of_contexts()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(
        yaml.safe_dump(contexts.model_dump(), sort_keys=False, allow_unicode=True),
        encoding="utf-8",
    )
    fresh.replace(path)


def named(contexts: Contexts, name: str) -> ClusterContext:
    """Return the context `name`.

    Raises:
        CommandError: there is none of that name.
    """
    found = contexts.contexts.get(name)
    if found is None:
        known = ", ".join(contexts.contexts) or "none"
        raise CommandError(
            f"context: expected one of those there are ({known}), found {name!r}\n"
            f"trimaran context set {name} --bootstrap HOST:PORT makes it",
            code=USAGE,
        )
    return found


def address_or_context(
    ctx: typer.Context, param: typer.CallbackParam, value: str | None
) -> str | None:
    """Option callback: the context's address where none was typed."""
    assert param.name in ("bootstrap", "http")
    source = ctx.get_parameter_source(param.name)
    if ctx.resilient_parsing or source is None or source.name != "DEFAULT":
        return value
    contexts = load_contexts()
    name = os.environ.get(ENVIRONMENT) or contexts.current
    if name is None:
        return value
    address: str | None = getattr(named(contexts, name), param.name)
    return address or value
