"""One connection without sockets: frames out of any cut of the bytes, answers in order."""

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import ProtocolError
from trimaran.protocol.connection import (
    FRAME_BYTES_MAX,
    FRAME_START_BYTES,
    SCRATCH_BYTES,
    KafkaConnection,
    Slot,
)


def framed(*bodies: bytes) -> bytes:
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def fed(connection: KafkaConnection, data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Read `data` as an event loop would, `sizes` bytes at a time, cyclically."""
    frames = []
    turn = 0
    while data:
        buffer = connection.get_buffer()
        count = min(len(buffer), len(data), sizes[turn % len(sizes)])
        buffer[:count] = data[:count]
        frames += [bytes(frame) for frame in connection.buffer_updated(count)]
        data = data[count:]
        turn += 1
    return frames


@given(
    bodies=st.lists(st.binary(max_size=40), max_size=8),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
)
def test_frames_come_out_however_the_bytes_are_cut(bodies: list[bytes], sizes: list[int]) -> None:
    connection = KafkaConnection(scratch=bytearray(16))

    assert fed(connection, framed(*bodies), sizes) == bodies
    assert not connection.is_mid_frame


@given(
    bodies=st.lists(st.binary(max_size=40), max_size=8),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
)
def test_bytes_may_be_handed_over_too(bodies: list[bytes], sizes: list[int]) -> None:
    connection = KafkaConnection(scratch=bytearray(16))
    data = framed(*bodies)
    frames = []
    for turn in range(len(data)):
        frames += connection.receive(data[: sizes[turn % len(sizes)]])
        data = data[sizes[turn % len(sizes)] :]

    assert frames == bodies


def test_connections_may_share_the_scratch_buffer() -> None:
    scratch = bytearray(32)
    connections = [KafkaConnection(scratch=scratch) for _ in range(3)]
    frames: list[list[bytes]] = [[], [], []]
    data = [framed(bytes([i]) * 25, bytes([i]) * 90) for i in range(3)]
    for start in range(0, len(data[0]), 7):
        for i, connection in enumerate(connections):
            frames[i] += map(bytes, connection.receive(data[i][start : start + 7]))

    assert frames == [[bytes([i]) * 25, bytes([i]) * 90] for i in range(3)]


def test_a_frame_is_writable_and_its_own() -> None:
    connection = KafkaConnection()

    first, second = connection.receive(framed(b"one", b"two"))
    first[0:1] = b"O"

    assert bytes(first) == b"One"
    assert bytes(second) == b"two"
    assert len(first.obj) == 3


def test_the_rest_of_a_large_frame_is_received_in_place() -> None:
    connection = KafkaConnection()
    body = bytes(range(256)) * 1024
    connection.receive(framed(body)[:100])

    buffer = connection.get_buffer()

    assert len(buffer) == len(body) - 96
    buffer[:] = body[96:]
    (frame,) = connection.buffer_updated(len(buffer))
    assert frame == body
    assert connection.get_buffer().nbytes == SCRATCH_BYTES


def test_a_frame_larger_than_first_allocated_grows_as_it_arrives() -> None:
    connection = KafkaConnection()
    body = bytes(range(251)) * 20_000

    assert len(body) > 2 * FRAME_START_BYTES
    assert fed(connection, framed(body, b"next"), [100_000]) == [body, b"next"]


def test_an_announced_frame_takes_little_memory_before_it_comes() -> None:
    tracemalloc.start()
    connection = KafkaConnection()

    assert connection.receive(FRAME_BYTES_MAX.to_bytes(4, "big") + b"x") == []

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * FRAME_START_BYTES
    assert connection.is_mid_frame


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\x00\x00\x00\x0b", b"GET "])
def test_a_size_out_of_bounds_ends_the_connection(size: bytes) -> None:
    connection = KafkaConnection(frame_bytes_max=10)

    assert connection.receive(framed(b"before") + size + framed(b"after")) == [b"before"]

    assert isinstance(connection.error, ProtocolError)
    assert "expected 0 to 10" in str(connection.error)
    assert connection.receive(framed(b"later")) == []


def test_a_frame_of_the_limit_passes() -> None:
    connection = KafkaConnection(frame_bytes_max=10)

    assert connection.receive(framed(b"0123456789", b"")) == [b"0123456789", b""]


def test_part_of_a_size_is_mid_frame() -> None:
    connection = KafkaConnection()
    assert not connection.is_mid_frame

    connection.receive(b"\0\0")

    assert connection.is_mid_frame


def test_answers_leave_in_the_order_of_requests() -> None:
    connection = KafkaConnection()
    first, second, third = (connection.open_slot(10) for _ in range(3))

    assert connection.fill(third, [b"3"]) == []
    assert connection.fill(first, [b"1a", b"1b"]) == [b"1a", b"1b"]
    assert connection.fill(second, [b"2"]) == [b"2", b"3"]
    assert connection.requests_in_flight == 0
    assert connection.bytes_in_flight == 0


def test_a_request_without_answer_sends_nothing_and_blocks_nothing() -> None:
    connection = KafkaConnection()
    acks_0, asked = connection.open_slot(5), connection.open_slot(5)

    assert connection.fill(asked, [b"answer"]) == []
    assert connection.fill(acks_0, []) == [b"answer"]


@given(order=st.permutations(range(6)), silent=st.sets(st.integers(0, 5)))
def test_any_order_of_filling_gives_the_order_of_opening(
    order: list[int], silent: set[int]
) -> None:
    connection = KafkaConnection()
    slots = [connection.open_slot(1) for _ in range(6)]
    left: list[object] = []
    for number in order:
        left += connection.fill(slots[number], [] if number in silent else [b"%d" % number])

    assert left == [b"%d" % number for number in range(6) if number not in silent]


def test_too_many_requests_or_bytes_ask_for_a_pause() -> None:
    connection = KafkaConnection(requests_in_flight_max=2, bytes_in_flight_max=100)

    first = connection.open_slot(99)
    assert not connection.should_pause
    second = connection.open_slot(0)
    assert connection.should_pause
    connection.fill(first, [])
    assert not connection.should_pause
    connection.fill(second, [])
    large = connection.open_slot(100)
    assert connection.should_pause
    connection.fill(large, [])
    assert not connection.should_pause


def test_a_waiting_slot_is_told_once_that_it_was_overtaken() -> None:
    connection = KafkaConnection()
    told: list[str] = []
    answered, parked, plain, silent, ready, more = (connection.open_slot(1) for _ in range(6))
    assert connection.fill(ready, []) == []
    answered.on_overtaken = lambda: told.append("answered")
    parked.on_overtaken = lambda: told.append("parked")
    del plain

    connection.fill(silent, [])
    assert told == []
    assert not connection.is_overtaken(parked)
    connection.fill(answered, [b"1"])
    connection.fill(more, [b"6"])

    assert told == ["parked"]
    assert connection.is_overtaken(parked)
    assert not connection.is_overtaken(more)


def test_an_overtaken_slot_may_be_filled_at_once() -> None:
    connection = KafkaConnection()
    sent: list[object] = []
    parked, ready = connection.open_slot(1), connection.open_slot(1)

    def answer_now(slot: Slot = parked) -> None:
        sent.extend(connection.fill(slot, [b"parked"]))

    parked.on_overtaken = answer_now
    sent.extend(connection.fill(ready, [b"ready"]))

    assert sent == [b"parked", b"ready"]


def test_the_first_slot_overtakes_nobody() -> None:
    connection = KafkaConnection()
    told: list[str] = []
    first, second = connection.open_slot(1), connection.open_slot(1)
    second.on_overtaken = lambda: told.append("second")

    assert connection.fill(first, [b"1"]) == [b"1"]
    assert told == []
    assert not connection.is_overtaken(second)


def test_two_parked_slots_of_which_one_answers_the_other() -> None:
    connection = KafkaConnection()
    sent: list[object] = []
    one, two, ready = (connection.open_slot(1) for _ in range(3))

    def answer_both() -> None:
        sent.extend(connection.fill(one, [b"1"]))
        sent.extend(connection.fill(two, [b"2"]))

    one.on_overtaken = answer_both
    two.on_overtaken = answer_both
    sent.extend(connection.fill(ready, [b"3"]))

    assert sent == [b"1", b"2", b"3"]
