"""`trimaran group`: positions as people type them, and a group of a real node."""

import json
import time

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupType,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import ConsumerGroupListing

from trimaran.cli.exits import CommandError
from trimaran.cli.group import state_of
from trimaran.cli.group_offsets import Position, parse_position
from trimaran.cli.main import main
from trimaran.testing import Cluster

WAIT_S = 20.0


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("earliest", Position("earliest")),
        ("latest", Position("latest")),
        ("17", Position("offset", 17)),
        ("+5", Position("shift", 5)),
        ("-5", Position("shift", -5)),
        ("2026-01-31T12:00:00+00:00", Position("time", 1_769_860_800_000)),
    ],
)
def test_position_as_typed(text: str, position: Position) -> None:
    assert parse_position(text) == position


@pytest.mark.parametrize("text", ["", "soon", "1.5", "--5", "9" * 30])
def test_other_words_are_refused_by_name(text: str) -> None:
    with pytest.raises(CommandError, match="--to: expected earliest"):
        parse_position(text)


def test_states_that_only_the_new_protocol_has_are_not_taken_for_a_missing_group() -> None:
    group = ConsumerGroupListing("g", False, ConsumerGroupState.UNKNOWN, ConsumerGroupType.CONSUMER)
    assert state_of(group) == "rebalancing"


@pytest.fixture(scope="module")
def bootstrap():
    with Cluster(nodes=1) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers})
        for number in range(10):
            producer.produce("events", str(number).encode(), partition=0)
        assert producer.flush(10) == 0
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "readers"})
        consumer.commit(offsets=[TopicPartition("events", 0, 4)], asynchronous=False)
        consumer.close()
        yield cluster.bootstrap_servers


@pytest.fixture
def run(capsys, bootstrap):
    def run_words(*words):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--bootstrap", bootstrap, "-o", "json"])
        assert not ended.value.code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run_words


def test_group_is_listed_and_described_with_its_lag(run) -> None:
    assert [row["group"] for row in run("group", "list")] == ["readers"]
    (row,) = run("group", "describe", "readers")
    assert (row["committed"], row["end"], row["lag"]) == (4, 10, 6)


def test_a_group_of_the_new_protocol_is_shown_and_its_offsets_stay_while_it_has_members(
    run, bootstrap, capsys
) -> None:
    reader = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "new", "group.protocol": "consumer"}
        | {"auto.offset.reset": "earliest", "log_level": 0}
    )
    reader.subscribe(["events"])
    deadline = time.monotonic() + WAIT_S
    while reader.poll(0.1) is None:
        assert time.monotonic() < deadline

    row = next(row for row in run("group", "list") if row["group"] == "new")
    assert (row["state"], row["type"]) == ("stable", "consumer")
    shown = run("group", "describe", "new")
    assert [(row["topic"], row["partition"]) for row in shown] == [("events", n) for n in range(4)]
    (member,) = {row["member"] for row in shown}
    assert member
    words = ("group", "reset-offsets", "new", "--topic", "events", "--to", "latest", "--execute")
    with pytest.raises(SystemExit) as ended:
        main([*words, "--bootstrap", bootstrap])
    assert ended.value.code == 1
    assert "1 members" in capsys.readouterr().err

    reader.close()
    assert {row["after"] for row in run(*words)} == {0, 10}
    assert {row["lag"] for row in run("group", "describe", "new")} == {0}
    assert run("group", "delete", "new") == {"deleted": "new"}


def test_reset_shows_first_and_changes_only_when_told(run) -> None:
    words = ("group", "reset-offsets", "readers", "--topic", "events", "--partition", "0")
    (shown,) = run(*words, "--to", "earliest")
    assert (shown["before"], shown["after"]) == (4, 0)
    assert run("group", "describe", "readers")[0]["committed"] == 4
    run(*words, "--to", "+3", "--execute")
    assert run("group", "describe", "readers")[0]["committed"] == 7
    run(*words, "--to", "4", "--execute")
    assert run("group", "describe", "readers")[0]["committed"] == 4


def test_unknown_group_says_where_to_look(bootstrap, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["group", "describe", "nobody", "--bootstrap", bootstrap])
    assert ended.value.code == 1
    assert "group list" in capsys.readouterr().err
