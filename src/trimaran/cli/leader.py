"""`trimaran leader transfer|balance`: who leads a partition is moved by hand.

Does not: choose where replicas are.
"""

from typing import Annotated

import typer

from trimaran.cli.exits import FAILED
from trimaran.cli.http_client import DEFAULT_HTTP, HttpOption, ask
from trimaran.cli.kafka_client import TIMEOUT_S, TimeoutOption
from trimaran.cli.output import Format, FormatOption, show, show_document

leaders = typer.Typer(no_args_is_help=True, help="Move leaderships between nodes.")


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.add_typer(leaders, name="leader")


@leaders.command()
def transfer(
    topic: Annotated[str, typer.Argument(help="name of the topic; __metadata for the metadata")],
    partition: Annotated[int, typer.Argument(min=0)] = 0,
    to: Annotated[
        int | None, typer.Option(min=1, help="node; default: the preferred replica")
    ] = None,
    http: HttpOption = DEFAULT_HTTP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Hand one partition's leadership to another replica; clients notice about 100 ms."""
    body = {"topic": topic, "partition": partition, "to": to}
    done = ask(http, "/v1/leaders/transfer", timeout, body=body)
    if output is not Format.TABLE:
        show_document(done, output)
        return
    print(
        f"{topic}-{partition}: node {done['from']} -> node {done['to']}, term {done['term']},"
        f" {done['took_ms']:.0f} ms"
    )


@leaders.command()
def balance(
    topic: Annotated[str | None, typer.Option(help="only this topic")] = None,
    http: HttpOption = DEFAULT_HTTP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Give every partition back to its preferred replica; exit code 1 if one was not moved."""
    done = ask(http, "/v1/leaders/balance", timeout, body={"topic": topic})
    if output is not Format.TABLE:
        show_document(done, output)
    else:
        show(done["moved"], columns=["topic", "partition", "from", "to"], form=output)
        for one in done["failed"]:
            print(f"not moved: {one['topic']}-{one['partition']}: {one['reason']}")
    if done["failed"]:
        raise typer.Exit(FAILED)
