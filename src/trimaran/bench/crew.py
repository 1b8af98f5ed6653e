"""Load processes from the parent's side: start, common start time, progress, outcomes.

A worker that dies, says something unreadable or does not finish in time ends the measurement with
`BenchError`; the others are killed, so that nothing is left behind.
Does not: know what the figures mean.
"""

import contextlib
import json
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Self

import msgspec

from trimaran.bench.errors import BenchError
from trimaran.bench.schedule import NANOSECONDS
from trimaran.bench.task import Outcome, Task

READY_S = 30.0
READY_EACH_S = 2.0
"""How long all workers may take to connect: so much, and for each so much more."""

LEAD_NS = 200_000_000
"""From the start signal to the first intended send time: every worker has read it by then."""

SLACK_S = 60.0
"""How much longer than planned a load may take, flushing included."""

READ_BYTES = 65_536


class Worker:
    """One process and what it has said so far."""

    def __init__(self, task: Task) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trimaran.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Its own share of the processor, as each node has: the scheduler shares by session.
            start_new_session=True,
        )
        self.ready = False
        self.latest: Mapping[str, Any] = {}
        self.outcome: Outcome | None = None
        self._half_line = b""
        self.tell(msgspec.to_builtins(task))

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe to read from."""
        assert self.process.stdout is not None
        return self.process.stdout

    def tell(self, line: Mapping[str, Any]) -> None:
        """Write one line to the worker. Raises BenchError if it is gone."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise BenchError(f"a load process ended early ({self._end()})") from error

    @property
    def stamped(self) -> int:
        """Events stamped inside the window that it read, as far as it has said."""
        if self.outcome is not None:
            return self.outcome.stamped
        return int(self.latest.get("stamped", 0))

    def stop(self) -> None:
        """Ask it to finish. One that is just ending has gone; `hear` knows whether it was done."""
        with contextlib.suppress(BenchError):
            self.tell({})

    def hear(self, data: bytes) -> None:
        """Take what the worker wrote. Raises BenchError if it ended without an outcome."""
        if not data and self.outcome is None:
            raise BenchError(f"a load process ended early ({self._end()})")
        *lines, self._half_line = (self._half_line + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "ready" in said:
                self.ready = True
            elif "outcome" in said:
                self.outcome = msgspec.convert(said["outcome"], Outcome)
            else:
                self.latest = said

    def _end(self) -> str:
        return f"exit code {self.process.wait(timeout=READY_S)}; its message stands above"


class Crew:
    """Several workers under one clock. Use as a context manager: leaving it ends them all."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.workers = [Worker(task) for task in tasks]
        self._selector = selectors.DefaultSelector()
        for worker in self.workers:
            self._selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def __enter__(self) -> Self:
        """Wait until every worker is connected."""
        patience_s = READY_S + READY_EACH_S * len(self.workers)
        try:
            self.wait(lambda: all(worker.ready for worker in self.workers), patience_s)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind."""
        self.end()

    def start(self) -> int:
        """Give the common start signal; return its time on the monotonic clock."""
        start_ns = time.monotonic_ns() + LEAD_NS
        for worker in self.workers:
            worker.tell({"start_ns": start_ns})
        return start_ns

    def stop(self) -> None:
        """Ask loads that have no end of their own to finish."""
        for worker in self.workers:
            worker.tell({})

    def poll(self, seconds: float) -> None:
        """Take what the workers say, for at most `seconds` (returns at the first words)."""
        for key, _ in self._selector.select(seconds):
            worker: Worker = key.data
            data = key.fileobj.read1(READ_BYTES)  # type: ignore[union-attr]
            if not data:
                self._selector.unregister(key.fileobj)
            worker.hear(data)

    def wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Take what the workers say until `condition()`. Raises BenchError after `seconds`."""
        end_s = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end_s:
                raise BenchError(f"the load processes were not done within {seconds:.0f} s")
            self.poll(0.1)

    def outcomes(
        self,
        seconds: float,
        progress: Callable[[int], None],
        workers: Sequence[Worker] | None = None,
    ) -> list[Outcome]:
        """Wait for the outcomes of `workers` (None: all); `progress` gets the events answered.

        Raises:
            BenchError: a worker died, or took more than `SLACK_S` longer than `seconds`.
        """
        waited = self.workers if workers is None else workers

        def finished() -> bool:
            progress(sum(int(worker.latest.get("answered", 0)) for worker in waited))
            return all(worker.outcome is not None for worker in waited)

        self.wait(finished, seconds + SLACK_S)
        return [worker.outcome for worker in waited if worker.outcome is not None]

    def read_out(self, consumers: Sequence[Worker], events: int) -> list[Outcome]:
        """Let consumers read until they have `events` stamped ones together, or end by themselves.

        Raises:
            BenchError: one died, or took too long.
        """

        def enough() -> bool:
            return sum(one.stamped for one in consumers) >= events or all(
                one.outcome is not None for one in consumers
            )

        self.wait(enough, SLACK_S)
        for one in consumers:
            one.stop()
        return self.outcomes(0.0, lambda _answered: None, consumers)

    @staticmethod
    def elapsed_s(start_ns: int) -> float:
        """Return the seconds since the common start, at least 0."""
        return max(0.0, (time.monotonic_ns() - start_ns) / NANOSECONDS)

    def end(self) -> None:
        """Kill what still runs and close the pipes."""
        self._selector.close()
        for worker in self.workers:
            if worker.outcome is None:
                worker.process.kill()
            for pipe in (worker.process.stdin, worker.process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            worker.process.wait(timeout=READY_S)
