"""Client connections: bytes to requests to dispatch, answers back in the order of the requests.

A session stops reading its socket while too much is under way: requests or their bytes without an
answer, answers that the client does not take, or the node as a whole (`Clients.pause`, and the
bytes of all connections' requests, `client_limits`). What had been read by then waits as frames.
Answers that become ready in one loop turn leave in one write.
A session works on at most REQUESTS_PER_TURN requests in a turn, so that one client's pipeline does
not keep the loop from the others.

Closed, each with one line in the log: frames that are none, requests that cannot be decoded, a
request that does not become complete, a client that takes none of its answers (however slowly it
takes them, it stays), one that says nothing for long, and connections above the limits, of the node
or of one address.

Does not: decode or encode (protocol.codec), frame (protocol.connection), answer (handlers).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from trimaran.broker.api import Broker
from trimaran.broker.calls import Call
from trimaran.broker.client_limits import AddressCounts, RequestMemory
from trimaran.broker.dispatch import Dispatcher
from trimaran.broker.near_reads import Stay
from trimaran.broker.observations import Observations
from trimaran.broker.topic_parts import TopicParts
from trimaran.broker.waiting import Deadline, Deadlines
from trimaran.errors import ProtocolError, RequestError
from trimaran.protocol.api import ApiKey
from trimaran.protocol.codec import UnsupportedVersionError, decode_request
from trimaran.protocol.connection import SCRATCH_BYTES, KafkaConnection
from trimaran.protocol.messages import MetadataRequest
from trimaran.records.entry import Payload

REQUESTS_PER_TURN = 20
CHECKS_PER_TIMEOUT = 4
"""A time-out is noticed at most a quarter of it late; checking costs one timer a session."""
SEND_AWAY_S = 1.0
"""A client that asks again later than this is not one that only wants to see what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsStatistics:
    """Counts since the node started, and what is open now."""

    connections: int
    accepted_count: int
    closed_by_us_count: int
    refused_count: int
    """Requests, or parts of them, that got an error."""
    requests_count: int
    requests_open: int
    request_bytes: int
    """Bytes of requests that hold memory: announced, or without an answer."""
    deadlines: int


class Clients:
    """What all client sessions of a node share."""

    def __init__(
        self,
        broker: Broker,
        *,
        loop: asyncio.AbstractEventLoop,
        observations: Observations | None = None,
    ) -> None:
        """Start without sessions; `loop` is the running one."""
        self.observations = observations or Observations.apart()
        self.broker = broker
        self.loop = loop
        self.deadlines = Deadlines(self.loop)
        self.parts = TopicParts(broker)
        self.dispatcher = Dispatcher(broker, counters=self.observations.counters)
        self.scratch = bytearray(SCRATCH_BYTES)
        self.sessions: dict[ClientSession, None] = {}
        self.addresses = AddressCounts()
        self.memory = RequestMemory(
            bytes_max=broker.kafka.node_inflight_bytes_max, changed=self._memory_changed
        )
        self.is_paused = False
        self.accepted_count = 0
        self.closed_by_us_count = 0
        self.requests_count = 0

    def session(self) -> "ClientSession":
        """Return the protocol for a new connection: the factory for `Network.listen`."""
        return ClientSession(self)

    def pause(self) -> None:
        """Stop reading all sockets: the node cannot take more."""
        self.is_paused = True
        for session in list(self.sessions):
            session.update_reading()

    def resume(self) -> None:
        """Read again."""
        self.is_paused = False
        for session in list(self.sessions):
            session.go_on_soon()

    def _memory_changed(self) -> None:
        """There is no room for further requests of any connection, or there is again."""
        for session in list(self.sessions):
            if self.memory.is_full:
                session.update_reading()
            else:
                session.go_on_soon()

    def stop(self) -> None:
        """Answer what is parked with what there is, then close all connections."""
        for session in list(self.sessions):
            session.interrupt()
        self.dispatcher.stop()
        for session in list(self.sessions):
            session.close("the node stops")
        self.parts.close()

    def statistics(self) -> ClientsStatistics:
        """Return counts; cheap enough for every scrape."""
        return ClientsStatistics(
            connections=len(self.sessions),
            accepted_count=self.accepted_count,
            closed_by_us_count=self.closed_by_us_count,
            refused_count=self.dispatcher.refusals.refused_count,
            requests_count=self.requests_count,
            requests_open=sum(session.open_count for session in self.sessions),
            request_bytes=self.memory.used_bytes,
            deadlines=len(self.deadlines),
        )


