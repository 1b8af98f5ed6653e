"""One run, processes and all, against a broker that stores next to nothing."""

import time
from pathlib import Path

import pytest

from trimaran.bench.consuming import LATE_NS
from trimaran.bench.measure import run_once
from trimaran.bench.plan import Plan
from trimaran.bench.schedule import NANOSECONDS
from trimaran.bench.target import null_broker


@pytest.mark.clients
def test_consumers_read_all_that_was_answered_and_end_then(tmp_path: Path) -> None:
    plan = Plan(
        scenario="W1",
        load="paced",
        producers=1,
        consumers=2,
        event_bytes=100,
        partitions=4,
        rate=500,
        # An idempotent client asks for its producer id again only after half a second.
        warm_up_s=1.5,
        seconds=0.5,
        settings={"linger.ms": 1},
    )

    with null_broker(disk=tmp_path) as target:
        begun_s = time.monotonic()
        row = run_once(plan, target, repeat=1, progress=lambda _text, _done: None)

    assert row.not_read == 0
    assert row.end_to_end is not None
    assert row.end_to_end.count == 250
    assert time.monotonic() - begun_s < LATE_NS / NANOSECONDS
