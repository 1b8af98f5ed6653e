"""The load of `trimaran bench dedup`: which ids it sends, and what it is told."""

import argparse

import pytest

from trimaran.bench import dedup
from trimaran.bench.sender import REPEATED_AFTER_CHUNKS, Sender

PARTITIONS = 3
CHUNK = 4


class Noted:
    def __init__(self):
        self.sent = []

    def produce(self, topic, payload, key, partition, delivered, *, headers=None):
        self.sent.append((partition, headers[0][1]))


def test_every_second_event_repeats_an_earlier_one_of_its_partition_once():
    client = Noted()
    sender = Sender(
        client=client,
        topic="t",
        payloads=[b"v"],
        partitions=PARTITIONS,
        id_prefix=b"p-",
        repeats_ids=True,
    )
    chunks = 4 * PARTITIONS * REPEATED_AFTER_CHUNKS

    for number in range(chunks):
        sender.send_chunk(number, CHUNK, lambda *_: None)

    first = PARTITIONS * REPEATED_AFTER_CHUNKS * CHUNK
    known = set(client.sent[:first])
    assert len(known) == first
    for at, row in enumerate(client.sent[first:]):
        assert (row in known) == (at % 2 == 1)
        known.add(row)
    assert len(known) == first + (len(client.sent) - first) / 2


@pytest.mark.parametrize(
    "wrong", [["--runs", "most"], ["--rate", "much"], ["--data", "/dev/shm"], ["--nodes", "x"]]
)
def test_what_cannot_be_measured_is_refused(wrong, capsys):
    assert dedup.run_dedup(wrong) == 2
    assert capsys.readouterr().err


def test_a_round_runs_every_manner_at_every_rate():
    options = argparse.Namespace(
        producers=4,
        size=100,
        batch=64,
        warm_up=1.0,
        seconds=1.0,
        rate=[0.0, 9.0],
        runs=["off", "half"],
    )

    plans = list(dedup.dedup_plans(options))

    assert [(plan.load, plan.rate, plan.note) for plan in plans] == [
        ("at_most", None, "dedup off"),
        ("at_most", None, "dedup half"),
        ("paced", 9.0, "dedup off"),
        ("paced", 9.0, "dedup half"),
    ]
    assert [plan.repeated_ids for plan in plans] == [False, True] * 2
