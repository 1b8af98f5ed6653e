"""`trimaran bundle`: what somebody who helps needs to see, in one archive, without secrets.

Holds what each node says of itself over HTTP (facts, metrics, happenings, incidents), the cluster's
health, topics and groups, and the settings given with --config. Never events, keys or group
members' data; values of settings whose names speak of secrets are replaced, at any depth.
Does not: reach nodes that do not answer, or fail for them: it says what is missing. The archive is
there whole or not at all.
"""

import io
import json
import re
import tarfile
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any
from urllib.error import URLError
from urllib.request import urlopen

import typer
import yaml

from trimaran.cli.exits import FAILED, CommandError
from trimaran.cli.http_client import DEFAULT_HTTP, HttpOption, ask, ask_list
from trimaran.cli.kafka_client import TIMEOUT_S, TimeoutOption

CLUSTER_PATHS = (
    "cluster",
    "cluster/health",
    "nodes",
    "topics",
    "groups",
    "incidents",
    "happenings",
)
NODE_PATHS = ("node", "node/partitions", "node/happenings", "node/metrics/histograms")
PAGED = ("nodes", "topics", "groups", "node/partitions")
REMOVED = "(removed)"
SECRET = re.compile(
    r"secret|passw|passphrase|pwd|token|credential|private|(?:api|access)[_.-]?key", re.IGNORECASE
)
"""In the name of a setting."""
USER_AND_PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")
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
    fresh = target.with_name(target.name + ".new")
    try:
        with tarfile.open(fresh, "w:gz") as archive:
            for name, content in _contents(http, timeout, missing):
                _add(archive, name, content)
            for number, path in enumerate(config or [], start=1):
                _add(archive, f"settings/{number}-{path.name}", without_secrets(_text_of(path)))
            _add(archive, "missing.txt", "\n".join(missing) + "\n" if missing else "nothing\n")
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    print(f"wrote {target}")
    for one in missing:
        print(f"not in it: {one}")
    if missing:
        raise typer.Exit(FAILED)


def without_secrets(text: str) -> str:
    """Return settings with the values of secrets replaced; comments, which may hold some, go."""
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError:
        settings = None
    if not isinstance(settings, dict):
        return "# left out: not YAML of names and values\n"
    return yaml.safe_dump(_cleaned(settings), sort_keys=False, allow_unicode=True)


def _cleaned(value: Any) -> Any:  # noqa: ANN401  YAML
    if isinstance(value, dict):
        return {
            key: REMOVED if SECRET.search(str(key)) else _cleaned(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_cleaned(inner) for inner in value]
    return USER_AND_PASSWORD.sub(REMOVED, value) if isinstance(value, str) else value


def _contents(http: str, timeout_s: float, missing: list[str]) -> Iterator[tuple[str, str]]:
    nodes = ask(http, "/v1/nodes?limit=1000", timeout_s)["items"]
    yield from _told(http, "cluster", CLUSTER_PATHS, timeout_s, missing)
    for node in nodes:
        folder = f"node-{node['node_id']}"
        if not node["http_port"]:
            missing.append(f"{folder}: it never said where its HTTP port is")
            continue
        address = f"{node['host']}:{node['http_port']}"
        try:
            with urlopen(f"http://{address}/metrics", timeout=timeout_s) as answer:
                metrics = answer.read(TEXT_BYTES_MAX).decode(errors="replace")
        except (URLError, HTTPException, OSError) as error:
            missing.append(f"{folder} at {address}: {error}")
            continue
        yield f"{folder}/metrics.txt", metrics
        yield from _told(address, folder, NODE_PATHS, timeout_s, missing)


def _told(
    address: str, folder: str, paths: Sequence[str], timeout_s: float, missing: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield what a node answers to each path; what it does not answer is missing."""
    for path in paths:
        try:
            answer = (ask_list if path in PAGED else ask)(address, f"/v1/{path}", timeout_s)
        except CommandError as error:
            missing.append(f"{folder}, {path} at {address}: {str(error).splitlines()[0]}")
        else:
            yield f"{folder}/{_name(path)}", _shown(answer)


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
