"""Worker threads without threads: work runs inline, its result arrives after a drawn latency.

Works of one lane run one at a time, in order; one whose future was cancelled before its turn does
not run. A seeded chance decides whether a work's effect happens when it starts or when it ends, so
that nobody can rely on either. A process that dies in between leaves the effect undone, done in
full, or done up to one of its disk calls.

Does not: know what a work does, or simulate threads that run at the same time as the loop.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from trimaran.broker.plain_job import PlainJob
from trimaran.broker.ports import Lane, Work, WriteWork
from trimaran.sim.files import ProcessEnded, SimFiles
from trimaran.sim.loop import SimLoop
from trimaran.sim.process import Death, Process

T = TypeVar("T")

HAND_OVER_S = 0.000_02
"""What the way to a thread and back costs at least."""
CODEC_S = 0.004
"""What opening a batch takes on average: no disk, but long enough for others to come meanwhile."""
DISK_CALLS_MAX = 12
"""A work that dies half-way stops after at most this many of its disk calls."""


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    future: "asyncio.Future[Any]"
    ran: bool = False
    result: Any = None
    error: BaseException | None = None


class SimWorkers:
    """`broker.ports.Workers` for one process."""

    def __init__(self, loop: SimLoop, process: Process, files: SimFiles, chance: Random) -> None:
        """Works act on `files`; its disk says how long they take, but for those of codecs."""
        self._loop = loop
        self._process = process
        self._files = files
        self._chance = chance
        self._lanes: dict[Lane, deque[_Job]] = {lane: deque() for lane in Lane}
        process.on_death(self._die)

    def submit(self, lane: Lane, work: Work[T]) -> "asyncio.Future[T]":
        """Run `work` after all earlier works of `lane`."""
        future: asyncio.Future[T] = self._loop.create_future()
        queue = self._lanes[lane]
        queue.append(_Job(work, future))
        if len(queue) == 1:
            self._start(lane)
        return future

    def submit_write(self, work: WriteWork) -> "asyncio.Future[None]":
        """Write a journal round, the native lane's way where that is possible."""
        write = work.plain()
        job = work if write is None else PlainJob(work, write, self._loop.time)
        return self.submit(Lane.JOURNAL, job)

    def _start(self, lane: Lane) -> None:
        job = self._lanes[lane][0]
        if lane is Lane.CODECS:
            latency_s = self._chance.expovariate(1.0 / CODEC_S)
        elif self._chance.random() < 0.5:
            self._run(job)
            latency_s = self._files.disk.take_spent_s()
        else:
            latency_s = self._files.disk.draw_sync_s()
        self._loop.call_io(self._process, HAND_OVER_S + latency_s, self._finish, lane)

    def _finish(self, lane: Lane) -> None:
        queue = self._lanes[lane]
        job = queue.popleft()
        if not job.ran:
            self._run(job)
            self._files.disk.take_spent_s()
        while queue and queue[0].future.cancelled():
            queue.popleft()
        if queue:
            self._start(lane)
        if job.future.cancelled():
            return
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)

    def _run(self, job: _Job) -> None:
        assert not job.ran
        job.ran = True
        before, self._files.blocking_allowed = self._files.blocking_allowed, True
        try:
            job.result = job.work.run()
        except ProcessEnded:
            assert not self._process.alive
        except Exception as error:  # noqa: BLE001  (the future carries it, as a thread pool's does)
            job.error = error
        finally:
            self._files.blocking_allowed = before

    def _die(self, _death: Death) -> None:
        """Settle what the works under way left behind."""
        for lane in Lane:
            queue = self._lanes[lane]
            if queue and not queue[0].ran:
                outcome = self._chance.choice(("undone", "done", "part"))
                if outcome == "part":
                    self._files.fuse = self._chance.randrange(DISK_CALLS_MAX)
                if outcome != "undone":
                    self._run(queue[0])
                self._files.fuse = None
            queue.clear()
        self._files.detach()
