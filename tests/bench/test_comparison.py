"""A comparison tells everything: who was left out, what failed, and leaves no process behind."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from bench.peers import __main__ as command
from bench.peers import comparison, loads, topics
from bench.peers.peer import Peer
from bench.peers.processes import servers
from bench.peers.report import markdown, plots
from bench.peers.results import Comparison, Failure, System

from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.histogram import Percentiles
from trimaran.bench.machine import describe
from trimaran.bench.results import Row
from trimaran.bench.target import Target

ROOT = Path(command.__file__).resolve().parents[2]
DISK = DiskFigures(fdatasync_p50_ms=0.1, fdatasync_p99_ms=0.2, sequential_mb_per_s=1_000.0)
GONE_S = 20.0


def made_row(plan, target, *, repeat, **figures) -> Row:
    """Return a row as a run gives it."""
    usual = {
        "answered_per_s": 1_000.0 * repeat,
        "client_cores": 0.1,
        "latency": None,
        "failed": {},
    } | figures
    return Row(
        scenario=plan.scenario, target=target, load=plan.in_words, offered_per_s=plan.rate,
        mb_per_s=1.0, unanswered=0, batch_latency=None, batch_events_mean=1.0, queue_full=0,
        nodes=[], disk_before=DISK, disk_after=DISK, repeat=repeat,
        client=plan.client.rpartition(":")[2], **usual,
    )  # fmt: skip


@contextlib.contextmanager
def nothing_open(base):
    yield Target(name="", bootstrap="", disk=base, node_count=3, process_ids={1: os.getpid()})


def peer(name: str, **changed) -> Peer:
    return replace(
        Peer(
            name=name,
            durability="none",
            synced="no",
            missing=lambda: None,
            version=lambda: f"{name} 1",
            open=nothing_open,
            memory_gb=0.0,
            sender="bench.peers.nats:NatsSender",
        ),
        **changed,
    )


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Let runs give rows at once; return who was run, and how to run the command."""
    ran: list[tuple[int, str, str]] = []

    def run_once(plan, target, *, repeat, progress):
        ran.append((repeat, target.name, plan.scenario))
        return made_row(plan, target.name, repeat=repeat)

    monkeypatch.setattr(comparison, "run_once", run_once)
    monkeypatch.setattr(command, "PEERS", {name: peer(name) for name in ("a", "b", "c")})
    out = tmp_path / "out"

    def main(*words: str) -> int:
        return command.main([*words, "--data", str(tmp_path), "--out", str(out)])

    return SimpleNamespace(ran=ran, main=main, out=out, peers=command.PEERS)


def results(out: Path) -> Comparison:
    return msgspec.json.decode((out / "results.json").read_bytes(), type=Comparison)


def test_each_round_begins_with_another_system_and_runs_every_load(measured, capsys) -> None:
    assert measured.main("--rounds", "3") == command.OK

    rounds = [[name for at, name, load in measured.ran if at == number] for number in (1, 2, 3)]
    assert [list(dict.fromkeys(names)) for names in rounds] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]
    assert [load for _, name, load in measured.ran if name == "a"] == 3 * [
        loads.WARMING,
        *loads.LOADS,
    ]
    assert len(results(measured.out).rows) == 3 * 3 * len(loads.LOADS), "warming up is no row"
    assert results(measured.out).systems[0].version == "a 1"
    assert {path.name for path in measured.out.iterdir()} == {
        "results.json", "table.md", "one-in-flight.svg", "steady.svg", "most-100-B.svg",
        "most-1-KB.svg",
    }  # fmt: skip
    assert (measured.out / "table.md").read_text() == capsys.readouterr().out


