"""One client request on its way from dispatch to its answer.

A handler gets a `Call` and its decoded request. It returns the response, or a coroutine that will
(slow administrative requests), or None after it took the call over: then it ends the call later,
from callbacks, by exactly one of `answer`, `skip` and `close`. A handler that keeps a call waiting
sets `interrupt` (end it soon: another answer of this connection is ready behind it, or the node
stops) and `abandon` (the connection is gone: let go of everything, answer nothing).

Invariants: a call ends once; after its end neither hook is ever called.
Does not: encode, decide the order of answers, or touch a socket.
"""

from collections.abc import Callable
from typing import Protocol

from trimaran.broker.api import Broker
from trimaran.broker.near_reads import Stay
from trimaran.broker.topic_parts import TopicParts
from trimaran.broker.waiting import Deadlines
from trimaran.errors import RequestError
from trimaran.protocol.codec import RequestHeader
from trimaran.protocol.connection import Slot

NODE_CLIENT_ID = "trimaran-http"
"""Of a node that asks for the REST API and the dashboard, not for a consumer."""
TOLD_CHARACTERS_MAX = 1_000
"""Of an error's text: names in it come from clients, and old versions cannot carry long strings."""


def told(error: RequestError) -> str:
    """Return what a client is told about `error` beside its code."""
    return str(error)[:TOLD_CHARACTERS_MAX]


class CallOwner(Protocol):
    """The client session that a call came in on."""

    @property
    def stay(self) -> Stay:
        """How long its reader has been reading here what it could read nearer by."""

    def finish(self, call: "Call", response: object | None) -> None:
        """Queue the answer in the call's place; None: no answer is sent for it."""

    def note(self, call: "Call", error: RequestError) -> None:
        """Note in the log that part of the call was refused."""

    def fail(self, call: "Call", error: BaseException) -> None:
        """Let dispatch judge `error`, which met a call that had already left it."""

    def close(self, reason: str) -> None:
        """Close the connection, with one line in the log."""

    def send_away(self, reason: str) -> None:
        """Close the connection if the client goes on asking here: it is better off elsewhere."""


class Call:
    """A request that was decoded and not yet answered. Plain slots: one for every request."""

    __slots__ = (
        "abandon",
        "begun_s",
        "broker",
        "deadlines",
        "ended",
        "header",
        "interrupt",
        "is_blocking",
        "owner",
        "parts",
        "peer",
        "request",
        "slot",
        "version",
    )

    def __init__(
        self,
        *,
        broker: Broker,
        deadlines: Deadlines,
        parts: TopicParts,
        owner: CallOwner,
        header: RequestHeader,
        peer: str = "",
        slot: Slot | None = None,
    ) -> None:
        self.broker = broker
        self.begun_s = 0.0
        """When it was decoded; only the session looks at it."""
        self.deadlines = deadlines
        self.parts = parts
        self.owner = owner
        self.header = header
        self.version = header.api_version
        self.peer = peer
        """The client's address, for log lines."""
        self.slot = slot
        """The connection's place for the answer; only the session looks at it."""
        self.request: object = None
        """Set by dispatch, for the error response."""
        self.ended = False
        self.is_blocking = False
        """Whether an answer of this connection is ready behind this call: park nothing."""
        self.interrupt: Callable[[], None] | None = None
        self.abandon: Callable[[], None] | None = None

    @property
    def is_of_node(self) -> bool:
        """Whether a node asks, for its HTTP side."""
        return self.header.client_id == NODE_CLIENT_ID

    def timeout_s(self, timeout_ms: int) -> float:
        """Return how long to wait when the client asks for `timeout_ms`: bounded, not negative."""
        return min(max(timeout_ms, 0) / 1000, self.broker.kafka.request_timeout_s_max)

    def answer(self, response: object) -> None:
        """End the call with `response`."""
        assert not self.ended
        self._end()
        self.owner.finish(self, response)

    def skip(self) -> None:
        """End the call without an answer, as acks=0 wants it."""
        assert not self.ended
        self._end()
        self.owner.finish(self, None)

    def note(self, error: RequestError) -> None:
        """Note in the log that part of the call is refused; the answer says so too."""
        self.owner.note(self, error)

    def fail(self, error: BaseException) -> None:
        """End the call with what dispatch makes of `error`."""
        assert not self.ended
        self.owner.fail(self, error)

    def close(self, reason: str) -> None:
        """End the call by closing the connection."""
        assert not self.ended
        self._end()
        self.owner.close(reason)

    def block(self) -> None:
        """Note that another answer is ready behind this call, and ask the handler to end it."""
        self.is_blocking = True
        if self.interrupt is not None and not self.ended:
            self.interrupt()

    def drop(self) -> None:
        """End the call because its connection is gone."""
        if self.ended:
            return
        abandon = self.abandon
        self._end()
        if abandon is not None:
            abandon()

    def _end(self) -> None:
        self.ended = True
        self.interrupt = None
        self.abandon = None
