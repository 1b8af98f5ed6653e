"""`trimaran bundle`: what somebody who helps needs to see, in one archive, without secrets.

Holds what each node says of itself over HTTP (facts, metrics, happenings, incidents), the cluster's
health and topics, and the settings given with --config. Never events, keys or group members' data;
values of settings whose names speak of secrets are replaced.
Does not: reach nodes that do not answer: it says which.
"""

import io
import json
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.error import URLError
from urllib.request import urlopen

import typer

from trimaran.cli.exits import FAILED, CommandError
from trimaran.cli.http_client import DEFAULT_HTTP, HttpOption, ask
from trimaran.cli.kafka_client import TIMEOUT_S, TimeoutOption

CLUSTER_PATHS = ("cluster", "cluster/health", "nodes", "topics", "incidents", "happenings")
NODE_PATHS = ("node", "node/partitions", "node/happenings", "node/metrics/histograms")
SECRET = re.compile(
    r"^(\s*[\w.-]*(?:secret|password|token|credential)[\w.-]*\s*:).*$",
    re.IGNORECASE | re.MULTILINE,
)
TEXT_BYTES_MAX = 4 << 20


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command("bundle")(bundle)


def bundle(
    target: Annotated[Path, typer.Argument(help="archive to write: NAME.tar.gz")],
    config: Annotated[
        list[Path] | None, typer.Option("--config", help="settings of a node, repeatable")
    ] = None,
    http: HttpOption = DEFAULT_HTTP,
    timeout: TimeoutOption = TIMEOUT_S,
) -> None:
    """Gather diagnostics of the whole cluster into one archive, secrets removed."""
    missing: list[str] = []
    with tarfile.open(target, "w:gz") as archive:
        for name, content in _contents(http, timeout, missing):
            _add(archive, name, content)
        for path in config or []:
            _add(archive, f"settings/{path.name}", without_secrets(_text_of(path)))
        _add(archive, "missing.txt", "\n".join(missing) + "\n" if missing else "nothing\n")
    print(f"wrote {target}")
    for one in missing:
        print(f"not in it: {one}")
    if missing:
        raise typer.Exit(FAILED)


def without_secrets(text: str) -> str:
    """Return settings with the values of secrets replaced."""
    return SECRET.sub(r"\1 (removed)", text)


def _contents(http: str, timeout_s: float, missing: list[str]) -> Iterator[tuple[str, str]]:
    for path in CLUSTER_PATHS:
        yield f"cluster/{_name(path)}", _shown(ask(http, f"/v1/{path}", timeout_s))
    for node in ask(http, "/v1/nodes", timeout_s)["items"]:
        address = f"{node['host']}:{node['http_port']}"
        folder = f"node-{node['node_id']}"
        try:
            for path in NODE_PATHS:
                yield f"{folder}/{_name(path)}", _shown(ask(address, f"/v1/{path}", timeout_s))
            with urlopen(f"http://{address}/metrics", timeout=timeout_s) as answer:
                yield f"{folder}/metrics.txt", answer.read(TEXT_BYTES_MAX).decode()
        except (CommandError, URLError, OSError) as error:
            missing.append(f"{folder} at {address}: {str(error).splitlines()[0]}")


def _name(path: str) -> str:
    return path.replace("/", "-") + ".json"


def _shown(value: Any) -> str:  # noqa: ANN401  JSON
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")[:TEXT_BYTES_MAX]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: cannot be read as settings: {error}") from error


def _add(archive: tarfile.TarFile, name: str, content: str) -> None:
    data = content.encode()
    entry = tarfile.TarInfo(f"trimaran-bundle/{name}")
    entry.size = len(data)
    entry.mtime = int(time.time_ns() // 1_000_000_000)
    archive.addfile(entry, io.BytesIO(data))
