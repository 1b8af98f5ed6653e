"""A journal round's write and sync, done by Python: where no compiled lane is, and simulated.

Does not: know what is written, or decide what a failure means.
"""

from collections.abc import Callable

from trimaran.broker.ports import Outcome, WriteWork
from trimaran.errors import StorageError
from trimaran.storage.files import PlainWrite


class PlainJob:
    """Work for the journal's lane: what `server.native_lane` does without Python."""

    __slots__ = ("_now_s", "_work", "_write")

    def __init__(self, work: WriteWork, write: PlainWrite, now_s: Callable[[], float]) -> None:
        """`write` is what `work` wants; `now_s` is `Clock.precise_s`."""
        self._now_s = now_s
        self._work = work
        self._write = write

    def run(self) -> None:
        """Write and sync. A write that failed is done again by the work, which knows why it may.

        Raises:
            StorageError: the sync failed, or what the work raises.
        """
        begun_s = self._now_s()
        outcome = Outcome.UNWRITTEN
        try:
            self._write.file.pwrite(self._write.buffers, self._write.position)
            outcome = Outcome.UNSYNCED
            self._write.file.sync()
            outcome = Outcome.SYNCED
        except StorageError:
            if outcome is Outcome.UNSYNCED:
                raise
        finally:
            self._work.plain_ended(outcome, begun_s, self._now_s())
        if outcome is Outcome.UNWRITTEN:
            self._work.run()
        elif self._write.uncache_bytes:
            self._write.file.uncache(self._write.uncache_from, self._write.uncache_bytes)
