"""One thread for each lane of blocking work, with a short way there and back.

There by a `SimpleQueue` (C, no Python-level lock), back by one `call_soon_threadsafe` for all
results that finished since the loop last looked. A result is appended before the loop is woken, and
the loop clears the wake mark before it empties the list, so no result can be left lying.

A journal round goes a way without Python where it can (`native_lane`); what is more than one write
and one sync, and a write that failed, takes the thread.
A work whose future was cancelled before its turn does not run: what nobody waits for any more must
not hold up the others. Does not: order works of different lanes, cancel a running work, or retry.
"""

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from trimaran.broker.plain_job import PlainJob
from trimaran.broker.ports import Lane, Work, WriteWork
from trimaran.server import native_lane

T = TypeVar("T")
CLOSE_TIMEOUT_S = 5.0
"""A thread stuck in the kernel (a dying disk) does not hold the process longer than this."""


@dataclass(slots=True)
class _Finished:
    """What a work left behind: exactly one of result and error counts."""

    future: "asyncio.Future[Any]"
    result: Any
    error: BaseException | None


class RealWorkers:
    """The threads of one node. Made on the loop that gets the results."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads. Raises OSError if none is to be had."""
        self._loop = loop
        self._finished: deque[_Finished] = deque()
        self._wake_pending = False
        self._closed = False
        self._queues: dict[Lane, SimpleQueue[tuple[Work[Any], asyncio.Future[Any]] | None]] = {
            lane: SimpleQueue() for lane in Lane
        }
        self._threads = [
            threading.Thread(
                target=self._serve, args=(lane,), name=f"trimaran-{lane.value}", daemon=True
            )
            for lane in Lane
        ]
        for thread in self._threads:
            thread.start()
        self._native: native_lane.NativeLane | None = None
        if native_lane.LANE is not None:
            self._native = native_lane.NativeLane(loop, unwritten=self._run_after_all)

    @property
    def is_native(self) -> bool:
        """Whether journal rounds are written without Python."""
        return self._native is not None

    def submit(self, lane: Lane, work: Work[T]) -> "asyncio.Future[T]":
        """Run `work` after all earlier works of `lane`, if the future is not cancelled by then.

        The future ends on the loop.
        """
        assert not self._closed
        future: asyncio.Future[T] = self._loop.create_future()
        self._queues[lane].put((work, future))
        return future

    def submit_write(self, work: WriteWork) -> "asyncio.Future[None]":
        """Write a journal round; one at a time."""
        write = work.plain()
        if write is None:
            return self.submit(Lane.JOURNAL, work)
        if self._native is None:
            return self.submit(Lane.JOURNAL, PlainJob(work, write, time.perf_counter))
        assert not self._closed
        return self._native.take_up(work, write)

    def _run_after_all(self, work: WriteWork, future: "asyncio.Future[None]") -> None:
        """The native lane could not write: let the thread find out why, and clean up."""
        self._queues[Lane.JOURNAL].put((work, future))

    def close(self) -> None:
        """Let each lane finish what it has, then end the threads. Blocks; results are dropped."""
        self._closed = True
        for lane in Lane:
            self._queues[lane].put(None)
        for thread in self._threads:
            thread.join(CLOSE_TIMEOUT_S)
        if self._native is not None:
            self._native.close(CLOSE_TIMEOUT_S)

    def _serve(self, lane: Lane) -> None:
        queue = self._queues[lane]
        while (item := queue.get()) is not None:
            work, future = item
            if not future.cancelled():
                self._run(work, future)
            del item, work, future  # keep no buffer alive while waiting for work

    def _run(self, work: Work[Any], future: "asyncio.Future[Any]") -> None:
        try:
            finished = _Finished(future, work.run(), None)
        except BaseException as error:  # noqa: BLE001  the loop's side decides what it means
            finished = _Finished(future, None, error)
        self._finished.append(finished)
        if not self._wake_pending:
            self._wake_pending = True
            self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            assert self._loop.is_closed()  # the node has ended; nobody waits for results

    def _deliver(self) -> None:
        self._wake_pending = False
        while self._finished:
            finished = self._finished.popleft()
            if finished.future.cancelled():
                continue
            if finished.error is None:
                finished.future.set_result(finished.result)
            else:
                finished.future.set_exception(finished.error)
