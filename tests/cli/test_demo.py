"""The demo around its verdict: exit code, last line, and the producer's book-keeping."""

import pytest

from trimaran.cli import demo, demo_failover, demo_send
from trimaran.cli.demo_check import digest
from trimaran.cli.demo_failover import Failovers, Phase
from trimaran.cli.demo_send import TURN_S, Ledger, PacedProducer
from trimaran.cli.flights import Departure
from trimaran.cli.main import main


class StubCluster:
    bootstrap = "127.0.0.1:1"
    dashboard_line = "dashboard: http://127.0.0.1:2/"
    stopped = False

    def allow_control(self):
        pass

    def start_all(self):
        pass

    def wait_ready(self):
        pass

    def stop_all(self):
        self.stopped = True

    def stop_strangers(self):
        return []


@pytest.fixture
def run_demo(monkeypatch, capsys):
    """Run the command with four acknowledged events; `read` says what comes back of them."""

    def run(read):
        cluster, ledger = StubCluster(), Ledger()
        for number in range(4):
            ledger.acknowledge(ledger.add(digest(b"k", b"%d" % number)), 0, number, 1.0)
        stored = ledger.sightings()[0]
        monkeypatch.setattr(demo, "found_cluster", lambda *_, **__: cluster)
        monkeypatch.setattr(demo, "create_topic", lambda _bootstrap: None)
        monkeypatch.setattr(demo, "send_all", lambda *_, **__: (ledger, [100, 90]))
        monkeypatch.setattr(demo, "read_back", lambda *_, **__: read(stored))
        with pytest.raises(SystemExit) as ended:
            main(["demo", "--headless"])
        assert cluster.stopped
        return ended.value.code or 0, capsys.readouterr().out.splitlines()[-1]

    return run


def test_a_whole_stream_ends_with_its_line_and_code_0(run_demo):
    code, line = run_demo(lambda events: {0: events})
    assert code == 0
    assert line == (
        "sent 4 acked 4 lost 0 duplicated 0 out of order 0 failovers 2 failover max 100 ms"
    )


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (lambda e: {0: e[:3]}, "lost 1 duplicated 0 out of order 0"),
        (lambda e: {0: [*e, (4, e[0][1])]}, "lost 0 duplicated 1 out of order 0"),
        (lambda e: {0: [e[0], (1, e[2][1]), (2, e[1][1]), e[3]]}, "duplicated 0 out of order 2"),
        (lambda e: {0: [(0, digest(b"k", b"other")), *e[1:]]}, "lost 1 duplicated 0"),
    ],
    ids=["lost", "doubled", "swapped", "altered"],
)
def test_each_planted_fault_ends_the_demo_with_code_1(run_demo, plant, words):
    code, line = run_demo(plant)
    assert code == 1
    assert words in line


def test_the_ledger_orders_acknowledgements_by_sending():
    ledger = Ledger()
    numbers = [ledger.add(digest(b"k", b"%d" % n)) for n in range(3)]
    ledger.acknowledge(numbers[2], 0, 1, 1.0)
    ledger.acknowledge(numbers[0], 0, 0, 1.1)
    ledger.acknowledge(numbers[1], 1, 0, 1.2)
    assert ledger.sightings() == {
        0: [(0, ledger.sent[0]), (1, ledger.sent[2])],
        1: [(0, ledger.sent[1])],
    }
    assert ledger.acked_count == 3


def test_the_gap_runs_from_the_last_acknowledgement_before_the_kill():
    ledger = Ledger()
    for number in range(5):
        ledger.add(digest(b"k", b"%d" % number))
    ledger.acknowledge(0, 0, 0, 10.000)
    ledger.watch([0])
    ledger.acknowledge(1, 0, 1, 10.004)
    ledger.acknowledge(2, 0, 2, 10.304)
    ledger.acknowledge(3, 0, 3, 10.310)
    ledger.acknowledge(4, 1, 0, 12.000)
    assert ledger.gaps_s == {0: pytest.approx(0.3)}


class SlowClient:
    """A client of which each event costs a millisecond of the clock."""

    def __init__(self, _settings):
        self.now_s = 0.0
        self.calls = []

    def produce(self, *_, **__):
        self.now_s += 0.001
        self.calls.append("event")

    def poll(self, _timeout):
        self.calls.append("acknowledgements")


def test_who_is_behind_takes_up_acknowledgements_all_the_same(monkeypatch):
    monkeypatch.setattr(demo_send, "Producer", SlowClient)
    events = iter([Departure(b"k", b"v")] * 1_000)
    monkeypatch.setattr(demo_send.time, "perf_counter", lambda: 0.0)
    producer = PacedProducer("127.0.0.1:1", "t", events, rate=1e9)
    client = producer._producer
    client.now_s = 1.0
    monkeypatch.setattr(demo_send.time, "perf_counter", lambda: client.now_s)

    producer.turn()
    producer.turn()

    at_once = round(1000 * TURN_S) + 1
    assert client.calls == 2 * (["event"] * at_once + ["acknowledgements"])


def test_a_node_that_is_dead_when_the_stream_ends_is_started_again(monkeypatch):
    monkeypatch.setattr(demo_failover, "admin", lambda _bootstrap: None)
    cluster, started = StubCluster(), []
    cluster.start = started.append
    failovers = Failovers(cluster, topic="t", ledger=Ledger(), kill_at=[0.5], say=print)
    failovers.end()
    assert started == []

    failovers._victim = 2
    failovers._enter(Phase.LEADERLESS)
    assert not failovers.is_whole
    failovers.end()

    assert started == [2]
    assert not failovers.is_whole
