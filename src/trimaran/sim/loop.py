"""An asyncio event loop on virtual time, shared by all processes of a simulation.

Callbacks take no time. When nothing is ready, time jumps to the next timer. Equal seeds give equal
runs: timers that fall due together run in the order in which they were set. With `perturb` > 0 a
seeded chance decides which *process* runs next; within a process the order stays first in, first
out, as asyncio promises.

Each process may have a monotonic clock with a start of its own: `time()` and `call_at` speak the
clock of the process that runs, so a monotonic time that leaks from one node to another shows.

Whatever would leave the simulation (sockets, file descriptors, subprocesses, signals, threads)
raises `SimulationError`.

Does not: simulate anything by itself; network, disk and worker threads are twins beside it.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, NoReturn, TypeVar, TypeVarTuple

from trimaran.sim.process import PROCESS, IoTimerHandle, Process

ResultT = TypeVar("ResultT")
ArgsT = TypeVarTuple("ArgsT")

CALLBACKS_PER_INSTANT_MAX = 200_000
"""More callbacks than this without time passing are an endless loop."""

START_S = 1_000.0
"""Virtual time at the start: not 0, so that a forgotten start time shows."""

_CANCELLED_TIMERS_KEPT = 1_000

_FORBIDDEN = (
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "call_soon_threadsafe",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "remove_reader",
    "remove_signal_handler",
    "remove_writer",
    "run_in_executor",
    "sendfile",
    "set_default_executor",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
)


class SimulationError(Exception):
    """The simulated code did what a simulation cannot contain, or can never go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An exception nobody caught, as asyncio's exception handler saw it."""

    process: str
    message: str
    exception: BaseException | None