def test_a_run_that_fails_is_named_and_the_others_go_on(measured, monkeypatch, capsys) -> None:
    run_once = comparison.run_once

    def sometimes(plan, target, **words):
        if (target.name, plan.scenario) == ("b", loads.STEADY):
            raise BenchError("a load process ended early")
        return run_once(plan, target, **words)

    monkeypatch.setattr(comparison, "run_once", sometimes)

    assert measured.main("--rounds", "2") == command.FAILED

    kept = results(measured.out)
    assert [(one.round, one.system, one.load, one.client) for one in kept.failures] == [
        (1, "b", loads.STEADY, "raw"),
        (2, "b", loads.STEADY, "raw"),
    ]
    assert len(kept.rows) == 2 * (3 * len(loads.LOADS) - 1)
    shown = capsys.readouterr()
    assert "- round 2, b, steady, raw: a load process ended early" in shown.out
    assert "FAILED: round 1, b, steady, raw: a load process ended early" in shown.err


def test_a_system_that_does_not_start_is_named_and_the_others_go_on(measured) -> None:
    @contextlib.contextmanager
    def refuses(_base):
        raise BenchError("process 2 ended after 1 s")
        yield

    measured.peers["a"] = peer("a", open=refuses)

    assert measured.main("--rounds", "1") == command.FAILED
    assert [one.in_words for one in results(measured.out).failures] == [
        "round 1, a: process 2 ended after 1 s"
    ]
    assert {name for _, name, _ in measured.ran} == {"b", "c"}


