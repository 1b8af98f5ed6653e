"""Power cut below Python's own calls: what was not synced is gone, what was acknowledged is not.

TRIMARAN_POWER_CUTS makes it longer.
"""

import errno
import os
import time

import pytest
from confluent_kafka import Producer

from trimaran.testing.waiting import let_pass

pytestmark = [pytest.mark.cluster, pytest.mark.clients, pytest.mark.needs("gcc")]

CUTS = int(os.environ.get("TRIMARAN_POWER_CUTS", "2"))
FOLLOWER_SLOW_S = 2.0
"""400 records take one second at the load's rate, and more than this if they wait for that disk."""


def test_acknowledged_records_survive_a_power_cut_of_all_nodes(
    broken, crowd_of, tail_of, new_topic, verdict, chance
):
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic)
    tail = tail_of(broken.bootstrap_servers, topic)
    lost = kept = 0
    for _ in range(CUTS):
        crowd.wait_for_more(200)
        reports = broken.cut_power(broken.nodes, chance).values()
        lost += sum(report.lost_sectors for report in reports)
        kept += sum(report.kept_sectors for report in reports)
        broken.start_all()
    crowd.wait_for_more(200)
    crowd.finish()
    assert not crowd.failed()
    assert lost, "no unsynced sector was there to lose"
    verdict(broken).check(topic, crowd, tail=tail, readers=("confluent", "kafka_python"))


def test_a_leader_that_lost_power_comes_back_without_what_it_had_not_synced(
    broken, crowd_of, new_topic, verdict, chance
):
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic, "confluent", "aiokafka")
    crowd.wait_for_more(200)
    victim = broken.leader(topic, 0)
    # Killed first: the page cache lives on, and the node starts from it; then the power goes.
    broken.kill(victim)
    broken.start(victim)
    crowd.wait_for_more(50)
    broken.cut_power([victim], chance)
    crowd.wait_for_more(200)
    broken.start(victim)
    crowd.wait_for_more(100)
    crowd.finish()
    assert not crowd.failed()
    verdict(broken).check(topic, crowd)


def test_one_crash_of_power_and_pauses_never_split_the_history(
    broken, crowd_of, new_topic, verdict, chance
):
    """A is paused, X loses power, B is paused, A goes on, X is back: A and X must know it all."""
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic, "confluent")
    crowd.wait_for_more(100)
    a, x, b = broken.nodes
    broken.pause(a)
    crowd.wait_for_more(200)
    broken.cut_power([x], chance)
    broken.pause(b)
    broken.resume(a)
    broken.start(x, timeout_s=60)
    crowd.wait_for_more(100)
    broken.resume(b)
    crowd.wait_for_more(100)
    crowd.finish()
    verdict(broken).check(topic, crowd)


def test_one_crash_of_power_and_partitions_never_split_the_history(
    broken, crowd_of, new_topic, verdict, chance
):
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic, "confluent")
    crowd.wait_for_more(100)
    a, x, b = broken.nodes
    broken.isolate(a)
    crowd.wait_for_more(200)
    broken.cut_power([x], chance)
    broken.heal()
    broken.isolate(b)
    broken.start(x, timeout_s=60)
    crowd.wait_for_more(100)
    broken.heal()
    crowd.wait_for_more(100)
    crowd.finish()
    verdict(broken).check(topic, crowd)


def test_a_failed_sync_ends_the_node_and_is_never_acknowledged(
    broken, crowd_of, new_topic, verdict, chance
):
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic, "confluent", "aiokafka")
    crowd.wait_for_more(200)
    victim = broken.leader(topic, 0)
    broken.power[victim].behave(sync_errno=errno.EIO)
    crowd.wait_for_more(200)
    broken.cut_power([victim], chance)  # kills it only if it still runs
    said = broken.log(victim)
    assert "sync failed" in said, said[-1_000:]
    broken.start(victim)
    crowd.wait_for_more(100)
    crowd.finish()
    verdict(broken).check(topic, crowd)


def test_a_success_that_a_client_infers_from_a_later_one_is_stored_once(broken, new_topic, readers):
    """Its own answer was a time-out, and librdkafka does not send it again: no offset is told."""
    topic = new_topic(broken.bootstrap_servers, partitions=1)
    told = {}
    producer = Producer(
        {"bootstrap.servers": broken.bootstrap_servers, "enable.idempotence": True, "linger.ms": 0}
        | {"request.timeout.ms": 1_800, "retry.backoff.ms": 5_000, "retry.backoff.max.ms": 5_000}
    )

    def send(value):
        def report(error, message):
            told[value] = (error, message.offset())

        producer.produce(topic, value, on_delivery=report)

    send(b"before")
    assert producer.flush(20) == 0
    leader = broken.leader(topic, 0)
    followers = [node for node in broken.nodes if node != leader]
    for node in followers:
        broken.power[node].behave(sync_delay_ms=2_400)  # asked for when a sync begins
    send(b"first")  # timed out after 1.8 s, committed after 2.4 s
    let_pass(0.6)
    for node in followers:
        broken.power[node].behave()
    let_pass(0.6)
    send(b"second")  # committed with the first, after 1.2 s
    assert producer.flush(20) == 0
    assert told == {b"before": (None, 0), b"first": (None, None), b"second": (None, 2)}
    stored = readers["confluent"](broken.bootstrap_servers, topic)
    assert [(r.offset, r.value) for r in stored] == [(0, b"before"), (1, b"first"), (2, b"second")]


def test_a_disk_that_syncs_for_seconds_delays_only_its_own_node(
    broken, crowd_of, new_topic, verdict
):
    topic = new_topic(broken.bootstrap_servers, partitions=1)
    crowd = crowd_of(broken, topic, "confluent")
    crowd.wait_for_more(200)
    leader = broken.leader(topic, 0)
    follower = next(node for node in broken.nodes if node != leader)
    broken.power[follower].behave(sync_delay_ms=2_000)
    crowd.wait_for_more(1)
    begun = time.monotonic()
    crowd.wait_for_more(400)
    taken_s = time.monotonic() - begun
    broken.power[follower].behave()
    assert taken_s < FOLLOWER_SLOW_S, f"400 records took {taken_s:.2f} s"
    # The leader's own: two followers are a majority without it.
    broken.power[broken.leader(topic, 0)].behave(sync_delay_ms=2_000)
    crowd.wait_for_more(400)
    for node in broken.nodes:
        broken.power[node].behave()
    crowd.wait_for_more(100)
    crowd.finish()
    assert not crowd.failed()
    verdict(broken).check(topic, crowd)
