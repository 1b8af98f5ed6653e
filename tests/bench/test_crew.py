"""Load processes that fail, and consumers that end when nothing is left to read."""

from collections.abc import Iterator

import pytest

from trimaran.bench.crew import Crew
from trimaran.bench.errors import BenchError
from trimaran.bench.task import Outcome, Task


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


class Consumer:
    """Says how much it has read each time it is asked; has an outcome once it was stopped."""

    def __init__(self, stamped: Iterator[int]) -> None:
        self._said = stamped
        self._read = 0
        self.latest: dict[str, int] = {}
        self.outcome: Outcome | None = None

    @property
    def stamped(self) -> int:
        if self.outcome is None:
            self._read = next(self._said, self._read)
        return self._read

    def stop(self) -> None:
        read = self._read
        self.outcome = Outcome(offered=read, answered=read, unanswered=0, stamped=read)


def test_consumers_are_stopped_when_together_they_have_read_what_was_answered() -> None:
    consumers = [Consumer(iter([10, 50, 60, 99])), Consumer(iter([0, 20, 40, 99]))]

    found = Crew([]).read_out(consumers, 100)  # type: ignore[arg-type]

    assert [outcome.stamped for outcome in found] == [60, 40]