def test_what_was_measured_while_a_node_ended_is_no_figure(measured, monkeypatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()

    @contextlib.contextmanager
    def with_a_dead_node(base):
        (base / "log-2").write_text("out of memory")
        yield Target(
            name="",
            bootstrap="",
            disk=base,
            node_count=3,
            process_ids={1: os.getpid(), 2: ended.pid},
        )

    measured.peers["b"] = peer("b", open=with_a_dead_node)

    assert measured.main("--rounds", "1", "--warming", "0") == command.FAILED
    kept = results(measured.out)
    assert {row.target for row in kept.rows} == {"a", "c"}
    assert [one.reason for one in kept.failures] == ["node 2 ended during the run"]
    assert (measured.out / "logs" / "1-b" / "log-2").read_text() == "out of memory"


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, also where this run is a job in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_every_process_and_shows_what_it_has(
    measured, monkeypatch, capsys, number
) -> None:
    started: list[int] = []

    @contextlib.contextmanager
    def with_processes(base):
        with servers("b", base) as own:
            own.start(["sleep", "600"])
            own.start(["sh", "-c", "sleep 600 & sleep 600"])
            started.extend(own.pids().values())
            yield Target(name="", bootstrap="", disk=base, node_count=3, process_ids=own.pids())

    measured.peers["b"] = peer("b", open=with_processes)
    run_once = comparison.run_once

    def interrupted(plan, target, **words):
        if (target.name, plan.scenario) == ("b", loads.MOST_SMALL):
            os.kill(os.getpid(), number)
        return run_once(plan, target, **words)

    monkeypatch.setattr(comparison, "run_once", interrupted)

    assert measured.main("--rounds", "1") == command.INTERRUPTED

    assert len(started) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    assert not list(measured.out.parent.glob("peer-b-*"))
    kept = results(measured.out)
    assert kept.interrupted
    assert [row.scenario for row in kept.rows if row.target == "b"] == [loads.STEADY]
    assert "**Interrupted**" in capsys.readouterr().out


def test_servers_end_and_their_files_go_although_nobody_is_left_to_end_them(tmp_path) -> None:
    text = (
        "import sys; from pathlib import Path; from bench.peers.processes import servers\n"
        f"with servers('x', Path({str(tmp_path)!r})) as own:\n"
        "    own.start(['sleep', '600'])\n"
        "    (own.directory / 'data').write_bytes(bytes(1000))\n"
        "    print(own.running[0].pid, own.guard.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        watched = [os.pidfd_open(pid) for pid in pids]
        assert list(tmp_path.iterdir())
        process.kill()

    for descriptor in watched:
        assert select.select([descriptor], [], [], GONE_S)[0], "it has ended"
        os.close(descriptor)
    assert not list(tmp_path.iterdir())


def test_a_system_that_was_asked_for_and_is_missing_is_one_line(measured, capsys) -> None:
    measured.peers["b"] = peer("b", missing=lambda: "install b-server")

    assert measured.main("b") == command.USAGE
    assert capsys.readouterr().err == "error: b is not to be had here: install b-server\n"
    assert not measured.ran


def test_without_names_a_missing_system_and_a_missing_library_are_left_out_and_named(
    measured, capsys
) -> None:
    measured.peers["b"] = peer("b", missing=lambda: "install b-server")
    measured.peers["c"] = peer("c", library="no_such_module", package="c-py")

    assert measured.main("--rounds", "1") == command.OK
    assert {name for _, name, _ in measured.ran} == {"a", "c"}
    shown = capsys.readouterr().out
    assert "- b: install b-server" in shown
    assert "- c: its own client is left out, pip install c-py" in shown


def test_too_little_memory_leaves_a_system_out(measured) -> None:
    measured.peers["b"] = peer("b", memory_gb=1e6)

    assert measured.main("--rounds", "1") == command.OK
    assert "memory" in results(measured.out).left_out[0]


def test_too_little_disk_is_one_line_before_anything_starts(measured, monkeypatch, capsys) -> None:
    free = SimpleNamespace(free=1_000_000_000)
    monkeypatch.setattr(comparison.shutil, "disk_usage", lambda _path: free)

    assert measured.main() == command.USAGE
    assert capsys.readouterr().err.startswith("error: 1 GB are free at ")
    assert not measured.ran


@pytest.mark.parametrize(
    "words",
    [["nobody"], ["--rounds", "0"], ["--seconds", "0"], ["--warm-up", "-1"], ["--load", "most"]],
)
def test_what_cannot_be_meant_is_refused(measured, capsys, words) -> None:
    assert measured.main(*words) == command.USAGE
    assert "error: " in capsys.readouterr().err
    assert not measured.ran


@pytest.mark.parametrize("text", [None, "{", "{}"])
def test_a_table_of_a_file_that_is_none_is_one_line(tmp_path, capsys, text) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)

    assert command.main(["--table", str(path)]) == command.USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_tables_of_several_files_are_one(measured, capsys) -> None:
    assert measured.main("a", "--rounds", "1") == command.OK
    first = measured.out / "results.json"
    second = first.rename(measured.out / "first.json")
    assert measured.main("b", "--rounds", "1") == command.OK
    capsys.readouterr()

    assert command.main(["--table", str(second), str(first)]) == command.OK
    shown = capsys.readouterr().out
    assert "| a | a 1 | none |" in shown
    assert "| b | b 1 | none |" in shown


def test_a_jvm_is_warmed_for_longer_by_requests_to_every_node_before_it_is_measured(
    measured, monkeypatch
) -> None:
    warmed: dict[str, object] = {}
    run_once = comparison.run_once

    def noting(plan, target, **words):
        if plan.scenario == loads.WARMING:
            warmed[target.name] = plan
        return run_once(plan, target, **words)

    monkeypatch.setattr(comparison, "run_once", noting)
    real = command.PEERS["a"].warming_s
    measured.peers["b"] = peer("b", sender="", warming_s=10 * real)

    assert measured.main("--rounds", "1") == command.OK
    assert {name: plan.seconds for name, plan in warmed.items()} == {
        "a": real,
        "b": 10 * real,
        "c": real,
    }
    assert warmed["b"].partitions == 3
    assert warmed["b"].client == loads.RAW_KAFKA
    assert (warmed["b"].load, warmed["b"].chunk) == ("paced", loads.WARMING_CHUNK)


def plan_of(name: str, of: Peer, client: str):
    found = loads.plans(of, seconds=1, warm_up_s=1, loads=[name])
    return next(plan for plan in found if loads.client_name(plan.client) == client)


def latency(ms: float) -> Percentiles:
    return Percentiles(count=1, mean_ms=ms, p50_ms=ms, p95_ms=ms, p99_ms=ms, p999_ms=ms, max_ms=ms)


def compared() -> Comparison:
    """Return three rounds of every load by ours and by Kafka."""
    ours, kafka = command.PEERS["trimaran"], command.PEERS["kafka"]
    rows = [
        made_row(plan, one.name, repeat=number, answered_per_s=factor * 1_000.0 * number)
        for number in (1, 2, 3)
        for one, factor in ((ours, 1.0), (kafka, 2.0))
        for plan in loads.plans(one, seconds=1, warm_up_s=1)
    ]
    systems = [
        System(name=one.name, version="1", synced=one.synced, durability=one.durability)
        for one in (ours, kafka)
    ]
    return Comparison(
        machine=describe(["peers"]), file_system="ext4", rows=rows, rounds=3, systems=systems
    )


def test_table_has_medians_and_extremes_and_says_how_the_aims_stand(tmp_path) -> None:
    shown = compared()

    text = markdown(shown)
    plots(shown, tmp_path)

    row = "| most 100 B | trimaran | a majority | raw | 3 | 2,000 (1,000 to 3,000) |"
    assert row in text
    assert "| most 100 B | kafka | no | librdkafka | 3 | 4,000 (2,000 to 6,000) |" in text
    assert "| most 1 KB: at least 0.8 x kafka | raw | 0.50 x | **not met** |" in text
    assert "2,000" in (tmp_path / "most-100-B.svg").read_text()


def test_table_marks_a_rate_that_was_not_reached_and_a_client_that_is_the_limit() -> None:
    shown = compared()
    ours = command.PEERS["trimaran"]
    steady = plan_of(loads.STEADY, ours, "raw")
    most = plan_of(loads.MOST_SMALL, ours, "raw")
    shown.rows = [
        made_row(steady, "trimaran", repeat=1, answered_per_s=20_000.0, latency=latency(5.0)),
        made_row(steady, "trimaran", repeat=2, answered_per_s=17_000.0, latency=latency(900.0)),
        made_row(most, "trimaran", repeat=1, client_cores=0.97, failed={"nack": 3}),
    ]
    shown.failures = [
        Failure(round=1, system="kafka", load="steady", client="raw", reason="two\nlines")
    ]

    text = markdown(shown)

    assert "| 2 | 18,500 (17,000 to 20,000) of 20,000/s |" in text
    assert "| 1 | 1,000 † |" in text
    assert text.splitlines()[-1] == "- round 1, kafka, steady, raw: two lines"
    assert [line for line in text.splitlines() if line.endswith("| 3 |")]


class Admin:
    """Stands for Kafka's admin client."""

    def __init__(self, replicas: list[int], in_sync: list[int], settings: dict[str, str]):
        partition = SimpleNamespace(replicas=replicas, isrs=in_sync)
        self.topic = SimpleNamespace(partitions={0: partition})
        self.settings = settings

    def list_topics(self, topic, timeout):
        return SimpleNamespace(topics={topic: self.topic})

    def describe_configs(self, asked):
        values = {name: SimpleNamespace(value=value) for name, value in self.settings.items()}
        return {one: SimpleNamespace(result=lambda timeout: values) for one in asked}


def test_a_topic_that_is_not_held_by_three_nodes_is_not_measured(monkeypatch) -> None:
    monkeypatch.setattr(topics, "REPLICAS_S", 0.01)
    topics._require_replicas(Admin([1, 2, 3], [3, 1, 2], {}), "t")

    for held, in_sync in (([1, 2, 3], [1, 2]), ([1], [1])):
        with pytest.raises(BenchError, match="not in sync on 3 nodes"):
            topics._require_replicas(Admin(held, in_sync, {}), "t")


def test_a_topic_without_the_setting_its_row_is_named_after_is_not_measured() -> None:
    asked = {"flush.messages": "1"}
    topics._require_settings(Admin([], [], {"flush.messages": "1"}), "t", asked)

    with pytest.raises(BenchError, match=r"flush.messages=9223372036854775807, not 1"):
        topics._require_settings(
            Admin([], [], {"flush.messages": "9223372036854775807"}), "t", asked
        )
