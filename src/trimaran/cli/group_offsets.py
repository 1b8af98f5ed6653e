"""Where a group's offset is to be: from what a person typed to an offset of each partition.

Does not: change offsets.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import TopicPartition

from trimaran.cli.exits import USAGE, CommandError
from trimaran.cli.kafka_client import AdminClient, OffsetSpec
from trimaran.cli.topic import finish

Part = tuple[str, int]
_SPEC: Any = OffsetSpec
"""The client's own annotations lack these functions' types."""
_OFFSET = re.compile(r"[0-9]{1,18}")
_SHIFT = re.compile(r"[+-][0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Position:
    """`kind` is earliest, latest, offset, shift or time; `value` what it needs (ms for a time)."""

    kind: str
    value: int = 0


def parse_position(text: str) -> Position:
    """Read a position. Raises CommandError (usage)."""
    if text in ("earliest", "latest"):
        return Position(text)
    if _OFFSET.fullmatch(text):
        return Position("offset", int(text))
    if _SHIFT.fullmatch(text):
        return Position("shift", int(text))
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise CommandError(
            f"--to: expected earliest, latest, an offset, +N, -N or a time, found {text!r}",
            code=USAGE,
        ) from error
    return Position("time", int(moment.timestamp() * 1_000))


def offsets_at(
    client: AdminClient,
    parts: Sequence[Part],
    position: Position,
    timeout_s: float,
    *,
    before: Mapping[Part, int] | None = None,
) -> dict[Part, int]:
    """Return the offset of each partition at `position`, inside what the partition holds.

    A time after the last event is the end; a shift starts from `before`, or from the beginning.

    Raises:
        CommandError: a partition's offsets are not known.
    """
    if position.kind == "latest":
        return _listed(client, parts, _SPEC.latest(), timeout_s)
    first = _listed(client, parts, _SPEC.earliest(), timeout_s)
    if position.kind == "earliest":
        return first
    last = _listed(client, parts, _SPEC.latest(), timeout_s)
    if position.kind == "time":
        spec = _SPEC.for_timestamp(position.value)
        found = _listed(client, parts, spec, timeout_s)
        return {part: last[part] if at < 0 else at for part, at in found.items()}
    starts = {part: (before or {}).get(part, first[part]) for part in parts}
    wanted = {
        part: position.value if position.kind == "offset" else starts[part] + position.value
        for part in parts
    }
    return {part: min(max(at, first[part]), last[part]) for part, at in wanted.items()}


def _listed(
    client: AdminClient, parts: Sequence[Part], spec: OffsetSpec, timeout_s: float
) -> dict[Part, int]:
    if not parts:
        return {}
    asked = {TopicPartition(topic, number): spec for topic, number in parts}
    found: dict[Part, int] = {}
    for part, future in client.list_offsets(asked, request_timeout=timeout_s).items():
        finish(future, f"offsets of {part.topic}-{part.partition} are not known", timeout_s)
        found[part.topic, part.partition] = future.result().offset
    return found
