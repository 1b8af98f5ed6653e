"""`trimaran doctor`: whether this machine, and a cluster if one is named, can keep what we promise.

A cluster is named by --bootstrap and --http, by the environment, or by the context in use.
Each check is one row: OK, WARN or FAIL, what was found, and what to do about it. Exit code 0: all
OK; 1: something to look at; 2: something that breaks a promise.
Does not: change anything but a probe file that it deletes again.
"""

from pathlib import Path
from typing import Annotated

import typer

from trimaran.cli.contexts import address_or_context
from trimaran.cli.doctor_checks import Finding, Severity, machine_findings
from trimaran.cli.doctor_cluster import cluster_findings, node_findings, port_findings
from trimaran.cli.kafka_client import TIMEOUT_S, TimeoutOption
from trimaran.cli.output import Format, FormatOption, show_document
from trimaran.server.settings import read_config

MARKS = {Severity.OK: "OK  ", Severity.WARN: "WARN", Severity.FAIL: "FAIL"}
COLOURS = {Severity.OK: "green", Severity.WARN: "yellow", Severity.FAIL: "red"}


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command("doctor")(doctor)


def doctor(
    data: Annotated[
        Path | None, typer.Option(help="directory to measure; default: the settings' one, else .")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="settings of a node: ports and addresses")
    ] = None,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            *("--bootstrap", "-b"),
            envvar="TRIMARAN_BOOTSTRAP",
            callback=address_or_context,
            help="HOST:PORT[,...] of a running cluster; default: the context's, if one is in use",
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            envvar="TRIMARAN_HTTP",
            callback=address_or_context,
            help="HOST:PORT of any of its nodes' HTTP listeners: versions and clocks",
        ),
    ] = None,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Check disk, clock, limits and ports, and a cluster's addresses, versions and quorum."""
    settings = read_config(config) if config else None
    directory = data or Path(settings.node.data_directory if settings else ".")
    findings = machine_findings(directory)
    if settings is not None:
        findings += port_findings(settings)
    if bootstrap is not None:
        findings += cluster_findings(bootstrap, timeout)
    if http is not None:
        findings += node_findings(http, timeout)
    worst = max((finding.severity for finding in findings), default=Severity.OK)
    if output is not Format.TABLE:
        told = {"worst": worst.name, "findings": [_fields(finding) for finding in findings]}
        show_document(told, output)
    else:
        for finding in findings:
            _print(finding)
    raise typer.Exit(int(worst))


def _fields(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "severity": finding.severity.name,
        "found": finding.found,
        "advice": finding.advice,
    }


def _print(finding: Finding) -> None:
    mark = typer.style(MARKS[finding.severity], fg=COLOURS[finding.severity])
    typer.echo(f"{mark}  {finding.check:<22}  {finding.found}")
    if finding.severity is not Severity.OK:
        typer.echo(f"      {'':<22}  -> {finding.advice}")
