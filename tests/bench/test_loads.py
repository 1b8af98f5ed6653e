"""Loads on a virtual clock: a stalled target must show, and every event is counted once."""

import heapq
from collections.abc import Callable

import pytest

from trimaran.bench.accounting import Account, Window
from trimaran.bench.histogram import Percentiles, encode, percentiles
from trimaran.bench.loads import Notes, offer_at_most, offer_noted, offer_one_in_flight
from trimaran.bench.loads import offer_paced as offer
from trimaran.bench.schedule import NANOSECONDS, Schedule
from trimaran.bench.sender import Sender, Stamps, make_keys

MILLISECOND = 1_000_000
SERVICE_NS = MILLISECOND

Answer = Callable[[int], int]
"""From the time an event was sent to the time of its delivery report."""


class VirtualClient:
    """A producer client in virtual time: `answer` says when a report comes; may have a queue."""

    def __init__(self, answer: Answer, *, queue_max: int = 1_000_000) -> None:
        self.now_ns = 0
        self.sent: list[tuple[int, bytes, int]] = []
        self.dressed: list[tuple[bytes | None, object]] = []
        """Key and headers of each event sent."""
        self._answer = answer
        self._queue_max = queue_max
        self._reports: list[tuple[int, int, Callable[[object, object], None], object]] = []
        self.error: object | None = None

    def produce(
        self,
        _topic: str,
        value: bytes,
        key: bytes | None,
        partition: int,
        on_delivery: Callable[[object, object], None],
        /,
        *,
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        if len(self._reports) >= self._queue_max:
            raise BufferError
        self.sent.append((self.now_ns, value, partition))
        self.dressed.append((key, headers))
        report = (self._answer(self.now_ns), len(self.sent), on_delivery, self.error)
        heapq.heappush(self._reports, report)

    def wait(self, duration_ns: int) -> None:
        self._run_to(self.now_ns + duration_ns)

    def poll(self, timeout: float) -> int:
        if not self._reports:
            return 0
        end_ns = self.now_ns + round(timeout * NANOSECONDS)
        self._run_to(min(end_ns, max(self.now_ns, self._reports[0][0])))
        return 1

    def flush(self, timeout: float) -> int:
        self._run_to(self.now_ns + round(timeout * NANOSECONDS))
        return len(self._reports)

    def clock(self) -> int:
        return self.now_ns

    def sender(self, partitions: int = 1) -> Sender:
        return Sender(
            client=self,
            topic="t",
            payloads=[bytes(16)],
            partitions=partitions,
            wait=self.wait,
        )

    def account(self, *, start_s: float = 0.0, end_s: float = 100.0) -> Account:
        window = Window(start_ns=round(start_s * NANOSECONDS), end_ns=round(end_s * NANOSECONDS))
        return Account(window, self.clock)

    def _run_to(self, time_ns: int) -> None:
        while self._reports and self._reports[0][0] <= time_ns:
            due_ns, _, on_delivery, error = heapq.heappop(self._reports)
            self.now_ns = max(self.now_ns, due_ns)
            on_delivery(error, None)
        self.now_ns = max(self.now_ns, time_ns)


def prompt(sent_ns: int) -> int:
    return sent_ns + SERVICE_NS


def stalled_for_a_second(sent_ns: int) -> int:
    """A target that answers after 1 ms, but nothing from second 4 to second 5."""
    done_ns = sent_ns + SERVICE_NS
    return 5 * NANOSECONDS if 4 * NANOSECONDS <= done_ns < 5 * NANOSECONDS else done_ns


def paced(client: VirtualClient, *, rate: float, chunk: int, seconds: float) -> Account:
    account = client.account()
    schedule = Schedule(rate=rate, start_ns=0, chunk=chunk)
    offer(client.sender(), schedule, account, seconds=seconds, progress=lambda: None)
    client.flush(30)
    account.close()
    return account


def latency(account: Account) -> Percentiles:
    return percentiles(encode(account.event_us))


def test_prompt_target_shows_only_its_service_time() -> None:
    account = paced(VirtualClient(prompt), rate=1_000, chunk=1, seconds=10)

    assert account.answered == account.offered == 10_000
    assert latency(account).p50_ms == pytest.approx(1.0, rel=0.01)
    assert latency(account).max_ms == pytest.approx(1.0, rel=0.01)


def test_stall_of_a_second_in_ten_shows_in_the_percentiles() -> None:
    account = paced(VirtualClient(stalled_for_a_second), rate=1_000, chunk=1, seconds=10)

    # A tenth of the events was due during the stall; the hundredth part waited 0.9 s and more.
    assert latency(account).p50_ms == pytest.approx(1.0, rel=0.01)
    assert latency(account).p95_ms == pytest.approx(500.0, rel=0.02)
    assert latency(account).p99_ms == pytest.approx(900.0, rel=0.02)


def test_stall_that_blocks_the_sender_shows_just_as_much() -> None:
    """A full client queue delays the sends; the latencies still run from the intended times."""
    client = VirtualClient(stalled_for_a_second, queue_max=10)
    account = client.account()
    sender = client.sender()
    schedule = Schedule(rate=1_000, start_ns=0, chunk=1)

    offer(sender, schedule, account, seconds=10, progress=lambda: None)
    client.flush(30)
    account.close()

    assert sender.queue_full > 0
    assert account.answered == 10_000
    assert latency(account).p99_ms == pytest.approx(900.0, rel=0.03)


def test_events_of_a_chunk_wait_for_its_last_and_that_wait_counts() -> None:
    account = paced(VirtualClient(prompt), rate=1_000, chunk=64, seconds=10)

    assert latency(account).max_ms == pytest.approx(63.0 + 1.0, rel=0.01)
    assert latency(account).p50_ms == pytest.approx(31.5 + 1.0, rel=0.03)
    assert percentiles(encode(account.chunk_us)).max_ms == pytest.approx(1.0, rel=0.01)


def test_warm_up_is_not_counted() -> None:
    client = VirtualClient(prompt)
    account = client.account(start_s=2.0, end_s=5.0)
    schedule = Schedule(rate=1_000, start_ns=0, chunk=1)

    offer(client.sender(), schedule, account, seconds=5, progress=lambda: None)
    client.flush(30)
    account.close()

    assert len(client.sent) == account.answers_total == 5_000
    assert account.offered == account.answered == 3_000
    assert account.answers_in_window == 3_000


def test_unanswered_events_count_with_the_time_they_waited() -> None:
    client = VirtualClient(lambda sent_ns: sent_ns + 1_000 * NANOSECONDS)

    account = paced(client, rate=100, chunk=10, seconds=1)

    assert (account.answered, account.unanswered) == (0, 100)
    assert latency(account).count == 100
    assert latency(account).p50_ms > 29_000


def test_failed_reports_are_counted_by_their_error() -> None:
    client = VirtualClient(prompt)
    client.error = "_MSG_TIMED_OUT"

    account = paced(client, rate=100, chunk=1, seconds=1)

    assert account.failed == {"_MSG_TIMED_OUT": 100}
    assert account.answered == account.answers_total == 0
    assert account.unanswered == 0


def test_chunk_goes_to_one_partition_and_chunks_take_turns() -> None:
    client = VirtualClient(prompt)
    schedule = Schedule(rate=1_000, start_ns=0, chunk=10)

    offer(client.sender(3), schedule, client.account(), seconds=0.04, progress=lambda: None)

    assert [partition for _, _, partition in client.sent] == [0] * 10 + [1] * 10 + [2] * 10 + [
        0
    ] * 10


def test_one_in_flight_sends_only_after_the_report() -> None:
    client = VirtualClient(prompt)
    account = client.account()

    offer_one_in_flight(client.sender(), account, end_ns=NANOSECONDS, progress=lambda: None)
    account.close()

    sent_ns = [time_ns for time_ns, _, _ in client.sent]
    assert sent_ns == [number * SERVICE_NS for number in range(1_000)]
    assert latency(account).max_ms == pytest.approx(1.0, rel=0.01)


def test_load_without_schedule_ends_at_its_number_of_events() -> None:
    client = VirtualClient(prompt, queue_max=100)
    account = client.account()

    offer_at_most(
        client.sender(),
        account,
        end_ns=50 * NANOSECONDS,
        progress=lambda: None,
        events_max=1_000,
    )
    client.flush(30)

    assert len(client.sent) == 1_024
    assert account.answers_total == 1_024


def test_events_of_a_load_without_schedule_that_are_never_answered_are_counted() -> None:
    answers = iter([SERVICE_NS] * 200 + [1_000 * NANOSECONDS] * 120)
    client = VirtualClient(lambda _sent_ns: next(answers))
    account = client.account(end_s=10)

    offer_at_most(
        client.sender(),
        account,
        end_ns=10 * NANOSECONDS,
        progress=lambda: None,
        events_max=320,
    )
    client.flush(30)
    account.settle()
    account.close()

    assert (account.answered, account.unanswered, account.offered) == (200, 120, 320)


def test_noted_events_carry_their_number_and_are_remembered_by_partition() -> None:
    client = VirtualClient(prompt)
    notes = Notes()

    offered = offer_noted(
        client.sender(partitions=2),
        Schedule(rate=1_000, start_ns=0, chunk=1),
        notes,
        clock=client.clock,
        stopped=lambda: len(client.sent) == 10,
        progress=lambda: None,
    )
    client.flush(30)

    assert offered == 10
    assert [int.from_bytes(value[:8], "big") for _, value, _ in client.sent] == list(range(10))
    assert list(notes.numbers) == list(range(10))
    assert list(notes.partitions) == [0, 1] * 5
    assert notes.latest_ns == {0: 9 * MILLISECOND, 1: 10 * MILLISECOND}


def test_stamped_events_carry_their_intended_time_however_late_they_are_sent() -> None:
    client = VirtualClient(stalled_for_a_second, queue_max=10)
    sender = client.sender()
    schedule = Schedule(rate=1_000, start_ns=0, chunk=1)
    sender.stamp_ns = schedule.intended_ns

    offer(sender, schedule, client.account(), seconds=10, progress=lambda: None)

    stamps = [int.from_bytes(value[:8], "big") for _, value, _ in client.sent]
    assert stamps == [number * MILLISECOND for number in range(10_000)]
    assert max(sent_ns - stamp for (sent_ns, _, _), stamp in zip(client.sent, stamps, strict=True))


def test_stamps_inside_the_window_are_counted_for_the_consumers() -> None:
    client = VirtualClient(prompt)
    sender = client.sender()
    schedule = Schedule(rate=1_000, start_ns=0, chunk=1)
    account = client.account(start_s=2, end_s=5)
    stamps = sender.stamp_ns = Stamps(account.window, schedule.intended_ns)

    offer(sender, schedule, account, seconds=6, progress=lambda: None)

    assert stamps.in_window == account.offered == 3_000


def test_keyed_events_leave_the_partition_to_the_client_and_keys_take_turns() -> None:
    client = VirtualClient(prompt)
    sender = client.sender(partitions=3)
    sender.keys = make_keys("round_robin")
    schedule = Schedule(rate=1_000, start_ns=0, chunk=1)

    offer(sender, schedule, client.account(), seconds=0.01, progress=lambda: None)

    assert {partition for _, _, partition in client.sent} == {-1}
    assert [key for key, _ in client.dressed] == sender.keys[:10]
    assert len(set(sender.keys)) > 9_990


def test_event_ids_are_never_the_same_twice() -> None:
    client = VirtualClient(prompt)
    sender = client.sender()
    sender.id_prefix = b"7-"
    schedule = Schedule(rate=1_000, start_ns=0, chunk=10)

    offer(sender, schedule, client.account(), seconds=1, progress=lambda: None)

    ids = [headers[0] for _, headers in client.dressed]  # type: ignore[index]
    assert ids[0] == ("event-id", b"7-0")
    assert len(set(ids)) == 1_000
