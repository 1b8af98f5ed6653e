"""Producer processes that fail."""

import pytest

from trimaran.bench.crew import Crew
from trimaran.bench.errors import BenchError
from trimaran.bench.task import Task


@pytest.mark.clients
def test_worker_that_dies_ends_the_measurement_with_its_exit_code(
    capfd: pytest.CaptureFixture[str],
) -> None:
    impossible = Task(
        settings={"no.such.setting": 1}, topic="t", partitions=1, load="paced", event_bytes=8
    )

    with pytest.raises(BenchError, match="ended early \\(exit code 1"):
        Crew([impossible]).__enter__()

    assert "no.such.setting" in capfd.readouterr().err
