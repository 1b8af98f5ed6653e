"""One simulated process: what a kill, a power cut and a SIGSTOP act upon.

All processes of a simulation share one event loop. A context variable names the process in whose
name a callback was scheduled, so every callback, timer and task has an owner. Invariants:

- After `die` no callback, timer or task step of the process runs again. Its tasks stay referenced
  until the loop closes, so that no `finally` of theirs runs while the simulation goes on.
- While paused nothing of it runs either, but all that fell due runs, in order, after `resume`.
- Within one process callbacks run in the order in which they were scheduled.

Does not: know the network or the disk; those register what a death means to them with `on_death`.
"""

import asyncio
import contextvars
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from trimaran.sim.loop import SimLoop

ResultT = TypeVar("ResultT")
ArgsT = TypeVarTuple("ArgsT")


class Death(Enum):
    """How a process ends, as far as the rest of the world can tell."""

    KILLED = "killed"
    """SIGKILL: the kernel lives on, closes the sockets and keeps what was written to files."""
    POWER_CUT = "power cut"
    """The machine is gone: silence, and unsynced data is lost."""


class IoTimerHandle(asyncio.TimerHandle):
    """A callback that stands for the kernel saying "this socket is readable"."""

    __slots__ = ()


class Process:
    """A group of callbacks, timers and tasks that live, pause and die together."""

    __slots__ = (
        "alive",
        "clock_offset_s",
        "context",
        "death_callbacks",
        "held_turns",
        "host",
        "loop",
        "name",
        "paused",
        "ready",
        "remains",
        "task_count",
        "tasks",
    )

    def __init__(
        self, loop: "SimLoop", name: str, host: str, *, clock_offset_s: float = 0.0
    ) -> None:
        """Make a process `name` on machine `host`; its monotonic clock starts at the offset."""
        self.loop = loop
        self.name = name
        self.host = host
        self.clock_offset_s = clock_offset_s
        self.alive = True
        self.paused = False
        self.ready: deque[asyncio.Handle] = deque()
        self.held_turns = 0
        self.task_count = 0
        self.tasks: weakref.WeakValueDictionary[int, asyncio.Task[Any]] = (
            weakref.WeakValueDictionary()
        )
        self.remains: list[asyncio.Task[Any]] = []
        self.death_callbacks: list[Callable[[Death], None]] = []
        self.context = contextvars.Context()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        """Name it as traces do."""
        state = "dead" if not self.alive else "paused" if self.paused else "running"
        return f"<Process {self.name} {state}>"

    def run(self, callback: Callable[[*ArgsT], ResultT], *args: *ArgsT) -> ResultT:
        """Call `callback` now, in the name of this process."""
        assert self.alive, f"{self.name} is dead"
        with self.loop.acting_as(self):
            return self.context.copy().run(callback, *args)

    def start(
        self, coroutine: Coroutine[Any, Any, ResultT], *, name: str | None = None
    ) -> asyncio.Task[ResultT]:
        """Run `coroutine` as a task of this process."""
        assert self.alive, f"{self.name} is dead"
        return self.loop.create_task(coroutine, name=name, context=self.context.copy())

    def on_death(self, callback: Callable[[Death], None]) -> None:
        """Have `callback` called, in order of registration, when the process dies."""
        assert self.alive, f"{self.name} is dead"
        self.death_callbacks.append(callback)

    def die(self, death: Death) -> None:
        """End the process between two of its callbacks; does nothing to a dead one."""
        if not self.alive:
            return
        self.alive = False
        self.paused = False
        self.ready.clear()
        self.held_turns = 0
        self.remains = [task for task in self.tasks.values() if not task.done()]
        callbacks, self.death_callbacks = self.death_callbacks, []
        for callback in callbacks:
            callback(death)

    def pause(self) -> None:
        """SIGSTOP. Virtual time goes on, the kernel goes on receiving for it."""
        assert self.alive, f"{self.name} is dead"
        self.paused = True

    def resume(self, *, io_last: bool = False) -> None:
        """SIGCONT: run what fell due. `io_last` runs late timers before late socket events."""
        assert self.alive, f"{self.name} is dead"
        if not self.paused:
            return
        self.paused = False
        if io_last:
            in_order = sorted(self.ready, key=lambda handle: isinstance(handle, IoTimerHandle))
            self.ready = deque(in_order)
        held, self.held_turns = self.held_turns, 0
        self.loop.add_turns(self, held)


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar(
    "trimaran_sim_process", default=None
)