class ClientSession(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, clients: Clients) -> None:
        kafka = clients.broker.kafka
        self._clients = clients
        self._counters = clients.observations.counters
        self._now_s = clients.observations.now_s
        self._kafka = kafka
        self._connection = KafkaConnection(
            frame_bytes_max=kafka.request_bytes_max,
            requests_in_flight_max=kafka.inflight_requests_max,
            bytes_in_flight_max=kafka.inflight_bytes_max,
            scratch=clients.scratch,
        )
        self._transport: asyncio.Transport
        self._peer = ""
        self._address = ""
        self._frames: deque[memoryview] = deque()
        self._frames_bytes = 0
        self._held_bytes = 0
        """What `Clients.memory` counts for this connection."""
        self._open: dict[Call, None] = {}
        self._out: list[Payload | bytearray] = []
        self._out_bytes = 0
        self._is_closed = False
        self._is_reading = True
        self._is_writing_paused = False
        self._is_working = False
        self._is_turn_scheduled = False
        self._check: Deadline | None = None
        self._heard_s = 0.0
        self._frame_begun_s: float | None = None
        self._written_bytes = 0
        self._stuck_since_s: float | None = None
        """Since when nothing was taken of what has to be."""
        self._taken_bytes = 0
        """How much of all that was written was taken by then."""
        self._advised_s: float | None = None
        self.stay = Stay()

    @property
    def open_count(self) -> int:
        """Requests that were not answered yet."""
        return len(self._open)

    # What the transport tells (asyncio.Protocol)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start, unless there are too many connections."""
        # A cast: uvloop's transports are asyncio's by shape, not by class.
        self._transport = cast("asyncio.Transport", transport)
        self._peer, self._address = peer_name(transport), peer_address(transport)
        self._heard_s = self._clients.deadlines.now_s()
        self._clients.sessions[self] = None
        self._clients.accepted_count += 1
        self._arm_check()
        of_address = self._clients.addresses.add(self._address)
        if len(self._clients.sessions) > self._kafka.connections_max:
            self.close(f"more than {self._kafka.connections_max} connections", at_once=True)
            return
        if of_address > self._kafka.connections_max_per_address:
            limit = self._kafka.connections_max_per_address
            self.close(f"more than {limit} connections from {self._address}", at_once=True)
            return
        high = self._kafka.write_buffer_bytes_max
        self._transport.set_write_buffer_limits(high=high, low=high // 4)
        self.update_reading()

    def data_received(self, data: bytes) -> None:
        """Take bytes; work on the requests that they complete."""
        if self._is_closed:
            return
        now_s = self._clients.deadlines.now_s()
        self._heard_s = now_s
        self._counters.bytes_in += len(data)
        frames = self._connection.receive(data)
        if not self._connection.is_mid_frame:
            self._frame_begun_s = None
        elif self._frame_begun_s is None or frames:
            self._frame_begun_s = now_s
        self._frames += frames
        self._frames_bytes += sum(map(len, frames))
        self._go_on()

    def pause_writing(self) -> None:
        """The client does not take its answers."""
        self._is_writing_paused = True
        self._expect_taking()
        self.update_reading()

    def resume_writing(self) -> None:
        """It has taken most of them."""
        self._is_writing_paused = False
        if not self._is_closed:  # else all has to be taken
            self._stuck_since_s = None
        self.go_on_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything; what was appended stays appended."""
        del exc
        self._is_closed = True
        self._clients.sessions.pop(self, None)
        self._clients.addresses.remove(self._address)
        if self._check is not None:
            self._clients.deadlines.withdraw(self._check)
        self._drop_all()
        self._hold(0)

    # What a call tells (CallOwner)

    def finish(self, call: Call, response: object | None) -> None:
        """Queue the answer in its place; nothing if there is none."""
        self._open.pop(call, None)
        if self._is_closed:
            return
        assert call.slot is not None
        buffers = () if response is None else self._clients.dispatcher.encode(call, response)
        self._send(self._connection.fill(call.slot, buffers))
        self._counters.answered(call.header.api_key, self._now_s() - call.begun_s)
        if not self._is_working:
            self._count_held()
        if not self._is_reading or self._frames:
            self.go_on_soon()

    def note(self, call: Call, error: RequestError) -> None:
        """Log that part of a call was refused."""
        self._clients.dispatcher.refusals.refused(call, error)

    def fail(self, call: Call, error: BaseException) -> None:
        """Let dispatch judge."""
        self._clients.dispatcher.failed(call, error)

    def close(self, reason: str, *, at_once: bool = False) -> None:
        """Close with one line in the log; answers under way are sent before, unless `at_once`."""
        if self._is_closed:
            return
        self._clients.dispatcher.refusals.write(
            logging.WARNING,
            "closed peer=%s reason=%s",
            self._peer,
            reason,
            now_s=self._clients.deadlines.now_s(),
        )
        self._clients.closed_by_us_count += 1
        self._flush()
        self._is_closed = True
        self._expect_taking()
        self._frames.clear()
        self._frames_bytes = 0
        self._drop_all()
        self._hold(0)
        if at_once:
            self._transport.abort()
        else:
            self._transport.close()

    def send_away(self, reason: str) -> None:
        """Close if the first such advice came SEND_AWAY_S ago: who asks once gets an answer."""
        now_s = self._clients.deadlines.now_s()
        if self._advised_s is None:
            self._advised_s = now_s
        elif now_s - self._advised_s >= SEND_AWAY_S:
            self.close(reason)

    # What the node tells

    def interrupt(self) -> None:
        """End the calls that only wait for something to happen."""
        for call in list(self._open):
            if call.interrupt is not None:
                call.interrupt()

    def update_reading(self) -> None:
        """Read the socket if, and only if, there is room for what it may bring."""
        if self._is_closed:
            return
        has_room = self._has_room() and not self._frames and self._may_receive()
        if has_room == self._is_reading:
            return
        self._is_reading = has_room
        if has_room:
            if self._frame_begun_s is not None:  # it was we who kept it from becoming complete
                self._frame_begun_s = self._clients.deadlines.now_s()
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def go_on_soon(self) -> None:
        """Work on waiting frames in the next loop turn."""
        if not self._is_turn_scheduled and not self._is_closed:
            self._is_turn_scheduled = True
            self._clients.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._is_turn_scheduled = False
        if not self._is_closed:
            self._go_on()

    def _has_room(self) -> bool:
        return not (
            self._connection.should_pause or self._is_writing_paused or self._clients.is_paused
        )

    def _may_go_on(self) -> bool:
        """Whether a frame waits that may be worked on now.

        A connection's fetches come one after the other, as in Kafka: each may read megabytes from
        disk, which the write buffer's limit knows of only when they are answered.
        """
        if not self._frames or not self._has_room():
            return False
        if api_key_of(self._frames[0]) != ApiKey.FETCH:
            return True
        return not any(call.header.api_key == ApiKey.FETCH for call in self._open)

    def _may_receive(self) -> bool:
        """Whether the node has memory for another request, or one has begun and is counted.

        After bytes that are no request nothing is taken any more.
        """
        if self._connection.error is not None:
            return False
        return not self._clients.memory.is_full or self._connection.announced_bytes > 0

    def _count_held(self) -> None:
        """Tell the node how much memory the requests of this connection take now."""
        connection = self._connection
        requests = connection.bytes_in_flight + connection.announced_bytes
        self._hold(0 if self._is_closed else requests + self._frames_bytes)

    def _hold(self, held_bytes: int) -> None:
        added_bytes, self._held_bytes = held_bytes - self._held_bytes, held_bytes
        if added_bytes != 0:
            self._clients.memory.move(added_bytes)

    def _go_on(self) -> None:
        """Work on frames while there is room, then send what became ready and read, or not."""
        assert not self._is_working
        self._is_working = True
        try:
            left = REQUESTS_PER_TURN
            while left > 0 and self._may_go_on():
                left -= 1
                frame = self._frames.popleft()
                self._frames_bytes -= len(frame)
                self._request(frame)
                if self._out_bytes > self._kafka.write_buffer_bytes_max:
                    self._flush()
        finally:
            self._is_working = False
        self._count_held()
        self._flush()
        if self._may_go_on():
            self.go_on_soon()
        self._close_if_broken()
        self.update_reading()

    def _close_if_broken(self) -> None:
        """Close behind the answers to what came before bytes that are no request, as Kafka does."""
        error = self._connection.error
        if error is not None and not self._frames and not self._open:
            self.close(f"no Kafka request: {error}")

    def _request(self, frame: memoryview) -> None:
        """Decode one request and have it handled."""
        self._clients.requests_count += 1
        slot = self._connection.open_slot(len(frame))
        try:
            request = decode_request(frame)
        except UnsupportedVersionError as error:
            if error.answer is None:
                self.close(str(error))
            else:
                self._send(self._connection.fill(slot, error.answer))
            return
        except ProtocolError as error:
            self.close(f"no Kafka request: {error}")
            return
        clients = self._clients
        call = Call(
            broker=clients.broker,
            deadlines=clients.deadlines,
            parts=clients.parts,
            owner=self,
            header=request.header,
            peer=self._peer,
            slot=slot,
        )
        call.begun_s = self._now_s()
        self._counters.requests[request.header.api_key] += 1
        slot.on_overtaken = call.block
        slot.is_patient = is_routine(request.body)
        self._open[call] = None
        clients.dispatcher.dispatch(call, request.body)

    def _send(self, buffers: Sequence[Payload | bytearray]) -> None:
        """Send with everything else of this turn."""
        if not buffers:
            return
        if not self._out and not self._is_working:
            self._clients.loop.call_soon(self._flush)
        self._out += buffers
        for buffer in buffers:
            self._out_bytes += len(buffer)

    def _flush(self) -> None:
        if self._out and not self._is_closed:
            out, self._out = self._out, []
            self._counters.bytes_out += self._out_bytes
            self._written_bytes += self._out_bytes
            self._out_bytes = 0
            self._transport.writelines(out)

    def _drop_all(self) -> None:
        calls, self._open = self._open, {}
        for call in calls:
            call.drop()

    def _arm_check(self) -> None:
        kafka = self._kafka
        shortest_s = min(kafka.idle_timeout_s, kafka.request_receive_s, kafka.slow_client_s)
        delay_s = shortest_s / CHECKS_PER_TIMEOUT
        self._check = self._clients.deadlines.after(delay_s, self._check_times)

    def _check_times(self) -> None:
        """Close if the client took too long with anything."""
        kafka = self._kafka
        now_s = self._clients.deadlines.now_s()
        self._arm_check()
        if self._stuck_since_s is not None and self._count_taken() != self._taken_bytes:
            self._expect_taking()  # slow it may be, as long as it goes on
        if self._stuck_since_s is not None and now_s - self._stuck_since_s >= kafka.slow_client_s:
            self.close(f"takes no answers for {kafka.slow_client_s} s", at_once=True)
            self._transport.abort()  # also when it was closed before and does not drain
        elif not self._is_reading:
            return
        elif (
            self._frame_begun_s is not None
            and now_s - self._frame_begun_s >= kafka.request_receive_s
        ):
            self.close(f"a request was not complete within {kafka.request_receive_s} s")
        elif not self._open and now_s - self._heard_s >= kafka.idle_timeout_s:
            self.close(f"idle for {kafka.idle_timeout_s} s")

    def _expect_taking(self) -> None:
        """From now on the client has to take something within `slow_client_s`."""
        self._stuck_since_s = self._clients.deadlines.now_s()
        self._taken_bytes = self._count_taken()

    def _count_taken(self) -> int:
        """Return how much of what was written the kernel has taken, to send when the client can."""
        return self._written_bytes - self._transport.get_write_buffer_size()


def is_routine(body: object) -> bool:
    """Whether a request can wait for what was asked before it, as everything does in Kafka.

    Clients ask for the nodes alone from time to time; a reader's long poll is not cut short for it.
    """
    return isinstance(body, MetadataRequest) and body.topics is not None and not body.topics


def api_key_of(frame: memoryview) -> int:
    """Return what a frame says that it asks for; nothing of it has been checked."""
    return int.from_bytes(frame[:2], "big")


def peer_name(transport: asyncio.BaseTransport) -> str:
    """Return the client's address as log lines have it."""
    address = transport.get_extra_info("peername")
    if isinstance(address, tuple) and len(address) >= 2:
        return f"{address[0]}:{address[1]}"
    return str(address)


def peer_address(transport: asyncio.BaseTransport) -> str:
    """Return the client's address without its port."""
    address = transport.get_extra_info("peername")
    return str(address[0] if isinstance(address, tuple) and address else address)