class SimLoop(asyncio.BaseEventLoop):
    """The loop. Close it: that is when the tasks of dead processes are unwound."""

    def __init__(self, *, chance: Random | None = None, perturb: float = 0.0) -> None:
        """Run callbacks of different processes out of order with probability `perturb`."""
        super().__init__()
        assert 0.0 <= perturb <= 1.0
        assert perturb == 0.0 or chance is not None, "perturbation draws from a chance"
        self.now_s = START_S
        self.failures: list[Failure] = []
        self._chance = chance
        self._perturb = perturb
        self._turns: deque[Process] = deque()
        self._timers: list[tuple[float, int, Process, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._cancelled_count = 0
        self._callbacks_this_instant = 0
        self._unwinding = False
        self.world = Process(self, "world", "world")
        self._acting = self.world
        self.processes: list[Process] = [self.world]

    # Time and order

    def time(self) -> float:
        """Return the monotonic clock of the running process, in seconds."""
        return self.now_s + self._acting.clock_offset_s

    @property
    def acting_name(self) -> str:
        """Name of the process that runs now."""
        return self._acting.name

    def new_process(self, name: str, host: str, *, clock_offset_s: float = 0.0) -> Process:
        """Return a new, living process."""
        process = Process(self, name, host, clock_offset_s=clock_offset_s)
        self.processes.append(process)
        return process

    @contextmanager
    def acting_as(self, process: Process) -> Iterator[None]:
        """Let `time` and `call_at` speak the clock of `process` for the moment."""
        before, self._acting = self._acting, process
        try:
            yield
        finally:
            self._acting = before

    def add_turns(self, process: Process, count: int) -> None:
        """Queue `count` turns for callbacks that already wait in `process.ready`."""
        self._turns.extend([process] * count)

    def call_soon(
        self,
        callback: Callable[[*ArgsT], object],
        *args: *ArgsT,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Run `callback` after all that is queued now, in the process that `context` names."""
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        process = context.get(PROCESS) or self.world
        if process.alive and not self._unwinding:
            process.ready.append(handle)
            self._turns.append(process)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*ArgsT], object],
        *args: *ArgsT,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run `callback` after `delay` virtual seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*ArgsT], object],
        *args: *ArgsT,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run `callback` at `when` on the clock of the running process."""
        if context is None:
            context = contextvars.copy_context()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        process = context.get(PROCESS) or self.world
        self._add_timer(when - self._acting.clock_offset_s, process, timer)
        return timer

    def call_io(
        self,
        process: Process,
        delay_s: float,
        callback: Callable[[*ArgsT], object],
        *args: *ArgsT,
    ) -> asyncio.TimerHandle:
        """Run `callback` in `process` after `delay_s`: its kernel has news for it."""
        assert delay_s >= 0.0
        when = self.now_s + delay_s
        timer = IoTimerHandle(when + process.clock_offset_s, callback, args, self, process.context)
        self._add_timer(when, process, timer)
        return timer

    def _add_timer(self, when_s: float, process: Process, timer: asyncio.TimerHandle) -> None:
        if not process.alive or self._unwinding:
            return
        self._timer_count += 1
        heapq.heappush(self._timers, (when_s, self._timer_count, process, timer))

    def _timer_handle_cancelled(self, _timer: asyncio.TimerHandle) -> None:
        self._cancelled_count += 1
        if self._cancelled_count > _CANCELLED_TIMERS_KEPT + len(self._timers) // 2:
            self._timers = [row for row in self._timers if not row[3].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_count = 0

    def _run_once(self) -> None:
        """Run one callback; asyncio's `run_forever` calls this until the loop is stopped."""
        turns = self._turns
        if not turns:
            self._advance()
            return
        if self._perturb > 0.0 and len(turns) > 1:
            assert self._chance is not None
            if self._chance.random() < self._perturb:
                turns.rotate(-self._chance.randrange(len(turns)))
        process = turns.popleft()
        if not process.alive or not process.ready:
            return
        if process.paused:
            process.held_turns += 1
            return
        handle = process.ready.popleft()
        if handle.cancelled():
            return
        self._callbacks_this_instant += 1
        if self._callbacks_this_instant > CALLBACKS_PER_INSTANT_MAX:
            raise SimulationError(f"endless loop without time passing: {handle!r}")
        self._acting = process
        try:
            handle._run()
        finally:
            self._acting = self.world

    def _advance(self) -> None:
        """Jump to the next timer and queue all that are due then."""
        timers = self._timers
        while timers and (timers[0][3].cancelled() or not timers[0][2].alive):
            heapq.heappop(timers)
        if not timers:
            raise SimulationError("nothing is ready and no timer is set: all wait for ever")
        self.now_s = max(self.now_s, timers[0][0])
        self._callbacks_this_instant = 0
        while timers and timers[0][0] <= self.now_s:
            _, _, process, timer = heapq.heappop(timers)
            if process.alive and not timer.cancelled():
                process.ready.append(timer)
                self._turns.append(process)

    # Tasks and failures

    def create_task(
        self,
        coro: Coroutine[Any, Any, ResultT] | Generator[Any, None, ResultT],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
        **_: object,
    ) -> asyncio.Task[ResultT]:
        """Make a task that belongs to the process named by `context`."""
        if context is None:
            context = contextvars.copy_context()
        process = context.get(PROCESS) or self.world
        process.task_count += 1
        number = process.task_count
        label = f"{process.name}/{name if name is not None else 'task'}-{number}"
        task: asyncio.Task[ResultT] = asyncio.Task(coro, loop=self, name=label, context=context)
        if process.alive:
            process.tasks[number] = task
        else:
            process.remains.append(task)
        return task

    def spawn(self, work: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
        """Make a task whose exception is kept in `failures` at once.

        asyncio tells of it only when the task is collected, and not at all if somebody cancels the
        task after its end.
        """
        task = self.create_task(work)
        task.add_done_callback(self._tell_failure)
        return task

    def _tell_failure(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            message = f"{task.get_name()} died"
            self.call_exception_handler(
                {"message": message, "exception": task.exception(), "task": task}
            )

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody caught in `failures`; a dead process has none any more."""
        if self._unwinding:
            return
        culprit = context.get("task") or context.get("future")
        name = self._acting.name
        if isinstance(culprit, asyncio.Task):
            name = culprit.get_name().split("/")[0]
        elif not self._acting.alive:
            return
        if any(process.name == name and not process.alive for process in self.processes):
            return
        self.failures.append(
            Failure(
                process=name,
                message=str(context.get("message")),
                exception=context.get("exception"),
            )
        )

    def close(self) -> None:
        """Unwind the tasks of every process, where no effect of theirs counts any more."""
        if self.is_closed():
            return
        self._unwinding = True
        self._turns.clear()
        self._timers.clear()
        for process in self.processes:
            leftover = process.remains or [t for t in process.tasks.values() if not t.done()]
            for task in leftover:
                _unwind(task)
            process.remains = []
            process.ready.clear()
        super().close()


def _unwind(task: asyncio.Task[Any]) -> None:
    """Close a task's coroutine; whatever its `finally` blocks raise belongs to a dead process."""
    setattr(task, "_log_destroy_pending", False)  # noqa: B010  (typeshed does not know it)
    coroutine = task.get_coro()
    try:
        if coroutine is not None:
            coroutine.close()
    except Exception:  # noqa: BLE001  (a dead process has nobody to tell)
        return


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(_loop: SimLoop, *_args: object, **_kwargs: object) -> NoReturn:
        raise SimulationError(f"{name} would leave the simulation")

    return refuse


for _name in _FORBIDDEN:
    setattr(SimLoop, _name, _refusal(_name))
