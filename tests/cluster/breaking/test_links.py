"""Links cut, one way or both, narrowed and slow: progress where a majority is, no stale answer."""

import contextlib
import time

import pytest

from trimaran.bench.direct import append, log_end
from trimaran.testing.breakable import BreakableCluster
from trimaran.testing.links import CLIENTS, blocked, both_ways
from trimaran.testing.relays import RelayLinks
from trimaran.testing.waiting import let_pass, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

WAIT_S = 30.0
SILENT_S = 2.5
SENT_ON_S = 10.0
"""The next leader is there in 0.3 s; who asks the old one is sent away after two seconds."""
SLOW_MS = 75
TERMS_MAX = 12
"""So many elections of one partition while links are broken would be an endless duel."""


def term_of(cluster, topic, partition=0):
    answers = [cluster.metadata(topic, node=n) for n in cluster.nodes if cluster.is_running(n)]
    return max(a.partitions[partition].leader_epoch for a in answers if a and a.partitions)


def test_every_kind_of_cut_leaves_progress_and_one_history(
    broken, crowd_of, tail_of, new_topic, verdict
):
    """The leader cut off; it hears but is not heard; is heard but does not hear; a bridge."""
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic, "confluent")
    tail = tail_of(broken.bootstrap_servers, topic)
    crowd.wait_for_more(100)
    before = term_of(broken, topic)
    nodes = broken.nodes
    cuts = {
        "cut off": lambda leader: both_ways(leader, [CLIENTS, *nodes]),
        "not heard": lambda leader: [(leader, n) for n in nodes if n != leader],
        "deaf": lambda leader: [(n, leader) for n in nodes if n != leader],
        "bridge": lambda leader: both_ways(leader, [next(n for n in nodes if n != leader)]),
    }
    for name, pairs in cuts.items():
        begun = time.monotonic()
        with blocked(broken.links, pairs(broken.leader(topic, 0))):
            crowd.wait_for_more(100)
        crowd.wait_for_more(100)
        print(f"{name}: {time.monotonic() - begun:.2f} s for two times 100 of each client")
    crowd.finish()
    assert not crowd.failed()
    assert term_of(broken, topic) - before <= TERMS_MAX
    verdict(broken).check(topic, crowd, tail=tail, readers=("confluent", "kafka_python"))


@pytest.mark.parametrize("is_heard", [False, True])
def test_a_client_connected_to_a_deposed_leader_alone_is_sent_to_the_next_one(
    broken, crowd_of, new_topic, verdict, is_heard
):
    """librdkafka asks only nodes that it has a connection to; this one hears of no leader."""
    topic = new_topic(broken.bootstrap_servers, partitions=1)
    leader = broken.leader(topic, 0)
    crowd = crowd_of(broken, topic, "confluent", bootstrap=broken.address(leader))
    crowd.wait_for_more(100)
    others = [node for node in broken.nodes if node != leader]
    cut = [(other, leader) for other in others] if is_heard else both_ways(leader, others)
    with blocked(broken.links, cut):
        begun = time.monotonic()
        crowd.wait_for_more(100)
        took_s = time.monotonic() - begun
    crowd.finish()
    print(f"{took_s:.2f} s until 100 more were acknowledged")
    assert took_s < SENT_ON_S
    assert not crowd.failed()
    verdict(broken).check(topic, crowd)


def test_answers_lost_on_their_way_to_a_client_make_no_duplicate(
    broken, crowd_of, new_topic, verdict
):
    topic = new_topic(broken.bootstrap_servers, partitions=1)
    crowd = crowd_of(broken, topic, "confluent")
    crowd.wait_for_more(100)
    leader = broken.leader(topic, 0)
    with blocked(broken.links, [(leader, CLIENTS)]):
        # Longer than the clients wait: they close their connections and ask again.
        let_pass(SILENT_S)
    crowd.wait_for_more(100)
    crowd.finish()
    assert not crowd.failed()
    verdict(broken).check(topic, crowd)


def test_a_leader_without_followers_acknowledges_nothing_and_stops_vouching(
    broken, crowd_of, new_topic, verdict
):
    """Clients still reach it: it must not say what is no longer true."""
    topic = new_topic(broken.bootstrap_servers, partitions=1)
    crowd = crowd_of(broken, topic, "confluent")
    crowd.wait_for_more(50)
    crowd.finish()
    old = broken.leader(topic, 0)
    address = broken.address(old)
    with blocked(broken.links, both_ways(old, broken.nodes)):
        new = wait_for(lambda: leader_other_than(broken, topic, old))
        value = b"through the survivors"
        wait_for(lambda: quietly(append, broken.address(new), topic, 0, value))
        end = wait_for(lambda: quietly(log_end, broken.address(new), topic, 0))
        told = [quietly(log_end, address, topic, 0) for _ in range(3)]
        assert all(one is None or one >= end for one in told), f"{told}, but the end is {end}"
        assert not quietly(append, address, topic, 0, b"through the deposed")
    wait_for(lambda: quietly(log_end, broken.address(new), topic, 0))


def quietly(ask, *arguments):
    with contextlib.suppress(OSError):
        return ask(*arguments, timeout_s=1.0)
    return None


def leader_other_than(cluster, topic, old):
    for node in cluster.nodes:
        answer = cluster.metadata(topic, node=node) if node != old else None
        if answer and answer.partitions and answer.partitions[0].leader not in (-1, old):
            return answer.partitions[0].leader
    return None


def wait_for(condition):
    return wait_until(condition, "what the test waits for", within_s=WAIT_S)


def test_slow_and_flapping_links_lose_nothing(crowd_of, new_topic, verdict):
    """A relay delays every message between the nodes, and holds a link back every other moment."""
    with BreakableCluster(nodes=3, links=RelayLinks) as cluster:
        topic = new_topic(cluster.bootstrap_servers)
        crowd = crowd_of(cluster, topic, "confluent", "aiokafka")
        crowd.wait_for_more(100)
        pairs = [pair for node in cluster.nodes for pair in both_ways(node, cluster.nodes)]
        cluster.links.slow(pairs, delay_ms=SLOW_MS)
        crowd.wait_for_more(100)
        for at in range(6):
            node = cluster.nodes[at % 3]
            with blocked(cluster.links, both_ways(node, [cluster.nodes[(at + 1) % 3]])):
                crowd.wait_for_more(30)
        cluster.heal()
        crowd.wait_for_more(100)
        crowd.finish()
        assert not crowd.failed()
        verdict(cluster).check(topic, crowd)
