"""Workload files of the OpenMessaging Benchmark, read as they are.

Source: `Workload.java` and the files of `workloads/` of openmessaging/benchmark. A rate of 0 or of
10,000,000 and more means as fast as it goes, as there. `payloadFile` names a file of that
repository: found below the workload file's folder or the one above, its bytes are the size; else
`messageSize` is. Payloads are random bytes here whatever the file says about randomness: what can
be compressed is never measured.
Does not: read driver files; the client's settings are those of its Kafka driver (`workloads`).
"""

from pathlib import Path
from typing import Any

import yaml

from trimaran.bench.errors import BenchError
from trimaran.bench.plan import Plan
from trimaran.bench.task import Keys
from trimaran.bench.workloads import DRIVER

MAX_RATE = 10_000_000
KEYS: dict[str, Keys] = {
    "NO_KEY": "none",
    "KEY_ROUND_ROBIN": "round_robin",
    "RANDOM_NANO": "random",
}
NUMBERS = {
    "topics": 1,
    "partitionsPerTopic": 1,
    "messageSize": 0,
    "subscriptionsPerTopic": 1,
    "consumerPerSubscription": 1,
    "producersPerTopic": 1,
    "producerRate": 0,
    "consumerBacklogSizeGB": 0,
    "testDurationMinutes": 5,
    "warmupDurationMinutes": 1,
}
"""What is used, with OpenMessaging's defaults."""
WITHOUT_EFFECT = {
    "useRandomizedPayloads", "randomBytesRatio", "randomizedPayloadPoolSize", "backlogDrainRatio"
}  # fmt: skip
OTHERS = {"name", "keyDistributor", "payloadFile", *WITHOUT_EFFECT}


def read_workload(path: Path, *, seconds: float | None, warm_up_s: float | None) -> Plan:
    """Return the plan of a workload file; `seconds` and `warm_up_s` shorten it where given.

    Raises:
        BenchError: unreadable, not a workload, or asking for what is not done here.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise BenchError(f"{path}: not a workload file ({text})") from error
    if not isinstance(found, dict):
        raise BenchError(f"{path}: expected the fields of an OpenMessaging workload")
    unknown = sorted(map(str, set(found) - set(NUMBERS) - OTHERS))
    if unknown:
        raise BenchError(f"{path}: unknown field {unknown[0]!r}; known: {', '.join(NUMBERS)}")
    numbers = {name: _number(path, found, name) for name in NUMBERS}
    for name in ("topics", "partitionsPerTopic", "producersPerTopic"):
        if numbers[name] < 1:
            raise BenchError(f"{path}: {name}: expected at least 1, found {numbers[name]}")
    if numbers["subscriptionsPerTopic"] > 1:
        raise BenchError(f"{path}: subscriptionsPerTopic: at most 1 is measured here")
    if numbers["consumerBacklogSizeGB"]:
        raise BenchError(
            f"{path}: consumerBacklogSizeGB: backlogs are measured by `trimaran bench W6`"
        )
    return _plan(path, found, numbers, seconds=seconds, warm_up_s=warm_up_s)


def _plan(
    path: Path,
    found: dict[str, Any],
    numbers: dict[str, float],
    *,
    seconds: float | None,
    warm_up_s: float | None,
) -> Plan:
    keys = found.get("keyDistributor", "NO_KEY")
    if keys not in KEYS:
        raise BenchError(f"{path}: keyDistributor: expected one of {', '.join(KEYS)}: {keys!r}")
    rate = numbers["producerRate"]
    is_paced = 0 < rate < MAX_RATE
    topics = int(numbers["topics"])
    readers = int(numbers["subscriptionsPerTopic"] * numbers["consumerPerSubscription"])
    return Plan(
        scenario=str(found.get("name", path.stem)),
        load="paced" if is_paced else "at_most",
        rate=rate if is_paced else None,
        topics=topics,
        partitions=int(numbers["partitionsPerTopic"]),
        producers=topics * int(numbers["producersPerTopic"]),
        consumers=topics * readers,
        keys=KEYS[keys],
        event_bytes=_event_bytes(path, found, int(numbers["messageSize"])),
        settings=DRIVER,
        seconds=numbers["testDurationMinutes"] * 60 if seconds is None else seconds,
        warm_up_s=numbers["warmupDurationMinutes"] * 60 if warm_up_s is None else warm_up_s,
    )


def _number(path: Path, found: dict[str, Any], name: str) -> float:
    value = found.get(name, NUMBERS[name])
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise BenchError(f"{path}: {name}: expected a number, found {value!r}")
    return value


def _event_bytes(path: Path, found: dict[str, Any], message_bytes: int) -> int:
    payload = found.get("payloadFile")
    if isinstance(payload, str):
        for folder in (path.parent, path.parent.parent):
            if (folder / payload).is_file():
                return (folder / payload).stat().st_size
    if message_bytes < 8:
        raise BenchError(
            f"{path}: messageSize: expected at least 8 bytes (each begins with its send time) or "
            f"a payloadFile that is there, found {message_bytes}, {payload!r}"
        )
    return message_bytes
