"""Batches that have to be opened in a thread before they are appended.

That is a batch of a topic whose compression.type asks for another codec than its producer used: the
records are compressed again as one block. And a larger one of a compacted topic, whose events need
keys (`keyed_batches`). All under the limits of `records.compression`: a few bytes may claim to be
gigabytes. Until a batch is ready, whatever comes for the same partition waits behind it, so that a
producer's batches keep their order. What waits is bounded.

Does not: judge, stamp or propose: the partition does, with the batch as it is then.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from trimaran.broker.keyed_batches import has_keys_at_once, require_keys
from trimaran.broker.pending import PendingAppend
from trimaran.broker.ports import Lane, Workers
from trimaran.errors import ErrorCode, RequestError, TrimaranError
from trimaran.ids import Offset
from trimaran.metadata.topic_settings import TopicSettings
from trimaran.records.batch import HEADER_BYTES, BatchHeader, Codec, parse_header, rewrite
from trimaran.records.compression import compress, decompress
from trimaran.records.entry import Payload

WAITING_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of batches of one partition that wait, as they came; beyond it they are refused."""

CODECS = {
    "uncompressed": Codec.NONE,
    "gzip": Codec.GZIP,
    "snappy": Codec.SNAPPY,
    "lz4": Codec.LZ4,
    "zstd": Codec.ZSTD,
}
"""By the words of compression.type; `producer` is none of them."""


def opening_of(batch: Payload, header: BatchHeader, settings: TopicSettings) -> "Opening | None":
    """Return what a thread has to do before `batch` is appended, None if it may be as it is.

    Raises:
        RequestError: as `keyed_batches.has_keys_at_once`.
    """
    codec = CODECS.get(settings.compression_type, header.codec)
    is_as_asked = codec == header.codec
    needs_keys = settings.is_compacted and not (is_as_asked and has_keys_at_once(batch, header))
    if is_as_asked and not needs_keys:
        return None
    return Opening(batch, codec, needs_keys=needs_keys, bytes_max=settings.max_message_bytes)


class Opening:
    """The work on one batch. Run in a thread."""

    def __init__(self, batch: Payload, codec: int, *, needs_keys: bool, bytes_max: int) -> None:
        """Compress `batch` with `codec`, if it is not; it may not get larger than `bytes_max`.

        With `needs_keys` only if each of its records has a key.
        """
        self._batch = batch
        self._codec = codec
        self._needs_keys = needs_keys
        self._bytes_max = bytes_max

    def run(self) -> Payload:
        """Return the batch as it is to be appended.

        Raises:
            RequestError: INVALID_RECORD, MESSAGE_TOO_LARGE; as `keyed_batches.require_keys`.
        """
        header = parse_header(self._batch)
        with memoryview(self._batch) as view, view[HEADER_BYTES:] as packed:
            plain = decompress(header.codec, packed)
        if self._needs_keys:
            require_keys(plain, header)
        return self._batch if self._codec == header.codec else self._packed_again(plain)

    def _packed_again(self, plain: bytes) -> bytes:
        codec = Codec(self._codec)
        block = compress(codec, plain)
        if HEADER_BYTES + len(block) > self._bytes_max:
            raise RequestError(
                ErrorCode.MESSAGE_TOO_LARGE,
                f"{HEADER_BYTES + len(block)} bytes as {codec.name.lower()}; "
                f"at most {self._bytes_max}",
            )
        return rewrite(self._batch, block, codec)


class LaterAppend:
    """A batch that is on its way into the partition."""

    __slots__ = ("_callback", "base_offset", "done", "error", "log_append_time_ms", "refusal")

    def __init__(self) -> None:
        self.base_offset = Offset(-1)
        self.log_append_time_ms = -1
        self.done = False
        self.error: ErrorCode | None = None
        self.refusal: RequestError | None = None
        self._callback: Callable[[], None] | None = None

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `done` turns true."""
        assert not self.done
        assert self._callback is None
        self._callback = callback

    def settle(self, outcome: PendingAppend) -> None:
        """Take over what became of the append."""
        self.base_offset = outcome.base_offset
        self.log_append_time_ms = outcome.log_append_time_ms
        self.finish(outcome.error)

    def refuse(self, refusal: RequestError) -> None:
        """Settle that nothing was appended."""
        self.refusal = refusal
        self.finish(refusal.code)

    def finish(self, error: ErrorCode | None) -> None:
        """Settle the outcome."""
        assert not self.done
        self.done = True
        self.error = error
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class _Waiting:
    """A batch in its place."""

    __slots__ = ("acks", "batch", "pending", "ready", "size")

    def __init__(self, batch: memoryview, acks: int) -> None:
        self.batch: Payload = batch
        self.size = len(batch)
        self.acks = acks
        self.pending = LaterAppend()
        self.ready: asyncio.Future[Payload] | None = None


class Openings:
    """The batches of one partition that are being opened, and those that wait behind them."""

    __slots__ = ("_append", "_queue", "_size", "_workers")

    def __init__(
        self, *, workers: Workers, append: Callable[[memoryview, int], PendingAppend]
    ) -> None:
        """`append` puts a batch (batch, acks) into the partition as it is."""
        self._workers = workers
        self._append = append
        self._queue: deque[_Waiting] = deque()
        self._size = 0

    @property
    def is_busy(self) -> bool:
        """Whether something waits, so that nothing may pass."""
        return len(self._queue) > 0

    def append(self, batch: memoryview, opening: Opening | None, *, acks: int) -> LaterAppend:
        """Append what `opening` makes of `batch` (None: itself) when all before it is appended.

        Raises:
            RequestError: NOT_ENOUGH_REPLICAS, which clients try again: too much waits.
        """
        if self._size + len(batch) > WAITING_BYTES_MAX and self._queue:
            raise RequestError(
                ErrorCode.NOT_ENOUGH_REPLICAS, f"{self._size} bytes wait to be opened"
            )
        waiting = _Waiting(batch, acks)
        self._queue.append(waiting)
        self._size += waiting.size
        if opening is not None:
            waiting.ready = self._workers.submit(Lane.CODECS, opening)
            waiting.ready.add_done_callback(self._drain)
        return waiting.pending

    def _drain(self, _: object) -> None:
        """Append what is ready, in order."""
        while self._queue:
            first = self._queue[0]
            if first.ready is not None and not first.ready.done():
                return
            self._queue.popleft()
            self._size -= first.size
            self._append_one(first)

    def _append_one(self, waiting: _Waiting) -> None:
        pending = waiting.pending
        try:
            if waiting.ready is not None:
                waiting.batch = waiting.ready.result()
            outcome = self._append(memoryview(waiting.batch), waiting.acks)
        except RequestError as error:
            pending.refuse(error)
        except (asyncio.CancelledError, TrimaranError):
            pending.finish(ErrorCode.UNKNOWN_SERVER_ERROR)
        except Exception:
            pending.finish(ErrorCode.UNKNOWN_SERVER_ERROR)
            raise
        else:
            if outcome.done:
                pending.settle(outcome)
            else:
                outcome.on_done(lambda: pending.settle(outcome))
