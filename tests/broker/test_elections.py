"""When a node campaigns after its leader's connection broke."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker.elections import NEW_S, Elections
from trimaran.config import ReplicationSection
from trimaran.ids import GroupId, NodeId

GROUP = GroupId(bytes(20))
SETTINGS = ReplicationSection()


class Raft:
    """A follower of node 3."""

    def __init__(self):
        self.leader = NodeId(3)
        self.campaigns = 0

    def forget_leader(self):
        self.leader = None

    def campaign(self):
        self.campaigns += 1


class Owner:
    def touched(self, replica):
        pass

    def leader_missing(self, replica):
        pass


def elections_of(node):
    chance = SimpleNamespace(uniform=lambda low, high: high)
    return Elections(owner=Owner(), node_id=NodeId(node), chance=chance, settings=SETTINGS)


def follower(*nodes):
    node_ids = tuple(NodeId(node) for node in nodes or (1, 2, 3))
    return SimpleNamespace(group=GROUP, node_ids=node_ids, raft=Raft(), removed=False)


def delay_s(elections):
    (timer,) = elections._timers.values()
    return timer.when() - asyncio.get_running_loop().time()


@pytest.mark.asyncio
async def test_the_first_in_line_campaigns_at_once_when_it_has_run_for_a_while():
    elections, replica = elections_of(1), follower()
    elections._started_s -= NEW_S

    elections.connection_broke([replica], NodeId(3))

    assert replica.raft.campaigns == 1
    elections.stop()


@pytest.mark.asyncio
async def test_a_node_that_just_started_lets_all_others_go_first():
    elections, replica = elections_of(1), follower()

    elections.connection_broke([replica], NodeId(3))

    rank_delay_s = SETTINGS.rank_delay_ms / 1000
    assert replica.raft.campaigns == 0
    assert delay_s(elections) > 2 * rank_delay_s
    elections.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize(("elder", "younger"), [(1, 2), (2, 1)])
async def test_of_two_that_just_started_the_elder_goes_first_whatever_their_rank(elder, younger):
    """Kills six seconds apart: a client may hold a pause against the second, hardly the first."""
    delays_s = {}
    for node, age_s in ((elder, 10.0), (younger, 4.0)):
        elections = elections_of(node)
        elections._started_s -= age_s
        elections.connection_broke([follower()], NodeId(3))
        delays_s[node] = delay_s(elections)
        elections.stop()

    assert delays_s[younger] - delays_s[elder] > SETTINGS.rank_delay_ms / 1000


@pytest.mark.asyncio
async def test_groups_that_others_lead_are_left_alone():
    elections, replica = elections_of(1), follower()

    elections.connection_broke([replica], NodeId(2))

    assert replica.raft.leader == 3
    assert elections._timers == {}


@pytest.mark.asyncio
async def test_a_group_without_other_voters_has_nobody_to_wait_for():
    elections, replica = elections_of(1), follower(1)
    replica.raft.leader = None

    elections.group_added(replica, is_new=False)

    assert replica.raft.campaigns == 1
    elections.stop()


@pytest.mark.asyncio
async def test_a_group_that_was_found_waits_for_its_leader_to_be_heard_of():
    elections, replica = elections_of(1), follower()
    replica.raft.leader = None

    elections.group_added(replica, is_new=False)

    assert replica.raft.campaigns == 0
    assert delay_s(elections) > 0.0
    elections.stop()
