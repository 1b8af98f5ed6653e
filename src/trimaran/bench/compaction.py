"""What compaction costs producers: p99 of a paced load without it and beside it.

A compacted topic is filled, each key ten times over, while nothing is due; a load at half of the
top rate runs on another topic; then compaction is made due on all nodes, and the same load runs
again beside it. Its end is seen in the nodes' directories: compacted segments are named so.
Does not: decide how fast compaction works: the nodes' own settings do.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import measure_disk
from trimaran.bench.measure import Progress, run_once
from trimaran.bench.plan import ORDINARY, Plan
from trimaran.bench.results import CompactionCost
from trimaran.bench.target import CONNECT_S, REPLICAS_MAX, Target, fresh_topic

EVENT_BYTES = 1_024
KEYS_SHARE = 0.1
"""Keys for each event of the fill: this part of it stays."""
SEGMENT_BYTES = 64 << 20
NEVER_DUE = {
    "cleanup.policy": "compact",
    "segment.bytes": str(SEGMENT_BYTES),
    "segment.ms": "5000",
    "min.cleanable.dirty.ratio": "1",
}
DIRECTORY_BYTES_MIN = 1_000_000
"""Directories of groups that hold less are others than the filled topic's."""
LOOK_S = 0.5
BEGIN_S = 120.0
END_S = 3_600.0


def measure_compaction(
    target: Target, plan: Plan, *, megabytes: float, partitions: int, progress: Progress
) -> CompactionCost:
    """Fill a compacted topic with `megabytes` (10**6) and run `plan` before and beside compaction.

    Raises:
        BenchError: the target's nodes are not ours, or compaction does not begin or end.
    """
    if target.nodes is None:
        raise BenchError("compaction needs a cluster of its own: --nodes 3")
    disk = measure_disk(target.disk)
    events = int(megabytes * 1e6 / EVENT_BYTES)
    with fresh_topic(target, partitions=partitions, settings=NEVER_DUE) as ledger:
        _fill(target, ledger, events, partitions, progress)
        filled_bytes = events * EVENT_BYTES * min(REPLICAS_MAX, target.node_count)
        _wait(
            lambda: _stored_bytes(_filled(target.disk)) >= filled_bytes,
            BEGIN_S,
            "the nodes have not written the fill to segments",
        )
        directories = _filled(target.disk)
        before_bytes = _stored_bytes(directories)
        alone = run_once(plan, target, repeat=1, progress=progress)
        _make_due(target, ledger)
        begun_s = time.monotonic()
        _wait(lambda: _has_begun(directories), BEGIN_S, "compaction did not begin")
        beside = run_once(plan, target, repeat=2, progress=progress)
        was_running = not _is_done(directories)
        progress("compaction: waiting for its end", 1.0)
        _wait(lambda: _is_done(directories), END_S, "compaction did not end")
        took_s = time.monotonic() - begun_s
        after_bytes = _stored_bytes(directories)
    assert alone.latency is not None
    assert beside.latency is not None
    return CompactionCost(
        target=target.name,
        load=plan.in_words,
        stored_mb=round(before_bytes / target.node_count / 1e6, 1),
        left_mb=round(after_bytes / target.node_count / 1e6, 1),
        took_s=round(took_s, 1),
        ran_throughout=was_running,
        alone=alone.latency,
        beside=beside.latency,
        disk_before=disk,
    )


def _fill(target: Target, topic: str, events: int, partitions: int, progress: Progress) -> None:
    producer = Producer({**ORDINARY, "bootstrap.servers": target.bootstrap, "linger.ms": 20})
    keys = max(1, int(events * KEYS_SHARE))
    value = bytes(range(256)) * (EVENT_BYTES // 256)
    failed: list[object] = []

    def delivered(error: object | None, _message: object) -> None:
        if error is not None:
            failed.append(error)

    for number in range(events):
        key = number % keys
        while True:
            try:
                producer.produce(topic, value, b"%d" % key, key % partitions, on_delivery=delivered)
            except BufferError:
                producer.poll(0.1)
            else:
                break
        if number % 1_000 == 0:
            producer.poll(0)
            progress("compaction: fill", number / events)
    left = producer.flush(CONNECT_S * 6)
    if failed or left:
        raise BenchError(f"filling: {len(failed)} events failed, {left} were not answered")


def _make_due(target: Target, topic: str) -> None:
    entry = ConfigEntry(
        "min.cleanable.dirty.ratio", "0", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = target.admin()
    try:
        (changed,) = admin.incremental_alter_configs([resource]).values()
        changed.result(timeout=CONNECT_S)
    except (KafkaException, TimeoutError) as error:
        raise BenchError(f"{topic} cannot be made due: {error!r}") from error


def _filled(disk: Path) -> list[Path]:
    """Return the group directories of all nodes that hold some of the fill."""
    directories = [path for path in disk.rglob("groups/*") if path.is_dir()]
    return [path for path in directories if _stored_bytes([path]) >= DIRECTORY_BYTES_MIN]


def _stored_bytes(directories: Sequence[Path]) -> int:
    size = 0
    for path in directories:
        for segment in path.glob("*.segment"):
            with contextlib.suppress(FileNotFoundError):  # replaced meanwhile
                size += segment.stat().st_size
    return size


def _has_begun(directories: Sequence[Path]) -> bool:
    return any((path / "compacting").exists() or _has_compacted(path) for path in directories)


def _is_done(directories: Sequence[Path]) -> bool:
    return all(_has_compacted(path) for path in directories)


def _has_compacted(directory: Path) -> bool:
    """Whether there is a segment with a generation in its name."""
    return any(path.stem.count("-") == 2 for path in directory.glob("*.segment"))


def _wait(reached: Callable[[], bool], limit_s: float, otherwise: str) -> None:
    end_s = time.monotonic() + limit_s
    while not reached():
        if time.monotonic() > end_s:
            raise BenchError(f"{otherwise} within {limit_s:.0f} s")
        time.sleep(LOOK_S)
